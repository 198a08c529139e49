"""The document of a collection that is shown as one map. Importing it does not load GDAL."""

import math
from collections.abc import Callable, Iterable
from datetime import datetime

from core.assets import MAIN_ASSET, OVERVIEW_ASSET
from core.models import Json, Record
from services.raster.kind import Kind
from services.raster.mosaic.model import OverviewGrid
from services.stac.distribution import Range, pool
from services.stac.map_links import Color, Rendering, build_collection_links
from services.stac.model import BandScan, BandSet, MemberLook
from services.stac.rendering import LISTED_CLASSES, build_renderings, describe_rendering

COG_TYPE = "image/tiff; application=geotiff; profile=cloud-optimized"
RENDER_EXTENSION = "https://stac-extensions.github.io/render/v2.0.0/schema.json"
MERCATOR_METRES = 156_543.033_928
"""The size of a pixel of zoom 0 at the equator, with tiles of 256 pixels."""
SCREEN = 512
"""Pixels that the whole collection has at its first zoom, at most."""


class Overview(Record):
    """The overview as a file in storage."""

    href: str
    size_bytes: int
    checksum: str
    shape: tuple[int, int]
    max_zoom: int


class MosaicLinks(Record):
    """What a collection gets in addition to its items."""

    fields: Json
    """Top-level fields of the collection."""
    titiler_urls: dict[str, str]


def describe_mosaic(
    collection: Json,
    look: Rendering,
    zooms: tuple[int, int],
    titiler_url: str,
) -> MosaicLinks:
    """The rendering, the assets and the links of a collection, without an overview."""
    [bbox] = collection["extent"]["spatial"]["bbox"][:1]
    urls = build_collection_links(titiler_url, collection["id"], MAIN_ASSET, look, bbox, zooms)
    thumbnail = {
        "href": urls["thumbnail_url"],
        "type": "image/png",
        "roles": ["thumbnail"],
        "title": "Thumbnail",
    }
    assets = {**collection.get("assets", {}), "thumbnail": thumbnail}
    assets.pop(OVERVIEW_ASSET, None)
    kept = [each for each in collection.get("links", ()) if each["rel"] not in _LINKED]
    fields = {
        "renders": {"default": describe_rendering(look) | {"minmax_zoom": list(zooms)}},
        "assets": assets,
        "links": [*kept, *_link(urls)],
        "stac_extensions": sorted({*collection.get("stac_extensions", ()), RENDER_EXTENSION}),
    }
    return MosaicLinks(fields=fields, titiler_urls=urls)


_LINKED = ("alternate", "tilejson", "xyz", "wmts")


def _link(urls: dict[str, str]) -> Iterable[Json]:
    """Links to the map page, and to layers for other programs."""
    known = (
        ("viewer_url", "text/html", "Map"),
        ("tilejson_url", "application/json", "TileJSON"),
        ("tiles_url_template", "image/png", "Map tiles"),
        ("wmts_url", "application/xml", "WMTS"),
    )
    for rel, (key, media_type, title) in zip(_LINKED, known, strict=True):
        yield {"rel": rel, "href": urls[key], "type": media_type, "title": title}


def describe_overview(overview: Overview) -> Json:
    """The asset that the tile server shows when zoomed out."""
    return {
        "href": overview.href,
        "type": COG_TYPE,
        "roles": ["overview"],
        "title": "Overview of all items",
        "geolathe:maxzoom": overview.max_zoom,
        "proj:code": "EPSG:3857",
        "proj:shape": list(overview.shape),
        "file:size": overview.size_bytes,
        "file:checksum": overview.checksum,
    }


def choose_look(kind: Kind, looks: Callable[[], Iterable[MemberLook]]) -> Rendering:
    """The default rendering of an item, with the range of all members' pixels together.

    Classes and palettes are joined. Each call of `looks` iterates over all members again.
    """
    ranges = pool(lambda: (each for look in looks() for each in look.distributions))
    first = _find_first(looks())
    palette, classes = _join(looks())
    pooled = BandSet(
        bands=tuple(_with_range(band, ranges.get(band.index)) for band in first.bands),
        palette=palette,
        classes=classes,
    )
    return build_renderings(kind.raster_type, pooled, is_inverted=first.is_inverted)["default"]


def choose_zooms(kind: Kind, grid: OverviewGrid, latitude: float) -> tuple[int, int]:
    """From the zoom at which the collection fills a screen to that of a member's own pixels."""
    least = grid.zoom - math.ceil(math.log2(max(grid.width, grid.height, SCREEN) / SCREEN))
    metres = MERCATOR_METRES * math.cos(math.radians(latitude))
    most = math.ceil(math.log2(max(metres / kind.resolution, 1)))
    return max(least, 0), max(most, least, grid.zoom)


def order_on_map(item: Json) -> tuple[datetime, str]:
    """The time and the id of an item: the greatest is on top where items overlap.

    The tile server orders items in the same way. Of an interval it takes the start.
    """
    properties = item["properties"]
    at = properties.get("datetime") or properties["start_datetime"]
    return datetime.fromisoformat(at), item["id"]


def _find_first(looks: Iterable[MemberLook]) -> MemberLook:
    """The first member with valid pixels, or else the first one. Raises ValueError without any."""
    found: MemberLook | None = None
    for look in looks:
        if look.distributions:
            return look
        found = found or look
    if found is None:
        raise ValueError("a mosaic needs at least one member")
    return found


def _join(
    looks: Iterable[MemberLook],
) -> tuple[dict[int, Color] | None, tuple[int, ...] | None]:
    """All colours and all classes; no classes if there are too many for a legend."""
    palette: dict[int, Color] = {}
    classes: set[int] | None = set()
    for look in looks:
        palette |= look.palette or {}
        if classes is not None and look.classes is not None:
            classes |= set(look.classes)
        if classes is not None and (look.classes is None or len(classes) > LISTED_CLASSES):
            classes = None
    return palette or None, tuple(sorted(classes)) if classes else None


def _with_range(band: BandScan, found: Range | None) -> BandScan:
    if found is None or band.statistics is None:
        return band
    return band.model_copy(
        update={"statistics": band.statistics.model_copy(update=found.model_dump())}
    )
