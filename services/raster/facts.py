"""Inspection of a source raster: its header and samples of its pixels."""

import math
import re
from pathlib import PurePosixPath

from core.errors import TaskFailed
from core.handler import Report
from services.raster import (
    bit_depth,
    gdal,
    metadata,
    nodata,
    profiles,
    raster_type,
    samples,
)
from services.raster.accuracy import check_accuracy
from services.raster.acquisition_time import read_acquisition_time
from services.raster.band_names import BandLabel, find_common_names
from services.raster.crs import describe_crs, is_earth, parse_crs
from services.raster.findings import Findings
from services.raster.georeference import Georeference
from services.raster.model import (
    BandFacts,
    BitDepth,
    CrsOperation,
    DetectedType,
    InspectionOptions,
    InspectRaster,
    MakeCog,
    Nodata,
    RasterFacts,
    RasterType,
    Tier,
    Validity,
)
from services.raster.operation import choose_operation
from services.raster.raster_type import Detection
from services.raster.source import Source, open_source
from services.raster.source_georeference import locate_source, read_extent
from services.raster.windows.layout import plan_windows
from services.raster.windows.plan import WindowPlan

_SAMPLED_BANDS = 8
_SPECTRAL = re.compile("band|wavelength|channel|spectral", re.IGNORECASE)
_WIDE = ("float64", "int64", "uint64", "complex128")
_BANDS = {
    RasterType.RGB: (3, 3),
    RasterType.RGBA: (3, 3),
    RasterType.DEM: (1, gdal.MAX_BANDS),
    RasterType.CATEGORICAL: (1, gdal.MAX_BANDS),
    RasterType.CONTINUOUS: (1, gdal.MAX_BANDS),
    RasterType.NIR: (4, gdal.MAX_BANDS),
    RasterType.MULTISPECTRAL: (2, gdal.MAX_BANDS),
}
"""The least and the greatest number of bands besides alpha for each type."""


def inspect(request: InspectRaster, report: Report) -> RasterFacts:
    """Return the facts of a raster. Raises TaskFailed if no good COG can be made of it."""
    options = request.options
    with (
        gdal.environment(request.path, sidecars=bool(options.sidecars)),
        open_source(
            request.path,
            str(options.source),
            subdataset=options.subdataset,
            stored_bytes=request.stored_bytes,
        ) as source,
    ):
        report(0.1, "reading samples")
        facts = _collect_facts(request, source)
        return facts.model_copy(update={"windows": _plan_windows(request, source, facts)})


def _plan_windows(
    request: InspectRaster, source: Source, facts: RasterFacts
) -> dict[Tier, WindowPlan]:
    sizes, options = request.windows, request.options
    if sizes is None:
        return {}
    tiers = facts.cog_tiers if options.output_tier == "all" else (Tier(options.output_tier),)
    wanted = MakeCog(
        facts=facts,
        tier=tiers[0],
        target_crs=options.target_crs,
        path=request.path,
        folder="",
    )
    return plan_windows(source, wanted, tiers, sizes)


