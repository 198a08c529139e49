"""The trace of a raster, from the request to the map, as the local receiver has stored it."""

import os
import subprocess
import time
import uuid
from collections import defaultdict
from pathlib import Path

import pytest

from local.emulators.otlp.store import SpanStore
from local.stack.environment import ROOT

SAMPLE = ROOT / "samples" / "bahamas_landsat7.tif"
REQUEST = "POST /api/jobs/submit/{job_type}"
LAST = "stage 5 requested"
HANDLERS = ("validate_raster", "create_cog", "extract_stac_metadata")


@pytest.fixture(scope="module")
def job_id(product):
    # Each process that runs these tests has its own source: a second upload changes the first.
    source = product.upload(SAMPLE, f"e2e/traced-{uuid.uuid4().hex}.tif")
    job = product.run("process_raster", **source, output_folder="e2e/traced")
    assert job["status"] == "completed", job
    return job["job_id"]


@pytest.fixture(scope="module")
def trace(product, job_id):
    """The spans, once the last one has been exported. The deadline only bounds a failure."""
    store, deadline = SpanStore(product.environment.spans), time.monotonic() + 120
    while time.monotonic() < deadline:
        for spans in store.traces_of(job_id):
            if {REQUEST, LAST} <= {span.name for span in spans}:
                return spans
        time.sleep(0.2)
    raise AssertionError(f"no complete trace of {job_id}: {store.traces_of(job_id)}")


def path_of(span, trace):
    """The names of the spans above this one, the request first."""
    known = {each.span_id: each for each in trace}
    names = []
    while span is not None:
        names.append(span.name)
        span = known.get(span.parent_id)
    return names[::-1]


def test_every_handler_stands_below_the_request(trace, job_id):
    # Stage 2, encode_windows, has no tasks for a raster of this size.
    for number, (stage, handler) in enumerate(zip((1, 3, 4), HANDLERS, strict=True), 1):
        [span] = [each for each in trace if each.name == f"{handler} attempt 1"]
        assert path_of(span, trace)[0] == REQUEST
        assert path_of(span, trace).count("task delivered") == number
        assert span.job_id == job_id and span.attribute("stage") == str(stage)
        assert span.attribute("job_type") == "process_raster" and not span.is_error


def test_storage_the_catalogue_and_the_queue_are_in_the_trace(trace):
    below = defaultdict(set)
    for span in trace:
        below[span.parent_id].add(span.name)
    by_name = {span.name: below[span.span_id] for span in trace}
    assert "upload to silver-cogs" in by_name["create_cog attempt 1"]
    assert "SELECT create_items" in by_name["extract_stac_metadata attempt 1"]
    assert "send 1 to geospatial-tasks" in by_name["stage 1 requested"]
    assert "SELECT app.finish_job" in by_name[LAST]


def test_the_command_prints_the_tree(product, trace, job_id):
    printed = subprocess.run(
        [ROOT / "dev", "trace", job_id[:12]],
        env={**os.environ, "GEOLATHE_STACK": str(product.stack.folder), "COLUMNS": "200"},
        cwd=Path("/"), capture_output=True, text=True, timeout=120, check=True,
    ).stdout  # fmt: skip
    lines = printed.splitlines()
    assert lines[0] == f"trace {trace[0].trace_id}"
    assert lines[1].startswith(f"└── {REQUEST} ")
    for handler in HANDLERS:
        assert sum(f"{handler} attempt 1 stage=" in line for line in lines) == 1
