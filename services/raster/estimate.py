"""Estimates of COGs that are not made: their size and the time they would take, from samples."""

import math
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray
from rasterio.transform import from_bounds
from rasterio.warp import Resampling, reproject

from core.handler import Report
from services.raster import gdal, nodata, samples, writer
from services.raster.cog import Plan, open_inspected, plan
from services.raster.georeference import Georeference, edge_points
from services.raster.grid import Grid
from services.raster.model import CogEstimate, EncodeSamples, Estimates, MakeCog, Tier
from services.raster.operation import transform_from, warp_options
from services.raster.progress import Stretch
from services.raster.source import Source
from services.raster.vrt import View

_MAX_BANDS = 8
"""Bands that are sampled; the size of the others is assumed to be the same."""


@dataclass(frozen=True)
class _Sample:
    """Windows from all over the source in one file, and what reading a pixel took."""

    path: Path
    pixels: NDArray[np.generic]
    covered: int
    """Pixels of the file that come from the source."""
    warp_seconds: float = 0.0


_Warps = dict[tuple[Grid, str, str], _Sample]


def estimate(request: EncodeSamples, report: Report) -> Estimates:
    """Estimate the COG of each tier. Raises TaskFailed as making them would."""
    facts, folder = request.facts, Path(request.folder)
    with open_inspected(facts, request.path, folder) as source:
        started = time.perf_counter()
        sample = _sample(source, folder)
        read_seconds = (time.perf_counter() - started) / sample.covered
        warps: _Warps = {}
        estimates = []
        for position, tier in enumerate(request.tiers):
            report(0.2 + 0.8 * position / len(request.tiers), f"estimating {tier}")
            planned = _plan(source, request, tier)
            warped = _warp_once(planned, sample, warps) if planned.grid.resampled else sample
            estimates.append(_estimate_tier(planned, warped, tier, read_seconds))
        share = min(1.0, sample.covered / (source.dataset.width * source.dataset.height))
        return Estimates(cogs=tuple(estimates), sampled_share=round(share, 4))


def _sample(source: Source, folder: Path) -> _Sample:
    """Copy the sample windows into one uncompressed GeoTIFF, next to each other."""
    image = source.dataset
    bands = list(range(1, min(image.count, _MAX_BANDS) + 1))
    windows = list(samples.windows(image.height, image.width))
    rows, columns = int(windows[0].height), int(windows[0].width)
    across = math.ceil(math.sqrt(len(windows)))
    shape = (len(bands), math.ceil(len(windows) / across) * rows, across * columns)
    pixels = np.zeros(shape, dtype=source.dtype)
    with gdal.failing_as("PIXELS_UNREADABLE", f"{source.name} has pixels that cannot be decoded"):
        for position, window in enumerate(windows):
            row, column = position // across * rows, position % across * columns
            read = image.read(bands, window=window).astype(source.dtype, copy=False)
            pixels[:, row : row + rows, column : column + columns] = read
    path = folder / "sample.tif"
    values = [v for v in image.nodatavals if v is not None and nodata.fits(v, source.dtype)]
    _write_sample(path, pixels, values[0] if values else None)
    return _Sample(path, pixels, rows * columns * len(windows))


def _write_sample(path: Path, pixels: NDArray[np.generic], empty: float | None) -> None:
    count, height, width = pixels.shape
    with rasterio.open(
        path, "w", driver="GTiff", dtype=pixels.dtype, count=count, height=height, width=width,
        nodata=empty,
    ) as copy:  # fmt: skip
        copy.write(pixels)


def _plan(source: Source, request: EncodeSamples, tier: Tier) -> Plan:
    return plan(
        source,
        MakeCog(
            facts=request.facts,
            tier=tier,
            target_crs=request.target_crs,
            jpeg_quality=request.jpeg_quality,
            in_memory=None,
            path=request.path,
            folder=request.folder,
        ),
    )


