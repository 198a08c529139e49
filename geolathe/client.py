"""The client of one Geolathe deployment."""

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

from geolathe.download import download_asset
from geolathe.errors import Error, Refused, Unreachable, parse_refusal
from geolathe.job import Job
from geolathe.upload import upload_file

logger = logging.getLogger(__name__)

RETRY_SECONDS = 30.0
BLOCK_SECONDS = 3600.0
"""The longest time that the upload of one block may take."""
DEFAULT_COLLECTION = "system-rasters"
MAIN_ASSET = "data"
LOCAL_HOSTS = ("127.0.0.1", "localhost", "::1")


class Client:
    """Submits jobs, follows them, and transfers files.

    `base_url` ends in `/api`. Without arguments, GEOLATHE_URL and GEOLATHE_KEY are read from the
    environment. While the API is unreachable or answers with a server error, requests are repeated
    for `retry_seconds`; every request of this class is safe to repeat.
    """

    def __init__(
        self,
        base_url: str | None = None,
        key: str | None = None,
        *,
        retry_seconds: float = RETRY_SECONDS,
    ) -> None:
        url = _parse_url(base_url or os.environ.get("GEOLATHE_URL", ""))
        key = key or os.environ.get("GEOLATHE_KEY", "")
        if not re.fullmatch(r"[\x21-\x7e]*", key):
            raise Error("invalid function key: only visible ASCII characters are allowed")
        self.retry_seconds = retry_seconds
        # A proxy from the environment cannot reach services on this machine.
        use_proxy = url.host not in LOCAL_HOSTS
        self._api = httpx.Client(
            base_url=url, headers={"x-functions-key": key}, timeout=60, trust_env=use_proxy
        )
        timeout = httpx.Timeout(60, write=BLOCK_SECONDS)
        self._storage = httpx.Client(timeout=timeout, trust_env=use_proxy)

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
        """Close the connections. A `with` block does the same at its end."""
        self._api.close()
        self._storage.close()

    def submit(
        self,
        job_type: str,
        parameters: Mapping[str, Any] | None = None,
        *,
        idempotency_key: str | None = None,
        priority: str = "normal",
        **more: Any,
    ) -> Job:
        """Submit a job, or find the existing job with the same parameters and source.

        `more` is added to `parameters`. `Job.is_new` tells which of the two happened. Raises
        Refused when a parameter is invalid. The `priority`, "low", "normal" or "high", is the share
        of the workers that the job gets while others run, too.
        """
        key = {"Idempotency-Key": idempotency_key or uuid.uuid4().hex}
        body = {**(parameters or {}), **more}
        path = f"/jobs/submit/{quote(job_type, safe='')}?priority={quote(priority, safe='')}"
        response = self.post(path, body, key)
        job = self.show(response["job_id"])
        job.is_new = not response["idempotent"]
        return job

    def show(self, job_id: str) -> Job:
        """The job with this id. Raises Refused when there is none."""
        job = self.status(job_id)
        assert job is not None
        return job

    def status(self, job_id: str, wait: float = 0.0, etag: str = "") -> Job | None:
        """The job with this id, or None while its ETag is still `etag`.

        With `wait`, the response is delayed by up to that many seconds until the job changes.
        """
        headers = {"If-None-Match": etag} if etag else {}
        path = f"/jobs/status/{quote(job_id, safe='')}"
        response = self._request("GET", path, params={"wait": wait}, headers=headers)
        if response.status_code == 304:
            return None
        return Job(self, _read_json(response), response.headers.get("etag", ""))

    def jobs(self, status: str | None = None, job_type: str | None = None) -> Iterator[Job]:
        """All jobs, newest first, fetched page by page.

        `status` and `job_type` filter the list; several values are separated by commas.
        """
        given = {"status": status, "job_type": job_type}
        filters = {name: value for name, value in given.items() if value}
        return (Job(self, data) for data in self.pages("/jobs", "jobs", **filters))

    def cancel(self, job_id: str) -> Job:
        """Cancel a job and remove what it has written. Raises Refused when it has ended."""
        return self.show(job_id).cancel()

    def retry(self, job_id: str) -> Job:
        """Run the failed tasks of a job again. Raises Refused when no task has failed."""
        return self.show(job_id).retry()

    def types(self) -> list[dict[str, Any]]:
        """The job types: stages, JSON Schema of the parameters, an example."""
        return list(_read_json(self._request("GET", "/job-types"))["job_types"])

    def upload(
        self,
        file: str | os.PathLike[str],
        name: str | None = None,
        progress: Callable[[int, int], object] | None = None,
    ) -> dict[str, str]:
        """Upload a file to the bronze container, unless the blob already has the same content.

        `name` is the name of the blob, by default that of the file. `progress(sent, total)` is
        called with numbers of bytes. Returns the job parameters `container_name` and `blob_name`.
        """
        return upload_file(self, self._storage, Path(file), name, progress)

    def get(
        self,
        item_id: str,
        tier: str | None = None,
        *,
        collection: str = DEFAULT_COLLECTION,
        target: str | os.PathLike[str] | None = None,
        progress: Callable[[int, int], object] | None = None,
    ) -> Path:
        """Download a COG of a STAC item and verify its SHA-256 checksum.

        `tier` is `visualization`, `analysis` or `archive`; by default the COG that maps show is
        downloaded. `target` is a file or a directory, by default the current directory.
        `progress(received, total)` is called with numbers of bytes. Returns the path of the file.
        Raises Refused when the item or its tier does not exist. No partial file is left behind.
        """
        asset = self._find_asset(collection, item_id, tier)
        return download_asset(self._storage, asset, Path(target) if target else None, progress)

    def post(
        self, path: str, body: Any = None, headers: Mapping[str, str] | None = None
    ) -> dict[str, Any]:
        """Send a POST request with a JSON body and return the response. Raises Refused."""
        try:
            content = json.dumps(body, allow_nan=False, ensure_ascii=False).encode()
        except ValueError as error:
            raise Error(f"the parameters cannot be encoded as JSON: {error}") from None
        headers = {"content-type": "application/json", **(headers or {})}
        return _read_json(self._request("POST", path, content=content, headers=headers))

    def pages(self, path: str, name: str, **filters: Any) -> Iterator[dict[str, Any]]:
        """The entries of the list `name` of a paged route; pages are fetched when needed."""
        after: dict[str, Any] = {}
        while True:
            page = _read_json(self._request("GET", path, params={**filters, **after}))
            yield from page[name]
            if "next" not in page:
                return
            after = {"after": page["next"]}

    def _find_asset(self, collection: str, item_id: str, tier: str | None) -> dict[str, Any]:
        """The COG of a tier. The COG that maps show has the key `data`, whatever its tier is."""
        if tier is None:
            return self._asset(collection, item_id, MAIN_ASSET)
        try:
            return self._asset(collection, item_id, tier)
        except Refused as refused:
            if refused.code != "ASSET_NOT_FOUND":
                raise
            main = self._asset(collection, item_id, MAIN_ASSET)
            if not main["blob_name"].endswith(f"_cog_{tier}.tif"):
                raise
            return main

    def _asset(self, collection: str, item_id: str, key: str) -> dict[str, Any]:
        path = "/".join(quote(name, safe="") for name in (collection, item_id, "assets", key))
        return _read_json(self._request("GET", f"/items/{path}", params={"format": "json"}))

    def _request(self, method: str, path: str, **request: Any) -> httpx.Response:
        """Send a request, again while the API is unreachable or reports a server error."""
        deadline = time.monotonic() + self.retry_seconds
        response = self._send(method, path, **request)
        if isinstance(response, Error) and self.retry_seconds:
            logger.warning("%s; retrying for %g s", response, self.retry_seconds)
        while isinstance(response, Error):
            if time.monotonic() > deadline:
                raise response
            time.sleep(1)
            response = self._send(method, path, **request)
        return response

    def _send(self, method: str, path: str, **request: Any) -> httpx.Response | Error:
        """A response, or an error after which a retry makes sense. Raises Refused otherwise."""
        try:
            response = self._api.request(method, path, **request)
        except httpx.RequestError as error:
            return Unreachable(f"cannot reach {self._api.base_url}: {error}")
        if response.is_success or response.status_code == 304:
            return response
        refused = parse_refusal(response)
        if response.status_code < 500:
            raise refused
        return refused


def _parse_url(text: str) -> httpx.URL:
    """The API URL. Raises Unreachable when it is missing or invalid."""
    example = "set GEOLATHE_URL, for example to https://name.azurewebsites.net/api"
    if not text:
        raise Unreachable(f"API URL not set; {example}")
    try:
        url = httpx.URL(text)
    except httpx.InvalidURL as error:
        raise Unreachable(f"not a valid API URL: {text!r} ({error}); {example}") from None
    if url.scheme not in ("http", "https") or not re.fullmatch(r"[\w.:-]+", url.host):
        raise Unreachable(f"not a valid API URL: {text!r}; {example}")
    return url


def _read_json(response: httpx.Response) -> dict[str, Any]:
    """The JSON object in a response. Raises Error when there is none."""
    try:
        body = response.json()
    except ValueError:
        body = None
    if not isinstance(body, dict):
        url = response.url.copy_with(query=None)
        raise Error(f"the response of {url} is not JSON; GEOLATHE_URL is not a Geolathe API")
    return body
