"""Function keys.

https://learn.microsoft.com/azure/azure-functions/function-keys-how-to
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass

from starlette.requests import Request


@dataclass(frozen=True)
class Keys:
    """The keys of the host. The master key is valid for every function."""

    function: tuple[str, ...]
    master: str | None

    def allow(self, level: str, request: Request) -> bool:
        """Whether the request has a valid key for an authorization level."""
        if level == "anonymous":
            return True
        given = request.headers.get("x-functions-key") or request.query_params.get("code") or ""
        accepted = [self.master] if self.master else []
        if level == "function":
            accepted += self.function
        return any(_same(given, key) for key in accepted)


def _same(given: str, key: str) -> bool:
    return hmac.compare_digest(given.encode(), key.encode())
