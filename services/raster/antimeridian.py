"""Rasters across the antimeridian: longitudes moved to the usual range, and CRSs turned by 180°."""

import json
import math
from dataclasses import replace

import numpy as np
from affine import Affine
from rasterio.control import GroundControlPoint
from rasterio.crs import CRS

from services.raster.georeference import Georeference

HALF_TURN = "proj=ob_tran o_proj=longlat o_lat_p=90 o_lon_p=0 lon_0=180"


def normalize_longitudes(georeference: Georeference) -> tuple[Georeference, int]:
    """Move longitudes to -180..180. Returns the place and by how many columns to roll the pixels.

    Climate models count longitudes from 0 to 360. A raster across 180 keeps its longitudes, with
    its west in -180..180. CRSs that are not geographic are returned as they are.
    """
    if not georeference.crs.is_geographic:
        return georeference, 0
    west, _, east, _ = georeference.bounds
    pixel = (east - west) / georeference.width
    if east <= 180 + pixel and west >= -180 - pixel:
        return georeference, 0
    step = georeference.transform.a
    is_global = abs(georeference.width * step - 360) <= step
    if georeference.kind == "affine" and is_global:
        columns = round((180 - west) / step) % georeference.width
        start = west + columns * step
        return _shift(georeference, start - west - 360 * round((start + 180) / 360)), columns
    turns = math.floor((west + 180) / 360)
    return _shift(georeference, -360.0 * turns), 0


def _shift(georeference: Georeference, degrees: float) -> Georeference:
    t = georeference.transform
    gcps = tuple(
        GroundControlPoint(row=p.row, col=p.col, x=p.x + degrees, y=p.y, z=p.z)
        for p in georeference.gcps
    )
    return replace(
        georeference, transform=Affine(t.a, t.b, t.c + degrees, t.d, t.e, t.f), gcps=gcps
    )


def turn_source(georeference: Georeference) -> Georeference:
    """The same place for the warper, with control points across 180 in a CRS turned by 180°.

    GDAL looks up each pixel of the target by a longitude from -180 to 180, and so does not find
    control points beyond 180. For an affine it wraps longitudes itself (INSERT_CENTER_LONG).
    """
    if not (georeference.gcps and georeference.crs.is_geographic):
        return georeference
    if not is_in_degrees(georeference.crs) or max(p.x for p in georeference.gcps) <= 180:
        return georeference
    return replace(_shift(georeference, -180.0), crs=turn_geographic(georeference.crs))


def turn_geographic(crs: CRS) -> CRS:
    """A geographic CRS in degrees, with 180° as its prime meridian and the datum unchanged.

    A rotation about the pole, https://proj.org/en/stable/operations/projections/ob_tran.html: a CRS
    with another prime meridian would have another datum.
    """
    base = crs.to_dict(projjson=True)
    schema = base.pop("$schema")
    angles = {"o_lat_p": 90, "o_lon_p": 0, "lon_0": 180}
    turned = {
        "$schema": schema,
        "type": "DerivedGeographicCRS",
        "name": f"{base['name']} from 180 degrees",
        "base_crs": base,
        "conversion": {
            "name": "half a turn",
            "method": {"name": "PROJ ob_tran o_proj=longlat"},
            "parameters": [
                {"name": name, "value": value, "unit": "degree"} for name, value in angles.items()
            ],
        },
        "coordinate_system": base["coordinate_system"],
    }
    return CRS.from_user_input(json.dumps(turned))


def describe_turn(crs: CRS) -> str:
    """The steps of a PROJ pipeline from a geographic CRS in degrees to the same, turned by 180°.

    They are their own inverse.
    """
    swap = " step proj=axisswap order=2,1" if _is_north_first(crs) else ""
    return (
        f"{swap} step proj=unitconvert xy_in=deg xy_out=rad step {HALF_TURN} "
        f"step proj=unitconvert xy_in=rad xy_out=deg{swap}"
    )


def _is_north_first(crs: CRS) -> bool:
    axes = crs.to_dict(projjson=True)["coordinate_system"]["axis"]
    return bool(axes[0]["direction"] == "north")


def is_in_degrees(crs: CRS) -> bool:
    return bool(abs(crs.units_factor[1] - np.pi / 180) < 1e-12)
