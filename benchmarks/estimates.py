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

from _results import Row, keep

from core.errors import TaskFailed
from core.models import BlobRef
from services.raster.cog import make_cog
from services.raster.estimate import estimate
from services.raster.facts import inspect
from services.raster.model import (
    EncodeSamples,
    InspectionOptions,
    InspectRaster,
    MakeCog,
    RasterFacts,
)

SUFFIXES = (".tif", ".tiff", ".jp2", ".png", ".img", ".nc")
TARGETS = ("native", "EPSG:4326")
SAMPLES = Path(__file__).parents[1] / "samples"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="*", type=Path, default=[SAMPLES])
    parser.add_argument("--quick", action="store_true", help="only check that it works")
    options = parser.parse_args()
    targets = TARGETS[:1] if options.quick else TARGETS
    rows: list[Row] = []
    for folder in options.folders:
        for path in sorted(folder.iterdir()):
            if path.suffix.lower() in SUFFIXES:
                rows += [row for target in targets for row in compare(path, target)]
    for name in ("size", "time"):
        cuts = statistics.quantiles([float(row[name]) for row in rows], n=10)
        text = ", ".join(f"{cut:.2f}" for cut in cuts)
        print(f"{name}: estimated / actual, deciles of {len(rows)}: {text}")
    keep("estimates", rows, quick=options.quick)


def compare(path: Path, target_crs: str) -> list[Row]:
    """Ratios of estimated to actual size and time, one row for each tier."""
    try:
        facts = read_facts(path, target_crs)
        with tempfile.TemporaryDirectory() as folder:
            found = estimate(
                EncodeSamples(
                    facts=facts, tiers=facts.cog_tiers, target_crs=target_crs, jpeg_quality=85,
                    path=str(path), folder=folder,
                ),
                ignore,
            )  # fmt: skip
        rows: list[Row] = []
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
            row: Row = {
                "raster": path.name,
                "target_crs": target_crs,
                "tier": cog.tier,
                "size": cog.size_bytes / made.size_bytes,
                "time": cog.seconds / seconds,
            }
            rows.append(row)
            print(
                f"{path.name:40} {target_crs:10} {cog.tier:14} size {row['size']:5.2f}"
                f" of {made.size_bytes:>10,}  time {cog.seconds:6.2f} of {seconds:6.2f} s",
                flush=True,
            )
    except TaskFailed as refused:
        print(f"{path.name:40} {target_crs:10} {refused.code}")
        return []
    return rows


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
