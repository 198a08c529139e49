"""The broker's side of AMQP 1.0 sessions and links: windows, credit, deliveries.

This module does not know queues. A link is attached to a `Node`, which handles its events.
"""

from collections import deque
from dataclasses import dataclass, field
from typing import Protocol, cast

from local.emulators.servicebus import frames
from local.emulators.servicebus.codec import Described, Symbol, Uint, Ulong, Ushort, Value
from local.emulators.servicebus.frames import (
    Attach,
    Begin,
    Detach,
    Disposition,
    Flow,
    Performative,
    ProtocolError,
    Transfer,
)

HANDLE_MAX = 1023
WINDOW = 0x7FFFFFFF  # frames; senders are limited by link credit instead
CREDIT = 500
SENDER_SETTLED = 1
NOT_ALLOWED = "amqp:not-allowed"
SIZE_EXCEEDED = "amqp:link:message-size-exceeded"


def distance(after: int, before: int) -> int:
    """after - before, for sequence numbers that wrap at 2^32 (RFC 1982)."""
    return ((after - before + (1 << 31)) & 0xFFFFFFFF) - (1 << 31)


class LinkRefused(Exception):
    """The container refuses this link."""

    def __init__(self, condition: str, description: str) -> None:
        super().__init__(f"{condition}: {description}")
        self.error = frames.error(condition, description)


@dataclass(eq=False, slots=True)
class Delivery:
    """A message sent to a receiver that has not settled it yet."""

    link: "Link"
    number: int
    token: Value


class Node:
    """The broker's end of a link."""

    def received(self, link: "Link", payload: bytes, message_format: int) -> Described:
        """Handle a complete message. Returns the outcome for the sender."""
        raise NotImplementedError

    def credited(self, link: "Link") -> None:
        """Handle new credit from the receiver."""

    def settled(self, delivery: Delivery, state: Described) -> Described:
        """Handle the outcome of a delivery. Returns the state to reply with."""
        return state

    def closed(self, link: "Link") -> None:
        """Handle the end of the link."""


class Wire(Protocol):
    """The part of the connection that a session uses."""

    claims: dict[str, float]
    max_message_size: int
    payload_size: int
    is_writable: bool

    def send(self, channel: int, body: bytes) -> None: ...

    def attach(self, link: "Link") -> Node:
        """The node at the link's address. Raises LinkRefused."""


@dataclass(eq=False, slots=True)
class Link:
    """A link; `sends` is true if messages go from the broker to the peer."""

    session: "Session"
    handle: int
    name: str
    sends: bool
    attach: Attach
    node: Node = field(default_factory=Node)
    credit: int = 0
    delivery_count: int = 0
    is_open: bool = False
    partial: Transfer | None = None
    content: bytearray = field(default_factory=bytearray)
    size: int = 0

    @property
    def address(self) -> str:
        """The address of the broker's end; empty for a null terminus."""
        terminus = self.attach.source if self.sends else self.attach.target
        return frames.address(terminus) if terminus else ""

    @property
    def peer_address(self) -> str:
        """The address of the peer's end; empty for a null terminus."""
        terminus = self.attach.target if self.sends else self.attach.source
        return frames.address(terminus) if terminus else ""

    @property
    def is_coordinator(self) -> bool:
        """True if the peer asks for transactions."""
        return self.attach.target is not None and not frames.is_terminus(self.attach.target)

    @property
    def has_filter(self) -> bool:
        """True if the peer asks for some of the messages only, such as those of a session."""
        return self.attach.source is not None and frames.has_filter(self.attach.source)

    @property
    def settles(self) -> bool:
        """True if deliveries are sent settled (receive-and-delete)."""
        return self.attach.snd_settle_mode == SENDER_SETTLED

    @property
    def can_send(self) -> bool:
        """True if a message can be sent now."""
        return self.is_open and self.credit > 0 and self.session.has_room

    def accept(self) -> None:
        self.is_open = True
        size = self.session.wire.max_message_size
        self._attach(self.attach.source, self.attach.target, size)
        if not self.sends:
            self.grant()

    def refuse(self, error: Described) -> None:
        """Attach to nothing, then detach with the reason (part 2, section 2.6.3)."""
        source, target = self.attach.source, self.attach.target
        self._attach(None if self.sends else source, target if self.sends else None, None)
        self.detach(error)

    def _attach(self, source: Described | None, target: Described | None, size: int | None) -> None:
        batch = {Symbol("com.microsoft:max-message-batch-size"): Ulong(size or 0)}
        self.session.send(
            Attach(
                name=self.name,
                handle=Uint(self.handle),
                role=not self.sends,
                snd_settle_mode=self.attach.snd_settle_mode,
                rcv_settle_mode=self.attach.rcv_settle_mode,
                source=source,
                target=target,
                initial_delivery_count=Uint(0) if self.sends else None,
                max_message_size=Ulong(size) if size else None,
                properties=batch if size and not self.sends else None,
            )
        )

    def detach(self, error: Described | None = None, *, closed: bool = True) -> None:
        self.is_open = False
        self.content.clear()
        self.session.send(Detach(Uint(self.handle), closed, error))

    def fail(self, condition: str, description: str) -> None:
        """Detach because of an error."""
        self.detach(frames.error(condition, description))
        self.node.closed(self)

    def grant(self) -> None:
        """Allow the peer to send CREDIT more messages."""
        self.credit = CREDIT
        self.session.send_flow(self)

    def drain(self) -> None:
        """Use up the credit for which there is no message (part 2, section 2.6.7)."""
        self.delivery_count = (self.delivery_count + self.credit) & 0xFFFFFFFF
        self.credit = 0
        self.session.send_flow(self, drain=True)

    def send(self, tag: bytes, payload: bytes, *, token: Value = None) -> None:
        """Send one message, unsettled if a token is given: the token identifies its outcome."""
        self.credit -= 1
        self.delivery_count = (self.delivery_count + 1) & 0xFFFFFFFF
        self.session.transfer(self, tag, payload, token)


