"""What the steps of making a COG in windows exchange. Importing it does not load GDAL."""

from core.models import Record
from services.raster.model import MakeCog
from services.raster.windows.plan import Window


class Piece(Record):
    """Adjacent tiles of one row in a block of the blob."""

    level: int
    plane: int
    """The band, or the number of bands for the mask; 0 where all are in one tile."""
    row: int
    """Of tiles, in the level."""
    column: int
    """Of the first tile."""
    sizes: tuple[int, ...]
    """Bytes of each tile, 0 for one without data. With pixel interleave and a mask, the tile of the
    mask follows each tile of the image."""


class EncodedBlock(Record):
    """A block of the blob: adjacent tiles with their leaders and trailers."""

    block_id: str
    size: int
    pieces: tuple[Piece, ...]


class WindowIndex(Record):
    """What a window has staged. The COG's header is made from the indexes of all windows."""

    tier: int
    row: int
    column: int
    blocks: tuple[EncodedBlock, ...] = ()
    has_smallest: bool = False
    """Whether its smallest overview is kept for the next tier."""

    @property
    def window(self) -> Window:
        return Window(self.tier, self.row, self.column)


class Part(Record):
    """Bytes in the exchange file."""

    start: int
    size: int


class SmallestLevel(Record):
    """The smallest overview of a window, as a GeoTIFF in the exchange file."""

    tier: int
    row: int
    column: int
    content: Part

    @property
    def window(self) -> Window:
        return Window(self.tier, self.row, self.column)


class WindowRequest(MakeCog):
    """A request to the sandbox about the COG whose windows `facts` lists for its tier."""

    job: str
    """Names the maker in the ids of the blocks."""


class EncodeWindow(WindowRequest):
    """A request to the sandbox: encode one window of tier 0."""

    row: int
    column: int


class JoinWindows(WindowRequest):
    """A request to the sandbox: make a window above tier 0 from the smallest levels below it."""

    window_tier: int
    row: int
    column: int
    smallest: tuple[SmallestLevel, ...]
    check_coverage: bool
    """Whether to compare the pixels with samples of the source."""


class Encoded(Record):
    """A window whose blocks, and then its smallest level, are in the exchange file."""

    index: WindowIndex
    content: Part
    """All blocks, one after the other."""
    smallest: Part | None


class AssembleCog(WindowRequest):
    """A request to the sandbox: write the header. The indexes are in the exchange file."""

    indexes: tuple[Part, ...]


class AssembledCog(Record):
    """The content of a COG; its header, the first block, is in the exchange file."""

    header: Part
    blocks: tuple[tuple[str, int], ...]
    """Ids and sizes of all blocks in the order of the file."""


class VerifyCog(WindowRequest):
    """A request to the sandbox: validate a stored COG and describe it."""

    cog_path: str
    """A signed /vsicurl/ address; never stored."""
    size_bytes: int
