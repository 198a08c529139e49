"""Check what the members of a collection have in common, and plan its overview."""

from collections.abc import Iterable

from core.errors import TaskFailed
from core.handler import TaskContext
from core.models import Record
from core.results import Results
from services.raster.kind import Group, Kind, KindCount, bounds_of_fitting, find_misfit
from services.raster.model import RasterFacts
from services.raster.mosaic.grid import plan_overview
from services.raster.mosaic.model import OverviewGrid
from services.select_members import Members, add_skipped
from services.storage.members import Skipped, SkipReason

MOST_UNLIKE = 0.1
"""The share of the members that may have another structure and fail one by one."""
MAX_GROUPS = 20


class CheckMembers(Record):
    """Where the members were looked for, and whether they become one mosaic."""

    looked_for: str
    mosaic: bool


class Checked(Record):
    """The members together. Its size does not grow with their number."""

    members: int
    valid: int
    skipped: dict[SkipReason, Skipped]
    groups: tuple[Group, ...]
    """Valid members by structure, the most frequent first."""
    source_bytes: int
    pixel_bytes: int
    """Of all valid members, without compression."""
    kind: Kind | None = None
    """None without a mosaic: then every member is accepted."""
    grid: OverviewGrid | None = None
    fitting: int
    """Members that fit each other."""


def check_members(params: CheckMembers, ctx: TaskContext) -> Checked:
    """Read the facts of all valid members, page by page.

    Raises TaskFailed NO_MEMBERS, NO_VALID_MEMBER, and UNLIKE_RASTERS if more than a tenth of the
    members have another structure than the most frequent one.
    """
    members, skipped = _count_members(ctx.results("select", Members))
    if not members:
        raise TaskFailed("NO_MEMBERS", f"{params.looked_for} has no raster{_list(skipped)}")
    facts = ctx.results("validate", RasterFacts)
    count, source_bytes, pixel_bytes = KindCount(), 0, 0
    for each in facts:
        count.add(each)
        source_bytes += each.source_size_bytes
        pixel_bytes += each.decoded_bytes
    groups = count.groups()
    valid = sum(group.count for group in groups)
    if not valid:
        raise TaskFailed(
            "NO_VALID_MEMBER",
            f"none of the {members} rasters of {params.looked_for} can become a COG:"
            " the failed tasks of stage 'validate' have the reasons",
        )
    kind = count.most_common() if params.mosaic else None
    if kind is not None:
        _refuse_unlike(groups, valid)
    fitting = valid if kind is None else sum(find_misfit(each, kind) is None for each in facts)
    return Checked(
        members=members,
        valid=valid,
        skipped=skipped,
        groups=groups[:MAX_GROUPS],
        source_bytes=source_bytes,
        pixel_bytes=pixel_bytes,
        kind=kind,
        grid=_plan(facts, kind),
        fitting=fitting,
    )


def _count_members(pages: Iterable[Members]) -> tuple[int, dict[SkipReason, Skipped]]:
    members = 0
    skipped: dict[SkipReason, Skipped] = {}
    for page in pages:
        members += len(page.names)
        for reason, found in page.skipped.items():
            known = skipped.get(reason, Skipped())
            skipped[reason] = add_skipped(known, found.count, found.examples)
    return members, skipped


def _list(skipped: dict[SkipReason, Skipped]) -> str:
    """What was skipped, as the end of a sentence."""
    parts = [f"{found.count} {reason}, such as {found.examples[0]!r}" for reason, found in
             sorted(skipped.items())]  # fmt: skip
    return f"; skipped: {'; '.join(parts)}" if parts else ""


def _refuse_unlike(groups: tuple[Group, ...], valid: int) -> None:
    """Raises TaskFailed when the members are not of one kind, apart from a few."""
    if valid - groups[0].count > MOST_UNLIKE * valid:
        listed = ", ".join(f"{group.count} with {group.structure}" for group in groups[:MAX_GROUPS])
        raise TaskFailed(
            "UNLIKE_RASTERS",
            f"the rasters are of different kinds: {listed}. Submit a job with a pattern for each"
            " kind and another collection_id, or set mosaic to false",
        )


def _plan(facts: Results[RasterFacts], kind: Kind | None) -> OverviewGrid | None:
    return None if kind is None else plan_overview(bounds_of_fitting(facts, kind))
