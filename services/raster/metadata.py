"""The metadata of a source that its COG keeps: tags of the file, tags of bands, class names."""

from collections.abc import Mapping
from xml.etree import ElementTree

import rasterio
import rasterio.shutil
from rasterio.io import DatasetReader

# These describe the file rather than the picture, or are written anew.
_DROPPED_PREFIXES = ("STATISTICS_", "OVR_", "OVERVIEW_", "NETCDF_", "XML_")
_DROPPED = {
    "AREA_OR_POINT", "NODATA_VALUES", "_FillValue", "missing_value", "scale_factor", "add_offset",
    "TIFFTAG_XRESOLUTION", "TIFFTAG_YRESOLUTION", "TIFFTAG_RESOLUTIONUNIT",
    "TIFFTAG_MINSAMPLEVALUE", "TIFFTAG_MAXSAMPLEVALUE",
}  # fmt: skip
_LONGEST_TAG = 4_000
_MOST_TAGS = 100
_MOST_TAGGED_BANDS = 100
_MOST_CATEGORIES = 1_000
_LONGEST_CATEGORY = 200
# Usages of the columns of a raster attribute table, GDALRATFieldUsage.
_NAME, _MINIMUM, _VALUE = "2", "3", "5"


def read_tags(dataset: DatasetReader) -> dict[str, str]:
    """Tags of the file, those of TIFF with the copyright first."""
    tags = sorted(dataset.tags().items(), key=lambda tag: (not tag[0].startswith("TIFFTAG_"), tag))
    return _keep(dict(tags))


def read_band_tags(dataset: DatasetReader, band: int) -> dict[str, str]:
    """Tags of a band, such as its wavelength. Those of the first hundred bands are kept."""
    return _keep(dataset.tags(band)) if band <= _MOST_TAGGED_BANDS else {}


def _keep(tags: Mapping[str, str]) -> dict[str, str]:
    kept = {
        key: "".join(char for char in value if char.isprintable() or char in "\n\t")[:_LONGEST_TAG]
        for key, value in tags.items()
        if key.isprintable() and key not in _DROPPED and not key.startswith(_DROPPED_PREFIXES)
    }
    return dict(list(kept.items())[:_MOST_TAGS])


def read_categories(dataset: DatasetReader) -> dict[int, str]:
    """Names of the classes of the first band, from its category names or attribute table.

    rasterio reads neither, so GDAL writes a VRT that contains both:
    https://gdal.org/en/stable/drivers/raster/vrt.html
    """
    if not dataset.dtypes[0].lstrip("u").startswith("int"):
        return {}
    with rasterio.MemoryFile(ext=".vrt") as memory:
        rasterio.shutil.copy(dataset, memory.name, driver="VRT")
        band = ElementTree.fromstring(memory.read()).find("VRTRasterBand")
    if band is None:
        return {}
    named = _category_names(band) or _attribute_table(band)
    found = {value: name.strip()[:_LONGEST_CATEGORY] for value, name in named.items()}
    kept = [(value, name) for value, name in sorted(found.items()) if name]
    return dict(kept[:_MOST_CATEGORIES])


def _category_names(band: ElementTree.Element) -> dict[int, str]:
    names = band.findall("CategoryNames/Category")
    return {value: name.text or "" for value, name in enumerate(names)}


def _attribute_table(band: ElementTree.Element) -> dict[int, str]:
    """The values and names of an attribute table whose columns say that they are these."""
    table = band.find("GDALRasterAttributeTable")
    if table is None:
        return {}
    usages = {
        field.findtext("Usage"): int(field.get("index", 0)) for field in table.iter("FieldDefn")
    }
    value, name = usages.get(_VALUE, usages.get(_MINIMUM)), usages.get(_NAME)
    if name is None:
        return {}
    # Without a column of values, a row's number is its value, as in ERDAS IMAGINE.
    found = {}
    for row in table.iter("Row"):
        cells = [cell.text or "" for cell in row.iter("F")]
        key = row.get("index", "0") if value is None else cells[value]
        found[int(float(key))] = cells[name]
    return found
