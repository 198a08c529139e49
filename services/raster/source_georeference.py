"""The place of a source raster: its CRS and its georeference, checked for plausibility."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from rasterio.crs import CRS
from rasterio.errors import CRSError

from core.errors import TaskFailed
from services.raster import gdal
from services.raster.cf_axes import find_axis_unit, read_cf_transform
from services.raster.crs import (
    WGS84,
    dataset_crs,
    describe_crs,
    is_earth,
    locates,
    parse_crs,
    to_horizontal,
)
from services.raster.extent import GeographicExtent, geographic_extent
from services.raster.findings import Findings
from services.raster.georeference import Georeference, has_affine, read_georeference
from services.raster.model import InspectionOptions, VerticalCrs
from services.raster.operation import is_same_crs
from services.raster.source import Source
from services.raster.vertical import read_vertical

CrsSource = Literal["file_metadata", "user_override"]

_WKT = re.compile(r"\s*(PROJ|GEOG|GEOD|COMP|BOUND)\w*\s*\[", re.IGNORECASE)
_LONGEST_PRJ = 65_536


@dataclass(frozen=True)
class Placement:
    """Where a raster is, and where that is known from."""

    georeference: Georeference
    crs_source: CrsSource
    vertical_crs: VerticalCrs | None


def locate_source(source: Source, options: InspectionOptions, findings: Findings) -> Placement:
    """The place of a raster. The file's own CRS wins over input_crs.

    A NetCDF file without a CRS whose axes are latitude and longitude is placed in EPSG:4326.
    """
    _check_coordinates(source)
    own = _read_crs(source)
    given = parse_crs(options.input_crs, "input_crs") if options.input_crs else None
    used = own or given or _assume_crs(source, findings)
    if used is None:
        raise TaskFailed("CRS_MISSING", _without_crs(source))
    where = read_place(source, to_horizontal(used))
    _check_place(where, source.name)
    if own and given:
        _compare(to_horizontal(own), given, where, source.name, findings)
    vertical = read_vertical(used)
    if vertical and options.target_crs != "native":
        findings.warn(
            "VERTICAL_CRS_DROPPED",
            f"{source.name} has heights in {vertical.name} ({vertical.unit}). Heights are not "
            f"changed, and a COG in {options.target_crs} does not name their CRS: use target_crs "
            "native to keep it",
        )
    return Placement(where, "user_override" if used is given else "file_metadata", vertical)


def read_place(source: Source, crs: CRS) -> Georeference:
    """The place of a source in its horizontal CRS."""
    dataset = source.dataset
    if transform := read_cf_transform(dataset):
        return Georeference(crs, dataset.width, dataset.height, transform)
    return read_georeference(dataset, crs)


def read_source_crs(source: Source) -> CRS | None:
    """The file's horizontal CRS. Raises TaskFailed for other celestial bodies."""
    found = _read_crs(source)
    return to_horizontal(found) if found else None


def _read_crs(source: Source) -> CRS | None:
    found = dataset_crs(source.dataset) or _read_prj(source)
    if found is not None and not is_earth(found):
        raise TaskFailed(
            "CRS_NOT_EARTH",
            f"the CRS of {source.name} is not one of the Earth ({found.to_wkt()[:60]}...): "
            "only rasters of the Earth can be catalogued",
        )
    return found


def _read_prj(source: Source) -> CRS | None:
    """The CRS in a .prj sidecar, which GDAL does not read for GeoTIFF and PNG."""
    path = Path(source.path).with_suffix(".prj")
    if source.path.startswith("/vsi") or source.subdataset or not path.is_file():
        return None
    text = path.read_text(encoding="utf-8", errors="replace")[:_LONGEST_PRJ]
    try:
        found = CRS.from_wkt(text, morph_from_esri_dialect=True) if _WKT.match(text) else None
    except CRSError:
        found = None
    if found is None:
        raise TaskFailed("SIDECAR_INVALID", f"{source.name}: the .prj file next to it is not WKT")
    return found if locates(found) else None


