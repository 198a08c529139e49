"""A folder of tiles to one map, compared with a script: `./dev bench collection [--tiles 1000]`.

Geolathe runs process_raster_collection in a stack of its own, from the submission to the result.
The script (collection_script.sh) runs curl, `gdalwarp -of COG` and curl for each tile, as many at a
time as there are processors, and loads all items with one `pypgstac load`: without validation,
statistics, footprints, overview and registry. Both write DEFLATE COGs in EPSG:4326. Processor time
is that of the functions host with its children, and of the script with its children; storage and
database are left out. Then the share link is opened, and tiles of every zoom are fetched: holes are
pixels of the survey without data.
"""

import argparse
import os
import resource
import statistics
import subprocess
import tempfile
import time
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx
import numpy as np
import psycopg
import rasterio
from _machine import install_program
from _results import Row, keep
from _watch import Watch, find_host, processor_seconds, watching
from azure.storage.blob import BlobServiceClient
from engine import running_stack
from job import Script
from mosaic import LEFT, TOP, Survey, measure
from psycopg.rows import dict_row
from raster import make_source
from rasterio.transform import Affine
from rich.console import Console
from rich.table import Table

from geolathe import Client, Job
from local.stack.environment import BRONZE, SILVER, Environment
from local.stack.stack import Stack

SCRIPT = Path(__file__).with_name("collection_script.sh")
SIZE = 1_024
PIXEL = 10
"""Metres."""
TIMEOUT = 7_200.0
SAMPLE_SECONDS = 2.0
MB = 2**20


def put_tiles(environment: Environment, prefix: str, count: int, folder: Path) -> None:
    """Upload tiles that lie next to each other, all with the same pixels."""
    path = folder / "tile.tif"
    make_source(path, SIZE, 3, "uint8")
    columns = in_a_row(count)
    service = BlobServiceClient.from_connection_string(environment.storage_connection_string)
    with service, service.get_container_client(BRONZE) as container:
        for number in range(count):
            row, column = divmod(number, columns)
            west, north = LEFT + PIXEL * SIZE * column, TOP - PIXEL * SIZE * row
            with rasterio.open(path, "r+") as tile:
                tile.transform = Affine(PIXEL, 0, west, 0, -PIXEL, north)
            container.upload_blob(f"{prefix}{number:05}.tif", path.read_bytes())


def in_a_row(tiles: int) -> int:
    return max(1, round(tiles**0.5))


def run_geolathe(environment: Environment, prefix: str, tiles: int) -> tuple[Row, Job]:
    """Submit the folder and wait for the map."""
    host = find_host(Stack(environment.folder))
    watch = Watch(host, environment.folder)
    before, started = processor_seconds(host), time.perf_counter()
    with (
        watching(watch, SAMPLE_SECONDS),
        Client(environment.api, environment.keys.function_key) as client,
    ):
        wanted = {"container_name": BRONZE, "prefix": prefix, "collection_id": "tiles"}
        job = client.submit("process_raster_collection", wanted).wait(TIMEOUT)
    seconds = time.perf_counter() - started
    if job.status != "completed" or job.result["members"]["published"] != tiles:
        raise SystemExit(f"{job.status}: {job.reason or job.result}")
    peaks = {"host_mb": watch.host_peak // MB, "child_mb": watch.child_peak // MB}
    return make_row("Geolathe", tiles, seconds, processor_seconds(host) - before) | peaks, job


def measure_stages(environment: Environment, job_id: str) -> list[Row]:
    """The seconds of each stage, and those that its tasks took one by one."""
    query = """
        SELECT s.task_type, s.total_tasks AS tasks,
               round(extract(epoch FROM s.finished_at - s.created_at), 1)::float AS seconds,
               round(avg(extract(epoch FROM t.finished_at - t.started_at)), 2)::float AS each
          FROM app.stages s LEFT JOIN app.tasks t USING (job_id, stage)
         WHERE s.job_id = %s GROUP BY s.job_id, s.stage ORDER BY s.stage"""
    with psycopg.connect(environment.database_url, row_factory=dict_row) as connection:
        return connection.execute(query, (job_id,)).fetchall()


def look_at_map(environment: Environment, share_url: str, tiles: int, quick: bool) -> list[Row]:
    """Tiles of every zoom at random places: their times, and pixels of the survey without data."""
    httpx.get(share_url, trust_env=False).raise_for_status()
    columns = in_a_row(tiles)
    survey = Survey("tiles", columns, tiles // columns, PIXEL * SIZE)
    query = parse_qs(urlsplit(share_url).query)
    rows = []
    for zoom in range(int(query["minzoom"][0]), int(query["maxzoom"][0]) + 2):
        times, holes = measure(environment.titiler, survey, zoom, 1, 2 if quick else 40)
        rows.append(
            {
                "zoom": zoom,
                "p50_ms": round(statistics.median(times)),
                "p95_ms": round(float(np.percentile(times, 95))),
                "holes_percent": round(100 * holes, 4),
            }
        )
    return rows


def run_script(environment: Environment, prefix: str, tiles: int, folder: Path) -> Row:
    """Run the script over the same tiles."""
    script = Script(environment, folder)
    listed = folder / "tiles.txt"
    with listed.open("w") as lines:
        for number in range(tiles):
            source = script.sign(BRONZE, f"{prefix}{number:05}.tif")
            target = script.sign(SILVER, f"script/{number:05}.tif")
            lines.write(f"{source} {target} script-{number}\n")
    settings = {
        "TILES": str(listed),
        "FOLDER": str(folder),
        "COLLECTION": "tiles",
        "PROCESSES": str(os.cpu_count() or 1),
    }
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run([SCRIPT], env={**script.settings, **settings}, check=True, timeout=TIMEOUT)
    seconds, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    busy = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return make_row("script", tiles, seconds, busy)


def make_row(program: str, tiles: int, seconds: float, busy: float) -> Row:
    return {
        "program": program,
        "tiles": tiles,
        "seconds": round(seconds, 1),
        "tiles_per_second": round(tiles / seconds, 2),
        "processor_seconds_per_tile": round(busy / tiles, 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="./dev bench collection", description=__doc__)
    parser.add_argument("--tiles", type=int, default=1_000, help="tiles of a megapixel")
    parser.add_argument("--quick", action="store_true", help="only check that it works")
    options = parser.parse_args()
    tiles = 4 if options.quick else options.tiles
    install_program("gdalwarp", "gdal-bin")
    install_program("curl", "curl")
    with tempfile.TemporaryDirectory(prefix="geolathe-collection-") as name:
        folder = Path(name)
        with running_stack() as environment:
            put_tiles(environment, "tiles/", tiles, folder)
            row, job = run_geolathe(environment, "tiles/", tiles)
            stages = measure_stages(environment, job.id)
            zooms = look_at_map(environment, job.result["share_url"], tiles, options.quick)
            rows = [row, run_script(environment, "tiles/", tiles, folder)]
    for part, found in (("rows", rows), ("stages", stages), ("zooms", zooms)):
        table = Table(*found[0], box=None)
        for each in found:
            table.add_row(*map(str, each.values()))
        Console().print(table)
        keep("collection", found, quick=options.quick, part=part)


if __name__ == "__main__":
    main()
