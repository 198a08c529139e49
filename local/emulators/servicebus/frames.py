"""Frames and performatives of AMQP 1.0 (OASIS AMQP 1.0, part 2)."""

from dataclasses import dataclass, fields
from struct import Struct
from types import UnionType
from typing import Any, ClassVar, get_args, get_type_hints

from local.emulators.servicebus.codec import (
    Array,
    DecodeError,
    Described,
    Symbol,
    Ubyte,
    Uint,
    Ulong,
    Ushort,
    Value,
    decode,
    encode,
)

MAX_FRAME_SIZE = 64 * 1024
MIN_FRAME_SIZE = 512  # what every peer must accept
AMQP_FRAME, SASL_FRAME = 0, 1
HEARTBEAT = b"\x00\x00\x00\x08\x02\x00\x00\x00"
HEAD = Struct(">IBBH")
FRAMING_ERROR = "amqp:connection:framing-error"

LIMITS = {Ubyte: 0xFF, Ushort: 0xFFFF, Uint: 0xFFFFFFFF, Ulong: 0xFFFFFFFFFFFFFFFF}


class ProtocolError(Exception):
    """A protocol violation; the connection is closed with this condition."""

    def __init__(self, condition: str, description: str) -> None:
        super().__init__(f"{condition}: {description}")
        self.condition = condition
        self.description = description


@dataclass(slots=True)
class Performative:
    """A composite type: a described list with a field for each position."""

    CODE: ClassVar[int]
    NAME: ClassVar[str]


@dataclass(slots=True)
class Open(Performative):
    CODE, NAME = 0x10, "amqp:open:list"
    container_id: str
    hostname: str | None = None
    max_frame_size: Uint | None = None
    channel_max: Ushort | None = None
    idle_time_out: Uint | None = None


@dataclass(slots=True)
class Begin(Performative):
    CODE, NAME = 0x11, "amqp:begin:list"
    remote_channel: Ushort | None
    next_outgoing_id: Uint
    incoming_window: Uint
    outgoing_window: Uint
    handle_max: Uint | None = None


@dataclass(slots=True)
class Attach(Performative):
    CODE, NAME = 0x12, "amqp:attach:list"
    name: str
    handle: Uint
    role: bool  # True: the sender of this frame is the receiver of the link
    snd_settle_mode: Ubyte | None = None
    rcv_settle_mode: Ubyte | None = None
    source: Described | None = None
    target: Described | None = None
    unsettled: dict[Any, Any] | None = None
    incomplete_unsettled: bool | None = None
    initial_delivery_count: Uint | None = None
    max_message_size: Ulong | None = None
    offered_capabilities: Any = None
    desired_capabilities: Any = None
    properties: dict[Any, Any] | None = None


@dataclass(slots=True)
class Flow(Performative):
    CODE, NAME = 0x13, "amqp:flow:list"
    next_incoming_id: Uint | None
    incoming_window: Uint
    next_outgoing_id: Uint
    outgoing_window: Uint
    handle: Uint | None = None
    delivery_count: Uint | None = None
    link_credit: Uint | None = None
    available: Uint | None = None
    drain: bool | None = None
    echo: bool | None = None


@dataclass(slots=True)
class Transfer(Performative):
    CODE, NAME = 0x14, "amqp:transfer:list"
    handle: Uint
    delivery_id: Uint | None = None
    delivery_tag: bytes | None = None
    message_format: Uint | None = None
    settled: bool | None = None
    more: bool | None = None
    rcv_settle_mode: Ubyte | None = None
    state: Described | None = None
    resume: bool | None = None
    aborted: bool | None = None


@dataclass(slots=True)
class Disposition(Performative):
    CODE, NAME = 0x15, "amqp:disposition:list"
    role: bool
    first: Uint
    last: Uint | None = None
    settled: bool | None = None
    state: Described | None = None


@dataclass(slots=True)
class Detach(Performative):
    CODE, NAME = 0x16, "amqp:detach:list"
    handle: Uint
    closed: bool | None = None
    error: Described | None = None


@dataclass(slots=True)
class End(Performative):
    CODE, NAME = 0x17, "amqp:end:list"
    error: Described | None = None


@dataclass(slots=True)
class Close(Performative):
    CODE, NAME = 0x18, "amqp:close:list"
    error: Described | None = None


@dataclass(slots=True)
class SaslMechanisms(Performative):
    CODE, NAME = 0x40, "amqp:sasl-mechanisms:list"
    sasl_server_mechanisms: Array


@dataclass(slots=True)
class SaslInit(Performative):
    CODE, NAME = 0x41, "amqp:sasl-init:list"
    mechanism: Symbol
    initial_response: bytes | None = None
    hostname: str | None = None


@dataclass(slots=True)
class SaslOutcome(Performative):
    CODE, NAME = 0x44, "amqp:sasl-outcome:list"
    code: Ubyte


PERFORMATIVES: dict[int | str, type[Performative]] = {
    key: kind
    for kind in (
        *(Open, Begin, Attach, Flow, Transfer, Disposition, Detach, End, Close),
        *(SaslMechanisms, SaslInit, SaslOutcome),
    )
    for key in (kind.CODE, kind.NAME)
}


def _layout(kind: type[Performative]) -> tuple[tuple[str, type, bool], ...]:
    """Name, type and whether it is mandatory, for each field."""
    hints = get_type_hints(kind)
    layout = []
    for entry in fields(kind):
        choices = [each for each in get_args(hints[entry.name]) if each is not type(None)]
        optional = type(None) in get_args(hints[entry.name])
        expected = choices[0] if optional else hints[entry.name]
        expected = getattr(expected, "__origin__", expected)
        layout.append((entry.name, object if expected is Any else expected, not optional))
    return tuple(layout)


