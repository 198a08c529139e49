"""The services of the local stack, and the order in which they start and stop."""

from __future__ import annotations

import fcntl
import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from azure.core.exceptions import ResourceExistsError
from azure.storage.blob import BlobServiceClient, CorsRule

from local import process
from local.emulators.azurite import Azurite, install_azurite
from local.errors import LocalError
from local.install.chromium import install_chromium
from local.install.postgres import find_postgres, install_postgres
from local.process import Identity
from local.stack.environment import (
    BRONZE,
    DATABASE,
    ROOT,
    SILVER,
    Environment,
    inherited,
    prepare_environment,
    read_environment,
)
from local.stack.postgres import Cluster
from local.stack.services import Service, Services
from local.steps import Report, Step, run_steps

PRODUCT = ("function_app.py", "host.json", "config", "core", "infrastructure", "jobs")
HOST_SOURCES = (
    *PRODUCT,
    "services",
    "triggers",
    "local/emulators/functions",
    "local.settings.json",
)
PARTS = ("postgres", "azurite", "broker", "otlp", "host", "titiler", "stac")
SETUP_LOGS = ("python", "apt", "npm", "chromium", "migrate")
# The name of each service's port.
PORTS = {
    "postgres": "postgres",
    "azurite": "blob",
    "broker": "servicebus",
    "otlp": "otlp",
    "host": "api",
    "titiler": "titiler",
    "stac": "stac",
}
# The dashboard uploads from the browser to storage, which is another origin.
_BROWSERS = CorsRule(["*"], ["PUT"], allowed_headers=["*"], max_age_in_seconds=3600)
HOST_GRACE = 30.0  # seconds that the host gets to finish running calls


@dataclass(frozen=True)
class PartStatus:
    """The state of one service, as `./dev status` shows it."""

    name: str
    identity: Identity | None
    is_missing: bool  # it was started and not stopped, but does not run
    address: str
    log: Path


