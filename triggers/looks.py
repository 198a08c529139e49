"""Looking at the same thing for many who ask at once."""

import asyncio
from collections.abc import Callable
from typing import Generic, TypeVar

Seen = TypeVar("Seen")


class Looks(Generic[Seen]):
    """One look for all who ask while another is under way.

    Each is answered by a look that began after the question, so nobody misses their own change;
    however many ask, one look runs and one waits.
    """

    def __init__(self, look: Callable[[str], Seen]) -> None:
        self._look = look
        self._running: dict[str, asyncio.Task[Seen]] = {}
        self._waiting: dict[str, asyncio.Task[Seen]] = {}

    async def at(self, name: str) -> Seen:
        """What there is to see now. Raises what the look raises."""
        if name not in self._waiting:
            before = self._running.get(name)
            self._waiting[name] = asyncio.create_task(self._after(before, name))
        return await asyncio.shield(self._waiting[name])

    async def _after(self, before: "asyncio.Task[Seen] | None", name: str) -> Seen:
        if before is not None:
            await asyncio.wait([before])
        this = self._running[name] = self._waiting.pop(name)
        try:
            return await asyncio.to_thread(self._look, name)
        finally:
            if self._running.get(name) is this:
                del self._running[name]
