"""Every truncated raster is rejected, unless its pixels are complete.

GDAL writes the six formats, and reads the pixels for the comparison with the complete file.
"""

import shutil
import struct
import zlib
from contextlib import nullcontext
from pathlib import Path

import h5py
import numpy as np
import PIL.Image
import pytest
import rasterio
import rasterio.shutil
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.errors import TaskFailed
from services.raster.completeness import check_structure
from tests.fixtures.made_rasters import hills, photo, write

TIFF = {"tiled": True, "blockxsize": 64, "blockysize": 64, "compress": "deflate"}
JP2 = {"QUALITY": "100", "REVERSIBLE": "YES", "BLOCKXSIZE": "128", "BLOCKYSIZE": "128"}
FORMATS = {
    "strips.tif": ("GTiff", {}),
    "tiles.tif": ("GTiff", TIFF),
    "big.tif": ("GTiff", TIFF | {"BIGTIFF": "YES", "ENDIANNESS": "BIG"}),
    "cog.tif": ("COG", {"COMPRESS": "DEFLATE", "BLOCKSIZE": 128}),
    "picture.png": ("PNG", {}),
    "tiles.jp2": ("JP2OpenJPEG", JP2),
    "single.jp2": ("JP2OpenJPEG", {"QUALITY": "30"}),
    "raw.j2k": ("JP2OpenJPEG", JP2 | {"CODEC": "J2K"}),
    "plain.img": ("HFA", {}),
    "packed.img": ("HFA", {"COMPRESSED": "YES"}),
    "classic.nc": ("netCDF", {"FORMAT": "NC"}),
    "large.nc": ("netCDF", {"FORMAT": "NC2"}),
    "hdf5.nc": ("netCDF", {"FORMAT": "NC4"}),
}
# Columns and rows of each pass over 13 x 7 pixels, https://www.w3.org/TR/png-3/#8Interlace.
ADAM7 = [(2, 1), (2, 1), (4, 1), (3, 2), (7, 2), (6, 4), (13, 3)]
SIGNATURE_BYTES = 16
DRIVERS = {"COG": "GTiff"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A folder with a complete file of each format, without sidecars."""
    folder = tmp_path_factory.mktemp("whole")
    source = write(folder / "source.tif", photo(300))
    for name, (driver, options) in FORMATS.items():
        rasterio.shutil.copy(str(source), str(folder / name), driver=driver, **options)
    for sidecar in folder.glob("*.aux.xml"):
        sidecar.unlink()
    return folder


def check(path: Path, driver: str) -> None:
    check_structure(str(path), DRIVERS.get(driver, driver), path.name, path.stat().st_size)


def pixels(path: Path, driver: str) -> np.ndarray:
    """The pixels of a raster, or of each variable of a NetCDF file."""
    driver = DRIVERS.get(driver, driver)
    with rasterio.open(path, driver=driver) as dataset:
        if dataset.count:
            return dataset.read()
        names = dataset.subdatasets
    layers = []
    for name in names:
        with rasterio.open(name, driver=driver) as layer:
            layers.append(layer.read())
    return np.concatenate(layers)


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
@pytest.mark.parametrize("name", FORMATS)
def test_a_whole_file_is_accepted(folder, name):
    driver, _ = FORMATS[name]
    check(folder / name, driver)
    assert pixels(folder / name, driver).shape == (3, 300, 300)


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
@pytest.mark.parametrize("name", FORMATS)
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(share=st.floats(0.001, 0.99), few=st.none() | st.integers(1, 40))
def test_a_truncated_file_is_rejected_or_complete(folder, tmp_path, name, share, few):
    """`share` of the bytes are cut off, or a `few` bytes."""
    driver, _ = FORMATS[name]
    whole = (folder / name).read_bytes()
    kept = max(SIGNATURE_BYTES, len(whole) - (few or max(1, int(share * len(whole)))))
    cut = tmp_path / name
    cut.write_bytes(whole[:kept])
    try:
        check(cut, driver)
    except TaskFailed as error:
        assert error.code == "PIXELS_UNREADABLE"
        missing = int(error.message.partition("at least ")[2].split()[0])
        assert 0 < missing <= len(whole) - kept
        return
    np.testing.assert_array_equal(pixels(cut, driver), pixels(folder / name, driver))


def test_a_damaged_png_chunk_is_named(folder, tmp_path):
    content = bytearray((folder / "picture.png").read_bytes())
    content[len(content) // 2] ^= 1
    path = tmp_path / "damaged.png"
    path.write_bytes(content)
    with pytest.raises(TaskFailed, match=r"IDAT chunk .* CRC") as refused:
        check(path, "PNG")
    assert refused.value.code == "PIXELS_UNREADABLE"


@pytest.mark.parametrize("missing", [0, 1])
@pytest.mark.parametrize("interlaced", [0, 1])
@pytest.mark.parametrize(
    ("colour", "depth"), [(0, 1), (0, 2), (0, 4), (0, 8), (0, 16), (2, 8), (2, 16), (4, 8), (6, 8)]
)
def test_the_rows_of_a_png_are_counted_as_pil_counts_them(
    tmp_path, colour, depth, interlaced, missing
):
    """13 x 7 pixels: no pass of the interlacing has a whole number of bytes or rows."""
    samples = {0: 1, 2: 3, 4: 2, 6: 4}[colour]
    passes = ADAM7 if interlaced else [(13, 7)]
    size = sum(rows * (1 + -(-columns * samples * depth // 8)) for columns, rows in passes)
    chunks = [
        (b"IHDR", struct.pack(">IIBBBBB", 13, 7, depth, colour, 0, 0, interlaced)),
        (b"IDAT", zlib.compress(bytes(size - missing))),
        (b"IEND", b""),
    ]
    path = tmp_path / "small.png"
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + b"".join(
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
            for kind, data in chunks
        )
    )
    expected = pytest.raises(TaskFailed, match="1 bytes before the last row")
    with PIL.Image.open(path) as image:
        if missing:
            with pytest.raises(OSError, match="truncated"):
                image.load()
        else:
            image.load()
    with expected if missing else nullcontext():
        check(path, "PNG")


def test_sparse_blocks_are_not_missing(tmp_path):
    path = tmp_path / "sparse.tif"
    grid = {"width": 4096, "height": 4096, "count": 1, "dtype": "uint8", "sparse_ok": True}
    with rasterio.open(path, "w", driver="GTiff", **grid, **TIFF, crs="EPSG:3857",
                       transform=rasterio.Affine(10, 0, 0, 0, -10, 0)) as dataset:  # fmt: skip
        dataset.write(np.ones((1, 64, 64), "uint8"), window=((0, 64), (0, 64)))
    check(path, "GTiff")


def test_a_truncated_overview_and_mask_are_refused(tmp_path):
    path = write(tmp_path / "levels.tif", photo(600), **TIFF)
    with rasterio.open(path, "r+") as dataset:
        dataset.write_mask(np.full((600, 600), 255, "uint8"))
        dataset.build_overviews([2, 4])
    check(path, "GTiff")
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(TaskFailed, match="bytes are missing"):
        check(path, "GTiff")


@pytest.mark.parametrize("variables", [1, 2])
def test_records_of_classic_netcdf(tmp_path, variables):
    """Records of several variables are padded to four bytes, those of a single one are not."""
    path = tmp_path / "records.nc"
    header = b"CDF\1" + struct.pack(">I", 3)
    dimensions = struct.pack(">II", 10, 2) + b"".join(
        struct.pack(">I", 1) + name.ljust(4, b"\0") + struct.pack(">I", size)
        for name, size in ((b"t", 0), (b"x", 5))
    )
    start = len(header) + len(dimensions) + 8 + 8 + variables * 40
    listed = struct.pack(">II", 11, variables)
    for number in range(variables):
        listed += struct.pack(">I", 1) + b"abc"[number : number + 1].ljust(4, b"\0")
        listed += struct.pack(">IIIIIIII", 2, 0, 1, 0, 0, 1, 8, start + 8 * number)
    head = header + dimensions + bytes(8) + listed
    assert len(head) == start
    size = 3 * 5 if variables == 1 else 3 * 16 - 3
    needed = start + size
    path.write_bytes(head.ljust(needed, b"\1"))
    check(path, "netCDF")
    path.write_bytes(head.ljust(needed - 1, b"\1"))
    with pytest.raises(TaskFailed, match="at least 1 bytes"):
        check(path, "netCDF")


def test_a_user_block_is_part_of_the_size(tmp_path):
    path = tmp_path / "block.nc"
    with h5py.File(path, "w", userblock_size=1024) as file:
        file["z"] = hills(50)[0]
    check(path, "netCDF")
    shutil.copy(path, tmp_path / "cut.nc")
    (tmp_path / "cut.nc").write_bytes(path.read_bytes()[:-1])
    with pytest.raises(TaskFailed, match="at least 1 bytes"):
        check(tmp_path / "cut.nc", "netCDF")
