"""Hosts of two releases at the same time, and jobs that an earlier release stored."""

import math
from datetime import UTC, datetime, timedelta

import pytest

from core import advancement, execution
from core.errors import TaskFailed
from core.handler import RetryPolicy, TaskContext
from core.job import stage
from core.models import JobMessage, JobStatus
from tests.fixtures.squares import (
    Bench,
    Parameters,
    Result,
    Square,
    Squared,
    Squares,
    Sum,
    Total,
    add,
    square,
)


class Longer(Squares):
    """A release with one more stage."""

    @stage(square)
    def squares(self, params: Parameters) -> list[Square]:
        return [Square(number=number) for number in range(params.n)]

    @stage(add)
    def halves(self, params: Parameters, squares: list[Squared]) -> list[Total]:
        return [Total(values=[squared.value for squared in squares])]

    @stage(add)
    def total(self, params: Parameters, halves: list[Sum]) -> list[Total]:
        return [Total(values=[half.total for half in halves])]


class Shorter(Squares):
    """A release with one stage fewer."""

    @stage(square)
    def squares(self, params: Parameters) -> list[Square]:
        return [Square(number=number) for number in range(params.n)]

    def finalize(self, params: Parameters, squares: list[Squared]) -> Result:
        return Result(total=sum(squared.value for squared in squares))


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    """A job whose retries have no delay, because `drain` delivers scheduled messages at once."""
    monkeypatch.setattr(execution, "UNKNOWN_HANDLER_RETRY", RetryPolicy(base=timedelta(0)))


def deliver(bench, messages):
    """Deliver the next `count` messages."""
    for _ in range(messages):
        waiting = [*bench.bus.messages, *(message for _, message in bench.bus.scheduled)]
        bench.bus.messages.clear()
        bench.bus.scheduled.clear()
        bench.bus.messages.extend(waiting[1:])
        if isinstance(waiting[0], JobMessage):
            bench.machine.process_job_message(waiting[0])
        else:
            bench.machine.process_tasks(waiting[:1])


@pytest.mark.parametrize("delivered", [0, 1, 2])
@pytest.mark.parametrize("newer", [Longer, Shorter])
def test_a_job_whose_stages_changed_fails_with_the_reason(state, newer, delivered):
    bench = Bench(state=state)
    job = bench.machine.submit("squares", {"n": 1}).job
    deliver(bench, delivered)
    bench.deploy(newer)
    bench.drain()
    ended = state.get_job(job.job_id)
    assert ended.status is JobStatus.FAILED
    assert ended.error.code in ("JOB_TYPE_NOT_FOUND", "TASK_TYPE_NOT_FOUND")
    assert ended.error.message.endswith(": submit the job again")
    again = bench.run(n=1)
    assert (again.status, again.run, again.result) == (JobStatus.COMPLETED, 2, {"total": 0})


def test_a_host_hands_off_a_job_that_it_does_not_know(state):
    bench = Bench(state=state)
    job = bench.machine.submit("squares", {"n": 2}).job
    for delivered in range(3):
        for jobs in ((), (Squares,)):
            bench.deploy(*jobs)
            deliver(bench, 1)
        assert state.get_job(job.job_id).status is JobStatus.PROCESSING, delivered
    bench.drain()
    assert state.get_job(job.job_id).status is JobStatus.COMPLETED


def test_a_message_for_a_running_stage_is_accepted(state):
    """The job must not end while its tasks are open."""
    bench = Bench(state=state)
    job = bench.machine.submit("squares", {"n": 2}).job
    [first] = bench.bus.messages
    deliver(bench, 1)
    bench.bus.messages.clear()
    bench.deploy()
    bench.machine.process_job_message(first)
    assert len(bench.bus.messages) == 2 and not bench.bus.scheduled
    for number in (1, 2):
        last = JobMessage(job_id=job.job_id, run=1, stage=number, handoffs=advancement.MAX_HANDOFFS)
        bench.machine.process_job_message(last)
    assert state.get_job(job.job_id).status is JobStatus.PROCESSING


def test_a_job_that_no_host_knows_fails(state):
    bench = Bench(state=state)
    job = bench.machine.submit("squares", {"n": 2}).job
    deliver(bench, 1)
    bench.deploy()
    bench.drain()
    ended = state.get_job(job.job_id)
    assert ended.status is not JobStatus.COMPLETED and ended.status.is_final


def test_a_cancelled_job_that_no_host_knows_is_not_redelivered_endlessly(state):
    bench = Bench(state=state, lease=timedelta(0))
    job = bench.machine.submit("squares", {"n": 2}).job
    bench.machine.cancel(job.job_id)
    bench.deploy()
    bench.drain()
    assert state.get_job(job.job_id).discarded_at is not None


def test_the_discard_of_a_cancelled_run_keeps_outputs_of_the_next_run(state):
    owners = []

    class Leaving(Squares):
        @stage(square)
        def squares(self, params: Parameters) -> list[Square]:
            return [Square(number=1)]

        def discard(self, params: Parameters, ports, owner: str) -> None:
            if bench.state.get_job(job.job_id).run == 1:
                bench.machine.submit("squares", {})
            owners.append(owner)

        def finalize(self, params: Parameters) -> Result:
            return Result(total=0)

    bench = Bench(state=state, jobs=[Leaving])
    job = bench.machine.submit("squares", {}).job
    bench.machine.cancel(job.job_id)
    bench.drain()
    [task] = state.get_tasks(job.job_id, 1, 9)
    assert state.get_job(job.job_id).status is JobStatus.COMPLETED
    assert owners and not any(task.task_id.startswith(owner) for owner in owners)


@pytest.mark.parametrize("hours", [-5, 5])
def test_a_worker_with_a_wrong_clock_uses_the_clock_of_the_database(state, monkeypatch, hours):
    class Wrong(datetime):
        @classmethod
        def now(cls, tz=None):
            return datetime.now(tz) + timedelta(hours=hours)

    monkeypatch.setattr(advancement, "datetime", Wrong)
    bench = Bench(state=state, lease=timedelta(minutes=1))
    job = bench.machine.submit("squares", {}).job
    bench.machine.cancel(job.job_id)
    for _ in range(2):
        bench.bus.drain(bench.machine.process_job_message, bench.machine.process_tasks)
    cancelled = state.get_job(job.job_id)
    assert cancelled.discarded_at is None
    [due] = {due for due, _ in bench.bus.scheduled}
    assert due == cancelled.finished_at + bench.lease > datetime.now(UTC)


def test_many_attempts_do_not_overflow_the_backoff():
    policy = RetryPolicy(attempts=math.inf)
    assert all(policy.delay(attempt) <= policy.cap for attempt in (46, 60, 1025, 10**6))


def test_the_backoff_restarts_when_a_job_is_retried(state):
    broken = [True]

    def square(params: Square, ctx: TaskContext) -> Squared:
        if broken:
            raise TaskFailed("NO", "not yet")
        raise OSError("disk error")

    bench = Bench(handler=square, state=state)
    failed = bench.run(n=1)
    for _ in range(8):
        bench.machine.retry(failed.job_id)
        bench.drain()
    broken.clear()
    bench.machine.retry(failed.job_id)
    bench.bus.drain(bench.machine.process_job_message, bench.machine.process_tasks)
    [task] = state.get_tasks(failed.job_id, 1, 9)
    assert task.scheduled_at - datetime.now(UTC) < timedelta(seconds=5)
