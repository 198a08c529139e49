"""Tile arithmetic and image checks of `./dev demo`."""

import io

import pytest
from PIL import Image

from local.demo import count_colours, tile_at, tile_url
from local.errors import LocalError


@pytest.mark.parametrize(
    ("longitude", "latitude", "zoom", "tile"),
    [(0.0, 0.0, 0, (0, 0)), (-77.8, 24.5, 8, (72, 110)), (13.4, 52.5, 10, (550, 335))],
)
def test_tile_that_contains_a_point(longitude, latitude, zoom, tile):
    assert tile_at(longitude, latitude, zoom) == tile


def test_tile_url_is_inside_the_raster():
    tilejson = {
        "bounds": [-78.9, 23.5, -76.5, 25.5],
        "minzoom": 7,
        "maxzoom": 9,
        "tiles": ["http://t/{z}/{x}/{y}.png?url=/vsiaz/silver/x.tif"],
    }
    assert tile_url(tilejson).startswith("http://t/8/72/110.png?url=")


def image_of(*colours):
    image = Image.new("RGBA", (len(colours), 1))
    image.putdata(colours)
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def test_image_with_two_colours_passes():
    assert count_colours(image_of((1, 2, 3, 255), (3, 2, 1, 255))) == 2


def test_image_with_a_single_colour_is_an_error():
    with pytest.raises(LocalError, match="single colour"):
        count_colours(image_of((0, 0, 0, 0), (0, 0, 0, 0)))