def _collect_facts(request: InspectRaster, source: Source) -> RasterFacts:
    options = request.options
    findings = Findings(options.strict_mode, [])
    placement = locate_source(source, options, findings)
    where = placement.georeference
    globe = read_extent(where, source, findings)
    operation = _check_target(options, where, source.name, findings)
    alpha, certain = _choose_alpha(options, source)
    bands = _choose_bands(source, alpha)
    values = _choose_nodata(options, source, findings)
    sampled = samples.read_samples(source, bands, [values[band - 1] for band in bands])
    fill = None if source.alpha_band else _find_fill(source, sampled, findings)
    if fill:
        sampled = [sample.without(fill.value) for sample in sampled]
    found = raster_type.detect(_describe_layout(source, values[0], alpha, certain), sampled)
    applied = _choose_type(options, found, source, findings)
    depth = _check_bit_depth(source, sampled, findings)
    top = _find_picture_top(applied, found, source, sampled)
    stored = profiles.stored_dtype(source.dtype, palette=has_palette(source), picture_top=top)
    tiers, refused = _find_tiers(options, applied, source.name, stored)
    return RasterFacts(
        source=options.source,
        source_etag=options.source_etag,
        source_size_bytes=request.stored_bytes,
        source_last_modified=request.last_modified,
        sidecars=options.sidecars,
        driver=source.driver,
        subdataset=source.subdataset,
        subdatasets=source.subdatasets,
        band_count=source.dataset.count,
        dtype=source.dtype,
        shape=(source.dataset.height, source.dataset.width),
        decoded_bytes=source.decoded_bytes,
        bands=_describe_bands(source, found, values),
        nodata=nodata.as_json(next((v for v in values if v is not None), None)),
        validity=_find_validity(options, source, found, values, findings),
        suspected_nodata=nodata.as_json(fill.value) if fill else None,
        alpha_opaque=found.opaque,
        picture_top=top,
        is_inverted=_is_inverted(source),
        has_palette=has_palette(source),
        source_crs=describe_crs(where.crs),
        crs_source=placement.crs_source,
        vertical_crs=placement.vertical_crs,
        crs_operation=operation,
        georeference=where.kind,
        bounds=where.bounds,
        bounds_4326=globe.bounds,
        raster_type=DetectedType(
            detected_type=found.kind,
            confidence=found.confidence,
            evidence=found.evidence,
            applied_type=applied,
            optimal_cog_settings=profiles.settings(
                Tier.ANALYSIS,
                applied,
                stored,
                source.dataset.count,
                palette=has_palette(source),
            ),
        ),
        cog_tiers=tiers,
        tiers_not_applicable=refused,
        bit_depth_check=depth,
        acquired=read_acquisition_time(source.dataset),
        tags=metadata.read_tags(source.dataset),
        categories=_read_categories(source),
        warnings=tuple(findings.warnings),
    )


def _check_target(
    options: InspectionOptions,
    where: Georeference,
    name: str,
    findings: Findings,
) -> CrsOperation | None:
    """Refuse an unusable target CRS before the long work begins. Returns the operation to it."""
    if options.target_crs == "native":
        return None
    target = parse_crs(options.target_crs, "target_crs")
    if not is_earth(target):
        raise TaskFailed("CRS_NOT_EARTH", f"target_crs {options.target_crs} is not on Earth")
    operation = choose_operation(where, target)
    if operation is None:
        return None
    check_accuracy(operation.summary, where, name, findings)
    return operation.summary


def _choose_alpha(options: InspectionOptions, source: Source) -> tuple[int | None, bool]:
    """The band to take for alpha, and whether format or caller leave no doubt about it."""
    tagged, count = source.alpha_band, source.dataset.count
    colors = [color.name for color in source.dataset.colorinterp]
    if options.raster_type == "rgba":
        return tagged or (4 if count == 4 else None), True
    if options.raster_type == "nir" and count == 4:
        return None, True
    if not tagged and count == 4 and colors[:3] == ["red", "green", "blue"]:
        return 4, False
    return tagged, source.driver == "PNG" or options.raster_type == "rgb"


def _choose_bands(source: Source, alpha: int | None) -> list[int]:
    bands = list(range(1, min(source.dataset.count, _SAMPLED_BANDS) + 1))
    if alpha:
        bands = [band for band in bands if band != alpha] + [alpha]
    return bands


def _describe_layout(
    source: Source, empty: float | None, alpha: int | None, certain: bool
) -> raster_type.Layout:
    dataset = source.dataset
    return raster_type.Layout(
        colors=tuple(color.name for color in dataset.colorinterp),
        dtype=source.dtype,
        has_palette=has_palette(source),
        alpha_band=alpha,
        alpha_tagged=source.alpha_band is not None,
        alpha_certain=certain,
        is_spectral=_is_spectral(source),
        is_series=_is_series(source),
        unit=dataset.units[0],
        scale=dataset.scales[0],
        nodata=empty,
        is_inverted=_is_inverted(source),
        name=_describe_contents(source),
    )


def _describe_contents(source: Source) -> str:
    """Names that may say what the pixels are: of the file, its variable and the first band."""
    tags = source.dataset.tags(1)
    parts = [
        PurePosixPath(source.name).stem,
        source.subdataset,
        source.dataset.descriptions[0],
        *(tags.get(key) for key in ("long_name", "standard_name", "LAYER_TYPE")),
        "flags" if any(key.startswith("flag_") for key in tags) else None,
    ]
    return " ".join(part for part in parts if part)


def _is_spectral(source: Source) -> bool:
    """Whether descriptions or wavelengths name at least two spectral bands."""
    names = find_common_names(_label_bands(source, ["undefined"] * source.dataset.count))
    return sum(name is not None for name in names) >= 2


