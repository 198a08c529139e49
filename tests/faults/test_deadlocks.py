"""Operations on a job and on its tasks take their locks in one order, without deadlocks.

PostgreSQL resolves a deadlock after a second, which every race of a cancel with a completion would
lose.
"""

from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import psycopg
import pytest

from core.models import Failure, JobStatus
from tests.fixtures.records import NOW, claimed, started_stage

BROKEN = Failure(code="BROKEN", message="no")
COMPLETE = 'SELECT * FROM app.complete_task_and_check_stage(%s, %s, NULL, \'{"code": "BROKEN"}\')'
COMPLETE_MANY = "SELECT * FROM app.complete_tasks(ARRAY[%s], ARRAY[%s], ARRAY['{}'::jsonb])"
SWEPT = "SELECT * FROM app.sweep(100, '0')"


def run(database_url, query, *parameters):
    with psycopg.connect(database_url, autocommit=True) as connection:
        return connection.execute(query, parameters).fetchall()


def wait_for_a_waiter(connection):
    """Wait until a connection waits for a lock."""
    waits = """SELECT count(*) FROM pg_stat_activity
                WHERE datname = current_database() AND wait_event_type = 'Lock'"""
    while connection.execute(waits).fetchone() == (0,):
        connection.execute("SELECT pg_stat_clear_snapshot()")


def made_ready(state, how):
    """A job with a claimed task, in a state in which `how` changes its stages."""
    job, tasks = started_stage(state, 12)
    attempt = claimed(state, tasks[1].task_id).attempt
    if how == "submit_job":
        state.cancel_job(job.job_id)
    elif how == "retry_job":
        state.complete_task(
            tasks[0].task_id, claimed(state, tasks[0].task_id).attempt, None, BROKEN
        )
        state.finish_job(job, JobStatus.FAILED, None, BROKEN)
    return job, tasks[1].task_id, attempt


def call(how, job):
    """The statement and its parameters."""
    more = {"submit_job": ("test", 1, "{}", 2), "retry_job": (uuid4(),)}
    arguments = (job.job_id, *more.get(how, ()))
    marks = ", ".join(["%s"] * len(arguments))
    return f"SELECT * FROM app.{how}({marks})", *arguments


@pytest.mark.parametrize("how", ["submit_job", "retry_job"])
def test_a_job_restarts_while_late_task_messages_are_claimed(postgres_state, database_url, how):
    """Claims lock in the order of ids, in which 10 comes before 2."""
    job, tasks = started_stage(postgres_state, 12)
    postgres_state.complete_task(
        tasks[0].task_id, claimed(postgres_state, tasks[0].task_id).attempt, None, BROKEN
    )
    postgres_state.finish_job(job, JobStatus.FAILED, None, BROKEN)
    with psycopg.connect(database_url) as worker, ThreadPoolExecutor(1) as user:
        lock = "SELECT FROM app.tasks WHERE task_id = %s FOR UPDATE"
        worker.execute(lock, [tasks[10].task_id])
        beginning = user.submit(run, database_url, *call(how, job))
        wait_for_a_waiter(worker)
        worker.execute(lock, [tasks[2].task_id])
        worker.commit()
        assert len(beginning.result()) == 1


@pytest.mark.parametrize("how", ["cancel_job", "submit_job", "retry_job"])
@pytest.mark.parametrize("complete", [COMPLETE, COMPLETE_MANY], ids=["alone", "in a batch"])
def test_completing_a_task_does_not_wait_for_the_end_of_its_job(
    postgres_state, database_url, how, complete
):
    job, task_id, attempt = made_ready(postgres_state, how)
    with psycopg.connect(database_url) as worker, ThreadPoolExecutor(1) as user:
        worker.execute("SELECT FROM app.stages WHERE job_id = %s FOR UPDATE", [job.job_id])
        ending = user.submit(run, database_url, *call(how, job))
        wait_for_a_waiter(worker)
        assert worker.execute(complete, (task_id, attempt)).fetchone() is not None
        worker.commit()
        assert len(ending.result()) == 1


def test_a_failing_task_and_a_heartbeat_lock_tasks_in_the_same_order(postgres_state, database_url):
    """The heartbeat includes the task that has just failed."""
    _, tasks = started_stage(postgres_state, 3)
    attempts = [claimed(postgres_state, task.task_id).attempt for task in tasks]
    with psycopg.connect(database_url) as heartbeat, ThreadPoolExecutor(1) as worker:
        lock = "SELECT FROM app.tasks WHERE task_id = %s FOR UPDATE"
        heartbeat.execute(lock, [tasks[0].task_id])
        failing = worker.submit(run, database_url, COMPLETE, tasks[2].task_id, attempts[2])
        wait_for_a_waiter(heartbeat)
        heartbeat.execute(lock, [tasks[2].task_id])
        heartbeat.commit()
        assert len(failing.result()) == 1


def test_an_event_does_not_wait_for_the_sweep(postgres_state, database_url):
    job, tasks = started_stage(postgres_state, 1)
    attempt = claimed(postgres_state, tasks[0].task_id, NOW).attempt
    postgres_state.complete_task(tasks[0].task_id, attempt, {}, None)
    with psycopg.connect(database_url) as sweep:
        assert len(sweep.execute(SWEPT).fetchall()) == 1
        late = "SET lock_timeout = '5s'"
        with psycopg.connect(database_url, autocommit=True) as worker:
            worker.execute(late)
            worker.execute("SELECT app.record_event(%s, 'noted')", [job.job_id])


def test_a_job_purged_during_its_resubmission_is_stored_again(postgres_state, database_url):
    job, _ = started_stage(postgres_state, 1)
    postgres_state.finish_job(job, JobStatus.FAILED, None, BROKEN)
    with psycopg.connect(database_url) as purge, ThreadPoolExecutor(1) as user:
        purge.execute("SELECT FROM app.jobs WHERE job_id = %s FOR UPDATE", [job.job_id])
        submitting = user.submit(postgres_state.submit_job, job)
        wait_for_a_waiter(purge)
        purge.execute("SELECT app.purge_jobs('0', 10)")
        purge.commit()
        is_new, again = submitting.result()
    assert is_new and again.run == 1
