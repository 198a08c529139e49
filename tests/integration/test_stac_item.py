"""Items as the real handler stores them in the real pgSTAC."""

from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from psycopg_pool import ConnectionPool
from pystac import Item
from rasterio.transform import Affine
from shapely.geometry import Point, shape

from core.errors import TaskFailed
from core.handler import TaskContext
from core.models import BlobRef
from infrastructure.blob_storage import AzureBlobs
from infrastructure.pgstac import PgstacCatalog
from local.emulators.azurite import Azurite
from services.extract_stac_metadata import ExtractStac, StacItem, extract_stac_metadata
from services.stac.scan import COMPLEX
from tests.fixtures.sample_items import RASTERS, cog, context, facts, prepare_item, write_cog
from tests.fixtures.stac_validation import problems

TITILER = "https://tiles.example.org"
STAC = "https://stac.example.org"

NAMED_BY_DATE = BlobRef(container="bronze-rasters", name="in/S2_20200902T101112_x.tif")


@pytest.fixture(scope="session")
def blobs(azurite: Azurite) -> Iterator[AzureBlobs]:
    with closing(AzureBlobs(azurite.connection_string)) as blobs:
        yield blobs


@pytest.fixture
def ctx(blobs: AzureBlobs, pool: ConnectionPool) -> Iterator[TaskContext]:
    return context(blobs, PgstacCatalog(pool), TITILER, STAC)


@pytest.fixture
def publish(ctx: TaskContext, blobs: AzureBlobs, silver: str, tmp_path: Path):
    def publish(name: str, **changes) -> StacItem:
        return extract_stac_metadata(prepare_item(name, blobs, silver, tmp_path, **changes), ctx)

    return publish


@pytest.mark.parametrize("name", RASTERS)
def test_item_of_every_type_is_valid_and_complete(name, publish, ctx):
    result = publish(name)
    item = result.stac_item
    assert problems(item) == []
    Item.from_dict(item)
    assert result.inserted_to_pgstac
    assert not result.item_skipped
    properties = item["properties"]
    assert properties["proj:code"] == "EPSG:32633"
    assert properties["proj:shape"] == [600, 600]
    assert properties["proj:transform"] == [30, 0, 500_000, 0, -30, 5_500_000]
    assert properties["proj:bbox"] == [500_000, 5_482_000, 518_000, 5_500_000]
    assert properties["gsd"] == 30
    assert properties["created"] == properties["updated"]
    assert properties["geolathe:source"] == f"bronze-rasters/in/{name}.tif"
    asset = item["assets"]["data"]
    assert asset["file:checksum"].startswith("1220")
    assert len(asset["bands"]) == len(RASTERS[name][1])
    bands = RASTERS[name][1]
    seen = bands[3] > 0 if name == "rgba" else np.ones_like(bands[0], dtype=bool)
    for band, pixels in zip(asset["bands"][:3], (b[seen] for b in bands[:3]), strict=True):
        assert band["data_type"] == COMPLEX.get(str(pixels.dtype), str(pixels.dtype))
        pixels = np.abs(pixels) if name == "complex" else pixels
        assert band["statistics"]["minimum"] == pytest.approx(pixels.min(), rel=0.01, abs=1)
        assert band["statistics"]["maximum"] == pytest.approx(pixels.max(), rel=0.01, abs=1)
    assert "sig=" not in str(item), "a signed address must not be stored"


def test_the_footprint_excludes_pixels_without_data(ctx, blobs, silver, tmp_path):
    path = write_cog(tmp_path / "collar.tif", "dem", collar=150)
    blob = BlobRef(container=silver, name="collar.tif")
    blobs.upload(blob, path, content_type="image/tiff")
    made_of = facts("dem", BlobRef(container="bronze-rasters", name="collar.tif"))
    params = ExtractStac(facts=made_of, cogs=(cog(path, blob, made_of),), collection_id="c")
    item = extract_stac_metadata(params, ctx).stac_item
    # Half of each side has data: a quarter of the raster's 18 km by 18 km.
    whole = (18_000 / 111_320) * (18_000 / 72_000)
    outline = shape(item["geometry"])
    assert outline.area == pytest.approx(whole / 4, rel=0.05)
    assert item["bbox"] == pytest.approx(outline.bounds)
    assert item["assets"]["data"]["bands"][0]["statistics"]["valid_percent"] == pytest.approx(
        25, abs=0.5
    )