def _is_inverted(source: Source) -> bool:
    return bool(source.dataset.tags(ns="IMAGE_STRUCTURE").get("MINISWHITE") == "YES")


def _find_picture_top(
    kind: RasterType, found: Detection, source: Source, sampled: list[samples.Sample]
) -> int | None:
    """Full intensity of a picture whose data type GDAL has no alpha for."""
    if kind is not RasterType.RGBA or not found.alpha_band or source.dtype in ("uint8", "uint16"):
        return None
    return raster_type.find_picture_top(sampled)


def _is_series(source: Source) -> bool:
    """Whether the bands of a NetCDF variable are times or levels rather than spectral bands."""
    dimensions = source.dataset.tags().get("NETCDF_DIM_EXTRA", "").strip("{}")
    return bool(dimensions) and not _SPECTRAL.search(dimensions)


def has_palette(source: Source) -> bool:
    return bool(source.dataset.colorinterp[0].name == "palette")


def _choose_type(
    options: InspectionOptions, found: Detection, source: Source, findings: Findings
) -> RasterType:
    """The caller's type if the number of bands allows it, otherwise the detected one."""
    if options.raster_type == "auto":
        if found.alternative:
            findings.warn(
                "RASTER_TYPE_UNCERTAIN",
                f"{source.name} is treated as {found.kind} but may be {found.alternative} "
                f"({'; '.join(found.evidence)}). Set raster_type to decide",
            )
        return found.kind
    asked = RasterType(options.raster_type)
    if asked is found.kind:
        return asked
    colors = source.dataset.count - (1 if found.alpha_band else 0)
    least, most = _BANDS[asked]
    possible = least <= colors <= most and (asked is not RasterType.RGBA or found.alpha_band)
    used = asked if possible else found.kind
    findings.warn_or_fail(
        "RASTER_TYPE_MISMATCH",
        f"raster_type is {asked}, but {source.name} looks like {found.kind} "
        f"({'; '.join(found.evidence)}); it is treated as {used}",
    )
    return used


def _check_bit_depth(source: Source, sampled: list[samples.Sample], findings: Findings) -> BitDepth:
    depth = bit_depth.check(source.dtype, sampled)
    if source.dtype in _WIDE:
        findings.warn_or_fail(
            "BIT_DEPTH_POLICY_VIOLATION",
            f"{source.name} is {source.dtype}: 64 bits are rarely needed. {depth.advice or ''}",
        )
    elif depth.advice:
        findings.warn("BIT_DEPTH_INEFFICIENT", f"{source.name} is {source.dtype}: {depth.advice}")
    return depth


def _find_tiers(
    options: InspectionOptions, kind: RasterType, name: str, dtype: str
) -> tuple[tuple[Tier, ...], dict[Tier, str]]:
    refused = {tier: reason for tier in Tier if (reason := profiles.why_not(tier, kind, dtype))}
    if options.output_tier != "all" and (reason := refused.get(Tier(options.output_tier))):
        raise TaskFailed("TIER_NOT_APPLICABLE", f"{name}: {reason}")
    return tuple(tier for tier in Tier if tier not in refused), refused


def _choose_nodata(
    options: InspectionOptions, source: Source, findings: Findings
) -> tuple[float | None, ...]:
    """The nodata value of each band: the caller's or the file's, as its data type holds it."""
    if options.nodata is not None:
        values = _check_given_nodata(options.nodata, source)
    else:
        values = _check_declared_nodata(source, findings)
    if len({str(value) for value in values}) > 1:
        findings.warn(
            "NODATA_INCONSISTENT",
            f"{source.name} has different nodata values per band; the COG has one for all bands",
        )
    return values


def _check_given_nodata(
    given: Nodata | tuple[Nodata, ...], source: Source
) -> tuple[float | None, ...]:
    count = source.dataset.count
    values = given if isinstance(given, tuple) else (given,) * count
    if len(values) != count:
        raise TaskFailed(
            "NODATA_BAND_COUNT",
            f"nodata lists {len(values)} values, but {source.name} has {count} band(s): "
            "give one value for all bands, or one per band",
        )
    for value in values:
        if not nodata.fits(float(value) if isinstance(value, str) else value, source.dtype):
            raise TaskFailed(
                "NODATA_OUT_OF_RANGE",
                f"nodata {value} does not fit {source.dtype}, the data type of {source.name}: "
                "give a value that its pixels can hold",
            )
    numbers = [nodata.from_json(value) for value in values]
    return tuple(nodata.in_dtype(v, source.dtype) for v in numbers if v is not None)


