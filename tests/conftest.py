"""Fixtures with the real parts. Each test's database is a copy of a migrated template."""

import uuid
from collections.abc import Iterator

import psycopg
import pytest
from psycopg_pool import ConnectionPool

from infrastructure.database import open_pool
from infrastructure.migrate import migrate
from infrastructure.postgres import PostgresState
from local.stack.postgres import Cluster
from tests.fixtures.locks import locked
from tests.fixtures.roles import APP, DEPLOYER, READER, create_owned_database, sign_in_as

pytest_plugins = [
    "tests.fixtures.services",
    "tests.fixtures.broker",
    "tests.fixtures.pgbouncer",
    "tests.fixtures.stack",
    "tests.fixtures.api_cases",
    "tests.fixtures.browser",
    "tests.fixtures.tile_server",
    "tests.fixtures.mosaics",
    "tests.fixtures.map_page",
]

TEMPLATE = "template_geolathe"


@pytest.fixture(scope="session")
def template(cluster: Cluster, service_folder) -> str:
    """A migrated database, created once for all workers."""
    with locked(service_folder / "template.lock"):
        if not cluster.has_database(TEMPLATE):
            building = f"{TEMPLATE}_building"
            owned = create_owned_database(cluster, building)
            migrate(owned, grant_to=[APP], grant_read_to=[READER])
            cluster.create_database(TEMPLATE, template=building)
    return TEMPLATE


@pytest.fixture
def superuser_url(cluster: Cluster, template: str) -> Iterator[str]:
    """A new migrated database, for its superuser."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    url = cluster.create_database(name, template=template)
    with psycopg.connect(url, autocommit=True) as conn:
        conn.execute(f"ALTER DATABASE {name} OWNER TO {DEPLOYER}".encode())
    yield url
    cluster.drop_database(name)


@pytest.fixture
def owner_url(superuser_url: str) -> str:
    """The test's database, for the role that migrates it."""
    return sign_in_as(DEPLOYER, superuser_url)


@pytest.fixture
def database_url(superuser_url: str) -> str:
    """The test's database, for the role that the function app signs in as. It owns nothing."""
    return sign_in_as(APP, superuser_url)


@pytest.fixture
def pool(database_url: str) -> Iterator[ConnectionPool]:
    with open_pool(database_url, max_size=8) as pool:
        yield pool


@pytest.fixture
def postgres_state(pool: ConnectionPool) -> PostgresState:
    return PostgresState(pool)
