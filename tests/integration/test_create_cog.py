"""create_cog: what it keeps, what it does not invent, and the effect of each option."""

import hashlib
import threading
from collections.abc import Iterator
from importlib import import_module

import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.enums import ColorInterp, MaskFlags
from rio_cogeo.cogeo import cog_info, cog_validate

from core.errors import TaskFailed, TaskLost
from jobs.process_raster import CogSummary
from tests.fixtures.cog_comparison import compare_cog
from tests.fixtures.corpus import raster
from tests.fixtures.made_rasters import UTM33, classes, hills, photo, write, write_aux
from tests.fixtures.raster_handlers import RasterHandlers, Steps

RGB = [ColorInterp.red, ColorInterp.green, ColorInterp.blue]


@pytest.fixture(scope="module")
def handlers(azurite, tmp_path_factory) -> Iterator[RasterHandlers]:
    with RasterHandlers.open(
        azurite.connection_string, tmp_path_factory.mktemp("handlers")
    ) as handlers:
        yield handlers


def test_same_crs_copies_every_pixel(handlers, tmp_path):
    pixels = hills(700, 1)
    path = write(tmp_path / "dem.tif", pixels, nodata=-9999)
    cog = handlers.make(path, target_crs="native")
    assert not cog.reprojection_performed and cog.reproject_resampling is None
    with handlers.opened(cog) as made:
        assert np.array_equal(made.read(), pixels)
        assert made.transform == UTM33
        assert made.nodata == -9999


def test_south_up_is_turned_without_resampling(handlers):
    cog = handlers.make(raster("south_up_float32.tif"))
    with rasterio.open(raster("south_up_float32.tif")) as source, handlers.opened(cog) as made:
        assert np.array_equal(made.read(1), source.read(1)[::-1], equal_nan=True)
        assert made.transform.e < 0


def test_control_points_determine_the_warp(handlers):
    cog = handlers.make(raster("gcps_australia.tif"), target_crs="EPSG:3577")
    with rasterio.open(raster("gcps_australia.tif")) as source, handlers.opened(cog) as made:
        points, crs = source.gcps
        places = [point for point in points if 10 < point.col < 120 and 10 < point.row < 115]
        assert not places  # all are on the edge, so the corners define the location
        lons, lats = [p.x for p in points], [p.y for p in points]
        assert crs.to_epsg() == 4326
        west, south, east, north = cog.bounds_4326
        assert west <= min(lons) + 0.5 and east >= max(lons) - 0.5
        assert south <= min(lats) + 0.5 and north >= max(lats) - 0.5
        assert made.crs.to_epsg() == 3577


def test_near_infrared_tagged_as_alpha_is_not_transparency(handlers):
    cog = handlers.make(raster("rgbnir_naip_utm16.tif"), target_crs="native")
    with rasterio.open(raster("rgbnir_naip_utm16.tif")) as source, handlers.opened(cog) as made:
        assert np.array_equal(made.read(), source.read())
        assert ColorInterp.alpha not in made.colorinterp
        assert made.dataset_mask().all()


def test_palette_of_signed_bytes_survives_a_warp(handlers):
    cog = handlers.make(raster("palette_int8_lambert.tif"))
    assert [warning.code for warning in CogSummary.of(cog).warnings] == ["DTYPE_CHANGED"]
    with rasterio.open(raster("palette_int8_lambert.tif")) as source, handlers.opened(cog) as made:
        assert made.colormap(1) == source.colormap(1)
        assert made.nodata == 0
        assert set(np.unique(made.read(1))) <= set(np.unique(source.read(1)))


def test_band_metadata_is_kept(handlers, tmp_path):
    path = write(tmp_path / "bands.tif", hills(200, 2, "int16"), nodata=-32768)
    with rasterio.open(path, "r+") as dataset:
        dataset.descriptions = ("snow depth", "density")
        dataset.scales, dataset.offsets = (0.5, 0.25), (0.0, 10.0)
        dataset.units = ("cm", "kg")
        dataset.update_tags(PROJECT="winter", TIFFTAG_DATETIME="2021:03:04 05:06:07")
    facts = handlers.validate(handlers.put(path))
    assert facts.acquired.isoformat() == "2021-03-04T05:06:07+00:00"
    cog = handlers.make_from(facts, tier="analysis")
    with handlers.opened(cog) as made:
        assert made.descriptions == ("snow depth", "density")
        assert made.scales == (0.5, 0.25) and made.offsets == (0.0, 10.0)
        assert made.units == ("cm", "kg")
        assert made.tags()["PROJECT"] == "winter"


