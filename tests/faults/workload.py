"""Users: they submit over HTTP, retry until a host responds, and record accepted jobs."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import httpx

from tests.faults.plan import Plan, Submission, parameters
from tests.faults.system import FUNCTION_KEY, System

TIMEOUT = 120.0


@dataclass
class Accepted:
    """A job that the service has accepted."""

    submission: Submission
    job_id: str
    seed: int
    is_cancelled: bool = False
    """A cancel was the last thing that was accepted for it, or anything if the job is shared."""


class NoCollection(Exception):
    """There is nothing to unpublish."""


@dataclass
class Users:
    """Submits jobs to a system and records the responses."""

    system: System
    accepted: dict[str, Accepted] = field(default_factory=dict)
    complaints: list[str] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def follow(self, plan: Plan) -> None:
        """Follow the plan."""
        began = time.monotonic()
        with ThreadPoolExecutor(16, thread_name_prefix="user") as pool:
            waiting = []
            for submission in plan.submissions:
                time.sleep(max(0.0, began + submission.at - time.monotonic()))
                waiting.append(pool.submit(self._play, submission, plan.seed))
            for each in waiting:
                each.result()

    def submit(self, submission: Submission, seed: int) -> Accepted:
        """Submit until the service accepts the job. Raises NoCollection."""
        path = f"/jobs/submit/{submission.job_type}"
        answer = self._insist("POST", path, parameters(submission, seed))
        if answer.status_code == 422 and "there is no collection" in answer.text:
            raise NoCollection
        if answer.status_code not in (200, 202):
            raise AssertionError(f"{path}: {answer.status_code} {answer.text}")
        taken = Accepted(submission, answer.json()["job_id"], seed)
        with self._lock:
            return self.accepted.setdefault(taken.job_id, taken)

    def cancel(self, job: Accepted) -> None:
        """Cancel a job. A lost response may have been a 202, so the tables show the outcome."""
        job.is_cancelled = True
        self.act(job.job_id, "cancel")

    def act(self, job_id: str, action: str) -> bool:
        """Cancel or retry. False when the job's state forbids it."""
        answer = self._insist("POST", f"/jobs/{job_id}/{action}")
        if answer.status_code not in (202, 409):
            self._complain(f"{action} {job_id}: {answer.status_code} {answer.text}")
        return answer.status_code == 202

    def _play(self, submission: Submission, seed: int) -> None:
        with suppress(NoCollection):
            self._act_out(submission, seed)

    def _act_out(self, submission: Submission, seed: int) -> None:
        if submission.then == "twin":
            self._submit_twins(submission, seed)
            return
        job = self.submit(submission, seed)
        if submission.then == "nothing":
            return
        time.sleep(submission.pause)
        self.cancel(job)
        if submission.then == "cancel and resubmit":
            self.submit(submission, seed)
            job.is_cancelled = submission.is_shared

    def _submit_twins(self, submission: Submission, seed: int) -> None:
        """Two identical submissions at the same instant are one job."""
        with ThreadPoolExecutor(2) as pool:
            first, second = pool.map(lambda _: self.submit(submission, seed), range(2))
        if first.job_id != second.job_id:
            self._complain(f"twins became two jobs: {first.job_id}, {second.job_id}")

    def _insist(self, method: str, path: str, body: Any = None) -> httpx.Response:
        """Try one host after the other until one responds."""
        until, turn = time.monotonic() + TIMEOUT, 0
        while True:
            host = self.system.hosts[turn % len(self.system.hosts)]
            answer = self._ask(host.url + path, method, body)
            if answer is not None:
                return answer
            if time.monotonic() > until:
                raise AssertionError(f"{method} {path}: no answer for {TIMEOUT:.0f} s")
            turn += 1
            time.sleep(0.1)

    def _ask(self, url: str, method: str, body: Any) -> httpx.Response | None:
        try:
            answer = httpx.request(
                method, url, json=body, headers={"x-functions-key": FUNCTION_KEY}, timeout=8,
                trust_env=False,
            )  # fmt: skip
        except httpx.TransportError:
            return None
        if answer.status_code >= 500:
            if answer.status_code != 503:
                self._complain(f"{url}: {answer.status_code} {answer.text[:300]}")
            return None
        return answer

    def _complain(self, complaint: str) -> None:
        with self._lock:
            self.complaints.append(complaint)
