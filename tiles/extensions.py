"""Routes for links that TiTiler does not have: /bounds and /download."""

from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Annotated, Any
from urllib.parse import quote

import rasterio
from attrs import define
from azure.core.exceptions import ResourceNotFoundError
from azure.storage.blob import BlobServiceClient
from fastapi import Depends, HTTPException
from rio_tiler.constants import WGS84_CRS
from starlette.responses import StreamingResponse
from titiler.core.factory import FactoryExtension, TilerFactory

from tiles.blobs import AllowedBlobs


@define
class BoundsExtension(FactoryExtension):
    """GET /bounds, which TiTiler had until 0.19."""

    def register(self, factory: TilerFactory) -> None:  # type: ignore[override]  # as in TiTiler's own extensions
        @factory.router.get("/bounds", summary="The box around the raster, in degrees")
        def bounds(
            path: Annotated[str, Depends(factory.path_dependency)],
            reader_params: Annotated[Any, Depends(factory.reader_dependency)],
            env: Annotated[dict[str, Any], Depends(factory.environment_dependency)],
        ) -> dict[str, Any]:
            with rasterio.Env(**env), factory.reader(path, **reader_params.as_dict()) as raster:
                box = raster.get_geographic_bounds(WGS84_CRS)
            return {"bounds": list(box), "crs": "http://www.opengis.net/def/crs/EPSG/0/4326"}


@define
class DownloadExtension(FactoryExtension):
    """GET /download: the COG as a file, because the containers are private."""

    storage: BlobServiceClient
    allowed: AllowedBlobs

    def register(self, factory: TilerFactory) -> None:  # type: ignore[override]  # as in TiTiler's own extensions
        @factory.router.get("/download", summary="The COG itself")
        def download(
            path: Annotated[str, Depends(factory.path_dependency)],
        ) -> StreamingResponse:
            blob = self.allowed.parse(path)
            client = self.storage.get_blob_client(blob.container, blob.name)
            try:
                content = client.download_blob(max_concurrency=1)
            except ResourceNotFoundError as error:
                raise HTTPException(404, f"blob not found: {blob.container}/{blob.name}") from error
            name = quote(PurePosixPath(blob.name).name, safe="")
            headers = {
                "Content-Disposition": f"attachment; filename*=UTF-8''{name}",
                "Content-Length": str(content.size),
            }
            chunks: Iterator[bytes] = content.chunks()
            return StreamingResponse(chunks, media_type="image/tiff", headers=headers)
