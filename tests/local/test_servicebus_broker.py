"""The broker with the real SDK, synchronous and asynchronous."""

import asyncio
import gc
import json
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from azure.servicebus import (
    AutoLockRenewer,
    ServiceBusClient,
    ServiceBusMessage,
    ServiceBusReceivedMessage,
    ServiceBusReceiveMode,
    ServiceBusReceiver,
    ServiceBusSender,
    ServiceBusSubQueue,
)
from azure.servicebus.aio import AutoLockRenewer as AsyncLockRenewer
from azure.servicebus.aio import ServiceBusClient as AsyncClient
from azure.servicebus.exceptions import (
    MessageLockLostError,
    MessageNotFoundError,
    MessageSizeExceededError,
    MessagingEntityNotFoundError,
    ServiceBusAuthenticationError,
    ServiceBusError,
)

from tests.fixtures.broker import KEY, KEY_NAME, RunningBroker, start_broker

OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {"lock_duration": 30},
    "short": {"lock_duration": 1, "max_delivery_count": 3},
    "renewed": {"lock_duration": 2},
    "unique": {"duplicate_detection_window": 600},
}
SPARE = 40


class Sdk:
    """One client for many tests, each with its own queues.

    Closing a sender or receiver takes a second in the SDK, so all are closed together at the end.
    Retries are off: the SDK waits for seconds before each, also if a message is not found.
    """

    def __init__(self, running: RunningBroker) -> None:
        self.running = running
        self.client = ServiceBusClient.from_connection_string(
            running.connection_string, retry_total=0
        )
        self._opened: list[ServiceBusSender | ServiceBusReceiver] = []
        self._used = dict.fromkeys(OPTIONS, 0)

    def queue(self, kind: str = "plain") -> str:
        """The name of an unused queue."""
        self._used[kind] += 1
        return f"{kind}-{self._used[kind]}"

    def sender(self, queue: str) -> ServiceBusSender:
        return self._keep(self.client.get_queue_sender(queue))

    def receiver(self, queue: str, **options: Any) -> ServiceBusReceiver:
        return self._keep(self.client.get_queue_receiver(queue, **{"max_wait_time": 10} | options))

    def _keep(self, link: Any) -> Any:
        self._opened.append(link)
        return link

    def close(self) -> None:
        with ThreadPoolExecutor(16) as pool:
            list(pool.map(lambda link: link.close(), self._opened))
        self.client.close()


@pytest.fixture(scope="module")
def sdk() -> Iterator[Sdk]:
    spare = {f"{kind}-{n}": OPTIONS[kind] for kind in OPTIONS for n in range(1, SPARE)}
    with start_broker(spare) as running:
        sdk = Sdk(running)
        yield sdk
        sdk.close()


@pytest.fixture
def queue(sdk: Sdk) -> str:
    return sdk.queue()


def soon(condition: Callable[[], Any], seconds: float = 20) -> Any:
    """Poll until the result is true, and return it."""
    deadline = time.monotonic() + seconds
    while not (answer := condition()):
        assert time.monotonic() < deadline, "the condition was not met"
        time.sleep(0.01)
    return answer


def bodies(messages: list[ServiceBusReceivedMessage]) -> list[str]:
    return [str(each) for each in messages]


def receive(receiver: ServiceBusReceiver, count: int) -> list[ServiceBusReceivedMessage]:
    """Receive exactly `count` messages, with several calls if necessary."""
    messages: list[ServiceBusReceivedMessage] = []
    while len(messages) < count:
        more = receiver.receive_messages(count - len(messages))
        assert more, f"{len(messages)} of {count} came"
        messages += more
    return messages


class TestEntrance:
    def test_a_wrong_key(self, broker: RunningBroker) -> None:
        wrong = broker.connection_string_with("d3Jvbmc=")
        with (
            ServiceBusClient.from_connection_string(wrong, retry_total=0) as client,
            pytest.raises(ServiceBusAuthenticationError),
            client.get_queue_sender("geospatial-jobs") as sender,
        ):
            sender.send_messages(ServiceBusMessage("x"))
        assert broker.active("geospatial-jobs") == []

    def test_an_unknown_queue(self, broker: RunningBroker) -> None:
        with (
            ServiceBusClient.from_connection_string(
                broker.connection_string, retry_total=0
            ) as client,
            pytest.raises(MessagingEntityNotFoundError),
            client.get_queue_sender("nowhere") as sender,
        ):
            sender.send_messages(ServiceBusMessage("x"))


