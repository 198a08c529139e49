"""Time and memory for COGs, compared with other programs: `./dev bench raster [--size N]`.

Geolathe is the create_cog handler as a worker runs it, with download and upload over Azurite, whose
time is also given separately. The other programs are `gdalwarp -of COG` (Debian's gdal-bin) and
rio-cogeo over a WarpedVRT, on local files and without a mask outside the footprint, which is less
work. All use the same cache, threads, compression and resampling. `--memory` makes COGs of 30 MB,
300 MB and 3 GB of pixels. These COGs are all made by one task; `--large 1` makes a picture of a
gigapixel in windows, with two workers at once.
"""

import argparse
import json
import math
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from threading import Event, Thread
from typing import Any, cast

import numpy as np
import rasterio
from _machine import CSTIME, CUTIME, STIME, TICKS, UTIME, install_program, process_stat
from _results import keep
from _windows import SIMULATED, LargeRun, describe_plans, make_large_source, run_large, simulate
from azure.storage.blob import BlobServiceClient
from rasterio.windows import Window
from rich.console import Console
from rich.table import Table

from core.handler import TaskContext
from core.models import BlobProperties, BlobRef, Deployment
from core.ports import BlobStore, Catalog, Ports
from infrastructure.blob_storage import AzureBlobs
from infrastructure.scratch import LocalScratch
from local.emulators.azurite import Azurite
from services.create_cog import CreateCog, create_cog
from services.raster import gdal
from services.raster.model import Tier
from services.validate_raster import ValidateRaster, validate_raster
from testing.outputs import MemoryOutputs

DEPLOYMENT = Deployment(
    silver_container="bench-silver",
    default_collection="bench",
    titiler_url="http://titiler.bench",
    stac_url="http://stac.bench",
    windows_from_mb=2**20,
)


NOISE = 0.012
# Below it, windows are made small, to check that the benchmark works.
_SMALL = 4_000


@dataclass(frozen=True)
class Case:
    """One raster and how it is processed."""

    name: str
    bands: int
    dtype: str
    target: str
    resampling: str
    predictor: int


CASES = (
    Case("rgb warped", 3, "uint8", "EPSG:4326", "cubic", 2),
    Case("dem warped", 1, "float32", "EPSG:4326", "bilinear", 3),
    Case("12 bands warped", 12, "uint16", "EPSG:4326", "bilinear", 2),
    Case("rgb copied", 3, "uint8", "native", "cubic", 2),
)


@dataclass(frozen=True)
class Run:
    """What one program needed for one case."""

    case: str
    maker: str
    wall_seconds: float
    cpu_seconds: float
    transfer_seconds: float
    """Download and upload; part of the wall time."""
    peak_mb: int
    output_mb: float


class ClockedBlobs(AzureBlobs):
    """Counts the seconds that callers waited for it."""

    seconds = 0.0

    def download(self, ref: BlobRef, path: Path) -> None:
        started = time.perf_counter()
        super().download(ref, path)
        self.seconds += time.perf_counter() - started

    def upload(self, *args: Any, **options: Any) -> BlobProperties:
        started = time.perf_counter()
        stored = super().upload(*args, **options)
        self.seconds += time.perf_counter() - started
        return stored


class IgnoredProgress:
    """Progress that is not stored."""

    def report(self, fraction: float, message: str = "") -> None:
        """Ignore the progress."""

    def confirm(self) -> None:
        """The benchmark never loses its task."""


def make_source(path: Path, size: int, bands: int, dtype: str) -> None:
    """A landscape with different noise in each band.

    The noise makes 8-bit images compress by two, as aerial images do (1.5 to 2.4 in a sample).
    """
    profile: dict[str, Any] = {
        "driver": "GTiff",
        "width": size,
        "height": size,
        "count": bands,
        "dtype": dtype,
        "crs": "EPSG:32633",
        "transform": rasterio.Affine(10, 0, 400_000, 0, -10, 5_600_000),
        "tiled": True,
        "compress": "deflate",
        "predictor": 3 if dtype == "float32" else 2,
        "num_threads": gdal.THREADS,
        "interleave": "pixel",
        "bigtiff": "IF_SAFER",
    }
    if dtype == "float32":
        profile["nodata"] = -9999
    if bands == 3:
        profile["photometric"] = "RGB"
    rng = np.random.default_rng(1)
    top = {"uint8": 220, "uint16": 9_000, "float32": 2_500}[dtype]
    with rasterio.open(path, "w", **profile) as target:
        for row in range(0, size, 512):
            rows = min(512, size - row)
            y, x = np.mgrid[row : row + rows, 0:size].astype("float32")
            relief = (
                0.5 + 0.2 * np.sin(x / 397) + 0.2 * np.cos(y / 251) + 0.05 * np.sin(x * y / 9e4)
            )
            for band in range(1, bands + 1):
                noise = rng.normal(0, NOISE, (rows, size)).astype("float32")
                values = (relief * (0.7 + 0.02 * band) + noise) * top
                window = Window(0, row, size, rows)
                target.write(values.clip(0, top).astype(dtype), band, window=window)


