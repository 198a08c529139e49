"""Tiles of a collection: `./dev bench mosaic [--sizes 200 2000 10000]`.

Surveys of adjacent COGs of 512 x 512 pixels in UTM are catalogued in pgSTAC, with an overview. The
tile server, and an unmodified titiler-pgstac over the same database and blobs, then send tiles of
every zoom to one client and to eight. Each server has a process for each processor. A hole is a
transparent pixel inside the survey, which is a rectangle in UTM. An unmodified server gets fewer
requests, as it takes seconds for each.
"""

import argparse
import io
import itertools
import math
import os
import random
import statistics
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import httpx
import numpy as np
import rasterio
import rasterio.shutil
from _results import Row, keep
from azure.storage.blob import BlobServiceClient
from numpy.typing import NDArray
from PIL import Image
from pyproj import Transformer
from rasterio.transform import Affine
from rasterio.warp import transform_bounds
from rich.console import Console
from rich.table import Table

from core.models import BlobRef, Json, PublishedItem
from infrastructure.blob_storage import AzureBlobs
from infrastructure.database import open_pool
from infrastructure.migrate import migrate
from infrastructure.pgstac import PgstacCatalog
from local import ports, process
from local.emulators.azurite import Azurite
from local.stack.environment import ROOT
from local.stack.postgres import Cluster
from services.raster.model import RasterType
from services.raster.mosaic.grid import plan_overview
from services.raster.mosaic.model import PasteOverview, PlacedPiece
from services.raster.mosaic.paste import paste_overview
from services.raster.mosaic.piece import make_piece

SIZES = (200, 2_000)
CLIENTS = (1, 8)
SIDE, PIXEL = 512, 0.75
"""Pixels and metres: the native zoom is 17."""
NATIVE_ZOOM = 17
LEFT, TOP = 400_000.0, 5_600_000.0
UTM = "EPSG:32633"
CONTAINER, BATCH = "silver", 500
HALF_WORLD = math.pi * 6_378_137
TO_UTM = Transformer.from_crs("EPSG:3857", UTM, always_xy=True)
ASSETS = {"assets": "data|bidx=1,2,3"}
COG = "image/tiff; application=geotiff; profile=cloud-optimized"


@dataclass(frozen=True)
class Survey:
    """A rectangle of members."""

    collection_id: str
    columns: int
    rows: int
    step: float = SIDE * PIXEL
    """The side of a member in metres."""

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """In UTM."""
        return LEFT, TOP - self.rows * self.step, LEFT + self.columns * self.step, TOP

    def tiles(self, zoom: int, most: int) -> list[tuple[int, int]]:
        """The column and row of tiles of a zoom that the survey meets, at random."""
        left, bottom, right, top = transform_bounds(UTM, "EPSG:3857", *self.bounds)
        size = 2 * HALF_WORLD / 2**zoom
        columns = range(int((left + HALF_WORLD) / size), int((right + HALF_WORLD) / size) + 1)
        rows = range(int((HALF_WORLD - top) / size), int((HALF_WORLD - bottom) / size) + 1)
        every = list(itertools.product(columns, rows))
        random.Random(zoom).shuffle(every)
        met = (tile for tile in every if self.inside(zoom, tile).any())
        return list(itertools.islice(met, most))

    def inside(self, zoom: int, tile: tuple[int, int]) -> NDArray[np.bool_]:
        """Which pixels of a tile lie in the survey, at least two pixels from its edge."""
        size = 2 * HALF_WORLD / 2**zoom
        steps = (np.arange(256) + 0.5) / 256
        x = -HALF_WORLD + (tile[0] + steps) * size
        y = HALF_WORLD - (tile[1] + steps) * size
        east, north = TO_UTM.transform(*np.meshgrid(x, y))
        left, bottom, right, top = self.bounds
        edge = 2 * size / 256
        across = (east > left + edge) & (east < right - edge)
        return across & (north > bottom + edge) & (north < top - edge)


def make_cog(column: int, row: int) -> bytes:
    """A picture with detail, which differs from member to member."""
    y, x = np.mgrid[0:SIDE, 0:SIDE]
    noise = np.random.default_rng(column * 1_000 + row).normal(0, 12, (3, SIDE, SIDE))
    waves = np.sin((x + SIDE * column) / 90) * np.cos((y + SIDE * row) / 70)
    pixels = np.clip(120 + 70 * waves + noise, 1, 254).astype("uint8")
    step = SIDE * PIXEL
    place = Affine(PIXEL, 0, LEFT + column * step, 0, -PIXEL, TOP - row * step)
    profile = {"driver": "GTiff", "width": SIDE, "height": SIDE, "count": 3, "dtype": "uint8"}
    with rasterio.MemoryFile() as plain, rasterio.MemoryFile() as cog:
        with plain.open(**profile, crs=UTM, transform=place) as target:
            target.write(pixels)
        with plain.open() as source:
            rasterio.shutil.copy(source, cog.name, driver="COG", COMPRESS="JPEG", BLOCKSIZE=256)
        return bytes(cog.getbuffer())