def test_nodata_of_each_band_becomes_one(handlers, tmp_path):
    pixels = hills(100, 2, "float64")
    pixels[0, :10], pixels[1, 20:30] = -1, -2
    path = write(tmp_path / "two.tif", pixels)
    write_aux(path, nodata=(-1, -2))
    facts = handlers.validate(handlers.put(path))
    assert "NODATA_INCONSISTENT" in {warning.code for warning in facts.warnings}
    cog = handlers.make_from(facts, tier="analysis", target_crs="native")
    pixels[0, :10] = pixels[1, 20:30] = np.nan
    with handlers.opened(cog) as made:
        assert np.isnan(made.nodata)
        assert np.array_equal(made.read(), pixels, equal_nan=True)


def test_nodata_that_the_type_cannot_hold_is_left_out(handlers, tmp_path):
    path = write(tmp_path / "odd.tif", photo(), photometric="RGB")
    write_aux(path, nodata=(-9999, -9999, -9999))
    facts = handlers.validate(handlers.put(path))
    assert facts.nodata is None
    assert handlers.make_from(facts, tier="analysis", target_crs="native").validity == "all"


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "float32", "float64"])
def test_a_warp_leaves_no_collar(handlers, tmp_path, dtype):
    path = write(tmp_path / "plain.tif", hills(400, 1, dtype, 250))
    cog = handlers.make(path, target_crs="EPSG:3035")
    with handlers.opened(cog) as made:
        valid = made.dataset_mask() > 0
        if made.nodata is not None:
            valid &= ~np.isnan(made.read(1))
        corners = [valid[0, 0], valid[0, -1], valid[-1, 0], valid[-1, -1]]
        assert not any(corners)
        assert 0.8 < valid.mean() < 1


def test_a_raster_across_the_antimeridian_stays_narrow(handlers):
    for target in ("EPSG:4326", "EPSG:3857"):
        cog = handlers.make(raster("antimeridian.tif"), target_crs=target)
        west, _, east, _ = cog.bounds_4326
        assert west == pytest.approx(178, abs=0.01) and east == pytest.approx(-178.51, abs=0.01)
        assert cog.shape[1] < 4_000


def test_longitudes_beyond_180_are_rolled(handlers, tmp_path):
    pixels = hills(360, 1)[:, :180]
    grid = Affine(1, 0, 0, 0, -1, 90)
    path = write(tmp_path / "climate.tif", pixels, crs="EPSG:4326", transform=grid)
    cog = handlers.make(path)
    with handlers.opened(cog) as made:
        assert made.bounds.left == -180 and made.bounds.right == 180
        assert np.array_equal(made.read(1), np.roll(pixels[0], 180, axis=1))


def test_mask_survives(handlers):
    cog = handlers.make(raster("ycbcr_jpeg_internal_mask.tif"), target_crs="native")
    source_path = raster("ycbcr_jpeg_internal_mask.tif")
    with rasterio.open(source_path) as source, handlers.opened(cog) as made:
        assert MaskFlags.per_dataset in made.mask_flag_enums[0]
        assert np.array_equal(made.dataset_mask(), source.dataset_mask())


def test_a_local_grid_is_not_a_crs(handlers, tmp_path):
    path = write(tmp_path / "local.tif", hills(), crs='LOCAL_CS["yard",UNIT["metre",1]]')
    with pytest.raises(TaskFailed) as refused:
        handlers.validate(handlers.put(path))
    assert refused.value.code == "CRS_MISSING"


