"""Which bands, ranges and colours each type of raster is shown with."""

from typing import Any

import pytest

from core.models import BlobRef
from services.raster.model import RasterType
from services.stac.map_links import build_cog_links
from services.stac.model import BandScan, BandStatistics, CogScan
from services.stac.rendering import build_renderings, find_natural_color, render_default


def band(index: int, **changes: Any) -> BandScan:
    found = BandStatistics(
        minimum=0, maximum=1000, mean=500, stddev=1, valid_percent=100, p2=20.5, p98=980
    )
    known = {
        "index": index, "data_type": "uint16", "color": "undefined", "description": None,
        "unit": None, "scale": 1, "offset": 0, "nodata": None, "statistics": found,
    }  # fmt: skip
    return BandScan.model_validate(known | changes)


def scan(*bands: BandScan, **changes: Any) -> CogScan:
    known = {
        "shape": (1, 1), "transform": (1, 0, 0, 0, 1, 0), "bounds": (0, 0, 1, 1), "epsg": 4326,
        "wkt2": "", "projjson": None, "gsd": 1, "bands": bands, "palette": None, "classes": None,
        "geometry": {}, "bbox": [0, 0, 1, 1],
    }  # fmt: skip
    return CogScan.model_validate(known | changes)


def colored(*names: str, **changes: Any) -> list[BandScan]:
    return [band(i, color=name, **changes) for i, name in enumerate(names, start=1)]


def test_eight_bit_images_are_not_stretched():
    look = render_default(RasterType.RGB, scan(*colored("red", "green", "blue", data_type="uint8")))
    assert (look.bidx, look.rescale) == ((1, 2, 3), ())


def test_images_that_use_few_bits_are_stretched():
    found = BandStatistics(minimum=0, maximum=15, mean=7, stddev=1, valid_percent=100, p2=1, p98=14)
    bands = colored("red", "green", "blue", data_type="uint8", statistics=found)
    assert render_default(RasterType.RGB, scan(*bands)).rescale == ((1, 14),) * 3


def test_color_tags_determine_the_band_order():
    look = render_default(RasterType.RGBA, scan(*colored("blue", "green", "red", "alpha")))
    assert look.bidx == (3, 2, 1)
    assert look.rescale == ((20.5, 980),) * 3


def test_four_bands_are_never_shown_at_once():
    cog = scan(*[band(i, data_type="uint8") for i in range(1, 5)])
    looks = build_renderings(RasterType.NIR, cog)
    assert looks["default"].bidx == (1, 2, 3)
    assert looks["infrared"].bidx == (4, 1, 2)


@pytest.mark.parametrize(("count", "bidx"), [(5, (3, 2, 1)), (7, (3, 2, 1)), (13, (4, 3, 2))])
def test_sensor_bands_come_from_blue_to_red(count: int, bidx: tuple[int, ...]):
    cog = scan(*[band(i) for i in range(1, count + 1)])
    look = render_default(RasterType.MULTISPECTRAL, cog)
    assert look.bidx == bidx
    assert look.title == f"Bands {', '.join(map(str, bidx))}"


def test_descriptions_name_colors():
    names = ["Coastal", "B02 (blue)", "green", "Red", "red edge 1"]
    described = [band(i, description=name) for i, name in enumerate(names, start=1)]
    assert find_natural_color(described) == (4, 3, 2)
    assert find_natural_color([band(1, description="infrared"), *described[1:3]]) is None


def test_dem_has_colors_and_a_hillshade():
    looks = build_renderings(RasterType.DEM, scan(band(1, data_type="float32")))
    assert looks["default"].colormap_name == "terrain"
    assert looks["default"].rescale == ((20.5, 980),)
    assert looks["hillshade"].algorithm == "hillshade"


def test_a_colour_table_has_precedence():
    palette = {0: (0, 0, 0, 255), 1: (9, 9, 9, 255), 2: (0, 0, 0, 255)}
    look = render_default(RasterType.DEM, scan(band(1), palette=palette, classes=(0, 1)))
    assert look.palette == {0: (0, 0, 0, 255), 1: (9, 9, 9, 255)}
    assert look.colormap_name is None


