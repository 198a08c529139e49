"""Files made to mislead, crash or exhaust a worker: each is a permanent failure."""

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
import pytest
import rasterio
import rasterio.shutil
from affine import Affine
from pydantic import ValidationError

from core.errors import TaskFailed
from core.models import BlobRef
from tests.fixtures.made_rasters import hills, photo, write
from tests.fixtures.raster_handlers import RasterHandlers

TILE = 512


@pytest.fixture(scope="module")
def handlers(azurite, tmp_path_factory) -> Iterator[RasterHandlers]:
    with RasterHandlers.open(
        azurite.connection_string, tmp_path_factory.mktemp("handlers")
    ) as handlers:
        yield handlers


@pytest.fixture
def secret(tmp_path) -> Path:
    """A file of the machine that must not be readable through a raster."""
    folder = tmp_path / "private"
    folder.mkdir()
    return write(folder / "secret.tif", photo())


def refusal(handlers: RasterHandlers, path: Path, **params: str) -> TaskFailed:
    with pytest.raises(TaskFailed) as refused:
        handlers.make(path, **params)
    assert path.name in refused.value.message
    assert "sig=" not in refused.value.message
    return refused.value


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("vrt.tif", "<VRTDataset rasterXSize='9' rasterYSize='9'>{}</VRTDataset>"),
        ("spaced.tif", "\n  <VRTDataset rasterXSize='9' rasterYSize='9'>{}</VRTDataset>"),
        ("wms.png", "<GDAL_WMS><Service name='TMS'><ServerUrl>{}</ServerUrl></Service></GDAL_WMS>"),
        ("page.nc", "<!doctype html><title>404</title>{}"),
        ("grib.nc", "GRIB\0\0\0\2{}"),
        ("dted.tif", "UHL10800000W0430000N{}"),
        ("zip.img", "PK\3\4{}"),
        ("modis.nc", "\x0e\3\x13\1{}"),
        ("grid.tif", "ncols 4\nnrows 4\n{}"),
        ("pointer.tif", "version https://git-lfs.github.com/spec/v1\noid {}"),
    ],
)
def test_other_formats_with_a_raster_ending_are_rejected(handlers, tmp_path, secret, name, content):
    path = tmp_path / name
    path.write_text(content.format(secret))
    assert refusal(handlers, path).code == "FORMAT_NOT_ALLOWED"


@pytest.mark.parametrize("content", [b"", b"hello"])
def test_random_bytes_are_rejected(handlers, tmp_path, content):
    path = tmp_path / "random.tif"
    path.write_bytes(content)
    assert refusal(handlers, path).code == "NOT_A_RASTER"


@pytest.mark.parametrize("content", [b"II*\0", b"II*\0\xff\xff\xff\x7f" * 40])
def test_tiff_without_its_directory(handlers, tmp_path, content):
    path = tmp_path / "head.tif"
    path.write_bytes(content)
    refused = refusal(handlers, path)
    assert refused.code == "PIXELS_UNREADABLE" and "bytes are missing" in refused.message


@pytest.mark.parametrize("domain", ["OVERVIEWS", "GEOLOCATION"])
def test_tags_that_point_outside_the_file(handlers, tmp_path, secret, domain):
    key = {"OVERVIEWS": "OVERVIEW_FILE", "GEOLOCATION": "X_DATASET"}[domain]
    path = write(tmp_path / "pointer.tif", hills())
    with rasterio.open(path, "r+") as dataset:
        dataset.update_tags(ns=domain, **{key: str(secret)})
    assert refusal(handlers, path).code == "EXTERNAL_REFERENCE"


def storage(file: h5py.File, secret: Path) -> None:
    file.create_dataset("z", shape=(64, 64), dtype="u1", external=[(secret, 0, 64 * 64)])


def link(file: h5py.File, secret: Path) -> None:
    file["z"] = h5py.ExternalLink(secret, "z")


def mosaic(file: h5py.File, secret: Path) -> None:
    layout = h5py.VirtualLayout((64, 64), "u1")
    layout[:] = h5py.VirtualSource(secret, "z", (64, 64))
    file.create_virtual_dataset("z", layout)


