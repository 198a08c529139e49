"""COGs made in windows: the same bytes whatever the workers do, and the pixels that GDAL reads."""

import struct
from functools import cache

import numpy as np
import pytest
import rasterio
from rasterio.enums import ColorInterp, MaskFlags
from rio_cogeo.cogeo import cog_validate

from services.raster import gdal
from services.raster.windows import assemble as assembling
from services.raster.windows import tiff
from services.raster.windows.assemble import assemble
from services.raster.windows.encode import block_id, encode_window
from services.raster.windows.plan import MOST_BLOCKS, WindowPlan, order_blocks, steps_for
from tests.fixtures.made_rasters import classes, hills, photo
from tests.fixtures.windows import BLOCK, UTM33, Sample, make

RGB = ("red", "green", "blue")


def holes(size):
    """A mask with an empty corner and an empty window, and detail."""
    valid = np.ones((size, size), bool)
    valid[:170, :140] = False
    valid[256:384, 256:384] = False
    valid[300:, ::7] = False
    return valid


def with_nodata(pixels, value):
    return np.where(holes(pixels.shape[1]), pixels, pixels.dtype.type(value))


SAMPLES = {
    "rgb": Sample(photo(330), colors=RGB),
    "rgb with mask": Sample(photo(330), holes(330), colors=RGB),
    "rgba": Sample(photo(330), holes(330), alpha=True, colors=RGB),
    "bands": Sample(hills(270, 6, "uint16"), interleave="band"),
    "bands with mask": Sample(hills(270, 6, "uint16"), holes(270), interleave="band"),
    "dem": Sample(with_nodata(hills(340), -9999), nodata=-9999, predictor=3),
    "palette": Sample(
        classes(260), predictor=None, overview="mode", colors=("palette",), nodata=0,
        palette={value: (value, 255 - value, 7, 255) for value in range(256)},
    ),
    "blocks of levels": Sample(photo(330), holes(330), colors=RGB, by_row=False),
    "large windows": Sample(photo(400), holes(400), colors=RGB, side=4 * BLOCK),
    "lzw": Sample(hills(300, 2, "int16"), compression="LZW"),
}  # fmt: skip
LOSSY = {
    "jpeg": Sample(
        hills(330, 3, "uint8", 220), holes(330), colors=RGB, compression="JPEG", predictor=None
    ),
    "webp": Sample(
        hills(330, 3, "uint8", 220),
        holes(330),
        alpha=True,
        colors=RGB,
        compression="WEBP",
        predictor=None,
    ),
}


@cache
def made(name):
    return make((SAMPLES | LOSSY)[name])


@pytest.fixture
def stored(tmp_path):
    def store(cog):
        path = tmp_path / "cog.tif"
        path.write_bytes(cog)
        return path

    return store


@pytest.mark.parametrize("name", [*SAMPLES, *LOSSY])
def test_workers_their_order_and_repetitions_do_not_change_a_byte(name):
    sample = (SAMPLES | LOSSY)[name]
    assert make(sample, workers=2, seed=1) == made(name)
    assert make(sample, workers=7, seed=2) == made(name)


@pytest.mark.parametrize("name", [*SAMPLES, *LOSSY])
def test_the_cog_is_valid(name, stored):
    path = stored(made(name))
    assert cog_validate(path, strict=True, quiet=True) == (True, [], [])


@pytest.mark.parametrize("name", SAMPLES)
def test_every_pixel_is_kept(name, stored):
    sample = SAMPLES[name]
    with rasterio.open(stored(made(name))) as cog:
        assert cog.transform == UTM33 and cog.crs.to_epsg() == 32633
        assert cog.shape == sample.pixels.shape[1:]
        bands = cog.read()[: len(sample.pixels)]
        if sample.valid is None:
            assert np.array_equal(bands, sample.pixels)
        else:
            assert np.array_equal(cog.dataset_mask() > 0, sample.valid)
            assert np.array_equal(bands[:, sample.valid], sample.pixels[:, sample.valid])


@pytest.mark.parametrize("name", ["rgb", "rgb with mask", "bands", "bands with mask", "dem"])
def test_overviews_are_averages_of_four_pixels(name, stored):
    sample = SAMPLES[name]
    path = stored(made(name))
    pixels = sample.pixels.astype("float64")
    valid = np.ones(pixels.shape, bool) if sample.nodata is None else pixels != sample.nodata
    if sample.valid is not None:
        valid &= sample.valid
    with rasterio.open(path) as cog:
        levels = len(cog.overviews(1))
    assert levels == sample.target.plan.levels > 2
    for level in range(levels):
        pixels, valid = halved(pixels, valid, sample.pixels.dtype)
        with rasterio.open(path, OVERVIEW_LEVEL=level) as overview:
            found = overview.read()
            shown = overview.read_masks() > 0
        assert found.shape == pixels.shape
        assert np.array_equal(shown, valid)
        assert np.allclose(found[valid], pixels[valid], rtol=1e-6, atol=0)


def halved(pixels, valid, dtype):
    """Means of the valid pixels of each 2 x 2; whole numbers are rounded as GDAL does."""
    rows, columns = pixels.shape[1] % 2, pixels.shape[2] % 2
    edge = "edge" if valid.all() else "constant"
    pixels = np.pad(pixels, ((0, 0), (0, rows), (0, columns)), mode=edge)
    valid = np.pad(valid, ((0, 0), (0, rows), (0, columns)), mode=edge)

    def fours(array):
        return np.stack([array[:, y::2, x::2] for y in (0, 1) for x in (0, 1)])

    count = fours(valid).sum(axis=0)
    means = (fours(pixels) * fours(valid)).sum(axis=0) / np.maximum(count, 1)
    if dtype.kind in "iu":
        means = np.floor(means + 0.5)
    return means, count > 0


