"""From a source raster to a COG file: view, warp, write, check."""

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import rasterio
from rasterio.crs import CRS
from rasterio.io import DatasetReader

from core.errors import TaskFailed
from core.handler import Report
from services.raster import decode_once, gdal, nodata, profiles, writer
from services.raster.antimeridian import normalize_longitudes
from services.raster.crs import dataset_crs, describe_crs, parse_crs, to_horizontal
from services.raster.extent import geographic_extent
from services.raster.georeference import Georeference, read_georeference
from services.raster.grid import Grid, grid_for
from services.raster.model import (
    BandFacts,
    CogFacts,
    CogSettings,
    MadeCog,
    MakeCog,
    RasterFacts,
    RasterWarning,
    Tier,
    Validity,
    VerticalCrs,
)
from services.raster.progress import Stretch
from services.raster.source import Source, open_source
from services.raster.source_georeference import read_place, read_source_crs
from services.raster.vertical import add_vertical, read_vertical
from services.raster.vrt import Band, Mask, Palette, View, alpha_top
from services.raster.warp import Warp, measure_scale, warp

_UNPACKED = "unpacked.tif"
_WIDE_INTEGERS = ("uint32", "int32", "uint64", "int64")
IN_MEMORY_BYTES = 32 * 2**20
"""Rasters up to this size, decoded, may be warped in memory."""


@dataclass(frozen=True)
class Plan:
    """What will be done with one source, decided before a pixel is touched."""

    name: str
    dtype: str
    view: View
    """Over the source. Ready to be written where nothing is warped."""
    grid: Grid
    settings: CogSettings
    quality: int
    vertical_crs: VerticalCrs | None
    stored_crs: CRS
    """CRS of the COG: that of the grid, with the vertical part of the source where it is kept."""
    unified: bool
    """Whether a pixel is empty only when all its bands are, as in a picture."""
    footprint: bool
    """Whether the warp must say by a mask where the picture ends."""

    @property
    def decoded_bytes(self) -> int:
        pixel = np.dtype(self.dtype).itemsize * (len(self.view.bands) + 1)
        return self.grid.width * self.grid.height * int(pixel)


@contextmanager
def open_inspected(facts: RasterFacts, path: str, scratch: Path) -> Iterator[Source]:
    """Open a source whose facts are known, with GDAL's settings for the work on it."""
    with (
        gdal.environment(path, sidecars=bool(facts.sidecars), scratch=scratch),
        open_source(
            path,
            str(facts.source),
            subdataset=facts.subdataset,
            stored_bytes=facts.source_size_bytes,
        ) as source,
    ):
        yield source


def make_cog(request: MakeCog, report: Report) -> MadeCog:
    """Write the COG into the request's folder. Raises TaskFailed for what can never work."""
    known, folder = request.facts, Path(request.folder)
    with open_inspected(known, request.path, folder) as source:
        planned = plan(source, request)
        report(0.02, f"{planned.grid.width} x {planned.grid.height} pixels planned")
        with ExitStack() as stack:
            planned = _unpacked(source, planned, request, folder, report, stack)
            return _make(planned, request, folder, report, stack)


def _unpacked(
    source: Source, plan: Plan, request: MakeCog, folder: Path, report: Report, stack: ExitStack
) -> Plan:
    """The plan over a scratch copy, where reading the source twice would be costly."""
    if not (decode_once.is_costly(source) or decode_once.is_decoded_often(source)):
        return plan
    fits = source.decoded_bytes <= IN_MEMORY_BYTES and request.in_memory is not False
    path = _scratch(folder, _UNPACKED, fits, stack)
    decode_once.decode_once(source, path, lambda part, text: report(0.02 + 0.13 * part, text))
    return replace(plan, view=replace(plan.view, path=path))


