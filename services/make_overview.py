"""Paste the overview of a collection from the pieces that its members left."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from core.errors import TaskFailed
from core.handler import TaskContext
from core.models import BlobRef, Record
from services.create_member import CreatedMember
from services.outputs.cog import SECONDS
from services.outputs.piece import store_overview
from services.raster.kind import Kind
from services.raster.mosaic.grid import has_room, scratch_bytes
from services.raster.mosaic.model import (
    MadeOverview,
    OverviewGrid,
    PasteOverview,
    Piece,
    PlacedPiece,
)
from services.sandbox import child
from services.stac.model import StacId
from services.stac.mosaic import order_on_map

DOWNLOADS = 8
"""Pieces that are downloaded at once."""


class MakeOverview(Record):
    """An overview of the members whose pieces are stored."""

    collection_id: StacId
    grid: OverviewGrid
    kind: Kind
    first: int
    stop: int
    """The members are the tasks of stage create_cogs with first <= index < stop."""


class StoredOverview(Record):
    """The overview as a blob, which the collection does not name yet."""

    collection_id: StacId
    blob: BlobRef
    size_bytes: int
    checksum: str
    shape: tuple[int, int]
    """Rows, columns."""
    max_zoom: int
    members: int
    """How many members it shows. Those without a valid pixel count."""


class _StoredPiece(NamedTuple):
    """A piece, and its place in the order of the map."""

    order: tuple[datetime, str]
    blob: str
    piece: Piece


def make_overview(params: MakeOverview, ctx: TaskContext) -> StoredOverview:
    """Download the pieces, paste them with the newest item on top, and upload the overview.

    Of each member only the place of its piece is in memory. Raises TaskFailed NOTHING_TO_SHOW when
    no member has a valid pixel, and OUTSIDE_OVERVIEW for a member that was elsewhere when the grid
    was planned.
    """
    members = 0
    pieces: list[_StoredPiece] = []
    created = ctx.results("create_cogs", CreatedMember)
    for member in created.between(params.first, params.stop):
        members += 1
        _check_place(member, params.grid)
        pieces += _find_piece(member)
    if not pieces:
        raise TaskFailed("NOTHING_TO_SHOW", "no member of the collection has a valid pixel")
    pieces.sort(key=lambda each: each.order, reverse=True)
    room = sum(each.piece.size_bytes for each in pieces) + scratch_bytes(
        params.grid, params.kind.structure.pixel_bytes
    )
    with ctx.scratch.folder(ctx.task_id, room) as folder:
        placed = list(_download(pieces, folder, ctx))
        made = _paste(params, placed, folder, ctx)
        blob = store_overview(ctx, params.collection_id, Path(made.path))
    return StoredOverview(
        collection_id=params.collection_id,
        blob=blob,
        members=members,
        **made.model_dump(exclude={"path"}),
    )


def load_paste_overview() -> child.Function[PasteOverview, MadeOverview]:
    """The function that the sandbox runs. Only the child process imports GDAL."""
    from services.raster.mosaic.paste import paste_overview

    return paste_overview


def _check_place(member: CreatedMember, grid: OverviewGrid) -> None:
    west, south, east, north = member.item["bbox"]
    if not has_room(grid, (west, south, east, north)):
        raise TaskFailed(
            "OUTSIDE_OVERVIEW",
            f"{member.source} is outside of the area of the overview, because it was replaced"
            " after the rasters were compared: submit the job again",
        )


def _find_piece(member: CreatedMember) -> Iterator[_StoredPiece]:
    if member.piece is not None and member.piece_blob is not None:
        yield _StoredPiece(order_on_map(member.item), member.piece_blob, member.piece)


def _download(
    pieces: Sequence[_StoredPiece], folder: Path, ctx: TaskContext
) -> Iterator[PlacedPiece]:
    container = ctx.ports.deployment.silver_container

    def fetch(number: int) -> PlacedPiece:
        path = folder / f"{number}.tif"
        ctx.blobs.download(BlobRef(container=container, name=pieces[number].blob), path)
        place = pieces[number].piece.model_dump(exclude={"size_bytes"})
        return PlacedPiece(path=str(path), **place)

    with ThreadPoolExecutor(DOWNLOADS) as threads:
        for number, placed in enumerate(threads.map(fetch, range(len(pieces)))):
            ctx.report(0.3 * number / len(pieces), "downloading pieces")
            yield placed


def _paste(
    params: MakeOverview, pieces: Sequence[PlacedPiece], folder: Path, ctx: TaskContext
) -> MadeOverview:
    request = PasteOverview(
        grid=params.grid,
        pieces=tuple(pieces),
        raster_type=params.kind.raster_type,
        folder=str(folder),
    )
    return child.run(
        load_paste_overview,
        request,
        MadeOverview,
        lambda fraction, message: ctx.report(0.3 + 0.6 * fraction, message),
        folder=folder,
        memory_bytes=child.MEMORY_BYTES,
        seconds=SECONDS,
        length="long",
    )
