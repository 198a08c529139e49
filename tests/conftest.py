"""Fixtures over the real parts. A database of one's own is a copy of a migrated template."""

import uuid
from collections.abc import Iterator

import pytest
from psycopg_pool import ConnectionPool

from infrastructure.database import open_pool
from infrastructure.migrate import migrate
from infrastructure.postgres import PostgresState
from local.stack.postgres import Cluster
from tests.fixtures.locks import locked

pytest_plugins = [
    "tests.fixtures.services",
    "tests.fixtures.broker",
    "tests.fixtures.stack",
    "tests.fixtures.api_cases",
    "tests.fixtures.browser",
    "tests.fixtures.tile_server",
]

TEMPLATE = "template_geolathe"


@pytest.fixture(scope="session")
def template(cluster: Cluster, service_folder) -> str:
    """A migrated database, made once for all workers."""
    with locked(service_folder / "template.lock"):
        if not cluster.has_database(TEMPLATE):
            building = f"{TEMPLATE}_building"
            migrate(cluster.create_database(building))
            cluster.create_database(TEMPLATE, template=building)
    return TEMPLATE


@pytest.fixture
def database_url(cluster: Cluster, template: str) -> Iterator[str]:
    """A migrated database of the test's own."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    yield cluster.create_database(name, template=template)
    cluster.drop_database(name)


@pytest.fixture
def pool(database_url: str) -> Iterator[ConnectionPool]:
    with open_pool(database_url, max_size=8) as pool:
        yield pool


@pytest.fixture
def postgres_state(pool: ConnectionPool) -> PostgresState:
    return PostgresState(pool)
