"""Free TCP ports on the loopback address."""

from __future__ import annotations

import random
import socket
import time
from collections.abc import Collection

# Below the range of ephemeral ports (32768-60999), so that a port chosen once is most likely still
# free at the next start.
LOWEST, HIGHEST = 20_000, 32_000


def is_free(port: int) -> bool:
    """True if a server could listen on the port now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def becomes_free(port: int, timeout: float = 2.0) -> bool:
    """Like is_free, but waits for up to `timeout` seconds until a killed process releases it."""
    until = time.monotonic() + timeout
    while not is_free(port):
        if time.monotonic() > until:
            return False
        time.sleep(0.05)
    return True


def is_listening(port: int) -> bool:
    """True if a server accepts connections on the port."""
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def pick_free(exclude: Collection[int] = ()) -> int:
    """A free port that is not in `exclude`. Another process may still take it first."""
    while True:
        port = random.randint(LOWEST, HIGHEST)
        if port not in exclude and is_free(port):
            return port
