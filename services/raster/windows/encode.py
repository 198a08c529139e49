"""Encodes the pixels of one window as tiles, with the overviews that fit inside the window.

GDAL writes a small GeoTIFF in memory, from which the tiles are lifted.
"""

import hashlib
import math
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import rasterio
import rasterio.shutil
from numpy.typing import NDArray
from rasterio.enums import Resampling
from rasterio.io import DatasetReader, MemoryFile

from core.ports import BLOCK_ID_LENGTH
from services.raster.model import CogSettings
from services.raster.vrt import View, alpha_top
from services.raster.windows.model import EncodedBlock, Piece, WindowIndex
from services.raster.windows.plan import Window, WindowPlan
from services.raster.windows.tiff import (
    TILE_OFFSETS,
    TILE_SIZES,
    Directory,
    read_directories,
)
from services.raster.writer import tile_options

Pixels = NDArray[Any]
"""Bands, rows and columns. With a mask or an alpha band, the last band is zero where no data is."""


@dataclass(frozen=True)
class Target:
    """The COG that windows become parts of."""

    job: str
    """Names the maker in the ids of the blocks; its first eight characters count."""
    plan: WindowPlan
    dtype: str
    settings: CogSettings
    quality: int
    view: View
    """Bands, colours, tags and nodata of the COG. Its path and georeference are replaced."""

    def over(self, path: str, rows: int, columns: int) -> View:
        """The view of a file with pixels of this COG."""
        where = replace(self.view.georeference, width=columns, height=rows)
        return replace(self.view, path=path, georeference=where)

    @property
    def band_count(self) -> int:
        """Bands of Pixels."""
        return len(self.view.bands) + (self.view.mask is not None)

    @property
    def overview_resampling(self) -> Resampling:
        return Resampling[self.settings.overview_resampling]

    def creation_options(self, *, compress: bool) -> dict[str, Any]:
        options = tile_options(self.settings, self.quality, self.plan.block, compress=compress)
        return options | {"BIGTIFF": "NO"}


@dataclass(frozen=True)
class EncodedWindow:
    """The index of a window and the content that it describes."""

    index: WindowIndex
    contents: tuple[bytes, ...]
    """Of each block."""
    smallest: bytes | None
    """The smallest overview as a GeoTIFF, where the next tier needs it."""


def encode_window(target: Target, window: Window, pixels: Pixels) -> EncodedWindow:
    """Encode a window's pixels, of the size of its place in the grid.

    A window without data has no blocks. Of windows above tier 0, the full size is left out: the
    tier below has it.
    """
    plan = target.plan
    empty = WindowIndex(tier=window.tier, row=window.row, column=window.column)
    if target.view.mask is not None and not pixels[-1].any():
        return EncodedWindow(empty, (), None)
    with ExitStack() as stack:
        raw = _write_raw(target, _pad(target, window, pixels), stack)
        _build_overviews(target, raw, plan.levels_in(window))
        smallest = None
        if plan.has_next_tier(window):
            smallest = _smallest(target, raw, plan.levels_in(window))
        coded = stack.enter_context(MemoryFile(ext=".tif"))
        with rasterio.open(raw.name) as source:
            _copy(target, source, coded.name)
        raw.close()
        content = coded.getbuffer()
        blocks = list(_blocks(target, window, read_directories(content), content))
    index = empty.model_copy(
        update={
            "blocks": tuple(block for block, _ in blocks),
            "has_smallest": smallest is not None,
        }
    )
    return EncodedWindow(index, tuple(body for _, body in blocks), smallest)


def read_template(target: Target) -> dict[tuple[bool, bool], Directory]:
    """The directories of such a COG, by (is an overview, is a mask), from a tiny one."""
    block = target.plan.block
    pixels = np.zeros((target.band_count, 2 * block, 2 * block), target.dtype)
    with ExitStack() as stack:
        raw = _write_raw(target, pixels, stack)
        _build_overviews(target, raw, 1)
        coded = stack.enter_context(MemoryFile(ext=".tif"))
        with rasterio.open(raw.name) as source:
            _copy(target, source, coded.name)
        directories = read_directories(coded.getbuffer())
    return {(each.is_overview, each.is_mask): each for each in directories}


def _pad(target: Target, window: Window, pixels: Pixels) -> Pixels:
    """Fill up the last tiles with pixels that overviews leave out, or else with the edge."""
    rows, columns = target.plan.padded_shape(window)
    missing = ((0, 0), (0, rows - pixels.shape[1]), (0, columns - pixels.shape[2]))
    if missing == ((0, 0),) * 3:
        return pixels
    if target.view.mask is not None:
        return np.pad(pixels, missing)
    if target.view.nodata is not None:
        return np.pad(pixels, missing, constant_values=target.view.nodata)
    return np.pad(pixels, missing, mode="edge")


def _write_raw(target: Target, pixels: Pixels, stack: ExitStack) -> MemoryFile:
    """The window as a GeoTIFF without compression."""
    _, rows, columns = pixels.shape
    raw = stack.enter_context(MemoryFile(ext=".tif"))
    with MemoryFile(ext=".tif") as flat:
        write_pixels(target, pixels, flat)
        view = target.over(flat.name, rows, columns)
        with rasterio.open(view.xml, driver="VRT") as source:
            _copy(target, source, raw.name, compress=False)
    return raw


