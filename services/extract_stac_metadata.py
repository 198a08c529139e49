"""Describe the COGs of one raster as one STAC item and put it into the catalogue."""

from typing import Annotated

from pydantic import AwareDatetime, Field

from core.handler import TaskContext
from core.models import Json, Record
from services.create_cog import Cog
from services.validate_raster import RasterFacts

StacId = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")]


class ExtractStac(Record):
    """What the item is made from. The COGs are read again for pixels and places."""

    facts: RasterFacts
    cogs: tuple[Cog, ...] = Field(min_length=1)
    """One for each tier; each becomes an asset of the one item."""
    collection_id: StacId
    item_id: StacId | None = None
    """Without one: a slug of the source's name and a hash of its path."""
    title: str | None = None
    datetime: AwareDatetime | None = None
    """Goes before every date found in the source."""


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
