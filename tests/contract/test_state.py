"""The contract of StateRepository: methods can be repeated, and stale writes change nothing."""

import uuid

import pytest

from core.errors import JobNotFound, KeyReused
from core.models import (
    DeadLetter,
    Failure,
    JobMessage,
    JobStatus,
    Priority,
    StageStatus,
    TaskMessage,
    TaskStatus,
)
from core.ports import ClaimOutcome, Done, HeldTask, JobCursor, JobFilter, RequestKey, TaskFilter
from tests.fixtures.records import MINUTE, NOW, claim, claimed, new_job, new_tasks, started_stage

BROKEN = Failure(code="BROKEN", message="permanent")
TRANSIENT = Failure(code="TRANSIENT", message="try again")


def kinds(state, job):
    return [event.kind for event in state.events(job.job_id, 0, 1000)]


def test_a_job_is_stored_once(state):
    job = new_job()
    first, again = state.submit_job(job), state.submit_job(job)
    assert (first[0], again[0]) == (True, False)
    assert first[1] == again[1] == state.get_job(job.job_id)
    assert first[1].status is JobStatus.QUEUED
    assert kinds(state, job) == ["job_submitted"]


def test_the_events_of_a_run_have_the_correlation_id_of_its_request(state):
    first = new_job().model_copy(update={"correlation_id": "first"})
    _, job = state.submit_job(first)
    state.cancel_job(job.job_id)
    again = first.model_copy(update={"correlation_id": "second"})
    _, job = state.submit_job(again)
    state.submit_job(first)
    assert job.correlation_id == state.get_job(job.job_id).correlation_id == "second"
    ids = [event.correlation_id for event in state.events(job.job_id, 0, 1000)]
    assert ids == ["first", "first", "second"]


def test_tasks_are_in_use_until_no_retry_can_need_them(state):
    job, [task] = started_stage(state, 1)
    names = [task.task_id, f"{task.task_id}0"]
    assert state.tasks_in_use(names) == {task.task_id}
    assert state.finish_job(job, JobStatus.FAILED, None, BROKEN)
    assert state.tasks_in_use(names) == {task.task_id}
    ended, [other] = started_stage(state, 1)
    cancelled = state.cancel_job(ended.job_id)
    assert state.tasks_in_use([other.task_id]) == {other.task_id}, "it is not discarded yet"
    assert state.mark_discarded(cancelled, NOW)
    assert state.tasks_in_use([other.task_id, task.task_id]) == {task.task_id}
    state.submit_job(job)
    assert state.tasks_in_use(names) == set(), "its stages have been deleted"


def test_an_unknown_job_is_not_found(state):
    with pytest.raises(JobNotFound):
        state.get_job("0" * 64)
    with pytest.raises(JobNotFound):
        state.cancel_job("0" * 64)
    with pytest.raises(JobNotFound):
        state.retry_job("0" * 64)


def test_a_cancelled_job_is_not_retried_but_submitted_again(state):
    job, _ = started_stage(state, 1)
    state.cancel_job(job.job_id)
    assert state.retry_job(job.job_id)[0] is False
    assert state.submit_job(job)[0] is True


@pytest.mark.parametrize("status", [JobStatus.FAILED, JobStatus.CANCELLED])
def test_resubmitting_a_failed_or_cancelled_job_deletes_its_old_tasks(state, status):
    job, [task] = started_stage(state, 1)
    if status is JobStatus.CANCELLED:
        state.cancel_job(job.job_id)
    else:
        state.finish_job(job, status, None, BROKEN)
    is_new, again = state.submit_job(job)
    assert is_new and again.run == 2 and again.status is JobStatus.QUEUED and again.error is None
    assert claim(state, task.task_id, MINUTE) is None
    assert state.complete_task(task.task_id, 1, {}, None) is None
    assert state.get_stages(job.job_id) == []


@pytest.mark.parametrize("status", [JobStatus.COMPLETED, JobStatus.COMPLETED_WITH_ERRORS])
@pytest.mark.parametrize("with_key", [False, True])
def test_a_completed_job_runs_again_only_if_wanted(state, status, with_key):
    key = RequestKey(uuid.uuid4().hex, "fingerprint") if with_key else None
    job, [task] = started_stage(state, 1)
    assert not state.submit_job(job, runs_again=True)[0]
    state.finish_job(job, status, {"n": 1}, None)
    assert not state.submit_job(job)[0]
    is_new, again = state.submit_job(job, key, runs_again=True)
    assert is_new and (again.run, again.status, again.result) == (2, JobStatus.QUEUED, None)
    assert claim(state, task.task_id, MINUTE) is None


