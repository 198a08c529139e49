"""Reconciling a folder reads both sides page by page."""

import tracemalloc
from datetime import UTC, datetime

import pytest

from core.handler import TaskContext
from core.models import BlobProperties, BlobRef, Output
from core.ports import Ports
from services.reconcile_folder import ReconcileFolder, reconcile_folder
from testing.harness import DEPLOYMENT
from tests.fixtures.sample_items import Quiet

NOW = datetime.now(UTC)


class Listing:
    """A container and a registry that hold the same `count` outputs, made while they are read."""

    def __init__(self, count):
        self.count = count

    def list(self, container, prefix):
        for number in range(self.count):
            ref = BlobRef(container=container, name=f"{prefix}{number:07}.tif")
            yield BlobProperties(ref=ref, size=9, etag=f"e{number}", last_modified=NOW)

    def live_after(self, container, prefix, after, limit):
        first = int(after[-11:-4]) + 1 if after else 0
        return [
            Output(
                output_id=number, container=container, name=f"{prefix}{number:07}.tif",
                location=f"{prefix}{number:07}", tier="analysis", source="bronze/a.tif",
                source_etag="s", request="r", generation=0, job_id="j", task_id="t",
                etag=f"e{number}", checksum="c", size=9, begun_at=NOW, written_at=NOW,
            )
            for number in range(first, min(first + limit, self.count))
        ]  # fmt: skip


def reconcile(count):
    """The result, and the most memory in bytes that was in use."""
    listing = Listing(count)
    ports = Ports(blobs=listing, catalog=None, scratch=None, outputs=listing, deployment=DEPLOYMENT)
    tracemalloc.start()
    try:
        params = ReconcileFolder(container="silver", prefix="in/")
        found = reconcile_folder(params, TaskContext("t", 1, ports, Quiet()))
        return found, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_memory_does_not_grow_with_the_number_of_blobs():
    reconcile(2_000)
    found, small = reconcile(2_000)
    assert (found.blobs, found.outputs, found.disagreements) == (2_000, 2_000, {})
    found, large = reconcile(20_000)
    assert (found.blobs, found.outputs, found.disagreements) == (20_000, 20_000, {})
    assert large == pytest.approx(small, rel=0.1)