class TestMessages:
    def test_a_message_arrives_with_all_its_properties(self, sdk: Sdk, queue: str) -> None:
        sdk.sender(queue).send_messages(
            ServiceBusMessage(
                json.dumps({"a": 1}),
                application_properties={"k": "v", "n": 5, "f": 1.5, "b": True},
                message_id="mid",
                correlation_id="cid",
                subject="subj",
                content_type="application/json",
                reply_to="back",
                to="there",
                partition_key="p",
                time_to_live=timedelta(minutes=5),
            )
        )

        [got] = sdk.receiver(queue).receive_messages()

        assert str(got) == '{"a": 1}'
        assert got.application_properties == {b"k": b"v", b"n": 5, b"f": 1.5, b"b": True}
        assert (got.message_id, got.correlation_id, got.subject) == ("mid", "cid", "subj")
        assert (got.content_type, got.reply_to, got.to) == ("application/json", "back", "there")
        assert got.partition_key == "p"
        assert got.time_to_live == timedelta(minutes=5)
        assert (got.delivery_count, got.sequence_number) == (0, 1)
        assert abs(got.enqueued_time_utc - datetime.now(UTC)) < timedelta(minutes=1)

    def test_a_batch_keeps_its_order(self, sdk: Sdk, queue: str) -> None:
        sender, receiver = sdk.sender(queue), sdk.receiver(queue)
        batch = sender.create_message_batch()
        for number in range(5):
            batch.add_message(ServiceBusMessage(f"b{number}"))
        sender.send_messages(batch)
        sender.send_messages([ServiceBusMessage("single in a list")])

        got = receive(receiver, 6)

        assert bodies(got) == ["b0", "b1", "b2", "b3", "b4", "single in a list"]
        for each in got:
            receiver.complete_message(each)
        assert sdk.running.active(queue) == []

    def test_a_large_message_takes_many_frames(self, sdk: Sdk, queue: str) -> None:
        large = os.urandom(150_000).hex()
        sdk.sender(queue).send_messages(ServiceBusMessage(large))

        [got] = sdk.receiver(queue).receive_messages()

        assert str(got) == large

    def test_a_message_too_large_is_refused(self) -> None:
        with start_broker(OPTIONS, max_message_size=256 * 1024) as running:
            sdk = Sdk(running)
            sender = sdk.sender("plain")
            with pytest.raises(MessageSizeExceededError):
                sender.send_messages(ServiceBusMessage(bytes(257 * 1024)))
            sender.send_messages(ServiceBusMessage("small"))
            assert [each.body for each in running.active("plain")] == [b"small"]
            sdk.close()

    def test_duplicates_are_dropped(self, sdk: Sdk) -> None:
        queue = sdk.queue("unique")
        sender = sdk.sender(queue)
        for text in ("first", "again"):
            sender.send_messages(ServiceBusMessage(text, message_id="m1"))
        sender.send_messages([ServiceBusMessage("x", message_id="m2") for _ in range(3)])

        assert [each.body for each in sdk.running.active(queue)] == [b"first", b"x"]

    def test_a_thousand_one_by_one(self, sdk: Sdk, queue: str) -> None:
        sender, receiver = sdk.sender(queue), sdk.receiver(queue)
        for number in range(1000):
            sender.send_messages(ServiceBusMessage(str(number)))
        got = set()
        while len(got) < 1000:
            for each in receiver.receive_messages(50):
                receiver.complete_message(each)
                got.add(str(each))

        assert got == {str(number) for number in range(1000)}
        assert sdk.running.active(queue) == []

    def test_a_thousand_as_a_batch(self, sdk: Sdk, queue: str) -> None:
        receiver = sdk.receiver(queue)
        sdk.sender(queue).send_messages([ServiceBusMessage(str(n)) for n in range(1000)])
        for number in range(1000):
            [got] = receiver.receive_messages(1)
            receiver.complete_message(got)
            assert str(got) == str(number)