def test_a_stage_starts_once_with_all_its_tasks(state):
    _, job = state.submit_job(new_job())
    tasks = new_tasks(job, 1, 3)
    assert state.start_stage(job, 1, "test", False, tasks)
    assert not state.start_stage(job, 1, "test", False, tasks)
    [stage] = state.get_stages(job.job_id)
    assert (stage.total_tasks, stage.open_tasks, stage.status) == (3, 3, StageStatus.PROCESSING)
    assert state.queued_tasks(job.job_id, 1) == [task.task_id for task in tasks]
    assert state.get_job(job.job_id).stage == 1


def test_a_stage_starts_only_after_the_one_before_and_in_its_own_run(state):
    job, [task] = started_stage(state, 1)
    assert not state.start_stage(job, 2, "test", False, [])
    late = job.model_copy(update={"run": 7})
    state.complete_task(task.task_id, claimed(state, task.task_id).attempt, {}, None)
    assert not state.start_stage(late, 2, "test", False, [])
    assert state.start_stage(job, 2, "test", False, [])


def test_a_stage_without_tasks_is_complete_at_once(state):
    job, _ = started_stage(state, 0)
    [stage] = state.get_stages(job.job_id)
    assert stage.is_closed and stage.status is StageStatus.COMPLETED and stage.finished_at


def test_a_claim_counts_the_attempt_and_excludes_other_workers(state):
    _, [task] = started_stage(state, 1)
    mine = claimed(state, task.task_id)
    assert (mine.attempt, mine.status) == (1, TaskStatus.PROCESSING)
    assert claim(state, task.task_id, MINUTE).outcome is ClaimOutcome.LEASED
    assert claim(state, "unknown", MINUTE) is None


def test_a_task_can_be_claimed_after_its_lease_expired_and_stale_writes_are_refused(state):
    job, [task] = started_stage(state, 1)
    late = claimed(state, task.task_id, NOW)
    winner = claimed(state, task.task_id)
    assert winner.attempt == 2

    refused = state.complete_task(task.task_id, late.attempt, {"from": "late"}, None)
    assert not refused.applied and not refused.stage.is_closed
    assert not state.retry_task_later(task.task_id, late.attempt, TRANSIENT, NOW)
    assert state.renew_leases([HeldTask(task.task_id, late.attempt, 0.5, "")], MINUTE) == set()

    done = state.complete_task(task.task_id, winner.attempt, {"from": "winner"}, None)
    assert done.applied and done.stage.is_closed
    assert state.results(job.job_id, 1) == [{"from": "winner"}]
    assert "attempt_lost" in kinds(state, job)
    assert kinds(state, job).count("late_write_refused") == 2


def test_a_task_without_attempts_left_is_exhausted(state):
    _, [task] = started_stage(state, 1)
    for _ in range(3):
        claimed(state, task.task_id, NOW)
    last = claim(state, task.task_id, MINUTE)
    assert last.outcome is ClaimOutcome.EXHAUSTED
    done = state.complete_task(task.task_id, last.task.attempt, None, BROKEN)
    assert done.applied and done.stage.status is StageStatus.FAILED


def test_each_task_of_a_batch_has_its_own_claim_outcome(state):
    _, tasks = started_stage(state, 4)
    held, lapsed, queued, ended = (task.task_id for task in tasks)
    claimed(state, held)
    claimed(state, lapsed, NOW)
    state.complete_task(ended, claimed(state, ended).attempt, {}, None)
    claims = state.claim_tasks([queued, ended, "unknown", held, lapsed, queued], MINUTE)
    assert {each.task.task_id: (each.outcome, each.task.attempt) for each in claims} == {
        held: (ClaimOutcome.LEASED, 1),
        lapsed: (ClaimOutcome.RUN_ALONE, 1),
        queued: (ClaimOutcome.CLAIMED, 1),
        ended: (ClaimOutcome.FINAL, 1),
    }
    assert len(claims) == 4
    assert claimed(state, lapsed).attempt == 2


def test_each_task_of_a_batch_has_its_own_fence(state):
    job, tasks = started_stage(state, 3)
    other_job, [other] = started_stage(state, 1)
    one, late, two = (claimed(state, task.task_id, NOW) for task in tasks)
    alone = claimed(state, other.task_id)
    winner = claimed(state, late.task_id)
    done = [Done(each.task_id, each.attempt, {"n": each.task_index}) for each in (one, late, two)]
    written = state.complete_tasks([*done, Done(alone.task_id, 1, {}), Done("unknown", 1, {})])
    assert {task_id: each.applied for task_id, each in written.items()} == {
        one.task_id: True,
        late.task_id: False,
        two.task_id: True,
        alone.task_id: True,
    }
    assert written[one.task_id].stage.open_tasks == 1 == written[late.task_id].stage.open_tasks
    assert written[alone.task_id].stage.status is StageStatus.COMPLETED
    assert kinds(state, job).count("late_write_refused") == 1
    assert kinds(state, other_job).count("stage_completed") == 1

    again = state.complete_tasks([*done[:1], Done(late.task_id, winner.attempt, {"n": 1})])
    assert [again[task_id].applied for task_id in (one.task_id, late.task_id)] == [False, True]
    assert again[one.task_id].stage.is_closed
    assert state.results(job.job_id, 1) == [{"n": 0}, {"n": 1}, {"n": 2}]
    assert kinds(state, job).count("late_write_refused") == 1
    assert kinds(state, job).count("stage_completed") == 1


