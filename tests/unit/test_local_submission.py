"""What `./dev submit` makes of its arguments, of the files beside a raster, and of answers."""

import io
import json

import pytest
from PIL import Image
from rich.console import Console

from local.demo import count_colours, tile_at, tile_url
from local.errors import LocalError
from local.submission import (
    _watch_lines,
    explain_problem,
    find_sidecars,
    parse_arguments,
    sidecar_names,
    why_it_failed,
)


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


def test_sidecars_are_found_beside_the_raster_by_name(tmp_path):
    belongs = ["map.tif.aux.xml", "map.tif.msk", "map.tif.ovr", "map.TFW", "map.wld", "map.prj"]
    others = ["map.tif", "map2.tif.aux.xml", "map.png", "map.jgw", "other.prj", "map.tif.bak"]
    for name in belongs + others:
        (tmp_path / name).touch()
    assert {file.name for file in find_sidecars(tmp_path / "map.tif")} == set(belongs)


@pytest.mark.parametrize(
    ("name", "world"),
    [("a.tif", "a.tfw"), ("a.tiff", "a.tiffw"), ("A.JP2", "a.j2w"), ("a.png", "a.pgw")],
)
def test_world_files_have_the_names_gdal_knows(name, world):
    assert world in sidecar_names(name)


def test_raster_is_not_its_own_sidecar():
    assert "a.prj" not in sidecar_names("a.prj")


def test_problem_is_told_with_each_field():
    problem = {
        "title": "A parameter is wrong",
        "detail": "output_tier: no; target_crs: no",
        "errors": [
            {"field": "output_tier", "value": "x", "message": "must be one of"},
            {"field": "target_crs", "value": 1, "message": "is no CRS"},
        ],
    }
    assert explain_problem(422, json.dumps(problem)).splitlines() == [
        "HTTP 422: A parameter is wrong",
        "  output_tier: must be one of",
        "  target_crs: is no CRS",
    ]


def test_problem_without_fields_is_told_with_its_detail():
    told = explain_problem(404, json.dumps({"title": "No blob", "detail": "x.tif in bronze"}))
    assert told == "HTTP 404: No blob: x.tif in bronze"


@pytest.mark.parametrize("text", ["<html>gateway</html>", "[1]", "", "{}"])
def test_answer_that_is_no_problem_document_is_told_as_it_is(text):
    told = explain_problem(502, text)
    assert told.startswith("HTTP 502: ")
    assert (text or "no reason given") in told


def test_completed_job_has_no_reason():
    assert why_it_failed({"status": "completed"}) is None


def test_failed_job_says_why():
    failed = {"status": "failed", "error": {"code": "NO_CRS", "message": "give input_crs"}}
    assert why_it_failed(failed) == "the job is failed: NO_CRS: give input_crs"


def test_cancelled_job_without_error_is_named():
    assert why_it_failed({"status": "cancelled", "error": None}) == "the job is cancelled"


def test_each_stage_is_told_once_for_each_status():
    def status(*stages):
        names = ["validate", "create_cog"]
        rows = [
            {"stage": n, "name": name, "status": s, "completed_tasks": 0, "total_tasks": 1}
            for n, (name, s) in enumerate(zip(names, stages, strict=True), 1)
        ]
        return {"status": "processing", "total_stages": 2, "stages": rows}

    told = io.StringIO()
    statuses = [
        status("processing", "pending"),
        status("processing", "pending"),
        status("completed", "processing"),
    ]
    assert _watch_lines(iter(statuses), Console(file=told, width=200)) is statuses[-1]
    assert [line.split()[:3] for line in told.getvalue().splitlines()] == [
        ["validate", "processing", "(0/1)"],
        ["validate", "completed", "(0/1)"],
        ["create_cog", "processing", "(0/1)"],
    ]


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