def test_item_over_the_antimeridian_is_split(ctx, blobs, silver, tmp_path):
    place = Affine(200, 0, 650_000, 0, -200, 5_800_000)
    path = write_cog(tmp_path / "far.tif", "continuous", "EPSG:32660", place)
    blob = BlobRef(container=silver, name="far.tif")
    blobs.upload(blob, path, content_type="image/tiff")
    made_of = facts("continuous", BlobRef(container="bronze-rasters", name="far.tif"))
    params = ExtractStac(facts=made_of, cogs=(cog(path, blob, made_of),), collection_id="far")
    item = extract_stac_metadata(params, ctx).stac_item
    assert problems(item) == []
    assert item["geometry"]["type"] == "MultiPolygon"
    west, _, east, _ = item["bbox"]
    assert 170 < west < 180
    assert -180 < east < -170
    assert shape(item["geometry"]).contains(Point(179.9, 52))
    assert shape(item["geometry"]).contains(Point(-179.9, 52))


def test_same_input_again_changes_nothing(publish, pool):
    first, second = publish("rgb"), publish("rgb")
    assert second.item_skipped
    assert second.stac_item == first.stac_item
    assert second.share_url == first.share_url


def test_changed_input_updates_the_item(publish):
    first = publish("rgb")
    changed = facts("rgb", BlobRef(container="bronze-rasters", name="in/rgb.tif"))
    second = publish("rgb", facts=changed.model_copy(update={"source_etag": "0x9"}))
    assert not second.item_skipped
    assert second.item_id == first.item_id
    properties = second.stac_item["properties"]
    assert properties["geolathe:source_etag"] == "0x9"
    assert properties["created"] == first.stac_item["properties"]["created"]
    assert properties["updated"] > first.stac_item["properties"]["updated"]


def test_item_id_of_another_source_is_not_overwritten(publish, ctx):
    mine = publish("rgb", item_id="site-7")
    with pytest.raises(TaskFailed, match=r"site-7.*bronze-rasters/in/rgb\.tif") as failure:
        publish("dem", item_id="site-7")
    assert failure.value.code == "ITEM_ID_TAKEN"
    assert ctx.catalog.get_item("test-rasters", "site-7") == mine.stac_item


@pytest.mark.parametrize(
    ("changes", "expected", "origin"),
    [
        ({}, "2026-01-02T03:04:05Z", "last_modified"),
        (
            {"source": BlobRef(container="bronze-rasters", name="in/S2_20200902T101112_x.tif")},
            "2020-09-02T10:11:12Z",
            "file_name",
        ),
        ({"acquired": datetime(2019, 5, 4)}, "2019-05-04T00:00:00Z", "source_metadata"),
    ],
)
def test_the_datetime_comes_from_the_source_with_the_highest_precedence(
    publish, changes, expected, origin
):
    source = BlobRef(container="bronze-rasters", name="in/rgb.tif")
    known = facts("rgb", **{"source": source, **changes})
    item = publish("rgb", facts=known).stac_item
    assert item["properties"]["datetime"] == expected
    assert item["properties"]["geolathe:datetime_origin"] == origin


def test_a_year_in_the_name_becomes_an_interval(publish):
    source = BlobRef(container="bronze-rasters", name="in/landcover_2019_v2.tif")
    stored = publish("rgb", facts=facts("rgb", source=source))
    properties = stored.stac_item["properties"]
    assert properties.get("datetime") is None
    assert properties["start_datetime"] == "2019-01-01T00:00:00Z"
    assert properties["end_datetime"] == "2019-12-31T23:59:59Z"
    assert properties["geolathe:datetime_origin"] == "file_name"


def test_the_datetime_parameter_takes_precedence(publish):
    known = facts(
        "rgb",
        BlobRef(container="bronze-rasters", name="in/20200902.tif"),
        acquired=datetime(2019, 5, 4),
    )
    item = publish("rgb", facts=known, datetime=datetime(2001, 2, 3, tzinfo=UTC)).stac_item
    assert item["properties"]["datetime"] == "2001-02-03T00:00:00Z"
    assert item["properties"]["geolathe:datetime_origin"] == "parameter"


def test_tiers_are_assets_of_one_item(ctx, blobs, silver, tmp_path):
    made_of = facts("rgb", BlobRef(container="bronze-rasters", name="in/rgb.tif"))
    cogs = []
    for tier in ("archive", "visualization", "analysis"):
        path = write_cog(tmp_path / f"{tier}.tif", "rgb")
        blob = BlobRef(container=silver, name=f"rgb_cog_{tier}.tif")
        blobs.upload(blob, path, content_type="image/tiff")
        cogs.append(cog(path, blob, made_of, tier))
    params = ExtractStac(facts=made_of, cogs=tuple(cogs), collection_id="tiers")
    result = extract_stac_metadata(params, ctx)
    assets = result.stac_item["assets"]
    assert set(assets) == {"data", "visualization", "archive", "thumbnail"}
    assert assets["data"]["href"].endswith("rgb_cog_analysis.tif")
    assert assets["visualization"]["roles"] == ["visual"]
    assert "analysis" in result.share_url
    assert problems(result.stac_item) == []
