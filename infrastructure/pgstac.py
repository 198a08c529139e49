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

from core.assets import MAIN_ASSET, OVERVIEW_ASSET, WATCH
from core.collection_extent import merge_collections
from core.errors import GeolatheError, TaskFailed, TierMissing
from core.models import ItemName, Json, Output, PublishedItem
from core.ports import ItemChange, Published, PublishOutcome
from infrastructure.database import checked, retried, transaction
from infrastructure.outputs import publish_batch, recheck_overviews

# Set by the catalogue and ignored in comparisons of items.
STAMPS = ("created", "updated")


class PgstacCatalog:
    """The Catalog port over pgSTAC."""

    def __init__(self, pool: ConnectionPool[Any]) -> None:
        self.pool = pool

    def put_item(
        self, item: Json, collection: Json, owner: str | None = None, outputs: Sequence[int] = ()
    ) -> ItemChange:
        """Store the item, publish its outputs, and create or widen its collection, atomically."""
        published = PublishedItem(item=item, outputs=tuple(outputs))
        [change] = self.put_items([published], collection, owner)
        if isinstance(change, GeolatheError):
            raise change
        return change

    @retried
    def put_items(
        self, items: Sequence[PublishedItem], collection: Json, owner: str | None = None
    ) -> list[ItemChange | GeolatheError]:
        """Store the items and what belongs to them under one lock, with one look at the stored."""
        collection_id, ids = collection["id"], [each.item["id"] for each in items]
        with self._transaction() as conn:
            lock_collection(conn, collection_id)
            stored = stored_items(conn, collection_id, ids)
            errors = refuse_other_owners(items, stored, owner)
            errors |= publish(conn, [each for each in items if each.item["id"] not in errors])
            accepted = [each.item for each in items if each.item["id"] not in errors]
            changed = [each for each in accepted if not is_same(stored.get(each["id"]), each)]
            if accepted:
                grow_collection(conn, collection)
            if changed:
                write_items(conn, collection_id, changed, stored)
                drop_overview(conn, collection_id)
        kept = stored.keys() - {each["id"] for each in changed}
        return [
            errors.get(name) or ("unchanged" if name in kept else _change(name in stored))
            for name in ids
        ]

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
            remove_items(conn, collection_id, [item_id])
            supersede_outputs(conn, collection_id, item_id)
            drop_overview(conn, collection_id)
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
                left = {**stored, "assets": assets}
                write_items(conn, collection_id, [left], {item_id: stored})
            else:
                remove_items(conn, collection_id, [item_id])
                supersede_outputs(conn, collection_id, item_id)
                drop_overview(conn, collection_id)
            return True

    @retried
    def get_collection(self, collection_id: str) -> Json | None:
        with self._transaction() as conn:
            return stored_collection(conn, collection_id)

    @retried
    def has_items(self, collection_id: str, items: Sequence[Json]) -> bool:
        with self._transaction() as conn:
            stored = stored_items(conn, collection_id, [each["id"] for each in items])
        return all(is_same(stored.get(each["id"]), each) for each in items)

    def watch_items(self, collection_id: str, watcher: str) -> bool:
        return self.update_collection(collection_id, {WATCH: watcher})

    @retried
    def update_collection(
        self, collection_id: str, fields: Json, watcher: str | None = None
    ) -> bool:
        """Replace top-level fields of the collection; None removes one."""
        with self._transaction() as conn:
            lock_collection(conn, collection_id)
            stored = held_collection(conn, collection_id)
            if stored is None:
                return False
            if watcher not in (None, stored.get(WATCH)):
                # The answer to the call that stored them may have been lost.
                return all(stored.get(key) == value for key, value in fields.items())
            replace_collection(conn, stored, stored | {WATCH: None} | fields)
            return True

    @retried
    def count_items(self, collection_id: str) -> int:
        with self._transaction() as conn:
            query = "SELECT count(*) FROM items WHERE collection = %s"
            row = conn.execute(query, (collection_id,)).fetchone()
        return 0 if row is None else int(row[0])

    @retried
    def list_items(self, collection_id: str, first: str = "", stop: str | None = None) -> list[str]:
        with self._transaction() as conn:
            found = conn.execute(
                """SELECT id FROM items
                    WHERE collection = %s AND id >= %s COLLATE "C"
                      AND (%s::text IS NULL OR id < %s COLLATE "C")
                    ORDER BY id COLLATE "C"
                """,
                (collection_id, first, stop, stop),
            )
            return [name for (name,) in found]

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
            recheck_overviews(conn, collection_id)
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
    stored = stored_collection(conn, offered["id"])
    if stored is None:
        conn.execute("SELECT create_collection(%s)", (Jsonb(offered),))
        return
    replace_collection(conn, stored, merge_collections(stored, offered))


def stored_collection(conn: Connection[Any], collection_id: str) -> Json | None:
    query = "SELECT content FROM collections WHERE id = %s"
    row = conn.execute(query, (collection_id,)).fetchone()
    return None if row is None else row[0]


def held_collection(conn: Connection[Any], collection_id: str) -> Json | None:
    """The collection, locked against changes until the end of the transaction.

    Items can leave a collection without its lock, when their outputs join another collection.
    """
    query = "SELECT content FROM collections WHERE id = %s FOR UPDATE"
    row = conn.execute(query, (collection_id,)).fetchone()
    return None if row is None else row[0]


