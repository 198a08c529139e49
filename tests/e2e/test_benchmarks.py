"""Every benchmark runs; its figures are not checked."""

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
    reason="gdalwarp is not installed; ./dev bench installs it",
)
USES_GDALWARP = ("collection", "job", "raster")


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=WITHOUT_GDALWARP if name in USES_GDALWARP else ()) for name in NAMES],
)
def test_a_benchmark_runs(name: str):
    kept = RESULTS / f"{name}.json"
    kept.unlink(missing_ok=True)
    command = [ROOT / "dev", "bench", name, "--quick"]
    run = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    parts = json.loads(kept.read_text())
    assert parts and all(part["rows"] and part["machine"] for part in parts.values())
    assert "Traceback" not in run.stderr
