"""One very large raster from request to map: `./dev bench large [--gigapixels 1] [--kill 8]`.

A stack of its own makes a COG in windows. Meanwhile raster processes are killed (SIGKILL) at random
moments, and so is the functions host, once: each kill of the host costs an attempt of all tasks
that it holds, also of those that wait for a processor. Both are killed once more while the COG is
assembled. The host is started again, and a job that fails is retried. Afterwards the map is opened,
and its pixels are compared with those of the source. Processor time is that of the host with its
children; what a host spent in the last half second before it was killed is not counted.
"""

import argparse
import math
import os
import random
import signal
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psycopg
import rasterio
from _machine import PARENT, process_stat
from _results import Row, keep
from _watch import Watch, find_host, watching
from _windows import large_profile
from azure.storage.blob import BlobServiceClient
from engine import running_stack
from PIL import Image
from psycopg.rows import dict_row
from raster import descendants
from rasterio.warp import transform
from rasterio.windows import Window
from rich.console import Console
from rich.table import Table

from geolathe import Client, Job
from local.stack.environment import BRONZE, Environment
from local.stack.stack import Stack
from local.steps import Report

BLOB = "large.tif"
VICTIMS = ("raster process", "host")
STRIP = 512
METRES = 0.5
"""The size of a pixel: four gigapixels are 33 km wide."""
SAMPLE_SECONDS = 0.5
RETRIES = 3
PLACES = 4
DEVIATION = 6
"""Of 255: what cubic resampling changes in a smooth picture, with the steps between strips."""
MB = 2**20
WINDOWS = """
    SELECT count(*) FILTER (WHERE t.status = 'completed') AS done, count(*) AS windows,
           percentile_cont(0.5) WITHIN GROUP (ORDER BY t.finished_at - t.started_at) AS p50,
           max(t.finished_at - t.started_at) AS longest
      FROM app.tasks t WHERE t.task_type = 'encode_window'"""
REPEATED = "SELECT count(*) AS attempts FROM app.attempts"


def make_picture(path: Path, side: int) -> None:
    """A smooth picture with a bit of noise, whose strips differ in brightness.

    It takes two minutes for a gigapixel, and constant memory.
    """
    y, x = np.mgrid[0:STRIP, 0:side].astype("float32")
    waves = 110 + 60 * np.sin(x / 397) + 20 * np.cos(y * 2 * np.pi / STRIP)
    noise = np.random.default_rng(1).integers(0, 2, (3, *waves.shape), "uint8")
    strip = np.stack([waves + 10 * band for band in range(3)]).astype("uint8") + noise
    with rasterio.open(path, "w", **large_profile(side, METRES)) as target:
        for row in range(0, side, STRIP):
            rows = min(STRIP, side - row)
            brightness = round(20 + 20 * math.sin(row / STRIP / 5))
            target.write(strip[:, :rows] + np.uint8(brightness), window=Window(0, row, side, rows))


@dataclass
class Killer:
    """Kills processes of a stack."""

    stack: Stack
    watch: Watch
    chance: random.Random
    moments: list[float]
    """Shares of the windows, in descending order, after which a process is killed."""
    host_turn: int
    """How many moments are left, with the present one, when the host is killed."""
    in_assembly: list[str]
    """What is killed then, the last one first."""
    killed: list[str] = field(default_factory=list)

    def act(self, share: float, assembles: bool) -> None:
        """Kill what is due when this share of the windows is done."""
        if self.moments and share >= self.moments[-1]:
            if self._kill(VICTIMS[len(self.moments) == self.host_turn]):
                self.moments.pop()
        elif assembles and self.in_assembly and self._kill(self.in_assembly[-1]):
            self.in_assembly.pop()

    def _kill(self, victim: str) -> bool:
        """False if no such process runs."""
        if victim == "host":
            os.kill(self.watch.host, signal.SIGKILL)
            self.stack.up(Report(Console(quiet=True)))
            self.watch.follow(find_host(self.stack))
        else:
            running = self._raster_processes()
            if not running:
                return False
            with suppress(ProcessLookupError):
                os.kill(self.chance.choice(running), signal.SIGKILL)
        self.killed.append(victim)
        return True

    def _raster_processes(self) -> list[int]:
        """The children of the fork server, which is a child of the host."""
        found = []
        for pid in descendants(self.watch.host):
            with suppress(OSError):
                if process_stat(pid)[PARENT] != self.watch.host:
                    found.append(pid)
        return found


