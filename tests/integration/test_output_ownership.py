"""Writing, discarding and removing outputs in the real storage and registry."""

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import timedelta
from urllib.parse import quote

import pytest

from core.errors import BlobNotFound, ContainerNotFound, TaskFailed, TaskLost
from core.handler import TaskContext
from core.models import BlobRef, ItemName, OutputTarget
from core.outputs import SOURCE as SOURCE_KEY
from core.outputs import find_blob, read_mark, remove_superseded, settle_uploads
from core.ports import Ports, PublishOutcome
from infrastructure.blob_storage import AzureBlobs
from infrastructure.outputs import PostgresOutputs
from infrastructure.pgstac import PgstacCatalog
from infrastructure.postgres import PostgresState
from services.storage.ownership import OutputFile, discard_outputs, record_output, store_output
from tests.fixtures.records import NOW, claimed, started_stage
from tests.fixtures.sample_items import Quiet
from tests.fixtures.squares import DEPLOYMENT
from tests.fixtures.tile_server import made_container

SOURCE = "bronze/ä b.tif"
ITEM = ItemName(collection_id="c", item_id="i")


class Writer:
    """A task that writes one blob, step by step."""

    def __init__(self, ports, state, container, folder):
        self.ports, self.state = ports, state
        self.job, [task] = started_stage(state, 1)
        self.task = claimed(state, task.task_id)
        self.ctx = TaskContext(self.task.task_id, self.task.attempt, ports, Quiet())
        self.blob = BlobRef(container=container, name="folder/ä b_cog_analysis.tif")
        path = folder / self.job.job_id
        path.write_bytes(self.job.job_id.encode())
        self.file = OutputFile(path, f"1220{self.job.job_id}", "image/tiff", "Hot")

    def store(self, source=SOURCE):
        target = OutputTarget(
            blob=self.blob, location="folder/ä b", tier="analysis", source=source,
            source_etag="s1", request=self.job.job_id, generation=0,
        )  # fmt: skip
        return store_output(self.ctx, target, self.file)

    def write(self, source=SOURCE):
        stored = self.store(source)
        record_output(self.ctx, stored, {})
        return stored.output_id


@pytest.fixture
def container(azurite):
    return made_container(azurite, "silver")


@pytest.fixture
def blobs(azurite):
    with closing(AzureBlobs(azurite.connection_string)) as blobs:
        yield blobs


@pytest.fixture
def ports(blobs, pool):
    return Ports(
        blobs=blobs,
        catalog=PgstacCatalog(pool),
        scratch=None,
        outputs=PostgresOutputs(pool),
        deployment=DEPLOYMENT,
    )


@pytest.fixture
def writer(ports, pool, container, tmp_path):
    return lambda: Writer(ports, PostgresState(pool), container, tmp_path)


def test_a_written_output_is_live_and_marked(writer, ports, blobs):
    task = writer()
    output = ports.outputs.get(task.write())
    found = blobs.properties(task.blob)
    assert output.is_live and output.etag == found.etag
    assert output == ports.outputs.live_at(task.blob)
    mark = read_mark(found)
    assert (mark.checksum, mark.size) == (output.checksum, output.size) == (
        task.file.checksum, 64
    )  # fmt: skip


def test_a_later_job_writes_over_an_output_of_its_source(writer, ports):
    first, second = writer(), writer()
    old = first.write()
    new = second.write()
    assert ports.outputs.live_at(first.blob).output_id == new
    assert ports.outputs.get(old).superseded_by == second.job.job_id


def test_an_earlier_job_does_not_write_over_the_output_of_a_later_one(writer):
    first, second = writer(), writer()
    second.write()
    with pytest.raises(TaskFailed, match=second.job.job_id) as failure:
        first.write()
    assert failure.value.code == "OUTPUT_SUPERSEDED"


def test_of_two_jobs_that_write_one_blob_at_once_the_later_one_wins(writer, ports, blobs):
    for _ in range(20):
        jobs = writer(), writer()
        start = threading.Barrier(2)

        def publish(job, start=start):
            start.wait()
            try:
                return ports.outputs.publish([job.write()], ITEM).outcome
            except TaskFailed as failure:
                assert failure.code == "OUTPUT_SUPERSEDED"
                return PublishOutcome.SUPERSEDED

        with ThreadPoolExecutor(2) as threads:
            outcomes = list(threads.map(publish, jobs))
        assert outcomes[1] is PublishOutcome.PUBLISHED
        live = ports.outputs.live_at(jobs[1].blob)
        assert (live.job_id, live.item) == (jobs[1].job.job_id, ITEM)
        found = blobs.properties(live.blob)
        assert (found.etag, read_mark(found).checksum) == (live.etag, live.checksum)


