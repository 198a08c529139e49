"""Writes the confusion table of docs/raster-types.md: `.venv/bin/python docs/raster_types.py`."""

import re
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import rasterio
from rasterio.transform import from_origin

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from core.models import BlobRef  # noqa: E402  the repository must be on the path first
from services.raster.facts import inspect  # noqa: E402
from services.raster.model import InspectionOptions, InspectRaster  # noqa: E402
from tests.fixtures.labelled_rasters import Labelled, labelled  # noqa: E402

PAGE = ROOT / "docs" / "raster-types.md"
TYPES = (
    "rgb", "rgba", "nir", "multispectral", "categorical", "dem", "continuous", "unknown",
)  # fmt: skip
SURE = ("HIGH", "VERY_HIGH")


@dataclass(frozen=True)
class Found:
    """The true type of a raster, and the detected one."""

    name: str
    label: str
    kind: str
    confidence: str


def inspect_all(folder: Path) -> list[Found]:
    """Write each labelled raster into the folder and inspect it as the service does."""
    return [_inspect(raster, folder) for raster in labelled()]


def _inspect(raster: Labelled, folder: Path) -> Found:
    path = folder / f"{raster.name}.tif"
    _write(raster, path)
    options = InspectionOptions(
        source=BlobRef(container="labelled", name=path.name),
        source_etag="0",
        target_crs="native",
    )
    request = InspectRaster(
        options=options,
        path=str(path),
        stored_bytes=path.stat().st_size,
        last_modified=datetime.now(UTC),
    )
    detected = inspect(request, lambda fraction, message: None).raster_type
    path.unlink()
    return Found(raster.name, raster.label, str(detected.detected_type), detected.confidence)


def _write(raster: Labelled, path: Path) -> None:
    count, height, width = raster.pixels.shape
    profile = {
        "driver": "GTiff", "count": count, "height": height, "width": width,
        "dtype": raster.pixels.dtype, "crs": "EPSG:32633",
        "transform": from_origin(500_000, 5_600_000, 10, 10),
    }  # fmt: skip
    with rasterio.open(path, "w", **(profile | raster.profile)) as dataset:
        dataset.write(raster.pixels)
        if raster.colors:
            dataset.colorinterp = raster.colors
        if raster.descriptions:
            dataset.descriptions = raster.descriptions
        if raster.unit:
            dataset.units = (raster.unit,) * count
        if raster.scale:
            dataset.scales = (raster.scale,) * count
        if raster.palette:
            known = np.unique(raster.pixels)
            dataset.write_colormap(1, {int(v): (int(v) * 30, 90, 90, 255) for v in known})


def tabulate(findings: Sequence[Found]) -> str:
    """The confusion table: true types in rows, detected types in columns."""
    counts = Counter((found.label, found.kind) for found in findings)
    labels = [kind for kind in TYPES if any(found.label == kind for found in findings)]
    head = f"| is \\ found | {' | '.join(TYPES)} | HIGH or above | of these wrong |"
    lines = [head, "| --- |" + " ---: |" * (len(TYPES) + 2)]
    for label in labels:
        sure = [f for f in findings if f.label == label and f.confidence in SURE]
        wrong = sum(found.kind != label for found in sure)
        cells = [str(counts[label, kind] or "") for kind in TYPES]
        lines.append(f"| {label} | {' | '.join(cells)} | {len(sure)} | {wrong} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Replace the table in the page."""
    with tempfile.TemporaryDirectory() as folder:
        findings = inspect_all(Path(folder))
    for found in findings:
        if found.kind != found.label:
            print(found)
    table = tabulate(findings)
    text = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(re.sub(r"\| is \\.*?\n(?=\n|$)", lambda _: table, text, flags=re.DOTALL))
    print(f"{len(findings)} rasters")
    print(table)


if __name__ == "__main__":
    main()
