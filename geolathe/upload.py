"""Uploads a file straight to Azure Storage, block by block.

https://learn.microsoft.com/rest/api/storageservices/put-block-list
"""

from __future__ import annotations

import base64
import hashlib
import os
import secrets
from collections.abc import Callable, Iterator
from io import BufferedReader
from pathlib import Path, PurePath
from typing import Any, Protocol

import httpx

from geolathe.errors import Error, Refused, Unreachable, parse_refusal

Progress = Callable[[int, int], object]
CHUNK = 2**16
APPENDED = (".aux.xml", ".msk", ".msk.ovr", ".ovr")
"""Endings of sidecars that follow the whole name of the raster: `a.tif.ovr`."""
REPLACED = (".aux", ".hdr", ".ige", ".prj", ".rrd", ".wld")
"""Endings of sidecars that replace the raster's own: `a.prj`."""
WORLD_FILES = {
    ".tif": (".tfw", ".tifw"),
    ".tiff": (".tfw", ".tiffw"),
    ".jp2": (".j2w", ".jp2w"),
    ".png": (".pgw", ".pngw"),
}
"""https://gdal.org/en/stable/drivers/raster/wld.html"""


class Api(Protocol):
    """The request that an upload makes through the client."""

    def post(self, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]: ...


def upload_file(
    client: Api, storage: httpx.Client, file: Path, name: str | None, progress: Progress | None
) -> dict[str, str]:
    """Upload a file unless the blob has the same content. Returns the parameters that name it."""
    try:
        return _upload(client, storage, file, name, progress)
    except OSError as error:
        raise Error(f"cannot read {file}: {error.strerror}") from None


def _upload(
    client: Api, storage: httpx.Client, file: Path, name: str | None, progress: Progress | None
) -> dict[str, str]:
    with _open(file) as content:
        size = os.fstat(content.fileno()).st_size
        if not size:
            raise Error(f"{file} is empty")
        md5 = base64.b64encode(hashlib.file_digest(content, "md5").digest()).decode()
        request = {"name": name or file.name, "size": size, "content_md5": md5}
        upload = BlockUpload(client, storage, request)
        if not upload.grant["is_there"]:
            content.seek(0)
            if upload.put_blocks(content, progress) != md5:
                raise Error(f"{file} changed during the upload; upload it again")
            upload.commit()
        elif progress:
            progress(size, size)
    return {key: upload.grant[key] for key in ("container_name", "blob_name")}


def _open(file: Path) -> BufferedReader:
    if file.is_dir():
        raise Error(f"{file} is a directory; name a file")
    if not file.is_file():
        raise Error(f"no such file: {file}")
    return file.open("rb")


def find_sidecars(file: Path) -> list[Path]:
    """The sidecars of a raster: masks, overviews, world files, projections in its directory."""
    names = sidecar_names(file.name)
    return sorted(other for other in file.parent.iterdir() if other.name.lower() in names)


def sidecar_names(name: str) -> set[str]:
    """The names, in lower case, under which GDAL looks for the sidecars of a raster."""
    name = name.lower()
    stem, suffix = PurePath(name).stem, PurePath(name).suffix
    names = {name + ending for ending in APPENDED}
    names |= {stem + ending for ending in (*REPLACED, *WORLD_FILES.get(suffix, ()))}
    return names - {name}


class BlockUpload:
    """One upload to a signed URL, which is requested again when it has expired."""

    def __init__(self, client: Api, storage: httpx.Client, request: dict[str, Any]) -> None:
        self._client = client
        self._storage = storage
        self._request = request
        self.grant = client.post("/uploads", request)
        # Uncommitted blocks belong to the blob: a random prefix separates concurrent uploads.
        self._prefix = secrets.token_hex(4)

    def put_blocks(self, content: BufferedReader, progress: Progress | None) -> str:
        """Upload all blocks, uncommitted. Returns the MD5 of what was sent, in Base64."""
        digest, sent = hashlib.md5(usedforsecurity=False), 0
        for block_id in self._block_ids():
            block = content.read(self.grant["block_size"])
            if not block:
                break
            digest.update(block)
            self._put(f"comp=block&{httpx.QueryParams(blockid=block_id)}", block, {})
            sent += len(block)
            if progress:
                progress(sent, self._request["size"])
        digest.update(content.read(1))
        return base64.b64encode(digest.digest()).decode()

    def commit(self) -> None:
        """Commit the block list, which makes the whole blob visible at once."""
        blocks = "".join(f"<Latest>{block_id}</Latest>" for block_id in self._block_ids())
        body = f'<?xml version="1.0" encoding="utf-8"?><BlockList>{blocks}</BlockList>'
        md5 = self._request["content_md5"]
        headers = {"x-ms-blob-content-md5": md5, "content-type": "text/plain"}
        try:
            self._put("comp=blocklist", body.encode(), headers)
        except Refused as refused:
            if "InvalidBlockList" not in str(refused):
                raise
            name = self._request["name"]
            raise Error(f"{name} was uploaded by another client meanwhile; upload again") from None

    def _block_ids(self) -> Iterator[str]:
        for number in range(-(-self._request["size"] // self.grant["block_size"])):
            yield base64.b64encode(f"{self._prefix}{number:06}".encode()).decode()

    def _put(self, query: str, body: bytes, headers: dict[str, str]) -> None:
        try:
            _put(self._storage, f"{self.grant['upload_url']}&{query}", body, headers)
        except Refused as refused:
            if refused.status != 403:
                raise
            self.grant = self._client.post("/uploads", self._request)
            _put(self._storage, f"{self.grant['upload_url']}&{query}", body, headers)


def _put(storage: httpx.Client, url: str, body: bytes, headers: dict[str, str]) -> None:
    """PUT with up to three attempts; repeating a block replaces it."""
    headers = headers | {"content-length": str(len(body))}
    for attempt in range(3):
        try:
            response = storage.put(url, content=_chunks(body), headers=headers)
        except httpx.TransportError as error:
            if attempt == 2:
                raise Unreachable(f"cannot reach the storage account: {error}") from None
            continue
        if response.is_success:
            return
        if response.status_code < 500 or attempt == 2:
            raise parse_refusal(response)


def _chunks(body: bytes) -> Iterator[bytes]:
    """The body in pieces: httpx keeps a request's content alive until it is garbage-collected."""
    for start in range(0, len(body), CHUNK):
        yield body[start : start + CHUNK]
