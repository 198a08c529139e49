"""When a raster was taken: what the caller says, the file says, its name says, or storage says."""

import re
from datetime import UTC, datetime, timedelta
from pathlib import PurePosixPath

from core.models import Record

DATE = re.compile(
    r"(?<!\d)(?P<year>(?:19|20)\d\d)(?P<sep>[-_.]?)(?P<month>0[1-9]|1[0-2])(?P=sep)"
    r"(?P<day>0[1-9]|[12]\d|3[01])"
    r"(?:[T_-]?(?P<hour>[01]\d|2[0-3])[:_-]?(?P<minute>[0-5]\d)[:_-]?(?P<second>[0-5]\d)Z?)?"
    r"(?!\d)"
)
ORDINAL = re.compile(r"(?<!\d)(?P<year>(?:19|20)\d\d)[-_.]?(?P<day>[0-3]\d\d)(?!\d)")


class Dated(Record):
    """The time and where it came from."""

    at: datetime
    origin: str


def item_datetime(
    given: datetime | None, acquired: datetime | None, name: str, last_modified: datetime
) -> Dated:
    """In this order: given with the job, found in the source, read from its name, its upload."""
    if given is not None:
        return Dated(at=utc(given), origin="parameter")
    if acquired is not None:
        return Dated(at=utc(acquired), origin="source_metadata")
    named = date_in_name(name, last_modified)
    if named is not None:
        return Dated(at=named, origin="file_name")
    return Dated(at=utc(last_modified), origin="last_modified")


def date_in_name(name: str, latest: datetime) -> datetime | None:
    """20200902, 2020-09-02, 20200902T101112 or, as NASA names files, 2020246 (year and day).

    A number that would be a date after `latest` is not a date.
    """
    stem = PurePosixPath(name).name
    found = [calendar_date(match) for match in DATE.finditer(stem)]
    found += [ordinal_date(match) for match in ORDINAL.finditer(stem)]
    limit = utc(latest) + timedelta(days=1)
    return next((at for at in found if at is not None and at <= limit), None)


def calendar_date(match: re.Match[str]) -> datetime | None:
    parts = [int(match[name] or 0) for name in ("year", "month", "day", "hour", "minute", "second")]
    try:
        return datetime(parts[0], parts[1], parts[2], parts[3], parts[4], parts[5], tzinfo=UTC)
    except ValueError:
        return None  # the 31st of a month of 30 days


def ordinal_date(match: re.Match[str]) -> datetime | None:
    year, day = int(match["year"]), int(match["day"])
    if not 1 <= day <= 366:
        return None
    return datetime(year, 1, 1, tzinfo=UTC) + timedelta(days=day - 1)


def utc(at: datetime) -> datetime:
    """A time without a zone is taken for UTC."""
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)


def iso(at: datetime) -> str:
    """RFC 3339 in UTC, with a fraction only where there is one."""
    return utc(at).isoformat().replace("+00:00", "Z")
