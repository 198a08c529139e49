"""Processes that outlive the command that started them, identified by pid and start time.

The kernel reuses pids. A pid is unique together with the start time, field 22 of /proc/PID/stat
(proc(5)), and the boot id.
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

LOG_VARIABLE = "GEOLATHE_LOG"  # set in spawned processes: the log file they write
_spawned: set[int] = set()


@dataclass(frozen=True)
class Identity:
    """Identifies one process: the same pid with another start time is another process."""

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
    """The process that has this pid now; None if there is none, or only a zombie."""
    _reap(pid)
    stat = _read_stat(pid)
    if stat is None or stat.state in "ZX":
        return None
    return Identity(pid, stat.started, _boot_id())


def is_alive(identity: Identity) -> bool:
    """True while the process runs."""
    return identify(identity.pid) == identity


def spawn(
    command: Sequence[str | Path],
    log: Path,
    *,
    env: Mapping[str, str],
    cwd: Path,
    account: Account | None = None,
) -> Identity:
    """Start a program in its own session, with its output appended to `log`.

    A log has one writer: a process spawned earlier with the same log is stopped first.
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
    child.returncode = 0  # keeps Popen from warning about a child that outlives it
    _spawned.add(child.pid)
    _wait_until_loaded(child.pid)
    identity = identify(child.pid)
    if identity is None:
        raise LocalError(f"{Path(command[0]).name} exited immediately", log=log)
    return identity


def _wait_until_loaded(pid: int) -> None:
    """Wait for the environment by which `find_by_log` finds a process.

    Popen returns while the kernel still loads the program, when its environment is empty.
    """
    while _environment(pid) == b"" and identify(pid):
        time.sleep(0.001)  # nothing reports it; loading takes some milliseconds


def stop(identity: Identity, *, ask: signal.Signals = signal.SIGTERM, grace: float = 15.0) -> None:
    """Signal a process, wait for up to `grace` seconds, then kill the rest of its session."""
    if is_alive(identity):
        _signal(identity.pid, ask)
        wait_for_exit(identity, grace)
    for pid in _session_members(identity):
        _signal(pid, signal.SIGKILL)
    wait_for_exit(identity, 5.0)


def wait_for_exit(identity: Identity, timeout: float | None) -> bool:
    """Wait until a process has ended, which need not be a child. Returns whether it has ended.

    `timeout=None` waits without a limit.
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
    """The working directory of a process; None if it has ended or belongs to another user."""
    try:
        return Path(f"/proc/{pid}/cwd").readlink()
    except (FileNotFoundError, PermissionError, ProcessLookupError):
        return None


def memory_of(pid: int) -> int:
    """Bytes of memory used by a process and its descendants, shared pages counted once (PSS)."""
    parents = {other: stat.parent for other in _all_pids() if (stat := _read_stat(other))}
    family = [pid]
    for member in family:
        family.extend(other for other, parent in parents.items() if parent == member)
    return sum(_proportional_size(member) for member in family)


def find_by_working_folder(folder: Path) -> list[Identity]:
    """The processes whose working directory is this folder, even if it was deleted meanwhile."""
    wanted = {folder.resolve(), Path(f"{folder.resolve()} (deleted)")}
    pids = [pid for pid in _all_pids() if working_folder(pid) in wanted]
    return [identity for pid in pids if (identity := identify(pid)) is not None]


def find_by_log(log: Path) -> list[Identity]:
    """The processes spawned with this log, or with any log in this folder."""
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
    """Run a program, its output appended to `log`. Raises LocalError if it fails."""
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
        raise LocalError(f"{name} failed with exit code {done.returncode}", hint=hint, log=log)


def wait_until_ready(
    name: str, identity: Identity, is_ready: Callable[[], bool], log: Path, timeout: float = 60.0
) -> None:
    """Poll until `is_ready`. Raises LocalError if the process ends first, or after `timeout`."""
    deadline = time.monotonic() + timeout
    while not is_ready():
        if wait_for_exit(identity, 0.05):
            raise LocalError(f"{name} exited during its start", log=log)
        if time.monotonic() > deadline:
            raise LocalError(f"{name} is not ready after {timeout:.0f} s", log=log)


def _signal(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def _session_members(identity: Identity) -> Iterator[int]:
    """The running processes of the session that this process leads, or led.

    The kernel does not reuse a pid that is the id of a session, so the members belong to this
    session unless the pid has a new process.
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
    """Wait for a spawned child that has ended, which would stay a zombie otherwise."""
    if pid in _spawned and os.waitpid(pid, os.WNOHANG) != (0, 0):
        _spawned.discard(pid)


def _read_stat(pid: int) -> _Stat | None:
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    return _parse_stat(text)


def _parse_stat(text: str) -> _Stat:
    """Parse the line. Field 2 may contain spaces and brackets: count from the last bracket."""
    fields = text.rpartition(")")[2].split()
    return _Stat(
        state=fields[0], parent=int(fields[1]), session=int(fields[3]), started=int(fields[19])
    )


def _environment(pid: int) -> bytes | None:
    """None if the process has ended or belongs to another user."""
    try:
        return Path(f"/proc/{pid}/environ").read_bytes()
    except (FileNotFoundError, PermissionError, ProcessLookupError):
        return None


def _log_of(pid: int) -> Path | None:
    variables = (_environment(pid) or b"").split(b"\0")
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
