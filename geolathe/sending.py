"""Sending a file straight to Azure Storage, block by block.

https://learn.microsoft.com/rest/api/storageservices/put-block-list
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable
from pathlib import Path, PurePath
from typing import Any, Protocol

import httpx

from geolathe.errors import Error, Unreachable, refusal

Progress = Callable[[int, int], object]
WORLD_SUFFIXES = {".tif": ".tfw", ".tiff": ".tfw", ".jp2": ".j2w", ".png": ".pgw", ".img": ".igw"}


class Poster(Protocol):
    """Whoever can ask for the grant."""

    def post(self, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]: ...


def send_file(
    client: Poster, storage: httpx.Client, file: Path, name: str | None, progress: Progress | None
) -> dict[str, str]:
    """Send the file unless its bytes are there. Returns the parameters that name it."""
    if not file.is_file():
        raise Error(f"there is no file {file}")
    size = file.stat().st_size
    with file.open("rb") as content:
        md5 = base64.b64encode(hashlib.file_digest(content, "md5").digest()).decode()
    wanted = {"name": name or file.name, "size": size, "content_md5": md5}
    grant = client.post("/uploads", wanted)
    if not grant["is_there"]:
        _send_blocks(storage, grant, file, md5, progress or (lambda sent, total: None))
    elif progress:
        progress(size, size)
    return {key: grant[key] for key in ("container_name", "blob_name")}


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
    storage: httpx.Client, grant: dict[str, Any], file: Path, md5: str, progress: Progress
) -> None:
    """The blocks, and then their list, which shows the blob at once and whole."""
    url, total, sent = grant["upload_url"], file.stat().st_size, 0
    ids: list[str] = []
    with file.open("rb") as content:
        while block := content.read(grant["block_size"]):
            ids.append(base64.b64encode(f"{len(ids):06}".encode()).decode())
            query = httpx.QueryParams(comp="block", blockid=ids[-1])
            _put(storage, f"{url}&{query}", block, {})
            sent += len(block)
            progress(sent, total)
    listed = "".join(f"<Latest>{block_id}</Latest>" for block_id in ids)
    body = f'<?xml version="1.0" encoding="utf-8"?><BlockList>{listed}</BlockList>'
    headers = {"x-ms-blob-content-md5": md5, "content-type": "text/plain"}
    _put(storage, f"{url}&comp=blocklist", body.encode(), headers)


def _put(storage: httpx.Client, url: str, body: bytes, headers: dict[str, str]) -> None:
    """PUT, three times at most: the same block twice is one block."""
    for attempt in range(3):
        try:
            answer = storage.put(url, content=body, headers=headers)
        except httpx.TransportError as error:
            if attempt == 2:
                raise Unreachable(f"storage does not answer: {error}") from None
            continue
        if answer.is_success:
            return
        if answer.status_code < 500 or attempt == 2:
            raise refusal(answer)
