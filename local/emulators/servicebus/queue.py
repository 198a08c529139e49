"""A Service Bus queue without any I/O: peek-lock, delivery counts, dead letters, schedules.

The caller passes a clock and asks `next_due` when to call `advance` again. Every change is
written to a journal before the reply, so that a journal in a file makes the queue durable.
"""

import heapq
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, Protocol
from uuid import UUID, uuid4

from pydantic import BaseModel, ConfigDict, Field

DEAD_LETTERS = "$deadletterqueue"


class QueueOptions(BaseModel):
    """The options of a queue; durations are in seconds."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    lock_duration: float = Field(60.0, gt=0, le=300)
    max_delivery_count: int = Field(10, ge=1)
    dead_letter_on_expiration: bool = False
    duplicate_detection_window: float = Field(0.0, ge=0)  # 0: off


class MessageState(IntEnum):
    """x-opt-message-state."""

    ACTIVE = 0
    DEFERRED = 1
    SCHEDULED = 2


@dataclass(eq=False, slots=True)
class Message:
    """A message: the bytes that its sender wrote, and its state in the queue."""

    content: bytes  # properties, application-properties, body and footer, as received
    annotations: dict[Any, Any] = field(default_factory=dict)
    message_id: Any = None
    durable: bool = False
    time_to_live: int | None = None  # milliseconds
    sequence: int = 0
    enqueued: float = 0.0
    state: MessageState = MessageState.ACTIVE
    visible_at: float = 0.0
    delivery_count: int = 0
    dead_lettered: bool = False
    lock: "Lock | None" = None

    @property
    def expires(self) -> float | None:
        return None if self.time_to_live is None else self.enqueued + self.time_to_live / 1000


@dataclass(eq=False, slots=True)
class Lock:
    """A receiver's lock on a message."""

    token: UUID
    message: Message
    until: float


class LockLost(Exception):
    """The lock has expired, or its message has been settled."""


class MessageNotFound(Exception):
    """No message has this sequence number and the required state."""


class Journal(Protocol):
    """Called for every change, before the reply is sent."""

    def put(self, queue: str, message: Message) -> None:
        """Record a new message, or one that moved to the dead-letter queue."""

    def change(self, queue: str, message: Message) -> None:
        """Record a change of state, lock or delivery count."""

    def remove(self, queue: str, message: Message) -> None:
        """Record that a message was removed."""


class NoJournal:
    """Keeps nothing: the messages are lost when the process ends."""

    def put(self, queue: str, message: Message) -> None: ...

    def change(self, queue: str, message: Message) -> None: ...

    def remove(self, queue: str, message: Message) -> None: ...


