"""Declaring a job: a class that reads top to bottom as its workflow."""

import hashlib
import inspect
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar, get_type_hints

from pydantic import BaseModel

from core.models import Json
from core.ports import Ports

StageMethod = TypeVar("StageMethod", bound=Callable[..., list[Any]])


@dataclass(frozen=True)
class Stage:
    """One step of a job: which handler runs, and which earlier results its method asks for."""

    number: int
    name: str
    task_type: str
    best_effort: bool
    needs: tuple[str, ...]


def stage(task_type: str, *, best_effort: bool = False) -> Callable[[StageMethod], StageMethod]:
    """Mark a method as a stage whose tasks run the handler `task_type`.

    The method takes the job's parameters and, by name, the results of earlier stages; it
    returns the parameters of its tasks: one, many or none. With `best_effort` a failed task
    does not fail the job.
    """

    def mark(method: StageMethod) -> StageMethod:
        method.__dict__["stage"] = (task_type, best_effort)
        return method

    return mark


class JobBase:
    """A job type. Subclasses name it, type its parameters and write its stages in order."""

    job_type: ClassVar[str]
    description: ClassVar[str]
    version: ClassVar[int] = 1
    parameters: ClassVar[type[BaseModel]]
    example: ClassVar[Json] = {}
    stages: ClassVar[tuple[Stage, ...]]

    finalize: Callable[..., Json]
    """Makes the job's result of its parameters and the stage results its signature names."""

    def __init_subclass__(cls) -> None:
        methods = [(name, m) for name, m in vars(cls).items() if hasattr(m, "stage")]
        cls.stages = tuple(
            Stage(number, name, method.stage[0], method.stage[1], needs(method))
            for number, (name, method) in enumerate(methods, start=1)
        )

    def prepare(self, params: Any, ports: Ports) -> BaseModel:
        """Check the parameters against the world and complete them, before anything is stored.

        What it returns is stored and hashed into the job id. Raises RequestError.
        """
        completed: BaseModel = params
        return completed

    def discard(self, params: Any, ports: Ports, owner: str) -> None:
        """Remove what the tasks of a cancelled job made and nobody uses. Safe to repeat.

        `owner` is what the task ids of one of its runs begin with.
        """

    @classmethod
    def prepared(cls) -> type[BaseModel]:
        """The model that `prepare` returns."""
        model = get_type_hints(cls.prepare)["return"]
        return cls.parameters if model is BaseModel else model

    @classmethod
    def job_id(cls, prepared: BaseModel) -> str:
        """SHA-256 of the canonical JSON of job type, version and every completed parameter."""
        content = [cls.job_type, cls.version, prepared.model_dump(mode="json")]
        text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()


def needs(method: Callable[..., Any]) -> tuple[str, ...]:
    """The names of the stages whose results a stage method or `finalize` takes."""
    names = list(inspect.signature(method).parameters)
    return tuple(names[2:])
