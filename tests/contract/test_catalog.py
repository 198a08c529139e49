"""The contract of the catalogue: items in batches, and the overview of a collection."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest

from core.errors import TaskFailed, TierMissing
from core.models import ItemName, PublishedItem
from infrastructure.pgstac import PgstacCatalog
from testing.catalog import MemoryCatalog
from testing.state import MemoryState
from tests.contract.test_outputs import Writer, outputs  # noqa: F401  # a fixture

OWNER = "geolathe:source"
WRITERS = 16


@pytest.fixture
def catalog(state, outputs):  # noqa: F811  # the fixture
    if isinstance(state, MemoryState):
        return MemoryCatalog(outputs)
    return PgstacCatalog(state.pool)


def make_item(number: int, **properties: Any) -> dict[str, Any]:
    """An item whose place and time depend on its number."""
    ring = [[number, 0], [number + 1, 0], [number + 1, 1], [number, 1], [number, 0]]
    known = {"datetime": f"{1990 + number}-01-01T00:00:00Z", OWNER: f"bronze/{number}.tif"}
    return {
        "type": "Feature",
        "stac_version": "1.1.0",
        "stac_extensions": [],
        "id": f"item-{number}",
        "collection": "many",
        "bbox": [number, 0, number + 1, 1],
        "geometry": {"type": "Polygon", "coordinates": [ring]},
        "properties": known | properties,
        "assets": {"data": {"href": f"https://a.example.org/{number}.tif", "roles": ["data"]}},
        "links": [],
    }


def make_collection(first: int = 0, last: int = 0) -> dict[str, Any]:
    """The collection of the items with these numbers."""
    interval = [f"{1990 + first}-01-01T00:00:00Z", f"{1990 + last}-01-01T00:00:00Z"]
    return {
        "type": "Collection",
        "stac_version": "1.1.0",
        "id": "many",
        "description": "d",
        "license": "other",
        "links": [],
        "extent": {
            "spatial": {"bbox": [[first, 0, last + 1, 1]]},
            "temporal": {"interval": [interval]},
        },
    }


def publish(item: dict[str, Any], *outputs: int) -> PublishedItem:  # noqa: F811
    return PublishedItem(item=item, outputs=outputs)


def put(catalog, numbers, **properties):
    items = [publish(make_item(number, **properties)) for number in numbers]
    return catalog.put_items(items, make_collection(min(numbers), max(numbers)), OWNER)


def has_overview(catalog) -> bool:
    return "overview" in catalog.get_collection("many").get("assets", {})


def set_overview(catalog):
    assets = {
        "overview": {"href": "https://a.example.org/overview.tif"},
        "thumbnail": {"href": "https://a.example.org/thumbnail.png"},
    }
    assert catalog.update_collection("many", {"assets": assets})


def test_a_batch_is_stored_with_its_collection(catalog):
    assert put(catalog, range(5)) == ["created"] * 5
    assert (catalog.count_items("many"), catalog.count_items("none")) == (5, 0)
    stored = catalog.get_item("many", "item-3")
    assert stored["geometry"] == make_item(3)["geometry"]
    assert stored["properties"]["created"] == stored["properties"]["updated"]
    extent = catalog.get_collection("many")["extent"]
    assert extent["spatial"]["bbox"] == [[0, 0, 5, 1]]
    assert put(catalog, [7]) == ["created"]
    extent = catalog.get_collection("many")["extent"]
    assert extent["spatial"]["bbox"] == [[0, 0, 8, 1]]
    assert extent["temporal"]["interval"] == [["1990-01-01T00:00:00Z", "1997-01-01T00:00:00Z"]]


def test_items_are_listed_by_range(catalog):
    ids = ["B", "a", "a-1", "a.2", "a_3", "aB"]
    batch = [publish(make_item(n) | {"id": each}) for n, each in enumerate(ids)]
    catalog.put_items(batch, make_collection(0, len(ids)), OWNER)
    assert catalog.list_items("many") == sorted(ids)
    assert catalog.list_items("many", "a", "aB") == ["a", "a-1", "a.2"]
    assert catalog.list_items("many", "aB") == ["aB", "a_3"]
    assert catalog.list_items("none") == []


def test_each_item_of_a_batch_has_its_own_outcome(catalog):
    put(catalog, [0, 1, 2])
    before = catalog.get_item("many", "item-0")
    batch = [
        publish(make_item(0)),
        publish(make_item(1, gsd=2.5)),
        publish(make_item(2, **{OWNER: "bronze/other.tif"})),
        publish(make_item(3)),
    ]
    *changes, third, fourth = catalog.put_items(batch, make_collection(0, 3), OWNER)
    assert [*changes, fourth] == ["unchanged", "updated", "created"]
    assert isinstance(third, TaskFailed) and third.code == "ITEM_ID_TAKEN"
    assert catalog.get_item("many", "item-0") == before
    assert catalog.get_item("many", "item-1")["properties"]["gsd"] == 2.5
    assert catalog.get_item("many", "item-2")["properties"][OWNER] == "bronze/2.tif"
    assert catalog.get_item("many", "item-3") is not None


def test_a_batch_without_a_valid_item_leaves_nothing(catalog):
    put(catalog, [0])
    before = catalog.get_collection("many")
    other = publish(make_item(0, **{OWNER: "bronze/other.tif"}))
    [error] = catalog.put_items([other], make_collection(0, 9), OWNER)
    assert isinstance(error, TaskFailed)
    assert catalog.get_collection("many") == before


def test_outputs_are_published_with_their_items(catalog, state, outputs):  # noqa: F811
    writer = Writer(state, outputs)
    written = [writer.write(f"e{n}", location=f"folder/{n}") for n in range(3)]
    outputs.supersede(written[1], is_gone=False)
    batch = [publish(make_item(n), written[n]) for n in range(3)]
    first, second, third = catalog.put_items(batch, make_collection(0, 2), OWNER)
    assert (first, third) == ("created", "created")
    assert isinstance(second, TaskFailed) and second.code == "OUTPUT_SUPERSEDED"
    assert catalog.get_item("many", "item-1") is None
    name = ItemName(collection_id="many", item_id="item-2")
    assert outputs.get(written[2]).item == name
    assert outputs.get(written[1]).item is None


def test_an_item_that_lacks_a_published_tier_is_not_stored(catalog, state, outputs):  # noqa: F811
    writer = Writer(state, outputs)
    analysis = writer.write("e1")
    catalog.put_items([publish(make_item(0), analysis)], make_collection(), OWNER)
    archive = writer.write("e2", tier="archive")
    [error] = catalog.put_items([publish(make_item(0, gsd=3), archive)], make_collection(), OWNER)
    assert isinstance(error, TierMissing)
    assert "gsd" not in catalog.get_item("many", "item-0")["properties"]


def test_put_item_raises_the_error_of_its_item(catalog):
    assert catalog.put_item(make_item(0), make_collection(), OWNER) == "created"
    other = make_item(0, **{OWNER: "bronze/other.tif"})
    with pytest.raises(TaskFailed) as raised:
        catalog.put_item(other, make_collection(), OWNER)
    assert raised.value.code == "ITEM_ID_TAKEN"


def delete(catalog):
    updated = catalog.get_item("many", "item-1")["properties"]["updated"]
    assert catalog.delete_item("many", "item-1", updated)


def move_output(catalog, output):
    """The only output of item-1 joins an item of another collection."""
    item = make_item(1) | {"collection": "other"}
    catalog.put_items([publish(item, output)], make_collection() | {"id": "other"}, OWNER)
    assert catalog.get_item("many", "item-1") is None


def withdraw(catalog, outputs, output):  # noqa: F811
    outputs.supersede(output, is_gone=True)
    href = make_item(1)["assets"]["data"]["href"]
    assert catalog.withdraw_output(outputs.get(output), href)
    assert catalog.get_item("many", "item-1") is None


CHANGES = {
    "add": lambda catalog, *_: put(catalog, [2]),
    "update": lambda catalog, *_: put(catalog, [1], gsd=7),
    "delete": lambda catalog, *_: delete(catalog),
    "move": lambda catalog, _, output: move_output(catalog, output),
    "withdraw": withdraw,
}


@pytest.fixture
def output(catalog, state, outputs):  # noqa: F811
    """The output of item-1; item-0 has none."""
    output = Writer(state, outputs).write("e1")
    batch = [publish(make_item(0)), publish(make_item(1), output)]
    catalog.put_items(batch, make_collection(0, 1), OWNER)
    return output


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_of_an_item_drops_the_overview(catalog, outputs, output, change):  # noqa: F811
    set_overview(catalog)
    assert put(catalog, [0, 1]) == ["unchanged"] * 2
    assert has_overview(catalog)
    CHANGES[change](catalog, outputs, output)
    assert not has_overview(catalog)
    assert "thumbnail" in catalog.get_collection("many")["assets"]


def keep_overviews(outputs):  # noqa: F811
    """Note that all collections name their overviews. Returns those that were not known to be."""
    due = outputs.overviews_to_check(timedelta(0), 10)
    for overview in due:
        outputs.keep_overview(overview)
    return [overview.name for overview in due]


@pytest.mark.parametrize("change", CHANGES)
def test_an_overview_is_checked_when_its_collection_drops_it(
    catalog,
    outputs,  # noqa: F811
    output,
    change,
):
    outputs.add_overview("overview.tif", "many", "task")
    set_overview(catalog)
    assert keep_overviews(outputs) == ["overview.tif"]
    catalog.update_collection("many", {"title": "x"})
    assert put(catalog, [0, 1]) == ["unchanged"] * 2
    assert keep_overviews(outputs) == []
    CHANGES[change](catalog, outputs, output)
    assert keep_overviews(outputs) == ["overview.tif"]


def test_an_overview_is_checked_when_its_collection_is_deleted(catalog, outputs):  # noqa: F811
    outputs.add_overview("overview.tif", "many", "task")
    put(catalog, [0])
    updated = catalog.get_item("many", "item-0")["properties"]["updated"]
    assert catalog.delete_item("many", "item-0", updated)
    keep_overviews(outputs)
    assert catalog.delete_collection_if_empty("many")
    assert keep_overviews(outputs) == ["overview.tif"]


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_of_an_item_ends_the_watch(catalog, outputs, output, change):  # noqa: F811
    assert catalog.watch_items("many", "me")
    assert put(catalog, [0, 1]) == ["unchanged"] * 2
    CHANGES[change](catalog, outputs, output)
    assert not catalog.update_collection("many", {"title": "x"}, "me")
    assert catalog.get_collection("many").get("title") is None


def test_a_watch_belongs_to_one_and_ends_with_an_update(catalog):
    assert not catalog.watch_items("many", "me")
    put(catalog, [0])
    before = catalog.get_collection("many")
    assert catalog.watch_items("many", "me") and catalog.watch_items("many", "other")
    assert not catalog.update_collection("many", {"title": "x"}, "me")
    assert catalog.update_collection("many", {"title": "y"}, "other")
    assert catalog.update_collection("many", {"title": "y"}, "other"), "the answer was lost"
    assert not catalog.update_collection("many", {"title": "z"}, "other")
    assert catalog.get_collection("many") == before | {"title": "y"}


def test_items_are_compared_with_those_stored(catalog):
    put(catalog, range(3))
    assert catalog.has_items("many", [make_item(0), make_item(2)])
    assert not catalog.has_items("many", [make_item(0), make_item(3)])
    assert not catalog.has_items("many", [make_item(0), make_item(1, gsd=7)])
    assert not catalog.has_items("none", [make_item(0)])


def test_fields_of_a_collection_are_replaced_and_removed(catalog):
    put(catalog, [0])
    assert catalog.update_collection("many", {"title": "Survey", "keywords": ["a"]})
    assert catalog.update_collection("many", {"keywords": None})
    stored = catalog.get_collection("many")
    assert stored["title"] == "Survey" and "keywords" not in stored
    assert stored["extent"] == make_collection()["extent"]
    assert not catalog.update_collection("none", {"title": "x"})
    assert catalog.get_collection("none") is None


def test_writers_of_one_collection_keep_every_item(catalog):
    """Batches and single items at the same time."""

    def write(writer: int) -> list[str]:
        numbers = range(4 * writer, 4 * writer + 4)
        if writer % 2:
            return put(catalog, numbers)
        collection = make_collection(min(numbers), max(numbers))
        return [catalog.put_item(make_item(n), collection, OWNER) for n in numbers]

    with ThreadPoolExecutor(WRITERS) as writers:
        changes = [each for written in writers.map(write, range(WRITERS)) for each in written]
    assert changes == ["created"] * (4 * WRITERS)
    assert all(catalog.get_item("many", f"item-{n}") for n in range(4 * WRITERS))
    [box] = catalog.get_collection("many")["extent"]["spatial"]["bbox"]
    assert box == [0, 0, 4 * WRITERS, 1]
