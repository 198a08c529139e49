"""process_raster_collection with the real database, storage and raster code."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np
import pystac
import pytest
import rasterio
from rasterio.io import MemoryFile
from rasterio.transform import Affine, from_origin
from rasterio.warp import transform

from core.assets import WATCH
from core.errors import InvalidRequest, TaskLost
from core.handler import TaskContext
from core.models import BlobRef, JobStatus
from services.outputs.piece import store_piece
from testing.bus import MemoryBus
from tests.fixtures.catalogue import Catalogue, open_catalogue
from tests.fixtures.made_rasters import classes, hills, write

SIZE = 32
PIXEL = 10.0
UTM = "EPSG:32633"
IN_A_ROW = 5


@pytest.fixture
def catalogue(azurite, pool, tmp_path):
    with open_catalogue(azurite.connection_string, pool, tmp_path) as catalogue:
        yield catalogue


def place_of(number: int) -> Affine:
    row, column = divmod(number, IN_A_ROW)
    side = SIZE * PIXEL
    return from_origin(500_000 + column * side, 5_500_000 - row * side, PIXEL, PIXEL)


def tile(
    number: int, bands: int = 3, dtype: str = "uint8", crs: str | None = UTM, size: int = SIZE
) -> bytes:
    """A raster next to the others. Its values are from 20 + 8 * number to 7 more."""
    values = np.arange(size * size).reshape(size, size) % 8 + 20 + 8 * number
    with MemoryFile() as memory:
        with memory.open(
            driver="GTiff", width=size, height=size, count=bands, dtype=dtype, crs=crs,
            transform=place_of(number) * Affine.scale(SIZE / size),
        ) as raster:  # fmt: skip
            for band in range(1, bands + 1):
                raster.write(values.astype(dtype), band)
        return bytes(memory.read())


def put(catalogue: Catalogue, name: str, content: bytes) -> None:
    path = catalogue.folder / "upload"
    path.write_bytes(content)
    ref = BlobRef(container=catalogue.bronze, name=name)
    catalogue.blobs.upload(ref, path, content_type="image/tiff")


def put_tiles(catalogue: Catalogue, numbers: Iterable[int]) -> None:
    for number in numbers:
        put(catalogue, f"in/{number:02}.tif", tile(number))


def run(catalogue: Catalogue, **parameters: Any):
    wanted = {"container_name": catalogue.bronze, "prefix": "in/", "collection_id": "survey"}
    job = catalogue.submit("process_raster_collection", **wanted | parameters)
    catalogue.drain()
    return catalogue.state.get_job(job.job_id)


def failures(catalogue: Catalogue, job) -> dict[str, str]:
    """The messages of the failed tasks by their code."""
    tasks = catalogue.state.list_tasks(job.job_id, (0, 0), 1000)
    return {task.error.code: task.error.message for task in tasks if task.error}


def silver_blobs(catalogue: Catalogue, prefix: str = "") -> set[str]:
    return {found.ref.name for found in catalogue.blobs.list(catalogue.silver, prefix)}


def assets(catalogue: Catalogue, collection: str = "survey") -> dict[str, Any]:
    return catalogue.catalog.get_collection(collection).get("assets", {})


def find_shown(catalogue: Catalogue, collection: str = "survey") -> set[int]:
    """The numbers of the tiles in whose middle the overview shows their own values."""
    asset = assets(catalogue, collection)["overview"]
    path = catalogue.folder / "overview.tif"
    name = asset["href"].partition(f"{catalogue.silver}/")[2]
    catalogue.blobs.download(BlobRef(container=catalogue.silver, name=name), path)
    shown = set()
    with rasterio.open(path) as overview:
        assert overview.crs == "EPSG:3857" and list(overview.shape) == asset["proj:shape"]
        pixels, mask = overview.read(1, masked=True).filled(0), overview.dataset_mask()
        for number in range(25):
            [x], [y] = transform(UTM, "EPSG:3857", *([v] for v in place_of(number) * (16, 16)))
            row, column = overview.index(x, y)
            inside = 0 <= row < overview.height and 0 <= column < overview.width
            if inside and mask[row, column]:
                assert 16 <= pixels[row, column] - 8 * number <= 32
                shown.add(number)
    return shown


def test_failed_rasters_are_named_and_made_after_they_are_replaced(catalogue):
    put_tiles(catalogue, range(12))
    put(catalogue, "in/03.tif", tile(3)[:1000])
    put(catalogue, "in/07.tif", tile(7, crs=None))
    put(catalogue, "in/11.tif", tile(11, bands=1, dtype="uint16"))
    put(catalogue, "in/readme.txt", b"notes")
    job = run(catalogue, title="Survey", license="CC-BY-4.0", keywords=["a"])
    assert job.status is JobStatus.COMPLETED_WITH_ERRORS
    members = job.result["members"]
    assert (members["found"], members["published"]) == (12, 9)
    assert (members["invalid"], members["failed"]) == (2, 1)
    assert job.result["skipped"]["not_a_raster"] == {"count": 1, "examples": ["in/readme.txt"]}
    reasons = failures(catalogue, job)
    assert len(reasons) == 3
    assert all(name in " ".join(reasons.values()) for name in ("03.tif", "07.tif", "11.tif"))
    assert "1 band of uint16" in reasons["DOES_NOT_FIT"]
    assert catalogue.catalog.count_items("survey") == 9
    assert catalogue.catalog.get_collection("survey")["geolathe:failed"] == 3
    assert find_shown(catalogue) == set(range(12)) - {3, 7, 11}

    put_tiles(catalogue, (3, 7, 11))
    catalogue.machine.retry(job.job_id)
    catalogue.drain()
    job = catalogue.state.get_job(job.job_id)
    assert job.status is JobStatus.COMPLETED
    members = job.result["members"]
    assert (members["found"], members["published"]) == (12, 12)
    assert (members["unchanged"], members["reused"]) == (9, 9)
    assert find_shown(catalogue) == set(range(12))
    assert "geolathe:failed" not in catalogue.catalog.get_collection("survey")
    assert not silver_blobs(catalogue, ".mosaic/")


def test_the_collection_is_valid_and_links_to_its_map(catalogue):
    put_tiles(catalogue, range(2))
    host = {"name": "Host", "roles": ["licensor", "host"], "url": "https://example.org/data"}
    about = {"keywords": ["a", "b"], "providers": ["Example", host]}
    job = run(catalogue, title="Survey", license="CC-BY-4.0", **about)
    stored = catalogue.catalog.get_collection("survey")
    collection = pystac.Collection.from_dict(stored)
    assert collection.title == "Survey" and collection.license == "CC-BY-4.0"
    assert collection.keywords == ["a", "b"]
    example = {"name": "Example", "roles": ["producer"]}
    assert [provider.to_dict() for provider in collection.providers] == [example, host]
    assert stored["assets"]["thumbnail"]["href"].startswith("http://titiler.test/collections/")
    [render] = stored["renders"].values()
    assert render["assets"] == ["data"] and render["bidx"] == [1, 2, 3]
    least, most = render["minmax_zoom"]
    share = job.result["share_url"]
    assert share.startswith("http://titiler.test/collections/survey/WebMercatorQuad/map.html?")
    assert share.endswith(f"&minzoom={least}&maxzoom={most}")
    assert "assets=data%7Cbidx%3D1%2C2%2C3" in share
    assert 0 <= least < most


def test_the_next_job_makes_only_new_rasters_and_sync_removes_missing_ones(catalogue):
    put_tiles(catalogue, range(3))
    run(catalogue)
    before = catalogue.stored()
    put_tiles(catalogue, (3, 4))
    job = run(catalogue)
    members = job.result["members"]
    assert (members["published"], members["unchanged"], members["reused"]) == (5, 3, 3)
    after = catalogue.stored()
    kept = [name for name in before if not name.startswith(".")]
    assert len(kept) == 3 and all(after[name] == before[name] for name in kept)
    assert find_shown(catalogue) == set(range(5))

    gone = BlobRef(container=catalogue.bronze, name="in/01.tif")
    catalogue.blobs.delete(gone)
    assert run(catalogue).result["members"]["removed"] == 0
    assert "overview" not in assets(catalogue), "it would lack an item of the collection"
    job = run(catalogue, sync=True)
    assert job.result["members"]["removed"] == 1
    assert catalogue.catalog.count_items("survey") == 4
    assert "survey/in/01_cog_analysis.tif" not in silver_blobs(catalogue)
    assert find_shown(catalogue) == {0, 2, 3, 4}


def test_a_changed_source_or_sidecar_makes_its_cog_again(catalogue):
    put_tiles(catalogue, range(3))
    run(catalogue)
    before = catalogue.live()
    put_tiles(catalogue, [0])
    triangle = np.tri(SIZE, dtype="uint8")[None] * 255
    mask = write(catalogue.folder / "mask.tif", triangle)
    with rasterio.open(mask, "r+") as flags:
        flags.update_tags(**{f"INTERNAL_MASK_FLAGS_{band}": "2" for band in (1, 2, 3)})
    put(catalogue, "in/01.tif.msk", mask.read_bytes())
    members = run(catalogue).result["members"]
    assert (members["published"], members["reused"], members["unchanged"]) == (3, 1, 1)
    after = catalogue.live()
    changed = {name for name, etag in after.items() if before[name] != etag}
    assert changed == {f"survey/in/{name}_cog_analysis.tif" for name in ("00", "01")}


def test_an_unpublished_member_drops_the_overview(catalogue):
    put_tiles(catalogue, range(2))
    run(catalogue)
    assert "overview" in assets(catalogue)
    catalogue.run("unpublish_raster", source=f"{catalogue.bronze}/in/01.tif")
    assert "overview" not in assets(catalogue)


def replace_member(catalogue: Catalogue, values_of: int) -> None:
    """Other pixels for the first tile, as another job publishes them."""
    put(catalogue, "in/00.tif", tile(values_of))
    bus = MemoryBus()
    machine = catalogue.make_machine(bus)
    wanted = {"blob_name": "in/00.tif", "container_name": catalogue.bronze}
    wanted |= {"collection_id": "survey", "output_folder": "survey"}
    job = machine.submit("process_raster", wanted).job
    bus.drain(machine.process_job_message, machine.process_tasks)
    assert catalogue.state.get_job(job.job_id).status is JobStatus.COMPLETED


@pytest.mark.parametrize("method", ["watch_items", "has_items"])
def test_an_item_replaced_meanwhile_is_not_shown_as_it_was(catalogue, monkeypatch, method):
    """Before its comparison with the overview, and between that and the publication."""
    put_tiles(catalogue, range(2))
    catalog = catalogue.ports.catalog
    original = getattr(catalog, method)
    count = catalog.count_items

    def call(*args: Any) -> Any:
        result = original(*args)
        monkeypatch.undo()
        replace_member(catalogue, 24)
        assert count("survey") == 2
        return result

    monkeypatch.setattr(catalog, method, call)
    job = run(catalogue)
    assert job.status is JobStatus.COMPLETED and job.result["members"]["published"] == 2
    assert not job.result["has_overview"] and "overview" not in assets(catalogue)
    assert job.result["share_url"] and WATCH not in catalogue.catalog.get_collection("survey")
    assert run(catalogue).result["has_overview"]
    replace_member(catalogue, 23)
    assert "overview" not in assets(catalogue), "it shows the former pixels"


def test_a_cancelled_job_leaves_nothing(catalogue):
    put_tiles(catalogue, range(4))
    wanted = {"container_name": catalogue.bronze, "prefix": "in/", "collection_id": "survey"}
    job = catalogue.submit("process_raster_collection", **wanted)
    for _ in range(40):
        if len(silver_blobs(catalogue, ".mosaic/")) == 2:
            break
        catalogue.deliver(1)
    assert silver_blobs(catalogue, "survey/")
    catalogue.machine.cancel(job.job_id)
    catalogue.settle()
    catalogue.clean()
    assert catalogue.state.get_job(job.job_id).status is JobStatus.CANCELLED
    assert silver_blobs(catalogue) == set()
    assert catalogue.catalog.get_collection("survey") is None


class Killed(BaseException):
    """The end of the worker's process; no handler of exceptions catches it."""


