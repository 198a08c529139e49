"""Random access to the bytes of a file, on disk or behind a signed address."""

import struct
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Protocol

_PAGE = 64 * 1024
_MAX_PAGES = 256


class Truncated(Exception):
    """The file ends before its structure does."""

    def __init__(self, missing: int) -> None:
        super().__init__(f"at least {missing} bytes are missing")
        self.missing = missing


class Malformed(Exception):
    """The structure contradicts the format's specification."""


class ExternalReference(Exception):
    """The file refers to another file."""


class _Storage(Protocol):
    def fetch(self, offset: int, size: int) -> bytes: ...


class StoredFile:
    """A file of known size. Reading past its end raises Truncated."""

    def __init__(self, storage: _Storage, size: int) -> None:
        self._storage = storage
        self.size = size
        self._pages: dict[int, bytes] = {}

    def read(self, offset: int, size: int) -> bytes:
        """The bytes from `offset`. Small reads share a cache of pages."""
        self.require(offset + size)
        if size > _PAGE:
            return self._storage.fetch(offset, size)
        first, last = offset // _PAGE, (offset + max(size, 1) - 1) // _PAGE
        content = b"".join(self._page(number) for number in range(first, last + 1))
        start = offset - first * _PAGE
        return content[start : start + size]

    def unpack(self, form: str, offset: int) -> tuple[Any, ...]:
        """The values at `offset` in the notation of the struct module."""
        return struct.unpack(form, self.read(offset, struct.calcsize(form)))

    def require(self, end: int) -> None:
        """Raises Truncated unless the file has `end` bytes."""
        if end > self.size:
            raise Truncated(end - self.size)

    def _page(self, number: int) -> bytes:
        if number not in self._pages:
            if len(self._pages) >= _MAX_PAGES:
                self._pages.pop(next(iter(self._pages)))
            start = number * _PAGE
            self._pages[number] = self._storage.fetch(start, min(_PAGE, self.size - start))
        return self._pages[number]


class _LocalStorage:
    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def fetch(self, offset: int, size: int) -> bytes:
        self._file.seek(offset)
        return self._file.read(size)


class _RangedStorage:
    def __init__(self, address: str) -> None:
        self._address = address

    def fetch(self, offset: int, size: int) -> bytes:
        wanted = {"Range": f"bytes={offset}-{offset + size - 1}"}
        request = urllib.request.Request(self._address, headers=wanted)
        with urllib.request.urlopen(request, timeout=30) as reply:
            content: bytes = reply.read(size)
        if len(content) != size:
            raise ConnectionError(f"storage sent {len(content)} of {size} bytes")
        return content


@contextmanager
def open_stored(path: str, stored_bytes: int) -> Iterator[StoredFile]:
    """Open a local path, or a /vsicurl/ path of `stored_bytes` bytes."""
    if path.startswith("/vsicurl/"):
        yield StoredFile(_RangedStorage(path.removeprefix("/vsicurl/")), stored_bytes)
        return
    with Path(path).open("rb") as file:
        yield StoredFile(_LocalStorage(file), Path(path).stat().st_size)
