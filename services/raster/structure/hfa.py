"""ERDAS IMAGINE: the tree of entries and the blocks of each layer.

The layout is described in GDAL's frmts/hfa and in ERDAS's "IMAGINE .img files" (2001).
"""

import struct
from collections.abc import Iterator

from services.raster.structure.stored_file import Malformed, StoredFile

_ENTRY = "<6I64s32s"
_BLOCKS = b"Edms_State"
_BLOCK = struct.Struct("<hIIhh")
_MAX_ENTRIES = 100_000
_MAX_BLOCKS = 20_000_000
_PIECE = 14 * 4096


def check_hfa(file: StoredFile) -> None:
    """Raises Truncated when an entry or a block ends past the end of the file."""
    (header,) = file.unpack("<I", 16)
    _, _, root, _, dictionary = file.unpack("<IIIHI", header)
    file.require(dictionary)
    for kind, data, size in _entries(file, root):
        file.require(data + size)
        if kind == _BLOCKS and size:
            _check_blocks(file, data)


def _entries(file: StoredFile, root: int) -> Iterator[tuple[bytes, int, int]]:
    """The type, data offset and data size of every entry."""
    waiting, seen = [root], set[int]()
    while waiting:
        offset = waiting.pop()
        if offset == 0 or offset in seen:
            continue
        seen.add(offset)
        if len(seen) > _MAX_ENTRIES:
            raise Malformed(f"there are more than {_MAX_ENTRIES} entries")
        following, _, _, child, data, size, _, kind = file.unpack(_ENTRY, offset)
        waiting += [following, child]
        yield kind.split(b"\0")[0], data, size


def _check_blocks(file: StoredFile, data: int) -> None:
    (count,) = file.unpack("<I", data + 14)
    if count > _MAX_BLOCKS:
        raise Malformed(f"a layer has {count} blocks")
    start, end = data + 22, data + 22 + count * _BLOCK.size
    file.require(end)
    for offset in range(start, end, _PIECE):
        content = file.read(offset, min(_PIECE, end - offset))
        for _, place, size, valid, _ in _BLOCK.iter_unpack(content):
            if valid:
                file.require(place + size)
