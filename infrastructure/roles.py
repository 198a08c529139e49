"""Database roles: those that pgSTAC needs, and the rights of each deployed part.

The deployer owns the schemas. The function app, the tile server and the STAC API sign in as other
roles, which own nothing. Source: https://www.postgresql.org/docs/16/role-membership.html
"""

import psycopg
from psycopg import sql

from core.errors import GeolatheError

PGSTAC_ROLES = ("pgstac_admin", "pgstac_read", "pgstac_ingest")
_SET_AND_INHERIT_SINCE = 160_000


def prepare_pgstac_roles(conn: psycopg.Connection) -> None:
    """Create pgSTAC's roles and let the current user act as them.

    pgSTAC's own SQL also creates them, but then runs SET ROLE, which only a superuser can do
    without being a member. An Azure administrator is not a superuser.
    """
    if conn.execute("SELECT rolsuper FROM pg_roles WHERE rolname = current_user").fetchone() == (
        True,
    ):
        return
    for name in PGSTAC_ROLES:
        role = sql.Identifier(name)
        if not _exists(conn, name):
            conn.execute(sql.SQL("CREATE ROLE {}").format(role))
        if not _may_administer(conn, name):
            conn.execute(sql.SQL("GRANT {} TO CURRENT_USER WITH ADMIN OPTION").format(role))
        if conn.info.server_version >= _SET_AND_INHERIT_SINCE:
            # From PostgreSQL 16 on, the creator of a role can administer it but not act as it.
            conn.execute(
                sql.SQL("GRANT {} TO CURRENT_USER WITH SET TRUE, INHERIT TRUE").format(role)
            )


def grant_app(conn: psycopg.Connection, name: str) -> None:
    """Let a role run the function app: read and write the state and the catalogue."""
    _check_exists(conn, name)
    role = sql.Identifier(name)
    for statement in (
        "GRANT USAGE ON SCHEMA app TO {}",
        "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA app TO {}",
        "GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA app TO {}",
        "GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA app TO {}",
        "ALTER DEFAULT PRIVILEGES IN SCHEMA app"
        " GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO {}",
        "ALTER DEFAULT PRIVILEGES IN SCHEMA app GRANT USAGE, SELECT ON SEQUENCES TO {}",
        "ALTER DEFAULT PRIVILEGES IN SCHEMA app GRANT EXECUTE ON FUNCTIONS TO {}",
        "GRANT pgstac_ingest TO {}",
    ):
        conn.execute(sql.SQL(statement).format(role))


def grant_read(conn: psycopg.Connection, name: str) -> None:
    """Let a role read the catalogue, as the tile server and the STAC API do."""
    _check_exists(conn, name)
    conn.execute(sql.SQL("GRANT pgstac_read TO {}").format(sql.Identifier(name)))


def _exists(conn: psycopg.Connection, name: str) -> bool:
    return bool(conn.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (name,)).fetchone())


def _may_administer(conn: psycopg.Connection, name: str) -> bool:
    query = "SELECT pg_has_role(%s, 'MEMBER WITH ADMIN OPTION')"
    return conn.execute(query, (name,)).fetchone() == (True,)


def _check_exists(conn: psycopg.Connection, name: str) -> None:
    if not _exists(conn, name):
        raise GeolatheError(
            f"the database has no role {name!r}: create it first"
            " (Azure: SELECT * FROM pgaadauth_create_principal(...) in the database postgres)",
            "ROLE_MISSING",
        )