def kill_after(monkeypatch, target: object, method: str) -> None:
    """End the worker once, after this method has had its effect and before anyone knows."""
    original, calls = getattr(target, method), iter(range(1))

    def call(*args: Any, **kwargs: Any) -> Any:
        result = original(*args, **kwargs)
        if next(calls, None) is not None:
            raise Killed
        return result

    monkeypatch.setattr(target, method, call)


@pytest.mark.parametrize(
    ("part", "method"),
    [("blobs", "upload"), ("outputs", "record"), ("catalog", "put_items"),
     ("catalog", "update_collection")],
)  # fmt: skip
def test_a_killed_worker_leaves_no_orphan_and_no_doubled_item(catalogue, monkeypatch, part, method):
    put_tiles(catalogue, range(2))
    wanted = {"container_name": catalogue.bronze, "prefix": "in/", "collection_id": "survey"}
    job = catalogue.submit("process_raster_collection", **wanted)
    kill_after(monkeypatch, getattr(catalogue, part), method)
    with pytest.raises(Killed):
        catalogue.drain()
    catalogue.settle()
    assert_complete(catalogue, job.job_id, 2)


def test_doubled_messages_in_another_order_do_not_double_anything(catalogue):
    put_tiles(catalogue, range(2))
    wanted = {"container_name": catalogue.bronze, "prefix": "in/", "collection_id": "survey"}
    job = catalogue.submit("process_raster_collection", **wanted)
    for _ in range(100):
        waiting = list(catalogue.bus.messages)
        if not waiting:
            break
        catalogue.bus.messages.extend(reversed(waiting))
        catalogue.deliver(2 * len(waiting))
    catalogue.settle()
    assert_complete(catalogue, job.job_id, 2)


