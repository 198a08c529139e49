"""Races, the transition table, atomicity and migrations of the state in PostgreSQL."""

import itertools
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from psycopg.types.json import Jsonb
from pydantic import TypeAdapter

from core.models import Failure, JobStatus, TaskStatus
from core.ports import ClaimOutcome, HeldTask, JobFilter, RequestKey, TaskFilter
from infrastructure.database import open_pool
from infrastructure.migrate import migrate
from infrastructure.postgres import PostgresState
from services.raster.model import Nodata
from tests.fixtures.records import MINUTE, NOW, claim, claimed, new_job, new_tasks, started_stage

WORKERS = 8


def together(work, items):
    """Call `work` for every item on eight threads that start together."""
    start = threading.Barrier(WORKERS)

    def share(number):
        start.wait()
        return [work(item) for item in items[number::WORKERS]]

    with ThreadPoolExecutor(WORKERS) as threads:
        return list(itertools.chain.from_iterable(threads.map(share, range(WORKERS))))


def test_exactly_one_of_many_concurrent_completions_is_the_last(postgres_state):
    state = postgres_state
    job, tasks = started_stage(state, 200)

    def work(task):
        attempt = claimed(state, task.task_id).attempt
        return state.complete_task(task.task_id, attempt, {}, None)

    done = together(work, tasks)
    assert sorted(each.stage.open_tasks for each in done) == list(range(200))
    assert all(each.applied for each in done)
    kinds = [event.kind for event in state.events(job.job_id, 0, 1000)]
    assert kinds.count("stage_completed") == 1


def test_concurrent_claims_of_a_task_succeed_once(postgres_state):
    _, tasks = started_stage(postgres_state, 5)
    ids = [task.task_id for task in tasks for _ in range(WORKERS)]
    claims = together(lambda task_id: claim(postgres_state, task_id, MINUTE), ids)
    outcomes = [claim.outcome for claim in claims]
    assert outcomes.count(ClaimOutcome.CLAIMED) == 5
    assert outcomes.count(ClaimOutcome.LEASED) == len(ids) - 5


def test_concurrent_submissions_store_one_job(postgres_state):
    job = new_job()
    answers = together(postgres_state.submit_job, [job] * WORKERS)
    assert [is_new for is_new, _ in answers].count(True) == 1


def test_concurrent_resubmissions_of_a_failed_job_start_one_run(postgres_state):
    job, _ = started_stage(postgres_state, 1)
    postgres_state.cancel_job(job.job_id)
    answers = together(postgres_state.submit_job, [job] * WORKERS)
    assert [is_new for is_new, _ in answers].count(True) == 1
    assert {record.run for _, record in answers} == {2}


def test_concurrent_starts_of_a_stage_store_it_once(postgres_state):
    _, job = postgres_state.submit_job(new_job())
    tasks = new_tasks(job, 1, 10)
    answers = together(
        lambda _: postgres_state.start_stage(job, 1, "test", False, tasks), range(WORKERS)
    )
    assert answers.count(True) == 1
    assert len(postgres_state.get_tasks(job.job_id, 1, 100)) == 10


def test_concurrent_cancels_heartbeats_and_completions_stay_consistent(postgres_state):
    state = postgres_state
    job, tasks = started_stage(state, 80)
    held = [claimed(state, task.task_id) for task in tasks]

    def work(task):
        if task.task_index == 40:
            state.cancel_job(job.job_id)
        state.renew_leases([HeldTask(t.task_id, t.attempt, 0.5, "") for t in held], MINUTE)
        return state.complete_task(task.task_id, task.attempt, {}, None).applied

    applied = together(work, held).count(True)
    [stage] = state.get_stages(job.job_id)
    tasks = state.get_tasks(job.job_id, 1, 100)
    assert stage.open_tasks == 0 and stage.completed_tasks == applied
    assert [task.status for task in tasks].count(TaskStatus.CANCELLED) == stage.cancelled_tasks
    assert state.get_job(job.job_id).status in (JobStatus.CANCELLED, JobStatus.PROCESSING)


def test_concurrent_failures_close_a_stage_once(postgres_state):
    state = postgres_state
    _, tasks = started_stage(state, 40)
    held = [claimed(state, task.task_id) for task in tasks]
    error = Failure(code="BROKEN", message="no")
    done = together(lambda t: state.complete_task(t.task_id, t.attempt, None, error), held)
    assert [each.applied for each in done].count(True) == 1


