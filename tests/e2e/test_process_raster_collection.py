"""A folder of rasters through HTTP: failures are named, and a retry completes the map."""

import io
import uuid
from pathlib import Path
from typing import Any

import httpx
import morecantile
import numpy as np
import pytest
from PIL import Image
from rasterio.transform import Affine, from_origin
from rasterio.warp import transform

from local.stack.environment import BRONZE
from tests.fixtures.made_rasters import write

UTM = "EPSG:32633"
SIDE, PIXEL, IN_A_ROW, COUNT = 32, 10.0, 5, 20
CUT, PLACELESS, UNLIKE = 17, 18, 19
REASONS = {CUT: "incomplete", PLACELESS: "has no CRS", UNLIKE: "1 band of uint8"}
TMS = morecantile.tms.get("WebMercatorQuad")


def place_of(number: int) -> Affine:
    row, column = divmod(number, IN_A_ROW)
    side = SIDE * PIXEL
    return from_origin(500_000 + column * side, 5_500_000 - row * side, PIXEL, PIXEL)


def grey_of(number: int) -> int:
    return 20 + 10 * number


@pytest.fixture
def folder(product, tmp_path):
    return Folder(product, tmp_path)


class Folder:
    """Adjacent rasters in the bronze container, each of one grey."""

    def __init__(self, product: Any, local: Path) -> None:
        self.product, self.local = product, local
        self.name = f"tiles-{uuid.uuid4().hex[:8]}"

    def put(self, number: int, bands: int = 3, **profile: Any) -> None:
        pixels = np.full((bands, SIDE, SIDE), grey_of(number), "uint8")
        place = {"crs": UTM, "transform": place_of(number)}
        self._upload(number, write(self._path(number), pixels, **(place | profile)))

    def put_half(self, number: int) -> None:
        """A file whose upload was cut off."""
        self.put(number)
        content = self._path(number).read_bytes()
        self._path(number).write_bytes(content[: len(content) // 2])
        self._upload(number, self._path(number))

    def _path(self, number: int) -> Path:
        return self.local / f"{number:02}.tif"

    def _upload(self, number: int, path: Path) -> None:
        self.product.upload(path, f"{self.name}/{path.name}")


def find_shown(template: str, zoom: int) -> set[int]:
    """The numbers of the rasters in whose middle the map has their grey."""
    return {number for number in range(COUNT) if is_shown(template, zoom, number)}


def is_shown(template: str, zoom: int, number: int) -> bool:
    x, y = place_of(number) * (SIDE / 2, SIDE / 2)
    [lon], [lat] = transform(UTM, "EPSG:4326", [x], [y])
    tile = TMS.tile(lon, lat, zoom)
    answer = httpx.get(template.format(z=tile.z, x=tile.x, y=tile.y), timeout=60)
    if answer.status_code == 204:
        return False
    assert answer.status_code == 200, answer.text
    picture = Image.open(io.BytesIO(answer.content)).convert("RGBA")
    box = TMS.bounds(tile)
    column = (lon - box.left) / (box.right - box.left) * picture.width
    row = (box.top - lat) / (box.top - box.bottom) * picture.height
    *color, alpha = picture.getpixel((int(column), int(row)))
    assert alpha in (0, 255)
    assert not alpha or all(abs(each - grey_of(number)) <= 4 for each in color)
    return alpha == 255


def find_reason(product: Any, job_id: str, number: int) -> str:
    """The message of the failed task of a raster."""
    with product.api as api:
        page = api.get(f"/jobs/{job_id}/tasks", params={"status": "failed"}).json()
    assert len(page["tasks"]) == 3
    messages = [task["error"]["message"] for task in page["tasks"]]
    [found] = [message for message in messages if f"{number}.tif" in message]
    return found


def test_three_bad_rasters_are_named_and_the_retry_completes_the_map(product, folder):
    for number in range(CUT):
        folder.put(number)
    folder.put_half(CUT)
    folder.put(PLACELESS, crs=None)
    folder.put(UNLIKE, bands=1)
    wanted = {"container_name": BRONZE, "prefix": f"{folder.name}/"}
    job = product.run("process_raster_collection", **wanted, collection_id=folder.name)
    assert job["status"] == "completed_with_errors", job
    result = job["result_data"]
    members = result["members"]
    assert (members["found"], members["published"]) == (20, 17)
    assert (members["invalid"], members["failed"]) == (2, 1)
    for number, words in REASONS.items():
        assert words in find_reason(product, job["job_id"], number)
    template = result["titiler_urls"]["tiles_url_template"]
    # Above the zoom of the overview, which the tile server looks up every 30 seconds only.
    zoom = int(httpx.URL(result["share_url"]).params["maxzoom"]) + 1
    assert httpx.get(result["share_url"]).status_code == 200
    assert find_shown(template, zoom) == set(range(CUT))

    for number in REASONS:
        folder.put(number)
    with product.api as api:
        assert api.post(f"/jobs/{job['job_id']}/retry").status_code == 202
    job = product.wait(job["job_id"])
    assert job["status"] == "completed", job
    members = job["result_data"]["members"]
    assert (members["published"], members["reused"], members["unchanged"]) == (20, 17, 17)
    assert job["result_data"]["has_overview"]
    assert find_shown(template, zoom) == set(range(COUNT))
