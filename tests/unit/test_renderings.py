"""Which bands, ranges and colours each type of raster is shown with."""

from typing import Any

import pytest

from services.raster.model import RasterType
from services.stac.rendering import natural_color, rendering, renderings
from services.stac.scan import BandScan, BandStatistics, CogScan


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


def test_photograph_of_bytes_is_shown_as_it_is():
    look = rendering(RasterType.RGB, scan(*colored("red", "green", "blue", data_type="uint8")))
    assert (look.bidx, look.rescale) == ((1, 2, 3), ())


def test_bytes_of_few_bits_are_stretched_or_they_would_be_black():
    found = BandStatistics(minimum=0, maximum=15, mean=7, stddev=1, valid_percent=100, p2=1, p98=14)
    bands = colored("red", "green", "blue", data_type="uint8", statistics=found)
    assert rendering(RasterType.RGB, scan(*bands)).rescale == ((1, 14),) * 3


def test_bands_in_another_order_are_put_right():
    look = rendering(RasterType.RGBA, scan(*colored("blue", "green", "red", "alpha")))
    assert look.bidx == (3, 2, 1)
    assert look.rescale == ((20.5, 980),) * 3


def test_four_bands_never_ask_for_four():
    cog = scan(*[band(i, data_type="uint8") for i in range(1, 5)])
    looks = renderings(RasterType.NIR, cog)
    assert looks["default"].bidx == (1, 2, 3)
    assert looks["infrared"].bidx == (4, 1, 2)


@pytest.mark.parametrize(("count", "bidx"), [(5, (3, 2, 1)), (7, (3, 2, 1)), (13, (4, 3, 2))])
def test_scanner_bands_come_from_blue_to_red(count: int, bidx: tuple[int, ...]):
    cog = scan(*[band(i) for i in range(1, count + 1)])
    assert rendering(RasterType.MULTISPECTRAL, cog).bidx == bidx


def test_descriptions_name_colors():
    names = ["Coastal", "B02 (blue)", "green", "Red", "red edge 1"]
    described = [band(i, description=name) for i, name in enumerate(names, start=1)]
    assert natural_color(described) == (4, 3, 2)
    assert natural_color([band(1, description="infrared"), *described[1:3]]) is None


def test_dem_has_colors_and_a_hillshade():
    looks = renderings(RasterType.DEM, scan(band(1, data_type="float32")))
    assert looks["default"].colormap_name == "terrain"
    assert looks["default"].rescale == ((20.5, 980),)
    assert looks["hillshade"].algorithm == "hillshade"


def test_colour_table_goes_before_all_else():
    palette = {0: (0, 0, 0, 255), 1: (9, 9, 9, 255), 2: (0, 0, 0, 255)}
    look = rendering(RasterType.DEM, scan(band(1), palette=palette, classes=(0, 1)))
    assert look.palette == {0: (0, 0, 0, 255), 1: (9, 9, 9, 255)}
    assert look.colormap_name is None


def test_classes_without_a_table_get_different_colors():
    look = rendering(RasterType.CATEGORICAL, scan(band(1), classes=tuple(range(-5, 40))))
    assert look.colormap is not None
    assert len(set(look.colormap.values())) == 45


def test_too_many_classes_become_a_ramp():
    assert rendering(RasterType.CATEGORICAL, scan(band(1))).colormap_name == "viridis"


def test_one_value_everywhere_is_still_a_range():
    flat = BandStatistics(minimum=5, maximum=5, mean=5, stddev=0, valid_percent=100, p2=5, p98=5)
    assert rendering(RasterType.DEM, scan(band(1, statistics=flat))).rescale == ((4, 6),)


def test_nearly_one_value_uses_the_extremes():
    spiky = BandStatistics(minimum=0, maximum=1, mean=0, stddev=0, valid_percent=100, p2=0, p98=0)
    assert rendering(RasterType.UNKNOWN, scan(band(1, statistics=spiky))).rescale == ((0, 1),)


def test_nothing_valid_still_gives_a_link():
    empty = scan(band(1, statistics=None, data_type="uint8"))
    assert rendering(RasterType.UNKNOWN, empty).rescale == ((0, 1),)


def test_two_bands_show_the_first():
    assert rendering(RasterType.MULTISPECTRAL, scan(band(1), band(2))).bidx == (1,)


@pytest.mark.parametrize(("maximum", "ignored"), [(255, True), (65_535, False)])
def test_faint_alpha_is_not_taken_for_transparency(maximum: float, ignored: bool):
    colors = colored("red", "green", "blue")
    seen = colors[0].statistics
    assert seen is not None
    alpha = band(4, color="alpha", statistics=seen.model_copy(update={"maximum": maximum}))
    look = renderings(RasterType.RGBA, scan(*colors, alpha))["default"]
    assert (("nodata", "0") in look.query()) == ignored
