"""COGs made in windows: the same bytes and pixels, whatever happens to the tasks."""

import hashlib
import random
from collections.abc import Iterator
from functools import cache

import numpy as np
import pytest
import rasterio
from rasterio.enums import ColorInterp
from rio_cogeo.cogeo import cog_validate

from core.errors import TaskFailed, TaskLost
from core.ports import BLOCK_ID_LENGTH
from services.outputs.windows import discard_windows
from tests.fixtures.made_rasters import hills, photo, write
from tests.fixtures.raster_handlers import RasterHandlers, Steps
from tests.fixtures.windowed_job import SMALL_WINDOWS, WindowedJob

RGB = [ColorInterp.red, ColorInterp.green, ColorInterp.blue]
RGBA = [*RGB, ColorInterp.alpha]
NATIVE = {"target_crs": "native"}


@pytest.fixture(scope="module")
def handlers(azurite, tmp_path_factory) -> Iterator[RasterHandlers]:
    with RasterHandlers.open(
        azurite.connection_string, tmp_path_factory.mktemp("handlers")
    ) as handlers:
        handlers.deployment = SMALL_WINDOWS
        yield handlers


@pytest.fixture
def whole(handlers):
    """Makes the COG of a job's source in one task."""

    def make(job):
        facts = job.facts.model_copy(update={"windows": {}})
        return handlers.make_from(facts, tier=job.tier, target_crs=job.target_crs)

    return make


def transparent(side):
    pixels = photo(side, 4)
    pixels[3] = 255
    pixels[3, 100:300, :] = 0
    return pixels


CASES = {
    "picture": ({"colorinterp": RGB}, lambda: photo(1_100), {}),
    "picture in its own CRS": ({"colorinterp": RGB}, lambda: photo(1_100), NATIVE),
    "JPEG": ({"colorinterp": RGB}, lambda: photo(1_100), {"tier": "visualization"}),
    "WebP": ({"colorinterp": RGBA}, lambda: transparent(1_100), {"tier": "visualization"}),
    "archive": ({"colorinterp": RGBA}, lambda: transparent(1_100), {"tier": "archive"}),
    "bands": ({"nodata": 0}, lambda: hills(1_100, 6, "uint8", 220), {}),
}  # fmt: skip
LOSSY = ("JPEG", "WebP")


@pytest.fixture(scope="module")
def job_of(handlers, tmp_path_factory):
    """A job for one of the cases, with a target of its own."""

    @cache
    def validated(case):
        profile, pixels, params = CASES[case]
        path = tmp_path_factory.mktemp("source") / "source.tif"
        job = WindowedJob.validated(
            handlers, write(path, pixels(), tiled=True, **profile), **params
        )
        assert len(job.plan.windows(0)) > 1
        return job

    return lambda case: validated(case).again()


@pytest.fixture(scope="module")
def undisturbed(job_of):
    """The checksum of the COG of a picture that nothing disturbed."""
    job = job_of("picture")
    job.encode_all()
    return job.assemble().checksum


@pytest.fixture
def job(job_of):
    return job_of("picture")


