"""The axes of NetCDF variables by the CF conventions, sections 4.1 and 4.2.

GDAL 3.10 does not know every unit of latitude that CF allows, such as "degree_N", and takes the
last dimension for x even where it is the latitude. https://cfconventions.org/cf-conventions/cf-conventions.html
"""

import re
from typing import Literal

import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray
from rasterio.errors import RasterioError
from rasterio.io import DatasetReader

from services.raster.georeference import has_affine

_LATITUDE_UNIT = re.compile(r"degrees?_?(north|n)")
_LONGITUDE_UNIT = re.compile(r"degrees?_?(east|e)")
_LATITUDE_NAME = re.compile(r"(nav_)?lat(itude)?(_?\d+)?")
_LONGITUDE_NAME = re.compile(r"(nav_)?lon(g|gitude)?(_?\d+)?")
_DEGREES = ("", "degree", "degrees")
_METRES = ("m", "metre", "meter", "km")
# Coordinates are often float32.
_UNEVEN = 0.01
"""By which share of a step the distances on an even axis may differ."""

Attributes = dict[str, str]


def find_axis_unit(dataset: DatasetReader) -> Literal["degrees", "metres", "unknown"]:
    """What the axes of a NetCDF variable are, by units, standard_name, axis or name."""
    if dataset.driver != "netCDF":
        return "unknown"
    if _find_axes(dataset):
        return "degrees"
    attributes = _axis_attributes(dataset)
    if any(found.get("units") in _METRES for found in attributes.values()):
        return "metres"
    # Without any attribute, GDAL knows latitude and longitude by their names only.
    return "unknown" if attributes or not has_affine(dataset) else "degrees"


def read_cf_transform(dataset: DatasetReader) -> Affine | None:
    """The transform of a grid of latitudes and longitudes that GDAL misplaces or does not place.

    None where GDAL's transform applies, and for axes that are uneven or not of this kind.
    """
    axes = _find_axes(dataset) if dataset.driver == "netCDF" and dataset.crs is None else None
    if axes is None:
        return None
    latitudes, longitudes = (_read_axis(dataset, name) for name in axes)
    if latitudes is None or longitudes is None:
        return None
    if has_affine(dataset):
        t = dataset.transform
        is_turned = _begins_at(latitudes, t.c + t.a / 2) and not _begins_at(
            longitudes, t.c + t.a / 2
        )
        return Affine(0, t.e, t.f, t.a, 0, t.c) if is_turned else None
    if (latitudes.size, longitudes.size) == dataset.shape:
        (x, dx), (y, dy) = _edge(longitudes), _edge(latitudes[::-1])
        return Affine(dx, 0, x, 0, dy, y)
    if (longitudes.size, latitudes.size) == dataset.shape:
        (x, dx), (y, dy) = _edge(longitudes[::-1]), _edge(latitudes)
        return Affine(0, dx, x, dy, 0, y)
    return None


def _edge(values: NDArray[np.float64]) -> tuple[float, float]:
    """The edge of the first cell, and the step.

    GDAL returns the rows of a variable in reverse where it does not know the axis y.
    """
    step = float(values[-1] - values[0]) / (values.size - 1)
    return float(values[0]) - step / 2, step


def _begins_at(values: NDArray[np.float64], start: float) -> bool:
    step = abs(float(values[1] - values[0]))
    return bool(min(abs(values[0] - start), abs(values[-1] - start)) < step / 10)


def _read_axis(dataset: DatasetReader, name: str) -> NDArray[np.float64] | None:
    """The values of an evenly spaced axis, None for any other variable."""
    try:
        with rasterio.open(f'NETCDF:"{dataset.files[0]}":{name}', driver="netCDF") as axis:
            if axis.count != 1 or axis.height != 1 or axis.width < 2:
                return None
            values = axis.read(1)[0].astype("float64")
    except RasterioError:
        return None
    steps = np.diff(values)
    mean = float(values[-1] - values[0]) / (values.size - 1)
    even = mean != 0 and np.all(np.abs(steps - mean) <= _UNEVEN * abs(mean))
    return values if even else None


def _find_axes(dataset: DatasetReader) -> tuple[str, str] | None:
    """The names of latitude and longitude among the variables with attributes."""
    attributes = _axis_attributes(dataset)
    latitudes = [name for name, found in attributes.items() if _is_latitude(name, found)]
    longitudes = [name for name, found in attributes.items() if _is_longitude(name, found)]
    return (latitudes[0], longitudes[0]) if latitudes and longitudes else None


def _axis_attributes(dataset: DatasetReader) -> dict[str, Attributes]:
    """Attributes of variables other than the raster's, time and height, in lower case.

    GDAL has "lat#units" for the attribute `units` of `lat`.
    """
    found: dict[str, Attributes] = {}
    variable = dataset.tags(1).get("NETCDF_VARNAME")
    for key, value in dataset.tags().items():
        name, _, attribute = key.partition("#")
        if attribute in ("units", "standard_name", "axis") and name not in (variable, "NC_GLOBAL"):
            found.setdefault(name, {})[attribute] = value.strip().lower()
    return {
        name: attributes
        for name, attributes in found.items()
        if " since " not in attributes.get("units", "") and attributes.get("axis") not in ("t", "z")
    }


def _is_latitude(name: str, attributes: Attributes) -> bool:
    return _is_axis(name, attributes, "latitude", "y", _LATITUDE_UNIT, _LATITUDE_NAME)


def _is_longitude(name: str, attributes: Attributes) -> bool:
    return _is_axis(name, attributes, "longitude", "x", _LONGITUDE_UNIT, _LONGITUDE_NAME)


def _is_axis(
    name: str,
    attributes: Attributes,
    standard_name: str,
    axis: str,
    unit: re.Pattern[str],
    usual_name: re.Pattern[str],
) -> bool:
    found, standard = attributes.get("units", ""), attributes.get("standard_name", "")
    if unit.fullmatch(found) or standard == standard_name:
        return True
    if found not in _DEGREES or standard:
        return False
    is_named = usual_name.fullmatch(name.lower()) is not None
    return is_named or (attributes.get("axis") == axis and found != "")
