"""Blobs assembled from blocks: conditions, missing blocks, and what is left of dropped uploads."""

import uuid
from contextlib import closing

import pytest

from core.errors import BlobChanged, BlobNotFound, BlocksMissing
from core.models import BlobRef
from core.ports import BLOCK_ID_LENGTH, Block
from infrastructure.blob_storage import AzureBlobs
from testing.blobs import MemoryBlobs
from tests.fixtures.tile_server import made_container


@pytest.fixture(params=["memory", "azurite"])
def blobs(request):
    if request.param == "memory":
        yield MemoryBlobs()
        return
    with closing(AzureBlobs(request.getfixturevalue("azurite").connection_string)) as blobs:
        yield blobs


@pytest.fixture
def ref(request, blobs):
    container = "silver-cogs"
    if isinstance(blobs, AzureBlobs):
        container = made_container(request.getfixturevalue("azurite"), "staged")
    return BlobRef(container=container, name=f"{uuid.uuid4().hex}/ä b.tif")


def stage(blobs, ref, name, content):
    block = Block(name.ljust(BLOCK_ID_LENGTH, "-"), len(content))
    blobs.stage_block(ref, block.block_id, content)
    return block


def commit(blobs, ref, blocks, etag=None):
    return blobs.commit_blocks(
        ref, blocks, etag, content_type="image/tiff", access_tier="Cool", metadata={"by": "test"}
    )


def content(blobs, ref, folder):
    path = folder / uuid.uuid4().hex
    blobs.download(ref, path)
    return path.read_bytes()


def exists(blobs, ref):
    try:
        blobs.properties(ref)
    except BlobNotFound:
        return False
    return True


def test_blocks_become_content_in_the_order_of_the_commit(blobs, ref, tmp_path):
    tail = stage(blobs, ref, "tail", b"world")
    head = stage(blobs, ref, "head", b"hello ")
    assert not exists(blobs, ref)
    made = commit(blobs, ref, [head, tail])
    found = blobs.properties(ref)
    assert content(blobs, ref, tmp_path) == b"hello world"
    assert (made.etag, made.size, found.size) == (found.etag, 11, 11)
    assert (found.content_type, found.access_tier, found.metadata) == (
        "image/tiff", "Cool", {"by": "test"}
    )  # fmt: skip


def test_a_block_that_is_staged_again_is_replaced(blobs, ref, tmp_path):
    stage(blobs, ref, "one", b"first")
    again = stage(blobs, ref, "one", b"second")
    assert blobs.staged_blocks(ref) == [again]
    commit(blobs, ref, [again])
    assert content(blobs, ref, tmp_path) == b"second"


def test_a_commit_drops_all_other_staged_blocks(blobs, ref):
    mine, other = stage(blobs, ref, "mine", b"1"), stage(blobs, ref, "other", b"2")
    assert sorted(blobs.staged_blocks(ref)) == [mine, other]
    made = commit(blobs, ref, [mine])
    assert blobs.staged_blocks(ref) == []
    with pytest.raises(BlocksMissing):
        commit(blobs, ref, [other], made.etag)


def test_a_commit_over_another_version_changes_nothing(blobs, ref, tmp_path):
    first = commit(blobs, ref, [stage(blobs, ref, "first", b"first")])
    late = stage(blobs, ref, "late", b"late")
    for etag in (None, "0x8DC0000000000000"):
        with pytest.raises(BlobChanged) as refused:
            commit(blobs, ref, [late], etag)
        assert not isinstance(refused.value, BlocksMissing)
    assert blobs.properties(ref).etag == first.etag
    assert content(blobs, ref, tmp_path) == b"first"
    assert commit(blobs, ref, [late], first.etag).etag == blobs.properties(ref).etag


def test_an_upload_of_a_file_drops_staged_blocks(blobs, ref, tmp_path):
    block = stage(blobs, ref, "mine", b"1")
    path = tmp_path / "file"
    path.write_bytes(b"file")
    made = blobs.replace(ref, path, None, content_type="image/tiff")
    with pytest.raises(BlocksMissing):
        commit(blobs, ref, [block], made.etag)
    assert content(blobs, ref, tmp_path) == b"file"


def test_blocks_of_a_blob_that_was_never_committed_are_discarded(blobs, ref):
    stage(blobs, ref, "one", b"1")
    assert blobs.discard_blocks(ref)
    assert blobs.staged_blocks(ref) == [] and not exists(blobs, ref)
    assert blobs.discard_blocks(ref)


def test_small_blobs_are_written_and_read_whole(blobs, ref):
    with pytest.raises(BlobNotFound):
        blobs.read(ref)
    blobs.write(ref, b"first")
    blobs.write(ref, b"second")
    assert blobs.read(ref) == b"second"


def test_a_folder_is_deleted_with_its_blobs_only(blobs, ref):
    folder = f"{uuid.uuid4().hex}/"
    inside = [BlobRef(container=ref.container, name=f"{folder}{name}") for name in ("a", "b/c")]
    beside = BlobRef(container=ref.container, name=folder.replace("/", "-other"))
    for each in (*inside, beside):
        blobs.write(each, b"content")
    assert blobs.delete_folder(ref.container, folder, {inside[0].name}) == 1
    assert [exists(blobs, each) for each in inside] == [True, False]
    blobs.write(inside[1], b"content")
    assert blobs.delete_folder(ref.container, folder) == 2
    assert [each for each in (*inside, beside) if exists(blobs, each)] == [beside]
    assert blobs.delete_folder(ref.container, folder) == 0


def test_discarding_blocks_leaves_content_alone(blobs, ref, tmp_path):
    first = commit(blobs, ref, [stage(blobs, ref, "first", b"first")])
    stage(blobs, ref, "late", b"late")
    assert not blobs.discard_blocks(ref)
    assert blobs.properties(ref).etag == first.etag
    assert content(blobs, ref, tmp_path) == b"first"
