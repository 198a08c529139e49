"""The tile server: `python -m uvicorn tiles.app:app`.

Settings: DATABASE_URL (pgSTAC), STORAGE_CONNECTION (a connection string, or the account's https
URL), TILE_CONTAINERS (the containers whose blobs are served, separated by commas), STAC_URL (for
links to the catalogue) and, optionally, BASEMAP_TILES (a URL with {z}/{x}/{y} of tiles to draw
under the raster). Where DATABASE_URL has no password and where STORAGE_CONNECTION is a URL, the
managed identity that AZURE_CLIENT_ID names signs in.
"""

import tiles.gdal  # noqa: F401, I001 - must come before everything that uses GDAL

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import jinja2
from fastapi import APIRouter, Depends, FastAPI, Query
from psycopg import OperationalError
from psycopg_pool import ConnectionPool, PoolTimeout
from rasterio.errors import RasterioIOError
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.staticfiles import StaticFiles
from starlette.templating import Jinja2Templates
from titiler.core.dependencies import AssetsExprParams, DefaultDependency, PreviewParams
from titiler.core.errors import DEFAULT_STATUS_CODES, add_exception_handlers
from titiler.core.factory import (
    AlgorithmFactory,
    ColorMapFactory,
    MultiBaseTilerFactory,
    TilerFactory,
    TMSFactory,
)
from titiler.core.middleware import CacheControlMiddleware
from titiler.extensions.render import stacRenderExtension
from titiler.extensions.wmts import wmtsExtension
from titiler.mosaic.extensions.wmts import wmtsExtension as mosaicWmtsExtension
from titiler.mosaic.factory import MosaicTilerFactory
from titiler.pgstac.dependencies import ItemIdParams, get_stac_item
from titiler.pgstac.errors import PGSTAC_STATUS_CODES

from tiles import members
from tiles.account import Account
from tiles.blobs import AllowedBlobs
from tiles.collections import Collections
from tiles.database import open_pool
from tiles.extensions import BoundsExtension, DownloadExtension
from tiles.mosaic import (
    CollectionBackend,
    ItemsParams,
    Mosaic,
    MosaicRoute,
    collection_renders,
    item_reader,
)
from tiles.reader import GeotiffReader, restricted_reader
from tiles.renders import item_renders

HERE = Path(__file__).parent
COLLECTION = "/collections/{collection_id}"
ITEM = f"{COLLECTION}/items/{{item_id}}"
ASSET = f"{ITEM}/assets/{{asset_id}}"

account = Account(os.environ["STORAGE_CONNECTION"])
allowed = AllowedBlobs(
    frozenset(filter(None, (n.strip() for n in os.environ["TILE_CONTAINERS"].split(",")))),
    account.url,
)
collections = Collections()
templates = Jinja2Templates(
    env=jinja2.Environment(
        autoescape=jinja2.select_autoescape(["html", "xml"]),
        loader=jinja2.ChoiceLoader(
            [
                jinja2.FileSystemLoader(HERE / "templates"),
                jinja2.PackageLoader("titiler.pgstac", "templates"),
                jinja2.PackageLoader("titiler.core", "templates"),
            ]
        ),
    )
)
templates.env.globals["stac_url"] = os.environ.get("STAC_URL", "").rstrip("/")
templates.env.globals["basemap"] = os.environ.get("BASEMAP_TILES", "")


def blob_path(
    url: Annotated[str, Query(description="/vsiaz/CONTAINER/BLOB of the project's account")],
) -> str:
    """The `url` of /cog, if it may be served."""
    return allowed.gdal_path(url)


def asset_path(request: Request, collection_id: str, item_id: str, asset_id: str) -> str:
    """The blob of an item's asset, if it may be served."""
    assets = get_stac_item(request.app.state.dbpool, collection_id, item_id).assets
    if asset_id not in assets:
        raise HTTPException(404, f"item {item_id!r} has no asset {asset_id!r}: {sorted(assets)}")
    return allowed.gdal_path(assets[asset_id].href)


def collection_mosaic(request: Request, collection_id: str) -> Mosaic:
    """The collection of a request. The route looks at its gaps afterwards."""
    request.state.mosaic = Mosaic(collections.get(request.app.state.dbpool, collection_id))
    found: Mosaic = request.state.mosaic
    return found


@dataclass(init=False)
class MosaicParams(DefaultDependency):
    """What the mosaic needs that is not in the request."""

    pool: ConnectionPool
    collections: Collections

    def __init__(self, request: Request) -> None:
        self.pool, self.collections = request.app.state.dbpool, collections


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    with open_pool(os.environ["DATABASE_URL"]) as pool:
        app.state.dbpool = pool
        yield


