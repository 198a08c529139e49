"""Queue semantics of Service Bus, with a simulated clock."""

from collections.abc import Callable
from uuid import uuid4

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from local.emulators.servicebus.queue import (
    LockLost,
    Message,
    MessageNotFound,
    MessageState,
    Queue,
    QueueOptions,
)


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def make_queue(clock: Callable[[], float], **options: float) -> Queue:
    def mark(content: bytes, reason: str, description: str) -> bytes:
        return content + b" " + reason.encode()

    options = {"lock_duration": 30, "max_delivery_count": 3} | options
    return Queue("jobs", QueueOptions(**options), mark=mark, clock=clock)


def put(queue: Queue, *bodies: str, **fields: object) -> list[int]:
    return [queue.put(Message(body.encode(), **fields)) for body in bodies]


def take(queue: Queue) -> bytes | None:
    message = queue.take()
    return message.content if message else None


def test_messages_come_in_the_order_they_were_put(clock: Clock) -> None:
    queue = make_queue(clock)

    assert put(queue, "a", "b", "c") == [1, 2, 3]

    assert [take(queue), take(queue), take(queue), take(queue)] == [b"a", b"b", b"c", None]


def test_a_returned_message_goes_back_to_its_place(clock: Clock) -> None:
    queue = make_queue(clock)
    put(queue, "a", "b")
    lock = queue.lock(queue.take())

    queue.release(lock.token)

    message = queue.take()
    assert message.content == b"a"
    assert message.delivery_count == 0


def test_a_message_is_dead_lettered_after_too_many_deliveries(clock: Clock) -> None:
    queue = make_queue(clock)
    put(queue, "a")
    for count in range(3):
        message = queue.take()
        assert message.delivery_count == count
        queue.abandon(queue.lock(message).token)

    assert queue.take() is None
    dead = queue.dead_letters.take()
    assert (dead.content, dead.delivery_count, dead.sequence) == (
        b"a MaxDeliveryCountExceeded",
        3,
        1,
    )


def test_a_dead_letter_is_not_dead_lettered_again(clock: Clock) -> None:
    queue = make_queue(clock)
    put(queue, "a", time_to_live=1000)
    queue.dead_letter(queue.lock(queue.take()).token, "Bad", "")
    dead = queue.dead_letters
    for _ in range(10):
        dead.abandon(dead.lock(dead.take()).token)
    clock.now += 1000
    dead.advance()

    dead.dead_letter(dead.lock(dead.take()).token, "Again", "")

    assert dead.take().content == b"a Bad"


def test_a_message_is_available_after_its_lock_expires(clock: Clock) -> None:
    queue = make_queue(clock)
    put(queue, "a")
    lock = queue.lock(queue.take())
    assert queue.next_due() == clock.now + 30

    clock.now += 30
    for settle in (queue.complete, queue.abandon, queue.release, queue.defer, queue.renew):
        with pytest.raises(LockLost):
            settle(lock.token)
    queue.advance()

    assert queue.take().delivery_count == 1
    with pytest.raises(LockLost):
        queue.complete(lock.token)


def test_a_renewed_lock_is_valid(clock: Clock) -> None:
    queue = make_queue(clock)
    put(queue, "a", "b")
    first, second = queue.lock(queue.take()), queue.lock(queue.take())

    clock.now += 20
    assert queue.renew(first.token) == clock.now + 30
    clock.now += 20
    queue.advance()

    assert queue.take().content == b"b"
    queue.complete(first.token)
    with pytest.raises(LockLost):
        queue.complete(second.token)


def test_an_unknown_lock_is_lost(clock: Clock) -> None:
    with pytest.raises(LockLost):
        make_queue(clock).complete(uuid4())


def test_a_scheduled_message_appears_when_it_is_due(clock: Clock) -> None:
    queue = make_queue(clock)
    sequence = queue.put(Message(b"later"), visible_at=clock.now + 60)
    assert queue.take() is None
    assert queue.next_due() == clock.now + 60

    clock.now += 60
    queue.advance()

    message = queue.take()
    assert (message.sequence, message.enqueued) == (sequence, clock.now)


def test_a_cancelled_message_never_appears(clock: Clock) -> None:
    queue = make_queue(clock)
    sequence = queue.put(Message(b"never"), visible_at=clock.now + 60)

    queue.cancel(sequence)
    clock.now += 60
    queue.advance()

    assert queue.take() is None
    with pytest.raises(MessageNotFound):
        queue.cancel(sequence)


def test_only_scheduled_messages_can_be_cancelled(clock: Clock) -> None:
    queue = make_queue(clock)
    [sequence] = put(queue, "now")

    with pytest.raises(MessageNotFound):
        queue.cancel(sequence)


def test_a_deferred_message_is_received_by_its_number(clock: Clock) -> None:
    queue = make_queue(clock)
    [sequence] = put(queue, "a")
    queue.defer(queue.lock(queue.take()).token)
    assert queue.take() is None

    lock = queue.lock(queue.deferred(sequence))
    with pytest.raises(MessageNotFound):
        queue.deferred(sequence)
    queue.abandon(lock.token)

    assert queue.take() is None
    queue.complete(queue.lock(queue.deferred(sequence)).token)
    assert queue.messages == {}


@pytest.mark.parametrize("dead_letter", [True, False])
def test_a_message_expires(clock: Clock, dead_letter: bool) -> None:
    queue = make_queue(clock, dead_letter_on_expiration=dead_letter)
    put(queue, "a", time_to_live=5000)
    assert queue.next_due() == clock.now + 5

    clock.now += 5
    queue.advance()

    assert queue.messages == {}
    expected = b"a TTLExpiredException" if dead_letter else None
    assert take(queue.dead_letters) == expected


