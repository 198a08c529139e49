"""Sharing one read between all requests that ask for the same thing at once."""

import asyncio
from collections.abc import Callable
from typing import Generic, TypeVar

Value = TypeVar("Value")


class SingleFlight(Generic[Value]):
    """Runs at most one read per key at a time, and queues at most one more behind it.

    A caller never gets the value of a read that started before its call, so it always sees its
    own earlier changes. All callers that arrive during a read share the next one.
    """

    def __init__(self, read: Callable[[str], Value]) -> None:
        self._read = read
        self._running: dict[str, asyncio.Task[Value]] = {}
        self._queued: dict[str, asyncio.Task[Value]] = {}

    async def get(self, key: str) -> Value:
        """The current value for the key. Raises what the read raises."""
        if key not in self._queued:
            previous = self._running.get(key)
            self._queued[key] = asyncio.create_task(self._read_after(previous, key))
        return await asyncio.shield(self._queued[key])

    async def _read_after(self, previous: "asyncio.Task[Value] | None", key: str) -> Value:
        if previous is not None:
            await asyncio.wait([previous])
        current = self._running[key] = self._queued.pop(key)
        try:
            return await asyncio.to_thread(self._read, key)
        finally:
            if self._running.get(key) is current:
                del self._running[key]
