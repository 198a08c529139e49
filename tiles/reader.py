"""Readers that open only GeoTIFFs, in allowed blobs."""

import math
from xml.sax.saxutils import escape

import attr
import rasterio
from affine import Affine
from rasterio.crs import CRS
from rasterio.io import DatasetReader
from rasterio.vrt import WarpedVRT
from rio_tiler.io import BaseReader, Reader
from rio_tiler.types import AssetInfo, AssetType
from rio_tiler.utils import has_mask_band
from titiler.pgstac.reader import PgSTACReader

from tiles.blobs import AllowedBlobs

WEB_MERCATOR = CRS.from_epsg(3857)
MERCATOR_EDGE = math.pi * 6_378_137
MERCATOR_FROM_180 = CRS.from_proj4(
    "+proj=merc +a=6378137 +b=6378137 +lat_ts=0 +lon_0=180 +units=m +nadgrids=@null"
)
"""Web Mercator with its seam at Greenwich."""


@attr.s
class GeotiffReader(Reader):
    """rio-tiler's reader of one raster.

    Warping needs GDAL's VRT driver, and a VRT can reference any file, so blobs are opened with the
    GeoTIFF driver only.
    """

    def __attrs_post_init__(self) -> None:
        if self.dataset is None:
            opened = rasterio.open(self.input, driver="GTiff")
            self.dataset = self._ctx_stack.enter_context(opened)
            if any(dtype.startswith("complex") for dtype in self.dataset.dtypes):
                self.dataset = self._ctx_stack.enter_context(amplitudes(self.dataset))
            if crosses_antimeridian(self.dataset):
                self.dataset = self._ctx_stack.enter_context(turned(self.dataset))
        super().__attrs_post_init__()  # type: ignore[no-untyped-call]  # of rio-tiler


def amplitudes(raster: DatasetReader) -> DatasetReader:
    """The absolute values of complex pixels, for images and statistics.

    https://gdal.org/en/stable/drivers/raster/vrt.html#default-pixel-functions
    """
    bands = "".join(
        f'<VRTRasterBand dataType="Float32" band="{band}" subClass="VRTDerivedRasterBand">'
        "<PixelFunctionType>mod</PixelFunctionType>"
        "<SourceTransferType>CFloat64</SourceTransferType>"
        f"{_simple_source(raster, str(band))}</VRTRasterBand>"
        for band in raster.indexes
    )
    valid = f'<VRTRasterBand dataType="Byte">{_simple_source(raster, "mask,1")}</VRTRasterBand>'
    return rasterio.open(
        f'<VRTDataset rasterXSize="{raster.width}" rasterYSize="{raster.height}">'
        f"<SRS>{escape(raster.crs.to_wkt())}</SRS>"
        f"<GeoTransform>{', '.join(map(repr, raster.transform.to_gdal()))}</GeoTransform>"
        f"{bands}<MaskBand>{valid}</MaskBand></VRTDataset>",
        driver="VRT",
    )


def _simple_source(raster: DatasetReader, band: str) -> str:
    name = f"<SourceFilename>{escape(raster.name)}</SourceFilename>"
    return f"<SimpleSource>{name}<SourceBand>{band}</SourceBand></SimpleSource>"


def crosses_antimeridian(raster: DatasetReader) -> bool:
    """Whether a raster in degrees or Web Mercator extends beyond 180 or -180."""
    if raster.crs is None:
        return False
    left, _, right, _ = raster.bounds
    if raster.crs == WEB_MERCATOR:
        edge = MERCATOR_EDGE + raster.res[0]
        return bool(left < -edge or right > edge)
    return bool(raster.crs.is_geographic and (left < -180 or right > 180))


def turned(raster: DatasetReader) -> WarpedVRT:
    """The same pixels, in a CRS whose longitudes are centred on the raster.

    Tiles have no longitudes beyond 180, so those on the other side would not find the raster.
    """
    has_mask = has_mask_band(raster)
    if raster.crs == WEB_MERCATOR:
        side = math.copysign(MERCATOR_EDGE, raster.bounds.left + raster.bounds.right)
        moved = Affine.translation(-side, 0) @ raster.transform
        place = {"src_transform": moved, "transform": moved}
        crs = MERCATOR_FROM_180
        size = {"width": raster.width, "height": raster.height}
        return WarpedVRT(raster, src_crs=crs, crs=crs, add_alpha=has_mask, **place, **size)
    middle = (raster.bounds.left + raster.bounds.right) / 2
    crs = CRS.from_dict({**raster.crs.to_dict(projjson=False), "lon_wrap": middle})
    return WarpedVRT(raster, src_crs=crs, crs=crs, add_alpha=has_mask)


def restricted_reader(allowed: AllowedBlobs) -> type[PgSTACReader]:
    """A reader of items that opens their assets as blobs of the account."""

    @attr.s
    class RestrictedReader(PgSTACReader):
        """titiler-pgstac's reader, restricted to allowed blobs."""

        reader: type[BaseReader] = attr.ib(default=GeotiffReader)

        def _get_asset_info(self, asset: AssetType) -> AssetInfo:
            info = super()._get_asset_info(asset)
            info["url"] = allowed.gdal_path(info["url"])
            return info

    return RestrictedReader
