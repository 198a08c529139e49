"""The hook that prepares the database after a deployment."""

import uuid
from collections.abc import Iterator

import psycopg
import pytest

from infra.hooks.database import prepare
from local.stack.postgres import Cluster
from tests.fixtures.roles import DEPLOYER, sign_in_as

# What Azure's extension of the same name does for a managed identity.
CREATE_PRINCIPAL = """
CREATE OR REPLACE FUNCTION pgaadauth_create_principal(name text, is_admin bool, is_mfa bool)
RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('CREATE ROLE %I LOGIN', name);
    RETURN 'Created role for ' || name;
END $$
"""


@pytest.fixture
def roles(cluster: Cluster) -> Iterator[list[str]]:
    """Names for the roles of the three identities, which contain hyphens as in Azure."""
    names = [f"id-{part}-{uuid.uuid4().hex[:8]}" for part in ("api", "tiles", "stac")]
    with psycopg.connect(cluster.dsn(), autocommit=True) as conn:
        conn.execute(CREATE_PRINCIPAL)
    yield names


def test_roles_are_created_and_may_do_their_work(superuser_url: str, roles: list[str]):
    server, _, database = sign_in_as(DEPLOYER, superuser_url).rpartition("/")
    app, *readers = roles
    for _ in range(2):
        prepare(server, database, app, readers)
    with psycopg.connect(sign_in_as(app, superuser_url)) as conn:
        assert conn.execute("SELECT count(*) FROM app.jobs").fetchone() == (0,)
    for reader in readers:
        with psycopg.connect(sign_in_as(reader, superuser_url)) as conn:
            assert conn.execute("SELECT count(*) FROM pgstac.items").fetchone() == (0,)
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                conn.execute("SELECT * FROM app.jobs")