@contextmanager
def peak_memory() -> Iterator[Callable[[], tuple[int, float]]]:
    """The largest peak of any child process in MB, and the CPU seconds that watching took."""
    peaks: dict[int, int] = {}
    watching = [0.0]
    done = Event()

    def watch() -> None:
        while not done.wait(0.1):
            for pid in descendants(os.getpid()):
                peaks[pid] = max(peaks.get(pid, 0), high_water(pid))
            watching[0] = time.thread_time()

    thread = Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield lambda: (max(peaks.values(), default=0) >> 10, watching[0])
    finally:
        done.set()
        thread.join()


def descendants(parent: int) -> list[int]:
    below = []
    for task in Path(f"/proc/{parent}/task").glob("*/children"):
        try:
            children = [int(pid) for pid in task.read_text().split()]
        except OSError:
            continue
        for child in children:
            below += [child, *descendants(child)]
    return [pid for pid in below if not _is_node(pid)]


def _is_node(pid: int) -> bool:
    """Whether a process is Azurite, which is not measured."""
    try:
        return Path(f"/proc/{pid}/comm").read_text().startswith("node")
    except OSError:
        return True


def high_water(pid: int) -> int:
    """Peak resident memory in kB; see VmHWM in proc(5)."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    return int(status.split("VmHWM:")[1].split()[0]) if "VmHWM:" in status else 0


class Geolathe:
    """The create_cog handler, with Azurite."""

    name = "geolathe"

    def __init__(self, folder: Path, azurite: Azurite, deployment: Deployment = DEPLOYMENT) -> None:
        self._blobs = ClockedBlobs(azurite.connection_string)
        self._container = f"bench-{uuid.uuid4().hex[:8]}"
        with BlobServiceClient.from_connection_string(azurite.connection_string) as client:
            client.create_container(self._container)
        ports = Ports(
            blobs=cast(BlobStore, self._blobs),
            catalog=cast(Catalog, None),
            scratch=LocalScratch(folder / "scratch"),
            outputs=MemoryOutputs(),
            deployment=deployment,
        )
        self._context = TaskContext("bench", 1, ports, IgnoredProgress())

    def context(self, task_id: str) -> TaskContext:
        return replace(self._context, task_id=task_id)

    def target(self) -> BlobRef:
        return BlobRef(container=self._container, name=f"cogs/{uuid.uuid4().hex}.tif")

    @property
    def transferring(self) -> float:
        return self._blobs.seconds

    def prepare(self, source: Path) -> Any:
        ref = BlobRef(container=self._container, name=f"{source.stem}-{uuid.uuid4().hex}.tif")
        stored = self._blobs.upload(ref, source, content_type="image/tiff")
        request = ValidateRaster(source=ref, source_etag=stored.etag)
        return validate_raster(request, self._context)

    def make(self, case: Case, source: Path, prepared: Any, output: Path) -> int:
        request = CreateCog(
            facts=prepared, target=self.target(), tier=Tier.ANALYSIS, target_crs=case.target
        )
        return create_cog(request, self._context).size_bytes


class GdalWarp:
    """Debian's gdalwarp, or gdal_translate where nothing is warped."""

    name = "gdalwarp"
    transferring = 0.0

    def prepare(self, source: Path) -> None:
        install_program("gdalwarp", "gdal-bin")

    def make(self, case: Case, source: Path, prepared: None, output: Path) -> int:
        command = ["gdal_translate", "-q"]
        if case.target != "native":
            command = ["gdalwarp", "-q", "-overwrite", "-t_srs", case.target, "-multi"]
            command += ["-r", case.resampling, "-wo", f"NUM_THREADS={gdal.THREADS}"]
            command += ["-wm", str(gdal.WARP_MB)]
        command += ["-of", "COG", "--config", "GDAL_CACHEMAX", str(gdal.CACHE_BYTES >> 20)]
        options = {
            "COMPRESS": "DEFLATE",
            "PREDICTOR": case.predictor,
            "LEVEL": 6,
            "NUM_THREADS": gdal.THREADS,
            "OVERVIEW_RESAMPLING": "AVERAGE",
            "BIGTIFF": "IF_SAFER",
        }
        command += [part for key, value in options.items() for part in ("-co", f"{key}={value}")]
        subprocess.run([*command, str(source), str(output)], check=True)
        return output.stat().st_size


