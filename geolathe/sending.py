"""Sending a file straight to Azure Storage, block by block.

https://learn.microsoft.com/rest/api/storageservices/put-block-list
"""

from __future__ import annotations

import base64
import hashlib
import os
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
        grant = client.post(
            "/uploads", {"name": name or file.name, "size": size, "content_md5": md5}
        )
        if not grant["is_there"]:
            content.seek(0)
            sent = _send_blocks(storage, grant, content, size, progress)
            if sent != md5:
                raise Error(f"the file {file} changed while it was sent: send it again")
            _show_blocks(storage, grant, size, md5)
        elif progress:
            progress(size, size)
    return {key: grant[key] for key in ("container_name", "blob_name")}


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


def _send_blocks(
    storage: httpx.Client,
    grant: dict[str, Any],
    content: BufferedReader,
    size: int,
    progress: Progress | None,
) -> str:
    """The blocks, which nobody sees yet. Returns the MD5 of what was sent."""
    digest, sent = hashlib.md5(usedforsecurity=False), 0
    for block_id in _block_ids(grant, size):
        block = content.read(grant["block_size"])
        if not block:
            break
        digest.update(block)
        query = httpx.QueryParams(comp="block", blockid=block_id)
        _put(storage, f"{grant['upload_url']}&{query}", block, {})
        sent += len(block)
        if progress:
            progress(sent, size)
    digest.update(content.read(1))
    return base64.b64encode(digest.digest()).decode()


def _show_blocks(storage: httpx.Client, grant: dict[str, Any], size: int, md5: str) -> None:
    """Their list, which shows the blob at once and whole."""
    listed = "".join(f"<Latest>{block_id}</Latest>" for block_id in _block_ids(grant, size))
    body = f'<?xml version="1.0" encoding="utf-8"?><BlockList>{listed}</BlockList>'
    headers = {"x-ms-blob-content-md5": md5, "content-type": "text/plain"}
    _put(storage, f"{grant['upload_url']}&comp=blocklist", body.encode(), headers)


def _block_ids(grant: dict[str, Any], size: int) -> Iterator[str]:
    for number in range(-(-size // grant["block_size"])):
        yield base64.b64encode(f"{number:06}".encode()).decode()


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
        if answer.status_code == 403:
            late = "storage does not take the file any more: the permission for it has ended"
            raise Refused(f"{late}; send it again, for what has arrived is kept", 403)
        if answer.status_code < 500 or attempt == 2:
            raise refusal(answer)


def _pieces(body: bytes) -> Iterator[bytes]:
    """A request lives until garbage is collected; what it was made of should not."""
    for start in range(0, len(body), PIECE):
        yield body[start : start + PIECE]
