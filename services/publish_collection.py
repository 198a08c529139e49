"""Show a collection as one map: its rendering, its overview and its links."""

from collections.abc import Iterator
from itertools import islice

from core.assets import OVERVIEW_ASSET
from core.errors import TaskFailed
from core.handler import TaskContext
from core.models import Json, Record
from core.results import PAGE, Results
from services.check_members import Mosaic, PlannedCollection
from services.create_member import CreatedMember
from services.make_overview import StoredOverview
from services.outputs.piece import delete_pieces
from services.stac.model import MemberLook
from services.stac.mosaic import (
    MosaicLinks,
    Overview,
    choose_look,
    choose_zooms,
    describe_mosaic,
    describe_overview,
)

FAILED = "geolathe:failed"
"""The field of a collection with the number of rasters that failed. The map page shows it."""


class PublishCollection(Record):
    """The collection, and what the request says about it."""

    collection: PlannedCollection
    fields: Json
    """Title, description and so on; these replace what the collection has."""
    overview: StoredOverview | None
    failed: int
    """Rasters of the collection without an item."""
    keeps_pieces: bool
    """Whether a raster or an overview of the job failed: a retry needs the pieces of all."""


class PublishedCollection(Record):
    """The collection as it is stored, and where people open it."""

    collection_id: str
    items: int
    has_overview: bool
    titiler_urls: dict[str, str]


def publish_collection(params: PublishCollection, ctx: TaskContext) -> PublishedCollection:
    """Update the document of the collection, then delete pieces. Safe to repeat.

    The overview is published only if it shows the items as they are stored: other jobs may have
    added or replaced items, and a raster that failed now may have an item of an earlier job.
    """
    collection_id, mosaic = params.collection.collection_id, params.collection.mosaic
    collection = ctx.catalog.get_collection(collection_id)
    if collection is None:
        raise TaskFailed(
            "NO_VALID_MEMBER",
            f"no item of collection {collection_id!r} was stored:"
            " the failed tasks of the job have the reasons",
        )
    fields, urls = params.fields | {FAILED: params.failed or None}, {}
    if mosaic is not None:
        described = _describe(params.collection, mosaic, collection, ctx)
        fields, urls = fields | described.fields, described.titiler_urls
    has_overview = _publish_with_overview(params, fields, ctx)
    if not has_overview:
        ctx.confirm()
        ctx.catalog.update_collection(collection_id, fields)
    delete_pieces(ctx.ports, ctx.job, _find_needed_pieces(params, ctx))
    return PublishedCollection(
        collection_id=collection_id,
        items=ctx.catalog.count_items(collection_id),
        has_overview=has_overview,
        titiler_urls=urls,
    )


def _publish_with_overview(params: PublishCollection, fields: Json, ctx: TaskContext) -> bool:
    """Update the collection with the overview, if that shows the items as they are stored.

    The items are watched meanwhile, so that a change during the comparison is noticed. The task is
    confirmed after the watch began: when a job is cancelled, its watch ends before its overview is
    deleted.
    """
    made, collection_id = params.overview, params.collection.collection_id
    if made is None:
        return False
    watcher = f"{ctx.task_id}-{ctx.attempt}"
    ctx.catalog.watch_items(collection_id, watcher)
    ctx.confirm()
    if not _shows_all_items(made, params.collection, ctx):
        return False
    facts = made.model_dump(include={"size_bytes", "checksum", "shape", "max_zoom"})
    overview = describe_overview(Overview(href=ctx.blobs.url(made.blob), **facts))
    assets = {**fields["assets"], OVERVIEW_ASSET: overview}
    return ctx.catalog.update_collection(collection_id, fields | {"assets": assets}, watcher)


def _shows_all_items(made: StoredOverview, planned: PlannedCollection, ctx: TaskContext) -> bool:
    if ctx.catalog.count_items(planned.collection_id) != made.members:
        return False
    members = iter(_read_members(planned, ctx))
    while page := [member.item for member in islice(members, PAGE)]:
        if not ctx.catalog.has_items(planned.collection_id, page):
            return False
    return True


def _find_needed_pieces(params: PublishCollection, ctx: TaskContext) -> set[str]:
    """The names of the pieces from which a retry of this job would make overviews."""
    if not params.keeps_pieces:
        return set()
    members = ctx.results("create_cogs", CreatedMember)
    return {member.piece_blob for member in members if member.piece_blob is not None}


def _read_members(planned: PlannedCollection, ctx: TaskContext) -> Results[CreatedMember]:
    created = ctx.results("create_cogs", CreatedMember)
    return created.between(planned.first, planned.stop)


def _describe(
    planned: PlannedCollection, mosaic: Mosaic, collection: Json, ctx: TaskContext
) -> MosaicLinks:
    def read_looks() -> Iterator[MemberLook]:
        return (member.look for member in _read_members(planned, ctx))

    [bbox] = collection["extent"]["spatial"]["bbox"][:1]
    return describe_mosaic(
        collection,
        choose_look(mosaic.kind, read_looks),
        choose_zooms(mosaic.kind, mosaic.grid, latitude=(bbox[1] + bbox[3]) / 2),
        ctx.ports.deployment.titiler_url,
    )
