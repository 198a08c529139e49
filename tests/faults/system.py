"""The system under test of the fault suite: database, storage, broker and hosts, each of which can
be broken and repaired."""

import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
from azure.storage.blob import BlobServiceClient

from infrastructure.migrate import migrate
from infrastructure.retrying import retry_transient
from local import ports, process
from local.emulators.azurite import Azurite
from local.errors import LocalError
from local.process import Identity
from local.stack import keeper
from local.stack.environment import (
    BRONZE,
    JOBS_QUEUE,
    QUICK_TASKS_QUEUE,
    ROOT,
    SILVER,
    TASKS_QUEUE,
    inherited,
)
from local.stack.postgres import Cluster
from local.stack.services import is_answering
from tests.faults.message_faults import MessageFaults, faulty_broker, lose_locks
from tests.faults.points import FILE, FULL_DISK_FILE, Arm
from tests.fixtures.broker import QUEUES, RunningBroker

DATABASE = "faults"
FUNCTION_KEY = "function-key"
LEASE = 3.0
APP = Path(__file__).parent / "app" / "faulty_app.py"


class Host:
    """One functions host; restarted after a crash, and resumed if it is frozen for too long."""

    def __init__(self, name: str, folder: Path, settings: dict[str, str]) -> None:
        self.name = name
        self.port = ports.pick_free()
        self.log = folder / f"{name}.log"
        self.point_file = folder / f"{name}.point"
        self._settings = {**settings, FILE: str(self.point_file)}
        self._app = folder / "app"
        self.identity: Identity | None = None
        self.frozen_since: float | None = None
        self.armed: Arm | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/api"

    @property
    def is_alive(self) -> bool:
        return self.identity is not None and process.is_alive(self.identity)

    @property
    def is_frozen(self) -> bool:
        """See proc(5), /proc/pid/stat: state T."""
        if self.identity is None:
            return False
        try:
            text = Path(f"/proc/{self.identity.pid}/stat").read_text(encoding="utf-8")
        except (FileNotFoundError, ProcessLookupError):
            return False
        return text.rpartition(")")[2].split()[0] == "T"

    def start(self) -> None:
        command = [
            sys.executable, "-m", "local.emulators.functions",
            str(self._app), "--port", str(self.port), "--grace", "2",
        ]  # fmt: skip
        env = {**inherited(), **self._settings, "PYTHONPATH": str(ROOT)}
        self.identity = process.spawn(command, self.log, env=env, cwd=ROOT)

    def wait_until_ready(self) -> None:
        assert self.identity is not None
        live = f"{self.url}/health/live"
        process.wait_until_ready(
            self.name, self.identity, lambda: is_answering(live), self.log, timeout=90
        )

    def send(self, number: signal.Signals) -> None:
        if self.identity is not None and self.is_alive:
            os.kill(self.identity.pid, number)

    def arm(self, arm: Arm) -> None:
        """Arm a fault; an earlier one that was not reached is dropped."""
        self.armed = None
        arm.write(self.point_file)
        self.armed = arm

    def disarm(self) -> None:
        self.armed = None
        self.point_file.unlink(missing_ok=True)

    def disarm_unless_struck(self) -> None:
        if self.point_file.exists():
            self.disarm()

    def struck(self) -> Arm | None:
        """The fault that has occurred, if any."""
        arm = self.armed
        if arm is None or self.point_file.exists():
            return None
        self.armed = None
        return arm

    def stop(self) -> None:
        if self.identity is not None:
            self.send(signal.SIGCONT)
            process.stop(self.identity, grace=5)


