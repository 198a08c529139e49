"""The facts of a raster, read from its header and from samples of its pixels."""

import math
import re

from core.errors import TaskFailed
from core.handler import Report
from services.raster import (
    bit_depth,
    gdal,
    nodata,
    profiles,
    raster_type,
    samples,
)
from services.raster.acquisition_time import read_acquisition_time
from services.raster.crs import describe_crs, is_earth, parse_crs
from services.raster.findings import Findings
from services.raster.model import (
    BandFacts,
    BitDepth,
    DetectedType,
    InspectionOptions,
    InspectRaster,
    RasterFacts,
    RasterType,
    Tier,
    Validity,
)
from services.raster.raster_type import Detection
from services.raster.source import Source, open_source
from services.raster.source_georeference import locate_source, read_extent

_SAMPLED_BANDS = 8
_SPECTRAL = re.compile("band|wavelength|channel|spectral", re.IGNORECASE)
_WIDE = ("float64", "int64", "uint64", "complex128")
_NEEDS = {
    RasterType.RGB: (3, 3),
    RasterType.RGBA: (3, 3),
    RasterType.DEM: (1, 1),
    RasterType.CATEGORICAL: (1, 1),
    RasterType.CONTINUOUS: (1, 1),
    RasterType.NIR: (4, 4),
    RasterType.MULTISPECTRAL: (2, gdal.MAX_BANDS),
}
"""How many bands besides alpha a type can have."""


def inspect(request: InspectRaster, report: Report) -> RasterFacts:
    """Read the facts. Raises TaskFailed for what can never become a good COG."""
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
        return _facts(request, source)


def _facts(request: InspectRaster, source: Source) -> RasterFacts:
    options = request.options
    findings = Findings(options.strict_mode, [])
    where, crs_source = locate_source(source, options, findings)
    globe = read_extent(where, source, findings)
    _check_target(options)
    bands = _bands_to_sample(source)
    sampled = samples.read(source, bands)
    found = raster_type.detect(_layout(source), sampled)
    applied = _applied_type(options, found, source, findings)
    depth = _bit_depth(source, sampled, findings)
    tiers, refused = _tiers(options, applied, source)
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
        bands=_bands(source, found, findings),
        nodata=nodata.as_json(_nodata(source)),
        validity=_validity(source, found),
        alpha_opaque=found.opaque,
        has_palette=has_palette(source),
        source_crs=describe_crs(where.crs),
        crs_source=crs_source,
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
                source.dtype,
                source.dataset.count,
                palette=has_palette(source),
            ),
        ),
        cog_tiers=tiers,
        tiers_not_applicable=refused,
        bit_depth_check=depth,
        acquired=read_acquisition_time(source.dataset),
        tags=kept_tags(source),
        warnings=tuple(findings.warnings),
    )


def _check_target(options: InspectionOptions) -> None:
    """An impossible target is known before the long work begins."""
    if options.target_crs != "native":
        target = parse_crs(options.target_crs, "target_crs")
        if not is_earth(target):
            raise TaskFailed("CRS_NOT_EARTH", f"target_crs {options.target_crs} is not on Earth")


def _bands_to_sample(source: Source) -> list[int]:
    bands = list(range(1, min(source.dataset.count, _SAMPLED_BANDS) + 1))
    if source.alpha_band:
        bands = [band for band in bands if band != source.alpha_band] + [source.alpha_band]
    return bands


def _layout(source: Source) -> raster_type.Layout:
    return raster_type.Layout(
        colors=tuple(color.name for color in source.dataset.colorinterp),
        dtype=source.dtype,
        has_palette=has_palette(source),
        alpha_band=source.alpha_band,
        is_series=_is_series(source),
        unit=source.dataset.units[0],
    )


def _is_series(source: Source) -> bool:
    """Whether the bands of a NetCDF variable are times or levels, not parts of the spectrum."""
    dimensions = source.dataset.tags().get("NETCDF_DIM_EXTRA", "").strip("{}")
    return bool(dimensions) and not _SPECTRAL.search(dimensions)


def has_palette(source: Source) -> bool:
    return bool(source.dataset.colorinterp[0].name == "palette")


