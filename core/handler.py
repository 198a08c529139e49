"""Handlers: plain functions with typed parameters and a typed result."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Protocol, TypeVar, get_type_hints

from pydantic import BaseModel

from core.models import Json
from core.ports import BlobStore, Catalog, Ports, Scratch
from core.results import Model, ReadPage, Results
from core.storable import storable_json

LONGEST_TASK = timedelta(hours=4)
"""The longest computation of a task. Every limit on a running function must be longer, because the
transfers before and after it take time, too: host.json, signed URLs (docs/decisions/0050)."""


class Progress(Protocol):
    """Where a running task reports its progress."""

    def report(self, fraction: float, message: str = "") -> None:
        """Report the fraction done, 0 to 1. Raises TaskLost when the attempt lost its task."""

    def confirm(self) -> None:
        """Check in the state that the attempt still holds its task. Raises TaskLost."""


StageReader = Callable[[str], ReadPage]
"""Takes the name of an earlier stage of the same job."""


def _no_stages(name: str) -> ReadPage:
    raise LookupError(f"no stage {name!r}: this task belongs to no job")


Report = Callable[[float, str], None]
"""Takes the progress of some work, as a fraction from 0 to 1, and a message."""


@dataclass(frozen=True)
class TaskContext:
    """What a handler can use in addition to its parameters."""

    task_id: str
    attempt: int
    ports: Ports
    progress: Progress
    stages: StageReader = _no_stages

    @property
    def job(self) -> str:
        """The part of the task id that all tasks of the job have in common, in every run."""
        return self.task_id.partition("-")[0]

    @property
    def blobs(self) -> BlobStore:
        return self.ports.blobs

    @property
    def catalog(self) -> Catalog:
        return self.ports.catalog

    @property
    def scratch(self) -> Scratch:
        return self.ports.scratch

    def results(self, stage: str, model: type[Model]) -> Results[Model]:
        """The results of an earlier stage of the same job, read page by page.

        With them the parameters of a task stay small that merges a whole stage.
        """
        return Results(model, self.stages(stage))

    def report(self, fraction: float, message: str = "") -> None:
        """Report the fraction done, 0 to 1. Raises TaskLost when the handler must stop."""
        self.progress.report(fraction, message)

    def confirm(self) -> None:
        """Call before publishing anything. Raises TaskLost when the handler must stop."""
        self.progress.confirm()


@dataclass(frozen=True)
class RetryPolicy:
    """How often a task is attempted when its errors are transient, and the delays in between."""

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
    """Set the retry policy of a handler."""

    def mark(function: HandlerFunction) -> HandlerFunction:
        function.__dict__["retry_policy"] = policy
        return function

    return mark


def quick(function: HandlerFunction) -> HandlerFunction:
    """Mark a handler that takes milliseconds and does not wait for anything.

    Its tasks are delivered in batches. Those of a batch run one after the other and share a claim
    and a completion.
    """
    function.__dict__["is_quick"] = True
    return function


@dataclass(frozen=True)
class BoundHandler:
    """A handler with the models and options that the machine needs."""

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
