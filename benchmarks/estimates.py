"""How close the estimates of validate_raster are: `./dev bench estimates FOLDER [FOLDER ...]`.

For each raster in the folders that process_raster accepts, the estimated size of every applicable
tier is divided by the size of the COG that is then made, and the estimated time by the time it
took. Both are measured in one run, in this process, without transfers.
"""

import argparse
import statistics
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from core.errors import TaskFailed
from core.models import BlobRef
from services.raster.cog import make_cog
from services.raster.estimate import estimate
from services.raster.facts import inspect
from services.raster.model import (
    EstimateCogs,
    InspectionOptions,
    InspectRaster,
    MakeCog,
    RasterFacts,
)

SUFFIXES = (".tif", ".tiff", ".jp2", ".png", ".img", ".nc")
TARGETS = ("native", "EPSG:4326")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="+", type=Path)
    options = parser.parse_args()
    ratios: list[tuple[float, float]] = []
    for folder in options.folders:
        for path in sorted(folder.iterdir()):
            if path.suffix.lower() in SUFFIXES:
                ratios += [ratio for target in TARGETS for ratio in compare(path, target)]
    for name, values in zip(("size", "time"), zip(*ratios, strict=True), strict=True):
        quartiles = ", ".join(f"{cut:.2f}" for cut in statistics.quantiles(values, n=10))
        print(f"{name}: estimated / actual, deciles of {len(values)}: {quartiles}")


def compare(path: Path, target_crs: str) -> list[tuple[float, float]]:
    """Ratios of estimated to actual size and time, one pair for each tier."""
    try:
        facts = read_facts(path, target_crs)
        with tempfile.TemporaryDirectory() as folder:
            found = estimate(
                EstimateCogs(
                    facts=facts, tiers=facts.cog_tiers, target_crs=target_crs, jpeg_quality=85,
                    path=str(path), folder=folder,
                ),
                ignore,
            )  # fmt: skip
        ratios = []
        for cog in found.cogs:
            with tempfile.TemporaryDirectory() as folder:
                started = time.perf_counter()
                made = make_cog(
                    MakeCog(
                        facts=facts, tier=cog.tier, target_crs=target_crs, jpeg_quality=85,
                        in_memory=None, path=str(path), folder=folder,
                    ),
                    ignore,
                )  # fmt: skip
                seconds = time.perf_counter() - started
            ratios.append((cog.size_bytes / made.size_bytes, cog.seconds / seconds))
            print(
                f"{path.name:40} {target_crs:10} {cog.tier:14} size {ratios[-1][0]:5.2f}"
                f" of {made.size_bytes:>10,}  time {cog.seconds:6.2f} of {seconds:6.2f} s",
                flush=True,
            )
    except TaskFailed as refused:
        print(f"{path.name:40} {target_crs:10} {refused.code}")
        return []
    return ratios


def read_facts(path: Path, target_crs: str) -> RasterFacts:
    source = BlobRef(container="estimates", name=path.name)
    stat = path.stat()
    return inspect(
        InspectRaster(
            options=InspectionOptions(
                source=source, source_etag="1", output_tier="all", target_crs=target_crs,
                sidecars=(source,),
            ),
            path=str(path),
            stored_bytes=stat.st_size,
            last_modified=datetime.fromtimestamp(stat.st_mtime, UTC),
        ),
        ignore,
    )  # fmt: skip


def ignore(fraction: float, message: str) -> None:
    """Progress is not shown."""


if __name__ == "__main__":
    main()