def _applied_type(
    options: InspectionOptions, found: Detection, source: Source, findings: Findings
) -> RasterType:
    """The caller's type where the bands allow it: people know their data better than we do."""
    if options.raster_type == "auto":
        return found.kind
    asked = RasterType(options.raster_type)
    if asked is found.kind:
        return asked
    colors = source.dataset.count - (1 if found.alpha_band else 0)
    least, most = _NEEDS[asked]
    possible = least <= colors <= most and (asked is not RasterType.RGBA or found.alpha_band)
    used = asked if possible else found.kind
    findings.warn_or_fail(
        "RASTER_TYPE_MISMATCH",
        f"raster_type is {asked}, but {source.name} looks like {found.kind} "
        f"({'; '.join(found.evidence)}): it was treated as {used}",
    )
    return used


def _bit_depth(source: Source, sampled: list[samples.Sample], findings: Findings) -> BitDepth:
    depth = bit_depth.check(source.dtype, sampled)
    if source.dtype in _WIDE:
        findings.warn_or_fail(
            "BIT_DEPTH_POLICY_VIOLATION",
            f"{source.name} is {source.dtype}: 64 bits are rarely needed. {depth.advice or ''}",
        )
    elif depth.advice:
        findings.warn("BIT_DEPTH_INEFFICIENT", f"{source.name} is {source.dtype}: {depth.advice}")
    return depth


def _tiers(
    options: InspectionOptions, kind: RasterType, source: Source
) -> tuple[tuple[Tier, ...], dict[Tier, str]]:
    refused = {
        tier: reason for tier in Tier if (reason := profiles.why_not(tier, kind, source.dtype))
    }
    if options.output_tier != "all" and (reason := refused.get(Tier(options.output_tier))):
        raise TaskFailed("TIER_NOT_APPLICABLE", f"{source.name}: {reason}")
    return tuple(tier for tier in Tier if tier not in refused), refused


def _bands(source: Source, found: Detection, findings: Findings) -> tuple[BandFacts, ...]:
    dataset = source.dataset
    for index, value in enumerate(dataset.nodatavals, 1):
        if value is not None and not nodata.fits(value, source.dtype):
            findings.warn(
                "NODATA_OUT_OF_RANGE",
                f"{source.name}, band {index}: nodata {value:g} is no {source.dtype}, left out",
            )
    if len({str(value) for value in dataset.nodatavals}) > 1:
        findings.warn(
            "NODATA_INCONSISTENT",
            f"{source.name} has a nodata value for each band: the COG has one for all",
        )
    return tuple(_band(source, found, index) for index in range(1, dataset.count + 1))


def _band(source: Source, found: Detection, index: int) -> BandFacts:
    dataset = source.dataset
    color = dataset.colorinterp[index - 1].name
    if color == "alpha" and found.alpha_band != index:
        color = "nir" if found.kind is RasterType.NIR else "undefined"
    return BandFacts(
        index=index,
        dtype=dataset.dtypes[index - 1],
        color=color,
        description=dataset.descriptions[index - 1],
        unit=dataset.units[index - 1] or None,
        scale=_number(dataset.scales[index - 1], 1.0),
        offset=_number(dataset.offsets[index - 1], 0.0),
        nodata=nodata.as_json(dataset.nodatavals[index - 1]),
    )


def _number(value: float, otherwise: float) -> float:
    """A scale or offset; the one that changes nothing where the file's is not a number."""
    return value if math.isfinite(value) else otherwise


def _nodata(source: Source) -> float | None:
    usable = [v for v in source.dataset.nodatavals if v is not None]
    return next((v for v in usable if nodata.fits(v, source.dtype)), None)


def _validity(source: Source, found: Detection) -> Validity:
    if found.alpha_band:
        return "alpha"
    if source.has_mask_band:
        return "mask"  # as GDAL has it: a mask goes before a nodata value
    return "all" if _nodata(source) is None else "nodata"


_LOST = ("STATISTICS_", "OVR_", "OVERVIEW_", "NETCDF_", "TIFFTAG_", "XML_", "NC_GLOBAL#")
_LONGEST_TAG = 1_000
_MOST_TAGS = 100


def kept_tags(source: Source) -> dict[str, str]:
    """The file's own findings, without those that speak of the file and not of the picture."""
    tags = {
        key: value
        for key, value in sorted(source.dataset.tags().items())
        if not key.startswith(_LOST)
        and key not in ("AREA_OR_POINT", "NODATA_VALUES")
        and len(value) <= _LONGEST_TAG
        and value.isprintable()
    }
    return dict(list(tags.items())[:_MOST_TAGS])