class TestSettlement:
    def test_abandon_counts_a_delivery(self, sdk: Sdk, queue: str) -> None:
        sdk.sender(queue).send_messages(ServiceBusMessage("x"))
        receiver = sdk.receiver(queue)
        [first] = receiver.receive_messages()
        receiver.abandon_message(first)

        [second] = receiver.receive_messages()

        assert (second.delivery_count, second.sequence_number) == (1, first.sequence_number)

    def test_a_dead_letter_has_a_reason(self, sdk: Sdk, queue: str) -> None:
        sdk.sender(queue).send_messages(
            ServiceBusMessage("x", application_properties={"k": "v", "n": 5})
        )
        receiver = sdk.receiver(queue)
        [got] = receiver.receive_messages()
        receiver.dead_letter_message(got, reason="BadRaster", error_description="no crs")

        dead_letters = sdk.receiver(queue, sub_queue=ServiceBusSubQueue.DEAD_LETTER)
        [dead] = dead_letters.receive_messages()

        assert (dead.dead_letter_reason, dead.dead_letter_error_description) == (
            "BadRaster",
            "no crs",
        )
        assert str(dead) == "x"
        assert dead.application_properties[b"k"] == b"v"
        assert dead.application_properties[b"n"] == 5
        dead_letters.complete_message(dead)
        assert sdk.running.dead_letters(queue) == []

    def test_a_dead_letter_without_a_reason(self, sdk: Sdk, queue: str) -> None:
        sdk.sender(queue).send_messages(ServiceBusMessage("x"))
        receiver = sdk.receiver(queue)
        receiver.dead_letter_message(receiver.receive_messages()[0])

        [dead] = sdk.running.dead_letters(queue)
        assert dead.reason == ""

    def test_defer_and_receive_by_number(self, sdk: Sdk, queue: str) -> None:
        sdk.sender(queue).send_messages(ServiceBusMessage("later"))
        receiver = sdk.receiver(queue)
        [got] = receiver.receive_messages()
        receiver.defer_message(got)
        assert sdk.running.active(queue) == []

        [deferred] = receiver.receive_deferred_messages(got.sequence_number)
        assert str(deferred) == "later"
        receiver.abandon_message(deferred)
        [deferred] = receiver.receive_deferred_messages(got.sequence_number)
        receiver.dead_letter_message(deferred, reason="Late", error_description="too late")

        assert [each.reason for each in sdk.running.dead_letters(queue)] == ["Late"]
        with pytest.raises(MessageNotFoundError):
            receiver.receive_deferred_messages(got.sequence_number)

    def test_receive_and_delete(self, sdk: Sdk, queue: str) -> None:
        sdk.sender(queue).send_messages([ServiceBusMessage("a"), ServiceBusMessage("b")])
        deleting = sdk.receiver(queue, receive_mode=ServiceBusReceiveMode.RECEIVE_AND_DELETE)

        assert bodies(receive(deleting, 2)) == ["a", "b"]
        assert sdk.running.active(queue) == []

    def test_too_many_deliveries(self, sdk: Sdk) -> None:
        queue = sdk.queue("short")
        sdk.sender(queue).send_messages(ServiceBusMessage("x"))
        receiver = sdk.receiver(queue)
        for count in range(3):
            [got] = receiver.receive_messages()
            assert got.delivery_count == count
            receiver.abandon_message(got)

        [dead] = sdk.running.dead_letters(queue)
        assert dead.reason == "MaxDeliveryCountExceeded"
        assert sdk.running.active(queue) == []


