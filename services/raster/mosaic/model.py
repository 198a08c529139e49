"""What the tasks of a collection pass to each other about its overview.

Importing it does not load GDAL.
"""

from typing import Annotated

from pydantic import Field

from core.models import Record
from services.raster.model import RasterType

TILE = 256
"""Pixels at each side of a map tile."""


class OverviewGrid(Record):
    """The pixels of an overview: a part of the Web Mercator world at one zoom.

    `column` and `row` are multiples of 256, counted from the top left of the world, so that a map
    tile never needs two blocks of the overview in one direction. A collection across the
    antimeridian continues beyond the right edge of the world.
    """

    zoom: int
    column: int
    row: int
    width: int
    height: int

    @property
    def world(self) -> int:
        """Pixels at each side of the world."""
        return TILE << self.zoom


class Piece(Record):
    """A member resampled to the overview's grid; `left` and `top` count from the grid's corner."""

    left: int
    top: int
    width: int
    height: int
    size_bytes: int
    """Size of the file."""


class PlacedPiece(Record):
    """Where a piece is stored, and its place on the grid."""

    path: str
    left: int
    top: int
    width: int
    height: int


class PasteOverview(Record):
    """A request to the sandbox: make the overview from the pieces."""

    grid: OverviewGrid
    pieces: Annotated[tuple[PlacedPiece, ...], Field(min_length=1)]
    """The first one wins where pieces overlap, so the newest comes first."""
    raster_type: RasterType
    folder: str
    """Where the overview and temporary files are written."""


class MadeOverview(Record):
    """An overview, as a COG file."""

    path: str
    size_bytes: int
    checksum: str
    """SHA-256 as a hexadecimal multihash, the format of file:checksum."""
    shape: tuple[int, int]
    """Rows, columns."""
    max_zoom: int
    """The zoom at which a pixel of a 256 px tile is a pixel of the overview."""
