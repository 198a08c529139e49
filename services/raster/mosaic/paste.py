"""Pastes the pieces of a collection into its overview."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.io import DatasetReader, DatasetWriter
from rasterio.windows import Window

from core.handler import Report
from services.raster import gdal, writer
from services.raster.crs import WEB_MERCATOR
from services.raster.georeference import Georeference
from services.raster.model import CogSettings, RasterType, Tier
from services.raster.mosaic.model import MadeOverview, OverviewGrid, PasteOverview, PlacedPiece
from services.raster.mosaic.piece import has_alpha, has_palette, transform_of
from services.raster.profiles import BLOCK, settings, why_not
from services.raster.progress import Stretch
from services.raster.vrt import Band, Mask, View

JPEG_QUALITY = 85
HELD_BYTES = 64 * 2**20
"""Pixels that are held at once; GDAL's cache is extra."""


def paste_overview(request: PasteOverview, report: Report) -> MadeOverview:
    """Write the overview of all pieces into the request's folder, as a COG.

    Its bands, data type, palette and validity are those of the first piece. Memory depends neither
    on the number of pieces nor on the size of the overview.

    Raises TaskFailed PIXELS_UNREADABLE for a piece that cannot be read or has other bands than the
    first one.
    """
    folder = Path(request.folder)
    pasted, output = folder / "pasted.tif", folder / "overview.tif"
    with gdal.environment(str(folder), sidecars=False, scratch=folder):
        with gdal.failing_as("PIXELS_UNREADABLE", "the overview cannot be pasted"):
            view = _paste(request, pasted, report)
        known = _choose_settings(request.raster_type, view)
        writing = Stretch(report, 0.6, 0.95, "writing the overview")
        writer.write(view, output, known, JPEG_QUALITY, name="the overview", progress=writing)
        writer.check(str(output), "the pieces")
    pasted.unlink()
    return MadeOverview(
        path=str(output),
        size_bytes=output.stat().st_size,
        checksum=writer.checksum(output),
        shape=(request.grid.height, request.grid.width),
        max_zoom=request.grid.zoom,
    )


def _paste(request: PasteOverview, path: Path, report: Report) -> View:
    """Write the pixels of all pieces to the file, and return the view over it."""
    with rasterio.open(request.pieces[0].path, driver="GTiff") as first:
        pixel_bytes = first.count * (np.dtype(first.dtypes[0]).itemsize + 2)
        windows = list(_split(request.grid, pixel_bytes))
        with rasterio.open(path, "w", **_profile(first, request.grid)) as target:
            for number, window in enumerate(windows):
                report(0.6 * number / len(windows), "pasting the pieces")
                _fill(target, window, request.pieces)
        return _view(first, request.grid, path)


def _split(grid: OverviewGrid, pixel_bytes: int) -> Iterator[Window]:
    """Windows of whole blocks, row by row, each of at most HELD_BYTES or one block."""
    columns = max(HELD_BYTES // (BLOCK * pixel_bytes) // BLOCK, 1) * BLOCK
    for row in range(0, grid.height, BLOCK):
        for column in range(0, grid.width, columns):
            width, height = min(columns, grid.width - column), min(BLOCK, grid.height - row)
            yield Window(column, row, width, height)


def _profile(first: DatasetReader, grid: OverviewGrid) -> dict[str, Any]:
    return {
        "driver": "GTiff",
        "width": grid.width,
        "height": grid.height,
        "count": first.count,
        "dtype": first.dtypes[0],
        "nodata": first.nodata,
        "crs": WEB_MERCATOR,
        "transform": transform_of(grid),
        "tiled": True,
        "blockxsize": BLOCK,
        "blockysize": BLOCK,
        "sparse_ok": True,
        "bigtiff": "IF_SAFER",
        "photometric": "MINISBLACK",
    }


def _fill(target: DatasetWriter, window: Window, pieces: Iterable[PlacedPiece]) -> None:
    """Write one window of the overview."""
    shape = (target.count, window.height, window.width)
    pixels = np.full(shape, 0 if target.nodata is None else target.nodata, target.dtypes[0])
    held = np.zeros(shape, bool)
    for piece in pieces:
        part = _overlap(window, piece)
        if part is None or held[:, *part.toslices()].all():
            continue
        new, valid = _read(piece, window, part)
        wanted = valid & ~held[:, *part.toslices()]
        np.copyto(pixels[:, *part.toslices()], new, where=wanted)
        held[:, *part.toslices()] |= valid
    if not held.any():
        return
    target.write(pixels, window=window)
    if target.nodata is None and not has_alpha(target):
        target.write_mask(held.any(axis=0), window=window)


def _overlap(window: Window, piece: PlacedPiece) -> Window | None:
    """The part of a window that a piece covers, counted from the window's corner."""
    left, top = max(piece.left - window.col_off, 0), max(piece.top - window.row_off, 0)
    right = min(piece.left + piece.width - window.col_off, window.width)
    bottom = min(piece.top + piece.height - window.row_off, window.height)
    if right <= left or bottom <= top:
        return None
    return Window(left, top, right - left, bottom - top)


def _read(
    piece: PlacedPiece, window: Window, part: Window
) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """The pixels of a piece, and which are valid: in all bands, or by band with nodata."""
    column = window.col_off + part.col_off - piece.left
    row = window.row_off + part.row_off - piece.top
    wanted = Window(column, row, part.width, part.height)
    with rasterio.open(piece.path, driver="GTiff") as raster:
        if raster.nodata is None:
            valid = raster.dataset_mask(window=wanted)[np.newaxis]
        else:
            valid = raster.read_masks(window=wanted)
        return raster.read(window=wanted), valid > 0


def _view(first: DatasetReader, grid: OverviewGrid, path: Path) -> View:
    """The pasted pixels with the bands of the first piece."""
    palette = dict(first.colormap(1)) if has_palette(first) else None
    bands = [
        Band(
            source=index,
            color=first.colorinterp[index - 1].name,
            description=first.descriptions[index - 1],
            unit=first.units[index - 1],
            scale=first.scales[index - 1],
            offset=first.offsets[index - 1],
            palette=palette if index == 1 else None,
        )
        for index in first.indexes
    ]
    mask = Mask(("mask,1",), "mask") if first.nodata is None else None
    if has_alpha(first):
        bands.pop()
        mask = Mask((str(first.count),), "alpha")
    return View(
        path=str(path),
        georeference=Georeference(WEB_MERCATOR, grid.width, grid.height, transform_of(grid)),
        dtype=first.dtypes[0],
        bands=bands,
        nodata=first.nodata,
        mask=mask,
    )


def _choose_settings(kind: RasterType, view: View) -> CogSettings:
    """JPEG for pictures of 8 bits without alpha, lossless otherwise."""
    is_photo = why_not(Tier.VISUALIZATION, kind, view.dtype) is None and len(view.bands) == 3
    tier = Tier.VISUALIZATION if is_photo and kind is RasterType.RGB else Tier.ANALYSIS
    palette = view.bands[0].palette is not None
    return settings(tier, kind, view.dtype, len(view.bands), palette=palette)
