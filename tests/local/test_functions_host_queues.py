"""Queue listeners in the test process: slots, batches and stopping."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
from azure.servicebus import ServiceBusMessage
from azure.servicebus.aio import ServiceBusClient

from local.emulators.functions import servicebus
from local.emulators.functions.calls import Calls
from local.emulators.functions.hostjson import ServiceBusOptions
from local.emulators.functions.indexing import Function
from local.emulators.functions.invoke import Datum, Metadata
from local.emulators.functions.servicebus import Outage, QueueListener, QueueTrigger, open_client
from tests.fixtures.broker import RunningBroker, start_broker

TIMEOUT = 20.0
QUEUE = "work"


@dataclass
class Recorder:
    """An invoker with one function, which records its input and waits for `go_on`."""

    kind: str = "recorder"
    seen: list[object] = field(default_factory=list)
    go_on: asyncio.Event = field(default_factory=asyncio.Event)
    functions: dict[str, Function] = field(default_factory=lambda: {"work": FUNCTION})

    async def invoke(self, name: str, data: Datum, metadata: Metadata) -> Datum | None:
        self.seen.append(data.value if isinstance(data.value, str) else data.value.string)
        await self.go_on.wait()
        return None

    def close(self) -> None:
        """Nothing to close."""


FUNCTION = Function("work", "serviceBusTrigger", "message", {}, print, False, False)


@pytest.fixture
def broker():
    with start_broker({QUEUE: {"lock_duration": 30}}) as broker:
        yield broker


@asynccontextmanager
async def listening(
    broker: RunningBroker, *, is_batch: bool = False, **options: object
) -> AsyncIterator[tuple[QueueListener, Recorder, ServiceBusClient]]:
    settings = ServiceBusOptions.model_validate(options)
    recorder = Recorder()
    trigger = QueueTrigger(FUNCTION, QUEUE, broker.connection_string, is_batch, False, True)
    async with open_client(broker.connection_string) as client:
        calls = Calls(recorder, None, lambda: None)
        listener = QueueListener(trigger, client, settings, calls, Outage())
        listener.start()
        try:
            yield listener, recorder, client
        finally:
            await listener.stop(grace=0)


async def send(client: ServiceBusClient, *bodies: str) -> None:
    async with client.get_queue_sender(QUEUE) as sender:
        for start in range(0, len(bodies), 100):
            part = bodies[start : start + 100]
            await sender.send_messages([ServiceBusMessage(body) for body in part])


async def wait_until(is_so: Callable[[], bool], what: str) -> None:
    async with asyncio.timeout(TIMEOUT):
        while not is_so():
            await asyncio.sleep(0.02)
    assert is_so(), what


def test_slots_open_when_needed_and_close_when_idle(broker, monkeypatch) -> None:
    monkeypatch.setattr(servicebus, "_IDLE", 0.3)

    async def run() -> None:
        async with listening(broker, maxConcurrentCalls=3) as (listener, recorder, client):
            await wait_until(lambda: len(listener._listening) == 1, "one slot is listening")
            await send(client, *"abcde")
            await wait_until(lambda: len(recorder.seen) == 3, "three calls are running")
            assert len(listener._slots) == 3
            recorder.go_on.set()
            await wait_until(lambda: not broker.active(QUEUE), "all completed")
            await wait_until(
                lambda: len(listener._slots - listener._leaving) == 1, "one slot remains"
            )
            await send(client, "f")
            await wait_until(lambda: "f" in recorder.seen, "the remaining slot works")

    asyncio.run(run())


def test_prefetched_messages_are_processed(broker) -> None:
    async def run() -> None:
        async with listening(broker, prefetchCount=10, maxConcurrentCalls=2) as (
            _,
            recorder,
            client,
        ):
            recorder.go_on.set()
            await send(client, *map(str, range(40)))
            await wait_until(lambda: not broker.active(QUEUE), "all completed")
            assert sorted(recorder.seen) == sorted(map(str, range(40)))

    asyncio.run(run())


def test_a_stop_releases_every_message(broker) -> None:
    async def run() -> None:
        async with listening(broker, maxConcurrentCalls=2) as (_, recorder, client):
            await send(client, *"abcde")
            await wait_until(lambda: len(recorder.seen) == 2, "two calls are running")

    asyncio.run(run())
    messages = broker.active(QUEUE)
    assert sorted(message.body for message in messages) == [b"a", b"b", b"c", b"d", b"e"]
    assert not any(message.is_locked for message in messages)
    assert sum(message.delivery_count for message in messages) == 2, (
        "only the messages of started calls"
    )


def test_a_batch_waits_for_its_minimum_size(broker) -> None:
    async def run() -> None:
        options = {"minMessageBatchSize": 3, "maxBatchWaitTime": "00:01:00"}
        async with listening(broker, is_batch=True, **options) as (_, recorder, client):
            recorder.go_on.set()
            await send(client, "a", "b")
            await wait_until(
                lambda: all(message.is_locked for message in broker.active(QUEUE)), "received"
            )
            assert recorder.seen == []
            await send(client, "c")
            await wait_until(lambda: recorder.seen == [["a", "b", "c"]], "delivered together")
            await wait_until(lambda: not broker.active(QUEUE), "completed")

    asyncio.run(run())


def test_a_small_batch_is_delivered_after_its_wait_time(broker) -> None:
    async def run() -> None:
        options = {"minMessageBatchSize": 3, "maxBatchWaitTime": "00:00:00.2"}
        async with listening(broker, is_batch=True, **options) as (_, recorder, client):
            recorder.go_on.set()
            await send(client, "a", "b")
            await wait_until(lambda: recorder.seen == [["a", "b"]], "delivered")
            await wait_until(lambda: not broker.active(QUEUE), "completed")

    asyncio.run(run())


def test_a_stop_releases_an_unfinished_batch(broker) -> None:
    async def run() -> None:
        options = {"minMessageBatchSize": 3, "maxBatchWaitTime": "00:01:00"}
        async with listening(broker, is_batch=True, **options) as (_, recorder, client):
            await send(client, "a", "b")
            await wait_until(
                lambda: all(message.is_locked for message in broker.active(QUEUE)), "received"
            )
        assert recorder.seen == []

    asyncio.run(run())
    messages = broker.active(QUEUE)
    assert [message.body for message in messages] == [b"a", b"b"]
    assert not any(message.is_locked for message in messages)


def test_each_message_is_in_exactly_one_batch(broker) -> None:
    async def run() -> None:
        async with listening(broker, is_batch=True, maxMessageBatchSize=64) as (
            _,
            recorder,
            client,
        ):
            recorder.go_on.set()
            bodies = [str(number) for number in range(1000)]
            await send(client, *bodies)
            await wait_until(lambda: not broker.active(QUEUE), "completed")
            assert sorted(body for batch in recorder.seen for body in batch) == sorted(bodies)
            assert max(map(len, recorder.seen)) <= 64

    asyncio.run(run())


def test_a_stop_during_traffic_processes_each_message_completely_or_not_at_all(broker) -> None:
    bodies = [str(number) for number in range(300)]

    async def run() -> list[object]:
        async with listening(broker, maxConcurrentCalls=4) as (listener, recorder, client):
            await send(client, *bodies)
            recorder.go_on.set()
            await wait_until(lambda: len(recorder.seen) >= 50, "some calls have run")
            await listener.stop(grace=TIMEOUT)
            return recorder.seen

    seen = asyncio.run(run())
    left = broker.active(QUEUE)
    assert sorted([*seen, *(message.body.decode() for message in left)]) == sorted(bodies)
    assert not any(message.is_locked or message.delivery_count for message in left)
