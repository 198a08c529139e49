"""Check a deployment from outside: health, one raster from upload to map.

    GEOLATHE_URL=https://NAME.azurewebsites.net/api GEOLATHE_KEY=... python -m infra.hooks.smoke

It needs the client only (`pip install .`). The local stack passes the same script.
"""

import argparse
import os
import sys
import time
from pathlib import Path
from typing import Any

import httpx

from geolathe import Client, Error

SAMPLE = Path(__file__).parents[2] / "samples" / "bahamas_landsat7.tif"
FOLDER = "smoke"
HEALTH_SECONDS = 120


def wait_until_healthy(web: httpx.Client, api: str, key: str) -> None:
    """Print the state of every part. Raises Error if one of them stays unhealthy.

    The first connections after a start or a new role assignment may be slow or refused.
    """
    deadline = time.monotonic() + HEALTH_SECONDS
    while (response := read_health(web, api, key)).status_code == 503:
        if time.monotonic() > deadline:
            break
        time.sleep(2)
    for name, part in response.json()["parts"].items():
        print(f"{name}: {part['status']} {part.get('error', '')}".rstrip())
    if response.status_code == 503:
        raise Error(f"the deployment has been unhealthy for {HEALTH_SECONDS} seconds")


def read_health(web: httpx.Client, api: str, key: str) -> httpx.Response:
    """The health of the API, good or bad. Raises Error for any other answer."""
    response = web.get(f"{api}/health", headers={"x-functions-key": key})
    if response.status_code not in (200, 503):
        raise Error(f"{response.url}: HTTP {response.status_code}: {response.text[:300]}")
    return response


def check_map(web: httpx.Client, result: dict[str, Any]) -> None:
    """Open the share link and draw a preview. Raises HTTPError if the tile server refuses."""
    links = {"share link": result["share_url"]}
    links |= {name: result["titiler_urls"][name] for name in ("tilejson_url", "preview_url")}
    for name, url in links.items():
        web.get(url).raise_for_status()
        print(f"{name}: opens")


def run(api: str, key: str, timeout: float) -> str:
    """Process the sample. Returns the share link.

    Raises Error or HTTPError where the deployment fails.
    """
    # The first request may have to wait for a container to start.
    with httpx.Client(timeout=120, follow_redirects=True) as web, Client(api, key) as client:
        wait_until_healthy(web, api, key)
        source = client.upload(SAMPLE, f"{FOLDER}/{SAMPLE.name}")
        target = {"output_folder": FOLDER, "collection_id": FOLDER}
        job = client.submit("process_raster", source, **target).wait(timeout)
        print(f"process_raster: {job.status}")
        result = job.result or {}
        check_map(web, result)
    return str(result["share_url"])


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m infra.hooks.smoke", description=__doc__)
    parser.add_argument("--timeout", type=float, default=600, help="seconds for the job")
    options = parser.parse_args()
    try:
        print(run(os.environ["GEOLATHE_URL"], os.environ["GEOLATHE_KEY"], options.timeout))
    except (Error, httpx.HTTPError) as error:
        print(f"smoke test failed: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
