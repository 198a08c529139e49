"""Runs work on untrusted files in a child process.

A file that makes GDAL crash, hang or exhaust memory ends that process and one task, not the worker.
The child has no credentials in its environment, can open only the files of the program and of its
task (landlock.py), has a memory limit and a deadline, and is killed when the task's lease is lost.
"""

import atexit
import json
import logging
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from pydantic import BaseModel

from core.errors import TaskFailed
from core.handler import Report
from services.sandbox import landlock
from services.sandbox.processors import count_processes
from services.sandbox.turns import Length, Turns

Request = TypeVar("Request", bound=BaseModel)
Result = TypeVar("Result", bound=BaseModel)
Function = Callable[[Request, Report], Result]
"""A function that runs in the child. Its first parameter is named `request`."""
logger = logging.getLogger(__name__)

_TICK_SECONDS = 0.25
_SERVER_MODULE = "services.sandbox.forkserver"
# What children run, in the server already: each would import it again.
_PRELOADED = (
    "services.raster.preload",
    "services.stac.member",
    "services.outputs.facts",
    "services.outputs.windows",
    "services.estimate_cogs",
    "services.create_member",
    "services.make_overview",
)
# What a process needs to start; no settings and no credentials.
_KEPT = ("PATH", "LANG", "LC_ALL", "TZ", "TMPDIR", "LD_LIBRARY_PATH", "SSL_CERT_FILE",
         "CURL_CA_BUNDLE")  # fmt: skip
# With a heap per thread, as is the default, memory that one of GDAL's threads freed is of no use to
# the others.
_MALLOC = {"MALLOC_ARENA_MAX": "2"}
_PAGE = os.sysconf("SC_PAGE_SIZE")
MEMORY_BYTES = 1024 * 2**20
"""The most memory that a child gets: what a worker must have for each."""
_TURNS = Turns(count_processes(MEMORY_BYTES))


def limit_processes(processes: int | None = None) -> int:
    """Set how many children may run at once, by default as many as this machine has room for.

    Returns the number. One more runs while short and long work wait for each other: turns.py.
    """
    limit = processes or count_processes(MEMORY_BYTES)
    _TURNS.limit(limit)
    return limit


def configure(*, proj_grids: Path | None) -> None:
    """Let child processes that start from now on read datum grids from a folder."""
    _SERVER.configure(proj_grids)


class ChildError(RuntimeError):
    """The child failed in a way that another attempt may not."""


class ChildKilled(ChildError):
    """The child was killed from outside, most likely because memory ran out.

    The code applies if that happens in every attempt.
    """

    code = "RASTER_OUT_OF_MEMORY"


def run(
    load: Callable[[], Function[Request, Result]],
    request: Request,
    result: type[Result],
    report: Report,
    *,
    folder: Path | None,
    memory_bytes: int,
    seconds: float,
    network: bool = False,
    length: Length = "long",
    exchange: BinaryIO | None = None,
) -> Result:
    """Run the function that `load` returns on the request in a child process.

    `load` is a module-level function. The child imports its module and calls it, so that only the
    child imports what the work needs. Besides its program the child can open only `folder`, and it
    can open connections only with `network`. Work of one `length` does not wait for work of the
    other. The function finds `exchange` by exchange.received().

    Raises TaskFailed when the function does, and for a crash, too much memory or too much time.
    An exception from `report` ends the child at once.
    """
    order = {
        "load": f"{load.__module__}:{load.__qualname__}",
        "request": request.model_dump(mode="json"),
        "folder": str(folder) if folder else None,
        "network": network,
        # Refuses a large allocation at once. _Conversation notices memory that grows.
        "memory_bytes": 2 * memory_bytes,
    }
    waiting = _TURNS.take(length, _TICK_SECONDS, lambda: report(0.0, "waiting for a processor"))
    with waiting, _SERVER.conversation(exchange) as line:
        conversation = _Conversation(line, report, memory_bytes, seconds)
        try:
            line.sendall(json.dumps(order).encode() + b"\n")
            return result.model_validate(conversation.result())
        except (BrokenPipeError, ConnectionResetError):
            raise ChildError("the raster process ended before it started") from None
        finally:
            conversation.end()


