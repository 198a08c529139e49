"""Check what rasters have in common, and plan the collections that they become."""

from collections.abc import Iterable, Iterator

from core.errors import TaskFailed
from core.handler import TaskContext
from core.models import Record
from core.results import Results
from services.raster.kind import (
    Group,
    Kind,
    KindCount,
    Structure,
    find_misfit,
    name_group,
    structure_of,
)
from services.raster.model import RasterFacts
from services.raster.mosaic.grid import plan_overview
from services.raster.mosaic.model import OverviewGrid
from services.select_members import Members, add_skipped
from services.stac.model import StacId
from services.storage.members import Skipped, SkipReason

MOST_UNLIKE = 0.1
"""The share of the members that may have another structure and fail one by one."""
MAX_GROUPS = 20


class CheckMembers(Record):
    """Where the members were looked for, and what they become."""

    looked_for: str
    collection_id: StacId
    mosaic: bool
    """One map, or one of each group."""
    grouped: bool
    """A collection for each structure."""


class Mosaic(Record):
    """What is common to the members of one map."""

    kind: Kind
    grid: OverviewGrid


class PlannedCollection(Record):
    """A collection, and the tasks of stage create_cogs that make its members."""

    collection_id: StacId
    structure: Structure | None
    """Of its members; None for members of any structure."""
    mosaic: Mosaic | None
    """None without a map: then every member is accepted."""
    first: int
    stop: int
    """The tasks with first <= index < stop."""
    rasters: int
    """All that were found for it. Invalid ones belong to no structure."""
    fitting: int
    """Members that fit each other."""

    def takes(self, facts: RasterFacts) -> bool:
        return self.structure is None or structure_of(facts) == self.structure


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
    collections: tuple[PlannedCollection, ...]


def check_members(params: CheckMembers, ctx: TaskContext) -> Checked:
    """Read the facts of all valid members, page by page.

    Raises TaskFailed NO_MEMBERS, NO_VALID_MEMBER, and UNLIKE_RASTERS if more than a tenth of the
    members of one map have another structure than the most frequent one, or if there are more
    than 20 groups.
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
    return Checked(
        members=members,
        valid=valid,
        skipped=skipped,
        groups=groups[:MAX_GROUPS],
        source_bytes=source_bytes,
        pixel_bytes=pixel_bytes,
        collections=tuple(_plan(params, members, count, facts)),
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


def _plan(
    params: CheckMembers, members: int, count: KindCount, facts: Results[RasterFacts]
) -> Iterator[PlannedCollection]:
    """The collections, with their members one after the other in stage create_cogs."""
    groups, name = count.groups(), params.collection_id
    valid = sum(group.count for group in groups)
    if params.grouped:
        _refuse_many(groups)
        first = 0
        for group in groups:
            name = name_group(params.collection_id, group.structure)
            kind, stop = count.kind_of(group.structure), first + group.count
            yield _plan_mosaic(name, kind, group.structure, (first, stop), group.count, facts)
            first = stop
    elif params.mosaic:
        _refuse_unlike(groups, valid)
        yield _plan_mosaic(name, count.most_common(), None, (0, valid), members, facts)
    else:
        yield PlannedCollection(
            collection_id=name,
            structure=None,
            mosaic=None,
            first=0,
            stop=valid,
            rasters=members,
            fitting=valid,
        )


def _plan_mosaic(
    name: str,
    kind: Kind,
    structure: Structure | None,
    tasks: tuple[int, int],
    rasters: int,
    facts: Results[RasterFacts],
) -> PlannedCollection:
    first, stop = tasks
    return PlannedCollection(
        collection_id=name,
        structure=structure,
        mosaic=Mosaic(kind=kind, grid=_plan_grid(kind, structure, facts)),
        first=first,
        stop=stop,
        rasters=rasters,
        fitting=sum(find_misfit(each, kind) is None for each in facts),
    )


def _plan_grid(
    kind: Kind, structure: Structure | None, facts: Results[RasterFacts]
) -> OverviewGrid:
    """A grid for the members that fit, with room for the others unless that makes it coarser.

    A raster that does not fit may be replaced by one that does before the job is retried.
    """
    fitting = plan_overview(each.bounds_4326 for each in facts if find_misfit(each, kind) is None)
    every = plan_overview(
        each.bounds_4326 for each in facts if structure in (None, structure_of(each))
    )
    return every if every.zoom == fitting.zoom else fitting


def _refuse_unlike(groups: tuple[Group, ...], valid: int) -> None:
    """Raises TaskFailed when the members are not of one kind, apart from a few."""
    if valid - groups[0].count > MOST_UNLIKE * valid:
        raise TaskFailed(
            "UNLIKE_RASTERS",
            f"the rasters are of different kinds: {_list_groups(groups)}. Set group_by to 'auto'"
            " for a collection of each kind, submit a job with a pattern for each kind and another"
            " collection_id, or set mosaic to false",
        )


def _refuse_many(groups: tuple[Group, ...]) -> None:
    if len(groups) > MAX_GROUPS:
        raise TaskFailed(
            "UNLIKE_RASTERS",
            f"the rasters are of {len(groups)} kinds, and group_by makes at most {MAX_GROUPS}"
            f" collections: {_list_groups(groups)} and so on. Submit a job with a pattern for"
            " each kind, or set mosaic to false",
        )


def _list_groups(groups: tuple[Group, ...]) -> str:
    return ", ".join(f"{group.count} with {group.structure}" for group in groups[:MAX_GROUPS])
