"""Opens a source raster after checks of its content, structure, sidecars and size."""

import math
import urllib.request
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rasterio
from rasterio.enums import ColorInterp, MaskFlags
from rasterio.errors import NotGeoreferencedWarning
from rasterio.io import DatasetReader

from core.errors import TaskFailed
from services.raster import subdatasets
from services.raster.completeness import check_structure
from services.raster.gdal import MAX_BANDS, failing_as
from services.raster.sidecars import check_sidecars
from services.raster.structure.hdf5_superblock import find_superblock
from services.raster.structure.stored_file import open_stored

MAX_SIDE = 2_000_000
MAX_DECODED_BYTES = 256 * 2**30
MAX_BLOCK_BYTES = 128 * 2**20
# A file of any size may decode to this much: sparse and uniform rasters compress extremely well.
FREE_DECODED_BYTES = 4 * 2**30
# Beyond that, more decoded bytes per stored byte are taken for a decompression bomb.
MAX_EXPANSION = 500

SIGNATURES = (
    (b"II*\0", "GTiff"),
    (b"MM\0*", "GTiff"),
    (b"II+\0", "GTiff"),
    (b"MM\0+", "GTiff"),
    (b"\0\0\0\x0cjP  \r\n\x87\n", "JP2OpenJPEG"),
    (b"\xff\x4f\xff\x51", "JP2OpenJPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"EHFA_HEADER_TAG", "HFA"),
    (b"CDF\x01", "netCDF"),
    (b"CDF\x02", "netCDF"),
    (b"CDF\x05", "netCDF"),
    (b"\x89HDF\r\n\x1a\n", "netCDF"),
)
REFUSED = (
    (b"<VRT", "a GDAL VRT, which points at other files"),
    (b"<GDAL_WMS", "a GDAL WMS description, which points at a server"),
    (b"<", "an XML or HTML document"),
    (b"GRIB", "GRIB"),
    (b"\x0e\x03\x13\x01", "HDF4"),
    (b"ncols", "an ASCII grid"),
    (b"version https://git-lfs", "a Git LFS pointer, not the file that it stands for"),
    (b"UHL1", "DTED"),
    (b"\xff\xd8\xff", "a plain JPEG"),
    (b"NITF", "NITF"),
    (b"PK\x03\x04", "a ZIP archive"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"%PDF", "PDF"),
    (b"GIF8", "GIF"),
    (b"SQLite format 3", "an SQLite file (GeoPackage?)"),
    (b"ENVI", "an ENVI header"),
)
FORMATS = "GeoTIFF, JPEG 2000, PNG, ERDAS IMAGINE (.img) and NetCDF"


@dataclass(frozen=True)
class Source:
    """An open raster, and how it was opened."""

    dataset: DatasetReader
    path: str
    name: str
    """The blob's name, for messages."""
    driver: str
    subdataset: str | None
    subdatasets: tuple[str, ...]

    @property
    def dtype(self) -> str:
        """The one type that holds every band."""
        kinds = {d for d in self.dataset.dtypes if not d.startswith("complex_int")}
        return str(np.result_type(*kinds)) if kinds else "complex64"

    @property
    def itemsize(self) -> int:
        return int(np.dtype(self.dtype).itemsize)

    @property
    def decoded_bytes(self) -> int:
        dataset = self.dataset
        return int(dataset.width) * int(dataset.height) * self.pixel_bytes

    @property
    def block_bytes(self) -> int:
        """The largest block, decoded: what reading one pixel costs in memory."""
        dataset = self.dataset
        rows, columns = max(dataset.block_shapes, key=math.prod, default=(0, 0))
        bands = dataset.count if self.is_pixel_interleaved else 1
        return int(rows * columns * bands * self.itemsize)

    @property
    def is_pixel_interleaved(self) -> bool:
        """Whether each block holds all bands."""
        return str(self.dataset.profile.get("interleave", "band")).lower() == "pixel"

    @property
    def pixel_bytes(self) -> int:
        """Of all bands, decoded."""
        return int(self.dataset.count) * self.itemsize

    @property
    def has_mask_band(self) -> bool:
        """Whether the file carries a mask of its own, not one made from alpha or nodata."""
        flags = self.dataset.mask_flag_enums[0]
        return MaskFlags.per_dataset in flags and not {MaskFlags.alpha, MaskFlags.nodata} & {*flags}

    @property
    def alpha_band(self) -> int | None:
        """The band tagged alpha, whether or not it is one."""
        for index, color in enumerate(self.dataset.colorinterp, 1):
            if color == ColorInterp.alpha and index > 1:
                return index
        return None


def sniff(path: str, name: str) -> str:
    """The driver for the file's signature. Raises TaskFailed for a format that is not supported."""
    head = _read_head(path)
    for signature, driver in SIGNATURES:
        if head.startswith(signature):
            return driver
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n")
    for signature, what in REFUSED:
        if text.startswith(signature):
            raise TaskFailed(
                "FORMAT_NOT_ALLOWED", f"{name} is {what}. Accepted formats are {FORMATS}"
            )
    if _has_user_block(path):
        return "netCDF"
    raise TaskFailed(
        "NOT_A_RASTER",
        f"{name} is not a supported raster: it begins with {head[:12]!r}. "
        f"Accepted formats are {FORMATS}",
    )


def _has_user_block(path: str) -> bool:
    """Whether a local file is HDF5 with content of another kind in front, as MATLAB writes it."""
    if path.startswith("/vsi"):
        return False
    with open_stored(path, 0) as file:
        return find_superblock(file) is not None


def _read_head(path: str, size: int = 64) -> bytes:
    if not path.startswith("/vsicurl/"):
        with Path(path).open("rb") as file:
            return file.read(size)
    address = path.removeprefix("/vsicurl/")
    request = urllib.request.Request(address, headers={"Range": f"bytes=0-{size - 1}"})
    with urllib.request.urlopen(request, timeout=30) as reply:
        head: bytes = reply.read(size)
        return head


@contextmanager
def open_source(
    path: str, name: str, *, subdataset: str | None, stored_bytes: int
) -> Iterator[Source]:
    """Check the file, open it with the driver of its signature, and check the limits."""
    driver = sniff(path, name)
    check_structure(path, driver, name, stored_bytes)
    check_sidecars(path, name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with failing_as("NOT_A_RASTER", f"{name} cannot be opened as {driver}"):
            outer = rasterio.open(path, driver=driver)
        with outer:
            _check_references(outer, name)
            yield from _open_chosen(outer, path, name, driver, subdataset, stored_bytes)


def _open_chosen(
    outer: DatasetReader,
    path: str,
    name: str,
    driver: str,
    subdataset: str | None,
    stored_bytes: int,
) -> Iterator[Source]:
    choices = subdatasets.list_subdatasets(outer)
    if outer.count > 0 and subdataset is None:
        source = Source(outer, path, name, driver, None, tuple(choices))
        _check_limits(source, stored_bytes)
        yield source
        return
    if outer.count > 0:
        subdatasets.refuse_unknown(subdataset, choices, name)
    chosen = subdatasets.choose_subdataset(choices, subdataset, name, driver)
    with (
        failing_as("NOT_A_RASTER", f"{name}, raster {chosen!r}, cannot be opened"),
        rasterio.open(choices[chosen], driver=driver) as inner,
    ):
        source = Source(inner, choices[chosen], name, driver, chosen, tuple(choices))
        _check_limits(source, stored_bytes)
        yield source


def _check_references(dataset: DatasetReader, name: str) -> None:
    """Refuse metadata of a GeoTIFF that makes GDAL read overviews or coordinates from other files.

    In a NetCDF file GEOLOCATION names variables of the same file.
    """
    for domain in ("OVERVIEWS", "GEOLOCATION", "xml:VRT"):
        if dataset.tags(ns=domain) and (domain, dataset.driver) != ("GEOLOCATION", "netCDF"):
            raise TaskFailed(
                "EXTERNAL_REFERENCE",
                f"{name} has metadata ({domain}) that refers to other files: remove it",
            )


def _check_limits(source: Source, stored_bytes: int) -> None:
    dataset, name = source.dataset, source.name
    rows, columns, bands = dataset.height, dataset.width, dataset.count
    size = f"{name} is {columns} x {rows} pixels, {bands} band(s) of {source.dtype}"
    if max(rows, columns) > MAX_SIDE:
        raise TaskFailed("RASTER_TOO_LARGE", f"{size}: the limit per side is {MAX_SIDE} pixels")
    if bands > MAX_BANDS:
        raise TaskFailed("RASTER_TOO_LARGE", f"{size}: the limit is {MAX_BANDS} bands")
    decoded = source.decoded_bytes
    if decoded > MAX_DECODED_BYTES:
        raise TaskFailed(
            "RASTER_TOO_LARGE",
            f"{size}, {decoded / 2**30:.0f} GB: the limit is {MAX_DECODED_BYTES // 2**30} GB. "
            "Split the raster",
        )
    if decoded > FREE_DECODED_BYTES and decoded > stored_bytes * MAX_EXPANSION:
        raise TaskFailed(
            "RASTER_TOO_LARGE",
            f"{size}, {decoded / 2**30:.1f} GB out of {stored_bytes} stored bytes: "
            f"a ratio above {MAX_EXPANSION} to 1 is taken for a decompression bomb",
        )
    _check_blocks(source, size)


def _check_blocks(source: Source, size: str) -> None:
    block = source.block_bytes
    if block > MAX_BLOCK_BYTES:
        rows, columns = max(source.dataset.block_shapes, key=math.prod)
        raise TaskFailed(
            "RASTER_OUT_OF_MEMORY",
            f"{size}, stored in blocks of {columns} x {rows}, {block / 2**20:.0f} MB each: "
            f"at most {MAX_BLOCK_BYTES // 2**20} MB fit in memory. Store it tiled",
        )
