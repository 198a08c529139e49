"""What the child process does: look at the COGs, write the item and its collection."""

from core.handler import Report
from services.raster.nodata import from_json
from services.stac.collection import build_collection
from services.stac.item import MAIN_ASSET, build_item
from services.stac.map_links import titiler_urls
from services.stac.model import Described, DescribeRaster
from services.stac.rendering import renderings
from services.stac.scan import scan_cog


def describe_raster(request: DescribeRaster, report: Report) -> Described:
    """The item, the collection it asks for, and the addresses that show it."""
    scans = []
    for position, path in enumerate(request.paths):
        report(position / len(request.paths), f"looking at {request.cogs[position].blob.name}")
        scans.append(scan_cog(path, from_json(request.facts.suspected_nodata)))
    looks = renderings(request.facts.raster_type.applied_type, scans[0])
    item = build_item(request, scans, looks)
    urls = titiler_urls(
        request.titiler_url,
        request.cogs[0].blob,
        item["collection"],
        item["id"],
        MAIN_ASSET,
        looks["default"],
    )
    return Described(item=item, collection=build_collection(item), titiler_urls=urls)
