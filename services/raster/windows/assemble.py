"""Puts encoded windows together: the upper overviews, the order of the blocks, and the header."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from rasterio.io import MemoryFile

from services.raster.windows.encode import Pixels, Target, block_id, read_template
from services.raster.windows.model import EncodedBlock, Piece, WindowIndex
from services.raster.windows.plan import MOST_BLOCKS, Window, WindowPlan
from services.raster.windows.tiff import (
    CLASSIC_LIMIT,
    LENGTH,
    LONG,
    LONG8,
    TILE_OFFSETS,
    TILE_SIZES,
    WIDTH,
    Directory,
    Field,
    write_header,
)

_HEADER = Piece(level=255, plane=0, row=0, column=0, sizes=())
_FRAME = 8
"""Bytes of leader and trailer of a tile."""
_Key = tuple[int, bool]
"""A level, and whether its mask is meant."""
_Tables = dict[_Key, NDArray[np.uint64]]
"""Offsets and sizes of tiles: an array of 2, planes, rows and columns. 0 for tiles without data."""


class Assembled(NamedTuple):
    """A COG that is complete but for its header, which is staged like any other block."""

    header: EncodedBlock
    content: bytes
    """Of the header."""
    blocks: tuple[EncodedBlock, ...]
    """All blocks in the order of the file, the header first."""
    size: int
    """Of the file in bytes."""


def join_smallest(
    target: Target, window: Window, smallest: Iterable[tuple[Window, bytes]]
) -> Pixels:
    """The pixels of a window above tier 0, from the smallest levels of windows below it.

    Windows that are left out have no data.
    """
    plan = target.plan
    rows, columns = plan.window_shape(window)
    pixels = np.zeros((target.band_count, rows, columns), target.dtype)
    if target.view.mask is None and target.view.nodata is not None:
        pixels[:] = target.view.nodata
    side = plan.side >> plan.steps
    for below, content in smallest:
        y, x = below.row * side - window.row * plan.side, below.column * side
        x -= window.column * plan.side
        place = pixels[:, y : y + side, x : x + side]
        with MemoryFile(content) as file, file.open() as image:
            place[:] = image.read()[:, : place.shape[1], : place.shape[2]]
    return pixels


def assemble(target: Target, indexes: Sequence[WindowIndex]) -> Assembled:
    """Order the blocks and write the header. Depends on the set of indexes only.

    Raises ValueError where the index of a window is missing, or does not fit its blocks.
    """
    plan = target.plan
    by_window = {index.window: index for index in indexes}
    if missing := [each for each in plan.all_windows() if each not in by_window]:
        raise ValueError(f"{len(missing)} windows are missing, the first is {missing[0]}")
    blocks = _in_order(plan, by_window)
    if len(blocks) + 1 > MOST_BLOCKS:
        raise ValueError(f"a blob has at most {MOST_BLOCKS} blocks, not {len(blocks) + 1}")
    tables, data_size = _place_tiles(plan, blocks)
    content = _header(target, tables, data_size)
    header = EncodedBlock(
        block_id=block_id(target.job, _HEADER, content), size=len(content), pieces=()
    )
    return Assembled(header, content, (header, *blocks), len(content) + data_size)


def _in_order(plan: WindowPlan, indexes: Mapping[Window, WindowIndex]) -> list[EncodedBlock]:
    """Smallest overview first, as GDAL's COG driver does; within a level by plane and place."""
    found = [(block, window) for window, index in indexes.items() for block in index.blocks]

    def place(entry: tuple[EncodedBlock, Window]) -> tuple[int, ...]:
        block, window = entry
        first = block.pieces[0]
        if plan.by_row:
            return -first.level, first.plane, first.row, first.column
        return -first.level, window.row, window.column

    return [block for block, _ in sorted(found, key=place)]


