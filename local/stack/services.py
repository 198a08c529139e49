"""The Python services of the stack, which are restarted when their code or settings change."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import httpx

from local import ports, process
from local.process import Identity
from local.stack.environment import ROOT, inherited

SUFFIXES = {".py", ".json", ".html", ".js", ".css", ".sql"}
ROTATE_AT = 20 << 20  # bytes; a larger log is renamed at the next start


@dataclass(frozen=True)
class Service:
    """How to start one service, and how to see that it is ready."""

    name: str
    command: tuple[str, ...]
    settings: Mapping[str, str]
    port: int
    ready_path: str | None  # None: ready as soon as the port is open
    sources: tuple[str, ...]

    def is_ready(self) -> bool:
        """True if the service answers."""
        if self.ready_path is None:
            return ports.is_listening(self.port)
        return is_answering(f"http://127.0.0.1:{self.port}{self.ready_path}")

    def make_up(self) -> str:
        """A digest of the command, the settings and the source files."""
        digest = hashlib.sha256(json.dumps([self.command, dict(self.settings)]).encode())
        for file in _files(self.sources):
            digest.update(f"{file} {file.stat().st_mtime_ns}".encode())
        return digest.hexdigest()


@dataclass(frozen=True)
class Record:
    """A started service, as recorded in .local/pids."""

    identity: Identity
    make_up: str


def _files(sources: Iterable[str]) -> Iterator[Path]:
    for path in (ROOT / source for source in sources):
        found = path.rglob("*") if path.is_dir() else [path]
        yield from sorted(file for file in found if file.suffix in SUFFIXES and file.is_file())


class Services:
    """Starts and stops services and records them in a folder."""

    def __init__(self, folder: Path) -> None:
        self.pids = folder / "pids"
        self.logs = folder / "logs"

    def log(self, name: str) -> Path:
        """The log file of a service."""
        return self.logs / f"{name}.log"

    def ensure(self, service: Service) -> str:
        """Start a service unless it runs unchanged. Returns what was done."""
        record = self.read(service.name)
        make_up = service.make_up()
        done = "started"
        if record is not None and process.is_alive(record.identity):
            if record.make_up == make_up:
                self._wait_until_ready(service, record.identity)
                return "already running"
            done = "restarted after a change"
        if record is not None:
            process.stop(record.identity)
        self._start(service, make_up)
        return done

    def stop(self, name: str, grace: float) -> bool:
        """Stop a service and its child processes. Returns whether it was running."""
        record = self.read(name)
        if record is None:
            return False
        ran = process.is_alive(record.identity)
        process.stop(record.identity, grace=grace)
        self._file(name).unlink()
        return ran

    def read(self, name: str) -> Record | None:
        """The record of a service; None if it was never started or was stopped."""
        try:
            noted = json.loads(self._file(name).read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        return Record(Identity(**noted["identity"]), noted["make_up"])

    def _start(self, service: Service, make_up: str) -> None:
        log = self.log(service.name)
        _rotate(log)
        env = {**inherited(), **service.settings}
        identity = process.spawn([sys.executable, *service.command], log, env=env, cwd=ROOT)
        self.pids.mkdir(parents=True, exist_ok=True)
        record = json.dumps(asdict(Record(identity, make_up)))
        self._file(service.name).write_text(record, encoding="utf-8")
        self._wait_until_ready(service, identity)

    def _wait_until_ready(self, service: Service, identity: Identity) -> None:
        log = self.log(service.name)
        process.wait_until_ready(service.name, identity, service.is_ready, log, timeout=90)

    def _file(self, name: str) -> Path:
        return self.pids / f"{name}.json"


def is_answering(url: str) -> bool:
    """True if a GET of this local URL succeeds."""
    try:
        with httpx.Client(trust_env=False, timeout=5) as client:
            return client.get(url).is_success
    except httpx.TransportError:
        return False


def _rotate(log: Path) -> None:
    if log.exists() and log.stat().st_size > ROTATE_AT:
        log.replace(log.with_suffix(".1.log"))
