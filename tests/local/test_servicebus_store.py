"""The broker's file: acknowledged changes survive any end of the process."""

import os
from pathlib import Path
from uuid import UUID

import pytest

from local.emulators.servicebus import store as module
from local.emulators.servicebus.codec import Symbol, Timestamp, Uint
from local.emulators.servicebus.message import mark, section
from local.emulators.servicebus.queue import Message, MessageState, Queue, QueueOptions
from local.emulators.servicebus.store import Store, StoreError

CONTENT = section(0x75, b"body")


class Run:
    """One run of a broker: a queue with a store."""

    def __init__(self, path: Path, **options: float) -> None:
        self.store = Store(path)
        options = {"max_delivery_count": 3} | options
        self.queue = Queue("Jobs", QueueOptions(**options), journal=self.store, mark=mark)
        self.store.attach({"jobs": self.queue})

    def kill(self) -> None:
        """End without flushing or closing anything."""
        os.close(self.store._file)
        os.close(self.store._guard)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "folder" / "messages"


def test_a_message_is_restored_unchanged(path: Path) -> None:
    life = Run(path)
    message = Message(
        CONTENT,
        annotations={Symbol("x-opt-thing"): Timestamp(5)},
        message_id=UUID(int=7),
        durable=True,
        time_to_live=Uint(60_000),
    )
    life.queue.put(message)
    life.kill()

    [found] = Run(path).queue.messages.values()

    for name in Message.__slots__:
        assert getattr(found, name) == getattr(message, name), name
    assert type(found.time_to_live) is Uint
    assert type(found.annotations[Symbol("x-opt-thing")]) is Timestamp


def test_every_state_survives(path: Path) -> None:
    life = Run(path)
    queue = life.queue
    completed, abandoned, deferred, dead, held = (queue.put(Message(CONTENT)) for _ in range(5))
    scheduled = queue.put(Message(CONTENT), visible_at=9e9)
    cancelled = queue.put(Message(CONTENT), visible_at=9e9)
    queue.cancel(cancelled)
    locks = {(lock := queue.lock(queue.take())).message.sequence: lock.token for _ in range(5)}
    queue.complete(locks[completed])
    queue.abandon(locks[abandoned])
    queue.defer(locks[deferred])
    queue.dead_letter(locks[dead], "Bad", "very")
    life.kill()

    queue = Run(path).queue

    assert {n: (m.state, m.delivery_count, m.lock) for n, m in queue.messages.items()} == {
        abandoned: (MessageState.ACTIVE, 1, None),
        deferred: (MessageState.DEFERRED, 1, None),
        held: (MessageState.ACTIVE, 1, None),
        scheduled: (MessageState.SCHEDULED, 0, None),
    }
    assert queue.messages[scheduled].visible_at == 9e9
    [(number, buried)] = queue.dead_letters.messages.items()
    assert number == dead
    assert b"Bad" in buried.content
    assert [queue.take().sequence, queue.take().sequence, queue.take()] == [abandoned, held, None]
    assert queue.put(Message(CONTENT)) > cancelled


def test_a_message_locked_at_every_crash_is_dead_lettered(path: Path) -> None:
    life = Run(path)
    life.queue.put(Message(CONTENT))
    for _ in range(3):
        life.queue.lock(life.queue.take())
        life.kill()
        life = Run(path)

    assert life.queue.take() is None
    assert b"MaxDeliveryCountExceeded" in life.queue.dead_letters.take().content


def test_a_released_message_counts_no_delivery(path: Path) -> None:
    life = Run(path)
    life.queue.put(Message(CONTENT))
    life.queue.release(life.queue.lock(life.queue.take()).token)
    life.kill()

    assert Run(path).queue.take().delivery_count == 0


def test_duplicates_are_detected_after_a_restart(path: Path) -> None:
    for _ in range(3):
        life = Run(path, duplicate_detection_window=600)
        life.queue.put(Message(CONTENT, message_id="once"))
        if (message := life.queue.take()) is not None:
            life.queue.complete(life.queue.lock(message).token)
        life.kill()

    assert Run(path, duplicate_detection_window=600).queue.messages == {}


def test_sequence_numbers_are_never_reused(path: Path) -> None:
    numbers = []
    for _ in range(3):
        life = Run(path)
        numbers.append(life.queue.put(Message(CONTENT)))
        life.queue.complete(life.queue.lock(life.queue.take()).token)
        life.kill()

    assert numbers == [1, 2, 3]


