"""The STAC 1.1 item of a raster."""

import re
from importlib.metadata import PackageNotFoundError, version
from pathlib import PurePosixPath

import pystac
import rasterio

from core.assets import MAIN_ASSET
from core.models import Json
from services.raster.band_names import COMMON_NAMES
from services.raster.model import BandFacts, Cog, RasterFacts, RasterType, Tier
from services.raster.vertical import compound_projjson
from services.stac.dates import ItemDate, choose_date
from services.stac.map_links import (
    Rendering,
    build_cog_links,
    build_titiler_urls,
    build_wmts_url,
    to_vsiaz_path,
)
from services.stac.model import OWNER, BandScan, CogScan, DescribeRaster
from services.stac.rendering import describe_rendering

COG_TYPE = "image/tiff; application=geotiff; profile=cloud-optimized"
EXTENSIONS = "https://stac-extensions.github.io"
ROLES = {
    Tier.ANALYSIS: ["data"],
    Tier.VISUALIZATION: ["visual"],
    Tier.ARCHIVE: ["data", "archive"],
}
TITLES = {
    Tier.ANALYSIS: "COG for analysis",
    Tier.VISUALIZATION: "COG for maps",
    Tier.ARCHIVE: "COG for the archive",
}


def find_version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        # Azure Functions runs the app from its directory.
        return "unpackaged"


SOFTWARE = {
    "geolathe": find_version("geolathe"),
    "GDAL": rasterio.__gdal_version__,
    "rio-cogeo": find_version("rio-cogeo"),
}


def build_item(request: DescribeRaster, scans: list[CogScan], looks: dict[str, Rendering]) -> Json:
    """The item of the COGs, the first of `request.cogs` being the one that maps show."""
    main = scans[0]
    dated = choose_date(
        request.datetime,
        request.facts.acquired,
        request.facts.source.name,
        request.facts.source_last_modified,
    )
    item = pystac.Item(
        id=request.item_id,
        geometry=main.geometry,
        bbox=main.bbox,
        datetime=dated.at or request.facts.source_last_modified,
        properties=build_properties(request, main, dated, looks),
        collection=request.collection_id,
    )
    for position, (cog, scan) in enumerate(zip(request.cogs, scans, strict=True)):
        key = MAIN_ASSET if position == 0 else str(cog.cog_tier)
        item.add_asset(key, build_cog_asset(request, cog, scan, main, request.hrefs[position]))
    item.add_asset("thumbnail", build_thumbnail(request, looks["default"]))
    for link in build_links(request, looks["default"]):
        item.add_link(link)
    item.stac_extensions = list_extensions(item)
    written: Json = item.to_dict(include_self_link=True, transform_hrefs=False)
    written["properties"] |= dated.properties()
    return written


def describe_source(facts: RasterFacts) -> str:
    """The source of the item: the blob, and the variable of a NetCDF file with several."""
    path = str(facts.source)
    return f"{path}#{facts.subdataset}" if facts.subdataset else path


def build_properties(
    request: DescribeRaster, main: CogScan, dated: ItemDate, looks: dict[str, Rendering]
) -> Json:
    facts = request.facts
    return {
        "title": request.title or make_title(facts),
        "gsd": main.gsd,
        **describe_projection(main),
        **describe_heights(facts, main),
        "renders": {name: describe_rendering(look) for name, look in looks.items()},
        "processing:software": SOFTWARE,
        "processing:lineage": describe_lineage(facts, request.cogs[0]),
        OWNER: describe_source(facts),
        "geolathe:source_etag": facts.source_etag,
        "geolathe:raster_type": str(facts.raster_type.applied_type),
        "geolathe:datetime_origin": dated.origin,
    }


def make_title(facts: RasterFacts) -> str:
    stem = re.sub(r"[_\s]+", " ", PurePosixPath(facts.source.name).stem).strip()
    return f"{stem} {facts.subdataset}" if facts.subdataset else stem


def describe_projection(scan: CogScan) -> Json:
    """The grid. A CRS without an EPSG code is written out, as the projection extension requires."""
    places = {
        "proj:shape": list(scan.shape),
        "proj:transform": list(scan.transform),
        "proj:bbox": list(scan.bounds),
    }
    if scan.epsg is not None:
        return {"proj:code": f"EPSG:{scan.epsg}", **places}
    return {"proj:code": None, "proj:wkt2": scan.wkt2, "proj:projjson": scan.projjson, **places}


def describe_heights(facts: RasterFacts, scan: CogScan) -> Json:
    """The vertical CRS of the source, and a compound CRS where the COG names only a horizontal one.

    The code in `proj:code` is that of the COG; `proj:projjson` adds what its heights refer to.
    """
    vertical = facts.vertical_crs
    if vertical is None:
        return {}
    found: Json = {
        "geolathe:vertical_crs": vertical.code or vertical.name,
        "geolathe:vertical_unit": vertical.unit,
    }
    if scan.projjson is not None and vertical.projjson and scan.epsg is not None:
        found["proj:projjson"] = compound_projjson(scan.projjson, vertical)
    return found


def describe_lineage(facts: RasterFacts, cog: Cog) -> str:
    made = f"Cloud-Optimized GeoTIFF ({cog.compression}) from {facts.driver}"
    if not cog.reprojection_performed:
        return f"{made}, pixels unchanged in {shorten_crs(facts.source_crs)}"
    way = f"{shorten_crs(facts.source_crs)} to {shorten_crs(cog.target_crs)}"
    return f"{made}, warped from {way} with {cog.reproject_resampling} resampling"


