"""PgBouncer in transaction mode: sessions are shared, and the state of one must not matter."""

from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from core.models import JobRecord
from infrastructure.database import open_pool, transaction
from infrastructure.migrate import migrate
from infrastructure.pgstac import PgstacCatalog
from infrastructure.postgres import PostgresState
from tests.fixtures.pgbouncer import SERVER_CONNECTIONS, through
from tests.fixtures.roles import APP, create_owned_database
from tests.integration.test_pgstac import item, put
from tests.unit.test_architecture import ROOT, sources

CLIENTS = 4 * SERVER_CONNECTIONS


def test_many_clients_share_few_sessions(pooled_url, superuser_url):
    """More statements than psycopg prepares after, from more clients than there are sessions."""
    with open_pool(pooled_url, max_size=CLIENTS) as pool:
        pool.resize(CLIENTS, CLIENTS)
        pool.wait(60)
        state = PostgresState(pool)

        def submit(number: int) -> str:
            job = JobRecord(
                job_id=f"{number:064x}", job_type="toy", parameters={"n": number}, total_stages=1
            )
            state.submit_job(job)
            return state.get_job(job.job_id).job_id

        with ThreadPoolExecutor(CLIENTS) as threads:
            found = list(threads.map(submit, range(200)))
    assert found == [f"{number:064x}" for number in range(200)]
    with psycopg.connect(superuser_url) as conn:
        assert conn.execute("SELECT count(*) FROM app.jobs").fetchone() == (200,)


def test_a_transaction_changes_no_setting_of_its_session(pooled_url):
    with open_pool(pooled_url, max_size=1) as pool:
        with transaction(pool) as conn:
            setting = conn.execute("SHOW idle_in_transaction_session_timeout").fetchone()
            session = conn.execute("SELECT pg_backend_pid()").fetchone()
        with pool.connection() as conn:
            after = conn.execute("SHOW idle_in_transaction_session_timeout").fetchone()
            assert conn.execute("SELECT pg_backend_pid()").fetchone() == session
    assert (setting, after) == (("30s",), ("0",))


def test_items_are_catalogued(pooled_url):
    with open_pool(pooled_url, max_size=CLIENTS) as pool:
        catalog = PgstacCatalog(pool)
        items = [item(number) for number in range(12)]
        with ThreadPoolExecutor(CLIENTS) as threads:
            list(threads.map(lambda each: put(catalog, each), items))
        stored = [catalog.get_item(each["collection"], each["id"]) for each in items]
    assert [each and each["id"] for each in stored] == [each["id"] for each in items]


def test_the_database_is_migrated(cluster, pgbouncer, empty_database):
    """Two at a time, as two deployments would: the second waits for the first."""
    owned = through(pgbouncer, cluster, create_owned_database(cluster, empty_database))
    with ThreadPoolExecutor(2) as threads:
        applied = list(threads.map(lambda _: migrate(owned, grant_to=[APP]), range(2)))
    assert sorted(map(bool, applied)) == [False, True]


@pytest.mark.parametrize("name", ["pg_advisory_lock", "pg_try_advisory_lock"])
def test_no_lock_of_a_session_is_taken(name):
    texts = [path for _, path in sources()] + sorted((ROOT / "sql").rglob("*.sql"))
    assert [path.name for path in texts if f"{name}(" in path.read_text()] == []
