"""Service Bus queue triggers, with the azure-servicebus SDK.

Each running call has a receiver of its own: pyamqp reads and writes a link under one lock, so on a
shared receiver a settlement would wait for a read. Opening a receiver is slow and an idle one
polls, so each queue starts with one slot, doubles the number when all are busy, up to
maxConcurrentCalls, and returns to one when idle.

Batches follow RunBatchReceiveLoopAsync of the extension: one batch at a time, messages settled
together, locks not renewed.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from azure.servicebus import (
    ServiceBusReceivedMessage,
    ServiceBusSubQueue,
    parse_connection_string,
)
from azure.servicebus.aio import ServiceBusClient, ServiceBusReceiver
from azure.servicebus.exceptions import ServiceBusConnectionError, ServiceBusError

from local.emulators.functions import messages as inputs
from local.emulators.functions.appsettings import connection_string, resolve
from local.emulators.functions.calls import CallFailed, Calls
from local.emulators.functions.hostjson import ServiceBusOptions
from local.emulators.functions.indexing import Function
from local.errors import LocalError

logger = logging.getLogger(__name__)

Messages = Sequence[ServiceBusReceivedMessage]

_IDLE = 30.0  # seconds without a message after which a spare slot closes
_BATCH_WAIT = 0.005  # seconds to wait for the rest of a batch
_LONGEST_PAUSE = 2.0  # seconds between attempts to reach an unavailable broker
_RELEASE_TIMEOUT = 5.0  # seconds to abandon messages and close receivers
_DEAD_LETTER = "/$deadletterqueue"


@dataclass(frozen=True)
class QueueTrigger:
    """A function with its queue."""

    function: Function
    queue: str
    connection: str
    is_batch: bool
    is_binary: bool
    completes: bool


def queue_trigger(function: Function, options: ServiceBusOptions) -> QueueTrigger:
    """Read a trigger. Raises LocalError for a missing setting or an unsupported feature."""
    trigger, name = function.trigger, function.name
    if "queueName" not in trigger or trigger.get("isSessionsEnabled"):
        raise LocalError(f"{name}: only queues without sessions are supported")
    connection = connection_string(str(trigger["connection"]), name)
    try:
        parse_connection_string(connection)
    except ValueError as error:
        raise LocalError(f"{name}: invalid Service Bus connection string: {error}") from None
    cardinality = str(trigger.get("cardinality", "one")).lower()
    completes = trigger.get("autoCompleteMessages")
    return QueueTrigger(
        function=function,
        queue=resolve(trigger["queueName"], name),
        connection=connection,
        is_batch=cardinality == "many" or bool(trigger.get("isBatched")),
        is_binary=str(trigger.get("dataType", "")).lower() in ("2", "binary"),
        completes=options.auto_complete_messages if completes is None else bool(completes),
    )


def open_client(connection: str) -> ServiceBusClient:
    """A client without retries: the listener decides when to try again."""
    certificates = ssl.create_default_context()  # loaded once instead of for every receiver
    return ServiceBusClient.from_connection_string(
        connection, retry_total=0, ssl_context=certificates
    )


class Outage:
    """Logs the start and the end of an outage, once each."""

    def __init__(self) -> None:
        self._down: dict[str, str] = {}

    def report(self, queue: str, error: BaseException) -> None:
        is_broker = isinstance(error, ServiceBusConnectionError | OSError)
        what = "Service Bus" if is_broker else f"queue {queue}"
        is_news = what not in self._down.values()
        self._down[queue] = what
        if is_news:
            logger.warning("%s is unavailable, trying again: %s", what, _first_line(error))

    def over(self, queue: str) -> None:
        what = self._down.pop(queue, None)
        if what and what not in self._down.values():
            logger.warning("%s is available again", what)


class QueueListener:
    """Receives the messages of one queue and calls one function."""

    def __init__(
        self,
        trigger: QueueTrigger,
        client: ServiceBusClient,
        options: ServiceBusOptions,
        calls: Calls,
        outage: Outage,
    ) -> None:
        self._trigger = trigger
        self._client = client
        self._options = options
        self._calls = calls
        self._outage = outage
        self._most_slots = 1 if trigger.is_batch else options.max_concurrent_calls
        self._slots: set[asyncio.Task[None]] = set()
        self._listening: set[asyncio.Task[Any]] = set()
        self._leaving: set[asyncio.Task[Any]] = set()
        self._running: set[asyncio.Task[None]] = set()
        self._stop = asyncio.Event()
        self._failures = 0
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name=self._trigger.function.name)

    async def stop(self, grace: float) -> None:
        """Stop receiving. Abandon the messages of calls that run longer than `grace` seconds."""
        self._stop.set()
        if self._task is None:
            return
        for slot in self._listening:
            slot.cancel()
        await asyncio.wait({self._task}, timeout=grace)
        if self._running:
            name, count = self._trigger.function.name, len(self._running)
            logger.warning(
                "%s: abandoning the messages of %d calls that are still running", name, count
            )
        for call in self._running:
            call.cancel()
        await asyncio.wait({self._task}, timeout=_RELEASE_TIMEOUT)
        self._task.cancel()

    async def _run(self) -> None:
        self._open(1)
        while self._slots:
            done, _ = await asyncio.wait(self._slots, return_when=asyncio.FIRST_COMPLETED)
            errors = self._drop(done)
            if errors and not self._stop.is_set():
                self._outage.report(self._trigger.queue, errors[0])
                await self._pause()
                self._drop({slot for slot in self._slots if slot.done()})
            if not self._stop.is_set() and not self._slots - self._leaving:
                self._open(1)

    def _open(self, count: int) -> None:
        for _ in range(count):
            self._slots.add(asyncio.create_task(self._slot(), name=self._trigger.function.name))

    def _drop(self, done: set[asyncio.Task[None]]) -> list[BaseException]:
        """Remove slots that have ended. Returns the errors that ended them."""
        self._slots -= done
        self._leaving -= done
        return [error for slot in done if not slot.cancelled() and (error := slot.exception())]

    async def _pause(self) -> None:
        """Wait before the next attempt, with exponential backoff, until stopped."""
        delay = self._options.client_retry_options.delay.total_seconds()
        longest = min(_LONGEST_PAUSE, self._options.client_retry_options.max_delay.total_seconds())
        pause = min(longest, delay * 2**self._failures) * random.uniform(0.8, 1.0)
        self._failures = min(self._failures + 1, 10)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stop.wait(), pause)

    async def _slot(self) -> None:
        """Receive messages, call the function and settle, until stopped or no longer needed."""
        async with self._receiver() as receiver:
            self._failures = 0
            self._outage.over(self._trigger.queue)
            while not self._stop.is_set():
                received = await self._receive(receiver)
                if received:
                    await self._handle(receiver, received)
                elif self._is_spare():
                    return

    def _receiver(self) -> ServiceBusReceiver:
        queue, sub_queue = self._trigger.queue, None
        if queue.lower().endswith(_DEAD_LETTER):
            queue, sub_queue = queue[: -len(_DEAD_LETTER)], ServiceBusSubQueue.DEAD_LETTER
        return self._client.get_queue_receiver(
            queue, sub_queue=sub_queue, prefetch_count=self._options.prefetch_count
        )

    async def _receive(self, receiver: ServiceBusReceiver) -> list[ServiceBusReceivedMessage]:
        slot = asyncio.current_task()
        assert slot is not None
        self._listening.add(slot)
        try:
            if not self._trigger.is_batch:
                return await receiver.receive_messages(1, max_wait_time=_IDLE)
            return await self._receive_batch(receiver)
        finally:
            self._listening.discard(slot)

    async def _receive_batch(self, receiver: ServiceBusReceiver) -> list[ServiceBusReceivedMessage]:
        """Receive a batch; wait up to maxBatchWaitTime for minMessageBatchSize messages."""
        most, least = self._options.max_message_batch_size, self._options.min_message_batch_size
        batch = list(await receiver.receive_messages(1, max_wait_time=_IDLE))
        clock = asyncio.get_running_loop().time
        deadline = clock() + self._options.max_batch_wait_time.total_seconds()
        try:
            if batch:
                batch += await _receive_now(receiver, most - len(batch))
            while 0 < len(batch) < min(least, most) and (wait := deadline - clock()) > 0:
                batch += await receiver.receive_messages(most - len(batch), max_wait_time=wait)
        except asyncio.CancelledError:
            await self._settle(receiver, batch, succeeded=False)
            raise
        return batch

    def _is_spare(self) -> bool:
        """Whether another slot is listening, so that this one can close."""
        slot = asyncio.current_task()
        assert slot is not None
        if len(self._slots - self._leaving) - len(self._running) < 2:
            return False
        self._leaving.add(slot)
        return True

    async def _handle(self, receiver: ServiceBusReceiver, received: Messages) -> None:
        call = asyncio.create_task(self._call(received))
        self._running.add(call)
        self._grow()
        try:
            if self._trigger.is_batch:
                await asyncio.wait({call})
            else:
                await self._keep_lock(receiver, received[0], call)
        finally:
            self._running.discard(call)
        succeeded = not call.cancelled() and call.exception() is None
        await self._settle(receiver, received, succeeded=succeeded)
        if not succeeded and not call.cancelled():
            _raise_unless_function_failed(call.exception())

    def _grow(self) -> None:
        """Open more slots when every one is busy."""
        slots = len(self._slots - self._leaving)
        if len(self._running) >= slots and not self._stop.is_set():
            self._open(min(slots, self._most_slots - slots))

    async def _call(self, received: Messages) -> None:
        first = received[0]
        if self._trigger.is_batch:
            data, metadata = inputs.many(received, binary=self._trigger.is_binary)
            cause = f"{len(received)} messages from {self._trigger.queue}"
        else:
            data, metadata = inputs.one(first, binary=self._trigger.is_binary)
            delivery = (first.delivery_count or 0) + 1
            cause = f"message {first.message_id} of {self._trigger.queue}, delivery {delivery}"
        await self._calls.run(self._trigger.function.name, data, metadata, cause)

    async def _keep_lock(
        self,
        receiver: ServiceBusReceiver,
        message: ServiceBusReceivedMessage,
        call: asyncio.Task[None],
    ) -> None:
        """Wait for the call; renew the lock at half of its duration.

        The SDK's AutoLockRenewer checks once a second, too late for short locks, and may use the
        link during a settlement.
        """
        end = datetime.now(UTC) + self._options.max_auto_lock_renewal_duration
        keeps = True
        while not call.done():
            pause = _half_life(message)
            keeps = keeps and datetime.now(UTC) + timedelta(seconds=pause) < end
            await asyncio.wait({call}, timeout=pause if keeps else None)
            if not call.done():
                keeps = await self._renew(receiver, message)

    async def _renew(
        self, receiver: ServiceBusReceiver, message: ServiceBusReceivedMessage
    ) -> bool:
        """Whether the lock is still held."""
        try:
            await receiver.renew_message_lock(message)
        except (ServiceBusError, ValueError) as error:
            logger.warning(
                "%s: the lock of message %s was not renewed: %s",
                self._trigger.function.name,
                message.message_id,
                _first_line(error),
            )
            return _lock_left(message) > 0
        return True

    async def _settle(
        self, receiver: ServiceBusReceiver, received: Messages, *, succeeded: bool
    ) -> None:
        """Complete or abandon. A message that is not settled is redelivered after its lock."""
        if succeeded and not self._trigger.completes:
            return
        settle = receiver.complete_message if succeeded else receiver.abandon_message
        errors: list[BaseException] = []
        for message in received:  # together, they would wait 0.2 s for each other's reads
            try:
                await settle(message)
            except (ServiceBusError, ValueError, RuntimeError) as error:
                errors.append(error)
        if errors:
            logger.warning(
                "%s: %d of %d messages could not be %s and will be redelivered: %s",
                self._trigger.function.name,
                len(errors),
                len(received),
                "completed" if succeeded else "abandoned",
                _first_line(errors[0]),
            )


async def _receive_now(receiver: ServiceBusReceiver, most: int) -> list[ServiceBusReceivedMessage]:
    """Receive the messages that are available within _BATCH_WAIT.

    The SDK waits longer for a batch to fill, which delays each step of a short job. A cancelled
    receive keeps the messages that it has read in a buffer; the next one returns them.
    """
    if most < 1:
        return []
    receive = asyncio.create_task(receiver.receive_messages(most, max_wait_time=_IDLE))
    try:
        while not (await asyncio.wait({receive}, timeout=_BATCH_WAIT))[0]:
            # Again and again: Python 3.11's wait_for ignores it while frames arrive.
            receive.cancel()
        return list(receive.result())
    except asyncio.CancelledError:
        if not receive.cancelled():
            receive.cancel()
            raise
        return list(await receiver.receive_messages(most, max_wait_time=1e-6))


def _raise_unless_function_failed(error: BaseException | None) -> None:
    if error is not None and not isinstance(error, CallFailed):
        raise error


def _lock_left(message: ServiceBusReceivedMessage) -> float:
    until = message.locked_until_utc
    return (until - datetime.now(UTC)).total_seconds() if until else 0.0


def _half_life(message: ServiceBusReceivedMessage) -> float:
    return max(0.2, _lock_left(message) / 2)


def _first_line(error: BaseException) -> str:
    lines = str(error).splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