def run(environment: Environment, source: Path, kills: int, console: Console) -> Row:
    """Submit the raster, disturb its job, and look at the map."""
    stack, chance = Stack(environment.folder), random.Random(1)
    watch = Watch(find_host(stack), environment.folder)
    moments = sorted((chance.uniform(0.02, 0.98) for _ in range(kills)), reverse=True)
    in_assembly = [*reversed(VICTIMS)] if kills else []
    killer = Killer(stack, watch, chance, moments, (kills + 1) // 2, in_assembly)
    started = time.perf_counter()
    with (
        watching(watch, SAMPLE_SECONDS),
        Client(environment.api, environment.keys.function_key) as client,
    ):
        job = client.submit("process_raster", {"container_name": BRONZE, "blob_name": BLOB})
        job, retries = follow(environment, client, job, killer, console)
    wall = time.perf_counter() - started
    with rasterio.open(source) as picture:
        megapixels = picture.width * picture.height / 1e6
    if job.status != "completed":
        raise SystemExit(f"{job.status}: {job.reason}")
    windows, repeated = ask(environment, WINDOWS), ask(environment, REPEATED)
    return {
        "gigapixels": round(megapixels / 1e3, 2),
        "state": job.status,
        "wall_seconds": round(wall, 1),
        "processor_seconds_per_megapixel": round(watch.processor_seconds / megapixels, 3),
        "host_peak_mb": watch.host_peak // MB,
        "child_peak_mb": watch.child_peak // MB,
        "scratch_peak_mb": round(watch.scratch_peak / MB, 1),
        "windows": windows["windows"],
        "window_p50_seconds": round(windows["p50"].total_seconds(), 1),
        "window_max_seconds": round(windows["longest"].total_seconds(), 1),
        "killed": ", ".join(f"{killer.killed.count(each)} {each}" for each in VICTIMS),
        "attempts_repeated": repeated["attempts"],
        "retries": retries,
        "largest_deviation": look_at_map(job.result, source),
    }


def follow(
    environment: Environment, client: Client, job: Job, killer: Killer, console: Console
) -> tuple[Job, int]:
    """Poll the status, and kill what is due. Returns also how often the job had to be retried."""
    printed, retries = 0.0, 0
    while not job.is_final:
        time.sleep(1)
        job = client.show(job.id)
        found = ask(environment, WINDOWS)
        share = found["done"] / found["windows"] if found["windows"] else 0.0
        stages = {stage["task_type"]: stage["status"] for stage in job.stages}
        killer.act(share, stages.get("create_cog") == "processing")
        if share >= printed + 0.05:
            printed = share
            console.print(f"  {100 * share:.0f} % of the windows, killed: {len(killer.killed)}")
        if job.status == "failed" and retries < RETRIES:
            console.print(f"  retrying: {job.reason}")
            job, retries = client.retry(job.id), retries + 1
    return job, retries


def ask(environment: Environment, query: str) -> dict[str, Any]:
    with psycopg.connect(environment.database_url, row_factory=dict_row) as connection:
        row: dict[str, Any] | None = connection.execute(query.encode()).fetchone()
    assert row is not None
    return row


def look_at_map(result: dict[str, Any], source: Path) -> int:
    """Open the share link, and compare tiles with the source, at two zooms in several places.

    Returns the largest deviation. Raises SystemExit if a tile differs, and HTTPStatusError.
    """
    urls, largest = result["titiler_urls"], 0
    with httpx.Client(trust_env=False, timeout=120) as tiles, rasterio.open(source) as picture:
        tiles.get(result["share_url"]).raise_for_status()
        layer = tiles.get(urls["tilejson_url"]).raise_for_status().json()
        chance = random.Random(2)
        for zoom in (layer["maxzoom"], layer["maxzoom"] - 4):
            for _ in range(PLACES):
                place = _choose_place(picture, chance)
                shown = _read_tile(tiles, urls["tiles_url_template"], zoom, picture, place)
                expected = _read_source(picture, zoom, layer["maxzoom"], place)
                deviation = int(np.abs(shown - expected).max())
                if deviation > DEVIATION:
                    text = f"{shown} at zoom {zoom} instead of {expected}, {place}"
                    raise SystemExit(f"the map shows {text}")
                largest = max(largest, deviation)
    return largest


def _choose_place(picture: rasterio.DatasetReader, chance: random.Random) -> tuple[int, int]:
    """A row in the middle of a strip, and a column, away from the edges."""
    strips = picture.height // STRIP
    row = STRIP * chance.randrange(strips // 8, max(strips * 7 // 8, strips // 8 + 1)) + STRIP // 2
    return row, chance.randrange(picture.width // 8, picture.width * 7 // 8)


def _read_tile(
    tiles: httpx.Client,
    template: str,
    zoom: int,
    picture: rasterio.DatasetReader,
    place: tuple[int, int],
) -> Any:
    """The colour of the place in its tile of 256 pixels."""
    x, y = picture.xy(*place)
    [x], [y] = transform(picture.crs, "EPSG:3857", [x], [y])
    world = 2 * math.pi * 6_378_137
    across, down = ((0.5 + x / world) * 2**zoom, (0.5 - y / world) * 2**zoom)
    url = template.format(z=zoom, x=int(across), y=int(down))
    content = tiles.get(url).raise_for_status().content
    pixels = np.asarray(Image.open(BytesIO(content)).convert("RGB")).astype(int)
    side = pixels.shape[0]
    return pixels[int(down % 1 * side), int(across % 1 * side)]


def _read_source(
    picture: rasterio.DatasetReader, zoom: int, finest: int, place: tuple[int, int]
) -> Any:
    """The mean colour of what a pixel of the tile covers."""
    side = 2 ** (finest - zoom)
    row, column = (each - side // 2 for each in place)
    return picture.read(window=Window(column, row, side, side)).mean(axis=(1, 2))


def main() -> None:
    parser = argparse.ArgumentParser(prog="./dev bench large", description=__doc__)
    parser.add_argument("--gigapixels", type=float, default=1.0)
    parser.add_argument("--kill", type=int, default=8, help="how many processes during windows")
    parser.add_argument("--quick", action="store_true", help="only check that it works")
    options = parser.parse_args()
    side = round(math.sqrt(options.gigapixels) * 32_768)
    if options.quick:
        side = 8 * STRIP
        os.environ |= {"WINDOWS_FROM_MB": "8", "WINDOW_MB": "8"}
    console = Console()
    with tempfile.TemporaryDirectory(prefix="geolathe-large-") as name, running_stack() as stack:
        source = Path(name, BLOB)
        make_picture(source, side)
        console.print(f"{side} x {side} pixels, {source.stat().st_size / MB:.0f} MB")
        storage = BlobServiceClient.from_connection_string(stack.storage_connection_string)
        with storage, storage.get_blob_client(BRONZE, BLOB) as blob, source.open("rb") as file:
            blob.upload_blob(file, max_concurrency=2)
        row = run(stack, source, 2 if options.quick else options.kill, console)
    table = Table("what", "figure", box=None)
    for key, value in row.items():
        table.add_row(key.replace("_", " "), str(value))
    console.print(table)
    part = f"{options.gigapixels:g} gigapixels"
    keep("large", [row], quick=options.quick, part=part, load_after=os.getloadavg()[2])


if __name__ == "__main__":
    main()
