"""The one coordinate operation between the CRS of a raster and another CRS.

PROJ knows several operations between most pairs of CRSs, each with an area of use, and libraries
that are given two CRSs select one for each call or even for each point. Grid, extent and pixels of
a COG have to agree, so one operation is chosen for the whole raster and given to all of them.
https://proj.org/en/stable/operations/operations_computation.html
"""

import warnings
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from pyproj import CRS as ProjCRS
from pyproj import Transformer
from pyproj.aoi import AreaOfInterest
from pyproj.exceptions import ProjError
from pyproj.transformer import TransformerGroup
from rasterio.crs import CRS

from services.raster.crs import WGS84, Points, transform_points
from services.raster.georeference import Georeference, enclose_longitudes, grid_points
from services.raster.model import Bounds, CrsOperation

_STEPS = 9
_PIPELINE = "proj=pipeline"


@dataclass(frozen=True)
class Operation:
    """An operation, with x or longitude first on both sides."""

    transformer: Transformer
    pipeline: str
    """As GDAL takes it: in the order of axes that the CRSs define."""
    summary: CrsOperation


def transform_from(
    place: Georeference, target: CRS, xs: Points, ys: Points
) -> tuple[Points, Points]:
    """Points of a raster's CRS in another CRS; infinite where it has no place for them."""
    operation = choose_operation(place, target)
    if operation is None:
        return transform_points(place.crs, target, xs, ys)
    moved = operation.transformer.transform(xs, ys)
    return np.asarray(moved[0]), np.asarray(moved[1])


def is_same_crs(place: Georeference, other: CRS, tolerance: float) -> bool:
    """Whether the other CRS has the same coordinates for all of the raster, within `tolerance`."""
    if place.crs == other:
        return True
    if place.crs.is_geographic != other.is_geographic:
        return False
    points = place.xy(*grid_points(place.width, place.height))
    shift = np.abs(np.array(transform_from(place, other, *points)) - np.array(points))
    return bool(np.all(np.isfinite(shift)) and shift.max() <= tolerance)


def warp_options(
    place: Georeference, target: CRS, *, before: str = "", after: str = ""
) -> dict[str, str]:
    """Options with which GDAL's warper uses the operation.

    `before` and `after` are steps of a PROJ pipeline, for a source or target that is turned.
    https://gdal.org/en/stable/api/gdal_alg.html, GDALCreateGenImgProjTransformer2
    """
    operation = choose_operation(place, target)
    if operation is None and not (before or after):
        return {}
    steps = operation.pipeline if operation else "proj=noop"
    if not steps.startswith(_PIPELINE):
        steps = f"{_PIPELINE} step {steps}"
    middle = steps.removeprefix(_PIPELINE)
    return {"COORDINATE_OPERATION": " ".join(f"{_PIPELINE} {before} {middle} {after}".split())}


@lru_cache(maxsize=32)
def choose_operation(place: Georeference, target: CRS) -> Operation | None:
    """PROJ's best operation that holds for the whole raster.

    None where the CRSs are equal, or where PROJ knows no operation or no place for the raster.
    """
    area = _find_area(place)
    if area is None or place.crs == target:
        return None
    try:
        wanted = _list_operations(place.crs, target, area, x_first=True)
        ordered = _list_operations(place.crs, target, area, x_first=False)
    except ProjError:
        return None
    if not wanted.transformers:
        return None
    best = _choose_most_complete(wanted.transformers, place)
    return Operation(
        transformer=wanted.transformers[best],
        pipeline=_locate_grids(ordered.transformers[best]),
        summary=_summarize(wanted, best),
    )


def _find_area(place: Georeference) -> Bounds | None:
    """Bounds in degrees by the operation that GDAL selects, which is close enough here."""
    points = place.xy(*grid_points(place.width, place.height, _STEPS))
    lons, lats = transform_points(place.crs, WGS84, *points)
    finite = np.isfinite(lons) & np.isfinite(lats)
    if not finite.any():
        return None
    west, east = enclose_longitudes(lons[finite])
    south, north = np.clip([lats[finite].min(), lats[finite].max()], -90, 90)
    return west, float(south), east, float(north)


def _list_operations(source: CRS, target: CRS, area: Bounds, *, x_first: bool) -> TransformerGroup:
    """The operations for an area, best first."""
    source, target = (ProjCRS.from_wkt(crs.to_wkt(version="WKT2_2019")) for crs in (source, target))
    with warnings.catch_warnings():
        # pyproj warns of missing grids as well.
        warnings.simplefilter("ignore", UserWarning)
        return TransformerGroup(
            source,
            target,
            always_xy=x_first,
            # pyproj's stub names another class of that name.
            area_of_interest=AreaOfInterest(*area),  # type: ignore[arg-type]
        )


def _choose_most_complete(transformers: list[Transformer], place: Georeference) -> int:
    """The first operation among those with a result for most points of the raster.

    An operation with a grid has results only where the grid has values.
    """
    points = place.xy(*grid_points(place.width, place.height, _STEPS))
    best, most = 0, -1
    for number, transformer in enumerate(transformers):
        found = int(np.isfinite(transformer.transform(*points)).all(axis=0).sum())
        if found > most:
            best, most = number, found
        if most == points[0].size:
            break
    return best


def _locate_grids(transformer: Transformer) -> str:
    """The pipeline with the paths of its grids: GDAL's PROJ has its own search path."""
    pipeline = transformer.definition
    for grid in (grid for step in transformer.operations or () for grid in step.grids):
        if grid.available and grid.full_name:
            pipeline = pipeline.replace(grid.short_name, grid.full_name)
    return pipeline


def _summarize(group: TransformerGroup, chosen: int) -> CrsOperation:
    """Other operations may need grids, which PROJ publishes apart.

    https://proj.org/en/stable/resource_files.html#transformation-grids
    """
    best, missing = group.transformers[chosen], group.unavailable_operations[:1]
    return CrsOperation(
        name=best.description,
        accuracy=_known(best.accuracy),
        better_accuracy=_known(missing[0].accuracy) if missing else None,
        missing_grids=tuple(grid.short_name for grid in missing[0].grids) if missing else (),
    )


def _known(accuracy: float) -> float | None:
    """PROJ gives -1 where it does not know."""
    return accuracy if accuracy >= 0 else None
