"""Real rasters through the real handlers: each item is valid, and each link returns an image."""

import io
import os
from collections.abc import Iterator

import httpx
import numpy as np
import pytest
from PIL import Image
from shapely.geometry import box, shape

from core.models import BlobRef
from infrastructure.database import open_pool
from infrastructure.pgstac import PgstacCatalog
from services.create_cog import CreateCog, create_cog
from services.extract_stac_metadata import ExtractStac, extract_stac_metadata
from services.raster.model import Tier
from tests.fixtures.corpus import Raster, rasters
from tests.fixtures.raster_handlers import RasterHandlers
from tests.fixtures.sample_items import context
from tests.fixtures.stac_validation import problems

# One of each type and of each difficult location; all of them would take minutes.
FEW = {
    "antimeridian.tif",
    "dem_geographic_int16.tif",
    "multispectral_aster_uint16_5band.tif",
    "palette_int8_lambert.tif",
    "png_georef_auxxml_utm13.png",
    "polar_stereographic.tif",
    "rgba_deflate_utm13.tif",
    "rgbnir_naip_utm16.tif",
    "south_up_float32.tif",
}
REST = pytest.mark.skipif(
    "GEOLATHE_CORPUS" not in os.environ,
    reason="only a few real rasters are catalogued here: GEOLATHE_CORPUS=folder takes them all,"
    " and so does ./dev corpus",
)
CONVERTED = [
    pytest.param(raster, id=raster.name, marks=() if raster.name in FEW else REST)
    for raster in rasters()
    if raster.expect == "cog"
]
ONE_COLOUR = {"sparse_cog.tif"}  # no valid pixels


@pytest.fixture(scope="module")
def handlers(azurite, tmp_path_factory) -> Iterator[RasterHandlers]:
    with RasterHandlers.open(
        azurite.connection_string, tmp_path_factory.mktemp("handlers")
    ) as handlers:
        yield handlers


@pytest.fixture(scope="module")
def catalogue(catalogue_url: str):
    with open_pool(catalogue_url, max_size=2) as pool:
        yield PgstacCatalog(pool)


@pytest.mark.parametrize("raster", CONVERTED)
def test_real_raster_is_catalogued_and_shown(
    raster: Raster, handlers: RasterHandlers, catalogue: PgstacCatalog, titiler: str, silver: str
):
    ctx = context(handlers.blobs, catalogue, titiler, "https://stac.example.org")
    facts = handlers.validate(handlers.put(raster.path))
    target = BlobRef(container=silver, name=f"corpus/{raster.name}.tif")
    cog = create_cog(CreateCog(facts=facts, target=target, tier=Tier.ANALYSIS), handlers.context())
    found = extract_stac_metadata(ExtractStac(facts=facts, cogs=(cog,), collection_id="real"), ctx)
    assert problems(found.stac_item) == []
    outline = shape(found.stac_item["geometry"])
    assert outline.is_valid
    assert raster.bbox is not None
    west, south, east, north = raster.bbox
    boxes = [(west, east)] if west <= east else [(west, 180.0), (-180.0, east)]
    # The COG's grid ends up to a pixel beyond the raster; all corpus COGs are in degrees.
    margin = 0.02 * (north - south) + abs(found.stac_item["properties"]["proj:transform"][0])
    known = [box(w, south, e, north).buffer(margin) for w, e in boxes]
    assert outline.difference(known[0].union(known[-1])).area <= 1e-9
    with httpx.Client(timeout=60) as client:
        for key, url in found.titiler_urls.items():
            if key != "tiles_url_template":
                answer = client.get(url)
                assert answer.status_code == 200, f"{key} {url}: {answer.text[:300]}"
        preview = client.get(found.titiler_urls["preview_url"])
    image = np.asarray(Image.open(io.BytesIO(preview.content)).convert("RGBA"))
    if raster.name not in ONE_COLOUR:
        assert len(np.unique(image.reshape(-1, 4), axis=0)) > 1, "one colour"
