"""The broker: attaches links to queues, to $cbs and to the $management node of a queue."""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Mapping
from uuid import UUID, uuid4

from local.emulators.servicebus import frames, management, message, tokens
from local.emulators.servicebus.codec import DecodeError, Described, Int, Value
from local.emulators.servicebus.connection import Connection
from local.emulators.servicebus.queue import (
    DEAD_LETTERS,
    Lock,
    LockLost,
    Message,
    Queue,
    QueueOptions,
)
from local.emulators.servicebus.session import Delivery, Link, LinkRefused, Node
from local.emulators.servicebus.store import Store

logger = logging.getLogger(__name__)

MAX_MESSAGE_SIZE = 1 << 20
LOCK_LOST = (
    "The lock supplied is invalid. Either the lock expired, or the message has already been "
    "removed from the queue."
)
ACCEPTED = frames.composite(frames.ACCEPTED)


class Broker:
    """Queues that clients use over AMQP. Everything runs in one event loop."""

    name = "geolathe-servicebus"

    def __init__(
        self,
        keys: Mapping[str, str],
        queues: Mapping[str, QueueOptions],
        *,
        store: Store | None = None,
        max_message_size: int = MAX_MESSAGE_SIZE,
    ) -> None:
        self.keys = keys
        self.max_message_size = max_message_size
        self.connections: set[Connection] = set()
        self.queues = {
            name.lower(): Queue(name, options, journal=store, mark=message.mark)
            for name, options in queues.items()
        }
        self._consumers: dict[Queue, deque[Link]] = {}
        for queue in self.queues.values():
            self._consumers[queue] = deque()
            if queue.dead_letters:
                self._consumers[queue.dead_letters] = deque()
        self._store = store
        self._alarm: asyncio.TimerHandle | None = None
        if store:
            store.attach(self.queues)

    # Every message enters and leaves through one of these two methods.

    def accept(self, queue: Queue, message: Message, visible_at: float | None) -> int:
        """Add a message to a queue. Returns its sequence number."""
        sequence = queue.put(message, visible_at)
        self.serve(queue)
        return sequence

    def deliver(self, link: Link, received: Message, lock: Lock | None) -> None:
        """Send a message to a receiver: locked, or already removed from the queue."""
        tag = lock.token.bytes_le if lock else uuid4().bytes
        link.send(tag, message.render(received, lock), token=lock and lock.token)

    # Queues and their consumers

    def find(self, path: str) -> Queue | None:
        """The queue or dead-letter queue at a path; None if there is none."""
        name, _, below = path.lower().partition("/")
        queue = self.queues.get(name)
        if queue is not None and below == DEAD_LETTERS:
            return queue.dead_letters
        return None if below else queue

    def wait(self, queue: Queue, link: Link) -> None:
        """Add a link to the consumers of a queue, which get its messages in turn."""
        if link not in self._consumers[queue]:
            self._consumers[queue].append(link)
        self.serve(queue)

    def leave(self, queue: Queue, link: Link) -> None:
        if link in self._consumers[queue]:
            self._consumers[queue].remove(link)

    def serve(self, queue: Queue) -> None:
        """Send ready messages to consumers with credit, and set the timer for the next due time."""
        consumers = self._consumers[queue]
        while consumers and queue.has_ready:
            link = consumers[0]
            if not link.can_send:
                consumers.popleft()  # `credited` adds it again
                continue
            received = queue.take()
            if received is None:
                break
            consumers.rotate(-1)
            if link.settles:
                queue.remove(received)
            self.deliver(link, received, None if link.settles else queue.lock(received))
        self._set_alarm(queue)

    def serve_all(self, queue: Queue) -> None:
        """Serve a queue and its dead-letter queue, to which messages may have moved."""
        self.serve(queue)
        if queue.dead_letters:
            self.serve(queue.dead_letters)

    def _set_alarm(self, queue: Queue) -> None:
        due = queue.next_due()
        if due is None:
            return
        loop = asyncio.get_running_loop()
        at = loop.time() + due - time.time()
        if self._alarm is None or at < self._alarm.when():
            if self._alarm:
                self._alarm.cancel()
            self._alarm = loop.call_at(at, self._ring)

    def _ring(self) -> None:
        """Process what has become due in any queue."""
        self._alarm = None
        for queue in self._consumers:
            queue.advance()
        for queue in self._consumers:  # after all have advanced: that moves messages between queues
            self.serve(queue)

    def attach(self, link: Link) -> Node:
        """The node that a link leads to. Raises LinkRefused."""
        if link.is_coordinator or link.has_filter:
            text = "Transactions and sessions are not supported."
            raise LinkRefused("amqp:not-implemented", text)
        path = tokens.entity_path(link.address)
        if path == "$cbs":
            return TokenNode(self)
        entity = path.removesuffix("/$management")
        queue = self.find(entity)
        if queue is None:
            text = f"The messaging entity '{entity}' could not be found."
            raise LinkRefused("amqp:not-found", text)
        if allowed_until(link, entity) <= time.time():
            text = f"Unauthorized access to '{entity}': no valid token was put for it."
            raise LinkRefused("amqp:unauthorized-access", text)
        kind = QueueNode if entity == path else ManagementNode
        return kind(self, queue, entity)

    # Start and stop

    async def listen(self, host: str, port: int) -> int:
        """Accept connections. Returns the port, which the system chooses if `port` is 0."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: Connection(self), host, port)
        for queue in self._consumers:
            self._set_alarm(queue)
        return int(self._server.sockets[0].getsockname()[1])

    async def close(self) -> None:
        """Close every connection, then flush and close the store."""
        self._server.close()
        for connection in list(self.connections):
            connection.leave("amqp:connection:forced", "The broker is closing.")
        await asyncio.sleep(0)
        for connection in list(self.connections):
            connection.abort()
        await asyncio.sleep(0)  # lets the event loop close the transports
        if self._alarm:
            self._alarm.cancel()
        if self._store:
            self._store.close()


def allowed_until(link: Link, path: str) -> float:
    """When the last token that was put for an entity expires; 0 without a token."""
    claims = link.session.wire.claims.items()
    return max((until for claim, until in claims if tokens.covers(claim, path)), default=0.0)


def rejected(condition: str, description: str) -> Described:
    return frames.composite(frames.REJECTED, frames.error(condition, description))


class RequestNode(Node):
    """Answers requests, on the link from the same node to the client's reply-to address."""

    def received(self, link: Link, payload: bytes, message_format: int) -> Described:
        try:
            properties, application, body = message.request(payload)
            correlation = frames.field(properties, 0, object)
            reply_to = frames.field(properties, 4, str)
        except DecodeError as error:
            return rejected("amqp:decode-error", str(error))
        answers = [
            each
            for each in link.session.links.values()
            if each.sends and each.can_send and each.address == link.address
            if reply_to in (None, each.peer_address)
        ]
        if not answers:
            return rejected("amqp:precondition-failed", f"no link to {reply_to!r} has credit")
        answer, value = self.answer(link, application, body)
        answers[0].send(uuid4().bytes, message.reply(correlation, answer, value))
        return ACCEPTED

    def answer(
        self, link: Link, application: management.Body, body: Value
    ) -> tuple[management.Body, Value]:
        raise NotImplementedError


