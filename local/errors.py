"""The error of the local stack, and the end of a log file to show with it."""

from __future__ import annotations

from pathlib import Path


class LocalError(Exception):
    """A step of the local stack failed. `hint` says what to do, `log` where to read more."""

    def __init__(self, message: str, *, hint: str = "", log: Path | None = None) -> None:
        super().__init__(message)
        self.hint = hint
        self.log = log


def last_lines(log: Path, count: int = 15) -> list[str]:
    """The last lines of a log file; an empty list if the file does not exist."""
    if not log.exists():
        return []
    return log.read_text(encoding="utf-8", errors="replace").splitlines()[-count:]
