"""ERDAS IMAGINE: the tree of entries, and the blocks of each layer in the file or in an .ige file.

The layout is described in GDAL's frmts/hfa and in ERDAS's "IMAGINE .img files" (2001).
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from services.raster.structure.stored_file import ExternalReference, Malformed, StoredFile

_ENTRY = "<6I64s32s"
_BLOCKS = b"Edms_State"
_BLOCK = struct.Struct("<hIIhh")
_MAX_ENTRIES = 100_000
_MAX_BLOCKS = 20_000_000
_PIECE = 14 * 4096
_EXTERNAL = b"ImgExternalRaster"
_LAYER = struct.Struct("<iiHHii")
"""Width, height, layer type, pixel type, and width and height of a block (Eimg_Layer)."""
_LAYER_ENTRIES = (b"Eimg_Layer", b"Eimg_Layer_SubSample")
_PIXEL_BITS = (1, 2, 4, 8, 8, 16, 16, 32, 32, 32, 64, 64, 128)
_LONGEST_NAME = 1_000


@dataclass(frozen=True)
class _Entry:
    following: int
    parent: int
    child: int
    data: int
    size: int
    kind: bytes


def check_hfa(file: StoredFile) -> None:
    """Raises Truncated when an entry or a block ends past the end of the file."""
    (header,) = file.unpack("<I", 16)
    _, _, root, _, dictionary = file.unpack("<IIIHI", header)
    file.require(dictionary)
    for entry in _entries(file, root):
        file.require(entry.data + entry.size)
        if entry.kind == _BLOCKS and entry.size:
            _check_blocks(file, entry.data)


def check_hfa_blocks_file(file: StoredFile, blocks: StoredFile) -> None:
    """Check an .ige file, in which the layers of `file` keep their blocks.

    Raises Truncated when a layer ends past the end of `blocks`, Malformed for a layer that makes no
    sense, and ExternalReference for one that keeps its blocks in another folder.
    """
    (header,) = file.unpack("<I", 16)
    (_, _, root) = file.unpack("<III", header)
    for entry in _entries(file, root):
        if entry.kind == _EXTERNAL and entry.size:
            blocks.require(_find_end(file, entry))


def _find_end(file: StoredFile, entry: _Entry) -> int:
    """Where the blocks of a layer end, all layers of a stack being stored block by block."""
    length, _ = file.unpack("<II", entry.data)
    if length > _LONGEST_NAME:
        raise Malformed("is damaged: a layer's name of it is too long")
    if any(separator in file.read(entry.data + 8, length) for separator in b"/\\"):
        raise ExternalReference("is not where the raster's layers look for it: in another folder")
    start, layers = file.unpack("<QI", entry.data + 8 + length + 8)
    parent = _read_entry(file, entry.parent)
    if parent.kind not in _LAYER_ENTRIES:
        raise Malformed("is damaged: a part of it belongs to no layer")
    width, height, _, pixel, block_width, block_height = _LAYER.unpack(
        file.read(parent.data, _LAYER.size)
    )
    if min(width, height, block_width, block_height) < 1 or pixel >= len(_PIXEL_BITS):
        raise Malformed("is damaged: the size or type of a layer is not possible")
    count = -(-width // block_width) * -(-height // block_height)
    block = (block_width * block_height * _PIXEL_BITS[pixel] + 7) // 8
    return int(start + count * block * layers)


def _read_entry(file: StoredFile, offset: int) -> _Entry:
    following, _, parent, child, data, size, _, kind = file.unpack(_ENTRY, offset)
    return _Entry(following, parent, child, data, size, kind.split(b"\0")[0])


def _entries(file: StoredFile, root: int) -> Iterator[_Entry]:
    waiting, seen = [root], set[int]()
    while waiting:
        offset = waiting.pop()
        if offset == 0 or offset in seen:
            continue
        seen.add(offset)
        if len(seen) > _MAX_ENTRIES:
            raise Malformed(f"there are more than {_MAX_ENTRIES} entries")
        entry = _read_entry(file, offset)
        waiting += [entry.following, entry.child]
        yield entry


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