def test_repeating_a_completion_changes_nothing_and_returns_the_same(state):
    job, [one, two] = started_stage(state, 2)
    attempt = claimed(state, one.task_id).attempt
    first = state.complete_task(one.task_id, attempt, {"n": 1}, None)
    again = state.complete_task(one.task_id, attempt, {"n": 2}, None)
    assert (first.applied, again.applied) == (True, False)
    assert first.stage == again.stage and again.stage.open_tasks == 1
    assert claim(state, one.task_id, MINUTE).outcome is ClaimOutcome.FINAL
    assert "late_write_refused" not in kinds(state, job)
    state.complete_task(two.task_id, claimed(state, two.task_id).attempt, {"n": 3}, None)
    assert state.results(job.job_id, 1) == [{"n": 1}, {"n": 3}]


def test_results_are_read_in_pages(state):
    job, tasks = started_stage(state, 5, best_effort=True)
    for task in tasks:
        attempt = claimed(state, task.task_id).attempt
        error = Failure(code="X", message="x") if task.task_index == 1 else None
        result = None if error else {"n": task.task_index}
        state.complete_task(task.task_id, attempt, result, error)
    pages = [state.results_after(job.job_id, 1, after, 2) for after in (-1, 2, 4)]
    assert pages == [[(0, {"n": 0}), (2, {"n": 2})], [(3, {"n": 3}), (4, {"n": 4})], []]


def test_the_last_task_closes_the_stage(state):
    job, tasks = started_stage(state, 5)
    answers = [
        state.complete_task(t.task_id, claimed(state, t.task_id).attempt, {}, None).stage
        for t in reversed(tasks)
    ]
    assert [stage.open_tasks for stage in answers] == [4, 3, 2, 1, 0]
    assert answers[-1].status is StageStatus.COMPLETED and answers[-1].completed_tasks == 5
    assert kinds(state, job)[-1] == "stage_completed"
    ended = {task.task_id: claim(state, task.task_id, MINUTE).task.finished_at for task in tasks}
    assert [key for key, at in ended.items() if at == answers[-1].finished_at] == [tasks[0].task_id]


def test_a_failed_task_fails_its_stage_and_cancels_the_rest(state):
    job, [one, two, three] = started_stage(state, 3)
    running = claimed(state, two.task_id)
    done = state.complete_task(one.task_id, claimed(state, one.task_id).attempt, None, BROKEN)
    assert done.stage.is_closed and done.stage.status is StageStatus.FAILED
    assert (done.stage.failed_tasks, done.stage.cancelled_tasks) == (1, 2)
    assert state.first_failure(job.job_id, 1) == BROKEN
    assert state.renew_leases([HeldTask(two.task_id, running.attempt, 0, "")], MINUTE) == set()
    assert not state.complete_task(two.task_id, running.attempt, {}, None).applied
    assert claim(state, three.task_id, MINUTE).outcome is ClaimOutcome.FINAL


def test_a_best_effort_stage_completes_with_errors(state):
    job, [one, two] = started_stage(state, 2, best_effort=True)
    state.complete_task(one.task_id, claimed(state, one.task_id).attempt, None, BROKEN)
    done = state.complete_task(two.task_id, claimed(state, two.task_id).attempt, {"n": 2}, None)
    assert done.stage.status is StageStatus.COMPLETED_WITH_ERRORS
    assert state.results(job.job_id, 1) == [{"n": 2}]
    assert state.start_stage(job, 2, "test", False, [])


def test_a_retry_waits_its_delay_and_keeps_the_error(state):
    job, [task] = started_stage(state, 1)
    attempt = claimed(state, task.task_id).attempt
    assert state.retry_task_later(task.task_id, attempt, TRANSIENT, MINUTE)
    assert claim(state, task.task_id, MINUTE).outcome is ClaimOutcome.EARLY
    assert state.queued_tasks(job.job_id, 1) == []
    [waiting] = state.get_tasks(job.job_id, 1, 10)
    assert waiting.error == TRANSIENT and waiting.status is TaskStatus.QUEUED


def test_a_retry_can_be_claimed_once_it_is_due(state):
    _, [task] = started_stage(state, 1)
    attempt = claimed(state, task.task_id).attempt
    assert state.retry_task_later(task.task_id, attempt, TRANSIENT, NOW)
    assert claimed(state, task.task_id).attempt == attempt + 1


