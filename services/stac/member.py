"""Describes a member of a collection in one pass over its COGs. Runs in the child process."""

from collections.abc import Iterator
from itertools import islice, product
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.io import DatasetReader
from rasterio.windows import Window

from core.handler import Report
from services.raster.gdal import environment, failing_as
from services.raster.mosaic.piece import make_piece
from services.stac.describe import choose_renderings, describe_scans, scan_cogs
from services.stac.distribution import RANKS, Distribution
from services.stac.model import CogScan, DescribedMember, DescribeMember, MemberLook
from services.stac.ordered import drop_filled_ends, find_quantiles, order

MAX_BLOCKS = 64
"""Blocks of full-resolution pixels that a distribution is computed from, spread over the raster."""
BLOCK = 512


def describe_member(request: DescribeMember, report: Report) -> DescribedMember:
    """The item, the distributions of the bands that maps show, and the piece of the overview."""
    description = request.description
    scans = scan_cogs(description, lambda part, text: report(0.5 * part, text))
    described = describe_scans(description, scans)
    report(0.5, "measuring pixels")
    shown = choose_renderings(description, scans[0])["default"].bidx
    look = MemberLook(
        bands=scans[0].bands,
        palette=scans[0].palette,
        classes=scans[0].classes,
        is_inverted=description.facts.is_inverted,
        distributions=measure_distributions(request.path, scans[0], shown),
    )
    report(0.7, "resampling for the overview")
    piece = None
    if request.grid is not None:
        kind = description.facts.raster_type.applied_type
        piece = make_piece(Path(request.path), request.grid, kind, Path(request.piece_path))
    return DescribedMember(**dict(described), look=look, piece=piece)


def measure_distributions(
    path: str, scan: CogScan, bands: tuple[int, ...]
) -> tuple[Distribution, ...]:
    """The distribution of each band, from blocks of full-resolution pixels.

    Averages of overviews have a narrower range than the pixels that the map shows.
    """
    with (
        environment(path, sidecars=False),
        failing_as("COG_UNREADABLE", "the COG cannot be read"),
        rasterio.open(path) as cog,
    ):
        windows, share = choose_blocks(cog)
        found = (_measure(cog, band, windows, share) for band in bands or (1,))
        return tuple(each for each in found if each is not None)


def choose_blocks(cog: DatasetReader) -> tuple[list[Window], float]:
    """At most MAX_BLOCKS blocks at equal distances, and their share of all blocks."""
    starts = list(product(range(0, cog.height, BLOCK), range(0, cog.width, BLOCK)))
    step = -(-len(starts) // MAX_BLOCKS)
    chosen = list(islice(starts, step // 2, None, step))
    windows = [
        Window(column, row, min(BLOCK, cog.width - column), min(BLOCK, cog.height - row))
        for row, column in chosen
    ]
    return windows, len(chosen) / len(starts)


def _measure(
    cog: DatasetReader, band: int, windows: list[Window], share: float
) -> Distribution | None:
    parts = list(_read_valid(cog, band, windows))
    values = np.concatenate(parts) if parts else np.empty(0)
    inner = drop_filled_ends(order(values))
    if not inner.size:
        return None
    return Distribution(
        band=band,
        pixels=values.size / share,
        values=find_quantiles(inner, RANKS),
    )


def _read_valid(cog: DatasetReader, band: int, windows: list[Window]) -> Iterator[NDArray[Any]]:
    """The finite, valid pixels of each block."""
    for window in windows:
        pixels = cog.read(band, window=window)
        yield pixels[(cog.read_masks(band, window=window) > 0) & np.isfinite(pixels)]
