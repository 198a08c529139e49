"""The machine on in-memory adapters."""

import logging
import random
import threading
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import (
    InvalidRequest,
    JobNotFound,
    StateConflict,
    TaskFailed,
    TaskLost,
    UnknownJobType,
)
from core.handler import RetryPolicy, TaskContext, quick, retry
from core.job import JobBase, stage
from core.log_context import ContextRecord
from core.models import JobMessage, JobStatus, Priority, TaskMessage
from core.registry import Registry, RegistryError
from core.shares import FlightLimits
from testing.bus import MemoryBus
from testing.state import MemoryState
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
    lenient_squares_with,
    square,
    squares_with,
)

AT_ONCE = RetryPolicy(attempts=3, base=timedelta(0), cap=timedelta(0))


def plain_square(params: Square, ctx: TaskContext) -> Squared:
    return Squared(value=params.number**2)


@pytest.mark.parametrize("n", [0, 1, 25])
def test_a_job_fans_out_and_in(n):
    job = Bench().run(n=n)
    assert job.status is JobStatus.COMPLETED
    assert job.result == {"total": sum(i * i for i in range(n))}


def test_an_equal_submission_finds_the_same_job_and_sends_nothing():
    bench = Bench()
    first = bench.run(n=2)
    again = bench.machine.submit("squares", {"n": 2})
    assert not again.is_new and again.job == first and not bench.bus.messages


def test_a_job_whose_result_depends_on_more_than_its_parameters_runs_again():
    again = squares_with(square)
    again.runs_again = True
    bench = Bench(jobs=[again])
    first = bench.run(n=2)
    running = bench.machine.submit("squares", {"n": 2})
    assert running.is_new and (running.job.job_id, running.job.run) == (first.job_id, 2)
    assert not bench.machine.submit("squares", {"n": 2}).is_new
    bench.drain()
    assert bench.state.get_job(first.job_id).result == first.result


def test_the_job_id_covers_type_version_and_every_default():
    bench = Bench()
    plain = bench.machine.submit("squares", {}).job.job_id
    assert bench.machine.submit("squares", {"n": 3, "fail_at": None}).job.job_id == plain
    assert bench.machine.submit("squares", {"n": 4}).job.job_id != plain
    assert bench.machine.submit("lenient", {}).job.job_id != plain

    class Newer(Squares):
        version = 2

        @stage(square)
        def squares(self, params: Parameters) -> list[Square]:
            return []

    assert Newer.job_id(Parameters()) != Squares.job_id(Parameters())


def test_a_redelivered_job_message_repairs_a_crash_between_commit_and_send():
    bench = Bench()
    job = bench.machine.submit("squares", {"n": 3}).job
    first = JobMessage(job_id=job.job_id, run=1, stage=1)
    bench.machine.process_job_message(first)
    bench.bus.messages.clear()
    bench.machine.process_job_message(first)
    bench.drain()
    assert bench.state.get_job(job.job_id).status is JobStatus.COMPLETED


def test_a_redelivered_task_message_repairs_a_crash_after_the_last_completion():
    bench = Bench()
    job = bench.machine.submit("squares", {"n": 1}).job
    bench.machine.process_job_message(bench.bus.messages.popleft())
    task_message = bench.bus.messages.popleft()
    bench.machine.process_tasks([task_message])
    bench.bus.messages.clear()
    bench.machine.process_tasks([task_message])
    bench.drain()
    assert bench.state.get_job(job.job_id).status is JobStatus.COMPLETED


def test_the_last_task_of_a_stage_starts_the_next_one_without_a_message():
    bench = Bench()
    bench.machine.submit("squares", {"n": 2})
    bench.machine.process_job_message(bench.bus.messages.popleft())
    bench.machine.process_tasks([bench.bus.messages.popleft(), bench.bus.messages.popleft()])
    [task_of_the_next_stage] = bench.bus.messages
    assert isinstance(task_of_the_next_stage, TaskMessage)


def test_only_the_last_task_s_message_repeats_the_messages_of_the_next_stage():
    bench = Bench()
    bench.machine.submit("squares", {"n": 2})
    bench.machine.process_job_message(bench.bus.messages.popleft())
    first, last = bench.bus.messages
    bench.bus.messages.clear()
    bench.machine.process_tasks([first])
    bench.machine.process_tasks([last])
    bench.bus.messages.clear()
    bench.machine.process_tasks([first])
    assert not bench.bus.messages
    bench.machine.process_tasks([last])
    assert bench.bus.messages