def _estimate_tier(planned: Plan, sample: _Sample, tier: Tier, read_seconds: float) -> CogEstimate:
    grid, place = planned.grid, planned.view.georeference
    started = time.perf_counter()
    output = sample.path.with_name(f"{tier}.tif")
    view = _sample_view(planned, sample)
    _write(planned, view, output)
    work_seconds = sample.warp_seconds + time.perf_counter() - started
    band_factor = max(1.0, len(planned.view.bands) / len(view.bands))
    factor = _covered_pixels(place, grid) * band_factor / sample.covered
    seconds = work_seconds * factor + place.width * place.height * read_seconds
    return CogEstimate(
        tier=tier,
        compression=planned.settings.compression,
        shape=(grid.height, grid.width),
        size_bytes=int(output.stat().st_size * factor),
        seconds=round(seconds, 1),
    )


def _sample_view(planned: Plan, sample: _Sample) -> View:
    """The planned view, over the sample instead of the source."""
    bands, rows, columns = sample.pixels.shape
    kept = [band for band in planned.view.bands if band.source <= bands]
    mask = planned.view.mask
    if mask and any(name.isdigit() and int(name) > bands for name in mask.sources):
        mask = None
    place = Georeference(planned.grid.crs, columns, rows, planned.grid.transform)
    return replace(
        planned.view,
        path=str(sample.path),
        georeference=place,
        bands=kept,
        mask=mask,
        roll=0,
    )


def _write(planned: Plan, view: View, output: Path) -> None:
    silent = Stretch(lambda fraction, message: None, 0.0, 1.0, "")
    writer.write(
        view, output, planned.settings, planned.quality, name=planned.name, progress=silent
    )


def _covered_pixels(georeference: Georeference, grid: Grid) -> float:
    """Pixels of the grid inside the raster's outline; those outside compress to almost nothing."""
    every = float(grid.width * grid.height)
    if not grid.resampled:
        return every
    outline = georeference.xy(*edge_points(georeference.width, georeference.height))
    xs, ys = transform_from(georeference, grid.crs, *outline)
    if not np.all(np.isfinite([xs, ys])):
        return every
    area = abs(np.dot(xs, np.roll(ys, 1)) - np.dot(ys, np.roll(xs, 1))) / 2
    return min(every, float(area / abs(grid.transform.a * grid.transform.e)))


def _warp_once(planned: Plan, sample: _Sample, warps: _Warps) -> _Sample:
    """The warped sample; tiers that agree on the grid, the resampling and nodata share it."""
    # NaN is not equal to itself, its text is.
    key = planned.grid, planned.settings.reproject_resampling, str(planned.view.nodata)
    if key not in warps:
        started = time.perf_counter()
        path = sample.path.with_name(f"warped_sample_{len(warps)}.tif")
        warped = _warp(planned, sample, path)
        warps[key] = replace(warped, warp_seconds=time.perf_counter() - started)
    return warps[key]


def _warp(planned: Plan, sample: _Sample, path: Path) -> _Sample:
    """The sample, warped to the planned grid's CRS as if it lay in the middle of the source."""
    place, grid = planned.view.georeference, planned.grid
    transform = place.transform
    if place.kind == "gcps":
        transform = from_bounds(*place.bounds, place.width, place.height)
    _, rows, columns = sample.pixels.shape
    corner = max(0, (place.width - columns) // 2), max(0, (place.height - rows) // 2)
    transform = transform @ Affine.translation(*corner)
    center = transform @ (columns / 2, rows / 2)
    xs, ys = transform_from(place, grid.crs, np.array([center[0]]), np.array([center[1]]))
    target = Affine(
        grid.transform.a, 0, xs[0] - columns / 2 * grid.transform.a,
        0, grid.transform.e, ys[0] - rows / 2 * grid.transform.e,
    )  # fmt: skip
    options = {
        "src_transform": transform,
        "src_crs": place.crs,
        "dst_transform": target,
        "dst_crs": grid.crs,
        "num_threads": gdal.THREADS,
        **warp_options(place, grid.crs),
    }
    warped = np.zeros_like(sample.pixels)
    resampling = Resampling[planned.settings.reproject_resampling]
    reproject(sample.pixels, warped, resampling=resampling, **options)
    inside = np.zeros(warped.shape[1:], np.uint8)
    reproject(np.ones_like(inside), inside, resampling=Resampling.nearest, **options)
    _write_sample(path, warped, planned.view.nodata)
    return _Sample(path, warped, max(1, int(inside.sum())))
