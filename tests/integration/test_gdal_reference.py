"""COGs made by one task and in windows, compared with GDAL's own warp and exact overviews."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.control import GroundControlPoint
from rasterio.crs import CRS
from rasterio.enums import ColorInterp, Resampling

from services.raster.model import Cog
from tests.fixtures.corpus import HERE, Raster, rasters
from tests.fixtures.exact_overviews import find_faults
from tests.fixtures.gdal_reference import Difference, Truth, compare_with_gdal
from tests.fixtures.made_rasters import UTM33, classes, hills, photo, write
from tests.fixtures.raster_handlers import RasterHandlers
from tests.fixtures.windowed_job import SMALL_WINDOWS, WindowedJob

RGB = [ColorInterp.red, ColorInterp.green, ColorInterp.blue]
RGBA = [*RGB, ColorInterp.alpha]
HEIGHT, WIDTH = 97, 1_061
CORNERS = ((0, 0), (0, WIDTH), (HEIGHT, 0), (HEIGHT, WIDTH), (HEIGHT // 2, WIDTH // 2))
HOLE = np.s_[..., 40:63, 300:600]


@dataclass(frozen=True)
class Case:
    """A source, and where it goes."""

    pixels: Callable[[], np.ndarray]
    target: str = "EPSG:4326"
    crs: str = "EPSG:32633"
    transform: Affine = UTM33
    profile: dict[str, Any] = field(default_factory=dict)
    hole: float | None = None
    """The value of the pixels without data."""
    masked: bool = False
    """Whether a mask says which they are."""
    palette: bool = False
    control_points: bool = False

    def write(self, path) -> Truth:
        pixels = self.pixels()
        valid = np.ones(pixels.shape[1:], bool)
        if self.hole is not None:
            pixels[HOLE], valid[HOLE] = self.hole, False
        place = {"crs": self.crs, "transform": self.transform}
        if self.control_points:
            points = [GroundControlPoint(row, column, *(self.transform @ (column, row)))
                      for row, column in CORNERS]  # fmt: skip
            place = {"crs": self.crs, "transform": None, "gcps": points}
        with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True):
            write(path, pixels, tiled=True, **place, **self.profile)
            with rasterio.open(path, "r+") as image:
                if self.masked:
                    image.write_mask(valid)
                if self.palette:
                    image.write_colormap(1, {n: (n, 255 - n, 9, 255) for n in range(256)})
        if pixels.shape[0] == 4:
            pixels, valid = pixels[:3], pixels[3] > 0
        return Truth(pixels, valid, CRS.from_user_input(self.crs), self.transform)


@cache
def surface(bands):
    return hills(WIDTH, bands, "float64", 1)[:, :HEIGHT]


@cache
def image():
    return photo(WIDTH, 4)[:, :HEIGHT]


def slopes(dtype="float32", bands=1, top=900):
    return (surface(bands) * top).astype(dtype)


def picture(bands=3):
    pixels = image()[:bands].copy()
    if bands == 4:
        pixels[3] = 255
        pixels[3][HOLE] = 0
    return pixels


def patches():
    return classes(WIDTH)[:, :HEIGHT]


UNJUDGED = {"sparse_cog.tif"}  # decodes to 1.7 GB, and has no valid pixels
COLORED = {"colorinterp": RGB}
CASES = {
    "picture": Case(picture, profile=COLORED),
    "picture in its own CRS": Case(picture, target="native", profile=COLORED),
    "picture with nodata": Case(picture, profile=COLORED | {"nodata": 0}, hole=0),
    "picture with a mask": Case(picture, profile=COLORED, hole=7, masked=True),
    "picture with alpha": Case(lambda: picture(4), profile={"colorinterp": RGBA}),
    "palette": Case(patches, palette=True),
    "palette with nodata": Case(
        patches, "EPSG:3857", profile={"nodata": 0}, hole=0, palette=True
    ),
    "float elevation": Case(slopes, "EPSG:3035", profile={"nodata": -9999}, hole=-9999),
    "float with NaN": Case(slopes, "EPSG:3857", profile={"nodata": np.nan}, hole=np.nan),
    "NaN without nodata": Case(slopes, hole=np.nan),
    "float64": Case(lambda: slopes("float64"), "EPSG:3857"),
    "int16 elevation": Case(lambda: slopes("int16"), profile={"nodata": -32768}, hole=-32768),
    "six bands": Case(lambda: slopes("uint16", 6, 9_000), profile={"nodata": 0}, hole=0),
    "six bands with a mask": Case(lambda: slopes("uint16", 6, 9_000), hole=7, masked=True),
    "six bands with a mask in their own CRS": Case(
        lambda: slopes("uint16", 6, 9_000), "native", hole=7, masked=True
    ),
    "twenty bands": Case(lambda: slopes("float32", 20), profile={"nodata": -1}, hole=-1),
    "many bands with a mask": Case(
        lambda: slopes("float64", 36), profile={"interleave": "band"}, hole=7, masked=True
    ),
    "uint32": Case(lambda: slopes("uint32", top=4e9), profile={"nodata": 5}, hole=5),
    "int32": Case(lambda: slopes("int32", top=2e9), profile={"nodata": -1}, hole=-1),
    "int8": Case(lambda: slopes("int8", 2, 120), "EPSG:3857"),
    "complex": Case(lambda: slopes("complex64") * (1 + 2j), "EPSG:3857"),
    "control points": Case(picture, profile=COLORED, control_points=True),
    "rotated": Case(picture, transform=UTM33 @ Affine.rotation(30), profile=COLORED),
    "rotated in its own CRS": Case(
        slopes, "native", transform=UTM33 @ Affine.rotation(-70), profile={"nodata": -1}, hole=-1
    ),
    "south up": Case(
        picture, "native", transform=Affine(10, 0, 5e5, 0, 10, 5.6e6), profile=COLORED
    ),
    "antimeridian": Case(
        picture, crs="EPSG:32660", transform=Affine(30, 0, 7.6e5, 0, -30, -1.9e6), profile=COLORED
    ),
    "antimeridian from the east": Case(
        picture, "EPSG:3857", "EPSG:32601", Affine(30, 0, 1.6e5, 0, -30, 5.9e6), COLORED
    ),
    "southern zone": Case(slopes, crs="EPSG:32719", transform=Affine(20, 0, 4e5, 0, -20, 8.1e6)),
    "from degrees": Case(
        picture, "EPSG:32616", "EPSG:4326", Affine(2e-4, 0, -88, 0, -2e-4, 40), COLORED
    ),
    "near a pole": Case(
        slopes, crs="EPSG:3413", transform=Affine(1e3, 0, -6e5, 0, -1e3, -9e5),
        profile={"nodata": -1}, hole=-1,
    ),
}  # fmt: skip


REST = pytest.mark.skipif(
    "GEOLATHE_CORPUS" not in os.environ,
    reason="of the real rasters only those of this repository are compared with GDAL:"
    " GEOLATHE_CORPUS=folder takes all",
)
REAL = [
    pytest.param(raster, id=raster.name, marks=() if raster.path.parent == HERE else REST)
    for raster in rasters()
    if raster.expect == "cog" and raster.name not in UNJUDGED
]


@pytest.fixture(scope="module")
def handlers(azurite, tmp_path_factory) -> Iterator[RasterHandlers]:
    with RasterHandlers.open(
        azurite.connection_string, tmp_path_factory.mktemp("handlers")
    ) as handlers:
        yield handlers


@pytest.fixture
def make_both(handlers):
    """Makes the COG of a raster in one task, and in windows as small as possible."""

    def make(path, truth, target="EPSG:4326") -> list[Cog]:
        pixel = truth.pixels.itemsize * (len(truth.pixels) + 1)
        sizes = {"windows_from_mb": 0, "window_mb": pixel}
        handlers.deployment = SMALL_WINDOWS.model_copy(update=sizes)
        job = WindowedJob.validated(handlers, path, target_crs=target)
        whole = job.facts.model_copy(update={"windows": {}})
        cogs = [handlers.make_from(whole, tier=job.tier, target_crs=job.target_crs)]
        if job.facts.windows:
            job.encode_all()
            cogs.append(job.assemble())
        return cogs

    return make


def check_pixels(handlers, truth, one, windowed=None) -> Difference:
    """Check overviews, and that windows make the same pixels. Returns how these differ."""
    with handlers.opened(one) as made:
        assert find_faults(made.name, one.overview_resampling) == []
        if windowed:
            with handlers.opened(windowed) as same:
                assert find_faults(same.name, one.overview_resampling) == []
                assert np.array_equal(made.read(), same.read(), equal_nan=True)
                assert np.array_equal(made.dataset_mask(), same.dataset_mask())
        return compare_with_gdal(truth, made, Resampling[one.reproject_resampling or "nearest"])


@pytest.mark.parametrize("case", CASES)
def test_a_cog_is_what_gdal_makes(handlers, make_both, tmp_path, case):
    truth = CASES[case].write(tmp_path / "source.tif")
    one, windowed = make_both(tmp_path / "source.tif", truth, CASES[case].target)
    difference = check_pixels(handlers, truth, one, windowed)
    assert difference.compared > 20_000
    assert difference.strange == difference.lost == difference.invented == 0


@pytest.mark.parametrize("raster", REAL)
def test_a_real_raster_is_what_gdal_makes(handlers, make_both, raster: Raster):
    with rasterio.open(raster.path) as source:
        truth = Truth.of(source)
    difference = check_pixels(handlers, truth, *make_both(raster.path, truth))
    assert difference.strange <= difference.compared * 0.0005
    assert difference.lost == difference.invented == 0
