"""A private PostgreSQL cluster in a folder: no Docker, no system service, no fixed port.

It listens on 127.0.0.1 only. `fsync` is off: a power cut may corrupt the data, but a server killed
with SIGKILL loses no commit, because its writes stay in the kernel's page cache.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import pwd
import shutil
import signal
import time
from contextlib import suppress
from pathlib import Path

import psycopg
from psycopg import sql

from local import ports, process
from local.errors import LocalError, last_lines
from local.install.postgres import Postgres, install_postgres
from local.process import Account, Identity

USER = "geolathe"
PASSWORD = "geolathe"  # not checked by trust authentication, but some clients require one
SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",  # because socket paths are limited to 107 bytes
    "max_connections": "200",
    "shared_buffers": "128MB",
    "synchronous_commit": "on",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "jit": "off",  # compiling costs more than pgSTAC's short queries
    # Files, not /dev/shm: containers give that 64 MB, and logind empties it at logout.
    "dynamic_shared_memory_type": "mmap",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_line_prefix": "%m [%p] %d ",
}


# In the cluster's own file, over which ALTER SYSTEM takes precedence.
DEFAULTS = "fsync = off\nfull_page_writes = off\n"


def dsn(port: int, database: str) -> str:
    """A connection URL for a cluster on this port."""
    return f"postgresql://{USER}:{PASSWORD}@127.0.0.1:{port}/{database}"


class Cluster:
    """One private cluster. Every method is idempotent and can be called from any process."""

    def __init__(self, folder: Path, port: int = 0, binaries: Postgres | None = None) -> None:
        self.folder = folder.absolute()
        self.wanted_port = port
        self.log = self.folder / "postgres.log"
        self._binaries = binaries
        self._account = server_account()

    def start(self) -> None:
        """Create the cluster if necessary and start it unless it runs."""
        self.folder.mkdir(parents=True, exist_ok=True)
        _claim(self.data.parent)
        with (self.folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if self.identity is not None:
                return self._wait_until_ready()
            if self._binaries is None:
                self._binaries = install_postgres(self.log)
            self._clear_remains()
            if not self._made.exists():
                self._create(self._binaries)
            self._check_version(self._binaries)
            return self._launch(self._binaries)

    def stop(self) -> None:
        """Stop the server. Open transactions are rolled back and sessions closed."""
        identity = self.identity
        if identity is not None:
            process.stop(identity, ask=signal.SIGINT)
        self._clear_remains()

    def destroy(self) -> None:
        """Stop the server and delete its data."""
        self.stop()
        shutil.rmtree(self.data, ignore_errors=True)
        if self.data.parent != self.folder:
            with suppress(FileNotFoundError):  # another keeper may be destroying it, too
                self.data.parent.rmdir()

    @property
    def data(self) -> Path:
        """The data folder, in a place that the server's account can access."""
        return _reachable(self.folder) / "data"

    @property
    def _made(self) -> Path:
        """Marks the cluster as complete. It is in `folder` even if the data is elsewhere."""
        return self.folder / "made"

    @property
    def identity(self) -> Identity | None:
        """The process of the server; None if it is not running."""
        lines = self._pid_file()
        if not lines or not lines[0].isdigit():
            return None
        identity = process.identify(int(lines[0]))
        if identity is None or process.working_folder(identity.pid) != self.data.resolve():
            return None
        return identity

    @property
    def port(self) -> int:
        """The port of the running server."""
        lines = self._pid_file()
        if len(lines) < 4 or self.identity is None:
            raise LocalError(f"PostgreSQL in {self.folder} is not running", log=self.log)
        return int(lines[3])

    def dsn(self, database: str = "postgres") -> str:
        """A connection URL."""
        return dsn(self.port, database)

    def has_database(self, name: str) -> bool:
        """True if the database exists."""
        with psycopg.connect(self.dsn(), autocommit=True) as connection:
            found = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (name,))
            return found.fetchone() is not None

    def create_database(self, name: str, template: str | None = None) -> str:
        """Create a database, a copy of `template` when given, and return its DSN.

        No session may be connected to the template meanwhile.
        """
        statement = sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name))
        if template is not None:
            statement += sql.SQL(" TEMPLATE {}").format(sql.Identifier(template))
        with psycopg.connect(self.dsn(), autocommit=True) as connection:
            if template is not None and connection.info.server_version >= 150_000:
                # Without fsync, faster than the default of PostgreSQL 15 and later.
                statement += sql.SQL(" STRATEGY file_copy")
            connection.execute(statement)
        return self.dsn(name)

    def drop_database(self, name: str) -> None:
        """Drop a database if it exists, closing its connections."""
        statement = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name))
        with psycopg.connect(self.dsn(), autocommit=True) as connection:
            connection.execute(statement)

    def _create(self, postgres: Postgres) -> None:
        """Run initdb in a temporary folder, which is renamed once it is complete."""
        part = self.data.with_name("data.part")
        shutil.rmtree(part, ignore_errors=True)
        shutil.rmtree(self.data, ignore_errors=True)
        part.mkdir(mode=0o700)
        if self._account:
            os.chown(part, self._account["user"], self._account["group"])
        options = [
            "-A",
            "trust",
            "-E",
            "UTF8",
            "--locale=C.UTF-8",
            "--no-sync",
            "--no-instructions",
        ]
        process.run(
            [postgres.program("initdb"), "-D", part, "-U", USER, *options],
            self.log,
            env=_server_env(postgres),
            cwd=Path("/"),
            account=self._account,
            hint=f"is the disk of {part} full, or the folder closed to the server's account?",
        )
        with (part / "postgresql.conf").open("a") as file:
            file.write(DEFAULTS)
        part.rename(self.data)
        self._made.touch()

    def _check_version(self, postgres: Postgres) -> None:
        """Raise LocalError if the data is of another major version, after a system upgrade."""
        data, server = int((self.data / "PG_VERSION").read_text()), postgres.version()
        if data != server:
            raise LocalError(
                f"{self.data} was created by PostgreSQL {data}; installed is PostgreSQL {server}",
                hint=f"set GEOLATHE_POSTGRES_BIN to that version, or delete {self.folder.parent}",
            )

    def _clear_remains(self) -> None:
        """Kill the processes of a killed server and delete its pid file.

        The working directory of all of them is the data folder.
        """
        for pid in process.find_by_working_folder(self.data):
            process.stop(pid, ask=signal.SIGKILL)
        (self.data / "postmaster.pid").unlink(missing_ok=True)

    def _launch(self, postgres: Postgres) -> None:
        """Start the server. If another process takes the chosen port first, choose another one."""
        for _ in range(5):
            port = self.wanted_port or ports.pick_free()
            identity = self._spawn(postgres, port)
            if self._becomes_ready(identity):
                return
            is_taken = "Address already in use" in "\n".join(last_lines(self.log, 6))
            if self.wanted_port or not is_taken:
                break
        raise LocalError("PostgreSQL failed to start", log=self.log)

    def _spawn(self, postgres: Postgres, port: int) -> Identity:
        settings = [f"--{name}={value}" for name, value in SETTINGS.items()]
        return process.spawn(
            [postgres.program("postgres"), "-D", self.data, "-p", str(port), *settings],
            self.log,
            env=_server_env(postgres),
            cwd=Path("/"),
            account=self._account,
        )

    def _becomes_ready(self, server: Identity, timeout: float = 60.0) -> bool:
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            if self._is_ready(server.pid):
                return True
            if process.wait_for_exit(server, 0.02):
                return False
        return False

    def _wait_until_ready(self) -> None:
        identity = self.identity
        if identity is None or not self._becomes_ready(identity):
            raise LocalError("PostgreSQL is running but accepts no connections", log=self.log)

    def _is_ready(self, pid: int) -> bool:
        """Read line 8 of postmaster.pid, as pg_ctl does."""
        lines = self._pid_file()
        return len(lines) >= 8 and lines[0] == str(pid) and lines[7].strip() == "ready"

    def _pid_file(self) -> list[str]:
        file = self.data / "postmaster.pid"
        try:
            return file.read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            return []


