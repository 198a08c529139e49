"""Refuses incomplete files, and files that refer to others, before GDAL reads them.

Most of GDAL's drivers fill what is missing with zeros, noise or repeated rows, so that a truncated
upload would become a valid COG.
"""

from collections.abc import Callable

from core.errors import TaskFailed
from services.raster.structure.hdf5 import check_hdf5_complete, check_hdf5_references
from services.raster.structure.hfa import check_hfa
from services.raster.structure.jpeg2000 import check_jpeg2000
from services.raster.structure.netcdf_classic import check_netcdf_classic
from services.raster.structure.png import check_png
from services.raster.structure.stored_file import (
    ExternalReference,
    Malformed,
    StoredFile,
    Truncated,
    open_stored,
)
from services.raster.structure.tiff import check_tiff

_CHECKS: dict[str, Callable[[StoredFile], None]] = {
    "GTiff": check_tiff,
    "PNG": check_png,
    "JP2OpenJPEG": check_jpeg2000,
    "HFA": check_hfa,
}
_CLASSIC_NETCDF = b"CDF"


def check_structure(path: str, driver: str, name: str, stored_bytes: int) -> None:
    """Check a file of a driver's format, without decoding it.

    Raises TaskFailed PIXELS_UNREADABLE for a file that is cut short or damaged, and
    EXTERNAL_REFERENCE for an HDF5 file that is not proven to be free of references to other files.
    """
    with open_stored(path, stored_bytes) as file:
        try:
            _check(file, driver, name)
        except Truncated as error:
            raise TaskFailed(
                "PIXELS_UNREADABLE",
                f"{name} is incomplete: at least {error.missing} bytes are missing after the "
                f"{file.size} that it has",
            ) from None
        except Malformed as error:
            raise TaskFailed("PIXELS_UNREADABLE", f"{name} is damaged: {error}") from None


def _check(file: StoredFile, driver: str, name: str) -> None:
    if driver in _CHECKS:
        _CHECKS[driver](file)
    elif file.read(0, 3) == _CLASSIC_NETCDF:
        check_netcdf_classic(file)
    else:
        _check_hdf5(file, name)


def _check_hdf5(file: StoredFile, name: str) -> None:
    try:
        check_hdf5_complete(file)
        check_hdf5_references(file)
    except ExternalReference as error:
        raise TaskFailed("EXTERNAL_REFERENCE", f"{name} refers to other files: {error}") from None
    except Malformed as error:
        raise TaskFailed(
            "EXTERNAL_REFERENCE",
            f"{name} cannot be shown to be free of references to other files: {error}",
        ) from None
