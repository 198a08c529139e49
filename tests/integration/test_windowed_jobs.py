"""process_raster on rasters that many tasks make: through the machine, PostgreSQL and Azurite."""

import random
from datetime import timedelta

import pytest
from rasterio.enums import ColorInterp

from core.errors import InvalidRequest, TaskFailed, Unavailable
from core.handler import TaskContext
from core.models import BlobRef, JobStatus, TaskMessage, TaskStatus
from core.ports import ClaimOutcome
from services.list_folders import ListFolders, list_folders
from tests.fixtures.catalogue import open_catalogue
from tests.fixtures.made_rasters import photo, write
from tests.fixtures.sample_items import Quiet

RGB = [ColorInterp.red, ColorInterp.green, ColorInterp.blue]
WINDOWS = 2


@pytest.fixture
def catalogue(azurite, pool, tmp_path):
    with open_catalogue(
        azurite.connection_string, pool, tmp_path, windows_from_mb=1, window_mb=8
    ) as catalogue:
        yield catalogue


@pytest.fixture
def source(catalogue, tmp_path):
    path = write(tmp_path / "photo.tif", photo(1_100), colorinterp=RGB, tiled=True)
    return catalogue.put(path, "in/photo.tif")


def target(catalogue, job, tier="analysis"):
    name = f"{job.parameters['location']}_cog_{tier}.tif"
    return BlobRef(container=catalogue.silver, name=name)


def windows_of(catalogue, job):
    return catalogue.state.get_tasks(job.job_id, WINDOWS, 1_000)


def deliver_disordered(catalogue, seed):
    """All messages in random order, and half of the tasks' twice."""
    order = random.Random(seed)
    messages = catalogue.bus.messages
    while messages:
        order.shuffle(messages)
        doubled = isinstance(messages[0], TaskMessage) and order.random() < 0.5
        if doubled:
            messages.append(messages[0])
        catalogue.deliver(1)


def completed(catalogue, job):
    tasks = windows_of(catalogue, job)
    return [task for task in tasks if task.status is TaskStatus.COMPLETED]


def start(catalogue, source, windows, **parameters):
    """A job of four windows, of which so many are done."""
    job = catalogue.submit(**source, target_crs="native", **parameters)
    while len(completed(catalogue, job)) < windows:
        catalogue.deliver(1)
    assert len(windows_of(catalogue, job)) == 4
    return job


def test_every_tier_is_made_in_windows_whatever_the_order(catalogue, source):
    job_id = catalogue.submit(**source, output_tier="all").job_id
    deliver_disordered(catalogue, 4)
    catalogue.settle()
    job = catalogue.state.get_job(job_id)
    assert job.status is JobStatus.COMPLETED, job.error
    made = windows_of(catalogue, job)
    assert len(made) >= 3 * 2 and job.result["stages_completed"] == 4
    assert job.result["total_tasks_executed"] == 1 + len(made) + 3 + 1
    assert {cog["cog_tier"] for cog in job.result["cogs"]} == {
        "visualization", "analysis", "archive",
    }  # fmt: skip
    shown = {asset.get("file:checksum") for asset in catalogue.item(job)["assets"].values()}
    assert {cog["checksum"] for cog in job.result["cogs"]} <= shown
    catalogue.check()


def test_cancelling_leaves_no_block_no_blob_and_no_item(catalogue, source):
    job = start(catalogue, source, windows=2)
    ref = target(catalogue, job)
    assert catalogue.blobs.staged_blocks(ref) and catalogue.stored()
    catalogue.machine.cancel(job.job_id)
    catalogue.settle()
    assert catalogue.state.get_job(job.job_id).status is JobStatus.CANCELLED
    assert catalogue.blobs.staged_blocks(ref) == []
    assert catalogue.stored() == {} and catalogue.items() == set()


def test_a_window_that_lost_its_task_leaves_nothing(catalogue, source, monkeypatch):
    job = start(catalogue, source, windows=1)
    before, write_blob = catalogue.stored(), catalogue.blobs.write

    def write_late(*args):
        write_blob(*args)
        catalogue.machine.cancel(job.job_id)

    monkeypatch.setattr(catalogue.blobs, "write", write_late)
    catalogue.deliver(1)
    assert catalogue.state.get_job(job.job_id).status is JobStatus.CANCELLED
    assert catalogue.stored() == before, "and the job is not discarded yet"