def test_other_planets_are_refused(handlers, tmp_path):
    path = write(tmp_path / "mars.tif", hills(), crs="+proj=longlat +R=3396190 +no_defs",
                 transform=Affine(0.01, 0, 10, 0, -0.01, 10))  # fmt: skip
    with pytest.raises(TaskFailed) as refused:
        handlers.validate(handlers.put(path))
    assert refused.value.code == "CRS_NOT_EARTH"


def test_a_vertical_crs_does_not_change_the_grid(handlers, tmp_path):
    grid = Affine(0.001, 0, 10, 0, -0.001, 50)
    for crs in ("EPSG:4979", "EPSG:9518"):
        path = write(tmp_path / f"{crs[5:]}.tif", hills(), crs=crs, transform=grid)
        cog = handlers.make(path)
        assert cog.target_crs == "EPSG:4326" and not cog.reprojection_performed


@pytest.mark.parametrize("bands", [1, 3, 6])
def test_every_cog_is_valid_and_described(handlers, tmp_path, bands):
    path = write(tmp_path / "large.tif", hills(1_300, bands, "uint16"))
    cog = handlers.make(path)
    local = tmp_path / "cog.tif"
    handlers.blobs.download(cog.blob, local)
    assert cog_validate(local, strict=True, quiet=True) == (True, [], [])
    assert cog.size_bytes == local.stat().st_size
    assert cog.checksum == "1220" + hashlib.sha256(local.read_bytes()).hexdigest()
    info = cog_info(local)
    assert info.Profile.Interleave == ("PIXEL" if bands == 3 else "BAND")
    assert list(cog.overviews) == [2, 4]
    assert max(info.IFD[-1].Width, info.IFD[-1].Height) <= 512


@pytest.mark.parametrize("bands", [1, 5])
@pytest.mark.parametrize("shape", [(1100, 1024), (2500, 1024), (2600, 512), (515, 1025)])
def test_tiles_are_never_as_wide_as_the_image(handlers, tmp_path, shape, bands):
    """rio-cogeo reports a level that is as wide as one tile as not tiled."""
    pixels = np.zeros((bands, *shape), "int16")
    cog = handlers.make(write(tmp_path / "tall.tif", pixels), target_crs="native")
    with handlers.opened(cog) as made:
        assert cog_validate(made.name, strict=True, quiet=True) == (True, [], [])


def test_a_narrow_image_is_tiled(handlers, tmp_path):
    pixels = hills(9_000, 1, "int16")[:, :, :512]
    cog = handlers.make(write(tmp_path / "ribbon.tif", pixels), target_crs="native")
    with handlers.opened(cog) as made:
        assert made.block_shapes == [(512, 512)]
        assert np.array_equal(made.read(), pixels)


@pytest.mark.parametrize("source", ["EPSG:3035", "EPSG:2193", "OGC:CRS84", "EPSG:3031"])
@pytest.mark.parametrize("target", ["EPSG:4326", "EPSG:3857"])
def test_order_of_axes_does_not_matter(handlers, tmp_path, source, target):
    """EPSG defines some projected CRSs with north before east, and some with east twice."""
    grid = {
        "EPSG:3035": Affine(100, 0, 4_000_000, 0, -100, 3_000_000),
        "EPSG:2193": Affine(100, 0, 1_600_000, 0, -100, 5_400_000),
        "OGC:CRS84": Affine(0.001, 0, 10, 0, -0.001, 50),
        "EPSG:3031": Affine(1_000, 0, -2_000_000, 0, -1_000, 1_000_000),
    }[source]
    path = write(tmp_path / "there.tif", hills(300), crs=source, transform=grid)
    with (
        handlers.opened(handlers.make(path, target_crs=target)) as made,
        rasterio.open(path) as there,
    ):
        comparison = compare_cog(there, made, 1)
    assert comparison.compared > 1_000 and comparison.strange == comparison.invented == 0
    assert comparison.valid == comparison.source_valid


def test_same_input_gives_the_same_bytes(handlers, tmp_path):
    path = write(tmp_path / "photo.tif", photo(900), colorinterp=RGB)
    for tier in ("visualization", "analysis"):
        one, other = handlers.make(path, tier=tier), handlers.make(path, tier=tier)
        assert one.checksum == other.checksum


