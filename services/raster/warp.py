"""The warp: multi-threaded, onto a tiled scratch file, with pixels outside the outline empty.

GDAL divides a warp into chunks by the memory it may use. From the shape of a chunk it derives the
width of the resampling kernel, and along its rows it interpolates coordinates, so that pixels would
depend on that memory. Here the kernel is computed once for the raster, and the chunks are tiles.
Many bands are warped a few at a time, for a row of tiles each: so that these fit into memory, and
the strips of a source, which the tiles share, into GDAL's cache.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray
from rasterio.enums import ColorInterp, Resampling
from rasterio.io import DatasetReader, MemoryFile
from rasterio.warp import reproject
from rasterio.windows import Window

from services.raster import gdal
from services.raster.antimeridian import describe_turn, turn_source
from services.raster.coverage import check_coverage
from services.raster.crs import Points, transform_points
from services.raster.georeference import Georeference
from services.raster.grid import Grid
from services.raster.operation import warp_options
from services.raster.profiles import BLOCK
from services.raster.vrt import View

MOST_BYTES_TOGETHER = 64
"""Of a pixel, in the bands that are warped together: a tile of them takes 16 MB."""
# What the pixels of a tile take in memory at most, with all bands.
_TILE_BYTES = 64 * 2**20
# Places along each side of the source at which the scale is measured.
_LATTICE = 16


@dataclass(frozen=True)
class Warp:
    """One view onto one grid."""

    view: View
    grid: Grid
    path: str
    name: str
    alpha: bool
    """Whether the file gets one more band, zero outside the footprint."""
    alpha_top: int
    resampling: str
    unified: bool
    """Whether a pixel is empty only when all its bands are."""
    interleave: str
    nodata: float | None
    """Of the pixels without data in the warped file."""
    scale: tuple[float, float]
    """Pixels of the grid per pixel of the source, along the source's rows and columns."""

    @property
    def profile(self) -> dict[str, Any]:
        return {
            "driver": "GTiff",
            "dtype": self.view.dtype,
            "count": len(self.view.bands) + (1 if self.alpha else 0),
            "width": self.grid.width,
            "height": self.grid.height,
            "crs": self.grid.crs,
            "transform": self.grid.transform,
            "nodata": self.nodata,
            "tiled": True,
            "blockxsize": BLOCK,
            "blockysize": BLOCK,
            "interleave": self.interleave,
            "sparse_ok": True,
            "bigtiff": "IF_SAFER",
            "photometric": "MINISBLACK",
        }

    @property
    def pixel_bytes(self) -> int:
        count: int = self.profile["count"]
        return count * np.dtype(self.view.dtype).itemsize

    @property
    def options(self) -> dict[str, Any]:
        """https://gdal.org/en/stable/api/gdalwarp_cpp.html, papszWarpOptions and transformer."""
        across, down = self.scale
        options: dict[str, Any] = {
            "UNIFIED_SRC_NODATA": "YES" if self.unified else "NO",
            "XSCALE": repr(across),
            "YSCALE": repr(down),
        }
        if self.alpha:
            options |= {"SRC_ALPHA_MAX": self.alpha_top, "DST_ALPHA_MAX": self.alpha_top}
        if self.view.georeference.gcps:
            splines = self.view.georeference.splines
            options["SRC_METHOD"] = "GCP_TPS" if splines else "GCP_POLYNOMIAL"
        return options


def measure_scale(source: Georeference, grid: Grid) -> tuple[float, float]:
    """Pixels of the grid per pixel of the source, along the source's rows and columns.

    The medians over a lattice of the source. Below 1 the kernel is widened, so that no pixel of
    the source is skipped: https://gdal.org/en/stable/api/gdalwarp_cpp.html, XSCALE.
    """
    along = (np.arange(_LATTICE) + 0.5) / _LATTICE
    columns, rows = (
        each.ravel() for each in np.meshgrid(along * source.width, along * source.height)
    )
    here, right, below = (
        _on_grid(source, grid, columns + x, rows + y) for x, y in ((0, 0), (1, 0), (0, 1))
    )
    # Columns of the Jacobian from source to grid; its inverse says what a pixel of the grid covers.
    (a, c), (b, d) = right - here, below - here
    with np.errstate(all="ignore"):
        determinant = np.abs(a * d - b * c)
        scales = determinant / np.hypot(d, b), determinant / np.hypot(c, a)
    usable = np.isfinite(scales[0]) & np.isfinite(scales[1]) & (determinant > 0)
    if not usable.any():
        return 1.0, 1.0
    across, down = (float(np.median(scale[usable])) for scale in scales)
    return across, down


def _on_grid(
    source: Georeference, grid: Grid, columns: Points, rows: Points
) -> NDArray[np.float64]:
    """Columns and rows of the grid where pixels of the source lie."""
    xs, ys = transform_points(source.crs, grid.crs, *source.xy(columns, rows))
    return np.array(~grid.transform @ (xs, ys))


