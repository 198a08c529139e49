"""Calling the methods of a job: the tasks of a stage, and the result of the job."""

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any, TypeVar, get_origin, get_type_hints

from pydantic import BaseModel

from core.errors import NotReady, Unavailable
from core.handler import BoundHandler
from core.job import JobBase, Stage, needs
from core.models import JobRecord, Json, TaskRecord
from core.outcome import Outcome, call_plugin
from core.ports import StateRepository
from core.registry import Registry
from core.results import ReadPage, Results
from core.storable import storable_json

Stored = list[tuple[Stage, list[Json] | ReadPage]]
"""The results of stages, or how to read them."""
Value = TypeVar("Value")


def stored_results(
    state: StateRepository, job: JobRecord, definition: JobBase, method: Callable[..., Any]
) -> Stored:
    """The results that a stage method or `finalize` takes: as a list, or to be read in pages."""
    hints = get_type_hints(method)
    return [
        (stage, partial(state.results_after, job.job_id, stage.number))
        if get_origin(hints[stage.name]) is Results
        else (stage, state.results(job.job_id, stage.number))
        for stage in map(definition.stage_named, needs(method))
    ]


def plan_stage(
    registry: Registry, job: JobRecord, definition: JobBase, stage: Stage, results: Stored
) -> Outcome[list[TaskRecord]]:
    """The tasks of a stage, as rows."""
    method, handler = getattr(definition, stage.name), registry.handler_of(stage)

    def plan() -> list[TaskRecord]:
        planned = method(*_arguments(registry, job, definition, results))
        tasks = [planned] if isinstance(planned, BaseModel) else planned
        return [_task(job, stage, handler, index, each) for index, each in enumerate(tasks)]

    return _call(plan)


def make_result(
    registry: Registry, job: JobRecord, definition: JobBase, results: Stored
) -> Outcome[Json]:
    """The result of the job, from `finalize`."""

    def make() -> Json:
        result = definition.finalize(*_arguments(registry, job, definition, results))
        return storable_json("the result of the job", result)

    return _call(make)


def _call(function: Callable[[], Value]) -> Outcome[Value]:
    """Results may be read meanwhile. That the database cannot be read does not fail the job."""
    return call_plugin(function, propagated=(Unavailable, NotReady))


def prefixes_of_tasks(job: JobRecord) -> Iterable[str]:
    """The prefixes of a job's task ids, one for each run so far."""
    return [_prefix(job, run) for run in range(1, job.run + 1)]


def _prefix(job: JobRecord, run: int) -> str:
    return f"{job.job_id[:32]}-{run}-"


def _arguments(
    registry: Registry, job: JobRecord, definition: JobBase, results: Stored
) -> Iterator[Any]:
    """The arguments of a stage method or `finalize`: parameters and results, as models."""
    yield definition.prepared_model().model_validate(job.parameters)
    for stage, rows in results:
        model = registry.handler_of(stage).result
        if isinstance(rows, list):
            yield [model.model_validate(row) for row in rows]
        else:
            yield Results(model, rows)


def _task(
    job: JobRecord, stage: Stage, handler: BoundHandler, index: int, parameters: BaseModel
) -> TaskRecord:
    """One row. The run is part of its id, so that workers of an earlier run cannot write to it."""
    stored = storable_json(f"the parameters of {handler.name}, task {index},", parameters)
    return TaskRecord(
        task_id=f"{_prefix(job, job.run)}{stage.number}-{index}",
        job_id=job.job_id,
        stage=stage.number,
        task_index=index,
        task_type=handler.name,
        parameters=stored,
        attempt_limit=handler.retry.attempts,
    )
