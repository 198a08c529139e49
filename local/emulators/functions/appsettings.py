"""App settings, which the Functions host passes to an app as environment variables."""

from __future__ import annotations

import json
import logging
import os
import re
from pathlib import Path

from local.errors import LocalError

logger = logging.getLogger(__name__)


def load_local_settings(app_dir: Path) -> None:
    """Set the `Values` of local.settings.json that the environment does not define."""
    path = app_dir / "local.settings.json"
    if not path.exists():
        return
    try:
        values = json.loads(path.read_text(encoding="utf-8")).get("Values", {})
    except json.JSONDecodeError as error:
        raise LocalError(f"{path} is not JSON: {error}") from None
    for name, value in values.items():
        os.environ.setdefault(name, str(value))


def resolve(expression: str, where: str) -> str:
    """Replace each `%NAME%` by that setting. `where` is the trigger, for the error message."""

    def look_up(match: re.Match[str]) -> str:
        value = os.environ.get(match[1])
        if not value:
            raise LocalError(
                f"{where}: the app setting {match[1]} is not set",
                hint=f"set the environment variable {match[1]}",
            )
        return value

    return re.sub(r"%([^%]+)%", look_up, expression)


def connection_string(name: str, where: str) -> str:
    """The connection string for the `connection` of a trigger."""
    for setting in (f"AzureWebJobs{name}", name):
        if value := os.environ.get(setting):
            return value
    hint = f"set the environment variable {name} to a Service Bus connection string"
    if f"{name}__fullyQualifiedNamespace" in os.environ:
        hint += "; managed identity is not available locally"
    raise LocalError(f"{where}: the connection setting {name} is not set", hint=hint)


def thread_count() -> int | None:
    """PYTHON_THREADPOOL_THREAD_COUNT; None for Python's default, min(32, cpu + 4)."""
    text = os.environ.get("PYTHON_THREADPOOL_THREAD_COUNT")
    if not text:
        return None
    if text.isdecimal() and 1 <= int(text) <= 2_147_483_647:
        return int(text)
    logger.warning(
        "PYTHON_THREADPOOL_THREAD_COUNT=%s is not a positive number; using the default", text
    )
    return None


def function_keys() -> tuple[str, ...]:
    """The keys in LOCAL_FUNCTION_KEYS (`name=value,name=value`), valid for every function."""
    pairs = os.environ.get("LOCAL_FUNCTION_KEYS", "").split(",")
    return tuple(value for pair in pairs if (value := pair.partition("=")[2].strip()))


def master_key() -> str | None:
    """LOCAL_MASTER_KEY, valid for every function and for /admin."""
    return os.environ.get("LOCAL_MASTER_KEY") or None


def script_name() -> str:
    """The name of the module with the app, without `.py`."""
    return os.environ.get("PYTHON_SCRIPT_FILE_NAME", "function_app.py").removesuffix(".py")


def invoker_name() -> str:
    """Which invoker to use: `sdk` (any Python) or `runtime` (3.13 and later)."""
    name = os.environ.get("LOCAL_HOST_INVOKER", "sdk")
    if name not in ("sdk", "runtime"):
        raise LocalError(f"invalid LOCAL_HOST_INVOKER={name}; expected sdk or runtime")
    return name
