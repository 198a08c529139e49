"""Fail points: where a host of the fault suite is killed, frozen or loses a connection.

The product does not contain them. tests/faults/app wraps every call with an effect outside of the
process (SQL statements, COPY, the end of a transaction, messages, blobs), and each call checks here
whether a fault is armed. The driver arms a fault by writing a file, so that it can hit the n-th
call of an operation in a running host.
"""

import errno
import json
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

FILE = "FAULT_POINT_FILE"
FULL_DISK_FILE = "FAULT_FULL_DISK_FILE"

When = Literal["before", "after"]
Action = Literal["exit", "freeze", "cut", "no_space"]


@dataclass(frozen=True)
class Arm:
    """A fault at the `count`-th call of an operation."""

    operation: str
    count: int
    when: When
    action: Action

    def write(self, file: Path) -> None:
        part = file.with_suffix(".part")
        part.write_text(json.dumps(asdict(self)), encoding="utf-8")
        part.rename(file)

    def __str__(self) -> str:
        return f"{self.action} {self.when} {self.operation} #{self.count}"


class Points:
    """The calls of one process, counted since a fault was armed."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._lock = threading.Lock()
        self._armed = ""
        self._passed = 0

    @contextmanager
    def passage(self, operation: str, cut: Callable[[When], None]) -> Iterator[None]:
        """Wrap one call; `cut` breaks its connection."""
        self._pass(operation, "before", cut)
        yield
        self._pass(operation, "after", cut)

    def _pass(self, operation: str, when: When, cut: Callable[[When], None]) -> None:
        with self._lock:
            arm = self._due(operation, when)
        if arm is not None:
            self._act(arm, cut)

    def _due(self, operation: str, when: When) -> Arm | None:
        """The armed fault, if this is its call; its file is removed."""
        try:
            text = self._file.read_text(encoding="utf-8")
        except FileNotFoundError:
            return None
        if text != self._armed:
            self._armed, self._passed = text, 0
        arm = Arm(**json.loads(text))
        if arm.operation != operation or arm.when != when:
            return None
        self._passed += 1
        if self._passed < arm.count:
            return None
        self._file.unlink(missing_ok=True)
        return arm

    def _act(self, arm: Arm, cut: Callable[[When], None]) -> None:
        if arm.action == "exit":
            os.kill(os.getpid(), signal.SIGKILL)
        elif arm.action == "freeze":
            os.kill(os.getpid(), signal.SIGSTOP)
        elif arm.action == "no_space":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        else:
            cut(arm.when)