@pytest.fixture
def pointer(request, tmp_path) -> Path:
    """A NetCDF file whose pixels are in another file of the machine."""
    secret = tmp_path / "private" / "secret.h5"
    secret.parent.mkdir()
    with h5py.File(secret, "w") as file:
        file.create_dataset("z", data=1 + np.arange(64 * 64).reshape(64, 64) % 251, dtype="u1")
    path = tmp_path / "pointer.nc"
    with h5py.File(path, "w") as file:
        for name, unit, place in (("lat", "degrees_north", 50), ("lon", "degrees_east", 8)):
            axis = file.create_dataset(name, data=place + np.arange(64) / 100)
            axis.make_scale(name)
            axis.attrs["units"] = unit
        request.param(file, secret)
    return path


@pytest.mark.parametrize("pointer", [storage, link, mosaic], indirect=True)
def test_netcdf_with_external_data_is_rejected(handlers, pointer):
    assert refusal(handlers, pointer, input_crs="EPSG:4326").code == "EXTERNAL_REFERENCE"


@pytest.mark.parametrize("suffix", [".msk", ".ovr"])
def test_sidecar_that_points_outside(handlers, tmp_path, secret, suffix):
    path = write(tmp_path / "innocent.tif", hills())
    path.with_name(path.name + suffix).write_text(
        "<VRTDataset rasterXSize='300' rasterYSize='300'><VRTRasterBand dataType='Byte' band='1'>"
        f"<SimpleSource><SourceFilename>{secret}</SourceFilename></SimpleSource>"
        "</VRTRasterBand></VRTDataset>"
    )
    assert refusal(handlers, path).code == "SIDECAR_INVALID"


def test_a_million_by_a_million(handlers, tmp_path):
    path = tmp_path / "huge.tif"
    profile = {"driver": "GTiff", "dtype": "uint8", "count": 1, "crs": "EPSG:3857"}
    tiles = {"tiled": True, "blockxsize": 16_384, "blockysize": 16_384, "sparse_ok": True}
    side = 1_000_000
    grid = Affine(10, 0, 0, 0, -10, 0)
    with rasterio.open(path, "w", width=side, height=side, transform=grid, **profile, **tiles):
        pass
    assert refusal(handlers, path).code == "RASTER_TOO_LARGE"


def test_deflate_bomb(handlers, tmp_path):
    path = tmp_path / "bomb.tif"
    path.write_bytes(tiff(90_000, 90_000, tile=zlib.compress(bytes(TILE * TILE), 9)))
    assert refusal(handlers, path).code == "RASTER_TOO_LARGE"


def test_a_block_larger_than_the_memory_limit_is_rejected(handlers, tmp_path):
    path = tmp_path / "block.tif"
    path.write_bytes(tiff(60_000, 60_000, tile=zlib.compress(b"\0"), side=60_000))
    assert refusal(handlers, path).code in ("RASTER_OUT_OF_MEMORY", "NOT_A_RASTER")


def test_many_bands_in_a_small_file_are_rejected(handlers, tmp_path):
    path = tmp_path / "bands.tif"
    path.write_bytes(tiff(64, 64, tile=b"\0", bands=65_535))
    assert refusal(handlers, path).code in ("NOT_A_RASTER", "RASTER_TOO_LARGE")


def test_an_image_larger_than_its_header_is_rejected(handlers, tmp_path):
    header = struct.pack(">IIBBBBB", 120_000, 120_000, 8, 0, 0, 0, 0)
    chunk = b"IHDR" + header
    path = tmp_path / "bomb.png"
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))
    )
    assert refusal(handlers, path).code == "PIXELS_UNREADABLE"


def test_netcdf_with_pixel_numbers_for_coordinates(handlers, tmp_path):
    bare = tmp_path / "bare.tif"
    with pytest.warns(rasterio.errors.NotGeoreferencedWarning):
        write(bare, hills(), crs=None, transform=Affine.identity())
    path = tmp_path / "variable.nc"
    rasterio.shutil.copy(str(bare), str(path), driver="netCDF")
    bare.unlink()
    # GDAL writes the pixel numbers as degrees of latitude, which exceed 90.
    assert refusal(handlers, path).code == "BOUNDS_INVALID"


