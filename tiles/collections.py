"""What the tile server knows about a collection, from its document in pgSTAC."""

from __future__ import annotations

from dataclasses import dataclass, field
from threading import Lock
from typing import Any

from cachetools import TTLCache
from fastapi import HTTPException
from psycopg_pool import ConnectionPool

CACHE_SECONDS = 30
"""How long a document is used. An overview that was removed from storage is forgotten at once."""
CACHED = 1_024
_SELECT = "SELECT content FROM pgstac.collections WHERE id = %s"
_WORLD = (-180.0, -90.0, 180.0, 90.0)

Bounds = tuple[float, float, float, float]


@dataclass(frozen=True)
class Overview:
    """One coarse COG of all members."""

    href: str
    maxzoom: int
    """The zoom at which a pixel of a 256 px tile is a pixel of the overview."""


@dataclass(frozen=True)
class Collection:
    """A STAC collection as a map."""

    id: str
    document: dict[str, Any]

    @property
    def bounds(self) -> Bounds:
        """West, south, east, north; all longitudes for a collection across the antimeridian."""
        boxes = self.document.get("extent", {}).get("spatial", {}).get("bbox") or [_WORLD]
        box: list[float] = list(boxes[0])
        west, south, east, north = box if len(box) == 4 else (*box[:2], *box[3:5])
        return (west, south, east, north) if west <= east else (-180.0, south, 180.0, north)

    @property
    def renders(self) -> dict[str, dict[str, Any]]:
        renders: dict[str, dict[str, Any]] = self.document.get("renders", {})
        return renders

    @property
    def asset(self) -> str:
        """The asset that the map shows, and that the overview is made of."""
        assets: list[str] = self.renders.get("default", {}).get("assets") or ["data"]
        return assets[0]

    @property
    def zooms(self) -> tuple[int, int] | None:
        """The first and the last zoom of the map, if the collection says so."""
        zooms = self.renders.get("default", {}).get("minmax_zoom")
        return (int(zooms[0]), int(zooms[1])) if zooms else None

    @property
    def overview(self) -> Overview | None:
        asset = self.document.get("assets", {}).get("overview", {})
        if "href" not in asset or "geolathe:maxzoom" not in asset:
            return None
        return Overview(asset["href"], int(asset["geolathe:maxzoom"]))


@dataclass(frozen=True)
class Collections:
    """Looks collections up, and keeps them for CACHE_SECONDS."""

    _cache: TTLCache[str, Collection] = field(
        default_factory=lambda: TTLCache(CACHED, CACHE_SECONDS)
    )
    _lock: Lock = field(default_factory=Lock)

    def get(self, pool: ConnectionPool, collection_id: str) -> Collection:
        """Raises HTTPException 404 if there is none."""
        with self._lock:
            cached: Collection | None = self._cache.get(collection_id)
        if cached:
            return cached
        with pool.connection() as conn:
            row = conn.execute(_SELECT, (collection_id,)).fetchone()
        if row is None:
            raise HTTPException(404, f"collection {collection_id!r} does not exist")
        found = Collection(collection_id, row[0])
        with self._lock:
            self._cache[collection_id] = found
        return found

    def forget(self, collection_id: str) -> None:
        with self._lock:
            self._cache.pop(collection_id, None)
