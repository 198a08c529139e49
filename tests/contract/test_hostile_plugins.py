"""Handlers and jobs that return or raise values that cannot be stored."""

import math
from datetime import timedelta
from typing import Any

import pytest

from core.errors import TaskFailed, TaskLost
from core.handler import RetryPolicy, TaskContext, quick, retry
from core.job import stage
from core.models import JobStatus, Record
from tests.fixtures.squares import Bench, Parameters, Square, Squared, Squares, square

AT_ONCE = RetryPolicy(attempts=2, base=timedelta(0), cap=timedelta(0))
UNSTORABLE = ["a\0b", "half \ud800 a pair", {"deep": ["\\", "\0"]}]


class Anything(Record):
    value: Any


class Number(Record):
    value: float


class Values(Record):
    squares: list[Any]


def anything(params: Anything, ctx: TaskContext) -> Anything:
    return params


@pytest.fixture(params=["alone", "in a batch"])
def hostile(request, state):
    """Runs a job whose third task calls `misbehave`."""

    def run(misbehave, **jobs):
        @retry(AT_ONCE)
        def square(params: Square, ctx: TaskContext) -> Anything:
            value = misbehave(ctx) if params.number == 2 else params.number**2
            return Anything(value=value)

        handler = quick(square) if request.param == "in a batch" else square
        return Bench(state=state, jobs=[all_squares(handler)]).run("all", n=5)

    return run


def all_squares(handler):
    class AllSquares(Squares):
        job_type = "all"

        @stage(handler, best_effort=True)
        def squares(self, params: Parameters) -> list[Square]:
            return [Square(number=number) for number in range(params.n)]

        def finalize(self, params: Parameters, squares: list[Anything]) -> Values:
            return Values(squares=[each.value for each in squares])

    return AllSquares


def task_error(state, job):
    [failed] = [task for task in state.get_tasks(job.job_id, 1, 9) if task.error]
    return failed.error


@pytest.mark.parametrize("value", UNSTORABLE, ids=["a NUL", "half a pair", "a deep NUL"])
def test_a_result_that_cannot_be_stored_fails_its_task_alone(hostile, state, value):
    job = hostile(lambda ctx: value)
    assert job.status is JobStatus.COMPLETED_WITH_ERRORS
    assert job.result == {"squares": [0, 1, 9, 16]}
    error = task_error(state, job)
    assert error.code == "NOT_STORABLE" and "the result of square" in error.message


@pytest.mark.parametrize(
    "error",
    [
        ValueError("a\0b"),
        TaskFailed("A\0B", "half \ud800 a pair"),
        OSError("very long " * 1_000_000),
    ],
    ids=["a NUL", "half a pair", "ten million characters"],
)
def test_an_error_message_that_cannot_be_stored_is_cleaned_and_cut(hostile, state, error):
    def misbehave(ctx):
        raise error

    job = hostile(misbehave)
    assert job.result == {"squares": [0, 1, 9, 16]}
    kept = task_error(state, job)
    assert 10 < len(kept.message) <= 10_000 and "\0" not in kept.code + kept.message


def test_progress_that_cannot_be_stored_does_not_stop_the_heartbeat(hostile, state):
    def misbehave(ctx):
        for fraction in (math.nan, math.inf, -math.inf, 1e-50):
            ctx.report(fraction, "a\0b, half \ud800 a pair")
            ctx.confirm()
        return "done"

    job = hostile(misbehave)
    assert job.result == {"squares": [0, 1, "done", 9, 16]}
    assert all(0 <= task.progress <= 1 for task in state.get_tasks(job.job_id, 1, 9))


class Planless(Squares):
    """A job whose second stage returns `made`."""

    job_type = "planless"
    made: Any = None

    @stage(square)
    def squares(self, params: Parameters) -> list[Square]:
        return [Square(number=1)]

    @stage(anything)
    def more(self, params: Parameters, squares: list[Squared]) -> list[Anything]:
        made: list[Anything] = self.made
        return made

    def finalize(self, params: Parameters) -> Anything:
        return Anything(value=None)


class Endless(Squares):
    """A job whose `finalize` returns `made`."""

    job_type = "endless"
    made: Any = None

    @stage(square)
    def squares(self, params: Parameters) -> list[Square]:
        return []

    def finalize(self, params: Parameters) -> Anything:
        made: Anything = self.made
        return made


def machine_for(state, job_class, made):
    job_class = type(job_class.__name__, (job_class,), {**vars(job_class), "made": made})
    return Bench(state=state, jobs=[job_class])


@pytest.mark.parametrize("value", [UNSTORABLE[0], object()], ids=lambda value: type(value).__name__)
def test_task_parameters_that_cannot_be_stored_fail_the_job(state, value):
    job = machine_for(state, Planless, [Anything(value=1), Anything(value=value)]).run("planless")
    assert job.status is JobStatus.FAILED and job.stage == 1
    assert job.error is not None and job.error.message


@pytest.mark.parametrize("made", [None, [{"value": 1}]])
def test_a_stage_method_that_returns_something_else_fails_the_job(state, made):
    assert machine_for(state, Planless, made).run("planless").status is JobStatus.FAILED


@pytest.mark.parametrize(
    "made",
    [Anything(value=UNSTORABLE[0]), Number(value=math.nan), Anything(value=object())],
    ids=["a NUL", "NaN", "an object"],
)
def test_a_job_result_that_cannot_be_stored_fails_the_job(state, made):
    job = machine_for(state, Endless, made).run("endless")
    assert job.status is JobStatus.FAILED and job.error.code == "NOT_STORABLE"
    assert "the result of the job" in job.error.message


class LosesItself(Squares):
    """A job whose stage method raises TaskLost, which only a task may raise."""

    job_type = "loses_itself"

    @stage(square)
    def squares(self, params: Parameters) -> list[Square]:
        if params.n == 0:
            raise TaskLost("a stage method")
        return [Square(number=1)]

    def finalize(self, params: Parameters) -> Anything:
        raise TaskLost("finalize")


@pytest.mark.parametrize("n", [0, 1])
def test_a_stage_method_that_raises_task_lost_fails_the_job(state, n):
    job = Bench(state=state, jobs=[LosesItself]).run("loses_itself", n=n)
    assert job.status is JobStatus.FAILED and job.error.code == "STAGE_FAILED"
