"""The checksum of a stored file, read once in constant memory."""

import hashlib
import urllib.request
from collections.abc import Callable
from http.client import HTTPException

_CHUNK = 4 * 2**20
_SECONDS = 60


def compute_checksum(address: str, size: int, report: Callable[[float], None]) -> str:
    """SHA-256 as a hexadecimal multihash. Raises ConnectionError when the transfer breaks off."""
    digest, done = hashlib.sha256(), 0
    try:
        with urllib.request.urlopen(address, timeout=_SECONDS) as reply:
            while chunk := reply.read(_CHUNK):
                digest.update(chunk)
                done += len(chunk)
                report(done / size)
    except (OSError, HTTPException) as error:
        raise ConnectionError(
            f"reading the stored COG failed after {done} of {size} bytes: {type(error).__name__}"
        ) from None
    if done != size:
        raise ConnectionError(f"storage sent {done} of the {size} bytes of the COG")
    return f"1220{digest.hexdigest()}"
