"""When a raster's pixels were taken, as far as its file says."""

import re
from datetime import UTC, datetime, timedelta

from rasterio.io import DatasetReader

_UNITS = {"seconds": 1, "minutes": 60, "hours": 3_600, "days": 86_400}
_SINCE = re.compile(r"(seconds|minutes|hours|days) since (\d{4})-(\d{1,2})-(\d{1,2})([T ]\S+)?")
_TIFF = "%Y:%m:%d %H:%M:%S"


def acquired(dataset: DatasetReader) -> datetime | None:
    """TIFFTAG_DATETIME (TIFF 6.0, page 31) or the first NetCDF time (CF conventions, 4.4)."""
    tags = dataset.tags()
    return _tiff_time(tags.get("TIFFTAG_DATETIME", "")) or _netcdf_time(tags)


def _tiff_time(text: str) -> datetime | None:
    for form in (_TIFF, "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M:%S"):
        try:
            return datetime.strptime(text.strip().removesuffix("Z"), form).replace(tzinfo=UTC)
        except ValueError:
            continue
    return None


def _netcdf_time(tags: dict[str, str]) -> datetime | None:
    match = _SINCE.match(tags.get("time#units", ""))
    values = tags.get("NETCDF_DIM_time_VALUES") or tags.get("NETCDF_DIM_time", "")
    first = values.strip("{} ").split(",")[0]
    if not match or not first:
        return None
    unit, year, month, day = match.group(1, 2, 3, 4)
    try:
        start = datetime(int(year), int(month), int(day), tzinfo=UTC)
        return start + timedelta(seconds=float(first) * _UNITS[unit])
    except (ValueError, OverflowError):
        return None