def test_a_heartbeat_keeps_the_lease_and_stores_progress(state):
    job, [task] = started_stage(state, 1)
    attempt = claimed(state, task.task_id, NOW).attempt
    held = HeldTask(task.task_id, attempt, 0.25, "warping")
    assert state.renew_leases([held], MINUTE) == {task.task_id}
    assert claim(state, task.task_id, MINUTE).outcome is ClaimOutcome.LEASED
    [running] = state.get_tasks(job.job_id, 1, 10)
    assert (running.progress, running.progress_message) == (0.25, "warping")


def test_a_job_ends_once(state):
    job, _ = started_stage(state, 0)
    assert state.finish_job(job, JobStatus.COMPLETED, {"n": 1}, None)
    assert not state.finish_job(job, JobStatus.FAILED, None, BROKEN)
    ended = state.get_job(job.job_id)
    assert ended.status is JobStatus.COMPLETED and ended.result == {"n": 1} and ended.finished_at


def test_an_earlier_run_cannot_end_the_current_one(state):
    job, _ = started_stage(state, 1)
    state.cancel_job(job.job_id)
    state.submit_job(job)
    assert not state.finish_job(job, JobStatus.FAILED, None, BROKEN)
    assert state.get_job(job.job_id).status is JobStatus.QUEUED


def test_a_job_is_not_ended_by_a_caller_with_an_older_stage(state):
    _, seen = state.submit_job(new_job())
    state.start_stage(seen, 1, "test", False, new_tasks(seen, 1, 1))
    assert not state.finish_job(seen, JobStatus.FAILED, None, BROKEN)
    assert state.get_job(seen.job_id).status is JobStatus.PROCESSING


def test_cancel_cancels_open_tasks_and_keeps_completed_ones(state):
    job, [one, two, three] = started_stage(state, 3)
    state.complete_task(one.task_id, claimed(state, one.task_id).attempt, {}, None)
    running = claimed(state, two.task_id)
    assert state.cancel_job(job.job_id).status is JobStatus.CANCELLED
    statuses = [task.status for task in state.get_tasks(job.job_id, 1, 10)]
    assert statuses == ["completed", "cancelled", "cancelled"]
    [stage] = state.get_stages(job.job_id)
    assert (stage.status, stage.cancelled_tasks, stage.open_tasks) == ("cancelled", 2, 0)
    assert not state.complete_task(two.task_id, running.attempt, {}, None).applied
    assert claim(state, three.task_id, MINUTE).outcome is ClaimOutcome.FINAL
    assert state.cancel_job(job.job_id).status is JobStatus.CANCELLED


def test_an_ended_job_is_not_cancelled(state):
    job, _ = started_stage(state, 0)
    state.finish_job(job, JobStatus.COMPLETED, {}, None)
    assert state.cancel_job(job.job_id).status is JobStatus.COMPLETED
    assert state.retry_job(job.job_id)[0] is False


def test_retry_runs_the_failed_tasks_and_keeps_the_other_results(state):
    job, [one, two] = started_stage(state, 2)
    state.complete_task(one.task_id, claimed(state, one.task_id).attempt, {"n": 1}, None)
    for _ in range(3):
        last = claimed(state, two.task_id, NOW)
    state.complete_task(two.task_id, last.attempt, None, BROKEN)
    state.finish_job(job, JobStatus.FAILED, None, BROKEN)

    retried, again = state.retry_job(job.job_id)
    assert retried and again.run == 2 and again.status is JobStatus.PROCESSING
    assert state.queued_tasks(job.job_id, 1) == [two.task_id]
    fresh = claimed(state, two.task_id)
    assert fresh.attempt == last.attempt + 1 and fresh.attempts_left == 2
    done = state.complete_task(two.task_id, fresh.attempt, {"n": 2}, None)
    assert done.stage.status is StageStatus.COMPLETED
    assert state.results(job.job_id, 1) == [{"n": 1}, {"n": 2}]


def started_with_limit(state, count, limit, *, best_effort=False):
    _, job = state.submit_job(new_job())
    tasks = new_tasks(job, 1, count)
    assert state.start_stage(job, 1, "test", best_effort, tasks, limit)
    return state.get_job(job.job_id), [task.task_id for task in tasks]


def test_a_batch_logs_what_it_refuses_after_the_end_of_the_stage(state):
    job, tasks = started_stage(state, 2)
    late, last = (claimed(state, task.task_id, NOW) for task in tasks)
    winner = claimed(state, late.task_id)
    state.complete_task(winner.task_id, winner.attempt, {}, None)
    state.complete_tasks([Done(each.task_id, each.attempt, {}) for each in (late, last)])
    assert kinds(state, job)[-2:] == ["stage_completed", "late_write_refused"]


