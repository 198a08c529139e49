"""Connections to pgSTAC: the pool that stac-fastapi-pgstac reads from."""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import cache
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

import certifi
from asyncpg import Pool
from buildpg import asyncpg
from fastapi import FastAPI
from pydantic import BaseModel
from stac_fastapi.pgstac.config import ServerSettings
from stac_fastapi.pgstac.db import con_init, get_connection

if TYPE_CHECKING:
    from azure.identity import DefaultAzureCredential

SCOPE = "https://ossrdbms-aad.database.windows.net/.default"
LOOPBACK = (None, "localhost", "127.0.0.1", "::1")


class PoolSettings(BaseModel):
    """The size of the pool, by the names that stac-fastapi-pgstac uses."""

    db_min_conn_size: int = 1
    db_max_conn_size: int = 10
    db_max_inactive_conn_lifetime: float = 300
    """Seconds after which an unused connection is closed."""


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Open the pool before the first request and close it after the last."""
    app.state.readpool = await open_pool(os.environ["DATABASE_URL"])
    app.state.get_connection = get_connection
    yield
    await app.state.readpool.close()


async def open_pool(database_url: str) -> Pool:
    """A pool whose connections sign in with fresh tokens where the URL has no password."""
    size = PoolSettings.model_validate({name.lower(): text for name, text in os.environ.items()})
    return await asyncpg.create_pool(
        database_url,
        password=password(database_url),
        ssl=tls(database_url),
        min_size=size.db_min_conn_size,
        max_size=size.db_max_conn_size,
        max_inactive_connection_lifetime=size.db_max_inactive_conn_lifetime,
        init=con_init,
        server_settings=ServerSettings(application_name="geolathe-stac").model_dump(),
    )


def password(database_url: str) -> Callable[[], Awaitable[str]] | None:
    """What asyncpg calls for every new connection; None if the URL has a password."""
    return None if urlsplit(database_url).password else access_token


async def access_token() -> str:
    """A token of the managed identity that AZURE_CLIENT_ID names."""
    found = await asyncio.to_thread(credential().get_token, SCOPE)
    return found.token


@cache
def credential() -> DefaultAzureCredential:
    """Imported on first use: with a password it would only delay the start."""
    from azure.identity import DefaultAzureCredential

    return DefaultAzureCredential()


def tls(database_url: str) -> ssl.SSLContext | None:
    """Verify the server's certificate and name, unless the URL decides or the host is this one.

    asyncpg's default, `prefer`, sends the token to whichever server answers.
    """
    parts = urlsplit(database_url)
    if "sslmode" in parse_qs(parts.query) or parts.hostname in LOOPBACK:
        return None
    known = ssl.get_default_verify_paths().cafile or certifi.where()
    return ssl.create_default_context(cafile=known)
