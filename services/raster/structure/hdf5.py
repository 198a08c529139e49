"""HDF5: proof that a file names no other file.

A dataset may keep its values in other files (External Data Files), map them from other files
(virtual layout), and a group may link into other files (external link). The HDF5 library follows
all three. This module visits every object that the library can reach from the superblock and raises
ExternalReference for each of the three, and Malformed for a structure that it cannot follow to the
end. See the HDF5 File Format Specification, version 3.0, whose section numbers are given below.
"""

from collections.abc import Iterator

from services.raster.structure.hdf5_groups import Groups
from services.raster.structure.hdf5_superblock import Superblock, read_superblock
from services.raster.structure.stored_file import ExternalReference, Malformed, StoredFile

_MAX_OBJECTS = 100_000
_MAX_CHUNKS = 1_000
_LINK_INFO, _EXTERNAL_FILES, _LAYOUT, _LINK = 0x02, 0x07, 0x08, 0x06
_CONTINUATION, _SYMBOL_TABLE, _DRIVER = 0x10, 0x11, 0x14
_LAST_TYPE = 0x17
_DECIDING = (_LINK_INFO, _EXTERNAL_FILES, _LAYOUT, _LINK, _CONTINUATION, _SYMBOL_TABLE)
_SHARED = 2
_VIRTUAL = 3

_Message = tuple[int, bytes]
_Extent = tuple[int, int]


def check_hdf5_complete(file: StoredFile) -> None:
    """Raises Truncated when the file is shorter than its superblock says (sections II.A)."""
    file.require(read_superblock(file).end)


def check_hdf5_references(file: StoredFile) -> None:
    """Raises ExternalReference, or Malformed where that cannot be excluded."""
    superblock = read_superblock(file)
    groups = Groups(file, superblock)
    waiting = [superblock.root]
    if superblock.extension is not None:
        waiting.append(superblock.extension)
    if superblock.root_tree is not None:
        waiting += groups.members_of_tree(superblock.root_tree)
    seen: set[int] = set()
    while waiting:
        address = waiting.pop()
        if address in seen:
            continue
        seen.add(address)
        if len(seen) > _MAX_OBJECTS:
            raise Malformed(f"there are more than {_MAX_OBJECTS} objects")
        for message in _messages(file, superblock, address):
            waiting += _members(groups, message)


def _members(groups: Groups, message: _Message) -> list[int]:
    """The objects that a message links to."""
    kind, body = message
    if kind == _EXTERNAL_FILES:
        raise ExternalReference("a dataset keeps its values in other files")
    if kind == _DRIVER:
        raise ExternalReference("the file is one of several that belong together")
    if kind == _LAYOUT:
        _check_layout(body)
    if kind == _LINK:
        return groups.members_of_link(body)
    if kind == _LINK_INFO:
        return groups.members_of_heap(body)
    if kind == _SYMBOL_TABLE:
        return groups.members_of_tree(groups.address(body, 0))
    return []


def _check_layout(body: bytes) -> None:
    """IV.A.2.i: the class is the third byte in versions 1 and 2, the second from version 3 on."""
    version = body[0]
    if not 1 <= version <= 5:
        raise Malformed(f"a data layout has the unknown version {version}")
    layout = body[2] if version <= 2 else body[1]
    if layout == _VIRTUAL:
        raise ExternalReference("a virtual dataset maps values from other files")
    if layout > _VIRTUAL:
        raise Malformed(f"a data layout has the unknown class {layout}")


def _messages(file: StoredFile, superblock: Superblock, address: int) -> Iterator[_Message]:
    """The messages of an object header, with those of its continuation blocks (IV.A.1)."""
    start = superblock.base + address
    if file.read(start, 4) == b"OHDR":
        reader, extents = _read_version_2(file, start)
    else:
        reader, extents = _read_version_1(file, start)
    for number, extent in enumerate(_growing(extents)):
        if number >= _MAX_CHUNKS:
            raise Malformed(f"the object at byte {start} has too many continuation blocks")
        for kind, flags, body in reader.read(file, extent, number == 0):
            if kind > _LAST_TYPE or (flags & _SHARED and kind in _DECIDING):
                raise Malformed(f"the object at byte {start} has a message of unknown form")
            if kind == _CONTINUATION:
                place = superblock.base + superblock.address(body, 0)
                extents.append((place, superblock.length(body, superblock.address_bytes)))
            yield kind, body


def _growing(extents: list[_Extent]) -> Iterator[_Extent]:
    """Iterates over a list that the loop's body extends."""
    number = 0
    while number < len(extents):
        yield extents[number]
        number += 1


class _Reader:
    """How the messages of one object header are laid out."""

    def __init__(self, header_bytes: int, is_version_2: bool) -> None:
        self._header_bytes = header_bytes
        self._is_version_2 = is_version_2

    def read(
        self, file: StoredFile, extent: _Extent, is_first: bool
    ) -> Iterator[tuple[int, int, bytes]]:
        """Type, flags and body of each message of a block."""
        content = file.read(*extent)
        offset, end = 0, len(content)
        if self._is_version_2 and not is_first:
            if content[:4] != b"OCHK":
                raise Malformed(f"there is no continuation block at byte {extent[0]}")
            offset, end = 4, end - 4
        while offset + self._header_bytes <= end:
            kind, size, flags = self._head(content, offset)
            offset += self._header_bytes
            if offset + size > end:
                raise Malformed(f"a message at byte {extent[0] + offset} exceeds its block")
            yield kind, flags, content[offset : offset + size]
            offset += size

    def _head(self, content: bytes, offset: int) -> tuple[int, int, int]:
        if self._is_version_2:
            size = int.from_bytes(content[offset + 1 : offset + 3], "little")
            return content[offset], size, content[offset + 3]
        kind = int.from_bytes(content[offset : offset + 2], "little")
        size = int.from_bytes(content[offset + 2 : offset + 4], "little")
        return kind, size, content[offset + 4]


def _read_version_1(file: StoredFile, start: int) -> tuple[_Reader, list[_Extent]]:
    version, _, _, _, size = file.unpack("<BBHII", start)
    if version != 1:
        raise Malformed(f"there is no object header at byte {start}")
    return _Reader(8, is_version_2=False), [(start + 16, size)]


def _read_version_2(file: StoredFile, start: int) -> tuple[_Reader, list[_Extent]]:
    version, flags = file.unpack("<BB", start + 4)
    if version != 2:
        raise Malformed(f"the object header at byte {start} has the version {version}")
    offset = start + 6 + (16 if flags & 0x20 else 0) + (4 if flags & 0x10 else 0)
    width = 1 << (flags & 3)
    size = int.from_bytes(file.read(offset, width), "little")
    return _Reader(6 if flags & 4 else 4, is_version_2=True), [(offset + width, size)]
