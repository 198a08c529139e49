"""Searches of the STAC API with boxes across the antimeridian."""

import json
import re
import uuid

import httpx
import psycopg
import pytest

WEST_SIDE = [179.8, -17.2, 180.0, -16.8]
EAST_SIDE = [-180.0, -17.2, -179.8, -16.8]
CROSSING = [179.8, -17.2, -179.8, -16.8]
FAR_AWAY = [10.0, -17.2, 11.0, -16.8]
ITEMS = {"crossing": CROSSING, "west": WEST_SIDE, "east": EAST_SIDE, "africa": FAR_AWAY}


def ring(west, south, east, north):
    return [[[west, south], [east, south], [east, north], [west, north], [west, south]]]


def item(collection, name, box, day):
    west, south, east, north = box
    parts = [box] if west < east else [WEST_SIDE, EAST_SIDE]
    geometry = {"type": "MultiPolygon", "coordinates": [ring(*part) for part in parts]}
    return {
        "type": "Feature", "stac_version": "1.1.0", "id": name, "collection": collection,
        "geometry": geometry, "bbox": [west, south, east, north],
        "properties": {"datetime": f"2026-01-{day:02}T00:00:00Z", "name": name},
        "links": [], "assets": {},
    }  # fmt: skip


@pytest.fixture(scope="module")
def collection(catalogue_url):
    """A collection with one item across the antimeridian, one on each side and one far away."""
    name = f"antimeridian-{uuid.uuid4().hex[:8]}"
    extent = {
        "spatial": {"bbox": [[-180.0, -17.2, -179.95, -16.8]]},
        "temporal": {"interval": [[None, None]]},
    }
    document = {
        "type": "Collection", "stac_version": "1.1.0", "id": name, "description": "Fiji",
        "license": "other", "links": [], "extent": extent,
    }  # fmt: skip
    items = [item(name, each, box, day) for day, (each, box) in enumerate(ITEMS.items(), 1)]
    with psycopg.connect(catalogue_url) as connection:
        connection.execute("SELECT pgstac.create_collection(%s::jsonb)", (json.dumps(document),))
        connection.execute("SELECT pgstac.create_items(%s::jsonb)", (json.dumps(items),))
    return name


@pytest.fixture(params=["GET", "POST", "items"])
def search(request, stac_api, collection):
    """Search the collection by one of the three routes. Returns the response."""

    def run(bbox, **more):
        if request.param == "POST":
            body = {"collections": [collection], "bbox": bbox, **more}
            return httpx.post(f"{stac_api}/search", json=body, timeout=60)
        query = {"bbox": ",".join(map(str, bbox))} | {
            name: json.dumps(value) if isinstance(value, dict) else value
            for name, value in more.items()
        }
        if request.param == "GET":
            query["collections"] = collection
            return httpx.get(f"{stac_api}/search", params=query, timeout=60)
        path = f"{stac_api}/collections/{collection}/items"
        return httpx.get(path, params=query, timeout=60)

    return run


def found(response):
    assert response.status_code == 200, response.text
    return [feature["id"] for feature in response.json()["features"]]


def test_the_box_of_an_item_finds_it(search):
    assert found(search(CROSSING)) == ["east", "west", "crossing"]


def test_elevations_do_not_matter(search):
    west, south, east, north = CROSSING
    assert set(found(search([west, south, 0, east, north, 100]))) == {"east", "west", "crossing"}


def test_a_box_on_one_side_finds_that_side_only(search):
    assert set(found(search([179.0, -18, 179.9, -16]))) == {"west", "crossing"}
    assert set(found(search([-179.9, -18, -179.0, -16]))) == {"east", "crossing"}


def test_a_box_around_nearly_the_whole_globe(search):
    assert set(found(search([5.0, -18, 4.0, -16]))) == set(ITEMS)
    assert set(found(search([12.0, -18, 4.0, -16]))) == {"east", "west", "crossing"}


def test_latitudes_outside_the_items_find_nothing(search):
    assert found(search([179.8, 10, -179.8, 20])) == []


def test_a_filter_applies_to_both_parts(search):
    only = {"op": "in", "args": [{"property": "name"}, ["west", "east", "africa"]]}
    response = search(CROSSING, filter=only, **{"filter-lang": "cql2-json"})
    assert found(response) == ["east", "west"]


def test_pages_follow_the_limit(search):
    response, seen = search(CROSSING, limit=1), []
    for _ in range(3):
        [name] = found(response)
        seen.append(name)
        links = [link for link in response.json()["links"] if link["rel"] == "next"]
        if not links:
            break
        [link] = links
        method, body = link.get("method", "GET"), link.get("body")
        response = httpx.request(method, link["href"], json=body, timeout=60)
    assert seen == ["east", "west", "crossing"]


@pytest.mark.parametrize(
    ("bbox", "reason"),
    [
        ([179.8, 20, -179.8, 10], "latitude"),
        ([179.8, -100, -179.8, 10], "-90"),
        ([190, -18, -170, -16], "-180"),
        ([179.8, -18, 5, -179.8, -16, 1], "elevation"),
        ([1, 2, 3], "4 or 6 values|Field required"),
    ],
)
def test_an_impossible_box_is_a_400_with_the_reason(search, bbox, reason):
    response = search(bbox)
    assert response.status_code == 400
    assert re.search(reason, response.text)


@pytest.mark.parametrize("bbox", ["nan,-18,-170,-16", "179,-18,inf,-16"])
def test_values_that_are_not_finite_are_a_400(stac_api, bbox):
    response = httpx.get(f"{stac_api}/search", params={"bbox": bbox}, timeout=60)
    assert response.status_code == 400
    assert "finite" in response.text


def test_a_box_together_with_intersects_is_a_400(stac_api):
    point = {"type": "Point", "coordinates": [180, -17]}
    body = {"bbox": CROSSING, "intersects": point}
    assert httpx.post(f"{stac_api}/search", json=body, timeout=60).status_code == 400
    query = {"bbox": ",".join(map(str, CROSSING)), "intersects": json.dumps(point)}
    assert httpx.get(f"{stac_api}/search", params=query, timeout=60).status_code == 400


def test_collections_are_found_across_the_antimeridian(stac_api, collection):
    query = {"bbox": "179.9,-17.1,-179.9,-16.9", "limit": 100}
    collections = httpx.get(f"{stac_api}/collections", params=query, timeout=60).json()
    assert collection in [each["id"] for each in collections["collections"]]