def test_each_task_that_ends_releases_one_that_is_held(state):
    job, ids = started_with_limit(state, 5, 2, best_effort=True)
    assert state.queued_tasks(job.job_id, 1) == ids[:2]
    attempt = claimed(state, ids[0]).attempt
    assert state.complete_task(ids[0], attempt, {}, None).released == ids[2]
    assert state.complete_task(ids[0], attempt, {}, None).released is None
    assert state.queued_tasks(job.job_id, 1) == ids[1:3]
    failed = state.complete_task(ids[1], claimed(state, ids[1]).attempt, None, BROKEN)
    assert failed.released == ids[3]
    done = [Done(each, claimed(state, each).attempt, {}) for each in ids[2:4]]
    written = state.complete_tasks(done)
    assert {each.released for each in written.values()} == {ids[4], None}
    last = state.complete_task(ids[4], claimed(state, ids[4]).attempt, {}, None)
    assert last.released is None and last.stage.is_closed


def test_completions_of_a_batch_release_tasks_of_their_own_stage(state):
    jobs = [started_with_limit(state, 4, 2) for _ in range(2)]
    done = [Done(each, claimed(state, each).attempt, {}) for _, ids in jobs for each in ids[:2]]
    written = state.complete_tasks(done)
    for _, ids in jobs:
        assert {written[each].released for each in ids[:2]} == set(ids[2:])


def test_a_failure_that_closes_the_stage_releases_nothing(state):
    job, ids = started_with_limit(state, 3, 1)
    done = state.complete_task(ids[0], claimed(state, ids[0]).attempt, None, BROKEN)
    assert done.released is None and done.stage.cancelled_tasks == 2
    assert state.queued_tasks(job.job_id, 1) == []


def test_the_sweep_and_the_health_check_ignore_held_tasks(state):
    job, ids = started_with_limit(state, 3, 1)
    mine = [m.task_id for m in state.sweep(1000, NOW) if isinstance(m, TaskMessage)]
    assert [each for each in mine if each in ids] == ids[:1]
    done = state.complete_task(ids[0], claimed(state, ids[0]).attempt, {}, None)
    mine = [m.task_id for m in state.sweep(1000, NOW) if isinstance(m, TaskMessage)]
    assert [each for each in mine if each in ids] == [done.released]
    state.cancel_job(job.job_id)
    assert {task.status for task in state.get_tasks(job.job_id, 1, 10)[1:]} == {
        TaskStatus.CANCELLED
    }


def test_retry_releases_failed_and_cancelled_tasks_up_to_the_limit(state):
    job, ids = started_with_limit(state, 5, 2)
    state.complete_task(ids[0], claimed(state, ids[0]).attempt, {}, None)
    state.complete_task(ids[1], claimed(state, ids[1]).attempt, None, BROKEN)
    state.finish_job(job, JobStatus.FAILED, None, BROKEN)
    state.retry_job(job.job_id)
    assert state.queued_tasks(job.job_id, 1) == ids[1:3]
    for index in (1, 2, 3, 4):
        attempt = claimed(state, ids[index]).attempt
        done = state.complete_task(ids[index], attempt, {}, None)
        assert done.released == (ids[index + 2] if index < 3 else None)
    assert done.stage.is_closed


def test_a_job_keeps_its_priority_until_it_is_submitted_again(state):
    high = new_job().model_copy(update={"priority": Priority.HIGH})
    low = high.model_copy(update={"priority": Priority.LOW})
    state.submit_job(high)
    assert state.submit_job(low)[1].priority is Priority.HIGH
    state.cancel_job(high.job_id)
    assert state.submit_job(low)[1].priority is Priority.LOW
    assert state.get_job(high.job_id).priority is Priority.LOW


def test_retry_drops_stages_made_from_incomplete_results(state):
    job, [one] = started_stage(state, 1, best_effort=True)
    state.complete_task(one.task_id, claimed(state, one.task_id).attempt, None, BROKEN)
    second = new_tasks(job, 2, 1)
    state.start_stage(job, 2, "test", False, second)
    attempt = claimed(state, second[0].task_id).attempt
    state.complete_task(second[0].task_id, attempt, {}, None)
    state.finish_job(state.get_job(job.job_id), JobStatus.COMPLETED_WITH_ERRORS, {}, None)
    retried, again = state.retry_job(job.job_id)
    assert retried and again.stage == 1
    assert [stage.stage for stage in state.get_stages(job.job_id)] == [1]
    assert claim(state, second[0].task_id, MINUTE) is None


def test_retry_of_a_job_whose_finalize_failed_keeps_its_stages(state):
    job, [one] = started_stage(state, 1, total_stages=1)
    state.complete_task(one.task_id, claimed(state, one.task_id).attempt, {}, None)
    state.finish_job(job, JobStatus.FAILED, None, BROKEN)
    retried, again = state.retry_job(job.job_id)
    assert retried and again.stage == 1 and again.status is JobStatus.PROCESSING


