"""The client: sidecars, uploads, error responses, and the display of a job."""

import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest
from rich.console import Console

from core.uploads import RASTERS, UploadRequest
from geolathe import Client, Error, Job, Refused, Unreachable, display
from geolathe.cli import parse_parameters
from geolathe.download import download_asset
from geolathe.errors import parse_refusal
from geolathe.upload import find_sidecars, sidecar_names, upload_file

ROOT = Path(__file__).parents[2]


def message(status, text):
    return str(parse_refusal(httpx.Response(status, text=text)))


def test_sidecars_are_found_by_name_in_the_folder_of_the_raster(tmp_path):
    sidecars = ["map.tif.aux.xml", "map.tif.msk", "map.tif.ovr", "map.TFW", "map.wld", "map.prj"]
    others = ["map.tif", "map2.tif.aux.xml", "map.png", "map.pgw", "other.prj", "map.tif.bak"]
    for name in sidecars + others:
        (tmp_path / name).touch()
    assert {file.name for file in find_sidecars(tmp_path / "map.tif")} == set(sidecars)


@pytest.mark.parametrize(
    ("name", "world_file"),
    [
        ("a.tif", "a.tfw"),
        ("a.tiff", "a.tiffw"),
        ("a.tiff", "a.tfw"),
        ("A.JP2", "a.j2w"),
        ("a.png", "a.pgw"),
    ],
)
def test_world_files_have_the_names_that_gdal_reads(name, world_file):
    assert world_file in sidecar_names(name)


@pytest.mark.parametrize("suffix", RASTERS)
def test_the_api_accepts_every_sidecar_of_a_raster(suffix):
    for name in sidecar_names(f"a{suffix}"):
        assert UploadRequest(name=name, size=1).name == name


def test_raster_is_not_its_own_sidecar():
    assert "a.prj" not in sidecar_names("a.prj")


def test_the_message_lists_each_invalid_field():
    problem = {
        "title": "Invalid parameters",
        "detail": "output_tier: no; target_crs: no",
        "errors": [
            {"field": "output_tier", "value": "x", "message": "must be one of"},
            {"field": "target_crs", "value": 1, "message": "not a CRS"},
        ],
    }
    assert message(422, json.dumps(problem)).splitlines() == [
        "HTTP 422: Invalid parameters",
        "  output_tier: must be one of",
        "  target_crs: not a CRS",
    ]


def test_the_message_has_the_detail_of_a_problem_without_fields():
    response = json.dumps({"title": "No blob", "detail": "x.tif in bronze"})
    assert message(404, response) == "HTTP 404: No blob: x.tif in bronze"


@pytest.mark.parametrize("text", ["<html>gateway</html>", "[1]", "", "{}"])
def test_the_message_quotes_a_response_that_is_not_a_problem_document(text):
    quoted = message(502, text)
    assert quoted.startswith("HTTP 502: ")
    assert (text.strip("{}") or "HTTP 502") in quoted


def test_the_message_for_a_missing_key_names_the_variable():
    assert "GEOLATHE_KEY" in message(401, "")


class UploadApi:
    """Grants upload URLs with blocks of 64 kB."""

    granted = 0

    def post(self, path, body):
        name = body["name"]
        self.granted += 1
        blob = {"container_name": "bronze", "blob_name": name, "is_there": False}
        return blob | {
            "upload_url": f"https://storage/{name}?sig={self.granted}",
            "block_size": 2**16,
        }


def upload(file, during=lambda: None, status=201):
    """The bodies that storage receives; `during` is called for each of them."""
    received = []

    def receive(request):
        during()
        received.append(request.read())
        return httpx.Response(status)

    with httpx.Client(transport=httpx.MockTransport(receive)) as storage:
        upload_file(UploadApi(), storage, file, None, None)
    return received


def test_a_file_is_sent_in_blocks_and_then_committed(tmp_path):
    file = tmp_path / "a.tif"
    file.write_bytes(bytes(2**17 + 1))
    *blocks, block_list = upload(file)
    assert [len(block) for block in blocks] == [2**16, 2**16, 1]
    assert block_list.count(b"<Latest>") == 3


@pytest.mark.parametrize(
    "content", [bytes(2**17 + 1), bytes(2**16), b"", bytes(2**16) + b"!" * 2**16]
)
def test_a_file_that_changes_during_the_upload_is_not_committed(tmp_path, content):
    file = tmp_path / "a.tif"
    file.write_bytes(bytes(2**17))
    with pytest.raises(Error, match=r"a\.tif changed during the upload"):
        upload(file, lambda: file.write_bytes(content))


def test_an_expired_upload_url_is_requested_again(tmp_path):
    file, api, urls = tmp_path / "a.tif", UploadApi(), []
    file.write_bytes(bytes(2**17))

    def receive(request):
        urls.append(str(request.url))
        return httpx.Response(403 if len(urls) in (2, 4) else 201)

    with httpx.Client(transport=httpx.MockTransport(receive)) as storage:
        upload_file(api, storage, file, None, None)
    assert ["sig=1" in url for url in urls] == [True, True, False, False, False]
    assert api.granted == 3


