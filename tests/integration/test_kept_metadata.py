"""Tags, attribution and class names of a source, read back from its COG by rasterio."""

import json
from collections.abc import Iterator

import pytest
import rasterio

from services.raster.metadata import read_categories
from tests.fixtures.made_rasters import classes, hills, write
from tests.fixtures.raster_handlers import RasterHandlers

LICENCE = "© Survey of Somewhere 2024\nCC BY 4.0 " + "x" * 1_500


@pytest.fixture(scope="module")
def handlers(azurite, tmp_path_factory) -> Iterator[RasterHandlers]:
    with RasterHandlers.open(
        azurite.connection_string, tmp_path_factory.mktemp("handlers")
    ) as handlers:
        yield handlers


@pytest.mark.parametrize("target", ["native", "EPSG:4326"])
@pytest.mark.parametrize("bands", [2, 6])
def test_tags_of_file_and_bands_are_kept(handlers, tmp_path, target, bands):
    path = write(tmp_path / "tagged.tif", hills(200, bands, "int16"), nodata=-32768)
    with rasterio.open(path, "r+") as source:
        source.update_tags(
            TIFFTAG_COPYRIGHT=LICENCE, TIFFTAG_SOFTWARE="Stitcher 3", TIFFTAG_ARTIST="N. N.",
            TIFFTAG_DATETIME="2021:03:04 05:06:07", TIFFTAG_XRESOLUTION="72", mission="A",
        )  # fmt: skip
        source.update_tags(1, wavelength="665", fwhm="30", STATISTICS_MAXIMUM="5")
        source.update_tags(bands, wavelength="842")
        source.descriptions = [f"B{band}" for band in range(bands)]
    cog = handlers.make(path, target_crs=target)
    with handlers.opened(cog) as made:
        tags = made.tags()
        assert tags["TIFFTAG_COPYRIGHT"] == LICENCE
        assert (tags["TIFFTAG_SOFTWARE"], tags["TIFFTAG_ARTIST"]) == ("Stitcher 3", "N. N.")
        assert tags["TIFFTAG_DATETIME"] == "2021:03:04 05:06:07" and tags["mission"] == "A"
        assert "TIFFTAG_XRESOLUTION" not in tags
        assert made.tags(1)["wavelength"] == "665" and made.tags(1)["fwhm"] == "30"
        assert made.tags(bands)["wavelength"] == "842"
        assert made.tags(1).get("STATISTICS_MAXIMUM") != "5"
        assert made.descriptions[-1] == f"B{bands - 1}"


def write_attributes(path, body: str):
    aux = f'<PAMDataset><PAMRasterBand band="1">{body}</PAMRasterBand></PAMDataset>'
    path.with_name(f"{path.name}.aux.xml").write_text(aux)
    return path


TABLE = """<GDALRasterAttributeTable tableType="thematic">
<FieldDefn index="0"><Name>Count</Name><Type>0</Type><Usage>1</Usage></FieldDefn>
<FieldDefn index="1"><Name>Code</Name><Type>0</Type><Usage>5</Usage></FieldDefn>
<FieldDefn index="2"><Name>Label</Name><Type>2</Type><Usage>2</Usage></FieldDefn>
<Row index="0"><F>9</F><F>11</F><F>Open water</F></Row>
<Row index="1"><F>9</F><F>41</F><F>Forest &amp; scrub</F></Row></GDALRasterAttributeTable>"""


@pytest.mark.parametrize("target", ["native", "EPSG:4326"])
def test_an_attribute_table_names_the_classes(handlers, tmp_path, target):
    path = write_attributes(write(tmp_path / "landuse.tif", classes()), TABLE)
    cog = handlers.make(path, target_crs=target)
    expected = {"11": "Open water", "41": "Forest & scrub"}
    with handlers.opened(cog) as made:
        assert json.loads(made.tags(1)["CATEGORY_NAMES"]) == expected


def test_category_names_are_read(tmp_path):
    names = "".join(f"<Category>{name}</Category>" for name in ("", "Water", "Forest"))
    path = write(tmp_path / "classes.tif", classes())
    write_attributes(path, f"<CategoryNames>{names}</CategoryNames>")
    with rasterio.open(path) as source:
        assert read_categories(source) == {1: "Water", 2: "Forest"}