def test_the_sweep_finds_a_job_that_lost_its_first_message(state):
    _, job = state.submit_job(new_job())
    assert state.sweep(10, MINUTE) == []
    assert state.sweep(10, NOW) == [JobMessage(job_id=job.job_id, run=1, stage=1)]
    assert kinds(state, job)[-1] == "repaired"


def test_the_sweep_finds_a_closed_stage_that_did_not_advance(state):
    job, [task] = started_stage(state, 1)
    state.complete_task(task.task_id, claimed(state, task.task_id).attempt, {}, None)
    assert state.sweep(10, MINUTE) == []
    assert state.sweep(10, NOW) == [JobMessage(job_id=job.job_id, run=1, stage=2)]


def test_the_sweep_finds_queued_tasks_and_expired_leases_up_to_its_limit(state):
    _, tasks = started_stage(state, 4)
    claimed(state, tasks[0].task_id, NOW)
    claimed(state, tasks[1].task_id, MINUTE)
    found = state.sweep(10, NOW)
    expected = {tasks[i].task_id for i in (0, 2, 3)}
    assert {message.task_id for message in found} == expected
    assert all(isinstance(message, TaskMessage) for message in found)
    assert len(state.sweep(2, NOW)) == 2


def test_the_sweep_gives_its_messages_the_correlation_id_of_their_job(state):
    job = new_job().model_copy(update={"correlation_id": "trace-1"})
    state.submit_job(job)
    assert job.stage_message(1) in state.sweep(1000, NOW)
    [task] = new_tasks(job, 1, 1)
    assert state.start_stage(state.get_job(job.job_id), 1, "test", False, [task])
    found = TaskMessage(task_id=task.task_id, job_type="test", correlation_id="trace-1")
    assert found in state.sweep(1000, NOW)


def test_sweeps_with_a_small_limit_reach_every_job_in_turn(state):
    _, tasks = started_stage(state, 5)
    waiting = {state.submit_job(new_job())[1].job_id for _ in range(5)}
    found = [message for _ in range(5) for message in state.sweep(1, NOW)]
    redelivered = {each.job_id for each in found if isinstance(each, JobMessage)}
    assert redelivered == waiting and len(found) == 10
    assert {each.task_id for each in found if isinstance(each, TaskMessage)} == {
        task.task_id for task in tasks
    }


def test_the_sweep_does_not_redeliver_twice_within_its_grace(state):
    _, [task] = started_stage(state, 1)
    claimed(state, task.task_id, NOW)
    assert len(state.sweep(10, MINUTE)) == 1
    assert state.sweep(10, MINUTE) == []


def test_the_sweep_skips_ended_jobs_and_its_run_is_in_health(state):
    job, _ = started_stage(state, 3)
    state.finish_job(job, JobStatus.FAILED, None, BROKEN)
    assert state.sweep(10, NOW) == []
    health = state.health()
    assert health.sweep_age is not None and health.total_repaired == 0 and health.open_jobs == 0


def test_the_sweep_finds_a_cancelled_job_until_its_outputs_are_discarded(state):
    job, _ = started_stage(state, 1)
    cancelled = state.cancel_job(job.job_id)
    assert state.sweep(10, NOW) == [JobMessage(job_id=job.job_id, run=1, stage=2)]
    assert not state.mark_discarded(cancelled.model_copy(update={"run": 2}), NOW)
    assert not state.mark_discarded(cancelled, MINUTE)
    assert state.get_job(job.job_id).discarded_at is None
    assert state.mark_discarded(cancelled, NOW)
    assert state.get_job(job.job_id).discarded_at is not None
    assert state.sweep(10, NOW) == []


def test_old_jobs_are_purged_in_batches_but_not_open_or_undiscarded_ones(state):
    ended = []
    for _ in range(3):
        job, _ = started_stage(state, 1)
        state.finish_job(job, JobStatus.FAILED, None, BROKEN)
        ended.append(job.job_id)
    running, _ = started_stage(state, 1)
    cancelled, _ = started_stage(state, 1)
    state.cancel_job(cancelled.job_id)
    assert state.purge_jobs(MINUTE, 10) == []
    assert sorted(state.purge_jobs(NOW, 2)) == sorted(ended[:2])
    assert state.purge_jobs(NOW, 10) == ended[2:]
    with pytest.raises(JobNotFound):
        state.get_job(ended[0])
    assert state.events(ended[0], 0, 10) == []
    assert state.get_job(running.job_id) and state.get_job(cancelled.job_id)


