"""Coordinate reference systems compared as what they do, not as text."""

import json
from typing import Any

import numpy as np
import rasterio.warp
from numpy.typing import NDArray
from rasterio._err import CPLE_BaseError
from rasterio.crs import CRS
from rasterio.errors import CRSError
from rasterio.io import DatasetReader

from core.errors import TaskFailed
from services.raster.crs_text import ACCEPTED, check_crs_text

Points = NDArray[np.float64]

WGS84 = CRS.from_epsg(4326)
WEB_MERCATOR = CRS.from_epsg(3857)
WEB_MERCATOR_FROM_180 = CRS.from_proj4(
    "+proj=merc +a=6378137 +b=6378137 +lat_ts=0 +lon_0=180 +units=m +nadgrids=@null"
)
"""Web Mercator with its seam at Greenwich."""

# The Earth's radius on every ellipsoid in use lies between these; the Moon's and Mars's do not.
_EARTH_RADIUS = (6_300_000.0, 6_450_000.0)


def parse_crs(text: str, field: str) -> CRS:
    """Parse the CRS given in a parameter, without its heights.

    Raises TaskFailed CRS_INVALID, naming the field, for a text that is not in the grammar of
    crs_text.py, that PROJ does not know, or that is not a CRS of places.
    """
    try:
        crs = CRS.from_user_input(check_crs_text(text))
    except ValueError as error:  # CRSError is one
        reason = "is not known to PROJ" if isinstance(error, CRSError) else error
        raise TaskFailed(
            "CRS_INVALID", f"{field} {text[:200]!r} {reason}; use {ACCEPTED}"
        ) from None
    if not locates(crs):
        raise TaskFailed("CRS_INVALID", f"{field} {text[:200]!r} is a local grid, not a CRS")
    return to_horizontal(crs)


def dataset_crs(dataset: DatasetReader) -> CRS | None:
    """The CRS of an open raster; None for a local grid.

    Raises TaskFailed EXTERNAL_REFERENCE for a definition that names files by path or address.
    """
    found = dataset.crs or dataset.gcps[1]
    if not locates(found):
        return None
    try:
        check_crs_text(found.to_wkt())
    except ValueError as error:
        raise TaskFailed("EXTERNAL_REFERENCE", f"the CRS in the file {error}") from None
    return found


def locates(crs: CRS | None) -> bool:
    """Whether the CRS relates coordinates to a globe, which a local grid does not."""
    return bool(crs and (crs.is_geographic or crs.is_projected))


def to_horizontal(crs: CRS) -> CRS:
    """The CRS without heights: the first part of a compound CRS, a 3D one cut to 2D."""
    spec: dict[str, Any] = crs.to_dict(projjson=True)
    if spec.get("type") == "CompoundCRS":
        return to_horizontal(CRS.from_user_input(json.dumps(spec["components"][0])))
    axes = spec.get("coordinate_system", {}).get("axis", [])
    if len(axes) != 3:
        return crs
    axes.pop()
    spec.pop("id", None)
    flat = CRS.from_user_input(json.dumps(spec))
    code = flat.to_epsg(confidence_threshold=20)
    return CRS.from_epsg(code) if code else flat


def is_earth(crs: CRS) -> bool:
    """Whether the CRS is of our planet: PROJ would happily map Mars onto it."""
    spec = json.dumps(crs.to_dict(projjson=True))
    radii = [_radius(value) for value in _find(json.loads(spec), ("semi_major_axis", "radius"))]
    return all(_EARTH_RADIUS[0] <= radius <= _EARTH_RADIUS[1] for radius in radii)


def _radius(value: Any) -> float:
    if isinstance(value, dict):
        unit = value.get("unit")
        factor = unit.get("conversion_factor", 1.0) if isinstance(unit, dict) else 1.0
        return float(value["value"]) * float(factor)
    return float(value)


def _find(node: Any, names: tuple[str, ...]) -> list[Any]:
    if isinstance(node, list):
        return [found for part in node for found in _find(part, names)]
    if not isinstance(node, dict):
        return []
    own = [value for key, value in node.items() if key in names]
    return own + [found for value in node.values() for found in _find(value, names)]


def describe_crs(crs: CRS) -> str:
    """EPSG:n where the CRS is exactly that, otherwise its WKT."""
    code = crs.to_epsg(confidence_threshold=70)
    return f"EPSG:{code}" if code else str(crs.to_wkt(version="WKT2_2019"))


def transform_points(source: CRS, target: CRS, xs: Points, ys: Points) -> tuple[Points, Points]:
    """Points in another CRS; infinite where it has no place for them."""
    try:
        moved = rasterio.warp.transform(source, target, xs.tolist(), ys.tolist())
        return np.asarray(moved[0]), np.asarray(moved[1])
    except (CRSError, CPLE_BaseError):
        # One point outside the projection's domain spoils the call for all.
        if xs.size == 1:
            return np.array([np.inf]), np.array([np.inf])
    halves = [slice(0, xs.size // 2), slice(xs.size // 2, None)]
    parts = [transform_points(source, target, xs[half], ys[half]) for half in halves]
    return np.concatenate([p[0] for p in parts]), np.concatenate([p[1] for p in parts])
