"""Crashes of a worker between any two effects.

Redelivery of unsettled messages alone must complete the job, without the sweep. When every message
is lost, the sweep alone must complete it.
"""

from collections import deque
from datetime import timedelta
from itertools import count

import psycopg
import pytest
from psycopg_pool import ConnectionPool

from core.handler import TaskContext, quick
from core.models import JobMessage, JobStatus, TaskMessage
from infrastructure.postgres import PostgresState
from testing.bus import MemoryBus
from tests.faults.evidence import rows
from tests.faults.invariants import DOUBLED, DRIFTED, STUCK
from tests.fixtures.squares import Bench, Square, Squared, square

N = 3
NOW = timedelta(0)
NEVER = 10**6


class Crash(BaseException):
    """Simulates the end of the process; no handler of exceptions catches it."""


class Worker:
    """Counts the effects of a worker, and crashes it before the one at `ends_at`."""

    def __init__(self):
        self.effects, self.ends_at = 0, NEVER

    def effect(self):
        self.effects += 1
        if self.effects == self.ends_at:
            raise Crash


LIFE = Worker()


class CrashingCursor(psycopg.Cursor):
    """A cursor whose statements are effects."""

    def execute(self, *args, **kwargs):
        LIFE.effect()
        return super().execute(*args, **kwargs)

    def copy(self, *args, **kwargs):
        LIFE.effect()
        return super().copy(*args, **kwargs)


class CrashingBus(MemoryBus):
    """A bus whose sends are effects. Loses the message at `loses_at`."""

    def __init__(self):
        super().__init__()
        self.sent, self.loses_at = 0, NEVER

    def send_jobs(self, messages, due=None):
        self._send(messages)
        return ["id"]

    def send_tasks(self, messages, due=None):
        self._send(messages)

    def _send(self, messages):
        LIFE.effect()
        for message in messages:
            self.sent += 1
            if self.sent != self.loses_at:
                self.messages.append(message)


class ImmediateBus(MemoryBus):
    """A bus that handles a message before `send` returns."""

    machine = None

    def send_jobs(self, messages, due=None):
        for message in messages:
            self.machine.process_job_message(message)
        return ["id"]

    def send_tasks(self, messages, due=None):
        for message in messages:
            self.machine.process_tasks([message])


@pytest.fixture
def crashing_pool(database_url):
    """A connection pool whose statements are effects."""

    class Connection(psycopg.Connection):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            self.cursor_factory = CrashingCursor

    LIFE.effects, LIFE.ends_at = 0, NEVER
    with ConnectionPool(
        database_url, min_size=1, connection_class=Connection, kwargs={"autocommit": True}
    ) as pool:
        yield pool


@quick
def quick_square(params: Square, ctx: TaskContext) -> Squared:
    return Squared(value=params.number**2)


def bench_over(pool, bus, handler=square):
    state = PostgresState(pool)
    return Bench(handler=handler, state=state, bus=bus, lease=NOW, heartbeat=timedelta(hours=1))


def insist(call):
    """Repeat a call until it succeeds, as a user or broker does."""
    try:
        return call()
    except Crash:
        return call()


def deliver(bench, message, *others):
    if isinstance(message, JobMessage):
        bench.machine.process_job_message(message)
    else:
        bench.machine.process_tasks([message, *others])


def next_of(messages):
    """The next message, and the ones that a host would receive with it."""
    batch = [messages.popleft()]
    while _is_quick(batch[0]) and messages and _is_quick(messages[0]):
        batch.append(messages.popleft())
    return batch


def _is_quick(message):
    return isinstance(message, TaskMessage) and message.quick


def deliver_all(bench, again_first):
    """Deliver all messages; after a crash, deliver the message again, first or last."""
    messages = bench.bus.messages
    while messages:
        batch = next_of(messages)
        try:
            deliver(bench, *batch)
        except Crash:
            if again_first:
                messages.extendleft(reversed(batch))
            else:
                messages.extend(batch)


def assert_done_once(pool, bench, job_id):
    LIFE.ends_at = NEVER
    job = bench.state.get_job(job_id)
    assert job.status is JobStatus.COMPLETED, (job, LIFE.effects)
    assert job.result == {"total": sum(number**2 for number in range(N))}
    with pool.connection() as connection:
        for text, query in {**DOUBLED, **DRIFTED, **STUCK}.items():
            assert rows(connection, query) == [], text


def survives_a_crash(pool, ends_at, again_first, handler):
    """Run a job with a crash, and check its result. Returns whether the crash occurred."""
    bench = bench_over(pool, CrashingBus(), handler)
    LIFE.effects, LIFE.ends_at = 0, ends_at
    job = insist(lambda: bench.machine.submit("squares", {"n": N, "fail_at": -ends_at})).job
    deliver_all(bench, again_first)
    has_died = LIFE.effects >= ends_at
    assert_done_once(pool, bench, job.job_id)
    return has_died


@pytest.mark.parametrize("again_first", [True, False])
@pytest.mark.parametrize("handler", [square, quick_square], ids=["alone", "in a batch"])
def test_a_job_survives_a_crash_before_any_write_or_send(crashing_pool, again_first, handler):
    deaths = count(1)
    while survives_a_crash(crashing_pool, next(deaths), again_first, handler):
        pass
    assert next(deaths) > 15


def test_a_job_survives_the_loss_of_any_message(crashing_pool):
    for loses_at in count(1):
        bench = bench_over(crashing_pool, CrashingBus())
        bench.bus.loses_at = loses_at
        job = bench.machine.submit("squares", {"n": N, "fail_at": -loses_at}).job
        deliver_all(bench, again_first=True)
        lost = bench.bus.sent >= loses_at
        if lost:
            assert not bench.state.get_job(job.job_id).status.is_final
            bench.machine.sweep(100, NOW)
            deliver_all(bench, again_first=True)
        assert_done_once(crashing_pool, bench, job.job_id)
        if not lost:
            break
    assert loses_at > 5


def test_a_message_can_be_handled_before_its_sender_continues(pool):
    bus = ImmediateBus()
    bench = bench_over(pool, bus)
    bus.machine = bench.machine
    job = bench.machine.submit("squares", {"n": N}).job
    assert_done_once(pool, bench, job.job_id)
    events = [event.kind for event in bench.state.events(job.job_id, 0, 100)]
    assert events.count("stage_started") == 2 and "late_write_refused" not in events


def test_a_job_completes_without_messages_through_the_sweep_alone(pool):
    bench = bench_over(pool, MemoryBus())
    job = bench.machine.submit("squares", {"n": N}).job
    bench.bus.messages.clear()
    for _ in range(4 * N):
        bench.machine.sweep(100, NOW)
        found: deque = deque(bench.bus.messages)
        bench.bus.messages.clear()
        for message in found:
            deliver(bench, message)
            bench.bus.messages.clear()
    assert_done_once(pool, bench, job.job_id)
