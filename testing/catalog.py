"""The catalogue in memory. It passes the same contract suite as pgSTAC."""

import itertools
import threading
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import UTC, datetime

from core.assets import MAIN_ASSET, OVERVIEW_ASSET, WATCH
from core.collection_extent import merge_collections
from core.errors import GeolatheError, TaskFailed, TierMissing
from core.models import ItemName, Json, Output, PublishedItem
from core.ports import ItemChange, OutputRegistry, PublishOutcome
from testing.outputs import MemoryOutputs

STAMPS = ("created", "updated")


@dataclass
class MemoryCatalog:
    """The Catalog port. It publishes outputs in the given registry."""

    outputs: OutputRegistry = field(default_factory=MemoryOutputs)
    items: dict[ItemName, Json] = field(default_factory=dict)
    collections: dict[str, Json] = field(default_factory=dict)
    _keys: dict[str, int] = field(default_factory=dict)
    _counter: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1))
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def put_item(
        self, item: Json, collection: Json, owner: str | None = None, outputs: Sequence[int] = ()
    ) -> ItemChange:
        published = PublishedItem(item=item, outputs=tuple(outputs))
        [change] = self.put_items([published], collection, owner)
        if isinstance(change, GeolatheError):
            raise change
        return change

    def put_items(
        self, items: Sequence[PublishedItem], collection: Json, owner: str | None = None
    ) -> list[ItemChange | GeolatheError]:
        with self._lock:
            changes = [self._put(each, owner) for each in items]
            self._grow(collection, changes)
            return changes

    def get_item(self, collection_id: str, item_id: str) -> Json | None:
        return deepcopy(self.items.get(_name(collection_id, item_id)))

    def delete_item(self, collection_id: str, item_id: str, updated: str) -> bool:
        name = _name(collection_id, item_id)
        stored = self.items.get(name)
        if stored is None or stored["properties"].get("updated", "") != updated:
            return False
        self._remove(name)
        self._supersede_outputs(name)
        return True

    def withdraw_output(self, output: Output, href: str) -> bool:
        """Without the asset, or without the item if it was the main asset."""
        current = self.outputs.get(output.output_id)
        if current is None or not current.is_stale or current.item is None:
            return False
        name, stored = current.item, self.items.get(current.item)
        if stored is not None:
            assets = {k: asset for k, asset in stored["assets"].items() if asset["href"] != href}
            self.items[name] = _stamp({**stored, "assets": assets}, stored)
            if MAIN_ASSET not in assets:
                self._remove(name)
                self._supersede_outputs(name)
        return True

    def get_collection(self, collection_id: str) -> Json | None:
        return deepcopy(self.collections.get(collection_id))

    def has_items(self, collection_id: str, items: Sequence[Json]) -> bool:
        stored = [self.items.get(_name(collection_id, each["id"])) for each in items]
        return all(
            kept is not None and _strip(kept) == _strip(each)
            for kept, each in zip(stored, items, strict=True)
        )

    def watch_items(self, collection_id: str, watcher: str) -> bool:
        return self.update_collection(collection_id, {WATCH: watcher})

    def update_collection(
        self, collection_id: str, fields: Json, watcher: str | None = None
    ) -> bool:
        with self._lock:
            stored = self.collections.get(collection_id)
            if stored is None:
                return False
            if watcher not in (None, stored.get(WATCH)):
                # The answer to the call that stored them may have been lost.
                return all(stored.get(key) == value for key, value in fields.items())
            changed = stored | {WATCH: None} | fields
            kept = {key: value for key, value in changed.items() if value is not None}
            self.collections[collection_id] = deepcopy(kept)
            if _overview(kept) != _overview(stored):
                self.outputs.recheck_overviews(collection_id)
            return True

    def count_items(self, collection_id: str) -> int:
        return sum(name.collection_id == collection_id for name in self.items)

    def list_items(self, collection_id: str, first: str = "", stop: str | None = None) -> list[str]:
        ids = sorted(name.item_id for name in self.items if name.collection_id == collection_id)
        return [each for each in ids if first <= each and (stop is None or each < stop)]

    def collection_key(self, collection_id: str) -> int | None:
        return self._keys.get(collection_id)

    def delete_collection_if_empty(self, collection_id: str) -> bool:
        if any(name.collection_id == collection_id for name in self.items):
            return False
        self._keys.pop(collection_id, None)
        self.outputs.recheck_overviews(collection_id)
        return self.collections.pop(collection_id, None) is not None

    def _grow(self, collection: Json, changes: Sequence[ItemChange | GeolatheError]) -> None:
        collection_id = collection["id"]
        if any(not isinstance(change, GeolatheError) for change in changes):
            stored = self.collections.get(collection_id)
            grown = collection if stored is None else merge_collections(stored, collection)
            self._keys.setdefault(collection_id, next(self._counter))
            self.collections[collection_id] = deepcopy(grown)
        if "created" in changes or "updated" in changes:
            self._drop_overview(collection_id)

    def _put(self, published: PublishedItem, owner: str | None) -> ItemChange | GeolatheError:
        item = published.item
        name = _name(item["collection"], item["id"])
        stored = self.items.get(name)
        is_other = owner and stored and stored["properties"].get(owner) != item["properties"][owner]
        if is_other:
            return TaskFailed("ITEM_ID_TAKEN", f"item {name.item_id!r} belongs to another source")
        if published.outputs and (error := self._publish(published.outputs, name)):
            return error
        if stored is not None and _strip(stored) == _strip(item):
            return "unchanged"
        self.items[name] = _stamp(deepcopy(item), stored)
        return "created" if stored is None else "updated"

    def _publish(self, outputs: Sequence[int], name: ItemName) -> GeolatheError | None:
        published = self.outputs.publish(outputs, name)
        if published.outcome is PublishOutcome.SUPERSEDED:
            return TaskFailed("OUTPUT_SUPERSEDED", f"an output of {name.item_id!r} was superseded")
        if published.outcome is PublishOutcome.INCOMPLETE:
            return TierMissing(f"item {name.item_id!r}: another tier was published meanwhile")
        for vacated in published.vacated:
            self._remove(vacated)
        return None

    def _remove(self, name: ItemName) -> None:
        self.items.pop(name, None)
        self._drop_overview(name.collection_id)

    def _supersede_outputs(self, name: ItemName) -> None:
        for output in self.outputs.of_item(name):
            self.outputs.supersede(output.output_id, is_gone=False)

    def _drop_overview(self, collection_id: str) -> None:
        stored = self.collections.get(collection_id, {})
        stored.pop(WATCH, None)
        if stored.get("assets", {}).pop(OVERVIEW_ASSET, None):
            self.outputs.recheck_overviews(collection_id)


def _overview(collection: Json) -> Json | None:
    overview: Json | None = collection.get("assets", {}).get(OVERVIEW_ASSET)
    return overview


def _name(collection_id: str, item_id: str) -> ItemName:
    return ItemName(collection_id=collection_id, item_id=item_id)


def _strip(item: Json) -> Json:
    properties = {k: v for k, v in item["properties"].items() if k not in STAMPS}
    return {**item, "properties": properties}


def _stamp(item: Json, stored: Json | None) -> Json:
    now = datetime.now(UTC).isoformat()
    created = now if stored is None else stored["properties"].get("created", now)
    return {**item, "properties": {**item["properties"], "created": created, "updated": now}}