def assert_complete(catalogue: Catalogue, job_id: str, members: int) -> None:
    """The job is completed, and storage, registry, catalogue and overview agree."""
    job = catalogue.state.get_job(job_id)
    assert job.status is JobStatus.COMPLETED, job.error
    assert job.result["members"]["published"] == members
    assert catalogue.catalog.count_items("survey") == members
    cogs = {name for name in silver_blobs(catalogue) if not name.startswith(".")}
    assert cogs == set(catalogue.live()) and len(cogs) == members
    assert not silver_blobs(catalogue, ".mosaic/")
    assert find_shown(catalogue) == set(range(members))


def test_pieces_that_no_retry_needs_are_deleted(catalogue):
    put_tiles(catalogue, range(2))
    put(catalogue, "in/bad.tif", b"no raster")
    run(catalogue)
    first = silver_blobs(catalogue, ".mosaic/")
    assert run(catalogue).status is JobStatus.COMPLETED_WITH_ERRORS
    second = silver_blobs(catalogue, ".mosaic/")
    assert len(first) == len(second) == 2 and not first & second

    put_tiles(catalogue, [5])
    other = run(catalogue, blob_names=["in/05.tif"], prefix=None)
    assert other.result["has_overview"] is False, "it lacks the items of the first job"
    assert silver_blobs(catalogue, ".mosaic/") == second


