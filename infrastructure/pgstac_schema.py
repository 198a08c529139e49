"""Installs pgSTAC's schema. Only the migration imports this module.

The import of pypgstac is slow, and it replaces the JSON functions of psycopg.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from psycopg import errors, sql
from pypgstac.db import PgstacDB
from pypgstac.migrate import Migrate

from core.errors import GeolatheError
from infrastructure.database import connect, lock_across_sessions, with_credentials
from infrastructure.roles import PGSTAC_ROLES, prepare_pgstac_roles

EXTENSIONS = ("postgis", "btree_gist", "unaccent")


def migrate_pgstac(dsn: str) -> str:
    """Create the extensions and migrate the schema. Returns the version of pgSTAC.

    It is idempotent; a concurrent run waits for the first one.
    """
    with lock_across_sessions(dsn, "pgstac migration"), connect(dsn) as conn:
        for name in EXTENSIONS:
            create_extension(conn, name)
        with explain_missing_rights(conn):
            prepare_pgstac_roles(conn)
        with explain_missing_rights(conn), PgstacDB(dsn=with_credentials(dsn)) as database:
            return str(Migrate(database).run_migration())


def create_extension(conn: psycopg.Connection, name: str) -> None:
    """Create the extension if it is missing. Explains a missing right."""
    if conn.execute("SELECT 1 FROM pg_extension WHERE extname = %s", (name,)).fetchone():
        return
    try:
        conn.execute(sql.SQL("CREATE EXTENSION IF NOT EXISTS {}").format(sql.Identifier(name)))
    except (errors.InsufficientPrivilege, errors.FeatureNotSupported, errors.UndefinedFile) as e:
        raise GeolatheError(
            f"the extension {name} is missing and cannot be made here ({e.diag.message_primary}):"
            f" install it on the server (Azure: add it to the server parameter azure.extensions)"
            f" and let an administrator run CREATE EXTENSION {name} in this database",
            "EXTENSION_MISSING",
        ) from e


@contextmanager
def explain_missing_rights(conn: psycopg.Connection) -> Iterator[None]:
    """Explain missing rights by the statements that an administrator has to run."""
    try:
        yield
    except errors.InsufficientPrivilege as e:
        roles = ", ".join(PGSTAC_ROLES)
        raise GeolatheError(
            f"pgSTAC cannot be installed with the rights of {conn.info.user!r}"
            f" ({e.diag.message_primary}): let an administrator create the roles {roles} and run"
            f" GRANT {roles} TO {conn.info.user} WITH ADMIN OPTION",
            "PGSTAC_RIGHTS",
        ) from e
