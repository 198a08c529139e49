"""Trying again while a server is away."""

import logging
import random
import time
from collections.abc import Callable
from typing import TypeVar

from core.errors import Unavailable

logger = logging.getLogger(__name__)

PATIENCE_SECONDS = 30.0
_SHORTEST, _LONGEST = 0.1, 5.0

R = TypeVar("R")


def persist(server: str, attempt: Callable[[], R], passing: tuple[type[Exception], ...]) -> R:
    """Call what is safe to repeat until it returns, with exponential backoff and jitter.

    Raises Unavailable when a passing error still comes after half a minute. Any other flies at
    once.
    """
    give_up = time.monotonic() + PATIENCE_SECONDS
    pause = _SHORTEST
    while True:
        try:
            return attempt()
        except passing as error:
            if time.monotonic() > give_up:
                raise Unavailable(f"{server} cannot be reached: {error}") from error
            logger.warning("%s: %s; again in %.1f s", server, str(error).strip(), pause)
        time.sleep(pause * random.uniform(0.5, 1.0))
        pause = min(pause * 2, _LONGEST)
