"""No text in a parameter or in a file makes a worker send a request."""

import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import h5py
import pytest
import rasterio
import rasterio.shutil
from pydantic import ValidationError

from core.errors import TaskFailed
from jobs.process_raster import Parameters, Submission
from tests.fixtures.made_rasters import DEGREES, hills, photo, warmth, write, write_netcdf
from tests.fixtures.raster_handlers import RasterHandlers


class Listener:
    """Counts the connections to a loopback port."""

    def __init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.address = f"http://127.0.0.1:{self._socket.getsockname()[1]}/crs"
        self._connections = 0
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def _accept(self) -> None:
        while True:
            connection, _ = self._socket.accept()
            with connection:
                if connection.recv(64).startswith(b"END"):
                    return
                self._connections += 1

    def close(self) -> int:
        """Close the port. Returns the number of connections, which are accepted in order."""
        with socket.create_connection(self._socket.getsockname()) as last:
            last.sendall(b"END")
        self._thread.join()
        self._socket.close()
        return self._connections


@pytest.fixture
def listener() -> Iterator[Listener]:
    listener = Listener()
    yield listener
    assert listener.close() == 0


@pytest.fixture(scope="module")
def handlers(azurite, tmp_path_factory) -> Iterator[RasterHandlers]:
    with RasterHandlers.open(
        azurite.connection_string, tmp_path_factory.mktemp("handlers")
    ) as handlers:
        yield handlers


def test_the_listener_records_a_request():
    listener = Listener()
    with rasterio.Env(GDAL_HTTP_TIMEOUT=5), pytest.raises(rasterio.errors.CRSError):
        rasterio.crs.CRS.from_user_input(listener.address)
    assert listener.close() == 1


@pytest.mark.parametrize("form", ["{}", "/vsicurl/{}", "+proj=utm +zone=33 +nadgrids={}"])
@pytest.mark.parametrize("field", ["input_crs", "target_crs", "subdataset"])
def test_parameters_of_the_handlers(handlers, listener, tmp_path, field, form):
    path = write(tmp_path / "plain.tif", hills(), **({"crs": None} if field == "input_crs" else {}))
    with pytest.raises(TaskFailed) as refused:
        handlers.make(path, **{field: form.format(listener.address)})
    assert refused.value.code in ("CRS_INVALID", "SUBDATASET_NOT_FOUND")


@pytest.mark.parametrize(
    "field", sorted({*Parameters.model_fields} & {*Submission.model_fields} - {"subdataset"})
)
def test_parameters_of_the_job(listener, field):
    given = {"blob_name": "a.tif", "container_name": "bronze"} | {field: listener.address}
    with pytest.raises(ValidationError) as refused:
        Parameters.model_validate(given)
    assert refused.value.errors()[0]["loc"][0] == field


def aux_xml(path: Path, address: str) -> Path:
    path = write(path / "sidecar.tif", hills(), crs=None)
    path.with_name("sidecar.tif.aux.xml").write_text(
        f"<PAMDataset><SRS>{address}</SRS></PAMDataset>"
    )
    return path


def aux_gcps(path: Path, address: str) -> Path:
    path = write(path / "gcps.tif", hills(), crs=None)
    path.with_name("gcps.tif.aux.xml").write_text(
        f'<PAMDataset><GCPList Projection="{address}"><GCP Id="1" Pixel="0" Line="0" X="0" Y="0"/>'
        "</GCPList></PAMDataset>"
    )
    return path


def prj(path: Path, address: str) -> Path:
    path = write(path / "projection.tif", hills(), crs=None)
    path.with_name("projection.prj").write_text(address)
    return path


def prj_with_grid(path: Path, address: str) -> Path:
    path = write(path / "grid.tif", hills(), crs=None)
    text = rasterio.crs.CRS.from_proj4("+proj=utm +zone=33 +ellps=bessel +nadgrids=GRID").to_wkt()
    path.with_name("grid.prj").write_text(text.replace("GRID", address))
    return path


def gml_box(path: Path, address: str) -> Path:
    tif = write(path / "whole.tif", photo())
    made = path / "boxes.jp2"
    rasterio.shutil.copy(
        str(tif), str(made), driver="JP2OpenJPEG", GeoJP2="NO", GMLJP2="YES", QUALITY="100"
    )
    tif.unlink()
    content = made.read_bytes()
    named = b'srsName="urn:ogc:def:crs:EPSG::32633"'
    hostile = f'srsName="{address}"'.encode()
    assert content.count(named) and len(hostile) <= len(named)
    made.write_bytes(content.replace(named, hostile.ljust(len(named))))
    return made


def netcdf(path: Path, address: str) -> Path:
    made = write_netcdf(path / "grid.nc", DEGREES, {"t": warmth()})
    with h5py.File(made, "r+") as file:
        file["crs"] = 0
        for key in ("crs_wkt", "spatial_ref", "proj4", "proj4text", "esri_pe_string"):
            file["crs"].attrs[key] = address
            file["t"].attrs[key] = address
        file["t"].attrs["grid_mapping"] = "crs"
        file.attrs["history"] = address
    return made


@pytest.mark.parametrize(
    "make", [aux_xml, aux_gcps, prj, prj_with_grid, gml_box, netcdf], ids=lambda make: make.__name__
)
def test_texts_in_files(handlers, listener, tmp_path, make):
    with suppress(TaskFailed):
        handlers.make(make(tmp_path, listener.address))