def test_failed_and_lost_attempts_are_kept(state):
    _, [task] = started_stage(state, 1)
    lost = claimed(state, task.task_id, NOW)
    again = claimed(state, task.task_id)
    state.retry_task_later(task.task_id, again.attempt, TRANSIENT, NOW)
    kept = state.attempts([task.task_id])
    assert [(a.attempt, a.error.code) for a in kept] == [(1, "WORKER_LOST"), (2, "TRANSIENT")]
    assert all(attempt.started_at and attempt.finished_at for attempt in kept)
    assert lost.attempt == 1 and state.attempts(["unknown"]) == []


def test_tasks_are_paged_over_all_stages(state):
    job, tasks = started_stage(state, 3)
    for task in tasks:
        state.complete_task(task.task_id, claimed(state, task.task_id).attempt, {}, None)
    state.start_stage(job, 2, "test", False, new_tasks(job, 2, 1))
    first = state.list_tasks(job.job_id, (0, 0), 2)
    rest = state.list_tasks(job.job_id, (first[-1].stage, first[-1].task_index), 10)
    assert [(t.stage, t.task_index) for t in first + rest] == [(1, 0), (1, 1), (1, 2), (2, 0)]


def test_tasks_are_listed_by_status_and_with_their_results_on_request(state):
    job, tasks = started_stage(state, 4, best_effort=True)
    failure = Failure(code="WRONG", message="wrong")
    for task, error in zip(tasks, [None, failure, None, failure], strict=True):
        attempt = claimed(state, task.task_id).attempt
        state.complete_task(task.task_id, attempt, None if error else {"n": 1}, error)

    def listed(after=(0, 0), **wanted):
        return state.list_tasks(job.job_id, after, 10, TaskFilter(**wanted))

    failed = listed(statuses=[TaskStatus.FAILED])
    assert [task.task_index for task in failed] == [1, 3]
    assert [task.task_index for task in listed((1, 1), statuses=[TaskStatus.FAILED])] == [3]
    ended = listed(statuses=[TaskStatus.COMPLETED, TaskStatus.FAILED], with_results=True)
    assert [task.result for task in ended] == [{"n": 1}, None, {"n": 1}, None]
    assert [task.result for task in listed()] == [None] * 4


def test_a_dead_letter_is_stored_once_and_added_to_its_jobs_timeline(state):
    job, [task] = started_stage(state, 1)
    dead_letter = DeadLetter(
        queue="tasks", message_id="m1", reason="MaxDeliveryCountExceeded", description=None,
        body="{}", task_id=task.task_id,
    )  # fmt: skip
    assert state.record_dead_letter(dead_letter) == state.record_dead_letter(dead_letter) == 1
    assert state.record_dead_letter(dead_letter.model_copy(update={"message_id": "m3"})) == 2
    invalid = dead_letter.model_copy(update={"message_id": "m2", "task_id": None, "body": "\x01?"})
    state.record_dead_letter(invalid)
    assert kinds(state, job).count("dead_lettered") == 2
    assert state.health().dead_letters == 3


def test_events_are_paged_in_order(state):
    job, _ = started_stage(state, 0)
    state.finish_job(job, JobStatus.COMPLETED, {}, None)
    first, *rest = state.events(job.job_id, 0, 1)
    assert rest == [] and first.kind == "job_submitted"
    later = [event.kind for event in state.events(job.job_id, first.event_id, 10)]
    assert later == ["stage_started", "job_completed"]


def test_the_last_attempt_is_not_lost_before_the_task_fails(state):
    _, [task] = started_stage(state, 1)
    attempts = [claimed(state, task.task_id, NOW).attempt for _ in range(3)]
    assert claim(state, task.task_id, MINUTE).outcome is ClaimOutcome.EXHAUSTED
    assert state.complete_task(task.task_id, attempts[-1], {"late": True}, None).applied
    assert [attempt.attempt for attempt in state.attempts([task.task_id])] == attempts[:-1]


def test_a_list_of_jobs_is_paged_newest_first(state):
    stored = [state.submit_job(new_job())[1] for _ in range(5)]
    newest_first = sorted(stored, key=lambda job: (job.created_at, job.job_id), reverse=True)
    seen, after = [], None
    while page := state.list_jobs(JobFilter(), after, 2):
        assert len(page) <= 2
        seen += page
        after = JobCursor(page[-1].created_at, page[-1].job_id)
    assert [job.job_id for job in seen] == [job.job_id for job in newest_first]


def test_a_list_of_jobs_is_filtered_and_shows_no_results(state):
    job, _ = started_stage(state, 0)
    other = state.submit_job(new_job().model_copy(update={"job_type": "other"}))[1]
    state.finish_job(job, JobStatus.FAILED, {"large": True}, BROKEN)

    def ids(*statuses, job_types=()):
        return listed(state, statuses=statuses, job_types=job_types)

    assert ids(JobStatus.FAILED) == [job.job_id]
    assert ids(JobStatus.QUEUED, JobStatus.COMPLETED) == [other.job_id]
    assert set(ids(JobStatus.QUEUED, JobStatus.FAILED)) == {job.job_id, other.job_id}
    assert ids(job_types=["other"]) == [other.job_id]
    assert set(ids(job_types=["other", job.job_type])) == {job.job_id, other.job_id}
    assert ids(JobStatus.FAILED, job_types=["other"]) == []
    [found] = state.list_jobs(JobFilter(statuses=[JobStatus.FAILED]), None, 10)
    assert found.error == BROKEN and found.result is None


