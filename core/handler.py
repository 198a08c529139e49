"""Handlers: plain functions bound to their parameter and result models."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Protocol, TypeVar, get_type_hints

from pydantic import BaseModel

from core.models import Json
from core.ports import BlobStore, Catalog, Ports, Scratch
from core.storable import storable_json


class Progress(Protocol):
    """Where a running task tells how far it is, and learns that it should stop."""

    def report(self, fraction: float, message: str = "") -> None:
        """Keep the fraction done, 0 to 1. Raises TaskLost when the task is no longer ours."""

    def confirm(self) -> None:
        """Make sure now that the task is still ours. Raises TaskLost."""


Report = Callable[[float, str], None]
"""Takes the progress of some work, as a fraction from 0 to 1, and a message."""


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

    def confirm(self) -> None:
        """Call before showing anything to the world. Raises TaskLost when it should stop."""
        self.progress.confirm()


@dataclass(frozen=True)
class RetryPolicy:
    """How often a passing fault is tried again, and how long to wait before."""

    attempts: int = 3
    base: timedelta = timedelta(seconds=5)
    cap: timedelta = timedelta(minutes=5)

    def delay(self, attempt: int) -> timedelta:
        """Exponential backoff with jitter: between half and all of base * 2^(attempt-1)."""
        doublings = 2.0 ** min(attempt - 1, 60)
        full = min(self.cap.total_seconds(), self.base.total_seconds() * doublings)
        return timedelta(seconds=full * random.uniform(0.5, 1.0))


class Handler(Protocol):
    """A function from parameters and context to a result, as the registry sees it."""

    __name__: str

    def __call__(self, params: Any, ctx: TaskContext, /) -> BaseModel: ...


HandlerFunction = TypeVar("HandlerFunction", bound=Callable[[Any, TaskContext], BaseModel])


def retry(policy: RetryPolicy) -> Callable[[HandlerFunction], HandlerFunction]:
    """Give a handler a retry policy of its own."""

    def mark(function: HandlerFunction) -> HandlerFunction:
        function.__dict__["retry_policy"] = policy
        return function

    return mark


def quick(function: HandlerFunction) -> HandlerFunction:
    """Mark a handler that takes milliseconds and waits for nothing.

    Its tasks come many at a time and share a claim and a completion; they wait for each other.
    """
    function.__dict__["is_quick"] = True
    return function


@dataclass(frozen=True)
class BoundHandler:
    """A handler with the models its signature names."""

    name: str
    function: Handler
    parameters: type[BaseModel]
    result: type[BaseModel]
    retry: RetryPolicy
    is_quick: bool

    @classmethod
    def bind(cls, function: Handler) -> "BoundHandler":
        parameters, _, result = get_type_hints(function).values()
        policy = vars(function).get("retry_policy", RetryPolicy())
        is_quick = vars(function).get("is_quick", False)
        return cls(function.__name__, function, parameters, result, policy, is_quick)

    def __call__(self, parameters: Json, context: TaskContext) -> Json:
        returned = self.function(self.parameters.model_validate(parameters), context)
        return storable_json(f"the result of {self.name}", returned)
