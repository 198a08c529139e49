"""Connections to PostgreSQL: one pool per process, a fresh token per connection in Azure."""

import ssl
import time
from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar
from weakref import WeakKeyDictionary

import certifi
import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg_pool import ConnectionPool, PoolTimeout

from infrastructure.identity import managed_identity
from infrastructure.retrying import retry_transient

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
        configure=_configure,
        reset=_used,
        connection_class=_connection_class(database_url),
        kwargs=_options(database_url),
    )


def connect(database_url: str) -> psycopg.Connection:
    """One connection outside of the pool, for the migration."""
    return _connection_class(database_url).connect(database_url, **_options(database_url))


def with_credentials(database_url: str) -> str:
    """The connection string with a token as password where it has none, and with TLS verified."""
    options = tls_options(database_url)
    if not conninfo_to_dict(database_url).get("password"):
        options["password"] = managed_identity().get_token(TOKEN_SCOPE).token
    return make_conninfo(database_url, **options)


def tls_options(database_url: str) -> dict[str, str]:
    """Verify the server's certificate and name, unless the URL decides or the host is this one.

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
        "application_name": "geolathe",
        **TIMEOUTS,
        **tls_options(database_url),
    }


def _configure(connection: psycopg.Connection) -> None:
    """A process that is suspended during a transaction must not keep its locks."""
    connection.execute("SET idle_in_transaction_session_timeout = '30s'")


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
        """Connects with an access token as password: it lives an hour, so each one gets its own."""

        @classmethod
        def connect(cls, conninfo: str = "", **kwargs: object) -> "TokenConnection":
            token = credential.get_token(TOKEN_SCOPE).token
            return super().connect(conninfo, password=token, **kwargs)  # type: ignore[arg-type]

    return TokenConnection


def retried(method: Callable[P, R]) -> Callable[P, R]:
    """Retry an idempotent method while the database is unavailable. Raises Unavailable.

    A lost connection, a restart, a deadlock and a server that is read-only (during a failover, or
    because its disk is full) count as transient.
    """

    @wraps(method)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        return retry_transient("PostgreSQL", lambda: method(*args, **kwargs), TRANSIENT_ERRORS)

    return call
