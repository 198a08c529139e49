"""The server side of one AMQP 1.0 connection: headers, SASL, frames and sessions.

A protocol violation closes the connection with the error that the standard defines; other
connections are not affected.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Protocol, cast

from local.emulators.servicebus import frames
from local.emulators.servicebus.codec import Array, DecodeError, Symbol, Ubyte, Uint, Ushort
from local.emulators.servicebus.frames import (
    Attach,
    Begin,
    Close,
    Detach,
    Disposition,
    End,
    Flow,
    Open,
    Performative,
    ProtocolError,
    SaslInit,
    SaslMechanisms,
    SaslOutcome,
    Transfer,
)
from local.emulators.servicebus.session import NOT_ALLOWED, Link, Node, Session

logger = logging.getLogger(__name__)

AMQP_HEADER = b"AMQP\x00\x01\x00\x00"
SASL_HEADER = b"AMQP\x03\x01\x00\x00"
MECHANISMS = ("ANONYMOUS", "MSSBCBS", "EXTERNAL")  # not authentication: $cbs checks the tokens
SASL_OK, SASL_AUTH = 0, 1
CHANNEL_MAX = 255
IDLE_SECONDS = 240.0
LINGER_SECONDS = 2.0


class Container(Protocol):
    """The part of the broker that a connection uses."""

    name: str
    max_message_size: int
    connections: set["Connection"]

    def attach(self, link: Link) -> Node:
        """The node at the link's address. Raises LinkRefused."""


