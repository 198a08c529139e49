"""Which files the tile server opens: blobs in the configured containers, and nothing else.

GDAL opens whatever name it is given: local files, other hosts, and files that refer to either. So
a URL is parsed and checked, and GDAL gets a path built from its parts, never the caller's text.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from fastapi import HTTPException

PREFIX = "/vsiaz/"
# https://learn.microsoft.com/rest/api/storageservices/naming-and-referencing-containers--blobs--and-metadata
CONTAINER = re.compile(r"[a-z0-9](?:-?[a-z0-9]){2,62}")
LONGEST_NAME = 1024
FORBIDDEN = re.compile(r"[\x00-\x1f\x7f\\]")
VIRTUAL_PATH = re.compile(r"vsi[a-z]*/", re.IGNORECASE)


@dataclass(frozen=True)
class Blob:
    """A container and the name of a blob in it."""

    container: str
    name: str


@dataclass(frozen=True)
class AllowedBlobs:
    """The containers whose blobs may be opened, and the URL of their storage account."""

    containers: frozenset[str]
    account_url: str

    def gdal_path(self, url: str) -> str:
        """GDAL's path of a blob.

        Raises HTTPException: 400 if `url` is not the URL of a blob in this account, 403 if its
        container is not one of `containers`.
        """
        blob = self.parse(url)
        if blob.container not in self.containers:
            raise HTTPException(
                403,
                f"container {blob.container!r} is not served; expected one of:"
                f" {', '.join(sorted(self.containers))}",
            )
        return f"{PREFIX}{blob.container}/{blob.name}"

    def parse(self, url: str) -> Blob:
        """The blob of `/vsiaz/CONTAINER/BLOB` or of its https URL. Raises HTTPException 400."""
        container, _, name = self._path(url).partition("/")
        if not _is_container_name(container) or not _is_blob_name(name):
            raise _invalid(url)
        return Blob(container, name)

    def _path(self, url: str) -> str:
        if url.startswith(PREFIX):
            return url.removeprefix(PREFIX)
        base = f"{self.account_url.rstrip('/')}/"
        parts = urlsplit(url)
        if url.startswith(base) and not parts.query and not parts.fragment:
            return unquote(url.removeprefix(base))
        raise _invalid(url)


def _is_container_name(name: str) -> bool:
    return len(name) <= 63 and CONTAINER.fullmatch(name) is not None


def _is_blob_name(name: str) -> bool:
    segments = name.split("/")
    return (
        name.strip() != ""
        and len(name) <= LONGEST_NAME
        and not FORBIDDEN.search(name)
        and not VIRTUAL_PATH.match(name)
        and not any(segment in ("", ".", "..") for segment in segments)
    )


def _invalid(url: str) -> HTTPException:
    return HTTPException(
        400,
        f"url={url!r} is not a blob of this account: use /vsiaz/CONTAINER/BLOB"
        " or the https URL of the blob, without a query",
    )