def test_the_sweep_completes_a_job_whose_messages_are_all_lost():
    bench = Bench()
    job = bench.machine.submit("squares", {"n": 3}).job
    bench.bus.messages.clear()
    for _ in range(20):
        bench.machine.sweep(100, timedelta(0))
        while bench.bus.messages:
            kept = list(bench.bus.messages)[1:]
            deliver_next(bench)
            bench.bus.messages.clear()
            bench.bus.messages.extend(kept)
    assert bench.state.get_job(job.job_id).status is JobStatus.COMPLETED


def test_all_rows_of_a_stage_exist_before_its_first_message_is_sent():
    bench = Bench()
    seen = []
    send = bench.bus.send_tasks

    def counting(messages, due=None):
        messages = list(messages)
        seen.append((len(messages), len(bench.state.tasks)))
        send(messages, due)

    bench.bus.send_tasks = counting
    bench.run(n=20)
    assert seen[0] == (20, 20)


def deliver_next(bench: Bench) -> int:
    """Deliver one message. Returns the number delivered."""
    message = bench.bus.messages.popleft()
    if isinstance(message, JobMessage):
        bench.machine.process_job_message(message)
    else:
        bench.machine.process_tasks([message])
    return 1


class PeakBus(MemoryBus):
    """Keeps the largest number of task messages that waited at once."""

    peak = 0

    def send_tasks(self, messages, due=None):
        super().send_tasks(messages, due)
        waiting = sum(isinstance(message, TaskMessage) for message in self.messages)
        self.peak = max(self.peak, waiting)


@pytest.mark.parametrize("handler", [square, quick(plain_square)])
def test_a_stage_never_has_more_messages_than_its_limit(handler):
    bench = Bench(handler=handler, bus=PeakBus(), limits=FlightLimits(3, 3))
    assert bench.run(n=20).status is JobStatus.COMPLETED
    assert bench.bus.peak == 3


@pytest.mark.parametrize(("priority", "peak"), [("low", 1), ("normal", 4), ("high", 16)])
def test_the_priority_decides_how_many_tasks_are_in_flight(priority, peak):
    bench = Bench(bus=PeakBus(), limits=FlightLimits(4, 4))
    job = bench.machine.submit("squares", {"n": 30}, priority=Priority(priority)).job
    bench.drain()
    assert bench.state.get_job(job.job_id).status is JobStatus.COMPLETED
    assert bench.bus.peak == peak


def test_a_small_job_does_not_wait_for_all_tasks_of_a_large_one():
    """Both run in the order of the messages."""
    bench = Bench(limits=FlightLimits(4, 4))
    large = bench.machine.submit("squares", {"n": 100}).job
    bench.machine.process_job_message(bench.bus.messages.popleft())
    small = bench.machine.submit("squares", {"n": 1}).job
    delivered = 0
    while not bench.state.get_job(small.job_id).status.is_final:
        delivered += deliver_next(bench)
    assert delivered < 30
    bench.drain()
    assert bench.state.get_job(large.job_id).status is JobStatus.COMPLETED


def test_the_sweep_sends_released_tasks_whose_messages_were_lost():
    bench = Bench(limits=FlightLimits(2, 2))
    job = bench.machine.submit("squares", {"n": 6}).job
    bench.machine.process_job_message(bench.bus.messages.popleft())
    bench.machine.process_tasks([bench.bus.messages.popleft()])
    bench.bus.messages.clear()
    assert bench.machine.sweep(100, timedelta(0)) == 2
    bench.drain()
    assert bench.state.get_job(job.job_id).status is JobStatus.COMPLETED


class CountingState(MemoryState):
    """Counts the tasks of each claim and completion."""

    def __init__(self) -> None:
        super().__init__()
        self.claims: list[int] = []
        self.completions: list[int] = []

    def claim_tasks(self, task_ids, lease):
        self.claims.append(len(task_ids))
        return super().claim_tasks(task_ids, lease)

    def complete_tasks(self, done):
        self.completions.append(len(done))
        return super().complete_tasks(done)


