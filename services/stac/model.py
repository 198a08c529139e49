"""What the STAC code is given, finds and returns. Importing it does not load GDAL."""

from typing import Annotated

from pydantic import AwareDatetime, Field

from core.models import Json, Record
from services.raster.model import Cog, Nodata, RasterFacts, Tier
from services.raster.mosaic.model import OverviewGrid, Piece
from services.stac.distribution import Distribution
from services.stac.map_links import Color

StacId = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")]

OWNER = "geolathe:source"
"""The property that names the source of the item."""
PREFERENCE = (Tier.ANALYSIS, Tier.VISUALIZATION, Tier.ARCHIVE)


class BandStatistics(Record):
    """Over the valid pixels of the sample."""

    minimum: float
    maximum: float
    mean: float
    stddev: float
    valid_percent: float
    p2: float
    p98: float


class BandScan(Record):
    """One band of the COG."""

    index: int
    data_type: str
    color: str
    description: str | None
    unit: str | None
    scale: float
    offset: float
    nodata: Nodata | None
    common_name: str | None = None
    """Of the source's band, as STAC's eo extension lists them."""
    statistics: BandStatistics | None
    """None if no sampled pixel is valid."""


class BandSet(Record):
    """What a rendering is chosen from."""

    bands: tuple[BandScan, ...]
    palette: dict[int, Color] | None
    classes: tuple[int, ...] | None
    """The distinct values of the first band in order, if they are few whole numbers."""


class CogScan(BandSet):
    """One COG."""

    shape: tuple[int, int]
    transform: tuple[float, ...]
    bounds: tuple[float, float, float, float]
    epsg: int | None
    wkt2: str
    projjson: Json | None
    gsd: float
    """The size of a pixel on the ground in metres, in the middle of the raster."""
    geometry: Json
    bbox: list[float]


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


class DescribeMember(Record):
    """A request to the sandbox: describe a member, and make its part of the overview."""

    description: DescribeRaster
    path: str
    """A local copy of the first COG."""
    grid: OverviewGrid | None
    """None if the collection gets no overview."""
    piece_path: str


class MemberLook(BandSet):
    """What the rendering of a collection is chosen from."""

    is_inverted: bool
    distributions: tuple[Distribution, ...]
    """Of the bands that are shown."""


class DescribedMember(Described):
    """The item of a member, and its share of what the collection shows."""

    look: MemberLook
    piece: Piece | None


def preferred(cogs: tuple[Cog, ...]) -> tuple[Cog, ...]:
    """The lossless COG for analysis first: it is also what maps show."""
    return tuple(sorted(cogs, key=lambda cog: PREFERENCE.index(cog.cog_tier)))
