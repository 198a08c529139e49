"""How many bytes this process has read, which the kernel counts."""

import os
from functools import cache

_LONGEST = 4_096


@cache
def open_counter() -> int:
    """A descriptor of the counter. The sandbox opens it before it closes /proc."""
    return os.open("/proc/self/io", os.O_RDONLY | os.O_CLOEXEC)


def count_bytes_read() -> int:
    """The bytes that this process has read so far: rchar in proc(5), /proc/pid/io."""
    return int(os.pread(open_counter(), _LONGEST, 0).split()[1])