class Connection(asyncio.Protocol):
    """Parses the bytes of one peer and calls its sessions."""

    def __init__(self, container: Container) -> None:
        self.container = container
        self.attach = container.attach
        self.max_message_size = container.max_message_size
        self.claims: dict[str, float] = {}  # entity path -> when the token put for it expires
        self.is_writable = True
        self.payload_size = 0
        self._limit_frames(frames.MIN_FRAME_SIZE)
        self._sessions: dict[int, Session] = {}
        self._ended: set[int] = set()
        self._buffer = bytearray()
        self._read: Callable[[int], int] = self._read_header
        self._expects_sasl = self._is_open = self._is_closing = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._loop = asyncio.get_running_loop()
        self._heard_at = self._loop.time()
        self._timer = self._loop.call_later(IDLE_SECONDS, self._beat, IDLE_SECONDS, b"")
        self.container.connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._is_closing = True
        self._timer.cancel()
        self.container.connections.discard(self)
        for session in self._sessions.values():
            session.close()

    def data_received(self, data: bytes) -> None:
        if self._is_closing:
            return
        self._heard_at = self._loop.time()
        self._buffer += data
        try:
            self._consume()
        except DecodeError as error:
            self._fail("amqp:decode-error", str(error))
        except ProtocolError as error:
            self._fail(error.condition, error.description)

    def pause_writing(self) -> None:
        self.is_writable = False

    def resume_writing(self) -> None:
        self.is_writable = True
        for session in list(self._sessions.values()):
            session.credit_all()

    def _consume(self) -> None:
        index = 0
        while not self._is_closing and (size := self._read(index)):
            index += size
        del self._buffer[:index]

    def _read_header(self, index: int) -> int:
        """Answer a protocol header (part 2, section 2.2); an unknown one with the expected one."""
        header = bytes(self._buffer[index : index + 8])
        if len(header) < 8 and AMQP_HEADER.startswith(header[:4]):
            return 0
        if header not in (AMQP_HEADER, SASL_HEADER):
            self._transport.write(SASL_HEADER)
            self._end()
            return 0
        self._transport.write(header)
        self._read = self._read_frame
        self._expects_sasl = header == SASL_HEADER
        if self._expects_sasl:
            mechanisms = SaslMechanisms(Array(map(Symbol, MECHANISMS), 0xB3))
            self.send(0, frames.build(mechanisms), frames.SASL_FRAME)
        return len(header)

    def _read_frame(self, index: int) -> int:
        size = frames.frame_size(self._buffer, index)
        if not size or len(self._buffer) - index < size:
            return 0
        _, offset, kind, channel = frames.HEAD.unpack_from(self._buffer, index)
        body = bytes(self._buffer[index + offset * 4 : index + size])
        if self._expects_sasl != (kind == frames.SASL_FRAME):
            raise ProtocolError(frames.FRAMING_ERROR, f"unexpected frame type {kind}")
        if body:
            performative, payload = frames.parse(body)
            self._on_frame(channel, performative, payload)
        return size

    def _on_frame(self, channel: int, performative: Performative, payload: bytes) -> None:
        match performative:
            case SaslInit() if self._expects_sasl:
                self._on_sasl(performative)
            case Open() if not self._is_open:
                self._on_open(performative)
            case Close() if self._is_open:
                self.send(0, frames.build(Close()))
                self._is_closing = True
                self._transport.close()
            case Begin() if self._is_open:
                self._on_begin(channel, performative)
            case End() if self._is_open:
                self._on_end(channel)
            case _ if self._is_open:
                self._on_session(channel, performative, payload)
            case _:
                raise ProtocolError(NOT_ALLOWED, f"unexpected {performative.NAME}")

    def _on_sasl(self, init: SaslInit) -> None:
        known = init.mechanism in MECHANISMS
        outcome = SaslOutcome(Ubyte(SASL_OK if known else SASL_AUTH))
        self.send(0, frames.build(outcome), frames.SASL_FRAME)
        self._expects_sasl = False
        self._read = self._read_header
        if not known:
            self._end()

    def _on_open(self, peer: Open) -> None:
        if peer.max_frame_size is not None:
            if peer.max_frame_size < frames.MIN_FRAME_SIZE:
                raise ProtocolError(
                    "amqp:invalid-field", f"max-frame-size is below {frames.MIN_FRAME_SIZE}"
                )
            self._limit_frames(min(peer.max_frame_size, frames.MAX_FRAME_SIZE))
        else:
            self._limit_frames(frames.MAX_FRAME_SIZE)
        self._open()
        if peer.idle_time_out:
            self._timer.cancel()
            self._beat(min(peer.idle_time_out / 2000, IDLE_SECONDS), frames.HEARTBEAT)

    def _open(self) -> None:
        self._is_open = True
        opening = Open(
            container_id=self.container.name,
            max_frame_size=Uint(frames.MAX_FRAME_SIZE),
            channel_max=Ushort(CHANNEL_MAX),
            idle_time_out=Uint(int(IDLE_SECONDS * 1000)),
        )
        self.send(0, frames.build(opening))

    def _limit_frames(self, size: int) -> None:
        self._peer_frame_size = size
        self.payload_size = size - 128  # the other fields of a transfer fit in 128 bytes

    def _on_begin(self, channel: int, begin: Begin) -> None:
        if channel > CHANNEL_MAX:
            raise ProtocolError(frames.FRAMING_ERROR, f"channel {channel} is above {CHANNEL_MAX}")
        if channel in self._sessions:
            raise ProtocolError(NOT_ALLOWED, f"channel {channel} already has a session")
        self._ended.discard(channel)
        self._sessions[channel] = Session(self, channel, begin)

    def _on_end(self, channel: int) -> None:
        if session := self._session(channel):
            del self._sessions[channel]
            self._ended.add(channel)
            session.close()
            self.send(channel, frames.build(End()))

    def _session(self, channel: int) -> Session | None:
        """The session of a channel; None if it has ended and this frame was sent before."""
        session = self._sessions.get(channel)
        if session is None and channel not in self._ended:
            raise ProtocolError(NOT_ALLOWED, f"channel {channel} has no session")
        return session

    def _on_session(self, channel: int, performative: Performative, payload: bytes) -> None:
        session = self._session(channel)
        if session is None:
            return
        match performative:
            case Transfer():
                session.on_transfer(performative, payload)
            case Disposition():
                session.on_disposition(performative)
            case Flow():
                session.on_flow(performative)
            case Attach():
                session.on_attach(performative)
            case Detach():
                session.on_detach(performative)
            case _:
                raise ProtocolError(NOT_ALLOWED, f"unexpected {performative.NAME}")

    def send(self, channel: int, body: bytes, kind: int = frames.AMQP_FRAME) -> None:
        if self._is_closing:
            return
        frame = frames.frame(channel, body, kind)
        if (
            len(frame) > self._peer_frame_size
        ):  # not raised: the caller may be handling another peer
            self._fail("amqp:frame-size-too-small", f"one frame needs {len(frame)} bytes")
            return
        self._transport.write(frame)

    def _fail(self, condition: str, description: str) -> None:
        peer = self._transport.get_extra_info("peername")
        logger.warning("closing the connection of %s: %s: %s", peer, condition, description)
        self._close(condition, description)

    def leave(self, condition: str, description: str) -> None:
        """Close the connection on the broker's initiative."""
        self._close(condition, description)
        self._transport.close()

    def abort(self) -> None:
        """Drop the connection at once."""
        self._transport.abort()

    def _close(self, condition: str, description: str) -> None:
        if self._is_closing:
            return
        if self._read == self._read_frame and not self._expects_sasl:
            if not self._is_open:
                self._open()
            self.send(0, frames.build(Close(frames.error(condition, description[:200]))))
        self._end()

    def _end(self) -> None:
        """Stop sending, and keep the socket open until the peer has read what was sent.

        Closing a socket that still has unread input resets it, and the peer loses the error.
        """
        self._is_closing = True
        self.is_writable = False
        self._buffer.clear()
        if not self._transport.is_closing():
            self._transport.write_eof()
        self._timer.cancel()
        self._timer = self._loop.call_later(LINGER_SECONDS, self._transport.abort)

    def _beat(self, every: float, heartbeat: bytes) -> None:
        """Send a heartbeat, or close the connection if the peer has been silent for too long."""
        if self._loop.time() - self._heard_at > IDLE_SECONDS + every:
            self._fail("amqp:resource-limit-exceeded", f"nothing received for {IDLE_SECONDS:.0f} s")
            return
        self._transport.write(heartbeat)
        self._timer = self._loop.call_later(every, self._beat, every, heartbeat)
