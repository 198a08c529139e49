"""A broker that loses, duplicates, delays, reorders and garbles messages at a given rate."""

import random
import re
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from local.emulators.servicebus.broker import Broker
from local.emulators.servicebus.queue import Lock, Message, Queue
from local.emulators.servicebus.session import Link

# Each has the length of the text that it replaces, because the AMQP message contains the length.
_GARBLED = (
    (re.compile(rb'_id":".{6}'), rb'_id":"\\u0000'),
    (re.compile(rb'_id":"'), rb'_jd":"'),
    (re.compile(rb'\{"'), rb'["'),
)
_ID = re.compile(rb'"(?:job_id|task_id)":"([^"]+)"')


@dataclass(frozen=True)
class FaultRates:
    """The probability of each fault for an incoming message, and for a delivery."""

    lose: float = 0.0
    twice: float = 0.0
    delay: float = 0.0
    longest_delay: float = 3.0
    lose_delivery: float = 0.0
    garble: float = 0.0


NO_FAULTS = FaultRates()


@dataclass
class MessageFaults:
    """The present rates and their effects so far; kept over a restart of the broker."""

    seed: int
    now: FaultRates = NO_FAULTS
    counts: Counter[str] = field(default_factory=Counter)
    hits: list[tuple[str, float, str]] = field(default_factory=list)
    """What happened to a message: kind, time, the id of its job or task."""

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)
        self.has_struck = False

    def change(self, rates: FaultRates) -> None:
        """Set the rates. The first message that a fault can affect is always affected."""
        self.now, self.has_struck = rates, False

    def strikes(self, likelihood: float) -> bool:
        if likelihood <= 0 or (self.has_struck and self.chance.random() >= likelihood):
            return False
        self.has_struck = True
        return True

    def companions(self, message: Message) -> Iterator[Message]:
        """Extra messages: a duplicate, and a garbled copy that cannot be parsed or stored."""
        if self.strikes(self.now.twice):
            self.counts["message doubled"] += 1
            yield replace(message)
        if self.strikes(self.now.garble):
            self.counts["message garbled"] += 1
            pattern, replacement = self.chance.choice(_GARBLED)
            yield replace(message, content=pattern.sub(replacement, message.content, count=1))

    def note(self, kind: str, message: Message) -> None:
        self.counts[kind] += 1
        found = _ID.search(message.content)
        if found:
            self.hits.append((kind, time.time(), found[1].decode()))


def faulty_broker(faults: MessageFaults) -> type[Broker]:
    """A broker class that applies the faults to incoming and outgoing messages."""

    class FaultyBroker(Broker):
        """Loses, duplicates, delays, reorders and garbles messages."""

        def accept(self, queue: Queue, message: Message, visible_at: float | None) -> int:
            rates = faults.now
            faults.counts["messages"] += 1
            if faults.strikes(rates.lose):
                faults.note("message lost", message)
                return 0
            for companion in faults.companions(message):
                super().accept(queue, companion, visible_at)
            if faults.strikes(rates.delay):
                faults.note("message delayed", message)
                wait = faults.chance.uniform(0, rates.longest_delay)
                visible_at = max(visible_at or 0, time.time() + wait)
            return super().accept(queue, message, visible_at)

        def deliver(self, link: Link, received: Message, lock: Lock | None) -> None:
            faults.counts["deliveries"] += 1
            if received.delivery_count:
                faults.counts["redeliveries"] += 1
            if lock is not None and faults.strikes(faults.now.lose_delivery):
                faults.note("delivery lost", received)
                return
            super().deliver(link, received, lock)

    return FaultyBroker


def lose_locks(broker: Broker) -> None:
    """Expire every lock, so that messages in progress are delivered again.

    Must be called on the broker's thread.
    """
    for queue in broker.queues.values():
        for lock in queue._locks.values():
            lock.until = 0.0
        queue.advance()
        broker.serve_all(queue)
