"""Handlers: plain functions bound to their parameter and result models."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, get_type_hints

from pydantic import BaseModel

from core.models import Json
from core.ports import BlobStore, Catalog, Ports, Scratch


class Progress(Protocol):
    """Where a running task tells how far it is, and learns that it should stop."""

    def report(self, fraction: float, message: str = "") -> None:
        """Keep the fraction done, 0 to 1. Raises TaskLost when the task is no longer ours."""


@dataclass(frozen=True)
class TaskContext:
    """What a handler may use besides its parameters."""

    task_id: str
    attempt: int
    ports: Ports
    progress: Progress

    @property
    def blobs(self) -> BlobStore:
        return self.ports.blobs

    @property
    def catalog(self) -> Catalog:
        return self.ports.catalog

    @property
    def scratch(self) -> Scratch:
        return self.ports.scratch

    def report(self, fraction: float, message: str = "") -> None:
        """Tell how far the task is, 0 to 1. Raises TaskLost when it should stop."""
        self.progress.report(fraction, message)


Handler = Callable[[Any, TaskContext], BaseModel]


@dataclass(frozen=True)
class BoundHandler:
    """A handler with the models its signature names."""

    name: str
    function: Handler
    parameters: type[BaseModel]
    result: type[BaseModel]

    @classmethod
    def bind(cls, name: str, function: Handler) -> "BoundHandler":
        parameters, _, result = get_type_hints(function).values()
        return cls(name, function, parameters, result)

    def __call__(self, parameters: Json, context: TaskContext) -> Json:
        result = self.function(self.parameters.model_validate(parameters), context)
        return result.model_dump(mode="json")