JOB_STATUSES = [status.value for status in JobStatus]
TASK_STATUSES = [status.value for status in TaskStatus]


@pytest.mark.parametrize(("entity", "statuses"), [("job", JOB_STATUSES), ("task", TASK_STATUSES)])
def test_transitions_outside_the_table_are_rejected(pool, entity, statuses):
    with pool.connection() as conn:
        allowed = set(
            conn.execute(
                "SELECT from_status, to_status FROM app.transitions WHERE entity = %s", [entity]
            )
        )
        for pair in itertools.permutations(statuses, 2):
            assert _can_move(conn, entity, *pair) == (pair in allowed), pair


def _can_move(conn, entity, old, new):
    """Whether a row can change from `old` to `new`; the change is rolled back."""
    with conn.transaction(force_rollback=True):
        key = (
            "a" * 64,
            old,
            None if old in ("queued", "processing") else "now",
        )
        conn.execute(
            """INSERT INTO app.jobs (job_id, job_type, version, parameters, total_stages, status,
                                     finished_at) VALUES (%s, 't', 1, '{}', 1, %s, %s)""",
            key if entity == "job" else ("a" * 64, "processing", None),
        )
        conn.execute(
            """INSERT INTO app.stages (job_id, stage, task_type, best_effort, status,
                                       total_tasks, open_tasks)
               VALUES (%s, 1, 't', false, 'processing', 1, 1)""",
            ["a" * 64],
        )
        if entity == "task":
            conn.execute(
                """INSERT INTO app.tasks (task_id, job_id, stage, task_index, task_type,
                       parameters, attempt_limit, status, lease_expires_at, finished_at)
                   VALUES ('t', %s, 1, 0, 't', '{}', 3, %s, %s, %s)""",
                (key[0], old, "now" if old == "processing" else None, key[2]),
            )
        try:
            with conn.transaction():
                conn.execute(_MOVE[entity], {"new": new})
        except psycopg.errors.CheckViolation as error:
            assert "cannot go from" in str(error)
            return False
        return True


_ENDS = "CASE WHEN %(new)s IN ('queued', 'processing') THEN NULL ELSE now() END"
_MOVE = {
    "job": f"UPDATE app.jobs SET status = %(new)s, finished_at = {_ENDS}",
    "task": f"""UPDATE app.tasks SET status = %(new)s, finished_at = {_ENDS},
                lease_expires_at = CASE WHEN %(new)s = 'processing' THEN now() END""",
}


def test_a_stage_and_its_tasks_are_stored_together_or_not_at_all(postgres_state):
    _, job = postgres_state.submit_job(new_job())
    twice = [new_tasks(job, 1, 1)[0]] * 2
    with pytest.raises(psycopg.errors.UniqueViolation):
        postgres_state.start_stage(job, 1, "test", False, twice)
    assert postgres_state.get_stages(job.job_id) == []
    assert postgres_state.get_job(job.job_id).stage == 0


def test_the_database_stores_a_lease_by_its_own_clock(postgres_state, pool):
    _, [task] = started_stage(postgres_state, 1)
    claimed(postgres_state, task.task_id, timedelta(seconds=30))
    with pool.connection() as conn:
        [(left,)] = conn.execute("SELECT lease_expires_at - now() FROM app.tasks")
    assert timedelta(0) < left <= timedelta(seconds=30)


def test_concurrent_sweeps_share_the_work(postgres_state):
    started_stage(postgres_state, 50)
    found = together(lambda _: postgres_state.sweep(20, MINUTE), range(WORKERS))
    assert [message for messages in found for message in messages] == []
    found = together(lambda _: postgres_state.sweep(5, NOW), range(WORKERS))
    assert all(len(messages) <= 5 for messages in found)


def test_migrating_again_changes_nothing(owner_url):
    assert migrate(owner_url) == []


def test_a_failed_migration_leaves_nothing(owner_url, tmp_path):
    for folder in ("migrations", "functions"):
        (tmp_path / folder).mkdir()
    broken = tmp_path / "migrations" / "0099_broken.sql"
    broken.write_text("CREATE TABLE app.half (n int); SELECT 1 / 0;")
    with pytest.raises(psycopg.errors.DivisionByZero):
        migrate(owner_url, tmp_path)
    with psycopg.connect(owner_url) as conn:
        assert conn.execute("SELECT to_regclass('app.half')").fetchone() == (None,)
        assert not conn.execute("SELECT FROM app.migrations WHERE number = 99").fetchone()


