"""Names of COGs and ids of their items."""

import pytest

from core.models import BlobRef
from services.storage.naming import (
    describe_owner,
    locate_cog,
    make_item_id,
    name_cog,
    propose_locations,
)


@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [
        ("dctest.tif", {"folder": "cogs/my_test"}, "cogs/my_test/dctest"),
        ("in/b.tiff", {}, "in/b"),
        ("in/S2 20m.jp2", {}, "in/S2_20m"),
        ("in/c.nc", {"subdataset": "rain"}, "in/c_rain"),
        ("in/c.tif", {"target_crs": "EPSG:32633"}, "in/c_epsg32633"),
        ("in/c.tif", {"target_crs": "native"}, "in/c_native"),
    ],
)
def test_the_simplest_location_is_proposed_first(name, options, expected):
    known = {"folder": None, "subdataset": None, "target_crs": "EPSG:4326"} | options
    source = BlobRef(container="bronze", name=name)
    proposed = propose_locations(source, **known)
    assert proposed[0] == expected and len(set(proposed)) == len(proposed)


def test_a_cog_is_named_by_its_location_and_tier():
    name = name_cog("cogs/my_test/dctest", "analysis")
    assert name == "cogs/my_test/dctest_cog_analysis.tif"
    assert locate_cog(name, "analysis") == "cogs/my_test/dctest"


def test_similar_locations_have_different_items():
    names = ["a/b", "a-b", "a_b", "A/b"]
    ids = {make_item_id(container, name) for container in ("silver", "gold") for name in names}
    assert len(ids) == 8
    assert make_item_id("silver", "cogs/Größe 1").startswith("groe-1-")
    assert make_item_id("silver", "雪").startswith("raster-")


def test_a_difference_in_any_part_is_another_owner():
    source = BlobRef(container="bronze", name="a.nc")
    owners = {
        describe_owner(source, subdataset, crs)
        for subdataset in (None, "rain", "snow") for crs in ("EPSG:4326", "native")
    }  # fmt: skip
    assert len(owners) == 6
