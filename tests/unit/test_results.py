"""Results of earlier stages, read in pages by stage methods and handlers."""

from collections.abc import Iterator

import pytest

from core.errors import Unavailable
from core.handler import TaskContext
from core.job import JobBase, stage
from core.models import JobStatus, Record
from core.results import PAGE, Results
from testing.state import MemoryState
from tests.fixtures.squares import (
    Bench,
    Parameters,
    Result,
    Square,
    Squared,
    Sum,
    no_ports,
    square,
)

MANY = 2 * PAGE + 5


class Span(Record):
    first: int
    stop: int


def odd_only(params: Square, ctx: TaskContext) -> Squared:
    if params.number % 2 == 0:
        raise ValueError("even")
    return Squared(value=params.number)


def add_span(params: Span, ctx: TaskContext) -> Sum:
    part = ctx.results("numbers", Squared).between(params.first, params.stop)
    return Sum(total=sum(each.value for each in part))


class Paged(JobBase):
    """Adds up the odd numbers, in spans, and takes no result as a parameter."""

    job_type = "paged"
    description = "Add odd numbers"
    parameters = Parameters

    @stage(odd_only, best_effort=lambda params: params.fail_at is None)
    def numbers(self, params: Parameters) -> Iterator[Square]:
        return (Square(number=number) for number in range(params.n))

    @stage(square)
    def squares(self, params: Parameters, numbers: Results[Squared]) -> Iterator[Square]:
        for index, result in numbers.indexed():
            assert result.value == index
            yield Square(number=1)

    @stage(add_span)
    def sums(self, params: Parameters) -> list[Span]:
        return [Span(first=0, stop=PAGE + 1), Span(first=PAGE + 1, stop=params.n)]

    def finalize(self, params: Parameters, squares: Results[Squared], sums: list[Sum]) -> Result:
        assert len(list(squares)) == len(list(squares)) == params.n // 2
        return Result(total=sum(each.total for each in sums))


def test_stages_and_handlers_read_results_in_pages():
    bench = Bench(jobs=[Paged])
    job = bench.run("paged", n=MANY)
    assert job.status is JobStatus.COMPLETED_WITH_ERRORS
    assert job.result == {"total": sum(range(1, MANY, 2))}


def test_the_parameters_decide_whether_failed_tasks_fail_the_job():
    assert Bench(jobs=[Paged]).run("paged", n=3, fail_at=1).status is JobStatus.FAILED


def test_a_task_cannot_read_a_stage_that_its_job_does_not_have():
    with pytest.raises(LookupError, match="paged has no stage 'other'"):
        Paged.stage_named("other")
    with pytest.raises(LookupError, match="belongs to no job"):
        TaskContext("t", 1, no_ports(), None).results("numbers", Squared)


def test_a_job_does_not_fail_because_its_results_cannot_be_read_for_a_while():
    class Flaky(MemoryState):
        outages = 1

        def results_after(self, *args):
            if self.outages:
                self.outages -= 1
                raise Unavailable("PostgreSQL cannot be reached")
            return super().results_after(*args)

    bench = Bench(jobs=[Paged], state=Flaky())
    job = bench.machine.submit("paged", {"n": 3}).job
    with pytest.raises(Unavailable):
        bench.drain()
    assert not bench.state.get_job(job.job_id).status.is_final
    bench.machine.process_job_message(job.stage_message(2))
    bench.drain()
    assert bench.state.get_job(job.job_id).result == {"total": 1}
