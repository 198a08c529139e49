"""Catalogued items, whose assets are read like any other blob: by name and within the fence."""

import attr
from rio_tiler.types import AssetInfo, AssetType
from titiler.pgstac.reader import PgSTACReader

from local.titiler.fence import Fence


def fenced_reader(fence: Fence) -> type[PgSTACReader]:
    """A reader of items that opens the assets' plain addresses as blobs of the account."""

    @attr.s
    class FencedReader(PgSTACReader):
        """titiler-pgstac's reader within the fence."""

        def _get_asset_info(self, asset: AssetType) -> AssetInfo:
            info = super()._get_asset_info(asset)
            info["url"] = fence.admit(info["url"])
            return info

    return FencedReader
