"""Shared access signatures: verification of the tokens for an entity.

https://learn.microsoft.com/azure/service-bus-messaging/service-bus-sas
"""

import base64
import hashlib
import hmac
from collections.abc import Mapping
from urllib.parse import unquote, urlsplit

PREFIX = "SharedAccessSignature "
# The SDK sends these tokens with the type "jwt", so only the prefix identifies them.


class TokenRefused(Exception):
    """The token does not authorize the entity that it was put for."""


def entity_path(address: str) -> str:
    """The path in an address, which may be a URI; in lower case, because case is ignored."""
    path = urlsplit(address).path if "://" in address else address
    return path.strip("/").lower()


def covers(granted: str, wanted: str) -> bool:
    """Whether a right to one path includes another: the same path and everything below it."""
    return granted in ("", wanted) or wanted.startswith(granted + "/")


def verify(token: str, audience: str, keys: Mapping[str, str], now: float) -> float:
    """Verify a token for an audience. Returns when it expires. Raises TokenRefused."""
    if not token.startswith(PREFIX):
        raise TokenRefused("the token is not a shared access signature")
    try:
        fields = dict(pair.split("=", 1) for pair in token[len(PREFIX) :].split("&"))
        resource, signature, expiry = fields["sr"], unquote(fields["sig"]), int(fields["se"])
        key = keys.get(unquote(fields["skn"]))
    except (KeyError, ValueError) as error:
        raise TokenRefused(f"the token is malformed: {error}") from error
    if key is None or not hmac.compare_digest(
        sign(resource, fields["se"], key), signature.encode()
    ):
        raise TokenRefused("InvalidSignature: the token has an invalid signature")
    if expiry <= now:
        raise TokenRefused(f"ExpiredToken: the token expired at {expiry}")
    if not covers(entity_path(unquote(resource)), entity_path(audience)):
        raise TokenRefused(f"the token is for {unquote(resource)}, not for {audience}")
    return float(expiry)


def sign(resource: str, expiry: str, key: str) -> bytes:
    """Sign a quoted resource URI and an expiry time."""
    digest = hmac.new(key.encode(), f"{resource}\n{expiry}".encode(), hashlib.sha256).digest()
    return base64.b64encode(digest)
