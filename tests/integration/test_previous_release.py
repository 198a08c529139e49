"""Hosts of the previous release against this release's schema, as they run in a rolling deploy.

The statements are copied from the previous release.
"""

from datetime import timedelta
from uuid import uuid4

import pytest
from psycopg.rows import dict_row

from tests.fixtures.records import MINUTE, NOW, claimed, new_job, new_tasks, started_stage

START_STAGE = "SELECT app.start_stage(%s, %s, %s, %s, %s, %s)"
COPY_TASKS = """COPY app.tasks (task_id, job_id, run, stage, task_index, task_type, parameters,
                                attempt_limit) FROM STDIN"""
QUEUED = """SELECT task_id FROM app.tasks
             WHERE job_id = %s AND stage = %s AND status = 'queued' AND due_at <= now()
             ORDER BY task_index"""
CLAIM = "SELECT outcome, (task_row).* FROM app.claim_tasks(%s, %s, %s)"
COMPLETE = """SELECT applied, (stage_row).*
                FROM app.complete_task_and_check_stage(%s, %s, %s, %s)"""
DEAD_LETTER = "SELECT app.record_dead_letter(%s, %s, %s, %s, %s, %s, %s)"
REQUIRED_OF_A_TASK = {"task_id", "job_id", "run", "stage", "due_at", "lease_until"}
REQUIRED_OF_A_STAGE = {"job_id", "run", "stage", "open_tasks"}


@pytest.fixture
def previous(pool):
    """Run a statement of the previous release."""

    def execute(query, *parameters):
        with pool.connection() as conn, conn.cursor(row_factory=dict_row) as cur:
            return cur.execute(query, parameters).fetchall()

    return execute


def test_the_previous_release_runs_tasks_of_this_one(postgres_state, previous):
    job, [task] = started_stage(postgres_state, 1)
    assert previous(QUEUED, job.job_id, 1) == [{"task_id": task.task_id}]
    [claim] = previous(CLAIM, [task.task_id], MINUTE, uuid4())
    assert claim["outcome"] == "claimed" and claim["attempt"] == 1
    assert all(claim[name] is not None for name in REQUIRED_OF_A_TASK)
    [done] = previous(COMPLETE, task.task_id, 1, "{}", None)
    assert done["applied"] and all(done[name] is not None for name in REQUIRED_OF_A_STAGE)


def test_this_release_runs_tasks_of_the_previous_one(postgres_state, pool):
    _, job = postgres_state.submit_job(new_job())
    [task] = new_tasks(job, 1, 1)
    with pool.connection() as conn, conn.transaction(), conn.cursor() as cur:
        cur.execute(START_STAGE, (job.job_id, 1, 1, "test", False, 1))
        with cur.copy(COPY_TASKS) as copy:
            copy.write_row((task.task_id, job.job_id, 1, 1, 0, "test", "{}", 3))
    attempt = claimed(postgres_state, task.task_id).attempt
    assert postgres_state.complete_task(task.task_id, attempt, {}, None).stage.is_closed


def test_the_previous_release_gets_the_old_name_of_a_claim_outcome(postgres_state, previous):
    _, [lost, queued] = started_stage(postgres_state, 2)
    claimed(postgres_state, lost.task_id, NOW)
    claims = previous(CLAIM, [lost.task_id, queued.task_id], timedelta(minutes=1), uuid4())
    assert [claim["outcome"] for claim in claims] == ["alone", "claimed"]


def test_the_previous_release_stores_dead_letters(postgres_state, previous):
    job, _ = started_stage(postgres_state, 1)
    previous(DEAD_LETTER, "jobs", "m1", "TTLExpired", None, "{}", job.job_id, None)
    assert postgres_state.health().dead_letters == 1
