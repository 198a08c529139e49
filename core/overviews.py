"""Removing overviews of collections that nothing shows any more."""

import logging
from datetime import timedelta

from core.assets import OVERVIEW_ASSET
from core.models import BlobRef, OverviewFile
from core.ports import Ports, StateRepository

logger = logging.getLogger(__name__)

OVERVIEWS = ".overviews/"
"""The folder in the silver container."""


def name_overview(collection_id: str, task_id: str, attempt: int) -> str:
    """The name of the blob that an attempt writes."""
    return f"{OVERVIEWS}{collection_id}/{task_id}-{attempt}.tif"


def remove_unused_overviews(
    ports: Ports, state: StateRepository, grace: timedelta, limit: int
) -> int:
    """Delete overviews that their collection does not name and no job can publish.

    Returns their number. A job that runs, or failed and may be retried, can publish what its tasks
    have written. Overviews that their collection names are looked at once, until it changes.
    """
    found = ports.outputs.overviews_to_check(grace, limit)
    in_use = state.tasks_in_use([overview.task_id for overview in found])
    removed = 0
    for overview in found:
        # After the state: a job that has ended has named its overview before.
        if _is_named(overview, ports):
            ports.outputs.keep_overview(overview)
        elif overview.task_id in in_use:
            ports.outputs.add_overview(overview.name, overview.collection_id, overview.task_id)
        else:
            removed += ports.blobs.delete(_blob(overview, ports))
            ports.outputs.forget_overview(overview.name)
    if removed:
        logger.info("removed %d overviews that no collection names", removed)
    return removed


def _is_named(overview: OverviewFile, ports: Ports) -> bool:
    collection = ports.catalog.get_collection(overview.collection_id) or {}
    asset = collection.get("assets", {}).get(OVERVIEW_ASSET, {})
    return bool(asset.get("href") == ports.blobs.url(_blob(overview, ports)))


def _blob(overview: OverviewFile, ports: Ports) -> BlobRef:
    return BlobRef(container=ports.deployment.silver_container, name=overview.name)