def _check_declared_nodata(source: Source, findings: Findings) -> tuple[float | None, ...]:
    values: list[float | None] = []
    for index, value in enumerate(source.dataset.nodatavals, 1):
        if value is not None and not nodata.fits(value, source.dtype):
            findings.warn(
                "NODATA_OUT_OF_RANGE",
                f"{source.name}, band {index}: nodata {value:g} does not fit {source.dtype}; "
                "ignored. Set the parameter nodata if another value marks empty pixels",
            )
            value = None
        values.append(None if value is None else nodata.in_dtype(value, source.dtype))
    return tuple(values)


def _find_fill(
    source: Source, sampled: list[samples.Sample], findings: Findings
) -> nodata.Fill | None:
    """A fill value that nothing declares, and warnings about it or about an empty raster."""
    if not any(sample.valid.any() for sample in sampled):
        findings.warn(
            "NO_VALID_PIXELS",
            f"{source.name}: none of the sampled pixels is valid. Check its nodata value, or set "
            "the parameter nodata",
        )
        return None
    if source.has_mask_band or has_palette(source):
        return None
    fill = nodata.find_undeclared_fill(sampled)
    if fill:
        findings.warn(
            "NODATA_SUSPECTED",
            f"{source.name}: {fill.value:.7g} fills {fill.share:.1%} of the pixels and the border, "
            f"but is not declared as nodata. If it marks empty pixels, set nodata to "
            f"{fill.value:.7g}; otherwise nothing has to be done",
        )
    return fill


def _describe_bands(
    source: Source, found: Detection, values: tuple[float | None, ...]
) -> tuple[BandFacts, ...]:
    colors = [_find_color(source, found, index) for index in source.dataset.indexes]
    names = find_common_names(_label_bands(source, colors))
    named = zip(colors, names, values, strict=True)
    return tuple(_describe_band(source, index, *known) for index, known in enumerate(named, 1))


def _label_bands(source: Source, colors: list[str]) -> list[BandLabel]:
    dataset = source.dataset
    return [
        BandLabel(
            dataset.descriptions[at],
            color,
            dataset.tags(at + 1) | dataset.tags(at + 1, ns="IMAGERY"),
        )
        for at, color in enumerate(colors)
    ]


def _find_color(source: Source, found: Detection, index: int) -> str:
    """GDAL's colour interpretation, corrected where alpha and near infrared were confused."""
    color = str(source.dataset.colorinterp[index - 1].name)
    if index == found.alpha_band:
        return "alpha"
    if color == "alpha":
        return "nir" if source.dataset.count == 4 else "undefined"
    return color


def _describe_band(
    source: Source, index: int, color: str, name: str | None, value: float | None
) -> BandFacts:
    dataset = source.dataset
    return BandFacts(
        index=index,
        dtype=dataset.dtypes[index - 1],
        color=color,
        description=dataset.descriptions[index - 1],
        common_name=name,
        unit=dataset.units[index - 1] or None,
        scale=_use_finite(dataset.scales[index - 1], 1.0),
        offset=_use_finite(dataset.offsets[index - 1], 0.0),
        nodata=nodata.as_json(value),
        tags=metadata.read_band_tags(dataset, index),
    )


def _read_categories(source: Source) -> dict[int, str]:
    with gdal.failing_as("NOT_A_RASTER", f"{source.name} has an unreadable attribute table"):
        return metadata.read_categories(source.dataset)


def _use_finite(value: float, otherwise: float) -> float:
    """The scale or offset, or the neutral value if it is not finite."""
    return value if math.isfinite(value) else otherwise


def _find_validity(
    options: InspectionOptions,
    source: Source,
    found: Detection,
    values: tuple[float | None, ...],
    findings: Findings,
) -> Validity:
    """What separates valid pixels. A mask band precedes nodata, as in GDAL, unless it is given."""
    if found.alpha_band:
        if options.nodata is not None:
            findings.warn(
                "NODATA_IGNORED",
                f"{source.name} has an alpha band, which decides instead of the parameter nodata",
            )
        return "alpha"
    if source.has_mask_band and options.nodata is None:
        return "mask"
    if source.has_mask_band:
        findings.warn(
            "MASK_IGNORED", f"{source.name}: its mask was ignored because nodata was given"
        )
    return "all" if all(value is None for value in values) else "nodata"
