"""The API of one deployment, in Azure or on this machine."""

from __future__ import annotations

import json
import logging
import os
import re
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import quote

import httpx

from geolathe.errors import Error, Unreachable, refusal
from geolathe.job import Job
from geolathe.sending import send_file

logger = logging.getLogger(__name__)

PATIENCE = 30  # seconds during which an API that is away is asked again
WRITE = 3600.0  # seconds that one block of an upload may take


class Client:
    """Submits, watches and repairs jobs.

    `base_url` ends in /api. Without arguments GEOLATHE_URL and GEOLATHE_KEY are read. An API that
    restarts is waited for: every request here can be sent again without harm.
    """

    def __init__(
        self, base_url: str | None = None, key: str | None = None, *, patience: float = PATIENCE
    ) -> None:
        url = _address(base_url or os.environ.get("GEOLATHE_URL", ""))
        key = key or os.environ.get("GEOLATHE_KEY", "")
        if not re.fullmatch(r"[\x21-\x7e]*", key):
            raise Error("the function key is none: it has only visible ASCII characters")
        local = url.host in ("127.0.0.1", "localhost", "::1")
        self.patience = patience
        # A proxy has no business between two programs of one machine.
        self._api = httpx.Client(
            base_url=url, headers={"x-functions-key": key}, timeout=60, trust_env=not local
        )
        self._storage = httpx.Client(timeout=httpx.Timeout(60, write=WRITE), trust_env=not local)

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        self._api.close()
        self._storage.close()

    def submit(
        self,
        job_type: str,
        parameters: Mapping[str, Any] | None = None,
        *,
        idempotency_key: str | None = None,
        **more: Any,
    ) -> Job:
        """Start a job, or find the one that does the same. Raises Refused."""
        key = {"Idempotency-Key": idempotency_key or uuid.uuid4().hex}
        body = {**(parameters or {}), **more}
        answer = self.post(f"/jobs/submit/{quote(job_type, safe='')}", body, key)
        job = self.show(answer["job_id"])
        job.is_new = not answer["idempotent"]
        return job

    def show(self, job_id: str) -> Job:
        """A job as it stands. Raises Refused."""
        job = self.status(job_id)
        assert job is not None
        return job

    def status(self, job_id: str, wait: float = 0.0, etag: str = "") -> Job | None:
        """A job, as soon as its ETag is another or `wait` is over; None when it is the same."""
        headers = {"If-None-Match": etag} if etag else {}
        path = f"/jobs/status/{quote(job_id, safe='')}"
        answer = self._ask("GET", path, params={"wait": wait}, headers=headers)
        if answer.status_code == 304:
            return None
        return Job(self, _body(answer), answer.headers.get("etag", ""))

    def jobs(self, status: str | None = None, job_type: str | None = None) -> Iterator[Job]:
        """Jobs, newest first, page by page. `status` may name several, with commas."""
        wanted = {"status": status, "job_type": job_type}
        filters = {name: value for name, value in wanted.items() if value}
        return (Job(self, data) for data in self.pages("/jobs", "jobs", **filters))

    def cancel(self, job_id: str) -> Job:
        """Stop a job at once. Raises Refused when it has ended."""
        return self.show(job_id).cancel()

    def retry(self, job_id: str) -> Job:
        """Run what failed again. Raises Refused when nothing did."""
        return self.show(job_id).retry()

    def types(self) -> list[dict[str, Any]]:
        """What can be submitted: stages, JSON Schema of the parameters, an example."""
        return list(_body(self._ask("GET", "/job-types"))["job_types"])

    def upload(
        self,
        file: str | os.PathLike[str],
        name: str | None = None,
        progress: Callable[[int, int], object] | None = None,
    ) -> dict[str, str]:
        """Send a file to storage, unless the same bytes are there.

        Returns the parameters that name it. `progress` is called with bytes sent and in all.
        """
        return send_file(self, self._storage, Path(file), name, progress)

    def post(
        self, path: str, body: Any = None, headers: Mapping[str, str] | None = None
    ) -> dict[str, Any]:
        """The answer to a POST. Raises Refused."""
        try:
            content = json.dumps(body, allow_nan=False, ensure_ascii=False).encode()
        except ValueError as error:
            raise Error(f"this cannot be sent as JSON: {error}") from None
        said = {"content-type": "application/json", **(headers or {})}
        return _body(self._ask("POST", path, content=content, headers=said))

    def pages(self, path: str, name: str, **filters: Any) -> Iterator[dict[str, Any]]:
        """Everything that a paged route has, fetched as it is asked for."""
        after: dict[str, Any] = {}
        while True:
            page = _body(self._ask("GET", path, params={**filters, **after}))
            yield from page[name]
            if "next" not in page:
                return
            after = {"after": page["next"]}

    def _ask(self, method: str, path: str, **request: Any) -> httpx.Response:
        """Ask, again while nobody answers or the API says it is not well. Raises Error."""
        until = time.monotonic() + self.patience
        answer = self._try(method, path, **request)
        if isinstance(answer, Error) and self.patience:
            logger.warning("%s; asking again for %g s", answer, self.patience)
        while isinstance(answer, Error):
            if time.monotonic() > until:
                raise answer
            time.sleep(1)
            answer = self._try(method, path, **request)
        return answer

    def _try(self, method: str, path: str, **request: Any) -> httpx.Response | Error:
        """An answer, or trouble that may pass. Raises Refused when it will not."""
        try:
            answer = self._api.request(method, path, **request)
        except httpx.RequestError as error:
            return Unreachable(f"{self._api.base_url} does not answer: {error}")
        if answer.is_success or answer.status_code == 304:
            return answer
        trouble = refusal(answer)
        if answer.status_code < 500:
            raise trouble
        return trouble


def _address(text: str) -> httpx.URL:
    """The API's address. Raises Unreachable when it can be none."""
    example = "set GEOLATHE_URL, such as https://name.azurewebsites.net/api"
    if not text:
        raise Unreachable(f"no API is named: {example}")
    try:
        url = httpx.URL(text)
    except httpx.InvalidURL as error:
        raise Unreachable(f"{text!r} is no address of an API ({error}): {example}") from None
    if url.scheme not in ("http", "https") or not re.fullmatch(r"[\w.:-]+", url.host):
        raise Unreachable(f"{text!r} is no address of an API: {example}")
    return url


def _body(answer: httpx.Response) -> dict[str, Any]:
    """The JSON of an answer. Raises Error when whoever answers is no Geolathe."""
    try:
        body = answer.json()
    except ValueError:
        body = None
    if not isinstance(body, dict):
        where = answer.url.copy_with(query=None)
        raise Error(f"{where} does not answer in JSON: GEOLATHE_URL is that of something else")
    return body
