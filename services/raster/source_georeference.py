"""Where a file says its raster lies, and whether that can be."""

from typing import Literal

import numpy as np
from rasterio.crs import CRS

from core.errors import TaskFailed
from services.raster import gdal
from services.raster.crs import (
    dataset_crs,
    describe_crs,
    is_earth,
    is_same_crs,
    parse_crs,
    to_horizontal,
)
from services.raster.findings import Findings
from services.raster.georeference import (
    GeographicExtent,
    Georeference,
    edge_points,
    geographic_extent,
    has_affine,
    read_georeference,
)
from services.raster.model import InspectionOptions
from services.raster.source import Source

CrsSource = Literal["file_metadata", "user_override"]


def locate_source(
    source: Source, options: InspectionOptions, findings: Findings
) -> tuple[Georeference, CrsSource]:
    """Where the raster lies. The file's own CRS wins over input_crs, and says so."""
    _check_coordinates(source)
    own = read_source_crs(source)
    given = parse_crs(options.input_crs, "input_crs") if options.input_crs else None
    used = own or given
    if used is None:
        raise TaskFailed("CRS_MISSING", _without_crs(source))
    where = read_georeference(source.dataset, used)
    _check_place(where, source.name)
    if own and given:
        _compare(own, given, where, source.name, findings)
    return where, "file_metadata" if own else "user_override"


def read_source_crs(source: Source) -> CRS | None:
    """The file's CRS, without heights. TaskFailed for other planets."""
    found = dataset_crs(source.dataset)
    if found is None:
        return None
    if not is_earth(found):
        raise TaskFailed(
            "CRS_NOT_EARTH",
            f"{source.name} is not on Earth ({found.to_wkt()[:60]}...): "
            "STAC and the map know only the Earth",
        )
    return to_horizontal(found)


def _without_crs(source: Source) -> str:
    """Why there is no CRS, and which one to try."""
    local = source.dataset.crs
    said = f"only a CRS of no known place ({local.to_wkt()[:60]}...)" if local else "no CRS"
    units = {value for key, value in source.dataset.tags().items() if key.endswith("#units")}
    degrees = {"degrees_north", "degrees_east"} <= units
    hint = (
        "it counts in degrees: set input_crs to EPSG:4326 if that is meant"
        if degrees
        else "set input_crs, for example EPSG:32618, if you know it"
    )
    return f"{source.name} says {said} and none was given: {hint}"


def _check_coordinates(source: Source) -> None:
    """Raises TaskFailed for a raster without an affine or control points, whatever its CRS."""
    dataset = source.dataset
    if has_affine(dataset) or dataset.gcps[0]:
        return
    if dataset.tags(ns="GEOLOCATION"):
        told = "has coordinates of its own for each pixel: warp it first with gdalwarp -geoloc"
    elif dataset.rpcs:
        told = "has only RPCs, which need elevations: orthorectify it first with gdalwarp -rpc"
    else:
        told = (
            "has neither a geotransform nor control points: "
            "add them to the file or put a world file beside it"
        )
    raise TaskFailed("NOT_GEOREFERENCED", f"{source.name} {told}")


def _check_place(where: Georeference, name: str) -> None:
    """Raises TaskFailed for an affine or control points that put all pixels on one line."""
    with gdal.failing_as("NOT_GEOREFERENCED", f"{name}: its control points make no map"):
        bounds = where.bounds
    if not np.all(np.isfinite(bounds)) or (not where.gcps and where.transform.is_degenerate):
        raise TaskFailed(
            "NOT_GEOREFERENCED", f"{name} has a geotransform that makes no map: {where.transform!r}"
        )


def _compare(own: CRS, given: CRS, where: Georeference, name: str, findings: Findings) -> None:
    xs, ys = where.xy(*edge_points(where.width, where.height, 3))
    tolerance = max(abs(where.transform.a), abs(where.transform.b)) / 100
    if not is_same_crs(own, given, xs.tolist(), ys.tolist(), tolerance):
        findings.warn_or_fail(
            "CRS_MISMATCH",
            f"{name} says {describe_crs(own)[:80]}, input_crs says {describe_crs(given)[:80]}: "
            "the file's own was used",
        )


def read_extent(where: Georeference, source: Source, findings: Findings) -> GeographicExtent:
    """Where on the globe the raster lies. TaskFailed where that is nowhere."""
    found = geographic_extent(where)
    if found is None:
        raise TaskFailed(
            "BOUNDS_INVALID",
            f"{source.name}: no part of {where.bounds} lies on the globe in "
            f"{describe_crs(where.crs)[:80]}: check the CRS",
        )
    west, south, east, north = where.bounds
    # The cells of a grid with a row of points at the pole reach half a cell beyond it.
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
