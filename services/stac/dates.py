"""The date of an item: from the job's parameters, the source's metadata, its name or its upload."""

import calendar
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import PurePosixPath
from typing import Literal

from core.models import Record

DateOrigin = Literal["parameter", "source_metadata", "file_name", "folder_name", "last_modified"]
Interval = tuple[datetime, datetime]
"""First and last second. Both are equal where a name states a day or a time."""

_DAY = re.compile(
    r"(?<!\d)(?P<year>(?:19|20)\d\d)(?P<sep>[-_./]?)(?P<month>0[1-9]|1[0-2])(?P=sep)"
    r"(?P<day>0[1-9]|[12]\d|3[01])"
    r"(?:[T_-]?(?P<hour>[01]\d|2[0-3])[:_-]?(?P<minute>[0-5]\d)[:_-]?(?P<second>[0-5]\d)Z?)?"
    r"(?!\d)"
)
# MODIS A2020246, HLS 2020246T101031.
_ORDINAL = re.compile(
    r"(?<!\d)(?P<year>(?:19|20)\d\d)[-_.]?(?P<ordinal>[0-3]\d\d)"
    r"(?:T?(?P<hour>[01]\d|2[0-3])(?P<minute>[0-5]\d)(?P<second>[0-5]\d))?(?!\d)"
)
# GOES-R, "s" and the start of the scan: s20202461030203, with tenths of a second.
_GOES = re.compile(
    r"_s(?P<year>20\d\d)(?P<ordinal>[0-3]\d\d)(?P<hour>\d\d)(?P<minute>\d\d)(?P<second>\d\d)\d(?!\d)"
)
# ASTER, the version and then the month first: AST_L1T_00305032000040446.
_ASTER = re.compile(
    r"AST_\w+?_00\d(?P<month>\d\d)(?P<day>\d\d)(?P<year>(?:19|20)\d\d)"
    r"(?P<hour>\d\d)(?P<minute>\d\d)(?P<second>\d\d)(?!\d)"
)
# Landsat scene identifiers before collections: LC80440342020246LGN00.
_LANDSAT = re.compile(r"L[COTEM]\d{7}(?P<year>(?:19|20)\d\d)(?P<ordinal>[0-3]\d\d)[A-Z]{3}\d\d")
# Maxar: 20JUL14155712-M1BS.
_MAXAR = re.compile(
    r"(?<![0-9A-Z])(?P<short>\d\d)(?P<name>JAN|FEB|MAR|APR|MAY|JUN|JUL|AUG|SEP|OCT|NOV|DEC)"
    r"(?P<day>\d\d)(?P<hour>\d\d)(?P<minute>\d\d)(?P<second>\d\d)(?!\d)"
)
_MONTH = re.compile(
    r"(?<!\d)(?P<year>(?:19|20)\d\d)(?P<sep>[-_./]?)(?P<month>0[1-9]|1[0-2])"
    r"(?!\d|(?P=sep)\d\d(?!\d))"
)
# Next to another short number it is a row, a column or a size rather than a year.
_YEAR = re.compile(
    r"(?<![0-9A-Za-z])(?<!\d[-_. x])(?P<year>(?:19|20)\d\d)(?![0-9A-Za-z])"
    r"(?![-_. x]\d{1,5}(?!\d))"
)
_MONTH_NAMES = [name.upper() for name in calendar.month_abbr]


class ItemDate(Record):
    """The date of an item and where it comes from."""

    at: datetime | None
    """None where only the interval is known."""
    interval: Interval | None = None
    origin: DateOrigin

    def properties(self) -> dict[str, str | None]:
        """`datetime`, or null with `start_datetime` and `end_datetime`, as STAC 1.1 has them."""
        if self.interval is None:
            return {"datetime": iso(self.at) if self.at else None}
        start, end = self.interval
        return {"datetime": None, "start_datetime": iso(start), "end_datetime": iso(end)}


