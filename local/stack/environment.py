"""Where everything is on this machine: ports, keys, and every setting that follows from them.

Ports are free ones, noted in .local/ports.json so that links stay good after a restart, unless
GEOLATHE_API_PORT, GEOLATHE_TITILER_PORT, GEOLATHE_STAC_PORT, GEOLATHE_POSTGRES_PORT,
GEOLATHE_BLOB_PORT or GEOLATHE_SERVICEBUS_PORT name them.
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
# The caller's own databases, clouds and GDAL must not leak into the stack, nor a proxy come
# between its parts, which all live on 127.0.0.1.
NOT_INHERITED = re.compile(r"^(PG|AZURE_|AWS_|GDAL_|CPL_|PROJ_|PYTHONPATH$|.*_proxy$|.*_PROXY$)")


@dataclass(frozen=True)
class Ports:
    """Who listens where."""

    api: int
    titiler: int
    stac: int
    postgres: int
    blob: int
    servicebus: int


@dataclass(frozen=True)
class Keys:
    """Secrets of one checkout, made once."""

    function_key: str
    master_key: str
    servicebus_key: str


@dataclass(frozen=True)
class Environment:
    """One local stack's addresses and settings."""

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

    def app_settings(self) -> dict[str, str]:
        """The settings of the function app, as Azure would hold them."""
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
            "PYTHON_THREADPOOL_THREAD_COUNT": "16",
        }

    def host_settings(self) -> dict[str, str]:
        """The function app's settings and the keys its host checks."""
        return {
            **self.app_settings(),
            "LOCAL_FUNCTION_KEYS": f"default={self.keys.function_key}",
            "LOCAL_MASTER_KEY": self.keys.master_key,
        }

    def catalogue_settings(self) -> dict[str, str]:
        """What the tile server and the STAC API read."""
        return {
            "DATABASE_URL": self.database_url,
            "PGHOST": "127.0.0.1",
            "PGPORT": str(self.ports.postgres),
            "PGUSER": postgres.USER,
            "PGPASSWORD": postgres.PASSWORD,
            "PGDATABASE": DATABASE,
            "AZURE_STORAGE_CONNECTION_STRING": self.storage_connection_string,
            "TILE_CONTAINERS": SILVER,
            "TITILER_URL": self.titiler,
            "STAC_URL": self.stac,
            "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
        }

    def broker_config(self) -> dict[str, Any]:
        """What the Service Bus broker reads."""
        queue = {"lock_duration": 30, "max_delivery_count": 10}
        names = (JOBS_QUEUE, TASKS_QUEUE, QUICK_TASKS_QUEUE)
        return {
            "port": self.ports.servicebus,
            "keys": {KEY_NAME: self.keys.servicebus_key},
            "queues": dict.fromkeys(names, queue),
            "store": str(self.folder / "servicebus" / "messages"),
        }

    def describe(self) -> dict[str, str]:
        """The addresses that `./dev status --json` prints."""
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
    """The caller's environment, less what would lead the stack astray."""
    kept = {name: value for name, value in os.environ.items() if not NOT_INHERITED.match(name)}
    return {**kept, "NO_PROXY": "127.0.0.1,localhost", "PYTHONUNBUFFERED": "1"}


def read_environment(folder: Path) -> Environment | None:
    """What an earlier `up` noted; None when there was none."""
    noted, keys = folder / "ports.json", folder / "keys.json"
    if not noted.exists() or not keys.exists():
        return None
    return Environment(folder, Ports(**_read(noted)), Keys(**_read(keys)))


def prepare_environment(folder: Path, running: Collection[str]) -> Environment:
    """Note a port for each part: the one asked for, else the one of last time, else a free one.

    `running` names the ports on which our own parts listen already.
    """
    folder.mkdir(parents=True, exist_ok=True)
    before = read_environment(folder)
    old: Mapping[str, int] = asdict(before.ports) if before else {}
    chosen: dict[str, int] = {}
    for name in (field.name for field in fields(Ports)):
        taken = [*old.values(), *chosen.values()]
        chosen[name] = _choose_port(name, old.get(name), name in running, taken)
    _write(folder / "ports.json", chosen)
    if before is None:
        _write(folder / "keys.json", asdict(_make_keys()))
    after = read_environment(folder)
    if after is None:
        raise LocalError(f"{folder} cannot be written")
    return after


def _choose_port(name: str, noted: int | None, is_ours: bool, taken: Collection[int]) -> int:
    variable = f"GEOLATHE_{name.upper()}_PORT"
    asked = os.environ.get(variable)
    if asked is None:
        if noted is not None and (is_ours or ports.becomes_free(noted)):
            return noted
        return ports.pick_free(besides=taken)
    if not asked.isdigit() or not 0 < int(asked) < 65536:
        raise LocalError(f"{variable}={asked!r} is not a port", hint="give a number up to 65535")
    port = int(asked)
    if not (is_ours and port == noted) and not ports.becomes_free(port):
        raise LocalError(
            f"port {port} ({variable}) is in use",
            hint=f"stop who listens there, or unset {variable}",
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
    """Whole or not at all, and for our eyes only."""
    part = file.with_suffix(".part")
    part.touch(mode=0o600)
    part.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    part.rename(file)