class TestLocks:
    def test_a_message_is_redelivered_after_its_lock_expires(self, sdk: Sdk) -> None:
        """The broker itself, not only the SDK, rejects the late settlement."""
        queue = sdk.queue("short")
        sdk.sender(queue).send_messages(ServiceBusMessage("x"))
        receiver = sdk.receiver(queue)
        [late] = receiver.receive_messages()
        [again] = receiver.receive_messages()
        assert again.delivery_count == 1

        with pytest.raises(MessageLockLostError):
            receiver.complete_message(late)
        late._expiry = datetime.now(UTC) + timedelta(minutes=1)  # disables the check in the SDK
        with pytest.raises(MessageLockLostError):
            receiver.complete_message(late)
        with pytest.raises(ServiceBusError):
            receiver.renew_message_lock(late)

    def test_renew(self, sdk: Sdk, queue: str) -> None:
        sdk.sender(queue).send_messages(ServiceBusMessage("x"))
        receiver = sdk.receiver(queue)
        [got] = receiver.receive_messages()
        before = got.locked_until_utc
        soon(lambda: datetime.now(UTC) > before - timedelta(seconds=29.9))

        assert receiver.renew_message_lock(got) > before
        receiver.complete_message(got)

    def test_the_renewer_of_the_sdk(self, sdk: Sdk) -> None:
        queue = sdk.queue("renewed")
        failures: list[Any] = []
        renewer = AutoLockRenewer(on_lock_renew_failure=lambda *failed: failures.append(failed))
        sdk.sender(queue).send_messages(ServiceBusMessage("long work"))
        receiver = sdk.receiver(queue, auto_lock_renewer=renewer)
        [got] = receiver.receive_messages()
        first = got.locked_until_utc
        soon(lambda: datetime.now(UTC) > first + timedelta(seconds=0.5))

        receiver.complete_message(got)

        assert not failures
        assert sdk.running.active(queue) == []
        renewer.close()

    def test_competing_consumers_share(self, sdk: Sdk, queue: str) -> None:
        sdk.sender(queue).send_messages([ServiceBusMessage(str(n)) for n in range(20)])
        one, two = sdk.receiver(queue), sdk.receiver(queue)

        first, second = receive(one, 10), receive(two, 10)

        assert sorted(map(int, bodies(first + second))) == list(range(20))

    def test_prefetched_messages_are_given_back(self, sdk: Sdk, queue: str) -> None:
        sdk.sender(queue).send_messages([ServiceBusMessage(str(n)) for n in range(10)])
        greedy = sdk.receiver(queue, prefetch_count=10)
        greedy.complete_message(greedy.receive_messages(1)[0])
        soon(lambda: all(each.is_locked for each in sdk.running.active(queue)))

        greedy.close()

        left = soon(lambda: [e for e in sdk.running.active(queue) if not e.is_locked])
        assert len(left) == 9
        got = receive(sdk.receiver(queue), 9)
        assert [each.delivery_count for each in got] == [0] * 9


class TestTime:
    def test_scheduled(self, sdk: Sdk, queue: str) -> None:
        at = datetime.now(UTC) + timedelta(seconds=1.5)
        sender, receiver = sdk.sender(queue), sdk.receiver(queue)
        [first] = sender.schedule_messages(ServiceBusMessage("by call"), at)
        sender.send_messages(ServiceBusMessage("by property", scheduled_enqueue_time_utc=at))
        assert [each.sequence for each in sdk.running.scheduled(queue)] == [first, first + 1]
        assert sdk.running.active(queue) == []

        got = receive(receiver, 2)

        assert bodies(got) == ["by call", "by property"]
        assert datetime.now(UTC) >= at

    def test_cancelled(self, sdk: Sdk, queue: str) -> None:
        sender = sdk.sender(queue)
        at = datetime.now(UTC) + timedelta(hours=1)
        numbers = sender.schedule_messages([ServiceBusMessage("a"), ServiceBusMessage("b")], at)

        sender.cancel_scheduled_messages(numbers)

        assert sdk.running.scheduled(queue) == []
        with pytest.raises(MessageNotFoundError):
            sender.cancel_scheduled_messages(numbers)

    def test_expired(self, sdk: Sdk, queue: str) -> None:
        """A message expires by time, not only when it is received."""
        sdk.sender(queue).send_messages(
            ServiceBusMessage("x", time_to_live=timedelta(milliseconds=300))
        )
        soon(lambda: not sdk.running.active(queue))


class TestPeek:
    def test_nothing_is_locked(self, sdk: Sdk, queue: str) -> None:
        receiver = sdk.receiver(queue)
        assert receiver.peek_messages(10) == []
        sdk.sender(queue).send_messages([ServiceBusMessage(f"p{n}") for n in range(3)])

        assert bodies(receiver.peek_messages(2)) == ["p0", "p1"]
        assert bodies(receiver.peek_messages(10, sequence_number=2)) == ["p1", "p2"]
        assert not any(each.is_locked for each in sdk.running.active(queue))

    def test_dead_letters_too(self, sdk: Sdk, queue: str) -> None:
        sdk.sender(queue).send_messages(ServiceBusMessage("x"))
        receiver = sdk.receiver(queue)
        receiver.dead_letter_message(receiver.receive_messages()[0], reason="Bad")
        [dead] = sdk.receiver(queue, sub_queue="deadletter").peek_messages(5)
        assert dead.dead_letter_reason == "Bad"

    def test_a_long_queue_is_counted_page_by_page(self, sdk: Sdk, queue: str) -> None:
        sdk.sender(queue).send_messages([ServiceBusMessage("x" * 200) for _ in range(2500)])
        receiver = sdk.receiver(queue)

        seen, start = 0, 1
        while page := receiver.peek_messages(1000, sequence_number=start):
            seen, start = seen + len(page), page[-1].sequence_number + 1

        assert seen == 2500


