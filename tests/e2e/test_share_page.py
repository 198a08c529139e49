"""The share page in a real browser: every type of raster, without requests to other hosts."""

import json
from itertools import pairwise
from pathlib import Path

import pytest
import rasterio
from playwright.sync_api import expect
from rasterio.warp import transform as reproject

from core.models import BlobRef
from tests.fixtures.map_page import hide, opened, screenshot
from tests.fixtures.sample_items import RASTERS, UTM33, SampleItems, write_cog


def on_screen(page, column: int, row: int) -> tuple[int, int]:
    """The position of a pixel of the raster on the page."""
    [x], [y] = reproject(UTM33, "EPSG:4326", [500_000 + 30 * column], [5_500_000 - 30 * row])
    point = page.evaluate("([x, y]) => theMap.latLngToContainerPoint([y, x])", [x, y])
    return round(point["x"]), round(point["y"])


@pytest.mark.parametrize("name", RASTERS)
def test_every_type_is_drawn_at_the_right_place(name: str, page, sample_items: SampleItems):
    found = sample_items(name)
    opened(page, found.share_url)
    image = screenshot(page, name)
    hide(page)
    bare = screenshot(page, f"{name} hidden")
    places = [(150, 150), (450, 150), (150, 450)] + [(450, 450)] * (name != "rgba")
    seen = {tuple(image[y, x]) for x, y in (on_screen(page, *place) for place in places)}
    assert len(seen) > 1, "one colour"
    for place in places:
        x, y = on_screen(page, *place)
        assert tuple(image[y, x]) != tuple(bare[y, x]), f"{place} is not drawn"
    for outside in [(-10, 300), (300, -10), (300, 610)]:
        x, y = on_screen(page, *outside)
        assert tuple(image[y, x]) == tuple(bare[y, x]), f"{outside} is drawn"
    assert page.title() == name.replace("_", " ")


@pytest.mark.parametrize("key", ["share_url", "item_viewer_url"])
def test_colors_are_those_of_the_source(key: str, page, sample_items: SampleItems):
    found = sample_items("rgb")
    opened(page, found.titiler_urls.get(key, found.share_url))
    image = screenshot(page, f"rgb {key}")
    for place, color in [((150, 150), (250, 10, 10)), ((450, 150), (10, 250, 10)),
                         ((150, 450), (10, 10, 250)), ((450, 450), (200, 200, 0))]:  # fmt: skip
        x, y = on_screen(page, *place)
        assert image[y, x].astype(int) == pytest.approx(color, abs=6)


def test_the_page_describes_the_raster(page, sample_items: SampleItems):
    opened(page, sample_items("dem").share_url)
    facts = page.locator("#facts").inner_text()
    for expected in (
        "January 2, 2026 (date of upload)",
        "49.571° N, 15.125° E",
        "Elevation model",
        "30 m a pixel",
        "600 \u00d7 600 pixels",
        "float32",
        "EPSG:32633",
        "bronze-rasters/in/dem.tif",
    ):
        assert expected in facts
    legend = page.locator("#legend")
    assert legend.locator("img").evaluate("image => image.complete && image.naturalWidth") == 256
    assert legend.inner_text().split() == ["≤", "350", "1,000", "1,500", "2,000", "≥", "2,750"]
    page.get_by_label("Hillshade").check()
    expect(legend).to_be_hidden()
    page.wait_for_load_state("networkidle")
    screenshot(page, "dem hillshade")
    stac = page.get_by_role("link", name="STAC item").get_attribute("href")
    assert (
        stac
        == f"https://stac.example.org/collections/test-rasters/items/{sample_items('dem').item_id}"
    )


def test_classes_have_a_legend(page, sample_items: SampleItems):
    opened(page, sample_items("classes").share_url)
    lines = page.locator("#legend li")
    expect(lines).to_have_text(["Class 1", "Class 2", "Class 3", "Class 7"])
    x, y = on_screen(page, 450, 150)
    page.mouse.click(x, y)
    expect(page.locator(".values")).to_contain_text("band 1: class 2")
    shade = lines.first.locator("i").evaluate("swatch => getComputedStyle(swatch).backgroundColor")
    assert shade == "rgb(230, 0, 0)"


def test_two_hundred_classes_have_a_legend_in_the_colors_of_the_map(page, sample_items):
    opened(page, sample_items("many_classes").share_url)
    image = screenshot(page, "many classes")
    lines = page.locator("#legend li")
    assert lines.all_inner_texts() == [f"Class {number}" for number in range(1, 201)]
    shades = lines.locator("i").evaluate_all(
        "swatches => swatches.map(one => getComputedStyle(one).backgroundColor.match(/\\d+/g))"
    )
    assert len({tuple(shade) for shade in shades}) == 200
    for number in (24, 65, 90, 129, 170):
        row, column = divmod(number - 1, 20)
        x, y = on_screen(page, 30 * column + 15, 30 * row + 15)
        assert image[y, x].astype(int) == pytest.approx([int(v) for v in shades[number - 1]], abs=6)
    last = lines.last
    last.scroll_into_view_if_needed()
    assert last.is_visible()


def test_bands_have_readable_names(page, sample_items: SampleItems):
    opened(page, sample_items("multispectral").share_url)
    lines = ["Red: band 3", "Green: band 2", "Blue: band 1"]
    expect(page.locator("#legend li")).to_have_text(lines)
    assert "Bands\n6\n" in page.locator("#facts").inner_text()