class Stack:
    """The services of one checkout. `up` starts those that do not run, `down` stops them."""

    def __init__(self, folder: Path | None = None) -> None:
        chosen = folder or os.environ.get("GEOLATHE_STACK") or ROOT / ".local"
        self.folder = Path(chosen).absolute()
        self.services = Services(self.folder)

    def up(self, report: Report) -> Environment:
        """Start every service that does not run. Raises StepFailed."""
        with self._locked(report):
            environment = prepare_environment(self.folder, self._listening())
            run_steps(self._steps(environment), report)
            return environment

    def install(self, report: Report) -> None:
        """Install PostgreSQL, PostGIS, Azurite and a browser. Raises StepFailed."""
        run_steps(
            [
                Step("postgresql", self._install_postgres),
                Step("azurite", self._install_azurite),
                Step("chromium", lambda: install_chromium(self.log("chromium"))),
            ],
            report,
        )

    def down(self, report: Report) -> None:
        """Stop every service, dependents first. The data stays."""
        with self._locked(report):
            azurite, cluster = self._azurite(0), self._cluster(0)
            users, givers = ("host", "titiler", "stac"), ("broker", "otlp")
            run_steps(
                [
                    *(Step(name, self._stopping(name)) for name in users),
                    *(Step(name, self._stopping(name), needs=users) for name in givers),
                    Step("azurite", _stopping(azurite), needs=users),
                    Step("postgres", _stopping(cluster), needs=users),
                ],
                report,
            )
            for stray in process.find_by_log(self.folder):
                process.stop(stray)

    def environment(self) -> Environment:
        """The ports, keys and settings. Raises LocalError before the first `up`."""
        environment = read_environment(self.folder)
        if environment is None:
            raise LocalError("the local stack has not been started yet", hint="run ./dev up")
        return environment

    def status(self) -> list[PartStatus]:
        """The state of every service."""
        environment = read_environment(self.folder)
        return [self._part_status(name, environment) for name in PARTS]

    def log(self, name: str) -> Path:
        """The log of a service or of an installation. Raises LocalError for an unknown name."""
        logs = {"postgres": self._cluster(0).log, "azurite": self._azurite(0).log}
        if name not in (*PARTS, *SETUP_LOGS):
            known = ", ".join([*PARTS, *SETUP_LOGS])
            raise LocalError(f"no log {name!r}", hint=f"expected one of: {known}")
        return logs.get(name) or self.services.log(name)

    def _steps(self, environment: Environment) -> list[Step]:
        cluster = self._cluster(environment.ports.postgres)
        azurite = self._azurite(environment.ports.blob)
        broker, otlp, host, titiler, stac = _services(environment)

        def ensure(service: Service) -> Callable[[], str]:
            return lambda: self.services.ensure(service)

        return [
            Step("postgresql", self._install_postgres),
            Step("azurite", lambda: self._start_azurite(azurite, environment)),
            Step("broker", lambda: self._start_broker(broker, environment)),
            Step("otlp", ensure(otlp)),
            Step("postgres", lambda: self._start_postgres(cluster, environment), ("postgresql",)),
            Step("database", lambda: self._migrate(environment), ("postgres",)),
            Step("titiler", ensure(titiler), ("database", "azurite")),
            Step("host", ensure(host), ("database", "azurite", "broker", "otlp")),
            Step("stac", ensure(stac), ("database",)),
        ]

    def _install_postgres(self) -> str:
        if find_postgres() is not None:
            return ""
        return f"PostgreSQL with PostGIS in {install_postgres(self.log('apt')).bin}"

    def _install_azurite(self) -> str:
        return "installed from npm" if install_azurite(self.log("npm")) else ""

    def _start_postgres(self, cluster: Cluster, environment: Environment) -> str:
        if cluster.identity is not None:
            if cluster.port == environment.ports.postgres:
                return "already running"
            cluster.stop()
        cluster.start()
        return "started"

    def _migrate(self, environment: Environment) -> str:
        cluster = self._cluster(environment.ports.postgres)
        is_new = not cluster.has_database(DATABASE)
        if is_new:
            cluster.create_database(DATABASE)
        process.run(
            [sys.executable, "-m", "infrastructure.migrate", environment.database_url],
            self.log("migrate"),
            env={**inherited(), **environment.app_settings()},
            cwd=ROOT,
        )
        return "created and migrated" if is_new else "migrated"

    def _start_azurite(self, azurite: Azurite, environment: Environment) -> str:
        done = self._install_azurite()
        if azurite.identity is not None and azurite.port != environment.ports.blob:
            azurite.stop()
        runs = azurite.identity is not None
        azurite.start()
        with BlobServiceClient.from_connection_string(azurite.connection_string) as client:
            for name in (BRONZE, SILVER):
                _create_container(client, name)
            client.set_service_properties(cors=[_BROWSERS])
        if runs:
            return "already running"
        return f"{done}, started" if done else "started"

    def _start_broker(self, broker: Service, environment: Environment) -> str:
        config = Path(broker.command[-1])
        config.parent.mkdir(parents=True, exist_ok=True)
        wanted = json.dumps(environment.broker_config(), indent=1)
        if not config.exists() or config.read_text(encoding="utf-8") != wanted:
            config.touch(mode=0o600)
            config.write_text(wanted, encoding="utf-8")
        return self.services.ensure(broker)

    def _stopping(self, name: str) -> Callable[[], str]:
        grace = HOST_GRACE if name == "host" else 10.0
        return lambda: "stopped" if self.services.stop(name, grace) else "was not running"

    def _listening(self) -> list[str]:
        """The names of the ports on which services of this stack listen."""
        return [PORTS[name] for name in PARTS if self._identity(name) is not None]

    def _identity(self, name: str) -> Identity | None:
        if name == "postgres":
            return self._cluster(0).identity
        if name == "azurite":
            return self._azurite(0).identity
        record = self.services.read(name)
        if record is None or not process.is_alive(record.identity):
            return None
        return record.identity

    def _part_status(self, name: str, environment: Environment | None) -> PartStatus:
        port = getattr(environment.ports, PORTS[name]) if environment else 0
        identity = self._identity(name)
        is_missing = identity is None and self._is_noted(name)
        return PartStatus(name, identity, is_missing, f"127.0.0.1:{port}", self.log(name))

    def _is_noted(self, name: str) -> bool:
        """True from a start to the next stop, even if the service has died."""
        if name == "postgres":
            return (self._cluster(0).data / "postmaster.pid").exists()
        if name == "azurite":
            return self._azurite(0).state_file.exists()
        return self.services.read(name) is not None

    def _cluster(self, port: int) -> Cluster:
        return Cluster(self.folder / "postgres", port)

    def _azurite(self, port: int) -> Azurite:
        return Azurite(self.folder / "azurite", port)

    @contextmanager
    def _locked(self, report: Report) -> Iterator[None]:
        """One `up` or `down` at a time."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "stack.lock").open("w") as handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                report.console.print("  waiting for another ./dev up or down to end")
                fcntl.flock(handle, fcntl.LOCK_EX)
            yield


def _services(environment: Environment) -> tuple[Service, ...]:
    """Broker, receiver of telemetry, functions host, tile server and STAC API, in this order."""
    ports = environment.ports
    config = environment.folder / "servicebus" / "config.json"
    catalogue = environment.catalogue_settings()
    return (
        Service(
            name="broker",
            command=("-m", "local.emulators.servicebus", str(config)),
            settings={},
            port=ports.servicebus,
            ready_path=None,
            sources=("local/emulators/servicebus", str(config)),
        ),
        Service(
            name="otlp",
            command=("-m", "local.emulators.otlp", str(ports.otlp), str(environment.spans)),
            settings={},
            port=ports.otlp,
            ready_path=None,
            sources=("local/emulators/otlp",),
        ),
        Service(
            name="host",
            command=("-m", "local.emulators.functions", ".", "--port", str(ports.api)),
            settings=environment.host_settings(),
            port=ports.api,
            ready_path="/api/health/live",
            sources=HOST_SOURCES,
        ),
        Service(
            name="titiler",
            command=("-m", "uvicorn", "tiles.app:app", *_uvicorn(ports.titiler)),
            settings=catalogue,
            port=ports.titiler,
            ready_path="/healthz",
            sources=("tiles",),
        ),
        Service(
            name="stac",
            command=("-m", "uvicorn", "stac_api.app:app", *_uvicorn(ports.stac)),
            settings=catalogue,
            port=ports.stac,
            ready_path="/_mgmt/ping",
            sources=("stac_api",),
        ),
    )


def _uvicorn(port: int) -> tuple[str, ...]:
    return ("--host", "127.0.0.1", "--port", str(port))


def _stopping(part: Cluster | Azurite) -> Callable[[], str]:
    def stop() -> str:
        if part.identity is None:
            return "was not running"
        part.stop()
        return "stopped"

    return stop


def _create_container(client: BlobServiceClient, name: str) -> None:
    try:
        client.create_container(name)
    except ResourceExistsError:
        return