def encode_shuffled(job, seed):
    order = random.Random(seed)
    windows = job.plan.windows(0)
    windows += order.sample(windows, len(windows) // 2)
    order.shuffle(windows)
    for window in windows:
        job.encode(window)


@pytest.mark.parametrize("case", [*LOSSY, "archive", "bands"])
def test_windows_make_the_cog_that_one_task_makes(handlers, job_of, whole, case):
    job = job_of(case)
    encode_shuffled(job, 1)
    cog, one = job.assemble(), whole(job)
    assert job.left_over == [] and handlers.blobs.staged_blocks(job.target) == []
    described = {"size_bytes", "size_mb", "checksum", "blob", "etag", "output_id", "last_modified",
                 "processing_time_seconds", "in_memory"}  # fmt: skip
    assert cog.model_dump(exclude=described) == one.model_dump(exclude=described)
    with handlers.opened(cog) as made, handlers.opened(one) as expected:
        assert cog_validate(made.name, strict=True, quiet=True) == (True, [], [])
        assert made.colorinterp == expected.colorinterp
        valid = made.dataset_mask() > 0
        assert np.array_equal(valid, expected.dataset_mask() > 0)
        found, wanted = made.read(), expected.read()
        if case in LOSSY:
            difference = np.abs(found[:3, valid].astype(int) - wanted[:3, valid])
            assert difference.mean() < 2
        else:
            assert np.array_equal(found, wanted)


@pytest.mark.parametrize("case", ["picture", "bands"])
def test_order_and_repetition_of_windows_do_not_change_a_byte(job_of, case):
    one = job_of(case)
    one.encode_all()
    other = one.again()
    encode_shuffled(other, 2)
    assert one.assemble().checksum == other.assemble().checksum


def test_the_blob_is_described_and_owned(handlers, job_of, tmp_path):
    job = job_of("archive")
    job.encode_all()
    cog = job.assemble()
    stored = handlers.blobs.properties(cog.blob)
    local = tmp_path / "cog.tif"
    handlers.blobs.download(cog.blob, local)
    assert stored.access_tier == "Cool" and stored.metadata["geolathe_task"] == f"{job.job}-1-3-0"
    assert stored.content_type == "image/tiff; application=geotiff; profile=cloud-optimized"
    assert cog.checksum == "1220" + hashlib.sha256(local.read_bytes()).hexdigest()
    [output] = job.outputs.of_tasks(job.job)
    assert output.is_live and output.checksum == cog.checksum


def test_another_writer_of_the_blob_costs_its_windows_only(handlers, job, undisturbed, tmp_path):
    """A commit drops the blocks that others have staged."""
    job.encode_all()
    other = tmp_path / "other"
    other.write_bytes(b"the COG of an earlier job")
    handlers.blobs.replace(job.target, other, None, content_type="image/tiff")
    assert handlers.blobs.staged_blocks(job.target) == []
    assert job.assemble().checksum == undisturbed


def test_a_writer_that_comes_between_is_written_over(handlers, job, undisturbed, tmp_path):
    job.encode_all()
    other = tmp_path / "other"
    other.write_bytes(b"the COG of an earlier job")
    came = []

    def interfere(fraction, message):
        if message == "assembling" and not came:
            came.append(handlers.blobs.replace(job.target, other, None, content_type="image/tiff"))

    assert job.assemble(Steps(interfere)).checksum == undisturbed
    assert came


def test_a_window_that_is_missing_is_made_by_the_assembly(job, undisturbed):
    for window in job.plan.windows(0)[1:]:
        job.encode(window)
    assert job.assemble().checksum == undisturbed


def test_a_late_window_changes_nothing(handlers, job):
    job.encode_all()
    cog = job.assemble()
    job.encode(job.plan.windows(0)[0])
    assert handlers.blobs.properties(cog.blob).etag == cog.etag


def test_an_assembly_that_was_lost_after_its_commit_is_repeated(handlers, job, undisturbed):
    job.encode_all()

    def stop(fraction, message):
        if message == "checked":
            raise TaskLost("the worker is gone")

    with pytest.raises(TaskLost):
        job.assemble(Steps(stop))
    committed = handlers.blobs.properties(job.target)
    cog = job.assemble()
    assert (cog.etag, cog.checksum) == (committed.etag, undisturbed)
    assert job.left_over == []


def test_an_assembly_that_was_lost_after_its_record_is_found(handlers, job, monkeypatch):
    job.encode_all()
    cog = job.assemble()

    def refuse(*args: object) -> None:
        raise AssertionError("nothing has to be staged")

    monkeypatch.setattr(handlers.blobs, "stage_block", refuse)
    assert job.assemble() == cog


def test_a_window_that_is_stopped_leaves_nothing(handlers, job):

    def stop(fraction, message):
        if message == "encoding":
            raise TaskLost("the worker is gone")

    with pytest.raises(TaskLost):
        job.encode(job.plan.windows(0)[0], Steps(stop))
    assert handlers.blobs.staged_blocks(job.target) == [] and job.left_over == []


def test_a_source_that_changes_in_between_fails_the_job(handlers, tmp_path):
    path = write(tmp_path / "source.tif", photo(1_100), colorinterp=RGB, tiled=True)
    job = WindowedJob.validated(handlers, path)
    first, second, *_ = job.plan.windows(0)
    job.encode(first)
    handlers.put(write(tmp_path / "changed.tif", photo(1_100)[:, ::-1]), job.facts.source.name)
    with pytest.raises(TaskFailed) as refused:
        job.encode(second)
    assert refused.value.code == "SOURCE_CHANGED"
    with pytest.raises(TaskFailed) as refused:
        job.assemble()
    assert refused.value.code == "SOURCE_CHANGED"
    assert list(handlers.blobs.list(job.target.container, job.target.name)) == []


def test_a_source_that_changes_after_the_commit_leaves_no_cog(handlers, tmp_path, monkeypatch):
    path = write(tmp_path / "source.tif", photo(1_100), colorinterp=RGB, tiled=True)
    job = WindowedJob.validated(handlers, path)
    job.encode_all()
    commit_blocks = handlers.blobs.commit_blocks

    def commit_and_change(*args, **options):
        stored = commit_blocks(*args, **options)
        handlers.put(write(tmp_path / "changed.tif", photo(600)), job.facts.source.name)
        return stored

    monkeypatch.setattr(handlers.blobs, "commit_blocks", commit_and_change)
    with pytest.raises(TaskFailed) as refused:
        job.assemble()
    assert refused.value.code == "SOURCE_CHANGED"
    assert list(handlers.blobs.list(job.target.container, job.target.name)) == []
    assert [output.removed_at is None for output in job.outputs.of_tasks(job.job)] in ([], [False])


def test_discarding_leaves_no_block_and_no_blob(handlers, job):
    job.encode_all()
    assert job.left_over and handlers.blobs.staged_blocks(job.target)
    ports = job.context("3-0").ports
    for _ in range(2):
        discard_windows(ports, job.job, [job.target])
        assert job.left_over == [] and handlers.blobs.staged_blocks(job.target) == []
    assert list(handlers.blobs.list(job.target.container, job.target.name)) == []


def test_discarding_keeps_the_cog_of_another_job(handlers, job):
    job.encode_all()
    cog = job.assemble()
    other = job.again(job.target)
    other.encode(other.plan.windows(0)[0])
    discard_windows(other.context("3-0").ports, other.job, [job.target])
    assert other.left_over == []
    assert handlers.blobs.properties(cog.blob).etag == cog.etag


def test_ids_of_blocks_have_the_length_that_other_uploads_use(handlers, job):
    """Storage refuses blocks of one blob whose ids differ in length."""
    job.encode(job.plan.windows(0)[0])
    lengths = {len(block.block_id) for block in handlers.blobs.staged_blocks(job.target)}
    assert lengths == {BLOCK_ID_LENGTH}


@pytest.mark.parametrize("reason", ["wide strips", "sidecar", "small", "one window"])
def test_other_rasters_are_made_by_one_task(handlers, tmp_path, reason):
    path = tmp_path / "source.tif"
    if reason == "wide strips":
        write(path, photo(2_100), colorinterp=RGB)
    elif reason == "sidecar":
        write(path, photo(1_100), colorinterp=RGB, tiled=True)
        (tmp_path / "source.tfw").write_text("10\n0\n0\n-10\n500005\n5599995\n")
    elif reason == "small":
        write(path, photo(500), colorinterp=RGB, tiled=True)
    else:
        write(path, hills(1_100, 1, "uint8", 220), tiled=True)
    facts = handlers.validate(handlers.put(path))
    assert facts.windows == {}


def test_no_worker_uses_scratch_disk(handlers, job, monkeypatch):

    def refused(*args: object) -> None:
        raise AssertionError("the source is read by ranges")

    monkeypatch.setattr(handlers.blobs, "download", refused)
    seen = []

    def look(fraction, message):
        files = (handlers.folder / "scratch").rglob("*")
        seen.extend(file for file in files if file.is_file() and file.stat().st_size)

    for window in job.plan.windows(0):
        job.encode(window, Steps(look))
    job.assemble(Steps(look))
    assert seen == []


def test_overviews_are_those_of_the_whole(handlers, job_of):
    """Averages of 2 x 2 pixels, also across the borders of windows."""
    job = job_of("picture in its own CRS")
    job.encode_all()
    cog = job.assemble()
    with handlers.opened(cog) as made:
        pixels = made.read().astype(float)
        assert pixels.shape[1] % 4 == 0
        level = pixels.reshape(3, pixels.shape[1] // 2, 2, -1, 2).mean(axis=(2, 4))
        with rasterio.open(made.name, OVERVIEW_LEVEL=0) as overview:
            assert np.abs(overview.read() - level).max() <= 0.5
