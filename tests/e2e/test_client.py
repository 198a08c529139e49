"""The command `geolathe` and its Python client against the running product."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import rasterio

from geolathe import Client, Error, JobEnded, Refused, Unreachable
from local.stack.environment import BRONZE, ROOT
from tests.e2e.test_process_raster import SAMPLE


@pytest.fixture
def client(product):
    with Client(product.environment.api, product.environment.keys.function_key) as client:
        yield client


@pytest.fixture
def geolathe(product):
    """Runs the command as a shell would."""
    told = {
        "GEOLATHE_URL": product.environment.api,
        "GEOLATHE_KEY": product.environment.keys.function_key,
    }

    def run(*words, output=subprocess.PIPE, **environment):
        return subprocess.run(
            [sys.executable, "-m", "geolathe", *map(str, words)],
            env={**os.environ, **told, **environment},
            cwd=ROOT,
            stdout=output,
            stderr=subprocess.PIPE,
            text=True,
            timeout=120,
            check=False,
        )

    return run


@pytest.fixture
def bare(tmp_path):
    """A raster that says no CRS."""
    path = tmp_path / "bare.tif"
    with rasterio.open(
        path, "w", driver="GTiff", width=32, height=32, count=1, dtype="uint8",
        transform=rasterio.Affine(2, 0, 500_000, 0, -2, 4_000_000),
    ) as raster:  # fmt: skip
        raster.write(np.arange(1024, dtype="uint8").reshape(1, 32, 32))
    return path


def test_a_raster_becomes_a_map_in_three_lines_of_python(client):
    source = client.upload(SAMPLE, "client/python.tif")
    seen = []
    job = client.submit("process_raster", source, output_folder="client").wait(
        progress=lambda job: seen.append(job.progress)
    )
    assert job.result["share_url"].startswith("http")
    assert seen == sorted(seen) and seen[-1] == 1
    again = client.submit("process_raster", source, output_folder="client")
    assert (again.id, again.is_new, again.result) == (job.id, False, job.result)


def test_a_large_file_goes_in_blocks(client, product, tmp_path):
    path = tmp_path / "large.tif"
    path.write_bytes(os.urandom(20 * 2**20))
    seen = []
    source = client.upload(path, "client/large.tif", lambda sent, total: seen.append(sent / total))
    with product.storage as storage:
        blob = storage.get_blob_client(source["container_name"], source["blob_name"])
        assert blob.download_blob().readall() == path.read_bytes()
    assert len(seen) == 3 and seen[-1] == 1
    again = []
    client.upload(path, "client/large.tif", lambda sent, total: again.append(sent))
    assert again == [path.stat().st_size]


def test_two_who_send_to_one_name_at_once_do_not_mix_their_files(product, tmp_path):
    files = [tmp_path / "a.tif", tmp_path / "b.tif"]
    barrier, refused = threading.Barrier(2), []

    def send(file):
        file.write_bytes(file.stem.encode() * (24 * 2**20))
        told = product.environment.api, product.environment.keys.function_key
        with Client(*told) as client:
            barrier.wait()
            try:
                client.upload(file, "client/both.tif")
            except Error as error:
                refused.append(str(error))

    threads = [threading.Thread(target=send, args=(file,)) for file in files]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with product.storage as storage:
        blob = storage.get_blob_client(BRONZE, "client/both.tif").download_blob().readall()
    assert blob in [file.read_bytes() for file in files]
    assert all("somebody else sent client/both.tif" in each for each in refused)


def test_a_file_of_any_size_takes_no_more_memory(product, tmp_path):
    path = tmp_path / "sparse.tif"
    with path.open("wb") as file:
        file.write(os.urandom(32))
        file.truncate(200 * 2**20)
    program = """
