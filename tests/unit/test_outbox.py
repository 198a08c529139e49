"""The outbox while the broker is away: everybody gives up in time, and nobody sends twice."""

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
    """Takes what it is given, by one thread at a time."""

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


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(retrying, "RETRY_FOR_SECONDS", 0.5)


def send_from_all(outbox):
    def send(number):
        try:
            outbox.send([ServiceBusMessage(str(number))])
        except Unavailable:
            return False
        return True

    with ThreadPoolExecutor(SENDERS) as threads:
        return list(threads.map(send, range(SENDERS)))


def test_nobody_waits_for_the_patience_of_another_while_the_broker_is_away():
    def connect():
        raise ServiceBusConnectionError()

    began = time.monotonic()
    assert send_from_all(Outbox(connect)) == [False] * SENDERS
    assert time.monotonic() - began < 0.5 * SENDERS / 2


def test_a_sender_serves_one_thread_at_a_time():
    sender = Sender()
    assert send_from_all(Outbox(lambda: sender)) == [True] * SENDERS
    assert len(sender.sent) == SENDERS
