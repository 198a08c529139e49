"""The results of earlier stages, read page by page."""

from collections.abc import Callable, Iterator
from typing import Generic, NamedTuple, TypeVar

from pydantic import BaseModel

from core.models import Json

Model = TypeVar("Model", bound=BaseModel)

PAGE = 200
"""How many results are in memory at once."""


class TaskResult(NamedTuple):
    """The result of a completed task, and the index of that task in its stage."""

    task_index: int
    result: Json


ReadPage = Callable[[int, int], list[TaskResult]]
"""Takes the task index to start after and the largest number of results; ordered by index."""


class Results(Generic[Model]):
    """The results of the completed tasks of a stage, in task order.

    Each iteration reads them again, a page at a time, so memory does not grow with the stage.
    """

    def __init__(
        self, model: type[Model], read: ReadPage, first: int = 0, stop: int | None = None
    ) -> None:
        self._model = model
        self._read = read
        self._first = first
        self._stop = stop

    def __iter__(self) -> Iterator[Model]:
        return (result for _, result in self.indexed())

    def indexed(self) -> Iterator[tuple[int, Model]]:
        """Each result with the index of its task. Indexes of failed tasks are missing."""
        after = self._first - 1
        while True:
            count = PAGE if self._stop is None else min(PAGE, self._stop - after - 1)
            page = self._read(after, count) if count > 0 else []
            for index, result in page:
                if self._stop is not None and index >= self._stop:
                    return
                yield index, self._model.model_validate(result)
            if len(page) < count or not page:
                return
            after = page[-1].task_index

    def between(self, first: int, stop: int) -> "Results[Model]":
        """The results of the tasks with first <= index < stop."""
        return Results(self._model, self._read, first, stop)
