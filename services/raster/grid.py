"""The grid that a raster is warped onto."""

import math
from dataclasses import dataclass

import numpy as np
from affine import Affine
from rasterio._err import CPLE_BaseError
from rasterio.crs import CRS
from rasterio.errors import CRSError, RasterioError
from rasterio.warp import calculate_default_transform

from core.errors import TaskFailed
from services.raster.antimeridian import (
    HALF_TURN,
    describe_turn,
    is_in_degrees,
    turn_geographic,
)
from services.raster.crs import WEB_MERCATOR, WEB_MERCATOR_FROM_180, describe_crs
from services.raster.extent import GeographicExtent, geographic_extent, ground_step
from services.raster.georeference import Georeference
from services.raster.model import Bounds
from services.raster.operation import is_same_crs, warp_options

# Half the Earth's circumference on the web map's sphere.
MERCATOR_EDGE = 20_037_508.342789244
_MERCATOR_LATITUDE = 85.051128779806589
_MERCATOR_TURN = f"step inv proj=webmerc ellps=WGS84 step {HALF_TURN} step proj=webmerc ellps=WGS84"
# A warp may not blow a raster up to more than this many times its pixels.
_MOST_GROWTH = 30
# Pixels by which GDAL's grid may end before the outline: it samples the edge at 21 places.
_MISSED = 1


@dataclass(frozen=True)
class Grid:
    """Where the COG's pixels lie, and whether they are the source's own."""

    crs: CRS
    transform: Affine
    width: int
    height: int
    resampled: bool
    """False where every pixel is a copy of a source pixel."""
    warped: bool
    """False where the source's rows and columns are already the grid's."""
    padded: bool = False
    """Whether the outermost pixels of the source are repeated once at each side."""

    @property
    def georeference(self) -> Georeference:
        return Georeference(self.crs, self.width, self.height, self.transform)


def grid_for(
    georeference: Georeference, target: CRS | None, name: str, *, pad: bool = False
) -> Grid:
    """The grid in the target CRS, or in the source's own. Raises TaskFailed where there is none.

    With `pad` a raster that is resampled is taken with one more pixel at each side. Grids of
    rasters that touch do not fit each other, and a pixel that two of them share may have its centre
    outside of both.
    """
    crs = target or georeference.crs
    if georeference.kind == "affine" and _is_same(georeference, crs):
        return _own_grid(georeference, crs)
    globe = geographic_extent(georeference)
    if globe is None:
        raise TaskFailed("REPROJECTION_FAILED", f"{name} does not lie on the globe")
    padded = _pad(georeference, globe) if pad else None
    if padded:
        georeference, globe = padded
    transform, width, height = _suggested(georeference, crs, globe, name)
    _check_growth(georeference, width, height, crs, name)
    return Grid(
        crs, transform, width, height, resampled=True, warped=True, padded=padded is not None
    )


def _pad(
    georeference: Georeference, globe: GeographicExtent
) -> tuple[Georeference, GeographicExtent] | None:
    """With one more pixel at each side; None where that reaches a pole or across 180 degrees."""
    padded = georeference.padded
    west, south, east, north = padded.bounds
    is_within = west >= -180 and south >= -90 and east <= 180 and north <= 90
    if georeference.crs.is_geographic and not is_within:
        return None
    wider = geographic_extent(padded)
    if wider is None or (wider.crosses, wider.poles) != (globe.crosses, globe.poles):
        return None
    return padded, wider


def _is_same(georeference: Georeference, crs: CRS) -> bool:
    pixel = min(abs(georeference.transform.a), abs(georeference.transform.e))
    return is_same_crs(georeference, crs, pixel / 1_000)


def _own_grid(georeference: Georeference, crs: CRS) -> Grid:
    """The source's own pixels, turned north up where they are not."""
    t = georeference.transform
    if georeference.is_north_up:
        return Grid(crs, t, georeference.width, georeference.height, resampled=False, warped=False)
    west, _, _, north = georeference.bounds
    turned = Affine(abs(t.a), 0.0, west, 0.0, -abs(t.e), north)
    return Grid(crs, turned, georeference.width, georeference.height, resampled=False, warped=True)


def _suggested(
    georeference: Georeference, crs: CRS, globe: GeographicExtent, name: str
) -> tuple[Affine, int, int]:
    """GDAL's suggestion, on a map turned half around for what crosses the antimeridian."""
    _, south, _, north = globe.bounds
    if crs == WEB_MERCATOR and (south > _MERCATOR_LATITUDE or north < -_MERCATOR_LATITUDE):
        raise TaskFailed(
            "REPROJECTION_FAILED",
            f"{name} lies nearer to a pole than Web Mercator reaches: choose a polar CRS",
        )
    turned, shift, steps = _turn(crs) if globe.crosses else (crs, 0.0, "")
    cut = _cut_for_mercator(georeference) if crs == WEB_MERCATOR else georeference
    options = _transform_options(cut) | warp_options(georeference, crs, after=steps)
    try:
        transform, width, height = calculate_default_transform(
            cut.crs, turned, cut.width, cut.height, **options
        )
    except (CRSError, CPLE_BaseError, RasterioError) as error:
        raise TaskFailed(
            "REPROJECTION_FAILED",
            f"{name} cannot be mapped to {describe_crs(crs)[:80]}: GDAL: {error}",
        ) from None
    transform = Affine.translation(shift, 0.0) @ transform
    if turned.is_geographic:
        grid = _unsquashed(georeference, globe, transform) or _covering(
            globe, transform, width, height
        )
        return _within(*grid, _world(globe, (-180.0, -90.0, 180.0, 90.0)))
    if crs == WEB_MERCATOR:
        edge = MERCATOR_EDGE
        return _within(transform, width, height, _world(globe, (-edge, -edge, edge, edge)))
    return transform, width, height


