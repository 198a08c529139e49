"""Nobody writes over or removes a COG that is another's. Over the real blob store."""

import uuid
from contextlib import closing

import pytest
from azure.storage.blob import BlobServiceClient

from core.errors import BlobNotFound, ContainerNotFound, TaskFailed
from core.handler import TaskContext
from core.models import BlobRef
from core.ports import Ports
from infrastructure.blob_storage import AzureBlobs
from infrastructure.outputs import PostgresOutputs
from infrastructure.pgstac import PgstacCatalog
from services.storage.ownership import discard_cog, owner_mark, refuse_anothers
from tests.fixtures.toys import DEPLOYMENT


@pytest.fixture
def container(azurite):
    name = f"c{uuid.uuid4().hex}"
    with BlobServiceClient.from_connection_string(azurite.connection_string) as client:
        client.create_container(name)
    return name


@pytest.fixture
def blobs(azurite):
    with closing(AzureBlobs(azurite.connection_string)) as blobs:
        yield blobs


@pytest.fixture
def ports(blobs, pool):
    return Ports(
        blobs=blobs, catalog=PgstacCatalog(pool), scratch=None, outputs=PostgresOutputs(pool),
        deployment=DEPLOYMENT,
    )  # fmt: skip


@pytest.fixture
def made(blobs, container, ports, tmp_path):
    """A COG made by the first job from one source."""
    file = tmp_path / "cog.tif"
    file.write_bytes(b"pixels")
    cog = BlobRef(container=container, name="folder/ä b_cog.tif")
    mark = owner_mark(TaskContext("job1-1-2-0", 1, ports, None), source(container))
    blobs.upload(cog, file, content_type="image/tiff", metadata=mark)
    return cog


def source(container, name="ä b.tif"):
    return BlobRef(container=container, name=name)


def test_the_same_source_may_write_again_and_another_may_not(blobs, made, container):
    refuse_anothers(blobs, made, source(container))
    with pytest.raises(TaskFailed, match=r"is the COG of .*ä b.tif; choose another output_folder"):
        refuse_anothers(blobs, made, source(container, "other.tif"))
    refuse_anothers(blobs, BlobRef(container=container, name="new.tif"), source(container))


def test_only_the_job_that_made_it_discards_it(blobs, made, ports):
    discard_cog(made, "none", ports, "job2-")
    assert blobs.properties(made).size == 6
    discard_cog(made, "none", ports, "job1-")
    with pytest.raises(BlobNotFound):
        blobs.properties(made)
    discard_cog(made, "none", ports, "job1-")


def catalogued(ports, href):
    """An item that shows the address."""
    item = {
        "type": "Feature", "stac_version": "1.1.0", "id": "shown", "collection": "shown",
        "geometry": {"type": "Point", "coordinates": [1, 2]}, "bbox": [1, 2, 1, 2], "links": [],
        "properties": {"datetime": "2020-01-01T00:00:00Z"}, "assets": {"data": {"href": href}},
    }  # fmt: skip
    collection = {
        "type": "Collection", "stac_version": "1.1.0", "id": "shown", "description": "shown",
        "license": "other", "links": [],
        "extent": {"spatial": {"bbox": [[1, 2, 1, 2]]}, "temporal": {"interval": [[None, None]]}},
    }  # fmt: skip
    ports.catalog.put_item(item, collection)


def test_what_an_item_shows_stays(blobs, made, ports):
    href = blobs.url(made)
    catalogued(ports, href)
    discard_cog(made, "shown", ports, "job1-")
    assert blobs.properties(made).size == 6
    assert not ports.catalog.shows("shown", href + "?")


def test_an_item_that_shows_a_discarded_cog_goes_too(blobs, made, ports):
    catalogued(ports, blobs.url(made))
    blobs.delete(made)
    discard_cog(made.model_copy(update={"name": "other.tif"}), "shown", ports, "job1-")
    assert ports.catalog.shows("shown", blobs.url(made))
    discard_cog(made, "shown", ports, "job1-")
    assert not ports.catalog.shows("shown", blobs.url(made))


def test_missing_blobs_and_containers_are_told_apart(blobs, container):
    with pytest.raises(BlobNotFound, match=r"there is no blob 'no.tif'"):
        blobs.properties(BlobRef(container=container, name="no.tif"))
    with pytest.raises(ContainerNotFound, match="there is no container 'nowhere'"):
        blobs.properties(BlobRef(container="nowhere", name="no.tif"))
    assert blobs.delete(BlobRef(container=container, name="no.tif")) is False


def test_a_delete_spares_what_has_changed_meanwhile(blobs, made, tmp_path):
    etag = blobs.properties(made).etag
    (tmp_path / "new.tif").write_bytes(b"new pixels")
    blobs.upload(made, tmp_path / "new.tif", content_type="image/tiff")
    assert blobs.delete(made, etag) is False
    assert blobs.properties(made).size == 10