class Queue:
    """One queue. Its dead letters are in a second queue, which has no delivery limit."""

    def __init__(
        self,
        name: str,
        options: QueueOptions,
        *,
        journal: Journal | None = None,
        mark: Callable[[bytes, str, str], bytes] = lambda content, reason, description: content,
        clock: Callable[[], float] = time.time,
        holds_dead_letters: bool = False,
    ) -> None:
        self.name = name
        self.options = options
        self.journal: Journal = journal or NoJournal()
        self.messages: dict[int, Message] = {}
        self.last_sequence = 0
        self.seen: OrderedDict[Any, float] = OrderedDict()  # message id -> time of arrival
        self.dead_letters: Queue | None = None
        if not holds_dead_letters:
            self.dead_letters = Queue(
                name, options, journal=self.journal, clock=clock, holds_dead_letters=True
            )
        self._mark = mark
        self._clock = clock
        self._ready: list[int] = []  # a heap: an abandoned message keeps its place in the order
        self._scheduled: list[tuple[float, int]] = []
        self._expiring: list[tuple[float, int]] = []
        self._locks: OrderedDict[UUID, Lock] = (
            OrderedDict()
        )  # by expiry, because all have the same duration

    # Incoming messages

    def put(self, message: Message, visible_at: float | None = None) -> int:
        """Store a message, unless it is a duplicate. Returns its sequence number."""
        now = self._clock()
        self.last_sequence += 1
        message.sequence, message.enqueued = self.last_sequence, now
        if self._is_duplicate(message, now):
            return message.sequence
        if visible_at is not None and visible_at > now:
            message.state, message.visible_at = MessageState.SCHEDULED, visible_at
        self.journal.put(self.name, message)
        if self.options.duplicate_detection_window and message.message_id is not None:
            self.seen[message.message_id] = now
        self._place(message)
        return message.sequence

    def _is_duplicate(self, message: Message, now: float) -> bool:
        window = self.options.duplicate_detection_window
        if not window or message.message_id is None:
            return False
        while self.seen and next(iter(self.seen.values())) <= now - window:
            self.seen.popitem(last=False)
        return message.message_id in self.seen

    def _place(self, message: Message) -> None:
        """Add a message to the index for its state."""
        self.messages[message.sequence] = message
        if message.state == MessageState.SCHEDULED:
            heapq.heappush(self._scheduled, (message.visible_at, message.sequence))
            return
        if message.state == MessageState.ACTIVE:
            heapq.heappush(self._ready, message.sequence)
        if message.expires is not None and not message.dead_lettered:
            heapq.heappush(self._expiring, (message.expires, message.sequence))

    def restore(self, message: Message, *, was_locked: bool) -> None:
        """Take back a message from the journal. A lock does not survive: it counts as lapsed."""
        home = self.dead_letters if message.dead_lettered and self.dead_letters else self
        self.last_sequence = max(self.last_sequence, message.sequence)
        if was_locked:
            home._fail(message, home._place)
        else:
            home._place(message)

    # Messages go

    @property
    def has_ready(self) -> bool:
        """Some message may be ready: `take` knows."""
        return bool(self._ready)

    def take(self) -> Message | None:
        """The next message that can be delivered, no longer in line for others."""
        while self._ready:
            message = self.messages.get(heapq.heappop(self._ready))
            if message is not None and not self._expire(message):
                return message
        return None

    def lock(self, message: Message) -> Lock:
        """Hold a message that was taken."""
        lock = Lock(uuid4(), message, self._clock() + self.options.lock_duration)
        message.lock = self._locks[lock.token] = lock
        self.journal.change(self.name, message)
        return lock

    def remove(self, message: Message) -> None:
        del self.messages[message.sequence]
        self.journal.remove(self.name, message)

    # Receivers settle. Each raises LockLost.

    def renew(self, token: UUID) -> float:
        """Renew a lock. Returns when it now expires."""
        lock = self._held(token)
        lock.until = self._clock() + self.options.lock_duration
        self._locks.move_to_end(token)
        return lock.until

    def complete(self, token: UUID) -> None:
        self.remove(self._unlock(token))

    def release(self, token: UUID) -> None:
        """Return a message without counting a delivery."""
        self._return(self._unlock(token))

    def abandon(self, token: UUID) -> None:
        self._fail(self._unlock(token))

    def defer(self, token: UUID) -> None:
        """Set a message aside; it can be received by its sequence number only."""
        message = self._unlock(token)
        message.delivery_count += 1
        message.state = MessageState.DEFERRED
        self.journal.change(self.name, message)

    def dead_letter(self, token: UUID, reason: str, description: str) -> None:
        self._bury(self._unlock(token), reason, description)

    def _held(self, token: UUID) -> Lock:
        lock = self._locks.get(token)
        if lock is None or lock.until <= self._clock():
            raise LockLost(str(token))
        return lock

    def _unlock(self, token: UUID) -> Message:
        lock = self._held(token)
        del self._locks[token]
        lock.message.lock = None
        return lock.message

    def _return(self, message: Message) -> None:
        """Make a message available again; a deferred message stays deferred."""
        if self._expire(message):
            return
        self.journal.change(self.name, message)
        if message.state == MessageState.ACTIVE:
            heapq.heappush(self._ready, message.sequence)

    def _fail(self, message: Message, back: Callable[[Message], None] | None = None) -> None:
        """Count a failed delivery, then return the message, or dead-letter it at the limit."""
        message.delivery_count += 1
        limit = self.options.max_delivery_count
        if self.dead_letters is None or message.delivery_count < limit:
            (back or self._return)(message)
            return
        description = f"Message could not be consumed after {limit} delivery attempts."
        self._bury(message, "MaxDeliveryCountExceeded", description)

    def _bury(self, message: Message, reason: str, description: str) -> None:
        """Move a message to the dead-letter queue; one that is there already stays."""
        if self.dead_letters is None:
            self._return(message)
            return
        self.messages.pop(message.sequence, None)
        message.content = self._mark(message.content, reason, description)
        message.state, message.dead_lettered = MessageState.ACTIVE, True
        self.journal.put(self.name, message)
        self.dead_letters._place(message)

    def _expire(self, message: Message) -> bool:
        """Remove or dead-letter a message whose time to live is over. Returns whether it was."""
        expires = message.expires
        if expires is None or expires > self._clock() or message.dead_lettered:
            return False
        if self.options.dead_letter_on_expiration:
            description = "The message expired and was dead lettered."
            self._bury(message, "TTLExpiredException", description)
        else:
            self.remove(message)
        return True

    # Timed changes

    def next_due(self) -> float | None:
        """The earliest time at which `advance` has something to do; None if never."""
        times = [heap[0][0] for heap in (self._scheduled, self._expiring) if heap]
        if self._locks:
            times.append(next(iter(self._locks.values())).until)
        return min(times, default=None)

    def advance(self) -> None:
        """Process what is due: scheduled messages, expired locks and expired messages."""
        now = self._clock()
        while self._scheduled and self._scheduled[0][0] <= now:
            self._enqueue_scheduled(heapq.heappop(self._scheduled)[1], now)
        while self._locks and next(iter(self._locks.values())).until <= now:
            _, lock = self._locks.popitem(last=False)
            lock.message.lock = None
            self._fail(lock.message)
        while self._expiring and self._expiring[0][0] <= now:
            message = self.messages.get(heapq.heappop(self._expiring)[1])
            if message is not None and message.lock is None:
                self._expire(message)

    def _enqueue_scheduled(self, sequence: int, now: float) -> None:
        message = self.messages.get(sequence)
        if message is None:
            return
        message.state, message.enqueued = MessageState.ACTIVE, now
        self.journal.change(self.name, message)
        self._place(message)

    # Management

    def peek(self, start: int, count: int) -> list[Message]:
        """Up to `count` messages in any state, starting at a sequence number."""
        later = (sequence for sequence in self.messages if sequence >= start)
        return [self.messages[sequence] for sequence in heapq.nsmallest(count, later)]

    def cancel(self, sequence: int) -> None:
        """Remove a scheduled message. Raises MessageNotFound."""
        message = self.messages.get(sequence)
        if message is None or message.state != MessageState.SCHEDULED:
            raise MessageNotFound(f"no scheduled message has the sequence number {sequence}")
        self.remove(message)

    def deferred(self, sequence: int) -> Message:
        """A deferred message that is not locked. Raises MessageNotFound."""
        message = self.messages.get(sequence)
        if message is None or message.state != MessageState.DEFERRED or message.lock:
            raise MessageNotFound(f"no deferred message has the sequence number {sequence}")
        return message
