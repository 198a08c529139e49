"""All items of a collection as one map.

A tile needs one SELECT, which writes nothing, and the few items that it meets. Below the zoom at
which it would meet many, the overview of the collection is read instead.
"""

from __future__ import annotations

import logging
import math
from collections import deque
from collections.abc import Callable, Coroutine, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Annotated, Any

import attr
from fastapi import HTTPException, Query
from fastapi.routing import APIRoute
from morecantile import Tile
from psycopg_pool import ConnectionPool
from rasterio.crs import CRS
from rasterio.errors import RasterioIOError
from rasterio.warp import transform, transform_bounds
from rio_tiler.constants import WGS84_CRS
from rio_tiler.errors import (
    EmptyMosaicError,
    NoAssetFoundError,
    PointOutsideBounds,
    TileOutsideBounds,
)
from rio_tiler.io import BaseReader
from rio_tiler.models import ImageData, PointData
from rio_tiler.mosaic.backend import BaseBackend, MosaicInfo
from rio_tiler.mosaic.methods.defaults import FirstMethod
from rio_tiler.mosaic.reader import mosaic_reader
from rio_tiler.types import AssetInfo, AssetType, BBox
from rio_tiler.utils import inherit_rasterio_env
from starlette.requests import Request
from starlette.responses import Response
from titiler.core.dependencies import DefaultDependency
from titiler.pgstac.reader import Item, SimpleSTACReader

from tiles.blobs import AllowedBlobs
from tiles.collections import Bounds, Collection, Collections
from tiles.reader import GeotiffReader
from tiles.renders import parameters

ITEMS_LIMIT = 64
"""Items that one answer may be made of, unless the request says otherwise."""
MOST_ITEMS = 500
"""The same where the overview is more than ENLARGED zooms too coarse: between clusters of items
that are far apart."""
ENLARGED = 2
_LEVEL_ROUNDING = 1e-3
READ_AHEAD = 8
"""Items of one answer that are read at the same time."""
# A thread's first use of PROJ costs more than reading a tile, so threads are kept.
_THREADS = ThreadPoolExecutor(16, thread_name_prefix="items")
# Only what is needed to open assets: items with statistics are large.
_SELECT = """
SELECT i.id, ST_XMin(i.geometry), ST_YMin(i.geometry), ST_XMax(i.geometry), ST_YMax(i.geometry),
       coalesce((SELECT jsonb_object_agg(a.key, jsonb_build_object('href', a.value->'href'))
                   FROM jsonb_each(i.content->'assets') a WHERE a.value ? 'href'), '{}')
  FROM pgstac.items i
 WHERE i.collection = %s AND i.geometry && ST_MakeEnvelope(%s, %s, %s, %s, 4326)
 ORDER BY i.datetime DESC, i.id COLLATE "C" DESC
 LIMIT %s
"""

Read = Callable[..., tuple[ImageData, list[str]]]
"""Reads a picture, with search_options for _find."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Mosaic:
    """A collection during one request."""

    collection: Collection
    gaps: list[str] = field(default_factory=list)
    """Ids of items whose blob could not be read."""


class Gap(TileOutsideBounds, PointOutsideBounds):
    """An item that cannot be read. The mosaic is made without it."""


class TooManyItems(HTTPException):
    """More items meet than may be read."""

    def __init__(self, limit: int) -> None:
        super().__init__(
            400,
            f"more than items_limit={limit} items meet here, and the collection has no overview"
            " for this request: zoom in, or use a smaller area",
        )


class MosaicRoute(APIRoute):
    """Answers without a picture have status 204, and those with a gap are not cached."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def handle_gaps(request: Request) -> Response:
            try:
                response = await handle(request)
            except (EmptyMosaicError, NoAssetFoundError):
                response = Response(status_code=204)
            mosaic = getattr(request.state, "mosaic", None)
            if mosaic and mosaic.gaps:
                response.headers["Cache-Control"] = "no-store"
            return response

        return handle_gaps


@dataclass
class ItemsParams(DefaultDependency):
    """How many items an answer may be made of."""

    items_limit: Annotated[
        int | None,
        Query(
            ge=1,
            le=MOST_ITEMS,
            description="Where more items than this are needed, the overview is enlarged; without"
            f" one, the request fails. By default {ITEMS_LIMIT}, or {MOST_ITEMS} where the"
            f" overview is more than {ENLARGED} zooms too coarse.",
        ),
    ] = None


