"""Find the pages of a container's listing in which the members of a collection are."""

from core.errors import TaskFailed
from core.handler import TaskContext
from core.models import ContainerName, Record
from services.storage.members import MAX_BLOBS, PAGE, MemberFilter, MemberPage


class ListMembers(MemberFilter):
    """The parameters of list_members."""

    container: ContainerName


class MemberPages(Record):
    """The pages, not their names: the result does not grow with the number of blobs."""

    pages: tuple[MemberPage, ...]
    blobs: int


def list_members(params: ListMembers, ctx: TaskContext) -> MemberPages:
    """Read the listing once, to cut it into pages of 1,000 blobs.

    Raises TaskFailed TOO_MANY_BLOBS for more than 100,000.
    """
    pages: list[MemberPage] = []
    blobs, marker = 0, None
    while True:
        found = ctx.blobs.list_page(
            params.container, params.prefix, marker, limit=PAGE, recursive=params.recursive
        )
        if found.blobs:
            blobs += len(found.blobs)
            pages.append(MemberPage(marker=marker, last=found.blobs[-1].ref.name))
        if blobs > MAX_BLOBS:
            raise TaskFailed(
                "TOO_MANY_BLOBS",
                f"{params.container}/{params.prefix} has more than {MAX_BLOBS:,} blobs:"
                " choose a longer prefix and submit a job for each part",
            )
        ctx.report(0.0, f"{blobs} blobs listed")
        marker = found.next_marker
        if marker is None:
            return MemberPages(pages=tuple(pages), blobs=blobs)
