"""What members of a mosaic have in common, and which ones do not fit."""

from datetime import UTC, datetime

import pytest

from core.models import BlobRef
from services.raster.kind import (
    KindCount,
    find_misfit,
    is_group_of,
    measure_resolution,
    name_group,
    structure_of,
)
from services.raster.model import BitDepth, CogSettings, DetectedType, RasterFacts, RasterType

DEGREES = 100 / 111_319.490_793
"""Of 100 metres at the equator."""


def facts(
    bands: int = 3,
    dtype: str = "uint8",
    raster_type: RasterType = RasterType.RGB,
    metres: float = 1.0,
    has_palette: bool = False,
    west: float = 10.0,
) -> RasterFacts:
    """A square of 100 by 100 m at the equator."""
    side = round(100 / metres)
    bounds = (west, -DEGREES / 2, west + DEGREES, DEGREES / 2)
    settings = CogSettings(
        compression="DEFLATE", predictor=2, interleave="pixel",
        overview_resampling="average", reproject_resampling="cubic",
    )  # fmt: skip
    return RasterFacts(
        source=BlobRef(container="bronze", name="a.tif"), source_etag="e", source_size_bytes=1,
        source_last_modified=datetime(2026, 1, 1, tzinfo=UTC), driver="GTiff", band_count=bands,
        dtype=dtype, shape=(side, side), decoded_bytes=1, bands=(), validity="all",
        has_palette=has_palette, source_crs="EPSG:4326", crs_source="file_metadata",
        georeference="affine", bounds=bounds, bounds_4326=bounds, cog_tiers=(),
        raster_type=DetectedType(
            detected_type=raster_type, confidence="HIGH", evidence=(), applied_type=raster_type,
            optimal_cog_settings=settings,
        ),
        bit_depth_check=BitDepth(efficient=True, current_dtype=dtype),
    )  # fmt: skip


def count(*rasters: RasterFacts) -> KindCount:
    counted = KindCount()
    for each in rasters:
        counted.add(each)
    return counted


@pytest.mark.parametrize("metres", [0.5, 1.0, 10.0])
def test_resolution_is_in_metres(metres):
    assert measure_resolution(facts(metres=metres)) == pytest.approx(metres, rel=0.01)


def test_resolution_across_the_antimeridian():
    assert measure_resolution(facts(west=180 - DEGREES / 2)) == pytest.approx(1, rel=0.01)
    crossing = facts().model_copy(
        update={"bounds_4326": (180 - DEGREES / 2, -DEGREES / 2, -180 + DEGREES / 2, DEGREES / 2)}
    )
    assert measure_resolution(crossing) == pytest.approx(1, rel=0.01)


def test_the_kind_is_that_of_most_rasters():
    water = facts(1, "float32", RasterType.CATEGORICAL)
    hills = facts(1, "float32", RasterType.DEM)
    other = facts(4, "uint16", RasterType.MULTISPECTRAL)
    counted = count(hills, water, hills, other)
    kind = counted.most_common()
    assert kind.raster_type is RasterType.DEM
    assert (kind.structure.band_count, kind.structure.dtype) == (1, "float32")
    assert [group.count for group in counted.groups()] == [3, 1]
    assert find_misfit(water, kind) is None, "the type of a single tile is often another one"


@pytest.mark.parametrize(
    ("raster", "expected"),
    [
        (facts(), None),
        (facts(metres=3.5), None),
        (facts(metres=0.3), None),
        (facts(4), "4 bands of uint8, and most members have 3 bands of uint8"),
        (facts(dtype="uint16"), "3 bands of uint16"),
        (facts(1, has_palette=True), "1 band of uint8 with a palette"),
        (facts(metres=10), "pixels have 10 m"),
        (facts(metres=0.1), "pixels have 0.1 m"),
    ],
)
def test_misfits_name_what_they_have_and_what_the_others_have(raster, expected):
    kind = count(*[facts()] * 5).most_common()
    found = find_misfit(raster, kind)
    assert found is None if expected is None else expected in found


@pytest.mark.parametrize(
    ("raster", "expected"),
    [
        (facts(), "survey-3-bands-uint8"),
        (facts(1, "complex_int16"), "survey-1-band-complex_int16"),
        (facts(1, has_palette=True), "survey-1-band-uint8-palette"),
    ],
)
def test_a_group_is_named_after_its_structure(raster, expected):
    assert name_group("survey", structure_of(raster)) == expected
    assert is_group_of("survey", expected)
    assert not is_group_of("surve", expected) and not is_group_of("other", expected)
    assert not is_group_of("survey", "survey-2024") and not is_group_of("survey", "survey")


def test_the_size_of_a_pixel_includes_its_mask():
    assert count(facts(3, "uint8")).most_common().structure.pixel_bytes == 4
    assert count(facts(2, "float32")).most_common().structure.pixel_bytes == 9
