"""Many tasks in one batch: whatever one of them does, the others come to their end."""

from datetime import timedelta

from core.handler import RetryPolicy, TaskContext, quick, retry
from core.models import JobStatus
from tests.fixtures.records import NOW
from tests.fixtures.toys import Bench, Square, Squared

AT_ONCE = RetryPolicy(attempts=3, base=timedelta(0), cap=timedelta(0))


class Died(BaseException):
    """The process is gone: nothing may catch this."""


@quick
@retry(AT_ONCE)
def deadly(params: Square, ctx: TaskContext) -> Squared:
    """The third square takes its process along, as a handler that runs out of memory does."""
    if params.number == 2:
        raise Died
    return Squared(value=params.number**2)


def drain_with_redelivery(bench):
    """A batch whose worker died comes again as it was. Returns how many died."""
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


def test_a_task_that_kills_its_worker_takes_no_other_of_its_batch_along(state):
    bench = Bench(handler=deadly, state=state, lease=NOW, heartbeat=timedelta(hours=1))
    job = bench.machine.submit("lenient", {"n": 6}).job
    assert drain_with_redelivery(bench) == AT_ONCE.attempts
    ended = bench.state.get_job(job.job_id)
    assert ended.status is JobStatus.COMPLETED_WITH_ERRORS
    assert ended.result == {"total": 0 + 1 + 9 + 16 + 25}
    [failed] = [task for task in state.get_tasks(job.job_id, 1, 9) if task.error]
    assert (failed.task_index, failed.error.code) == (2, "WORKER_LOST")
