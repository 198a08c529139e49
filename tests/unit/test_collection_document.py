"""The document and the links of a collection that is shown as one map."""

from urllib.parse import parse_qs, urlsplit

import pytest

from services.raster.kind import Kind, Structure
from services.raster.model import RasterType
from services.raster.mosaic.model import OverviewGrid
from services.stac.distribution import RANKS, Distribution
from services.stac.map_links import Rendering
from services.stac.model import BandScan, BandStatistics, MemberLook
from services.stac.mosaic import (
    Overview,
    choose_look,
    choose_zooms,
    describe_mosaic,
    describe_overview,
)

GRID = OverviewGrid(zoom=15, column=0, row=0, width=4_000, height=2_000)
COLLECTION = {
    "id": "survey a",
    "extent": {"spatial": {"bbox": [[10, 49.5, 10.5, 50]]}},
    "stac_extensions": ["https://example.org/own.json"],
    "assets": {"own": {"href": "https://example.org/own.pdf"}},
    "links": [{"rel": "license", "href": "https://example.org"}, {"rel": "xyz", "href": "old"}],
}


def kind(raster_type: RasterType, resolution: float = 1.0) -> Kind:
    structure = Structure(band_count=1, dtype="uint8", has_palette=False)
    return Kind(structure=structure, raster_type=raster_type, resolution=resolution)


def look(low: float, high: float, bands: int = 1, dtype: str = "float32", **fields) -> MemberLook:
    statistics = BandStatistics(
        minimum=low, maximum=high, mean=low, stddev=1, valid_percent=100, p2=low, p98=high
    )
    colors = ("red", "green", "blue") if bands == 3 else ("gray",)
    scans = [
        BandScan(
            index=index, data_type=dtype, color=color, description=None, unit=None, scale=1,
            offset=0, nodata=None, statistics=statistics,
        )
        for index, color in enumerate(colors, 1)
    ]  # fmt: skip
    values = tuple(low + rank * (high - low) for rank in RANKS)
    measured = tuple(
        Distribution(band=index, pixels=1_000, values=values) for index in range(1, bands + 1)
    )
    return MemberLook(
        **{"bands": scans, "palette": None, "classes": None, "is_inverted": False} | fields,
        distributions=measured,
    )


def choose(raster_type: RasterType, *looks: MemberLook) -> Rendering:
    return choose_look(kind(raster_type), lambda: looks)


def test_heights_have_one_stretch_for_all_members():
    found = choose(RasterType.DEM, look(0, 100), look(900, 1_000))
    assert found.colormap_name == "terrain"
    [(low, high)] = found.rescale
    assert low == pytest.approx(4, abs=1) and high == pytest.approx(996, abs=1)


def test_pictures_of_bytes_are_not_stretched():
    found = choose(RasterType.RGB, look(10, 90, 3, "uint8"), look(100, 250, 3, "uint8"))
    assert (found.bidx, found.rescale) == ((1, 2, 3), ())


def test_dark_members_do_not_decide_the_stretch():
    dark, bright = look(0, 20, 3, "uint8"), look(100, 250, 3, "uint8")
    assert choose(RasterType.RGB, dark, bright).rescale == ()
    assert choose(RasterType.RGB, dark, dark).rescale != ()


def test_classes_and_palettes_are_joined():
    members = look(0, 9, classes=(1, 2)), look(0, 9, classes=(2, 7))
    assert set(choose(RasterType.CATEGORICAL, *members).colormap) == {1, 2, 7}
    red, blue = (255, 0, 0, 255), (0, 0, 255, 255)
    members = look(0, 9, palette={1: red}), look(0, 9, palette={2: blue})
    assert choose(RasterType.CATEGORICAL, *members).palette == {1: red, 2: blue}


def test_a_member_without_valid_pixels_is_left_out():
    empty = look(0, 1).model_copy(update={"distributions": ()})
    [(low, high)] = choose(RasterType.DEM, empty, look(500, 600)).rescale
    assert 500 < low < high < 600


@pytest.mark.parametrize(
    ("resolution", "latitude", "expected"),
    [(1.0, 0, (12, 18)), (1.0, 60, (12, 17)), (64, 0, (12, 15))],
)
def test_zooms_begin_with_the_whole_collection_and_end_with_its_pixels(
    resolution, latitude, expected
):
    found = choose_zooms(kind(RasterType.RGB, resolution), GRID, latitude)
    assert found == expected


def test_the_document_names_the_map():
    rendering = Rendering(title="Grey", bidx=(1,), rescale=((0.5, 9),), colormap_name="gray")
    found = describe_mosaic(COLLECTION, rendering, (12, 18), "https://titiler.test/")
    fields, urls = found.fields, found.titiler_urls
    assert fields["renders"]["default"] == {
        "title": "Grey", "assets": ["data"], "bidx": [1], "asset_bidx": ["data|1"],
        "rescale": [[0.5, 9]], "colormap_name": "gray", "minmax_zoom": [12, 18],
    }  # fmt: skip
    assert "own" in fields["assets"] and "https://example.org/own.json" in fields["stac_extensions"]
    assert [each["rel"] for each in fields["links"]] == [
        "license", "alternate", "tilejson", "xyz", "wmts"
    ]  # fmt: skip
    viewer = urlsplit(urls["viewer_url"])
    assert viewer.path == "/collections/survey%20a/WebMercatorQuad/map.html"
    assert parse_qs(viewer.query) == {
        "assets": ["data|bidx=1"], "rescale": ["0.5,9"], "colormap_name": ["gray"],
        "minzoom": ["12"], "maxzoom": ["18"],
    }  # fmt: skip
    assert "/bbox/10,49.5,10.5,50.png?" in urls["preview_url"]


def test_an_overview_is_described_as_an_asset():
    overview = Overview(
        href="https://a.example.org/silver/o.tif", size_bytes=9, checksum="1220",
        shape=(2_000, 4_000), max_zoom=15,
    )  # fmt: skip
    asset = describe_overview(overview)
    assert (asset["roles"], asset["geolathe:maxzoom"]) == (["overview"], 15)
    assert (asset["proj:code"], asset["proj:shape"]) == ("EPSG:3857", [2_000, 4_000])


def test_the_former_overview_is_left_out():
    shown = COLLECTION | {"assets": {"overview": {"href": "old"}}}
    found = describe_mosaic(shown, Rendering(), (1, 2), "https://titiler.test")
    assert set(found.fields["assets"]) == {"thumbnail"}
