"""The directories (IFDs) of TIFF files: reading those that GDAL wrote, and writing those of a COG.

TIFF 6.0, section 2, and for files of more than 4 GB BigTIFF:
https://www.awaresystems.be/imaging/tiff/bigtiff.html
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass

SUBFILE_TYPE, WIDTH, LENGTH, TILE_OFFSETS, TILE_SIZES = 254, 256, 257, 324, 325
CLASSIC_LIMIT = 2**32
"""The size in bytes from which a file is a BigTIFF."""

_REDUCED, _MASK = 1, 4
# Bytes per value, by field type.
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 16: 8}
_INTEGERS = {3: "H", 4: "I", 16: "Q"}
LONG, LONG8 = 4, 16


@dataclass(frozen=True)
class Field:
    """One field of a directory."""

    kind: int
    count: int
    raw: bytes
    """Its values, little-endian."""

    @classmethod
    def of(cls, kind: int, values: Sequence[int]) -> "Field":
        return cls(kind, len(values), struct.pack(f"<{len(values)}{_INTEGERS[kind]}", *values))

    @property
    def values(self) -> tuple[int, ...]:
        return struct.unpack(f"<{self.count}{_INTEGERS[self.kind]}", self.raw)


class Directory(dict[int, Field]):
    """The fields of one image of the file, by tag."""

    @property
    def is_mask(self) -> bool:
        return bool(self._subfile_type & _MASK)

    @property
    def is_overview(self) -> bool:
        return bool(self._subfile_type & _REDUCED)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows, columns."""
        return self[LENGTH].values[0], self[WIDTH].values[0]

    @property
    def _subfile_type(self) -> int:
        return self[SUBFILE_TYPE].values[0] if SUBFILE_TYPE in self else 0


def read_directories(data: bytes | memoryview) -> list[Directory]:
    """The directories of a little-endian classic TIFF, in the order of the file."""
    found: list[Directory] = []
    (at,) = struct.unpack_from("<I", data, 4)
    while at:
        (count,) = struct.unpack_from("<H", data, at)
        found.append(Directory(_read_field(data, at + 2 + 12 * n) for n in range(count)))
        (at,) = struct.unpack_from("<I", data, at + 2 + 12 * count)
    return found


def _read_field(data: bytes | memoryview, at: int) -> tuple[int, Field]:
    tag, kind, count = struct.unpack_from("<HHI", data, at)
    size, place = count * _SIZES[kind], at + 8
    if size > 4:
        (place,) = struct.unpack_from("<I", data, place)
    return tag, Field(kind, count, bytes(data[place : place + size]))


@dataclass(frozen=True)
class _Layout:
    """What differs between classic TIFF and BigTIFF."""

    head: bytes
    first: int
    """Where the offset of the first directory is."""
    offset: str
    count: str
    entry: str
    inline: int
    """Bytes of values that fit into an entry."""


_CLASSIC = _Layout(struct.pack("<2sHI", b"II", 42, 0), 4, "<I", "<H", "<HHI", 4)
_BIG = _Layout(struct.pack("<2sHHHQ", b"II", 43, 8, 0, 0), 8, "<Q", "<Q", "<HHQ", 8)


def write_header(directories: Sequence[Directory], ghost: bytes, *, big: bool) -> bytes:
    """The file up to its first tile: ghost area, directories, and the tables of the tiles last.

    Readers that fetch the first kilobytes so get all directories at once:
    https://gdal.org/en/stable/drivers/raster/cog.html#header-ghost-area
    """
    layout = _BIG if big else _CLASSIC
    out = bytearray(layout.head + ghost)
    out += bytes(len(out) % 2)
    tables: list[tuple[int, bytes]] = []
    link = layout.first
    for directory in directories:
        struct.pack_into(layout.offset, out, link, len(out))
        link = _write_directory(out, directory, layout, tables)
    for place, raw in tables:
        struct.pack_into(layout.offset, out, place, len(out))
        out += raw
    return bytes(out)


def _write_directory(
    out: bytearray, directory: Directory, layout: _Layout, tables: list[tuple[int, bytes]]
) -> int:
    """Append the directory. Returns the place of the link to the next one.

    Adds the places of the links to long tables of tiles, and the tables, to `tables`.
    """
    entry = struct.calcsize(layout.entry) + layout.inline
    at = len(out) + struct.calcsize(layout.count)
    link = at + entry * len(directory)
    out += struct.pack(layout.count, len(directory)) + bytes(link - at)
    out += bytes(struct.calcsize(layout.offset))
    for tag, field in sorted(directory.items()):
        struct.pack_into(layout.entry, out, at, tag, field.kind, field.count)
        place = at + entry - layout.inline
        if len(field.raw) <= layout.inline:
            out[place : place + len(field.raw)] = field.raw
        elif tag in (TILE_OFFSETS, TILE_SIZES):
            tables.append((place, field.raw))
        else:
            struct.pack_into(layout.offset, out, place, len(out))
            out += field.raw + bytes(len(field.raw) % 2)
        at += entry
    return link