def test_an_overview_that_no_collection_names_is_deleted(catalogue):
    put_tiles(catalogue, range(2))
    run(catalogue)
    first = silver_blobs(catalogue, ".overviews/")
    catalogue.clean()
    assert silver_blobs(catalogue, ".overviews/") == first
    put_tiles(catalogue, [2])
    run(catalogue)
    catalogue.clean()
    second = silver_blobs(catalogue, ".overviews/")
    assert len(first) == len(second) == 1 and first != second
    catalogue.run("unpublish_raster_collection", collection_id="survey")
    catalogue.clean()
    assert not silver_blobs(catalogue)


def test_an_overview_stays_for_the_retry_of_its_job(catalogue, monkeypatch):
    put_tiles(catalogue, range(2))

    def refuse(*_: Any) -> None:
        raise OSError("the catalogue cannot be reached")

    with monkeypatch.context() as broken:
        broken.setattr(catalogue.catalog, "update_collection", refuse)
        job = run(catalogue)
    assert job.status is JobStatus.FAILED
    catalogue.clean()
    catalogue.machine.retry(job.job_id)
    catalogue.drain()
    assert_complete(catalogue, job.job_id, 2)


def test_a_late_publication_does_not_name_a_deleted_overview(catalogue, monkeypatch):
    put_tiles(catalogue, range(2))
    wanted = {"container_name": catalogue.bronze, "prefix": "in/", "collection_id": "survey"}
    job = catalogue.submit("process_raster_collection", **wanted)
    update = catalogue.catalog.update_collection

    def update_late(collection_id, fields, watcher=None):
        if watcher is not None and "assets" in fields:
            catalogue.machine.cancel(job.job_id)
            catalogue.deliver(1)
            assert not silver_blobs(catalogue, ".overviews/"), "the job is discarded"
        return update(collection_id, fields, watcher)

    monkeypatch.setattr(catalogue.catalog, "update_collection", update_late)
    catalogue.settle()
    assert catalogue.state.get_job(job.job_id).status is JobStatus.CANCELLED
    assert catalogue.catalog.count_items("survey") == 2 and "overview" not in assets(catalogue)