class Session:
    """A session: windows, delivery numbers, and the links in it."""

    def __init__(self, wire: Wire, channel: int, begin: Begin) -> None:
        self.wire = wire
        self.channel = channel
        self.links: dict[int, Link] = {}
        self.detached: set[int] = set()
        self.unsettled: dict[int, Delivery] = {}
        self._held: deque[bytes] = deque()
        self._next_incoming = int(begin.next_outgoing_id)
        self._next_outgoing = 0
        self._next_delivery = 0
        self._room = int(begin.incoming_window)
        self.send(Begin(Ushort(channel), Uint(0), Uint(WINDOW), Uint(WINDOW), Uint(HANDLE_MAX)))

    @property
    def has_room(self) -> bool:
        return self._room > 0 and not self._held and self.wire.is_writable

    def send(self, performative: Performative) -> None:
        self.wire.send(self.channel, frames.build(performative))

    def send_flow(self, link: Link | None = None, *, drain: bool = False) -> None:
        flow = Flow(
            next_incoming_id=Uint(self._next_incoming),
            incoming_window=Uint(WINDOW),
            next_outgoing_id=Uint(self._next_outgoing),
            outgoing_window=Uint(WINDOW),
        )
        if link:
            flow.handle = Uint(link.handle)
            flow.delivery_count = Uint(link.delivery_count)
            flow.link_credit = Uint(link.credit)
            flow.drain = drain
        self.send(flow)

    def transfer(self, link: Link, tag: bytes, payload: bytes, token: Value) -> None:
        number = self._next_delivery
        self._next_delivery = (number + 1) & 0xFFFFFFFF
        settled = token is None
        if not settled:
            self.unsettled[number] = Delivery(link, number, token)
        part = Transfer(Uint(link.handle), Uint(number), tag, Uint(0), settled)
        room = self.wire.payload_size
        for start in range(0, len(payload), room):
            part.more = start + room < len(payload)
            self._held.append(frames.build(part) + payload[start : start + room])
            part = Transfer(Uint(link.handle))
        self._release()

    def _release(self) -> None:
        """Send held frames while the peer's window has room."""
        while self._held and self._room > 0:
            self._room -= 1
            self._next_outgoing = (self._next_outgoing + 1) & 0xFFFFFFFF
            self.wire.send(self.channel, self._held.popleft())

    def on_flow(self, flow: Flow) -> None:
        seen = flow.next_incoming_id or 0
        self._room = flow.incoming_window - distance(self._next_outgoing, seen)
        self._release()
        link = None if flow.handle is None else self._link(flow.handle)
        if link and link.sends:
            given = (flow.delivery_count or 0) + (flow.link_credit or 0)
            link.credit = max(0, distance(given, link.delivery_count))
        self.credit_all()
        if link and link.sends and link.is_open and flow.drain and link.credit:
            link.drain()
        if flow.echo:
            self.send_flow()

    def credit_all(self) -> None:
        """Let every node send after the window has opened."""
        for link in list(self.links.values()):
            if link.sends and link.can_send:
                link.node.credited(link)

    def on_attach(self, attach: Attach) -> None:
        if attach.handle > HANDLE_MAX:
            raise ProtocolError(NOT_ALLOWED, f"handle {attach.handle} is above {HANDLE_MAX}")
        if attach.handle in self.links:
            raise ProtocolError("amqp:session:handle-in-use", f"handle {attach.handle} is attached")
        link = Link(self, int(attach.handle), attach.name, attach.role, attach)
        self.links[link.handle] = link
        self.detached.discard(link.handle)
        try:
            link.node = self.wire.attach(link)
        except LinkRefused as refusal:
            link.refuse(refusal.error)
            return
        link.accept()

    def on_detach(self, detach: Detach) -> None:
        link = self._link(detach.handle)
        if link is None:
            return
        del self.links[link.handle]
        self.detached.add(link.handle)
        for number in [n for n, each in self.unsettled.items() if each.link is link]:
            del self.unsettled[number]
        if link.is_open:
            link.detach(closed=bool(detach.closed))
            link.node.closed(link)

    def _link(self, handle: int) -> Link | None:
        """The link of a handle; None if it has closed and this frame was sent before."""
        link = self.links.get(handle)
        if link is None and handle not in self.detached:
            raise ProtocolError(
                "amqp:session:unattached-handle", f"handle {handle} is not attached"
            )
        return link

    def on_transfer(self, transfer: Transfer, payload: bytes) -> None:
        self._next_incoming = (self._next_incoming + 1) & 0xFFFFFFFF
        link = self._link(transfer.handle)
        if link is None or not link.is_open:
            return
        if link.sends:
            raise ProtocolError(NOT_ALLOWED, f"handle {link.handle} is a receiver and cannot send")
        if link.partial is None:
            self._begin_delivery(link, transfer)
        link.size += len(payload)
        if link.size <= self.wire.max_message_size:
            link.content += payload
        if transfer.aborted or not transfer.more:
            self._end_delivery(link, transfer)

    def _begin_delivery(self, link: Link, transfer: Transfer) -> None:
        if transfer.delivery_id is None or transfer.delivery_tag is None:
            raise ProtocolError(
                "amqp:invalid-field", "the first transfer of a delivery has no id or tag"
            )
        if link.credit <= 0:
            raise ProtocolError("amqp:link:transfer-limit-exceeded", f"{link.name} has no credit")
        link.partial, link.size = transfer, 0
        link.content.clear()

    def _end_delivery(self, link: Link, last: Transfer) -> None:
        first, content = cast(Transfer, link.partial), bytes(link.content)
        link.partial = None
        link.delivery_count = (link.delivery_count + 1) & 0xFFFFFFFF
        link.credit -= 1
        if last.aborted:
            return
        if link.size > self.wire.max_message_size:
            outcome = self._too_large()
        else:
            outcome = link.node.received(link, content, first.message_format or 0)
        if not (first.settled or last.settled):
            self.send(Disposition(True, cast(Uint, first.delivery_id), None, True, outcome))
        if link.is_open and link.credit <= CREDIT // 2:
            link.grant()

    def _too_large(self) -> Described:
        """Reject the message and keep the link: after a detach the SDK fails the next send, too."""
        text = f"The message is larger than {self.wire.max_message_size} bytes."
        return frames.composite(frames.REJECTED, frames.error(SIZE_EXCEEDED, text))

    def on_disposition(self, disposition: Disposition) -> None:
        if not disposition.role:
            return  # a sender's settlement of a delivery that was settled here already
        for delivery in self._named(disposition):
            state = disposition.state
            if state is None or frames.unpack(state)[0] == frames.RECEIVED:
                if disposition.settled:
                    self.unsettled.pop(delivery.number, None)
                continue
            answer = delivery.link.node.settled(delivery, state)
            self.unsettled.pop(delivery.number, None)
            if not disposition.settled:
                self.send(Disposition(False, Uint(delivery.number), None, True, answer))

    def _named(self, disposition: Disposition) -> list[Delivery]:
        """The unsettled deliveries in a range, which may span billions of numbers."""
        first = disposition.first
        last = first if disposition.last is None else disposition.last
        span = (last - first) & 0xFFFFFFFF
        if span < len(self.unsettled):
            numbers = ((first + step) & 0xFFFFFFFF for step in range(span + 1))
            return [self.unsettled[number] for number in numbers if number in self.unsettled]
        named = [n for n in self.unsettled if (n - first) & 0xFFFFFFFF <= span]
        return [self.unsettled[number] for number in named]

    def close(self) -> None:
        for link in self.links.values():
            if link.is_open:
                link.is_open = False
                link.node.closed(link)