def plan(source: Source, request: MakeCog) -> Plan:
    """Decide. Raises TaskFailed where the tier or the target CRS cannot hold the raster."""
    known = request.facts
    kind = known.raster_type.applied_type
    dtype = _stored_dtype(source, request)
    if reason := profiles.why_not(request.tier, kind, dtype):
        raise TaskFailed("TIER_NOT_APPLICABLE", f"{source.name}: {reason}")
    own = read_source_crs(source) or parse_crs(known.source_crs, "source_crs")
    target = None
    if request.target_crs != "native":
        target = parse_crs(request.target_crs, "target_crs")
    where, roll = normalize_longitudes(read_place(source, own))
    grid = grid_for(where, target, source.name, pad=request.pad)
    settings = profiles.settings(
        request.tier, kind, dtype, source.dataset.count, palette=known.has_palette
    )
    view = _view(source, request, grid, where, roll)
    return Plan(
        name=source.name,
        dtype=dtype,
        view=view,
        grid=grid,
        settings=settings,
        quality=request.jpeg_quality,
        vertical_crs=known.vertical_crs,
        stored_crs=_stored_crs(source, request, grid.crs),
        unified=kind in profiles.PICTURES,
        footprint=grid.resampled and view.mask is None and view.nodata is None,
    )


def _stored_crs(source: Source, request: MakeCog, horizontal: CRS) -> CRS:
    vertical = request.facts.vertical_crs
    if request.target_crs != "native" or vertical is None:
        return horizontal
    own = dataset_crs(source.dataset)
    return own if own and read_vertical(own) else add_vertical(horizontal, vertical)


def _view(
    source: Source, request: MakeCog, grid: Grid, georeference: Georeference, roll: int
) -> View:
    """The source as the inspection found it."""
    known = request.facts
    bands = _bands(source, request)
    common, mask = _validity(source, request, bands, grid)
    alpha = known.validity == "alpha"
    tags = dict(known.tags)
    if source.dataset.tags().get("AREA_OR_POINT") == "Point":
        tags["AREA_OR_POINT"] = "Point"
    return View(
        path=source.path,
        georeference=georeference,
        dtype=_stored_dtype(source, request),
        ratio=65_535.0 if known.picture_top == 1 else 1.0,
        bands=[band for band in bands if not (alpha and band.color == "alpha")],
        nodata=common,
        mask=mask,
        tags=tags,
        roll=roll,
    )


def _stored_dtype(source: Source, request: MakeCog) -> str:
    known = request.facts
    return profiles.stored_dtype(
        source.dtype, palette=known.has_palette, picture_top=known.picture_top
    )


def _bands(source: Source, request: MakeCog) -> list[Band]:
    palette = _palette(source) if request.facts.has_palette else None
    return [
        Band(
            source=fact.index,
            color=fact.color,
            description=fact.description,
            unit=fact.unit,
            scale=fact.scale,
            offset=fact.offset,
            palette=palette if fact.index == 1 else None,
            nodata=nodata.from_json(fact.nodata),
            tags=_band_tags(fact, request.facts),
        )
        for fact in request.facts.bands
    ]


def _band_tags(band: BandFacts, facts: RasterFacts) -> dict[str, str]:
    """A GeoTIFF has no place for the names of classes, so they become a tag of the first band."""
    if band.index > 1 or not facts.categories:
        return band.tags
    return band.tags | {"CATEGORY_NAMES": json.dumps(facts.categories, ensure_ascii=False)}


def _palette(source: Source) -> Palette | None:
    try:
        return dict(source.dataset.colormap(1))
    except ValueError:
        return None


def _validity(
    source: Source, request: MakeCog, bands: list[Band], grid: Grid
) -> tuple[float | None, Mask | None]:
    """The nodata value of the view, or its mask; neither if every pixel is valid."""
    validity = request.facts.validity
    dtype = _stored_dtype(source, request)
    value = nodata.common([band.nodata for band in bands], dtype)
    form: Literal["mask", "alpha"] = "alpha" if grid.warped else "mask"
    if validity == "alpha":
        alpha = next(band for band in bands if band.color == "alpha")
        return None, Mask((str(alpha.source),), "alpha", opaque=request.facts.alpha_opaque)
    if validity == "mask":
        return None, Mask(("mask,1",), form)
    # JPEG changes values, so pixels would no longer equal nodata. The warp compares in float32.
    lossy, coarse = request.tier is Tier.VISUALIZATION, grid.warped and dtype in _WIDE_INTEGERS
    if validity == "nodata" and (lossy or coarse):
        masks = tuple(f"mask,{number}" for number in range(1, len(bands) + 1))
        return None, Mask(masks, form, nodata=value)
    if validity == "all" and not grid.resampled and np.dtype(dtype).kind in "iu":
        return None, None
    return value, None


