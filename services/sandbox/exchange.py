"""A file in memory through which a worker and its child process hand over bytes.

Results travel as lines of JSON, which suit numbers and texts. Pixels and encoded tiles go through
this file instead, so they touch no disk.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

CAPACITY = 512 * 2**20
"""Bytes that the file can hold. Only those written take memory."""

_received: list[BinaryIO] = []


@contextmanager
def open_exchange() -> Iterator[BinaryIO]:
    """An empty file of fixed size: a child cannot fill the memory of the machine with it.

    See memfd_create(2) and the seals in fcntl(2).
    """
    descriptor = os.memfd_create("exchange", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    with os.fdopen(descriptor, "w+b", buffering=0) as file:
        file.truncate(CAPACITY)
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK)
        yield file


def receive(descriptor: int) -> None:
    """Keep the file that the parent has sent. The child calls this once."""
    _received.append(os.fdopen(descriptor, "r+b", buffering=0))


def received() -> BinaryIO:
    """The exchange file, in the child. Raises LookupError if the parent sent none."""
    if not _received:
        raise LookupError("this work was started without an exchange file")
    return _received[0]


def read_at(file: BinaryIO, start: int, size: int) -> bytes:
    """Raises EOFError where the file ends before."""
    content = os.pread(file.fileno(), size, start)
    while len(content) < size:
        more = os.pread(file.fileno(), size - len(content), start + len(content))
        if not more:
            raise EOFError(f"the exchange file ends at {start + len(content)}")
        content += more
    return content


def write_at(file: BinaryIO, start: int, content: bytes) -> int:
    """Returns where the content ends."""
    view = memoryview(content)
    while view:
        written = os.pwrite(file.fileno(), view, start)
        start, view = start + written, view[written:]
    return start
