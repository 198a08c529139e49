"""Searches of the STAC API by box, time, collection and CQL2."""

import httpx
import pystac_client
import pytest
from pystac_client.client import Client

from tests.fixtures.sample_items import SampleItems
from tests.fixtures.stac_validation import problems


@pytest.fixture
def client(stac_api: str, sample_items: SampleItems) -> Client:
    for name in ("rgb", "dem"):
        sample_items(name)
    return pystac_client.Client.open(stac_api)


def test_items_are_found_by_place_time_and_filter(client: Client, sample_items: SampleItems):
    middle = [15.05, 49.6, 15.1, 49.65]
    searches = [
        {"bbox": middle},
        {"datetime": "2026-01-01/2026-01-03"},
        {"ids": [sample_items("dem").item_id]},
        {
            "filter_lang": "cql2-json",
            "filter": {
                "op": "=",
                "args": [{"property": "geolathe:raster_type"}, "dem"],
            },
        },
    ]
    for search in searches:
        found = {item.id for item in client.search(collections=["test-rasters"], **search).items()}
        assert sample_items("dem").item_id in found, search
    elsewhere = client.search(collections=["test-rasters"], bbox=[100, 10, 101, 11])
    assert list(elsewhere.items()) == []


def test_served_documents_are_valid(stac_api: str, client: Client, sample_items: SampleItems):
    home = f"{stac_api}/collections/test-rasters"
    collection = httpx.get(home).json()
    assert problems(collection) == []
    assert collection["title"] == "Test rasters"
    assert {"data", "thumbnail"} <= set(collection["item_assets"])
    item = httpx.get(f"{home}/items/{sample_items('dem').item_id}").json()
    assert problems(item) == []
    relations = {link["rel"] for link in item["links"]}
    assert {"self", "collection", "derived_from", "alternate", "xyz", "wmts"} <= relations


def test_writes_are_refused(stac_api: str, sample_items: SampleItems):
    item = sample_items("dem").stac_item
    url = f"{stac_api}/collections/test-rasters/items"
    assert httpx.post(url, json=item).status_code == 405
    assert httpx.put(f"{url}/{item['id']}", json=item).status_code == 405
    assert httpx.delete(f"{url}/{item['id']}").status_code == 405


def test_health(stac_api: str):
    assert httpx.get(f"{stac_api}/_mgmt/ping").status_code == 200
    assert httpx.get(f"{stac_api}/_mgmt/health").json()["pgstac"]["pgstac_version"] == "0.10.0"
