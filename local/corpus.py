"""`./dev corpus FOLDER [--manifest CSV]`: every raster of a folder through the running product.

Prints a table of file, outcome, code and seconds. A manifest names files (column `file`, paths
within the folder) and what must come of them (`expect`: cog, reject or either); without one every
file in the folder is tried, sidecars aside. Outcomes that are not as expected, and jobs that
failed for no reason of their raster's, make the exit code 1.
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

from geolathe import Client, Refused
from geolathe.upload import find_sidecars
from local.errors import LocalError
from local.stack.environment import BRONZE, Environment
from local.stack.stack import Stack
from local.steps import Report
from local.submission import connect, parse_arguments

NO_RASTERS = (".md", ".csv", ".txt", ".xml", ".wld", ".prj", ".msk", ".ovr", ".hdr", ".rrd",
              ".tfw", ".tifw", ".pgw", ".jgw", ".j2w", ".aux", ".ige", ".json")  # fmt: skip
AT_ONCE = 4
# What a job may fail with that is not its raster's doing.
OUR_FAULT = ("WORKER_LOST", "RASTER_CRASHED", "RASTER_TIMEOUT", "COG_INVALID")


@dataclass(frozen=True)
class Expected:
    """One raster and what must come of it."""

    file: Path
    name: str
    expect: str


@dataclass(frozen=True)
class Outcome:
    """What came of one raster."""

    raster: Expected
    outcome: str
    code: str
    message: str
    seconds: float

    @property
    def is_right(self) -> bool:
        if self.outcome == "error" or self.code in OUR_FAULT:
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
            raise LocalError(f"there is no raster in {folder}")
        environment = Stack().up(Report(console))
        outcomes = run(environment, wanted, parse_arguments(options.parameters), console)
    except LocalError as error:
        console.print(f"{error}", style="red", markup=False, soft_wrap=True)
        return 1
    print_table(outcomes, Console(width=None if sys.stdout.isatty() else 200))
    return 0 if all(outcome.is_right for outcome in outcomes) else 1


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="./dev corpus", description=__doc__)
    parser.add_argument("folder", help="where the rasters are")
    parser.add_argument("--manifest", help="a CSV with the columns file and expect")
    parser.add_argument("parameters", nargs="*", metavar="key=value", help="job parameters")
    return parser.parse_args(arguments)


def read_manifest(folder: Path, manifest: Path) -> Iterator[Expected]:
    """The files that a manifest names. Raises LocalError for one that is not there."""
    if not manifest.is_file():
        raise LocalError(f"there is no manifest {manifest}")
    with manifest.open(encoding="utf-8", newline="") as lines:
        for row in csv.DictReader(lines):
            file = folder / row["file"]
            if not file.is_file():
                raise LocalError(f"{manifest.name} names {row['file']}, which is not in {folder}")
            yield Expected(file, row["file"], row.get("expect") or "either")


def find_rasters(folder: Path) -> Iterator[Expected]:
    """Every file below a folder that is no sidecar."""
    for file in sorted(folder.rglob("*")):
        if file.is_file() and file.suffix.lower() not in NO_RASTERS:
            yield Expected(file, str(file.relative_to(folder)), "either")


def run(
    environment: Environment,
    rasters: Sequence[Expected],
    parameters: dict[str, object],
    console: Console,
) -> list[Outcome]:
    """A few jobs at once; each tells its end."""
    storage = BlobServiceClient.from_connection_string(environment.storage_connection_string)
    with (
        storage,
        storage.get_container_client(BRONZE) as bronze,
        connect(environment) as client,
        ThreadPoolExecutor(AT_ONCE) as pool,
    ):
        outcomes = []
        for outcome in pool.map(lambda raster: _try(raster, bronze, client, parameters), rasters):
            outcomes.append(outcome)
            mark = "" if outcome.is_right else "  <- not as expected"
            console.print(
                f"  {outcome.raster.name}  {outcome.outcome} {outcome.code} "
                f"{outcome.seconds:.1f} s{mark}",
                markup=False,
                highlight=False,
            )
        return outcomes


def _try(
    raster: Expected, bronze: ContainerClient, client: Client, parameters: dict[str, object]
) -> Outcome:
    started = time.monotonic()
    request = {"container_name": BRONZE, "blob_name": _upload(raster, bronze), **parameters}
    try:
        job = client.submit("process_raster", request)
        *_, ended = job.follow()
        final = ended.data
    except Refused as refusal:
        return Outcome(raster, "reject", str(refusal.status), str(refusal), _since(started))
    error = final.get("error") or {}
    outcome = {"completed": "cog", "failed": "reject"}.get(final["status"], "error")
    code, message = str(error.get("code", "")), str(error.get("message", ""))
    return Outcome(raster, outcome, code, message, _since(started))


def _since(started: float) -> float:
    return time.monotonic() - started


def _upload(raster: Expected, bronze: ContainerClient) -> str:
    """Put the raster and its sidecars where no other run's files lie. Returns the blob's name."""
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
    """All of them, then how many ended in which way."""
    table = Table("file", "expected", "outcome", "code", "seconds", "message", box=None)
    for outcome in outcomes:
        style = None if outcome.is_right else "red"
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
    right = sum(outcome.is_right for outcome in outcomes)
    made = sum(outcome.outcome == "cog" for outcome in outcomes)
    console.print(f"{len(outcomes)} rasters: {made} COGs, {right} as expected")


if __name__ == "__main__":
    sys.exit(main())
