"""`./dev submit`: upload a raster, start its job, follow it to the end, as any client would."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from azure.storage.blob import BlobServiceClient
from rich.console import Console

from geolathe import Client, Error, Refused, Unreachable, cli, display
from geolathe.upload import find_sidecars, sidecar_names
from local.errors import LocalError
from local.stack.environment import BRONZE, Environment
from local.steps import tell

Status = dict[str, Any]

__all__ = ["Refused", "Status", "connect", "find_sidecars", "submit_file", "why_it_failed"]


def connect(environment: Environment) -> Client:
    """The client of this machine's API."""
    return Client(environment.api, environment.keys.function_key)


def submit_file(
    environment: Environment, file: Path, arguments: Sequence[str], console: Console
) -> Status:
    """Upload a file and run process_raster on it. Returns the final status.

    Raises LocalError when something here is wrong, Refused when the API says no.
    """
    parameters = parse_arguments(arguments)
    if not file.is_file():
        raise LocalError(f"there is no file {file}")
    try:
        with connect(environment) as client:
            remove_stale_sidecars(environment, file, console)
            for one in find_sidecars(file):
                display.upload(client, one, None, console)
            source = display.upload(client, file, None, console)
            job = client.submit("process_raster", source | parameters)
            tell(console, "job", f"{job.id}{'' if job.is_new else ' (known already)'}")
            return display.follow(job, console).data
    except Unreachable as error:
        hint = "./dev up, then submit again: the job goes on where it stood"
        raise LocalError(str(error), hint=hint) from error


def parse_arguments(arguments: Sequence[str]) -> dict[str, Any]:
    """`key=value` pairs. Raises LocalError."""
    try:
        return cli.parse_parameters(arguments)
    except Error as error:
        raise LocalError(str(error)) from None


def remove_stale_sidecars(environment: Environment, file: Path, console: Console) -> None:
    """Remove what lies beside the blob and no longer beside the file."""
    kept = {one.name for one in find_sidecars(file)}
    stale = sidecar_names(file.name)
    storage = BlobServiceClient.from_connection_string(environment.storage_connection_string)
    with storage, storage.get_container_client(BRONZE) as bronze:
        for name in bronze.list_blob_names(name_starts_with=file.stem):
            if name.lower() in stale and name not in kept:
                bronze.delete_blob(name)
                tell(console, "upload", f"{name}, an older one, removed")


def why_it_failed(status: Status) -> str | None:
    """The reason a job did not complete; None when it did."""
    if status["status"] == "completed":
        return None
    error = status.get("error") or {}
    reason = ": ".join(str(error[key]) for key in ("code", "message") if error.get(key))
    return f"the job is {status['status']}" + (f": {reason}" if reason else "")
