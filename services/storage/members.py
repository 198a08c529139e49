"""Which blobs of a listing are members of a collection, and which are skipped."""

from enum import StrEnum
from fnmatch import fnmatchcase

from pydantic import Field

from core.models import Record
from core.sidecars import APPENDED, REPLACED
from core.uploads import RASTERS

PAGE = 1_000
"""Blobs in a page of the listing, and members of a task that selects."""
MAX_BLOBS = 100_000


class MemberFilter(Record):
    """The blobs that are members."""

    prefix: str = ""
    pattern: str | None = None
    """Compared with the name after the prefix; `*` also matches slashes."""
    recursive: bool = True


class MemberPage(Record):
    """A part of a listing: what follows a marker, up to and including a name."""

    marker: str | None
    last: str


class SkipReason(StrEnum):
    """Why a blob of the listing is not a member."""

    SIDECAR = "sidecar"
    """It belongs to the raster of the same name, with which it is read."""
    HIDDEN = "hidden"
    """It or one of its folders begins with a dot."""
    NOT_MATCHED = "not_matched"
    """The pattern does not match."""
    NOT_A_RASTER = "not_a_raster"
    """Its ending is not that of a raster, and there is no pattern."""
    EMPTY = "empty"
    """It has no bytes, as the markers of folders in some storage tools."""


class Skipped(Record):
    """The blobs of one reason."""

    count: int = 0
    examples: tuple[str, ...] = Field((), description="the first names")


def find_skip_reason(name: str, size: int, wanted: MemberFilter) -> SkipReason | None:
    """Why a blob is not a member; None for a member."""
    rest = name.removeprefix(wanted.prefix)
    lower = name.lower()
    if any(part.startswith(".") for part in name.split("/")):
        return SkipReason.HIDDEN
    if lower.endswith((*APPENDED, *REPLACED)):
        return SkipReason.SIDECAR
    if wanted.pattern is not None and not fnmatchcase(rest, wanted.pattern):
        return SkipReason.NOT_MATCHED
    if wanted.pattern is None and not lower.endswith(RASTERS):
        return SkipReason.NOT_A_RASTER
    if size == 0 and not lower.endswith(RASTERS):
        return SkipReason.EMPTY
    return None