def server_account() -> Account | None:
    """The account that runs the server if this process is root, which initdb rejects."""
    if os.geteuid() != 0:
        return None
    names = {entry.pw_name: entry for entry in pwd.getpwall()}
    entry = names.get("postgres") or names.get("nobody")
    if entry is None:
        raise LocalError(
            "PostgreSQL does not run as root, and there is no account postgres or nobody",
            hint="run this as an ordinary user",
        )
    return Account(user=entry.pw_uid, group=entry.pw_gid, extra_groups=[])


def _reachable(folder: Path) -> Path:
    """The folder itself, or one in /var/tmp if the server's account cannot access it."""
    if os.geteuid() != 0 or all(_is_open(parent) for parent in [folder, *folder.parents]):
        return folder
    digest = hashlib.sha256(os.fsencode(folder)).hexdigest()[:12]
    return Path("/var/tmp") / f"geolathe-{digest}-{os.geteuid()}"


def _claim(folder: Path) -> None:
    """Create a folder. Raises LocalError if another user created it before, in /var/tmp."""
    folder.mkdir(mode=0o711, exist_ok=True)
    if folder.lstat().st_uid != os.geteuid() or folder.is_symlink():
        raise LocalError(f"{folder} belongs to another user", hint=f"remove {folder}")


def _is_open(folder: Path) -> bool:
    return not folder.exists() or bool(folder.stat().st_mode & 0o001)


def _server_env(postgres: Postgres) -> dict[str, str]:
    """A minimal environment, without the caller's PGPORT, PGDATA and PGOPTIONS."""
    return {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", **postgres.env}
