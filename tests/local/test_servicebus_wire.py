"""Delivery of messages to several AMQP peers."""

import time
from collections.abc import Iterator
from uuid import UUID

import pytest

from local.emulators.servicebus import frames, message
from local.emulators.servicebus.codec import Symbol, Timestamp, Uint
from local.emulators.servicebus.frames import Detach, Disposition, Flow, Transfer, composite
from tests.fixtures.amqp_client import BODY, AmqpClient, flow
from tests.fixtures.broker import RunningBroker, start_broker

DEAD = "jobs/$deadletterqueue"
RELEASED = composite(frames.RELEASED)
REJECTED = composite(frames.REJECTED)


@pytest.fixture
def running() -> Iterator[RunningBroker]:
    with start_broker({"jobs": {}}) as running:
        yield running


def receiver(running: RunningBroker, address: str = "jobs", credit: int = 10) -> AmqpClient:
    """A client that waits for messages on handle 1."""
    client = AmqpClient(running.port).open().begin()
    assert client.put_token("jobs") == 202
    client.attach(1, address, receives=True)
    client.send(flow(1, credit, seen=1, echo=True))
    client.expect(Flow)
    return client


def put(running: RunningBroker, *bodies: bytes, at: float | None = None) -> None:
    queue = running.broker.queues["jobs"]
    for body in bodies:
        parts = message.read(message.section(message.DATA, body))
        running.call(running.broker.accept, queue, parts, at)


def body_of(client: AmqpClient) -> bytes:
    got, payload = client.performative()
    assert isinstance(got, Transfer), got
    return payload[payload.rindex(b"\xa0") + 2 :]


def settle(client: AmqpClient, number: int, state: frames.Described) -> None:
    client.send(Disposition(True, Uint(number), None, False, state))


def test_receivers_take_turns(running: RunningBroker) -> None:
    with receiver(running) as one, receiver(running) as two:
        put(running, b"1", b"2", b"3", b"4")

        assert [body_of(one), body_of(one)] == [b"1", b"3"]
        assert [body_of(two), body_of(two)] == [b"2", b"4"]


def test_a_released_message_goes_to_a_waiting_receiver(running: RunningBroker) -> None:
    with receiver(running, credit=1) as one, receiver(running, credit=0) as two:
        put(running, b"x")
        assert body_of(one) == b"x"
        two.send(flow(1, 1, seen=1, echo=True))
        two.expect(Flow)

        settle(one, 1, RELEASED)

        assert body_of(two) == b"x"


def test_a_rejected_message_goes_to_a_receiver_of_dead_letters(running: RunningBroker) -> None:
    with receiver(running) as living, receiver(running, DEAD) as dead:
        put(running, b"x")
        assert body_of(living) == b"x"

        settle(living, 1, REJECTED)

        assert body_of(dead) == b"x"
        assert living.expect(Disposition).state == REJECTED


def test_a_message_abandoned_by_request_is_redelivered(running: RunningBroker) -> None:
    with receiver(running) as client:
        put(running, b"x")
        got, _ = client.performative()
        client.attach(2, "jobs/$management")
        client.expect(Flow)
        client.attach(3, "jobs/$management", receives=True)
        client.send(flow(3, 5, seen=2))
        token = UUID(bytes_le=got.delivery_tag)
        body = {"disposition-status": "abandoned", "lock-tokens": [token]}
        client.transfer(
            2,
            0,
            message.section(0x73, ["id", None, None, None, "here"])
            + message.section(0x74, {"operation": "com.microsoft:update-disposition"})
            + message.section(0x77, body),
        )

        assert body_of(client) == b"x"


def test_nothing_is_sent_to_a_closed_connection(running: RunningBroker) -> None:
    with receiver(running):
        pass
    while running.broker.connections:
        time.sleep(0.001)

    put(running, b"x")

    [left] = running.active("jobs")
    assert not left.is_locked


def test_nothing_is_sent_on_a_link_that_is_detached(running: RunningBroker) -> None:
    with receiver(running) as client:
        client.send(Detach(Uint(1), True))
        client.expect(Detach)

        put(running, b"x")

        [left] = running.active("jobs")
        assert not left.is_locked


def test_due_messages_are_delivered_in_time_order(running: RunningBroker) -> None:
    now = time.time()
    with receiver(running) as client:
        put(running, b"never here", at=now + 3600)
        put(running, b"second", at=now + 0.3)
        put(running, b"first", at=now + 0.1)

        assert [body_of(client), body_of(client)] == [b"first", b"second"]
        assert time.time() >= now + 0.3


def test_after_a_lock_expires_a_waiting_receiver_gets_the_message() -> None:
    with start_broker({"jobs": {"lock_duration": 0.2}}) as running, receiver(running) as client:
        put(running, b"x")

        assert [body_of(client), body_of(client)] == [b"x", b"x"]
        settle(client, 1, composite(frames.ACCEPTED))
        lost = client.until(Disposition).state
        assert lost.value[0].value[0] == "com.microsoft:message-lock-lost"


def test_extreme_scheduled_times_are_harmless(running: RunningBroker) -> None:
    with receiver(running) as client:
        client.attach(0, "jobs")
        client.expect(Flow)
        for number, when in enumerate((-(1 << 63), (1 << 63) - 1)):
            at = {Symbol(message.SCHEDULED_TIME): Timestamp(when)}
            client.transfer(0, number, message.section(message.ANNOTATIONS, at) + BODY)
        client.until(Disposition)
        client.until(Disposition)

    assert len(running.active("jobs")) == len(running.scheduled("jobs")) == 1
