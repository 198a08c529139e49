"""The type system of AMQP 1.0 on the wire (OASIS AMQP 1.0, part 1).

Every AMQP type has its own Python type, so that a decoded value is encoded as the same type.
Sizes and counts of the input are checked against the number of bytes before anything is
allocated; invalid input raises `DecodeError`.
"""

import struct
from collections.abc import Callable, Iterable
from struct import Struct
from typing import Any, TypeAlias
from uuid import UUID

Value: TypeAlias = Any  # what a decoder returns: any of the types below, or Python's own

MAX_DEPTH = 32
MAX_EMPTY_ELEMENTS = 16  # of an array of nulls, whose elements take no bytes


class DecodeError(ValueError):
    """The bytes are not AMQP 1.0."""


class Symbol(str):
    """An ASCII name from a constrained domain."""


class Ubyte(int): ...


class Ushort(int): ...


class Uint(int): ...


class Ulong(int): ...


class Byte(int): ...


class Short(int): ...


class Int(int): ...


class Timestamp(int):
    """Milliseconds since 1970."""


class Float(float):
    """A 32-bit float; Python's own is AMQP's double."""


class Char(str): ...


class Decimal32(bytes): ...


class Decimal64(bytes): ...


class Decimal128(bytes): ...


class Described:
    """A value with a descriptor of its meaning."""

    __slots__ = ("descriptor", "value")

    def __init__(self, descriptor: Value, value: Value) -> None:
        self.descriptor = descriptor
        self.value = value

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Described):
            return NotImplemented
        return bool(self.descriptor == other.descriptor and self.value == other.value)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Described({self.descriptor!r}, {self.value!r})"


class Array(list[Any]):
    """A list whose elements share one constructor, and one descriptor if they are described."""

    def __init__(self, items: Iterable[Any], code: int, descriptor: Value = None) -> None:
        super().__init__(items)
        self.code = code
        self.descriptor = descriptor


U8, U32, U32x2 = Struct(">B"), Struct(">I"), Struct(">II")

# constructor -> layout, Python type. 0x5_ are the one-byte encodings of the same types.
FIXED: dict[int, tuple[Struct, Callable[[Any], Any]]] = {
    0x50: (U8, Ubyte),
    0x51: (Struct(">b"), Byte),
    0x52: (U8, Uint),
    0x53: (U8, Ulong),
    0x54: (Struct(">b"), Int),
    0x55: (Struct(">b"), int),
    0x60: (Struct(">H"), Ushort),
    0x61: (Struct(">h"), Short),
    0x70: (U32, Uint),
    0x71: (Struct(">i"), Int),
    0x72: (Struct(">f"), Float),
    0x74: (Struct("4s"), Decimal32),
    0x80: (Struct(">Q"), Ulong),
    0x81: (Struct(">q"), int),
    0x82: (Struct(">d"), float),
    0x83: (Struct(">q"), Timestamp),
    0x84: (Struct("8s"), Decimal64),
    0x94: (Struct("16s"), Decimal128),
    0x98: (Struct("16s"), lambda raw: UUID(bytes=raw)),
}
EMPTY: dict[int, Any] = {0x40: None, 0x41: True, 0x42: False, 0x43: Uint(0), 0x44: Ulong(0)}
TEXT: dict[int, Callable[[bytes], Any]] = {
    0x0: bytes,
    0x1: lambda raw: raw.decode("utf-8"),
    0x3: lambda raw: Symbol(raw.decode("ascii")),
}
# Array elements are written with the wide constructor of their type.
WIDE = {
    0x41: 0x56, 0x42: 0x56, 0x43: 0x70, 0x44: 0x80, 0x45: 0xD0, 0x52: 0x70, 0x53: 0x80, 0x54: 0x71,
    0x55: 0x81, 0xA0: 0xB0, 0xA1: 0xB1, 0xA3: 0xB3, 0xC0: 0xD0, 0xC1: 0xD1, 0xE0: 0xF0,
}  # fmt: skip


def decode(buffer: bytes, index: int = 0) -> tuple[Any, int]:
    """The value that starts at `index`, and the index after it. Raises DecodeError."""
    try:
        return _value(buffer, index, 0)
    except (IndexError, struct.error) as error:
        raise DecodeError(f"the value at byte {index} is incomplete") from error
    except (UnicodeDecodeError, OverflowError) as error:
        raise DecodeError(f"the value at byte {index} is not text: {error}") from error