def listed(state, **conditions):
    return [job.job_id for job in state.list_jobs(JobFilter(**conditions), None, 10)]


def test_jobs_are_filtered_by_creation_time(state):
    first, second = (state.submit_job(new_job())[1] for _ in range(2))
    assert first.created_at < second.created_at
    assert listed(state, created_from=second.created_at) == [second.job_id]
    assert listed(state, created_until=first.created_at) == [first.job_id]
    both = {"created_from": first.created_at, "created_until": second.created_at}
    assert listed(state, **both) == [second.job_id, first.job_id]
    assert listed(state, created_from=second.created_at + MINUTE) == []


def test_jobs_are_filtered_by_duration(state):
    state.submit_job(new_job())
    running, _ = started_stage(state, 1)
    ended, _ = started_stage(state, 0)
    state.finish_job(ended, JobStatus.COMPLETED, {}, None)
    found = state.get_job(ended.job_id)
    took = (found.finished_at - found.started_at).total_seconds()
    assert listed(state, least_seconds=0) == [ended.job_id, running.job_id]
    assert ended.job_id in listed(state, least_seconds=took, most_seconds=took)
    head_start = (found.started_at - state.get_job(running.job_id).started_at).total_seconds()
    assert listed(state, least_seconds=took + head_start) == [running.job_id]
    assert listed(state, most_seconds=took + head_start / 2) == [ended.job_id]


def test_a_key_always_finds_the_job_of_its_first_request(state):
    first, second = new_job(), new_job()
    key = RequestKey("a key", "first request")
    assert state.find_submission(key) is None
    assert state.submit_job(first, key)[0] is True
    state.cancel_job(first.job_id)
    assert state.submit_job(first, key) == (False, state.get_job(first.job_id))
    assert state.submit_job(second, key)[1].job_id == first.job_id
    assert state.find_submission(key).status is JobStatus.CANCELLED
    with pytest.raises(JobNotFound):
        state.get_job(second.job_id)


def test_a_key_of_a_different_request_is_refused_and_stores_nothing(state):
    state.submit_job(new_job(), RequestKey("taken", "first request"))
    other, key = new_job(), RequestKey("taken", "second request")
    with pytest.raises(KeyReused, match="taken"):
        state.find_submission(key)
    with pytest.raises(KeyReused):
        state.submit_job(other, key)
    with pytest.raises(JobNotFound):
        state.get_job(other.job_id)


def test_a_new_key_can_find_an_existing_job(state):
    job = new_job()
    state.submit_job(job)
    assert state.submit_job(job, RequestKey("later", "request"))[0] is False
    assert state.find_submission(RequestKey("later", "request")).job_id == job.job_id


def test_a_key_is_purged_with_its_job(state):
    job, key = new_job(), RequestKey("gone", "request")
    _, stored = state.submit_job(job, key)
    state.finish_job(stored, JobStatus.FAILED, None, BROKEN)
    assert state.purge_jobs(NOW, 10) == [job.job_id]
    assert state.find_submission(key) is None


def test_a_stale_write_reopens_the_discard_of_a_cancelled_job(state):
    job, _ = started_stage(state, 1)
    assert state.reopen_discard(job.job_id) is None and state.reopen_discard("unknown") is None
    state.mark_discarded(state.cancel_job(job.job_id), NOW)
    again = state.reopen_discard(job.job_id)
    assert again is not None and again.discarded_at is None
    assert state.sweep(10, NOW) == [JobMessage(job_id=job.job_id, run=1, stage=2)]


def test_a_retried_job_keeps_the_errors_of_its_earlier_attempts(state):
    job, [task] = started_stage(state, 1)
    state.complete_task(task.task_id, claimed(state, task.task_id).attempt, None, BROKEN)
    state.finish_job(job, JobStatus.FAILED, None, BROKEN)
    state.retry_job(job.job_id)
    [kept] = state.attempts([task.task_id])
    assert (kept.attempt, kept.error) == (1, BROKEN)


def test_the_oldest_queued_task_is_found_wherever_it_is_in_its_stage(state):
    _, tasks = started_stage(state, 3)
    attempt = claimed(state, tasks[1].task_id).attempt
    assert state.retry_task_later(tasks[1].task_id, attempt, TRANSIENT, -MINUTE)
    age = state.health().oldest_queued_task_age
    assert age is not None and age >= 60