class TokenNode(RequestNode):
    """$cbs: accepts the tokens that authorize the links of this connection.

    https://docs.oasis-open.org/amqp/amqp-cbs/v1.0/amqp-cbs-v1.0.html
    """

    def __init__(self, broker: Broker) -> None:
        self.broker = broker

    def answer(
        self, link: Link, application: management.Body, body: Value
    ) -> tuple[management.Body, Value]:
        operation, audience = application.get("operation"), str(application.get("name"))
        if operation != "put-token":
            return self._status(400, f"{operation!r} is not implemented"), None
        try:
            until = tokens.verify(str(body), audience, self.broker.keys, time.time())
        except tokens.TokenRefused as refusal:
            return self._status(401, f"Unauthorized: {refusal}"), None
        path = tokens.entity_path(audience).removesuffix("/$management")
        link.session.wire.claims[path] = until
        return self._status(202, "Accepted"), None

    def _status(self, code: int, description: str) -> management.Body:
        return {"status-code": Int(code), "status-description": description}


class ManagementNode(RequestNode):
    """The $management of a queue."""

    def __init__(self, broker: Broker, queue: Queue, path: str) -> None:
        self.broker = broker
        self.queue = queue
        self.path = path

    def answer(
        self, link: Link, application: management.Body, body: Value
    ) -> tuple[management.Body, Value]:
        if allowed_until(link, self.path) <= time.time():
            return management.refusal(401, "amqp:unauthorized-access", "The token has expired.")
        operation = application.get("operation")
        reply = management.answer(operation, body, self.queue, self.broker)
        self.broker.serve_all(self.queue)
        return reply


