"""`./dev demo`: turn the sample raster into a map and check that the map shows it."""

from __future__ import annotations

import io
import math
from typing import Any

import httpx
from PIL import Image
from rich.console import Console

from geolathe import Error
from local.client import process_file
from local.errors import LocalError
from local.stack.environment import ROOT, Environment
from local.steps import Report

SAMPLE = ROOT / "samples" / "bahamas_landsat7.tif"
LOGS = "./dev logs host and ./dev logs titiler show more"


def run_demo(environment: Environment, console: Console) -> str:
    """Process the sample and check its map. Returns the share URL; raises LocalError."""
    try:
        job = process_file(environment, SAMPLE, console)
    except Error as error:
        raise LocalError(str(error), hint=LOGS) from error
    if job.result is None:
        raise LocalError(job.reason, hint=LOGS)
    check_map(job.result, Report(console))
    return str(job.result["share_url"])


def check_map(result: dict[str, Any], report: Report) -> None:
    """Open the share link, the TileJSON and one tile. Raises LocalError if one of them fails."""
    with httpx.Client(trust_env=False, timeout=60, follow_redirects=True) as client:
        with report.step("share link") as done:
            _get(client, result["share_url"])
            done.append("opens")
        with report.step("tilejson") as done:
            tilejson = _get(client, result["titiler_urls"]["tilejson_url"]).json()
            done.append(f"zoom {tilejson['minzoom']} to {tilejson['maxzoom']}")
        with report.step("tile") as done:
            url = tile_url(tilejson)
            done.append(f"{count_colours(_get(client, url).content)} colours")


def tile_url(tilejson: dict[str, Any]) -> str:
    """The URL of a tile at the centre of the raster, one level above the minimum zoom."""
    west, south, east, north = tilejson["bounds"]
    zoom = max(tilejson["minzoom"], min(tilejson["maxzoom"], tilejson["minzoom"] + 1))
    x, y = tile_at((west + east) / 2, (south + north) / 2, zoom)
    url: str = tilejson["tiles"][0]
    for name, value in (("{z}", zoom), ("{x}", x), ("{y}", y)):
        url = url.replace(name, str(value))
    return url


def tile_at(longitude: float, latitude: float, zoom: int) -> tuple[int, int]:
    """Column and row of the Web Mercator tile that contains a point.

    https://wiki.openstreetmap.org/wiki/Slippy_map_tilenames
    """
    column = (longitude + 180) / 360
    row = (1 - math.asinh(math.tan(math.radians(latitude))) / math.pi) / 2
    return math.floor(column * 2**zoom), math.floor(row * 2**zoom)


def count_colours(content: bytes) -> int:
    """The number of colours in an image. Raises LocalError if there is only one: an empty tile."""
    with Image.open(io.BytesIO(content)) as image:
        colours = image.convert("RGBA").getcolors(maxcolors=image.width * image.height)
    if colours is None or len(colours) < 2:
        raise LocalError("the tile has a single colour", hint="./dev logs titiler may show why")
    return len(colours)


def _get(client: httpx.Client, url: str) -> httpx.Response:
    try:
        response = client.get(url)
    except httpx.TransportError as error:
        raise LocalError(f"no response from {url}: {error}", hint="./dev logs titiler") from error
    if not response.is_success:
        raise LocalError(
            f"HTTP {response.status_code} from {url}: {response.text[:300]}",
            hint="./dev logs titiler",
        )
    return response
