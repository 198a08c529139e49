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
    statements: int = 0
    """That clients sent, BEGIN and COMMIT among them, in all databases."""

    def per_task(self, tasks: int) -> dict[str, float]:
        """A task's share."""
        return {
            "database_cpu_ms_per_task": self.cpu_ms / tasks,
            "commits_per_task": self.commits / tasks,
            "statements_per_task": self.statements / tasks,
        }


@contextmanager
def database_cost(database_url: str) -> Iterator[Cost]:
    """Measure what the server, which has pg_stat_statements, does while the block runs."""
    cost = Cost()
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("CREATE EXTENSION IF NOT EXISTS pg_stat_statements")
        postmaster = process_stat(connection.info.backend_pid)[PARENT]
        statements, commits = _statements(connection), _next_transaction(connection)
        cpu = _cpu_seconds(postmaster)
        yield cost
        cost.cpu_ms = (_cpu_seconds(postmaster) - cpu) * 1000
        cost.commits = _next_transaction(connection) - commits
        cost.statements = _statements(connection) - statements


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


def _statements(connection: psycopg.Connection) -> int:
    """See pg_stat_statements: what functions do inside is not counted."""
    row = connection.execute("SELECT sum(calls)::bigint FROM pg_stat_statements").fetchone()
    assert row is not None
    return int(row[0] or 0)


def _next_transaction(connection: psycopg.Connection) -> int:
    """Known at once and exactly, which pg_stat_database is not; reading takes no number."""
    query = "SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint"
    row = connection.execute(query).fetchone()
    assert row is not None
    return int(row[0])