def replace_collection(conn: Connection[Any], stored: Json, changed: Json) -> None:
    """Write the collection if it differs, without the fields that are None."""
    written = {key: value for key, value in changed.items() if value is not None}
    if written != stored:
        conn.execute("SELECT update_collection(%s)", (Jsonb(written),))
    if _overview(written) != _overview(stored):
        recheck_overviews(conn, stored["id"])


def _overview(collection: Json) -> Json | None:
    overview: Json | None = collection.get("assets", {}).get(OVERVIEW_ASSET)
    return overview


def drop_overview(conn: Connection[Any], collection_id: str) -> None:
    """Take the overview out of a collection whose items have changed, and end its watch."""
    stored = held_collection(conn, collection_id)
    if stored is None:
        return
    changed = stored | {WATCH: None}
    if OVERVIEW_ASSET in stored.get("assets", {}):
        changed["assets"] = {k: v for k, v in stored["assets"].items() if k != OVERVIEW_ASSET}
    replace_collection(conn, stored, changed)


def publish(conn: Connection[Any], items: Sequence[PublishedItem]) -> dict[str, GeolatheError]:
    """Publish the outputs of items, and delete items that have no output left.

    Returns the errors of those that cannot be published, by the ids of their items.
    """
    errors: dict[str, GeolatheError] = {}
    owning = [each for each in items if each.outputs]
    names = [
        ItemName(collection_id=each.item["collection"], item_id=each.item["id"]) for each in owning
    ]
    outputs = [each.outputs for each in owning]
    for name, published in zip(
        names, publish_batch(conn, list(zip(outputs, names, strict=True))), strict=True
    ):
        if published.outcome is PublishOutcome.SUPERSEDED:
            errors[name.item_id] = _superseded(name, published)
        elif published.outcome is PublishOutcome.INCOMPLETE:
            text = f"item {name.item_id!r}: another tier was published meanwhile"
            errors[name.item_id] = TierMissing(text)
        for vacated in published.vacated:
            remove_items(conn, vacated.collection_id, [vacated.item_id])
            drop_overview(conn, vacated.collection_id)
    return errors


def _superseded(name: ItemName, published: Published) -> TaskFailed:
    by = published.superseded_by or "another job, or by hand"
    return TaskFailed(
        "OUTPUT_SUPERSEDED",
        f"an output of item {name.item_id!r} was superseded by {by} before it was published;"
        " submit the request again to make it once more",
    )


def _change(was_stored: bool) -> ItemChange:
    return "updated" if was_stored else "created"


def stored_item(conn: Connection[Any], collection_id: str, item_id: str) -> Json | None:
    return stored_items(conn, collection_id, [item_id]).get(item_id)


def stored_items(conn: Connection[Any], collection_id: str, ids: Sequence[str]) -> dict[str, Json]:
    """Those of the items that are stored, by id."""
    query = "SELECT id, content_hydrate(items) FROM items WHERE collection = %s AND id = ANY (%s)"
    return dict(conn.execute(query, (collection_id, list(ids))).fetchall())


def write_items(
    conn: Connection[Any], collection_id: str, items: Sequence[Json], stored: dict[str, Json]
) -> None:
    """Create or replace items, with their stamps, and check that pgSTAC kept them unchanged.

    Not by upsert_items: its staging trigger joins every partition, so it slows down as the
    catalogue grows.
    """
    stamped = [stamp(each, stored.get(each["id"])) for each in items]
    ids = [each["id"] for each in items]
    replaced = [name for name in ids if name in stored]
    if replaced:
        remove_items(conn, collection_id, replaced)
    conn.execute("SELECT create_items(%s)", (Jsonb(stamped),))
    kept = stored_items(conn, collection_id, ids)
    for each in items:
        read_back(kept.get(each["id"]), each)


def remove_items(conn: Connection[Any], collection_id: str, ids: Sequence[str]) -> None:
    query = "DELETE FROM items WHERE collection = %s AND id = ANY (%s)"
    conn.execute(query, (collection_id, list(ids)))


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


def refuse_other_owners(
    items: Sequence[PublishedItem], stored: dict[str, Json], owner: str | None
) -> dict[str, GeolatheError]:
    """The errors of items whose id belongs to another owner, by id."""
    errors: dict[str, GeolatheError] = {}
    for item in (each.item for each in items if owner is not None):
        if item["id"] not in stored:
            continue
        current, other = stored[item["id"]]["properties"].get(owner), item["properties"].get(owner)
        if current != other:
            errors[item["id"]] = TaskFailed(
                "ITEM_ID_TAKEN",
                f"item_id {item['id']!r} of collection {item['collection']!r} belongs to"
                f" {current!r}, not to {other!r}: choose another item_id or collection_id",
            )
    return errors


def is_same(stored: Json | None, item: Json) -> bool:
    """Whether this very item is stored, apart from its stamps."""
    return stored is not None and strip_stamps(stored) == strip_stamps(item)


def read_back(kept: Json | None, item: Json) -> None:
    """Check that pgSTAC stored the item unchanged."""
    if not is_same(kept, item):
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
