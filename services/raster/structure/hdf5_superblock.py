"""The superblock of an HDF5 file (File Format Specification, section II.A)."""

from dataclasses import dataclass

from services.raster.structure.stored_file import Malformed, StoredFile

_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_CACHED_TREE = 1


@dataclass(frozen=True)
class Superblock:
    """Addresses are relative to `base`."""

    base: int
    end: int
    """The size of the file, with its user block."""
    root: int
    root_tree: int | None
    """The B-tree of the root group, where the superblock caches its address."""
    extension: int | None
    address_bytes: int
    length_bytes: int

    @property
    def undefined(self) -> int:
        """The address that means none."""
        return _undefined(self.address_bytes)

    def address(self, content: bytes, offset: int) -> int:
        """An address within the content of a message or block."""
        return _integer(content, offset, self.address_bytes)

    def length(self, content: bytes, offset: int) -> int:
        """A length within the content of a message or block."""
        return _integer(content, offset, self.length_bytes)


def find_superblock(file: StoredFile) -> int | None:
    """Where the superblock begins. The library looks at byte 0, 512, 1024 and so on."""
    offset = 0
    while offset + len(_SIGNATURE) <= file.size:
        if file.read(offset, len(_SIGNATURE)) == _SIGNATURE:
            return offset
        offset = offset * 2 or 512
    return None


def read_superblock(file: StoredFile) -> Superblock:
    """The superblock, which follows the user block. Raises Malformed where there is none."""
    offset = find_superblock(file)
    if offset is None:
        raise Malformed("there is no HDF5 superblock")
    version = file.read(offset + 8, 1)[0]
    if version <= 1:
        found = _read_version_0(file, offset, version)
    elif version <= 3:
        found = _read_version_2(file, offset)
    else:
        raise Malformed(f"the superblock has the unknown version {version}")
    if found.base != offset:
        raise Malformed(f"the base address {found.base} is not that of the superblock")
    return found


def _read_version_0(file: StoredFile, offset: int, version: int) -> Superblock:
    width, length = file.unpack("<BB", offset + 13)
    _check_widths(width, length)
    start = offset + (24 if version == 0 else 28)
    content = file.read(start, 4 * width + 2 * width + 24)
    base, _, end, driver = (_integer(content, n * width, width) for n in range(4))
    if driver != _undefined(width):
        raise Malformed("the superblock names a file driver")
    entry = 4 * width
    root = _integer(content, entry + width, width)
    cache = _integer(content, entry + 2 * width, 4)
    tree = _integer(content, entry + 2 * width + 8, width) if cache == _CACHED_TREE else None
    return Superblock(base, end, root, tree, None, width, length)


def _read_version_2(file: StoredFile, offset: int) -> Superblock:
    width, length = file.unpack("<BB", offset + 9)
    _check_widths(width, length)
    content = file.read(offset + 12, 4 * width)
    base, extension, end, root = (_integer(content, n * width, width) for n in range(4))
    known = None if extension == _undefined(width) else extension
    return Superblock(base, end, root, None, known, width, length)


def _check_widths(address_bytes: int, length_bytes: int) -> None:
    if not {address_bytes, length_bytes} <= {2, 4, 8}:
        raise Malformed(f"addresses have {address_bytes} and lengths {length_bytes} bytes")


def _undefined(width: int) -> int:
    return (1 << 8 * width) - 1


def _integer(content: bytes, offset: int, width: int) -> int:
    if offset + width > len(content):
        raise Malformed("a message or block is too short for its content")
    return int.from_bytes(content[offset : offset + width], "little")
