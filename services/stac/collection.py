"""The collection an item asks for. What people wrote into a stored one stays."""

import re
from datetime import datetime

import pystac

from core.models import Json

SUMMARIZED = ("proj:code", "geolathe:raster_type")


def build_collection(item: Json) -> Json:
    """A collection that holds just this item: its extent, its kinds of assets, its summaries."""
    west, south, east, north = item["bbox"]
    if west > east:
        west, east = -180.0, 180.0
    at = item["properties"]["datetime"]
    moment = datetime.fromisoformat(at)
    name = item["collection"]
    collection = pystac.Collection(
        id=name,
        title=title(name),
        description=f"Rasters published as Cloud-Optimized GeoTIFFs in {title(name)}.",
        license="other",
        extent=pystac.Extent(
            pystac.SpatialExtent([[west, south, east, north]]),
            pystac.TemporalExtent([[moment, moment]]),
        ),
    )
    written: Json = collection.to_dict(include_self_link=False, transform_hrefs=False)
    written["extent"]["temporal"]["interval"] = [[at, at]]
    written["item_assets"] = {
        key: {"type": asset["type"], "roles": asset["roles"], "title": kind(key)}
        for key, asset in sorted(item["assets"].items())
    }
    written["summaries"] = summaries(item["properties"])
    return written


def title(name: str) -> str:
    """`system-rasters` reads "System rasters"."""
    words = re.sub(r"[-_.]+", " ", name).strip()
    return words[:1].upper() + words[1:]


def kind(key: str) -> str:
    return {"data": "COG", "thumbnail": "Thumbnail"}.get(key, f"COG, {key}")


def summaries(properties: Json) -> Json:
    listed = {key: [properties[key]] for key in SUMMARIZED if properties.get(key) is not None}
    return {**listed, "gsd": {"minimum": properties["gsd"], "maximum": properties["gsd"]}}
