"""The tile server and the STAC API without any secret: tokens from the managed identity."""

import asyncio
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import psycopg
import pytest
from azure.storage.blob import BlobServiceClient

import stac_api.database
import tiles.database
import tiles.identity
from local.emulators.azurite import Azurite
from local.emulators.azurite.emulator import ACCOUNT, KEY
from local.stack.postgres import USER, Cluster
from tests.fixtures.identity_endpoint import (
    CLIENT_ID,
    POSTGRESQL,
    STORAGE,
    IdentityEndpoint,
    identity_endpoint,
)
from tests.fixtures.roles import READER, sign_in_as
from tests.fixtures.sample_items import write_cog
from tests.fixtures.tile_server import served
from tests.fixtures.tls import enable_tls

SILVER = "silver-cogs"
ALIAS = "127.1"
"""Another way to write 127.0.0.1, which the parts do not count as this machine."""


@pytest.fixture(scope="module")
def certificate(tmp_path_factory) -> Path:
    """A folder with a certificate for 127.0.0.1 that no public authority signed, and its key."""
    folder = tmp_path_factory.mktemp("tls")
    subprocess.run(
        ["openssl", "req", "-new", "-x509", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1",
         "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", folder / "key",
         "-out", folder / "crt"],
        check=True, capture_output=True,
    )  # fmt: skip
    return folder


@pytest.fixture
def endpoint(monkeypatch) -> Iterator[IdentityEndpoint]:
    """The identity endpoint, in the environment of this process too."""
    with identity_endpoint() as server:
        for name, value in server.settings.items():
            monkeypatch.setenv(name, value)
        tiles.identity.credential.cache_clear()
        stac_api.database.credential.cache_clear()
        yield server
    tiles.identity.credential.cache_clear()
    stac_api.database.credential.cache_clear()


@pytest.fixture(scope="module")
def account(certificate: Path, tmp_path_factory) -> Iterator[str]:
    """The https URL of a storage account that accepts tokens, with one COG in it."""
    options = ["--oauth", "basic", "--cert", str(certificate / "crt")]
    folder = tmp_path_factory.mktemp("azurite")
    azurite = Azurite(folder, options=[*options, "--key", str(certificate / "key")])
    azurite.start()
    url = f"https://127.0.0.1:{azurite.port}/{ACCOUNT}"
    secret = f"AccountName={ACCOUNT};AccountKey={KEY};BlobEndpoint={url}"
    verified = {"connection_verify": str(certificate / "crt")}
    cog = write_cog(folder / "rgb.tif", "rgb")
    with BlobServiceClient.from_connection_string(secret, **verified) as client:
        container = client.create_container(SILVER)
        container.upload_blob("rgb.tif", cog.read_bytes())
    yield url
    azurite.stop()


@pytest.fixture(scope="module")
def tile_server(
    account: str, certificate: Path, catalogue_url: str, tmp_path_factory
) -> Iterator[tuple[str, IdentityEndpoint]]:
    """The tile server, with the settings that the deployment writes, and its identity endpoint."""
    with identity_endpoint() as endpoint:
        settings = {
            **endpoint.settings,
            "DATABASE_URL": sign_in_as(READER, catalogue_url),
            "STORAGE_CONNECTION": account,
            "TILE_CONTAINERS": SILVER,
            "GDAL_CURL_CA_BUNDLE": str(certificate / "crt"),
            "REQUESTS_CA_BUNDLE": str(certificate / "crt"),
        }
        log = tmp_path_factory.mktemp("tiles") / "log"
        with served("tiles.app:app", settings, "/healthz", log) as base:
            yield base, endpoint


def test_tiles_are_read_with_a_token(tile_server: tuple[str, IdentityEndpoint], account: str):
    base, endpoint = tile_server
    for url in (f"/vsiaz/{SILVER}/rgb.tif", f"{account}/{SILVER}/rgb.tif"):
        answer = httpx.get(f"{base}/cog/info", params={"url": url}, timeout=60)
        assert answer.status_code == 200, answer.text
        assert answer.json()["count"] == 3
    assert set(endpoint.asked) == {(STORAGE, CLIENT_ID)}


def test_cogs_are_downloaded_with_a_token(tile_server: tuple[str, IdentityEndpoint]):
    base, endpoint = tile_server
    query = {"url": f"/vsiaz/{SILVER}/rgb.tif"}
    answer = httpx.get(f"{base}/cog/download", params=query, timeout=60)
    assert answer.status_code == 200, answer.text
    assert answer.content[:4] in (b"II*\0", b"MM\0*")
    assert set(endpoint.asked) == {(STORAGE, CLIENT_ID)}


@pytest.fixture(scope="module")
def server(certificate: Path, tmp_path_factory) -> Iterator[Cluster]:
    """PostgreSQL with TLS that asks the role `reader` for a password."""
    cluster = Cluster(tmp_path_factory.mktemp("cluster"))
    cluster.start()
    rules = cluster.data / "pg_hba.conf"
    rules.write_text(f"host all reader 127.0.0.1/32 password\n{rules.read_text()}")
    with psycopg.connect(cluster.dsn(), autocommit=True) as conn:
        conn.execute("CREATE ROLE reader LOGIN")
    enable_tls(cluster, certificate)
    yield cluster
    cluster.destroy()


def let_in(cluster: Cluster, token: str) -> None:
    """Accept this token only, and close what was opened with an earlier one."""
    with psycopg.connect(cluster.dsn(), autocommit=True) as conn:
        conn.execute(f"ALTER ROLE reader PASSWORD '{token}'".encode())
        conn.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'reader'"
        )


def test_tile_server_signs_in_anew_for_each_connection(server: Cluster, endpoint: IdentityEndpoint):
    url = f"postgresql://reader@127.0.0.1:{server.port}/postgres"
    let_in(server, "token-0")
    with tiles.database.open_pool(url) as pool:
        with pool.connection() as conn:
            assert conn.execute("SELECT current_user").fetchone() == ("reader",)
        let_in(server, f"token-{len(endpoint.passwords)}")
        pool.check()
        with pool.connection() as conn:
            assert conn.execute("SELECT current_user").fetchone() == ("reader",)
    assert set(endpoint.asked) == {(POSTGRESQL, CLIENT_ID)}


def test_stac_api_signs_in_anew_for_each_connection(server: Cluster, endpoint: IdentityEndpoint):
    url = f"postgresql://reader@127.0.0.1:{server.port}/postgres"

    async def sign_in_twice() -> list[str]:
        pool = await stac_api.database.open_pool(url)
        async with pool.acquire() as conn:
            first = await conn.fetchval("SELECT current_user")
        let_in(server, f"token-{len(endpoint.passwords)}")
        await pool.expire_connections()
        async with pool.acquire() as conn:
            second = await conn.fetchval("SELECT current_user")
        await pool.close()
        return [first, second]

    let_in(server, "token-0")
    assert asyncio.run(sign_in_twice()) == ["reader", "reader"]
    assert set(endpoint.asked) == {(POSTGRESQL, CLIENT_ID)}


def test_tile_server_verifies_the_database_server(server: Cluster):
    url = f"postgresql://{USER}:x@{ALIAS}:{server.port}/postgres"
    with pytest.raises(psycopg.OperationalError, match="certificate verify failed"):
        psycopg.connect(url, **tiles.database.connection_options(url))


def test_stac_api_verifies_the_database_server(server: Cluster):
    url = f"postgresql://{USER}:x@{ALIAS}:{server.port}/postgres"
    with pytest.raises(ssl.SSLCertVerificationError):
        asyncio.run(stac_api.database.open_pool(url))
