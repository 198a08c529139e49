"""The acquisition time in the metadata of a file."""

import pytest

from services.raster.acquisition_time import find_acquisition_time


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2020:01:02 03:04:05", "2020-01-02T03:04:05"),
        ("2020-01-02T03:04:05Z", "2020-01-02T03:04:05"),
        ("2020-01-02T03:04:05+02:00", "2020-01-02T01:04:05"),
        ("2020-01-02 03:04:05\n", "2020-01-02T03:04:05"),
        ("0000:00:00 00:00:00", None),
        ("Tue Jan  2 2020", None),
        ("", None),
    ],
)
def test_tiff_time(text, expected):
    at = find_acquisition_time({"TIFFTAG_DATETIME": text})
    assert (at and at.isoformat()) == (expected and f"{expected}+00:00")


@pytest.mark.parametrize(
    ("units", "value", "expected"),
    [
        ("days since 2000-01-01", "10", "2000-01-11T00:00:00"),
        ("days since 2000-01-01 12:00:00", "10", "2000-01-11T12:00:00"),
        ("hours since 1900-01-01 00:00:00.0", "1051896", "2020-01-01T00:00:00"),
        ("hours since 2020-01-01T06:00:00Z", "6", "2020-01-01T12:00:00"),
        ("hours since 2020-01-01 00:00:00 +02:00", "6", "2020-01-01T04:00:00"),
        ("minutes since 2019-12-31 23:30", "45", "2020-01-01T00:15:00"),
        ("Days since 2000-1-1", "31", "2000-02-01T00:00:00"),
        ("day since 2000-01-01", "31", "2000-02-01T00:00:00"),
        ("months since 2000-01-01", "14", None),
        ("days since 0001-01-01", "737425", None),
        ("days since 2000-13-01", "1", None),
        ("K", "280", None),
    ],
)
def test_netcdf_time(units, value, expected):
    at = find_acquisition_time(
        {"time#units": units, "NETCDF_DIM_time_VALUES": f"{{{value},99999}}"}
    )
    assert (at and at.isoformat()) == (expected and f"{expected}+00:00")


def test_a_time_dimension_may_have_any_name():
    tags = {"valid_time#units": "seconds since 1970-01-01", "NETCDF_DIM_valid_time": "1.6e9"}
    assert find_acquisition_time(tags).isoformat() == "2020-09-13T12:26:40+00:00"


@pytest.mark.parametrize(("calendar", "known"), [("proleptic_gregorian", True), ("360_day", False)])
def test_only_gregorian_calendars_give_a_date(calendar, known):
    units = {"time#units": "days since 1850-01-01", "time#calendar": calendar}
    assert (find_acquisition_time(units | {"NETCDF_DIM_time": "36000"}) is not None) is known


def test_coverage_of_the_whole_file_comes_last():
    tags = {"NC_GLOBAL#time_coverage_start": "2018-07-01T00:00:00Z"}
    assert find_acquisition_time(tags).isoformat() == "2018-07-01T00:00:00+00:00"
