"""Cancel, retry, resubmission and best effort over HTTP: real host, queues and PostgreSQL."""

import time

import pytest

from tests.fixtures.functions_host import REPOSITORY, environment, start_host

KEY = {"x-functions-key": "function-key"}
FINAL = ("completed", "completed_with_errors", "failed", "cancelled")


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "squares").mkdir()
    return tmp_path / "squares"


@pytest.fixture
def api(tmp_path, folder, broker, database_url):
    settings = environment(
        tmp_path,
        broker.connection_string,
        DATABASE_URL=database_url,
        SERVICEBUS_CONNECTION=broker.connection_string,
        JOBS_QUEUE="geospatial-jobs",
        TASKS_QUEUE="geospatial-tasks",
        QUICK_TASKS_QUEUE="geospatial-quick-tasks",
        SWEEP_SCHEDULE="*/5 * * * * *",
        SQUARES_FOLDER=str(folder),
    )
    with start_host(REPOSITORY / "tests" / "fixtures" / "squares_app", settings) as host:
        client = host.client()
        client.headers.update(KEY)
        with client:
            yield client
        assert host.stop() == 0


def submit(api, job_type, **parameters):
    answer = api.post(f"/api/jobs/submit/{job_type}", json=parameters)
    assert answer.status_code in (200, 202), answer.text
    return answer.json()


def ended(api, job_id):
    until = time.monotonic() + 60
    while time.monotonic() < until:
        job = api.get(f"/api/jobs/status/{job_id}", params={"wait": 10}).json()
        if job["status"] in FINAL:
            return job
    raise AssertionError(job)


def wait_for(file):
    until = time.monotonic() + 60
    while not file.exists():
        assert time.monotonic() < until, f"{file.name} was not created"
        time.sleep(0.01)


def calls(folder):
    return sorted(int(line) for line in (folder / "calls").read_text().split())


def test_retry_runs_failed_tasks_and_keeps_other_results(api, folder):
    (folder / "fail-0").touch()
    job_id = submit(api, "squares", n=1)["job_id"]
    failed = ended(api, job_id)
    assert failed["status"] == "failed"
    assert failed["error"] == {
        "code": "NOT_SQUARE",
        "message": "0 is round; bring a square one",
    }
    (folder / "fail-0").unlink()
    assert api.post(f"/api/jobs/{job_id}/retry").status_code == 202
    done = ended(api, job_id)
    assert done["status"] == "completed" and done["result_data"] == {"total": 0}
    assert done["run"] == 2 and api.post(f"/api/jobs/{job_id}/retry").status_code == 409
    tasks = api.get(f"/api/jobs/{job_id}/tasks").json()["tasks"]
    assert [(task["status"], task["attempt"]) for task in tasks] == [
        ("completed", 2),
        ("completed", 1),
    ]


def test_a_resubmitted_failed_job_runs_again(api, folder):
    (folder / "fail-2").touch()
    first = submit(api, "squares", n=4)
    assert ended(api, first["job_id"])["status"] == "failed"
    (folder / "fail-2").unlink()
    again = submit(api, "squares", n=4)
    assert (again["job_id"], again["idempotent"]) == (first["job_id"], False)
    done = ended(api, again["job_id"])
    assert (done["status"], done["run"]) == ("completed", 2)
    assert done["result_data"] == {"total": 0 + 1 + 4 + 9}


def test_cancel_ends_queued_tasks_at_once_and_running_ones_soon(api, folder):
    (folder / "hold-0").touch()
    job_id = submit(api, "squares", n=1)["job_id"]
    wait_for(folder / "held-0")
    assert api.post(f"/api/jobs/{job_id}/cancel").status_code == 202
    job = api.get(f"/api/jobs/status/{job_id}").json()
    assert job["status"] == "cancelled" and job["stages"][0]["cancelled_tasks"] == 1
    wait_for(folder / "stopped-0")
    assert api.post(f"/api/jobs/{job_id}/retry").status_code == 409
    (folder / "hold-0").unlink()
    assert submit(api, "squares", n=1)["idempotent"] is False
    assert ended(api, job_id)["status"] == "completed"


def test_a_best_effort_job_completes_with_errors_and_can_be_retried(api, folder):
    (folder / "fail-1").touch()
    job_id = submit(api, "lenient", n=3)["job_id"]
    half = ended(api, job_id)
    assert half["status"] == "completed_with_errors" and half["result_data"] == {"total": 4}
    assert [stage["status"] for stage in half["stages"]] == ["completed_with_errors", "completed"]
    assert half["stages"][0]["failed_tasks"] == 1
    (folder / "fail-1").unlink()
    assert api.post(f"/api/jobs/{job_id}/retry").status_code == 202
    whole = ended(api, job_id)
    assert whole["status"] == "completed" and whole["result_data"] == {"total": 5}
    assert calls(folder) == [0, 1, 2]
