"""Select the members of a collection from one page of a listing."""

from collections import defaultdict
from collections.abc import Iterator

from core.handler import TaskContext
from core.models import BlobProperties, ContainerName, Record
from services.storage.members import (
    PAGE,
    MemberFilter,
    MemberPage,
    Skipped,
    SkipReason,
    find_skip_reason,
)

MAX_EXAMPLES = 5


class SelectMembers(MemberFilter):
    """A page of a listing, or names that the request lists: then they are all members."""

    container: ContainerName
    page: MemberPage | None = None
    names: tuple[str, ...] = ()


class Members(Record):
    """The names of at most 1,000 blobs, and what was skipped between them."""

    names: tuple[str, ...]
    skipped: dict[SkipReason, Skipped]


def select_members(params: SelectMembers, ctx: TaskContext) -> Members:
    """Sort out sidecars, hidden files and whatever is not wanted. Reads no blob."""
    if params.page is None:
        return Members(names=params.names, skipped={})
    names: list[str] = []
    skipped: defaultdict[SkipReason, Skipped] = defaultdict(Skipped)
    for blob in _read(params, params.page, ctx):
        reason = find_skip_reason(blob.ref.name, blob.size, params)
        if reason is None:
            names.append(blob.ref.name)
        else:
            skipped[reason] = add_skipped(skipped[reason], 1, (blob.ref.name,))
    return Members(names=tuple(names), skipped=dict(skipped))


def add_skipped(known: Skipped, count: int, examples: tuple[str, ...]) -> Skipped:
    """The sum, with the first examples of both."""
    return Skipped(count=known.count + count, examples=(*known.examples, *examples)[:MAX_EXAMPLES])


def _read(params: SelectMembers, page: MemberPage, ctx: TaskContext) -> Iterator[BlobProperties]:
    """The blobs up to the last one of the page, although others may have come since."""
    marker = page.marker
    while True:
        found = ctx.blobs.list_page(
            params.container, params.prefix, marker, limit=PAGE, recursive=params.recursive
        )
        for blob in found.blobs:
            if blob.ref.name > page.last:
                return
            yield blob
        marker = found.next_marker
        if marker is None:
            return
