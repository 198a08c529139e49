"""A job as the API tells of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any, Protocol

from geolathe.errors import Error

FINAL = ("completed", "completed_with_errors", "failed", "cancelled")
LONG_POLL = 20.0  # seconds the API may keep us waiting for news


class Api(Protocol):
    """What a job asks of the client that it came from."""

    def status(self, job_id: str, wait: float = 0.0, etag: str = "") -> Job | None: ...

    def post(self, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]: ...

    def pages(self, path: str, name: str, **filters: Any) -> Iterator[dict[str, Any]]: ...


class JobEnded(Error):
    """A job ended without its result."""

    def __init__(self, job: Job) -> None:
        super().__init__(job.reason)
        self.job = job


class Job:
    """One job. `data` is the last answer of GET /api/jobs/status/{job_id}."""

    def __init__(self, client: Api, data: dict[str, Any], etag: str = "") -> None:
        self._client = client
        self._etag = etag
        self.data = data
        self.is_new = False
        """Whether the submission that returned this job started it."""

    def __repr__(self) -> str:
        return f"<Job {self.id[:12]} {self.type} {self.status}>"

    @property
    def id(self) -> str:
        return str(self.data["job_id"])

    @property
    def type(self) -> str:
        return str(self.data["job_type"])

    @property
    def status(self) -> str:
        return str(self.data["status"])

    @property
    def is_final(self) -> bool:
        return self.status in FINAL

    @property
    def progress(self) -> float:
        """From 0 to 1."""
        return float(self.data.get("progress", 0.0))

    @property
    def stages(self) -> list[dict[str, Any]]:
        return list(self.data.get("stages", ()))

    @property
    def parameters(self) -> dict[str, Any]:
        return dict(self.data["parameters"])

    @property
    def result(self) -> dict[str, Any] | None:
        return self.data.get("result_data")

    @property
    def error(self) -> dict[str, Any] | None:
        """`code` and `message` of a job that failed."""
        return self.data.get("error")

    @property
    def reason(self) -> str:
        """How it stands, in one sentence."""
        error = self.error or {}
        why = ": ".join(str(error[key]) for key in ("code", "message") if error.get(key))
        return f"the job is {self.status}" + (f": {why}" if why else "")

    def refresh(self, wait: float = 0.0) -> Job:
        """Ask how it stands; with `wait`, as soon as that is not what is known here."""
        news = self._client.status(self.id, wait=wait, etag=self._etag)
        if news is not None:
            self.data, self._etag = news.data, news._etag
        return self

    def follow(self, timeout: float | None = None) -> Iterator[Job]:
        """This job after every change, until it is over. Raises Error when the time is."""
        until = None if timeout is None else time.monotonic() + timeout
        yield self
        while not self.is_final:
            left = LONG_POLL if until is None else until - time.monotonic()
            if left <= 0:
                raise Error(f"after {timeout:g} s {self.reason} still")
            known = self._etag
            self.refresh(wait=min(left, LONG_POLL))
            if self._etag != known:
                yield self

    def wait(
        self, timeout: float | None = None, progress: Callable[[Job], object] | None = None
    ) -> Job:
        """Wait for the end, calling `progress` after every change.

        Returns the job when it has a result; raises JobEnded when it failed or was cancelled.
        """
        for job in self.follow(timeout):
            if progress is not None:
                progress(job)
        if self.result is None:
            raise JobEnded(self)
        return self

    def cancel(self) -> Job:
        """Stop it at once. Raises Refused when it has ended."""
        self._client.post(f"/jobs/{self.id}/cancel")
        return self.refresh()

    def retry(self) -> Job:
        """Run what failed again. Raises Refused when nothing did."""
        self._client.post(f"/jobs/{self.id}/retry")
        return self.refresh()

    def tasks(self) -> Iterator[dict[str, Any]]:
        """Its tasks in order, with the attempts that came to nothing."""
        return self._client.pages(f"/jobs/{self.id}/tasks", "tasks")

    def events(self) -> Iterator[dict[str, Any]]:
        """Its timeline."""
        return self._client.pages(f"/jobs/{self.id}/events", "events")
