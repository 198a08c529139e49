"""GDAL as we run it: its settings, its errors, and what it may touch."""

import ctypes
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import rasterio
from rasterio._err import CPLE_BaseError
from rasterio.errors import RasterioError, RasterioIOError

from core.errors import TaskFailed

THREADS = max(1, min(4, os.cpu_count() or 1))
# rasterio takes GDAL_CACHEMAX as a number of bytes, unlike GDAL, for which 64 means megabytes.
CACHE_BYTES = 64 * 2**20
# GDAL overlaps reading and warping: it holds two chunks of this size.
WARP_MB = 32
MAX_BANDS = 1000

# Everything else GDAL can open stays unregistered: a file cannot name a format that is not there.
# VRT is for our own views (see view.py) and MEM for GDAL's own temporaries.
INPUT_DRIVERS = ("GTiff", "JP2OpenJPEG", "PNG", "HFA", "netCDF")

_SETTINGS: dict[str, Any] = {
    "GDAL_NUM_THREADS": THREADS,
    "GDAL_CACHEMAX": CACHE_BYTES,
    "GDAL_MAX_BAND_COUNT": MAX_BANDS,
    "GDAL_TIFF_INTERNAL_MASK": True,
    "OPJ_NUM_THREADS": THREADS,
    # The COG driver's temporary overviews: compressing them cost a tenth of the writing.
    "COG_TMP_COMPRESSION": "NONE",
    # Range requests, https://gdal.org/en/stable/user/virtual_file_systems.html#vsicurl
    "GDAL_INGESTED_BYTES_AT_OPEN": 65_536,
    "GDAL_HTTP_MERGE_CONSECUTIVE_RANGES": True,
    "GDAL_HTTP_MULTIPLEX": True,
    "GDAL_HTTP_CONNECTTIMEOUT": 10,
    "GDAL_HTTP_TIMEOUT": 60,
    "GDAL_HTTP_MAX_RETRY": 4,
    "GDAL_HTTP_RETRY_DELAY": 0.5,
    "CPL_VSIL_CURL_CHUNK_SIZE": 262_144,
    "CPL_VSIL_CURL_CACHE_SIZE": 33_554_432,
    "CPL_VSIL_CURL_USE_HEAD": False,
    "VSI_CACHE": True,
    "VSI_CACHE_SIZE": 33_554_432,
}


def skip_other_drivers() -> None:
    """Keep GDAL from registering what we never use. Call it before GDAL is first used.

    GDAL takes a list of what to leave out, so a child that registers everything tells it.
    """
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        with rasterio.Env() as env:
            os.write(writing, "\n".join(env.drivers()).encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, encoding="ascii") as lines:
        listed = set(lines.read().split("\n"))
    os.waitpid(child, 0)
    os.environ["GDAL_SKIP"] = ",".join(sorted(listed - {*INPUT_DRIVERS, "COG", "VRT", "MEM"}))


@contextmanager
def environment(source: str, *, sidecars: bool, scratch: Path | None = None) -> Iterator[None]:
    """GDAL's settings for the work on one source, which is all it may fetch."""
    settings = dict(_SETTINGS)
    settings["GDAL_DISABLE_READDIR_ON_OPEN"] = False if sidecars else "EMPTY_DIR"
    settings["GDAL_PAM_ENABLED"] = sidecars
    settings["CPL_VSIL_CURL_ALLOWED_FILENAME"] = source
    if scratch:
        settings["CPL_TMPDIR"] = str(scratch)
    with rasterio.Env(**settings):
        yield


def give_back_memory() -> None:
    """Return what the last step freed; see malloc_trim(3). A C library without it keeps it."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim:
        trim(0)


_NETWORK = re.compile(
    r"HTTP (response|error) code\W+(408|429|5\d\d)|response_code=(0|408|429|5\d\d)"
    r"|CURL error|timed out|resolve host|connect to|Connection (reset|refused)|too slow",
    re.IGNORECASE,
)
_DISK = re.compile(r"No space left|Write error|disk (is )?full|Free disk space", re.IGNORECASE)
_ADDRESS = re.compile(r"(/vsi\w+/)?https?://\S+|/vsi\w+/\S+|(/[\w.~+-]+){2,}/(?=[\w.]+)")


def words(error: BaseException) -> str:
    """What GDAL said, outermost first, without addresses, signatures or local folders."""
    said: list[str] = []
    link: BaseException | None = error
    while link is not None:
        text = _ADDRESS.sub("", str(link)).strip()
        if text and text not in said:
            said.append(text)
        link = link.__cause__ or link.__context__
    return "; ".join(said)[:600]


# Points that have no place in the other CRS: the warper leaves their pixels empty.
_HARMLESS = re.compile(r"PROJ|projection|transform|domain", re.IGNORECASE)


@contextmanager
def listening() -> Iterator[None]:
    """Raise for errors in GDAL's own threads.

    rasterio hears only its own thread. In the others GDAL's default handler prints, so a tile
    that cannot be read would end as an empty one. Here standard error goes to a file meanwhile.
    """
    with os.fdopen(os.memfd_create("gdal"), "w+b") as heard:
        before = os.dup(2)
        os.dup2(heard.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(before, 2)
            os.close(before)
        heard.seek(0)
        said = heard.read(65_536).decode(errors="replace").splitlines()
    errors = [line for line in said if line.startswith("ERROR") and not _HARMLESS.search(line)]
    if errors:
        raise RasterioIOError("; ".join(dict.fromkeys(errors)))


@contextmanager
def failing_as(code: str, subject: str) -> Iterator[None]:
    """Turn GDAL's errors into a permanent failure, unless network or disk are to blame."""
    try:
        yield
    except (RasterioError, CPLE_BaseError, ValueError, IndexError) as error:
        said = words(error)
        if _NETWORK.search(said):
            raise ConnectionError(f"{subject}: storage did not answer. GDAL: {said}") from None
        if _DISK.search(said):
            raise OSError(f"{subject}: the scratch disk is full. GDAL: {said}") from None
        raise TaskFailed(code, f"{subject}. GDAL: {said}") from None
