"""The collection of an item, made from the item alone."""

import re
from datetime import datetime

import pystac

from core.models import Json

SUMMARIZED = ("proj:code", "geolathe:raster_type")


def build_collection(item: Json) -> Json:
    """A collection with the extent, the kinds of assets and the summaries of one item."""
    west, south, east, north = item["bbox"]
    if west > east:
        west, east = -180.0, 180.0
    interval = read_interval(item["properties"])
    name = item["collection"]
    collection = pystac.Collection(
        id=name,
        title=format_title(name),
        description=f"Rasters published as Cloud-Optimized GeoTIFFs in {format_title(name)}.",
        license="other",
        extent=pystac.Extent(
            pystac.SpatialExtent([[west, south, east, north]]),
            pystac.TemporalExtent([[datetime.fromisoformat(at) for at in interval]]),
        ),
    )
    written: Json = collection.to_dict(include_self_link=False, transform_hrefs=False)
    written["extent"]["temporal"]["interval"] = [interval]
    written["item_assets"] = {
        key: {"type": asset["type"], "roles": asset["roles"], "title": describe_asset(key)}
        for key, asset in sorted(item["assets"].items())
    }
    written["summaries"] = summarize(item["properties"])
    return written


def read_interval(properties: Json) -> list[str]:
    """First and last time of an item: equal where it has a `datetime`."""
    at = properties["datetime"]
    return [at, at] if at else [properties["start_datetime"], properties["end_datetime"]]


def format_title(name: str) -> str:
    """`system-rasters` becomes "System rasters"."""
    words = re.sub(r"[-_.]+", " ", name).strip()
    return words[:1].upper() + words[1:]


def describe_asset(key: str) -> str:
    return {"data": "COG", "thumbnail": "Thumbnail"}.get(key, f"COG, {key}")


def summarize(properties: Json) -> Json:
    listed = {key: [properties[key]] for key in SUMMARIZED if properties.get(key) is not None}
    return {**listed, "gsd": {"minimum": properties["gsd"], "maximum": properties["gsd"]}}
