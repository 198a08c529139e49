"""Connections to pgSTAC: the pool that titiler-pgstac reads from."""

from __future__ import annotations

import ssl
from functools import partial
from typing import Any

import certifi
from psycopg.conninfo import conninfo_to_dict
from psycopg_pool import ConnectionPool
from titiler.pgstac.settings import PostgresSettings

from tiles.identity import POSTGRESQL, token

LOOPBACK = ("", "localhost", "127.0.0.1", "::1")


def open_pool(database_url: str) -> ConnectionPool:
    """A pool that is ready. Its size is set by titiler-pgstac's DB_MIN_CONN_SIZE and so on."""
    settings = PostgresSettings(database_url=database_url)
    pool = ConnectionPool(
        database_url,
        kwargs=partial(connection_options, database_url),
        min_size=settings.db_min_conn_size,
        max_size=settings.db_max_conn_size,
        max_waiting=settings.db_max_queries,
        max_idle=settings.db_max_idle,
        num_workers=settings.db_num_workers,
        open=True,
    )
    pool.wait()
    return pool


def connection_options(database_url: str) -> dict[str, Any]:
    """Options of one new connection; a fresh access token where the URL has no password.

    The server's certificate and name are verified, unless the URL decides or the host is this one:
    libpq's default, `prefer`, sends the token to whichever server answers.
    https://www.postgresql.org/docs/current/libpq-ssl.html
    """
    known = conninfo_to_dict(database_url)
    options: dict[str, Any] = {"options": "-c search_path=pgstac,public"}
    if "sslmode" not in known and known.get("host", "") not in LOOPBACK:
        roots = ssl.get_default_verify_paths().cafile or certifi.where()
        options |= {"sslmode": "verify-full", "sslrootcert": known.get("sslrootcert", roots)}
    if not known.get("password"):
        options["password"] = token(POSTGRESQL)
    return options | {"application_name": "geolathe-tiles"}