_RIO_COGEO = """
import json, sys
import rasterio
from rasterio.enums import Resampling
from rasterio.vrt import WarpedVRT
from rio_cogeo.cogeo import cog_translate
from rio_cogeo.profiles import cog_profiles
source, output, target, resampling, predictor, cache, threads, wm = json.loads(sys.argv[1])
profile = dict(cog_profiles.get("deflate"), predictor=predictor, zlevel=6, bigtiff="IF_SAFER")
config = {"GDAL_CACHEMAX": cache, "GDAL_NUM_THREADS": threads}
with rasterio.Env(**config), rasterio.open(source) as raw:
    options = dict(resampling=Resampling[resampling], warp_mem_limit=wm)
    image = raw if target == "native" else WarpedVRT(raw, crs=target, **options)
    cog_translate(image, output, profile, config=config, in_memory=False, quiet=True,
                  overview_resampling="average")
"""


class RioCogeo:
    """rio-cogeo over a WarpedVRT, in a process of its own."""

    name = "rio-cogeo"
    transferring = 0.0

    def prepare(self, source: Path) -> None:
        """Nothing to do."""

    def make(self, case: Case, source: Path, prepared: None, output: Path) -> int:
        asked = [str(source), str(output), case.target, case.resampling, case.predictor]
        limits = [gdal.CACHE_BYTES, gdal.THREADS, gdal.WARP_MB]
        command = [sys.executable, "-c", _RIO_COGEO, json.dumps([*asked, *limits])]
        subprocess.run(command, check=True)
        return output.stat().st_size


Maker = Geolathe | GdalWarp | RioCogeo


def measure(case: Case, maker: Maker, source: Path, folder: Path) -> Run:
    prepared: Any = maker.prepare(source)
    output = folder / "out.tif"
    output.unlink(missing_ok=True)
    cpu, transferring = _cpu_seconds(), maker.transferring
    started = time.perf_counter()
    with peak_memory() as peak:
        size = maker.make(case, source, prepared, output)
        wall = time.perf_counter() - started
        megabytes, watching = peak()
    spent = _cpu_seconds() - cpu - watching
    return Run(
        case=case.name,
        maker=maker.name,
        wall_seconds=round(wall, 1),
        cpu_seconds=round(spent, 1),
        transfer_seconds=round(maker.transferring - transferring, 1),
        peak_mb=megabytes,
        output_mb=size / 2**20,
    )


def _cpu_seconds() -> float:
    """Of this process, of those that it waited for, and of the living ones below it."""
    spent = 0.0
    for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN):
        usage = resource.getrusage(who)
        spent += usage.ru_utime + usage.ru_stime
    for pid in descendants(os.getpid()):
        try:
            stat = process_stat(pid)
        except OSError:
            continue
        spent += sum(stat[field] for field in (UTIME, STIME, CUTIME, CSTIME)) / TICKS
    return spent


def compare(folder: Path, azurite: Azurite, size: int, only: str, console: Console) -> list[Run]:
    runs = []
    makers: list[Maker] = [Geolathe(folder, azurite), GdalWarp(), RioCogeo()]
    for case in (case for case in CASES if only in case.name):
        source = folder / f"{case.bands}-{case.dtype}.tif"
        if not source.exists():
            make_source(source, size, case.bands, case.dtype)
        for maker in makers:
            runs.append(measure(case, maker, source, folder))
            run = runs[-1]
            text = f"{run.wall_seconds} s, cpu {run.cpu_seconds} s, {run.peak_mb} MB"
            console.print(f"  {case.name}, {maker.name}: {text}")
    return runs


