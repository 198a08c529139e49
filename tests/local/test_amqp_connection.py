"""The AMQP protocol, byte by byte, against a broker on a socket."""

import contextlib
import socket
import struct
import time
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from local.emulators.servicebus import connection, frames, message
from local.emulators.servicebus.codec import (
    Array,
    Described,
    Int,
    Symbol,
    Timestamp,
    Uint,
    Ulong,
    encode,
)
from local.emulators.servicebus.frames import (
    Attach,
    Begin,
    Close,
    Detach,
    Disposition,
    End,
    Flow,
    Open,
    Performative,
    SaslInit,
    SaslMechanisms,
    SaslOutcome,
    Transfer,
    composite,
    error,
)
from local.emulators.servicebus.session import CREDIT
from tests.fixtures.amqp_client import AMQP, BODY, SASL, AmqpClient, flow
from tests.fixtures.broker import RunningBroker, start_broker


@pytest.fixture(scope="module")
def running() -> Iterator[RunningBroker]:
    with start_broker({"jobs": {}, "other": {}}, max_message_size=100_000) as running:
        yield running


@pytest.fixture
def client(running: RunningBroker) -> Iterator[AmqpClient]:
    with AmqpClient(running.port) as client:
        yield client


@pytest.fixture
def sender(client: AmqpClient) -> AmqpClient:
    """A client with a link to jobs on handle 0."""
    client.open().begin()
    assert client.put_token("jobs") == 202
    client.attach(0, "jobs")
    client.expect(Flow)
    return client


def raw_frame(body: bytes, *, size: int | None = None, offset: int = 2, kind: int = 0) -> bytes:
    return struct.pack(">IBBH", len(body) + 8 if size is None else size, offset, kind, 0) + body


class TestHeaders:
    def test_sasl_then_amqp(self, client: AmqpClient) -> None:
        client.write(SASL)
        assert client.take(8) == SASL
        assert "ANONYMOUS" in client.expect(SaslMechanisms).sasl_server_mechanisms
        client.write(frames.frame(0, frames.build(SaslInit(Symbol("ANONYMOUS"))), kind=1))
        assert client.expect(SaslOutcome).code == 0
        client.open()

    def test_an_unknown_mechanism_is_refused(self, client: AmqpClient) -> None:
        client.write(SASL)
        client.take(8)
        client.expect(SaslMechanisms)
        client.write(frames.frame(0, frames.build(SaslInit(Symbol("GSSAPI"))), kind=1))
        assert client.expect(SaslOutcome).code == 1
        with pytest.raises(EOFError):
            client.take(1)

    def test_a_header_may_come_in_pieces(self, client: AmqpClient) -> None:
        for octet in AMQP:
            client.write(bytes((octet,)))
        assert client.take(8) == AMQP

    @pytest.mark.parametrize("wrong", [b"GET / HTTP/1.1\r\n\r\n", b"AMQP\x00\x00\x09\x01", b"\x16"])
    def test_another_protocol_gets_the_supported_header(
        self, client: AmqpClient, wrong: bytes
    ) -> None:
        client.write(wrong)
        assert client.take(8) == SASL
        with pytest.raises(EOFError):
            client.take(1)


