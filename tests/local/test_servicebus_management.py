"""Requests to $management, valid and invalid."""

from typing import Any
from uuid import UUID, uuid4

import pytest

from local.emulators.servicebus import message
from local.emulators.servicebus.codec import Array, Timestamp, Uint
from local.emulators.servicebus.management import PEEK_BYTES, PREFIX, answer
from local.emulators.servicebus.queue import Message, MessageState, Queue, QueueOptions

BODY = message.section(message.DATA, b"hello")


class Acceptor:
    """Accepts messages as the broker does."""

    def accept(self, queue: Queue, message: Message, visible_at: float | None) -> int:
        return queue.put(message, visible_at)


@pytest.fixture
def queue() -> Queue:
    queue = Queue("jobs", QueueOptions(), mark=message.mark)
    for _ in range(3):
        queue.put(Message(BODY))
    return queue


def ask(queue: Queue, operation: Any, body: Any) -> tuple[int, Any]:
    head, result = answer(operation, body, queue, Acceptor())
    return head["statusCode"], result


@pytest.mark.parametrize(
    ("operation", "body", "status"),
    [
        ("no-such-thing", {}, 501),
        (PREFIX + "add-rule", {}, 501),
        (None, {}, 501),
        (["list"], {}, 501),
        (PREFIX + "renew-lock", None, 400),
        (PREFIX + "renew-lock", {}, 400),
        (PREFIX + "renew-lock", {"lock-tokens": 5}, 400),
        (PREFIX + "renew-lock", {"lock-tokens": ["x"]}, 400),
        (PREFIX + "renew-lock", {"lock-tokens": [uuid4()]}, 410),
        (PREFIX + "schedule-message", {"messages": {}}, 400),
        (PREFIX + "schedule-message", {"messages": [5]}, 400),
        (PREFIX + "schedule-message", {"messages": [{"message": "text"}]}, 400),
        (PREFIX + "schedule-message", {"messages": [{"message": b"\xff"}]}, 400),
        (PREFIX + "cancel-scheduled-message", {"sequence-numbers": [[]]}, 400),
        (PREFIX + "cancel-scheduled-message", {"sequence-numbers": [1]}, 404),
        (PREFIX + "peek-message", {"from-sequence-number": "a", "message-count": 1}, 400),
        (PREFIX + "peek-message", {"from-sequence-number": 9, "message-count": 1}, 204),
        (PREFIX + "peek-message", {"from-sequence-number": 0, "message-count": -1}, 204),
        (PREFIX + "receive-by-sequence-number", {"sequence-numbers": [1]}, 404),
        (PREFIX + "update-disposition", {"lock-tokens": [uuid4()]}, 400),
        (
            PREFIX + "update-disposition",
            {"lock-tokens": [], "disposition-status": "eaten"},
            400,
        ),
        (
            PREFIX + "update-disposition",
            {"lock-tokens": [uuid4()], "disposition-status": "completed"},
            410,
        ),
    ],
)
def test_invalid_requests_get_an_error(
    queue: Queue, operation: Any, body: Any, status: int
) -> None:
    assert ask(queue, operation, body) == (status, None)
    assert len(queue.messages) == 3


def test_schedule(queue: Queue) -> None:
    annotations = {message.SCHEDULED_TIME: Timestamp(9_000_000_000_000)}
    raw = message.section(message.ANNOTATIONS, annotations) + BODY

    status, result = ask(queue, PREFIX + "schedule-message", {"messages": [{"message": raw}]})

    assert (status, result) == (200, {"sequence-numbers": Array([4], 0x81)})
    assert queue.messages[4].state == MessageState.SCHEDULED
    assert queue.messages[4].visible_at == 9e9


@pytest.mark.parametrize("as_text", [False, True])
@pytest.mark.parametrize(
    ("how", "left"),
    [
        ("completed", [2, 3]),
        ("abandoned", [1, 2, 3]),
        ("defered", [1, 2, 3]),
        ("suspended", [2, 3]),
    ],
)
def test_settle(queue: Queue, how: str, left: list[int], as_text: bool) -> None:
    token: UUID | str = queue.lock(queue.take()).token
    body = {"lock-tokens": [str(token) if as_text else token], "disposition-status": how}

    assert ask(queue, PREFIX + "update-disposition", body) == (200, {})

    assert sorted(queue.messages) == left
    assert len(queue.dead_letters.messages) == (how == "suspended")


def test_deferred_messages_are_received_all_or_none(queue: Queue) -> None:
    for _ in range(2):
        queue.defer(queue.lock(queue.take()).token)
    operation = PREFIX + "receive-by-sequence-number"

    status, _ = ask(queue, operation, {"sequence-numbers": [1, 2, 3]})
    assert status == 404

    status, result = ask(queue, operation, {"sequence-numbers": [1, 2]})
    assert status == 200
    queue.complete(result["messages"][1]["lock-token"])
    assert sorted(queue.messages) == [1, 3]


def test_a_deferred_message_can_be_received_and_deleted(queue: Queue) -> None:
    queue.defer(queue.lock(queue.take()).token)
    body = {"sequence-numbers": [1], "receiver-settle-mode": Uint(0)}

    status, _ = ask(queue, PREFIX + "receive-by-sequence-number", body)

    assert status == 200
    assert sorted(queue.messages) == [2, 3]


def test_a_peek_fits_into_one_message(queue: Queue) -> None:
    for _ in range(30):
        queue.put(Message(message.section(message.DATA, bytes(100_000))))

    _, result = ask(
        queue, PREFIX + "peek-message", {"from-sequence-number": 0, "message-count": 1000}
    )

    sizes = [len(each["message"]) for each in result["messages"]]
    assert PEEK_BYTES < sum(sizes) < PEEK_BYTES + 110_000