import re, sys
from pathlib import Path
from geolathe import Client
Client(*sys.argv[1:3]).upload(sys.argv[3], "client/sparse.tif")
print(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1])
"""
    told = product.environment.api, product.environment.keys.function_key, str(path)
    done = subprocess.run(
        [sys.executable, "-c", program, *told], cwd=ROOT, capture_output=True, check=True
    )
    assert int(done.stdout) < 80 * 2**10


def test_a_failed_job_says_why(client, bare):
    job = client.submit("process_raster", client.upload(bare, "client/bare.tif"))
    with pytest.raises(JobEnded, match=r"CRS_MISSING.*input_crs") as ended:
        job.wait()
    assert ended.value.job.status == "failed"
    [task] = [task for task in job.tasks() if task["error"]]
    assert task["error"]["code"] == "CRS_MISSING"
    assert "task_failed" in [event["kind"] for event in job.events()]


def test_jobs_are_cancelled_and_refusals_are_typed(client):
    job = client.submit("hello_world", n=3_000, message="client cancel").cancel()
    assert job.status == "cancelled"
    with pytest.raises(Refused) as refused:
        client.retry(job.id)
    assert (refused.value.status, refused.value.code) == (409, "STATE_CONFLICT")
    with pytest.raises(Refused, match="n: Input should be") as refused:
        client.submit("hello_world", n=-1)
    assert refused.value.errors[0]["field"] == "n"


def test_a_time_limit_ends_the_waiting_and_not_the_job(client):
    job = client.submit("hello_world", n=3_000, message="client timeout")
    with pytest.raises(Error, match=r"after 0\.2 s the job is (queued|processing)"):
        job.wait(timeout=0.2)
    assert job.cancel().status == "cancelled"


def test_jobs_are_listed_lazily_over_pages(client):
    for number in range(3):
        client.submit("hello_world", n=0, message=f"client list {number}").wait()
    listed = [job.id for job in client.jobs(status="completed", job_type="hello_world")]
    assert len(listed) == len(set(listed)) >= 3


def test_nobody_there_is_told(monkeypatch):
    monkeypatch.delenv("GEOLATHE_URL", raising=False)
    with pytest.raises(Unreachable, match="GEOLATHE_URL"):
        Client()
    with Client("http://127.0.0.1:9/api", "key", patience=0) as client, pytest.raises(Unreachable):
        client.types()


def test_submit_watch_and_show(geolathe, tmp_path):
    raster = shutil.copy(SAMPLE, tmp_path / "cli.tif")
    done = geolathe("submit", raster, "output_folder=cli")
    assert done.returncode == 0, done.stderr
    job_id = done.stdout.split()[1]
    assert "map: http" in done.stdout and "create_cog" in done.stdout
    again = geolathe("submit", raster, "output_folder=cli")
    assert "(known already)" in again.stdout and again.returncode == 0
    shown = json.loads(geolathe("show", job_id[:16], "--json").stdout)
    assert shown["job_id"] == job_id and shown["result_data"]["share_url"] in done.stdout
    watched = geolathe("watch", job_id)
    assert watched.returncode == 0 and shown["result_data"]["share_url"] in watched.stdout
    listed = json.loads(geolathe("jobs", "--type", "process_raster", "--json").stdout)
    assert job_id in [job["job_id"] for job in listed]


def test_the_reason_of_a_failure_is_told_and_the_exit_code_too(geolathe, bare):
    failed = geolathe("submit", bare)
    assert failed.returncode == 1 and "CRS_MISSING" in failed.stdout
    job_id = failed.stdout.split()[1]
    shown = geolathe("show", job_id).stdout
    assert "validate_raster 0, attempt 1: CRS_MISSING" in shown and "input_crs" in shown
    fixed = geolathe("submit", bare, "input_crs=EPSG:32618")
    assert fixed.returncode == 0, fixed.stdout
    assert geolathe("retry", job_id).returncode == 1
    assert geolathe("cancel", job_id).returncode == 3


@pytest.mark.parametrize(
    ("words", "environment", "code", "said"),
    [
        (["show", "0" * 64], {}, 3, "there is no job"),
        (["show", "nothing"], {}, 1, "no job among"),
        (["submit", "missing.tif"], {}, 1, "there is no file missing.tif"),
        (["submit", "--type", "circles", "n=1"], {}, 3, "circles"),
        (["submit", "--type", "hello_world", "n=-1"], {}, 3, "n: Input should be"),
        (["types"], {"GEOLATHE_KEY": "wrong"}, 3, "the function key is missing or wrong"),
        (["types"], {"GEOLATHE_KEY": "k\u00e9y"}, 1, "visible ASCII"),
        (["types"], {"GEOLATHE_URL": ""}, 6, "GEOLATHE_URL"),
        (["types"], {"GEOLATHE_URL": "http://"}, 6, "'http://' is no address"),
        (["types"], {"GEOLATHE_URL": "http://::1"}, 6, "'http://::1' is no address"),
        (["paint"], {}, 2, "invalid choice"),
        (["jobs", "--limit", "-1"], {}, 2, "must be a whole number from 1"),
        (["submit", "/tmp"], {}, 1, "/tmp is a folder"),
        (["submit", "/dev/null"], {}, 1, "there is no file /dev/null"),
        (["submit", "samples/bahamas_landsat7.tif", "gold"], {}, 1, "'gold' is not key=value"),
        (["submit", "--type", "hello_world", "n=1", "n=2"], {}, 1, "n is given twice"),
        (["submit", "--type", "hello_world", "n=1e400"], {}, 3, "n: Input should be"),
        (["submit", "--type", "hello_world", "n=NaN"], {}, 3, "n: Input should be"),
        (["submit", "--type", "hello_world", "message=\udcff"], {}, 1, "cannot be sent as JSON"),
        (["submit", "--type", "../health", "n=1"], {}, 3, "there is no job type '..%2Fhealth'"),
        (["show", "../" * 22], {}, 3, "there is no job '..%2F"),
    ],
)
def test_what_is_wrong_is_said_and_told_by_the_exit_code(geolathe, words, environment, code, said):
    done = geolathe(*words, **environment)
    assert (done.returncode, done.stdout) == (code, "") and said in done.stderr


def test_an_address_that_is_not_the_api_is_told(geolathe, product):
    root = product.environment.api.removesuffix("/api")
    done = geolathe("types", GEOLATHE_URL=root)
    assert done.returncode == 3 and f"nothing at {root}/job-types" in done.stderr


@pytest.mark.parametrize(
    ("words", "code", "status"),
    [
        (["show", "0" * 64], 3, 404),
        (["submit", "--type", "hello_world", "n=-1"], 3, 422),
        (["submit", "missing.tif"], 1, None),
        (["types", "--url", "nowhere"], 6, None),
    ],
)
def test_programs_are_told_what_is_wrong_in_json(geolathe, words, code, status):
    done = geolathe(*words, "--json")
    error = json.loads(done.stdout)["error"]
    assert done.returncode == code and error["message"] in done.stderr
    assert error.get("status") == status


@pytest.mark.parametrize("words", ["jobs", "jobs --json", "types", "submit --type hello_world n=1"])
def test_a_reader_that_goes_away_is_no_fault(geolathe, words):
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as output:
        done = geolathe(*words.split(), output=output)
    assert (done.returncode, done.stderr) == (141, "")


@pytest.mark.parametrize("words", ["jobs", "jobs --json"])
def test_output_that_cannot_be_written_is_told(geolathe, words):
    with Path("/dev/full").open("w") as output:
        done = geolathe(*words.split(), output=output)
    assert done.returncode == 1 and "No space left" in done.stderr
    assert "Traceback" not in done.stderr


def test_whoever_stops_watching_is_told_that_the_job_goes_on(product):
    told = ["--url", product.environment.api, "--key", product.environment.keys.function_key]
    inputs = ["--type", "hello_world", "n=50000", "message=interrupt"]
    watching = subprocess.Popen(
        [sys.executable, "-m", "geolathe", "submit", *told, *inputs],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    job_id = watching.stdout.readline().split()[1]
    watching.send_signal(signal.SIGINT)
    _, said = watching.communicate(timeout=30)
    assert watching.returncode == 130 and "goes on" in said and "Traceback" not in said
    with product.api as api:
        assert api.post(f"/jobs/{job_id}/cancel").status_code == 202


def test_what_is_no_terminal_gets_a_line_for_each_job(geolathe):
    message = "long " * 39 + "end"
    geolathe("submit", "--type", "hello_world", "n=1", f"message={message}", "--no-wait")
    listed = geolathe("jobs", "--limit", "1", COLUMNS="40").stdout.splitlines()
    assert len(listed) == 2 and listed[1].rstrip().endswith(message)


def test_letters_that_the_output_lacks_are_spelled(geolathe):
    done = geolathe(
        "submit", "--type", "hello_world", "n=1", "message=\u00e9", PYTHONIOENCODING="ascii"
    )
    assert done.returncode == 0 and "\\xe9, number 0" in done.stdout


def test_a_file_may_have_an_equals_sign_in_its_name(geolathe, bare):
    named = bare.rename(bare.with_name("a=b.tif"))
    assert "CRS_MISSING" in geolathe("submit", named).stdout


def test_text_of_others_does_not_drive_the_terminal(geolathe):
    done = geolathe("submit", "--type", "hello_world", "n=1", "message=\x1b[2Jgone")
    assert done.returncode == 0 and "\x1b[2J" not in done.stdout and "gone" in done.stdout
    listed = geolathe("jobs", "--limit", "3").stdout
    assert "\x1b[2J" not in listed
