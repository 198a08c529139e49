"""Calling the code of jobs and handlers: one of four outcomes."""

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
    """The call returned a value."""

    value: Value


@dataclass(frozen=True)
class Permanent:
    """The call failed in a way that a retry cannot help."""

    failure: Failure


@dataclass(frozen=True)
class Transient:
    """The call failed unexpectedly; another attempt may succeed."""

    failure: Failure


@dataclass(frozen=True)
class Lost:
    """The attempt no longer holds its task."""


Outcome = Success[Value] | Permanent | Transient | Lost


def call_plugin(
    function: Callable[[], Value], propagated: tuple[type[Exception], ...] = ()
) -> Outcome[Value]:
    """Call the code of a job or handler and return the outcome.

    Exceptions of the `propagated` types are not an outcome of that code.
    """
    try:
        return Success(function())
    except propagated:
        raise
    except TaskLost:
        return Lost()
    except (TaskFailed, RequestError) as error:
        return Permanent(Failure(code=error.code, message=error.message))
    except Exception as error:  # plug-in code may raise anything
        logger.warning("plug-in code failed", exc_info=True)
        return Transient(Failure(code=_code(error), message=_describe(error)))


def _code(error: Exception) -> str:
    return str(getattr(error, "code", None) or "UNEXPECTED_ERROR")


def _describe(error: Exception) -> str:
    frame = traceback.extract_tb(error.__traceback__)[-1]
    place = f"{frame.filename.rsplit('/', 1)[-1]}:{frame.lineno}"
    return f"{type(error).__name__}: {error} ({place})"