def test_classes_without_a_table_get_different_colors():
    look = render_default(RasterType.CATEGORICAL, scan(band(1), classes=tuple(range(-5, 40))))
    assert look.colormap is not None
    assert len(set(look.colormap.values())) == 45


def test_too_many_classes_get_a_color_ramp():
    assert render_default(RasterType.CATEGORICAL, scan(band(1))).colormap_name == "viridis"


def test_a_constant_raster_has_a_range():
    flat = BandStatistics(minimum=5, maximum=5, mean=5, stddev=0, valid_percent=100, p2=5, p98=5)
    assert render_default(RasterType.DEM, scan(band(1, statistics=flat))).rescale == ((4, 6),)


def test_a_nearly_constant_raster_uses_its_extremes():
    spiky = BandStatistics(minimum=0, maximum=1, mean=0, stddev=0, valid_percent=100, p2=0, p98=0)
    assert render_default(RasterType.UNKNOWN, scan(band(1, statistics=spiky))).rescale == ((0, 1),)


def test_a_raster_without_valid_pixels_has_a_link():
    empty = scan(band(1, statistics=None, data_type="uint8"))
    assert render_default(RasterType.UNKNOWN, empty).rescale == ((0, 1),)


def test_of_two_bands_the_first_is_rendered():
    assert render_default(RasterType.MULTISPECTRAL, scan(band(1), band(2))).bidx == (1,)


@pytest.mark.parametrize(("maximum", "ignored"), [(255, True), (65_535, False)])
def test_faint_alpha_is_not_transparency(maximum: float, ignored: bool):
    colors = colored("red", "green", "blue")
    seen = colors[0].statistics
    assert seen is not None
    alpha = band(4, color="alpha", statistics=seen.model_copy(update={"maximum": maximum}))
    look = build_renderings(RasterType.RGBA, scan(*colors, alpha))["default"]
    assert (("nodata", "0") in look.query()) == ignored


def test_band_names_take_precedence_over_the_band_order():
    names = (None, "blue", "green", "red", "nir")
    cog = scan(*[band(at, common_name=name) for at, name in enumerate(names, 1)])
    look = render_default(RasterType.MULTISPECTRAL, cog)
    assert (look.title, look.bidx) == ("Natural colour", (4, 3, 2))


def test_an_image_without_blue_is_called_false_color():
    cog = scan(*[band(at, common_name=name) for at, name in enumerate(("green", "red", "nir"), 1)])
    look = render_default(RasterType.RGB, cog)
    assert (look.title, look.bidx) == ("Colour infrared", (3, 2, 1))
    tagged = scan(*colored("red", "green", "blue", data_type="uint8"))
    assert render_default(RasterType.RGB, tagged, "town_CIR_2020").title == "Colour infrared"


@pytest.mark.parametrize("count", [65, 200, 256])
def test_256_classes_have_distinct_colors_in_a_short_url(count: int):
    look = render_default(RasterType.CATEGORICAL, scan(band(1), classes=tuple(range(count))))
    assert look.colormap is not None
    assert len(set(look.colormap.values())) == count
    assert (
        len(build_cog_links("https://t", BlobRef(container="cogs", name="a"), look)["viewer_url"])
        < 8000
    )


@pytest.mark.parametrize("value", [3, 128, 255])
def test_constant_images_are_not_stretched(value: int):
    flat = BandStatistics(
        minimum=value, maximum=value, mean=value, stddev=0, valid_percent=100, p2=value, p98=value
    )
    grey = scan(band(1, data_type="uint8", statistics=flat))
    assert render_default(RasterType.CONTINUOUS, grey).rescale == ()
    rgb = scan(*colored("red", "green", "blue", data_type="uint8", statistics=flat))
    assert render_default(RasterType.RGB, rgb).rescale == ()


def test_panchromatic_images_and_scans_are_grey():
    look = render_default(RasterType.CONTINUOUS, scan(band(1)))
    assert (look.title, look.colormap_name) == ("Grey", None)
    assert (
        render_default(RasterType.CONTINUOUS, scan(band(1)), is_inverted=True).colormap_name
        == "gray_r"
    )