class TestBadFrames:
    @pytest.mark.parametrize(
        "raw",
        [
            pytest.param(raw_frame(b"", size=7), id="smaller than its head"),
            pytest.param(raw_frame(b"", size=0), id="empty"),
            pytest.param(raw_frame(b"", size=0xFFFFFFFF), id="4 GiB"),
            pytest.param(raw_frame(b"", size=frames.MAX_FRAME_SIZE + 1), id="too large"),
            pytest.param(raw_frame(b"1234", offset=1), id="data within the head"),
            pytest.param(raw_frame(b"1234", offset=200), id="data beyond the end"),
            pytest.param(raw_frame(b"1234", kind=7), id="no kind of frame"),
            pytest.param(raw_frame(b"1234", kind=1), id="SASL when it is over"),
            pytest.param(
                frames.frame(999, frames.build(Begin(None, Uint(0), Uint(1), Uint(1)))),
                id="a channel too high",
            ),
        ],
    )
    def test_an_invalid_frame_closes_the_connection(self, client: AmqpClient, raw: bytes) -> None:
        client.open()
        client.write(raw)
        assert client.expect_close() == "amqp:connection:framing-error"

    @pytest.mark.parametrize(
        "body",
        [
            pytest.param(b"\xff\xff", id="garbage"),
            pytest.param(encode("text"), id="not described"),
            pytest.param(encode(Described(Ulong(0x99), [])), id="not a performative"),
            pytest.param(encode(Described([], [])), id="a list as descriptor"),
            pytest.param(encode(Described(Ulong(0x10), "text")), id="not a list"),
            pytest.param(b"\x00\x53\x10\xc0\x08\x05\xa1", id="incomplete"),
            pytest.param(b"\x00\x53\x12\xd0\xff\xff\xff\xff\xff\xff\xff\xff", id="of 4 GiB"),
            pytest.param(b"\x00" * 60_000, id="nested without end"),
            pytest.param(encode(Described(Ulong(0x11), [None, "x", "y", "z"])), id="wrong types"),
            pytest.param(encode(Described(Ulong(0x11), [None, -1, -2, -3])), id="negative numbers"),
        ],
    )
    def test_an_invalid_body_closes_the_connection(self, client: AmqpClient, body: bytes) -> None:
        client.open()
        client.write(raw_frame(body))
        assert client.expect_close() == "amqp:decode-error"

    @pytest.mark.parametrize(
        ("performative", "condition"),
        [
            (Open("again"), "amqp:not-allowed"),
            (SaslOutcome(frames.Ubyte(0)), "amqp:not-allowed"),
            (End(), "amqp:not-allowed"),
            (Attach("link", Uint(0), True), "amqp:not-allowed"),
            (Transfer(Uint(0)), "amqp:not-allowed"),
        ],
    )
    def test_an_unexpected_performative_closes_the_connection(
        self, client: AmqpClient, performative: Performative, condition: str
    ) -> None:
        client.open().send(performative)
        assert client.expect_close() == condition

    def test_a_frame_before_open(self, client: AmqpClient) -> None:
        client.write(AMQP)
        client.take(8)
        client.send(Begin(None, Uint(0), Uint(1), Uint(1)))
        client.expect(Open)
        assert client.expect_close() == "amqp:not-allowed"

    def test_a_field_that_is_missing(self, client: AmqpClient) -> None:
        client.open().write(raw_frame(encode(Described(Ulong(0x11), [None, Uint(0)]))))
        assert client.expect_close() == "amqp:invalid-field"

    def test_a_frame_size_below_the_minimum_is_rejected(self, client: AmqpClient) -> None:
        client.write(AMQP)
        client.take(8)
        client.send(Open("client", max_frame_size=Uint(100)))
        assert client.expect_close() == "amqp:invalid-field"

    def test_other_connections_are_not_affected(
        self, running: RunningBroker, sender: AmqpClient
    ) -> None:
        with AmqpClient(running.port) as bad:
            bad.open().write(b"\xff" * 100)
            bad.expect_close()
        sender.transfer(0, 0, BODY)
        assert sender.expect(Disposition).state == composite(frames.ACCEPTED)


