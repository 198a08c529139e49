"""Connections to PostgreSQL: one pool per process, a new token per connection in Azure.

PgBouncer may stand in between, also in transaction mode, where the next statement may run in
another session: no prepared statements, no session locks, and SET only as SET LOCAL.
https://www.pgbouncer.org/features.html
"""

import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any, ParamSpec, TypeVar
from weakref import WeakKeyDictionary

import certifi
import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg_pool import ConnectionPool, PoolTimeout

from core.errors import NotReady, Unavailable
from infrastructure.identity import managed_identity
from infrastructure.retrying import retry_transient
from infrastructure.traced_cursor import TracedCursor

# A connection to a server that no longer responds fails after half a minute. The defaults of the
# operating system are far longer: https://www.postgresql.org/docs/current/runtime-config-connection.html
TIMEOUTS: dict[str, int] = {
    "connect_timeout": 10,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 4,
    "tcp_user_timeout": 30_000,
}
LOOPBACK = ("", "localhost", "127.0.0.1", "::1")
TOKEN_SCOPE = "https://ossrdbms-aad.database.windows.net/.default"

TRANSIENT_ERRORS = (
    psycopg.OperationalError,
    psycopg.InterfaceError,
    psycopg.errors.ReadOnlySqlTransaction,
    psycopg.errors.IdleInTransactionSessionTimeout,
    PoolTimeout,
)

# The database was not migrated, or the role was not granted anything.
NOT_READY_ERRORS = (
    psycopg.errors.InsufficientPrivilege,
    psycopg.errors.InvalidSchemaName,
    psycopg.errors.UndefinedTable,
    psycopg.errors.UndefinedColumn,
    psycopg.errors.UndefinedFunction,
)

P = ParamSpec("P")
R = TypeVar("R")


def open_pool(database_url: str, max_size: int) -> ConnectionPool:
    """A pool that opens in the background. Without a password it connects by managed identity."""
    return ConnectionPool(
        database_url,
        min_size=1,
        max_size=max_size,
        open=True,
        timeout=10,
        max_idle=120,
        check=_check_after_a_rest,
        reset=_used,
        connection_class=_connection_class(database_url),
        kwargs=_options(database_url),
    )


def connect(database_url: str) -> psycopg.Connection:
    """One connection outside of the pool, for the migration."""
    return _connection_class(database_url).connect(database_url, **_options(database_url))


@contextmanager
def lock_across_sessions(database_url: str, name: str) -> Iterator[None]:
    """Hold an advisory lock while other connections work.

    It belongs to a transaction: behind PgBouncer, a lock of the session would stay with a server
    connection that others use next.
    """
    with connect(database_url) as connection, connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", (name,))
        yield


def with_credentials(database_url: str) -> str:
    """The connection string with a token as password where it has none, and with TLS verified."""
    options = tls_options(database_url)
    if not conninfo_to_dict(database_url).get("password"):
        options["password"] = managed_identity().get_token(TOKEN_SCOPE).token
    return make_conninfo(database_url, **options)


def tls_options(database_url: str) -> dict[str, str]:
    """Verify the server's certificate and name, unless the URL sets sslmode or the host is local.

    libpq's default, `prefer`, sends the access token to whichever server answers:
    https://www.postgresql.org/docs/current/libpq-ssl.html
    """
    known = conninfo_to_dict(database_url)
    host = str(known.get("host") or "")
    if "sslmode" in known or host in LOOPBACK or host.startswith("/"):
        return {}
    roots = ssl.get_default_verify_paths().cafile or certifi.where()
    return {"sslmode": "verify-full", "sslrootcert": str(known.get("sslrootcert") or roots)}


def _options(database_url: str) -> dict[str, Any]:
    return {
        "autocommit": True,
        "prepare_threshold": None,
        "cursor_factory": TracedCursor,
        "application_name": "geolathe",
        **TIMEOUTS,
        **tls_options(database_url),
    }


@contextmanager
def transaction(pool: ConnectionPool[Any]) -> Iterator[psycopg.Connection[Any]]:
    """A connection in a transaction.

    A process that is suspended during it must not keep its locks.
    """
    with pool.connection() as connection, connection.transaction():
        connection.execute("SET LOCAL idle_in_transaction_session_timeout = '30s'")
        yield connection


# A connection that was used within this time is not checked again: see docs/performance.md.
_REST_SECONDS = 1.0
_last_use: WeakKeyDictionary[psycopg.Connection, float] = WeakKeyDictionary()


def _used(connection: psycopg.Connection) -> None:
    _last_use[connection] = time.monotonic()


def _check_after_a_rest(connection: psycopg.Connection) -> None:
    if time.monotonic() - _last_use.get(connection, 0.0) > _REST_SECONDS:
        ConnectionPool.check_connection(connection)


def _connection_class(database_url: str) -> type[psycopg.Connection]:
    if conninfo_to_dict(database_url).get("password"):
        return psycopg.Connection
    credential = managed_identity()

    class TokenConnection(psycopg.Connection):
        """Connects with a new access token as password, because tokens expire."""

        @classmethod
        def connect(cls, conninfo: str = "", **kwargs: object) -> "TokenConnection":
            token = credential.get_token(TOKEN_SCOPE).token
            return super().connect(conninfo, password=token, **kwargs)  # type: ignore[arg-type]

    return TokenConnection


def retried(method: Callable[P, R]) -> Callable[P, R]:
    """Retry an idempotent method while the database is unavailable. Raises Unavailable, NotReady.

    A lost connection, a restart, a deadlock and a server that is read-only (during a failover, or
    because its disk is full) count as transient.
    """

    @wraps(method)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        with explain_missing_migration():
            return retry_transient("PostgreSQL", lambda: method(*args, **kwargs), TRANSIENT_ERRORS)

    return call


@contextmanager
def explain_missing_migration() -> Iterator[None]:
    """Raises NotReady when the role may not do what the block does, or when a table is missing."""
    try:
        yield
    except NOT_READY_ERRORS as error:
        raise NotReady(
            f"the database is not ready for this release ({error.diag.message_primary}): run"
            " `python -m infrastructure.migrate DATABASE_URL --grant-to ROLE` with the role of"
            " the function app"
        ) from error


def checked(method: Callable[P, R]) -> Callable[P, R]:
    """Call a health check once, without retries. Raises Unavailable and NotReady."""

    @wraps(method)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        with explain_missing_migration():
            try:
                return method(*args, **kwargs)
            except TRANSIENT_ERRORS as error:
                raise Unavailable(f"PostgreSQL cannot be reached: {error}") from error

    return call
