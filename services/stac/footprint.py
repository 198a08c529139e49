"""The outline of a raster's valid pixels in longitude and latitude (RFC 7946)."""

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
"""Longest side of the mask that is outlined, so the outline is accurate to 1/512 of the raster."""
MAX_VERTICES = 200
MAX_RUNS = 3_000
"""Largest number of runs of valid pixels. A mask with more is made coarser first."""
POINTS_PER_SIDE = 24
"""A straight line is a curve in another CRS, so lines are divided before they are transformed."""
DECIMALS = 7
"""Of a degree, about a centimetre. RFC 7946 section 11.2 advises against more."""

Mask = NDArray[np.bool_]
Coordinates = NDArray[np.float64]
Point2D = tuple[float, ...]
Shape: TypeAlias = Polygon | MultiPolygon


@dataclass(frozen=True)
class Footprint:
    """The outline as GeoJSON, and its bounding box, whose west exceeds its east across 180°."""

    geometry: Json
    bbox: list[float]


def trace_footprint(valid: Mask, transform: Affine, crs: CRS) -> Footprint:
    """The footprint of the valid pixels of a mask that `transform` places in `crs`.

    A mask without any valid pixel gives the outline of the whole raster.
    """
    rows, columns = valid.shape
    place = Georeference(crs, columns, rows, transform)
    while count_runs(valid) > MAX_RUNS:
        valid, transform = coarsen(valid), transform @ Affine.scale(2)
        rows, columns = rows / 2, columns / 2
    outline = outline_pixels(valid).intersection(shapely.box(0, 0, columns, rows))
    cut = shapely.segmentize(outline, max(rows, columns) / POINTS_PER_SIDE)
    globe = move_to_globe(cut, transform, place)
    tolerance = measure_half_pixel(globe, valid.shape)
    return build_footprint(globe, tolerance)


def outline_pixels(valid: Mask) -> Shape:
    """The outline in columns and rows of the mask, with a bounded number of vertices."""
    rows, columns = valid.shape
    whole = shapely.box(0, 0, columns, rows)
    if valid.all() or not valid.any():
        return whole
    outline = shapely.union_all(find_runs(remove_specks(valid)))
    for tolerance in (0.75, 1.5, 3.0, 6.0):
        simple = outline.simplify(tolerance)
        if shapely.get_num_coordinates(simple) <= MAX_VERTICES and not simple.is_empty:
            return keep_polygons(simple)
    return keep_polygons(outline.convex_hull)


def count_runs(valid: Mask) -> int:
    return int(np.count_nonzero(valid[:, 1:] & ~valid[:, :-1]))


def coarsen(valid: Mask) -> Mask:
    """A mask of half the size, valid where any of four pixels is."""
    rows, columns = valid.shape
    even = np.pad(valid, ((0, rows % 2), (0, columns % 2)))
    halved: Mask = even[::2, ::2] | even[1::2, ::2] | even[::2, 1::2] | even[1::2, 1::2]
    return halved


def find_runs(valid: Mask) -> NDArray[np.object_]:
    """A box for each run of valid pixels in a row."""
    edges = np.diff(np.pad(valid.astype(np.int8), ((0, 0), (1, 1))), axis=1)
    rows, starts = np.nonzero(edges == 1)
    _, stops = np.nonzero(edges == -1)
    boxes: NDArray[np.object_] = shapely.box(starts, rows, stops, rows + 1)
    return boxes


def remove_specks(valid: Mask) -> Mask:
    """The mask without islands and holes below 1/5,000 of it, unless nothing else is valid."""
    size = valid.size // 5_000
    if size < 2:
        return valid
    sieved: Mask = sieve(valid.astype("uint8"), size=size).astype(bool) & valid
    return sieved if sieved.any() else valid


def move_to_globe(outline: Shape, transform: Affine, place: Georeference) -> Shape:
    """The outline in longitude and latitude, split at 180° and closed over the poles."""
    placed = shapely.orient_polygons(
        shapely.transform(outline, lambda c: move_to_map(c, transform))
    )
    fixed = [
        part for polygon in list_polygons(placed) for part in move_polygon_to_globe(polygon, place)
    ]
    return keep_polygons(shapely.union_all(fixed))


def move_to_map(pixels: Coordinates, transform: Affine) -> Coordinates:
    return np.column_stack(transform @ (pixels[:, 0], pixels[:, 1]))


