"""Encoded messages: the sections of AMQP 1.0 (part 3) and the annotations of Service Bus."""

from collections.abc import Iterator
from typing import Any, TypeVar
from uuid import UUID

from local.emulators.servicebus.codec import (
    DecodeError,
    Described,
    Int,
    Symbol,
    Timestamp,
    Uint,
    Ulong,
    Value,
    decode,
    encode,
    skip,
)
from local.emulators.servicebus.frames import field
from local.emulators.servicebus.queue import Lock, Message, MessageState

HEADER, DELIVERY_ANNOTATIONS, ANNOTATIONS, PROPERTIES, APPLICATION = range(0x70, 0x75)
DATA, SEQUENCE, VALUE, FOOTER = range(0x75, 0x79)
SECTIONS = {
    f"amqp:{name}": code
    for code, name in enumerate(
        ("header:list", "delivery-annotations:map", "message-annotations:map", "properties:list",
         "application-properties:map", "data:binary", "amqp-sequence:list", "amqp-value:*",
         "footer:map"),
        start=HEADER,
    )
}  # fmt: skip
T = TypeVar("T")

BATCH = 0x80013700  # message-format of a transfer whose data sections are messages
SCHEDULED_TIME = "x-opt-scheduled-enqueue-time"


def sections(raw: bytes) -> Iterator[tuple[int, int, int, int]]:
    """Code, start, start of the value, and end of each section. Raises DecodeError."""
    index, last = 0, HEADER
    while index < len(raw):
        start = index
        if raw[index] != 0:
            raise DecodeError(f"byte {index} of the message does not begin a section")
        descriptor, value = decode(raw, index + 1)
        code = SECTIONS.get(descriptor) if isinstance(descriptor, Symbol) else descriptor
        if not isinstance(code, int) or not HEADER <= code <= FOOTER:
            raise DecodeError(f"{descriptor!r} is not a section of a message")
        if code < last:
            raise DecodeError(f"section {code:#x} follows section {last:#x}")
        index, last = skip(raw, value), code
        yield code, start, value, index


def section(code: int, value: Value) -> bytes:
    return encode(Described(Ulong(code), value))


def read(raw: bytes) -> Message:
    """Parse a message from a sender. Raises DecodeError."""
    message = Message(b"")
    content_start, has_body = 0, False
    for code, _, value, end in sections(raw):
        if code < PROPERTIES:
            content_start = end
        if code < DATA:
            _read_section(message, code, decode(raw, value)[0])
        has_body = has_body or DATA <= code <= VALUE
    if not has_body:
        raise DecodeError("the message has no body")
    message.content = raw[content_start:]
    return message


def _read_section(message: Message, code: int, value: Value) -> None:
    if code == HEADER:
        header = _expect(list, value)
        message.durable = bool(field(header, 0, bool))
        message.time_to_live = field(header, 2, Uint)
    elif code == ANNOTATIONS:
        annotations = _expect(dict, value)
        if not all(isinstance(key, str) and key.isascii() for key in annotations):
            raise DecodeError("the name of an annotation is not a symbol")
        message.annotations = {Symbol(key): each for key, each in annotations.items()}
    elif code == PROPERTIES:
        message.message_id = field(_expect(list, value), 0, str | Ulong | bytes | UUID)
    else:
        _expect(dict, value)


def _expect(kind: type[T], value: Value) -> T:
    if not isinstance(value, kind):
        raise DecodeError(f"a section of the message is a {type(value).__name__}")
    return value


def batch(raw: bytes) -> list[Message]:
    """The messages of a batch, one per data section. Raises DecodeError."""
    parts = [decode(raw, value)[0] for code, _, value, _ in sections(raw) if code == DATA]
    if not all(isinstance(part, bytes) for part in parts):
        raise DecodeError("a part of the batch is not binary")
    return [read(part) for part in parts]


def visible_at(message: Message) -> float | None:
    """The scheduled enqueue time of a message, in seconds since 1970; None without one."""
    scheduled = message.annotations.get(SCHEDULED_TIME)
    return scheduled / 1000 if isinstance(scheduled, int) else None


def mark(content: bytes, reason: str, description: str) -> bytes:
    """Add the cause of dead-lettering to the application properties of a message."""
    cause = {"DeadLetterReason": reason, "DeadLetterErrorDescription": description}
    before, after = b"", b""
    properties: dict[str, Value] = {}
    for code, start, value, end in sections(content):
        if code == PROPERTIES:
            before = content[start:end]
        elif code == APPLICATION:
            properties = decode(content, value)[0]
        else:
            after += content[start:end]
    return before + section(APPLICATION, properties | cause) + after


def render(message: Message, lock: Lock | None = None) -> bytes:
    """Encode a message for a receiver."""
    annotations: dict[Any, Any] = {
        key: value
        for key, value in message.annotations.items()
        if key != SCHEDULED_TIME or message.state == MessageState.SCHEDULED
    }
    annotations[Symbol("x-opt-sequence-number")] = message.sequence
    annotations[Symbol("x-opt-enqueued-time")] = Timestamp(message.enqueued * 1000)
    annotations[Symbol("x-opt-message-state")] = Int(message.state)
    if lock:
        annotations[Symbol("x-opt-locked-until")] = Timestamp(lock.until * 1000)
    live = None if message.time_to_live is None else Uint(message.time_to_live)
    header = [message.durable, None, live, None, Uint(message.delivery_count)]
    return section(HEADER, header) + section(ANNOTATIONS, annotations) + message.content


def request(raw: bytes) -> tuple[list[Any], dict[Any, Any], Value]:
    """Properties, application properties and value of a request to a node. Raises DecodeError."""
    properties: list[Any] = []
    application: dict[Any, Any] = {}
    body: Value = None
    for code, _, value, _ in sections(raw):
        if code == PROPERTIES:
            properties = decode(raw, value)[0]
        elif code == APPLICATION:
            application = decode(raw, value)[0]
        elif code == VALUE:
            body = decode(raw, value)[0]
    return _expect(list, properties), _expect(dict, application), body


def reply(correlation: Value, application: dict[str, Value], body: Value) -> bytes:
    """Encode the reply to the request whose message id is `correlation`."""
    properties = [None, None, None, None, None, correlation]
    return (
        section(PROPERTIES, properties) + section(APPLICATION, application) + section(VALUE, body)
    )