def shorten_crs(text: str) -> str:
    """EPSG:n as it is, or the name of a CRS in WKT."""
    named = re.match(r'\w+\["([^"]*)"', text)
    return named[1] if named else text


def build_cog_asset(
    request: DescribeRaster, cog: Cog, scan: CogScan, main: CogScan, href: str
) -> pystac.Asset:
    fields: Json = {
        "bands": describe_bands(request.facts, scan),
        "file:size": cog.size_bytes,
        "file:checksum": cog.checksum,
        "alternate": {
            "vsiaz": {"href": to_vsiaz_path(cog.blob), "alternate:name": "GDAL's name for the blob"}
        },
    }
    if describe_projection(scan) != describe_projection(main):
        fields |= describe_projection(scan)
    return pystac.Asset(
        href=href,
        title=f"{TITLES[cog.cog_tier]} ({cog.compression})",
        media_type=COG_TYPE,
        roles=list(ROLES[cog.cog_tier]),
        extra_fields=fields,
    )


def describe_bands(facts: RasterFacts, scan: CogScan) -> list[Json]:
    known = {band.index: band for band in facts.bands}
    named = [describe_band(band, known.get(band.index)) for band in scan.bands]
    if facts.raster_type.applied_type is RasterType.CATEGORICAL:
        named[0] |= list_classes(facts, scan)
    return named


def describe_band(band: BandScan, source: BandFacts | None) -> Json:
    """One band object of STAC 1.1. Scaled values are real = stored * scale + offset."""
    color = source.color if source is not None and band.color in ("gray", "undefined") else None
    common = band.common_name or color or band.color
    entry: Json = {
        "name": common if common in (*COMMON_NAMES, "alpha") else f"b{band.index}",
        "data_type": band.data_type,
        "description": band.description,
        "unit": band.unit or None,
        "nodata": band.nodata,
        "statistics": describe_statistics(band),
        "eo:common_name": common if common in COMMON_NAMES else None,
        "raster:scale": band.scale if band.scale != 1 else None,
        "raster:offset": band.offset if band.offset != 0 else None,
    }
    return {key: value for key, value in entry.items() if value is not None}


def describe_statistics(band: BandScan) -> Json | None:
    if band.statistics is None:
        return None
    return band.statistics.model_dump(exclude={"p2", "p98"})


def list_classes(facts: RasterFacts, scan: CogScan) -> Json:
    """The classes that occur, with the names and colours that the source gives them."""
    if scan.classes is None:
        return {}
    listed = []
    for value in scan.classes:
        title = facts.categories.get(value)
        slug = re.sub(r"[^0-9A-Za-z]+", "-", title or "").strip("-").lower()
        name = slug or f"class-{value}".replace("--", "-minus-")
        entry: Json = {"value": value, "name": name}
        if title:
            entry["title"] = title
        if scan.palette and value in scan.palette:
            entry["color_hint"] = "".join(f"{part:02X}" for part in scan.palette[value][:3])
        listed.append(entry)
    return {"classification:classes": listed}


def build_thumbnail(request: DescribeRaster, look: Rendering) -> pystac.Asset:
    urls = build_cog_links(request.titiler_url, request.cogs[0].blob, look)
    return pystac.Asset(
        href=urls["thumbnail_url"], title="Thumbnail", media_type="image/png", roles=["thumbnail"]
    )


def build_links(request: DescribeRaster, look: Rendering) -> list[pystac.Link]:
    """Links to the catalogue, the source, the map page, and layers for QGIS and web maps."""
    blob, facts, name = request.cogs[0].blob, request.facts, request.item_id
    urls = build_titiler_urls(
        request.titiler_url, blob, request.collection_id, name, MAIN_ASSET, look
    )
    drawn = {"render": "default"}
    layer = f"{to_vsiaz_path(blob)}_WebMercatorQuad_default"
    collection = f"{request.stac_url.rstrip('/')}/collections/{request.collection_id}"
    return [
        pystac.Link("collection", collection, "application/json"),
        pystac.Link("self", f"{collection}/items/{name}", "application/geo+json"),
        pystac.Link(
            "derived_from",
            request.source_href,
            title=f"Source: {facts.source}",
            extra_fields={"geolathe:etag": facts.source_etag},
        ),
        pystac.Link("alternate", urls["viewer_url"], "text/html", "Map"),
        pystac.Link("tilejson", urls["tilejson_url"], "application/json", "TileJSON", drawn),
        pystac.Link("xyz", urls["tiles_url_template"], "image/png", "Map tiles", drawn),
        pystac.Link(
            "wmts",
            build_wmts_url(request.titiler_url, blob, look),
            "application/xml",
            "WMTS",
            {**drawn, "wmts:layer": layer},
        ),
    ]


def list_extensions(item: pystac.Item) -> list[str]:
    """The extensions whose fields the item has."""
    every = [band for asset in item.assets.values() for band in asset.extra_fields.get("bands", [])]
    fields = {key.partition(":")[0] for band in every for key in band if ":" in key}
    names = [
        "alternate-assets/v1.2.0",
        "file/v2.1.0",
        "processing/v1.1.0",
        "projection/v2.0.0",
        "render/v2.0.0",
        "web-map-links/v1.2.0",
    ]
    if "classification" in fields:
        names.append("classification/v2.0.0")
    if "eo" in fields:
        names.append("eo/v2.0.0")
    if "raster" in fields:
        names.append("raster/v2.0.0")
    return [f"{EXTENSIONS}/{name}/schema.json" for name in sorted(names)]
