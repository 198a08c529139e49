"""The contract of the registry of outputs."""

from datetime import timedelta

import pytest

from core.models import BlobRef, ItemName, JobStatus, OutputTarget, WrittenBlob
from core.ports import PublishOutcome, RecordOutcome
from infrastructure.outputs import PostgresOutputs
from testing.outputs import MemoryOutputs
from testing.state import MemoryState
from tests.fixtures.records import MINUTE, NOW, claimed, started_stage

ITEM = ItemName(collection_id="c", item_id="one")
OTHER_ITEM = ItemName(collection_id="c", item_id="other")


@pytest.fixture
def outputs(state):
    return MemoryOutputs(state) if isinstance(state, MemoryState) else PostgresOutputs(state.pool)


class Writer:
    """A job with one task that writes outputs."""

    def __init__(self, state, outputs, request="request", generation=0):
        self.state, self.outputs = state, outputs
        self.request, self.generation = request, generation
        self.job, [task] = started_stage(state, 1, total_stages=1)
        self.task = claimed(state, task.task_id)

    def target(self, tier="analysis", location="folder/a", source_etag="s1"):
        return OutputTarget(
            blob=BlobRef(container="silver", name=f"{location}_cog_{tier}.tif"),
            location=location, tier=tier, source="bronze/a.tif", source_etag=source_etag,
            request=self.request, generation=self.generation,
        )  # fmt: skip

    def try_begin(self, **target):
        return self.outputs.begin(self.target(**target), self.task.task_id, self.task.attempt)

    def begin(self, **target):
        begun = self.try_begin(**target)
        assert begun.superseded_by is None
        return begun.output_id

    def record(self, output_id, etag, replaced=None, is_current=True, checksum="1220ab"):
        written = WrittenBlob(
            etag=etag, replaced_etag=replaced, is_current=is_current, checksum=checksum, size=9
        )
        return self.outputs.record(output_id, self.task.attempt, written, {"tier": "analysis"})

    def write(self, etag, replaced=None, checksum="1220ab", **target):
        output_id = self.begin(**target)
        outcome = self.record(output_id, etag, replaced, checksum=checksum)
        assert outcome is RecordOutcome.LIVE
        return output_id

    def end(self):
        done = self.state.complete_task(self.task.task_id, self.task.attempt, {}, None)
        assert done.applied
        job = self.state.get_job(self.job.job_id)
        assert self.state.finish_job(job, JobStatus.COMPLETED, {}, None)


@pytest.fixture
def writer(state, outputs):
    def make(request="request", generation=0):
        return Writer(state, outputs, request, generation)

    return make


def test_a_location_belongs_to_the_owner_that_had_it_first(outputs):
    names = ["a", "a_tiff", "a_1234abcd"]
    assert outputs.reserve_location("silver", names, "first") == "a"
    assert outputs.reserve_location("silver", names, "second") == "a_tiff"
    assert outputs.reserve_location("silver", names, "first") == "a"
    assert outputs.reserve_location("silver", names, "second") == "a_tiff"
    assert outputs.reserve_location("silver", names[:2], "third") is None
    assert outputs.reserve_location("other", names, "third") == "a"


def test_an_owner_keeps_its_location_when_a_better_one_is_free(outputs):
    assert outputs.reserve_location("silver", ["a_tiff"], "first") == "a_tiff"
    assert outputs.reserve_location("silver", ["a", "a_tiff"], "first") == "a_tiff"


def test_a_written_output_is_live_and_recording_it_again_changes_nothing(outputs, writer):
    job = writer()
    output_id = job.begin()
    assert job.begin() == output_id and outputs.live_at(job.target().blob) is None
    for _ in range(2):
        assert job.record(output_id, "e1") is RecordOutcome.LIVE
    live = outputs.live_at(job.target().blob)
    assert live == outputs.get(output_id) and live.is_live
    assert (live.etag, live.job_id, live.checksum, live.cog) == (
        "e1", job.job.job_id, "1220ab", {"tier": "analysis"}
    )  # fmt: skip


def test_an_attempt_that_lost_its_task_records_nothing(state, outputs, writer):
    job = writer()
    output_id = job.begin()
    state.cancel_job(job.job.job_id)
    assert job.begin(tier="archive") is None
    assert job.record(output_id, "e1") is RecordOutcome.LOST
    assert outputs.live_at(job.target().blob) is None