def test_a_locked_message_expires_when_it_is_returned(clock: Clock) -> None:
    queue = make_queue(clock)
    put(queue, "kept", "lost", time_to_live=5000)
    kept, lost = queue.lock(queue.take()), queue.lock(queue.take())

    clock.now += 10
    queue.advance()
    queue.complete(kept.token)
    queue.abandon(lost.token)

    assert queue.take() is None
    assert queue.messages == {}


def test_time_to_live_counts_from_the_scheduled_time(clock: Clock) -> None:
    queue = make_queue(clock)
    queue.put(Message(b"a", time_to_live=5000), visible_at=clock.now + 60)

    clock.now += 60
    queue.advance()
    clock.now += 4
    queue.advance()

    assert take(queue) == b"a"


def test_a_duplicate_within_the_window_is_dropped(clock: Clock) -> None:
    queue = make_queue(clock, duplicate_detection_window=60)
    put(queue, "a", "again", message_id="m1")
    put(queue, "other", message_id="m2")
    put(queue, "no id", "no id")
    assert [take(queue) for _ in range(5)] == [b"a", b"other", b"no id", b"no id", None]

    clock.now += 59
    put(queue, "again", message_id="m1")
    assert take(queue) is None

    clock.now += 1
    put(queue, "again", message_id="m1")
    assert take(queue) == b"again"


def test_a_duplicate_of_a_completed_message_is_dropped(clock: Clock) -> None:
    queue = make_queue(clock, duplicate_detection_window=60)
    put(queue, "a", message_id="m1")
    queue.complete(queue.lock(queue.take()).token)

    put(queue, "a", message_id="m1")

    assert queue.take() is None


def test_without_a_window_nothing_is_a_duplicate(clock: Clock) -> None:
    queue = make_queue(clock)
    put(queue, "a", "a", message_id="m1")

    assert [take(queue), take(queue)] == [b"a", b"a"]
    assert not queue.seen


def test_a_retry_after_a_store_error_is_not_a_duplicate(clock: Clock) -> None:
    queue = make_queue(clock, duplicate_detection_window=60)
    journal, queue.journal = queue.journal, FullDisk()
    with pytest.raises(OSError, match="full"):
        put(queue, "a", message_id="m1")
    queue.journal = journal

    put(queue, "a", message_id="m1")

    assert take(queue) == b"a"


class FullDisk:
    def put(self, queue: str, message: Message) -> None:
        raise OSError("the disk is full")


def test_peek_sees_every_state_in_order(clock: Clock) -> None:
    queue = make_queue(clock)
    queue.put(Message(b"scheduled"), visible_at=clock.now + 60)
    put(queue, "deferred", "held", "active")
    queue.defer(queue.lock(queue.take()).token)
    queue.lock(queue.take())

    assert [each.content for each in queue.peek(0, 10)] == [
        b"scheduled",
        b"deferred",
        b"held",
        b"active",
    ]
    assert [each.sequence for each in queue.peek(2, 2)] == [2, 3]
    assert queue.peek(0, -1) == []


class QueueMachine(RuleBasedStateMachine):
    """Random operations: no message is lost, delivered twice or locked by two receivers."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.queue = make_queue(self.clock)
        self.locks: list = []
        self.completed: set[int] = set()
        self.sent: set[int] = set()

    @rule(delay=st.sampled_from([None, 5, 50]))
    def send(self, delay: int | None) -> None:
        at = None if delay is None else self.clock.now + delay
        self.sent.add(self.queue.put(Message(b"x"), at))

    @rule()
    def receive(self) -> None:
        message = self.queue.take()
        if message is None:
            return
        assert message.lock is None
        assert message.state == MessageState.ACTIVE
        self.locks.append(self.queue.lock(message))

    @rule(way=st.sampled_from(["complete", "abandon", "release", "defer", "renew"]), data=st.data())
    def settle(self, way: str, data: st.DataObject) -> None:
        if not self.locks:
            return
        lock = data.draw(st.sampled_from(self.locks))
        try:
            getattr(self.queue, way)(lock.token)
        except LockLost:
            return
        if way == "complete":
            self.completed.add(lock.message.sequence)

    @rule(data=st.data())
    def take_deferred(self, data: st.DataObject) -> None:
        numbers = [
            number
            for number, message in self.queue.messages.items()
            if message.state == MessageState.DEFERRED and not message.lock
        ]
        if numbers:
            message = self.queue.deferred(data.draw(st.sampled_from(numbers)))
            self.locks.append(self.queue.lock(message))

    @rule(seconds=st.sampled_from([1, 20, 40]))
    def wait(self, seconds: int) -> None:
        self.clock.now += seconds
        self.queue.advance()
        due = self.queue.next_due()
        assert due is None or due > self.clock.now

    @invariant()
    def every_message_is_in_one_place(self) -> None:
        held = set(self.queue.messages)
        dead = set(self.queue.dead_letters.messages)
        assert not held & dead
        assert held | dead | self.completed == self.sent
        assert not (held | dead) & self.completed

    def teardown(self) -> None:
        """All remaining messages can be received after locks and schedules have ended."""
        self.clock.now += 1000
        self.queue.advance()
        taken = []
        while message := self.queue.take():
            taken.append(message.sequence)
        waiting = [n for n, m in self.queue.messages.items() if m.state == MessageState.ACTIVE]
        assert taken == sorted(waiting)


TestQueueMachine = QueueMachine.TestCase
TestQueueMachine.settings = settings(deadline=None, max_examples=60, stateful_step_count=40)
