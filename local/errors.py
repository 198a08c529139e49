"""What goes wrong on one machine, said so that the reader knows what to do next."""

from __future__ import annotations

from pathlib import Path


class LocalError(Exception):
    """A step of the local stack failed. `hint` says what to do, `log` where to read more."""

    def __init__(self, message: str, *, hint: str = "", log: Path | None = None) -> None:
        super().__init__(message)
        self.hint = hint
        self.log = log


def last_lines(log: Path, count: int = 15) -> list[str]:
    """The end of a log file; empty when nothing was written."""
    if not log.exists():
        return []
    return log.read_text(encoding="utf-8", errors="replace").splitlines()[-count:]
