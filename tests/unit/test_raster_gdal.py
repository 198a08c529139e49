"""GDAL's settings, and its errors as errors of the product."""

import re
import struct
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import ClassVar

import pytest
import rasterio
from rasterio._env import get_gdal_config
from rasterio.errors import RasterioIOError
from rasterio.windows import Window

from core.errors import TaskFailed
from services.raster import gdal
from tests.fixtures.made_rasters import hills, photo, write


def test_the_block_cache_is_megabytes_not_bytes():
    with gdal.environment("/nowhere.tif", sidecars=False):
        assert get_gdal_config("GDAL_CACHEMAX") == gdal.CACHE_BYTES == 64 * 2**20


def failure(code, message, cause=None):
    with pytest.raises(TaskFailed) as failed, gdal.failing_as(code, "a.tif cannot be read"):
        raise RasterioIOError(message) from (RasterioIOError(cause) if cause else None)
    return failed.value


@pytest.mark.parametrize(
    ("message", "hidden"),
    [
        ("VSIFReadL(0x55d0c8a1f2b0, 1, 4096) Success", "VSIFReadL"),
        ("HFARasterBand: VSIFReadL(0x7f1c, 1, 16) failed: Success", "0x7f1c"),
        ("TIFFReadEncodedTile() failed.", "TIFFReadEncodedTile"),
        (
            "band 1: IReadBlock failed at X offset 3, Y offset 4: CPLZLibInflate() failed",
            "IReadBlock",
        ),
        ("ERROR 1: dataset at 0xdeadbeef is closed", "0xdeadbeef"),
        ("cannot open /vsicurl/https://account/c/b?sig=abc", "sig="),
    ],
)
def test_messages_have_no_pointers_and_no_internals(message, hidden):
    failed = failure(
        "PIXELS_UNREADABLE", message, "Read failed. See previous exception for details."
    )
    assert failed.code == "PIXELS_UNREADABLE"
    assert hidden not in failed.message and "previous exception" not in failed.message
    assert failed.message.startswith("a.tif cannot be read")


def test_the_block_that_cannot_be_read_is_named():
    message = "a.tif, band 1: IReadBlock failed at X offset 3, Y offset 4: CPLZLibInflate() failed"
    assert "band 1: cannot read block 3, 4: decoding failed" in failure("X", message).message


@pytest.mark.parametrize("compression", [50002, 52546, 34712, 34661])
def test_a_missing_codec_has_its_own_code(tmp_path, compression):
    """GDAL itself opens TIFF files of JPEG XL, JPEG 2000 and JBIG compression."""
    path = write(tmp_path / "codec.tif", hills(64), compress="deflate")
    content = bytearray(path.read_bytes())
    (directory,) = struct.unpack_from("<I", content, 4)
    (count,) = struct.unpack_from("<H", content, directory)
    for entry in range(directory + 2, directory + 2 + 12 * count, 12):
        if struct.unpack_from("<H", content, entry) == (259,):
            struct.pack_into("<I", content, entry + 8, compression)
    path.write_bytes(content)
    with pytest.raises(TaskFailed) as failed, gdal.failing_as("NOT_A_RASTER", "codec.tif"):
        rasterio.open(path)
    assert failed.value.code == "CODEC_MISSING"


def test_a_missing_netcdf_filter_is_a_missing_codec():
    message = "NetCDF: Filter error: undefined filter encountered"
    assert failure("PIXELS_UNREADABLE", message).code == "CODEC_MISSING"


def test_network_errors_are_transient():
    with pytest.raises(ConnectionError), gdal.failing_as("X", "a.tif"):
        raise RasterioIOError("HTTP response code: 503")


class FileServer(BaseHTTPRequestHandler):
    """Serves one file by ranges, and records the requests."""

    protocol_version = "HTTP/1.1"
    content = b""
    requested: ClassVar[list[tuple[str, str]]] = []

    def do_HEAD(self) -> None:
        self._answer(200, self.content, with_body=False)

    def do_GET(self) -> None:
        asked = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        if asked is None:
            self._answer(200, self.content)
            return
        start, end = int(asked[1]), int(asked[2])
        self._answer(206, self.content[start : end + 1], start=start)

    def _answer(self, status: int, body: bytes, *, start: int = 0, with_body: bool = True) -> None:
        self.requested.append((self.command, self.headers.get("Range", "")))
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        if status == 206:
            end, size = start + len(body) - 1, len(self.content)
            self.send_header("Content-Range", f"bytes {start}-{end}/{size}")
        self.end_headers()
        if with_body:
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing is printed."""


def test_a_remote_file_is_never_requested_as_a_whole(tmp_path):
    """Storage would begin to send all of it, and Azurite leaves its files open."""
    path = write(tmp_path / "source.tif", photo(2_048), tiled=True, blockxsize=256, blockysize=256)
    FileServer.content, FileServer.requested[:] = path.read_bytes(), []
    with ThreadingHTTPServer(("127.0.0.1", 0), FileServer) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        address = f"/vsicurl/http://127.0.0.1:{server.server_port}/source.tif?sig=a"
        with gdal.environment(address, sidecars=False), rasterio.open(address) as image:
            image.read(1, window=Window(900, 900, 10, 10))
        server.shutdown()
    gets = [ranges for method, ranges in FileServer.requested if method == "GET"]
    assert gets and all(gets)
