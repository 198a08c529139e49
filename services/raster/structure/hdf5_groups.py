"""The members of HDF5 groups, in each of the three ways in which groups store their links.

Old groups have a B-tree of symbol table nodes (File Format Specification III.A.1 and III.B); new
groups have link messages in their header (IV.A.2.g), or, when there are many, in a fractal heap
that B-trees of version 2 index (III.G and III.A.2).
"""

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass

from services.raster.structure.hdf5_superblock import Superblock
from services.raster.structure.stored_file import ExternalReference, Malformed, StoredFile

_HARD, _SOFT, _EXTERNAL = 0, 1, 64
_CACHED_TREE = 1
_MAX_NODES = 100_000
_MAX_LINK_BYTES = 64 * 1024
_MANAGED = 0
_HEAP_ID_OFFSETS = {5: 4, 6: 8}
"""Where the heap ID begins in a record, by the B-tree's type: by name, by creation order."""


@dataclass(frozen=True)
class _Heap:
    """A fractal heap: where each direct block lies, by its offset in the heap."""

    id_bytes: int
    offset_bytes: int
    starts: list[int]
    places: list[tuple[int, int]]
    """Address in the file, and size."""


class Groups:
    """Reads the links of groups."""

    def __init__(self, file: StoredFile, superblock: Superblock) -> None:
        self._file = file
        self._superblock = superblock
        self._nodes = 0

    def address(self, content: bytes, offset: int) -> int:
        """An address within a message."""
        return self._superblock.address(content, offset)

    def members_of_tree(self, address: int) -> list[int]:
        """The object headers in a symbol table. It has no external links."""
        found: list[int] = []
        waiting, seen = [address], {self._superblock.undefined}
        while waiting:
            place = waiting.pop()
            if place in seen:
                continue
            seen.add(place)
            self._count_node()
            if self._read(place, 4) == b"SNOD":
                objects, trees = self._symbols(place)
                found += objects
                waiting += trees
            else:
                waiting += self._children(place)
        return found

    def _children(self, place: int) -> list[int]:
        """The children and siblings of a B-tree node, which must be of a group."""
        width, length = self._superblock.address_bytes, self._superblock.length_bytes
        head = self._read(place, 8 + 2 * width)
        if head[:5] != b"TREE\0":
            raise Malformed("a group has no B-tree of version 1")
        used = int.from_bytes(head[6:8], "little")
        body = self._read(place + len(head), used * (length + width))
        siblings = [self.address(head, 8), self.address(head, 8 + width)]
        return siblings + [self.address(body, n * (length + width) + length) for n in range(used)]

    def _symbols(self, place: int) -> tuple[list[int], list[int]]:
        """The objects of a symbol table node, and the B-trees whose addresses it caches."""
        width = self._superblock.address_bytes
        count = int.from_bytes(self._read(place + 6, 2), "little")
        size = 2 * width + 24
        content = self._read(place + 8, count * size)
        objects, trees = [], []
        for start in range(0, count * size, size):
            objects.append(self.address(content, start + width))
            cache = int.from_bytes(content[start + 2 * width : start + 2 * width + 4], "little")
            if cache == _CACHED_TREE:
                trees.append(self.address(content, start + 2 * width + 8))
            elif cache > 2:
                raise Malformed(f"a symbol has the unknown cache type {cache}")
        soft = self._superblock.undefined
        return [found for found in objects if found != soft], trees

    def members_of_link(self, body: bytes) -> list[int]:
        """The object header that a link message names; none for a soft link."""
        if len(body) < 3 or body[0] != 1:
            raise Malformed("a link has an unknown version")
        flags, offset, kind = body[1], 2, _HARD
        if flags & 8:
            kind, offset = body[2], 3
        offset += (8 if flags & 4 else 0) + (1 if flags & 16 else 0)
        width = 1 << (flags & 3)
        offset += width + int.from_bytes(body[offset : offset + width], "little")
        if kind == _EXTERNAL:
            raise ExternalReference("a group links into another file")
        if kind == _SOFT:
            return []
        if kind != _HARD:
            raise Malformed(f"a link has the unknown type {kind}")
        return [self.address(body, offset)]

    def members_of_heap(self, body: bytes) -> list[int]:
        """The object headers in dense storage, from both indexes of a link info message."""
        width = self._superblock.address_bytes
        start = 2 + (8 if body[1] & 1 else 0)
        heap = self.address(body, start)
        indexes = [self.address(body, start + width)]
        if body[1] & 2:
            indexes.append(self.address(body, start + 2 * width))
        undefined = self._superblock.undefined
        if heap == undefined:
            if any(index != undefined for index in indexes):
                raise Malformed("a group has an index without a heap")
            return []
        storage = self._read_heap(heap)
        records = (r for index in indexes if index != undefined for r in self._records(index))
        return [member for record in records for member in self._member(storage, record)]

    def _member(self, heap: _Heap, identifier: bytes) -> list[int]:
        if len(identifier) < heap.id_bytes or identifier[0] != _MANAGED:
            raise Malformed("a link is not an ordinary object of its heap")
        offset = int.from_bytes(identifier[1 : 1 + heap.offset_bytes], "little")
        block = bisect_right(heap.starts, offset) - 1
        if block < 0:
            raise Malformed("a link lies outside its heap")
        address, size = heap.places[block]
        within = offset - heap.starts[block]
        if within >= size:
            raise Malformed("a link lies outside its heap")
        return self.members_of_link(
            self._read(address + within, min(size - within, _MAX_LINK_BYTES))
        )

    def _read_heap(self, address: int) -> _Heap:
        width, length = self._superblock.address_bytes, self._superblock.length_bytes
        head = self._read(address, 22 + 12 * length + 3 * width)
        if head[:5] != b"FRHP\0":
            raise Malformed("a group has no fractal heap")
        id_bytes, filters = (int.from_bytes(head[n : n + 2], "little") for n in (5, 7))
        huge = self._superblock.length(head, 14 + 6 * length + 2 * width)
        huge_objects = self._superblock.length(head, 14 + 7 * length + 2 * width)
        tiny_objects = self._superblock.length(head, 14 + 9 * length + 2 * width)
        if filters or huge or huge_objects or tiny_objects:
            raise Malformed("a group has links in compressed, huge or tiny objects")
        table = _Table.read(head[14 + 10 * length + 2 * width :], self._superblock)
        blocks = sorted(self._blocks(table, table.root, 0, table.rows))
        return _Heap(
            id_bytes,
            table.offset_bytes,
            [start for start, _, _ in blocks],
            [(place, size) for _, place, size in blocks],
        )

    def _blocks(
        self, table: "_Table", address: int, start: int, rows: int
    ) -> Iterator[tuple[int, int, int]]:
        """Heap offset, address and size of each direct block below a block of the table."""
        if address == self._superblock.undefined:
            return
        self._count_node()
        if rows == 0:
            self._expect(address, b"FHDB")
            yield start, address, table.row_bytes(0)
            return
        self._expect(address, b"FHIB")
        width = self._superblock.address_bytes
        entry = address + 5 + width + table.offset_bytes
        for row in range(rows):
            for column in range(table.width):
                child = self.address(self._read(entry, width), 0)
                entry += width
                offset = start + table.row_start(row) + column * table.row_bytes(row)
                if child == self._superblock.undefined:
                    continue
                if row < table.direct_rows:
                    self._expect(child, b"FHDB")
                    yield offset, child, table.row_bytes(row)
                else:
                    yield from self._blocks(table, child, offset, table.rows_below(row))

    def _records(self, address: int) -> Iterator[bytes]:
        """The heap IDs in a B-tree of version 2."""
        width = self._superblock.address_bytes
        head = self._read(address, 18 + width)
        if head[:5] != b"BTHD\0" or head[5] not in _HEAP_ID_OFFSETS:
            raise Malformed("a group has no B-tree of version 2")
        size = int.from_bytes(head[10:12], "little")
        shape = _TreeShape(int.from_bytes(head[6:10], "little"), size, width)
        depth = int.from_bytes(head[12:14], "little")
        root, count = self.address(head, 16), int.from_bytes(self._read(address + 16 + width, 2),
                                                             "little")  # fmt: skip
        skipped = _HEAP_ID_OFFSETS[head[5]]
        if root != self._superblock.undefined:
            for record in self._node(shape, root, count, depth):
                yield record[skipped:]

    def _node(self, shape: "_TreeShape", address: int, count: int, depth: int) -> Iterator[bytes]:
        self._count_node()
        self._expect(address, b"BTIN" if depth else b"BTLF")
        content = self._read(address + 6, count * shape.record_bytes)
        for start in range(0, len(content), shape.record_bytes):
            yield content[start : start + shape.record_bytes]
        if not depth:
            return
        pointer = shape.pointer_bytes(depth)
        pointers = self._read(address + 6 + len(content), (count + 1) * pointer)
        width = self._superblock.address_bytes
        for start in range(0, len(pointers), pointer):
            number = pointers[start + width : start + width + shape.count_bytes]
            child = self.address(pointers, start)
            yield from self._node(shape, child, int.from_bytes(number, "little"), depth - 1)

    def _expect(self, address: int, signature: bytes) -> None:
        if self._read(address, 4) != signature:
            raise Malformed(f"there is no {signature.decode()} at address {address}")

    def _read(self, address: int, size: int) -> bytes:
        return self._file.read(self._superblock.base + address, size)

    def _count_node(self) -> None:
        self._nodes += 1
        if self._nodes > _MAX_NODES:
            raise Malformed(f"the groups have more than {_MAX_NODES} nodes")


