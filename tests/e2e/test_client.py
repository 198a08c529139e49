"""The command `geolathe` and the Python client against the running product."""

import json
import os
import shutil
import subprocess
import sys
import threading
import uuid
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
    """Run the command as a process."""
    settings = {
        "GEOLATHE_URL": product.environment.api,
        "GEOLATHE_KEY": product.environment.keys.function_key,
    }

    def run(*words, output=subprocess.PIPE, **environment):
        return subprocess.run(
            [sys.executable, "-m", "geolathe", *map(str, words)],
            env={**os.environ, **settings, **environment},
            cwd=ROOT,
            stdout=output,
            stderr=subprocess.PIPE,
            text=True,
            timeout=600,
            check=False,
        )

    return run


@pytest.fixture
def bare(tmp_path):
    """A raster without a CRS."""
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


def test_a_large_file_is_uploaded_in_blocks(client, product, tmp_path):
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


def test_concurrent_uploads_to_one_name_do_not_mix(product, tmp_path):
    files = [tmp_path / "a.tif", tmp_path / "b.tif"]
    barrier, failures = threading.Barrier(2), []

    def send(file):
        file.write_bytes(file.stem.encode() * (24 * 2**20))
        settings = product.environment.api, product.environment.keys.function_key
        with Client(*settings) as client:
            barrier.wait()
            try:
                client.upload(file, "client/both.tif")
            except Error as error:
                failures.append(str(error))

    threads = [threading.Thread(target=send, args=(file,)) for file in files]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with product.storage as storage:
        blob = storage.get_blob_client(BRONZE, "client/both.tif").download_blob().readall()
    assert blob in [file.read_bytes() for file in files]
    assert all("client/both.tif was uploaded by another client" in each for each in failures)


def test_memory_does_not_grow_with_the_size_of_the_file(product, tmp_path):
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
    arguments = product.environment.api, product.environment.keys.function_key, str(path)
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments], cwd=ROOT, capture_output=True, check=True
    )
    assert int(done.stdout) < 80 * 2**10


def test_a_failed_job_raises_its_error(client, bare):
    job = client.submit("process_raster", client.upload(bare, "client/bare.tif"))
    with pytest.raises(JobEnded, match=r"CRS_MISSING.*input_crs") as ended:
        job.wait()
    assert ended.value.job.status == "failed"
    [task] = [task for task in job.tasks() if task["error"]]
    assert task["error"]["code"] == "CRS_MISSING"
    assert "task_failed" in [event["kind"] for event in job.events()]


def test_cancelling_and_typed_refusals(client):
    job = client.submit("hello_world", n=3_000, message="client cancel").cancel()
    assert job.status == "cancelled"
    with pytest.raises(Refused) as refused:
        client.retry(job.id)
    assert (refused.value.status, refused.value.code) == (409, "STATE_CONFLICT")
    with pytest.raises(Refused, match="n: Input should be") as refused:
        client.submit("hello_world", n=-1)
    assert refused.value.errors[0]["field"] == "n"


def test_a_timeout_ends_the_wait_but_not_the_job(client, product):
    with product.running("hello_world", n=20_000, message=uuid.uuid4().hex) as job_id:
        job = client.show(job_id)
        with pytest.raises(Error, match=r"after 0\.2 s: the job is (queued|processing)"):
            job.wait(timeout=0.2)
        assert job.cancel().status == "cancelled"


def test_jobs_are_listed_lazily_over_pages(client):
    for number in range(3):
        client.submit("hello_world", n=0, message=f"client list {number}").wait()
    listed = [job.id for job in client.jobs(status="completed", job_type="hello_world")]
    assert len(listed) == len(set(listed)) >= 3


def test_a_missing_or_unreachable_api_raises_unreachable(monkeypatch):
    monkeypatch.delenv("GEOLATHE_URL", raising=False)
    with pytest.raises(Unreachable, match="GEOLATHE_URL"):
        Client()
    client = Client("http://127.0.0.1:9/api", "key", retry_seconds=0)
    with client, pytest.raises(Unreachable):
        client.types()


