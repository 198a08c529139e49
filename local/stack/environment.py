"""The ports and keys of a stack, and every setting derived from them.

Ports are chosen once and kept in .local/ports.json, so that links outlive a restart, unless
GEOLATHE_API_PORT, GEOLATHE_TITILER_PORT, GEOLATHE_STAC_PORT, GEOLATHE_POSTGRES_PORT,
GEOLATHE_BLOB_PORT, GEOLATHE_SERVICEBUS_PORT or GEOLATHE_OTLP_PORT is set.
"""

from __future__ import annotations

import base64
import json
import os
import re
import secrets
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from local import ports
from local.emulators import azurite
from local.errors import LocalError
from local.stack import postgres

ROOT = Path(__file__).parents[2]
DATABASE = "geolathe"
JOBS_QUEUE = "geospatial-jobs"
TASKS_QUEUE = "geospatial-tasks"
QUICK_TASKS_QUEUE = "geospatial-quick-tasks"
BRONZE = "bronze-rasters"
SILVER = "silver-cogs"
SWEEP_SCHEDULE = "*/30 * * * * *"
KEY_NAME = "RootManageSharedAccessKey"
# Settings of the caller's databases, clouds and GDAL must not reach the stack, nor must a proxy:
# all services listen on 127.0.0.1.
NOT_INHERITED = re.compile(
    r"^(PG|AZURE_|AWS_|APPLICATIONINSIGHTS_|OTEL_EXPORTER_|GDAL_|CPL_|PROJ_|PYTHONPATH$|.*_proxy$|.*_PROXY$)"
)


@dataclass(frozen=True)
class Ports:
    """The port of each service."""

    api: int
    titiler: int
    stac: int
    postgres: int
    blob: int
    servicebus: int
    otlp: int = 0
    """0 in the file of a stack that an earlier version started."""


@dataclass(frozen=True)
class Keys:
    """The secrets of one stack, generated once."""

    function_key: str
    master_key: str
    servicebus_key: str


@dataclass(frozen=True)
class Environment:
    """The addresses and settings of one stack."""

    folder: Path
    ports: Ports
    keys: Keys

    @property
    def api(self) -> str:
        return f"http://127.0.0.1:{self.ports.api}/api"

    @property
    def titiler(self) -> str:
        return f"http://127.0.0.1:{self.ports.titiler}"

    @property
    def stac(self) -> str:
        return f"http://127.0.0.1:{self.ports.stac}"

    @property
    def database_url(self) -> str:
        return postgres.dsn(self.ports.postgres, DATABASE)

    @property
    def storage_connection_string(self) -> str:
        return azurite.connection_string(self.ports.blob)

    @property
    def servicebus_connection_string(self) -> str:
        return (
            f"Endpoint=sb://127.0.0.1:{self.ports.servicebus};SharedAccessKeyName={KEY_NAME};"
            f"SharedAccessKey={self.keys.servicebus_key};UseDevelopmentEmulator=true;"
        )

    @property
    def spans(self) -> Path:
        """The file in which the receiver of telemetry keeps spans."""
        return self.folder / "otlp" / "spans.sqlite"

    def app_settings(self) -> dict[str, str]:
        """The application settings of the function app, as in Azure."""
        return {
            "DATABASE_URL": self.database_url,
            "SERVICEBUS_CONNECTION": self.servicebus_connection_string,
            "STORAGE_CONNECTION": self.storage_connection_string,
            "JOBS_QUEUE": JOBS_QUEUE,
            "TASKS_QUEUE": TASKS_QUEUE,
            "QUICK_TASKS_QUEUE": QUICK_TASKS_QUEUE,
            "BRONZE_CONTAINER": BRONZE,
            "SILVER_CONTAINER": SILVER,
            "TITILER_URL": self.titiler,
            "STAC_URL": self.stac,
            "SCRATCH_DIR": str(self.folder / "scratch"),
            "SWEEP_SCHEDULE": SWEEP_SCHEDULE,
            # One host stands for several instances of the function app.
            "PYTHON_THREADPOOL_THREAD_COUNT": "20",
            "POOL_SIZE": "16",
            "AzureFunctionsJobHost__extensions__serviceBus__maxConcurrentCalls": "8",
        }

    def host_settings(self) -> dict[str, str]:
        """The application settings, the local receiver, and the keys that the host checks."""
        return {
            **self.app_settings(),
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{self.ports.otlp}",
            "OTEL_BSP_SCHEDULE_DELAY": "500",  # milliseconds: a trace is complete soon
            "LOCAL_FUNCTION_KEYS": f"default={self.keys.function_key}",
            "LOCAL_MASTER_KEY": self.keys.master_key,
        }

    def catalogue_settings(self) -> dict[str, str]:
        """The settings of the tile server and the STAC API."""
        return {
            "DATABASE_URL": self.database_url,
            "STORAGE_CONNECTION": self.storage_connection_string,
            "TILE_CONTAINERS": SILVER,
            "TITILER_URL": self.titiler,
            "STAC_URL": self.stac,
        }

    def broker_config(self) -> dict[str, Any]:
        """The configuration of the Service Bus broker."""
        queue = {"lock_duration": 30, "max_delivery_count": 10}
        names = (JOBS_QUEUE, TASKS_QUEUE, QUICK_TASKS_QUEUE)
        return {
            "port": self.ports.servicebus,
            "keys": {KEY_NAME: self.keys.servicebus_key},
            "queues": dict.fromkeys(names, queue),
            "store": str(self.folder / "servicebus" / "messages"),
        }

    def describe(self) -> dict[str, str]:
        """The URLs and keys that `./dev status --json` prints."""
        return {
            "api": self.api,
            "function_key": self.keys.function_key,
            "titiler": self.titiler,
            "stac": self.stac,
            "database_url": self.database_url,
            "storage_connection_string": self.storage_connection_string,
            "servicebus_connection_string": self.servicebus_connection_string,
            "bronze_container": BRONZE,
        }


