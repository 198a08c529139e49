"""Sending a file straight to Azure Storage, block by block.

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

from geolathe.errors import Error, Refused, Unreachable, refusal

Progress = Callable[[int, int], object]
PIECE = 2**16
WORLD_SUFFIXES = {".tif": ".tfw", ".tiff": ".tfw", ".jp2": ".j2w", ".png": ".pgw", ".img": ".igw"}


class Poster(Protocol):
    """Whoever can ask for the grant."""

    def post(self, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]: ...


def send_file(
    client: Poster, storage: httpx.Client, file: Path, name: str | None, progress: Progress | None
) -> dict[str, str]:
    """Send the file unless its bytes are there. Returns the parameters that name it."""
    try:
        return _send(client, storage, file, name, progress)
    except OSError as error:
        raise Error(f"{file} cannot be read: {error.strerror}") from None


def _send(
    client: Poster, storage: httpx.Client, file: Path, name: str | None, progress: Progress | None
) -> dict[str, str]:
    with _opened(file) as content:
        size = os.fstat(content.fileno()).st_size
        if not size:
            raise Error(f"the file {file} is empty")
        md5 = base64.b64encode(hashlib.file_digest(content, "md5").digest()).decode()
        wanted = {"name": name or file.name, "size": size, "content_md5": md5}
        sending = Sending(client, storage, wanted)
        if not sending.grant["is_there"]:
            content.seek(0)
            if sending.send_blocks(content, progress) != md5:
                raise Error(f"the file {file} changed while it was sent: send it again")
            sending.show_blocks()
        elif progress:
            progress(size, size)
    return {key: sending.grant[key] for key in ("container_name", "blob_name")}


def _opened(file: Path) -> BufferedReader:
    if file.is_dir():
        raise Error(f"{file} is a folder: name a file in it")
    if not file.is_file():
        raise Error(f"there is no file {file}")
    return file.open("rb")


def find_sidecars(file: Path) -> list[Path]:
    """The files beside a raster that belong to it: masks, world files, projections."""
    wanted = sidecar_names(file.name)
    return sorted(other for other in file.parent.iterdir() if other.name.lower() in wanted)


def sidecar_names(name: str) -> set[str]:
    """The names, in lower case, under which GDAL looks for what belongs to a raster."""
    name = name.lower()
    stem, suffix = PurePath(name).stem, PurePath(name).suffix
    names = {f"{name}{end}" for end in (".aux.xml", ".msk", ".ovr")}
    names |= {f"{stem}{end}" for end in (".aux.xml", ".wld", ".prj", f"{suffix}w")}
    if suffix in WORLD_SUFFIXES:
        names.add(f"{stem}{WORLD_SUFFIXES[suffix]}")
    return names - {name}


class Sending:
    """A file on its way to storage, at an address that is asked for again when its time is over."""

    def __init__(self, client: Poster, storage: httpx.Client, wanted: dict[str, Any]) -> None:
        self._client = client
        self._storage = storage
        self._wanted = wanted
        self.grant = client.post("/uploads", wanted)
        # Blocks belong to the blob, not to who sends them: ids of one's own keep them apart.
        self._own = secrets.token_hex(4)

    def send_blocks(self, content: BufferedReader, progress: Progress | None) -> str:
        """The blocks, which nobody sees yet. Returns the MD5 of what was sent."""
        digest, sent = hashlib.md5(usedforsecurity=False), 0
        for block_id in self._block_ids():
            block = content.read(self.grant["block_size"])
            if not block:
                break
            digest.update(block)
            self._put(f"comp=block&{httpx.QueryParams(blockid=block_id)}", block, {})
            sent += len(block)
            if progress:
                progress(sent, self._wanted["size"])
        digest.update(content.read(1))
        return base64.b64encode(digest.digest()).decode()

    def show_blocks(self) -> None:
        """Their list, which shows the blob at once and whole."""
        listed = "".join(f"<Latest>{block_id}</Latest>" for block_id in self._block_ids())
        body = f'<?xml version="1.0" encoding="utf-8"?><BlockList>{listed}</BlockList>'
        md5 = self._wanted["content_md5"]
        headers = {"x-ms-blob-content-md5": md5, "content-type": "text/plain"}
        try:
            self._put("comp=blocklist", body.encode(), headers)
        except Refused as refused:
            if "InvalidBlockList" not in str(refused):
                raise
            name = self._wanted["name"]
            raise Error(f"somebody else sent {name} at the same time: send it again") from None

    def _block_ids(self) -> Iterator[str]:
        for number in range(-(-self._wanted["size"] // self.grant["block_size"])):
            yield base64.b64encode(f"{self._own}{number:06}".encode()).decode()

    def _put(self, query: str, body: bytes, headers: dict[str, str]) -> None:
        try:
            _put(self._storage, f"{self.grant['upload_url']}&{query}", body, headers)
        except Refused as refused:
            if refused.status != 403:
                raise
            self.grant = self._client.post("/uploads", self._wanted)
            _put(self._storage, f"{self.grant['upload_url']}&{query}", body, headers)


def _put(storage: httpx.Client, url: str, body: bytes, headers: dict[str, str]) -> None:
    """PUT, three times at most: the same block twice is one block."""
    headers = headers | {"content-length": str(len(body))}
    for attempt in range(3):
        try:
            answer = storage.put(url, content=_pieces(body), headers=headers)
        except httpx.TransportError as error:
            if attempt == 2:
                raise Unreachable(f"storage does not answer: {error}") from None
            continue
        if answer.is_success:
            return
        if answer.status_code < 500 or attempt == 2:
            raise refusal(answer)


def _pieces(body: bytes) -> Iterator[bytes]:
    """A request lives until garbage is collected; what it was made of should not."""
    for start in range(0, len(body), PIECE):
        yield body[start : start + PIECE]
