"""GDAL's settings, its drivers, and its errors as errors of the product."""

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
from services.sandbox.processors import count_processors

THREADS = min(4, count_processors())
# rasterio takes GDAL_CACHEMAX as a number of bytes, unlike GDAL, for which 64 means megabytes.
CACHE_BYTES = 64 * 2**20
# What GDAL may use to warp one tile (warp.py); a tile of common rasters needs less.
WARP_MB = 32
MAX_BANDS = 1000

# The drivers of all other formats stay unregistered, so that no file can refer to one of them.
# VRT is for our own views (see view.py) and MEM for GDAL's own temporaries.
INPUT_DRIVERS = ("GTiff", "JP2OpenJPEG", "PNG", "HFA", "netCDF")

_SETTINGS: dict[str, Any] = {
    "GDAL_NUM_THREADS": THREADS,
    "GDAL_CACHEMAX": CACHE_BYTES,
    "GDAL_MAX_BAND_COUNT": MAX_BANDS,
    "GDAL_TIFF_INTERNAL_MASK": True,
    "OPJ_NUM_THREADS": THREADS,
    # The cheapest compression of the COG driver's temporary overviews. Without any, GDAL takes
    # pictures from the full size and their masks from one another, and they differ at the edges.
    "COG_TMP_COMPRESSION": "PACKBITS",
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
}


def skip_other_drivers() -> None:
    """Keep GDAL from registering other drivers. Call it before GDAL is first used.

    GDAL takes a list of the drivers to skip, so a child process registers all and lists them.
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
    """Apply the settings for the work on one source, the only URL that GDAL may fetch."""
    settings = dict(_SETTINGS)
    settings["GDAL_DISABLE_READDIR_ON_OPEN"] = False if sidecars else "EMPTY_DIR"
    settings["GDAL_PAM_ENABLED"] = sidecars
    settings["CPL_VSIL_CURL_ALLOWED_FILENAME"] = source
    if scratch:
        settings["CPL_TMPDIR"] = str(scratch)
    with rasterio.Env(**settings):
        yield


def give_back_memory() -> None:
    """Return freed memory to the system where the C library can; see malloc_trim(3)."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim:
        trim(0)


_NETWORK = re.compile(
    r"HTTP (response|error) code\W+(408|429|5\d\d)|response_code=(0|408|429|5\d\d)"
    r"|CURL error|timed out|resolve host|connect to|Connection (reset|refused)|too slow",
    re.IGNORECASE,
)
_CODEC = re.compile(
    r"missing codec|support missing|support is not (configured|available)|undefined filter"
    r"|Unhandled additional compression|required filter .* not (registered|available)"
    r"|Unsupported JPEG data precision",
    re.IGNORECASE,
)
_DISK = re.compile(r"No space left|Write error|disk (is )?full|Free disk space", re.IGNORECASE)
_ADDRESS = re.compile(r"(/vsi\w+/)?https?://\S+|/vsi\w+/\S+|(/[\w.~+-]+){2,}/(?=[\w.]+)")


_INTERNALS = (
    (
        re.compile(r"IReadBlock failed at X offset (\d+), Y offset (\d+)"),
        r"cannot read block \1, \2",
    ),
    (re.compile(r"\w+\([^()]*\b0x[^()]*\)[^;:]*"), "reading failed"),
    (re.compile(r"\w+(::\w+)*\(\) failed\.?"), "decoding failed"),
    (re.compile(r"Read failed\. |See previous exception for details\.?|ERROR \d+: |CPLE_\w+"), ""),
    (re.compile(r"\b\w+(::|:)(?=\w+\()|\b0x[0-9a-fA-F]+\b"), ""),
)
"""Pointers, and names of functions in GDAL and the libraries below it."""


def describe_error(error: BaseException) -> str:
    """GDAL's messages, outermost first, without URLs, local folders, pointers and internals."""
    said: list[str] = []
    link: BaseException | None = error
    while link is not None:
        text = _clean(str(link))
        if text and text not in said:
            said.append(text)
        link = link.__cause__ or link.__context__
    return "; ".join(said)[:600]


def _join(error: BaseException) -> str:
    """All that GDAL said, to search in."""
    said, link = [str(error)], error.__cause__ or error.__context__
    while link is not None:
        said.append(str(link))
        link = link.__cause__ or link.__context__
    return "; ".join(said)


def _clean(text: str) -> str:
    text = _ADDRESS.sub("", text)
    for internal, plain in _INTERNALS:
        text = internal.sub(plain, text)
    return text.strip(" .;:")


# The warper leaves pixels empty whose coordinates cannot be transformed.
_HARMLESS = re.compile(r"PROJ|projection|transform|domain", re.IGNORECASE)


@contextmanager
def listening() -> Iterator[None]:
    """Raise for errors in GDAL's own threads.

    rasterio notices errors in the calling thread only. In others GDAL prints them, and a tile that
    cannot be read would become an empty one. Standard error is redirected to a file meanwhile.
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
    """Raise GDAL's errors as TaskFailed with this code, or CODEC_MISSING for a missing codec.

    Errors of the network and the disk are raised as ConnectionError and OSError, which are retried.
    """
    try:
        yield
    except (RasterioError, CPLE_BaseError, ValueError, IndexError) as error:
        said = describe_error(error)
        if _NETWORK.search(raw := _join(error)):
            raise ConnectionError(f"{subject}: storage did not respond. GDAL: {said}") from None
        if _DISK.search(raw):
            raise OSError(f"{subject}: the scratch disk is full. GDAL: {said}") from None
        if _CODEC.search(raw):
            raise TaskFailed("CODEC_MISSING", f"{subject}: {said}") from None
        raise TaskFailed(code, f"{subject}. GDAL: {said}") from None
