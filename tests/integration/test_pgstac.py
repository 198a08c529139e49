"""The catalogue in the real pgSTAC: concurrent writers, upserts, owners and versions."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest
from psycopg_pool import ConnectionPool

from core.errors import GeolatheError, TaskFailed
from infrastructure.database import open_pool
from infrastructure.pgstac import PgstacCatalog
from infrastructure.pgstac_schema import migrate_pgstac
from local.stack.postgres import Cluster

WRITERS = 16
ITEMS = 400
OWNER = "geolathe:source"


@pytest.fixture
def catalog(pool: ConnectionPool) -> PgstacCatalog:
    return PgstacCatalog(pool)


def item(number: int, collection: str = "many", **properties: Any) -> dict[str, Any]:
    """An item whose place and time depend on its number."""
    west, south = -170 + 0.8 * number, -80 + 0.35 * number
    ring = [[west, south], [west + 1, south], [west + 1, south + 1], [west, south + 1]]
    when = f"{1990 + number % 30}-{number % 12 + 1:02d}-01T00:00:00Z"
    known = {"datetime": when, OWNER: f"bronze/{number}.tif", "proj:code": "EPSG:4326"}
    return {
        "type": "Feature",
        "stac_version": "1.1.0",
        "stac_extensions": [],
        "id": f"item-{number}",
        "collection": collection,
        "bbox": [west, south, west + 1, south + 1],
        "geometry": {"type": "Polygon", "coordinates": [[*ring, ring[0]]]},
        "properties": known | properties,
        "assets": {"data": {"href": f"https://a.example.org/{number}.tif", "roles": ["data"]}},
        "links": [{"rel": "derived_from", "href": f"https://a.example.org/{number}"}],
    }


def collection(of: dict[str, Any]) -> dict[str, Any]:
    when = of["properties"]["datetime"]
    return {
        "type": "Collection",
        "stac_version": "1.1.0",
        "id": of["collection"],
        "title": "Made by us",
        "description": "d",
        "license": "other",
        "links": [],
        "extent": {
            "spatial": {"bbox": [of["bbox"]]},
            "temporal": {"interval": [[when, when]]},
        },
        "item_assets": {"data": {"roles": ["data"]}, "archive": {"roles": ["data"]}},
        "summaries": {"proj:code": [of["properties"]["proj:code"]]},
    }


def put(catalog: PgstacCatalog, of: dict[str, Any]) -> str:
    return catalog.put_item(of, collection(of), OWNER)


def stored_collection(pool: ConnectionPool, name: str = "many") -> dict[str, Any]:
    with pool.connection() as conn:
        [content] = conn.execute(
            "SELECT content FROM pgstac.collections WHERE id = %s", (name,)
        ).fetchone()
    return content


def test_concurrent_writers_keep_every_item(database_url: str):
    with open_pool(database_url, max_size=WRITERS) as pool:
        catalog = PgstacCatalog(pool)
        with ThreadPoolExecutor(WRITERS) as writers:
            changes = list(writers.map(lambda n: put(catalog, item(n)), range(ITEMS)))
        assert changes == ["created"] * ITEMS
        with pool.connection() as conn:
            [found] = conn.execute("SELECT count(*) FROM pgstac.items").fetchone()
        assert found == ITEMS
        every = [item(number) for number in range(ITEMS)]
        times = sorted(one["properties"]["datetime"] for one in every)
        extent = stored_collection(pool)["extent"]
        [box], [interval] = extent["spatial"]["bbox"], extent["temporal"]["interval"]
        assert box == pytest.approx([*every[0]["bbox"][:2], *every[-1]["bbox"][2:]])
        assert interval == [times[0], times[-1]]


def test_same_item_again_writes_nothing(catalog: PgstacCatalog, pool: ConnectionPool):
    assert put(catalog, item(1)) == "created"
    before, home = catalog.get_item("many", "item-1"), stored_collection(pool)
    assert put(catalog, item(1)) == "unchanged"
    assert catalog.get_item("many", "item-1") == before
    assert stored_collection(pool) == home


def test_changed_item_is_updated_in_place(catalog: PgstacCatalog, pool: ConnectionPool):
    put(catalog, item(1))
    assert put(catalog, item(1, datetime="2024-05-01T00:00:00Z")) == "updated"
    properties = catalog.get_item("many", "item-1")["properties"]
    assert properties["datetime"] == "2024-05-01T00:00:00Z"
    assert properties["created"] < properties["updated"]
    with pool.connection() as conn:
        assert conn.execute("SELECT count(*) FROM pgstac.items").fetchone() == (1,)


def test_an_item_is_returned_unchanged(catalog: PgstacCatalog):
    numbers = {"small": 1e-7, "huge": -3.3999999521443642e38, "nested": [{"a": [1.5, 2]}, "x"]}
    given = item(3, **numbers)
    put(catalog, given)
    kept = catalog.get_item("many", "item-3")
    for stamp in ("created", "updated"):
        del kept["properties"][stamp]
    assert kept == given


def test_nulls_do_not_change_an_item(catalog: PgstacCatalog):
    """pgSTAC drops nulls; proj:code is null for a CRS without a code."""
    assert put(catalog, item(1, **{"proj:code": None})) == "created"
    assert put(catalog, item(1, **{"proj:code": None})) == "unchanged"


@pytest.mark.parametrize("nodata", [-3.3999999521443642e38, 1.7976931348623157e308, 5e-324, -0.0])
def test_numbers_of_any_size_are_kept(catalog: PgstacCatalog, nodata: float):
    """PostgreSQL writes -3.4e38 with all its digits, as a whole number."""
    one = item(1, extreme=nodata)
    assert put(catalog, one) == "created"
    assert put(catalog, one) == "unchanged"
    kept = catalog.get_item("many", one["id"])
    assert kept is not None and float(kept["properties"]["extreme"]) == nodata


def test_an_item_of_another_owner_is_kept(catalog: PgstacCatalog, pool: ConnectionPool):
    put(catalog, item(1))
    other = item(1, **{OWNER: "bronze/other.tif"})
    other["bbox"] = [-180, -90, 180, 90]
    with pytest.raises(TaskFailed, match=r"item-1.*bronze/1\.tif.*bronze/other\.tif") as failure:
        put(catalog, other)
    assert failure.value.code == "ITEM_ID_TAKEN"
    assert catalog.get_item("many", "item-1")["properties"][OWNER] == "bronze/1.tif"
    assert stored_collection(pool)["extent"]["spatial"]["bbox"] == [item(1)["bbox"]]


def test_one_of_two_concurrent_owners_succeeds(database_url: str):
    rivals = [item(1, **{OWNER: f"bronze/{n}.tif"}) for n in range(8)]

    def claim(rival: dict[str, Any]) -> str:
        try:
            return put(catalog, rival)
        except TaskFailed as failure:
            return failure.code

    with open_pool(database_url, max_size=8) as pool:
        catalog = PgstacCatalog(pool)
        with ThreadPoolExecutor(8) as writers:
            outcomes = sorted(writers.map(claim, rivals))
    assert outcomes == ["ITEM_ID_TAKEN"] * 7 + ["created"]


def test_edited_texts_of_a_collection_are_kept(catalog: PgstacCatalog, pool: ConnectionPool):
    edited = collection(item(1)) | {"title": "Forests", "license": "CC-BY-4.0"}
    catalog.put_item(item(1), edited, OWNER)
    put(catalog, item(2, **{"proj:code": "EPSG:32633"}))
    grown = stored_collection(pool)
    assert (grown["title"], grown["license"]) == ("Forests", "CC-BY-4.0")
    assert grown["summaries"]["proj:code"] == ["EPSG:4326", "EPSG:32633"]


def test_item_over_the_antimeridian_widens_to_all_longitudes(
    catalog: PgstacCatalog, pool: ConnectionPool
):
    put(catalog, item(1))
    far = item(2)
    far["bbox"] = [179, 50, -179, 51]
    put(catalog, far)
    [[west, south, east, north]] = stored_collection(pool)["extent"]["spatial"]["bbox"]
    assert (west, east) == (-180, 180)
    assert (south, north) == (item(1)["bbox"][1], 51)


def test_deleting_is_repeatable(catalog: PgstacCatalog):
    put(catalog, item(1))
    updated = catalog.get_item("many", "item-1")["properties"]["updated"]
    assert not catalog.delete_item("many", "item-1", "2020-01-01T00:00:00Z")
    assert catalog.delete_item("many", "item-1", updated)
    assert not catalog.delete_item("many", "item-1", updated)
    assert catalog.get_item("many", "item-1") is None


def test_search_path_does_not_leak(catalog: PgstacCatalog, pool: ConnectionPool):
    put(catalog, item(1))
    connections = [pool.getconn() for _ in range(pool.get_stats()["pool_size"])]
    try:
        for conn in connections:
            assert "pgstac" not in conn.execute("SHOW search_path").fetchone()[0]
    finally:
        for conn in connections:
            pool.putconn(conn)


def test_version_is_checked(catalog: PgstacCatalog, database_url: str):
    assert catalog.check_version().startswith("0.10.")
    with psycopg.connect(database_url, autocommit=True) as conn:
        conn.execute("UPDATE pgstac.migrations SET version = '0.8.1'")
    with pytest.raises(GeolatheError, match=r"0\.8\.1.*infrastructure\.migrate"):
        catalog.check_version()


def test_missing_pgstac_is_named(cluster: Cluster):
    name = "without_pgstac"
    url = cluster.create_database(name)
    try:
        with (
            open_pool(url, max_size=1) as pool,
            pytest.raises(GeolatheError, match="no pgSTAC"),
        ):
            PgstacCatalog(pool).check_version()
    finally:
        cluster.drop_database(name)


def test_migrating_again_changes_nothing(owner_url: str, catalog: PgstacCatalog):
    put(catalog, item(1))
    assert migrate_pgstac(owner_url) == catalog.check_version()
    assert catalog.get_item("many", "item-1") is not None


def test_a_missing_right_to_create_extensions_is_explained(cluster: Cluster):
    name, role = "poor", "poor_role"
    url = cluster.create_database(name)
    with psycopg.connect(url, autocommit=True) as conn:
        conn.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'x'")
        conn.execute(f"GRANT CREATE ON DATABASE {name} TO {role}")
    try:
        with pytest.raises(GeolatheError, match=r"postgis.*CREATE EXTENSION postgis"):
            migrate_pgstac(psycopg.conninfo.make_conninfo(url, user=role, password="x"))
    finally:
        cluster.drop_database(name)
        with psycopg.connect(cluster.dsn(), autocommit=True) as conn:
            conn.execute(f"DROP ROLE {role}")