def test_quick_tasks_share_a_claim_and_a_completion():
    state = CountingState()
    job = Bench(handler=quick(plain_square), state=state).run(n=20)
    assert job.result == {"total": sum(i * i for i in range(20))}
    assert (state.claims, state.completions) == ([20, 1], [20])


def test_other_tasks_are_delivered_one_by_one():
    state = CountingState()
    Bench(state=state).run(n=3)
    assert (state.claims, state.completions) == ([1, 1, 1, 1], [])


def test_a_failed_quick_task_is_retried_alone_and_the_rest_of_its_batch_completes():
    broken = {4: ConnectionError("away"), 5: ConnectionError("away")}

    @quick
    @retry(AT_ONCE)
    def fragile(params: Square, ctx: TaskContext) -> Squared:
        if error := broken.pop(params.number, None):
            raise error
        return Squared(value=params.number**2)

    state = CountingState()
    job = Bench(handler=fragile, state=state).run(n=8)
    assert job.result == {"total": sum(i * i for i in range(8))}
    assert (state.claims, state.completions) == ([8, 1, 1, 1], [6])
    assert sorted(task.attempt for task in state.get_tasks(job.job_id, 1, 9)) == [1] * 6 + [2] * 2


def test_a_permanent_failure_in_a_batch_loses_no_other_result():
    @quick
    def picky(params: Square, ctx: TaskContext) -> Squared:
        if params.number == 2:
            raise TaskFailed("NOT_SQUARE", "2 is not a square")
        return Squared(value=params.number**2)

    job = Bench(handler=picky).run("lenient", n=5)
    assert job.status is JobStatus.COMPLETED_WITH_ERRORS
    assert job.result == {"total": 0 + 1 + 9 + 16}
    assert Bench(handler=picky).run(n=5).error.code == "NOT_SQUARE"


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32), n=st.integers(0, 8))
def test_duplicate_and_reordered_messages_change_nothing(seed, n):
    """Every message delivered twice, in random order, task messages in batches of any size."""
    chance, bench = random.Random(seed), Bench()
    calls: list[int] = []

    def counted(params: Square, ctx: TaskContext) -> Squared:
        calls.append(params.number)
        return square(params, ctx)

    bench.deploy(squares_with(counted))
    job = bench.machine.submit("squares", {"n": n}).job
    while bench.bus.messages:
        waiting = [m for m in bench.bus.messages for _ in range(2)]
        bench.bus.messages.clear()
        chance.shuffle(waiting)
        batch: list[TaskMessage] = []
        for message in waiting:
            if isinstance(message, JobMessage):
                bench.machine.process_job_message(message)
            else:
                batch.append(message)
            if chance.random() < 0.4:
                bench.machine.process_tasks(batch)
                batch = []
        bench.machine.process_tasks(batch)
        if bench.state.get_job(job.job_id).status.is_final:
            break
    ended = bench.state.get_job(job.job_id)
    assert ended.status is JobStatus.COMPLETED
    assert ended.result == {"total": sum(i * i for i in range(n))}
    assert sorted(calls) == list(range(n))
    kinds = [event.kind for event in bench.state.events(job.job_id, 0, 1000)]
    assert kinds.count("stage_started") == 2 and kinds.count("job_completed") == 1


def test_a_permanent_failure_fails_the_job_without_a_retry():
    calls = []

    def broken(params: Square, ctx: TaskContext) -> Squared:
        calls.append(params.number)
        raise TaskFailed("NOT_A_SQUARE", "the number is not a square")

    job = Bench(handler=broken).run(n=5)
    assert job.status is JobStatus.FAILED and len(calls) == 1
    assert (job.error.code, job.error.message) == (
        "NOT_A_SQUARE",
        "the number is not a square",
    )


def test_a_transient_error_is_retried():
    attempts = []

    @retry(AT_ONCE)
    def flaky(params: Square, ctx: TaskContext) -> Squared:
        attempts.append(ctx.attempt)
        if ctx.attempt < 3:
            raise OSError("disk error")
        return square(params, ctx)

    job = Bench(handler=flaky).run(n=1)
    assert job.status is JobStatus.COMPLETED and attempts == [1, 2, 3]


