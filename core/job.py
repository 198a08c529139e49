"""Declaring a job: a class that reads from top to bottom as its workflow."""

import hashlib
import inspect
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, ParamSpec, TypeVar, get_origin, get_type_hints

from pydantic import BaseModel

from core.handler import Handler, TaskContext
from core.models import Json
from core.ports import Ports

TaskParameters = TypeVar("TaskParameters", bound=BaseModel)
Arguments = ParamSpec("Arguments")


BestEffort = bool | Callable[[Any], bool]
"""Whether a stage accepts failed tasks, or how the job's prepared parameters decide it."""


@dataclass(frozen=True)
class Stage:
    """One step of a job: a method that plans tasks, and the handler that runs them."""

    number: int
    method: Callable[..., Any]
    handler: Handler
    best_effort: BestEffort

    def accepts_failures(self, params: BaseModel) -> bool:
        """Whether the job continues when a task of this stage has failed."""
        return self.best_effort(params) if callable(self.best_effort) else self.best_effort

    @property
    def name(self) -> str:
        return self.method.__name__

    @property
    def task_type(self) -> str:
        """The name of the handler."""
        return self.handler.__name__

    @property
    def needs(self) -> tuple[str, ...]:
        """The names of the stages whose results the method takes."""
        return needs(self.method)

    @property
    def description(self) -> str:
        """The first line of the method's docstring, or else of the handler's."""
        text = inspect.getdoc(self.method) or inspect.getdoc(self.handler) or ""
        return text.partition("\n")[0]

    @property
    def parallelism(self) -> Literal["single", "fan_out"]:
        """`single` for a method that returns the parameters of one task, `fan_out` for several."""
        returned = get_type_hints(self.method)["return"]
        return "single" if get_origin(returned) is None else "fan_out"


def stage(
    handler: Callable[[TaskParameters, TaskContext], BaseModel],
    *,
    best_effort: BestEffort = False,
) -> Callable[
    [Callable[Arguments, TaskParameters | Iterable[TaskParameters]]],
    Callable[Arguments, TaskParameters | Iterable[TaskParameters]],
]:
    """Mark a method as a stage whose tasks run `handler`.

    The method takes the job's parameters and, by name, the results of earlier stages: as a list,
    or as Results, which are read in pages. It returns the parameters of one task, or a list or an
    iterator for any number of tasks. With `best_effort`, a failed task does not fail the job; the
    choice may depend on the job's parameters.
    """

    def mark(
        method: Callable[Arguments, TaskParameters | Iterable[TaskParameters]],
    ) -> Callable[Arguments, TaskParameters | Iterable[TaskParameters]]:
        method.__dict__["stage"] = (handler, best_effort)
        return method

    return mark


class JobBase:
    """A job type. Subclasses name it, type its parameters and write its stages in order."""

    job_type: ClassVar[str]
    description: ClassVar[str]
    version: ClassVar[int] = 1
    parameters: ClassVar[type[BaseModel]]
    example: ClassVar[Json] = {}
    runs_again: ClassVar[bool] = False
    """Whether an equal submission runs a completed job again, because its result depends on more
    than its parameters. While the job runs, an equal submission finds it."""
    stages: ClassVar[tuple[Stage, ...]]

    finalize: Callable[..., BaseModel]
    """Makes the job's result from its parameters and the stage results that its signature names."""

    def __init_subclass__(cls) -> None:
        methods = [method for method in vars(cls).values() if hasattr(method, "stage")]
        cls.stages = tuple(
            Stage(number, method, *method.stage) for number, method in enumerate(methods, start=1)
        )

    @classmethod
    def stage_named(cls, name: str) -> Stage:
        """Raises LookupError."""
        for each in cls.stages:
            if each.name == name:
                return each
        raise LookupError(f"{cls.job_type} has no stage {name!r}")

    def prepare(self, params: Any, ports: Ports) -> BaseModel:
        """Check and complete the parameters, using the ports, before the job is stored.

        The returned model is stored and hashed into the job id. Raises RequestError.
        """
        completed: BaseModel = params
        return completed

    def discard(self, params: Any, ports: Ports, owner: str) -> None:
        """Remove the outputs of a cancelled job that nothing else uses. Safe to repeat.

        `owner` is the prefix of the task ids of one run.
        """

    @classmethod
    def prepared_model(cls) -> type[BaseModel]:
        """The model that `prepare` returns."""
        model = get_type_hints(cls.prepare)["return"]
        return cls.parameters if model is BaseModel else model

    @classmethod
    def result_model(cls) -> type[BaseModel]:
        """The model that `finalize` returns."""
        model: type[BaseModel] = get_type_hints(cls.finalize)["return"]
        return model

    @classmethod
    def job_id(cls, prepared: BaseModel) -> str:
        """SHA-256 of the canonical JSON of job type, version and all prepared parameters."""
        content = [cls.job_type, cls.version, prepared.model_dump(mode="json")]
        text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()


def needs(method: Callable[..., Any]) -> tuple[str, ...]:
    """The names of the stages whose results a stage method or `finalize` takes."""
    names = list(inspect.signature(method).parameters)
    return tuple(names[2:])
