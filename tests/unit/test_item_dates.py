"""The date of an item: which of several dates counts, and which parts of a path are dates."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from services.stac.collection import read_interval
from services.stac.dates import choose_date, date_in_path, iso

UPLOADED = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("m_4208701_ne_16_060_20200902.tif", "2020-09-02T00:00:00Z"),
        ("flood 2021-07-14 10-30-00.tif", "2021-07-14T00:00:00Z"),
        ("dem_2019.12.31.tif", "2019-12-31T00:00:00Z"),
        ("S2A_MSIL1C_20170729T154911_N0205_R054_20170729T155511.jp2", "2017-07-29T15:49:11Z"),
        ("scene_20201399.tif", None),
        ("scene_20200231.tif", None),
        ("scene_2020-02-31.tif", None),
        ("tile_19001900.tif", None),
        ("order_20990101.tif", None),
        ("dctest.tif", None),
        ("sheet_123420200902.tif", None),
    ],
)
def test_date_in_a_name(path: str, expected: str | None):
    found = date_in_path(path, UPLOADED)
    assert (found and found.properties()) == (expected and {"datetime": expected})


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("HLS.S30.T32TQM.2020246T101031.v2.0.B04.tif", "2020-09-02T10:10:31Z"),
        ("OR_ABI-L2-CMIPF-M6C13_G16_s20202461030203_e20202461039523.nc", "2020-09-02T10:30:20Z"),
        # As year, month and day it would be the first of October.
        ("OR_ABI-L2-CMIPF-M6C13_G16_s20201001030203_e20201001039523.nc", "2020-04-09T10:30:20Z"),
        ("LC80440342020246LGN00_B4.TIF", "2020-09-02T00:00:00Z"),
        ("20JUL14155712-M1BS-500123.tif", "2020-07-14T15:57:12Z"),
        ("MOD021KM.A2020246.0830.061.2020247192310.tif", "2020-09-02T00:00:00Z"),
    ],
)
def test_conventions_of_missions(path: str, expected: str):
    assert date_in_path(path, UPLOADED).properties() == {"datetime": expected}


@pytest.mark.parametrize(
    ("path", "day"),
    [
        ("MOD09A1.A2020246.h18v04.006.20200910.tif", "2020-09-02"),
        ("VNP09GA.A2020246.h18v04.001.2020255034511.tif", "2020-09-02"),
        ("LC08_L2SP_044034_20200902_20200910_02_T1.tif", "2020-09-02"),
        ("AST_L1T_00305032000040446_20150409135350_78838.tif", "2000-05-03"),
    ],
)
def test_the_production_date_is_ignored(path: str, day: str):
    assert iso(date_in_path(path, UPLOADED).at).startswith(day)


@pytest.mark.parametrize(
    ("path", "start", "end"),
    [
        ("chirps-v2.0.2020.09.tif", "2020-09-01", "2020-09-30"),
        ("GPM.202002.tif", "2020-02-01", "2020-02-29"),
        ("wc2.1_2.5m_prec_2018-12.tif", "2018-12-01", "2018-12-31"),
        ("ESA_WorldCover_10m_2020_v100_N51E000.tif", "2020-01-01", "2020-12-31"),
        ("landcover_2018_20230405.tif", "2018-01-01", "2018-12-31"),
        ("archive/20230405/landcover_2018.tif", "2018-01-01", "2018-12-31"),
        ("2020/09/scene.tif", "2020-09-01", "2020-09-30"),
    ],
)
def test_a_month_or_a_year_is_an_interval(path: str, start: str, end: str):
    properties = date_in_path(path, UPLOADED).properties()
    assert properties == {
        "datetime": None,
        "start_datetime": f"{start}T00:00:00Z",
        "end_datetime": f"{end}T23:59:59Z",
    }
    assert read_interval(properties) == [f"{start}T00:00:00Z", f"{end}T23:59:59Z"]


@pytest.mark.parametrize("path", ["tile_2000_1024.tif", "ortho_2056.tif", "DEM2019m.tif"])
def test_numbers_that_are_not_years(path: str):
    assert date_in_path(path, UPLOADED) is None


@pytest.mark.parametrize(
    ("path", "day"),
    [
        ("flood/2021-07-14/10300100C2A12300-visual.tif", "2021-07-14"),
        ("2020/09/02/scene.tif", "2020-09-02"),
        ("2020-09-02/ortho_2020.tif", "2020-09-02"),
    ],
)
def test_dates_in_folder_names_are_found(path: str, day: str):
    found = date_in_path(path, UPLOADED)
    assert found.origin == "folder_name" and iso(found.at).startswith(day)


def test_order_of_dates():
    given = datetime(2001, 1, 1, tzinfo=timezone(timedelta(hours=2)))
    acquired = datetime(2002, 1, 1)
    path = "x_20030101.tif"
    assert choose_date(given, acquired, path, UPLOADED).origin == "parameter"
    assert choose_date(None, acquired, path, UPLOADED).origin == "source_metadata"
    assert choose_date(None, None, path, UPLOADED).origin == "file_name"
    assert choose_date(None, None, "x.tif", UPLOADED).origin == "last_modified"
    assert iso(choose_date(given, acquired, path, UPLOADED).at) == "2000-12-31T22:00:00Z"
