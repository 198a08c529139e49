"""Every truncated sidecar is refused, or has lost nothing. The sidecars are written by GDAL."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import rasterio
import rasterio.shutil
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from rasterio.enums import Resampling

from core.errors import TaskFailed
from services.raster.sidecars import check_sidecars
from tests.fixtures.made_rasters import hills, photo, write

MASK = np.where(np.hypot(*(np.mgrid[0:300, 0:300] - 150)) < 120, 255, 0).astype("uint8")


def with_mask(folder: Path) -> Path:
    path = write(folder / "raster.tif", photo())
    beside = write(folder / "raster.tif.msk", MASK[None], compress="deflate", blockysize=16)
    with rasterio.open(beside, "r+") as flags:
        flags.update_tags(INTERNAL_MASK_FLAGS_1="2", INTERNAL_MASK_FLAGS_2="2")
    return path


def with_overviews(folder: Path, setting: str = "TIFF_USE_OVR") -> Path:
    path = write(folder / "raster.tif", photo(600))
    with rasterio.Env(**{setting: "YES"}), rasterio.open(path, "r+") as dataset:
        dataset.build_overviews([2, 4], Resampling.nearest)
    return path


def with_imagine_overviews(folder: Path) -> Path:
    """GDAL writes them to an .aux file."""
    return with_overviews(folder, "USE_RRD")


def with_spill_file(folder: Path) -> Path:
    source = write(folder / "source.tif", hills(300, 2, "uint16"))
    rasterio.shutil.copy(str(source), folder / "raster.img", driver="HFA", USE_SPILL="YES")
    source.unlink()
    return folder / "raster.img"


def with_metadata(folder: Path) -> Path:
    source = write(folder / "source.tif", photo())
    rasterio.shutil.copy(str(source), folder / "raster.png", driver="PNG")
    source.unlink()
    return folder / "raster.png"


SIDECARS: dict[str, tuple[Callable[[Path], Path], str]] = {
    "mask": (with_mask, ".tif.msk"),
    "overviews": (with_overviews, ".tif.ovr"),
    "imagine overviews": (with_imagine_overviews, ".aux"),
    "spill file": (with_spill_file, ".ige"),
    "metadata": (with_metadata, ".png.aux.xml"),
}


def read(path: Path) -> tuple[list[NDArray[np.generic]], str, object]:
    """All that GDAL takes from sidecars: pixels, masks, overviews and the georeference."""
    with rasterio.open(path) as dataset:
        layers = [dataset.read(), dataset.read_masks(), dataset.read(out_shape=(75, 75))]
        return layers, str(dataset.crs), dataset.transform


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> dict[str, Path]:
    rasters = {}
    for name, (make, _) in SIDECARS.items():
        folder = tmp_path_factory.mktemp("whole")
        rasters[name] = make(folder)
    return rasters


@pytest.mark.parametrize("name", SIDECARS)
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(share=st.floats(0.001, 1), few=st.none() | st.integers(1, 40))
def test_a_truncated_sidecar_is_refused_or_has_lost_nothing(made, tmp_path, name, share, few):
    """`share` of the bytes are cut off, or a `few` bytes."""
    whole, ending = made[name], SIDECARS[name][1]
    check_sidecars(str(whole), "whole")
    for file in whole.parent.iterdir():
        shutil.copy(file, tmp_path)
    cut = tmp_path / f"raster{ending}"
    content = cut.read_bytes()
    cut.write_bytes(content[: max(0, len(content) - (few or max(1, int(share * len(content)))))])
    path = tmp_path / whole.name
    try:
        check_sidecars(str(path), "cut")
    except TaskFailed as error:
        assert error.code == "SIDECAR_INVALID" and f"its {ending} file" in error.message
        return
    for found, expected in zip(read(path)[0], read(whole)[0], strict=True):
        np.testing.assert_array_equal(found, expected)
    assert read(path)[1:] == read(whole)[1:]


def test_missing_bytes_are_counted(made, tmp_path):
    for file in made["spill file"].parent.iterdir():
        shutil.copy(file, tmp_path)
    spilled = tmp_path / "raster.ige"
    spilled.write_bytes(spilled.read_bytes()[:-7])
    with pytest.raises(TaskFailed, match=r"its \.ige file is incomplete: at least 7 bytes"):
        check_sidecars(str(tmp_path / "raster.img"), "cut")


@pytest.mark.parametrize("place", [b"/ras.ige", b"..\\as.ige"])
def test_a_spill_file_in_another_folder_is_refused(made, tmp_path, place):
    for file in made["spill file"].parent.iterdir():
        shutil.copy(file, tmp_path)
    path = tmp_path / "raster.img"
    path.write_bytes(path.read_bytes().replace(b"raster.ige\0", place.ljust(11, b"\0")))
    with pytest.raises(TaskFailed, match="another folder") as refused:
        check_sidecars(str(path), "elsewhere")
    assert refused.value.code == "SIDECAR_INVALID"


@pytest.mark.parametrize(
    ("text", "accepted"),
    [
        ("<PAMDataset/>", True),
        ('<?xml version="1.0"?>\n<PAMDataset>\n</PAMDataset>\n\n', True),
        ('<?xml version="1.0"?>\n<PAMDataset>\n<Metadata/>', False),
        ("<PAMDataset", False),
        ("", False),
    ],
)
def test_metadata_ends_with_its_first_element(tmp_path, text, accepted):
    path = write(tmp_path / "raster.tif", hills(20))
    path.with_name("raster.tif.aux.xml").write_text(text)
    if accepted:
        check_sidecars(str(path), "raster")
        return
    with pytest.raises(TaskFailed, match=r"its \.tif\.aux\.xml file is incomplete"):
        check_sidecars(str(path), "raster")