def _value(buffer: bytes, index: int, depth: int) -> tuple[Any, int]:
    code = buffer[index]
    if code:
        return _body(buffer, index + 1, code, depth)
    if depth >= MAX_DEPTH:
        raise DecodeError(f"values are nested deeper than {MAX_DEPTH}")
    descriptor, index = _value(buffer, index + 1, depth + 1)
    value, index = _value(buffer, index, depth + 1)
    return Described(descriptor, value), index


def _body(buffer: bytes, index: int, code: int, depth: int) -> tuple[Any, int]:
    if fixed := FIXED.get(code):
        layout, kind = fixed
        return kind(layout.unpack_from(buffer, index)[0]), index + layout.size
    if code in EMPTY:
        return EMPTY[code], index
    if code == 0x45:
        return [], index
    if code == 0x56:
        return _boolean(buffer[index]), index + 1
    if code == 0x73:
        return _char(U32.unpack_from(buffer, index)[0]), index + 4
    if code >> 4 in (0xA, 0xB) and code & 15 in TEXT:
        start, end = _extent(buffer, index, wide=code >> 4 == 0xB)
        return TEXT[code & 15](buffer[start:end]), end
    if code in (0xC0, 0xC1, 0xD0, 0xD1, 0xE0, 0xF0):
        return _compound(buffer, index, code, depth)
    raise DecodeError(f"{code:#04x} at byte {index - 1} is not an AMQP constructor")


def _boolean(octet: int) -> bool:
    if octet > 1:
        raise DecodeError(f"{octet:#04x} is not a boolean")
    return octet == 1


def _char(point: int) -> Char:
    if point > 0x10FFFF:
        raise DecodeError(f"{point:#x} is not a Unicode code point")
    return Char(chr(point))


def _extent(buffer: bytes, index: int, *, wide: bool) -> tuple[int, int]:
    """Where the content of a value with a size begins and ends."""
    start = index + 4 if wide else index + 1
    size: int = U32.unpack_from(buffer, index)[0] if wide else buffer[index]
    if start + size > len(buffer):
        raise DecodeError(
            f"the value at byte {index} has a size of {size}; {len(buffer) - start} bytes follow"
        )
    return start, start + size


def _compound(buffer: bytes, index: int, code: int, depth: int) -> tuple[Any, int]:
    if depth >= MAX_DEPTH:
        raise DecodeError(f"values are nested deeper than {MAX_DEPTH}")
    wide = code in (0xD0, 0xD1, 0xF0)
    start, end = _extent(buffer, index, wide=wide)
    count: int = U32.unpack_from(buffer, start)[0] if wide else buffer[start]
    start += 4 if wide else 1
    read = _array if code in (0xE0, 0xF0) else _items
    value, index = read(buffer, start, end, count, depth + 1)
    if index != end:
        raise DecodeError(
            f"{count} elements end at byte {index}, but their size ends at byte {end}"
        )
    return (_map(value) if code in (0xC1, 0xD1) else value), end


def _items(buffer: bytes, index: int, end: int, count: int, depth: int) -> tuple[list[Any], int]:
    if count > end - index:
        raise DecodeError(f"{count} elements cannot be in {end - index} bytes")
    items = []
    for _ in range(count):
        item, index = _value(buffer, index, depth)
        items.append(item)
    return items, index


def _map(items: list[Any]) -> dict[Any, Any]:
    if len(items) % 2:
        raise DecodeError("a map has a key without a value")
    try:
        pairs = dict(zip(items[::2], items[1::2], strict=True))
    except TypeError as error:
        raise DecodeError(f"a map key is not a simple value: {error}") from error
    if len(pairs) * 2 != len(items):
        raise DecodeError("a map has the same key twice")
    return pairs


def _array(buffer: bytes, index: int, end: int, count: int, depth: int) -> tuple[Array, int]:
    code, descriptor = buffer[index], None
    index += 1
    if code == 0:
        descriptor, index = _value(buffer, index, depth)
        code = buffer[index]
        index += 1
    if code == 0:
        raise DecodeError("an array element has two descriptors")
    if count > max(end - index, MAX_EMPTY_ELEMENTS):
        raise DecodeError(f"{count} elements cannot be in {end - index} bytes")
    items = []
    for _ in range(count):
        item, index = _body(buffer, index, code, depth)
        items.append(item)
    return Array(items, WIDE.get(code, code), descriptor), index


