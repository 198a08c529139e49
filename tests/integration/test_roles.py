"""The rights of the database roles. Most other tests sign in as the app's role."""

import asyncio
import json

import azure.functions as func
import psycopg
import pytest

from core.errors import GeolatheError, NotReady
from infrastructure.database import open_pool
from infrastructure.migrate import migrate
from infrastructure.pgstac import PgstacCatalog
from infrastructure.postgres import PostgresState
from local.stack.postgres import Cluster
from tests.fixtures.records import new_job
from tests.fixtures.roles import APP, READER, create_owned_database, sign_in_as
from triggers.http.health import Health


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


def test_the_reader_can_only_read_the_catalogue(superuser_url):
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


def test_missing_grants_are_explained_in_health_and_in_requests(superuser_url):
    """The reader was granted nothing in the schema app."""
    with open_pool(sign_in_as(READER, superuser_url), max_size=2) as pool:
        state = PostgresState(pool)
        health = Health({"database": lambda: state.health().model_dump()})
        request = func.HttpRequest("GET", "/api/health", body=b"")
        response = asyncio.run(health.check_health(request))
        with pytest.raises(NotReady, match="--grant-to"):
            state.submit_job(new_job())
    assert response.status_code == 503
    part = json.loads(response.get_body())["parts"]["database"]
    assert part["status"] == "unhealthy"
    assert "permission denied for schema app" in part["error"] and "--grant-to" in part["error"]


def test_a_database_that_was_not_migrated_is_explained_in_health(cluster: Cluster):
    name = "not_migrated"
    create_owned_database(cluster, name)
    try:
        with open_pool(sign_in_as(APP, cluster.dsn(name)), max_size=2) as pool:
            with pytest.raises(NotReady, match=r"infrastructure\.migrate"):
                PostgresState(pool).health()
            with pytest.raises(GeolatheError, match=r"infrastructure\.migrate"):
                PgstacCatalog(pool).check_version()
    finally:
        cluster.drop_database(name)
