"""What the STAC code is given and returns. Importing it does not load GDAL."""

from typing import Annotated

from pydantic import AwareDatetime, Field

from core.models import Json, Record
from services.raster.model import Cog, RasterFacts, Tier

StacId = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")]

OWNER = "geolathe:source"
"""The property that names the source of the item."""
PREFERENCE = (Tier.ANALYSIS, Tier.VISUALIZATION, Tier.ARCHIVE)


class DescribeRaster(Record):
    """A request to the sandbox: describe the COGs of one raster as a STAC item."""

    facts: RasterFacts
    cogs: tuple[Cog, ...]
    """In the order of preference: maps show the first."""
    collection_id: StacId
    item_id: StacId
    title: str | None
    datetime: AwareDatetime | None
    paths: tuple[str, ...]
    """Signed /vsicurl/ addresses, one for each COG; never stored."""
    hrefs: tuple[str, ...]
    """The plain addresses that the item shows."""
    source_href: str
    titiler_url: str
    stac_url: str


class Described(Record):
    """The item, its collection and the addresses that show it."""

    item: Json
    collection: Json
    titiler_urls: dict[str, str]


def preferred(cogs: tuple[Cog, ...]) -> tuple[Cog, ...]:
    """The lossless COG for analysis first: it is also what maps show."""
    return tuple(sorted(cogs, key=lambda cog: PREFERENCE.index(cog.cog_tier)))