def skip(buffer: bytes, index: int) -> int:
    """The index after the value at `index`; a value with a size is not decoded."""
    try:
        kind = buffer[index] >> 4
        if kind >= 0xA:
            return _extent(buffer, index + 1, wide=bool(kind & 1))[1]
    except (IndexError, struct.error) as error:
        raise DecodeError(f"the value at byte {index} is incomplete") from error
    return decode(buffer, index)[1]


def encode(value: Value) -> bytes:
    """Encode a value in the shortest form; an int as a long, a float as a double."""
    return ENCODERS[type(value)](value)


def _sized(code: int, raw: bytes) -> bytes:
    if len(raw) < 256:
        return bytes((code, len(raw))) + raw
    return U8.pack(code | 0x10) + U32.pack(len(raw)) + raw


def _short(value: int, narrow: int, wide: int, empty: int = 0) -> bytes:
    if value == 0 and empty:
        return U8.pack(empty)
    layout, _ = FIXED[narrow]
    low, high = (-128, 127) if layout.format == ">b" else (0, 255)
    if low <= value <= high:
        return U8.pack(narrow) + layout.pack(value)
    return U8.pack(wide) + FIXED[wide][0].pack(value)


def _fixed(code: int) -> Callable[[Any], bytes]:
    return lambda value: U8.pack(code) + _element(code, value)


def _list(items: list[Any]) -> bytes:
    if not items:
        return b"\x45"
    return _wrap(0xD0, len(items), b"".join(map(encode, items)))


def _pairs(value: dict[Any, Any]) -> bytes:
    content = b"".join(encode(key) + encode(item) for key, item in value.items())
    return _wrap(0xD1, 2 * len(value), content)


def _wrap(code: int, count: int, content: bytes) -> bytes:
    if len(content) < 255 and count < 256:
        return bytes((code - 0x10, len(content) + 1, count)) + content
    return U8.pack(code) + U32x2.pack(len(content) + 4, count) + content


def _vector(array: Array) -> bytes:
    start = b"" if array.descriptor is None else b"\x00" + encode(array.descriptor)
    content = b"".join(_element(array.code, item) for item in array)
    return _wrap(0xF0, len(array), start + U8.pack(array.code) + content)


def _element(code: int, value: Value) -> bytes:
    """Encode a value for the wide constructor `code`, without the constructor itself."""
    if code in FIXED:
        layout, _ = FIXED[code]
        return layout.pack(value.bytes if code == 0x98 else value)
    if code == 0x40:
        return b""
    if code == 0x56:
        return U8.pack(value)
    if code == 0x73:
        return U32.pack(ord(value))
    if code == 0xB0:
        return U32.pack(len(value)) + bytes(value)
    if code in (0xB1, 0xB3):
        raw = value.encode("utf-8")
        return U32.pack(len(raw)) + bytes(raw)
    return _widened(code, value)


def _widened(code: int, value: Value) -> bytes:
    """A list, map or array with four-byte size and count."""
    if code == 0xF0:
        encoded, count = _vector(value), len(value)
    else:
        encoded = _list(value) if code == 0xD0 else _pairs(value)
        count = len(value) if code == 0xD0 else 2 * len(value)
    if encoded[0] == code:
        return encoded[1:]
    content = encoded[3:]
    return U32x2.pack(len(content) + 4, count) + content


ENCODERS: dict[type, Callable[[Any], bytes]] = {
    type(None): lambda _: b"\x40",
    bool: lambda value: b"\x41" if value else b"\x42",
    int: lambda value: _short(value, 0x55, 0x81),
    Ubyte: _fixed(0x50),
    Ushort: _fixed(0x60),
    Uint: lambda value: _short(value, 0x52, 0x70, 0x43),
    Ulong: lambda value: _short(value, 0x53, 0x80, 0x44),
    Byte: _fixed(0x51),
    Short: _fixed(0x61),
    Int: lambda value: _short(value, 0x54, 0x71),
    Timestamp: _fixed(0x83),
    Float: _fixed(0x72),
    float: _fixed(0x82),
    Char: lambda value: b"\x73" + U32.pack(ord(value)),
    Decimal32: _fixed(0x74),
    Decimal64: _fixed(0x84),
    Decimal128: _fixed(0x94),
    UUID: _fixed(0x98),
    bytes: lambda value: _sized(0xA0, value),
    str: lambda value: _sized(0xA1, value.encode("utf-8")),
    Symbol: lambda value: _sized(0xA3, value.encode("ascii")),
    list: _list,
    dict: _pairs,
    Array: _vector,
    Described: lambda value: b"\x00" + encode(value.descriptor) + encode(value.value),
}