def item_reader(allowed: AllowedBlobs) -> type[SimpleSTACReader]:
    """A reader of the items of a mosaic, which opens their assets as blobs of the account."""

    @attr.s
    class ItemReader(SimpleSTACReader):
        """titiler-pgstac's reader, restricted to allowed blobs. Unreadable items are gaps."""

        reader: type[BaseReader] = attr.ib(default=GeotiffReader)
        gaps: list[str] = attr.ib(factory=list, kw_only=True)

        def _get_asset_info(self, asset: AssetType) -> AssetInfo:
            if isinstance(asset, dict) and asset.get("bands"):
                raise HTTPException(400, f"assets={asset['name']}|bands=: select bands by bidx")
            info = super()._get_asset_info(asset)
            info["url"] = allowed.gdal_path(info["url"])
            return info

        def tile(self, *args: Any, **kwargs: Any) -> ImageData:
            with self._noting_gaps():
                return super().tile(*args, **kwargs)

        def part(self, *args: Any, **kwargs: Any) -> ImageData:
            with self._noting_gaps():
                return super().part(*args, **kwargs)

        def point(self, *args: Any, **kwargs: Any) -> PointData:
            with self._noting_gaps():
                return super().point(*args, **kwargs)

        @contextmanager
        def _noting_gaps(self) -> Iterator[None]:
            try:
                yield
            except RasterioIOError as error:
                name = f"{self.input['collection']}/{self.input['id']}"
                logger.warning("%s is missing from the mosaic: %s", name, error)
                self.gaps.append(name)
                raise Gap(name) from error

    return ItemReader


class _ReadAhead:
    """Reads items in their order, and the next ones in other threads meanwhile."""

    def __init__(self, items: Sequence[Item], read: Callable[[Item], ImageData]) -> None:
        self._waiting, self._read = deque(items), read
        self._running: deque[Future[ImageData]] = deque()

    def __enter__(self) -> Callable[[Item], ImageData]:
        return self._next

    def __exit__(self, *exc_info: object) -> None:
        for future in self._running:
            future.cancel()

    def _next(self, item: Item) -> ImageData:
        """The picture of the item after the one before. Raises what reading it raised."""
        while self._waiting and len(self._running) < READ_AHEAD:
            self._running.append(_THREADS.submit(self._read, self._waiting.popleft()))
        return self._running.popleft().result()


