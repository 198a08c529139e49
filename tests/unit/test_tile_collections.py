"""What the tile server reads from the document of a collection."""

import pytest

from tiles.collections import Collection, Overview


def collection(**document) -> Collection:
    return Collection("survey", document)


@pytest.mark.parametrize(
    ("box", "bounds"),
    [
        ([14, 50, 15, 51], (14, 50, 15, 51)),
        ([14, 50, -3, 15, 51, 900], (14, 50, 15, 51)),
        ([179, -18, -179, -16], (-180, -18, 180, -16)),
    ],
)
def test_bounds_are_two_dimensional_and_ordered(box, bounds):
    assert collection(extent={"spatial": {"bbox": [box]}}).bounds == bounds


def test_a_collection_without_an_extent_is_the_world():
    assert collection().bounds == (-180, -90, 180, 90)


def test_an_overview_needs_its_zoom():
    asset = {"href": "https://storage.test/silver/overview.tif"}
    assert collection(assets={"overview": asset}).overview is None
    known = collection(assets={"overview": asset | {"geolathe:maxzoom": 14}})
    assert known.overview == Overview(asset["href"], 14)


def test_the_default_render_names_the_asset_and_the_zooms():
    render = {"assets": ["visualization"], "minmax_zoom": [9, 17]}
    known = collection(renders={"default": render})
    assert (known.asset, known.zooms) == ("visualization", (9, 17))
    assert (collection().asset, collection().zooms) == ("data", None)
