"""Bring the database to this release: `python -m infrastructure.migrate DATABASE_URL`.

The deploy step runs it; the app never does. Numbered files in sql/migrations run once, each in its
own transaction; files in sql/functions are replaced every time; pgSTAC is migrated to the version
of the installed pypgstac.
"""

import argparse
import re
from collections.abc import Sequence
from pathlib import Path

import psycopg

from infrastructure.database import connect, lock_across_sessions
from infrastructure.pgstac_schema import migrate_pgstac
from infrastructure.roles import grant_app, grant_read

SQL = Path(__file__).parent.parent / "sql"


def migrate(
    database_url: str,
    sql: Path = SQL,
    grant_to: Sequence[str] = (),
    grant_read_to: Sequence[str] = (),
) -> list[str]:
    """Apply missing migrations and grant rights. Returns the names of the migrations that ran.

    Roles in `grant_to` may run the function app, those in `grant_read_to` may read the catalogue.
    """
    with lock_across_sessions(database_url, "migration"):
        applied = _migrate_app(database_url, sql)
        migrate_pgstac(database_url)
        with connect(database_url) as conn:
            for role in grant_to:
                grant_app(conn, role)
            for role in grant_read_to:
                grant_read(conn, role)
    return applied


def _migrate_app(database_url: str, sql: Path) -> list[str]:
    with connect(database_url) as conn:
        conn.execute("CREATE SCHEMA IF NOT EXISTS app")
        conn.execute(
            """CREATE TABLE IF NOT EXISTS app.migrations (
                   number int PRIMARY KEY, name text NOT NULL,
                   applied_at timestamptz NOT NULL DEFAULT now())"""
        )
        applied = [path.name for path in _pending(conn, sql) if _apply(conn, path)]
        with conn.transaction():
            conn.execute("SET LOCAL check_function_bodies = off")
            for path in sorted((sql / "functions").glob("*.sql")):
                conn.execute(path.read_bytes())
    return applied


def _pending(conn: psycopg.Connection, sql: Path) -> list[Path]:
    done = {row[0] for row in conn.execute("SELECT number FROM app.migrations")}
    files = sorted((sql / "migrations").glob("*.sql"))
    return [path for path in files if _number(path) not in done]


def _apply(conn: psycopg.Connection, path: Path) -> bool:
    with conn.transaction():
        conn.execute(
            "INSERT INTO app.migrations (number, name) VALUES (%s, %s)", (_number(path), path.name)
        )
        conn.execute(path.read_bytes())
    return True


def _number(path: Path) -> int:
    match = re.match(r"(\d{4})_", path.name)
    if match is None:
        raise ValueError(f"{path}: a migration is named NNNN_what_it_does.sql")
    return int(match[1])


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m infrastructure.migrate", description=__doc__)
    parser.add_argument("database_url", help="the database, as postgresql://user@host:port/name")
    parser.add_argument(
        "--grant-to", metavar="ROLE", action="append", default=[],
        help="let this role run the function app; may be repeated",
    )  # fmt: skip
    parser.add_argument(
        "--grant-read-to", metavar="ROLE", action="append", default=[],
        help="let this role read the catalogue: the tile server and the STAC API",
    )  # fmt: skip
    options = parser.parse_args()
    for name in migrate(
        options.database_url, grant_to=options.grant_to, grant_read_to=options.grant_read_to
    ):
        print(f"applied {name}")
    print("the database is up to date")


if __name__ == "__main__":
    main()
