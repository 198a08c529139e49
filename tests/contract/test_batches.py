"""Batches: the tasks of a batch do not depend on each other."""

from datetime import timedelta

from core.handler import RetryPolicy, TaskContext, quick, retry
from core.models import JobStatus
from tests.fixtures.records import NOW
from tests.fixtures.squares import Bench, Square, Squared

AT_ONCE = RetryPolicy(attempts=3, base=timedelta(0), cap=timedelta(0))


class Crash(BaseException):
    """Simulates the end of the process; no handler of exceptions catches it."""


@quick
@retry(AT_ONCE)
def deadly(params: Square, ctx: TaskContext) -> Squared:
    """A handler whose third task ends its process, as running out of memory does."""
    if params.number == 2:
        raise Crash
    return Squared(value=params.number**2)


def drain_with_redelivery(bench):
    """Redeliver a batch after each crash. Returns the number of crashes."""
    crashes = []

    def deliver(batch):
        try:
            bench.machine.process_tasks(batch)
        except Crash:
            crashes.append(batch)
            assert len(crashes) < 20
            bench.bus.messages.extend(batch)

    bench.bus.drain(bench.machine.process_job_message, deliver)
    return len(crashes)


def test_a_task_that_kills_its_worker_fails_alone(state):
    bench = Bench(handler=deadly, state=state, lease=NOW, heartbeat=timedelta(hours=1))
    job = bench.machine.submit("lenient", {"n": 6}).job
    assert drain_with_redelivery(bench) == AT_ONCE.attempts
    ended = bench.state.get_job(job.job_id)
    assert ended.status is JobStatus.COMPLETED_WITH_ERRORS
    assert ended.result == {"total": 0 + 1 + 9 + 16 + 25}
    [failed] = [task for task in state.get_tasks(job.job_id, 1, 9) if task.error]
    assert (failed.task_index, failed.error.code) == (2, "WORKER_LOST")
