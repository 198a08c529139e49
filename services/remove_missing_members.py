"""Remove the items of a collection whose source blobs are gone."""

from collections.abc import Iterator

from core.handler import TaskContext
from core.models import BlobRef, ContainerName, ItemName, Output, Record
from core.outputs import find_blob
from services.raster.kind import is_group_of
from services.select_members import Members
from services.stac.model import StacId
from services.storage.members import MemberFilter, find_skip_reason
from services.unpublish_item import ItemOutcome, describe_item, unpublish_item

PAGE = 1_000


class RemoveMissingMembers(MemberFilter):
    """Items of the collection that were made from blobs which this filter would select."""

    container: ContainerName
    """Of the sources."""
    collection_id: StacId
    grouped: bool
    """Whether the items are in collections of their groups."""
    output_folder: str
    """The folder of the COGs in the silver container."""


class RemovedMembers(Record):
    """What is gone."""

    removed: int


def remove_missing_members(params: RemoveMissingMembers, ctx: TaskContext) -> RemovedMembers:
    """Unpublish each item whose source is not in the listing and does not exist any more."""
    listed = {name for page in ctx.results("select", Members) for name in page.names}
    removed, done = 0, set[ItemName]()
    for output in _list_outputs(params, ctx):
        item = output.item
        source = _find_source(params, output)
        if item is None or item in done or source is None or source.name in listed:
            continue
        done.add(item)
        if find_blob(ctx.blobs, source) is None:
            gone = unpublish_item(describe_item(item, ctx.ports, False), ctx)
            removed += gone.item is ItemOutcome.REMOVED
            ctx.report(0.0, f"{removed} items removed")
    return RemovedMembers(removed=removed)


def _list_outputs(params: RemoveMissingMembers, ctx: TaskContext) -> Iterator[Output]:
    """The live outputs in the folder of the collection, in the order of their names."""
    container, after = ctx.ports.deployment.silver_container, ""
    prefix = f"{params.output_folder}/"
    while page := ctx.ports.outputs.live_after(container, prefix, after, PAGE):
        yield from page
        after = page[-1].name


def _may_be_of(params: RemoveMissingMembers, collection_id: str | None) -> bool:
    """Whether jobs with this request publish into the collection, now or before."""
    if collection_id is None or not params.grouped:
        return collection_id == params.collection_id
    return is_group_of(params.collection_id, collection_id)


def _find_source(params: RemoveMissingMembers, output: Output) -> BlobRef | None:
    """The source, if it is one that this collection's request selects."""
    if not _may_be_of(params, output.collection_id):
        return None
    container, _, name = output.source.partition("/")
    is_below = name.startswith(params.prefix)
    is_deeper = "/" in name.removeprefix(params.prefix)
    if container != params.container or not is_below or (is_deeper and not params.recursive):
        return None
    if find_skip_reason(name, 1, params) is not None:
        return None
    return BlobRef(container=container, name=name)
