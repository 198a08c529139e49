"""Batches: the tasks of a batch do not depend on each other."""

from datetime import timedelta

from core.handler import RetryPolicy, TaskContext, quick, retry
from core.models import JobStatus
from tests.fixtures.records import NOW
from tests.fixtures.toys import Bench, Square, Squared

AT_ONCE = RetryPolicy(attempts=3, base=timedelta(0), cap=timedelta(0))


class Died(BaseException):
    """The process died. Nothing may catch this."""


@quick
@retry(AT_ONCE)
def deadly(params: Square, ctx: TaskContext) -> Squared:
    """The third square kills its process, as a handler that runs out of memory does."""
    if params.number == 2:
        raise Died
    return Squared(value=params.number**2)


def drain_with_redelivery(bench):
    """Deliver a batch again whenever its worker died. Returns the number of deaths."""
    deaths = []

    def deliver(batch):
        try:
            bench.machine.process_tasks(batch)
        except Died:
            deaths.append(batch)
            assert len(deaths) < 20
            bench.bus.messages.extend(batch)

    bench.bus.drain(bench.machine.process_job_message, deliver)
    return len(deaths)


def test_a_task_that_kills_its_worker_fails_alone(state):
    bench = Bench(handler=deadly, state=state, lease=NOW, heartbeat=timedelta(hours=1))
    job = bench.machine.submit("lenient", {"n": 6}).job
    assert drain_with_redelivery(bench) == AT_ONCE.attempts
    ended = bench.state.get_job(job.job_id)
    assert ended.status is JobStatus.COMPLETED_WITH_ERRORS
    assert ended.result == {"total": 0 + 1 + 9 + 16 + 25}
    [failed] = [task for task in state.get_tasks(job.job_id, 1, 9) if task.error]
    assert (failed.task_index, failed.error.code) == (2, "WORKER_LOST")
