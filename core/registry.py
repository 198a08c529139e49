"""The registry: which jobs and handlers there are, and the proof that they fit together."""

from collections.abc import Mapping
from types import GenericAlias
from typing import Any, get_type_hints

from core.errors import UnknownJobType
from core.handler import BoundHandler, Handler
from core.job import JobBase, Stage, needs


class RegistryError(Exception):
    """A job does not fit its handlers. Raised at start-up."""


class Registry:
    """Jobs by type and handlers by name. Refuses what could only fail later."""

    def __init__(self, jobs: Mapping[str, type[JobBase]], handlers: Mapping[str, Handler]) -> None:
        self.handlers = {name: BoundHandler.bind(name, f) for name, f in handlers.items()}
        self.jobs = {name: job() for name, job in jobs.items()}
        for name, job in self.jobs.items():
            if job.job_type != name:
                raise RegistryError(f"{name}: the class calls itself {job.job_type!r}")
            self._check(job)

    def job(self, job_type: str) -> JobBase:
        try:
            return self.jobs[job_type]
        except KeyError:
            known = ", ".join(sorted(self.jobs))
            raise UnknownJobType(f"there is no job type {job_type!r}; known are: {known}") from None

    def _check(self, job: JobBase) -> None:
        if not job.stages or not hasattr(job, "finalize"):
            raise RegistryError(f"{job.job_type}: needs at least one stage, and finalize")
        done: dict[str, Any] = {}
        for stage in job.stages:
            handler = self.handlers.get(stage.task_type)
            where = f"{job.job_type}.{stage.name}"
            if handler is None:
                raise RegistryError(f"{where}: there is no handler {stage.task_type!r}")
            hints = get_type_hints(getattr(job, stage.name))
            self._check_needs(where, stage.needs, hints, done)
            if hints.get("return") != GenericAlias(list, handler.parameters):
                raise RegistryError(
                    f"{where}: must return list[{handler.parameters.__name__}],"
                    f" what {handler.name} takes"
                )
            done[stage.name] = handler.result
        finalize = type(job).finalize
        self._check_needs(
            f"{job.job_type}.finalize", needs(finalize), get_type_hints(finalize), done
        )

    @staticmethod
    def _check_needs(
        where: str, names: tuple[str, ...], hints: dict[str, Any], done: dict[str, Any]
    ) -> None:
        for name in names:
            if name not in done:
                raise RegistryError(f"{where}: {name!r} is not an earlier stage")
            if hints.get(name) != GenericAlias(list, done[name]):
                raise RegistryError(
                    f"{where}: {name} must be list[{done[name].__name__}],"
                    " what that stage's handler returns"
                )

    def handler_of(self, stage: Stage) -> BoundHandler:
        return self.handlers[stage.task_type]
