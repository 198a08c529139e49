"""When a raster was taken: which of several dates counts, and what in a name is one."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from services.stac.dates import date_in_name, iso, item_datetime

UPLOADED = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("m_4208701_ne_16_060_20200902.tif", "2020-09-02T00:00:00Z"),
        ("AST_L1T_00305032000040446_20150409135350_78838.tif", "2015-04-09T13:53:50Z"),
        ("S2A_MSIL1C_20170729T154911_N0205.jp2", "2017-07-29T15:49:11Z"),
        ("flood 2021-07-14 10-30-00.tif", "2021-07-14T00:00:00Z"),
        ("dem_2019.12.31.tif", "2019-12-31T00:00:00Z"),
        ("MOD09A1.A2020246.h18v04.006.tif", "2020-09-02T00:00:00Z"),
        ("archive/20200101/scene.tif", None),
        ("scene_20201399.tif", None),
        ("scene_20200231.tif", None),
        ("tile_19001900.tif", None),
        ("order_20990101.tif", None),
        ("dctest.tif", None),
        ("sheet_123420200902.tif", None),
    ],
)
def test_date_in_a_name(name: str, expected: str | None):
    found = date_in_name(name, UPLOADED)
    assert (iso(found) if found else None) == expected


def test_order_of_dates():
    given = datetime(2001, 1, 1, tzinfo=timezone(timedelta(hours=2)))
    acquired = datetime(2002, 1, 1)
    name = "x_20030101.tif"
    assert item_datetime(given, acquired, name, UPLOADED).origin == "parameter"
    assert item_datetime(None, acquired, name, UPLOADED).origin == "source_metadata"
    assert item_datetime(None, None, name, UPLOADED).origin == "file_name"
    assert item_datetime(None, None, "x.tif", UPLOADED).origin == "last_modified"
    assert iso(item_datetime(given, acquired, name, UPLOADED).at) == "2000-12-31T22:00:00Z"
