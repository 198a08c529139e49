"""PNG: the chain of chunks up to IEND, https://www.w3.org/TR/png-3/#5DataRep."""

import struct
import zlib

from services.raster.structure.stored_file import Malformed, StoredFile

_SIGNATURE_BYTES = 8
_CHUNK_OVERHEAD = 12
_PIECE = 2**20


def check_png(file: StoredFile) -> None:
    """Raises Truncated without IEND, and Malformed for a chunk whose CRC is wrong."""
    offset = _SIGNATURE_BYTES
    while True:
        if offset + _CHUNK_OVERHEAD > file.size:
            # At the least, the rest of this chunk's frame.
            file.require(offset + _CHUNK_OVERHEAD)
        size, kind = file.unpack(">I4s", offset)
        last = 0 if kind == b"IEND" else _CHUNK_OVERHEAD
        file.require(offset + _CHUNK_OVERHEAD + size + last)
        _check_crc(file, offset, size, kind)
        if kind == b"IEND":
            return
        offset += _CHUNK_OVERHEAD + size


def _check_crc(file: StoredFile, offset: int, size: int, kind: bytes) -> None:
    crc, start = 0, offset + 4
    end = start + 4 + size
    while start < end:
        piece = file.read(start, min(_PIECE, end - start))
        crc = zlib.crc32(piece, crc)
        start += len(piece)
    if struct.pack(">I", crc) != file.read(end, 4):
        name = kind.decode("ascii", "replace")
        raise Malformed(f"the {name} chunk at byte {offset} is damaged: its CRC does not match")
