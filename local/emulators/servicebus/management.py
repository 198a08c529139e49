"""The $management node of a queue: Service Bus requests other than sending and receiving.

https://learn.microsoft.com/azure/service-bus-messaging/service-bus-amqp-request-response
"""

from collections.abc import Callable
from typing import Any, Protocol
from uuid import UUID

from local.emulators.servicebus.codec import Array, DecodeError, Int, Symbol, Value
from local.emulators.servicebus.message import read, render, visible_at
from local.emulators.servicebus.queue import LockLost, Message, MessageNotFound, Queue

PREFIX = "com.microsoft:"
LOCK_LOST = PREFIX + "message-lock-lost"
NOT_FOUND = PREFIX + "message-not-found"
LONG, TIMESTAMP = 0x81, 0x83
RECEIVE_AND_DELETE = 0
PEEK_LIMIT = 1000
PEEK_BYTES = 256 * 1024

Body = dict[str, Value]


class Acceptor(Protocol):
    """The method of the broker that adds messages to a queue."""

    def accept(self, queue: Queue, message: Message, visible_at: float | None) -> int: ...


def answer(operation: Value, body: Value, queue: Queue, broker: Acceptor) -> tuple[Body, Value]:
    """Handle a request. Returns the application properties and the body of the reply."""
    act = OPERATIONS.get(operation) if isinstance(operation, str) else None
    if act is None:
        return refusal(501, "amqp:not-implemented", f"{operation!r} is not implemented")
    if not isinstance(body, dict):
        return refusal(400, "amqp:invalid-field", "the body is not a map")
    try:
        result = act(queue, body, broker)
    except LockLost:
        return refusal(410, LOCK_LOST, "The lock supplied is invalid: it expired or was settled.")
    except MessageNotFound as error:
        return refusal(404, NOT_FOUND, str(error))
    except (DecodeError, KeyError) as error:
        return refusal(400, "amqp:invalid-field", f"{operation}: {error}")
    if result is None:
        return status(204, "No content"), None
    return status(200, "OK"), result


def status(code: int, description: str) -> Body:
    return {"statusCode": Int(code), "statusDescription": description}


def refusal(code: int, condition: str, description: str) -> tuple[Body, Value]:
    return status(code, description) | {"errorCondition": Symbol(condition)}, None


def _renew(queue: Queue, body: Body, broker: Acceptor) -> Body:
    until = [int(queue.renew(token) * 1000) for token in _tokens(body)]
    return {"expirations": Array(until, TIMESTAMP)}


def _schedule(queue: Queue, body: Body, broker: Acceptor) -> Body:
    messages = [read(_get(entry, "message", bytes)) for entry in _list(body, "messages", dict)]
    numbers = [broker.accept(queue, message, visible_at(message)) for message in messages]
    return {"sequence-numbers": Array(numbers, LONG)}


def _cancel(queue: Queue, body: Body, broker: Acceptor) -> Body:
    for sequence in _list(body, "sequence-numbers", int):
        queue.cancel(sequence)
    return {}


def _peek(queue: Queue, body: Body, broker: Acceptor) -> Body | None:
    """As many messages as fit into one reply; the client continues after the last one."""
    count = min(_get(body, "message-count", int), PEEK_LIMIT)
    entries: list[Body] = []
    size = 0
    for message in queue.peek(_get(body, "from-sequence-number", int), count):
        entries.append({"message": render(message)})
        size += len(message.content)
        if size > PEEK_BYTES:
            break
    return {"messages": entries} if entries else None


def _receive(queue: Queue, body: Body, broker: Acceptor) -> Body:
    """Deferred messages by sequence number: all of them, or MessageNotFound."""
    deletes = body.get("receiver-settle-mode") == RECEIVE_AND_DELETE
    messages = [queue.deferred(sequence) for sequence in _list(body, "sequence-numbers", int)]
    entries: list[Body] = []
    for message in messages:
        if deletes:
            queue.remove(message)
            entries.append({"message": render(message)})
            continue
        lock = queue.lock(message)
        entries.append({"lock-token": lock.token, "message": render(message, lock)})
    return {"messages": entries}


def _settle(queue: Queue, body: Body, broker: Acceptor) -> Body:
    disposition = _get(body, "disposition-status", str)
    reason = str(body.get("deadletter-reason") or "")
    description = str(body.get("deadletter-description") or "")
    ways: dict[str, Callable[[UUID], None]] = {
        "completed": queue.complete,
        "abandoned": queue.abandon,
        "defered": queue.defer,  # as the protocol spells it
        "suspended": lambda token: queue.dead_letter(token, reason, description),
    }
    if disposition not in ways:
        raise DecodeError(f"{disposition!r} is not a disposition")
    for token in _tokens(body):
        ways[disposition](token)
    return {}


OPERATIONS: dict[str, Callable[[Queue, Body, Acceptor], Body | None]] = {
    PREFIX + "renew-lock": _renew,
    PREFIX + "schedule-message": _schedule,
    PREFIX + "cancel-scheduled-message": _cancel,
    PREFIX + "peek-message": _peek,
    PREFIX + "receive-by-sequence-number": _receive,
    PREFIX + "update-disposition": _settle,
}


def _get(body: Body, key: str, kind: type) -> Value:
    value = body[key]
    if not isinstance(value, kind):
        raise DecodeError(f"{key} is a {type(value).__name__}, not a {kind.__name__}")
    return value


def _list(body: Body, key: str, kind: type) -> list[Any]:
    return [_get({key: each}, key, kind) for each in _get(body, key, list)]


def _tokens(body: Body) -> list[UUID]:
    """Lock tokens; the SDK sends UUIDs, some as text."""
    tokens = []
    for each in _get(body, "lock-tokens", list):
        try:
            tokens.append(each if isinstance(each, UUID) else UUID(str(each)))
        except ValueError as error:
            raise DecodeError(f"{each!r} is not a lock token") from error
    return tokens