def test_the_blob_has_content_type_and_metadata(handlers, tmp_path):
    path = write(tmp_path / "photo.tif", photo(), colorinterp=RGB)
    cog = handlers.make(path, tier="archive")
    stored = handlers.blobs.properties(cog.blob)
    assert stored.content_type == "image/tiff; application=geotiff; profile=cloud-optimized"
    assert stored.access_tier == "Cool" and cog.storage_tier == "cool"


def test_each_tier_has_its_compression(handlers, tmp_path):
    path = write(tmp_path / "photo.tif", photo(600), colorinterp=RGB)
    made = {
        tier: handlers.make(path, tier=tier) for tier in ("visualization", "analysis", "archive")
    }
    assert {tier: cog.compression for tier, cog in made.items()} == {
        "visualization": "JPEG",
        "analysis": "DEFLATE",
        "archive": "LZW",
    }
    assert made["visualization"].size_bytes < made["analysis"].size_bytes / 2
    assert made["analysis"].predictor == made["archive"].predictor == 2
    assert made["visualization"].storage_tier == "hot"


@pytest.mark.parametrize("bands", [3, 4])
def test_jpeg_quality_changes_the_image(handlers, tmp_path, bands):
    pixels = photo(600, bands)
    colors = list(RGB)
    if bands == 4:
        pixels[3], pixels[3, :100] = 255, 0
        colors.append(ColorInterp.alpha)
    path = write(tmp_path / "photo.tif", pixels, colorinterp=colors)
    fine = handlers.make(path, tier="visualization", jpeg_quality=90, target_crs="native")
    coarse = handlers.make(path, tier="visualization", jpeg_quality=30, target_crs="native")
    assert coarse.size_bytes < fine.size_bytes * 0.7
    assert fine.compression == ("WEBP" if bands == 4 else "JPEG")
    with handlers.opened(fine) as made:
        assert made.compression.value == fine.compression
        error = np.abs(made.read([1, 2, 3]).astype(int) - pixels[:3])[:, 120:, :]
        assert error.mean() < 10


def test_transparency_survives_webp(handlers):
    cog = handlers.make(raster("rgba_deflate_utm13.tif"), tier="visualization", target_crs="native")
    with rasterio.open(raster("rgba_deflate_utm13.tif")) as source, handlers.opened(cog) as made:
        assert made.colorinterp[3] == ColorInterp.alpha
        assert np.array_equal(made.read(4), source.read(4))


@pytest.mark.parametrize("target", ["native", "EPSG:3035"])
@pytest.mark.parametrize(("dtype", "faint"), [("uint8", 1), ("uint16", 255)])
def test_alpha_below_the_maximum_of_its_type_is_stretched(handlers, tmp_path, dtype, faint, target):
    pixels = photo(300, 4).astype(dtype)
    pixels[3], pixels[3, :100] = faint, 0
    path = write(tmp_path / "faint.tif", pixels, colorinterp=[*RGB, ColorInterp.alpha])
    with handlers.opened(handlers.make(path, target_crs=target)) as made:
        alpha = made.read(4)
        assert set(np.unique(alpha)) == {0, np.iinfo(dtype).max}
        assert 0.55 < (alpha > 0).mean() < 0.67


@pytest.mark.parametrize("target", ["native", "EPSG:3035"])
def test_complex_rasters_stay_complex(handlers, tmp_path, target):
    pixels = (hills(300, 1) + 1j * hills(300, 1)[:, ::-1]).astype("complex64")
    cog = handlers.make(write(tmp_path / "sar.tif", pixels), target_crs=target)
    with handlers.opened(cog) as made:
        assert made.dtypes == ("complex64",)
        found = made.read(1)
        if target == "native":
            assert np.array_equal(found, pixels[0])
        assert np.nanmax(found.real) > 800 and np.nanmax(found.imag) > 800
        # The corners of the warped grid are outside the raster: NaN, which the mask excludes.
        assert np.array_equal(made.read_masks(1) > 0, ~np.isnan(found))
        assert np.isnan(found).mean() == pytest.approx(1 - 300**2 / found.size, abs=0.02)


