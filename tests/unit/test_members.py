"""Which blobs of a listing are members of a collection."""

import pytest

from core.errors import TaskFailed
from core.handler import TaskContext
from core.models import BlobRef
from services.list_members import ListMembers, list_members
from services.select_members import SelectMembers, select_members
from services.storage.members import MemberFilter, SkipReason, find_skip_reason
from testing.blobs import MemoryBlobs
from testing.harness import memory_ports
from tests.fixtures.sample_items import Quiet


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("in/a.tif", None),
        ("in/deep/er/A.TIF", None),
        ("in/a.jp2", None),
        ("in/a.tif.aux.xml", SkipReason.SIDECAR),
        ("in/a.TFW", SkipReason.SIDECAR),
        ("in/a.prj", SkipReason.SIDECAR),
        ("in/a.tif.ovr", SkipReason.SIDECAR),
        ("in/._a.tif", SkipReason.HIDDEN),
        ("in/.trash/a.tif", SkipReason.HIDDEN),
        ("in/readme.txt", SkipReason.NOT_A_RASTER),
        ("in/a", SkipReason.NOT_A_RASTER),
    ],
)
def test_the_ending_decides_what_is_a_raster(name, reason):
    assert find_skip_reason(name, 10, MemberFilter(prefix="in/")) is reason


@pytest.mark.parametrize(
    ("pattern", "name", "reason"),
    [
        ("*.tif", "in/x/a.tif", None),
        ("*.tif", "in/x/a.png", SkipReason.NOT_MATCHED),
        ("*_B04*", "in/T32_B04.jp2", None),
        ("*_B04*", "in/T32_B05.jp2", SkipReason.NOT_MATCHED),
        ("x/*", "in/x/a.dat", None),
        ("x/*", "in/x/folder", None),
        ("a.tif", "in/x/a.tif", SkipReason.NOT_MATCHED),
        ("*", "in/a.tif.ovr", SkipReason.SIDECAR),
        ("[ab].tif", "in/b.tif", None),
    ],
)
def test_a_pattern_is_compared_with_the_name_after_the_prefix(pattern, name, reason):
    assert find_skip_reason(name, 10, MemberFilter(prefix="in/", pattern=pattern)) is reason


def test_empty_blobs_without_an_ending_are_folder_markers():
    everything = MemberFilter(pattern="*")
    assert find_skip_reason("in/folder", 0, everything) is SkipReason.EMPTY
    assert find_skip_reason("in/a.tif", 0, everything) is None, "it fails with its reason"


def find_members(blobs, **wanted):
    """The names that the two stages find, page by page, and what was skipped."""
    context = TaskContext("task", 1, memory_ports(blobs), Quiet())
    listed = list_members(ListMembers(container="bronze", **wanted), context)
    pages = [
        select_members(SelectMembers(container="bronze", page=page, **wanted), context)
        for page in listed.pages
    ]
    return listed, pages


def test_pages_together_hold_every_member_once():
    names = [f"in/{number:05}.tif" for number in range(2_500)]
    blobs = MemoryBlobs({f"bronze/{name}": b"x" for name in [*names, "out/a.tif"]})
    listed, pages = find_members(blobs, prefix="in/")
    assert (listed.blobs, len(pages)) == (2_500, 3)
    assert [name for page in pages for name in page.names] == names
    assert len(listed.model_dump_json()) < 1_000


def test_a_page_keeps_its_end_when_blobs_are_added(tmp_path):
    names = [f"in/{number:05}.tif" for number in range(0, 3_000, 2)]
    blobs = MemoryBlobs({f"bronze/{name}": b"x" for name in names})
    context = TaskContext("task", 1, memory_ports(blobs), Quiet())
    listed = list_members(ListMembers(container="bronze", prefix="in/"), context)
    file = tmp_path / "x"
    file.write_bytes(b"x")
    for number in range(1, 800, 2):
        added = BlobRef(container="bronze", name=f"in/{number:05}.tif")
        blobs.upload(added, file, content_type="image/tiff")
    found = [
        name
        for page in listed.pages
        for name in select_members(
            SelectMembers(container="bronze", prefix="in/", page=page), context
        ).names
    ]
    assert set(names) <= set(found) and len(found) == len(set(found))


def test_skipped_blobs_are_counted_with_a_few_examples():
    contents = {f"bronze/in/{number}.txt": b"x" for number in range(9)}
    _, [page] = find_members(MemoryBlobs(contents | {"bronze/in/a.tif": b"x"}), prefix="in/")
    assert page.names == ("in/a.tif",)
    skipped = page.skipped[SkipReason.NOT_A_RASTER]
    assert skipped.count == 9 and skipped.examples == tuple(f"in/{n}.txt" for n in range(5))


def test_deeper_folders_are_left_out_on_request():
    blobs = MemoryBlobs({"bronze/in/a.tif": b"x", "bronze/in/deep/b.tif": b"x"})
    _, [page] = find_members(blobs, prefix="in/", recursive=False)
    assert page.names == ("in/a.tif",)


def test_too_many_blobs_are_refused(monkeypatch):
    monkeypatch.setattr("services.list_members.MAX_BLOBS", 2)
    blobs = MemoryBlobs({f"bronze/in/{number}.tif": b"x" for number in range(3)})
    with pytest.raises(TaskFailed) as raised:
        find_members(blobs, prefix="in/")
    assert raised.value.code == "TOO_MANY_BLOBS" and "longer prefix" in raised.value.message