def test_a_newer_upload_supersedes_and_keeps_the_item(outputs, writer):
    first, second = writer(), writer("other request")
    old = first.write("e1")
    outputs.publish([old], ITEM)
    new = second.write("e2", "e1")
    assert outputs.live_at(first.target().blob).output_id == new
    gone = outputs.get(old)
    assert gone.superseded_by == second.job.job_id and gone.removed_at is not None
    assert outputs.get(new).item_id == ITEM.item_id
    assert outputs.superseded_by(first.job.job_id) == second.job.job_id
    assert outputs.superseded_by(second.job.job_id) is None


def test_uploads_are_ordered_by_what_they_replaced_and_not_by_when_they_were_recorded(
    outputs, writer
):
    first, second = writer(), writer("other request")
    early, late = first.begin(), second.begin()
    assert second.record(late, "e2", "e1") is RecordOutcome.LIVE
    for _ in range(2):
        assert first.record(early, "e1") is RecordOutcome.SUPERSEDED
    assert outputs.live_at(first.target().blob).output_id == late
    assert outputs.superseded_by(first.job.job_id) == second.job.job_id


def test_the_later_of_two_jobs_at_one_location_succeeds(state, outputs, writer):
    first, second = writer(), writer("other request")
    second.begin()
    assert first.try_begin(tier="archive") == (None, second.job.job_id)
    assert first.try_begin(location="elsewhere/a").output_id is not None
    state.cancel_job(second.job.job_id)
    assert first.try_begin(tier="archive").output_id is not None


def test_an_upload_that_was_overwritten_before_it_was_recorded_is_not_live(outputs, writer):
    job = writer()
    assert job.record(job.begin(), "e1", is_current=False) is RecordOutcome.SUPERSEDED
    assert outputs.live_at(job.target().blob) is None


def test_a_request_gets_a_new_generation_once_its_outputs_are_superseded(outputs, writer):
    assert outputs.generation("request") == 0
    first = writer()
    first.write("e1")
    assert outputs.generation("request") == 0
    other = writer("other request")
    other.write("e2", "e1")
    assert outputs.generation("request") == 1
    assert outputs.generation("other request") == 0
    again = writer(generation=1)
    again.write("e3", "e2")
    assert outputs.generation("request") == 1
    assert outputs.generation("other request") == 1


def test_an_output_written_again_by_its_own_job_is_still_its_own(outputs, writer):
    job = writer()
    job.write("e1")
    job.write("e2", "e1")
    assert outputs.generation("request") == 0 and outputs.superseded_by(job.job.job_id) is None


def test_a_lost_output_counts_and_a_discarded_one_does_not(outputs, writer):
    first = writer()
    outputs.discard(first.write("e1"))
    assert outputs.generation("request") == 0
    second = writer()
    output_id = second.write("e2")
    assert outputs.supersede(output_id, is_gone=True)
    assert not outputs.supersede(output_id, is_gone=True)
    assert outputs.generation("request") == 1


def test_only_outputs_of_ended_jobs_are_checked_for_a_request(outputs, writer):
    job = writer()
    output_id = job.write("e1")
    assert outputs.of_request("request") == []
    job.end()
    assert [row.output_id for row in outputs.of_request("request")] == [output_id]


def test_published_outputs_are_found_by_item_source_and_location(outputs, writer):
    job = writer()
    written = {job.write("e1"), job.write("e2", tier="archive")}
    unpublished = job.write("e3", location="folder/b")
    assert outputs.publish(sorted(written), ITEM).outcome is PublishOutcome.PUBLISHED
    assert {row.output_id for row in outputs.of_item(ITEM)} == written
    assert {row.output_id for row in outputs.published_at("silver", "folder/a")} == written
    found = {row.output_id for row in outputs.of_source("bronze/a.tif")}
    assert found == {*written, unpublished}
    assert {row.output_id for row in outputs.of_tasks(job.task.task_id)} == found
    assert outputs.of_source("bronze/b.tif") == [] == outputs.of_item(OTHER_ITEM)