def test_a_persistent_error_fails_the_job_after_the_last_attempt():
    @retry(AT_ONCE)
    def broken(params: Square, ctx: TaskContext) -> Squared:
        raise OSError("disk failed")

    job = Bench(handler=broken).run(n=1)
    assert job.status is JobStatus.FAILED
    assert job.error.code == "UNEXPECTED_ERROR" and "disk failed" in job.error.message


def test_backoff_doubles_within_its_jitter_up_to_the_cap():
    policy = RetryPolicy(attempts=9, base=timedelta(seconds=4), cap=timedelta(seconds=20))
    for attempt, full in [(1, 4), (2, 8), (3, 16), (4, 20), (9, 20)]:
        delays = [policy.delay(attempt).total_seconds() for _ in range(50)]
        assert full / 2 <= min(delays) and max(delays) <= full
        assert len(set(delays)) > 1


def test_a_best_effort_job_completes_with_errors_and_keeps_the_other_results():
    def picky(params: Square, ctx: TaskContext) -> Squared:
        if params.number == 1:
            raise TaskFailed("ODD_ONE", "1 is odd")
        return square(params, ctx)

    job = Bench(handler=picky).run("lenient", n=4)
    assert job.status is JobStatus.COMPLETED_WITH_ERRORS and job.result == {"total": 0 + 4 + 9}


def test_an_error_in_a_stage_method_or_finalize_fails_the_job():
    class Broken(Squares):
        job_type = "broken"

        @stage(square)
        def squares(self, params: Parameters) -> list[Square]:
            return [Square(number=1)]

        @stage(add)
        def total(self, params: Parameters, squares: list[Squared]) -> list[Total]:
            raise TaskFailed("NO_TOTAL", "no total")

    class Unfinished(Squares):
        job_type = "unfinished"

        @stage(square)
        def squares(self, params: Parameters) -> list[Square]:
            return [Square(number=1)]

        def finalize(self, params: Parameters, squares: list[Squared]) -> Result:
            raise KeyError("total")

    bench = Bench(jobs=[Broken, Unfinished])
    assert bench.run("broken").error.code == "NO_TOTAL"
    assert "KeyError: 'total'" in bench.run("unfinished").error.message


def test_cancel_stops_a_running_handler_at_its_next_report():
    started, seen = threading.Event(), []

    def slow(params: Square, ctx: TaskContext) -> Squared:
        started.set()
        for _ in range(2000):
            seen.append(ctx.report(0.5, "working"))
            threading.Event().wait(0.005)
        return square(params, ctx)

    bench = Bench(handler=slow, lease=timedelta(milliseconds=200))
    job = bench.machine.submit("squares", {"n": 1}).job
    worker = threading.Thread(target=bench.drain)
    worker.start()
    assert started.wait(10)
    bench.machine.cancel(job.job_id)
    worker.join(10)
    assert not worker.is_alive() and len(seen) < 2000
    assert bench.state.get_job(job.job_id).status is JobStatus.CANCELLED
    with pytest.raises(StateConflict):
        bench.run(n=0)
        bench.machine.cancel(bench.machine.submit("squares", {"n": 0}).job.job_id)


def test_the_outputs_of_a_cancelled_job_are_discarded_at_once_and_again_after_the_lease():
    discarded = []

    class Leaving(Squares):
        job_type = "leaving"

        @stage(square)
        def squares(self, params: Parameters) -> list[Square]:
            return [Square(number=1)]

        def discard(self, params: Parameters, ports, owner: str) -> None:
            discarded.append(owner)

        def finalize(self, params: Parameters) -> Result:
            return Result(total=0)

    bench = Bench(jobs=[Leaving], lease=timedelta(milliseconds=50))
    job = bench.machine.submit("leaving", {}).job
    bench.machine.cancel(job.job_id)
    while bench.state.get_job(job.job_id).discarded_at is None:
        bench.drain()
    assert len(discarded) >= 2 and set(discarded) == {f"{job.job_id[:32]}-1-"}
    assert bench.machine.purge(timedelta(0), 10) == 1


