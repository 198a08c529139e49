"""Each benchmark works. What it measures is of no interest here."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "results" / "quick"
NAMES = sorted(
    file.stem for file in (ROOT / "benchmarks").glob("*.py") if not file.stem.startswith("_")
)
WITHOUT_GDALWARP = pytest.mark.skipif(
    shutil.which("gdalwarp") is None,
    reason="gdalwarp is not on this machine: ./dev bench installs it, a test does not",
)
BESIDE_GDALWARP = ("job", "raster")


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=WITHOUT_GDALWARP if name in BESIDE_GDALWARP else ())
        for name in NAMES
    ],
)
def test_benchmark_works(name: str):
    kept = RESULTS / f"{name}.json"
    kept.unlink(missing_ok=True)
    command = [ROOT / "dev", "bench", name, "--quick"]
    run = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    parts = json.loads(kept.read_text())
    assert parts and all(part["rows"] and part["machine"] for part in parts.values())
    assert "Traceback" not in run.stderr
