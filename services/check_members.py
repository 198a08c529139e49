"""Check what rasters have in common, and plan the collections that they become."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

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
from services.raster.mosaic.grid import OverviewPlan
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


@dataclass
class _Map:
    """What the members of one map have in common."""

    kind: Kind
    fitting: OverviewPlan = field(default_factory=OverviewPlan)
    every: OverviewPlan = field(default_factory=OverviewPlan)

    def add(self, facts: RasterFacts) -> None:
        self.every.add(facts.bounds_4326)
        if find_misfit(facts, self.kind) is None:
            self.fitting.add(facts.bounds_4326)

    @property
    def mosaic(self) -> Mosaic:
        """With room for members that do not fit, unless that makes the overview coarser.

        A raster that does not fit may be replaced by one that does before the job is retried.
        """
        every, fitting = self.every.grid(), self.fitting.grid()
        return Mosaic(kind=self.kind, grid=every if every.zoom == fitting.zoom else fitting)


def _plan(
    params: CheckMembers, members: int, count: KindCount, facts: Results[RasterFacts]
) -> Iterator[PlannedCollection]:
    """The collections, with their members one after the other in stage create_cogs."""
    groups, name = count.groups(), params.collection_id
    valid = sum(group.count for group in groups)
    if params.grouped:
        _refuse_many(groups)
        yield from _plan_groups(name, count, facts)
    elif params.mosaic:
        _refuse_unlike(groups, valid)
        only = _Map(count.most_common())
        for each in facts:
            only.add(each)
        yield _plan_map(name, only, None, 0, valid, members)
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


def _plan_groups(
    collection_id: str, count: KindCount, facts: Results[RasterFacts]
) -> Iterator[PlannedCollection]:
    maps = {group.structure: _Map(count.kind_of(group.structure)) for group in count.groups()}
    for each in facts:
        maps[structure_of(each)].add(each)
    first = 0
    for structure, planned in maps.items():
        found = planned.every.count
        name = name_group(collection_id, structure)
        yield _plan_map(name, planned, structure, first, found, found)
        first += found


def _plan_map(
    name: str, planned: _Map, structure: Structure | None, first: int, valid: int, rasters: int
) -> PlannedCollection:
    return PlannedCollection(
        collection_id=name,
        structure=structure,
        mosaic=planned.mosaic,
        first=first,
        stop=first + valid,
        rasters=rasters,
        fitting=planned.fitting.count,
    )


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