@dataclass(frozen=True)
class _Table:
    """The doubling table of a fractal heap: the first two rows have blocks of the first size."""

    width: int
    first: int
    largest: int
    offset_bytes: int
    root: int
    rows: int

    @classmethod
    def read(cls, content: bytes, superblock: Superblock) -> "_Table":
        length, address = superblock.length_bytes, superblock.address_bytes
        bits = int.from_bytes(content[2 + 2 * length : 4 + 2 * length], "little")
        root = 6 + 2 * length
        table = cls(
            width=int.from_bytes(content[:2], "little"),
            first=superblock.length(content, 2),
            largest=superblock.length(content, 2 + length),
            offset_bytes=-(-bits // 8),
            root=superblock.address(content, root),
            rows=int.from_bytes(content[root + address : root + address + 2], "little"),
        )
        if not (table.width and table.first and table.largest >= table.first and table.rows < 64):
            raise Malformed("a fractal heap has an impossible shape")
        return table

    @property
    def direct_rows(self) -> int:
        return (self.largest // self.first).bit_length() + 1

    def row_bytes(self, row: int) -> int:
        """The size of each block of a row."""
        return self.first << max(row - 1, 0)

    def row_start(self, row: int) -> int:
        """The offset of a row in its table."""
        return self.width * self.row_bytes(row) if row else 0

    def rows_below(self, row: int) -> int:
        """The rows of the indirect blocks in a row."""
        return (self.row_bytes(row) // (self.width * self.first)).bit_length()


@dataclass(frozen=True)
class _TreeShape:
    """The sizes in the nodes of a B-tree of version 2, which depend on the level."""

    node_bytes: int
    record_bytes: int
    address_bytes: int

    @property
    def count_bytes(self) -> int:
        """The width of a child's record count."""
        return _bytes_for(self._records_in(0)[0])

    def pointer_bytes(self, depth: int) -> int:
        """The size of a child pointer in a node at this depth."""
        below = self._records_in(depth - 1)[1]
        return self.address_bytes + self.count_bytes + (_bytes_for(below) if depth > 1 else 0)

    def _records_in(self, depth: int) -> tuple[int, int]:
        """How many records a node can have, and with all nodes below it."""
        if not self.record_bytes or self.node_bytes < 64 or depth > 8:
            raise Malformed("a B-tree has an impossible shape")
        if depth == 0:
            most = (self.node_bytes - 10) // self.record_bytes
            return most, most
        pointer = self.pointer_bytes(depth)
        most = (self.node_bytes - 10 - pointer) // (self.record_bytes + pointer)
        return most, (most + 1) * self._records_in(depth - 1)[1] + most


def _bytes_for(limit: int) -> int:
    """H5VM_limit_enc_size()."""
    return max(limit.bit_length() - 1, 0) // 8 + 1