def move_polygon_to_globe(polygon: Polygon, place: Georeference) -> list[shapely.Geometry]:
    """The polygon in degrees; nothing where fewer than three of its points are on the globe.

    Rings are wound in the plane of the CRS, where inside and outside are unambiguous. In degrees
    they are not for a ring around a pole or across 180°, so the winding is left as it is.
    """
    outer = move_ring(polygon.exterior.coords, place)
    if len(outer) < 4:
        return []
    holes = [move_ring(hole.coords, place) for hole in polygon.interiors]
    moved = Polygon(outer, [hole for hole in holes if len(hole) >= 4])
    north, south = (contains_pole(polygon, place.crs, latitude) for latitude in (90.0, -90.0))
    if north or south or not is_plain(moved):
        moved = antimeridian.fix_polygon(
            moved, force_north_pole=north, force_south_pole=south, fix_winding=False
        )
    return [shapely.make_valid(moved)]


def is_plain(polygon: Polygon) -> bool:
    """Whether a polygon in degrees is wound in their plane and does not touch 180°.

    It needs no repair then, which takes a fifth of the time of a description.
    """
    lons = shapely.get_coordinates(polygon.exterior)[:, 0]
    is_apart = np.abs(lons).max() < 180 and np.abs(np.diff(lons)).max() <= 180
    return bool(is_apart) and shapely.is_ccw(polygon.exterior)


def contains_pole(polygon: Polygon, crs: CRS, latitude: float) -> bool:
    """Whether the pole is a point inside the polygon. In a geographic CRS it is an edge."""
    if crs.is_geographic:
        return False
    [x], [y] = transform_points(WGS84, crs, np.zeros(1), np.full(1, latitude))
    return bool(np.isfinite(x + y)) and bool(polygon.contains(Point(x, y)))


def move_ring(points: Sequence[Point2D], place: Georeference) -> list[Point2D]:
    """The points in degrees, without those that have no place on the globe."""
    xs, ys = (np.array([point[axis] for point in points]) for axis in (0, 1))
    lons, lats = transform_from(place, WGS84, xs, ys)
    return [
        (float(x), clamp_latitude(float(y)))
        for x, y in zip(lons, lats, strict=True)
        if np.isfinite(x + y)
    ]


def clamp_latitude(latitude: float) -> float:
    """Cells of grids with a row of points at the pole extend half a pixel beyond it."""
    return min(90.0, max(-90.0, latitude))


def measure_half_pixel(globe: Shape, grid: tuple[int, ...]) -> float:
    """Half the extent of a mask pixel in degrees: the accuracy of the outline."""
    west, south, east, north = globe.bounds
    return float(max(east - west, north - south) / max(grid) / 2)


def build_footprint(globe: Shape, tolerance: float) -> Footprint:
    simple = keep_polygons(shapely.make_valid(globe.simplify(min(tolerance, 0.1))))
    rounded = keep_polygons(shapely.set_precision(simple, 10**-DECIMALS))
    outline = rounded if not rounded.is_empty else simple
    wound = shapely.orient_polygons(outline)
    return Footprint(geometry=round_geojson(mapping(wound)), bbox=find_bounding_box(wound))


def find_bounding_box(globe: Shape) -> list[float]:
    """West, south, east, north.

    For areas on both sides of 180°, west exceeds east and the box leaves out the widest gap between
    them (RFC 7946 section 5.2).
    """
    west, south, east, north = (round(float(v), DECIMALS) for v in globe.bounds)
    if (west, east) == (-180.0, 180.0):
        spans = sorted((part.bounds[0], part.bounds[2]) for part in list_polygons(globe))
        gap, start, stop = find_widest_gap(spans)
        if gap > 0:
            west, east = round(stop, DECIMALS), round(start, DECIMALS)
    return [west, south, east, north]


def find_widest_gap(spans: list[tuple[float, float]]) -> tuple[float, float, float]:
    """Width, start and end of the widest gap between spans sorted by their start."""
    best, reached = (0.0, 180.0, 180.0), spans[0][1]
    for start, stop in spans[1:]:
        best = max(best, (start - reached, reached, start))
        reached = max(reached, stop)
    return best


def round_geojson(geometry: Json) -> Json:
    return {
        "type": geometry["type"],
        "coordinates": round_coordinates(geometry["coordinates"]),
    }


def round_coordinates(value: object) -> object:
    if isinstance(value, (tuple, list)):
        return [round_coordinates(v) for v in value]
    return round(float(value), DECIMALS) if isinstance(value, float) else value


def keep_polygons(geometry: shapely.Geometry) -> Shape:
    """The areas of a geometry, without the lines and points that shapely's operations leave."""
    merged = shapely.union_all(list_polygons(geometry))
    return merged if isinstance(merged, (Polygon, MultiPolygon)) else Polygon()


def list_polygons(geometry: shapely.Geometry) -> list[Polygon]:
    parts = shapely.get_parts(shapely.get_parts(geometry))
    return [part for part in parts if isinstance(part, Polygon)]
