"""Retries of calls to a server that is temporarily unreachable."""

import logging
import random
import time
from collections.abc import Callable
from typing import TypeVar

from core.errors import Unavailable

logger = logging.getLogger(__name__)

RETRY_FOR_SECONDS = 30.0
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.1, 5.0

R = TypeVar("R")


def retry_transient(
    server: str, call: Callable[[], R], transient_errors: tuple[type[Exception], ...]
) -> R:
    """Repeat an idempotent call until it returns, with exponential backoff and jitter.

    Raises Unavailable when it still fails with a transient error after RETRY_FOR_SECONDS. Other
    errors propagate immediately. `server` is the name used in log and error messages.
    """
    give_up = time.monotonic() + RETRY_FOR_SECONDS
    pause = FIRST_PAUSE_SECONDS
    while True:
        try:
            return call()
        except transient_errors as error:
            if time.monotonic() > give_up:
                raise Unavailable(f"{server} cannot be reached: {error}") from error
            logger.warning("%s: %s; retrying in %.1f s", server, str(error).strip(), pause)
        time.sleep(pause * random.uniform(0.5, 1.0))
        pause = min(pause * 2, LONGEST_PAUSE_SECONDS)