def test_the_output_of_another_source_is_refused(writer):
    writer().write()
    with pytest.raises(
        TaskFailed, match=r"is the COG of bronze/ä b.tif; choose another"
    ) as refused:
        writer().write("bronze/other.tif")
    assert refused.value.code == "OUTPUT_TAKEN"


def test_an_upload_that_was_not_recorded_is_found_by_the_next_attempt(writer, ports, blobs):
    task = writer()
    lost = task.store()
    again = task.store()
    assert (again.output_id, again.properties.etag) == (lost.output_id, lost.properties.etag)
    record_output(task.ctx, again, {})
    assert ports.outputs.live_at(task.blob).etag == blobs.properties(task.blob).etag


def test_an_earlier_writer_is_replaced(writer, ports, blobs, monkeypatch):
    """The version that the upload replaces changes meanwhile."""
    first, second = writer(), writer()
    replace, calls = blobs.replace, []

    def interrupted(*args, **kwargs):
        if not calls:
            mark = {SOURCE_KEY: quote(SOURCE)}
            calls.append(
                replace(first.blob, first.file.path, None, content_type="image/tiff", metadata=mark)
            )
        return replace(*args, **kwargs)

    monkeypatch.setattr(blobs, "replace", interrupted)
    output = ports.outputs.get(second.write())
    assert output.is_live and output.etag == blobs.properties(second.blob).etag
    assert calls[0].etag != output.etag


def test_a_cancelled_task_publishes_nothing(writer, blobs):
    task = writer()
    stored = task.store()
    task.state.cancel_job(task.job.job_id)
    with pytest.raises(TaskLost):
        record_output(task.ctx, stored, {})
    with pytest.raises(TaskLost):
        task.store()
    discard_outputs(task.ports, task.task.task_id)
    assert find_blob(blobs, task.blob) is None


def test_only_unpublished_outputs_of_the_job_are_discarded(writer, blobs):
    shown, hidden = writer(), writer()
    hidden.blob = hidden.blob.model_copy(update={"name": "folder/x_cog_analysis.tif"})
    shown.ports.outputs.publish([shown.write()], ITEM)
    hidden.write()
    for task in (shown, hidden):
        discard_outputs(task.ports, "another job")
        assert find_blob(blobs, task.blob) is not None
    for task in (shown, hidden):
        discard_outputs(task.ports, task.task.task_id)
        discard_outputs(task.ports, task.task.task_id)
    assert find_blob(blobs, shown.blob) is not None and find_blob(blobs, hidden.blob) is None


def test_an_upload_that_no_task_will_record_is_completed_from_its_mark(writer, ports, blobs):
    task = writer()
    stored = task.store()
    assert settle_uploads(blobs, ports.outputs, NOW, 10) == 0
    end(task)
    assert settle_uploads(blobs, ports.outputs, NOW, 10) == 1
    live = ports.outputs.live_at(task.blob)
    assert (live.output_id, live.etag) == (stored.output_id, stored.properties.etag)
    assert live.checksum == task.file.checksum


def test_an_incomplete_upload_is_removed(writer, ports, blobs):
    task = writer()
    stored = task.store()
    blobs.delete(task.blob)
    end(task)
    assert settle_uploads(blobs, ports.outputs, NOW, 10) == 1
    assert ports.outputs.live_at(task.blob) is None
    assert ports.outputs.get(stored.output_id).removed_at is not None


def end(task):
    task.state.cancel_job(task.job.job_id)


def test_a_superseded_output_is_removed_after_its_grace_period(writer, ports, blobs):
    task = writer()
    output_id = task.write()
    assert ports.outputs.supersede(output_id, is_gone=False)
    assert remove_superseded(blobs, ports.outputs, timedelta(hours=1), 10) == 0
    assert remove_superseded(blobs, ports.outputs, NOW, 10) == 1
    assert find_blob(blobs, task.blob) is None
    assert remove_superseded(blobs, ports.outputs, NOW, 10) == 0


def test_a_blob_written_after_its_output_was_superseded_is_kept(writer, ports, blobs):
    task = writer()
    assert ports.outputs.supersede(task.write(), is_gone=False)
    new = writer().write()
    assert remove_superseded(blobs, ports.outputs, NOW, 10) == 0
    assert ports.outputs.live_at(task.blob).output_id == new
    assert find_blob(blobs, task.blob) is not None


def test_missing_blobs_and_containers_are_distinguished(blobs, container):
    with pytest.raises(BlobNotFound, match=r"no.tif"):
        blobs.properties(BlobRef(container=container, name="no.tif"))
    with pytest.raises(ContainerNotFound, match="nowhere"):
        blobs.properties(BlobRef(container="nowhere", name="no.tif"))
    assert blobs.delete(BlobRef(container=container, name="no.tif")) is False
