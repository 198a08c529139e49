"""Unpublishing removes what was requested, and nothing that others need."""

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
from tests.fixtures.squares import DEPLOYMENT
from tests.fixtures.tile_server import made_container
from tests.integration.test_pgstac import collection, item

SOURCE = "bronze/a.tif"


class Publications:
    """Storage and catalogue, with items that are published without a job."""

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
def publications(azurite, pool, tmp_path):
    with closing(AzureBlobs(azurite.connection_string)) as blobs:
        yield Publications(blobs, PgstacCatalog(pool), made_container(azurite, "silver"), tmp_path)


def test_the_item_its_cogs_and_its_empty_collection_are_removed(publications):
    cogs = [
        publications.upload("a folder/ü_cog_analysis.tif"),
        publications.upload("a_cog_archive.tif"),
    ]
    publications.publish(*cogs)
    done = publications.run(publications.prepare(remove_empty_collection=True))
    assert done.item is ItemOutcome.REMOVED and done.collection_removed
    assert set(done.removed_cogs) == {str(cog) for cog in cogs} and done.kept_cogs == ()
    assert publications.catalog.get_item("many", "item-1") is None
    assert not any(publications.has(cog) for cog in cogs)


def test_the_collection_stays_unless_its_removal_is_requested_and_it_is_empty(publications):
    publications.publish(publications.upload("a.tif"))
    publications.publish(publications.upload("b.tif"), number=2)
    assert not publications.run(
        publications.prepare(remove_empty_collection=True)
    ).collection_removed
    assert not publications.run(publications.prepare(item_id="item-2")).collection_removed
    assert publications.run(
        publications.prepare(item_id="item-2", remove_empty_collection=True)
    ).item == (ItemOutcome.ALREADY_GONE)
    assert not publications.catalog.delete_collection_if_empty("many")


def test_only_owned_blobs_in_the_silver_container_are_removed(publications, azurite):
    bronze = made_container(azurite, "bronze")
    source = publications.upload("a.tif", bronze)
    foreign = publications.upload("foreign.tif", made_by_us=False)
    absent = BlobRef(container=publications.silver, name="never made.tif")
    publications.publish(publications.upload("a.tif"), source, foreign, absent)
    done = publications.run(publications.prepare())
    assert done.removed_cogs == (f"{publications.silver}/a.tif",)
    assert publications.has(source) and publications.has(foreign)


def test_an_attempt_continues_after_a_crashed_one(publications):
    cog = publications.upload("a.tif")
    publications.publish(cog)
    submission = publications.prepare(remove_empty_collection=True)
    publications.catalog.delete_item("many", "item-1", submission.items[0].updated)
    first = publications.run(submission)
    assert first.item is ItemOutcome.REMOVED and first.collection_removed
    assert not publications.has(cog)
    again = publications.run(submission)
    assert (again.item, again.removed_cogs) == (first.item, first.removed_cogs)


def test_an_item_published_again_meanwhile_is_kept(publications):
    cog = publications.upload("a.tif")
    publications.publish(cog)
    late = publications.prepare()
    assert publications.run(late).item is ItemOutcome.REMOVED
    publications.publish(publications.upload("a.tif"))
    done = publications.run(late)
    assert (done.item, done.kept_cogs) == (ItemOutcome.PUBLISHED_AGAIN, (str(cog),))
    assert publications.has(cog) and publications.catalog.get_item("many", "item-1") is not None


def test_a_cog_rewritten_before_its_item_is_kept(publications):
    cog = publications.upload("a.tif")
    publications.publish(cog)
    late = publications.prepare()
    publications.upload("a.tif")
    assert publications.run(late).item is ItemOutcome.REMOVED
    assert publications.has(cog)


def test_a_request_is_a_new_job_after_its_target_changed(publications):
    def job():
        return UnpublishRaster.job_id(publications.prepare())

    absent = job()
    publications.publish(publications.upload("a.tif"))
    there = job()
    assert absent != there == job()
    publications.run(publications.prepare())
    assert job() == absent, "the item does not exist, as at first"
    publications.publish(publications.upload("a.tif"))
    assert job() not in (absent, there)


def test_a_recreated_collection_is_removed_by_a_new_job(publications):
    def job():
        return UnpublishRaster.job_id(publications.prepare(remove_empty_collection=True))

    publications.publish(publications.upload("a.tif"))
    publications.run(publications.prepare())
    first = job()
    publications.run(publications.prepare(remove_empty_collection=True))
    publications.publish(publications.upload("a.tif"))
    publications.run(publications.prepare())
    assert job() != first


@pytest.mark.parametrize("named", [{}, {"item_id": "a", "source": "bronze/a.tif"}])
def test_either_an_item_or_a_source_is_named(named):
    with pytest.raises(ValidationError, match="either item_id or source"):
        Parameters(**named)