def test_retry_runs_the_other_windows_only(catalogue, source, monkeypatch):
    job = start(catalogue, source, windows=2)
    done = completed(catalogue, job)
    stage_block = catalogue.blobs.stage_block

    def refuse(*args):
        raise TaskFailed("BLOB_LEASED", "the blob is locked by a lease")

    monkeypatch.setattr(catalogue.blobs, "stage_block", refuse)
    catalogue.settle()
    assert catalogue.state.get_job(job.job_id).error.code == "BLOB_LEASED"
    monkeypatch.setattr(catalogue.blobs, "stage_block", stage_block)
    catalogue.machine.retry(job.job_id)
    catalogue.settle()
    assert catalogue.state.get_job(job.job_id).status is JobStatus.COMPLETED
    again = {task.task_index: task for task in windows_of(catalogue, job)}
    for task in done:
        kept = again[task.task_index]
        assert (kept.attempt, kept.finished_at) == (task.attempt, task.finished_at)
    catalogue.check()


def test_windows_outlive_workers_that_are_killed_again_and_again(catalogue, source):
    job = start(catalogue, source, windows=1)
    waiting = [task.task_id for task in windows_of(catalogue, job) if not task.status.is_final]
    for _ in range(5):
        for task_id in waiting:
            [(outcome, _)] = catalogue.state.claim_tasks([task_id], timedelta(0))
            assert outcome is ClaimOutcome.CLAIMED
    catalogue.settle()
    assert catalogue.state.get_job(job.job_id).status is JobStatus.COMPLETED
    catalogue.check()


def test_storage_that_refuses_blocks_for_a_while_delays_windows_only(
    catalogue, source, monkeypatch
):
    undisturbed = catalogue.run(**source, output_folder="one").result["cog"]["checksum"]
    stage_block, calls = catalogue.blobs.stage_block, []

    def refuse_some(*args):
        calls.append(args)
        if len(calls) % 7 == 3:
            raise Unavailable("storage refused the block: 503 ServerBusy")
        stage_block(*args)

    monkeypatch.setattr(catalogue.blobs, "stage_block", refuse_some)
    job = catalogue.run(**source, output_folder="other")
    assert len(calls) > 7 and job.result["cog"]["checksum"] == undisturbed
    catalogue.check()


def test_two_jobs_of_one_target_end_consistently(catalogue, source):
    first = start(catalogue, source, windows=2, output_tier="visualization", jpeg_quality=40)
    second = catalogue.submit(
        **source, target_crs="native", output_tier="visualization", jpeg_quality=90
    )
    deliver_disordered(catalogue, 8)
    catalogue.settle()
    first, second = (catalogue.state.get_job(job.job_id) for job in (first, second))
    assert second.status is JobStatus.COMPLETED, second.error
    if first.status is JobStatus.FAILED:
        assert first.error.code == "OUTPUT_SUPERSEDED"
    assert catalogue.blobs.staged_blocks(target(catalogue, second, "visualization")) == []
    shown = catalogue.blobs.properties(target(catalogue, second, "visualization"))
    assert shown.size == pytest.approx(second.result["cog"]["size_mb"] * 2**20, abs=6_000)
    catalogue.machine.clean_outputs(timedelta(0), 100)
    assert set(catalogue.live().values()) == {shown.etag}


def test_a_raster_below_the_threshold_has_no_windows(catalogue):
    job = catalogue.run(**catalogue.put_raster())
    assert windows_of(catalogue, job) == []
    assert job.result["stages_completed"] == job.result["total_tasks_executed"] == 3


def test_the_folder_of_windows_is_no_output_folder(catalogue, source):
    with pytest.raises(InvalidRequest) as refused:
        catalogue.submit(**source, output_folder=".windows/mine")
    [error] = refused.value.errors
    assert error.field == "output_folder" and ".windows/" in error.message
    hidden = catalogue.put_raster(".windows/in.tif")
    with pytest.raises(InvalidRequest, match="between files of jobs"):
        catalogue.submit(**hidden)


def test_a_reconciliation_does_not_look_into_the_folder_of_windows(catalogue, source):
    start(catalogue, source, windows=1)
    assert any(name.startswith(".windows/") for name in catalogue.stored())
    context = TaskContext("t", 1, catalogue.ports, Quiet())
    listed = list_folders(ListFolders(container=catalogue.silver), context)
    assert ".windows/" not in listed.prefixes
