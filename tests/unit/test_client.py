"""What the client makes of files, of answers, and of a job that moves."""

import io
import json

import httpx
import pytest
from rich.console import Console

from geolathe import display
from geolathe.errors import refusal
from geolathe.sending import find_sidecars, sidecar_names


def told(status, text):
    return str(refusal(httpx.Response(status, text=text)))


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
    assert told(422, json.dumps(problem)).splitlines() == [
        "HTTP 422: A parameter is wrong",
        "  output_tier: must be one of",
        "  target_crs: is no CRS",
    ]


def test_problem_without_fields_is_told_with_its_detail():
    answer = told(404, json.dumps({"title": "No blob", "detail": "x.tif in bronze"}))
    assert answer == "HTTP 404: No blob: x.tif in bronze"


@pytest.mark.parametrize("text", ["<html>gateway</html>", "[1]", "", "{}"])
def test_answer_that_is_no_problem_document_is_told_as_it_is(text):
    answer = told(502, text)
    assert answer.startswith("HTTP 502: ")
    assert (text.strip("{}") or "HTTP 502") in answer


def test_a_missing_key_is_told_with_its_cure():
    assert "GEOLATHE_KEY" in told(401, "")


class Moving:
    """A job that is where it is told to be."""

    def __init__(self, *states):
        self.states = states
        self.stages = []

    def follow(self):
        for state in self.states:
            self.stages = state
            yield self


def test_each_stage_is_told_once_for_each_status():
    def stages(*states):
        names = ["validate", "create_cog"]
        return [
            {"stage": n, "name": name, "status": s, "completed_tasks": 0, "total_tasks": 1}
            for n, (name, s) in enumerate(zip(names, states, strict=True), 1)
        ]

    first = stages("processing", "pending")
    job, printed = Moving(first, first, stages("completed", "processing")), io.StringIO()
    assert display.follow(job, Console(file=printed, width=200)) is job
    assert [line.split()[:3] for line in printed.getvalue().splitlines()] == [
        ["validate", "processing", "(0/1)"],
        ["validate", "completed", "(0/1)"],
        ["create_cog", "processing", "(0/1)"],
    ]