def test_the_url_follows_the_view_and_a_button_resets_it(page, sample_items: SampleItems):
    url = sample_items("rgb").share_url
    opened(page, url)
    whole = page.evaluate("theMap.getZoom()")
    page.get_by_role("button", name="Zoom in").click()
    page.wait_for_function("location.hash")
    address = page.url
    page.goto("about:blank")
    opened(page, address)
    assert page.evaluate("theMap.getZoom()") == whole + 1
    page.get_by_role("button", name="Show the whole raster").click()
    page.wait_for_function("zoom => theMap.getZoom() === zoom", arg=whole)


def test_pixels_are_not_smoothed_beyond_their_resolution(page, sample_items: SampleItems):
    opened(page, sample_items("classes").share_url)
    rendering = "getComputedStyle(document.querySelector('.leaflet-tile')).imageRendering"
    assert page.evaluate(rendering) == "auto"
    page.evaluate("theMap.setZoom(20, {animate: false})")
    page.wait_for_function(f"{rendering} === 'pixelated'")


def test_the_page_shows_the_location(page, sample_items: SampleItems):
    opened(page, sample_items("rgb").share_url)
    expect(page.locator(".degrees").filter(has_text="15.2° E").first).to_be_visible()
    assert page.locator("#region path").count() > 3


def test_no_coast_crosses_the_whole_map():
    land = json.loads(Path("tiles/static/land.json").read_text())
    rings = [ring for part in land["coordinates"] for ring in part]
    assert not [
        (a, b)
        for ring in rings
        for a, b in pairwise(ring)
        if abs(a[0] - b[0]) > 180 and max(a[1], b[1]) > -86
    ]


def test_unavailable_tiles_are_reported(chromium, sample_items: SampleItems):
    with chromium.new_context() as context:
        page = context.new_page()
        page.route("**/cog/tiles/**", lambda route: route.fulfill(status=500))
        page.goto(sample_items("rgb").share_url)
        expect(page.locator("#message")).to_contain_text("cannot be loaded now")


def test_file_can_be_downloaded(page, sample_items: SampleItems):
    found = sample_items("rgb")
    opened(page, found.share_url)
    with page.expect_download() as waiting:
        page.get_by_role("link", name="Download").click()
    size = Path(waiting.value.path()).stat().st_size
    assert size == found.stac_item["assets"]["data"]["file:size"]


@pytest.mark.parametrize(
    "page",
    [{"viewport": {"width": 390, "height": 844}, "has_touch": True, "color_scheme": "dark"}],
    indirect=True,
)
def test_the_page_fits_a_phone(page, sample_items: SampleItems):
    opened(page, sample_items("multispectral").share_url)
    screenshot(page, "phone dark")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.locator("#fold").click()
    assert page.locator("#facts").is_hidden()
    for place in [(20, 20), (580, 580)]:
        x, y = on_screen(page, *place)
        assert 0 <= x <= 390
        assert 0 <= y <= 844


def test_a_file_without_an_item_has_a_page(page, sample_items: SampleItems, titiler: str):
    blob = f"/vsiaz/{sample_items.silver}/{sample_items('rgb').blob_name}"
    url = page.request.get(f"{titiler}/cog/WebMercatorQuad/map.html", params={"url": blob}).url
    opened(page, url)
    assert "600 \u00d7 600 pixels" in page.locator("#facts").inner_text()


@pytest.mark.parametrize(
    ("crs", "place"),
    [
        ("EPSG:3832", rasterio.Affine(1100, 0, 3_005_000, 0, -1100, -1_570_000)),
        ("EPSG:4326", rasterio.Affine(0.01, 0, 177, 0, -0.01, -14)),
    ],
)
def test_raster_across_the_antimeridian_is_drawn_on_both_sides(
    crs: str, place: rasterio.Affine, page, sample_items: SampleItems, titiler: str, tmp_path: Path
):
    path = write_cog(tmp_path / "fiji.tif", "dem", crs, place)
    blob = BlobRef(container=sample_items.silver, name="fiji.tif")
    sample_items.blobs.upload(blob, path, content_type="image/tiff")
    name, query = f"/vsiaz/{blob.container}/{blob.name}", "&rescale=300,2800&colormap_name=terrain"
    opened(page, f"{titiler}/cog/WebMercatorQuad/map.html?url={name}{query}")
    image = screenshot(page, "antimeridian")
    hide(page)
    bare = screenshot(page, "antimeridian hidden")
    for longitude, drawn in ((178, True), (182, True), (186, False)):
        point = page.evaluate("x => theMap.latLngToContainerPoint([-17, x])", longitude)
        x, y = round(point["x"]), round(point["y"])
        assert (tuple(image[y, x]) != tuple(bare[y, x])) is drawn, longitude
    point = page.evaluate("theMap.latLngToContainerPoint([-17, 182])")
    page.mouse.click(point["x"], point["y"])
    page.wait_for_function("document.querySelector('.values')?.textContent.includes('band 1')")
    assert "° W\nband 1: 2," in page.locator(".values").inner_text()


def test_missing_file_is_explained(chromium, sample_items: SampleItems, titiler: str):
    with chromium.new_context() as context:
        page = context.new_page()
        page.goto(f"{titiler}/cog/WebMercatorQuad/map.html?url=/vsiaz/{sample_items.silver}/no.tif")
        expect(page.locator("#title")).to_have_text("This raster cannot be shown")