LAYOUTS = {kind: _layout(kind) for kind in PERFORMATIVES.values()}

# Delivery states and termini: described lists that are not parsed further.
ERROR, RECEIVED, ACCEPTED, REJECTED, RELEASED, MODIFIED = 0x1D, 0x23, 0x24, 0x25, 0x26, 0x27
SOURCE, TARGET = 0x28, 0x29
COMPOSITES = {
    "amqp:error:list": ERROR,
    "amqp:received:list": RECEIVED,
    "amqp:accepted:list": ACCEPTED,
    "amqp:rejected:list": REJECTED,
    "amqp:released:list": RELEASED,
    "amqp:modified:list": MODIFIED,
    "amqp:source:list": SOURCE,
    "amqp:target:list": TARGET,
}


def composite(code: int, *values: Value) -> Described:
    """An error, outcome or terminus."""
    return Described(Ulong(code), list(values))


def error(condition: str, description: str) -> Described:
    """The error composite (part 2, section 2.8.14); the SDK requires its third field."""
    return composite(ERROR, Symbol(condition), description, None)


def unpack(value: Described) -> tuple[int, list[Any]]:
    """Code and fields of a composite. Raises DecodeError for another value."""
    code = value.descriptor
    if isinstance(code, str):
        code = COMPOSITES.get(code)
    if not isinstance(code, int) or not isinstance(value.value, list):
        raise DecodeError(f"{value.descriptor!r} does not describe a composite type")
    return code, value.value


def field(values: list[Any], index: int, kind: type | UnionType) -> Value:
    """A field of a composite; None if it is missing. Raises DecodeError for another type."""
    value = values[index] if index < len(values) else None
    if value is not None and not isinstance(value, kind):
        raise DecodeError(f"field {index} is a {type(value).__name__}, not a {kind}")
    return value


def parse(body: bytes) -> tuple[Performative, bytes]:
    """The performative at the start of a frame's body, and the payload after it."""
    value, index = decode(body)
    if not isinstance(value, Described) or not isinstance(value.value, list):
        raise DecodeError("the frame does not begin with a described list")
    known = isinstance(value.descriptor, int | str)
    kind = PERFORMATIVES.get(value.descriptor) if known else None
    if kind is None:
        raise DecodeError(f"{value.descriptor!r} is not a performative")
    return _fill(kind, value.value), body[index:]


def _fill(kind: type[Performative], values: list[Any]) -> Performative:
    arguments = {}
    for (name, expected, mandatory), value in zip(LAYOUTS[kind], values, strict=False):
        if value is not None:
            arguments[name] = _checked(kind, name, expected, value)
        elif not mandatory:
            arguments[name] = None
    try:
        return kind(**arguments)
    except TypeError as missing:
        raise ProtocolError("amqp:invalid-field", f"{kind.NAME}: {missing}") from missing


def _checked(kind: type[Performative], name: str, expected: type, value: Value) -> Value:
    limit = LIMITS.get(expected)
    if limit is not None:
        fits = isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= limit
    else:
        fits = isinstance(value, str if expected is Symbol else expected)
    if not fits:
        raise DecodeError(f"{name} of {kind.NAME} is a {type(value).__name__}")
    return value


def build(performative: Performative) -> bytes:
    """Encode a performative."""
    values = []
    for name, expected, _ in LAYOUTS[type(performative)]:
        value = getattr(performative, name)
        values.append(expected(value) if value is not None and expected in LIMITS else value)
    while values and values[-1] is None:
        values.pop()
    return b"\x00\x53" + bytes((performative.CODE,)) + encode(values)


def frame(channel: int, body: bytes, kind: int = AMQP_FRAME) -> bytes:
    """Encode a frame."""
    return HEAD.pack(len(body) + HEAD.size, 2, kind, channel) + body


def frame_size(buffer: bytes | bytearray, index: int) -> int:
    """The size of the frame at `index`; 0 while its first 8 bytes are incomplete.

    Raises ProtocolError for an invalid frame head (part 2, section 2.3) and for a frame that is
    larger than the maximum announced to the peer, before any of it is buffered.
    """
    if len(buffer) - index < HEAD.size:
        return 0
    size, offset, kind, _ = HEAD.unpack_from(buffer, index)
    if not HEAD.size <= offset * 4 <= size:
        raise ProtocolError(
            "amqp:connection:framing-error", f"data offset {offset} of {size} bytes"
        )
    if size > MAX_FRAME_SIZE:
        raise ProtocolError(
            "amqp:connection:framing-error",
            f"frame of {size} bytes; the maximum is {MAX_FRAME_SIZE}",
        )
    if kind not in (AMQP_FRAME, SASL_FRAME):
        raise ProtocolError("amqp:connection:framing-error", f"frame type {kind}")
    return int(size)


def is_terminus(value: Described) -> bool:
    """Whether a terminus is a source or target, and not the coordinator of transactions."""
    return unpack(value)[0] in (SOURCE, TARGET)


def address(terminus: Described) -> str:
    """The address of a source or target; empty if it has none."""
    return field(unpack(terminus)[1], 0, str) or ""


def has_filter(source: Described) -> bool:
    return bool(field(unpack(source)[1], 7, dict))
