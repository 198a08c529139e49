"""Unpublishing takes away what it was asked for, and nothing that another needs."""

from contextlib import closing

import pytest
from pydantic import ValidationError

from core.errors import BlobNotFound
from core.handler import TaskContext
from core.models import BlobRef
from core.outputs import TASK
from core.ports import Ports
from infrastructure.blob_storage import AzureBlobs
from infrastructure.outputs import PostgresOutputs
from infrastructure.pgstac import PgstacCatalog
from jobs.unpublish_raster import Parameters, UnpublishRaster
from services.stac.model import OWNER
from services.unpublish_item import ItemOutcome, unpublish_item
from tests.fixtures.sample_items import Quiet
from tests.fixtures.tile_server import made_container
from tests.fixtures.toys import DEPLOYMENT
from tests.integration.test_pgstac import collection, item

SOURCE = "bronze/a.tif"


class World:
    """Storage, catalogue, and rasters sample_items by hand."""

    def __init__(self, blobs, catalog, silver, folder):
        deployment = DEPLOYMENT.model_copy(update={"silver_container": silver})
        outputs = PostgresOutputs(catalog.pool)
        self.ports = Ports(
            blobs=blobs, catalog=catalog, scratch=None, outputs=outputs, deployment=deployment
        )
        self.blobs, self.catalog, self.silver = blobs, catalog, silver
        self.file = folder / "a.tif"
        self.file.write_bytes(b"a raster")

    def upload(self, name, container=None, made_by_us=True):
        ref = BlobRef(container=container or self.silver, name=name)
        mark = {TASK: "0123-1-2-0"} if made_by_us else None
        self.blobs.upload(ref, self.file, content_type="image/tiff", metadata=mark)
        return ref

    def publish(self, *cogs, into="many", number=1):
        shown = item(number, into, **{OWNER: SOURCE})
        shown["assets"] = {str(cog): {"href": self.blobs.url(cog)} for cog in cogs}
        self.catalog.put_item(shown, collection(shown), OWNER)

    def prepare(self, **more):
        asked = Parameters(**{"item_id": "item-1", "collection_id": "many"} | more)
        return UnpublishRaster().prepare(asked, self.ports)

    def run(self, submission):
        [task] = UnpublishRaster().unpublish(submission)
        return unpublish_item(task, TaskContext("t", 1, self.ports, Quiet()))

    def has(self, ref):
        try:
            return self.blobs.properties(ref).ref == ref
        except BlobNotFound:
            return False


@pytest.fixture
def world(azurite, pool, tmp_path):
    with closing(AzureBlobs(azurite.connection_string)) as blobs:
        yield World(blobs, PgstacCatalog(pool), made_container(azurite, "silver"), tmp_path)


def test_the_item_its_cogs_and_its_empty_collection_are_removed(world):
    cogs = [world.upload("a folder/ü_cog_analysis.tif"), world.upload("a_cog_archive.tif")]
    world.publish(*cogs)
    done = world.run(world.prepare(remove_empty_collection=True))
    assert done.item is ItemOutcome.REMOVED and done.collection_removed
    assert set(done.removed_cogs) == {str(cog) for cog in cogs} and done.kept_cogs == ()
    assert world.catalog.get_item("many", "item-1") is None
    assert not any(world.has(cog) for cog in cogs)


def test_the_collection_stays_unless_its_removal_is_requested_and_it_is_empty(world):
    world.publish(world.upload("a.tif"))
    world.publish(world.upload("b.tif"), number=2)
    assert not world.run(world.prepare(remove_empty_collection=True)).collection_removed
    assert not world.run(world.prepare(item_id="item-2")).collection_removed
    assert world.run(world.prepare(item_id="item-2", remove_empty_collection=True)).item == (
        ItemOutcome.ALREADY_GONE
    )
    assert not world.catalog.delete_collection_if_empty("many")


def test_only_owned_blobs_in_the_silver_container_are_removed(world, azurite):
    bronze = made_container(azurite, "bronze")
    source = world.upload("a.tif", bronze)
    theirs = world.upload("theirs.tif", made_by_us=False)
    absent = BlobRef(container=world.silver, name="never made.tif")
    world.publish(world.upload("a.tif"), source, theirs, absent)
    done = world.run(world.prepare())
    assert done.removed_cogs == (f"{world.silver}/a.tif",)
    assert world.has(source) and world.has(theirs)


def test_an_attempt_continues_after_a_crashed_one(world):
    cog = world.upload("a.tif")
    world.publish(cog)
    submission = world.prepare(remove_empty_collection=True)
    world.catalog.delete_item("many", "item-1", submission.items[0].updated)
    first = world.run(submission)
    assert first.item is ItemOutcome.REMOVED and first.collection_removed
    assert not world.has(cog)
    again = world.run(submission)
    assert (again.item, again.removed_cogs) == (first.item, first.removed_cogs)


def test_an_item_published_again_meanwhile_is_kept(world):
    cog = world.upload("a.tif")
    world.publish(cog)
    late = world.prepare()
    assert world.run(late).item is ItemOutcome.REMOVED
    world.publish(world.upload("a.tif"))
    done = world.run(late)
    assert (done.item, done.kept_cogs) == (ItemOutcome.PUBLISHED_AGAIN, (str(cog),))
    assert world.has(cog) and world.catalog.get_item("many", "item-1") is not None


def test_a_cog_rewritten_before_its_item_is_kept(world):
    cog = world.upload("a.tif")
    world.publish(cog)
    late = world.prepare()
    world.upload("a.tif")
    assert world.run(late).item is ItemOutcome.REMOVED
    assert world.has(cog)


def test_a_request_is_a_new_job_after_its_target_changed(world):
    def job():
        return UnpublishRaster.job_id(world.prepare())

    absent = job()
    world.publish(world.upload("a.tif"))
    there = job()
    assert absent != there == job()
    world.run(world.prepare())
    assert job() == absent, "that the item is gone already is the truth again"
    world.publish(world.upload("a.tif"))
    assert job() not in (absent, there)


def test_a_recreated_collection_is_removed_by_a_new_job(world):
    def job():
        return UnpublishRaster.job_id(world.prepare(remove_empty_collection=True))

    world.publish(world.upload("a.tif"))
    world.run(world.prepare())
    first = job()
    world.run(world.prepare(remove_empty_collection=True))
    world.publish(world.upload("a.tif"))
    world.run(world.prepare())
    assert job() != first


@pytest.mark.parametrize("named", [{}, {"item_id": "a", "source": "bronze/a.tif"}])
def test_either_an_item_or_a_source_is_named(named):
    with pytest.raises(ValidationError, match="either item_id or source"):
        Parameters(**named)