def test_an_incomplete_last_record_is_dropped(path: Path) -> None:
    """The record can end at any byte."""
    life = Run(path)
    for _ in range(3):
        life.queue.put(Message(CONTENT))
    whole = path.stat().st_size
    life.queue.put(Message(CONTENT))
    life.kill()
    data = path.read_bytes()

    for end in range(whole, len(data)):
        path.write_bytes(data[:end])
        life = Run(path)
        assert list(life.queue.messages) == [1, 2, 3], end
        life.kill()


def test_zeros_after_the_last_record_are_dropped(path: Path) -> None:
    """A file system can leave zeros after a power failure."""
    life = Run(path)
    life.queue.put(Message(CONTENT))
    life.kill()
    with path.open("ab") as file:
        file.write(bytes(4096))

    life = Run(path)
    assert len(life.queue.messages) == 1
    life.queue.put(Message(CONTENT))
    life.kill()
    assert len(Run(path).queue.messages) == 2


def test_damage_inside_the_file_is_an_error(path: Path) -> None:
    life = Run(path)
    for _ in range(3):
        life.queue.put(Message(CONTENT))
    life.kill()
    raw = bytearray(path.read_bytes())
    raw[len(module.MAGIC) + 50] ^= 0xFF
    path.write_bytes(raw)

    with pytest.raises(StoreError, match="damaged at byte"):
        Run(path)


def test_another_file_is_not_overwritten(path: Path) -> None:
    path.parent.mkdir()
    path.write_text("dear diary")

    with pytest.raises(StoreError, match="not a queue file"):
        Run(path)

    assert path.read_text() == "dear diary"


def test_the_file_does_not_grow_with_the_traffic(path: Path, monkeypatch) -> None:
    monkeypatch.setattr(module, "SLACK", 20_000)
    life = Run(path, duplicate_detection_window=0)
    life.queue.put(Message(CONTENT, message_id="stays"))
    stays = life.queue.lock(life.queue.take())
    for number in range(1000):
        life.queue.put(Message(CONTENT, message_id=f"{number}"))
        life.queue.complete(life.queue.lock(life.queue.take()).token)
    life.queue.put(Message(CONTENT, message_id="last"))
    life.kill()

    assert path.stat().st_size < 30_000
    queue = Run(path).queue
    assert [each.message_id for each in queue.messages.values()] == ["stays", "last"]
    assert queue.messages[stays.message.sequence].delivery_count == 1


def test_compaction_survives_a_crash_at_any_step(path: Path, monkeypatch) -> None:
    """Every record triggers a compaction, also in the middle of a change."""
    monkeypatch.setattr(module, "SLACK", -(1 << 40))
    life = Run(path)
    for _ in range(3):
        life.queue.put(Message(CONTENT))
    life.queue.dead_letter(life.queue.lock(life.queue.take()).token, "Bad", "")
    life.queue.complete(life.queue.lock(life.queue.take()).token)
    life.queue.lock(life.queue.take())
    life.kill()

    queue = Run(path).queue

    assert list(queue.messages) == [3]
    assert queue.messages[3].delivery_count == 1
    assert list(queue.dead_letters.messages) == [1]


def test_a_full_disk_leaves_no_incomplete_record(path: Path, monkeypatch) -> None:
    life = Run(path)
    life.queue.put(Message(CONTENT))

    def write_half(file: int, data: bytes) -> None:
        os.write(file, data[: len(data) // 2])
        raise OSError("no space left")

    with monkeypatch.context() as full:
        full.setattr(module, "_write", write_half)
        with pytest.raises(OSError, match="no space"):
            life.queue.put(Message(CONTENT))
    life.queue.put(Message(CONTENT))
    life.kill()

    assert list(Run(path).queue.messages) == [1, 3]


def test_two_brokers_cannot_share_a_file(path: Path) -> None:
    life = Run(path)

    with pytest.raises(StoreError, match="used by another broker"):
        Run(path)

    life.store.close()
    Run(path)


def test_messages_of_a_removed_queue_are_dropped_with_a_warning(path: Path, caplog) -> None:
    life = Run(path)
    life.queue.put(Message(CONTENT))
    life.kill()

    Store(path).attach({})

    assert "no such queue" in caplog.text