class TestSessionsAndLinks:
    def test_a_handle_that_is_not_attached(self, client: AmqpClient) -> None:
        client.open().begin().transfer(5, 0, BODY)
        assert client.expect_close() == "amqp:session:unattached-handle"

    def test_a_handle_in_use_is_rejected(self, sender: AmqpClient) -> None:
        sender.send(Attach("again", Uint(0), False))
        assert sender.expect_close() == "amqp:session:handle-in-use"

    def test_a_handle_too_high(self, client: AmqpClient) -> None:
        client.open().begin().send(Attach("high", Uint(70_000), False))
        assert client.expect_close() == "amqp:not-allowed"

    def test_a_channel_in_use_is_rejected(self, client: AmqpClient) -> None:
        client.open().begin().send(Begin(None, Uint(0), Uint(1), Uint(1)))
        assert client.expect_close() == "amqp:not-allowed"

    def test_frames_for_a_closed_link_are_ignored(self, sender: AmqpClient) -> None:
        sender.send(Detach(Uint(0), True))
        sender.transfer(0, 0, BODY)
        sender.expect(Detach)
        sender.attach(0, "jobs")

    def test_frames_for_an_ended_session_are_ignored(self, sender: AmqpClient) -> None:
        sender.send(End())
        sender.transfer(0, 0, BODY)
        sender.expect(End)
        sender.begin()

    def test_a_transfer_on_a_receiving_link_is_rejected(self, sender: AmqpClient) -> None:
        sender.attach(1, "jobs", receives=True)
        sender.transfer(1, 0, BODY)
        assert sender.expect_close() == "amqp:not-allowed"

    def test_a_delivery_without_number(self, sender: AmqpClient) -> None:
        sender.send(Transfer(Uint(0)), BODY)
        assert sender.expect_close() == "amqp:invalid-field"

    def test_more_sessions_than_channels_are_rejected(self, client: AmqpClient) -> None:
        client.open()
        for channel in range(256):
            client.begin(channel)
        client.send(Begin(None, Uint(0), Uint(1), Uint(1)), channel=256)
        assert client.expect_close() == "amqp:connection:framing-error"

    @pytest.mark.parametrize(
        ("fields", "condition"),
        [
            ({"target": composite(frames.TARGET, "nowhere")}, "amqp:not-found"),
            ({"target": composite(frames.TARGET, "jobs/below")}, "amqp:not-found"),
            ({"target": composite(frames.TARGET)}, "amqp:not-found"),
            ({}, "amqp:not-found"),
            ({"target": composite(frames.TARGET, "other")}, "amqp:unauthorized-access"),
            ({"target": composite(frames.TARGET, "other/$management")}, "amqp:unauthorized-access"),
            ({"target": composite(0x30)}, "amqp:not-implemented"),
        ],
    )
    def test_a_link_is_refused_with_the_reason(
        self, sender: AmqpClient, fields: dict[str, Any], condition: str
    ) -> None:
        sender.send(Attach("refused", Uint(9), False, **fields))
        assert sender.expect(Attach).source is None
        detach = sender.expect(Detach)
        assert detach.closed
        assert detach.error.value[0] == condition

    def test_message_sessions_are_rejected(self, sender: AmqpClient) -> None:
        fields = [None] * 7
        source = composite(
            frames.SOURCE, "jobs", *fields[1:], {Symbol("com.microsoft:session-filter"): None}
        )
        sender.send(Attach("filtered", Uint(9), True, source=source))
        sender.expect(Attach)
        assert sender.expect(Detach).error.value[0] == "amqp:not-implemented"

    def test_a_disposition_can_span_billions_of_deliveries(
        self, running: RunningBroker, sender: AmqpClient
    ) -> None:
        for number in range(3):
            sender.transfer(0, number, BODY)
            sender.expect(Disposition)
        sender.attach(1, "jobs", receives=True)
        sender.send(flow(1, 1000))
        for _ in range(len(running.active("jobs"))):
            sender.until(Transfer)
        sender.send(Disposition(True, Uint(0), Uint(0xFFFFFFFE), True, composite(frames.ACCEPTED)))
        sender.send(Detach(Uint(1), True))
        sender.until(Detach)
        assert running.active("jobs") == []

    @pytest.mark.parametrize("code", [0x34, 0x77])
    def test_an_unknown_outcome_closes_the_connection(
        self, running: RunningBroker, sender: AmqpClient, code: int
    ) -> None:
        sender.transfer(0, 0, BODY)
        sender.expect(Disposition)
        sender.attach(1, "jobs", receives=True)
        sender.send(flow(1, 1))
        got = sender.until(Transfer)
        sender.send(Disposition(True, got.delivery_id, None, False, composite(code, b"txn")))
        assert sender.expect_close() == "amqp:decode-error"


