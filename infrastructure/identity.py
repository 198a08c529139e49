"""The managed identity that signs in where no secret is configured."""

from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from azure.identity import DefaultAzureCredential


@cache
def managed_identity() -> "DefaultAzureCredential":
    """One credential for all adapters: it keeps its tokens.

    Imported when asked for: with connection strings its third of a second would only delay
    every cold start.
    """
    from azure.identity import DefaultAzureCredential

    return DefaultAzureCredential()