def make_item(survey: Survey, number: int, blobs: AzureBlobs) -> Json:
    column, row = number % survey.columns, number // survey.columns
    step = SIDE * PIXEL
    box = (
        LEFT + column * step,
        TOP - (row + 1) * step,
        LEFT + (column + 1) * step,
        TOP - row * step,
    )
    west, south, east, north = transform_bounds(UTM, "EPSG:4326", *box)
    ref = BlobRef(container=CONTAINER, name=f"{survey.collection_id}/{number}.tif")
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    return {
        "type": "Feature",
        "stac_version": "1.1.0",
        "id": f"{number:06}",
        "collection": survey.collection_id,
        "geometry": {"type": "Polygon", "coordinates": [ring]},
        "bbox": [west, south, east, north],
        "properties": {"datetime": "2026-01-01T00:00:00Z"},
        "links": [],
        "assets": {
            "data": {
                "href": blobs.url(ref),
                "type": COG,
                "roles": ["data"],
                "alternate": {"vsiaz": {"href": f"/vsiaz/{ref}"}},
            }
        },
    }


class Bench:
    """The services, and the surveys in them."""

    def __init__(self, blobs: AzureBlobs, storage: BlobServiceClient, catalog: PgstacCatalog,
                 folder: Path) -> None:  # fmt: skip
        self.blobs, self.storage, self.catalog, self.folder = blobs, storage, catalog, folder

    def make_survey(self, size: int) -> tuple[Survey, int]:
        """A survey of `size` members, and the zoom of its overview."""
        columns = math.ceil(math.sqrt(size))
        survey = Survey(f"survey-{size}-{uuid.uuid4().hex[:6]}", columns, size // columns)
        count = survey.columns * survey.rows
        items = [make_item(survey, number, self.blobs) for number in range(count)]
        grid = plan_overview(item["bbox"] for item in items)

        def add(number: int) -> PlacedPiece | None:
            content = make_cog(number % survey.columns, number // survey.columns)
            blob = f"{survey.collection_id}/{number}.tif"
            self.storage.get_blob_client(CONTAINER, blob).upload_blob(content)
            cog, out = self.folder / f"{number}.tif", self.folder / f"piece_{number}.tif"
            cog.write_bytes(content)
            piece = make_piece(cog, grid, RasterType.RGB, out)
            cog.unlink()
            return PlacedPiece(path=str(out), **piece.model_dump()) if piece else None

        with ThreadPoolExecutor(os.cpu_count()) as workers:
            pieces = tuple(filter(None, workers.map(add, range(count))))
        request = PasteOverview(
            grid=grid, pieces=pieces, raster_type=RasterType.RGB, folder=str(self.folder)
        )
        made = paste_overview(request, lambda fraction, message="": None)
        ref = BlobRef(container=CONTAINER, name=f"{survey.collection_id}/overview.tif")
        self.blobs.upload(ref, Path(made.path), content_type=COG)
        self._catalogue(survey, items)
        overview = {"href": self.blobs.url(ref), "type": COG, "roles": ["overview"],
                    "geolathe:maxzoom": made.max_zoom}  # fmt: skip
        self.catalog.update_collection(survey.collection_id, {"assets": {"overview": overview}})
        return survey, made.max_zoom

    def _catalogue(self, survey: Survey, items: list[Json]) -> None:
        box = list(transform_bounds(UTM, "EPSG:4326", *survey.bounds))
        collection = {
            "type": "Collection", "stac_version": "1.1.0", "id": survey.collection_id,
            "description": "A survey", "license": "other", "links": [],
            "extent": {"spatial": {"bbox": [box]},
                       "temporal": {"interval": [["2026-01-01T00:00:00Z"] * 2]}},
        }  # fmt: skip
        for start in range(0, len(items), BATCH):
            batch = [PublishedItem(item=item) for item in items[start : start + BATCH]]
            self.catalog.put_items(batch, collection)


def measure(
    base: str, survey: Survey, zoom: int, clients: int, requests: int
) -> tuple[list[float], float]:
    """Milliseconds of each tile, and the share of the survey's pixels that are holes."""
    tiles = survey.tiles(zoom, requests)
    asked = list(itertools.islice(itertools.cycle(tiles), requests))
    url = f"{base}/collections/{survey.collection_id}/tiles/WebMercatorQuad/{zoom}"

    def ask(client: httpx.Client, tile: tuple[int, int]) -> tuple[float, int, int]:
        started = time.perf_counter()
        answer = client.get(f"{url}/{tile[0]}/{tile[1]}", params=ASSETS)
        spent = 1000 * (time.perf_counter() - started)
        inside = survey.inside(zoom, tile)
        if answer.status_code == 204:
            return spent, int(inside.sum()), int(inside.sum())
        answer.raise_for_status()
        alpha = np.asarray(Image.open(io.BytesIO(answer.content)).convert("RGBA"))[..., 3]
        return spent, int((alpha[inside] == 0).sum()), int(inside.sum())

    with httpx.Client(timeout=120, trust_env=False) as client:
        ask(client, asked[0])
        with ThreadPoolExecutor(clients) as pool:
            found = list(pool.map(partial(ask, client), asked))
    pixels = sum(inside for _, _, inside in found)
    return [spent for spent, _, _ in found], sum(holes for _, holes, _ in found) / pixels


def measure_zooms(
    servers: dict[str, tuple[str, int]], survey: Survey, overview_zoom: int
) -> Iterator[Row]:
    """A row for each zoom, server and number of clients."""
    width = transform_bounds(UTM, "EPSG:3857", *survey.bounds)
    first = int(math.log2(2 * HALF_WORLD / (width[2] - width[0])))
    for zoom, (name, (base, requests)), clients in itertools.product(
        range(first, NATIVE_ZOOM + 1), servers.items(), CLIENTS
    ):
        times, holes = measure(base, survey, zoom, clients, requests)
        yield {
            "items": survey.columns * survey.rows,
            "zoom": zoom,
            "from": "overview" if zoom <= overview_zoom else "items",
            "server": name,
            "clients": clients,
            "p50 ms": statistics.median(times),
            "p95 ms": float(np.percentile(times, 95)),
            "holes %": 100 * holes,
        }


@contextmanager
def serving(app: str, settings: dict[str, str], ready: str, folder: Path) -> Iterator[str]:
    """An ASGI app in a process of its own. Returns its base URL once it listens."""
    port = ports.pick_free()
    log = folder / f"{app.split('.')[0]}.log"
    command = [sys.executable, "-m", "uvicorn", app, "--host", "127.0.0.1", "--port", str(port),
               "--workers", str(os.cpu_count() or 1)]  # fmt: skip
    server = process.spawn(command, log, env={**os.environ, **settings}, cwd=ROOT)
    try:
        process.wait_until_ready(app, server, partial(ports.is_listening, port), log)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.stop(server)


@contextmanager
def running_services(folder: Path) -> Iterator[tuple[Bench, dict[str, str]]]:
    """Database, storage, and the base URLs of both servers by name."""
    cluster, azurite = Cluster(folder / "postgres"), Azurite(folder / "azurite")
    with ExitStack() as stack:
        cluster.start()
        stack.callback(cluster.destroy)
        azurite.start()
        stack.callback(azurite.stop)
        url = cluster.create_database("mosaic")
        migrate(url)
        connection = azurite.connection_string
        storage = stack.enter_context(BlobServiceClient.from_connection_string(connection))
        storage.create_container(CONTAINER)
        blobs = stack.enter_context(closing(AzureBlobs(connection)))
        pool = stack.enter_context(open_pool(url, max_size=2))
        ours = {"DATABASE_URL": url, "STORAGE_CONNECTION": connection, "TILE_CONTAINERS": CONTAINER}
        stock = {"DATABASE_URL": url, "AZURE_STORAGE_CONNECTION_STRING": connection,
                 "RIO_TILER_STAC_ALTERNATE_KEY": "vsiaz",
                 "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR"}  # fmt: skip
        servers = {
            "geolathe": stack.enter_context(serving("tiles.app:app", ours, "/healthz", folder)),
            "titiler-pgstac": stack.enter_context(
                serving("titiler.pgstac.main:app", stock, "/healthz", folder)
            ),
        }
        scratch = folder / "scratch"
        scratch.mkdir()
        yield Bench(blobs, storage, PgstacCatalog(pool), scratch), servers


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", nargs="+", type=int, default=SIZES, help="numbers of items")
    parser.add_argument("--quick", action="store_true", help="only check that it works")
    options = parser.parse_args()
    sizes = [9] if options.quick else options.sizes
    requests = {"geolathe": 2, "titiler-pgstac": 1} if options.quick else {
        "geolathe": 40, "titiler-pgstac": 8}  # fmt: skip
    console, rows = Console(), list[Row]()
    with tempfile.TemporaryDirectory(prefix="geolathe-bench-") as name:
        folder = Path(name)
        folder.chmod(0o711)
        with running_services(folder) as (bench, servers):
            for size in sizes:
                survey, zoom = bench.make_survey(size)
                asked = {server: (base, requests[server]) for server, base in servers.items()}
                for row in measure_zooms(asked, survey, zoom):
                    rows.append(row)
                    console.print(row)
    table = Table(*rows[0], box=None)
    for row in rows:
        table.add_row(*(f"{value:,.1f}" if isinstance(value, float) else str(value)
                        for value in row.values()))  # fmt: skip
    console.print(table)
    keep("mosaic", rows, quick=options.quick)


if __name__ == "__main__":
    main()
