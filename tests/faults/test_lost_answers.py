"""The connection is cut after a commit, before the response: for any one statement.

The statement is repeated and must return the same as the first time: no attempt is used up, and no
write is reported as late or without effect.
"""

from datetime import timedelta
from itertools import count

import psycopg
import pytest
from psycopg_pool import ConnectionPool

from core.errors import TaskFailed
from core.handler import RetryPolicy, TaskContext, quick, retry
from core.models import JobStatus
from infrastructure import retrying
from infrastructure.postgres import PostgresState
from tests.faults.evidence import rows
from tests.faults.invariants import ALWAYS
from tests.fixtures.records import MINUTE
from tests.fixtures.squares import Bench, Square, Squared

NEVER = 10**6
UNEXPECTED = {"attempt_lost", "late_write_refused"}


class Wire:
    """Counts statements, and loses the response to the one at `loses_at`."""

    statements, loses_at = 0, NEVER


class ForgetfulCursor(psycopg.Cursor):
    def execute(self, *args, **kwargs):
        answer = super().execute(*args, **kwargs)
        Wire.statements += 1
        if Wire.statements == Wire.loses_at:
            raise psycopg.OperationalError("the connection was cut before the answer came")
        return answer


@pytest.fixture
def lossy_state(database_url, monkeypatch):
    """A state over connections that lose a response."""

    class Connection(psycopg.Connection):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            self.cursor_factory = ForgetfulCursor

    monkeypatch.setattr(retrying, "FIRST_PAUSE_SECONDS", 0.001)
    plain = {"autocommit": True}
    with ConnectionPool(
        database_url, min_size=1, connection_class=Connection, kwargs=plain
    ) as pool:
        yield PostgresState(pool)
    Wire.statements, Wire.loses_at = 0, NEVER


class Unreliable:
    """A handler with one transient error, and one task that fails until the retry."""

    def __init__(self):
        self.blinks, self.refuses, self.calls = True, True, []

    def __call__(self, params: Square, ctx: TaskContext) -> Squared:
        self.calls.append(params.number)
        if params.number == 1 and self.blinks:
            self.blinks = False
            raise OSError("the disk blinked")
        if params.number == 2 and self.refuses:
            raise TaskFailed("NOT_YET", "not yet")
        return Squared(value=params.number**2)


def whimsical_bench(state, is_quick):
    whims = Unreliable()

    @retry(RetryPolicy(attempts=2, base=timedelta(0), cap=timedelta(0)))
    def square(params: Square, ctx: TaskContext) -> Squared:
        return whims(params, ctx)

    bench = Bench(
        handler=quick(square) if is_quick else square,
        state=state,
        lease=MINUTE,
        heartbeat=timedelta(hours=1),
    )
    return bench, whims


def survives_a_lost_response(lossy_state, loses_at, is_quick):
    """Run a job with one lost response. False if it needed fewer statements."""
    bench, whims = whimsical_bench(lossy_state, is_quick)
    Wire.statements, Wire.loses_at = 0, loses_at
    failed = bench.run("lenient", n=4, fail_at=-loses_at - NEVER * is_quick)
    assert failed.status is JobStatus.COMPLETED_WITH_ERRORS
    whims.refuses = False
    bench.machine.retry(failed.job_id)
    bench.drain()
    has_lost, Wire.loses_at = Wire.statements >= loses_at, NEVER
    job = lossy_state.get_job(failed.job_id)
    assert (job.status, job.run, job.result) == (JobStatus.COMPLETED, 2, {"total": 14})
    assert sorted(whims.calls) == [0, 1, 1, 2, 2, 3]
    kinds = [event.kind for event in lossy_state.events(job.job_id, 0, 1000)]
    assert not UNEXPECTED & set(kinds) and kinds.count("job_retried") == 1
    return has_lost


@pytest.mark.parametrize("is_quick", [False, True], ids=["alone", "in a batch"])
def test_a_job_survives_the_loss_of_the_response_to_any_statement(lossy_state, is_quick):
    positions = count(1)
    while survives_a_lost_response(lossy_state, next(positions), is_quick):
        pass
    assert next(positions) > 20
    with lossy_state.pool.connection() as connection:
        for text, query in ALWAYS.items():
            assert rows(connection, query) == [], text
