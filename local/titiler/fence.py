"""Which files the tile server opens: blobs of the project's containers, by name, nothing else.

GDAL opens whatever it is given: local files, other hosts, descriptions of either. So a name is
taken apart, checked and put together anew; what GDAL gets is never what the caller wrote.
"""

from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from fastapi import HTTPException
from pydantic import ValidationError

from core.models import BlobRef

PREFIX = "/vsiaz/"


@dataclass(frozen=True)
class Fence:
    """The containers that may be shown, and the address of the account they are in."""

    containers: frozenset[str]
    account_url: str

    def admit(self, url: str) -> str:
        """GDAL's name for the blob. Answers 400 for what names none, 403 for one not ours."""
        blob = self.blob(url)
        if blob.container not in self.containers:
            raise HTTPException(
                403,
                f"container {blob.container!r} is not shown here:"
                f" ask for a blob in {' or '.join(sorted(self.containers))}",
            )
        return f"{PREFIX}{blob.container}/{blob.name}"

    def blob(self, url: str) -> BlobRef:
        """The blob that `/vsiaz/container/blob` or the account's plain address names."""
        container, slash, name = self._path(url).partition("/")
        if not slash:
            raise refused(url)
        try:
            return BlobRef(container=container, name=name)
        except ValidationError as error:
            raise refused(url) from error

    def _path(self, url: str) -> str:
        if url.startswith(PREFIX):
            return url.removeprefix(PREFIX)
        base = f"{self.account_url.rstrip('/')}/"
        parts = urlsplit(url)
        if url.startswith(base) and not parts.query and not parts.fragment:
            return unquote(url.removeprefix(base))
        raise refused(url)


def refused(url: str) -> HTTPException:
    return HTTPException(
        400,
        f"url={url!r} does not name a blob here: use /vsiaz/CONTAINER/BLOB"
        " or the blob's plain https address",
    )


def account_url(connection_string: str) -> str:
    """Where the account's blobs are, from an Azure Storage connection string."""
    pairs = (part.partition("=") for part in connection_string.split(";"))
    fields = {key.strip(): value.strip() for key, _, value in pairs}
    if "BlobEndpoint" in fields:
        return fields["BlobEndpoint"].rstrip("/")
    suffix = fields.get("EndpointSuffix", "core.windows.net")
    return (
        f"{fields.get('DefaultEndpointsProtocol', 'https')}://{fields['AccountName']}.blob.{suffix}"
    )
