"""How files are opened: as GeoTIFFs and nothing else, catalogued ones within the fence too."""

import attr
import rasterio
from rio_tiler.io import BaseReader, Reader
from rio_tiler.types import AssetInfo, AssetType
from titiler.pgstac.reader import PgSTACReader

from local.titiler.fence import Fence


@attr.s
class GeotiffReader(Reader):
    """rio-tiler's reader of one raster.

    Warping needs GDAL's VRT driver, and a VRT may name any other file: so no blob is opened as one.
    """

    def __attrs_post_init__(self) -> None:
        if self.dataset is None:
            opened = rasterio.open(self.input, driver="GTiff")
            self.dataset = self._ctx_stack.enter_context(opened)
        super().__attrs_post_init__()  # type: ignore[no-untyped-call]  # of rio-tiler


def fenced_reader(fence: Fence) -> type[PgSTACReader]:
    """A reader of items that opens the assets' plain addresses as blobs of the account."""

    @attr.s
    class FencedReader(PgSTACReader):
        """titiler-pgstac's reader within the fence."""

        reader: type[BaseReader] = attr.ib(default=GeotiffReader)

        def _get_asset_info(self, asset: AssetType) -> AssetInfo:
            info = super()._get_asset_info(asset)
            info["url"] = fence.admit(info["url"])
            return info

    return FencedReader
