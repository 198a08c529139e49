"""The `geolathe` client, connected to the local stack."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from geolathe import Client, Job, display
from geolathe.upload import find_sidecars
from local.stack.environment import Environment


def connect(environment: Environment) -> Client:
    """A client of the stack's API."""
    return Client(environment.api, environment.keys.function_key)


def process_file(environment: Environment, file: Path, console: Console) -> Job:
    """Upload a raster and its sidecars, run process_raster on it and follow the job to its end.

    Raises geolathe.Error when the API rejects the job or cannot be reached.
    """
    with connect(environment) as client:
        for sidecar in find_sidecars(file):
            display.upload(client, sidecar, None, console)
        source = display.upload(client, file, None, console)
        return display.follow(client.submit("process_raster", source), console)