@pytest.mark.parametrize(
    "name",
    [
        "../up.tif",
        "a/../../b.tif",
        "/vsicurl/http://x/y.tif",
        "vsizip/x.tif",
        "a//b.tif",
        "a\\b.tif",
    ],
)
def test_blob_names_with_path_traversal_are_rejected(name):
    with pytest.raises(ValidationError):
        BlobRef(container="bronze", name=name)


@pytest.mark.parametrize(
    "name", ["ünï cödé %20&?#.tif", "a'b\"c<d>.tif", "netcdf:x.tif", "x" * 400 + ".tif"]
)
def test_unusual_blob_names_are_accepted(handlers, tmp_path, name):
    path = write(tmp_path / "plain.tif", hills())
    ref = handlers.put(path, f"odd/{name}")
    assert handlers.validate(ref).source.name == f"odd/{name}"


def test_a_truncated_png_of_one_window_is_rejected(handlers, tmp_path):
    """GDAL fills the missing rows with noise when it reads a whole PNG."""
    header = struct.pack(">IIBBBBB", 300, 300, 8, 0, 0, 0, 0)
    rows = zlib.compress(b"".join(b"\0" + bytes([row]) * 300 for row in range(200)))
    chunks = [(b"IHDR", header), (b"IDAT", rows), (b"IEND", b"")]
    path = tmp_path / "short.png"
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + b"".join(
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
            for kind, data in chunks
        )
    )
    path.with_suffix(".pgw").write_text("10\n0\n0\n-10\n500005\n5599995\n")
    assert refusal(handlers, path, input_crs="EPSG:32633").code == "PIXELS_UNREADABLE"


def test_the_warp_detects_broken_tiles(handlers, tmp_path):
    """Validation reads samples and may miss a broken tile; create_cog must detect it."""
    pixels = np.random.default_rng(3).integers(0, 255, (1, 6_000, 6_000), dtype="uint8")
    path = write(tmp_path / "broken.tif", pixels, tiled=True, blockxsize=256, blockysize=256,
                 compress="deflate")  # fmt: skip
    content = bytearray(path.read_bytes())
    middle = len(content) // 3
    content[middle : middle + 200_000] = bytes(200_000)
    facts = handlers.validate(handlers.put(path))
    broken = tmp_path / "broken" / "broken.tif"
    broken.parent.mkdir()
    broken.write_bytes(content)
    ref = handlers.put(broken, facts.source.name)
    changed = facts.model_copy(update={"source_etag": handlers.blobs.properties(ref).etag})
    for target in ("native", "EPSG:4326"):
        with pytest.raises(TaskFailed) as refused:
            handlers.make_from(changed, tier="analysis", target_crs=target)
        assert refused.value.code == "PIXELS_UNREADABLE"


def tiff(width: int, height: int, *, tile: bytes, side: int = TILE, bands: int = 1) -> bytes:
    """A classic TIFF (TIFF 6.0, pages 13-16 and 66-68) whose tiles are all the same bytes."""
    count = -(-width // side) * -(-height // side)
    entries = 9
    start = 8 + 2 + 12 * entries + 4
    place = start + len(tile) + len(tile) % 2
    many = count > 1
    tags = [
        (256, 4, 1, width),
        (257, 4, 1, height),
        (258, 3, 1, 8),
        (259, 3, 1, 8),
        (277, 3, 1, bands),
        (322, 4, 1, side),
        (323, 4, 1, side),
        (324, 4, count, place if many else start),
        (325, 4, count, place + 4 * count if many else len(tile)),
    ]
    directory = b"".join(struct.pack("<HHII", *tag) for tag in tags)
    body = struct.pack("<H", entries) + directory + b"\0\0\0\0" + tile + b"\0" * (len(tile) % 2)
    arrays = struct.pack(f"<{count}I", *[start] * count)
    arrays += struct.pack(f"<{count}I", *[len(tile)] * count)
    return b"II*\0" + struct.pack("<I", 8) + body + (arrays if many else b"")
