"""The test kit, and the examples of its documentation, which run as written."""

import re
import sys
import types
from datetime import timedelta
from pathlib import Path

import pytest

from core.errors import BlobChanged, BlobNotFound, InvalidRequest
from core.handler import RetryPolicy, TaskContext, retry
from core.models import BlobRef, JobStatus
from local.stack.environment import ROOT
from testing import run_job
from testing.blobs import MemoryBlobs
from tests.fixtures.squares import (
    Square,
    Squared,
    Squares,
    lenient_squares_with,
    square,
    squares_with,
)

GUIDES = ROOT / "docs" / "how-to"


def python_blocks(page: Path) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)


@pytest.fixture
def guide(monkeypatch):
    """The examples of the guides as modules: a handler, its job, and the tests of the job."""
    [handler, job] = python_blocks(GUIDES / "write-a-job.md")[:2]
    tests = "\n".join(python_blocks(GUIDES / "test-a-job.md"))
    sources = {"services.measure_blob": handler, "jobs.measure_blobs": job, "guide": tests}
    for name, source in sources.items():
        module = types.ModuleType(name)
        monkeypatch.setitem(sys.modules, name, module)
        exec(source, vars(module))
    return sys.modules["guide"]


def test_the_examples_of_the_guide_pass(guide):
    examples = [value for name, value in vars(guide).items() if name.startswith("test_")]
    assert len(examples) == 5
    for example in examples:
        example()


def test_retries_run_without_their_delays():
    @retry(RetryPolicy(attempts=3, base=timedelta(hours=1), cap=timedelta(hours=8)))
    def flaky(params: Square, ctx: TaskContext) -> Squared:
        if ctx.attempt < 3:
            raise OSError("disk full")
        return square(params, ctx)

    run = run_job(squares_with(flaky), {"n": 2})
    assert run.status is JobStatus.COMPLETED and run.result == {"total": 1}
    assert [task.attempt for task in run.tasks["squares"]] == [3, 3]
    assert len(run.failed_attempts["squares"]) == 4


def test_a_failed_task_and_its_error_are_visible():
    def broken(params: Square, ctx: TaskContext) -> Squared:
        raise OSError("disk full")

    run = run_job(lenient_squares_with(broken), {"n": 1})
    [task] = run.tasks["squares"]
    assert run.status is JobStatus.COMPLETED_WITH_ERRORS and "disk full" in task.error.message


def test_a_rejected_submission_raises():
    with pytest.raises(InvalidRequest, match="fial_at"):
        run_job(Squares, {"fial_at": 1})


def test_memory_blobs_keep_versions(tmp_path):
    blobs, ref = (
        MemoryBlobs({"bronze/a/b.tif": b"123"}),
        BlobRef(container="bronze", name="a/b.tif"),
    )
    first = blobs.properties(ref)
    assert (first.size, [each.ref for each in blobs.list("bronze", "a/")]) == (3, [ref])
    blobs.download(ref, tmp_path / "file")
    with pytest.raises(BlobChanged):
        blobs.replace(ref, tmp_path / "file", None, content_type="image/tiff")
    second = blobs.replace(ref, tmp_path / "file", first.etag, content_type="image/tiff")
    assert not blobs.delete(ref, first.etag) and blobs.delete(ref, second.etag)
    with pytest.raises(BlobNotFound):
        blobs.properties(ref)