class Holding:
    """The progress of a task that another worker claims after so many confirmations."""

    def __init__(self, confirmations: int) -> None:
        self.left = confirmations

    def report(self, fraction: float, message: str = "") -> None:
        """Nothing to stop."""

    def confirm(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise TaskLost("another attempt holds the task")


def test_a_late_attempt_leaves_no_piece_and_does_not_replace_another(catalogue):
    file = catalogue.folder / "piece.tif"
    file.write_bytes(b"the one that counts")
    ctx = TaskContext("a-1-5-0", 2, catalogue.ports, Holding(2))
    kept = store_piece(ctx, file)
    file.write_bytes(b"late")
    with pytest.raises(TaskLost):
        store_piece(replace(ctx, attempt=1, progress=Holding(1)), file)
    assert silver_blobs(catalogue) == {kept}
    ref = BlobRef(container=catalogue.silver, name=kept)
    assert catalogue.blobs.read(ref) == b"the one that counts"


def test_rasters_of_different_kinds_are_refused_as_one_mosaic(catalogue):
    put_tiles(catalogue, range(2))
    put(catalogue, "in/dem.tif", tile(2, bands=1, dtype="float32"))
    job = run(catalogue)
    assert job.status is JobStatus.FAILED and job.error.code == "UNLIKE_RASTERS"
    assert "2 with 3 bands of uint8, 1 with 1 band of float32" in job.error.message
    assert "Set group_by to 'auto'" in job.error.message
    assert silver_blobs(catalogue) == set()

    job = run(catalogue, mosaic=False)
    assert job.status is JobStatus.COMPLETED
    assert job.result["members"]["published"] == 3
    assert job.result["share_url"] is None and "overview" not in assets(catalogue)
    assert len(job.result["groups"]) == 2


PICTURES, HEIGHTS = "survey-3-bands-uint8", "survey-1-band-float32"


def put_heights(catalogue: Catalogue, *numbers: int) -> None:
    for number in numbers:
        put(catalogue, f"in/{number:02}.tif", tile(number, bands=1, dtype="float32"))


def sources(catalogue: Catalogue, collection: str) -> set[str]:
    """The names of the blobs that have an item in the collection."""
    ids = catalogue.catalog.list_items(collection)
    items = [catalogue.catalog.get_item(collection, item_id) for item_id in ids]
    return {item["properties"]["geolathe:source"].rpartition("/")[2] for item in items}


def test_groups_become_a_collection_each(catalogue):
    put_tiles(catalogue, range(3))
    put_heights(catalogue, 5, 6)
    put(catalogue, "in/03.tif", tile(3, crs=None))
    job = run(catalogue, group_by="auto", title="Survey")
    assert job.status is JobStatus.COMPLETED_WITH_ERRORS
    assert (job.result["members"]["published"], job.result["members"]["invalid"]) == (5, 1)
    assert (job.result["items"], job.result["share_url"]) == (5, None)
    pictures, heights = job.result["collections"]
    assert (pictures["collection_id"], heights["collection_id"]) == (PICTURES, HEIGHTS)
    assert (pictures["found"], heights["found"], heights["published"]) == (3, 2, 2)
    assert heights["structure"]["dtype"] == "float32"
    assert all(f"/collections/{name}/" in found["share_url"] for name, found in
               ((PICTURES, pictures), (HEIGHTS, heights)))  # fmt: skip
    assert job.result["has_overview"]
    assert find_shown(catalogue, PICTURES) == {0, 1, 2}
    assert find_shown(catalogue, HEIGHTS) == {5, 6}
    titles = {name: catalogue.catalog.get_collection(name)["title"] for name in (PICTURES, HEIGHTS)}
    assert titles == {PICTURES: "Survey, 3 bands of uint8", HEIGHTS: "Survey, 1 band of float32"}
    assert catalogue.catalog.get_collection("survey") is None

    put_tiles(catalogue, [3])
    catalogue.machine.retry(job.job_id)
    catalogue.drain()
    job = catalogue.state.get_job(job.job_id)
    assert job.status is JobStatus.COMPLETED
    assert find_shown(catalogue, PICTURES) == {0, 1, 2, 3}
    assert find_shown(catalogue, HEIGHTS) == {5, 6}
    assert not silver_blobs(catalogue, ".mosaic/")

    catalogue.run("unpublish_raster_collection", collection_id=PICTURES)
    assert catalogue.catalog.get_collection(PICTURES) is None
    assert find_shown(catalogue, HEIGHTS) == {5, 6}


def test_a_failure_of_one_group_keeps_the_pieces_of_the_others(catalogue):
    """The retry makes only the raster that failed, and both overviews are right."""
    put_tiles(catalogue, range(2))
    put_heights(catalogue, 5, 6, 7)
    put(catalogue, "in/08.tif", tile(8, bands=1, dtype="float32", size=2))
    job = run(catalogue, group_by="auto")
    assert "DOES_NOT_FIT" in failures(catalogue, job)
    by_name = {each["collection_id"]: each for each in job.result["collections"]}
    assert (by_name[HEIGHTS]["found"], by_name[HEIGHTS]["published"]) == (4, 3)
    assert catalogue.catalog.get_collection(HEIGHTS)["geolathe:failed"] == 1
    assert "geolathe:failed" not in catalogue.catalog.get_collection(PICTURES)
    put_heights(catalogue, 8)
    catalogue.machine.retry(job.job_id)
    catalogue.drain()
    assert catalogue.state.get_job(job.job_id).status is JobStatus.COMPLETED
    assert find_shown(catalogue, PICTURES) == {0, 1}
    assert find_shown(catalogue, HEIGHTS) == {5, 6, 7, 8}


def test_a_raster_replaced_by_one_elsewhere_is_not_missing_from_the_overview(catalogue):
    """There is no overview until the job runs again, because it would lack the raster."""
    put_tiles(catalogue, range(11))
    put(catalogue, "in/11.tif", tile(11, bands=1))
    job = run(catalogue)
    put(catalogue, "in/11.tif", tile(10_011))
    catalogue.machine.retry(job.job_id)
    catalogue.drain()
    job = catalogue.state.get_job(job.job_id)
    assert job.status is JobStatus.COMPLETED_WITH_ERRORS
    assert (job.result["members"]["published"], job.result["has_overview"]) == (12, False)
    assert "in/11.tif is outside" in failures(catalogue, job)["OUTSIDE_OVERVIEW"]
    assert "overview" not in assets(catalogue)
    assert run(catalogue).result["has_overview"]


def test_groups_are_brought_up_to_date(catalogue):
    put_tiles(catalogue, range(3))
    put_heights(catalogue, 5, 6)
    run(catalogue, group_by="auto")
    put_heights(catalogue, 2)
    catalogue.blobs.delete(BlobRef(container=catalogue.bronze, name="in/01.tif"))
    job = run(catalogue, group_by="auto", sync=True)
    assert job.status is JobStatus.COMPLETED and job.result["members"]["removed"] == 1
    assert sources(catalogue, PICTURES) == {"00.tif"}
    assert sources(catalogue, HEIGHTS) == {"02.tif", "05.tif", "06.tif"}
    assert find_shown(catalogue, PICTURES) == {0}
    assert find_shown(catalogue, HEIGHTS) == {2, 5, 6}

    catalogue.blobs.delete(BlobRef(container=catalogue.bronze, name="in/00.tif"))
    job = run(catalogue, group_by="auto", sync=True)
    assert job.result["members"]["removed"] == 1
    assert [each["collection_id"] for each in job.result["collections"]] == [HEIGHTS]
    assert job.result["share_url"] == job.result["collections"][0]["share_url"]
    assert sources(catalogue, PICTURES) == set() and "overview" not in assets(catalogue, PICTURES)


def test_a_cancelled_job_leaves_no_overview_of_a_group(catalogue):
    put_tiles(catalogue, range(2))
    wanted = {"container_name": catalogue.bronze, "prefix": "in/", "collection_id": "survey"}
    job = catalogue.submit("process_raster_collection", **wanted, group_by="auto")
    for _ in range(60):
        if silver_blobs(catalogue, ".overviews/"):
            break
        catalogue.deliver(1)
    assert silver_blobs(catalogue, f".overviews/{PICTURES}/")
    catalogue.machine.cancel(job.job_id)
    catalogue.settle()
    catalogue.clean()
    assert not silver_blobs(catalogue, ".overviews/")


def test_groups_need_maps_and_a_short_name(catalogue):
    wanted = {"container_name": catalogue.bronze, "prefix": "in/", "group_by": "auto"}
    for other in ({"collection_id": "survey", "mosaic": False}, {"collection_id": "s" * 97}):
        with pytest.raises(InvalidRequest, match="group_by='auto'"):
            catalogue.submit("process_raster_collection", **wanted, **other)


def test_members_of_one_structure_get_the_type_of_most(catalogue):
    for number in range(3):
        put_pixels(catalogue, number, classes(SIZE * 2) if number == 1 else hills(SIZE * 2))
    job = run(catalogue)
    assert job.status is JobStatus.COMPLETED
    types = set()
    for item_id in catalogue.catalog.list_items("survey"):
        item = catalogue.catalog.get_item("survey", item_id)
        types.add(item["properties"]["geolathe:raster_type"])
    assert len(types) == 1 and types != {"categorical"}


def put_pixels(catalogue: Catalogue, number: int, pixels: Any) -> None:
    """Upload pixels as float32 in the place of a tile, with twice its resolution."""
    path = catalogue.folder / f"{number}.tif"
    place = place_of(number) * Affine.scale(0.5)
    write(path, pixels.astype("float32"), crs=UTM, transform=place)
    put(catalogue, f"in/{number}.tif", path.read_bytes())


def test_a_dry_run_writes_nothing(catalogue):
    put_tiles(catalogue, range(2))
    put(catalogue, "in/bad.tif", b"no raster")
    job = run(catalogue, dry_run=True)
    assert job.status is JobStatus.COMPLETED_WITH_ERRORS
    members = job.result["members"]
    assert (members["found"], members["invalid"], members["published"]) == (3, 1, 0)
    assert members["failed"] == 0
    assert job.result["estimate"]["pixel_bytes"] == 2 * 3 * SIZE * SIZE
    assert silver_blobs(catalogue) == set()
    assert catalogue.catalog.get_collection("survey") is None


def test_a_job_that_stops_on_errors_publishes_nothing(catalogue):
    put_tiles(catalogue, range(2))
    put(catalogue, "in/bad.tif", b"no raster")
    job = run(catalogue, on_error="stop")
    assert job.status is JobStatus.FAILED and "bad.tif" in job.error.message
    assert catalogue.catalog.get_collection("survey") is None


def test_listed_blobs_are_members_and_missing_ones_fail(catalogue):
    put_tiles(catalogue, range(3))
    names = ["in/00.tif", "in/02.tif", "in/none.tif", "in/00.tif"]
    job = run(catalogue, prefix=None, blob_names=names)
    assert job.status is JobStatus.COMPLETED_WITH_ERRORS
    assert job.result["members"]["published"] == 2
    assert "none.tif" in failures(catalogue, job)["BLOB_NOT_FOUND"]


def test_a_prefix_without_rasters_says_what_was_skipped(catalogue):
    put(catalogue, "in/notes.txt", b"x")
    job = run(catalogue)
    assert job.status is JobStatus.FAILED and job.error.code == "NO_MEMBERS"
    assert "in/notes.txt" in job.error.message


def test_a_collection_is_unpublished_as_a_whole(catalogue):
    put_tiles(catalogue, range(3))
    run(catalogue)
    catalogue.run(**catalogue.put_raster("other/a.tif"), collection_id="other")
    result = catalogue.run("unpublish_raster_collection", collection_id="survey").result
    assert result["items"] == {"removed": 3} and result["removed_cogs"] == 3
    assert result["collection_removed"]
    assert catalogue.catalog.get_collection("survey") is None
    assert {collection for collection, _ in catalogue.items()} == {"other"}
    catalogue.clean()
    assert all(name.startswith("other/") for name in silver_blobs(catalogue))
    assert len(silver_blobs(catalogue)) == 1


def test_unpublishing_an_unknown_collection_is_refused(catalogue):
    with pytest.raises(InvalidRequest, match="there is no collection 'none'"):
        catalogue.submit("unpublish_raster_collection", collection_id="none")
