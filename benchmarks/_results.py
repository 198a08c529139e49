"""Stores the figures of a benchmark with the machine that they were measured on."""

import json
import os
import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
MEASURED = ("psycopg", "azure-functions", "azure-servicebus", "pydantic", "rasterio", "rio-cogeo")

Row = dict[str, float | str]


def keep(
    name: str,
    rows: Sequence[Any],
    *,
    quick: bool = False,
    part: str = "rows",
    **conditions: Any,
) -> None:
    """Write rows to one part of results/NAME.json, or below results/quick for a quick run."""
    folder = RESULTS / "quick" if quick else RESULTS
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.json"
    found = json.loads(path.read_text()) if path.exists() else {}
    found[part] = {"machine": machine(), **conditions, "rows": rows}
    path.write_text(json.dumps(found, indent=1) + "\n")


def machine() -> dict[str, Any]:
    """Properties of the machine that the figures depend on."""
    return {
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "platform": platform.platform(),
        "python": platform.python_version(),
        "processors": os.cpu_count(),
        "load_before": round(os.getloadavg()[2], 2),
        "packages": {package: version(package) for package in MEASURED},
    }
