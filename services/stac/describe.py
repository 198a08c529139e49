"""Builds the STAC item of COGs and its collection. Runs in the child process."""

from itertools import zip_longest
from pathlib import PurePosixPath

from core.assets import MAIN_ASSET
from core.handler import Report
from services.raster.model import RasterFacts
from services.raster.nodata import from_json
from services.stac.collection import build_collection
from services.stac.item import build_item
from services.stac.map_links import Rendering, build_titiler_urls
from services.stac.model import CogScan, Described, DescribeRaster
from services.stac.rendering import build_renderings
from services.stac.scan import scan_cog


def describe_raster(request: DescribeRaster, report: Report) -> Described:
    """The item, its collection, and the URLs that show it."""
    return describe_scans(request, scan_cogs(request, report))


def scan_cogs(request: DescribeRaster, report: Report) -> list[CogScan]:
    """A scan of each COG, with the names of its bands."""
    scans = []
    for position, path in enumerate(request.paths):
        report(position / len(request.paths), f"scanning {request.cogs[position].blob.name}")
        scan = scan_cog(path, from_json(request.facts.suspected_nodata))
        scans.append(name_bands(scan, request.facts))
    return scans


def choose_renderings(request: DescribeRaster, scan: CogScan) -> dict[str, Rendering]:
    """The renderings of the COG that maps show."""
    return build_renderings(
        request.facts.raster_type.applied_type,
        scan,
        file_name=PurePosixPath(request.facts.source.name).stem,
        is_inverted=request.facts.is_inverted,
    )


def describe_scans(request: DescribeRaster, scans: list[CogScan]) -> Described:
    """The item, its collection, and the URLs that show it, from scans of all COGs."""
    looks = choose_renderings(request, scans[0])
    item = build_item(request, scans, looks)
    urls = build_titiler_urls(
        request.titiler_url,
        request.cogs[0].blob,
        item["collection"],
        item["id"],
        MAIN_ASSET,
        looks["default"],
    )
    return Described(item=item, collection=build_collection(item), titiler_urls=urls)


def name_bands(scan: CogScan, facts: RasterFacts) -> CogScan:
    """The scan with the common names of the source's bands, among which alpha comes last."""
    names = [band.common_name for band in facts.bands if band.color != "alpha"]
    bands = tuple(
        band.model_copy(update={"common_name": name})
        for band, name in zip_longest(scan.bands, names[: len(scan.bands)])
    )
    return scan.model_copy(update={"bands": bands})