app = FastAPI(title="Geolathe tiles", openapi_url="/api", docs_url="/api.html", lifespan=lifespan)
statuses: dict[type[Exception], int] = {**DEFAULT_STATUS_CODES, RasterioIOError: 404}
statuses.update({error: status for error, status in PGSTAC_STATUS_CODES.items()})
add_exception_handlers(app, statuses)
app.add_middleware(CORSMiddleware, allow_origins=["*"], allow_methods=["GET", "POST"])
app.add_middleware(
    CacheControlMiddleware, cachecontrol="public, max-age=300", exclude_path={"/healthz"}
)


@app.exception_handler(HTTPException)
def problem(_: Request, error: HTTPException) -> JSONResponse:
    """An error as a problem (RFC 9457)."""
    return JSONResponse(
        {
            "title": "The request cannot be served",
            "status": error.status_code,
            "detail": error.detail,
        },
        error.status_code,
        media_type="application/problem+json",
    )


cog = TilerFactory(
    reader=GeotiffReader,
    router_prefix="/cog",
    path_dependency=blob_path,
    environment_dependency=account.gdal_options,
    templates=templates,
    extensions=[
        wmtsExtension(),
        BoundsExtension(),
        DownloadExtension(account.client, allowed),
    ],
)
item = MultiBaseTilerFactory(
    reader=restricted_reader(allowed),
    router_prefix=ITEM,
    path_dependency=ItemIdParams,
    environment_dependency=account.gdal_options,
    templates=templates,
    get_renders=item_renders,
    extensions=[wmtsExtension(), stacRenderExtension()],
)
mosaic = MosaicTilerFactory(
    router=APIRouter(route_class=MosaicRoute),
    backend=CollectionBackend,
    backend_dependency=MosaicParams,
    dataset_reader=item_reader(allowed),
    router_prefix=COLLECTION,
    path_dependency=collection_mosaic,
    assets_accessor_dependency=ItemsParams,
    layer_dependency=AssetsExprParams,
    img_part_dependency=PreviewParams,
    environment_dependency=account.gdal_options,
    templates=templates,
    get_renders=collection_renders,
    add_part=True,
    add_statistics=True,
    extensions=[mosaicWmtsExtension(layer_identifier_provider=lambda known: known.collection.id)],
)
asset = TilerFactory(
    reader=GeotiffReader,
    router_prefix=ASSET,
    path_dependency=asset_path,
    environment_dependency=account.gdal_options,
    templates=templates,
    extensions=[wmtsExtension(), BoundsExtension()],
)
app.include_router(cog.router, prefix="/cog", tags=["COG"])
app.include_router(item.router, prefix=ITEM, tags=["STAC Item"])
app.include_router(asset.router, prefix=ASSET, tags=["STAC Asset"])
app.include_router(mosaic.router, prefix=COLLECTION, tags=["STAC Collection"])
app.include_router(members.router, prefix=COLLECTION, tags=["STAC Collection"])
app.include_router(TMSFactory(templates=templates).router, tags=["Tiling Schemes"])
app.include_router(AlgorithmFactory(templates=templates).router, tags=["Algorithms"])
app.include_router(ColorMapFactory(templates=templates).router, tags=["ColorMaps"])
app.mount("/static", StaticFiles(directory=HERE / "static"), name="static")


@app.get(f"{ITEM}/stac", summary="The item as the catalogue has it", tags=["STAC Item"])
def stac_item(item: Annotated[Any, Depends(ItemIdParams)]) -> dict[str, Any]:
    """The STAC item for the map page, which sends no requests to other hosts."""
    document: dict[str, Any] = item.to_dict(include_self_link=False, transform_hrefs=False)
    return document


@app.get(
    f"{COLLECTION}/stac", summary="The collection as the catalogue has it", tags=["STAC Collection"]
)
def stac_collection(request: Request, collection_id: str) -> dict[str, Any]:
    """The STAC collection for the map page."""
    return collections.get(request.app.state.dbpool, collection_id).document


@app.get("/healthz", summary="Whether the database answers", tags=["Health Check"])
def healthz(request: Request) -> JSONResponse:
    try:
        with request.app.state.dbpool.connection(timeout=1) as conn:
            conn.execute("SELECT 1")
    except (OperationalError, PoolTimeout):
        return JSONResponse({"database_online": False}, 503)
    return JSONResponse({"database_online": True})
