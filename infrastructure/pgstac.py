"""STAC items in pgSTAC, through the pool that also serves the state.

pgSTAC adjusts partitions while it inserts, and parallel inserts into one collection deadlock
or lose rows (stac-utils/pgstac issues 211 and 285). Writers of one collection
therefore take an advisory lock, the item is read back in the same transaction, and deadlocks are
retried.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import version as installed_version
from typing import Any, cast

from psycopg import Connection
from psycopg.types.json import Jsonb
from psycopg_pool import ConnectionPool

from core.assets import MAIN_ASSET
from core.errors import GeolatheError, TaskFailed, TierMissing
from core.models import ItemName, Json, Output
from core.ports import ItemChange, PublishOutcome
from infrastructure.collection_extent import merge_collections
from infrastructure.database import checked, retried, transaction
from infrastructure.outputs import publish_outputs

# Set by the catalogue and ignored in comparisons of items.
STAMPS = ("created", "updated")


class PgstacCatalog:
    """The Catalog port over pgSTAC."""

    def __init__(self, pool: ConnectionPool[Any]) -> None:
        self.pool = pool

    @retried
    def put_item(
        self, item: Json, collection: Json, owner: str | None = None, outputs: Sequence[int] = ()
    ) -> ItemChange:
        """Store the item, publish its outputs, and create or widen its collection, atomically."""
        with self._transaction() as conn:
            lock_collection(conn, item["collection"])
            grow_collection(conn, collection)
            stored = stored_item(conn, item["collection"], item["id"])
            if owner is not None and stored is not None:
                refuse_other_owner(stored, item, owner)
            if outputs:
                publish(conn, item, outputs)
            if stored is not None and strip_stamps(stored) == strip_stamps(item):
                return "unchanged"
            write_item(conn, stamp(item, stored), stored is not None)
            read_back(conn, item)
            return "created" if stored is None else "updated"

    @retried
    def get_item(self, collection_id: str, item_id: str) -> Json | None:
        with self._transaction() as conn:
            return stored_item(conn, collection_id, item_id)

    @retried
    def delete_item(self, collection_id: str, item_id: str, updated: str) -> bool:
        """Remove the item if it was last written at `updated`, and supersede its outputs."""
        with self._transaction() as conn:
            lock_collection(conn, collection_id)
            stored = stored_item(conn, collection_id, item_id)
            if stored is None or stored["properties"].get("updated", "") != updated:
                return False
            remove_item(conn, collection_id, item_id)
            supersede_outputs(conn, collection_id, item_id)
            return True

    @retried
    def withdraw_output(self, output: Output, href: str) -> bool:
        """Take a stale output out of its item, or remove the item: all or nothing."""
        if output.item is None:
            return False
        collection_id, item_id = output.item.collection_id, output.item.item_id
        with self._transaction() as conn:
            lock_collection(conn, collection_id)
            if not detach_stale(conn, output.output_id):
                return False
            stored = stored_item(conn, collection_id, item_id)
            if stored is None:
                return True
            assets = {k: asset for k, asset in stored["assets"].items() if asset["href"] != href}
            if MAIN_ASSET in assets:
                write_item(conn, stamp({**stored, "assets": assets}, stored), True)
            else:
                remove_item(conn, collection_id, item_id)
                supersede_outputs(conn, collection_id, item_id)
            return True

    @retried
    def collection_key(self, collection_id: str) -> int | None:
        """The number that pgSTAC gave the collection when it was created."""
        with self._transaction() as conn:
            query = "SELECT key FROM collections WHERE id = %s"
            row = conn.execute(query, (collection_id,)).fetchone()
        return None if row is None else int(row[0])

    @retried
    def delete_collection_if_empty(self, collection_id: str) -> bool:
        """Delete a collection. Returns False if it does not exist or has items."""
        query = "SELECT EXISTS (SELECT FROM items WHERE collection = %s)"
        with self._transaction() as conn:
            lock_collection(conn, collection_id)
            if conn.execute(query, (collection_id,)).fetchone() == (True,):
                return False
            # Its trigger drops the partition, so no open statement may read the items.
            deleted = conn.execute("DELETE FROM collections WHERE id = %s", (collection_id,))
            return deleted.rowcount > 0

    @checked
    def check_version(self) -> str:
        """The version of pgSTAC in the database. Raises if this release does not support it."""
        wanted = installed_version("pypgstac")
        with self._transaction() as conn:
            found = pgstac_version(conn)
        if found is None:
            raise GeolatheError(
                "the database has no pgSTAC: run `python -m infrastructure.migrate`",
                "PGSTAC_MISSING",
            )
        if found.split(".")[:2] != wanted.split(".")[:2]:
            raise GeolatheError(
                f"the database has pgSTAC {found}, this release works with {wanted}:"
                " run `python -m infrastructure.migrate`",
                "PGSTAC_VERSION",
            )
        return found

    @contextmanager
    def _transaction(self) -> Iterator[Connection[Any]]:
        """A transaction with pgSTAC in the search path, which is reset at its end."""
        with transaction(self.pool) as conn:
            conn.execute("SET LOCAL search_path TO pgstac, public")
            yield conn


def lock_collection(conn: Connection[Any], collection_id: str) -> None:
    """Wait for the other writers of this collection; the lock ends with the transaction."""
    query = "SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))"
    conn.execute(query, (f"stac collection {collection_id}",))


def grow_collection(conn: Connection[Any], offered: Json) -> None:
    """Create the collection if it is missing, else widen it. Writes only changes."""
    query = "SELECT content FROM collections WHERE id = %s"
    row = conn.execute(query, (offered["id"],)).fetchone()
    if row is None:
        conn.execute("SELECT create_collection(%s)", (Jsonb(offered),))
        return
    grown = merge_collections(row[0], offered)
    if grown != row[0]:
        conn.execute("SELECT update_collection(%s)", (Jsonb(grown),))


def publish(conn: Connection[Any], item: Json, outputs: Sequence[int]) -> None:
    """Publish the outputs of an item, and delete items that have no output left."""
    name = ItemName(collection_id=item["collection"], item_id=item["id"])
    published = publish_outputs(conn, outputs, name)
    if published.outcome is PublishOutcome.SUPERSEDED:
        by = published.superseded_by or "another job, or by hand"
        raise TaskFailed(
            "OUTPUT_SUPERSEDED",
            f"an output of item {item['id']!r} was superseded by {by} before it was published;"
            " submit the request again to make it once more",
        )
    if published.outcome is PublishOutcome.INCOMPLETE:
        raise TierMissing(f"item {item['id']!r}: another tier was published meanwhile")
    for vacated in published.vacated:
        remove_item(conn, vacated.collection_id, vacated.item_id)


def stored_item(conn: Connection[Any], collection_id: str, item_id: str) -> Json | None:
    row = conn.execute("SELECT get_item(%s, %s)", (item_id, collection_id)).fetchone()
    return None if row is None else row[0]


def write_item(conn: Connection[Any], item: Json, is_stored: bool) -> None:
    """Create or replace an item.

    Not by upsert_item: its staging trigger joins every partition, so it slows down as the
    catalogue grows.
    """
    if is_stored:
        remove_item(conn, item["collection"], item["id"])
    conn.execute("SELECT create_item(%s)", (Jsonb(item),))


def remove_item(conn: Connection[Any], collection_id: str, item_id: str) -> None:
    conn.execute("DELETE FROM items WHERE collection = %s AND id = %s", (collection_id, item_id))


def supersede_outputs(conn: Connection[Any], collection_id: str, item_id: str) -> None:
    """Supersede the outputs of an item that is removed."""
    conn.execute(
        """UPDATE app.outputs
              SET superseded_at = coalesce(superseded_at, now()), is_stale = false
            WHERE collection_id = %s AND item_id = %s
              AND (is_stale OR superseded_at IS NULL AND removed_at IS NULL)""",
        (collection_id, item_id),
    )


def detach_stale(conn: Connection[Any], output_id: int) -> bool:
    """Separate a stale output from its item. A live one stays: its job may be retried."""
    query = """UPDATE app.outputs SET is_stale = false, collection_id = NULL, item_id = NULL
                WHERE output_id = %s AND is_stale"""
    return conn.execute(query, (output_id,)).rowcount > 0


def refuse_other_owner(stored: Json, item: Json, owner: str) -> None:
    current, other = stored["properties"].get(owner), item["properties"].get(owner)
    if current != other:
        raise TaskFailed(
            "ITEM_ID_TAKEN",
            f"item_id {item['id']!r} of collection {item['collection']!r} belongs to {current!r},"
            f" not to {other!r}: choose another item_id or collection_id",
        )


def read_back(conn: Connection[Any], item: Json) -> None:
    """Check that pgSTAC stored the item unchanged."""
    kept = stored_item(conn, item["collection"], item["id"])
    if kept is None or strip_stamps(kept) != strip_stamps(item):
        state = "did not keep" if kept is None else "altered"
        raise GeolatheError(
            f"pgSTAC {state} item {item['id']!r} of collection {item['collection']!r}",
            "ITEM_NOT_KEPT",
        )


def strip_stamps(item: Json) -> Json:
    """The item without its time stamps, for the comparison with the stored one."""
    properties = {k: v for k, v in item["properties"].items() if k not in STAMPS}
    stripped = normalize({**item, "properties": properties})
    return cast(Json, stripped)


def normalize(value: object) -> object:
    """A JSON value as pgSTAC returns it: nulls are dropped, 1e38 becomes an integer."""
    if isinstance(value, dict):
        return {k: normalize(v) for k, v in value.items() if v is not None}
    if isinstance(value, list):
        return [normalize(v) for v in value]
    if isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    return value


def stamp(item: Json, stored: Json | None) -> Json:
    """The item with `created` from the first time that it was stored, and `updated` now."""
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    created = now if stored is None else stored["properties"].get("created", now)
    stamps = {"created": created, "updated": now}
    return {**item, "properties": {**item["properties"], **stamps}}


def pgstac_version(conn: Connection[Any]) -> str | None:
    """The installed version; None in a database without pgSTAC."""
    row = conn.execute("SELECT to_regclass('pgstac.migrations') IS NOT NULL").fetchone()
    if row is None or not row[0]:
        return None
    found = conn.execute("SELECT pgstac.get_version()").fetchone()
    return None if found is None else str(found[0])
