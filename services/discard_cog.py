"""Remove the COG of a job that came to nothing."""

from core.errors import BlobNotFound
from core.models import BlobRef
from core.ports import Ports

MADE_BY = "geolathe_task"
"""The metadata key under which a COG names the task that made it."""


def discard_cog(cog: BlobRef, collection_id: str, ports: Ports, owner: str) -> None:
    """Remove the blob if a task of `owner` made it and no item of the collection shows it.

    The same name may by now hold the COG of another job: that one stays.
    """
    try:
        found = ports.blobs.properties(cog)
    except BlobNotFound:
        return
    is_ours = found.metadata.get(MADE_BY, "").startswith(owner)
    if is_ours and not ports.catalog.shows(collection_id, ports.blobs.url(cog)):
        ports.blobs.delete(cog, found.etag)
