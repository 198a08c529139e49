"""The parameter `datetime` of process_raster."""

import pytest
from pydantic import ValidationError

from jobs.process_raster import Parameters


def parse(value):
    return Parameters(blob_name="a.tif", container_name="bronze", datetime=value).datetime


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("2024-01-02", "2024-01-02T00:00:00+00:00"),
        ("2024-01-02T03:04:05Z", "2024-01-02T03:04:05+00:00"),
        ("2024-01-02T03:04:05.5+02:00", "2024-01-02T03:04:05.500000+02:00"),
    ],
)
def test_iso_8601_is_accepted(value, expected):
    parsed = parse(value)
    assert parsed.isoformat() == expected
    assert parse(parsed) == parsed


@pytest.mark.parametrize(
    "value",
    ["20240102", "2024", 2024, 20240102.0, True, "-1", "2024-01", "2024-02-30", "2024-01-02T03:04"],
)
def test_other_formats_are_rejected(value):
    with pytest.raises(ValidationError) as refused:
        parse(value)
    [error] = refused.value.errors()
    assert error["loc"] == ("datetime",)
