"""Show a collection as one map: its rendering, its overview and its links."""

from collections.abc import Iterator

from core.errors import TaskFailed
from core.handler import TaskContext
from core.models import Json, Record
from services.create_member import CreatedMember
from services.make_overview import StoredOverview
from services.outputs.piece import JOB_DIGITS, KEPT_FOR, delete_overviews, delete_pieces
from services.raster.kind import Kind
from services.raster.mosaic.model import OverviewGrid
from services.stac.model import MemberLook, StacId
from services.stac.mosaic import MosaicLinks, Overview, choose_look, choose_zooms, describe_mosaic

FAILED = "geolathe:failed"
"""The field of a collection with the number of rasters that failed. The map page shows it."""


class Mosaic(Record):
    """What is common to the members of a mosaic."""

    kind: Kind
    grid: OverviewGrid


class PublishCollection(Record):
    """The collection, and what the request says about it."""

    collection_id: StacId
    fields: Json
    """Title, description and so on; these replace what the collection has."""
    mosaic: Mosaic | None
    """None for a collection that is not shown as one map."""
    overview: StoredOverview | None
    failed: int
    """Members without an item. A retry of these needs the pieces of the others."""


class PublishedCollection(Record):
    """The collection as it is stored, and where people open it."""

    collection_id: str
    items: int
    has_overview: bool
    titiler_urls: dict[str, str]


def publish_collection(params: PublishCollection, ctx: TaskContext) -> PublishedCollection:
    """Update the document of the collection, then delete the pieces. Safe to repeat.

    An overview that does not show all items of the collection is not published: other jobs may
    have added items, and a raster that failed now may have an item of an earlier job.
    """
    collection = ctx.catalog.get_collection(params.collection_id)
    if collection is None:
        raise TaskFailed(
            "NO_VALID_MEMBER",
            f"no item of collection {params.collection_id!r} was stored:"
            " the failed tasks of the job have the reasons",
        )
    items = ctx.catalog.count_items(params.collection_id)
    overview = _choose_overview(params, items, ctx)
    fields, urls = params.fields, {}
    if params.mosaic is not None:
        described = _describe(params.mosaic, collection, overview, ctx)
        fields, urls = fields | described.fields, described.titiler_urls
    failed = {FAILED: params.failed or None}
    ctx.confirm()
    ctx.catalog.update_collection(params.collection_id, fields | failed)
    delete_overviews(ctx.ports, params.collection_id, older_than=KEPT_FOR)
    if overview is not None and not params.failed:
        delete_pieces(ctx.ports, ctx.task_id[:JOB_DIGITS])
    return PublishedCollection(
        collection_id=params.collection_id,
        items=items,
        has_overview=overview is not None,
        titiler_urls=urls,
    )


def _choose_overview(params: PublishCollection, items: int, ctx: TaskContext) -> Overview | None:
    made = params.overview
    if made is None or made.members != items:
        return None
    facts = made.model_dump(include={"size_bytes", "checksum", "shape", "max_zoom"})
    return Overview(href=ctx.blobs.url(made.blob), **facts)


def _describe(
    mosaic: Mosaic, collection: Json, overview: Overview | None, ctx: TaskContext
) -> MosaicLinks:
    def read_looks() -> Iterator[MemberLook]:
        return (member.look for member in ctx.results("create_cogs", CreatedMember))

    [bbox] = collection["extent"]["spatial"]["bbox"][:1]
    return describe_mosaic(
        collection,
        choose_look(mosaic.kind, read_looks),
        choose_zooms(mosaic.kind, mosaic.grid, latitude=(bbox[1] + bbox[3]) / 2),
        overview,
        ctx.ports.deployment.titiler_url,
    )
