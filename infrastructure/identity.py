"""The managed identity, which is used if no secret is configured."""

from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from azure.identity import DefaultAzureCredential


@cache
def managed_identity() -> "DefaultAzureCredential":
    """One credential for all adapters, which caches its tokens.

    The SDK is imported here, because with connection strings it would only delay cold starts.
    """
    from azure.identity import DefaultAzureCredential

    return DefaultAzureCredential()