def test_an_attempt_is_stopped_when_the_same_process_starts_the_next_one():
    reports = []

    def slow(params: Square, ctx: TaskContext) -> Squared:
        if ctx.attempt == 1:
            bench.machine.process_tasks([message])
            reports.append(ctx.attempt)
            ctx.report(0.5)
        reports.append(ctx.attempt)
        return square(params, ctx)

    bench = Bench(handler=slow, lease=timedelta(0), heartbeat=timedelta(hours=1))
    bench.machine.submit("squares", {"n": 1})
    bench.machine.process_job_message(bench.bus.messages.popleft())
    message = bench.bus.messages.popleft()
    bench.machine.process_tasks([message])
    assert reports == [2, 1]


def test_confirm_raises_at_once_after_a_cancel():
    shown = []

    def careful(params: Square, ctx: TaskContext) -> Squared:
        bench.machine.cancel(job.job_id)
        ctx.confirm()
        shown.append(params.number)
        return square(params, ctx)

    bench = Bench(handler=careful, heartbeat=timedelta(minutes=1))
    job = bench.machine.submit("squares", {"n": 1}).job
    bench.machine.process_job_message(bench.bus.messages.popleft())
    bench.machine.process_tasks([bench.bus.messages.popleft()])
    assert shown == []


@pytest.mark.parametrize("ends", ["well", "badly", "for now", "knowing"])
def test_outputs_that_are_written_after_the_discard_are_discarded_as_well(ends):
    shown = []

    def late(params: Square, ctx: TaskContext) -> Squared:
        bench.machine.cancel(job.job_id)
        while bench.state.get_job(job.job_id).discarded_at is None:
            bench.drain()
        shown.append(params.number)
        faults = {"badly": TaskFailed("NO", "no"), "for now": OSError(), "knowing": TaskLost("no")}
        if ends in faults:
            raise faults[ends]
        return square(params, ctx)

    class Leaving(Squares):
        job_type = "leaving"

        @stage(late)
        def squares(self, params: Parameters) -> list[Square]:
            return [Square(number=1)]

        def discard(self, params: Parameters, ports, owner: str) -> None:
            shown.clear()

        def finalize(self, params: Parameters) -> Result:
            return Result(total=0)

    bench = Bench(jobs=[Leaving], lease=timedelta(milliseconds=5))
    job = bench.machine.submit("leaving", {}).job
    bench.drain()
    ended = bench.state.get_job(job.job_id)
    assert ended.status is JobStatus.CANCELLED and ended.discarded_at is not None
    assert shown == []


def test_retry_runs_only_the_failed_tasks():
    broken, calls = [True], []

    def repaired(params: Square, ctx: TaskContext) -> Squared:
        calls.append(params.number)
        if broken and params.number == 2:
            raise TaskFailed("BROKEN", "not yet")
        return square(params, ctx)

    bench = Bench(handler=repaired)
    failed = bench.run(n=3)
    assert failed.status is JobStatus.FAILED
    broken.clear()
    bench.machine.retry(failed.job_id)
    bench.drain()
    ended = bench.state.get_job(failed.job_id)
    assert ended.status is JobStatus.COMPLETED and ended.result == {"total": 5}
    assert calls == [0, 1, 2, 2]
    with pytest.raises(StateConflict):
        bench.machine.retry(failed.job_id)


def test_a_resubmitted_job_ignores_messages_of_its_earlier_run():
    def broken(params: Square, ctx: TaskContext) -> Squared:
        raise TaskFailed("BROKEN", "not yet")

    bench = Bench(handler=broken)
    failed = bench.run(n=1)
    old_task = TaskMessage(task_id=f"{failed.job_id[:32]}-1-1-0")
    bench.deploy(Squares)
    again = bench.machine.submit("squares", {"n": 1})
    assert again.is_new and again.job.run == 2
    bench.machine.process_job_message(JobMessage(job_id=failed.job_id, run=1, stage=2))
    bench.machine.process_tasks([old_task])
    bench.drain()
    assert bench.state.get_job(failed.job_id).status is JobStatus.COMPLETED


def test_status_shows_every_stage_with_counts_and_progress():
    bench = Bench()
    job = bench.machine.submit("squares", {"n": 4}).job
    before = bench.machine.status(job.job_id)
    assert [(s.name, s.status) for s in before.stages] == [
        ("squares", "pending"),
        ("total", "pending"),
    ]
    bench.drain()
    after = bench.machine.status(job.job_id)
    assert after.progress == 1.0 and after.stages[0].completed_tasks == 4
    with pytest.raises(JobNotFound):
        bench.machine.status("f" * 64)


