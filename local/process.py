"""Processes that outlive the command that started them, found again by pid and start time.

A pid alone is not an identity: the kernel hands it out again. Field 22 of /proc/PID/stat (proc(5))
together with the boot id names one process for good.
"""

from __future__ import annotations

import os
import re
import select
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

from local.errors import LocalError

LOG_VARIABLE = "GEOLATHE_LOG"  # marks who was spawned here, and what for
_spawned: set[int] = set()


@dataclass(frozen=True)
class Identity:
    """One process for good: the same pid with another start time is somebody else."""

    pid: int
    started: int
    boot: str


class Account(TypedDict, total=False):
    """The keywords of subprocess that run a program as another user."""

    user: int
    group: int
    extra_groups: list[int]


@dataclass(frozen=True)
class _Stat:
    """The fields of /proc/PID/stat that are read here."""

    state: str
    parent: int
    session: int
    started: int


def identify(pid: int) -> Identity | None:
    """Who has this pid now; None when nobody alive has it."""
    _reap(pid)
    stat = _read_stat(pid)
    if stat is None or stat.state in "ZX":
        return None
    return Identity(pid, stat.started, _boot_id())


def is_alive(identity: Identity) -> bool:
    """True while this very process runs."""
    return identify(identity.pid) == identity


def spawn(
    command: Sequence[str | Path],
    log: Path,
    *,
    env: Mapping[str, str],
    cwd: Path,
    account: Account | None = None,
) -> Identity:
    """Start a program in a session of its own, its output appended to `log`.

    One log has one writer: who was started on it before, and was forgotten, is ended first.
    """
    for stray in find_by_log(log):
        stop(stray)
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        child = subprocess.Popen(
            [str(part) for part in command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env={**env, LOG_VARIABLE: str(log)},
            cwd=cwd,
            start_new_session=True,
            **(account or {}),
        )
    child.returncode = 0  # Popen warns of children that outlive it, which is what these are for
    _spawned.add(child.pid)
    identity = identify(child.pid)
    if identity is None:
        raise LocalError(f"{Path(command[0]).name} ended as soon as it started", log=log)
    return identity


def stop(identity: Identity, *, ask: signal.Signals = signal.SIGTERM, grace: float = 15.0) -> None:
    """Ask a process to end, wait, and kill what is left of its session."""
    if is_alive(identity):
        _signal(identity.pid, ask)
        wait_for_exit(identity, grace)
    for pid in _session_members(identity):
        _signal(pid, signal.SIGKILL)
    wait_for_exit(identity, 5.0)


def wait_for_exit(identity: Identity, timeout: float | None) -> bool:
    """Wait until a process has ended, without polling and without being its parent.

    Returns whether it has ended; `timeout=None` waits for good.
    """
    try:
        handle = os.pidfd_open(identity.pid)
    except ProcessLookupError:
        return True
    try:
        if is_alive(identity):
            select.select([handle], [], [], timeout)
    finally:
        os.close(handle)
    return not is_alive(identity)


def working_folder(pid: int) -> Path | None:
    """The folder a process works in; None when it has ended or is another user's."""
    try:
        return Path(f"/proc/{pid}/cwd").readlink()
    except (FileNotFoundError, PermissionError, ProcessLookupError):
        return None


def memory_of(pid: int) -> int:
    """Bytes of memory that a process and its descendants take, shared pages counted once (PSS)."""
    parents = {other: stat.parent for other in _all_pids() if (stat := _read_stat(other))}
    family = [pid]
    for member in family:
        family.extend(other for other, parent in parents.items() if parent == member)
    return sum(_proportional_size(member) for member in family)


def find_by_working_folder(folder: Path) -> list[Identity]:
    """The processes that work in this very folder, even when it was deleted under them."""
    wanted = {folder.resolve(), Path(f"{folder.resolve()} (deleted)")}
    pids = [pid for pid in _all_pids() if working_folder(pid) in wanted]
    return [identity for pid in pids if (identity := identify(pid)) is not None]


def find_by_log(log: Path) -> list[Identity]:
    """The processes that were spawned on a log, or on any log in a folder."""
    others = (pid for pid in _all_pids() if pid != os.getpid())
    pids = [pid for pid in others if (own := _log_of(pid)) and own.is_relative_to(log)]
    return [identity for pid in pids if (identity := identify(pid)) is not None]


def run(
    command: Sequence[str | Path],
    log: Path,
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    account: Account | None = None,
    hint: str = "",
) -> None:
    """Run a program to its end, output appended to `log`. Raises LocalError with its exit code."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        output.write(("$ " + " ".join(str(part) for part in command) + "\n").encode())
        output.flush()
        done = subprocess.run(
            [str(part) for part in command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=None if env is None else dict(env),
            cwd=cwd,
            check=False,
            **(account or {}),
        )
    if done.returncode:
        name = Path(command[0]).name
        raise LocalError(f"{name} ended with exit code {done.returncode}", hint=hint, log=log)


def wait_until_ready(
    name: str, identity: Identity, is_ready: Callable[[], bool], log: Path, timeout: float = 60.0
) -> None:
    """Poll a readiness probe; give up as soon as the process has ended."""
    deadline = time.monotonic() + timeout
    while not is_ready():
        if wait_for_exit(identity, 0.05):
            raise LocalError(f"{name} ended while it started", log=log)
        if time.monotonic() > deadline:
            raise LocalError(f"{name} is not ready after {timeout:.0f} s", log=log)


def _signal(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def _session_members(identity: Identity) -> Iterator[int]:
    """What still runs in the session that this process led.

    The kernel keeps a pid reserved while a session carries its number, so members found under it
    are ours unless somebody new leads it.
    """
    leader = identify(identity.pid)
    if leader is not None and leader != identity:
        return
    for pid in _all_pids():
        stat = _read_stat(pid)
        if stat is not None and stat.session == identity.pid and stat.state not in "ZX":
            yield pid


def _all_pids() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def _reap(pid: int) -> None:
    """Collect a child of ours that has ended, or it stays a zombie for as long as we run."""
    if pid in _spawned and os.waitpid(pid, os.WNOHANG) != (0, 0):
        _spawned.discard(pid)


def _read_stat(pid: int) -> _Stat | None:
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    return _parse_stat(text)


def _parse_stat(text: str) -> _Stat:
    """The name in field 2 may hold spaces and brackets: count from the last bracket."""
    fields = text.rpartition(")")[2].split()
    return _Stat(
        state=fields[0], parent=int(fields[1]), session=int(fields[3]), started=int(fields[19])
    )


def _log_of(pid: int) -> Path | None:
    try:
        variables = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except (FileNotFoundError, PermissionError, ProcessLookupError):
        return None
    marker = f"{LOG_VARIABLE}=".encode()
    found = [value for value in variables if value.startswith(marker)]
    return Path(os.fsdecode(found[0].removeprefix(marker))) if found else None


def _proportional_size(pid: int) -> int:
    try:
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii", errors="replace")
    except (FileNotFoundError, PermissionError, ProcessLookupError):
        return 0
    found = re.search(r"^Pss:\s+(\d+) kB", rollup, re.MULTILINE)
    return int(found[1]) * 1024 if found else 0


def _boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
