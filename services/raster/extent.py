"""The extent of a raster on the globe, and the size of its pixels there."""

import math
from dataclasses import dataclass

import numpy as np

from services.raster.crs import WGS84, Points, transform_points
from services.raster.georeference import Georeference, enclose_longitudes, grid_points
from services.raster.model import Bounds
from services.raster.operation import transform_from

_FINE = 257


@dataclass(frozen=True)
class GeographicExtent:
    """Where on the globe a raster lies, in degrees."""

    bounds: Bounds
    crosses: bool
    """Whether it lies across the antimeridian."""
    poles: tuple[int, ...]
    """Latitudes of the poles inside."""


def geographic_extent(georeference: Georeference) -> GeographicExtent | None:
    """Bounds of the valid part in EPSG:4326. None when no point has a latitude."""
    points = grid_points(georeference.width, georeference.height)
    lons, lats = to_geographic(georeference, *georeference.xy(*points))
    if lons.size < points[0].size:
        # The outline is inside the image, as of a full disk: it is looked for more closely.
        fine = grid_points(
            georeference.width,
            georeference.height,
            min(_FINE, max(georeference.width, georeference.height) + 1),
        )
        lons, lats = to_geographic(georeference, *georeference.xy(*fine))
    if lons.size == 0:
        return None
    south, north = float(lats.min()), float(lats.max())
    poles = tuple(lat for lat in (-90, 90) if _holds(georeference, lat))
    if poles:
        south = -90.0 if -90 in poles else south
        north = 90.0 if 90 in poles else north
        return GeographicExtent((-180.0, south, 180.0, north), False, poles)
    west, east = enclose_longitudes(lons)
    return GeographicExtent((west, south, east, north), west > east, ())


def ground_step(georeference: Georeference) -> float:
    """The side of a pixel in the middle, in degrees of a great circle. 0 off the globe."""
    column, row = georeference.width / 2, georeference.height / 2
    columns, rows = np.array([column, column + 1, column]), np.array([row, row, row + 1])
    lons, lats = to_geographic(georeference, *georeference.xy(columns, rows))
    if lons.size < 3:
        return 0.0
    lons, lats = np.radians(lons), np.radians(lats)
    corners = np.stack([np.cos(lats) * np.cos(lons), np.cos(lats) * np.sin(lons), np.sin(lats)])
    sides = np.linalg.norm(corners[:, 1:] - corners[:, :1], axis=0)
    return float(np.degrees(np.sqrt(sides.prod())))


def to_geographic(place: Georeference, xs: Points, ys: Points) -> tuple[Points, Points]:
    """Longitudes and latitudes of the points of a raster's CRS that have them."""
    lons, lats = transform_from(place, WGS84, xs, ys)
    finite = np.isfinite(lons) & np.isfinite(lats)
    return lons[finite], np.clip(lats[finite], -90, 90)


def _holds(georeference: Georeference, latitude: int) -> bool:
    """Whether a pole lies strictly inside the image."""
    if georeference.crs.is_geographic or georeference.gcps:
        return False
    xs, ys = transform_points(
        WGS84, georeference.crs, np.array([0.0, 90.0]), np.full(2, float(latitude))
    )
    if not np.all(np.isfinite([xs, ys])):
        return False
    column, row = ~georeference.transform @ (float(xs[0]), float(ys[0]))
    inside = 0 < column < georeference.width and 0 < row < georeference.height
    # A cylindrical map stretches the pole into its edge: only a point is inside.
    return inside and math.hypot(xs[1] - xs[0], ys[1] - ys[0]) < abs(georeference.transform.a)