def test_errors_of_invalid_requests_name_the_field_and_the_value():
    machine = Bench().machine
    with pytest.raises(UnknownJobType, match="expected one of: lenient, squares"):
        machine.submit("circles", {})
    with pytest.raises(InvalidRequest) as caught:
        machine.submit("squares", {"n": -1, "fial_at": 2})
    errors = {error.field: error for error in caught.value.errors}
    assert "greater than or equal to 0, got -1" in errors["n"].message
    assert errors["fial_at"].message == "unknown parameter; did you mean 'fail_at'?"
    with pytest.raises(InvalidRequest, match="must be a JSON object"):
        machine.submit("squares", ["n"])


def test_messages_and_log_records_carry_the_correlation_id(caplog, monkeypatch):
    monkeypatch.setattr(logging, "_logRecordFactory", ContextRecord)
    seen, attempts = [], []

    @retry(AT_ONCE)
    def logging_square(params: Square, ctx: TaskContext) -> Squared:
        attempts.append(ctx.attempt)
        logging.getLogger("handler").warning("squaring")
        if ctx.attempt == 1:
            raise OSError("disk full")
        return square(params, ctx)

    class SeenBus(MemoryBus):
        def send_jobs(self, messages, due=None):
            return super().send_jobs(seen.extend(messages := list(messages)) or messages, due)

        def send_tasks(self, messages, due=None):
            super().send_tasks(seen.extend(messages := list(messages)) or messages, due)

    bench = Bench(handler=logging_square, bus=SeenBus())
    job = bench.machine.submit("squares", {"n": 1}, correlation_id="abc").job
    bench.drain()
    assert bench.state.get_job(job.job_id).status is JobStatus.COMPLETED and attempts == [1, 2]
    assert {message.correlation_id for message in seen} == {"abc"}
    records = [record for record in caplog.records if record.name == "handler"]
    assert {(each.correlation_id, each.job_id) for each in records} == {("abc", job.job_id)}
    assert {each.task_id for each in records} == {f"{job.job_id[:32]}-1-1-0"}


def test_null_selects_the_default_of_an_optional_parameter():
    machine = Bench().machine
    default = machine.submit("squares", {}).job
    assert machine.submit("squares", {"n": None, "fail_at": None}).job.job_id == default.job_id


def test_start_up_rejects_jobs_that_do_not_fit_their_handlers():
    class Misfit(Squares):
        job_type = "misfit"

        @stage(square)
        def squares(self, params: Parameters) -> list[Square]:
            return []

        @stage(add)
        def total(self, params: Parameters, squares: list[Sum]) -> list[Total]:
            return []

    class WrongTasks(Squares):
        @stage(add)
        def squares(self, params: Parameters) -> list[Square]:
            return []

    class Untyped(Squares):
        @stage(square)
        def squares(self, params: Parameters) -> list[Square]:
            return []

        def finalize(self, params: Parameters) -> dict:
            return {}

    class NoStages(JobBase):
        job_type = "no_stages"

    for job, reason in {
        Misfit: r"misfit.total: squares must be list\[Squared\]",
        WrongTasks: r"squares.squares must return Total, or a list or Iterator",
        Untyped: "squares.finalize must return a pydantic model",
        NoStages: "at least one stage",
    }.items():
        with pytest.raises(RegistryError, match=reason):
            Registry([job])


def test_start_up_rejects_two_jobs_or_two_handlers_of_one_name():
    def square(params: Square, ctx: TaskContext) -> Squared:
        return Squared(value=0)

    with pytest.raises(RegistryError, match="another job has the type 'squares'"):
        Registry([Squares, squares_with(plain_square)])
    with pytest.raises(RegistryError, match="another handler has the name 'square'"):
        Registry([Squares, lenient_squares_with(square)])


def test_a_stage_describes_itself():
    squares, total = Squares.stages
    assert (squares.number, squares.name, squares.task_type) == (1, "squares", "square")
    assert (squares.parallelism, total.parallelism) == ("fan_out", "single")
    assert total.description == "The sum of the values."
    assert Squares.result_model() is Result
