"""JPEG 2000: boxes, tile-parts and the end marker (ISO/IEC 15444-1, annexes A and I)."""

from services.raster.structure.stored_file import Malformed, StoredFile, Truncated

_JP2 = b"\0\0\0\x0cjP  "
_SOC, _SOT, _EOC = b"\xff\x4f", b"\xff\x90", b"\xff\xd9"
_MARKER_BYTES = 2
_SOT_BYTES = 12
_MAX_PARTS = 1_000_000


def check_jpeg2000(file: StoredFile) -> None:
    """Raises Truncated when a box, a tile-part or the end of the codestream is missing."""
    if file.read(0, len(_JP2)) != _JP2:
        _check_codestream(file, 0, file.size, bounded=False)
        return
    offset, found = 0, False
    while offset < file.size:
        start, end, kind, bounded = _read_box(file, offset)
        if kind == b"jp2c":
            found = True
            _check_codestream(file, start, end, bounded)
        file.require(end)
        offset = end
    if not found:
        raise Truncated(8)


def _read_box(file: StoredFile, offset: int) -> tuple[int, int, bytes, bool]:
    """Where the content starts and ends, the type, and whether the box says its length."""
    length, kind = file.unpack(">I4s", offset)
    start = offset + 8
    if length == 1:
        (length,) = file.unpack(">Q", start)
        start += 8
    if length == 0:
        return start, file.size, kind, False
    if offset + length < start:
        raise Malformed(f"the box at byte {offset} has the impossible length {length}")
    return start, offset + length, kind, True


def _check_codestream(file: StoredFile, start: int, end: int, bounded: bool) -> None:
    offset = _skip_main_header(file, start)
    for _ in range(_MAX_PARTS):
        if bounded and offset == end:
            return  # Some encoders omit the end marker; the box says that this is the end.
        marker = file.read(offset, _MARKER_BYTES)
        if marker == _EOC:
            return
        if marker != _SOT:
            raise Malformed(f"there is no tile-part at byte {offset}")
        (length,) = file.unpack(">I", offset + 6)
        if length == 0:
            _check_open_end(file, end, bounded)
            return
        if length < _SOT_BYTES:
            raise Malformed(f"the tile-part at byte {offset} has the impossible length {length}")
        offset += length
        file.require(offset if bounded and offset == end else offset + _MARKER_BYTES)
    raise Malformed(f"there are more than {_MAX_PARTS} tile-parts")


def _skip_main_header(file: StoredFile, start: int) -> int:
    """The offset of the first tile-part."""
    if file.read(start, _MARKER_BYTES) != _SOC:
        raise Malformed(f"there is no JPEG 2000 codestream at byte {start}")
    offset = start + _MARKER_BYTES
    while (marker := file.read(offset, _MARKER_BYTES)) not in (_SOT, _EOC):
        (length,) = file.unpack(">H", offset + _MARKER_BYTES)
        if marker[0] != 0xFF or length < 2:
            raise Malformed(f"there is no marker segment at byte {offset}")
        offset += _MARKER_BYTES + int(length)
    return offset


def _check_open_end(file: StoredFile, end: int, bounded: bool) -> None:
    """The last tile-part may leave its length open: then the end marker ends it."""
    file.require(end)
    if not bounded and file.read(end - _MARKER_BYTES, _MARKER_BYTES) != _EOC:
        raise Truncated(_MARKER_BYTES)
