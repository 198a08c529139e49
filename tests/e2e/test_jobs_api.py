"""Lists, ETags and Idempotency-Keys over HTTP."""

import threading
import uuid

import pytest


def test_jobs_are_listed_newest_first_in_pages(product):
    mine = [product.run("hello_world", n=0, message=f"list {n}")["job_id"] for n in range(3)]
    with product.api as api:
        seen, after = [], {}
        while after is not None and not set(mine) <= set(seen):
            page = api.get("/jobs", params={"limit": 2, **after}).json()
            seen += [job["job_id"] for job in page["jobs"]]
            after = {"after": page["next"]} if "next" in page else None
        filters = {"status": "completed,failed", "job_type": "hello_world"}
        [newest] = api.get("/jobs", params={**filters, "limit": 1}).json()["jobs"]
    assert len(seen) == len(set(seen))
    assert [job_id for job_id in seen if job_id in mine] == mine[::-1]
    assert newest["job_type"] == "hello_world" and newest["status"] in ("completed", "failed")
    assert "result" not in newest and "result_data" not in newest


def test_jobs_are_filtered_by_creation_time(product):
    jobs = [product.run("hello_world", n=0, message=f"created {n}") for n in range(2)]
    first, second = ({"id": job["job_id"], "at": job["created_at"]} for job in jobs)
    with product.api as api:

        def listed(**filters):
            page = api.get("/jobs", params={"job_type": "hello_world,process_raster", **filters})
            return [job["job_id"] for job in page.json()["jobs"]]

        assert listed(created_from=first["at"], created_until=first["at"]) == [first["id"]]
        both = listed(created_from=first["at"].replace("Z", "+00:00"))
    assert both[-2:] == [second["id"], first["id"]]


@pytest.mark.parametrize(
    ("query", "status", "field"),
    [
        ("status=done", 422, "status"),
        ("status=completed,done", 422, "status"),
        ("created_from=2026-11-23", 422, "created_from"),
        ("created_until=2026-11-31T10:00:00Z", 422, "created_until"),
        ("after=1-x", 422, "after"),
        ("limit=1001", 422, "limit"),
        ("job_type=circles", 404, None),
        ("job_type=hello_world,circles", 404, None),
    ],
)
def test_an_invalid_filter_is_named(product, query, status, field):
    with product.api as api:
        answer = api.get(f"/jobs?{query}")
    assert answer.status_code == status
    assert field is None or answer.json()["errors"][0]["field"] == field


def test_an_unchanged_status_is_not_sent_again(product):
    job_id = product.run("hello_world", n=1, message="etag")["job_id"]
    with product.api as api:
        first = api.get(f"/jobs/status/{job_id}")
        tag = first.headers["etag"]
        same = api.get(f"/jobs/status/{job_id}", headers={"If-None-Match": tag})
        other = api.get(f"/jobs/status/{job_id}", headers={"If-None-Match": '"other"'})
        for tags in (f'"a,b", {tag}', tag.removeprefix("W/"), "*"):
            again = api.get(f"/jobs/status/{job_id}", headers={"If-None-Match": tags})
            assert again.status_code == 304, tags
    assert (same.status_code, same.content, same.headers["etag"]) == (304, b"", tag)
    assert other.status_code == 200 and other.json() == first.json()
    assert "retry-after" not in first.headers


def test_a_wait_with_an_etag_misses_no_change(product):
    """A change before the request counts, because an ended job does not change again."""
    submitted = product.submit("hello_world", n=300, message="long poll")
    job_id, tag, seen = submitted["job_id"], '"nothing yet"', []
    with product.api as api:
        while not seen or seen[-1]["status"] in ("queued", "processing"):
            answer = api.get(
                f"/jobs/status/{job_id}", params={"wait": 30}, headers={"If-None-Match": tag}
            )
            assert answer.status_code == 200 and answer.headers["etag"] != tag
            tag = answer.headers["etag"]
            seen.append(answer.json())
    assert seen[-1]["status"] == "completed" and seen[-1]["progress"] == 1
    assert [body["progress"] for body in seen] == sorted(body["progress"] for body in seen)


def test_a_request_repeated_with_its_key_starts_no_second_job(product):
    key = {"Idempotency-Key": uuid.uuid4().hex}
    body = {"n": 1, "message": key["Idempotency-Key"]}
    with product.api as api:
        first = api.post("/jobs/submit/hello_world", json=body, headers=key)
        again = api.post("/jobs/submit/hello_world", json=dict(reversed(body.items())), headers=key)
        other = api.post("/jobs/submit/hello_world", json={"n": 2}, headers=key)
    assert first.status_code == 202
    assert first.headers["location"] == f"/api/jobs/status/{first.json()['job_id']}"
    assert int(first.headers["retry-after"]) > 0
    assert again.status_code == 200 and again.json()["job_id"] == first.json()["job_id"]
    assert other.status_code == 422 and other.json()["code"] == "IDEMPOTENCY_KEY_REUSED"


def test_simultaneous_requests_with_one_key_start_one_job(product):
    key = {"Idempotency-Key": uuid.uuid4().hex}
    start, answers = threading.Barrier(5), []

    def submit():
        with product.api as api:
            start.wait()
            answers.append(api.post("/jobs/submit/hello_world", json={"n": 7}, headers=key))

    threads = [threading.Thread(target=submit) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {answer.status_code for answer in answers} <= {200, 202}
    assert len({answer.json()["job_id"] for answer in answers}) == 1


def test_an_invalid_key_is_refused(product):
    with product.api as api:
        answer = api.post(
            "/jobs/submit/hello_world", json={}, headers={"Idempotency-Key": "two words"}
        )
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == "Idempotency-Key"
