"""Addresses under which TiTiler shows a COG, all built from its one base address.

The nine under /cog open a blob by its name, as TiTiler 0.x to 2.x does; the two item
links are titiler-pgstac 3's, whose assets carry their bands as `assets=data|bidx=1,2,3`.
"""

import json
from collections.abc import Iterable, Sequence
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
    """Used instead of the file's mask where TiTiler misreads the mask."""

    def style(self, colormap: dict[int, Color] | None) -> Query:
        """The parameters that do not choose bands."""
        query = [
            ("rescale", f"{format_number(low)},{format_number(high)}") for low, high in self.rescale
        ]
        if self.colormap_name is not None:
            query.append(("colormap_name", self.colormap_name))
        if colormap is not None:
            short = len(colormap) > LONG_COLORS
            colors = {str(v): to_hexadecimal(c, short=short) for v, c in sorted(colormap.items())}
            query.append(("colormap", json.dumps(colors, separators=(",", ":"))))
        if self.algorithm is not None:
            query += [("algorithm", self.algorithm), ("buffer", str(ALGORITHM_BUFFER))]
        if self.nodata is not None:
            query.append(("nodata", format_number(self.nodata)))
        return query

    def query(self) -> Query:
        """All parameters, for a link that opens the COG itself."""
        return [("bidx", str(index)) for index in self.bidx] + self.style(self.colormap)

    def item_query(self, key: str) -> Query:
        """All parameters, for a link that opens an asset of an item, as titiler-pgstac 3 has it."""
        asset = f"{key}|bidx={','.join(map(str, self.bidx))}" if self.bidx else key
        return [("assets", asset), *self.style(self.colormap or self.palette)]


def build_titiler_urls(
    titiler_url: str, blob: BlobRef, collection_id: str, item_id: str, key: str, look: Rendering
) -> dict[str, str]:
    """All URLs of a finished job: nine of the COG and two of its item.

    The viewer's URL also names the item, whose properties this product's tile server shows. An
    unmodified TiTiler ignores that.
    """
    links = build_cog_links(titiler_url, blob, look)
    catalogued = encode_pairs([("collection", collection_id), ("item", item_id)])
    return {
        **links,
        "viewer_url": f"{links['viewer_url']}&{catalogued}",
        **build_item_links(titiler_url, collection_id, item_id, key, look),
    }


def build_cog_links(titiler_url: str, blob: BlobRef, look: Rendering) -> dict[str, str]:
    """The nine URLs that open the blob by its name. `viewer_url` is the share link."""
    base = f"{titiler_url.rstrip('/')}/cog"
    source = [("url", to_vsiaz_path(blob))]
    drawn = source + look.query()
    preview = f"{base}/preview.png?"
    return {
        "viewer_url": f"{base}/{TILE_MATRIX_SET}/map.html?{encode_pairs(drawn)}",
        "info_url": f"{base}/info?{encode_pairs(source)}",
        "preview_url": preview + encode_pairs([*drawn, ("max_size", str(PREVIEW_SIZE))]),
        "thumbnail_url": preview + encode_pairs([*drawn, ("max_size", str(THUMBNAIL_SIZE))]),
        "statistics_url": f"{base}/statistics?{encode_pairs(source)}",
        "bounds_url": f"{base}/bounds?{encode_pairs(source)}",
        "info_geojson_url": f"{base}/info.geojson?{encode_pairs(source)}",
        "tilejson_url": f"{base}/{TILE_MATRIX_SET}/tilejson.json?{encode_pairs(drawn)}",
        "tiles_url_template": (
            f"{base}/tiles/{TILE_MATRIX_SET}/{{z}}/{{x}}/{{y}}.png?{encode_pairs(drawn)}"
        ),
    }


def build_item_links(
    titiler_url: str, collection_id: str, item_id: str, key: str, look: Rendering
) -> dict[str, str]:
    """The viewer and the TileJSON of the catalogued item."""
    base = build_item_url(titiler_url, collection_id, item_id)
    drawn = encode_pairs(look.item_query(key))
    return {
        "item_viewer_url": f"{base}/{TILE_MATRIX_SET}/map.html?{drawn}",
        "item_tilejson_url": f"{base}/{TILE_MATRIX_SET}/tilejson.json?{drawn}",
    }


def build_collection_links(
    titiler_url: str,
    collection_id: str,
    key: str,
    look: Rendering,
    bbox: Sequence[float],
    zooms: tuple[int, int],
) -> dict[str, str]:
    """The URLs of a collection's map, as titiler-pgstac 3 has them. `viewer_url` is the share link.

    `bbox` is west, south, east, north in degrees, and `zooms` the first and last zoom of the map.
    """
    base = f"{titiler_url.rstrip('/')}/collections/{quote(collection_id, safe='')}"
    drawn = encode_pairs(look.item_query(key))
    least, most = zooms
    zoomed = f"{drawn}&minzoom={least}&maxzoom={most}"
    box = ",".join(format_number(edge) for edge in bbox)
    preview = f"{base}/bbox/{box}.png?{drawn}&max_size="
    return {
        "viewer_url": f"{base}/{TILE_MATRIX_SET}/map.html?{zoomed}",
        "tilejson_url": f"{base}/{TILE_MATRIX_SET}/tilejson.json?{zoomed}",
        "tiles_url_template": f"{base}/tiles/{TILE_MATRIX_SET}/{{z}}/{{x}}/{{y}}?{drawn}",
        "wmts_url": f"{base}/WMTSCapabilities.xml?{drawn}",
        "preview_url": f"{preview}{PREVIEW_SIZE}",
        "thumbnail_url": f"{preview}{THUMBNAIL_SIZE}",
        "statistics_url": f"{base}/statistics?{drawn}",
        "point_url_template": f"{base}/point/{{lon}},{{lat}}?{drawn}",
    }


def build_wmts_url(titiler_url: str, blob: BlobRef, look: Rendering) -> str:
    """The URL of the WMTS capabilities, for QGIS and other desktop programs."""
    query = [("url", to_vsiaz_path(blob)), *look.query()]
    return f"{titiler_url.rstrip('/')}/cog/WMTSCapabilities.xml?{encode_pairs(query)}"


def build_item_url(titiler_url: str, collection_id: str, item_id: str) -> str:
    path = f"collections/{quote(collection_id, safe='')}/items/{quote(item_id, safe='')}"
    return f"{titiler_url.rstrip('/')}/{path}"


def to_vsiaz_path(blob: BlobRef) -> str:
    """GDAL's path of a blob in the storage account that it is configured for."""
    return f"/vsiaz/{blob.container}/{blob.name}"


def encode_pairs(query: Iterable[tuple[str, str]]) -> str:
    """A query string with everything percent-encoded, since some proxies split at slashes."""
    return "&".join(f"{key}={quote(value, safe='')}" for key, value in query)


def to_hexadecimal(color: Color, *, short: bool = False) -> str:
    """#RRGGBB, or #RGB if `short`, with alpha if it is not opaque."""
    parts = color if color[3] != 255 else color[:3]
    if short and all(part % 17 == 0 for part in parts):
        return "#" + "".join(f"{part // 17:x}" for part in parts)
    return "#" + "".join(f"{part:02x}" for part in parts)


def format_number(value: float) -> str:
    """The shortest text of the same number, without a decimal point for whole numbers."""
    return repr(int(value)) if value == int(value) and abs(value) < 1e15 else repr(float(value))
