"""The Python client of Geolathe: `Client(url, key).submit("process_raster", ...).wait()`."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from geolathe.client import Client
    from geolathe.errors import Error, Refused, Unreachable
    from geolathe.job import Job, JobEnded

__all__ = ["Client", "Error", "Job", "JobEnded", "Refused", "Unreachable"]

_MODULES = {
    "Client": "geolathe.client",
    "Error": "geolathe.errors",
    "Job": "geolathe.job",
    "JobEnded": "geolathe.job",
    "Refused": "geolathe.errors",
    "Unreachable": "geolathe.errors",
}


def __getattr__(name: str) -> Any:
    """Import a public name on first use: the command must handle Ctrl-C before httpx loads."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_MODULES[name]), name)