def test_a_rejected_upload_url_raises_refused(tmp_path):
    (tmp_path / "a.tif").write_bytes(b"0")
    with pytest.raises(Refused, match="HTTP 403"):
        upload(tmp_path / "a.tif", status=403)


def test_an_empty_file_is_not_uploaded(tmp_path):
    (tmp_path / "a.tif").touch()
    with pytest.raises(Error, match=r"a\.tif is empty"):
        upload(tmp_path / "a.tif")


def test_parameters_that_json_cannot_hold_are_rejected():
    with Client("http://127.0.0.1:9/api", "key") as client, pytest.raises(Error, match="as JSON"):
        client.submit("hello_world", n=float("nan"))


CONTENT = bytes(range(256)) * 1024
ASSET = {
    "blob_name": "folder/a_cog_analysis.tif",
    "url": "https://storage/a?sig=1",
    "size": len(CONTENT),
    "checksum": "1220" + hashlib.sha256(CONTENT).hexdigest(),
}


def interrupt():
    """The body of a response whose connection breaks in the middle."""
    yield CONTENT[:100_000]
    raise httpx.ReadError("connection reset")


def download(target, asset=ASSET, content=CONTENT, status=200):
    def respond(request):
        assert str(request.url) == asset["url"]
        return httpx.Response(status, content=content)

    with httpx.Client(transport=httpx.MockTransport(respond)) as storage:
        return download_asset(storage, asset, target, None)


def test_a_download_gets_the_name_of_the_blob(tmp_path):
    file = download(tmp_path)
    assert file == tmp_path / "a_cog_analysis.tif" and file.read_bytes() == CONTENT
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize(
    ("failure", "message"),
    [
        ({"content": CONTENT[:-1] + b"!"}, "does not match its checksum"),
        ({"content": CONTENT[:-1]}, "does not match its checksum"),
        ({"content": interrupt()}, "interrupted: connection reset"),
        ({"content": b"expired", "status": 403}, "HTTP 403: expired"),
        ({"asset": ASSET | {"checksum": None}}, "no SHA-256 checksum"),
        ({"asset": ASSET | {"checksum": "1114" + "0" * 40}}, "no SHA-256 checksum"),
    ],
)
def test_a_failed_download_leaves_no_file_and_keeps_the_old_one(tmp_path, failure, message):
    old = tmp_path / "a_cog_analysis.tif"
    old.write_bytes(b"old")
    with pytest.raises(Error, match=message):
        download(tmp_path, **failure)
    assert [(file.name, file.read_bytes()) for file in tmp_path.iterdir()] == [(old.name, b"old")]


JOB_ID = "0123456789abcdef" * 4


class EndlessJob(BaseHTTPRequestHandler):
    """An API with one job, which never ends. Requests are recorded in `server.requests`."""

    def do_POST(self):
        self.respond({"job_id": JOB_ID, "idempotent": False})

    def do_GET(self):
        self.respond({"job_id": JOB_ID, "job_type": "hello_world", "status": "processing"})

    def respond(self, body):
        self.server.requests.append((self.command, self.path))
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        content = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("ETag", '"1"')
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_):
        pass


@contextmanager
def started(*arguments, **environment):
    """The command as a process, killed after the block."""
    with subprocess.Popen(
        [sys.executable, "-m", "geolathe", *arguments],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT,
        env={**os.environ, **environment},
    ) as command:  # fmt: skip
        try:
            yield command
        finally:
            command.kill()


def test_an_interrupt_leaves_the_job_running():
    with ThreadingHTTPServer(("127.0.0.1", 0), EndlessJob) as server:
        server.requests = []
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/api"
        with started("submit", "--type", "hello_world", "--url", url) as command:
            assert command.stdout.readline() == f"job {JOB_ID}\n"
            while len(server.requests) < 3:  # the command follows the job
                time.sleep(0.01)
            command.send_signal(signal.SIGINT)
            _, error = command.communicate()
        server.shutdown()
    assert command.returncode == 130
    assert error == "geolathe: interrupted; the job keeps running\n"
    assert not [path for _, path in server.requests if path.endswith("/cancel")]


class EndlessFile(EndlessJob):
    """An API and storage account with one asset, whose download never ends."""

    def do_GET(self):
        if self.path.startswith("/api/"):
            host = f"http://127.0.0.1:{self.server.server_port}"
            self.respond(ASSET | {"url": f"{host}/storage"})
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        self.wfile.write(CONTENT[:100_000])
        self.server.interrupted.wait()


