"""What a job says exists, what exists belongs to an item, and nothing else is left."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from core.models import JobStatus
from tests.fixtures.catalogue import open_catalogue


@pytest.fixture
def world(azurite, pool, tmp_path):
    with open_catalogue(azurite.connection_string, pool, tmp_path) as world:
        yield world


def assets(item):
    return {key for key, asset in item["assets"].items() if "file:checksum" in asset}


def write_cog(world, source, **parameters):
    """Submit a job and run it up to the message of the task that catalogues."""
    job = world.submit(**source, **parameters)
    for _ in range(4):
        world.deliver(1)
    return job


@pytest.mark.parametrize(
    ("name", "values", "more"),
    [
        ("jpeg_quality", (30, 95, 30), {"output_tier": "visualization"}),
        ("raster_type", ("rgb", "multispectral", "rgb"), {}),
    ],
)
def test_a_request_runs_again_after_its_output_was_overwritten(world, name, values, more):
    source = world.put_raster()
    first, second, third = (world.run(**source, **more, **{name: value}) for value in values)
    assert len({first.job_id, second.job_id, third.job_id}) == 3
    checksums = [job.result["cog"]["checksum"] for job in (first, second, third)]
    assert checksums[0] == checksums[2]
    assert world.item(third)["assets"]["data"]["file:checksum"] == checksums[2]
    assert world.machine.status(first.job_id).superseded_by == second.job_id
    assert world.machine.status(second.job_id).superseded_by == third.job_id
    assert world.machine.status(third.job_id).superseded_by is None
    assert world.run(**source, **more, **{name: values[2]}).job_id == third.job_id
    world.check()


def test_a_deleted_cog_is_recreated(world):
    source = world.put_raster()
    first = world.run(**source)
    world.storage.get_blob_client(world.silver, first.result["cog"]["cog_blob"]).delete_blob()
    again = world.run(**source)
    assert again.job_id != first.job_id
    assert again.result["cog"]["checksum"] == first.result["cog"]["checksum"]
    world.check()


def test_a_changed_cog_is_recreated(world):
    source = world.put_raster()
    first = world.run(**source)
    blob = world.storage.get_blob_client(world.silver, first.result["cog"]["cog_blob"])
    blob.upload_blob(b"no COG", overwrite=True)
    assert world.run(**source).job_id != first.job_id
    world.check()


def test_concurrent_resubmissions_of_a_superseded_job_are_one_job(world):
    source = world.put_raster()
    first = world.run(**source)
    world.storage.get_blob_client(world.silver, first.result["cog"]["cog_blob"]).delete_blob()
    start = threading.Barrier(4)

    def submit(_):
        start.wait()
        return world.submit(**source).job_id

    with ThreadPoolExecutor(4) as threads:
        submitted = set(threads.map(submit, range(4)))
    assert len(submitted) == 1 and first.job_id not in submitted
    world.drain()
    assert world.submit(**source).job_id in submitted
    world.check()


def test_an_idempotency_key_still_returns_its_first_job(world):
    source = world.put_raster()
    first = world.machine.submit("process_raster", source, "key").job
    world.drain()
    world.run(**source, strict_mode=True)
    assert world.machine.submit("process_raster", source, "key").job.job_id == first.job_id
    assert world.submit(**source).job_id != first.job_id


def test_a_tier_made_later_joins_the_item(world):
    source = world.put_raster()
    whole = world.run(**source, output_tier="all")
    assert assets(world.item(whole)) == {"data", "visualization", "archive"}
    analysis = world.run(**source, output_tier="analysis")
    assert analysis.result["stac"] == whole.result["stac"]
    assert assets(world.item(analysis)) == {"data", "visualization", "archive"}
    assert analysis.result["cog"]["cog_tier"] == "analysis"
    world.check()


def test_another_folder_or_crs_is_another_item(world):
    source = world.put_raster()
    jobs = [world.run(**source, **each) for each in ({}, {"output_folder": "other"},
                                                     {"target_crs": "native"})]  # fmt: skip
    assert len({job.result["stac"]["item_id"] for job in jobs}) == 3 == len(world.items())
    world.check()


def test_a_changed_source_replaces_every_tier_made_from_the_old_one(world):
    source = world.put_raster(value=7)
    world.run(**source, output_tier="all")
    world.put_raster(value=30)
    analysis = world.run(**source, output_tier="analysis")
    assert assets(world.item(analysis)) == {"data"}
    assert len(world.stored()) == 3
    world.clean()
    assert set(world.stored()) == {analysis.result["cog"]["cog_blob"]}
    world.check()


def test_outputs_that_an_item_no_longer_references_are_removed_after_a_grace_period(world):
    source = world.put_raster()
    first = world.run(**source, item_id="mine")
    second = world.run(**source, item_id="mine", output_folder="elsewhere")
    assert first.result["cog"]["cog_blob"] in world.stored()
    world.clean()
    assert set(world.stored()) == {second.result["cog"]["cog_blob"]}
    assert world.machine.status(first.job_id).superseded_by == second.job_id
    world.check()


def test_an_output_has_one_item(world):
    source = world.put_raster()
    world.run(**source)
    renamed = world.run(**source, item_id="mine", collection_id="others")
    assert world.items() == {("others", "mine")}
    assert assets(world.item(renamed)) == {"data"}
    world.check()


def test_an_item_id_belongs_to_its_first_source(world):
    first = world.run(**world.put_raster("in/b.tif"))
    second = world.run(**world.put_raster("in/b.tiff"))
    third = world.run(**world.put_raster("in/c.tiff"))
    names = [job.result["cog"]["cog_blob"] for job in (first, second, third)]
    assert names == [
        "in/b_cog_analysis.tif", "in/b_tiff_cog_analysis.tif", "in/c_cog_analysis.tif"
    ]  # fmt: skip
    assert len(world.items()) == 3
    world.check()


def test_unpublishing_an_item_removes_every_tier_with_its_snapshots(world):
    source = world.put_raster()
    job = world.run(**source, output_tier="all")
    blob = world.storage.get_blob_client(world.silver, job.result["cog"]["cog_blob"])
    blob.create_snapshot()
    done = world.run("unpublish_raster", item_id=job.result["stac"]["item_id"])
    assert len(done.result["removed_cogs"]) == 3
    container = world.storage.get_container_client(world.silver)
    assert list(container.list_blobs(include=["snapshots"])) == [] and world.items() == set()
    again = world.run(**source, output_tier="all")
    assert again.job_id != job.job_id
    world.check()


def test_unpublishing_a_source_removes_all_its_items(world):
    source, other = world.put_raster("in/a.tif"), world.put_raster("in/b.tif")
    for more in ({}, {"output_folder": "x"}, {"target_crs": "native", "collection_id": "more"}):
        world.run(**source, **more)
    kept = world.run(**other)
    done = world.run("unpublish_raster", source=f"{world.bronze}/in/a.tif")
    assert [item["item"] for item in done.result["items"]] == ["removed"] * 3
    assert set(world.stored()) == {kept.result["cog"]["cog_blob"]}
    world.check()


def test_unpublishing_a_source_removes_what_a_failed_job_made_from_it(world):
    world.run(**world.put_raster("in/b.tif"), item_id="taken")
    source = world.put_raster("in/a.tif")
    job_ids = [world.submit(**source, item_id="taken").job_id]
    world.drain()
    assert world.state.get_job(job_ids[0]).status is JobStatus.FAILED
    name = f"{world.bronze}/in/a.tif"
    assert world.run("unpublish_raster", source=name, collection_id="rasters").result == {
        "job_type": "unpublish_raster", "source": name, "items": [], "removed_cogs": [],
    }  # fmt: skip
    done = world.run("unpublish_raster", source=name)
    assert done.result["removed_cogs"] == [f"{world.silver}/in/a_cog_analysis.tif"]
    assert set(world.stored()) == {"in/b_cog_analysis.tif"}
    world.check()


def test_a_cancelled_job_leaves_nothing(world):
    source = world.put_raster()
    job = write_cog(world, source)
    assert len(world.stored()) == 1
    world.machine.cancel(job.job_id)
    world.drain(world.make_machine(world.bus))
    assert world.stored() == {} == world.live()
    again = world.run(**source)
    assert (again.job_id, again.run) == (job.job_id, 2)
    world.check()


VISUAL = {"output_tier": "visualization"}


def test_a_cancelled_job_that_overwrote_a_cog_takes_its_item_with_it(world):
    source = world.put_raster()
    first = world.run(**source, **VISUAL, jpeg_quality=30)
    second = write_cog(world, source, **VISUAL, jpeg_quality=95)
    assert world.item(first), "it is searchable while the job runs"
    world.machine.cancel(second.job_id)
    world.drain()
    assert world.items() == set() and world.stored() == {} == world.live()
    assert world.run(**source, **VISUAL, jpeg_quality=30).job_id != first.job_id
    world.check()


def test_a_tier_that_a_cancelled_job_overwrote_leaves_the_item(world):
    source = world.put_raster()
    first = world.run(**source, output_tier="all")
    world.machine.cancel(write_cog(world, source, **VISUAL, jpeg_quality=30).job_id)
    world.drain()
    assert assets(world.item(first)) == {"data", "archive"} and len(world.stored()) == 2
    world.check()


def test_a_cancelled_job_that_wrote_the_same_bytes_changes_nothing(world):
    source = world.put_raster()
    first = world.run(**source)
    world.machine.cancel(write_cog(world, source, strict_mode=True).job_id)
    world.drain()
    assert assets(world.item(first)) == {"data"}
    world.check()


def test_an_upload_that_a_cancel_overtakes_takes_the_item_that_it_replaced(world, monkeypatch):
    source = world.put_raster()
    world.run(**source, **VISUAL, jpeg_quality=30)
    job = world.submit(**source, **VISUAL, jpeg_quality=95)
    replace = world.blobs.replace

    def overtaken(*args, **kwargs):
        stored = replace(*args, **kwargs)
        world.machine.cancel(job.job_id)
        return stored

    monkeypatch.setattr(world.blobs, "replace", overtaken)
    world.drain()
    assert world.items() == set() and world.stored() == {} == world.live()


def test_a_failed_job_that_overwrote_a_cog_can_be_retried_and_its_old_item_is_removed(world):
    source = world.put_raster()
    world.run(**world.put_raster("in/b.tif"), item_id="taken")
    world.run(**source, **VISUAL, jpeg_quality=30)
    failed = world.submit(**source, **VISUAL, jpeg_quality=95, item_id="taken")
    world.drain()
    assert world.state.get_job(failed.job_id).error.code == "ITEM_ID_TAKEN"
    world.clean()
    assert world.items() == {("rasters", "taken")}
    world.check()
    world.run("unpublish_raster", item_id="taken")
    world.machine.retry(failed.job_id)
    world.drain()
    assert world.state.get_job(failed.job_id).status is JobStatus.COMPLETED
    world.check()


def test_an_item_whose_cog_is_gone_is_removed_unless_it_is_made_again(world):
    source = world.put_raster()
    first = world.run(**source)
    blob = world.storage.get_blob_client(world.silver, first.result["cog"]["cog_blob"])
    blob.delete_blob()
    world.run("reconcile_catalog", apply=True)
    world.clean()
    assert world.items() == set() == set(world.live())
    world.run(**source)
    blob.delete_blob()
    again = world.submit(**source)
    world.drain()
    world.clean()
    assert world.item(world.state.get_job(again.job_id))
    world.check()


def test_one_of_two_concurrent_jobs_for_a_target_succeeds(world):
    source = world.put_raster()
    for _ in range(3):
        jobs = [world.submit(**source, jpeg_quality=n, output_tier="visualization")
                for n in (40, 90)]  # fmt: skip

        def work(_):
            world.bus.drain(world.machine.process_job_message, world.machine.process_tasks)

        with ThreadPoolExecutor(2) as threads:
            while world.bus.messages:
                list(threads.map(work, range(2)))
        world.drain()
        ended = [world.state.get_job(job.job_id) for job in jobs]
        won = [job for job in ended if job.status is JobStatus.COMPLETED]
        assert won and all(job.error.code == "OUTPUT_SUPERSEDED" for job in ended if job not in won)
        standing = [job for job in won if world.machine.status(job.job_id).superseded_by is None]
        assert len(standing) == 1
        world.check()