class QueueNode(Node):
    """A queue: accepts messages from senders and delivers them to receivers."""

    def __init__(self, broker: Broker, queue: Queue, path: str) -> None:
        self.broker = broker
        self.queue = queue
        self.path = path

    def received(self, link: Link, payload: bytes, message_format: int) -> Described:
        if not self._is_allowed(link):
            return rejected("amqp:unauthorized-access", "The token has expired.")
        if self.queue.dead_letters is None:
            return rejected("amqp:not-allowed", "Messages cannot be sent to a dead-letter queue.")
        try:
            is_batch = message_format == message.BATCH
            messages = message.batch(payload) if is_batch else [message.read(payload)]
        except DecodeError as error:
            return rejected("amqp:decode-error", str(error))
        for each in messages:
            self.broker.accept(self.queue, each, message.visible_at(each))
        return ACCEPTED

    def credited(self, link: Link) -> None:
        if link.credit > 0 and self._is_allowed(link):
            self.broker.wait(self.queue, link)

    def settled(self, delivery: Delivery, state: Described) -> Described:
        """Apply an outcome. The reply to a rejection is a rejection without an error."""
        code, values = frames.unpack(state)
        try:
            self._settle(delivery.token, code, values)
        except LockLost:
            return rejected(management.LOCK_LOST, LOCK_LOST)
        self.broker.serve_all(self.queue)
        return frames.composite(frames.REJECTED) if code == frames.REJECTED else state

    def _settle(self, token: UUID, code: int, values: list[Value]) -> None:
        if code == frames.ACCEPTED:
            self.queue.complete(token)
        elif code == frames.RELEASED:
            self.queue.release(token)
        elif code == frames.MODIFIED and frames.field(values, 1, bool):  # undeliverable here
            self.queue.defer(token)
        elif code == frames.MODIFIED and frames.field(values, 0, bool):  # delivery failed
            self.queue.abandon(token)
        elif code == frames.MODIFIED:
            self.queue.release(token)
        elif code == frames.REJECTED:
            self.queue.dead_letter(token, *self._cause(values))
        else:
            raise DecodeError(f"{code:#x} is not an outcome")

    def _cause(self, values: list[Value]) -> tuple[str, str]:
        """Reason and description in the error of a rejection."""
        error = frames.field(values, 0, Described)
        info = frames.field(frames.unpack(error)[1], 2, dict) if error else None
        known = info or {}
        reason, text = known.get("DeadLetterReason"), known.get("DeadLetterErrorDescription")
        return str(reason or ""), str(text or "")

    def closed(self, link: Link) -> None:
        """Stop delivering to the link. Its locks last until they expire, as on Azure."""
        self.broker.leave(self.queue, link)

    def _is_allowed(self, link: Link) -> bool:
        """Whether the link has a valid token; it is closed if the token has expired."""
        allowed = allowed_until(link, self.path) > time.time()
        if not allowed:
            link.fail("amqp:unauthorized-access", f"The token for '{self.path}' has expired.")
        return allowed
