"""The outbox with several threads and during outages of the broker."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from azure.servicebus import ServiceBusMessage
from azure.servicebus.exceptions import ServiceBusConnectionError

from core.errors import Unavailable
from infrastructure import retrying
from infrastructure.service_bus import Outbox

SENDERS = 8


class Sender:
    """Fails if two threads use it at once, which the SDK's senders do not support."""

    def __init__(self):
        self.sent, self.busy = [], threading.Lock()

    def send_messages(self, message, timeout):
        assert 0 < timeout <= 10
        assert self.busy.acquire(blocking=False)
        time.sleep(0.001)
        self.sent.append(message)
        self.busy.release()

    def close(self):
        pass


def send_from_all(outbox):
    with ThreadPoolExecutor(SENDERS) as threads:
        sends = [
            threads.submit(outbox.send, [ServiceBusMessage(str(number))])
            for number in range(SENDERS)
        ]
        for send in sends:
            send.result()


def test_a_thread_that_retries_does_not_block_the_others():
    sender, tried = Sender(), set()

    def connect():
        """Fails until every thread has tried."""
        tried.add(threading.get_ident())
        if len(tried) < SENDERS:
            raise ServiceBusConnectionError()
        return sender

    send_from_all(Outbox(connect, "queue"))
    assert len(sender.sent) == SENDERS


def test_a_persistent_outage_raises_unavailable(monkeypatch):
    monkeypatch.setattr(retrying, "RETRY_FOR_SECONDS", 0.1)

    def connect():
        raise ServiceBusConnectionError()

    with pytest.raises(Unavailable, match="Service Bus"):
        Outbox(connect, "queue").send([ServiceBusMessage("1")])


def test_one_thread_at_a_time_uses_the_sender():
    sender = Sender()
    send_from_all(Outbox(lambda: sender, "queue"))
    assert len(sender.sent) == SENDERS
