"""The registry: the jobs of this release and the handlers of their stages."""

from collections.abc import Iterable, Iterator
from types import GenericAlias
from typing import Any, get_type_hints

from pydantic import BaseModel

from core.errors import UnknownJobType
from core.handler import BoundHandler
from core.job import JobBase, Stage, needs
from core.results import Results


class RegistryError(Exception):
    """A job does not fit its handlers. Raised at start-up."""


class Registry:
    """Jobs by type, and the handlers of their stages by name.

    Raises RegistryError for jobs whose types do not fit their handlers.
    """

    def __init__(self, jobs: Iterable[type[JobBase]]) -> None:
        self.jobs: dict[str, JobBase] = {}
        self.handlers: dict[str, BoundHandler] = {}
        for job in jobs:
            self._add(job())

    def job(self, job_type: str) -> JobBase:
        """Raises UnknownJobType."""
        try:
            return self.jobs[job_type]
        except KeyError:
            known = ", ".join(sorted(self.jobs))
            text = f"unknown job type {job_type!r}; expected one of: {known}"
            raise UnknownJobType(text) from None

    def handler_of(self, stage: Stage) -> BoundHandler:
        return self.handlers[stage.task_type]

    def is_quick(self, task_type: str) -> bool:
        """Whether a handler's tasks are quick. False for one that this release does not have."""
        handler = self.handlers.get(task_type)
        return handler is not None and handler.is_quick

    def _add(self, job: JobBase) -> None:
        if job.job_type in self.jobs:
            raise RegistryError(f"{type(job).__name__}: another job has the type {job.job_type!r}")
        if not job.stages or not hasattr(job, "finalize"):
            raise RegistryError(f"{job.job_type}: a job needs at least one stage, and finalize")
        for stage in job.stages:
            self._bind(job, stage)
        self._check_types(job)
        self.jobs[job.job_type] = job

    def _bind(self, job: JobBase, stage: Stage) -> None:
        bound = self.handlers.setdefault(stage.task_type, BoundHandler.bind(stage.handler))
        if bound.function is not stage.handler:
            raise RegistryError(
                f"{job.job_type}.{stage.name}: another handler has the name {stage.task_type!r}"
            )

    def _check_types(self, job: JobBase) -> None:
        results: dict[str, type[BaseModel]] = {}
        for stage in job.stages:
            handler = self.handler_of(stage)
            where, hints = f"{job.job_type}.{stage.name}", get_type_hints(stage.method)
            _check_needs(where, stage.needs, hints, results)
            expected = handler.parameters
            several = GenericAlias(list, expected), Iterator[expected]  # type: ignore[valid-type]
            if hints.get("return") not in (expected, *several):
                raise RegistryError(
                    f"{where} must return {expected.__name__}, or a list or Iterator of it:"
                    f" the parameters of {handler.name}"
                )
            results[stage.name] = handler.result
        finalize, where = type(job).finalize, f"{job.job_type}.finalize"
        hints = get_type_hints(finalize)
        _check_needs(where, needs(finalize), hints, results)
        returned = hints.get("return")
        if not (isinstance(returned, type) and issubclass(returned, BaseModel)):
            raise RegistryError(f"{where} must return a pydantic model, not {returned!r}")


def _check_needs(
    where: str,
    names: tuple[str, ...],
    hints: dict[str, Any],
    results: dict[str, type[BaseModel]],
) -> None:
    for name in names:
        if name not in results:
            raise RegistryError(f"{where}: {name!r} is not an earlier stage")
        result = results[name]
        if hints.get(name) not in (GenericAlias(list, result), Results[result]):  # type: ignore[valid-type]
            raise RegistryError(
                f"{where}: {name} must be list[{result.__name__}] or Results[{result.__name__}],"
                " the results of that stage"
            )
