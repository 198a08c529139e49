"""Estimates of COGs, from samples of the source."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from core.models import BlobRef
from services.raster import estimate as estimates
from services.raster.facts import inspect
from services.raster.model import EncodeSamples, InspectionOptions, InspectRaster

SAMPLE = Path(__file__).parents[2] / "samples" / "bahamas_landsat7.tif"


def ignore(fraction, message):
    """Progress is not checked here."""


def make_request(target_crs, folder):
    source = BlobRef(container="bronze", name=SAMPLE.name)
    options = InspectionOptions(
        source=source, source_etag="1", output_tier="all", target_crs=target_crs, sidecars=()
    )
    facts = inspect(
        InspectRaster(
            options=options,
            path=str(SAMPLE),
            stored_bytes=SAMPLE.stat().st_size,
            last_modified=datetime.now(UTC),
        ),
        ignore,
    )
    return EncodeSamples(
        facts=facts, tiers=facts.cog_tiers, target_crs=target_crs, jpeg_quality=85,
        path=str(SAMPLE), folder=str(folder),
    )  # fmt: skip


@pytest.mark.parametrize(("target_crs", "warps"), [("EPSG:4326", 2), ("native", 0)])
def test_tiers_that_agree_share_one_warp(monkeypatch, tmp_path, target_crs, warps):
    """Analysis and archive have the same nodata value; JPEG has a mask instead."""
    warp, warped = estimates._warp, []

    def counted(*args):
        warped.append(warp(*args))
        return warped[-1]

    monkeypatch.setattr(estimates, "_warp", counted)
    found = estimates.estimate(make_request(target_crs, tmp_path), ignore)
    assert len(found.cogs) == 3 and len(warped) == warps
    assert all(cog.size_bytes > 0 for cog in found.cogs)
