"""Adapters that are created on first use."""

from collections.abc import Callable
from threading import Lock
from typing import Any, Generic, TypeVar, cast

Adapter = TypeVar("Adapter")


def on_first_use(make: Callable[[], Adapter]) -> Adapter:
    """A proxy for the object that `make` returns, which is called on the first use of an attribute.

    Importing the Azure SDKs is a large part of a cold start, and many requests need none of
    them.
    """
    return cast(Adapter, _Deferred(make))


class _Deferred(Generic[Adapter]):
    """Creates the adapter once, also with several threads, and forwards every attribute."""

    def __init__(self, make: Callable[[], Adapter]) -> None:
        self._make = make
        self._lock = Lock()
        self._adapter: Adapter | None = None

    def __getattr__(self, name: str) -> Any:
        with self._lock:
            if self._adapter is None:
                self._adapter = self._make()
        return getattr(self._adapter, name)
