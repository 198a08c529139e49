"""Removing overviews of collections that nothing shows any more."""

import logging
from datetime import UTC, datetime, timedelta

from core.models import BlobProperties
from core.ports import Ports, StateRepository

logger = logging.getLogger(__name__)

OVERVIEWS = ".overviews/"
"""The folder in the silver container."""


def name_overview(collection_id: str, task_id: str, attempt: int) -> str:
    """The name of the blob that an attempt writes."""
    return f"{OVERVIEWS}{collection_id}/{task_id}-{attempt}.tif"


def remove_unused_overviews(ports: Ports, state: StateRepository, grace: timedelta) -> int:
    """Delete overviews that no collection names and no job can publish. Returns their number.

    Not those written within `grace`. A job that runs, or failed and may be retried, can publish
    what its tasks have written.
    """
    until = datetime.now(UTC) - grace
    listed = list(ports.blobs.list(ports.deployment.silver_container, OVERVIEWS))
    written = [found for found in listed if found.last_modified <= until]
    if not written:
        return 0
    in_use = state.tasks_in_use([_task_of(found) for found in written])
    ended = [found for found in written if _task_of(found) not in in_use]
    # After the state: a job that has ended has named its overview before.
    named = ports.catalog.collection_hrefs() if ended else set()
    unused = [found for found in ended if ports.blobs.url(found.ref) not in named]
    removed = sum(ports.blobs.delete(found.ref, found.etag) for found in unused)
    if removed:
        logger.info("removed %d overviews that no collection names", removed)
    return removed


def _task_of(found: BlobProperties) -> str:
    """The id of the task that wrote an overview."""
    return found.ref.name.rpartition("/")[2].rpartition("-")[0]
