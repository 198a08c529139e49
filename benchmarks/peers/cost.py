"""What a stretch of work costs the PostgreSQL server of this machine, and who else is at work."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
from _machine import CSTIME, CUTIME, PARENT, STIME, TICKS, UTIME, process_stat, processor_ticks


@dataclass
class Cost:
    """Known once the block has ended."""

    cpu_ms: float = 0.0
    """Of every process of the server, those that ended meanwhile among them."""
    commits: int = 0
    """Transactions that wrote, savepoints among them, in all databases."""


@contextmanager
def database_cost(database_url: str) -> Iterator[Cost]:
    """Measure what the server does while the block runs, for whomever."""
    cost = Cost()
    with psycopg.connect(database_url, autocommit=True) as connection:
        postmaster = process_stat(connection.info.backend_pid)[PARENT]
        cpu, commits = _cpu_seconds(postmaster), _next_transaction(connection)
        yield cost
        cost.cpu_ms = (_cpu_seconds(postmaster) - cpu) * 1000
        cost.commits = _next_transaction(connection) - commits


def busy_share(seconds: float) -> float:
    """How much of all processors is in use, 0 to 1, while the caller sleeps."""
    idle, total = processor_ticks()
    time.sleep(seconds)
    idle_after, total_after = processor_ticks()
    return 1 - (idle_after - idle) / (total_after - total)


def _cpu_seconds(postmaster: int) -> float:
    """Who has ended is counted by the postmaster, which waited for it."""
    ticks = 0
    for child in Path(f"/proc/{postmaster}/task/{postmaster}/children").read_text().split():
        try:
            fields = process_stat(int(child))
        except (FileNotFoundError, ProcessLookupError):
            continue
        ticks += fields[UTIME] + fields[STIME]
    own = process_stat(postmaster)
    return (ticks + own[UTIME] + own[STIME] + own[CUTIME] + own[CSTIME]) / TICKS


def _next_transaction(connection: psycopg.Connection) -> int:
    """Known at once and exactly, which pg_stat_database is not; reading takes no number."""
    query = "SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint"
    row = connection.execute(query).fetchone()
    assert row is not None
    return int(row[0])