@asynccontextmanager
async def client_of(running: RunningBroker) -> AsyncIterator[AsyncClient]:
    async with AsyncClient.from_connection_string(running.connection_string) as client:
        yield client


class TestAsync:
    def test_send_settle_and_dead_letter(self, broker: RunningBroker) -> None:
        async def talk() -> None:
            async with AsyncExitStack() as stack:
                client = await stack.enter_async_context(client_of(broker))
                opened = (
                    client.get_queue_sender("geospatial-jobs"),
                    client.get_queue_receiver("geospatial-jobs", max_wait_time=10),
                )
                sender, receiver = [await stack.enter_async_context(each) for each in opened]
                await sender.send_messages(ServiceBusMessage("x"))
                [got] = await receiver.receive_messages()
                await receiver.abandon_message(got)
                [got] = await receiver.receive_messages()
                assert got.delivery_count == 1
                await receiver.dead_letter_message(got, reason="r", error_description="d")
                await sender.send_messages([ServiceBusMessage(str(n)) for n in range(100)])
                for number in range(100):
                    [got] = await receiver.receive_messages()
                    assert str(got) == str(number)
                    await receiver.complete_message(got)

        asyncio.run(talk())

        assert [each.reason for each in broker.dead_letters("geospatial-jobs")] == ["r"]
        assert broker.active("geospatial-jobs") == []

    def test_the_renewer_of_the_sdk(self, broker: RunningBroker) -> None:
        failures: list[Any] = []

        async def fail(*failed: Any) -> None:
            failures.append(failed)

        async def talk() -> None:
            renewer = AsyncLockRenewer(on_lock_renew_failure=fail)
            async with AsyncExitStack() as stack:
                client = await stack.enter_async_context(client_of(broker))
                sender = await stack.enter_async_context(client.get_queue_sender("geospatial-jobs"))
                receiver = await stack.enter_async_context(
                    client.get_queue_receiver("geospatial-jobs", auto_lock_renewer=renewer)
                )
                await sender.send_messages(ServiceBusMessage("long work"))
                [got] = await receiver.receive_messages()
                first = got.locked_until_utc
                while datetime.now(UTC) < first + timedelta(seconds=0.5):
                    await asyncio.sleep(0.05)
                await receiver.complete_message(got)
                await renewer.close()

        asyncio.run(talk())

        assert not failures
        assert broker.active("geospatial-jobs") == []

    def test_four_receivers_share(self, broker: RunningBroker) -> None:
        got: list[int] = []

        async def work() -> None:
            async with (
                client_of(broker) as client,
                client.get_queue_receiver("geospatial-tasks", max_wait_time=1) as receiver,
            ):
                while messages := await receiver.receive_messages(10):
                    for each in messages:
                        await receiver.complete_message(each)
                        got.append(int(str(each)))

        async def talk() -> None:
            async with (
                client_of(broker) as client,
                client.get_queue_sender("geospatial-tasks") as sender,
            ):
                await sender.send_messages([ServiceBusMessage(str(n)) for n in range(1000)])
                await asyncio.gather(*(work() for _ in range(4)))

        asyncio.run(talk())

        assert sorted(got) == list(range(1000))
        assert broker.active("geospatial-tasks") == []


