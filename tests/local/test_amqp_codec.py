"""The AMQP codec: every type is kept, and invalid bytes are rejected."""

import math
import struct
import tracemalloc
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from local.emulators.servicebus.codec import (
    MAX_DEPTH,
    Array,
    Byte,
    Char,
    Decimal32,
    Decimal64,
    Decimal128,
    DecodeError,
    Described,
    Float,
    Int,
    Short,
    Symbol,
    Timestamp,
    Ubyte,
    Uint,
    Ulong,
    Ushort,
    decode,
    encode,
    skip,
)


def whole(kind: type, bits: int, *, signed: bool) -> st.SearchStrategy[Any]:
    low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)
    return st.integers(low, high).map(kind)


SCALARS: dict[int, st.SearchStrategy[Any]] = {
    0x40: st.none(),
    0x56: st.booleans(),
    0x50: whole(Ubyte, 8, signed=False),
    0x60: whole(Ushort, 16, signed=False),
    0x70: whole(Uint, 32, signed=False),
    0x80: whole(Ulong, 64, signed=False),
    0x51: whole(Byte, 8, signed=True),
    0x61: whole(Short, 16, signed=True),
    0x71: whole(Int, 32, signed=True),
    0x81: whole(int, 64, signed=True),
    0x72: st.floats(width=32, allow_nan=False).map(Float),
    0x82: st.floats(allow_nan=False),
    0x74: st.binary(min_size=4, max_size=4).map(Decimal32),
    0x84: st.binary(min_size=8, max_size=8).map(Decimal64),
    0x94: st.binary(min_size=16, max_size=16).map(Decimal128),
    0x73: st.characters().map(Char),
    0x83: whole(Timestamp, 64, signed=True),
    0x98: st.uuids(),
    0xB0: st.binary(max_size=300),
    0xB1: st.text(max_size=300),
    0xB3: st.text(st.characters(max_codepoint=127), max_size=300).map(Symbol),
}
KEYS = st.one_of(st.text(), st.text(st.characters(max_codepoint=127)).map(Symbol), st.uuids())
MAPS = st.dictionaries(KEYS, st.one_of(*SCALARS.values()), max_size=4)
ARRAYS = st.sampled_from(sorted(SCALARS)).flatmap(
    lambda code: st.lists(SCALARS[code], max_size=8).map(lambda items: Array(items, code))
)
COMPOUND_ARRAYS = st.one_of(
    st.lists(MAPS, max_size=3).map(lambda items: Array(items, 0xD1)),
    st.lists(ARRAYS, max_size=3).map(lambda items: Array(items, 0xF0)),
    st.lists(st.lists(st.booleans()), max_size=3).map(
        lambda items: Array(items, 0xD0, Symbol("tagged"))
    ),
)
VALUES = st.recursive(
    st.one_of(*SCALARS.values(), ARRAYS, COMPOUND_ARRAYS),
    lambda inner: st.one_of(
        st.lists(inner, max_size=5),
        st.dictionaries(KEYS, inner, max_size=5),
        st.builds(Described, st.one_of(SCALARS[0x80], SCALARS[0xB3]), inner),
    ),
    max_leaves=20,
)


def shape(value: Any) -> Any:
    """A value with its types, because 1, True and 1.0 are equal in Python but not in AMQP."""
    if isinstance(value, Described):
        return Described, shape(value.descriptor), shape(value.value)
    if isinstance(value, Array):
        return Array, value.code, shape(value.descriptor), [shape(each) for each in value]
    if isinstance(value, list):
        return list, [shape(each) for each in value]
    if isinstance(value, dict):
        return dict, [(shape(key), shape(each)) for key, each in value.items()]
    return type(value), value