def _make(plan: Plan, request: MakeCog, folder: Path, report: Report, stack: ExitStack) -> MadeCog:
    in_memory = _in_memory(plan, request)
    output = folder / "cog.tif"
    view = _settled(plan.view, plan)
    if plan.grid.warped:
        scratch = _scratch(folder, "warped.tif", in_memory, stack)
        view = _warped(plan, scratch, Stretch(report, 0.15, 0.55, "warping"))
        (folder / _UNPACKED).unlink(missing_ok=True)
    view = replace(view, georeference=replace(view.georeference, crs=plan.stored_crs))
    writing = Stretch(report, 0.55 if plan.grid.warped else 0.15, 0.95, "writing")
    writer.write(view, output, plan.settings, plan.quality, name=plan.name, progress=writing)
    writer.check(str(output), plan.name)
    report(0.97, "checked")
    facts = describe_cog(
        plan,
        str(output),
        size_bytes=output.stat().st_size,
        checksum=writer.checksum(output),
        in_memory=in_memory,
        warnings=find_warnings(plan, request),
    )
    return MadeCog(path=str(output), **facts.model_dump())


def find_warnings(plan: Plan, request: MakeCog) -> tuple[RasterWarning, ...]:
    """What about the COG may surprise the caller."""
    warnings = []
    if plan.dtype != request.facts.dtype:
        warnings.append(
            RasterWarning(
                code="DTYPE_CHANGED",
                message=f"{plan.name} is {request.facts.dtype} and was stored as {plan.dtype} "
                f"to keep its {'alpha band' if request.facts.picture_top else 'colour table'}"
                f"{', scaled by 65535' if request.facts.picture_top == 1 else ''}",
            )
        )
    if request.in_memory and plan.decoded_bytes > IN_MEMORY_BYTES:
        warnings.append(
            RasterWarning(
                code="IN_MEMORY_TOO_LARGE",
                message=f"{plan.name} decodes to {plan.decoded_bytes >> 20} MB: in_memory holds "
                f"{IN_MEMORY_BYTES >> 20} MB, so it was ignored",
            )
        )
    return tuple(warnings)


def _in_memory(plan: Plan, request: MakeCog) -> bool:
    """Small rasters are warped in memory unless `in_memory` is false; large ones never are."""
    return plan.decoded_bytes <= IN_MEMORY_BYTES and request.in_memory is not False


def _scratch(folder: Path, name: str, in_memory: bool, stack: ExitStack) -> str:
    if not in_memory:
        return str(folder / name)
    memory = stack.enter_context(rasterio.MemoryFile(ext=".tif"))
    return str(memory.name)


def _settled(view: View, plan: Plan) -> View:
    """The view in which only bands whose nodata differs from the view's are rewritten."""
    value = view.mask.nodata if view.mask else view.nodata
    bands = [
        replace(band, nodata=None if _keeps(band, value, plan.dtype) else band.nodata)
        for band in view.bands
    ]
    return replace(view, bands=bands)


def _keeps(band: Band, value: float | None, dtype: str) -> bool:
    if band.nodata is None or value is None or not nodata.fits(band.nodata, dtype):
        return True
    return nodata.equal(band.nodata, value)


def _warped(plan: Plan, scratch: str, progress: Stretch) -> View:
    """Warp, and return the view over the result."""
    job = plan_warp(plan, scratch)
    with progress.watching_file(scratch, plan.decoded_bytes):
        warp(job)
    gdal.give_back_memory()
    mask = _warped_mask(job)
    if mask and mask.form == "mask" and writer.is_full(scratch, len(job.view.bands) + 1):
        mask = None
    return _over(scratch, replace(job.view, nodata=job.nodata), plan, mask)


