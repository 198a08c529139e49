"""A member of a collection, resampled to the grid of the collection's overview."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from rasterio.crs import CRS
from rasterio.enums import ColorInterp, Resampling
from rasterio.io import DatasetReader, DatasetWriter
from rasterio.transform import Affine
from rasterio.vrt import WarpedVRT

from services.raster import gdal
from services.raster.crs import WEB_MERCATOR, WEB_MERCATOR_FROM_180, WGS84, transform_points
from services.raster.georeference import enclose_longitudes, grid_points, read_georeference
from services.raster.grid import MERCATOR_EDGE
from services.raster.model import Bounds, RasterType, Tier
from services.raster.mosaic.grid import place_on
from services.raster.mosaic.model import TILE, OverviewGrid, Piece
from services.raster.profiles import PICTURES, settings


def make_piece(path: Path, grid: OverviewGrid, raster_type: RasterType, out: Path) -> Piece | None:
    """Write the part of the overview that one COG gives, as a GeoTIFF.

    Values are averaged, and the most frequent class represents classes. Bands, data type, palette
    and nodata value are kept; rasters without nodata value or alpha band, and pictures, get a mask.
    A pixel is valid if a valid pixel of the COG lies in it, so adjacent members leave no gap.

    Returns None if the COG has no valid pixel on the grid. Raises TaskFailed PIXELS_UNREADABLE if
    it cannot be read.
    """
    with (
        gdal.environment(str(path), sidecars=False),
        gdal.failing_as("PIXELS_UNREADABLE", f"{path.name} cannot be resampled"),
    ):
        with rasterio.open(path, driver="GTiff") as cog:
            place = place_on(grid, _find_bounds(cog))
            if place is None:
                return None
            left, top, width, height = place
            level = _choose_level(cog, width, height)
        with (
            rasterio.open(path, driver="GTiff", **level) as cog,
            _warp(cog, grid, place, raster_type) as warped,
        ):
            found = _write(warped, cog, out)
    if not found:
        out.unlink()
        return None
    return Piece(left=left, top=top, width=width, height=height, size_bytes=out.stat().st_size)


def _find_bounds(cog: DatasetReader) -> Bounds:
    """In degrees, by the operation that GDAL selects, with which tiles are warped as well."""
    place = read_georeference(cog, cog.crs)
    points = place.xy(*grid_points(place.width, place.height))
    lons, lats = transform_points(cog.crs, WGS84, *points)
    found = np.isfinite(lons) & np.isfinite(lats)
    west, east = enclose_longitudes(lons[found])
    return west, float(lats[found].min()), east, float(lats[found].max())


def _choose_level(cog: DatasetReader, width: int, height: int) -> dict[str, int]:
    """The coarsest overview of the COG with at least the pixels of the piece, as GDAL opens it."""
    ratio = min(cog.width / width, cog.height / height)
    fitting = [number for number, factor in enumerate(cog.overviews(1)) if factor <= ratio]
    return {"overview_level": fitting[-1]} if fitting else {}


@contextmanager
def _warp(
    cog: DatasetReader, grid: OverviewGrid, place: tuple[int, int, int, int], kind: RasterType
) -> Iterator[WarpedVRT]:
    """The COG on its part of the grid, with an alpha band unless there is a nodata value."""
    left, top, width, height = place
    column, row = (grid.column + left) % grid.world, grid.row + top
    crosses = column + width > grid.world
    start = column - grid.world // 2 if crosses else column
    known = settings(Tier.ANALYSIS, kind, cog.dtypes[0], cog.count, palette=has_palette(cog))
    pictured = kind in PICTURES
    with WarpedVRT(
        cog,
        crs=WEB_MERCATOR_FROM_180 if crosses else WEB_MERCATOR,
        transform=transform_of(grid.model_copy(update={"column": start, "row": row})),
        width=width,
        height=height,
        resampling=Resampling[known.overview_resampling],
        add_alpha=not has_alpha(cog) and (cog.nodata is None or pictured),
        warp_mem_limit=gdal.WARP_MB,
        UNIFIED_SRC_NODATA="YES" if pictured else "NO",
        **_turn(cog),
    ) as warped:
        yield warped


def _turn(cog: DatasetReader) -> dict[str, Any]:
    """For a COG beyond the antimeridian, a CRS in which PROJ finds the longitudes on both sides."""
    left, _, right, _ = cog.bounds
    if cog.crs.is_geographic and (left < -180 or right > 180):
        known = cog.crs.to_dict(projjson=False)
        return {"src_crs": CRS.from_dict({**known, "lon_wrap": (left + right) / 2})}
    edge = MERCATOR_EDGE + cog.res[0]
    if cog.crs == WEB_MERCATOR and (left < -edge or right > edge):
        side = MERCATOR_EDGE if right > MERCATOR_EDGE else -MERCATOR_EDGE
        moved = Affine.translation(-side, 0) @ cog.transform
        return {"src_crs": WEB_MERCATOR_FROM_180, "src_transform": moved}
    return {}


def _write(warped: WarpedVRT, cog: DatasetReader, out: Path) -> bool:
    """Write the pixels. Returns whether any is valid."""
    profile: dict[str, Any] = {
        "driver": "GTiff",
        "width": warped.width,
        "height": warped.height,
        "count": cog.count,
        "dtype": cog.dtypes[0],
        "crs": warped.crs,
        "transform": warped.transform,
        "nodata": warped.nodata,
        "tiled": True,
        "blockxsize": TILE,
        "blockysize": TILE,
        "compress": "DEFLATE",
        "bigtiff": "IF_SAFER",
        "photometric": "MINISBLACK",
    }
    found = False
    with rasterio.open(out, "w", **profile) as piece:
        _describe_bands(cog, piece)
        for _, window in piece.block_windows():
            pixels = warped.read(window=window)
            if warped.nodata is not None:
                found |= bool(warped.read_masks(window=window).any())
                piece.write(pixels, window=window)
                continue
            valid = pixels[-1] != 0
            found |= bool(valid.any())
            if has_alpha(cog):
                pixels[-1] = np.where(valid, np.iinfo(pixels.dtype).max, 0)
            else:
                piece.write_mask(valid, window=window)
            piece.write(pixels[: cog.count], window=window)
    return found


def _describe_bands(cog: DatasetReader, piece: DatasetWriter) -> None:
    piece.descriptions = cog.descriptions
    piece.scales, piece.offsets, piece.units = cog.scales, cog.offsets, cog.units
    piece.colorinterp = cog.colorinterp
    if has_palette(cog):
        piece.write_colormap(1, cog.colormap(1))


def has_alpha(raster: DatasetReader) -> bool:
    """Whether the last band is alpha."""
    return bool(raster.colorinterp[-1] is ColorInterp.alpha)


def has_palette(raster: DatasetReader) -> bool:
    return bool(raster.colorinterp[0] is ColorInterp.palette)


def transform_of(grid: OverviewGrid) -> Affine:
    """From the grid's pixels to Web Mercator."""
    size = 2 * MERCATOR_EDGE / grid.world
    left, top = grid.column * size - MERCATOR_EDGE, MERCATOR_EDGE - grid.row * size
    return Affine(size, 0, left, 0, -size, top)