def test_reading_by_ranges_gives_the_same_bytes(handlers, tmp_path, monkeypatch):
    path = write(tmp_path / "photo.tif", photo(1_100), tiled=True)
    copied = handlers.make(path)
    # The packages export functions with the names of their modules.
    monkeypatch.setattr(import_module("services.outputs.cog"), "WHOLE_UP_TO_BYTES", 0)
    monkeypatch.setattr(import_module("services.outputs.facts"), "SAMPLED_FROM_BYTES", 0)
    monkeypatch.setattr(handlers.blobs, "download", _refused)
    ranged = handlers.make(path)
    assert ranged.checksum == copied.checksum


def _refused(*args: object) -> None:
    raise AssertionError("the source is read by ranges")


def test_empty_pixels_of_a_jpeg_are_in_a_mask(handlers, tmp_path):
    pixels = photo(600)
    pixels[:, :200] = 0
    path = write(tmp_path / "photo.tif", pixels, colorinterp=RGB, nodata=0)
    cog = handlers.make(path, tier="visualization", target_crs="native")
    assert cog.validity == "mask"
    with handlers.opened(cog) as made:
        assert np.array_equal(made.dataset_mask()[:, 0] > 0, np.arange(600) >= 200)


def test_target_crs_moves_the_pixels(handlers, tmp_path):
    path = write(tmp_path / "dem.tif", hills())
    for target in ("EPSG:4326", "EPSG:3857", "EPSG:25833"):
        cog = handlers.make(path, target_crs=target)
        assert cog.target_crs == target
        assert cog.bounds_4326 == pytest.approx((15, 50.523, 15.043, 50.550), abs=0.01)


def test_raster_type_decides_the_resampling(handlers, tmp_path):
    path = write(tmp_path / "values.tif", classes())
    kept = handlers.make(path)
    blurred = handlers.make(path, raster_type="continuous")
    assert (kept.raster_type, kept.reproject_resampling) == ("categorical", "nearest")
    assert (blurred.raster_type, blurred.reproject_resampling) == ("continuous", "bilinear")
    with handlers.opened(kept) as one, handlers.opened(blurred) as other:
        there = set(np.unique(classes()))
        assert set(np.unique(one.read(1, masked=True).compressed())) <= there
        assert not set(np.unique(other.read(1, masked=True).compressed())) <= there


def test_contradicted_type_is_a_warning_or_an_error(handlers, tmp_path):
    ref = handlers.put(write(tmp_path / "dem.tif", hills()))
    facts = handlers.validate(ref, raster_type="categorical")
    assert [warning.code for warning in facts.warnings] == ["RASTER_TYPE_MISMATCH"]
    assert facts.raster_type.applied_type == "categorical"
    assert handlers.validate(ref, raster_type="rgb").raster_type.applied_type == "dem"
    with pytest.raises(TaskFailed) as refused:
        handlers.validate(ref, raster_type="categorical", strict_mode=True)
    assert refused.value.code == "RASTER_TYPE_MISMATCH"


def test_input_crs_is_used_only_without_a_crs_in_the_file(handlers, tmp_path):
    bare = handlers.put(write(tmp_path / "bare.tif", hills(), crs=None))
    with pytest.raises(TaskFailed, match="input_crs") as refused:
        handlers.validate(bare)
    assert refused.value.code == "CRS_MISSING"
    facts = handlers.validate(bare, input_crs="EPSG:32633")
    assert (facts.source_crs, facts.crs_source) == ("EPSG:32633", "user_override")
    assert handlers.make_from(facts, tier="analysis").target_crs == "EPSG:4326"
    own = handlers.put(write(tmp_path / "own.tif", hills()))
    facts = handlers.validate(own, input_crs="EPSG:32632")
    assert facts.source_crs == "EPSG:32633"
    assert [warning.code for warning in facts.warnings] == ["CRS_MISMATCH"]
    with pytest.raises(TaskFailed):
        handlers.validate(own, input_crs="EPSG:32632", strict_mode=True)
    same = handlers.validate(own, input_crs="+proj=utm +zone=33 +datum=WGS84", strict_mode=True)
    assert same.warnings == ()


