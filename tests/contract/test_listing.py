"""The contract of listing blobs in pages."""

import uuid
from contextlib import closing

import pytest
from azure.storage.blob import BlobServiceClient

from core.errors import ContainerNotFound
from core.models import BlobRef
from infrastructure.blob_storage import AzureBlobs
from testing.blobs import MemoryBlobs

NAMES = ["a.tif", "in/a b.tif", "in/deep/x.tif", "in/ü.tif", "in/z.tif", "inside.tif"]


@pytest.fixture(params=["memory", "azurite"])
def blobs(request):
    if request.param == "memory":
        yield MemoryBlobs()
    else:
        azurite = request.getfixturevalue("azurite")
        with closing(AzureBlobs(azurite.connection_string)) as blobs:
            yield blobs


@pytest.fixture
def container(request, blobs, tmp_path):
    name = f"c{uuid.uuid4().hex}"
    if isinstance(blobs, AzureBlobs):
        azurite = request.getfixturevalue("azurite")
        with BlobServiceClient.from_connection_string(azurite.connection_string) as service:
            service.create_container(name)
    file = tmp_path / "file.tif"
    file.write_bytes(b"12345")
    for each in NAMES:
        blobs.upload(BlobRef(container=name, name=each), file, content_type="image/tiff")
    return name


def read_pages(blobs, container, prefix, limit, recursive=True):
    """The names on each page."""
    pages, marker = [], None
    while True:
        page = blobs.list_page(container, prefix, marker, limit=limit, recursive=recursive)
        pages.append([found.ref.name for found in page.blobs])
        marker = page.next_marker
        if marker is None:
            return pages


@pytest.mark.parametrize("limit", [1, 2, 100])
def test_pages_hold_every_name_once_in_order(blobs, container, limit):
    pages = read_pages(blobs, container, "in/", limit)
    assert [name for page in pages for name in page] == sorted(NAMES[1:5], key=str.encode)
    assert all(len(page) <= limit for page in pages)


def test_a_page_is_read_again_from_its_marker(blobs, container):
    first = blobs.list_page(container, "", None, limit=4, recursive=True)
    for _ in range(2):
        second = blobs.list_page(container, "", first.next_marker, limit=4, recursive=True)
        assert [found.ref.name for found in (*first.blobs, *second.blobs)] == sorted(NAMES)
        assert {found.size for found in second.blobs} == {5}


@pytest.mark.parametrize("limit", [1, 100])
def test_folders_below_the_prefix_are_left_out(blobs, container, limit):
    pages = read_pages(blobs, container, "in/", limit, recursive=False)
    assert sorted(name for page in pages for name in page) == ["in/a b.tif", "in/z.tif", "in/ü.tif"]
    [top] = read_pages(blobs, container, "", 100, recursive=False)
    assert top == ["a.tif", "inside.tif"]


@pytest.mark.parametrize("limit", [1, 100])
def test_folders_are_listed_one_level_at_a_time(blobs, container, limit):
    folders, marker = [], None
    while True:
        page = blobs.list_page(container, "", marker, limit=limit, recursive=False)
        folders += page.folders
        marker = page.next_marker
        if marker is None:
            break
    assert folders == ["in/"]
    below = blobs.list_page(container, "in/", None, limit=100, recursive=False)
    assert below.folders == ["in/deep/"]
    assert not blobs.list_page(container, "", None, limit=100, recursive=True).folders


def test_a_prefix_without_blobs_has_one_empty_page(blobs, container):
    assert read_pages(blobs, container, "none/", 10) == [[]]


def test_a_missing_container_is_reported(azurite):
    with closing(AzureBlobs(azurite.connection_string)) as blobs, pytest.raises(ContainerNotFound):
        blobs.list_page("no-such-container", "", None, limit=1, recursive=True)