class TestSizes:
    def test_frames_respect_the_limit_of_the_peer(
        self, running: RunningBroker, client: AmqpClient
    ) -> None:
        client.open(max_frame_size=Uint(512)).begin()
        client.put_token("other")
        client.attach(0, "other")
        client.expect(Flow)
        body = message.section(message.DATA, bytes(range(256)) * 20)
        client.transfer(0, 0, body)
        client.expect(Disposition)
        client.attach(1, "other", receives=True)
        client.send(flow(1, 1))

        content, more = b"", True
        while more:
            raw = client.frame()
            assert len(raw) <= 512
            transfer, payload = frames.parse(raw[8:])
            content, more = content + payload, transfer.more
        assert content.endswith(body)
        client.send(Disposition(True, Uint(1), None, True, composite(frames.ACCEPTED)))

    def test_a_reply_above_the_limit_of_the_peer_closes_its_connection_only(
        self, client: AmqpClient
    ) -> None:
        client.open(max_frame_size=Uint(512)).begin()
        client.send(Attach("x" * 600, Uint(0), False, target=composite(frames.TARGET, "$cbs")))
        assert client.expect_close() == "amqp:frame-size-too-small"

    def test_a_message_too_large_is_rejected(self, sender: AmqpClient) -> None:
        part = bytes(60_000)
        sender.transfer(0, 0, part, more=True)
        sender.send(Transfer(Uint(0), more=True), part)
        sender.send(Transfer(Uint(0), more=False), part)
        sender.transfer(0, 1, BODY)

        refused, accepted = sender.expect(Disposition), sender.expect(Disposition)

        assert refused.state.descriptor == frames.REJECTED
        assert refused.state.value[0].value[0] == "amqp:link:message-size-exceeded"
        assert (accepted.first, accepted.state) == (1, composite(frames.ACCEPTED))

    def test_the_error_names_the_limit(self, sender: AmqpClient) -> None:
        reply = sender.attach(3, "jobs")
        assert reply.max_message_size == 100_000
        assert reply.properties == {"com.microsoft:max-message-batch-size": 100_000}

    def test_a_message_above_the_limit_is_not_buffered(
        self, running: RunningBroker, sender: AmqpClient
    ) -> None:
        part = bytes(60_000)
        sender.transfer(0, 0, part, more=True)
        for _ in range(10):
            sender.send(Transfer(Uint(0), more=True), part)
        sender.send(Flow(*[Uint(n) for n in (0, 10, 11, 5000)], echo=True))
        sender.expect(Flow)

        [serving] = running.broker.connections
        link = serving._sessions[0].links[0]
        assert (link.size, len(link.content)) == (11 * 60_000, 60_000)

    @pytest.mark.parametrize("more", [False, True])
    def test_an_aborted_message_is_dropped(
        self, running: RunningBroker, sender: AmqpClient, more: bool
    ) -> None:
        before = len(running.active("jobs"))
        sender.transfer(0, 0, BODY, more=True)
        sender.send(Transfer(Uint(0), aborted=True, more=more))
        sender.transfer(0, 1, BODY)
        assert sender.expect(Disposition).first == 1
        assert len(running.active("jobs")) == before + 1

    @pytest.mark.parametrize(
        ("payload", "code"),
        [
            (b"", 0),
            (b"\xff\xff\xff", 0),
            (message.section(0x73, ["id"]), 0),
            (message.section(0x73, [["list"]]) + BODY, 0),
            (message.section(0x70, [True, None, -5]) + BODY, 0),
            (message.section(0x72, {"é": 1}) + BODY, 0),
            (message.section(0x74, ["no", "map"]) + BODY, 0),
            (BODY + message.section(0x73, ["late"]), 0),
            (message.section(0x10, []), 0),
            (message.section(0x75, b"\xff"), message.BATCH),
            (message.section(0x75, "text"), message.BATCH),
        ],
    )
    def test_an_invalid_message_is_rejected(
        self, running: RunningBroker, sender: AmqpClient, payload: bytes, code: int
    ) -> None:
        before = len(running.active("jobs"))
        part = Transfer(Uint(0), Uint(0), b"tag", Uint(code))
        sender.send(part, payload)
        reply, values = frames.unpack(sender.expect(Disposition).state)
        assert reply == frames.REJECTED
        assert values[0].value[0] == "amqp:decode-error"
        assert len(running.active("jobs")) == before


