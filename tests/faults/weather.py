"""A broker with weather: messages get lost, come twice, late, or in another order."""

import random
import re
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from local.emulators.servicebus.broker import Broker
from local.emulators.servicebus.queue import Lock, Message, Queue
from local.emulators.servicebus.session import Link

# As long as what they replace: the message around them tells its length.
_GARBLED = (
    (re.compile(rb'_id":".{6}'), rb'_id":"\\u0000'),
    (re.compile(rb'_id":"'), rb'_jd":"'),
    (re.compile(rb'\{"'), rb'["'),
)
_ID = re.compile(rb'"(?:job_id|task_id)":"([^"]+)"')


@dataclass(frozen=True)
class Weather:
    """How likely each thing happens to a message that comes in, and to a delivery."""

    lose: float = 0.0
    twice: float = 0.0
    delay: float = 0.0
    longest_delay: float = 3.0
    lose_delivery: float = 0.0
    garble: float = 0.0


CALM = Weather()


@dataclass
class Climate:
    """The weather of a world and what it did. Outlives the broker, which may be restarted."""

    seed: int
    now: Weather = CALM
    counts: Counter[str] = field(default_factory=Counter)
    hits: list[tuple[str, float, str]] = field(default_factory=list)
    """What happened to a message: kind, time, the id of its job or task."""

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)
        self.has_struck = False

    def change(self, weather: Weather) -> None:
        """Another weather. It is sure to strike the first that it can."""
        self.now, self.has_struck = weather, False

    def strikes(self, likelihood: float) -> bool:
        if likelihood <= 0 or (self.has_struck and self.chance.random() >= likelihood):
            return False
        self.has_struck = True
        return True

    def companions(self, message: Message) -> Iterator[Message]:
        """Its double, and one that nobody can read or that names what no table can hold."""
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


def broker_under(climate: Climate) -> type[Broker]:
    """A broker whose doors obey the climate."""

    class WeatheredBroker(Broker):
        """Loses, doubles, delays, reorders and garbles."""

        def accept(self, queue: Queue, message: Message, visible_at: float | None) -> int:
            weather = climate.now
            climate.counts["messages"] += 1
            if climate.strikes(weather.lose):
                climate.note("message lost", message)
                return 0
            for companion in climate.companions(message):
                super().accept(queue, companion, visible_at)
            if climate.strikes(weather.delay):
                climate.note("message delayed", message)
                wait = climate.chance.uniform(0, weather.longest_delay)
                visible_at = max(visible_at or 0, time.time() + wait)
            return super().accept(queue, message, visible_at)

        def deliver(self, link: Link, received: Message, lock: Lock | None) -> None:
            climate.counts["deliveries"] += 1
            if received.delivery_count:
                climate.counts["redeliveries"] += 1
            if lock is not None and climate.strikes(climate.now.lose_delivery):
                climate.note("delivery lost", received)
                return
            super().deliver(link, received, lock)

    return WeatheredBroker


def lose_locks(broker: Broker) -> None:
    """Every message that somebody works on comes again. Called on the broker's thread."""
    for queue in broker.queues.values():
        for lock in queue._locks.values():
            lock.until = 0.0
        queue.advance()
        broker.serve_all(queue)