def test_an_interrupted_download_leaves_no_file(tmp_path):
    with ThreadingHTTPServer(("127.0.0.1", 0), EndlessFile) as server:
        server.requests, server.interrupted = [], threading.Event()
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/api"
        with started("get", "item", "--url", url, "--output", str(tmp_path)) as command:
            while not list(tmp_path.iterdir()) and command.poll() is None:
                time.sleep(0.01)
            command.send_signal(signal.SIGINT)
            _, error = command.communicate()
        server.interrupted.set()
        server.shutdown()
    assert (command.returncode, error) == (130, "geolathe: interrupted\n")
    assert list(tmp_path.iterdir()) == []


class OtherServer(BaseHTTPRequestHandler):
    """A web server that is not Geolathe."""

    def do_GET(self):
        moved = self.path.startswith("/moved")
        body = b"" if moved else b"<html>Welcome!</html>"
        self.send_response(301 if moved else 200)
        self.send_header("Location", "https://moved.example/api")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def other_server():
    with ThreadingHTTPServer(("127.0.0.1", 0), OtherServer) as server:
        threading.Thread(target=server.serve_forever).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_a_server_that_is_not_geolathe_is_reported(other_server):
    with Client(f"{other_server}/api", "key") as client:
        with pytest.raises(Error, match="/api/job-types is not JSON"):
            client.types()
        with pytest.raises(Error, match="is not JSON"):
            next(client.jobs())


def test_an_unreachable_api_is_logged_once(caplog):
    client = Client("http://127.0.0.1:9/api", "key", retry_seconds=1)
    with client, pytest.raises(Unreachable):
        client.types()
    [line] = [record.message for record in caplog.records if record.name.startswith("geolathe")]
    assert line.startswith("cannot reach http://127.0.0.1:9/api/") and "retrying for 1 s" in line


def test_a_redirect_names_the_new_url(other_server):
    with Client(f"{other_server}/moved", "key") as client, pytest.raises(Refused) as refused:
        client.types()
    assert "redirected to https://moved.example/api" in str(refused.value)


def test_a_narrow_terminal_shows_the_beginning_of_every_job_id():
    data = {"job_id": "0123456789abcdef" * 4, "job_type": "hello_world", "status": "completed"}
    more = {"stage": 2, "total_stages": 2, "created_at": "2026-11-23T18:30:00Z", "parameters": {}}
    printed = io.StringIO()
    Console(file=printed, width=30).print(display.render_jobs([Job(UploadApi(), data | more)]))
    assert "0123456789ab" in printed.getvalue()


class FakeJob:
    """A job with the given states in sequence."""

    def __init__(self, *states):
        self.states = states
        self.stages = []

    def follow(self):
        for state in self.states:
            self.stages = state
            yield self


def test_each_stage_is_printed_once_per_status():
    def stages(*states):
        names = ["validate", "create_cog"]
        return [
            {"stage": n, "name": name, "status": s, "completed_tasks": 0, "total_tasks": 1}
            for n, (name, s) in enumerate(zip(names, states, strict=True), 1)
        ]

    first = stages("processing", "pending")
    job, printed = FakeJob(first, first, stages("completed", "processing")), io.StringIO()
    assert display.follow(job, Console(file=printed, width=200)) is job
    assert [line.split()[:3] for line in printed.getvalue().splitlines()] == [
        ["validate", "processing", "(0/1)"],
        ["validate", "completed", "(0/1)"],
        ["create_cog", "processing", "(0/1)"],
    ]


def test_parameter_values_are_json_where_possible():
    given = ["a=1", "b=true", "c=null", "d=EPSG:3857", 'e={"x": [1]}', "f=", "g=a=b", "h=007"]
    assert parse_parameters(given) == {
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
def test_a_parameter_without_a_name_is_an_error(given):
    with pytest.raises(Error, match="key=value"):
        parse_parameters([given])


def test_an_interrupt_during_the_imports_prints_no_traceback(tmp_path):
    """The command imports a module named httpx that reports its import and then blocks."""
    (tmp_path / "httpx.py").write_text(
        "import time\nprint('importing', flush=True)\ntime.sleep(600)"
    )
    with started("jobs", PYTHONPATH=str(tmp_path)) as command:
        assert command.stdout.readline() == "importing\n"
        command.send_signal(signal.SIGINT)
        _, error = command.communicate()
    assert (command.returncode, error) == (-signal.SIGINT, "")


def print_outcome(result: dict) -> str:
    data = {"job_id": "a", "job_type": "j", "status": "completed", "result_data": result}
    printed = io.StringIO()
    Console(file=printed, width=200).print(display.render_outcome(Job(UploadApi(), data)))
    return printed.getvalue()


def test_the_map_of_each_collection_is_printed():
    one, other = "https://tiles.example.org/a", "https://tiles.example.org/b"
    several = [{"share_url": one}, {"share_url": None}, {"share_url": other}]
    assert f"map: {one}\nmap: {other}\n" in print_outcome({"collections": several})
    assert f"map: {one}" in print_outcome({"share_url": one, "collections": several[:1]})
    assert f"map: {one}" in print_outcome({"share_url": one})
    without = print_outcome({"share_url": None, "items": 3, "collections": several[1:2]})
    assert "map: " not in without and "items: 3" in without