class System:
    """Everything that a job needs, on free ports and in one folder."""

    def __init__(self, folder: Path, seed: int, hosts: int) -> None:
        self.folder = folder
        self.scratch = folder / "scratch"
        self.full_disk = folder / "scratch-is-full"
        self.message_faults = MessageFaults(seed)
        self.cluster = Cluster(folder / "postgres", ports.pick_free())
        self.azurite = Azurite(folder / "azurite", ports.pick_free())
        self.deaths = 0
        self.struck: list[tuple[Arm, float]] = []
        self._keeping = threading.Event()
        self._watch = threading.Thread(target=self._keep_hosts, name="hosts", daemon=True)
        self._broker: RunningBroker | None = None
        self._host_count = hosts
        self.hosts: list[Host] = []

    def start(self) -> None:
        self.folder.chmod(0o711)  # the account of PostgreSQL must be able to enter
        keeper.keep(os.getpid(), self.folder)
        with ThreadPoolExecutor(2) as pool:
            for made in (pool.submit(self._start_database), pool.submit(self._start_storage)):
                made.result()
        self._broker = self._open_broker(0)
        app = self.folder / "app"
        app.mkdir()
        shutil.copy(ROOT / "host.json", app)
        shutil.copy(APP, app)
        settings = self._settings()
        self.hosts = [Host(f"host-{n}", self.folder, settings) for n in range(self._host_count)]
        for host in self.hosts:
            host.start()
        for host in self.hosts:
            host.wait_until_ready()
        self._watch.start()

    def stop(self) -> None:
        """End everything; the keeper deletes the folder when this process ends."""
        self._keeping.set()
        if self._watch.is_alive():
            self._watch.join()
        for host in self.hosts:
            host.stop()
        if self._broker:
            self._broker.stop()
        self.azurite.stop()
        self.cluster.stop()

    @contextmanager
    def database(self) -> Iterator[psycopg.Connection[Any]]:
        """A connection for the suite itself."""
        with psycopg.connect(
            self.cluster.dsn(DATABASE), autocommit=True, application_name="faults"
        ) as connection:
            yield connection

    @property
    def storage(self) -> BlobServiceClient:
        return BlobServiceClient.from_connection_string(self.azurite.connection_string)

    def restart_broker_empty(self) -> None:
        """Restart the broker at the same address, without its messages."""
        assert self._broker is not None
        port = self._broker.port
        self._broker.stop()
        self._broker = self._open_broker(port)

    def kill_database(self) -> None:
        """Kill the postmaster and its children, and restart it with crash recovery."""
        identity = self.cluster.identity
        if identity is not None:
            os.kill(identity.pid, signal.SIGKILL)
            process.wait_for_exit(identity, 10)
        self.cluster.start()

    def forbid_writes(self, forbidden: bool) -> None:
        """Make the database read-only for all roles, or writable again; retry while it is down."""
        change = f"ALTER SYSTEM SET default_transaction_read_only = {'on' if forbidden else 'off'}"

        def make() -> None:
            with self.database() as connection:
                connection.execute(change)
                connection.execute("SELECT pg_reload_conf()")

        retry_transient("PostgreSQL", make, (psycopg.OperationalError,))

    def lose_locks(self) -> None:
        """Make the broker drop all locks."""
        if self._broker is not None:
            self._broker.call(lose_locks, self._broker.broker)

    def repair(self) -> None:
        """Resume every host. Other faults are ended by the function that injected them."""
        for host in self.hosts:
            host.disarm()
            host.send(signal.SIGCONT)
        self.full_disk.unlink(missing_ok=True)
        self.forbid_writes(False)
        self.azurite.start()

    def _keep_hosts(self) -> None:
        while not self._keeping.wait(0.05):
            for host in self.hosts:
                self._keep(host)

    def _keep(self, host: Host) -> None:
        arm = host.struck()
        if arm is not None:
            self.struck.append((arm, time.time()))
        if not host.is_alive:
            self.deaths += 1
            host.frozen_since = None
            host.start()
        elif not host.is_frozen:
            host.frozen_since = None
        elif host.frozen_since is None:
            host.frozen_since = time.monotonic()
        elif time.monotonic() > host.frozen_since + 1.7 * LEASE:
            host.send(signal.SIGCONT)

    def _start_database(self) -> None:
        self.cluster.start()
        migrate(self.cluster.create_database(DATABASE))

    def _start_storage(self) -> None:
        self.azurite.start()
        with self.storage as storage:
            for name in (BRONZE, SILVER):
                storage.create_container(name)

    def _open_broker(self, port: int) -> RunningBroker:
        for _ in range(50):
            try:
                return RunningBroker(QUEUES, kind=faulty_broker(self.message_faults), port=port)
            except OSError:
                time.sleep(0.1)
        raise LocalError(f"the broker does not get port {port} again")

    def _settings(self) -> dict[str, str]:
        assert self._broker is not None
        return {
            "DATABASE_URL": self.cluster.dsn(DATABASE),
            "SERVICEBUS_CONNECTION": self._broker.connection_string,
            "STORAGE_CONNECTION": self.azurite.connection_string,
            "JOBS_QUEUE": JOBS_QUEUE,
            "TASKS_QUEUE": TASKS_QUEUE,
            "QUICK_TASKS_QUEUE": QUICK_TASKS_QUEUE,
            "BRONZE_CONTAINER": BRONZE,
            "SILVER_CONTAINER": SILVER,
            "TITILER_URL": "http://titiler.test",
            "STAC_URL": "http://stac.test",
            "SCRATCH_DIR": str(self.scratch),
            "LEASE_SECONDS": str(LEASE),
            "WINDOWS_FROM_MB": "4",
            "WINDOW_MB": "4",
            "HEARTBEAT_SECONDS": "0.3",
            "SWEEP_SCHEDULE": "*/2 * * * * *",
            "SWEEP_GRACE_SECONDS": "2",
            "OUTPUT_GRACE_SECONDS": "1",
            "PYTHON_THREADPOOL_THREAD_COUNT": "20",
            "POOL_SIZE": "16",
            "AzureFunctionsJobHost__extensions__serviceBus__maxConcurrentCalls": "8",
            "PYTHON_SCRIPT_FILE_NAME": APP.name,
            "LOCAL_FUNCTION_KEYS": f"default={FUNCTION_KEY}",
            FULL_DISK_FILE: str(self.full_disk),
        }
