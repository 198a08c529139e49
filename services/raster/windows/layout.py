"""Decides which COGs are made in windows, and what a window of them is."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from affine import Affine

from services.raster import cog, decode_once
from services.raster.georeference import Georeference
from services.raster.model import MakeCog, RasterFacts, Tier, WindowSizes
from services.raster.source import Source
from services.raster.windows.encode import Target
from services.raster.windows.model import WindowRequest
from services.raster.windows.plan import (
    MOST_BLOCKS,
    WindowPlan,
    count_blocks,
    order_blocks,
    steps_for,
)
from services.raster.writer import block_for

MOST_BLOCK_SIDE = 2048
"""A window decodes whole blocks of the source. Wider ones, such as strips of large rasters, would
be decoded once for each window that they cross. The same is true of windows of many bands and
blocks of more than twice their side."""


@dataclass(frozen=True)
class Layout:
    """A COG that is made in windows: what is read, and what is written."""

    plan: cog.Plan
    """With the grid of the window plan, which decides."""
    target: Target


def plan_windows(
    source: Source, request: MakeCog, tiers: tuple[Tier, ...], sizes: WindowSizes
) -> dict[Tier, WindowPlan]:
    """The tiers whose COGs are made in windows. Raises TaskFailed as `cog.plan` does."""
    if source.driver != "GTiff" or decode_once.is_costly(source):
        return {}
    plans = {}
    for tier in tiers:
        planned = cog.plan(source, request.model_copy(update={"tier": tier}))
        if planned.decoded_bytes < sizes.from_bytes:
            continue
        plan = _divide(planned, sizes)
        if plan and _widest_block(source) <= min(MOST_BLOCK_SIDE, 2 * plan.side):
            plans[tier] = plan
    return plans


def _widest_block(source: Source) -> int:
    return max(int(max(shape)) for shape in source.dataset.block_shapes)


def _divide(planned: cog.Plan, sizes: WindowSizes) -> WindowPlan | None:
    """None where it is one window, or where windows need too much memory or too many blocks."""
    view, grid = cog.stored_view(planned), planned.grid
    has_mask = view.mask is not None and view.mask.form == "mask"
    count = len(view.bands) + (view.mask is not None and not has_mask)
    pixel = np.dtype(planned.dtype).itemsize * (count + has_mask)
    block = block_for(grid.width, grid.height, pixel)
    side = block * 2 ** steps_for(pixel, block, sizes.window_bytes)
    scale = cog.plan_warp(planned, "").scale if grid.warped else (1.0, 1.0)
    plan = order_blocks(
        WindowPlan(
            width=grid.width,
            height=grid.height,
            transform=tuple(grid.transform)[:6],
            scale=scale,
            count=count,
            has_mask=has_mask,
            is_pixel_interleaved=planned.settings.interleave == "pixel",
            block=block,
            side=side,
            by_row=True,
        )
    )
    fits = side * side * pixel <= sizes.window_bytes
    is_one = len(plan.windows(0)) == 1
    return plan if fits and not is_one and count_blocks(plan) <= MOST_BLOCKS else None


@contextmanager
def open_layout(request: WindowRequest) -> Iterator[Layout]:
    """Open the source, which can be read as long as the context lasts."""
    with cog.open_inspected(request.facts, request.path, Path(request.folder)) as source:
        yield lay_out(cog.plan(source, request), request.facts, request.tier, request.job)


def lay_out(planned: cog.Plan, facts: RasterFacts, tier: Tier, job: str) -> Layout:
    """The grid comes from the window plan, so that no library of a worker decides a pixel."""
    plan = facts.windows[tier]
    grid = replace(
        planned.grid, transform=Affine(*plan.transform), width=plan.width, height=plan.height
    )
    planned = replace(planned, grid=grid)
    target = Target(
        job=job,
        plan=plan,
        dtype=planned.dtype,
        settings=planned.settings,
        quality=planned.quality,
        view=cog.stored_view(planned),
    )
    return Layout(planned, target)


def overview_georeference(layout: Layout, level: int) -> Georeference:
    """The place of an overview. Its last pixels may reach beyond the grid."""
    rows, columns = layout.target.plan.shape(level)
    grid = layout.plan.grid
    factor = math.ldexp(1.0, level)
    return Georeference(grid.crs, columns, rows, grid.transform @ Affine.scale(factor))
