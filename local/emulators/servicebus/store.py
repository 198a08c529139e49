"""Keeps the messages of a broker in one append-only file.

A record is written to the file before the change that it records is acknowledged, so that
acknowledged changes survive a kill -9. Records are not fsynced: a power failure may lose the last
seconds. A compacted file is fsynced before it replaces the old one, and the file at `close`.

A record is its length, a CRC-32 and an AMQP list. An incomplete last record is dropped.
"""

import fcntl
import logging
import os
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from struct import Struct
from typing import Any

from local.emulators.servicebus.codec import decode, encode
from local.emulators.servicebus.queue import Message, MessageState, Queue

logger = logging.getLogger(__name__)

HEAD = Struct(">II")
MAGIC = b"geolathe-queue-1\n"
SLACK = 8 << 20  # bytes; fewer outdated records than this are not compacted
QUEUE, PUT, CHANGE, REMOVE = range(4)


class StoreError(Exception):
    """The file cannot be used, for the reason in the message."""


class Store:
    """A `Journal` in a file. `attach` opens it and first restores its content."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._queues: Mapping[str, Queue] = {}
        self._file: int | None = None
        self._guard: int | None = None
        self._size = self._compacted_size = 0

    def attach(self, queues: Mapping[str, Queue]) -> None:
        """Restore the queues, and record their changes from now on. Raises StoreError."""
        self._queues = queues
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._claim()
        if self.path.exists():
            self._restore(self.path.read_bytes())
        self._compact()

    def close(self) -> None:
        if self._file is not None:
            os.fsync(self._file)
            os.close(self._file)
            self._file = None
        if self._guard is not None:
            os.close(self._guard)
            self._guard = None

    def _claim(self) -> None:
        """Lock the file against a second broker. The lock ends with this process."""
        path = self.path.with_name(self.path.name + ".lock")
        guard = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(guard, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(guard)
            raise StoreError(
                f"{self.path} is used by another broker; stop that one first"
            ) from error
        self._guard = guard

    # Journal

    def put(self, queue: str, message: Message) -> None:
        self._append(_put(queue, message))

    def change(self, queue: str, message: Message) -> None:
        now = (int(message.state), message.delivery_count, message.lock is not None)
        self._append([CHANGE, queue, message.sequence, *now, message.enqueued])

    def remove(self, queue: str, message: Message) -> None:
        self._append([REMOVE, queue, message.sequence])

    def _append(self, record: list[Any]) -> None:
        if self._file is None:  # restoring: a compaction follows
            return
        if self._size > 2 * self._compacted_size + SLACK:
            self._compact()  # before: this record may precede its change of the queue
        data = _frame(record)
        try:
            _write(self._file, data)
        except OSError:
            os.ftruncate(
                self._file, self._size
            )  # half a record would make the later ones unreadable
            raise
        self._size += len(data)

    def _compact(self) -> None:
        """Replace the file by a new one with the present content of the queues."""
        fresh = self.path.with_name(self.path.name + ".new")
        file = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o600)
        size = len(MAGIC)
        _write(file, MAGIC)
        for record in self._snapshot():
            data = _frame(record)
            _write(file, data)
            size += len(data)
        os.fsync(file)
        fresh.replace(self.path)
        _sync_folder(self.path.parent)
        if self._file is not None:
            os.close(self._file)
        self._file, self._size, self._compacted_size = file, size, size

    def _snapshot(self) -> Iterator[list[Any]]:
        for queue in self._queues.values():
            seen = [[key, when] for key, when in queue.seen.items()]
            yield [QUEUE, queue.name, queue.last_sequence, seen]
            for holder in (queue, queue.dead_letters):
                for message in holder.messages.values() if holder else ():
                    yield _put(queue.name, message)

    # Restoring

    def _restore(self, data: bytes) -> None:
        if data and not data.startswith(MAGIC):
            raise StoreError(f"{self.path} is not a queue file; move it away to start empty")
        found: dict[tuple[str, int], tuple[Message, bool]] = {}
        for record in self._records(data):
            self._replay(found, record)
        for (name, sequence), (message, was_locked) in sorted(found.items(), key=lambda x: x[0]):
            if queue := self._queues.get(name.lower()):
                queue.restore(message, was_locked=was_locked)
            else:
                logger.warning("message %d of %s is dropped: no such queue", sequence, name)

    def _records(self, data: bytes) -> Iterator[list[Any]]:
        index = len(MAGIC)
        while index < len(data):
            size, checksum = HEAD.unpack(data[index : index + HEAD.size].ljust(HEAD.size, b"\0"))
            start, end = index + HEAD.size, index + HEAD.size + size
            fits = 0 < size <= len(data) - start
            whole = fits and zlib.crc32(data[start:end]) == checksum
            if not whole and (end >= len(data) or not size):
                lost = len(data) - index
                logger.warning("%s: dropping %d bytes of an unfinished record", self.path, lost)
                return
            if not whole:
                # Only the end of the file can be incomplete; other damage cannot be repaired.
                raise StoreError(
                    f"{self.path} is damaged at byte {index}; move it away to start empty"
                )
            yield list(decode(data, start)[0])
            index = end

    def _replay(
        self, found: dict[tuple[str, int], tuple[Message, bool]], record: list[Any]
    ) -> None:
        kind, name, sequence, *rest = record
        key = (name, int(sequence))
        if kind == PUT:
            message, was_locked = _message(sequence, rest)
            found[key] = message, was_locked
            self._remember(name, sequence, message)
        elif kind == CHANGE and key in found:
            message, _ = found[key]
            state, message.delivery_count, was_locked, enqueued = rest
            message.state, message.enqueued = MessageState(state), enqueued
            found[key] = message, was_locked
        elif kind == REMOVE:
            found.pop(key, None)
        elif kind == QUEUE and (queue := self._queues.get(name.lower())):
            queue.last_sequence = sequence
            queue.seen.update(dict(rest[0]))

    def _remember(self, name: str, sequence: int, message: Message) -> None:
        """Restore what a queue keeps of a message even after its removal."""
        if queue := self._queues.get(name.lower()):
            queue.last_sequence = max(queue.last_sequence, sequence)
            if message.message_id is not None and queue.options.duplicate_detection_window:
                queue.seen.setdefault(message.message_id, message.enqueued)


def _put(queue: str, message: Message) -> list[Any]:
    return [
        *(PUT, queue, message.sequence, message.content, message.annotations, message.message_id),
        *(message.durable, message.time_to_live, message.enqueued),
        *(int(message.state), message.visible_at, message.delivery_count),
        *(message.dead_lettered, message.lock is not None),
    ]


def _message(sequence: int, fields: list[Any]) -> tuple[Message, bool]:
    content, annotations, message_id, durable, live, enqueued, state, visible, *rest = fields
    delivery_count, dead_lettered, was_locked = rest
    message = Message(
        content=content,
        annotations=annotations,
        message_id=message_id,
        durable=durable,
        time_to_live=live,
        sequence=sequence,
        enqueued=enqueued,
        state=MessageState(state),
        visible_at=visible,
        delivery_count=delivery_count,
        dead_lettered=dead_lettered,
    )
    return message, was_locked


def _frame(record: list[Any]) -> bytes:
    body = encode(record)
    return HEAD.pack(len(body), zlib.crc32(body)) + body


def _write(file: int, data: bytes) -> None:
    """Write all bytes. Raises OSError, for example for a full disk."""
    view = memoryview(data)
    while view:
        view = view[os.write(file, view) :]


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
