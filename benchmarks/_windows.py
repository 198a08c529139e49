"""Large COGs, made in windows by several workers at once, and the wall time for more of them."""

import heapq
import math
import struct
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import rasterio
from rasterio.windows import Window as Region
from rich.table import Table

from core.handler import TaskContext
from core.models import BlobRef
from core.results import TaskResult
from services.create_cog import CreateCog, create_cog
from services.encode_window import EncodeWindow, encode_window
from services.raster.model import RasterFacts, Tier
from services.raster.windows.plan import WindowPlan, count_blocks, order_blocks, steps_for

WORKERS = 2
SIMULATED = (1, 2, 4, 8, 16, 32, 64)
STRIP = 512
GIGAPIXELS = (1, 4, 20, 100)


@dataclass
class LargeRun:
    """What the tasks of one COG took."""

    plan: WindowPlan
    windows: list[float] = field(default_factory=list)
    """Wall seconds of each window, with as many at once as there are workers."""
    wall_seconds: float = 0.0
    assembly_seconds: float = 0.0
    output_mb: float = 0.0

    def quantile(self, share: float) -> float:
        return float(np.quantile(self.windows, share))


def make_large_source(path: Path, side: int) -> None:
    """A landscape whose rows repeat, so that it takes a minute to write and no memory."""
    rng = np.random.default_rng(1)
    y, x = np.mgrid[0:STRIP, 0:side].astype("float32")
    relief = 0.5 + 0.2 * np.sin(x / 397) + 0.2 * np.cos(y * 2 * np.pi / STRIP)
    strip = np.stack(
        [(relief * (0.7 + 0.02 * band) + rng.normal(0, 0.012, relief.shape)) for band in range(3)]
    )
    pixels = (strip * 220).clip(0, 220).astype("uint8")
    with rasterio.open(path, "w", **large_profile(side, 1)) as target:
        for row in range(0, side, STRIP):
            rows = min(STRIP, side - row)
            target.write(pixels[:, :rows], window=Region(0, row, side, rows))


def large_profile(side: int, metres: float) -> dict[str, Any]:
    """The profile of a tiled picture in UTM. `metres` is the size of a pixel."""
    return {
        "driver": "GTiff", "width": side, "height": side, "count": 3, "dtype": "uint8",
        "crs": "EPSG:32633", "transform": rasterio.Affine(metres, 0, 4e5, 0, -metres, 5.6e6),
        "tiled": True, "blockxsize": STRIP, "blockysize": STRIP, "compress": "deflate",
        "predictor": 2, "zlevel": 1, "num_threads": 2, "interleave": "pixel",
        "photometric": "RGB", "bigtiff": "IF_SAFER",
    }  # fmt: skip


def run_large(
    facts: RasterFacts, target: BlobRef, context: Callable[[str], TaskContext]
) -> LargeRun:
    """Run the tasks of a COG as workers do. `context` makes one from a task id."""
    job, lock = uuid.uuid4().hex, Lock()
    run = LargeRun(facts.windows[Tier.ANALYSIS])
    rows = [TaskResult(0, facts.model_dump(mode="json"))]

    def encode(numbered: tuple[int, Any]) -> None:
        number, window = numbered
        ctx = replace(
            context(f"{job}-1-2-{number}"), stages=lambda _: lambda after, _: rows[after + 1 :]
        )
        params = EncodeWindow(
            target=target, tier=Tier.ANALYSIS, row=window.row, column=window.column
        )
        started = time.perf_counter()
        encode_window(params, ctx)
        with lock:
            run.windows.append(time.perf_counter() - started)

    started = time.perf_counter()
    with ThreadPoolExecutor(WORKERS) as workers:
        list(workers.map(encode, enumerate(run.plan.windows(0))))
    assembly = time.perf_counter()
    cog = create_cog(
        CreateCog(facts=facts, target=target, tier=Tier.ANALYSIS), context(f"{job}-1-3-0")
    )
    run.assembly_seconds = time.perf_counter() - assembly
    run.wall_seconds = time.perf_counter() - started
    run.output_mb = cog.size_bytes / 2**20
    return run


def simulate(run: LargeRun, workers: int, overhead: float = 0.05) -> float:
    """Wall seconds with so many workers, each with a processor of its own.

    Each task starts when a worker is free, and takes as long as measured and `overhead` for its
    messages. Storage is not the limit: an account takes 25 Gbit/s, 64 workers send less than 3.
    """
    free = [0.0] * workers
    for seconds in run.windows:
        heapq.heappush(free, heapq.heappop(free) + seconds + overhead)
    return max(free) + run.assembly_seconds + overhead


def describe_plans() -> Table:
    """What the plans of larger pictures with a mask are."""
    table = Table(
        "gigapixels", "windows", "joined", "blocks", "one for each", "header MB", box=None
    )
    for gigapixels in GIGAPIXELS:
        plan = _plan(round(math.sqrt(gigapixels) * 32_768))
        joined = sum(len(plan.windows(tier)) for tier in range(1, plan.tiers))
        cells = [gigapixels, len(plan.windows(0)), joined, count_blocks(plan)]
        kind = "row of tiles" if plan.by_row else "level"
        table.add_row(*map(str, cells), kind, f"{_header_bytes(plan) / 2**20:.1f}")
    return table


def _plan(side: int) -> WindowPlan:
    return order_blocks(
        WindowPlan(
            width=side,
            height=side,
            transform=(1, 0, 0, 0, -1, 0),
            count=3,
            has_mask=True,
            is_pixel_interleaved=True,
            block=512,
            side=512 * 2 ** steps_for(4, 512),
            by_row=True,
        )
    )


def _header_bytes(plan: WindowPlan) -> int:
    """Its tables have an offset and a size for each tile of the image and of the mask."""
    tiles = sum(rows * columns for rows, columns in map(plan.tiles, range(plan.levels + 1)))
    return tiles * (1 + plan.has_mask) * struct.calcsize("<QI")
