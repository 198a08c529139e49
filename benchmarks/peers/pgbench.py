"""The limit of the server: transactions of one UPDATE of one row, by PostgreSQL's pgbench."""

import os
import re
import subprocess
import tempfile
from pathlib import Path

import psycopg

from local.errors import LocalError
from local.install.postgres import find_postgres
from peers.cost import database_cost

ROWS = 100_000
SCRIPT = rf"""
\set id random(1, {ROWS})
UPDATE rows SET n = n + 1 WHERE id = :id;
"""


def measure_pgbench(database_url: str, clients: int, seconds: int) -> dict[str, float]:
    """Transactions per second, as `tasks_per_second`. The database must be empty."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("CREATE TABLE rows (id int PRIMARY KEY, n int NOT NULL DEFAULT 0)")
        connection.execute("INSERT INTO rows SELECT generate_series(1, %s)", (ROWS,))
        connection.execute("VACUUM ANALYZE rows")
    with database_cost(database_url) as cost:
        text = _run_pgbench(database_url, clients, seconds)
    done = int(_find(r"transactions actually processed: (\d+)", text))
    return {
        "tasks": done,
        "tasks_per_second": float(_find(r"tps = ([\d.]+)", text)),
        **cost.per_task(done),
    }


def _run_pgbench(database_url: str, clients: int, seconds: int) -> str:
    postgres = find_postgres()
    if postgres is None or not postgres.program("pgbench").exists():
        raise LocalError(
            "pgbench is not installed with PostgreSQL", hint="install its contrib package"
        )
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "update.sql"
        script.write_text(SCRIPT)
        options = ["--no-vacuum", "--protocol", "prepared", "--file", str(script)]
        load = ["--client", str(clients), "--jobs", "2", "--time", str(seconds)]
        return subprocess.run(
            [postgres.program("pgbench"), *options, *load, database_url],
            check=True,
            capture_output=True,
            text=True,
            env={**os.environ, **postgres.env},
        ).stdout


def _find(pattern: str, text: str) -> str:
    found = re.search(pattern, text)
    if found is None:
        raise ValueError(f"pgbench said nothing like {pattern}: {text}")
    return found[1]
