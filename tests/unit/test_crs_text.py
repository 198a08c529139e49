"""Which CRS texts reach PROJ: those that need neither the network nor a file."""

import json

import pyproj
import pytest
from pydantic import ValidationError

from jobs.process_raster import Parameters
from services.raster.crs_text import check_crs_text

ROTATED_POLE = "+proj=ob_tran +o_proj=longlat +o_lon_p=-162 +o_lat_p=39.25 +lon_0=180"
BOUND = pyproj.CRS("+proj=utm +zone=33 +ellps=bessel +nadgrids=BETA2007.gsb +type=crs")
HOSTILE_WKT = BOUND.to_wkt().replace("BETA2007.gsb", "/etc/passwd")


@pytest.mark.parametrize(
    "text",
    [
        "EPSG:32618",
        "epsg:4326+5773",
        "ESRI:102001",
        "OGC:CRS84",
        "IAU_2015:30100",
        "IGNF:LAMB93",
        "+proj=utm +zone=33 +datum=WGS84 +units=m +no_defs",
        "+proj=merc +a=6378137 +b=6378137 +nadgrids=@null +wktext +type=crs",
        ROTATED_POLE,
        pyproj.CRS(3857).to_wkt("WKT1_GDAL"),
        pyproj.CRS(3857).to_wkt("WKT1_ESRI"),
        pyproj.CRS(2056).to_wkt(pretty=True),
        pyproj.CRS("EPSG:6529+6360").to_wkt(),
        pyproj.CRS(ROTATED_POLE).to_wkt(),
        BOUND.to_wkt(),
        pyproj.CRS(27700).to_json(),
        BOUND.to_json(),
    ],
)
def test_self_contained_definitions_are_accepted(text):
    assert check_crs_text(f" {text}\n") == text


@pytest.mark.parametrize(
    "text",
    [
        "http://127.0.0.1:8000/crs.wkt",
        "HTTPS://example.com/crs",
        "/vsicurl/http://127.0.0.1/crs",
        "urn:ogc:def:crs:EPSG::4326",
        "http://www.opengis.net/def/crs/EPSG/0/4326",
        "/etc/passwd",
        "crs.prj",
        "EPSG:../../etc/passwd",
        "DICT:gdal_datum.csv,1",
        "AUTO:42001,9001,0,0",
        "+init=epsg:4326",
        "+init=/etc/passwd:1",
        "+proj=utm +zone=33 +init=/etc/passwd:1",
        "+proj=utm +zone=33 +nadgrids=/etc/passwd",
        "+proj=utm +zone=33 +nadgrids=@null,http://127.0.0.1/x",
        "+proj=utm +zone=33 +nadgrids=../x.gsb",
        "+proj=longlat +geoidgrids=egm96_15.gtx",
        "+proj=pipeline +step +proj=hgridshift +grids=/etc/passwd",
        "+proj=defmodel +model=http://127.0.0.1/x.json",
        "+proj=hgridshift",
        HOSTILE_WKT,
        HOSTILE_WKT.replace("[", "(").replace("]", ")"),
        BOUND.to_json().replace("BETA2007.gsb", "http://127.0.0.1/x.gsb"),
        pyproj.CRS(ROTATED_POLE).to_wkt().replace("PROJ ob_tran", "PROJ ob_tran grids=/etc/x"),
        pyproj.CRS(3857).to_wkt("WKT1_GDAL").replace("@null", "/etc/passwd"),
        pyproj.CRS(2056)
        .to_wkt()
        .replace(
            "Hotine Oblique Mercator (variant B)",
            "PROJ-based operation method: +proj=pipeline +step +proj=hgridshift +grids=/etc/x",
        ),
        'LOCAL_CS["x"] http://127.0.0.1/',
        '{"type": "ProjectedCRS"',
        '{"type": ' + "[" * 100_000,
        "EPSG:4326\0http://127.0.0.1",
        "WGS 84",
        "",
    ],
)
def test_definitions_that_need_a_request_or_a_file_are_rejected(text):
    with pytest.raises(ValueError, match=r".+"):
        check_crs_text(text)


@pytest.mark.parametrize("field", ["input_crs", "target_crs"])
def test_the_request_is_refused_naming_the_field(field):
    with pytest.raises(ValidationError) as refused:
        Parameters(blob_name="a.tif", container_name="bronze", **{field: "http://127.0.0.1/x"})
    [error] = refused.value.errors()
    assert error["loc"] == (field,) and "EPSG" in error["msg"]


def test_pyproj_reads_what_the_grammar_accepts():
    text = check_crs_text(json.dumps(pyproj.CRS(32633).to_json_dict()))
    assert pyproj.CRS(text) == pyproj.CRS(32633)