def test_what_an_ended_job_did_not_publish_is_found_by_its_source(outputs, writer):
    running, ended = writer(), writer("other request")
    running.write("e1")
    shown, hidden = ended.write("e2", tier="archive"), ended.write("e3", location="folder/b")
    outputs.publish([shown], ITEM)
    assert outputs.unpublished("bronze/a.tif") == []
    ended.end()
    assert [row.output_id for row in outputs.unpublished("bronze/a.tif")] == [hidden]
    assert outputs.unpublished("bronze/b.tif") == []


def test_a_superseded_output_is_not_published(outputs, writer):
    first, second = writer(), writer("other request")
    old = first.write("e1")
    second.write("e2", "e1")
    refused = outputs.publish([old], ITEM)
    assert refused.outcome is PublishOutcome.SUPERSEDED
    assert refused.superseded_by == second.job.job_id and outputs.of_item(ITEM) == []


def test_a_tier_made_later_joins_the_item_of_its_location(outputs, writer):
    first, second = writer(), writer("other request")
    archive = first.write("e1", tier="archive")
    outputs.publish([archive], ITEM)
    analysis = second.write("e2")
    assert outputs.publish([analysis], ITEM).outcome is PublishOutcome.INCOMPLETE
    assert outputs.publish([analysis, archive], ITEM).outcome is PublishOutcome.PUBLISHED
    assert all(outputs.get(each).is_live for each in (analysis, archive))


def test_a_changed_source_supersedes_every_tier_made_from_the_old_one(outputs, writer):
    first, second = writer(), writer("other request")
    archive = first.write("e1", tier="archive")
    outputs.publish([archive], ITEM)
    analysis = second.write("e2", source_etag="s2")
    assert outputs.publish([analysis], ITEM) == (PublishOutcome.PUBLISHED, None, [])
    assert outputs.get(archive).superseded_by == second.job.job_id
    assert [row.output_id for row in outputs.to_remove(NOW, 10)] == [archive]
    assert outputs.to_remove(MINUTE, 10) == []
    outputs.mark_removed(archive)
    assert outputs.to_remove(NOW, 10) == []


def test_an_item_that_moves_to_another_location_supersedes_what_it_had(outputs, writer):
    first, second = writer(), writer("other request")
    old = first.write("e1")
    outputs.publish([old], ITEM)
    new = second.write("e2", location="elsewhere/a")
    assert outputs.publish([new], ITEM) == (PublishOutcome.PUBLISHED, None, [])
    assert outputs.get(old).superseded_at is not None and outputs.get(old).removed_at is None
    assert {row.output_id for row in outputs.of_item(ITEM)} == {old, new}


def test_a_location_that_is_published_under_another_id_vacates_its_item(outputs, writer):
    first, second = writer(), writer("other request")
    outputs.publish([first.write("e1")], ITEM)
    new = second.write("e2", "e1")
    assert outputs.publish([new], OTHER_ITEM) == (PublishOutcome.PUBLISHED, None, [ITEM])
    assert outputs.publish([new], OTHER_ITEM).vacated == []
    assert outputs.get(new).item_id == OTHER_ITEM.item_id


def test_a_published_output_is_not_discarded(outputs, writer):
    job = writer()
    shown, hidden = job.write("e1"), job.write("e2", tier="archive")
    outputs.publish([shown], ITEM)
    assert not outputs.discard(shown) and outputs.get(shown).is_live
    assert outputs.discard(hidden) and outputs.discard(hidden)
    assert outputs.publish([hidden], ITEM).outcome is PublishOutcome.SUPERSEDED


def test_a_published_output_that_is_overwritten_is_stale_until_it_is_published(outputs, writer):
    first, second = writer(), writer("other request")
    outputs.publish([first.write("e1")], ITEM)
    new = second.write("e2", "e1", checksum="1220cd")
    assert outputs.get(new).is_stale and outputs.get(new).item == ITEM
    assert outputs.to_withdraw(NOW, 10) == []
    second.end()
    assert [row.output_id for row in outputs.to_withdraw(NOW, 10)] == [new]
    outputs.publish([new], ITEM)
    assert outputs.to_withdraw(NOW, 10) == [] and not outputs.get(new).is_stale