@settings(deadline=None)
@given(VALUES, st.binary(max_size=5))
def test_every_value_keeps_its_type(value: Any, after: bytes) -> None:
    raw = encode(value)

    decoded, end = decode(raw + after)

    assert end == len(raw) == skip(raw + after, 0)
    assert shape(decoded) == shape(value)


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        ("40", None),
        ("41", True),
        ("5601", True),
        ("5600", False),
        ("43", Uint(0)),
        ("52ff", Uint(255)),
        ("7000000100", Uint(256)),
        ("44", Ulong(0)),
        ("5310", Ulong(16)),
        ("8000000000000000ff", Ulong(255)),
        ("54ff", Int(-1)),
        ("55ff", -1),
        ("6000ff", Ushort(255)),
        ("72 3fc00000", Float(1.5)),
        ("82 3ff8000000000000", 1.5),
        ("7300000041", Char("A")),
        ("83 00000000000003e8", Timestamp(1000)),
        ("98 00112233445566778899aabbccddeeff", UUID("00112233-4455-6677-8899-aabbccddeeff")),
        ("a003 010203", b"\1\2\3"),
        ("b1 00000003 c3a974", "ét"),
        ("a303 616263", Symbol("abc")),
        ("45", []),
        ("c003 02 41 42", [True, False]),
        ("d000000006 00000002 41 42", [True, False]),
        ("c105 02 a10161 41", {"a": True}),
        ("e004 02 52 0102", [Uint(1), Uint(2)]),
        ("00 5324 45", Described(Ulong(0x24), [])),
    ],
)
def test_the_encodings_of_the_standard_are_read(raw: str, value: Any) -> None:
    data = bytes.fromhex(raw)

    decoded, end = decode(data)

    assert end == len(data)
    assert decoded == value


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param("", id="nothing"),
        pytest.param("70 0000", id="an incomplete uint"),
        pytest.param("a005 6162", id="a binary longer than the bytes"),
        pytest.param("b0 ffffffff 61", id="a binary of 4 GiB"),
        pytest.param("d0 ffffffff ffffffff", id="a list of 4 GiB"),
        pytest.param("d0 00000004 ffffffff", id="four billion elements in no bytes"),
        pytest.param("c002 05 41", id="a count above the elements"),
        pytest.param("c003 01 41 42", id="a count below the elements"),
        pytest.param("c001 01 41", id="an element beyond the list's end"),
        pytest.param("c0 00", id="a size without room for the count"),
        pytest.param("f0 00000005 ffffffff 40", id="four billion nulls"),
        pytest.param("f0 00000005 ffffffff 45", id="four billion empty lists"),
        pytest.param("e003 01 00 40", id="an array whose element has no type"),
        pytest.param("e006 01 00 40 00 40 40", id="two descriptors"),
        pytest.param("c105 03 a10161 41", id="a key without a value"),
        pytest.param("c109 04 a10161 41 a10161 42", id="the same key twice"),
        pytest.param("c103 02 45 41", id="a list as a key"),
        pytest.param("5602", id="a boolean of 2"),
        pytest.param("73 00110000", id="no code point"),
        pytest.param("a102 c328", id="not UTF-8"),
        pytest.param("a301 e9", id="a symbol that is not ASCII"),
        pytest.param("ff", id="no constructor"),
        pytest.param("a2 00", id="no kind of text"),
        pytest.param("00", id="a missing descriptor"),
        pytest.param("00" * 5000, id="descriptors without end"),
        pytest.param("c0ff01" * 5000, id="lists within lists"),
    ],
)
def test_malformed_bytes_are_a_decode_error(raw: str) -> None:
    with pytest.raises(DecodeError):
        decode(bytes.fromhex(raw))


@pytest.mark.parametrize(
    "wrap", [lambda inner: [inner], lambda inner: Described(Ulong(1), inner)], ids=["list", "tag"]
)
def test_nesting_has_a_limit(wrap: Any) -> None:
    value: Any = None
    for _ in range(MAX_DEPTH):
        value = wrap(value)
    assert decode(encode(value))[0] == value

    with pytest.raises(DecodeError, match="nested"):
        decode(encode(wrap(value)))


@settings(max_examples=500, deadline=None)
@given(st.binary(max_size=200))
def test_random_bytes_raise_nothing_else(raw: bytes) -> None:
    decode_or_refuse(raw)


@settings(max_examples=500, deadline=None)
@given(VALUES, st.data())
def test_mutated_values_raise_nothing_else(value: Any, data: st.DataObject) -> None:
    raw = bytearray(encode(value))
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))

    decode_or_refuse(bytes(raw[: data.draw(st.integers(0, len(raw)))]))


def decode_or_refuse(raw: bytes) -> None:
    for read in (decode, skip):
        try:
            read(raw, 0)
        except DecodeError:
            continue


@pytest.mark.parametrize("element", [0x40, 0x41, 0x43, 0x44, 0x45])
def test_arrays_of_empty_elements_are_limited(element: int) -> None:
    """Nested arrays of empty elements, the largest that fit into a frame of 64 KiB."""
    inner = bytes((3, 16, element))
    count = 60_000 // len(inner)
    raw = struct.pack(">BIIB", 0xF0, 5 + count * len(inner), count, 0xE0) + inner * count

    tracemalloc.start()
    decode_or_refuse(raw)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert peak < 1000 * len(raw)


def test_infinite_floats_are_kept() -> None:
    assert decode(encode(Float(-math.inf)))[0] == -math.inf