def memory(folder: Path, azurite: Azurite, console: Console) -> list[Run]:
    """Reprojections of more and more pixels."""
    runs = []
    for label, size in (("30 MB", 3_162), ("300 MB", 10_000), ("3 GB", 31_623)):
        source = folder / "memory.tif"
        make_source(source, size, 3, "uint8")
        case = Case(f"{label} of pixels", 3, "uint8", "EPSG:4326", "cubic", 2)
        runs.append(measure(case, Geolathe(folder, azurite), source, folder))
        console.print(f"  {label}: {runs[-1].peak_mb} MB")
    return runs


def large(folder: Path, azurite: Azurite, side: int, console: Console) -> list[Run]:
    """A picture that is made in windows by two workers."""
    source = folder / "large.tif"
    make_large_source(source, side)
    sizes = {
        "windows_from_mb": 200 if side > _SMALL else 1,
        "window_mb": 64 if side > _SMALL else 8,
    }
    maker = Geolathe(folder, azurite, DEPLOYMENT.model_copy(update=sizes))
    prepared = maker.prepare(source)
    source.unlink()
    cpu = _cpu_seconds()
    with peak_memory() as peak:
        made = run_large(prepared, maker.target(), maker.context)
        megabytes, watching = peak()
    spent = _cpu_seconds() - cpu - watching
    _print_large(made, spent, megabytes, console)
    case = f"{side}^2 in windows"
    return [
        Run(
            case,
            maker.name,
            round(made.wall_seconds, 1),
            round(spent, 1),
            0.0,
            megabytes,
            made.output_mb,
        )
    ]


def _print_large(made: LargeRun, cpu_seconds: float, peak_mb: int, console: Console) -> None:
    pixels = made.plan.width * made.plan.height / 1e6
    console.print(
        f"{made.plan.width} x {made.plan.height} pixels, {len(made.windows)} windows of "
        f"{made.plan.side}: {cpu_seconds / pixels:.2f} CPU s a megapixel, {peak_mb} MB, windows "
        f"{made.quantile(0.5):.1f} s (p50) and {made.quantile(1.0):.1f} s (max), assembly "
        f"{made.assembly_seconds:.1f} s"
    )
    walls = ", ".join(f"{count}: {simulate(made, count):.0f} s" for count in SIMULATED)
    console.print(f"simulated wall by workers: {walls}")
    console.print(describe_plans())


def print_table(runs: list[Run], console: Console) -> None:
    heads = ("case", "maker", "wall s", "ratio", "transfers s", "ratio without", "cpu s")
    table = Table(*heads, "peak MB", "COG MB", box=None)
    base = {run.case: run for run in runs if run.maker == GdalWarp.name}
    for run in runs:
        other = base.get(run.case)
        wall, moving = run.wall_seconds, run.transfer_seconds
        whole = f"{wall / other.wall_seconds:.2f}" if other else ""
        work = f"{(wall - moving) / other.wall_seconds:.2f}" if other and moving else ""
        times = [f"{wall:.1f}", whole, f"{moving:.1f}" if moving else "", work]
        cells = [*times, f"{run.cpu_seconds:.1f}", str(run.peak_mb), f"{run.output_mb:.1f}"]
        table.add_row(run.case, run.maker, *cells)
    console.print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=8_192, help="width and height in pixels")
    parser.add_argument("--memory", action="store_true", help="measure memory instead of time")
    parser.add_argument("--only", default="", help="only cases whose name contains this")
    parser.add_argument("--large", type=float, metavar="GIGAPIXELS", help="one COG in windows")
    parser.add_argument("--quick", action="store_true", help="only check that it works")
    options = parser.parse_args()
    if options.quick:
        options.size = 600
    console = Console()
    folder = Path(tempfile.mkdtemp(prefix="geolathe-raster-"))
    azurite = Azurite(folder / "azurite")
    azurite.start()
    try:
        if options.large:
            side = 1_200 if options.quick else round(math.sqrt(options.large) * 32_768)
            runs = large(folder, azurite, side, console)
        elif options.memory:
            runs = memory(folder, azurite, console)
        else:
            runs = compare(folder, azurite, options.size, options.only, console)
    finally:
        azurite.stop()
        shutil.rmtree(folder, ignore_errors=True)
    print_table(runs, console)
    part = "memory" if options.memory else f"{options.size} px {options.only}".strip()
    part = f"{options.large} gigapixels" if options.large else part
    keep("raster", [asdict(run) for run in runs], quick=options.quick, part=part)


if __name__ == "__main__":
    main()
