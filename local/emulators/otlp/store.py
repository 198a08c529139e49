"""Spans in a SQLite file, found by the job that they belong to."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterable
from contextlib import closing
from dataclasses import astuple, dataclass
from pathlib import Path

KEEP_NANOSECONDS = 24 * 3_600 * 10**9
_SCHEMA = """
CREATE TABLE IF NOT EXISTS spans (
    trace_id TEXT NOT NULL, span_id TEXT NOT NULL, parent_id TEXT NOT NULL, name TEXT NOT NULL,
    started INTEGER NOT NULL, ended INTEGER NOT NULL, is_error INTEGER NOT NULL,
    job_id TEXT NOT NULL, attributes TEXT NOT NULL, PRIMARY KEY (trace_id, span_id));
CREATE INDEX IF NOT EXISTS spans_of_job ON spans (job_id, trace_id) WHERE job_id <> '';
CREATE INDEX IF NOT EXISTS spans_by_end ON spans (ended);
"""


@dataclass(frozen=True)
class Span:
    """One span. Times are in nanoseconds since 1970."""

    trace_id: str
    span_id: str
    parent_id: str
    """Empty for the first span of a trace."""
    name: str
    started: int
    ended: int
    is_error: bool
    job_id: str
    """Empty for a span that belongs to no job."""
    attributes: str
    """As JSON."""

    def attribute(self, name: str) -> str | None:
        """One attribute as text; None if the span does not have it."""
        value = json.loads(self.attributes).get(name)
        return None if value is None else str(value)


class SpanStore:
    """The spans in one file."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def create(self) -> None:
        """Create the file if it does not exist."""
        self._file.parent.mkdir(parents=True, exist_ok=True)
        with closing(self._connect()) as db:
            db.execute("PRAGMA journal_mode = WAL")
            db.executescript(_SCHEMA)

    def add(self, spans: Iterable[Span]) -> None:
        """Store spans, and delete those that ended more than a day ago."""
        with closing(self._connect()) as db, db:
            db.executemany(
                "INSERT OR REPLACE INTO spans VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                [astuple(span) for span in spans],
            )
            db.execute("DELETE FROM spans WHERE ended < ?", (time.time_ns() - KEEP_NANOSECONDS,))

    def traces_of(self, job_id: str) -> list[list[Span]]:
        """The traces of the job whose id begins so, the oldest first, spans by their start."""
        with closing(self._connect()) as db:
            found = db.execute(
                "SELECT DISTINCT trace_id FROM spans WHERE job_id >= ? AND job_id < ?",
                (job_id, job_id + "g"),  # job ids are hexadecimal
            ).fetchall()
            columns = ", ".join(Span.__annotations__)
            query = f"SELECT {columns} FROM spans WHERE trace_id = ? ORDER BY started"
            traces = [[Span(*row) for row in db.execute(query, each)] for each in found]
        return sorted(traces, key=lambda spans: spans[0].started)

    def _connect(self) -> sqlite3.Connection:
        return sqlite3.connect(self._file, timeout=10)
