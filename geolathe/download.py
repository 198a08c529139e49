"""Downloads an asset of a STAC item and verifies its checksum."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, Any

import httpx

from geolathe.errors import Error, Unreachable, parse_refusal

Progress = Callable[[int, int], object]
SHA256_PREFIX = "1220"
"""Multihash prefix: SHA-256 (0x12) with 32 bytes (0x20). https://multiformats.io/multihash/"""


def download_asset(
    storage: httpx.Client, asset: Mapping[str, Any], target: Path | None, progress: Progress | None
) -> Path:
    """Download the file that `asset` describes, a response of the asset route. Returns its path.

    The file appears under its name only when it is complete and matches the checksum.
    """
    file = _choose_path(target, str(asset["blob_name"]))
    digest = _parse_checksum(asset.get("checksum"), file.name)
    try:
        with _partial_file(file) as partial:
            if _receive(storage, asset, partial, progress) != digest:
                raise Error(f"{asset['blob_name']} does not match its checksum; download it again")
    except OSError as error:
        raise Error(f"cannot write {file}: {error.strerror}") from None
    return file


def _choose_path(target: Path | None, blob_name: str) -> Path:
    """The path of the file; a directory gets the name of the blob."""
    name = PurePosixPath(blob_name).name
    if target is None:
        return Path(name)
    return target / name if target.is_dir() else target


def _parse_checksum(checksum: Any, name: str) -> str:
    """The SHA-256 in a `file:checksum`, in hexadecimal.

    https://github.com/stac-extensions/file#checksums
    """
    text = str(checksum or "").lower()
    if not text.startswith(SHA256_PREFIX) or len(text) != len(SHA256_PREFIX) + 64:
        raise Error(f"{name} has no SHA-256 checksum in its item; it cannot be verified")
    return text.removeprefix(SHA256_PREFIX)


@contextmanager
def _partial_file(file: Path) -> Iterator[IO[bytes]]:
    """A file in the same directory, which takes the place of `file` unless the block fails."""
    handle, name = tempfile.mkstemp(prefix=f".{file.name}.", suffix=".part", dir=file.parent)
    try:
        with os.fdopen(handle, "wb") as partial:
            yield partial
        Path(name).chmod(0o666 & ~_umask())
        Path(name).replace(file)
    finally:
        Path(name).unlink(missing_ok=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _receive(
    storage: httpx.Client, asset: Mapping[str, Any], partial: IO[bytes], progress: Progress | None
) -> str:
    """Write the content to `partial`. Returns its SHA-256 in hexadecimal."""
    digest, received = hashlib.sha256(), 0
    try:
        with storage.stream("GET", str(asset["url"])) as response:
            if not response.is_success:
                response.read()
                raise parse_refusal(response)
            for chunk in response.iter_bytes():
                partial.write(chunk)
                digest.update(chunk)
                received += len(chunk)
                if progress:
                    progress(received, int(asset["size"]))
    except httpx.TransportError as error:
        raise Unreachable(f"the download was interrupted: {error}; download it again") from None
    return digest.hexdigest()