def plan_warp(plan: Plan, path: str) -> Warp:
    """The warp of the plan's view to a file."""
    view = _settled(plan.view, plan)
    value = view.nodata
    if view.mask and plan.dtype in _WIDE_INTEGERS:
        value = view.mask.nodata
    top = alpha_top(plan.dtype)
    if view.mask and view.mask.sources[0].isdigit():
        top = int(np.iinfo(plan.dtype).max) if np.dtype(plan.dtype).kind in "ui" else 1
    return Warp(
        view=view,
        grid=plan.grid,
        path=path,
        name=plan.name,
        alpha=value is None and (plan.footprint or view.mask is not None),
        alpha_top=top,
        resampling=plan.settings.reproject_resampling if plan.grid.resampled else "nearest",
        unified=plan.unified,
        interleave=plan.settings.interleave,
        nodata=value,
        scale=measure_scale(view.georeference, plan.grid),
    )


def stored_view(plan: Plan) -> View:
    """The bands, tags and validity of the COG, over a file whose last band is the validity.

    The file has that band if the view has a mask.
    """
    if plan.grid.warped:
        job = plan_warp(plan, "")
        view, mask = replace(job.view, nodata=job.nodata), _warped_mask(job)
    else:
        view = _settled(plan.view, plan)
        mask = view.mask and Mask((str(len(view.bands) + 1),), _form(view.mask))
    view = _over("", view, plan, mask)
    return replace(view, georeference=replace(view.georeference, crs=plan.stored_crs))


def _form(mask: Mask) -> Literal["mask", "alpha"]:
    """Only an alpha band of the source becomes one of the COG."""
    return "alpha" if mask.sources[0].isdigit() else "mask"


def _warped_mask(job: Warp) -> Mask | None:
    """The last band of the warped file as the mask or the alpha band of the COG."""
    if not job.alpha:
        return None
    last = str(len(job.view.bands) + 1)
    if job.view.mask and _form(job.view.mask) == "alpha":
        return Mask((last,), "alpha")
    return Mask((last,), "mask", soft=job.view.mask is not None)


def _over(path: str, view: View, plan: Plan, mask: Mask | None) -> View:
    """The same bands over a file on the plan's grid."""
    bands = [replace(band, source=n, nodata=None) for n, band in enumerate(view.bands, 1)]
    return replace(
        view,
        path=path,
        georeference=plan.grid.georeference,
        bands=bands,
        mask=mask,
        roll=0,
        ratio=1.0,
    )


def describe_cog(
    plan: Plan,
    path: str,
    *,
    size_bytes: int,
    checksum: str,
    in_memory: bool,
    warnings: tuple[RasterWarning, ...],
) -> CogFacts:
    """The facts of a COG that was made by the plan. `path` is a file or a /vsicurl/ address."""
    with rasterio.open(path, driver="GTiff") as cog:
        if dataset_crs(cog) is None:
            raise TaskFailed(
                "REPROJECTION_FAILED",
                f"a GeoTIFF cannot store the CRS of {plan.name} "
                f"({describe_crs(plan.grid.crs)[:60]}): choose a target_crs, for example EPSG:4326",
            )
        where = read_georeference(cog, to_horizontal(cog.crs))
        globe = geographic_extent(where)
        resampling = plan.settings.reproject_resampling if plan.grid.resampled else None
        return CogFacts(
            reprojection_performed=plan.grid.resampled,
            source_crs=describe_crs(plan.view.georeference.crs),
            target_crs=describe_crs(plan.grid.crs),
            vertical_crs=plan.vertical_crs,
            bounds=where.bounds,
            bounds_4326=globe.bounds if globe else (-180.0, -90.0, 180.0, 90.0),
            transform=tuple(cog.transform)[:6],
            shape=(cog.height, cog.width),
            band_count=cog.count,
            dtype=str(cog.dtypes[0]),
            nodata=nodata.as_json(cog.nodata),
            validity=_told_by(cog),
            compression=plan.settings.compression,
            predictor=plan.settings.predictor,
            interleave=plan.settings.interleave,
            overviews=tuple(cog.overviews(1)),
            reproject_resampling=resampling,
            overview_resampling=plan.settings.overview_resampling,
            size_bytes=size_bytes,
            checksum=checksum,
            in_memory=in_memory,
            warnings=warnings,
        )


def _told_by(cog: DatasetReader) -> Validity:
    flags = {flag.name for flag in cog.mask_flag_enums[0]}
    if "alpha" in flags:
        return "alpha"
    if "nodata" in flags:
        return "nodata"
    return "mask" if "per_dataset" in flags else "all"
