"""Replacing a blob: only a given version, and never mixed with another upload."""

import hashlib
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest
from azure.storage.blob import BlobServiceClient

from core.errors import BlobChanged, BlobNotFound
from core.models import BlobRef
from infrastructure.blob_storage import BLOCK, AzureBlobs
from tests.fixtures.tile_server import made_container


@pytest.fixture
def blobs(azurite):
    with closing(AzureBlobs(azurite.connection_string)) as blobs:
        yield blobs


@pytest.fixture
def ref(azurite):
    return BlobRef(
        container=made_container(azurite, "replaced"), name=f"{uuid.uuid4().hex}/ä b.tif"
    )


def write(folder, content):
    path = folder / uuid.uuid4().hex
    path.write_bytes(content)
    return path


def replace(blobs, ref, path, etag):
    return blobs.replace(
        ref, path, etag, content_type="image/tiff", access_tier="Cool", metadata={"by": path.name}
    )


def test_the_version_that_was_named_is_replaced(blobs, ref, tmp_path):
    first = replace(blobs, ref, write(tmp_path, b"first"), None)
    path = write(tmp_path, b"second")
    second = replace(blobs, ref, path, first.etag)
    stored = blobs.properties(ref)
    assert stored.etag == second.etag != first.etag
    assert (stored.size, stored.access_tier, stored.metadata) == (6, "Cool", {"by": path.name})
    assert stored.content_type == "image/tiff" and stored.last_modified == second.last_modified


def test_another_version_is_kept(blobs, ref, tmp_path):
    path = write(tmp_path, b"one")
    with pytest.raises((BlobChanged, BlobNotFound)):
        replace(blobs, ref, path, "0x8DC0000000000000")
    first = replace(blobs, ref, path, None)
    for etag in (None, "0x8DC0000000000000"):
        with pytest.raises(BlobChanged):
            replace(blobs, ref, write(tmp_path, b"other"), etag)
    assert blobs.properties(ref).etag == first.etag


def test_one_of_many_concurrent_writers_succeeds(blobs, ref, tmp_path):
    """Files of several blocks, which would mix if two writers used equal block ids."""
    paths = [write(tmp_path, bytes([number]) * (2 * BLOCK + 9)) for number in range(4)]

    def attempt(path):
        try:
            return replace(blobs, ref, path, None).etag
        except BlobChanged:
            return None

    with ThreadPoolExecutor(4) as writers:
        won = [etag for etag in writers.map(attempt, paths) if etag]
    assert won == [blobs.properties(ref).etag]
    copy = tmp_path / "copy"
    blobs.download(ref, copy)
    digests = {hashlib.sha256(path.read_bytes()).digest() for path in paths}
    assert hashlib.sha256(copy.read_bytes()).digest() in digests


def test_snapshots_are_deleted_with_their_blob(azurite, blobs, ref, tmp_path):
    stored = replace(blobs, ref, write(tmp_path, b"kept"), None)
    with BlobServiceClient.from_connection_string(azurite.connection_string) as client:
        container = client.get_container_client(ref.container)
        container.get_blob_client(ref.name).create_snapshot()
        assert blobs.delete(ref, stored.etag)
        assert list(container.list_blobs(include=["snapshots"])) == []
