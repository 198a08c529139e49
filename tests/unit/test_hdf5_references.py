"""HDF5 files that reference other files are detected, and all others are accepted.

The files are written by h5py, that is by the HDF5 library.
"""

import shutil
from contextlib import suppress

import h5py
import numpy as np
import pytest

from core.errors import TaskFailed
from services.raster.completeness import check_structure
from services.raster.structure import hdf5
from services.raster.structure.hdf5 import check_hdf5_references
from services.raster.structure.stored_file import (
    ExternalReference,
    Malformed,
    Truncated,
    open_stored,
)

VERSIONS = ["earliest", ("v108", "v110"), ("v110", "v110"), "latest"]
SECRET = "/proc/self/environ"


def check(path):
    check_structure(str(path), "netCDF", path.name, path.stat().st_size)


def storage(group):
    group.create_dataset("hostile", (64,), "u1", external=[(SECRET, 0, 64)])


def link(group):
    group["hostile"] = h5py.ExternalLink(SECRET, "z")


def long_link(group):
    """A link that is too long for a direct block of the heap."""
    group["hostile"] = h5py.ExternalLink("/" + "a" * 10_000, "z")


def mosaic(group):
    layout = h5py.VirtualLayout((64,), "u1")
    layout[:] = h5py.VirtualSource(SECRET, "z", (64,))
    group.create_virtual_dataset("hostile", layout)


def mosaic_of_itself(group):
    layout = h5py.VirtualLayout((64,), "u1")
    layout[:] = h5py.VirtualSource(".", "z", (64,))
    group.create_virtual_dataset("hostile", layout)


HOSTILE = [storage, link, long_link, mosaic, mosaic_of_itself]


def fill(file, members):
    """Write what netCDF-4 writes; with many members, the storage of the group is dense."""
    group = file.create_group("deep/er", track_order=True)
    for number in range(min(members, 20)):
        group.create_dataset(f"variable_{number:05}", data=np.arange(3), track_order=True)
    for number in range(20, members):
        group[f"variable_{number:05}"] = group["variable_00000"]
    file.create_dataset("chunked", data=np.ones((100, 100)), chunks=(10, 10), compression="gzip")
    file["chunked"].attrs["text"] = "x" * 3_000
    for number in range(20):
        file["chunked"].attrs[f"attribute {number}"] = np.arange(number + 1)
    file["soft"] = h5py.SoftLink("/nowhere")
    file["committed"] = np.dtype("f8")
    file.create_dataset("texts", data=["a", "bc"], dtype=h5py.string_dtype())
    return group


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    """Makes a file with the content of `fill`, once for each version and number of members."""
    folder = tmp_path_factory.mktemp("filled")

    def copy(path, version, members):
        made = folder / f"{version}_{members}.nc"
        if not made.exists():
            with h5py.File(made, "w", libver=version, track_order=members == 9) as file:
                fill(file, members)
        shutil.copyfile(made, path)

    return copy


@pytest.mark.parametrize(("members", "user_block"), [(0, 512), (9, 2048), (300, 0), (2_000, 0)])
@pytest.mark.parametrize("version", VERSIONS, ids=str)
def test_files_without_references_are_accepted(tmp_path, version, members, user_block):
    path = tmp_path / "plain.nc"
    with h5py.File(path, "w", libver=version, userblock_size=user_block) as file:
        fill(file, members)
    check(path)


@pytest.mark.parametrize("hostile", HOSTILE, ids=lambda make: make.__name__)
@pytest.mark.parametrize("members", [9, 1_500])
@pytest.mark.parametrize("version", VERSIONS, ids=str)
def test_references_are_found_wherever_they_are(tmp_path, filled, version, members, hostile):
    path = tmp_path / "hostile.nc"
    filled(path, version, members)
    with h5py.File(path, "r+", libver=version) as file:
        group = file["deep/er"]
        hostile(group)
        for number in range(members):
            group[f"later_{number:05}"] = file["chunked"]
    with pytest.raises(TaskFailed, match="other files") as refused:
        check(path)
    assert refused.value.code == "EXTERNAL_REFERENCE"


@pytest.mark.parametrize("hostile", HOSTILE, ids=lambda make: make.__name__)
@pytest.mark.parametrize("version", VERSIONS, ids=str)
def test_references_in_the_root_group_and_after_deletions(tmp_path, version, hostile):
    path = tmp_path / "hostile.nc"
    with h5py.File(path, "w", libver=version, track_order=True) as file:
        for number in range(200):
            file[f"gone_{number}"] = number
        hostile(file)
        for number in range(0, 200, 2):
            del file[f"gone_{number}"]
    with pytest.raises(TaskFailed, match="other files"):
        check(path)


def test_every_object_is_visited(tmp_path, monkeypatch):
    """The number of visited object headers is the one that the library reports."""
    path = tmp_path / "counted.nc"
    seen = []
    for version in VERSIONS:
        with h5py.File(path, "w", libver=version) as file:
            fill(file, 20)
            names = ["/"]
            file.visit(names.append)
        with open_stored(str(path), path.stat().st_size) as stored:
            visited = _visited(stored, monkeypatch)
        seen.append((len(names), visited))
    assert [visited for _, visited in seen] == [count for count, _ in seen]


def _visited(stored, monkeypatch):
    headers = []
    original = hdf5._messages
    with monkeypatch.context() as patched:
        patched.setattr(
            hdf5, "_messages", lambda *given: (headers.append(given[2]), original(*given))[1]
        )
        check_hdf5_references(stored)
    return len(headers)


@pytest.mark.parametrize("version", VERSIONS, ids=str)
def test_damaged_structures_are_rejected(tmp_path, version):
    """A file with changed bytes is accepted or rejected, without another exception."""
    path = tmp_path / "plain.nc"
    with h5py.File(path, "w", libver=version, track_order=True) as file:
        fill(file, 20)
    content = path.read_bytes()
    rng = np.random.default_rng(4)
    for _ in range(100):
        damaged = bytearray(content)
        for place in rng.integers(0, min(len(content), 6_000), 3):
            damaged[place] = rng.choice([0, 1, 2, 255, rng.integers(256)])
        path.write_bytes(damaged)
        refusals = suppress(ExternalReference, Malformed, Truncated)
        with open_stored(str(path), len(damaged)) as stored, refusals:
            check_hdf5_references(stored)


def test_a_truncated_file_is_rejected(tmp_path):
    path = tmp_path / "cut.nc"
    with h5py.File(path, "w") as file:
        fill(file, 3)
    content = path.read_bytes()
    path.write_bytes(content[:-1000])
    with pytest.raises(TaskFailed, match="at least 1000 bytes are missing") as refused:
        check(path)
    assert refused.value.code == "PIXELS_UNREADABLE"
