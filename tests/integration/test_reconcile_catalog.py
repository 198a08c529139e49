"""reconcile_catalog finds disagreements, and repairs them only on request."""

import pytest

from core.models import BlobRef
from tests.fixtures.catalogue import open_catalogue


@pytest.fixture
def catalogue(azurite, pool, tmp_path):
    with open_catalogue(azurite.connection_string, pool, tmp_path) as catalogue:
        yield catalogue


def reconcile(catalogue, **parameters):
    return catalogue.run("reconcile_catalog", **parameters).result


def blob(catalogue, name):
    return catalogue.storage.get_blob_client(catalogue.silver, name)


def test_consistent_items_are_not_changed(catalogue):
    for name in ("in/a.tif", "b.tif"):
        catalogue.run(**catalogue.put_raster(name))
    blob(catalogue, "in/notes.txt").upload_blob(b"a file of another owner")
    found = reconcile(catalogue, apply=True)
    assert (found["blobs"], found["outputs"], found["folders"]) == (3, 2, 2)
    assert found["disagreements"] == {} and found["examples"] == []
    assert len(catalogue.live()) == 2


def test_disagreements_are_reported_and_repaired_on_request(catalogue, pool):
    jobs = [catalogue.run(**catalogue.put_raster(f"in/{name}.tif")) for name in "abcd"]
    deleted, unlisted, surplus, unknown = (job.result["cog"]["cog_blob"] for job in jobs)
    blob(catalogue, deleted).delete_blob()
    with pool.connection() as conn:
        conn.execute("DELETE FROM pgstac.items WHERE id = %s", [jobs[1].result["stac"]["item_id"]])
        conn.execute("UPDATE app.outputs SET superseded_at = now() WHERE name = %s", [surplus])
        conn.execute("DELETE FROM app.outputs WHERE name = %s", [unknown])
    expected = {
        "output_missing": 1, "item_missing": 1, "blob_superseded": 1, "blob_unknown": 1
    }  # fmt: skip
    for _ in range(2):
        found = reconcile(catalogue)
        assert found["disagreements"] == expected and not found["applied"]
    assert {each["blob"].partition("/")[2] for each in found["examples"]} == {
        deleted, unlisted, surplus, unknown
    }  # fmt: skip
    assert reconcile(catalogue, folder="elsewhere")["disagreements"] == {}

    assert reconcile(catalogue, folder="in", apply=True)["disagreements"] == expected
    catalogue.clean()
    assert set(catalogue.stored()) == {unknown}
    assert reconcile(catalogue)["disagreements"] == {"blob_unknown": 1}


def test_an_upload_that_was_not_recorded_is_recorded_from_its_mark(catalogue, pool):
    job = catalogue.run(**catalogue.put_raster("in/a.tif"))
    name = job.result["cog"]["cog_blob"]
    with pool.connection() as conn:
        conn.execute(
            """UPDATE app.outputs SET written_at = NULL, etag = NULL, checksum = NULL
                WHERE name = %s""",
            [name],
        )
    assert reconcile(catalogue)["disagreements"] == {"blob_unrecorded": 1}
    assert catalogue.live() == {}
    reconcile(catalogue, apply=True)
    assert catalogue.live() == catalogue.stored()
    live = catalogue.outputs.live_at(BlobRef(container=catalogue.silver, name=name))
    assert live.checksum == job.result["cog"]["checksum"]
