"""What the roles of the deployed parts may do. Most other tests sign in as the app's role."""

import psycopg
import pytest

from core.errors import GeolatheError
from infrastructure.migrate import migrate
from local.stack.postgres import Cluster
from tests.fixtures.roles import APP, READER, create_owned_database, sign_in_as


@pytest.mark.parametrize(
    "statement",
    [
        "DROP TABLE app.tasks",
        "ALTER TABLE app.jobs ADD COLUMN x int",
        "CREATE TABLE app.other (x int)",
        "CREATE ROLE intruder",
        "DELETE FROM app.migrations; DROP SCHEMA app",
    ],
)
def test_the_app_cannot_change_the_schema(database_url, statement):
    with psycopg.connect(database_url) as conn, pytest.raises(psycopg.errors.InsufficientPrivilege):
        conn.execute(statement)


def test_the_reader_reads_the_catalogue_and_nothing_else(superuser_url):
    with psycopg.connect(sign_in_as(READER, superuser_url), autocommit=True) as conn:
        assert conn.execute("SELECT count(*) FROM pgstac.items").fetchone() == (0,)
        for statement in (
            "SELECT * FROM app.jobs",
            "DELETE FROM pgstac.items",
            "INSERT INTO pgstac.collections (content) VALUES ('{}')",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                conn.execute(statement)


def test_a_table_of_a_later_migration_is_granted_too(owner_url, database_url, tmp_path):
    (tmp_path / "migrations").mkdir()
    (tmp_path / "migrations" / "9999_later.sql").write_text("CREATE TABLE app.later (x int);")
    migrate(owner_url, tmp_path)
    with psycopg.connect(database_url) as conn:
        assert conn.execute("SELECT count(*) FROM app.later").fetchone() == (0,)


def test_a_role_that_does_not_exist_is_named(cluster: Cluster):
    name = "no_such_role"
    owned = create_owned_database(cluster, f"for_{name}")
    try:
        with pytest.raises(GeolatheError, match=name) as refused:
            migrate(owned, grant_to=[APP, name])
        assert refused.value.code == "ROLE_MISSING"
    finally:
        cluster.drop_database(f"for_{name}")