def inherited() -> dict[str, str]:
    """The caller's environment without the variables that must not reach the stack."""
    kept = {name: value for name, value in os.environ.items() if not NOT_INHERITED.match(name)}
    return {**kept, "NO_PROXY": "127.0.0.1,localhost", "PYTHONUNBUFFERED": "1"}


def read_environment(folder: Path) -> Environment | None:
    """The environment of an earlier `up`; None if there was none."""
    noted, keys = folder / "ports.json", folder / "keys.json"
    if not noted.exists() or not keys.exists():
        return None
    return Environment(folder, Ports(**_read(noted)), Keys(**_read(keys)))


def prepare_environment(folder: Path, running: Collection[str]) -> Environment:
    """Choose a port for each service: the requested one, else the last one, else a free one.

    `running` names the ports on which services of this stack listen already.
    """
    folder.mkdir(parents=True, exist_ok=True)
    before = read_environment(folder)
    old: Mapping[str, int] = asdict(before.ports) if before else {}
    chosen: dict[str, int] = {}
    for name in (field.name for field in fields(Ports)):
        taken = [*old.values(), *chosen.values()]
        chosen[name] = _choose_port(name, old.get(name) or None, name in running, taken)
    _write(folder / "ports.json", chosen)
    if before is None:
        _write(folder / "keys.json", asdict(_make_keys()))
    after = read_environment(folder)
    if after is None:
        raise LocalError(f"cannot write to {folder}")
    return after


def _choose_port(name: str, noted: int | None, is_ours: bool, taken: Collection[int]) -> int:
    variable = f"GEOLATHE_{name.upper()}_PORT"
    asked = os.environ.get(variable)
    if asked is None:
        if noted is not None and (is_ours or ports.becomes_free(noted)):
            return noted
        return ports.pick_free(exclude=taken)
    if not asked.isdigit() or not 0 < int(asked) < 65536:
        raise LocalError(
            f"invalid port {variable}={asked!r}", hint="expected a number from 1 to 65535"
        )
    port = int(asked)
    if not (is_ours and port == noted) and not ports.becomes_free(port):
        raise LocalError(
            f"port {port} ({variable}) is in use",
            hint=f"stop the process that uses it, or unset {variable}",
        )
    return port


def _make_keys() -> Keys:
    return Keys(
        function_key=secrets.token_urlsafe(32),
        master_key=secrets.token_urlsafe(32),
        servicebus_key=base64.b64encode(secrets.token_bytes(32)).decode(),
    )


def _read(file: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return content


def _write(file: Path, content: Mapping[str, Any]) -> None:
    """Replace the file atomically; only its owner may read it."""
    part = file.with_suffix(".part")
    part.touch(mode=0o600)
    part.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    part.rename(file)