class TestFlow:
    @pytest.fixture
    def filled(self) -> Iterator[AmqpClient]:
        with start_broker({"jobs": {}}) as running, AmqpClient(running.port) as client:
            client.open().begin(window=1)
            client.put_token("jobs")
            self.running = running
            for _ in range(5):
                running.call(running.broker.accept, running.broker.queues["jobs"],
                             message.read(BODY), None)  # fmt: skip
            client.attach(1, "jobs", receives=True)
            yield client

    def test_no_more_than_the_credit(self, filled: AmqpClient) -> None:
        filled.send(flow(1, 2, seen=1))
        assert [filled.expect(Transfer).delivery_id for _ in range(2)] == [1, 2]
        filled.send(Flow(*[Uint(n) for n in (3, 5000, 0, 5000)], echo=True))
        filled.expect(Flow)

    def test_no_more_than_the_window(self, filled: AmqpClient) -> None:
        filled.send(flow(1, 5, window=2, seen=1))
        assert [filled.expect(Transfer).delivery_id for _ in range(2)] == [1, 2]
        assert sum(each.is_locked for each in self.running.active("jobs")) == 2
        filled.send(Flow(*[Uint(n) for n in (3, 10, 0, 5000)]))
        assert [filled.expect(Transfer).delivery_id for _ in range(3)] == [3, 4, 5]

    def test_a_message_of_many_frames_waits_for_the_window(self, filled: AmqpClient) -> None:
        large = message.read(message.section(message.DATA, bytes(200_000)))
        queue = self.running.broker.queues["jobs"]
        self.running.call(self.running.broker.accept, queue, large, None)
        filled.send(flow(1, 6, window=7, seen=1))
        for _ in range(5):
            filled.expect(Transfer)
        assert [filled.expect(Transfer).more for _ in range(2)] == [True, True]
        filled.send(Flow(*[Uint(n) for n in (8, 1, 0, 5000)], echo=True))
        assert filled.expect(Transfer).more
        filled.expect(Flow)
        filled.send(Flow(*[Uint(n) for n in (9, 10, 0, 5000)], echo=True))
        assert not filled.expect(Transfer).more
        filled.expect(Flow)

    def test_drain_uses_up_the_credit(self, filled: AmqpClient) -> None:
        filled.send(flow(1, 20, seen=1, drain=True))
        for _ in range(5):
            filled.expect(Transfer)
        answer = filled.expect(Flow)
        assert (answer.link_credit, answer.delivery_count, answer.drain) == (0, 20, True)

    def test_invalid_credit_is_harmless(self, filled: AmqpClient) -> None:
        counts = [Uint(0xFFFFFFFF)] * 4
        filled.send(Flow(*counts, Uint(1), Uint(0xFFFFFFFF), Uint(0xFFFFFFFF)))
        filled.send(flow(1, 1, seen=1))
        filled.expect(Transfer)

    def test_locks_remain_after_their_link_closes(self, filled: AmqpClient) -> None:
        filled.send(flow(1, 5, seen=1))
        for _ in range(5):
            filled.expect(Transfer)
        filled.send(Detach(Uint(1), True))
        filled.expect(Detach)
        assert all(each.is_locked for each in self.running.active("jobs"))

    def test_a_peer_that_reads_nothing_takes_few_messages(self) -> None:
        """It has credit for all messages, but the memory for unsent ones is limited."""
        body = message.section(message.DATA, bytes(100_000))
        with start_broker({"jobs": {}}) as running, AmqpClient(running.port) as client:
            client.open().begin()
            client.put_token("jobs")
            queue = running.broker.queues["jobs"]
            for _ in range(500):
                running.call(running.broker.accept, queue, message.read(body), None)
            client.attach(1, "jobs", receives=True)
            client.send(flow(1, 500, window=100_000, seen=1))
            client.received += client.socket.recv(1)
            locked = sum(each.is_locked for each in running.active("jobs"))
            assert 0 < locked < 250

            for _ in range(500):  # it gets all of them once it reads
                assert isinstance(client.until_last(), Transfer)

    def test_credit_is_renewed(self, filled: AmqpClient) -> None:
        filled.attach(0, "jobs")
        assert filled.expect(Flow).link_credit == CREDIT
        for number in range(CREDIT // 2):
            filled.transfer(0, number, BODY)
            filled.expect(Disposition)
        again = filled.expect(Flow)
        assert (again.link_credit, again.delivery_count) == (CREDIT, CREDIT // 2)

    def test_a_silent_peer_is_disconnected(self, running: RunningBroker, monkeypatch: Any) -> None:
        monkeypatch.setattr(connection, "IDLE_SECONDS", 0.1)
        with AmqpClient(running.port) as client:
            client.open()
            assert client.expect_close() == "amqp:resource-limit-exceeded"

    def test_an_idle_peer_gets_a_heartbeat(self, running: RunningBroker) -> None:
        with AmqpClient(running.port) as client:
            client.open(idle_time_out=Uint(400))
            assert client.frame() == frames.HEARTBEAT
            assert client.frame() == frames.HEARTBEAT


class TestTokens:
    @pytest.mark.parametrize(
        ("entity", "expiry", "name", "status"),
        [
            ("jobs", 0, None, 202),
            ("", 0, "jobs", 202),
            ("jobs", 1, None, 401),
            ("other", 0, "jobs", 401),
        ],
    )
    def test_status(
        self, client: AmqpClient, entity: str, expiry: float, name: str | None, status: int
    ) -> None:
        assert client.open().begin().put_token(entity, expiry, name) == status

    def test_a_token_is_valid_for_one_entity(self, client: AmqpClient) -> None:
        client.open().begin().put_token("jobs")
        assert client.attach(0, "jobs").target is not None
        client.expect(Flow)
        assert client.attach(1, "jobs/$deadletterqueue", receives=True).source is not None
        assert client.attach(2, "other").target is None
        assert client.expect(Detach).error.value[0] == "amqp:unauthorized-access"

    def test_a_token_is_valid_for_one_connection(
        self, running: RunningBroker, sender: AmqpClient
    ) -> None:
        with AmqpClient(running.port) as second:
            second.open().begin().attach(0, "jobs")
            assert second.expect(Detach).error.value[0] == "amqp:unauthorized-access"

    def test_a_link_closes_when_its_token_has_expired(
        self, running: RunningBroker, sender: AmqpClient
    ) -> None:
        sender.transfer(0, 0, BODY)
        sender.expect(Disposition)
        [serving] = running.broker.connections
        serving.claims["jobs"] = time.time() - 1

        sender.transfer(0, 1, BODY)

        assert sender.expect(Detach).error.value[0] == "amqp:unauthorized-access"

    def test_a_request_without_a_reply_link_is_rejected(self, client: AmqpClient) -> None:
        client.open().begin().attach(0, "$cbs")
        client.expect(Flow)
        client.transfer(0, 0, message.section(0x77, "token"))
        outcome = client.expect(Disposition).state
        assert outcome == composite(
            frames.REJECTED, error("amqp:precondition-failed", "no link to None has credit")
        )


def request(operation: str, body: dict[str, Any]) -> bytes:
    properties = [uuid4(), None, None, None, "here"]
    application = {"operation": f"com.microsoft:{operation}"}
    return b"".join(
        message.section(code, value)
        for code, value in ((0x73, properties), (0x74, application), (0x77, body))
    )


RICH = (
    message.section(0x70, [True, None, Uint(60_000)])
    + message.section(0x72, {Symbol("x-opt-scheduled-enqueue-time"): Timestamp(5)})
    + message.section(0x73, ["id", None, "to"])
    + message.section(0x74, {"k": "v", "n": Uint(5)})
    + BODY
)
CAUSE = composite(
    frames.REJECTED,
    composite(frames.ERROR, Symbol("c"), "d", {Symbol("DeadLetterReason"): "bad"}),
)
# What a client sends after its token was accepted: a sample of everything a broker handles.
TALK: list[tuple[Performative, bytes]] = [
    (Attach("in", Uint(0), False, target=composite(frames.TARGET, "jobs")), b""),
    (Attach("out", Uint(1), True, source=composite(frames.SOURCE, "jobs")), b""),
    (Attach("ask", Uint(2), False, target=composite(frames.TARGET, "jobs/$management")), b""),
    (
        Attach(
            "reply",
            Uint(3),
            True,
            source=composite(frames.SOURCE, "jobs/$management"),
            target=composite(frames.TARGET, "here"),
        ),
        b"",
    ),
    (flow(3, 100), b""),
    (flow(1, 5, drain=True), b""),
    *((Transfer(Uint(0), Uint(n), b"tag", Uint(0)), RICH) for n in range(3)),
    (Transfer(Uint(0), Uint(3), b"tag", Uint(message.BATCH)), message.section(0x75, RICH)),
    (Disposition(True, Uint(0), Uint(1), False, composite(frames.MODIFIED, True, True)), b""),
    (Disposition(True, Uint(2), None, False, CAUSE), b""),
    *(
        (Transfer(Uint(2), Uint(9), b"tag"), request(operation, body))
        for operation, body in (
            ("peek-message", {"from-sequence-number": 0, "message-count": Int(5)}),
            ("schedule-message", {"messages": [{"message": RICH}]}),
            ("renew-lock", {"lock-tokens": Array([uuid4()], 0x98)}),
            ("receive-by-sequence-number", {"sequence-numbers": Array([1, 2], 0x81)}),
            ("update-disposition", {"lock-tokens": [uuid4()], "disposition-status": "suspended"}),
            ("cancel-scheduled-message", {"sequence-numbers": Array([1], 0x81)}),
        )
    ),
    (flow(1, 500), b""),
    (Disposition(True, Uint(0), Uint(900), True, composite(frames.ACCEPTED)), b""),
    (Detach(Uint(1), True), b""),
    (End(), b""),
    (Close(), b""),
]


def test_the_recorded_conversation_is_accepted() -> None:
    """The unmutated conversation is valid, so that mutations reach every part of the broker."""
    with start_broker({"jobs": {}}) as running, AmqpClient(running.port) as client:
        client.open().begin()
        client.put_token("jobs")
        answers, statuses = [], []
        for performative, payload in TALK:
            client.send(performative, payload)
        while not answers or not isinstance(answers[-1], Close):
            answer, payload = client.performative()
            answers.append(answer)
            if isinstance(answer, Transfer) and answer.settled:
                statuses.append(message.request(payload)[1]["statusCode"])

    outcomes = [each.state for each in answers if isinstance(each, Disposition) and each.role]
    assert outcomes == [composite(frames.ACCEPTED)] * 10
    assert statuses == [200, 200, 410, 404, 410, 404]
    assert answers[-1].error is None


@settings(deadline=None, max_examples=100)
@given(data=st.data())
def test_mutated_conversations_do_not_affect_other_clients(
    running: RunningBroker, data: st.DataObject
) -> None:
    """The broker's fixture also fails the test for any error inside the broker."""
    talk = bytearray()
    for performative, payload in TALK:
        talk += frames.frame(0, frames.build(performative) + payload)
    for _ in range(data.draw(st.integers(0, 6))):
        talk[data.draw(st.integers(0, len(talk) - 1))] = data.draw(st.integers(0, 255))

    with AmqpClient(running.port) as bad, contextlib.suppress(EOFError, ConnectionError):
        bad.open().begin()
        bad.put_token("jobs")
        bad.write(bytes(talk))
        bad.socket.shutdown(socket.SHUT_WR)
        while True:
            bad.frame()

    with AmqpClient(running.port) as good:
        good.open().begin()
        assert good.put_token("jobs") == 202
    assert not running.failures
