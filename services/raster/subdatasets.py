"""The rasters within one file: the variables of a NetCDF file, the pages of a TIFF."""

from collections.abc import Mapping
from contextlib import suppress

import rasterio
from rasterio.errors import RasterioError
from rasterio.io import DatasetReader

from core.errors import TaskFailed
from services.raster.cf_axes import read_cf_transform
from services.raster.crs import dataset_crs
from services.raster.georeference import has_affine

_LISTED = 50


def list_subdatasets(dataset: DatasetReader) -> dict[str, str]:
    """The names of the rasters, and how GDAL opens each."""
    tags = dataset.tags(ns="SUBDATASETS")
    count = sum(key.endswith("_NAME") for key in tags)
    paths = [tags[f"SUBDATASET_{number}_NAME"] for number in range(1, count + 1)]
    return {_parse_name(path): path for path in paths}


def _parse_name(path: str) -> str:
    """GDAL opens a page as `GTIFF_DIR:2:file` and a variable as `NETCDF:"file":"its name"`."""
    if path.startswith("GTIFF_DIR:"):
        return path.split(":")[1]
    return path.partition('":')[2].strip('"')


def choose_subdataset(
    choices: Mapping[str, str], wanted: str | None, name: str, driver: str
) -> str:
    """The name of the wanted raster. By default the only one, or the only one with a place.

    Raises TaskFailed SUBDATASET_REQUIRED or SUBDATASET_NOT_FOUND.
    """
    if not choices:
        raise TaskFailed("NOT_A_RASTER", f"{name} holds no raster band")
    refuse_unknown(wanted, choices, name)
    if wanted is not None:
        return wanted
    placed = _find_placed(choices, driver) if len(choices) > 1 else list(choices)
    if not placed:
        raise TaskFailed(
            "NOT_GEOREFERENCED",
            f"{name} holds {len(choices)} rasters, and none has coordinates on a grid: "
            f"{_format_list(choices)}",
        )
    if len(placed) > 1:
        raise TaskFailed(
            "SUBDATASET_REQUIRED",
            f"{name} holds {len(placed)} rasters: name one in subdataset. "
            f"It has {_format_list(placed)}",
        )
    return placed[0]


def _find_placed(choices: Mapping[str, str], driver: str) -> list[str]:
    """Rasters with a CRS and a grid, or else those with a grid. Bounds of cells have neither."""
    found = {}
    for key, path in choices.items():
        with suppress(RasterioError), rasterio.open(path, driver=driver) as dataset:
            if has_affine(dataset) or read_cf_transform(dataset):
                found[key] = dataset_crs(dataset) is not None
    return [key for key, named in found.items() if named] or list(found)


def refuse_unknown(wanted: str | None, choices: Mapping[str, str], name: str) -> None:
    if wanted is not None and wanted not in choices:
        raise TaskFailed(
            "SUBDATASET_NOT_FOUND",
            f"{name} has no raster {wanted!r}. "
            f"It has {_format_list(choices) or 'none: leave subdataset out'}",
        )


def _format_list(names: Mapping[str, str] | list[str]) -> str:
    listed = list(names)
    rest = len(listed) - _LISTED
    return ", ".join(listed[:_LISTED]) + (f" and {rest} more" if rest > 0 else "")