def _assume_crs(source: Source, findings: Findings) -> CRS | None:
    """EPSG:4326 for axes of latitude and longitude, which CF does not require to name a datum."""
    if find_axis_unit(source.dataset) != "degrees":
        return None
    findings.warn_or_fail(
        "CRS_ASSUMED",
        f"{source.name} has axes of latitude and longitude but no CRS: EPSG:4326 was assumed. "
        "Set input_crs if it is another",
    )
    return WGS84


def _without_crs(source: Source) -> str:
    """Why there is no CRS, and which one to try."""
    local = source.dataset.crs
    found = f"only a local CRS ({local.to_wkt()[:60]}...)" if local else "no CRS"
    hint = {
        "degrees": "its axes are in degrees: set input_crs to EPSG:4326",
        "metres": "its axes are in metres: set input_crs to its projected CRS, such as EPSG:32618",
        "unknown": "set input_crs, for example EPSG:32618 for metres or EPSG:4326 for degrees",
    }
    unit = find_axis_unit(source.dataset)
    return f"{source.name} has {found} and input_crs is not set: {hint[unit]}"


def _check_coordinates(source: Source) -> None:
    """Raises TaskFailed for a raster without a geotransform and without control points."""
    dataset = source.dataset
    if has_affine(dataset) or dataset.gcps[0] or read_cf_transform(dataset):
        return
    if dataset.tags(ns="GEOLOCATION"):
        reason = "has a pair of coordinates for each pixel: warp it first with gdalwarp -geoloc"
    elif dataset.rpcs:
        reason = "has only RPCs, which need elevations: orthorectify it first with gdalwarp -rpc"
    else:
        reason = (
            "has neither a geotransform nor control points: "
            "add them to the file or put a world file next to it"
        )
    raise TaskFailed("NOT_GEOREFERENCED", f"{source.name} {reason}")


def _check_place(where: Georeference, name: str) -> None:
    """Raises TaskFailed for a geotransform or control points with all pixels on one line."""
    with gdal.failing_as(
        "NOT_GEOREFERENCED", f"{name}: its control points do not define a usable transform"
    ):
        bounds = where.bounds
    if not np.all(np.isfinite(bounds)) or (not where.gcps and where.transform.is_degenerate):
        raise TaskFailed(
            "NOT_GEOREFERENCED", f"{name} has an unusable geotransform: {where.transform!r}"
        )


def _compare(own: CRS, given: CRS, where: Georeference, name: str, findings: Findings) -> None:
    tolerance = max(abs(where.transform.a), abs(where.transform.b)) / 100
    if not is_same_crs(where, given, tolerance):
        findings.warn_or_fail(
            "CRS_MISMATCH",
            f"the CRS of {name} is {describe_crs(own)[:80]}, but input_crs is "
            f"{describe_crs(given)[:80]}: the CRS of the file was used",
        )


def read_extent(where: Georeference, source: Source, findings: Findings) -> GeographicExtent:
    """The extent on the globe. Raises TaskFailed where the CRS has no place for the raster."""
    found = geographic_extent(where)
    if found is None:
        raise TaskFailed(
            "BOUNDS_INVALID",
            f"{source.name}: no part of its bounds {where.bounds} is on the globe in "
            f"{describe_crs(where.crs)[:80]}: check the CRS",
        )
    west, south, east, north = where.bounds
    # A grid with a row of points at the pole has cells that extend half a cell beyond it.
    reach = 90 + max(0.1, 0.51 * abs(where.transform.e))
    if where.crs.is_geographic and (south < -reach or north > reach):
        raise TaskFailed(
            "BOUNDS_INVALID",
            f"{source.name} has latitudes from {south:g} to {north:g} in a geographic CRS: "
            "its CRS or geotransform is wrong",
        )
    if where.crs.is_geographic and (west < -360 or east > 540):
        findings.warn_or_fail(
            "BOUNDS_SUSPICIOUS", f"{source.name} has longitudes far outside -180..360"
        )
    return found
