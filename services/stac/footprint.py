"""The outline of a raster's valid pixels, in longitude and latitude, as RFC 7946 wants it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import antimeridian
import numpy as np
import shapely
from numpy.typing import NDArray
from rasterio.crs import CRS
from rasterio.features import sieve
from rasterio.transform import Affine
from shapely.geometry import MultiPolygon, Point, Polygon, mapping

from core.models import Json
from services.raster.crs import WGS84, transform_points
from services.raster.georeference import Georeference
from services.raster.operation import transform_from

GRID = 512
"""Longest side of the mask that is outlined: the outline is true to 1/512 of the raster."""
MAX_VERTICES = 200
MAX_RUNS = 3_000
"""Unbroken stretches of valid pixels; a mask as noisy as that is looked at more coarsely."""
POINTS_PER_SIDE = 24
"""A straight line on one map is a curve on another, so lines are cut before they are warped."""
DECIMALS = 7
"""Of a degree: a centimetre (RFC 7946 section 11.2 advises against more)."""

Mask = NDArray[np.bool_]
Coordinates = NDArray[np.float64]
Point2D = tuple[float, ...]
Shape: TypeAlias = Polygon | MultiPolygon


@dataclass(frozen=True)
class Footprint:
    """The outline as GeoJSON, and its box: west > east when it crosses 180 degrees."""

    geometry: Json
    bbox: list[float]


def footprint(valid: Mask, transform: Affine, crs: CRS) -> Footprint:
    """The footprint of the valid pixels of a mask that `transform` places in `crs`.

    A mask without any valid pixel gives the outline of the whole raster.
    """
    rows, columns = valid.shape
    place = Georeference(crs, columns, rows, transform)
    while count_runs(valid) > MAX_RUNS:
        valid, transform = coarser(valid), transform @ Affine.scale(2)
        rows, columns = rows / 2, columns / 2
    outline = pixel_outline(valid).intersection(shapely.box(0, 0, columns, rows))
    cut = shapely.segmentize(outline, max(rows, columns) / POINTS_PER_SIDE)
    globe = to_globe(cut, transform, place)
    tolerance = half_pixel(globe, valid.shape)
    return as_geojson(globe, tolerance)


def pixel_outline(valid: Mask) -> Shape:
    """The outline in columns and rows of the mask, with a bounded number of vertices."""
    rows, columns = valid.shape
    whole = shapely.box(0, 0, columns, rows)
    if valid.all() or not valid.any():
        return whole
    outline = shapely.union_all(runs(without_specks(valid)))
    for tolerance in (0.75, 1.5, 3.0, 6.0):
        simple = outline.simplify(tolerance)
        if shapely.get_num_coordinates(simple) <= MAX_VERTICES and not simple.is_empty:
            return polygonal(simple)
    return polygonal(outline.convex_hull)


def count_runs(valid: Mask) -> int:
    return int(np.count_nonzero(valid[:, 1:] & ~valid[:, :-1]))


def coarser(valid: Mask) -> Mask:
    """A mask of half the size; a pixel counts where any of its four does."""
    rows, columns = valid.shape
    even = np.pad(valid, ((0, rows % 2), (0, columns % 2)))
    halved: Mask = even[::2, ::2] | even[1::2, ::2] | even[::2, 1::2] | even[1::2, 1::2]
    return halved


def runs(valid: Mask) -> NDArray[np.object_]:
    """A box for each unbroken stretch of valid pixels in a row."""
    edges = np.diff(np.pad(valid.astype(np.int8), ((0, 0), (1, 1))), axis=1)
    rows, starts = np.nonzero(edges == 1)
    _, stops = np.nonzero(edges == -1)
    boxes: NDArray[np.object_] = shapely.box(starts, rows, stops, rows + 1)
    return boxes


def without_specks(valid: Mask) -> Mask:
    """Without islands and holes smaller than 1/5,000 of the grid, unless nothing else is there."""
    size = valid.size // 5_000
    if size < 2:
        return valid
    sieved: Mask = sieve(valid.astype("uint8"), size=size).astype(bool) & valid
    return sieved if sieved.any() else valid


def to_globe(outline: Shape, transform: Affine, place: Georeference) -> Shape:
    """Warp the outline to longitude and latitude, split at 180 degrees, closed over the poles."""
    placed = shapely.orient_polygons(shapely.transform(outline, lambda c: on_map(c, transform)))
    fixed = [part for polygon in polygons(placed) for part in on_globe(polygon, place)]
    return polygonal(shapely.union_all(fixed))


def on_map(pixels: Coordinates, transform: Affine) -> Coordinates:
    return np.column_stack(transform @ (pixels[:, 0], pixels[:, 1]))


def on_globe(polygon: Polygon, place: Georeference) -> list[shapely.Geometry]:
    """The polygon on the globe; nothing where the projection shows less than a triangle of it.

    Its rings are wound in the map's plane, where in and out are plain. In degrees they are not
    for a ring around a pole or over 180, so the winding there must not be "mended".
    """
    outer = warped_ring(polygon.exterior.coords, place)
    if len(outer) < 4:
        return []
    holes = [warped_ring(hole.coords, place) for hole in polygon.interiors]
    fixed = antimeridian.fix_polygon(
        Polygon(outer, [hole for hole in holes if len(hole) >= 4]),
        force_north_pole=holds_pole(polygon, place.crs, 90.0),
        force_south_pole=holds_pole(polygon, place.crs, -90.0),
        fix_winding=False,
    )
    return [shapely.make_valid(fixed)]


def holds_pole(polygon: Polygon, crs: CRS, latitude: float) -> bool:
    """Whether the pole is a point inside the polygon. On a geographic map it is an edge."""
    if crs.is_geographic:
        return False
    [x], [y] = transform_points(WGS84, crs, np.zeros(1), np.full(1, latitude))
    return bool(np.isfinite(x + y)) and bool(polygon.contains(Point(x, y)))


def warped_ring(points: Sequence[Point2D], place: Georeference) -> list[Point2D]:
    """The points in degrees, without those that have no place on the globe."""
    xs, ys = (np.array([point[axis] for point in points]) for axis in (0, 1))
    lons, lats = transform_from(place, WGS84, xs, ys)
    return [
        (float(x), clamped(float(y))) for x, y in zip(lons, lats, strict=True) if np.isfinite(x + y)
    ]


def clamped(latitude: float) -> float:
    """Half a pixel beyond a pole, as grids of points have it, is the pole."""
    return min(90.0, max(-90.0, latitude))


def half_pixel(globe: Shape, grid: tuple[int, ...]) -> float:
    """Half the extent of a mask pixel in degrees: what the outline cannot tell anyway."""
    west, south, east, north = globe.bounds
    return float(max(east - west, north - south) / max(grid) / 2)


def as_geojson(globe: Shape, tolerance: float) -> Footprint:
    simple = polygonal(shapely.make_valid(globe.simplify(min(tolerance, 0.1))))
    rounded = polygonal(shapely.set_precision(simple, 10**-DECIMALS))
    outline = rounded if not rounded.is_empty else simple
    wound = shapely.orient_polygons(outline)
    return Footprint(geometry=rounded_geojson(mapping(wound)), bbox=bounding_box(wound))


def bounding_box(globe: Shape) -> list[float]:
    """West, south, east, north. Areas on both sides of 180 degrees: from the widest gap
    between them eastwards to its other side, so west > east (RFC 7946 section 5.2)."""
    west, south, east, north = (round(float(v), DECIMALS) for v in globe.bounds)
    if (west, east) == (-180.0, 180.0):
        spans = sorted((part.bounds[0], part.bounds[2]) for part in polygons(globe))
        gap, start, stop = widest_gap(spans)
        if gap > 0:
            west, east = round(stop, DECIMALS), round(start, DECIMALS)
    return [west, south, east, north]


def widest_gap(spans: list[tuple[float, float]]) -> tuple[float, float, float]:
    """The width, beginning and end of the widest stretch between sorted spans."""
    best, reached = (0.0, 180.0, 180.0), spans[0][1]
    for start, stop in spans[1:]:
        best = max(best, (start - reached, reached, start))
        reached = max(reached, stop)
    return best


def rounded_geojson(geometry: Json) -> Json:
    return {
        "type": geometry["type"],
        "coordinates": rounded_coordinates(geometry["coordinates"]),
    }


def rounded_coordinates(value: object) -> object:
    if isinstance(value, (tuple, list)):
        return [rounded_coordinates(v) for v in value]
    return round(float(value), DECIMALS) if isinstance(value, float) else value


def polygonal(geometry: shapely.Geometry) -> Shape:
    """The areas of a geometry, without the lines and points that mending leaves."""
    merged = shapely.union_all(polygons(geometry))
    return merged if isinstance(merged, (Polygon, MultiPolygon)) else Polygon()


def polygons(geometry: shapely.Geometry) -> list[Polygon]:
    parts = shapely.get_parts(shapely.get_parts(geometry))
    return [part for part in parts if isinstance(part, Polygon)]
