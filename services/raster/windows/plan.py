"""How a COG is divided into windows, and everything else that decides its bytes."""

import math
from collections.abc import Iterator
from functools import cached_property
from typing import NamedTuple

from core.models import Record

WINDOW_BYTES = 64 * 2**20
"""What the pixels of one window take in memory at most."""
MOST_BLOCKS = 50_000
"""Azure Storage's limit of blocks in a blob."""


class Window(NamedTuple):
    """One square of the grid, or of an overview that many windows of the tier below make."""

    tier: int
    row: int
    column: int


class WindowPlan(Record):
    """The layout of one COG, which importing does not load GDAL for."""

    width: int
    height: int
    transform: tuple[float, float, float, float, float, float]
    """a, b, c, d, e, f of the affine from pixel to CRS."""
    scale: tuple[float, float] = (1.0, 1.0)
    """Pixels of the COG per pixel of the source, across and down."""
    count: int
    """Bands, with alpha and without mask."""
    has_mask: bool
    is_pixel_interleaved: bool
    block: int
    """Side of a tile in pixels."""
    side: int
    """Side of a window in pixels: `block` times a power of two."""
    by_row: bool
    """Whether each row of tiles of a window is a block of the blob. Otherwise each level is one."""

    @cached_property
    def steps(self) -> int:
        """The number of overviews that are made inside a window."""
        return int(math.log2(self.side // self.block))

    @cached_property
    def levels(self) -> int:
        """The number of overviews of the COG. The last one fits into a tile."""
        level = 0
        while max(self.shape(level)) > self.block:
            level += 1
        return level

    @property
    def tiers(self) -> int:
        """Tier 0 is the windows; each next tier is made from the smallest levels of the one below.

        It has at least the first tier.
        """
        return max(1, math.ceil(self.levels / self.steps))

    @property
    def image_planes(self) -> int:
        """How many tiles there are at one place: one for each band, or one for all of them."""
        return 1 if self.is_pixel_interleaved else self.count

    def shape(self, level: int) -> tuple[int, int]:
        """Rows and columns of an overview; level 0 is the full size.

        Rounded up: a pixel of level n covers exactly 2^n x 2^n pixels of level 0.
        """
        return -(-self.height >> level), -(-self.width >> level)

    def tiles(self, level: int) -> tuple[int, int]:
        """Tiles down and across."""
        rows, columns = self.shape(level)
        return math.ceil(rows / self.block), math.ceil(columns / self.block)

    def windows(self, tier: int) -> list[Window]:
        """The windows of a tier, row by row."""
        rows, columns = self.shape(tier * self.steps)
        return [
            Window(tier, row, column)
            for row in range(math.ceil(rows / self.side))
            for column in range(math.ceil(columns / self.side))
        ]

    def windows_below(self, window: Window) -> list[Window]:
        """The windows of the tier below whose smallest levels make up the window."""
        per = 2**self.steps
        rows, columns = (
            math.ceil(side / self.side) for side in self.shape((window.tier - 1) * self.steps)
        )
        return [
            Window(window.tier - 1, row, column)
            for row in range(window.row * per, min((window.row + 1) * per, rows))
            for column in range(window.column * per, min((window.column + 1) * per, columns))
        ]

    def all_windows(self) -> Iterator[Window]:
        for tier in range(self.tiers):
            yield from self.windows(tier)

    def window_shape(self, window: Window) -> tuple[int, int]:
        """Rows and columns of the window that lie on the grid of its tier."""
        rows, columns = self.shape(window.tier * self.steps)
        return (
            min(self.side, rows - window.row * self.side),
            min(self.side, columns - window.column * self.side),
        )

    def padded_shape(self, window: Window) -> tuple[int, int]:
        """Rows and columns in whole tiles, so that overviews halve them without a remainder."""
        rows, columns = self.window_shape(window)
        return (
            math.ceil(rows / self.block) * self.block,
            math.ceil(columns / self.block) * self.block,
        )

    def levels_in(self, window: Window) -> int:
        """The number of overviews made inside the window."""
        return max(0, min(self.steps, self.levels - window.tier * self.steps))

    def has_next_tier(self, window: Window) -> bool:
        """Whether the smallest level of the window is needed for the tier above."""
        return window.tier + 1 < self.tiers


def steps_for(pixel_bytes: int, block: int, window_bytes: int = WINDOW_BYTES) -> int:
    """How often the side of a tile is doubled to that of a window, at least once.

    `pixel_bytes` are those of all bands of a pixel.
    """
    return max(1, math.floor(math.log2(math.sqrt(window_bytes / pixel_bytes) / block)))


def order_blocks(plan: WindowPlan) -> WindowPlan:
    """The plan with a block for each row of tiles of a window, where the blob can have so many."""
    return plan.model_copy(update={"by_row": count_blocks(plan) <= MOST_BLOCKS})


def count_blocks(plan: WindowPlan) -> int:
    """The most blocks that the blob can have: those of all windows, and the header."""
    if not plan.by_row:
        return 1 + sum(
            len(plan.windows(tier)) * (plan.steps + (tier == 0)) for tier in range(plan.tiers)
        )
    planes = plan.image_planes + (plan.has_mask and not plan.is_pixel_interleaved)
    across = [math.ceil(plan.tiles(level)[1] / _tiles_across(plan, level)) for level in
              range(plan.levels + 1)]  # fmt: skip
    rows = sum(plan.tiles(level)[0] * count for level, count in enumerate(across))
    return rows * planes + 1


def _tiles_across(plan: WindowPlan, level: int) -> int:
    """Tiles of a level in one row of a window, of the tier that makes this level."""
    tier = max(0, (level - 1) // plan.steps)
    return max(1, (plan.side >> (level - tier * plan.steps)) // plan.block)
