"""The page of a collection in a real browser."""

import re

import numpy as np
import pytest
from playwright.sync_api import expect
from rasterio.warp import transform

from services.raster.model import RasterType
from tests.fixtures.map_page import hide, opened, screenshot
from tests.fixtures.mosaics import Mosaics, make_overview
from tests.fixtures.surveys import CORNER, SIDE, surface, survey

COLUMNS, ROWS = 3, 2
TITLE = "City survey"
PANEL = 420
"""Pixels at the right that the panel may cover."""


@pytest.fixture(scope="module")
def link(mosaics: Mosaics, titiler: str, tmp_path_factory) -> str:
    """The share link of a survey of smooth pixels with an overview."""
    folder = tmp_path_factory.mktemp("survey")
    whole = (surface(COLUMNS * SIDE, ROWS * SIDE, 3) * 200 + 20).astype("uint8")
    members = survey(folder, whole)
    overview, zoom = make_overview(members, RasterType.RGB, folder)
    fields = {
        "title": TITLE,
        "geolathe:failed": 3,
        "assets": mosaics.overview(overview, zoom),
        "renders": {"default": {"title": "Natural colour", "assets": ["data"], "bidx": [1, 2, 3]}},
    }
    name = mosaics.add(members, **fields)
    shown = "assets=data%7Cbidx%3D1%2C2%2C3&minzoom=8&maxzoom=17"
    return f"{titiler}/collections/{name}/WebMercatorQuad/map.html?{shown}"


def on_screen(page, column: int, row: int) -> tuple[int, int]:
    """The position of a pixel of the survey on the page."""
    x, y, size = CORNER
    [lon], [lat] = transform("EPSG:32633", "EPSG:4326", [x + column * size], [y - row * size])
    point = page.evaluate("([x, y]) => theMap.latLngToContainerPoint([y, x])", [lon, lat])
    return round(point["x"]), round(point["y"])


def zoom_to(page, zoom: int) -> None:
    """Show the middle of the survey, to the left of the panel, at a zoom."""
    page.evaluate("zoom => theMap.setZoom(zoom, {animate: false})", zoom)
    page.wait_for_load_state("networkidle")
    page.wait_for_function("!document.querySelector('.leaflet-tile:not(.leaflet-tile-loaded)')")
    page.wait_for_function(
        "[...document.querySelectorAll('.leaflet-tile')]"
        ".every(tile => getComputedStyle(tile).opacity === '1')"
    )


@pytest.mark.parametrize("zoom", [13, 15, 16])
def test_the_mosaic_has_no_seam(zoom, page, link):
    opened(page, link)
    zoom_to(page, zoom)
    image = screenshot(page, f"collection {zoom}").astype(int)
    hide(page)
    bare = screenshot(page, f"collection {zoom} hidden").astype(int)
    drawn = (image != bare).any(axis=2)
    edges = page.evaluate(
        "[...document.querySelectorAll('.leaflet-tile')].map(t => t.getBoundingClientRect())"
        ".map(r => [Math.round(r.left), Math.round(r.top)])"
    )
    width = drawn.shape[1]
    steps = np.abs(np.diff(image, axis=1)).max(axis=2)
    both = drawn[:, 1:] & drawn[:, :-1]
    both[:, width - PANEL :] = False
    seams = {left for left, _ in edges if 1 < left < width - PANEL}
    assert both.any()
    elsewhere = [x for x in range(width - 1) if both[:, x].any() and x + 1 not in seams]
    usual = max(steps[both[:, x], x].mean() for x in elsewhere)
    for left in seams:
        there = both[:, left - 1]
        if there.any():
            assert steps[there, left - 1].mean() <= usual + 2, f"seam at {left}"


def test_the_page_describes_the_collection(page, link):
    opened(page, link)
    assert page.title() == TITLE
    facts = page.locator("#facts").inner_text()
    assert "A survey" in facts
    assert "3 rasters could not be processed" in facts
    expect(page.get_by_role("button", name="Copy the XYZ address, for web maps")).to_be_visible()
    address = page.locator("[data-address*='{z}']").get_attribute("data-address")
    assert "/collections/" in address
    assert page.get_by_role("link", name="STAC collection").count() == 1


def test_a_click_shows_the_raster_and_its_date(page, link):
    opened(page, link)
    page.mouse.click(*on_screen(page, SIDE // 2, SIDE + SIDE // 2))
    here = page.locator(".here")
    expect(here).to_contain_text(f"0_{SIDE}")
    expect(here).to_contain_text(re.compile(r"May \d+, 2026"))
    with page.expect_navigation():
        here.get_by_role("link").click()
    page.wait_for_selector(".leaflet-tile-loaded")
    assert page.title() == f"0_{SIDE}"


def test_footprints_are_drawn_on_demand(page, link):
    opened(page, link)
    assert page.locator(".footprint").count() == 0
    page.get_by_label("Footprints").check()
    expect(page.locator(".footprint")).to_have_count(COLUMNS * ROWS)
    page.get_by_label("Footprints").uncheck()
    expect(page.locator(".footprint")).to_have_count(0)


def test_the_list_shows_each_raster_and_goes_to_it(page, link):
    opened(page, link)
    lines = page.locator("#members li")
    expect(lines).to_have_count(COLUMNS * ROWS)
    expect(page.locator("#more")).to_be_hidden()
    before = page.evaluate("theMap.getZoom()")
    lines.last.get_by_role("button").click()
    page.wait_for_function("zoom => theMap.getZoom() > zoom", arg=before)


def test_an_unknown_collection_is_explained(chromium, titiler: str):
    with chromium.new_context() as context:
        page = context.new_page()
        answer = page.goto(f"{titiler}/collections/no-such/WebMercatorQuad/map.html")
        assert answer.status == 404
        assert "no-such" in answer.text()
