"""Map links: paths, quoting and rendering parameters."""

from urllib.parse import parse_qsl, unquote, urlsplit

import pytest

from core.models import BlobRef
from services.stac.map_links import (
    Rendering,
    build_cog_links,
    build_item_links,
    build_titiler_urls,
    build_wmts_url,
    format_number,
)

BASE = "https://tiles.example.org/titiler/"
BLOB = BlobRef(container="silver-cogs", name="cogs/my_test/dctest_cog_analysis.tif")
ODD = BlobRef(container="silver-cogs", name="a b/ü & 100% #1?x=1+2.tif")


def query(url: str) -> list[tuple[str, str]]:
    return parse_qsl(urlsplit(url).query, strict_parsing=True)


def test_nine_links_have_the_paths_of_the_seed():
    links = build_cog_links(BASE, BLOB, Rendering())
    prefix = "https://tiles.example.org/titiler/cog/"
    url = "?url=%2Fvsiaz%2Fsilver-cogs%2Fcogs%2Fmy_test%2Fdctest_cog_analysis.tif"
    assert links == {
        "viewer_url": f"{prefix}WebMercatorQuad/map.html{url}",
        "info_url": f"{prefix}info{url}",
        "preview_url": f"{prefix}preview.png{url}&max_size=512",
        "thumbnail_url": f"{prefix}preview.png{url}&max_size=256",
        "statistics_url": f"{prefix}statistics{url}",
        "bounds_url": f"{prefix}bounds{url}",
        "info_geojson_url": f"{prefix}info.geojson{url}",
        "tilejson_url": f"{prefix}WebMercatorQuad/tilejson.json{url}",
        "tiles_url_template": f"{prefix}tiles/WebMercatorQuad/{{z}}/{{x}}/{{y}}.png{url}",
    }


@pytest.mark.parametrize("key", build_cog_links(BASE, ODD, Rendering()))
def test_unusual_names_are_quoted(key: str):
    url = build_cog_links(BASE, ODD, Rendering())[key]
    assert dict(query(url))["url"] == f"/vsiaz/{ODD}"
    assert " " not in url


def test_only_links_that_draw_have_rendering_parameters():
    look = Rendering(bidx=(3, 2, 1), rescale=((0, 2000), (1.5, 3000)), colormap_name="viridis")
    links = build_cog_links(BASE, BLOB, look)
    wanted = [
        ("bidx", "3"), ("bidx", "2"), ("bidx", "1"), ("rescale", "0,2000"),
        ("rescale", "1.5,3000"), ("colormap_name", "viridis"),
    ]  # fmt: skip
    for key in ("viewer_url", "preview_url", "thumbnail_url", "tilejson_url", "tiles_url_template"):
        assert query(links[key])[1:7] == wanted
    for key in ("info_url", "statistics_url", "bounds_url", "info_geojson_url"):
        assert [name for name, _ in query(links[key])] == ["url"]


def test_item_links_write_bands_as_titiler_pgstac_3_reads_them():
    look = Rendering(bidx=(1, 2, 3), rescale=((0, 255),))
    links = build_item_links(BASE, "system-rasters", "site.7", "data", look)
    assert links["item_viewer_url"] == (
        "https://tiles.example.org/titiler/collections/system-rasters/items/site.7"
        "/WebMercatorQuad/map.html?assets=data%7Cbidx%3D1%2C2%2C3&rescale=0%2C255"
    )
    assert "asset_bidx" not in links["item_tilejson_url"]


def test_classes_without_a_colour_table_have_their_colors_in_the_link():
    colors = {7: (255, 0, 0, 255), -1: (0, 0, 255, 128)}
    expected = ("colormap", '{"-1":"#0000ff80","7":"#ff0000"}')
    bare, table = Rendering(colormap=colors), Rendering(palette=colors)
    assert expected in query(build_cog_links(BASE, BLOB, bare)["viewer_url"])
    assert expected in query(build_item_links(BASE, "c", "i", "data", bare)["item_viewer_url"])
    assert expected not in query(build_cog_links(BASE, BLOB, table)["viewer_url"])
    assert expected in query(build_item_links(BASE, "c", "i", "data", table)["item_viewer_url"])


def test_algorithm_links_request_a_buffer():
    links = build_cog_links(BASE, BLOB, Rendering(algorithm="hillshade"))
    assert query(links["tilejson_url"])[1:] == [("algorithm", "hillshade"), ("buffer", "3")]


def test_every_link_is_present():
    urls = build_titiler_urls(BASE, BLOB, "c", "i", "data", Rendering())
    assert len(urls) == 11
    assert all(url.startswith("https://tiles.example.org/titiler/") for url in urls.values())


def test_wmts_has_the_same_rendering():
    url = build_wmts_url(BASE, BLOB, Rendering(bidx=(1,)))
    assert unquote(url).endswith(f"/cog/WMTSCapabilities.xml?url=/vsiaz/{BLOB}&bidx=1")


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0"), (255.0, "255"), (-32768.0, "-32768"), (1626.818, "1626.818"), (1e-7, "1e-07"),
     (-3.4e38, "-3.4e+38")],
)  # fmt: skip
def test_numbers_are_short_and_exact(value: float, text: str):
    assert format_number(value) == text
    assert float(text) == value
