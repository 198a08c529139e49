"""Take screenshots of map pages: `./dev up`, then `python docs/screenshots.py rgb=FILE dem=FILE`.

Each raster is published, its share link opened in the browser of the tests, and the screenshot
written to docs/images/NAME.webp.
"""

import io
import os
import sys
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright
from rich.console import Console

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from local.client import process_file  # noqa: E402 - a script outside the packages
from local.install.chromium import find_chromium  # noqa: E402
from local.stack.stack import Stack  # noqa: E402

IMAGES = ROOT / "docs" / "images"
ALL_TILES_LOADED = "!document.querySelector('.leaflet-tile:not(.leaflet-tile-loaded)')"


def main() -> None:
    stack = Stack()
    found = find_chromium()
    if found is None:
        raise SystemExit("no browser found; ./dev test installs one")
    IMAGES.mkdir(exist_ok=True)
    with sync_playwright() as started:
        browser = started.chromium.launch(
            executable_path=found.program, env={**os.environ, **found.env}, args=["--no-sandbox"]
        )
        page = browser.new_page(viewport={"width": 960, "height": 600})
        for argument in sys.argv[1:]:
            name, _, file = argument.partition("=")
            job = process_file(stack.environment(), Path(file), Console(stderr=True))
            result = job.wait().result
            assert result is not None
            take_screenshot(page, result["share_url"], IMAGES / f"{name}.webp")
        browser.close()


def take_screenshot(page: Page, url: str, target: Path) -> None:
    """Wait for every tile, then save what a visitor sees."""
    page.goto(url)
    page.wait_for_selector(".leaflet-tile-loaded")
    page.wait_for_load_state("networkidle")
    page.wait_for_function(ALL_TILES_LOADED)
    page.wait_for_function(
        "[...document.querySelectorAll('.leaflet-tile')]"
        ".every(tile => getComputedStyle(tile).opacity === '1')"
    )
    Image.open(io.BytesIO(page.screenshot())).save(target, quality=80, method=6)


if __name__ == "__main__":
    main()
