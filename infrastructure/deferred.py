"""Adapters that are made when they are first asked for something."""

from collections.abc import Callable
from threading import Lock
from typing import Any, Generic, TypeVar, cast

Adapter = TypeVar("Adapter")


def on_first_use(make: Callable[[], Adapter]) -> Adapter:
    """A proxy for what `make` returns, which is called when an attribute is first used.

    Importing an SDK of Azure takes as long as half of everything else at a cold start, and many
    a request needs none of them.
    """
    return cast(Adapter, _Deferred(make))


class _Deferred(Generic[Adapter]):
    """Makes the adapter once, whichever thread asks first, and hands every question on."""

    def __init__(self, make: Callable[[], Adapter]) -> None:
        self._make = make
        self._lock = Lock()
        self._adapter: Adapter | None = None

    def __getattr__(self, name: str) -> Any:
        with self._lock:
            if self._adapter is None:
                self._adapter = self._make()
        return getattr(self._adapter, name)