def test_submit_watch_and_show(geolathe, tmp_path):
    raster = shutil.copy(SAMPLE, tmp_path / "cli.tif")
    done = geolathe("submit", raster, "output_folder=cli")
    assert done.returncode == 0, done.stderr
    job_id = done.stdout.split()[1]
    assert "map: http" in done.stdout and "create_cog" in done.stdout
    again = geolathe("submit", raster, "output_folder=cli")
    assert "(already known)" in again.stdout and again.returncode == 0
    shown = json.loads(geolathe("show", job_id[:16], "--json").stdout)
    assert shown["job_id"] == job_id and shown["result_data"]["share_url"] in done.stdout
    watched = geolathe("watch", job_id)
    assert watched.returncode == 0 and shown["result_data"]["share_url"] in watched.stdout
    listed = json.loads(geolathe("jobs", "--type", "process_raster", "--json").stdout)
    assert job_id in [job["job_id"] for job in listed]


def test_a_failed_job_prints_its_error_and_sets_the_exit_code(geolathe, bare):
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
    ("words", "environment", "code", "message"),
    [
        (["show", "0" * 64], {}, 3, "no job has the id"),
        (["show", "nothing"], {}, 1, "none of the newest 1000 jobs"),
        (["submit", "missing.tif"], {}, 1, "no such file: missing.tif"),
        (["submit", "--type", "circles", "n=1"], {}, 3, "circles"),
        (["submit", "--type", "hello_world", "n=-1"], {}, 3, "n: Input should be"),
        (["types"], {"GEOLATHE_KEY": "wrong"}, 3, "function key missing or invalid"),
        (["types"], {"GEOLATHE_KEY": "k\u00e9y"}, 1, "only visible ASCII"),
        (["types"], {"GEOLATHE_URL": ""}, 6, "API URL not set"),
        (["types"], {"GEOLATHE_URL": "http://"}, 6, "not a valid API URL: 'http://'"),
        (["types"], {"GEOLATHE_URL": "http://::1"}, 6, "not a valid API URL: 'http://::1'"),
        (["paint"], {}, 2, "invalid choice"),
        (["jobs", "--limit", "-1"], {}, 2, "must be a whole number of at least 1"),
        (["submit", "/tmp"], {}, 1, "/tmp is a directory"),
        (["submit", "/dev/null"], {}, 1, "no such file: /dev/null"),
        (
            ["submit", "samples/bahamas_landsat7.tif", "gold"],
            {},
            1,
            "expected key=value, got 'gold'",
        ),
        (["submit", "--type", "hello_world", "n=1", "n=2"], {}, 1, "parameter n is given twice"),
        (["submit", "--type", "hello_world", "n=1e400"], {}, 3, "n: Input should be"),
        (["submit", "--type", "hello_world", "n=NaN"], {}, 3, "n: Input should be"),
        (["submit", "--type", "hello_world", "message=\udcff"], {}, 1, "cannot be encoded as JSON"),
        (["submit", "--type", "../health", "n=1"], {}, 3, "unknown job type '..%2Fhealth'"),
        (["show", "../" * 22], {}, 3, "no job has the id '..%2F"),
    ],
)
def test_errors_have_a_message_and_an_exit_code(geolathe, words, environment, code, message):
    done = geolathe(*words, **environment)
    assert (done.returncode, done.stdout) == (code, "") and message in done.stderr


def test_a_url_without_api_is_reported(geolathe, product):
    root = product.environment.api.removesuffix("/api")
    done = geolathe("types", GEOLATHE_URL=root)
    assert done.returncode == 3 and f"not found: {root}/job-types" in done.stderr


@pytest.mark.parametrize(
    ("words", "code", "status"),
    [
        (["show", "0" * 64], 3, 404),
        (["submit", "--type", "hello_world", "n=-1"], 3, 422),
        (["submit", "missing.tif"], 1, None),
        (["types", "--url", "nowhere"], 6, None),
    ],
)
def test_errors_as_json(geolathe, words, code, status):
    done = geolathe(*words, "--json")
    error = json.loads(done.stdout)["error"]
    assert done.returncode == code and error["message"] in done.stderr
    assert error.get("status") == status


@pytest.mark.parametrize("words", ["jobs", "jobs --json", "types", "submit --type hello_world n=1"])
def test_a_closed_pipe_ends_the_command_quietly(geolathe, words):
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as output:
        done = geolathe(*words.split(), output=output)
    assert (done.returncode, done.stderr) == (141, "")