@attr.s
class CollectionBackend(BaseBackend):
    """rio-tiler's mosaic over the items of a collection, newest first."""

    input: Mosaic
    pool: ConnectionPool = attr.ib(kw_only=True)
    collections: Collections = attr.ib(kw_only=True)

    def __attrs_post_init__(self) -> None:
        collection = self.input.collection
        self.crs, self.bounds = WGS84_CRS, collection.bounds
        self.minzoom, self.maxzoom = collection.zooms or (self.tms.minzoom, self.tms.maxzoom)
        self.reader_options = {**self.reader_options, "gaps": self.input.gaps}
        self._more = False

    def info(self) -> MosaicInfo:  # type: ignore[override]  # as in rio-tiler
        known = {"minzoom": self.minzoom, "maxzoom": self.maxzoom, "name": self.input.collection.id}
        return super().info().model_copy(update=known)

    def asset_name(self, asset: Item) -> str:
        return asset["id"]

    def tile(  # type: ignore[override]  # as in rio-tiler
        self, x: int, y: int, z: int, search_options: dict[str, Any] | None = None, **kwargs: Any
    ) -> tuple[ImageData, list[str]]:
        """The tile. Raises TooManyItems if it meets more than may be read."""
        bounds = self._tile_bounds(x, y, z)
        level = _level(bounds, kwargs.get("tilesize") or self.tms.matrix(z).tileWidth)

        def read(item: Item, **options: Any) -> ImageData:
            with self.reader(item, tms=self.tms, **self.reader_options) as reader:
                image: ImageData = reader.tile(x, y, z, **options)
                return image

        return self._read(
            partial(self._merge, bounds, read, **kwargs), level, search_options, kwargs
        )

    def part(  # type: ignore[override]  # as in rio-tiler
        self,
        bbox: BBox,
        bounds_crs: CRS = WGS84_CRS,
        search_options: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> tuple[ImageData, list[str]]:
        """The box. Raises TooManyItems if it meets more than may be read."""
        bounds = _in_degrees(bbox, bounds_crs)
        level = _level(bounds, kwargs.get("width") or kwargs.get("max_size") or math.inf)

        def read(item: Item, **options: Any) -> ImageData:
            with self.reader(item, **self.reader_options) as reader:
                image: ImageData = reader.part(bbox, bounds_crs=bounds_crs, **options)
                return image

        return self._read(
            partial(self._merge, bounds, read, **kwargs), level, search_options, kwargs
        )

    def assets_for_tile(self, x: int, y: int, z: int, **options: Any) -> list[Item]:
        return self._find(self._tile_bounds(x, y, z), **options)

    def assets_for_point(
        self, lng: float, lat: float, coord_crs: CRS | None = None, **options: Any
    ) -> list[Item]:
        [x], [y] = transform(coord_crs or WGS84_CRS, WGS84_CRS, [lng], [lat])
        return self._find((x, y, x, y), **options)

    def assets_for_bbox(
        self,
        xmin: float,
        ymin: float,
        xmax: float,
        ymax: float,
        coord_crs: CRS | None = None,
        **options: Any,
    ) -> list[Item]:
        return self._find(_in_degrees((xmin, ymin, xmax, ymax), coord_crs or WGS84_CRS), **options)

    def _tile_bounds(self, x: int, y: int, z: int) -> Bounds:
        box = self.tms.bounds(Tile(x, y, z))
        return box.left, box.bottom, box.right, box.top

    def _merge(
        self,
        bounds: Bounds,
        read: Callable[..., ImageData],
        *,
        search_options: dict[str, Any],
        pixel_selection: Any = FirstMethod,
        threads: int = 0,
        **options: Any,
    ) -> tuple[ImageData, list[str]]:
        """One picture of the items that meet the bounds.

        `threads` is titiler's size of a pool for this answer alone; there is one pool for all.
        Raises NoAssetFoundError if there are none, and EmptyMosaicError if none has pixels there.
        """
        items = self._find(bounds, **search_options)
        if not items:
            raise NoAssetFoundError(f"no item of {self.input.collection.id} meets {bounds}")
        with _ReadAhead(items, inherit_rasterio_env(partial(read, **options))) as ahead:
            image, used = mosaic_reader(items, ahead, threads=1, pixel_selection=pixel_selection)
        return image, [self.asset_name(item) for item in used]

    def _read(
        self, read: Read, level: float, search: dict[str, Any] | None, options: dict[str, Any]
    ) -> tuple[ImageData, list[str]]:
        """From the overview where it is fine enough, otherwise from the items.

        Where more items meet than may be read, the overview is enlarged.
        """
        missing = self._missing_zooms(level, options)
        if missing <= _LEVEL_ROUNDING and (found := self._read_overview(read)):
            return found
        limit = MOST_ITEMS if ENLARGED < missing < math.inf else ITEMS_LIMIT
        try:
            return self._read_items(read, {"items_limit": limit} | (search or {}), options)
        except TooManyItems:
            if missing < math.inf and (found := self._read_overview(read)):
                return found
            raise

    def _missing_zooms(self, level: float, options: dict[str, Any]) -> float:
        """By how many zooms the overview is too coarse; infinite if it cannot be used."""
        collection = self.input.collection
        assets = options.get("assets") or []
        named = {each if isinstance(each, str) else each["name"] for each in assets}
        if collection.overview is None or not takes_first(options) or named != {collection.asset}:
            return math.inf
        return level - collection.overview.maxzoom

    def _read_overview(self, read: Read) -> tuple[ImageData, list[str]] | None:
        """The picture from the overview. None if its blob is gone."""
        try:
            return read(search_options={"overview": True})
        except EmptyMosaicError:
            if not self.input.gaps:
                raise
        self.input.gaps.clear()
        self.collections.forget(self.input.collection.id)
        return None

    def _read_items(
        self, read: Read, search: dict[str, Any], options: dict[str, Any]
    ) -> tuple[ImageData, list[str]]:
        """From the newest items. Further ones are needed only where pixels are still empty."""
        try:
            image, used = read(search_options=search | {"newest": takes_first(options)})
        except EmptyMosaicError:
            if self._more:
                raise TooManyItems(search["items_limit"]) from None
            raise
        if self._more and not image.mask.all():
            raise TooManyItems(search["items_limit"])
        return image, used

    def _find(
        self,
        bounds: Bounds,
        *,
        items_limit: int = ITEMS_LIMIT,
        newest: bool = False,
        overview: bool = False,
    ) -> list[Item]:
        """The items that meet the bounds, or the overview.

        Raises TooManyItems if there are more than the limit, unless the newest suffice.
        """
        collection = self.input.collection
        if overview and collection.overview:
            assets = {collection.asset: {"href": collection.overview.href}}
            return [_item("overview", collection.id, (-180, -90, 180, 90), assets)]
        with self.pool.connection() as conn:
            rows = conn.execute(_SELECT, (collection.id, *bounds, items_limit + 1)).fetchall()
        self._more = len(rows) > items_limit
        if self._more and not newest:
            raise TooManyItems(items_limit)
        return [
            _item(name, collection.id, box, assets) for name, *box, assets in rows[:items_limit]
        ]


def _item(name: str, collection: str, bbox: Any, assets: dict[str, Any]) -> Item:
    return Item(id=name, collection=collection, bbox=tuple(bbox), properties=None, assets=assets)


def takes_first(options: dict[str, Any]) -> bool:
    """Whether pixels come from the first item that has them, so that further ones can be left."""
    return bool(options.get("pixel_selection", FirstMethod) is FirstMethod)


def _in_degrees(box: BBox, crs: CRS) -> Bounds:
    """West, south, east, north. Raises HTTPException 400 for a box without an area."""
    west, south, east, north = box
    if west >= east or south >= north:
        raise HTTPException(400, f"bbox={box}: minx and miny must be less than maxx and maxy")
    left, bottom, right, top = transform_bounds(crs, WGS84_CRS, west, south, east, north)
    return left, bottom, right, top


def _level(bounds: Bounds, width: float) -> float:
    """The zoom at which tiles of 256 px have pixels as large as those of this picture.

    Infinite for a tile around a pole or across the antimeridian, which some tilings have.
    """
    west, _, east, _ = bounds
    return math.log2(360 * width / (256 * (east - west))) if west < east else math.inf


def collection_renders(backend: BaseBackend) -> dict[str, dict[str, Any]]:
    """The renders by name, which TileJSON and WMTS offer as layers."""
    renders = backend.input.collection.renders
    return {name: parameters(render) for name, render in renders.items()}