def warp(job: Warp) -> None:
    """Warp the view's bands to the file. Raises TaskFailed where pixels are unreadable or lost."""
    bands = len(job.view.bands)
    grid = Window(0, 0, job.grid.width, job.grid.height)
    with (
        gdal.failing_as("PIXELS_UNREADABLE", f"{job.name} cannot be warped"),
        rasterio.open(job.path, "w", **job.profile) as target,
    ):
        if job.alpha:
            target.colorinterp = [ColorInterp.undefined] * bands + [ColorInterp.alpha]
        for tile, indexes, pixels in _warp_tiles(job, grid):
            target.write(pixels, indexes, window=tile)
    check_warp(job, job.path, job.grid.georeference)


def warp_region(job: Warp, region: Window) -> NDArray[Any]:
    """The pixels of a part of the grid that begins and ends at tiles, or at the grid's edge.

    They equal those of the whole warp. Bands, rows and columns. Raises TaskFailed where pixels are
    unreadable.
    """
    shape = (job.profile["count"], region.height, region.width)
    pixels = np.empty(shape, job.view.dtype)
    with gdal.failing_as("PIXELS_UNREADABLE", f"{job.name} cannot be warped"):
        for tile, indexes, part in _warp_tiles(job, region):
            row, column = tile.row_off - region.row_off, tile.col_off - region.col_off
            at = [index - 1 for index in indexes]
            pixels[at, row : row + tile.height, column : column + tile.width] = part
    return pixels


def check_warp(job: Warp, result: str, where: Georeference) -> None:
    """Raises TaskFailed COVERAGE_LOST where the warped file lacks samples of the source."""
    with gdal.failing_as("PIXELS_UNREADABLE", f"{job.name} has pixels that cannot be decoded"):
        check_coverage(_turned(job).xml, job.view.georeference, result, where, job.name)


def _turned(job: Warp) -> View:
    """The view, on a map turned half around where the source crosses the antimeridian."""
    return replace(job.view, georeference=turn_source(job.view.georeference))


def _warp_tiles(job: Warp, region: Window) -> Iterator[tuple[Window, list[int], NDArray[Any]]]:
    """Each tile of the region with some bands of the target, until it has had all of them."""
    place, view = job.view.georeference, _turned(job)
    before = "" if view.georeference is place else describe_turn(place.crs)
    options = job.options | warp_options(place, job.grid.crs, before=before)
    alpha = [len(view.bands) + 1] if job.alpha else []
    with _open_groups(job, view) as groups, gdal.listening():
        for row in _rows_of_tiles(job, region):
            for (bands, source), tile in product(groups, row):
                yield tile, [*bands, *alpha], _warp_tile(job, source, tile, len(bands), options)


@contextmanager
def _open_groups(job: Warp, view: View) -> Iterator[list[tuple[Sequence[int], DatasetReader]]]:
    """The bands that are warped together, each with a dataset of these and the alpha band."""
    groups = _groups(job)
    with ExitStack() as stack:
        if job.grid.padded or len(groups) > 1:
            # Each source of a band names the view: by a file in memory, which is short.
            file = stack.enter_context(MemoryFile(view.xml.encode(), ext=".vrt"))
            view = view.padded(file.name) if job.grid.padded else view.over(file.name)
        views = [replace(view, bands=[view.bands[n - 1] for n in bands]) for bands in groups]
        yield [
            (bands, stack.enter_context(rasterio.open(each.xml, driver="VRT")))
            for bands, each in zip(groups, views, strict=True)
        ]


def _rows_of_tiles(job: Warp, region: Window) -> Iterator[list[Window]]:
    """The region in tiles. Those of very many bands are smaller, as their windows are."""
    side = BLOCK
    while side**2 * job.pixel_bytes > _TILE_BYTES:
        side //= 2
    bottom, right = region.row_off + region.height, region.col_off + region.width
    for row in range(region.row_off, bottom, side):
        height = min(side, bottom - row)
        columns = range(region.col_off, right, side)
        yield [Window(column, row, min(side, right - column), height) for column in columns]


def _groups(job: Warp) -> list[Sequence[int]]:
    """The bands that are warped together."""
    bands, itemsize = len(job.view.bands), np.dtype(job.view.dtype).itemsize
    most = MOST_BYTES_TOGETHER // itemsize - job.alpha
    return [range(first, min(first + most, bands + 1)) for first in range(1, bands + 1, most)]


def _warp_tile(
    job: Warp, source: DatasetReader, tile: Window, bands: int, options: dict[str, Any]
) -> NDArray[Any]:
    """Bands, rows and columns, the alpha band last; empty where the source has no pixels."""
    pixels = np.zeros((bands + job.alpha, tile.height, tile.width), job.view.dtype)
    reproject(
        rasterio.band(source, list(range(1, bands + 1))),
        pixels,
        dst_transform=job.grid.transform @ Affine.translation(tile.col_off, tile.row_off),
        dst_crs=job.grid.crs,
        src_nodata=job.view.nodata,
        dst_nodata=job.nodata,
        src_alpha=bands + 1 if job.view.mask else 0,
        dst_alpha=bands + 1 if job.alpha else 0,
        resampling=Resampling[job.resampling],
        num_threads=gdal.THREADS,
        warp_mem_limit=gdal.WARP_MB,
        init_dest_nodata=True,
        **options,
    )
    return pixels
