"""Every raster of the corpus has the outcome in its manifest, and its COG has the right pixels."""

from collections.abc import Iterator

import pytest
import rasterio

from core.errors import TaskFailed
from services.raster.model import RasterFacts
from tests.fixtures.cog_comparison import compare_cog
from tests.fixtures.corpus import ELSEWHERE, Raster, rasters
from tests.fixtures.raster_handlers import RasterHandlers

REJECTIONS = {
    "CRS_MISSING",
    "NOT_GEOREFERENCED",
    "NOT_A_RASTER",
    "FORMAT_NOT_ALLOWED",
    "PIXELS_UNREADABLE",
    "SUBDATASET_REQUIRED",
}
# Decodes to 1.7 GB, too much for a comparison of whole images; it has no valid pixels.
UNJUDGED = {"sparse_cog.tif"}
# These have control points, or the manifest has the bounds of a rectangle around them.
LOOSE_BOUNDS = {"gcps", "rotated"}


@pytest.fixture(scope="module")
def handlers(azurite, tmp_path_factory) -> Iterator[RasterHandlers]:
    with RasterHandlers.open(
        azurite.connection_string, tmp_path_factory.mktemp("handlers")
    ) as handlers:
        yield handlers


@pytest.mark.parametrize("raster", rasters(), ids=lambda raster: raster.name)
def test_a_raster_of_the_corpus_has_the_expected_outcome(handlers: RasterHandlers, raster: Raster):
    if raster.expect == "reject":
        with pytest.raises(TaskFailed) as refused:
            handlers.make(raster.path)
        assert refused.value.code in REJECTIONS
        assert raster.name in refused.value.message
        return
    if raster.expect == "either" and "subdatasets-only" not in raster.features:
        try:
            handlers.make(raster.path)
        except TaskFailed as refused:
            assert refused.code in REJECTIONS
        return
    _check_cog(handlers, raster)


def _check_cog(handlers: RasterHandlers, raster: Raster) -> None:
    facts = handlers.validate(handlers.put(raster.path))
    cog = handlers.make_from(facts, tier="analysis")
    if not LOOSE_BOUNDS & raster.features:
        assert _apart(facts.bounds_4326, raster.bbox) <= _pixel(cog) / 2
        assert _apart(cog.bounds_4326, raster.bbox) <= 2.5 * _pixel(cog)
    if raster.name in UNJUDGED:
        return
    with rasterio.open(raster.path) as source, handlers.opened(cog) as made:
        _check_pixels(source, made, facts)


def _check_pixels(source, made, facts: RasterFacts) -> None:
    color_bands = facts.band_count - (1 if facts.validity == "alpha" else 0)
    comparison = compare_cog(source, made, color_bands)
    assert comparison.invented == 0
    assert comparison.strange <= comparison.compared * 0.002
    if not any(band.color == "nir" for band in facts.bands):
        assert comparison.valid == pytest.approx(comparison.source_valid, abs=0.01)


def _apart(one, other) -> float:
    """The largest distance between corresponding edges, in degrees."""
    return max(min(abs(a - b), 360 - abs(a - b)) for a, b in zip(one, other, strict=True))


def _pixel(cog) -> float:
    return max(abs(cog.transform[0]), abs(cog.transform[4]))


@pytest.mark.skipif(
    not (ELSEWHERE / "manifest.csv").exists(),
    reason=f"the full corpus is not in {ELSEWHERE}: set GEOLATHE_CORPUS to its folder",
)
def test_the_full_corpus_is_available():
    assert len(rasters()) >= 57
