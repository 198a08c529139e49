"""What `./dev submit` and `./dev demo` make of their arguments, of answers and of pictures."""

import io

import pytest
from PIL import Image

from local.demo import count_colours, tile_at, tile_url
from local.errors import LocalError
from local.submission import parse_arguments, why_it_failed


def test_values_that_read_as_json_are_that():
    given = ["a=1", "b=true", "c=null", "d=EPSG:3857", 'e={"x": [1]}', "f=", "g=a=b", "h=007"]
    assert parse_arguments(given) == {
        "a": 1,
        "b": True,
        "c": None,
        "d": "EPSG:3857",
        "e": {"x": [1]},
        "f": "",
        "g": "a=b",
        "h": "007",
    }


@pytest.mark.parametrize("given", ["analysis", "=3"])
def test_argument_without_key_is_refused(given):
    with pytest.raises(LocalError, match="is not key=value"):
        parse_arguments([given])


def test_completed_job_has_no_reason():
    assert why_it_failed({"status": "completed"}) is None


def test_failed_job_says_why():
    failed = {"status": "failed", "error": {"code": "NO_CRS", "message": "give input_crs"}}
    assert why_it_failed(failed) == "the job is failed: NO_CRS: give input_crs"


def test_cancelled_job_without_error_is_named():
    assert why_it_failed({"status": "cancelled", "error": None}) == "the job is cancelled"


@pytest.mark.parametrize(
    ("longitude", "latitude", "zoom", "tile"),
    [(0.0, 0.0, 0, (0, 0)), (-77.8, 24.5, 8, (72, 110)), (13.4, 52.5, 10, (550, 335))],
)
def test_tile_of_a_point(longitude, latitude, zoom, tile):
    assert tile_at(longitude, latitude, zoom) == tile


def test_tile_is_asked_for_inside_the_raster():
    tilejson = {
        "bounds": [-78.9, 23.5, -76.5, 25.5],
        "minzoom": 7,
        "maxzoom": 9,
        "tiles": ["http://t/{z}/{x}/{y}.png?url=/vsiaz/silver/x.tif"],
    }
    assert tile_url(tilejson).startswith("http://t/8/72/110.png?url=")


def picture(*colours):
    image = Image.new("RGBA", (len(colours), 1))
    image.putdata(colours)
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def test_picture_of_two_colours_is_a_map():
    assert count_colours(picture((1, 2, 3, 255), (3, 2, 1, 255))) == 2


def test_picture_of_one_colour_is_no_map():
    with pytest.raises(LocalError, match="one colour"):
        count_colours(picture((0, 0, 0, 0), (0, 0, 0, 0)))
