"""What the client makes of files, of answers, and of a job that moves."""

import io
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest
from rich.console import Console

from geolathe import Client, Error, Job, Refused, Unreachable, display
from geolathe.errors import refusal
from geolathe.sending import find_sidecars, send_file, sidecar_names


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


class Desk:
    """Grants addresses of blocks of 64 kB."""

    granted = 0

    def post(self, path, body):
        name = body["name"]
        self.granted += 1
        where = {"container_name": "bronze", "blob_name": name, "is_there": False}
        return where | {
            "upload_url": f"https://storage/{name}?sig={self.granted}",
            "block_size": 2**16,
        }


def sent(file, during=lambda: None, status=201):
    """What reaches storage of a file to which something happens while it is sent."""
    arrived = []

    def take(request):
        during()
        arrived.append(request.read())
        return httpx.Response(status)

    with httpx.Client(transport=httpx.MockTransport(take)) as storage:
        send_file(Desk(), storage, file, None, None)
    return arrived


def test_a_file_goes_block_by_block_and_then_their_list(tmp_path):
    file = tmp_path / "a.tif"
    file.write_bytes(bytes(2**17 + 1))
    *blocks, listed = sent(file)
    assert [len(block) for block in blocks] == [2**16, 2**16, 1]
    assert listed.count(b"<Latest>") == 3


@pytest.mark.parametrize("now", [bytes(2**17 + 1), bytes(2**16), b"", bytes(2**16) + b"!" * 2**16])
def test_a_file_that_changes_while_it_is_sent_is_not_shown(tmp_path, now):
    file = tmp_path / "a.tif"
    file.write_bytes(bytes(2**17))
    with pytest.raises(Error, match=r"a\.tif changed while it was sent"):
        sent(file, lambda: file.write_bytes(now))


def test_a_permission_that_ends_on_the_way_is_asked_for_again(tmp_path):
    file, desk, asked = tmp_path / "a.tif", Desk(), []
    file.write_bytes(bytes(2**17))

    def take(request):
        asked.append(str(request.url))
        return httpx.Response(403 if len(asked) in (2, 4) else 201)

    with httpx.Client(transport=httpx.MockTransport(take)) as storage:
        send_file(desk, storage, file, None, None)
    assert ["sig=1" in url for url in asked] == [True, True, False, False, False]
    assert desk.granted == 3


def test_a_permission_that_is_none_is_told(tmp_path):
    (tmp_path / "a.tif").write_bytes(b"0")
    with pytest.raises(Refused, match="HTTP 403"):
        sent(tmp_path / "a.tif", status=403)


def test_an_empty_file_is_not_sent(tmp_path):
    (tmp_path / "a.tif").touch()
    with pytest.raises(Error, match=r"a\.tif is empty"):
        sent(tmp_path / "a.tif")


def test_what_json_cannot_hold_is_refused_in_words():
    with Client("http://127.0.0.1:9/api", "key") as client, pytest.raises(Error, match="as JSON"):
        client.submit("hello_world", n=float("nan"))


class Stranger(BaseHTTPRequestHandler):
    """A web server that is no Geolathe."""

    def do_GET(self):
        moved = self.path.startswith("/moved")
        body = b"" if moved else b"<html>Welcome!</html>"
        self.send_response(301 if moved else 200)
        self.send_header("Location", "https://elsewhere/api")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def stranger():
    with ThreadingHTTPServer(("127.0.0.1", 0), Stranger) as server:
        threading.Thread(target=server.serve_forever).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_a_server_that_is_no_geolathe_is_told(stranger):
    with Client(f"{stranger}/api", "key") as client:
        with pytest.raises(Error, match="/api/job-types does not answer in JSON"):
            client.types()
        with pytest.raises(Error, match="does not answer in JSON"):
            next(client.jobs())


def test_whoever_waits_for_an_api_that_is_away_is_told_once(caplog):
    with Client("http://127.0.0.1:9/api", "key", patience=1) as client, pytest.raises(Unreachable):
        client.types()
    [told] = [record.message for record in caplog.records if record.name.startswith("geolathe")]
    assert told.startswith("http://127.0.0.1:9/api/ does not answer") and "again for 1 s" in told


def test_an_api_that_moved_is_told(stranger):
    with Client(f"{stranger}/moved", "key") as client, pytest.raises(Refused) as refused:
        client.types()
    assert "it is at https://elsewhere/api" in str(refused.value)


def test_a_narrow_terminal_shows_the_beginning_of_every_id():
    data = {"job_id": "0123456789abcdef" * 4, "job_type": "hello_world", "status": "completed"}
    more = {"stage": 2, "total_stages": 2, "created_at": "2026-11-23T18:30:00Z", "parameters": {}}
    printed = io.StringIO()
    Console(file=printed, width=30).print(display.job_table([Job(Desk(), data | more)]))
    assert "0123456789ab" in printed.getvalue()


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
