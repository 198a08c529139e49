"""TIFF and BigTIFF: where the strips and tiles of every directory end (TIFF 6.0, section 2)."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.raster.structure.stored_file import Malformed, StoredFile

_TYPE_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4,
               16: 8, 17: 8, 18: 8}  # fmt: skip
_BLOCKS = ((273, 279), (324, 325))
"""Offsets and byte counts of strips and of tiles."""
_SUB_DIRECTORIES = 330
_MAX_DIRECTORIES = 10_000
_PIECE = 2**20


@dataclass(frozen=True)
class _Entry:
    kind: int
    count: int
    offset: int


class _Layout:
    """The byte order, and the sizes that differ between TIFF and BigTIFF."""

    def __init__(self, head: bytes) -> None:
        self.order = "<" if head[:2] == b"II" else ">"
        big = head[2:4] in (b"+\0", b"\0+")
        self.first = 8 if big else 4
        self.word, self.word_bytes = ("Q", 8) if big else ("I", 4)
        self.counter, self.counter_bytes = ("Q", 8) if big else ("H", 2)
        self.entry = f"{self.order}HH{self.word}"
        self.entry_bytes = 4 + 2 * self.word_bytes


def check_tiff(file: StoredFile) -> None:
    """Raises Truncated when a directory or a block ends past the end of the file.

    Blocks without bytes are sparse. Only directories and their arrays are read, not the blocks.
    """
    layout = _Layout(file.read(0, 4))
    end = 0
    for entries in _directories(file, layout):
        for offsets, counts in _BLOCKS:
            if offsets in entries:
                end = max(end, _last_byte(file, layout, entries[offsets], entries.get(counts)))
    file.require(end)


def _directories(file: StoredFile, layout: _Layout) -> Iterator[dict[int, _Entry]]:
    waiting = [_word(file, layout, layout.first)]
    seen: set[int] = set()
    while waiting:
        offset = waiting.pop()
        if offset == 0 or offset in seen:
            continue
        seen.add(offset)
        if len(seen) > _MAX_DIRECTORIES:
            raise Malformed(f"there are more than {_MAX_DIRECTORIES} directories")
        entries, following = _read_directory(file, layout, offset)
        waiting.append(following)
        if _SUB_DIRECTORIES in entries:
            waiting += [int(v) for v in _values(file, layout, entries[_SUB_DIRECTORIES])]
        yield entries


def _read_directory(
    file: StoredFile, layout: _Layout, offset: int
) -> tuple[dict[int, _Entry], int]:
    (count,) = file.unpack(layout.order + layout.counter, offset)
    start = offset + layout.counter_bytes
    file.require(start + count * layout.entry_bytes + layout.word_bytes)
    entries = {}
    for place in range(start, start + count * layout.entry_bytes, layout.entry_bytes):
        tag, kind, number = file.unpack(layout.entry, place)
        value = place + 4 + layout.word_bytes
        if number * _TYPE_BYTES.get(kind, 1) > layout.word_bytes:
            value = _word(file, layout, value)
            file.require(value + number * _TYPE_BYTES.get(kind, 1))
        entries[tag] = _Entry(kind, number, value)
    return entries, _word(file, layout, start + count * layout.entry_bytes)


def _word(file: StoredFile, layout: _Layout, offset: int) -> int:
    (value,) = file.unpack(layout.order + layout.word, offset)
    return int(value)


def _last_byte(file: StoredFile, layout: _Layout, offsets: _Entry, counts: _Entry | None) -> int:
    """Where the last block with bytes ends; 0 when all are sparse."""
    starts = _values(file, layout, offsets)
    sizes = _values(file, layout, counts) if counts else np.ones(starts.size, dtype="uint64")
    common = min(starts.size, sizes.size)
    starts, sizes = starts[:common], sizes[:common]
    ends = (starts + sizes)[(starts > 0) & (sizes > 0)]
    return int(ends.max()) if ends.size else 0


def _values(file: StoredFile, layout: _Layout, entry: _Entry) -> NDArray[np.uint64]:
    size = _TYPE_BYTES.get(entry.kind, 0)
    if entry.kind not in (3, 4, 13, 16, 18):
        raise Malformed(f"offsets have the type {entry.kind}")
    total = entry.count * size
    pieces = [
        file.read(entry.offset + start, min(_PIECE, total - start))
        for start in range(0, total, _PIECE)
    ]
    return np.frombuffer(b"".join(pieces), f"{layout.order}u{size}").astype("uint64")
