"""process_raster from submission to result, compared with a script: `./dev bench job [--large]`.

Geolathe is used through the client package: submit, then long polls until the job is completed, in
a stack of its own. The script (job_script.sh, in a process of its own) downloads the same blob with
curl, runs `gdalwarp -of COG` (Debian's gdal-bin) with the same cache, threads and compression,
uploads with curl and loads a minimal STAC item with pypgstac, without validation, mask, statistics
and footprint. Concurrent runs are as many jobs at once, and as many scripts at a time as there are
cores. Single runs are medians; both programs are warmed up with a small raster.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Protocol

import httpx
import numpy as np
import rasterio
from _machine import install_program, processor_ticks
from _results import keep
from azure.storage.blob import ContainerSasPermissions, generate_container_sas
from engine import running_stack
from psycopg.conninfo import conninfo_to_dict
from raster import make_source
from rasterio.windows import Window
from rich.console import Console
from rich.table import Table

from geolathe import Client, Job
from local.emulators.azurite.emulator import ACCOUNT, KEY
from local.stack.environment import BRONZE, SILVER, Environment, inherited
from services.raster import gdal

SCRIPT = Path(__file__).with_name("job_script.sh")
COLLECTION = "bench"
TIMEOUT = 1800.0  # seconds that one job or script may take
TEXTURE = 6.0  # standard deviation of the grey levels added to the JPEG, which make it 27 MB
JPEG_QUALITY = 95
NOTE = "the predecessor took 22 s for its 27 MB file on Azure Functions"


@dataclass(frozen=True)
class Case:
    """One RGB raster, and how many times it is processed."""

    name: str
    size: int
    """Width and height in pixels."""
    is_jpeg: bool = False
    repeats: int = 3
    is_for_many: bool = True


TINY = Case("tiny", 256, repeats=1, is_for_many=False)
CASES = (Case("small", 840), Case("medium", 8_192, is_jpeg=True))
LARGE = Case("large", 26_755, repeats=1, is_for_many=False)


@dataclass(frozen=True)
class Measured:
    """What one program needed for one run or for several concurrent ones."""

    seconds: float
    cores_busy_percent: float
    """Share of all cores of the machine, for all processes."""


@dataclass(frozen=True)
class Row:
    """Both programs in one case."""

    case: str
    at_once: int
    source_mb: float
    geolathe: Measured
    script: Measured
    retries: int
    """Attempts of Geolathe's tasks beyond the first."""

    @property
    def ratio(self) -> float:
        return self.geolathe.seconds / self.script.seconds


class Side(Protocol):
    """A program that turns a blob into a COG and a STAC item."""

    def workers(self, count: int) -> int:
        """How many of `count` runs are concurrent."""

    def run(self, blob: str, item: str) -> None:
        """Raises if no item is created."""