@pytest.mark.parametrize("words", ["jobs", "jobs --json"])
def test_a_full_disk_is_reported(geolathe, words):
    with Path("/dev/full").open("w") as output:
        done = geolathe(*words.split(), output=output)
    assert done.returncode == 1 and "No space left" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_pipe_gets_one_line_per_job(geolathe):
    message = "long " * 39 + "end"
    submitted = geolathe(
        "submit", "--type", "hello_world", "n=1", f"message={message}", "--no-wait"
    )
    prefix = submitted.stdout.split()[1][:12]
    listed = geolathe("jobs", "--type", "hello_world", "--limit", "500", COLUMNS="40").stdout
    [line] = [line for line in listed.splitlines() if line.startswith(prefix)]
    assert line.rstrip().endswith(message)


@pytest.fixture(scope="module")
def all_tiers(product):
    """The result of a job with a COG for each tier."""
    source = product.upload(SAMPLE, f"client/get-{os.getpid()}.tif")
    job = product.run("process_raster", **source, output_tier="all", collection_id="client-get")
    return job["result_data"]


def test_every_tier_of_an_item_is_downloaded_and_verified(client, product, all_tiers, tmp_path):
    item = all_tiers["stac"]["item_id"]
    assert {cog["cog_tier"] for cog in all_tiers["cogs"]} == {
        "visualization",
        "analysis",
        "archive",
    }
    for cog in all_tiers["cogs"]:
        seen = []
        file = client.get(item, cog["cog_tier"], collection="client-get", target=tmp_path)
        with product.storage as storage:
            blob = storage.get_blob_client(cog["cog_container"], cog["cog_blob"])
            assert file.read_bytes() == blob.download_blob().readall()
        assert file == tmp_path / Path(cog["cog_blob"]).name
    seen = []
    shown = client.get(
        item, collection="client-get", target=tmp_path / "shown.tif",
        progress=lambda received, total: seen.append(received / total),
    )  # fmt: skip
    assert seen == sorted(seen) and seen[-1] == 1
    name = Path(all_tiers["cog"]["cog_blob"]).name
    assert shown.read_bytes() == (tmp_path / name).read_bytes()
    assert len(list(tmp_path.iterdir())) == 4


def test_get_prints_the_file(geolathe, all_tiers, tmp_path):
    item = all_tiers["stac"]["item_id"]
    words = ["get", item, "--collection", "client-get", "--tier", "archive"]
    done = geolathe(*words, "--output", tmp_path)
    [file] = tmp_path.iterdir()
    assert done.returncode == 0 and f"{file} (" in done.stdout and "verified" in done.stdout
    done = geolathe(*words, "--output", tmp_path / "again.tif", "--json")
    assert json.loads(done.stdout) == {
        "file": str(tmp_path / "again.tif"),
        "size": file.stat().st_size,
    }


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["nothing"], 3, "has no item 'nothing'"),
        (["ITEM", "--collection", "client-get", "--tier", "gold"], 3, "has no asset 'gold'"),
        (
            ["ITEM", "--collection", "client-get", "--output", "/none/a.tif"],
            1,
            "cannot write /none",
        ),
    ],
)
def test_get_explains_what_is_missing(geolathe, all_tiers, words, code, message):
    words = [all_tiers["stac"]["item_id"] if word == "ITEM" else word for word in words]
    done = geolathe("get", *words)
    assert (done.returncode, done.stdout) == (code, "") and message in done.stderr


def test_characters_outside_the_output_encoding_are_escaped(geolathe):
    done = geolathe(
        "submit", "--type", "hello_world", "n=1", "message=\u00e9", PYTHONIOENCODING="ascii"
    )
    assert done.returncode == 0 and "\\xe9, number 0" in done.stdout


def test_a_file_name_may_contain_an_equals_sign(geolathe, bare):
    named = bare.rename(bare.with_name("a=b.tif"))
    assert "CRS_MISSING" in geolathe("submit", named).stdout


def test_control_characters_are_not_printed(geolathe):
    done = geolathe("submit", "--type", "hello_world", "n=1", "message=\x1b[2Jgone")
    assert done.returncode == 0 and "\x1b[2J" not in done.stdout and "gone" in done.stdout
    listed = geolathe("jobs", "--type", "hello_world", "--limit", "500").stdout
    assert "\x1b[2J" not in listed and done.stdout.split()[1][:12] in listed
