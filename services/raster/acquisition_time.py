"""The acquisition time in the metadata of a raster."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from rasterio.io import DatasetReader

_TIFF = "%Y:%m:%d %H:%M:%S"
_SECONDS = {"millisecond": 0.001, "second": 1, "minute": 60, "hour": 3_600, "day": 86_400}
_SINCE = re.compile(
    r"(?P<unit>[a-z]+?)s? since (?P<date>\d{4}-\d{1,2}-\d{1,2})"
    r"(?:[T ](?P<clock>\d{1,2}(?::\d{1,2}){1,2})(?:\.\d*)?)?"
    r" ?(?:Z|UTC|(?P<zone>[+-]\d{1,2}(?::?\d{2})?))?",
    re.IGNORECASE,
)
# Calendars with the days of the Gregorian one; 360_day and noleap have others.
_CALENDARS = ("standard", "gregorian", "proleptic_gregorian")
# Before this year, the standard calendar is the Julian one.
_FIRST_YEAR = 1583


def read_acquisition_time(dataset: DatasetReader) -> datetime | None:
    """The acquisition time of an open raster. None where its metadata has none."""
    return find_acquisition_time(dataset.tags())


def find_acquisition_time(tags: Mapping[str, str]) -> datetime | None:
    """The first of TIFFTAG_DATETIME (TIFF 6.0, page 31), the first value of a NetCDF time axis (CF
    conventions, 4.4) and time_coverage_start (ACDD 1.3)."""
    return (
        _parse_time(tags.get("TIFFTAG_DATETIME", ""))
        or _netcdf_time(tags)
        or _parse_time(tags.get("NC_GLOBAL#time_coverage_start", ""))
    )


def _parse_time(text: str) -> datetime | None:
    """A time in TIFF's format or in ISO 8601. Without a zone it is UTC."""
    if not (written := text.strip()):
        return None
    for read in (lambda word: datetime.strptime(word, _TIFF), datetime.fromisoformat):
        try:
            at = read(written)
        except ValueError:
            continue
        return at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC)
    return None


def _netcdf_time(tags: Mapping[str, str]) -> datetime | None:
    """The first value of the first dimension with a time unit, whatever its name."""
    for key, unit in tags.items():
        name = key.removesuffix("#units")
        since = _SINCE.fullmatch(unit.strip()) if name != key else None
        values = tags.get(f"NETCDF_DIM_{name}_VALUES") or tags.get(f"NETCDF_DIM_{name}")
        if since and values:
            calendar = tags.get(f"{name}#calendar", "standard").lower()
            return _add_to_epoch(since, values.strip("{} ").split(",")[0], calendar)
    return None


def _add_to_epoch(since: re.Match[str], value: str, calendar: str) -> datetime | None:
    year, month, day = map(int, since["date"].split("-"))
    hour, minute, second, *_ = [*map(int, (since["clock"] or "0:0").split(":")), 0]
    if calendar not in _CALENDARS or (year < _FIRST_YEAR and calendar != _CALENDARS[-1]):
        return None
    try:
        start = datetime(year, month, day, hour, minute, second, tzinfo=UTC)
        step = timedelta(seconds=float(value) * _SECONDS[since["unit"].lower()])
        return start + step - _zone(since["zone"] or "0")
    except (KeyError, ValueError, OverflowError):
        return None


def _zone(text: str) -> timedelta:
    """+02, +2:00 and +0200 are two hours."""
    digits = text.lstrip("+-").replace(":", "")
    hours, minutes = (digits[:-2], digits[-2:]) if len(digits) > 2 else (digits, "0")
    ahead = timedelta(hours=int(hours), minutes=int(minutes))
    return -ahead if text.startswith("-") else ahead
