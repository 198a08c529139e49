"""Rasters of many bands: the size of their tiles, and how often their blocks are read."""

from datetime import UTC, datetime

import numpy as np
import pytest
import rasterio
from rasterio.errors import NotGeoreferencedWarning

from core.models import BlobRef
from services.raster import cog, decode_once
from services.raster.cog import make_cog
from services.raster.facts import inspect
from services.raster.model import InspectionOptions, InspectRaster, MakeCog, Tier, WindowSizes
from services.raster.source import open_source
from services.raster.writer import block_for
from services.sandbox.read_counter import count_bytes_read
from tests.fixtures.made_rasters import write

WHOLE = 3
"""How often a warp may read its source. Tiles with all bands read it five times and more."""


def inspected(path, windows=None):
    return inspect(
        InspectRaster(
            options=InspectionOptions(
                source=BlobRef(container="bronze", name=path.name), source_etag="1"
            ),
            windows=windows,
            path=str(path),
            stored_bytes=path.stat().st_size,
            last_modified=datetime.now(UTC),
        ),
        lambda fraction, message: None,
    )


def make(path, folder):
    folder.mkdir()
    request = MakeCog(
        facts=inspected(path),
        tier=Tier.ANALYSIS,
        target_crs="EPSG:4326",
        jpeg_quality=85,
        in_memory=False,
        path=str(path),
        folder=str(folder),
    )
    return make_cog(request, lambda fraction, message: None)


@pytest.mark.parametrize("interleave", ["band", "pixel"])
def test_a_warp_reads_blocks_of_many_bands_a_few_times(tmp_path, monkeypatch, interleave):
    noise = np.random.default_rng(3).random((60, 500, 500), "float32")
    source = write(
        tmp_path / "source.tif", noise, interleave=interleave, compress="deflate", zlevel=1
    )
    warp, read = cog.warp, []

    def counted(job):
        before = count_bytes_read()
        warp(job)
        read.append(count_bytes_read() - before)

    monkeypatch.setattr(cog, "warp", counted)
    made = make(source, tmp_path / "made")
    assert read[0] < WHOLE * source.stat().st_size
    with rasterio.open(made.path) as image:
        assert image.count == 60


@pytest.mark.parametrize(
    ("pixel_bytes", "side"),
    [(3, 512), (26, 512), (33, 256), (128, 256), (129, 128), (512, 128), (1_140, 64), (4_096, 64)],
)
def test_four_tiles_hold_32_megabytes_at_most(pixel_bytes, side):
    assert block_for(10_980, 10_980, pixel_bytes) == side


@pytest.mark.parametrize(("block", "expected"), [(256, True), (1_040, False)])
def test_windows_of_many_bands_need_blocks_of_their_size(tmp_path, block, expected):
    source = write(
        tmp_path / "source.tif", np.zeros((65, 1_100, 1_100), "float32"), sparse_ok=True,
        interleave="band", tiled=True, blockxsize=block, blockysize=16,
    )  # fmt: skip
    facts = inspected(source, WindowSizes(from_bytes=2**20, window_bytes=64 * 2**20))
    assert bool(facts.windows) is expected
    if expected:
        plan = facts.windows[Tier.ANALYSIS]
        assert (plan.block, plan.side) == (128, 256)


@pytest.mark.parametrize(("bands", "rows"), [(3, 512), (60, 128), (285, 16)])
def test_a_copy_is_made_a_few_rows_at_a_time(tmp_path, bands, rows):
    source = write(tmp_path / "source.tif", np.zeros((bands, 64, 2_000), "float32"), sparse_ok=True)
    with open_source(str(source), "source.tif", subdataset=None, stored_bytes=10**9) as opened:
        decode_once.decode_once(opened, str(tmp_path / "copy.tif"), lambda part, text: None)
    with pytest.warns(NotGeoreferencedWarning), rasterio.open(tmp_path / "copy.tif") as copy:
        assert copy.block_shapes[0] == (rows, 512)
