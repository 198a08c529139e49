"""Addresses under which TiTiler shows a COG, all built from its one base address.

The nine under /cog open a blob by its name, as TiTiler 0.x to 2.x does; the two item
links are titiler-pgstac 3's, whose assets carry their bands as `assets=data|bidx=1,2,3`.
"""

import json
from collections.abc import Iterable
from urllib.parse import quote

from core.models import BlobRef, Record

TILE_MATRIX_SET = "WebMercatorQuad"
PREVIEW_SIZE = 512
THUMBNAIL_SIZE = 256
ALGORITHM_BUFFER = 3
"""Pixels around a tile that an algorithm looks at, so that tiles join without seams."""

LONG_COLORS = 64
"""With more colours, three hexadecimal digits are used where they suffice, to keep URLs short."""

Query = list[tuple[str, str]]
Color = tuple[int, int, int, int]


class Rendering(Record):
    """What it takes to make a good picture of a raster, as TiTiler's parameters."""

    title: str = "Default"
    bidx: tuple[int, ...] = ()
    rescale: tuple[tuple[float, float], ...] = ()
    """One range for all bands, or one for each of `bidx`."""
    colormap_name: str | None = None
    colormap: dict[int, Color] | None = None
    """Colours of classes."""
    palette: dict[int, Color] | None = None
    """The COG's own colour table: /cog reads it there, item endpoints need it as a parameter."""
    algorithm: str | None = None
    nodata: float | None = None
    """Goes before the file's own mask, where TiTiler cannot make sense of that."""

    def style(self, colormap: dict[int, Color] | None) -> Query:
        """The parameters that do not choose bands."""
        query = [("rescale", f"{number(low)},{number(high)}") for low, high in self.rescale]
        if self.colormap_name is not None:
            query.append(("colormap_name", self.colormap_name))
        if colormap is not None:
            short = len(colormap) > LONG_COLORS
            colors = {str(v): hexadecimal(c, short=short) for v, c in sorted(colormap.items())}
            query.append(("colormap", json.dumps(colors, separators=(",", ":"))))
        if self.algorithm is not None:
            query += [("algorithm", self.algorithm), ("buffer", str(ALGORITHM_BUFFER))]
        if self.nodata is not None:
            query.append(("nodata", number(self.nodata)))
        return query

    def query(self) -> Query:
        """All parameters, for a link that opens the COG itself."""
        return [("bidx", str(index)) for index in self.bidx] + self.style(self.colormap)

    def item_query(self, key: str) -> Query:
        """All parameters, for a link that opens an asset of an item, as titiler-pgstac 3 has it."""
        asset = f"{key}|bidx={','.join(map(str, self.bidx))}" if self.bidx else key
        return [("assets", asset), *self.style(self.colormap or self.palette)]


def titiler_urls(
    titiler_url: str, blob: BlobRef, collection_id: str, item_id: str, key: str, look: Rendering
) -> dict[str, str]:
    """Every address of a finished job: the nine of the COG and the two of its item.

    The viewer's address also names the item. A stock TiTiler ignores that; this product's tile
    server shows the item's properties.
    """
    links = cog_links(titiler_url, blob, look)
    catalogued = encoded([("collection", collection_id), ("item", item_id)])
    return {
        **links,
        "viewer_url": f"{links['viewer_url']}&{catalogued}",
        **item_links(titiler_url, collection_id, item_id, key, look),
    }


def cog_links(titiler_url: str, blob: BlobRef, look: Rendering) -> dict[str, str]:
    """The nine addresses that open the blob by its name. `viewer_url` is the one to share."""
    base = f"{titiler_url.rstrip('/')}/cog"
    source = [("url", vsiaz_path(blob))]
    drawn = source + look.query()
    preview = f"{base}/preview.png?"
    return {
        "viewer_url": f"{base}/{TILE_MATRIX_SET}/map.html?{encoded(drawn)}",
        "info_url": f"{base}/info?{encoded(source)}",
        "preview_url": preview + encoded([*drawn, ("max_size", str(PREVIEW_SIZE))]),
        "thumbnail_url": preview + encoded([*drawn, ("max_size", str(THUMBNAIL_SIZE))]),
        "statistics_url": f"{base}/statistics?{encoded(source)}",
        "bounds_url": f"{base}/bounds?{encoded(source)}",
        "info_geojson_url": f"{base}/info.geojson?{encoded(source)}",
        "tilejson_url": f"{base}/{TILE_MATRIX_SET}/tilejson.json?{encoded(drawn)}",
        "tiles_url_template": (
            f"{base}/tiles/{TILE_MATRIX_SET}/{{z}}/{{x}}/{{y}}.png?{encoded(drawn)}"
        ),
    }


def item_links(
    titiler_url: str, collection_id: str, item_id: str, key: str, look: Rendering
) -> dict[str, str]:
    """The viewer and the TileJSON of the catalogued item."""
    base = item_base(titiler_url, collection_id, item_id)
    drawn = encoded(look.item_query(key))
    return {
        "item_viewer_url": f"{base}/{TILE_MATRIX_SET}/map.html?{drawn}",
        "item_tilejson_url": f"{base}/{TILE_MATRIX_SET}/tilejson.json?{drawn}",
    }


def wmts_url(titiler_url: str, blob: BlobRef, look: Rendering) -> str:
    """The address QGIS and other desktop programs take."""
    query = [("url", vsiaz_path(blob)), *look.query()]
    return f"{titiler_url.rstrip('/')}/cog/WMTSCapabilities.xml?{encoded(query)}"


def item_base(titiler_url: str, collection_id: str, item_id: str) -> str:
    path = f"collections/{quote(collection_id, safe='')}/items/{quote(item_id, safe='')}"
    return f"{titiler_url.rstrip('/')}/{path}"


def vsiaz_path(blob: BlobRef) -> str:
    """How GDAL names a blob of the account it is configured for."""
    return f"/vsiaz/{blob.container}/{blob.name}"


def encoded(query: Iterable[tuple[str, str]]) -> str:
    """Percent-encoded throughout, slashes too: some proxies decode and split at them."""
    return "&".join(f"{key}={quote(value, safe='')}" for key, value in query)


def hexadecimal(color: Color, *, short: bool = False) -> str:
    """#RRGGBB, or #RGB if `short`, with alpha if it is not opaque."""
    parts = color if color[3] != 255 else color[:3]
    if short and all(part % 17 == 0 for part in parts):
        return "#" + "".join(f"{part // 17:x}" for part in parts)
    return "#" + "".join(f"{part:02x}" for part in parts)


def number(value: float) -> str:
    """The shortest text that reads back as this number; whole ones without a point."""
    return repr(int(value)) if value == int(value) and abs(value) < 1e15 else repr(float(value))
