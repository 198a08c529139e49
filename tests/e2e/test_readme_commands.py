"""The commands and programs in README and documentation run as written."""

import json
import re
import shlex
import subprocess
import sys
import types
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from infrastructure.blob_storage import AzureBlobs
from testing import memory_ports, run_job
from tests.fixtures.locks import locked

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
START = (ROOT / "docs" / "getting-started.md").read_text(encoding="utf-8")
JOB_GUIDE = (ROOT / "docs" / "how-to" / "write-a-job.md").read_text(encoding="utf-8")


def blocks(language, holding, page=README):
    """The code blocks of a page that contain a text."""
    found = re.findall(rf"^ *```{language}\n(.*?)^ *```", page, re.DOTALL | re.MULTILINE)
    return [block for block in found if holding in block]


def shell(product, command, **more):
    return json.loads(run_shell(product, command, **more))


def run_shell(product, command, **more):
    """The output of a command after the README's `eval`, on the stack of the test run."""
    [exports] = blocks("sh", "./dev env")
    done = subprocess.run(
        ["bash", "-ec", exports + command],
        env={"GEOLATHE_STACK": str(product.stack.folder), "PATH": "/usr/bin:/bin"} | more,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def alone(service_folder):
    """Run these tests one at a time, because the commands of the README write the same blob."""
    with locked(service_folder / "readme.lock"):
        yield


@pytest.mark.usefixtures("alone")
def test_submit_watch_and_open_run_as_written(product):
    product.upload(ROOT / "samples" / "bahamas_landsat7.tif", "bahamas_landsat7.tif")
    [submit], [watch] = blocks("sh", "jobs/submit"), blocks("sh", "jobs/status")
    job = shell(product, submit)
    product.wait(job["job_id"])
    status = shell(product, watch, JOB=job["job_id"])
    assert status["status"] == "completed"
    assert status["result_data"]["cog"]["cog_blob"].startswith("cogs/my_test/")


@pytest.mark.usefixtures("alone")
def test_the_client_runs_as_written(product, tmp_path):
    command = tmp_path / "geolathe"
    command.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m geolathe "$@"\n')
    command.chmod(0o755)
    [commands], [code] = blocks("sh", "geolathe submit"), blocks("python", "geolathe import")
    output = run_shell(product, commands, PATH=f"{tmp_path}:/usr/bin:/bin")
    assert "the job is completed" in output and "map: http" in output
    assert "bahamas" in output.split("map: http")[1]
    environment = product.environment
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={"GEOLATHE_URL": environment.api, "GEOLATHE_KEY": environment.keys.function_key},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    *progress, link = done.stdout.splitlines()
    assert float(progress[-1]) == 1 and "map.html" in link


def test_the_search_runs_as_written(product, capsys, monkeypatch):
    source = product.upload(ROOT / "samples" / "bahamas_landsat7.tif", "readme/bahamas.tif")
    done = product.run("process_raster", **source)["result_data"]
    monkeypatch.setenv("STAC", product.environment.stac)
    [search] = blocks("python", "pystac_client", START)
    exec(search, {})
    assert f"/{done['cog']['cog_container']}/{done['cog']['cog_blob']}\n" in capsys.readouterr().out


def test_the_job_of_the_guide_runs_as_written(product, monkeypatch):
    [handler_code] = blocks("python", "def measure_blob(", JOB_GUIDE)
    [job_code] = blocks("python", "JobBase", JOB_GUIDE)
    handler = types.ModuleType("services.measure_blob")
    monkeypatch.setitem(sys.modules, "services.measure_blob", handler)
    exec(handler_code, vars(handler))
    job = types.ModuleType("jobs.measure_blobs")
    monkeypatch.setitem(sys.modules, "jobs.measure_blobs", job)
    exec(job_code, vars(job))

    sample = ROOT / "samples" / "bahamas_landsat7.tif"
    source = product.upload(sample, "readme/measured.tif")
    with closing(AzureBlobs(product.environment.storage_connection_string)) as blobs:
        ports = replace(memory_ports(), blobs=blobs)
        names = {"container_name": source["container_name"], "blob_names": ["readme/measured.tif"]}
        done = run_job(job.MeasureBlobs, names, ports=ports)
    assert done.result == {"bytes": sample.stat().st_size}


def test_the_job_in_the_readme_is_that_of_the_guide():
    [excerpt] = blocks("python", "JobBase")
    for part in excerpt.strip().split("\n\n\n"):
        assert part in JOB_GUIDE


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "SECURITY.md"])
def test_every_file_and_command_that_a_page_names_exists(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    for link in re.findall(r"(?:\]\(|src=\")([\w./-]+)", text):
        assert (ROOT / link).exists(), link
    usage = subprocess.run(
        [sys.executable, "-m", "local", "--help"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    for command in re.findall(r"\./dev (\w+)", text):
        assert re.search(rf"^\s+{command}\s", usage, re.MULTILINE), command


def test_the_readme_is_short():
    assert len(README.splitlines()) <= 120