@pytest.mark.parametrize("name", LOSSY)
def test_lossy_tiles_look_like_the_source(name, stored):
    sample = LOSSY[name]
    with rasterio.open(stored(made(name))) as cog:
        valid = cog.dataset_mask() > 0
        assert (valid == sample.valid).mean() > 0.999
        difference = cog.read([1, 2, 3])[:, valid].astype(int) - sample.pixels[:, valid]
        assert np.abs(difference).mean() < 2


def test_colours_and_alpha_are_kept(stored):
    with rasterio.open(stored(made("rgba"))) as cog:
        assert cog.colorinterp == (
            ColorInterp.red, ColorInterp.green, ColorInterp.blue, ColorInterp.alpha
        )  # fmt: skip
        assert MaskFlags.alpha in cog.mask_flag_enums[0]
    with rasterio.open(stored(made("palette"))) as cog:
        assert cog.colorinterp == (ColorInterp.palette,) and cog.nodata == 0
        assert cog.colormap(1)[42] == (42, 213, 7, 255)


def test_windows_without_data_have_no_blocks():
    sample = SAMPLES["rgb with mask"]
    target = sample.target
    window = target.plan.windows(0)[0]
    nothing = np.zeros((4, *target.plan.window_shape(window)), "uint8")
    with gdal.environment("", sidecars=False):
        encoded = encode_window(target, window, nothing)
    assert encoded.index.blocks == () and encoded.smallest is None


@pytest.mark.parametrize("name", ["rgb with mask", "bands with mask"])
def test_each_tile_is_framed_and_in_order(name):
    """As the ghost area promises, which GDAL relies on to fetch a tile by one request."""
    cog = made(name)
    assert b"BLOCK_ORDER=ROW_MAJOR" in cog[:400]
    for directory in tiff.read_directories(cog):
        offsets = directory[tiff.TILE_OFFSETS].values
        sizes = directory[tiff.TILE_SIZES].values
        filled = [(at, size) for at, size in zip(offsets, sizes, strict=True) if at]
        assert filled == sorted(filled)
        for at, size in filled:
            assert struct.unpack_from("<I", cog, at - 4) == (size,)
            assert cog[at + size : at + size + 4] == cog[at + size - 4 : at + size]


def test_a_file_beyond_four_gigabytes_is_a_bigtiff(monkeypatch, stored):
    sample = SAMPLES["rgb with mask"]
    monkeypatch.setattr(assembling, "CLASSIC_LIMIT", 100_000)
    cog = make(sample)
    assert cog[:4] == b"II+\0"
    path = stored(cog)
    assert cog_validate(path, strict=True, quiet=True)[0]
    with rasterio.open(path) as reread:
        assert np.array_equal(reread.dataset_mask() > 0, sample.valid)
        assert np.array_equal(reread.read()[:, sample.valid], sample.pixels[:, sample.valid])


def test_a_missing_window_is_an_error():
    sample = SAMPLES["rgb"]
    with (
        pytest.raises(ValueError, match="windows are missing"),
        gdal.environment("", sidecars=False),
    ):
        assemble(sample.target, [])


def test_the_id_of_a_block_depends_on_its_content():
    sample = SAMPLES["rgb"]
    target = sample.target
    window = target.plan.windows(0)[0]
    pixels = sample.pixels[:, : target.plan.side, : target.plan.side]
    with gdal.environment("", sidecars=False):
        blocks = encode_window(target, window, pixels).index.blocks
        others = encode_window(target, window, pixels // 2).index.blocks
    assert {len(each.block_id) for each in (*blocks, *others)} == {41}
    assert not {each.block_id for each in blocks} & {each.block_id for each in others}
    assert block_id("job", blocks[0].pieces[0], b"x") != block_id("jab", blocks[0].pieces[0], b"x")


def plan(side, pixel_bytes, planes=1):
    block = 512
    return order_blocks(
        WindowPlan(
            width=side,
            height=side,
            transform=tuple(UTM33)[:6],
            count=planes,
            has_mask=False,
            is_pixel_interleaved=planes == 1,
            block=block,
            side=block * 2 ** steps_for(pixel_bytes, block),
            by_row=True,
        )
    )


@pytest.mark.parametrize(("pixel_bytes", "side"), [(1, 8192), (3, 4096), (4, 4096), (24, 1024)])
def test_windows_hold_64_megabytes_at_most(pixel_bytes, side):
    planned = plan(100_000, pixel_bytes)
    assert planned.side == side
    assert planned.side**2 * pixel_bytes <= 64 * 2**20 or planned.side == 2 * planned.block


def test_windows_cover_the_grid_once():
    planned = plan(40_000, 3)
    shapes = [planned.window_shape(window) for window in planned.windows(0)]
    assert sum(rows * columns for rows, columns in shapes) == 40_000**2
    assert len(shapes) == 100 and planned.levels == 7 and planned.tiers == 3


def test_a_blob_never_has_too_many_blocks():
    assert plan(40_000, 3).by_row
    assert not plan(400_000, 3).by_row
    assert not plan(60_000, 24, planes=12).by_row
    assert len(plan(400_000, 3).windows(0)) * 4 < MOST_BLOCKS