class Process:
    """The broker as a process."""

    def __init__(self, folder: Path) -> None:
        self.port_file = folder / "port"
        self.configuration = folder / "broker.json"
        self.configuration.write_text(
            json.dumps(
                {
                    "port": 0,
                    "port_file": str(self.port_file),
                    "keys": {KEY_NAME: KEY},
                    "queues": {"plain": {"lock_duration": 60}, "unique": OPTIONS["unique"]},
                    "store": str(folder / "messages"),
                }
            )
        )
        self.start()

    def restart(self) -> None:
        """Start the broker again on the same port."""
        fields = json.loads(self.configuration.read_text())
        port = int(self.port_file.read_text())
        self.configuration.write_text(json.dumps(fields | {"port": port}))
        self.start()

    def start(self) -> None:
        self.port_file.unlink(missing_ok=True)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "local.emulators.servicebus", str(self.configuration)],
            stdout=subprocess.PIPE,
            text=True,
        )
        self.announced = self.process.stdout.readline()
        soon(self.port_file.exists)

    def end(self, number: int) -> int:
        self.process.send_signal(number)
        self.process.stdout.close()
        return self.process.wait(10)

    @property
    def connection_string(self) -> str:
        port = self.port_file.read_text().strip()
        assert self.announced.strip().endswith(f":{port}")
        return (
            f"Endpoint=sb://127.0.0.1:{port};SharedAccessKeyName={KEY_NAME};"
            f"SharedAccessKey={KEY};UseDevelopmentEmulator=true;"
        )


@pytest.fixture
def process(tmp_path: Path) -> Iterator[Process]:
    process = Process(tmp_path)
    yield process
    if process.process.poll() is None:
        process.end(signal.SIGKILL)


class TestProcess:
    def test_messages_survive_a_kill(self, process: Process) -> None:
        at = datetime.now(UTC) + timedelta(hours=1)
        with ServiceBusClient.from_connection_string(process.connection_string) as client:
            sender = client.get_queue_sender("plain")
            receiver = client.get_queue_receiver("plain", max_wait_time=10)
            names = ["done", "deferred", "dead", "held", "untouched"]
            sender.send_messages([ServiceBusMessage(name) for name in names])
            [scheduled] = sender.schedule_messages(ServiceBusMessage("scheduled"), at)
            done, deferred, dead, _ = receive(receiver, 4)
            receiver.complete_message(done)
            receiver.defer_message(deferred)
            receiver.dead_letter_message(dead, reason="Bad")
        process.end(signal.SIGKILL)
        process.start()

        with ServiceBusClient.from_connection_string(process.connection_string) as client:
            receiver = client.get_queue_receiver("plain", max_wait_time=10)
            peeked = {str(each): each.sequence_number for each in receiver.peek_messages(20)}
            assert peeked == {"deferred": 2, "held": 4, "untouched": 5, "scheduled": scheduled}
            got = receive(receiver, 2)
            assert [(str(each), each.delivery_count) for each in got] == [
                ("held", 1),
                ("untouched", 0),
            ]
            [found] = receiver.receive_deferred_messages(deferred.sequence_number)
            assert str(found) == "deferred"
            with client.get_queue_sender("plain") as sender:
                sender.cancel_scheduled_messages(scheduled)
            dead_letters = client.get_queue_receiver("plain", sub_queue="deadletter")
            assert bodies(dead_letters.receive_messages(1, max_wait_time=10)) == ["dead"]

    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
    @pytest.mark.filterwarnings("ignore::ResourceWarning")
    def test_a_client_survives_a_restart(
        self, process: Process, number: int, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Sender and receiver are reused. The garbage collector closes the SDK's broken sockets."""
        with caplog.at_level(
            logging.CRITICAL, logger="azure"
        ):  # log records would keep references to sockets
            self._talk_across_a_restart(process, number)
        gc.collect()  # here, where ResourceWarning is ignored, and not during another test

    def _talk_across_a_restart(self, process: Process, number: int) -> None:
        with (
            ServiceBusClient.from_connection_string(process.connection_string) as client,
            client.get_queue_sender("plain") as sender,
            client.get_queue_receiver("plain", max_wait_time=10) as receiver,
        ):
            sender.send_messages(ServiceBusMessage("before"))
            code = process.end(number)
            assert code == (0 if number == signal.SIGTERM else -signal.SIGKILL)
            process.restart()
            sender.send_messages(ServiceBusMessage("after"))
            assert bodies(receive(receiver, 2)) == ["before", "after"]

    def test_a_configuration_error_names_the_field(self, tmp_path: Path) -> None:
        path = tmp_path / "broker.json"
        path.write_text('{"keys": {"a": "b"}, "queues": {"jobs": {"lock_durations": 3}}}')

        ended = subprocess.run(
            [sys.executable, "-m", "local.emulators.servicebus", str(path)],
            capture_output=True,
            text=True,
        )

        assert ended.returncode != 0
        assert "queues.jobs.lock_durations" in ended.stderr
