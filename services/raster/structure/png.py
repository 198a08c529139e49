"""PNG: the chunks up to IEND and the rows they hold, https://www.w3.org/TR/png-3/#5DataRep."""

import struct
import zlib

from services.raster.structure.stored_file import Malformed, StoredFile

_SIGNATURE_BYTES = 8
_CHUNK_OVERHEAD = 12
_PIECE = 2**20
_SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # by colour type
_ADAM7 = (
    (0, 0, 8, 8),
    (4, 0, 8, 8),
    (0, 4, 4, 8),
    (2, 0, 4, 4),
    (0, 2, 2, 4),
    (1, 0, 2, 2),
    (0, 1, 1, 2),
)


def check_png(file: StoredFile) -> None:
    """Check that no chunk and no row is missing or damaged.

    Raises Truncated without IEND, and Malformed for a chunk whose CRC is wrong and for image data
    that hold fewer rows than the header declares: GDAL fills those rows with noise.
    """
    rows: _Rows | None = None
    offset = _SIGNATURE_BYTES
    while True:
        if offset + _CHUNK_OVERHEAD > file.size:
            # At the least, the rest of this chunk's frame.
            file.require(offset + _CHUNK_OVERHEAD)
        size, kind = file.unpack(">I4s", offset)
        last = 0 if kind == b"IEND" else _CHUNK_OVERHEAD
        file.require(offset + _CHUNK_OVERHEAD + size + last)
        if kind == b"IHDR":
            rows = _Rows(_expected_bytes(file, offset + 8))
        _check_chunk(file, offset, size, kind, rows)
        if kind == b"IEND":
            break
        offset += _CHUNK_OVERHEAD + size
    if rows is None:
        raise Malformed("it has no IHDR chunk")
    rows.check_complete()


def _check_chunk(
    file: StoredFile, offset: int, size: int, kind: bytes, rows: "_Rows | None"
) -> None:
    crc = zlib.crc32(kind)
    start, end = offset + 8, offset + 8 + size
    while start < end:
        piece = file.read(start, min(_PIECE, end - start))
        crc = zlib.crc32(piece, crc)
        if kind == b"IDAT" and rows is not None:
            rows.feed(piece)
        start += len(piece)
    if struct.pack(">I", crc) != file.read(end, 4):
        name = kind.decode("ascii", "replace")
        raise Malformed(f"the {name} chunk at byte {offset} is damaged: its CRC does not match")


def _expected_bytes(file: StoredFile, offset: int) -> int:
    """Size of the uncompressed image data, https://www.w3.org/TR/png-3/#8Interlace."""
    width, height, depth, colour, _, _, interlace = file.unpack(">IIBBBBB", offset)
    bits = depth * _SAMPLES.get(colour, 1)
    passes = _ADAM7 if interlace else ((0, 0, 1, 1),)
    total = 0
    for left, top, across, down in passes:
        columns, rows = -(-(width - left) // across), -(-(height - top) // down)
        if columns > 0 and rows > 0:
            total += rows * (1 + -(-columns * bits // 8))
    return total


class _Rows:
    """Counts the bytes of the image data, without keeping them."""

    def __init__(self, expected: int) -> None:
        self._missing = expected
        self._damage = ""
        self._inflate = zlib.decompressobj()

    def feed(self, piece: bytes) -> None:
        try:
            while piece and self._missing > 0 and not self._damage:
                self._missing -= len(self._inflate.decompress(piece, _PIECE))
                piece = self._inflate.unconsumed_tail
        except zlib.error as error:
            self._damage = str(error)

    def check_complete(self) -> None:
        if self._damage:
            raise Malformed(f"its image data cannot be decompressed: {self._damage}")
        if self._missing > 0:
            raise Malformed(f"its image data end {self._missing} bytes before the last row")
