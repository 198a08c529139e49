"""Errors of storage that only the owner of the blob can resolve are permanent failures."""

import uuid
from contextlib import closing

import pytest
from azure.storage.blob import BlobServiceClient, ContentSettings

from core.errors import BlobNotFound, TaskFailed
from core.models import BlobRef
from infrastructure.blob_storage import AzureBlobs
from tests.fixtures.made_rasters import hills, write
from tests.fixtures.raster_handlers import RasterHandlers


@pytest.fixture
def blobs(azurite):
    with closing(AzureBlobs(azurite.connection_string)) as blobs:
        yield blobs


@pytest.fixture
def service(azurite):
    with BlobServiceClient.from_connection_string(azurite.connection_string) as service:
        yield service


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "file.tif"
    path.write_bytes(b"content")
    return path


@pytest.fixture
def ref(service, blobs, file):
    container = f"c{uuid.uuid4().hex}"
    service.create_container(container)
    ref = BlobRef(container=container, name="a folder/cog.tif")
    blobs.upload(ref, file, content_type="image/tiff")
    return ref


@pytest.fixture
def client(service, ref):
    return service.get_blob_client(ref.container, ref.name)


def code_of(call, *arguments, **options):
    with pytest.raises(TaskFailed) as refused:
        call(*arguments, **options)
    assert "<?xml" not in refused.value.message
    return refused.value.code


def test_archived_blob(blobs, ref, client, file, tmp_path):
    client.set_standard_blob_tier("Archive")
    assert code_of(blobs.download, ref, tmp_path / "copy.tif") == "BLOB_ARCHIVED"


def test_archived_source_of_a_job(azurite, service, tmp_path):
    with RasterHandlers.open(azurite.connection_string, tmp_path) as handlers:
        source = handlers.put(write(tmp_path / "a.tif", hills()))
        service.get_blob_client(source.container, source.name).set_standard_blob_tier("Archive")
        with pytest.raises(TaskFailed, match="Archive tier") as refused:
            handlers.validate(source)
    assert refused.value.code == "BLOB_ARCHIVED"


def test_leased_blob(blobs, ref, client, file):
    etag = blobs.properties(ref).etag
    lease = client.acquire_lease()
    assert code_of(blobs.upload, ref, file, content_type="image/tiff") == "BLOB_LEASED"
    assert code_of(blobs.replace, ref, file, etag, content_type="image/tiff") == "BLOB_LEASED"
    assert code_of(blobs.delete, ref) == "BLOB_LEASED"
    assert code_of(blobs.delete, ref, etag) == "BLOB_LEASED"
    lease.release()
    assert blobs.delete(ref, etag)


def test_a_wrong_content_encoding_is_reported(blobs, ref, client, tmp_path):
    client.upload_blob(
        b"not gzip", overwrite=True, content_settings=ContentSettings(content_encoding="gzip")
    )
    assert code_of(blobs.download, ref, tmp_path / "copy.tif") == "BLOB_ENCODING_INVALID"


@pytest.mark.parametrize("with_etag", [False, True])
def test_a_blob_is_deleted_with_its_snapshots(blobs, ref, client, service, with_etag):
    client.create_snapshot()
    assert blobs.delete(ref, blobs.properties(ref).etag if with_etag else None)
    with pytest.raises(BlobNotFound):
        blobs.properties(ref)
    container = service.get_container_client(ref.container)
    assert not list(container.list_blobs(include=["snapshots"]))