def _place_tiles(plan: WindowPlan, blocks: Sequence[EncodedBlock]) -> tuple[_Tables, int]:
    """Offsets of tiles from the end of the header, and the bytes of all tiles."""
    tables = _empty_tables(plan)
    at = 0
    for block in blocks:
        end = at + block.size
        for piece in block.pieces:
            for number, size in enumerate(piece.sizes):
                if size:
                    _place_tile(plan, tables, piece, number, at)
                    at += size + _FRAME
        if at != end:
            raise ValueError(f"block {block.block_id} is not as long as its tiles")
    return tables, at


def _empty_tables(plan: WindowPlan) -> _Tables:
    masks = (False, True) if plan.has_mask else (False,)
    return {
        (level, masked): np.zeros(
            (2, 1 if masked else plan.image_planes, *plan.tiles(level)), np.uint64
        )
        for level in range(plan.levels + 1)
        for masked in masks
    }


def _place_tile(plan: WindowPlan, tables: _Tables, piece: Piece, number: int, at: int) -> None:
    """Enter one tile of a piece; `at` is where its leader begins."""
    alternate = plan.has_mask and plan.is_pixel_interleaved
    masked = number % 2 == 1 if alternate else piece.plane >= plan.image_planes
    column = piece.column + (number // 2 if alternate else number)
    table = tables[piece.level, masked]
    plane = 0 if masked else piece.plane
    table[:, plane, piece.row, column] = at + _FRAME // 2, piece.sizes[number]


def _header(target: Target, tables: _Tables, data_size: int) -> bytes:
    """The header. Its length decides the offsets, and depends on the number of tiles only."""
    template = read_template(target)
    for big in (False, True):
        length = len(_write(target, template, tables, 0, big=big))
        if length + data_size < CLASSIC_LIMIT:
            break
    return _write(target, template, tables, length, big=big)


def _write(
    target: Target,
    template: Mapping[tuple[bool, bool], Directory],
    tables: _Tables,
    start: int,
    *,
    big: bool,
) -> bytes:
    directories = [
        _directory(target.plan, template[level > 0, masked], level, table, start, big=big)
        for (level, masked), table in sorted(tables.items(), key=_directory_order)
    ]
    return write_header(directories, ghost_area(target.plan), big=big)


def _directory_order(entry: tuple[_Key, object]) -> tuple[bool, bool, int]:
    """Image, mask, overviews of the image, overviews of the mask: the order of GDAL."""
    (level, masked), _ = entry
    return level > 0, masked, level


def _directory(
    plan: WindowPlan,
    template: Directory,
    level: int,
    table: NDArray[np.uint64],
    start: int,
    *,
    big: bool,
) -> Directory:
    rows, columns = plan.shape(level)
    offsets, sizes = (part.ravel() for part in table)
    placed = np.where(offsets > 0, offsets + np.uint64(start), 0)
    return Directory(
        template
        | {
            WIDTH: Field.of(LONG, [columns]),
            LENGTH: Field.of(LONG, [rows]),
            TILE_OFFSETS: Field.of(LONG8 if big else LONG, placed.tolist()),
            TILE_SIZES: Field.of(LONG, sizes.tolist()),
        }
    )


def ghost_area(plan: WindowPlan) -> bytes:
    """What a reader may rely on beyond TIFF.

    https://gdal.org/en/stable/drivers/raster/cog.html#header-ghost-area
    """
    lines = ["LAYOUT=IFDS_BEFORE_DATA"]
    if plan.by_row:
        lines.append("BLOCK_ORDER=ROW_MAJOR")
    lines += ["BLOCK_LEADER=SIZE_AS_UINT4", "BLOCK_TRAILER=LAST_4_BYTES_REPEATED"]
    if plan.image_planes > 1:
        lines.append("INTERLEAVE=BAND")
    lines.append("KNOWN_INCOMPATIBLE_EDITION=NO")
    # With the space, a program that edits the file has room for YES.
    text = "\n".join(lines) + "\n "
    if plan.has_mask and plan.is_pixel_interleaved:
        text += "MASK_INTERLEAVED_WITH_IMAGERY=YES\n"
    return f"GDAL_STRUCTURAL_METADATA_SIZE={len(text):06d} bytes\n{text}".encode("ascii")
