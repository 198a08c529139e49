"""`./dev submit`: upload a raster, start its job, follow it to the end."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePath
from typing import Any

import httpx
from azure.core.exceptions import AzureError
from azure.storage.blob import BlobServiceClient, ContainerClient, ContentSettings
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TransferSpeedColumn,
)

from local.environment import BRONZE, Environment
from local.errors import LocalError
from local.steps import tell

Status = dict[str, Any]
FINAL = {"completed", "completed_with_errors", "failed", "cancelled"}
WORLD_SUFFIXES = {".tif": ".tfw", ".tiff": ".tfw", ".jp2": ".j2w", ".png": ".pgw", ".img": ".igw"}
PATIENCE = 30  # seconds a running job may be watched without an answer
LONG_POLL = 5  # seconds the API may keep us waiting for news


class Refused(Exception):
    """The API said no; the message is its reason, `code` its HTTP status."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


class Api:
    """The product's HTTP face, as any client would use it."""

    def __init__(self, environment: Environment) -> None:
        self._client = httpx.Client(
            base_url=environment.api,
            headers={"x-functions-key": environment.keys.function_key},
            trust_env=False,  # a proxy has no business between here and 127.0.0.1
            timeout=60,
        )

    def __enter__(self) -> Api:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def submit(self, job_type: str, parameters: dict[str, Any]) -> Status:
        """Start a job, or find the one that is there. Raises Refused."""
        return _accepted(self._client.post(f"/jobs/submit/{job_type}", json=parameters))

    def status(self, job_id: str, wait: int = 0) -> Status:
        """How the job stands; with `wait`, as soon as it changes. Raises Refused."""
        return _accepted(self._client.get(f"/jobs/status/{job_id}", params={"wait": wait}))

    def follow(self, job_id: str) -> Iterator[Status]:
        """The job's status again and again until it is final. A restarting host is waited for."""
        lost = wait = 0
        while True:
            try:
                status = self.status(job_id, wait)
            except (httpx.TransportError, Refused) as error:
                lost += 1
                if isinstance(error, Refused) and error.code < 500:
                    raise
                if lost > PATIENCE:
                    hint = "./dev up, then submit again: the job goes on where it stood"
                    raise LocalError(f"the API does not answer ({error})", hint=hint) from error
                time.sleep(1)
                continue
            lost, wait = 0, LONG_POLL
            yield status
            if status["status"] in FINAL:
                return


def submit_file(
    environment: Environment, file: Path, arguments: Sequence[str], console: Console
) -> Status:
    """Upload a file and run process_raster on it. Returns the final status.

    Raises LocalError when something here is wrong, Refused when the API says no.
    """
    parameters = {"container_name": BRONZE, "blob_name": file.name, **parse_arguments(arguments)}
    if not file.is_file():
        raise LocalError(f"there is no file {file}")
    upload(file, environment, console)
    with Api(environment) as api:
        submitted = api.submit("process_raster", parameters)
        known = " (known already)" if submitted.get("idempotent") else ""
        tell(console, "job", f"{submitted['job_id']}{known}")
        return watch(api, submitted["job_id"], console)


def parse_arguments(arguments: Sequence[str]) -> dict[str, Any]:
    """`key=value` pairs; a value that reads as JSON is that, any other is text."""
    parameters: dict[str, Any] = {}
    for argument in arguments:
        key, separator, value = argument.partition("=")
        if not separator or not key:
            raise LocalError(
                f"{argument!r} is not key=value", hint="for example: output_tier=visualization"
            )
        try:
            parameters[key] = json.loads(value)
        except json.JSONDecodeError:
            parameters[key] = value
    return parameters


def sidecar_names(name: str) -> set[str]:
    """The names, in lower case, under which GDAL looks for what belongs to a raster."""
    name = name.lower()
    stem, suffix = PurePath(name).stem, PurePath(name).suffix
    names = {f"{name}{end}" for end in (".aux.xml", ".msk", ".ovr")}
    names |= {f"{stem}{end}" for end in (".aux.xml", ".wld", ".prj", f"{suffix}w")}
    if suffix in WORLD_SUFFIXES:
        names.add(f"{stem}{WORLD_SUFFIXES[suffix]}")
    return names - {name}


def find_sidecars(file: Path) -> list[Path]:
    """The files beside a raster that belong to it."""
    wanted = sidecar_names(file.name)
    return sorted(other for other in file.parent.iterdir() if other.name.lower() in wanted)


