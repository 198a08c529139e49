"""Classic NetCDF: the size that the header implies.

https://docs.unidata.ucar.edu/netcdf-c/current/file_format_specifications.html
"""

import math
from dataclasses import dataclass

from services.raster.structure.stored_file import Malformed, StoredFile

_TYPE_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 4, 6: 8, 7: 1, 8: 2, 9: 4, 10: 8, 11: 8}
_DIMENSIONS, _VARIABLES, _ATTRIBUTES = 10, 11, 12
_STREAMING = {4: 2**32 - 1, 8: 2**64 - 1}
_MAX_ENTRIES = 100_000


@dataclass(frozen=True)
class _Variable:
    begin: int
    shape: tuple[int, ...]
    """Without the record dimension."""
    is_record: bool
    item_bytes: int

    @property
    def size(self) -> int:
        """In bytes: of the whole variable, or of one record."""
        return math.prod(self.shape) * self.item_bytes


def check_netcdf_classic(file: StoredFile) -> None:
    """Raises Truncated when the file is shorter than its variables."""
    header = _Header(file)
    variables = header.read()
    fixed = [v.begin + v.size for v in variables if not v.is_record and v.size]
    records = [v for v in variables if v.is_record]
    last = header.records - 1
    stride = _record_bytes(records)
    reached = [v.begin + last * stride + v.size for v in records if v.size and last >= 0]
    file.require(max([header.offset, *fixed, *reached]))


def _record_bytes(records: list[_Variable]) -> int:
    """Each variable's record is padded to four bytes, unless it is the only one."""
    if len(records) == 1:
        return records[0].size
    return sum(-(-v.size // 4) * 4 for v in records)


class _Header:
    """Reads the header front to back."""

    def __init__(self, file: StoredFile) -> None:
        self._file = file
        version = file.read(3, 1)[0]
        self._count_bytes = 8 if version == 5 else 4
        self._begin_bytes = 4 if version == 1 else 8
        self.offset = 4
        self.records = 0

    def read(self) -> list[_Variable]:
        records = self._integer(self._count_bytes)
        self.records = 0 if records == _STREAMING[self._count_bytes] else records
        lengths = [self._dimension() for _ in range(self._list(_DIMENSIONS))]
        self._skip_attributes()
        return [self._variable(lengths) for _ in range(self._list(_VARIABLES))]

    def _dimension(self) -> int:
        self._skip_name()
        return self._integer(self._count_bytes)

    def _variable(self, lengths: list[int]) -> _Variable:
        self._skip_name()
        rank = self._bounded(self._integer(self._count_bytes))
        numbers = [self._integer(self._count_bytes) for _ in range(rank)]
        if any(number >= len(lengths) for number in numbers):
            raise Malformed("a variable has a dimension that does not exist")
        self._skip_attributes()
        item_bytes = self._item_bytes()
        self._integer(self._count_bytes)  # vsize, which overflows for large variables
        begin = self._integer(self._begin_bytes)
        shape = [lengths[number] for number in numbers]
        is_record = bool(shape) and shape[0] == 0
        return _Variable(begin, tuple(shape[1:] if is_record else shape), is_record, item_bytes)

    def _skip_attributes(self) -> None:
        for _ in range(self._list(_ATTRIBUTES)):
            self._skip_name()
            item_bytes = self._item_bytes()
            self._skip(self._integer(self._count_bytes) * item_bytes)

    def _list(self, expected: int) -> int:
        tag = self._integer(4)
        count = self._bounded(self._integer(self._count_bytes))
        if tag != expected and (tag, count) != (0, 0):
            raise Malformed(f"the header has no list {expected} before byte {self.offset}")
        return count

    def _item_bytes(self) -> int:
        kind = self._integer(4)
        if kind not in _TYPE_BYTES:
            raise Malformed(f"the header has the unknown type {kind}")
        return _TYPE_BYTES[kind]

    def _skip_name(self) -> None:
        self._skip(self._integer(self._count_bytes))

    def _skip(self, size: int) -> None:
        self.offset += -(-size // 4) * 4
        self._file.require(self.offset)

    def _integer(self, size: int) -> int:
        value = int.from_bytes(self._file.read(self.offset, size), "big")
        self.offset += size
        return value

    def _bounded(self, count: int) -> int:
        if count > _MAX_ENTRIES:
            raise Malformed(f"the header lists {count} entries")
        return count
