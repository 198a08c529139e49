"""One job of the API."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any, Protocol

from geolathe.errors import Error

FINAL = ("completed", "completed_with_errors", "failed", "cancelled")
LONG_POLL = 20.0
"""Seconds for which one status request may wait for a change."""


class Api(Protocol):
    """The requests that a job makes through the client that returned it."""

    def status(self, job_id: str, wait: float = 0.0, etag: str = "") -> Job | None: ...

    def post(self, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]: ...

    def pages(self, path: str, name: str, **filters: Any) -> Iterator[dict[str, Any]]: ...


class JobEnded(Error):
    """A job ended without a result: it failed or was cancelled. `job` is that job."""

    def __init__(self, job: Job) -> None:
        super().__init__(job.reason)
        self.job = job


class Job:
    """One job. `data` is the last response of `GET /api/jobs/status/{job_id}`."""

    def __init__(self, client: Api, data: dict[str, Any], etag: str = "") -> None:
        self._client = client
        self._etag = etag
        self.data = data
        self.is_new = False
        """Whether the submission that returned this job also created it."""

    def __repr__(self) -> str:
        return f"<Job {self.id[:12]} {self.type} {self.status}>"

    @property
    def id(self) -> str:
        """The job id: 64 hexadecimal digits."""
        return str(self.data["job_id"])

    @property
    def type(self) -> str:
        """The job type, such as `process_raster`."""
        return str(self.data["job_type"])

    @property
    def status(self) -> str:
        """`queued`, `processing`, or one of the final statuses.

        Final are `completed`, `completed_with_errors`, `failed` and `cancelled`.
        """
        return str(self.data["status"])

    @property
    def is_final(self) -> bool:
        """Whether the job has ended."""
        return self.status in FINAL

    @property
    def progress(self) -> float:
        """The fraction that is done, from 0 to 1."""
        return float(self.data.get("progress", 0.0))

    @property
    def stages(self) -> list[dict[str, Any]]:
        """The stages with their status, task counts and progress."""
        return list(self.data.get("stages", ()))

    @property
    def parameters(self) -> dict[str, Any]:
        """The job's parameters, with defaults."""
        return dict(self.data["parameters"])

    @property
    def result(self) -> dict[str, Any] | None:
        """The result of a completed job, otherwise None."""
        return self.data.get("result_data")

    @property
    def error(self) -> dict[str, Any] | None:
        """`code` and `message` of a failed job, otherwise None."""
        return self.data.get("error")

    @property
    def reason(self) -> str:
        """The status and, for a failed job, the error, in one sentence."""
        error = self.error or {}
        detail = ": ".join(str(error[key]) for key in ("code", "message") if error.get(key))
        return f"the job is {self.status}" + (f": {detail}" if detail else "")

    def refresh(self, wait: float = 0.0) -> Job:
        """Fetch the current status; with `wait`, wait up to that many seconds for a change."""
        changed = self._client.status(self.id, wait=wait, etag=self._etag)
        if changed is not None:
            self.data, self._etag = changed.data, changed._etag
        return self

    def follow(self, timeout: float | None = None) -> Iterator[Job]:
        """Yield this job now and after every change, until it has ended.

        Raises Error when it has not ended within `timeout` seconds.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        yield self
        while not self.is_final:
            left = LONG_POLL if deadline is None else deadline - time.monotonic()
            if left <= 0:
                raise Error(f"timed out after {timeout:g} s: {self.reason}")
            known = self._etag
            self.refresh(wait=min(left, LONG_POLL))
            if self._etag != known:
                yield self

    def wait(
        self, timeout: float | None = None, progress: Callable[[Job], object] | None = None
    ) -> Job:
        """Wait until the job has ended, calling `progress(job)` after every change.

        Returns the job. Raises JobEnded when it ended without a result, and Error when it has not
        ended within `timeout` seconds.
        """
        for job in self.follow(timeout):
            if progress is not None:
                progress(job)
        if self.result is None:
            raise JobEnded(self)
        return self

    def cancel(self) -> Job:
        """Cancel the job and remove what it has written. Raises Refused when it has ended."""
        self._client.post(f"/jobs/{self.id}/cancel")
        return self.refresh()

    def retry(self) -> Job:
        """Run the failed tasks again. Raises Refused when no task has failed."""
        self._client.post(f"/jobs/{self.id}/retry")
        return self.refresh()

    def tasks(self) -> Iterator[dict[str, Any]]:
        """The tasks in order, with their unsuccessful attempts."""
        return self._client.pages(f"/jobs/{self.id}/tasks", "tasks")

    def events(self) -> Iterator[dict[str, Any]]:
        """The timeline, oldest event first."""
        return self._client.pages(f"/jobs/{self.id}/events", "events")