def _unsquashed(
    georeference: Georeference, globe: GeographicExtent, transform: Affine
) -> tuple[Affine, int, int] | None:
    """A grid of pixels wider than high, where square ones would lose half of the rows or more.

    Near a pole a degree of longitude is short: square pixels made one row of a hundred kilometres.
    None elsewhere.
    """
    west, south, east, north = _counted_on(globe)
    step = ground_step(georeference)
    if not 0 < step <= -transform.e / 2:
        return None
    nearest = 0.0 if south <= 0 <= north else min(abs(south), abs(north))
    width = int(np.ceil((east - west) * np.cos(np.radians(nearest)) / step))
    height = int(np.ceil((north - south) / step))
    across, down = (east - west) / max(1, width), (north - south) / max(1, height)
    return Affine(across, 0.0, west, 0.0, -down, north), max(1, width), max(1, height)


def _covering(
    globe: GeographicExtent, transform: Affine, width: int, height: int
) -> tuple[Affine, int, int]:
    """The grid, widened where GDAL's few samples missed a part: a full disk ends between them."""
    west, south, east, north = _counted_on(globe)
    t = transform
    left, right = (t.c - west) / t.a, (east - t.c) / t.a - width
    top, bottom = (north - t.f) / -t.e, (t.f - south) / -t.e - height
    more = [
        int(np.ceil(missed)) if missed > _MISSED else 0 for missed in (left, top, right, bottom)
    ]
    moved = t @ Affine.translation(-more[0], -more[1])
    return moved, width + more[0] + more[2], height + more[1] + more[3]


def _counted_on(globe: GeographicExtent) -> Bounds:
    """Bounds whose east is greater than their west."""
    west, south, east, north = globe.bounds
    return west, south, east + 360 * (east < west), north


def _transform_options(georeference: Georeference) -> dict[str, object]:
    if georeference.kind == "affine":
        left, bottom, right, top = georeference.bounds
        return {"left": left, "bottom": bottom, "right": right, "top": top}
    method = {"SRC_METHOD": "GCP_TPS"} if georeference.splines else {}
    return {"gcps": list(georeference.corners), **method}


def _turn(crs: CRS) -> tuple[CRS, float, str]:
    """A CRS whose seam is at Greenwich, what to add to its eastings, and the steps to it."""
    if crs.is_geographic and is_in_degrees(crs):
        return turn_geographic(crs), 180.0, describe_turn(crs)
    if crs == WEB_MERCATOR:
        return WEB_MERCATOR_FROM_180, MERCATOR_EDGE, _MERCATOR_TURN
    return crs, 0.0, ""


def _cut_for_mercator(georeference: Georeference) -> Georeference:
    """Web Mercator ends at 85.06 degrees: geographic rasters beyond are cut there.

    GDAL would make pixels as large as the stretched poles.
    """
    limit, (west, south, east, north) = _MERCATOR_LATITUDE, georeference.bounds
    if not georeference.crs.is_geographic or georeference.gcps:
        return georeference
    if south >= -limit and north <= limit:
        return georeference
    t = georeference.transform
    across, down = t.a, -t.e
    if not georeference.is_north_up:
        across = down = math.sqrt(abs(t.determinant))
    first = max(0, math.ceil((north - limit) / down))
    last = min(round((north - south) / down), math.floor((north + limit) / down))
    if last <= first:
        return georeference
    moved = Affine(across, 0.0, west, 0.0, -down, north - first * down)
    width = round((east - west) / across)
    return Georeference(georeference.crs, width, last - first, moved)


def _world(globe: GeographicExtent, world: Bounds) -> Bounds:
    """The borders of the map; none to east and west for what crosses the antimeridian."""
    west, south, east, north = world
    return (-np.inf, south, np.inf, north) if globe.crosses else (west, south, east, north)


def _within(transform: Affine, width: int, height: int, world: Bounds) -> tuple[Affine, int, int]:
    """Cut away whole rows and columns that lie beyond the map's borders."""
    west, south, east, north = world
    step, drop = transform.a, -transform.e
    left = _beyond(west - transform.c, step)
    right = _beyond(transform.c + width * step - east, step)
    top = _beyond(transform.f - north, drop)
    bottom = _beyond(south - (transform.f - height * drop), drop)
    moved = transform @ Affine.translation(left, top)
    return moved, max(1, width - left - right), max(1, height - top - bottom)


def _beyond(length: float, step: float) -> int:
    """Whole pixels in what sticks out. Less than a hundredth of a pixel is rounding."""
    if not np.isfinite(length) or length <= step / 100:
        return 0
    return int(np.ceil(length / step - 1e-6))


def _check_growth(georeference: Georeference, width: int, height: int, crs: CRS, name: str) -> None:
    before = georeference.width * georeference.height
    after = width * height
    if after > max(before * _MOST_GROWTH, 4_000_000):
        raise TaskFailed(
            "REPROJECTION_FAILED",
            f"{name} is {georeference.width} x {georeference.height} pixels and would become "
            f"{width} x {height} in {describe_crs(crs)[:80]}: choose a CRS that fits the place",
        )