def upload(file: Path, environment: Environment, console: Console) -> None:
    """Make the container for incoming rasters hold this file and its sidecars, and no older ones.

    What is there already stays untouched, for a new ETag would make it a new job.
    """
    files = [file, *find_sidecars(file)]
    columns = (TextColumn("  upload {task.description}"), BarColumn(), DownloadColumn())
    bar = Progress(
        *columns,
        TransferSpeedColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
    storage = BlobServiceClient.from_connection_string(environment.storage_connection_string)
    with storage, storage.get_container_client(BRONZE) as bronze, bar:
        for one in files:
            started = time.monotonic()
            did = "uploaded" if _upload_one(bronze, one, bar) else "is there already"
            tell(console, "upload", f"{one.name} {did}", time.monotonic() - started)
        kept = {one.name for one in files}
        stale = sidecar_names(file.name)
        for name in bronze.list_blob_names(name_starts_with=file.stem):
            if name.lower() in stale and name not in kept:
                bronze.delete_blob(name)
                tell(console, "upload", f"{name}, an older one, removed")


def _upload_one(bronze: ContainerClient, file: Path, bar: Progress) -> bool:
    """Upload a file unless the same bytes are there. Returns whether it did."""
    with file.open("rb") as content:
        checksum = bytearray(hashlib.file_digest(content, "md5").digest())
    blob = bronze.get_blob_client(file.name)
    try:
        if blob.exists() and blob.get_blob_properties().content_settings.content_md5 == checksum:
            return False
        task = bar.add_task(file.name, total=file.stat().st_size)
        with file.open("rb") as content:
            blob.upload_blob(
                content,
                overwrite=True,
                max_concurrency=4,
                progress_hook=lambda sent, total: bar.update(task, completed=sent, total=total),
                content_settings=ContentSettings(content_md5=checksum),
            )
    except AzureError as error:
        raise LocalError(f"{file.name} could not be uploaded: {error}") from error
    return True


def watch(api: Api, job_id: str, console: Console) -> Status:
    """Show a job's progress until it is over."""
    show = _watch_live if console.is_terminal else _watch_lines
    return show(api.follow(job_id), console)


def _watch_live(statuses: Iterator[Status], console: Console) -> Status:
    columns = (TextColumn("  {task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeElapsedColumn(), console=console) as progress:
        bars: dict[int, TaskID] = {}
        for status in statuses:
            for stage in status["stages"]:
                number = stage["stage"]
                if number not in bars:
                    bars[number] = progress.add_task(stage["name"], total=None)
                done, total = stage["completed_tasks"], stage["total_tasks"]
                progress.update(bars[number], completed=done, total=total)
    return status


def _watch_lines(statuses: Iterator[Status], console: Console) -> Status:
    told: dict[int, str] = {}
    started = time.monotonic()
    for status in statuses:
        for stage in status["stages"]:
            if stage["status"] in ("pending", told.get(stage["stage"])):
                continue
            told[stage["stage"]] = stage["status"]
            done = f"{stage['status']} ({stage['completed_tasks']}/{stage['total_tasks']})"
            tell(console, stage["name"], done, time.monotonic() - started)
    return status


def why_it_failed(status: Status) -> str | None:
    """The reason a job did not complete; None when it did."""
    if status["status"] == "completed":
        return None
    error = status.get("error") or {}
    reason = ": ".join(str(error[key]) for key in ("code", "message") if error.get(key))
    return f"the job is {status['status']}" + (f": {reason}" if reason else "")


def _accepted(answer: httpx.Response) -> Status:
    if answer.is_success:
        body: Status = answer.json()
        return body
    raise Refused(explain_problem(answer.status_code, answer.text), answer.status_code)


def explain_problem(code: int, text: str) -> str:
    """An application/problem+json body (RFC 9457) as lines a person reads."""
    try:
        problem = json.loads(text)
    except json.JSONDecodeError:
        return f"HTTP {code}: {text.strip()[:500] or 'no reason given'}"
    if not isinstance(problem, dict):
        return f"HTTP {code}: {text.strip()[:500]}"
    errors = problem.get("errors") or []
    said = [problem.get("title"), None if errors else problem.get("detail")]
    head = ": ".join(str(part) for part in said if part) or text.strip()[:500]
    return "\n".join([f"HTTP {code}: {head}", *(f"  {_explain_error(error)}" for error in errors)])


def _explain_error(error: Any) -> str:
    if isinstance(error, dict) and error.get("field") and error.get("message"):
        return f"{error['field']}: {error['message']}"
    return error if isinstance(error, str) else json.dumps(error)
