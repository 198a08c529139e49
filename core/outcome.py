"""Calling plug-in code: one of four things comes of it."""

import logging
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from core.errors import RequestError, TaskFailed, TaskLost
from core.models import Failure

logger = logging.getLogger(__name__)

Value = TypeVar("Value")


@dataclass(frozen=True)
class Success(Generic[Value]):
    """It returned."""

    value: Value


@dataclass(frozen=True)
class Permanent:
    """It said that this input can never work."""

    failure: Failure


@dataclass(frozen=True)
class Transient:
    """It broke in a way nobody foresaw; another attempt may work."""

    failure: Failure


@dataclass(frozen=True)
class Lost:
    """It noticed that the task is no longer its own."""


Outcome = Success[Value] | Permanent | Transient | Lost


def call_plugin(function: Callable[[], Value]) -> Outcome[Value]:
    """Call the code of a job or handler and name what came of it."""
    try:
        return Success(function())
    except TaskLost:
        return Lost()
    except (TaskFailed, RequestError) as error:
        return Permanent(Failure(code=error.code, message=error.message))
    except Exception as error:  # the one edge to code that may raise anything
        logger.warning("plug-in code failed", exc_info=True)
        return Transient(Failure(code=_code(error), message=_words(error)))


def _code(error: Exception) -> str:
    return str(getattr(error, "code", None) or "UNEXPECTED_ERROR")


def _words(error: Exception) -> str:
    frame = traceback.extract_tb(error.__traceback__)[-1]
    place = f"{frame.filename.rsplit('/', 1)[-1]}:{frame.lineno}"
    return f"{type(error).__name__}: {error} ({place})"