def write_pixels(target: Target, pixels: Pixels, file: MemoryFile) -> None:
    """All bands as a plain GeoTIFF, which an overview is, too, but for its place."""
    count, rows, columns = pixels.shape
    with file.open(
        driver="GTiff",
        dtype=target.dtype,
        count=count,
        width=columns,
        height=rows,
        interleave=target.settings.interleave,
        photometric="MINISBLACK",
        nodata=target.view.nodata,
        crs=target.view.georeference.crs,
        transform=target.view.georeference.transform,
    ) as image:
        image.write(pixels)


def _copy(target: Target, source: DatasetReader, path: str, *, compress: bool = True) -> None:
    options = target.creation_options(compress=compress)
    rasterio.shutil.copy(source, path, driver="GTiff", strict=True, **options)


def _build_overviews(target: Target, raw: MemoryFile, levels: int) -> None:
    if levels:
        with rasterio.open(raw.name, "r+") as image:
            factors = [2**level for level in range(1, levels + 1)]
            image.build_overviews(factors, target.overview_resampling)


def _smallest(target: Target, raw: MemoryFile, levels: int) -> bytes:
    """The smallest overview, as a GeoTIFF of Pixels."""
    with rasterio.open(raw.name, OVERVIEW_LEVEL=levels - 1) as image:
        pixels = image.read()
        if target.view.mask is not None and target.view.mask.form == "mask":
            valid = np.where(image.dataset_mask() > 0, alpha_top(target.dtype), 0)
            pixels = np.concatenate([pixels, valid[None].astype(pixels.dtype)])
    with MemoryFile(ext=".tif") as file:
        write_pixels(target, pixels, file)
        return bytes(file.getbuffer())


class _Level(NamedTuple):
    """The tiles of one level of a window, in the file that GDAL wrote."""

    level: int
    down: int
    across: int
    first_row: int
    """Of tiles, in the level of the COG."""
    first_column: int
    streams: list[list[tuple[Directory, int]]]
    """For each plane, the tables whose tiles alternate, and the number of their first tile."""


def _blocks(
    target: Target, window: Window, directories: list[Directory], content: memoryview
) -> Iterator[tuple[EncodedBlock, bytes]]:
    """The blocks of a window, and their content."""
    plan = target.plan
    for level in _levels(plan, window, directories):
        rows = list(_rows(level, content))
        groups = [[row] for row in rows] if plan.by_row else [rows]
        for group in groups:
            filled = [(piece, body) for piece, body in group if body]
            if filled:
                pieces = tuple(piece for piece, _ in filled)
                body = b"".join(part for _, part in filled)
                name = block_id(target.job, pieces[0], body)
                yield EncodedBlock(block_id=name, size=len(body), pieces=pieces), body


def _levels(plan: WindowPlan, window: Window, directories: list[Directory]) -> Iterator[_Level]:
    rows, columns = plan.padded_shape(window)
    for step in range(1 if window.tier else 0, plan.levels_in(window) + 1):
        shape = (rows >> step, columns >> step)
        image, *mask = sorted(
            (each for each in directories if each.shape == shape), key=lambda each: each.is_mask
        )
        down, across = (math.ceil(side / plan.block) for side in shape)
        together = plan.is_pixel_interleaved
        streams = [[(image, plane * down * across)] for plane in range(plan.image_planes)]
        if mask and together:
            streams[0].append((mask[0], 0))
        elif mask:
            streams.append([(mask[0], 0)])
        yield _Level(
            level=window.tier * plan.steps + step,
            down=down,
            across=across,
            first_row=(window.row * plan.side >> step) // plan.block,
            first_column=(window.column * plan.side >> step) // plan.block,
            streams=streams,
        )


def _rows(level: _Level, content: memoryview) -> Iterator[tuple[Piece, bytes]]:
    """Each row of tiles: its piece, and its bytes, which are none if all tiles are empty."""
    for plane, stream in enumerate(level.streams):
        tables = [
            (directory[TILE_OFFSETS].values, directory[TILE_SIZES].values, first)
            for directory, first in stream
        ]
        for row in range(level.down):
            tiles = [
                (offsets[number], sizes[number] if offsets[number] else 0)
                for column in range(level.across)
                for offsets, sizes, first in tables
                for number in [first + row * level.across + column]
            ]
            piece = Piece(
                level=level.level,
                plane=plane,
                row=level.first_row + row,
                column=level.first_column,
                sizes=tuple(size for _, size in tiles),
            )
            yield piece, b"".join(_framed(content, at, size) for at, size in tiles)


def _framed(content: memoryview, at: int, size: int) -> bytes:
    """A tile with the leader and trailer that GDAL's readers use to fetch it in one request.

    https://gdal.org/en/stable/drivers/raster/cog.html#tile-data-leader-and-trailer
    """
    if not size:
        return b""
    tile = bytes(content[at : at + size])
    return size.to_bytes(4, "little") + tile + tile[-4:].rjust(4, b"\0")


def block_id(job: str, first: Piece, body: bytes) -> str:
    """Names job, place and content. A late copy of a block so never replaces another content."""
    place = f"{first.level:02x}{first.plane:03x}{first.row:04x}{first.column:04x}"
    name = f"{job[:8]:_<8}{place}"
    return name + hashlib.sha256(body).hexdigest()[: BLOCK_ID_LENGTH - len(name)]
