"""What work costs the PostgreSQL server of this machine, and how busy the machine is."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
from _machine import CSTIME, CUTIME, PARENT, STIME, TICKS, UTIME, process_stat, processor_ticks


@dataclass
class Cost:
    """Filled in when the block has ended."""

    cpu_ms: float = 0.0
    """Of all processes of the server, including those that have ended."""
    commits: int = 0
    """Transactions that wrote, including savepoints, in all databases."""
    statements: int = 0
    """Statements of clients, including BEGIN and COMMIT, in all databases."""

    def per_task(self, tasks: int) -> dict[str, float]:
        """The cost of one task."""
        return {
            "database_cpu_ms_per_task": self.cpu_ms / tasks,
            "commits_per_task": self.commits / tasks,
            "statements_per_task": self.statements / tasks,
        }


@contextmanager
def database_cost(database_url: str) -> Iterator[Cost]:
    """Measure the server while the block runs. It needs pg_stat_statements."""
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
    """The share of all processors that is in use, 0 to 1, measured while sleeping."""
    idle, total = processor_ticks()
    time.sleep(seconds)
    idle_after, total_after = processor_ticks()
    return 1 - (idle_after - idle) / (total_after - total)


def _cpu_seconds(postmaster: int) -> float:
    """CPU time of the server; the postmaster counts its children that have ended."""
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
    """Statements so far, without those inside functions (pg_stat_statements)."""
    row = connection.execute("SELECT sum(calls)::bigint FROM pg_stat_statements").fetchone()
    assert row is not None
    return int(row[0] or 0)


def _next_transaction(connection: psycopg.Connection) -> int:
    """The next transaction id, which is exact at once, unlike pg_stat_database."""
    query = "SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint"
    row = connection.execute(query).fetchone()
    assert row is not None
    return int(row[0])
