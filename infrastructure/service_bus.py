"""Job and task messages through Azure Service Bus. They contain only ids."""

import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from functools import partial
from uuid import uuid4

from azure.servicebus import ServiceBusClient, ServiceBusMessage, ServiceBusMessageBatch
from azure.servicebus import ServiceBusSender as Sender
from azure.servicebus.exceptions import MessageSizeExceededError, ServiceBusError

from core.errors import Unavailable
from core.models import JobMessage, TaskMessage
from core.telemetry import operation
from infrastructure.identity import managed_identity
from infrastructure.retrying import retry_transient

ANSWER_SECONDS = 10
"""Without a timeout the SDK waits indefinitely for a broker that no longer responds."""
TRANSIENT_ERRORS = (ServiceBusError, OSError)


class ServiceBus:
    """The MessageBus port. `namespace` is a connection string, or a host name: then the
    managed identity signs in."""

    def __init__(
        self, namespace: str, jobs_queue: str, tasks_queue: str, quick_tasks_queue: str
    ) -> None:
        # Outbox does the retries: the SDK would hold the sender's lock during its own.
        if "Endpoint=" in namespace:
            client = ServiceBusClient.from_connection_string(namespace, retry_total=0)
        else:
            client = ServiceBusClient(namespace, managed_identity(), retry_total=0)
        self._jobs = Outbox(lambda: client.get_queue_sender(jobs_queue), jobs_queue)
        self._tasks = Outbox(lambda: client.get_queue_sender(tasks_queue), tasks_queue)
        self._quick_tasks = Outbox(
            lambda: client.get_queue_sender(quick_tasks_queue), quick_tasks_queue
        )
        self._outboxes = (self._jobs, self._tasks, self._quick_tasks)

    def send_jobs(self, messages: Iterable[JobMessage], due: datetime | None = None) -> list[str]:
        encoded = [_encode(message, due) for message in messages]
        # A new id for each send: duplicate detection must not drop a message that is sent again.
        for message in encoded:
            message.message_id = uuid4().hex
        self._jobs.send(encoded)
        return [str(message.message_id) for message in encoded]

    def send_tasks(self, messages: Iterable[TaskMessage], due: datetime | None = None) -> None:
        slow, quick = list[ServiceBusMessage](), list[ServiceBusMessage]()
        for message in messages:
            (quick if message.quick else slow).append(_encode(message, due))
        self._tasks.send(slow)
        self._quick_tasks.send(quick)

    def check(self) -> dict[str, int]:
        """Check that the queues accept messages."""
        # In parallel, because opening a sender is slow.
        with ThreadPoolExecutor(len(self._outboxes)) as threads:
            checks = [threads.submit(outbox.check) for outbox in self._outboxes]
            for check in checks:
                check.result()
        return {"queues": len(checks)}

    def close(self) -> None:
        for outbox in self._outboxes:
            outbox.close()


class Outbox:
    """A sender that is kept open, because opening one is slow in the SDK."""

    def __init__(self, connect: Callable[[], Sender], queue: str) -> None:
        self._connect = connect
        self._queue = queue
        self._sender: Sender | None = None
        self._lock = threading.Lock()

    def send(self, messages: Iterable[ServiceBusMessage]) -> None:
        """Send messages in as few batches as possible. Raises Unavailable after RETRY_FOR_SECONDS.

        One thread at a time uses the sender, and it is released between retries, so threads do not
        wait for the retries of others.
        """
        rest = list(messages)
        if not rest:
            return
        with operation(f"send {len(rest)} to {self._queue}", "producer"):
            while rest:
                send = partial(self._send_some, rest)
                rest = retry_transient("Service Bus", send, TRANSIENT_ERRORS)

    def check(self) -> None:
        """Raise Unavailable if the queue cannot be reached."""
        with self._lock:
            try:
                self._open().create_message_batch()
            except TRANSIENT_ERRORS as error:
                self._drop()
                raise Unavailable(f"Service Bus cannot be reached: {error}") from error

    def close(self) -> None:
        with self._lock:
            self._drop()

    def _open(self) -> Sender:
        if self._sender is None:
            self._sender = self._connect()
        return self._sender

    def _send_some(self, messages: list[ServiceBusMessage]) -> list[ServiceBusMessage]:
        """Like `_send`; closes a broken sender, and the next call opens a new one."""
        with self._lock:
            try:
                return _send(self._open(), messages)
            except TRANSIENT_ERRORS:
                self._drop()
                raise

    def _drop(self) -> None:
        sender, self._sender = self._sender, None
        if sender is not None:
            sender.close()


def _send(sender: Sender, messages: list[ServiceBusMessage]) -> list[ServiceBusMessage]:
    """Send what fits into one batch, and return the others."""
    if len(messages) == 1:
        sender.send_messages(messages[0], timeout=ANSWER_SECONDS)
        return []
    batch = sender.create_message_batch()
    count = _fill(batch, iter(messages))
    sender.send_messages(batch, timeout=ANSWER_SECONDS)
    return messages[count:]


def _fill(batch: ServiceBusMessageBatch, messages: Iterator[ServiceBusMessage]) -> int:
    count = 0
    for message in messages:
        try:
            batch.add_message(message)
        except MessageSizeExceededError:
            break
        count += 1
    return count


def _encode(message: JobMessage | TaskMessage, due: datetime | None = None) -> ServiceBusMessage:
    encoded = ServiceBusMessage(
        message.model_dump_json(),
        content_type="application/json",
        scheduled_enqueue_time_utc=due,
    )
    if message.traceparent:
        # The Functions host continues the trace that this property names.
        encoded.application_properties = {"Diagnostic-Id": message.traceparent}
    return encoded
