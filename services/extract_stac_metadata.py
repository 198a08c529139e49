"""Describe the COGs of one raster as one STAC item and put it into the catalogue."""

from typing import Annotated

from pydantic import AwareDatetime, Field

from core.handler import TaskContext
from core.models import BlobRef, Json, Record

StacId = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")]


class CogAsset(Record):
    """One COG that becomes an asset of the item."""

    blob: BlobRef
    tier: str
    size_bytes: int
    sha256: str
    """Of the COG's bytes, in hex."""


class ExtractStac(Record):
    """What the item is made from. The COGs themselves are read again for pixels and places."""

    cogs: list[CogAsset] = Field(min_length=1)
    collection_id: StacId
    item_id: StacId | None = None
    title: str | None = None
    datetime: AwareDatetime | None = None
    """Given with the job; it goes before all others."""

    source: BlobRef
    source_etag: str
    source_last_modified: AwareDatetime
    source_datetime: str | None = None
    """Found inside the source: TIFFTAG_DATETIME as written, or ISO 8601 of the NetCDF time."""
    variable: str | None = None
    """The NetCDF variable, when the source holds several."""
    raster_type: str


class StacItem(Record):
    """The stored item, and where people open it."""

    item_id: str
    blob_name: str
    collection_id: str
    bbox: list[float]
    inserted_to_pgstac: bool
    item_skipped: bool
    """True when the catalogue already held this very item."""
    stac_item: Json
    titiler_urls: dict[str, str]
    share_url: str


def extract_stac_metadata(params: ExtractStac, ctx: TaskContext) -> StacItem:
    """Scan the COGs, build the item, store it. Unchanged input changes nothing."""
    raise NotImplementedError
