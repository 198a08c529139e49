"""Which grid an overview has, and which part of it a member covers.

Importing it does not load GDAL.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field

from services.raster.model import Bounds
from services.raster.mosaic.model import TILE, OverviewGrid

LONGEST_SIDE = 8_192
LONGEST_SIDE_OF_MANY = 16_384
MANY = 10_000
MEMBER_PIXELS = 128
"""The least side of a typical member in the overview. A tile of the next zoom is as large, so it
meets four members, or eight where they overlap by half."""
OUTSIDE = MEMBER_PIXELS // 16
"""A COG may be a pixel larger than its source, and the pixels of small rasters are larger than
those of the overview."""
FINEST_ZOOM = 24
SCRATCH_PER_PIXEL_BYTE = 3.5
"""The pasted pixels, the COG with its overviews, and the overviews while they are being made."""
# Latitudes end where the Web Mercator world is square.
_NORTH = math.degrees(math.atan(math.sinh(math.pi)))
_NARROWEST = 2.0**-32
"""A share of the world below any raster's side, which keeps the logarithm of a point finite."""


@dataclass
class _Range:
    low: float = math.inf
    high: float = -math.inf

    def add(self, low: float, high: float) -> None:
        self.low = min(self.low, low)
        self.high = max(self.high, high)

    @property
    def length(self) -> float:
        return self.high - self.low


@dataclass
class OverviewPlan:
    """Plans the grid of an overview from the bounds of its members, of any number."""

    count: int = 0
    _usual: _Range = field(default_factory=_Range)
    _turned: _Range = field(default_factory=_Range)
    _rows: _Range = field(default_factory=_Range)
    _logarithms: float = 0.0

    def add(self, bounds_4326: Bounds) -> None:
        """Add a member: west, south, east and north in degrees.

        West is greater than east across the antimeridian.
        """
        west, south, east, north = bounds_4326
        self._usual.add(*((west, east) if west <= east else (-180.0, 180.0)))
        self._turned.add(*_turn(west, east))
        top, bottom = _row(north), _row(south)
        self._rows.add(top, bottom)
        share = _span(west, east) / 360 * (bottom - top)
        self._logarithms += math.log2(max(share, _NARROWEST**2)) / 2
        self.count += 1

    def grid(self) -> OverviewGrid:
        """As fine as its tiles need to meet few members.

        It has at most 8,192 pixels at the longest side, or 16,384 above 10,000 members. Raises
        ValueError if there are no members.
        """
        if not self.count:
            raise ValueError("an overview needs at least one member")
        columns = self._turned if self._turned.length < self._usual.length else self._usual
        wanted = math.ceil(math.log2(MEMBER_PIXELS / TILE) - self._logarithms / self.count)
        longest = LONGEST_SIDE_OF_MANY if self.count > MANY else LONGEST_SIDE
        zoom = min(max(wanted, 0), FINEST_ZOOM)
        while zoom and max(_snap(zoom, columns, self._rows)[2:]) > longest:
            zoom -= 1
        column, row, width, height = _snap(zoom, columns, self._rows)
        return OverviewGrid(zoom=zoom, column=column, row=row, width=width, height=height)


def plan_overview(bounds_4326: Iterable[Bounds]) -> OverviewGrid:
    """The grid for members with these bounds. Raises ValueError if there are none."""
    plan = OverviewPlan()
    for each in bounds_4326:
        plan.add(each)
    return plan.grid()


def place_on(grid: OverviewGrid, bounds_4326: Bounds) -> tuple[int, int, int, int] | None:
    """The part of the grid that encloses the bounds: left, top, width and height in pixels.

    None where they are outside the grid.
    """
    left, top, right, bottom = _enclose(grid, bounds_4326)
    left, top = max(left, 0), max(top, 0)
    width, height = min(right, grid.width) - left, min(bottom, grid.height) - top
    return (left, top, width, height) if width > 0 and height > 0 else None


def has_room(grid: OverviewGrid, bounds_4326: Bounds) -> bool:
    """Whether the bounds of a COG are within the grid, apart from OUTSIDE pixels at each side."""
    left, top, right, bottom = _enclose(grid, bounds_4326)
    is_between = grid.width >= grid.world or (left >= -OUTSIDE and right <= grid.width + OUTSIDE)
    return is_between and top >= -OUTSIDE and bottom <= grid.height + OUTSIDE


def _enclose(grid: OverviewGrid, bounds_4326: Bounds) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of the bounds in pixels of the grid."""
    west, south, east, north = bounds_4326
    left = math.floor(_column(west) * grid.world) - grid.column
    right = math.ceil(_column(west + _span(west, east)) * grid.world) - grid.column
    if right <= 0:
        left, right = left + grid.world, right + grid.world
    top = math.floor(_row(north) * grid.world) - grid.row
    bottom = math.ceil(_row(south) * grid.world) - grid.row
    return left, top, right, bottom


def scratch_bytes(grid: OverviewGrid, pixel_bytes: int) -> int:
    """Scratch disk that pasting an overview needs, without its pieces.

    `pixel_bytes` is the size of all bands of one pixel, and of its mask.
    """
    return int(grid.width * grid.height * pixel_bytes * SCRATCH_PER_PIXEL_BYTE)


def _turn(west: float, east: float) -> tuple[float, float]:
    """The range with its west from 0 to 360, in one part where it crosses the antimeridian."""
    low = west % 360
    return low, low + _span(west, east)


def _span(west: float, east: float) -> float:
    return east - west if east >= west else east - west + 360


def _snap(zoom: int, columns: _Range, rows: _Range) -> tuple[int, int, int, int]:
    world = TILE << zoom
    column = math.floor(_column(columns.low) * world / TILE) * TILE
    row = math.floor(rows.low * world / TILE) * TILE
    width = math.ceil(_column(columns.high) * world) - column
    height = math.ceil(rows.high * world) - row
    return column, row, max(width, 1), max(height, 1)


def _column(longitude: float) -> float:
    """The share of the world to the left of a longitude."""
    return (longitude + 180) / 360


def _row(latitude: float) -> float:
    """The share of the world above a latitude."""
    radians = math.radians(min(max(latitude, -_NORTH), _NORTH))
    return min(max((1 - math.asinh(math.tan(radians)) / math.pi) / 2, 0.0), 1.0)
