"""The outputs of a job exist, each belongs to an item, and no others are left."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from core.models import JobStatus
from tests.fixtures.catalogue import open_catalogue


@pytest.fixture
def catalogue(azurite, pool, tmp_path):
    with open_catalogue(azurite.connection_string, pool, tmp_path) as catalogue:
        yield catalogue


def assets(item):
    return {key for key, asset in item["assets"].items() if "file:checksum" in asset}


def write_cog(catalogue, source, **parameters):
    """Submit a job and run it until the message of its extract_stac_metadata task."""
    job = catalogue.submit(**source, **parameters)
    while catalogue.state.get_job(job.job_id).stage < job.total_stages:
        catalogue.deliver(1)
    return job


@pytest.mark.parametrize(
    ("name", "values", "more"),
    [
        ("jpeg_quality", (30, 95, 30), {"output_tier": "visualization"}),
        ("raster_type", ("rgb", "multispectral", "rgb"), {}),
    ],
)
def test_a_request_runs_again_after_its_output_was_overwritten(catalogue, name, values, more):
    source = catalogue.put_raster()
    first, second, third = (catalogue.run(**source, **more, **{name: value}) for value in values)
    assert len({first.job_id, second.job_id, third.job_id}) == 3
    checksums = [job.result["cog"]["checksum"] for job in (first, second, third)]
    assert checksums[0] == checksums[2]
    assert catalogue.item(third)["assets"]["data"]["file:checksum"] == checksums[2]
    assert catalogue.machine.status(first.job_id).superseded_by == second.job_id
    assert catalogue.machine.status(second.job_id).superseded_by == third.job_id
    assert catalogue.machine.status(third.job_id).superseded_by is None
    assert catalogue.run(**source, **more, **{name: values[2]}).job_id == third.job_id
    catalogue.check()


def test_a_deleted_cog_is_recreated(catalogue):
    source = catalogue.put_raster()
    first = catalogue.run(**source)
    catalogue.storage.get_blob_client(
        catalogue.silver, first.result["cog"]["cog_blob"]
    ).delete_blob()
    again = catalogue.run(**source)
    assert again.job_id != first.job_id
    assert again.result["cog"]["checksum"] == first.result["cog"]["checksum"]
    catalogue.check()


def test_a_changed_cog_is_recreated(catalogue):
    source = catalogue.put_raster()
    first = catalogue.run(**source)
    blob = catalogue.storage.get_blob_client(catalogue.silver, first.result["cog"]["cog_blob"])
    blob.upload_blob(b"no COG", overwrite=True)
    assert catalogue.run(**source).job_id != first.job_id
    catalogue.check()


def test_concurrent_resubmissions_of_a_superseded_job_are_one_job(catalogue):
    source = catalogue.put_raster()
    first = catalogue.run(**source)
    catalogue.storage.get_blob_client(
        catalogue.silver, first.result["cog"]["cog_blob"]
    ).delete_blob()
    start = threading.Barrier(4)

    def submit(_):
        start.wait()
        return catalogue.submit(**source).job_id

    with ThreadPoolExecutor(4) as threads:
        submitted = set(threads.map(submit, range(4)))
    assert len(submitted) == 1 and first.job_id not in submitted
    catalogue.drain()
    assert catalogue.submit(**source).job_id in submitted
    catalogue.check()


def test_an_idempotency_key_still_returns_its_first_job(catalogue):
    source = catalogue.put_raster()
    first = catalogue.machine.submit("process_raster", source, "key").job
    catalogue.drain()
    catalogue.run(**source, strict_mode=True)
    assert catalogue.machine.submit("process_raster", source, "key").job.job_id == first.job_id
    assert catalogue.submit(**source).job_id != first.job_id


def test_a_tier_made_later_joins_the_item(catalogue):
    source = catalogue.put_raster()
    whole = catalogue.run(**source, output_tier="all")
    assert assets(catalogue.item(whole)) == {"data", "visualization", "archive"}
    analysis = catalogue.run(**source, output_tier="analysis")
    assert analysis.result["stac"] == whole.result["stac"]
    assert assets(catalogue.item(analysis)) == {"data", "visualization", "archive"}
    assert analysis.result["cog"]["cog_tier"] == "analysis"
    catalogue.check()


def test_another_folder_or_crs_is_another_item(catalogue):
    source = catalogue.put_raster()
    jobs = [catalogue.run(**source, **each) for each in ({}, {"output_folder": "other"},
                                                     {"target_crs": "native"})]  # fmt: skip
    assert len({job.result["stac"]["item_id"] for job in jobs}) == 3 == len(catalogue.items())
    catalogue.check()


def test_a_changed_source_replaces_every_tier_made_from_the_old_one(catalogue):
    source = catalogue.put_raster(value=7)
    catalogue.run(**source, output_tier="all")
    catalogue.put_raster(value=30)
    analysis = catalogue.run(**source, output_tier="analysis")
    assert assets(catalogue.item(analysis)) == {"data"}
    assert len(catalogue.stored()) == 3
    catalogue.clean()
    assert set(catalogue.stored()) == {analysis.result["cog"]["cog_blob"]}
    catalogue.check()


def test_outputs_that_an_item_no_longer_references_are_removed_after_a_grace_period(catalogue):
    source = catalogue.put_raster()
    first = catalogue.run(**source, item_id="mine")
    second = catalogue.run(**source, item_id="mine", output_folder="elsewhere")
    assert first.result["cog"]["cog_blob"] in catalogue.stored()
    catalogue.clean()
    assert set(catalogue.stored()) == {second.result["cog"]["cog_blob"]}
    assert catalogue.machine.status(first.job_id).superseded_by == second.job_id
    catalogue.check()


def test_an_output_has_one_item(catalogue):
    source = catalogue.put_raster()
    catalogue.run(**source)
    renamed = catalogue.run(**source, item_id="mine", collection_id="others")
    assert catalogue.items() == {("others", "mine")}
    assert assets(catalogue.item(renamed)) == {"data"}
    catalogue.check()


def test_an_item_id_belongs_to_its_first_source(catalogue):
    first = catalogue.run(**catalogue.put_raster("in/b.tif"))
    second = catalogue.run(**catalogue.put_raster("in/b.tiff"))
    third = catalogue.run(**catalogue.put_raster("in/c.tiff"))
    names = [job.result["cog"]["cog_blob"] for job in (first, second, third)]
    assert names == [
        "in/b_cog_analysis.tif", "in/b_tiff_cog_analysis.tif", "in/c_cog_analysis.tif"
    ]  # fmt: skip
    assert len(catalogue.items()) == 3
    catalogue.check()


def test_unpublishing_an_item_removes_every_tier_with_its_snapshots(catalogue):
    source = catalogue.put_raster()
    job = catalogue.run(**source, output_tier="all")
    blob = catalogue.storage.get_blob_client(catalogue.silver, job.result["cog"]["cog_blob"])
    blob.create_snapshot()
    done = catalogue.run("unpublish_raster", item_id=job.result["stac"]["item_id"])
    assert len(done.result["removed_cogs"]) == 3
    container = catalogue.storage.get_container_client(catalogue.silver)
    assert list(container.list_blobs(include=["snapshots"])) == [] and catalogue.items() == set()
    again = catalogue.run(**source, output_tier="all")
    assert again.job_id != job.job_id
    catalogue.check()


def test_unpublishing_a_source_removes_all_its_items(catalogue):
    source, other = catalogue.put_raster("in/a.tif"), catalogue.put_raster("in/b.tif")
    for more in ({}, {"output_folder": "x"}, {"target_crs": "native", "collection_id": "more"}):
        catalogue.run(**source, **more)
    kept = catalogue.run(**other)
    done = catalogue.run("unpublish_raster", source=f"{catalogue.bronze}/in/a.tif")
    assert [item["item"] for item in done.result["items"]] == ["removed"] * 3
    assert set(catalogue.stored()) == {kept.result["cog"]["cog_blob"]}
    catalogue.check()


def test_unpublishing_a_source_removes_what_a_failed_job_made_from_it(catalogue):
    catalogue.run(**catalogue.put_raster("in/b.tif"), item_id="taken")
    source = catalogue.put_raster("in/a.tif")
    job_ids = [catalogue.submit(**source, item_id="taken").job_id]
    catalogue.drain()
    assert catalogue.state.get_job(job_ids[0]).status is JobStatus.FAILED
    name = f"{catalogue.bronze}/in/a.tif"
    assert catalogue.run("unpublish_raster", source=name, collection_id="rasters").result == {
        "job_type": "unpublish_raster", "source": name, "items": [], "removed_cogs": [],
    }  # fmt: skip
    done = catalogue.run("unpublish_raster", source=name)
    assert done.result["removed_cogs"] == [f"{catalogue.silver}/in/a_cog_analysis.tif"]
    assert set(catalogue.stored()) == {"in/b_cog_analysis.tif"}
    catalogue.check()


def test_a_cancelled_job_leaves_nothing(catalogue):
    source = catalogue.put_raster()
    job = write_cog(catalogue, source)
    assert len(catalogue.stored()) == 1
    catalogue.machine.cancel(job.job_id)
    catalogue.drain(catalogue.make_machine(catalogue.bus))
    assert catalogue.stored() == {} == catalogue.live()
    again = catalogue.run(**source)
    assert (again.job_id, again.run) == (job.job_id, 2)
    catalogue.check()


VISUAL = {"output_tier": "visualization"}


def test_a_cancelled_job_that_overwrote_a_cog_takes_its_item_with_it(catalogue):
    source = catalogue.put_raster()
    first = catalogue.run(**source, **VISUAL, jpeg_quality=30)
    second = write_cog(catalogue, source, **VISUAL, jpeg_quality=95)
    assert catalogue.item(first), "it is searchable while the job runs"
    catalogue.machine.cancel(second.job_id)
    catalogue.drain()
    assert catalogue.items() == set() and catalogue.stored() == {} == catalogue.live()
    assert catalogue.run(**source, **VISUAL, jpeg_quality=30).job_id != first.job_id
    catalogue.check()


def test_a_tier_that_a_cancelled_job_overwrote_leaves_the_item(catalogue):
    source = catalogue.put_raster()
    first = catalogue.run(**source, output_tier="all")
    catalogue.machine.cancel(write_cog(catalogue, source, **VISUAL, jpeg_quality=30).job_id)
    catalogue.drain()
    assert assets(catalogue.item(first)) == {"data", "archive"} and len(catalogue.stored()) == 2
    catalogue.check()


def test_a_cancelled_job_that_wrote_the_same_bytes_changes_nothing(catalogue):
    source = catalogue.put_raster()
    first = catalogue.run(**source)
    catalogue.machine.cancel(write_cog(catalogue, source, strict_mode=True).job_id)
    catalogue.drain()
    assert assets(catalogue.item(first)) == {"data"}
    catalogue.check()


def test_an_upload_that_a_cancel_overtakes_takes_the_item_that_it_replaced(catalogue, monkeypatch):
    source = catalogue.put_raster()
    catalogue.run(**source, **VISUAL, jpeg_quality=30)
    job = catalogue.submit(**source, **VISUAL, jpeg_quality=95)
    replace = catalogue.blobs.replace

    def overtaken(*args, **kwargs):
        stored = replace(*args, **kwargs)
        catalogue.machine.cancel(job.job_id)
        return stored

    monkeypatch.setattr(catalogue.blobs, "replace", overtaken)
    catalogue.drain()
    assert catalogue.items() == set() and catalogue.stored() == {} == catalogue.live()


def test_a_failed_job_that_overwrote_a_cog_can_be_retried_and_its_old_item_is_removed(catalogue):
    source = catalogue.put_raster()
    catalogue.run(**catalogue.put_raster("in/b.tif"), item_id="taken")
    catalogue.run(**source, **VISUAL, jpeg_quality=30)
    failed = catalogue.submit(**source, **VISUAL, jpeg_quality=95, item_id="taken")
    catalogue.drain()
    assert catalogue.state.get_job(failed.job_id).error.code == "ITEM_ID_TAKEN"
    catalogue.clean()
    assert catalogue.items() == {("rasters", "taken")}
    catalogue.check()
    catalogue.run("unpublish_raster", item_id="taken")
    catalogue.machine.retry(failed.job_id)
    catalogue.drain()
    assert catalogue.state.get_job(failed.job_id).status is JobStatus.COMPLETED
    catalogue.check()


def test_an_item_whose_cog_is_gone_is_removed_unless_it_is_made_again(catalogue):
    source = catalogue.put_raster()
    first = catalogue.run(**source)
    blob = catalogue.storage.get_blob_client(catalogue.silver, first.result["cog"]["cog_blob"])
    blob.delete_blob()
    catalogue.run("reconcile_catalog", apply=True)
    catalogue.clean()
    assert catalogue.items() == set() == set(catalogue.live())
    catalogue.run(**source)
    blob.delete_blob()
    again = catalogue.submit(**source)
    catalogue.drain()
    catalogue.clean()
    assert catalogue.item(catalogue.state.get_job(again.job_id))
    catalogue.check()


def test_one_of_two_concurrent_jobs_for_a_target_succeeds(catalogue):
    source = catalogue.put_raster()
    for _ in range(3):
        jobs = [catalogue.submit(**source, jpeg_quality=n, output_tier="visualization")
                for n in (40, 90)]  # fmt: skip

        def work(_):
            catalogue.bus.drain(
                catalogue.machine.process_job_message, catalogue.machine.process_tasks
            )

        with ThreadPoolExecutor(2) as threads:
            while catalogue.bus.messages:
                list(threads.map(work, range(2)))
        catalogue.drain()
        ended = [catalogue.state.get_job(job.job_id) for job in jobs]
        won = [job for job in ended if job.status is JobStatus.COMPLETED]
        assert won and all(job.error.code == "OUTPUT_SUPERSEDED" for job in ended if job not in won)
        standing = [
            job for job in won if catalogue.machine.status(job.job_id).superseded_by is None
        ]
        assert len(standing) == 1
        catalogue.check()