def test_the_state_survives_broken_connections(postgres_state, pool, database_url):
    job, _ = started_stage(postgres_state, 1)
    with psycopg.connect(database_url, autocommit=True) as admin:
        admin.execute(
            """SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                WHERE datname = current_database() AND pid <> pg_backend_pid()"""
        )
    assert isinstance(postgres_state, PostgresState)
    assert postgres_state.get_job(job.job_id).job_id == job.job_id


def test_concurrent_requests_with_one_key_start_one_job(postgres_state):
    jobs = [new_job() for _ in range(WORKERS)]
    key = RequestKey("at once", "request")
    answers = together(lambda job: postgres_state.submit_job(job, key), jobs)
    assert [is_new for is_new, _ in answers].count(True) == 1
    assert len({record.job_id for _, record in answers}) == 1


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (JobFilter(), 50),
        (JobFilter(statuses=[JobStatus.FAILED]), 0),
        (JobFilter(job_types=["rare"]), 0),
        (JobFilter(created_from=datetime(2020, 1, 1, tzinfo=UTC)), 50),
        (JobFilter(created_until=datetime(2020, 1, 1, tzinfo=UTC)), 0),
    ],
)
def test_a_page_among_many_jobs_reads_only_an_index(database_url, wanted, found):
    with open_pool(database_url, max_size=1) as pool, pool.connection() as conn:
        conn.execute(
            """INSERT INTO app.jobs (job_id, job_type, version, parameters, total_stages,
                                     created_at)
               SELECT repeat(md5(n::text), 2), 'common', 1, '{}', 1, now() - n * interval '1 s'
                 FROM generate_series(1, 20000) n"""
        )
        conn.execute("ANALYZE app.jobs")
        before = whole_table_reads(conn)
    with open_pool(database_url, max_size=1) as pool:
        jobs = PostgresState(pool).list_jobs(wanted, None, 50)
        with pool.connection() as conn:
            assert whole_table_reads(conn) == before
    assert len(jobs) == found


def test_the_failed_tasks_among_many_are_found_through_their_index(postgres_state, database_url):
    job, _ = started_stage(postgres_state, 3000)
    with open_pool(database_url, max_size=1) as pool:
        with pool.connection() as conn:
            conn.execute(
                """UPDATE app.tasks
                      SET error = '{"code": "WRONG", "message": "wrong"}', status = 'processing',
                          lease_expires_at = now() WHERE task_index = 2999"""
            )
            conn.execute(
                """UPDATE app.tasks SET status = 'failed', lease_expires_at = NULL,
                          finished_at = now() WHERE task_index = 2999"""
            )
            conn.execute("ANALYZE app.tasks")
        wanted = TaskFilter(statuses=[TaskStatus.FAILED])
        [failed] = PostgresState(pool).list_tasks(job.job_id, (0, 0), 9, wanted)
        with pool.connection() as conn:
            conn.commit()
            assert rows_read(conn, "tasks_of_stage") == 0
            assert rows_read(conn, "tasks_with_error") >= 1
    assert failed.task_index == 2999


def rows_read(conn, index):
    conn.execute("SELECT pg_stat_force_next_flush()")
    conn.execute("SELECT pg_stat_clear_snapshot()")
    query = "SELECT idx_tup_read FROM pg_stat_user_indexes WHERE indexrelname = %s"
    return conn.execute(query, (index,)).fetchone()[0]


def whole_table_reads(conn):
    conn.execute("SELECT pg_stat_force_next_flush()")
    conn.execute("SELECT pg_stat_clear_snapshot()")
    query = "SELECT seq_scan FROM pg_stat_user_tables WHERE relid = 'app.jobs'::regclass"
    return conn.execute(query).fetchone()


def test_nodata_survives_jsonb(pool):
    """jsonb writes -3.4e38 as an integer of 39 digits; 64-bit integers must stay exact."""
    for value in (-3.4028234663852886e38, 2**63 - 1, -9999, "nan"):
        with pool.connection() as conn:
            [stored] = conn.execute("SELECT %s::jsonb", (Jsonb(value),)).fetchone()
        restored = TypeAdapter(Nodata).validate_python(stored)
        assert restored == value and type(restored) is type(value)
