"""`./dev demo`: a sample raster becomes a map, and the map is looked at."""

from __future__ import annotations

import io
import math
from typing import Any

import httpx
from PIL import Image
from rich.console import Console

from local.errors import LocalError
from local.stack.environment import ROOT, Environment
from local.steps import Report
from local.submission import Status, submit_file, why_it_failed

SAMPLE = ROOT / "samples" / "bahamas_landsat7.tif"


def run_demo(environment: Environment, console: Console) -> str:
    """Submit the sample and look at its map. Returns the share URL; raises LocalError."""
    status = submit_file(environment, SAMPLE, [], console)
    if reason := why_it_failed(status):
        raise LocalError(reason, hint="./dev logs host shows more")
    look_at_map(status, Report(console))
    return str(status["result_data"]["share_url"])


def look_at_map(status: Status, report: Report) -> None:
    """Open the share link, its tilejson and one tile. Raises LocalError when no picture comes."""
    result = status["result_data"]
    with httpx.Client(trust_env=False, timeout=60, follow_redirects=True) as client:
        with report.step("share link") as did:
            _get(client, result["share_url"])
            did.append("opens")
        with report.step("tilejson") as did:
            tilejson = _get(client, result["titiler_urls"]["tilejson_url"]).json()
            did.append(f"zoom {tilejson['minzoom']} to {tilejson['maxzoom']}")
        with report.step("tile") as did:
            url = tile_url(tilejson)
            did.append(f"{count_colours(_get(client, url).content)} colours")


def tile_url(tilejson: dict[str, Any]) -> str:
    """The tile in the middle of the raster, at a zoom where it fills the tile."""
    west, south, east, north = tilejson["bounds"]
    zoom = max(tilejson["minzoom"], min(tilejson["maxzoom"], tilejson["minzoom"] + 1))
    x, y = tile_at((west + east) / 2, (south + north) / 2, zoom)
    url: str = tilejson["tiles"][0]
    for name, value in (("{z}", zoom), ("{x}", x), ("{y}", y)):
        url = url.replace(name, str(value))
    return url


def tile_at(longitude: float, latitude: float, zoom: int) -> tuple[int, int]:
    """Column and row of the Web Mercator tile that holds a point (OSM's "slippy map" formula)."""
    across = (longitude + 180) / 360
    down = (1 - math.asinh(math.tan(math.radians(latitude))) / math.pi) / 2
    return math.floor(across * 2**zoom), math.floor(down * 2**zoom)


def count_colours(picture: bytes) -> int:
    """How many colours a picture has. Raises LocalError when it is one: that is no map."""
    with Image.open(io.BytesIO(picture)) as image:
        colours = image.convert("RGBA").getcolors(maxcolors=image.width * image.height)
    if colours is None or len(colours) < 2:
        raise LocalError("the tile is one colour", hint="./dev logs titiler may say why")
    return len(colours)


def _get(client: httpx.Client, url: str) -> httpx.Response:
    try:
        answer = client.get(url)
    except httpx.TransportError as error:
        raise LocalError(f"{url} does not answer ({error})", hint="./dev logs titiler") from error
    if not answer.is_success:
        raise LocalError(
            f"{url} answers {answer.status_code}: {answer.text[:300]}", hint="./dev logs titiler"
        )
    return answer