class Geolathe:
    """process_raster through the API."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._jobs: list[Job] = []

    def workers(self, count: int) -> int:
        return count

    def run(self, blob: str, item: str) -> None:
        source = {"blob_name": blob, "container_name": BRONZE}
        target = {"collection_id": COLLECTION, "item_id": item, "output_folder": f"geolathe/{item}"}
        job = self._client.submit("process_raster", source | target).wait(TIMEOUT)
        if job.status != "completed":
            raise SystemExit(f"{item}: {job.reason}")
        self._jobs.append(job)

    def take_retries(self) -> int:
        """Attempts beyond the first since the last call."""
        tasks = (task for job in self._jobs for task in job.tasks())
        retries = sum(int(task["attempt"]) - 1 for task in tasks)
        self._jobs.clear()
        return retries


class Script:
    """The shell script."""

    def __init__(self, environment: Environment, folder: Path) -> None:
        self._storage = f"http://127.0.0.1:{environment.ports.blob}/{ACCOUNT}"
        programs = Path(sys.executable).parent
        self.settings = {
            **inherited(),
            **_libpq_variables(environment.database_url),
            "TMPDIR": str(folder),
            "COLLECTION": COLLECTION,
            "PYTHON": sys.executable,
            "PYPGSTAC": str(programs / "pypgstac"),
            "THREADS": str(gdal.THREADS),
            "CACHE_MB": str(gdal.CACHE_BYTES >> 20),
            "WARP_MB": str(gdal.WARP_MB),
        }

    def workers(self, count: int) -> int:
        return min(count, os.cpu_count() or 1)

    def run(self, blob: str, item: str) -> None:
        addresses = {
            "SOURCE_URL": self.sign(BRONZE, blob),
            "TARGET_URL": self.sign(SILVER, f"script/{item}.tif"),
        }
        text = subprocess.run(
            [SCRIPT],
            env={**self.settings, **addresses, "ITEM": item},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=TIMEOUT,
        )
        if text.returncode:
            raise SystemExit(f"{item}: the script ended with {text.returncode}: {text.stdout}")

    def sign(self, container: str, name: str) -> str:
        rights = ContainerSasPermissions(read=True, create=True, write=True)
        until = datetime.now(UTC) + timedelta(days=1)
        signature = generate_container_sas(
            ACCOUNT, container, account_key=KEY, permission=rights, expiry=until
        )
        return f"{self._storage}/{container}/{name}?{signature}"


def _libpq_variables(database_url: str) -> dict[str, str]:
    """What psql and pypgstac read from the environment."""
    parts = conninfo_to_dict(database_url)
    names = {"host": "PGHOST", "port": "PGPORT", "user": "PGUSER", "dbname": "PGDATABASE"}
    names["password"] = "PGPASSWORD"
    return {variable: str(parts[key]) for key, variable in names.items()}


def measure(side: Side, blob: str, count: int, stac: str) -> Measured:
    """Run `count` at once, and check that all are in the catalogue afterwards."""
    items = [f"{Path(blob).stem}-{uuid.uuid4().hex[:12]}" for _ in range(count)]
    idle, whole = processor_ticks()
    started = time.perf_counter()
    with ThreadPoolExecutor(side.workers(count)) as threads:
        list(threads.map(lambda item: side.run(blob, item), items))
    seconds = time.perf_counter() - started
    idle_then, whole_then = processor_ticks()
    with httpx.Client(base_url=stac, trust_env=False) as catalogue:
        for item in items:
            catalogue.get(f"/collections/{COLLECTION}/items/{item}").raise_for_status()
    busy = 1 - (idle_then - idle) / (whole_then - whole)
    return Measured(round(seconds, 2), round(100 * busy, 1))


def median(side: Side, blob: str, repeats: int, stac: str) -> Measured:
    """The median of several single runs."""
    runs = [measure(side, blob, 1, stac) for _ in range(repeats)]
    return sorted(runs, key=lambda run: run.seconds)[repeats // 2]


def make_case(case: Case, folder: Path) -> Path:
    """The source of a case: DEFLATE, or JPEG like most orthophotos."""
    path = folder / f"{case.name}.tif"
    if not case.is_jpeg:
        make_source(path, case.size, 3, "uint8")
        return path
    plain = folder / "plain.tif"
    make_source(plain, case.size, 3, "uint8")
    rng = np.random.default_rng(2)
    with rasterio.open(plain) as landscape:
        jpeg = {"compress": "jpeg", "photometric": "YCBCR", "jpeg_quality": JPEG_QUALITY}
        profile = {**landscape.profile, **jpeg}
        with rasterio.open(path, "w", **profile) as target:
            for row in range(0, case.size, 512):
                window = Window(0, row, case.size, min(512, case.size - row))
                texture = rng.normal(0, TEXTURE, (window.height, window.width))
                pixels = (landscape.read(window=window) + texture).clip(0, 255)
                target.write(pixels.astype("uint8"), window=window)
    plain.unlink()
    return path


class Bench:
    """Both programs with one stack."""

    def __init__(self, environment: Environment, client: Client, folder: Path) -> None:
        self._client = client
        self._folder = folder
        self._stac = environment.stac
        self._geolathe = Geolathe(client)
        self._script = Script(environment, folder)

    def warm_up(self) -> None:
        """Load the programs into memory and create the collection for the script."""
        blob, _ = self._upload(TINY)
        for side in (self._geolathe, self._script):
            measure(side, blob, 1, self._stac)

    def compare(self, case: Case, at_once: int) -> list[Row]:
        """The rows for one run and, if the case allows it, for `at_once` concurrent runs."""
        blob, size = self._upload(case)
        counts = [1, at_once] if case.is_for_many and at_once > 1 else [1]
        return [self._row(case, blob, size, count) for count in counts]

    def _row(self, case: Case, blob: str, size: int, count: int) -> Row:
        self._geolathe.take_retries()
        if count == 1:
            geolathe = median(self._geolathe, blob, case.repeats, self._stac)
            script = median(self._script, blob, case.repeats, self._stac)
        else:
            geolathe = measure(self._geolathe, blob, count, self._stac)
            script = measure(self._script, blob, count, self._stac)
        retries = self._geolathe.take_retries()
        return Row(case.name, count, round(size / 1e6, 2), geolathe, script, retries)

    def _upload(self, case: Case) -> tuple[str, int]:
        """The blob of the source and its size."""
        path = make_case(case, self._folder)
        size = path.stat().st_size
        blob = self._client.upload(path)["blob_name"]
        path.unlink()
        return blob, size


def print_table(rows: list[Row], console: Console) -> None:
    heads = ("case", "MB", "at once", "Geolathe s", "script s", "ratio", "cores busy %", "script %")
    table = Table(*heads, "retries", box=None)
    for row in rows:
        table.add_row(
            row.case,
            f"{row.source_mb:.1f}",
            str(row.at_once),
            f"{row.geolathe.seconds:.2f}",
            f"{row.script.seconds:.2f}",
            f"{row.ratio:.2f}",
            f"{row.geolathe.cores_busy_percent:.0f}",
            f"{row.script.cores_busy_percent:.0f}",
            str(row.retries),
        )
    console.print(table)
    console.print(NOTE)


def keep_each(rows: list[Row], *, quick: bool) -> None:
    """Store the rows and keep those of other cases from earlier runs."""
    text = subprocess.run(["gdalwarp", "--version"], check=True, capture_output=True, text=True)
    for row in rows:
        found = {**asdict(row), "ratio": round(row.ratio, 2)}
        part = f"{row.case}, {row.at_once} at once"
        keep("job", [found], quick=quick, part=part, gdalwarp=text.stdout.split(",")[0])


def main() -> None:
    parser = argparse.ArgumentParser(prog="./dev bench job", description=__doc__)
    parser.add_argument(
        "--large", action="store_true", help="also 2 GB of pixels, which takes minutes"
    )
    parser.add_argument("--at-once", type=int, default=20, help="concurrent jobs; 1 for none")
    parser.add_argument("--only", default="", help="only cases whose name contains this")
    parser.add_argument("--quick", action="store_true", help="only check that it works")
    options = parser.parse_args()
    console = Console()
    cases = [TINY] if options.quick else [*CASES, LARGE] if options.large else [*CASES]
    cases = [case for case in cases if options.only in case.name]
    install_program("gdalwarp", "gdal-bin")
    install_program("curl", "curl")
    folder = Path(tempfile.mkdtemp(prefix="geolathe-job-"))
    rows: list[Row] = []
    try:
        with (
            running_stack() as environment,
            Client(environment.api, environment.keys.function_key) as client,
        ):
            bench = Bench(environment, client, folder)
            bench.warm_up()
            for case in cases:
                rows += bench.compare(case, options.at_once)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        print_table(rows, console)
        keep_each(rows, quick=options.quick)


if __name__ == "__main__":
    main()
