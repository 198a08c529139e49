"""TLS to PostgreSQL: a server with an invalid certificate gets neither a token nor a query."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from infrastructure.database import connect, tls_options
from local.stack.postgres import USER, Cluster
from tests.fixtures.tls import enable_tls

NAME = "database.example.org"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory) -> Path:
    """A certificate for NAME that is not signed by a public authority."""
    folder = tmp_path_factory.mktemp("tls")
    subprocess.run(
        ["openssl", "req", "-new", "-x509", "-nodes", "-days", "2", "-subj", f"/CN={NAME}",
         "-addext", f"subjectAltName=DNS:{NAME}", "-keyout", folder / "key",
         "-out", folder / "crt"],
        check=True, capture_output=True,
    )  # fmt: skip
    return folder


@pytest.fixture(scope="module")
def server(certificate: Path, tmp_path_factory) -> Iterator[Cluster]:
    """A cluster that uses this certificate for TLS."""
    cluster = Cluster(tmp_path_factory.mktemp("tls-cluster"))
    cluster.start()
    enable_tls(cluster, certificate)
    yield cluster
    cluster.destroy()


def url(server: Cluster, name: str, **options: object) -> str:
    """A URL with a host name that is not loopback, resolved without DNS."""
    query = "&".join(f"{key}={value}" for key, value in options.items())
    return (
        f"postgresql://{USER}:x@{name}:{server.port}/postgres?hostaddr=127.0.0.1"
        + ("&" if query else "")
        + query
    )


def test_an_unknown_authority_is_refused(server):
    with pytest.raises(psycopg.OperationalError, match="certificate verify failed"):
        connect(url(server, NAME))


def test_another_name_is_refused(server, certificate):
    with pytest.raises(psycopg.OperationalError, match="does not match host name"):
        connect(url(server, "other.example.org", sslrootcert=certificate / "crt"))


def test_a_known_authority_is_accepted(server, certificate):
    with connect(url(server, NAME, sslrootcert=certificate / "crt")) as conn:
        assert conn.pgconn.ssl_in_use


def test_the_url_can_override_the_tls_mode(server):
    with connect(url(server, NAME, sslmode="require")) as conn:
        assert conn.pgconn.ssl_in_use


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", ""])
def test_loopback_connections_need_no_certificate(host):
    assert tls_options(f"postgresql://user:x@{host}/name") == {}
