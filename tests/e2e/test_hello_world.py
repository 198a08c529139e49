"""Fan-out and fan-in through HTTP, Service Bus and PostgreSQL."""

import psycopg
import pytest
from psycopg.rows import dict_row


def rows(product, query, *parameters):
    with psycopg.connect(product.environment.database_url, row_factory=dict_row) as conn:
        return conn.execute(query, parameters).fetchall()


@pytest.mark.parametrize("n", [0, 1, 200])
def test_n_greetings_become_one_summary(product, n):
    job = product.run("hello_world", n=n, message=f"Hello {n}")
    assert job["status"] == "completed" and job["result_data"]["greetings"] == n
    assert [stage["total_tasks"] for stage in job["stages"]] == [n, 1]
    assert [stage["progress"] for stage in job["stages"]] == [1.0, 1.0]
    counted = rows(
        product,
        "SELECT stage, status, count(*) AS n FROM app.tasks WHERE job_id = %s GROUP BY 1, 2",
        job["job_id"],
    )
    expected = {(2, "completed", 1)} | ({(1, "completed", n)} if n else set())
    assert {(row["stage"], row["status"], row["n"]) for row in counted} == expected


def test_each_stage_of_a_thousand_tasks_advances_once(product):
    job = product.run("hello_world", n=1000, message="many")
    assert job["status"] == "completed"
    [tasks] = rows(
        product,
        """SELECT count(*) FILTER (WHERE status = 'completed') AS done, count(*) AS all_tasks,
                  max(attempt) AS attempts FROM app.tasks WHERE job_id = %s AND stage = 1""",
        job["job_id"],
    )
    assert tasks == {"done": 1000, "all_tasks": 1000, "attempts": 1}
    kinds = [
        row["kind"]
        for row in rows(product, "SELECT kind FROM app.events WHERE job_id = %s", job["job_id"])
    ]
    assert kinds.count("stage_started") == 2 and kinds.count("job_completed") == 1


def test_a_repeated_submission_returns_the_result(product):
    first = product.run("hello_world", n=2, message="again")
    again = product.submit("hello_world", n=2, message="again")
    assert again["job_id"] == first["job_id"] and again["idempotent"] is True
    assert again["status"] == "already_completed"
    assert again["result_data"] == first["result_data"]


def test_tasks_and_events_are_paged(product):
    job = product.run("hello_world", n=5, message="pages")
    with product.api as api:
        seen, after = [], "0-0"
        while after:
            url = f"/jobs/{job['job_id']}/tasks"
            page = api.get(url, params={"limit": 4, "after": after}).json()
            seen += page["tasks"]
            after = page.get("next")
        events = api.get(f"/jobs/{job['job_id']}/events").json()["events"]
    assert [(task["stage"], task["task_index"]) for task in seen] == [
        *((1, n) for n in range(5)),
        (2, 0),
    ]
    assert {task["status"] for task in seen} == {"completed"}
    assert seen[0]["started_at"].endswith("Z") or "+" in seen[0]["started_at"]
    assert [event["kind"] for event in events][:2] == ["job_submitted", "stage_started"]


def test_ten_jobs_survive_a_killed_host_and_no_stage_starts_twice(own_product):
    jobs = [
        own_product.submit("hello_world", n=150, message=f"survivor {number}")["job_id"]
        for number in range(10)
    ]
    host = own_product.stack.services.read("host").identity
    own_product.kill(host)
    own_product.restart()
    for job_id in jobs:
        job = own_product.wait(job_id)
        assert job["status"] == "completed" and job["result_data"]["greetings"] == 150
    [twice] = rows(
        own_product,
        """SELECT count(*) AS n FROM (SELECT job_id, detail->>'stage' FROM app.events
            WHERE kind = 'stage_started' AND job_id = ANY(%s) GROUP BY 1, 2
           HAVING count(*) > 1) doubled""",
        jobs,
    )
    assert twice["n"] == 0
