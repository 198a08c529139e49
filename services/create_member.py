"""Make the COGs of a member of a collection, its item, and its piece of the overview."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

from pydantic import AwareDatetime, Field

from core.errors import TaskFailed
from core.handler import TaskContext
from core.models import BlobRef, Json, Record
from core.outputs import find_blob, is_stored
from services.outputs.cog import CogOrder, make_output, read_for_cogs
from services.outputs.description import (
    MEMORY_BYTES,
    SECONDS,
    ItemOrder,
    find_published_tiers,
    request_description,
)
from services.outputs.facts import inspect_current
from services.outputs.member import naming
from services.outputs.piece import store_piece
from services.raster.kind import Kind, find_misfit
from services.raster.model import Cog, RasterFacts, RasterType, ReadingOptions, Tier
from services.raster.mosaic.model import OverviewGrid, Piece
from services.sandbox import child
from services.sandbox.turns import length_of
from services.stac.model import DescribedMember, DescribeMember, MemberLook, StacId, preferred
from services.storage.fetch import Fetched
from services.storage.naming import describe_owner, name_cog, propose_locations
from services.storage.sidecars import find_sidecars

REQUEST_VERSION = 2
"""Part of the identity of a COG: increase it when the same options give other pixels."""


class MemberOptions(ReadingOptions):
    """What is wanted of every member."""

    jpeg_quality: int = Field(default=85, ge=1, le=100)
    in_memory: bool | None = None
    collection_id: StacId
    output_folder: str
    datetime: AwareDatetime | None = None


class CreateMember(Record):
    """A validated member, and what is wanted of it."""

    facts: RasterFacts
    options: MemberOptions
    kind: Kind | None
    """The kind of most members; None if unlike rasters are accepted."""
    grid: OverviewGrid | None


class CreatedMember(Record):
    """A member whose COGs are stored. The catalogue does not have its item yet."""

    source: str
    item: Json
    collection: Json
    """The collection as this item alone needs it."""
    outputs: tuple[int, ...]
    size_bytes: int
    made: int
    """COGs that were made."""
    reused: int
    """COGs that an earlier task made from the same version of the source."""
    look: MemberLook
    piece: Piece | None
    piece_blob: str | None


def create_member(params: CreateMember, ctx: TaskContext) -> CreatedMember:
    """Make what does not exist yet, describe it, and store the piece of the overview.

    A source that has changed since it was validated is inspected again. COGs that were made from
    the same version of the source with the same options are kept. Raises TaskFailed DOES_NOT_FIT
    for a raster that cannot be in one mosaic with the others.
    """
    source = params.facts.source
    with naming(source):
        sidecars = find_sidecars(ctx.blobs, source)
        facts = _inspect_again(params, tuple(sidecars), ctx)
        if params.kind is not None and (misfit := find_misfit(facts, params.kind)):
            raise TaskFailed("DOES_NOT_FIT", f"{source.name} does not fit the collection: {misfit}")
        orders = _order_cogs(params, facts, sidecars, ctx)
        kept = {order.tier: cog for order in orders if (cog := _find_cog(order, ctx))}
        missing = [order for order in orders if order.tier not in kept]

        def make_and_describe(fetched: Fetched) -> CreatedMember:
            made = [make_output(order, ctx, fetched) for order in missing]
            files = {each.cog.blob: each.path for each in made}
            cogs = (*kept.values(), *(each.cog for each in made))
            return _describe(params, facts, cogs, files, fetched.folder, ctx)

        if missing:
            return read_for_cogs(ctx, facts, len(missing), make_and_describe)
        size = sum(cog.size_bytes for cog in kept.values())
        with ctx.scratch.folder(ctx.task_id, 2 * size) as folder:
            return _describe(params, facts, tuple(kept.values()), {}, folder, ctx)


def _inspect_again(
    params: CreateMember, sidecars: tuple[str, ...], ctx: TaskContext
) -> RasterFacts:
    """The facts of the version that is stored now, with the raster type of most members."""
    facts, kind = params.facts, params.kind
    is_current = (
        ctx.blobs.properties(facts.source).etag == facts.source_etag
        and tuple(each.name for each in facts.sidecars) == sidecars
    )
    wanted = facts.raster_type.applied_type if kind is None else kind.raster_type
    if is_current and facts.raster_type.applied_type is wanted:
        return facts
    forced = {} if kind is None or wanted is RasterType.UNKNOWN else {"raster_type": str(wanted)}
    options = ReadingOptions.model_validate(params.options.model_dump() | forced)
    return inspect_current(facts.source, options, ctx)


def _order_cogs(
    params: CreateMember, facts: RasterFacts, sidecars: dict[str, str], ctx: TaskContext
) -> list[CogOrder]:
    """The COGs of all tiers, at a location that is reserved for this source."""
    options, pad = params.options, params.grid is not None
    source, made_of = facts.source, (options.subdataset, options.target_crs)
    container = ctx.ports.deployment.silver_container
    proposed = propose_locations(source, options.output_folder, *made_of)
    owner = describe_owner(source, *made_of)
    location = ctx.ports.outputs.reserve_location(container, proposed, owner)
    if location is None:
        raise TaskFailed(
            "OUTPUT_TAKEN",
            f"the COGs at {proposed[0]!r} are of another source; choose another output_folder",
        )
    tiers = facts.cog_tiers if options.output_tier == "all" else (Tier(options.output_tier),)
    return [
        CogOrder(
            facts=facts,
            target=BlobRef(container=container, name=name_cog(location, tier)),
            tier=tier,
            target_crs=options.target_crs,
            jpeg_quality=options.jpeg_quality,
            in_memory=options.in_memory,
            request=_identify(facts, sidecars, options, tier, pad=pad),
            pad=pad,
        )
        for tier in tiers
    ]


def _identify(
    facts: RasterFacts, sidecars: dict[str, str], options: MemberOptions, tier: Tier, *, pad: bool
) -> str:
    """Equal for equal COGs: a hash of the source, its sidecars by ETag, and the options."""
    content = [
        REQUEST_VERSION,
        facts.model_dump(mode="json"),
        sidecars,
        tier,
        options.target_crs,
        options.jpeg_quality,
        pad,
    ]
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _find_cog(order: CogOrder, ctx: TaskContext) -> Cog | None:
    """The COG that this very order has already made, if it is stored unchanged."""
    live = ctx.ports.outputs.live_at(order.target)
    if live is None or live.cog is None or live.request != order.request:
        return None
    if not is_stored(live, find_blob(ctx.blobs, order.target)):
        return None
    return Cog.model_validate(live.cog | {"output_id": live.output_id})


def _describe(
    params: CreateMember,
    facts: RasterFacts,
    cogs: tuple[Cog, ...],
    files: Mapping[BlobRef, Path],
    folder: Path,
    ctx: TaskContext,
) -> CreatedMember:
    """Describe all tiers in one child process, which reads the COGs that were just made."""
    options = params.options
    shown = preferred((*cogs, *find_published_tiers(cogs, facts, ctx)))
    local = dict(files)
    if shown[0].blob not in local:
        local[shown[0].blob] = folder / "shown.tif"
        ctx.blobs.download(shown[0].blob, local[shown[0].blob])
    order = ItemOrder(facts=facts, collection_id=options.collection_id, datetime=options.datetime)
    piece_file = folder / "piece.tif"
    described = child.run(
        load_describe_member,
        DescribeMember(
            description=request_description(order, shown, ctx, local),
            path=str(local[shown[0].blob]),
            grid=params.grid,
            piece_path=str(piece_file),
        ),
        DescribedMember,
        lambda fraction, message: ctx.report(0.9 + 0.1 * fraction, message),
        folder=folder,
        memory_bytes=MEMORY_BYTES,
        seconds=SECONDS,
        network=any(cog.blob not in local for cog in shown),
        length=length_of(facts.decoded_bytes),
    )
    return CreatedMember(
        source=facts.source.name,
        item=described.item,
        collection=described.collection,
        outputs=tuple(cog.output_id for cog in shown if cog.output_id is not None),
        size_bytes=sum(cog.size_bytes for cog in cogs),
        made=len(files),
        reused=len(cogs) - len(files),
        look=described.look,
        piece=described.piece,
        piece_blob=None if described.piece is None else store_piece(ctx, piece_file),
    )


def load_describe_member() -> child.Function[DescribeMember, DescribedMember]:
    """The function that the sandbox runs. Only the child process imports GDAL."""
    from services.stac.member import describe_member

    return describe_member