def test_subdataset_is_chosen_by_name(handlers):
    ref = handlers.put(raster("nc_planet_3d.nc"))
    with pytest.raises(TaskFailed, match="blue, green") as refused:
        handlers.validate(ref)
    assert refused.value.code == "SUBDATASET_REQUIRED"
    facts = handlers.validate(ref, subdataset="green")
    assert facts.subdataset == "green" and facts.subdatasets == ("blue", "green")
    cog = handlers.make_from(facts, tier="analysis", target_crs="native")
    with rasterio.open(f"netcdf:{raster('nc_planet_3d.nc')}:green") as source:
        expected = source.read()
    with handlers.opened(cog) as made:
        assert np.array_equal(made.read(), expected, equal_nan=True)


def test_only_small_rasters_are_processed_in_memory(handlers, tmp_path):
    path = write(tmp_path / "dem.tif", hills())
    assert handlers.make(path).in_memory
    assert not handlers.make(path, in_memory=False).in_memory
    large = write(tmp_path / "large.tif", np.zeros((1, 4_300, 4_300), "float32"), compress="lzw")
    cog = handlers.make(large, in_memory=True)
    assert not cog.in_memory
    assert [warning.code for warning in cog.warnings] == ["IN_MEMORY_TOO_LARGE"]


def test_imagine_file_finds_its_large_companion(handlers, tmp_path):
    """The .img file contains the name of the .ige file with its pixels."""
    pixels = hills(300, 1)
    path = write(tmp_path / "Large-one.v2.img", pixels, driver="HFA", USE_SPILL="YES")
    assert path.with_suffix(".ige").stat().st_size > path.stat().st_size
    with handlers.opened(handlers.make(path, target_crs="native")) as made:
        assert np.array_equal(made.read(), pixels)


def test_a_sidecar_georeferences_an_image(handlers):
    facts = handlers.validate(handlers.put(raster("png_georef_auxxml_utm13.png")))
    assert facts.source_crs == "EPSG:26913"
    assert [ref.name.rsplit("/")[-1] for ref in facts.sidecars] == [
        "png_georef_auxxml_utm13.png.aux.xml",
        "png_georef_auxxml_utm13.wld",
    ]


def test_an_inapplicable_tier_is_rejected(handlers, tmp_path):
    ref = handlers.put(write(tmp_path / "dem.tif", hills()))
    with pytest.raises(TaskFailed, match="analysis") as refused:
        handlers.validate(ref, output_tier="visualization")
    assert refused.value.code == "TIER_NOT_APPLICABLE"
    assert handlers.validate(ref, output_tier="all").cog_tiers == ("analysis", "archive")


def test_changed_source_is_not_converted(handlers, tmp_path):
    ref = handlers.put(write(tmp_path / "dem.tif", hills()))
    facts = handlers.validate(ref)
    handlers.blobs.upload(ref, write(tmp_path / "new.tif", hills(310)), content_type="image/tiff")
    with pytest.raises(TaskFailed, match="submit it again") as refused:
        handlers.make_from(facts, tier="analysis")
    assert refused.value.code == "SOURCE_CHANGED"


def test_lost_task_leaves_nothing(handlers, tmp_path):
    lost = threading.Event()

    def stop(fraction: float, message: str) -> None:
        if fraction > 0:
            lost.set()
            raise TaskLost("cancelled")

    facts = handlers.validate(handlers.put(write(tmp_path / "photo.tif", photo(2_000))))
    with pytest.raises(TaskLost):
        handlers.make_from(facts, Steps(stop), tier="analysis")
    assert lost.is_set()
    assert not list((handlers.folder / "scratch").iterdir())


def test_progress_never_decreases(handlers, tmp_path):
    steps = Steps()
    handlers.make(write(tmp_path / "photo.tif", photo(1_500)), steps)
    fractions = [fraction for fraction, _ in steps.reported]
    assert fractions == sorted(fractions)
    assert fractions[-1] >= 0.9
