"""`./dev corpus FOLDER [--manifest CSV]`: run process_raster on every raster of a folder.

Prints a table of file, outcome, error code and seconds. A manifest lists files (column `file`, a
path within the folder) and their expected outcome (column `expect`: cog, reject or either).
Without a manifest every raster in the folder is processed, and any outcome is accepted. The exit
code is 1 if an outcome differs from the expected one, or if a job failed because of the product
and not of its raster.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import os
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from azure.storage.blob import BlobServiceClient, ContainerClient, ContentSettings
from rich.console import Console
from rich.table import Table
from rich.text import Text

from core.uploads import RASTERS
from geolathe import Client, Error, Refused
from geolathe.cli import parse_parameters
from geolathe.upload import find_sidecars
from local.client import connect
from local.errors import LocalError
from local.stack.environment import BRONZE, Environment
from local.stack.stack import Stack
from local.steps import Report

AT_ONCE = 4
# Error codes that point to a fault of the product, not of the raster.
PRODUCT_FAULTS = ("WORKER_LOST", "GDAL_CRASHED", "RASTER_TIMEOUT", "COG_INVALID")


@dataclass(frozen=True)
class Expected:
    """One raster and its expected outcome."""

    file: Path
    name: str
    expect: str


@dataclass(frozen=True)
class Outcome:
    """The outcome of one raster: cog, reject or error."""

    raster: Expected
    outcome: str
    code: str
    message: str
    seconds: float

    @property
    def is_expected(self) -> bool:
        if self.outcome == "error" or self.code in PRODUCT_FAULTS:
            return False
        return self.raster.expect in ("either", self.outcome)


def main(arguments: Sequence[str] | None = None) -> int:
    options = _options(arguments)
    console = Console(stderr=True)
    here = Path(os.environ.get("GEOLATHE_CWD", "."))
    folder = here / options.folder
    try:
        wanted = list(read_manifest(folder, here / options.manifest)) if options.manifest else []
        wanted = wanted or list(find_rasters(folder))
        if not wanted:
            raise LocalError(f"no rasters found in {folder}")
        environment = Stack().up(Report(console))
        outcomes = run(environment, wanted, parse_parameters(options.parameters), console)
    except (LocalError, Error) as error:
        console.print(f"{error}", style="red", markup=False, soft_wrap=True)
        return 1
    print_table(outcomes, Console(width=None if sys.stdout.isatty() else 200))
    return 0 if all(outcome.is_expected for outcome in outcomes) else 1


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="./dev corpus", description=__doc__)
    parser.add_argument("folder", help="folder of the rasters")
    parser.add_argument("--manifest", help="a CSV with the columns file and expect")
    parser.add_argument("parameters", nargs="*", metavar="key=value", help="job parameters")
    return parser.parse_args(arguments)


def read_manifest(folder: Path, manifest: Path) -> Iterator[Expected]:
    """The files listed in a manifest. Raises LocalError if one does not exist."""
    if not manifest.is_file():
        raise LocalError(f"manifest {manifest} not found")
    with manifest.open(encoding="utf-8", newline="") as lines:
        for row in csv.DictReader(lines):
            file = folder / row["file"]
            if not file.is_file():
                raise LocalError(
                    f"{manifest.name} lists {row['file']}, which does not exist in {folder}"
                )
            yield Expected(file, row["file"], row.get("expect") or "either")


def find_rasters(folder: Path) -> Iterator[Expected]:
    """Every file in a folder and its subfolders that has the ending of a raster."""
    for file in sorted(folder.rglob("*")):
        if file.is_file() and file.name.lower().endswith(RASTERS):
            yield Expected(file, str(file.relative_to(folder)), "either")


def run(
    environment: Environment,
    rasters: Sequence[Expected],
    parameters: dict[str, object],
    console: Console,
) -> list[Outcome]:
    """Process the rasters, a few at a time, and print each outcome."""
    storage = BlobServiceClient.from_connection_string(environment.storage_connection_string)
    with (
        storage,
        storage.get_container_client(BRONZE) as bronze,
        connect(environment) as client,
        ThreadPoolExecutor(AT_ONCE) as pool,
    ):
        outcomes = []
        for outcome in pool.map(
            lambda raster: _process(raster, bronze, client, parameters), rasters
        ):
            outcomes.append(outcome)
            mark = "" if outcome.is_expected else "  <- unexpected"
            console.print(
                f"  {outcome.raster.name}  {outcome.outcome} {outcome.code} "
                f"{outcome.seconds:.1f} s{mark}",
                markup=False,
                highlight=False,
            )
        return outcomes


def _process(
    raster: Expected, bronze: ContainerClient, client: Client, parameters: dict[str, object]
) -> Outcome:
    started = time.monotonic()
    request = {"container_name": BRONZE, "blob_name": _upload(raster, bronze), **parameters}
    try:
        job = client.submit("process_raster", request)
        *_, ended = job.follow()
        final = ended.data
    except Refused as refusal:
        return Outcome(raster, "reject", str(refusal.status), str(refusal), _elapsed(started))
    error = final.get("error") or {}
    outcome = {"completed": "cog", "failed": "reject"}.get(final["status"], "error")
    code, message = str(error.get("code", "")), str(error.get("message", ""))
    return Outcome(raster, outcome, code, message, _elapsed(started))


def _elapsed(started: float) -> float:
    return time.monotonic() - started


def _upload(raster: Expected, bronze: ContainerClient) -> str:
    """Upload a raster and its sidecars to a folder named by their content; return the blob name."""
    files = [raster.file, *find_sidecars(raster.file)]
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.name.encode() + file.read_bytes())
    folder = f"corpus/{digest.hexdigest()[:12]}"
    for file in files:
        blob = bronze.get_blob_client(f"{folder}/{file.name}")
        if not blob.exists():
            with file.open("rb") as content:
                settings = ContentSettings(content_type="application/octet-stream")
                blob.upload_blob(content, max_concurrency=4, content_settings=settings)
    return f"{folder}/{raster.file.name}"


def print_table(outcomes: Sequence[Outcome], console: Console) -> None:
    """Print every outcome, then a summary."""
    table = Table("file", "expected", "outcome", "code", "seconds", "message", box=None)
    for outcome in outcomes:
        style = None if outcome.is_expected else "red"
        table.add_row(
            Text(outcome.raster.name),
            outcome.raster.expect,
            outcome.outcome,
            outcome.code,
            f"{outcome.seconds:.1f}",
            Text(outcome.message[:90]),
            style=style,
        )
    console.print(table)
    right = sum(outcome.is_expected for outcome in outcomes)
    made = sum(outcome.outcome == "cog" for outcome in outcomes)
    console.print(f"{len(outcomes)} rasters: {made} COGs, {right} as expected")


if __name__ == "__main__":
    sys.exit(main())
