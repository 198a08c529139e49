"""The database commits, and the connection is cut before its answer: any statement, once.

The statement is repeated, and must find what it did the first time: no attempt is spent, nothing
is told to be late or lost, and no caller hears that there was nothing to do.
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
from tests.faults.invariants import ALWAYS, rows
from tests.fixtures.records import MINUTE
from tests.fixtures.toys import Bench, Square, Squared

NEVER = 10**6
LIES = {"attempt_lost", "late_write_refused"}


class Wire:
    """Counts statements, and loses the answer of the one at `loses_at`."""

    statements, loses_at = 0, NEVER


class ForgetfulCursor(psycopg.Cursor):
    def execute(self, *args, **kwargs):
        answer = super().execute(*args, **kwargs)
        Wire.statements += 1
        if Wire.statements == Wire.loses_at:
            raise psycopg.OperationalError("the connection was cut before the answer came")
        return answer


@pytest.fixture
def forgetful(database_url, monkeypatch):
    """A state whose answers get lost."""

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


class Whimsical:
    """A handler that blinks once, and cannot do one square before it is told to."""

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
    whims = Whimsical()

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


def tells_no_lie(forgetful, loses_at, is_quick):
    """A whole life with one lost answer. False when it needed fewer statements than that."""
    bench, whims = whimsical_bench(forgetful, is_quick)
    Wire.statements, Wire.loses_at = 0, loses_at
    failed = bench.run("lenient", n=4, fail_at=-loses_at - NEVER * is_quick)
    assert failed.status is JobStatus.COMPLETED_WITH_ERRORS
    whims.refuses = False
    bench.machine.retry(failed.job_id)
    bench.drain()
    has_lost, Wire.loses_at = Wire.statements >= loses_at, NEVER
    job = forgetful.get_job(failed.job_id)
    assert (job.status, job.run, job.result) == (JobStatus.COMPLETED, 2, {"total": 14})
    assert sorted(whims.calls) == [0, 1, 1, 2, 2, 3]
    kinds = [event.kind for event in forgetful.events(job.job_id, 0, 1000)]
    assert not LIES & set(kinds) and kinds.count("job_retried") == 1
    return has_lost


@pytest.mark.parametrize("is_quick", [False, True], ids=["alone", "in a batch"])
def test_a_job_survives_the_loss_of_the_response_to_any_statement(forgetful, is_quick):
    lives = count(1)
    while tells_no_lie(forgetful, next(lives), is_quick):
        pass
    assert next(lives) > 20
    with forgetful.pool.connection() as connection:
        for text, query in ALWAYS.items():
            assert rows(connection, query) == [], text
