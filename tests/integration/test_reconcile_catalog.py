"""reconcile_catalog finds what does not agree, and repairs it only on request."""

import pytest

from core.models import BlobRef
from tests.fixtures.catalogue import open_catalogue


@pytest.fixture
def world(azurite, pool, tmp_path):
    with open_catalogue(azurite.connection_string, pool, tmp_path) as world:
        yield world


def reconcile(world, **parameters):
    return world.run("reconcile_catalog", **parameters).result


def blob(world, name):
    return world.storage.get_blob_client(world.silver, name)


def test_consistent_items_are_not_changed(world):
    for name in ("in/a.tif", "b.tif"):
        world.run(**world.put_raster(name))
    blob(world, "in/notes.txt").upload_blob(b"a file of other people")
    found = reconcile(world, apply=True)
    assert (found["blobs"], found["outputs"], found["folders"]) == (3, 2, 2)
    assert found["disagreements"] == {} and found["examples"] == []
    assert len(world.live()) == 2


def test_disagreements_are_reported_and_repaired_on_request(world, pool):
    jobs = [world.run(**world.put_raster(f"in/{name}.tif")) for name in "abcd"]
    deleted, unlisted, surplus, unknown = (job.result["cog"]["cog_blob"] for job in jobs)
    blob(world, deleted).delete_blob()
    with pool.connection() as conn:
        conn.execute("DELETE FROM pgstac.items WHERE id = %s", [jobs[1].result["stac"]["item_id"]])
        conn.execute("UPDATE app.outputs SET superseded_at = now() WHERE name = %s", [surplus])
        conn.execute("DELETE FROM app.outputs WHERE name = %s", [unknown])
    expected = {
        "output_missing": 1, "item_missing": 1, "blob_superseded": 1, "blob_unknown": 1
    }  # fmt: skip
    for _ in range(2):
        found = reconcile(world)
        assert found["disagreements"] == expected and not found["applied"]
    assert {each["blob"].partition("/")[2] for each in found["examples"]} == {
        deleted, unlisted, surplus, unknown
    }  # fmt: skip
    assert reconcile(world, folder="elsewhere")["disagreements"] == {}

    assert reconcile(world, folder="in", apply=True)["disagreements"] == expected
    world.clean()
    assert set(world.stored()) == {unknown}
    assert reconcile(world)["disagreements"] == {"blob_unknown": 1}


def test_an_upload_that_was_not_recorded_is_recorded_from_its_mark(world, pool):
    job = world.run(**world.put_raster("in/a.tif"))
    name = job.result["cog"]["cog_blob"]
    with pool.connection() as conn:
        conn.execute(
            """UPDATE app.outputs SET written_at = NULL, etag = NULL, checksum = NULL
                WHERE name = %s""",
            [name],
        )
    assert reconcile(world)["disagreements"] == {"blob_unrecorded": 1}
    assert world.live() == {}
    reconcile(world, apply=True)
    assert world.live() == world.stored()
    live = world.outputs.live_at(BlobRef(container=world.silver, name=name))
    assert live.checksum == job.result["cog"]["checksum"]