def choose_date(
    given: datetime | None, acquired: datetime | None, path: str, last_modified: datetime
) -> ItemDate:
    """The first of: the parameter, the source's metadata, the blob's path, its upload."""
    if given is not None:
        return ItemDate(at=to_utc(given), origin="parameter")
    if acquired is not None:
        return ItemDate(at=to_utc(acquired), origin="source_metadata")
    return date_in_path(path, last_modified) or ItemDate(
        at=to_utc(last_modified), origin="last_modified"
    )


def date_in_path(path: str, latest: datetime) -> ItemDate | None:
    """The date in a blob's name or, without one, in its folders.

    Where the name states a year or a month and a folder a day within it, the day is taken. What
    would begin after `latest` is not a date.
    """
    blob = PurePosixPath(path)
    folders = "" if str(blob.parent) == "." else f"{blob.parent}/"
    named = find_interval(blob.name, latest)
    folder = find_interval(folders, latest)
    if folder and (named is None or _is_within(folder, named)):
        return _item_date(folder, "folder_name")
    return _item_date(named, "file_name") if named else None


def _item_date(interval: Interval, origin: DateOrigin) -> ItemDate:
    start, end = interval
    if start == end:
        return ItemDate(at=start, origin=origin)
    return ItemDate(at=None, interval=interval, origin=origin)


def _is_within(inner: Interval, outer: Interval) -> bool:
    return inner != outer and outer[0] <= inner[0] and inner[1] <= outer[1]


def find_interval(text: str, latest: datetime) -> Interval | None:
    """The first date in a text, or a more precise one within the year or month that comes first.

    Names that state both put the acquisition before the production.
    """
    limit = to_utc(latest) + timedelta(days=1)
    found = [interval for interval in _intervals(text) if interval[0] <= limit]
    if not found:
        return None
    return next((interval for interval in found if _is_within(interval, found[0])), found[0])


def _intervals(text: str) -> list[Interval]:
    """Every date in a text, in its order. Where patterns overlap, the more precise one counts."""
    taken: list[tuple[int, int, Interval | None]] = []
    for pattern, read in _PATTERNS:
        for match in pattern.finditer(text):
            start, end = match.span()
            if all(end <= other or start >= until for other, until, _ in taken):
                taken.append((start, end, read(match)))
    return [interval for _, _, interval in sorted(taken, key=lambda one: one[0]) if interval]


def _instant(match: re.Match[str]) -> Interval | None:
    """A day or a time on it; None for a day that the calendar does not have."""
    parts = match.groupdict()
    year = int(parts.get("year") or f"20{parts['short']}")
    month = int(parts.get("month") or (_MONTH_NAMES.index(parts["name"]) if "name" in parts else 1))
    hour, minute, second = (int(parts.get(name) or 0) for name in ("hour", "minute", "second"))
    ordinal = int(parts.get("ordinal") or 1)
    try:
        at = datetime(year, month, int(parts.get("day") or 1), hour, minute, second, tzinfo=UTC)
    except ValueError:
        return None
    at += timedelta(days=ordinal - 1)
    return (at, at) if at.year == year else None


def _month(match: re.Match[str]) -> Interval:
    year, month = int(match["year"]), int(match["month"])
    days = calendar.monthrange(year, month)[1]
    return datetime(year, month, 1, tzinfo=UTC), datetime(year, month, days, 23, 59, 59, tzinfo=UTC)


def _year(match: re.Match[str]) -> Interval:
    year = int(match["year"])
    return datetime(year, 1, 1, tzinfo=UTC), datetime(year, 12, 31, 23, 59, 59, tzinfo=UTC)


_PATTERNS: tuple[tuple[re.Pattern[str], Callable[[re.Match[str]], Interval | None]], ...] = (
    (_GOES, _instant),
    (_ASTER, _instant),
    (_LANDSAT, _instant),
    (_MAXAR, _instant),
    (_DAY, _instant),
    (_ORDINAL, _instant),
    (_MONTH, _month),
    (_YEAR, _year),
)


def to_utc(at: datetime) -> datetime:
    """A time without a zone is taken for UTC."""
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)


def iso(at: datetime) -> str:
    """RFC 3339 in UTC, with a fraction only where there is one."""
    return to_utc(at).isoformat().replace("+00:00", "Z")