def test_a_published_output_that_is_overwritten_by_the_same_bytes_is_not_stale(outputs, writer):
    first, second = writer(), writer("other request")
    outputs.publish([first.write("e1")], ITEM)
    assert not outputs.get(second.write("e2", "e1")).is_stale


def test_a_published_output_that_is_gone_is_stale_until_its_item_is_published(outputs, writer):
    first, second = writer(), writer("other request")
    gone = first.write("e1")
    outputs.publish([gone], ITEM)
    assert outputs.supersede(gone, is_gone=True) and outputs.get(gone).is_stale
    assert outputs.to_withdraw(MINUTE, 10) == []
    assert [row.output_id for row in outputs.to_withdraw(NOW, 10)] == [gone]
    outputs.publish([second.write("e2")], ITEM)
    assert outputs.to_withdraw(NOW, 10) == []


def test_an_upload_whose_worker_was_lost_is_settled_once_its_task_ended(state, outputs, writer):
    job = writer()
    output_id = job.begin()
    assert outputs.to_settle(NOW, 10) == []
    state.cancel_job(job.job.job_id)
    assert outputs.to_settle(timedelta(hours=1), 10) == []
    assert [row.output_id for row in outputs.to_settle(NOW, 10)] == [output_id]
    written = WrittenBlob(etag="e1", replaced_etag=None, is_current=True, checksum="1220ab", size=9)
    assert outputs.record(output_id, None, written, None) is RecordOutcome.LIVE
    assert outputs.to_settle(NOW, 10) == []


def test_rows_of_removed_outputs_are_purged_once_their_job_is(state, outputs, writer):
    job = writer()
    kept, removed = job.write("e1"), job.write("e2", tier="archive")
    outputs.mark_removed(removed)
    job.end()
    assert outputs.purge(NOW, 10) == 0 and outputs.generation("request") == 1
    assert state.purge_jobs(NOW, 10) == [job.job.job_id]
    assert outputs.purge(timedelta(hours=1), 10) == 0 and outputs.purge(NOW, 0) == 0
    assert outputs.purge(NOW, 10) == 1 and outputs.get(removed) is None
    assert outputs.get(kept).removed_at is None


def test_live_outputs_are_read_folder_by_folder_in_the_order_of_their_names(outputs, writer):
    job = writer()
    names = ["b/x", "a/z", "a/y", "root", "a0/y", "a-b/y"]
    for number, name in enumerate(names):
        job.write(f"e{number}", location=name)
    assert set(outputs.folders("silver")) == {"a/", "a-b/", "a0/", "b/"}

    def read(prefix):
        found, after = [], ""
        while page := outputs.live_after("silver", prefix, after, 1):
            found += [row.location for row in page]
            after = page[-1].name
        return found

    assert read("a/") == ["a/y", "a/z"] and read("") == ["root"] and read("c/") == []


def test_an_upload_is_abandoned_once_its_task_ended(state, outputs, writer):
    job = writer()
    output_id = job.begin()
    assert not outputs.is_abandoned(output_id)
    state.cancel_job(job.job.job_id)
    assert outputs.is_abandoned(output_id)


NONE = timedelta(0)


def due_overviews(outputs, grace=NONE, limit=10):
    return [each.name for each in outputs.overviews_to_check(grace, limit)]


def test_overviews_are_due_until_kept_or_forgotten(outputs):
    for name in ("a", "b"):
        outputs.add_overview(name, "c", f"task-{name}")
    first, second = outputs.overviews_to_check(NONE, 10)
    assert (first.collection_id, first.task_id) == ("c", "task-a")
    assert due_overviews(outputs, limit=1) == ["a"] and due_overviews(outputs, MINUTE) == []
    outputs.keep_overview(first)
    outputs.forget_overview(second.name)
    assert due_overviews(outputs) == []
    outputs.add_overview("a", "c", "task-a")
    assert due_overviews(outputs) == ["a"]


def test_an_overview_is_not_kept_if_its_collection_has_changed_since(outputs):
    outputs.add_overview("a", "c", "task")
    outputs.add_overview("b", "other", "task")
    [kept] = [each for each in outputs.overviews_to_check(NONE, 10) if each.name == "a"]
    outputs.recheck_overviews("c")
    outputs.keep_overview(kept)
    assert set(due_overviews(outputs)) == {"a", "b"}
