"""The steps of making a COG in windows, as the sandbox runs them."""

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import rasterio
from rasterio.enums import ColorInterp
from rasterio.io import MemoryFile
from rasterio.windows import Window as Region

from core.handler import Report
from services.raster import cog, gdal, writer
from services.raster.model import CogFacts
from services.raster.vrt import alpha_top
from services.raster.warp import Warp, check_warp, warp_region
from services.raster.windows.assemble import assemble, join_smallest
from services.raster.windows.checksum import compute_checksum
from services.raster.windows.encode import (
    EncodedWindow,
    Pixels,
    encode_window,
    write_pixels,
)
from services.raster.windows.layout import Layout, open_layout, overview_georeference
from services.raster.windows.model import (
    AssembleCog,
    AssembledCog,
    Encoded,
    EncodeWindow,
    JoinWindows,
    Part,
    VerifyCog,
    WindowIndex,
)
from services.raster.windows.plan import Window
from services.sandbox.exchange import read_at, received, write_at


def encode(request: EncodeWindow, report: Report) -> Encoded:
    """Read, warp and encode one window. Raises TaskFailed where pixels are unreadable."""
    window = Window(0, request.row, request.column)
    with open_layout(request) as layout:
        pixels = _read(layout, window)
        report(0.5, "encoding")
        encoded = encode_window(layout.target, window, pixels)
    return _hand_over(encoded, 0)


def join(request: JoinWindows, report: Report) -> Encoded:
    """Make the overviews above those of the windows. Raises TaskFailed COVERAGE_LOST."""
    window = Window(request.window_tier, request.row, request.column)
    file = received()
    parts = (
        (each.window, read_at(file, each.content.start, each.content.size))
        for each in request.smallest
    )
    with open_layout(request) as layout:
        pixels = join_smallest(layout.target, window, parts)
        if request.check_coverage and layout.plan.grid.warped:
            _check_coverage(layout, window, pixels)
        report(0.5, "encoding")
        encoded = encode_window(layout.target, window, pixels)
    end = max((each.content.start + each.content.size for each in request.smallest), default=0)
    return _hand_over(encoded, end)


def assemble_cog(request: AssembleCog, report: Report) -> AssembledCog:
    """Write the header of the COG and put all blocks into the order of the file."""
    file = received()
    indexes = [
        WindowIndex.model_validate_json(read_at(file, part.start, part.size))
        for part in request.indexes
    ]
    with open_layout(request) as layout:
        assembled = assemble(layout.target, indexes)
    start = max(part.start + part.size for part in request.indexes)
    write_at(file, start, assembled.content)
    return AssembledCog(
        header=Part(start=start, size=len(assembled.content)),
        blocks=tuple((block.block_id, block.size) for block in assembled.blocks),
    )


def verify(request: VerifyCog, report: Report) -> CogFacts:
    """Validate a stored COG by range requests, and read it once for its checksum.

    Raises TaskFailed COG_INVALID, and ConnectionError where storage does not respond.
    """
    with open_layout(request) as layout:
        planned = layout.plan
    with gdal.environment(request.cog_path, sidecars=False):
        writer.check(request.cog_path, planned.name)
        report(0.1, "checked")
        facts = cog.describe_cog(
            planned,
            request.cog_path,
            size_bytes=request.size_bytes,
            checksum="",
            in_memory=False,
            warnings=cog.find_warnings(planned, request),
        )
    address = request.cog_path.removeprefix("/vsicurl/")
    checksum = compute_checksum(
        address, request.size_bytes, lambda part: report(0.1 + 0.9 * part, "checksum")
    )
    return facts.model_copy(update={"checksum": checksum})


def _read(layout: Layout, window: Window) -> Pixels:
    """The pixels of a window of tier 0."""
    rows, columns = layout.target.plan.window_shape(window)
    side = layout.target.plan.side
    region = Region(window.column * side, window.row * side, columns, rows)
    if layout.plan.grid.warped:
        return warp_region(_warp(layout), region)
    view = layout.plan.view
    with (
        gdal.failing_as("PIXELS_UNREADABLE", f"{layout.plan.name} has unreadable pixels"),
        rasterio.open(view.xml, driver="VRT") as image,
    ):
        pixels: Pixels = image.read(window=region)
        if view.mask is None or view.mask.form == "alpha":
            return pixels
        valid = image.read_masks(1, window=region)
    top = np.where(valid > 0, alpha_top(layout.plan.dtype), 0)
    return np.concatenate([pixels, top[None].astype(pixels.dtype)])


def _warp(layout: Layout) -> Warp:
    return replace(cog.plan_warp(layout.plan, ""), scale=layout.target.plan.scale)


def _check_coverage(layout: Layout, window: Window, pixels: Pixels) -> None:
    """The window holds the whole raster, reduced. Samples are found in it as in the full size."""
    where = overview_georeference(layout, window.tier * layout.target.plan.steps)
    with MemoryFile(ext=".tif") as file:
        write_pixels(layout.target, pixels, file)
        if layout.target.view.mask is not None:
            with rasterio.open(file.name, "r+") as image:
                image.colorinterp = [*image.colorinterp[:-1], ColorInterp.alpha]
        check_warp(_warp(layout), file.name, where)


def _hand_over(encoded: EncodedWindow, start: int) -> Encoded:
    """Write blocks and smallest level into the exchange file, from `start` on."""
    middle = _write_all(encoded.contents, start)
    end = _write_all([encoded.smallest or b""], middle)
    has_smallest = encoded.smallest is not None
    return Encoded(
        index=encoded.index,
        content=Part(start=start, size=middle - start),
        smallest=Part(start=middle, size=end - middle) if has_smallest else None,
    )


def _write_all(contents: Iterable[bytes], start: int) -> int:
    for content in contents:
        start = write_at(received(), start, content)
    return start