class _Conversation:
    """Receives the child's messages and watches its time and memory."""

    def __init__(
        self, line: socket.socket, report: Report, memory_bytes: int, seconds: float
    ) -> None:
        self._line = line
        self._report = report
        self._memory_bytes = memory_bytes
        self._seconds = seconds
        self._deadline = time.monotonic() + seconds
        self._process: int | None = None
        self._pid = 0
        self._progress = (0.0, "")

    def result(self) -> Any:
        for message in self._messages():
            ((kind, content),) = message.items()
            if kind == "pid":
                self._meet(*content)
            elif kind == "progress":
                self._progress = (content[0], content[1])
            elif kind == "result":
                return content[0]
            elif kind == "failed":
                raise TaskFailed(*content)
            elif kind == "error":
                raise _raised(*content)
            elif kind == "exit":
                raise _death(content, self._memory_bytes)
        raise ChildError("the raster process ended without a result")

    def _messages(self) -> Iterator[dict[str, Any]]:
        buffer = bytearray()
        while True:
            self._watch()
            if not select.select([self._line], [], [], _TICK_SECONDS)[0]:
                continue
            received = self._line.recv(65_536)
            if not received:
                return
            buffer += received
            *whole, rest = bytes(buffer).split(b"\n")
            buffer = bytearray(rest)
            for line in filter(None, whole):
                # A child that is killed while it writes leaves half a line before its exit code.
                with suppress(json.JSONDecodeError):
                    yield json.loads(line)

    def _watch(self) -> None:
        """Report progress, which raises when the lease is lost, and enforce time and memory."""
        self._report(*self._progress)
        if time.monotonic() > self._deadline:
            raise TaskFailed("RASTER_TIMEOUT", f"processing took longer than {self._seconds:.0f} s")
        if self._resident() > self._memory_bytes:
            raise TaskFailed(
                "RASTER_OUT_OF_MEMORY",
                f"processing needs more than {self._memory_bytes >> 20} MB of memory",
            )

    def _meet(self, pid: int) -> None:
        self._pid = pid
        with suppress(ProcessLookupError):
            self._process = os.pidfd_open(pid)

    def _resident(self) -> int:
        """See proc(5), /proc/pid/statm."""
        if not self._pid:
            return 0
        try:
            pages = Path(f"/proc/{self._pid}/statm").read_text(encoding="ascii").split()[1]
        except (FileNotFoundError, ProcessLookupError, IndexError):
            return 0
        return int(pages) * _PAGE

    def end(self) -> None:
        """Kill the child and wait for its end: its folder is removed next."""
        if self._process is None:
            return
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._process, signal.SIGKILL)
        select.select([self._process], [], [], 10)
        os.close(self._process)
        self._process = None


def _raised(kind: str, message: str, trace: str) -> Exception:
    kinds = {"ConnectionError": ConnectionError, "TimeoutError": TimeoutError, "OSError": OSError}
    error: Exception = kinds.get(kind, ChildError)(
        message if kind in kinds else f"{kind}: {message}"
    )
    error.add_note(trace)
    return error


def _death(code: int, memory_bytes: int) -> Exception:
    if code == -signal.SIGKILL:
        return ChildKilled(
            f"the raster process was killed: it or other processes used too much memory "
            f"(its limit is {memory_bytes >> 20} MB)"
        )
    if code == -signal.SIGTERM:
        return ChildError("the raster process was terminated")
    if code < 0:
        name = signal.Signals(-code).name
        return TaskFailed("GDAL_CRASHED", f"GDAL crashes when it reads this raster ({name})")
    return ChildError(f"the raster process ended with code {code}")


class _Server:
    """The fork server of this process, started on first use and again after it ended."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._proj_grids: Path | None = None

    def configure(self, proj_grids: Path | None) -> None:
        with self._lock:
            self._proj_grids = proj_grids
            self.stop()

    @contextmanager
    def conversation(self, exchange: BinaryIO | None) -> Iterator[socket.socket]:
        line, remote = socket.socketpair()
        with line:
            with remote, self._lock:
                descriptors = [each.fileno() for each in (remote, exchange) if each]
                socket.send_fds(self._started(), [b"x"], descriptors)
            yield line

    def _started(self) -> socket.socket:
        if self._control and self._process and self._process.poll() is None:
            return self._control
        self.stop()
        if not landlock.version():
            logger.warning("the kernel has no Landlock: the raster process can open other files")
        self._control, remote = socket.socketpair()
        with remote:
            self._process = subprocess.Popen(
                [find_python(), "-m", _SERVER_MODULE, str(remote.fileno()), *_PRELOADED],
                pass_fds=[remote.fileno()],
                env=_environment(self._proj_grids),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
            )
        return self._control

    def stop(self) -> None:
        """Close the socket, which ends the server and its children."""
        if self._control:
            self._control.close()
        if self._process:
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(5)
        self._control = self._process = None


def find_python() -> str:
    """The program of this interpreter. A process that embeds Python is not one itself.

    Source: https://docs.python.org/3/library/sys.html#sys.executable
    """
    if Path(sys.executable or "").name.startswith("python"):
        return sys.executable
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    for folder in (sys.prefix, sys.base_prefix):
        for name in (f"python{version}", "python3"):
            program = Path(folder, "bin", name)
            if program.exists():
                return str(program)
    raise ChildError(
        f"no Python program found: sys.executable is {sys.executable!r}, and {sys.prefix}/bin and"
        f" {sys.base_prefix}/bin have no python{version}"
    )


def _environment(proj_grids: Path | None) -> dict[str, str]:
    kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
    grids = {landlock.PROJ_GRIDS: str(proj_grids.resolve())} if proj_grids else {}
    return {
        **kept,
        **grids,
        "PYTHONPATH": os.pathsep.join(str(Path(entry).resolve()) for entry in sys.path),
        "OPENBLAS_NUM_THREADS": "1",
        "OMP_NUM_THREADS": "1",
        **_MALLOC,
    }


_SERVER = _Server()
atexit.register(_SERVER.stop)
