"""The managed identity that signs in where no secret is configured."""

from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from azure.identity import DefaultAzureCredential

STORAGE = "https://storage.azure.com/.default"
POSTGRESQL = "https://ossrdbms-aad.database.windows.net/.default"


@cache
def credential() -> "DefaultAzureCredential":
    """The identity that AZURE_CLIENT_ID names. Imported on first use: secrets need none of it."""
    from azure.identity import DefaultAzureCredential

    return DefaultAzureCredential()


def token(scope: str) -> str:
    """An access token that is valid for at least five minutes.

    The credential keeps its tokens and renews them in time:
    https://learn.microsoft.com/python/api/overview/azure/identity-readme#caching
    """
    return credential().get_token(scope).token
