"""How a collection grows by one item."""

from typing import Any

import pytest

from core.collection_extent import merge_collections, union_bbox


def collection(**changes: Any) -> dict[str, Any]:
    known = {
        "id": "c",
        "title": "Edited",
        "extent": {
            "spatial": {"bbox": [[0, 0, 1, 1]]},
            "temporal": {"interval": [["2020-01-01T00:00:00Z", "2020-01-01T00:00:00Z"]]},
        },
        "item_assets": {"data": {"title": "COG"}},
        "summaries": {"proj:code": ["EPSG:4326"], "gsd": {"minimum": 10, "maximum": 10}},
    }
    return known | changes


def extent(box: list[float], start: str | None, end: str | None) -> dict[str, Any]:
    return {"spatial": {"bbox": [box]}, "temporal": {"interval": [[start, end]]}}


def test_an_item_within_the_extent_changes_nothing():
    assert merge_collections(collection(), collection()) == collection()
    grown = merge_collections(collection(), collection(extent=extent([5, 5, 6, 6], None, None)))
    assert merge_collections(grown, collection()) == grown


def test_extent_covers_both():
    offered = collection(
        extent=extent([-5, 2, 0.5, 3], "2019-06-01T00:00:00Z", "2021-01-01T00:00:00Z")
    )
    grown = merge_collections(collection(), offered)["extent"]
    assert grown == extent([-5, 0, 1, 3], "2019-06-01T00:00:00Z", "2021-01-01T00:00:00Z")


def test_times_are_compared_as_times():
    stored = collection(
        extent=extent([0, 0, 1, 1], "2020-01-01T00:00:00.500+02:00", "2020-01-01T01:00:00Z")
    )
    offered = collection(
        extent=extent([0, 0, 1, 1], "2019-12-31T23:00:00Z", "2019-12-31T23:00:00Z")
    )
    [interval] = merge_collections(stored, offered)["extent"]["temporal"]["interval"]
    assert interval == ["2020-01-01T00:00:00.500+02:00", "2020-01-01T01:00:00Z"]


def test_open_interval_stays_open():
    stored = collection(extent=extent([0, 0, 1, 1], None, None))
    assert merge_collections(stored, collection())["extent"]["temporal"]["interval"] == [
        [None, None]
    ]


def test_height_of_a_box_is_left_out():
    stored = collection(extent=extent([0, 0, -10, 1, 1, 10], None, None))
    assert merge_collections(stored, collection())["extent"]["spatial"]["bbox"] == [[0, 0, 1, 1]]


def test_edited_texts_are_kept():
    stored = collection(title="Forests", item_assets={"data": {"title": "Theirs"}})
    offered = collection(item_assets={"data": {"title": "COG"}, "archive": {"title": "COG"}})
    grown = merge_collections(stored, offered)
    assert grown["title"] == "Forests"
    assert grown["item_assets"] == {"data": {"title": "Theirs"}, "archive": {"title": "COG"}}


def test_summaries_grow():
    offered = collection(
        summaries={"proj:code": ["EPSG:32633"], "gsd": {"minimum": 3, "maximum": 30}, "new": ["x"]}
    )
    assert merge_collections(collection(), offered)["summaries"] == {
        "proj:code": ["EPSG:4326", "EPSG:32633"],
        "gsd": {"minimum": 3, "maximum": 30},
        "new": ["x"],
    }


@pytest.mark.parametrize(
    ("one", "other", "both"),
    [
        ([0, 0, 1, 1], [2, 2, 3, 3], [0, 0, 3, 3]),
        ([0, 0, 1, 1], [170, -5, -170, 5], [-180, -5, 180, 5]),
        ([170, -5, -170, 5], [0, 0, 1, 1], [-180, -5, 180, 5]),
        ([-180, -90, 180, 90], [1, 1, 2, 2], [-180, -90, 180, 90]),
    ],
)
def test_union_of_boxes(one: list[float], other: list[float], both: list[float]):
    assert union_bbox(one, other) == both
