"""Import time of a cold start: `./dev bench start [--quick]`.

`app` imports function_app with the settings of a deployment, as Azure does to find its functions.
Nothing listens at the addresses: the connection pool opens in the background. `baseline` imports
azure.functions, psycopg with its pool, and pydantic's BaseModel; `bare` leaves out the last, as
`import pydantic` alone loads almost nothing. Each run is a fresh interpreter with compiled
bytecode, and the kinds take turns.
"""

import argparse
import json
import re
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from _results import keep
from rich.console import Console
from rich.table import Table

from local.stack.environment import ROOT, Environment, Keys, Ports, inherited

TARGET = 1.3
FLOOR = "import azure.functions, psycopg, psycopg_pool"
STARTS = {
    "baseline": f"{FLOOR}\nfrom pydantic import BaseModel",
    "bare": f"{FLOOR}, pydantic",
    "app": "import function_app",
}
HEAVY = ("rasterio", "numpy", "shapely", "pystac", "rio_cogeo", "azure.storage", "azure.servicebus")
# os._exit: closing the pool is not measured.
PROBE = """
import json, os, sys, time
started = time.perf_counter()
{imports}
seconds = time.perf_counter() - started
with open("/proc/self/status") as status:
    [resident] = [line.split()[1] for line in status if line.startswith("VmRSS:")]
loaded = [name for name in {heavy} if name in sys.modules]
print(json.dumps([seconds, int(resident), loaded]), flush=True)
os._exit(0)
"""
IMPORT = re.compile(r"import time:\s+(\d+) \|\s+(\d+) \|\s+(\S+)")


@dataclass(frozen=True)
class Start:
    """One fresh interpreter after its imports."""

    milliseconds: float
    resident_mb: float
    heavy: tuple[str, ...]
    """Libraries that were loaded although only tasks need them."""


def settings(folder: Path) -> dict[str, str]:
    """The environment of a deployment; nothing listens on such low ports."""
    deployment = Environment(folder, Ports(1, 2, 3, 4, 5, 6), Keys("", "", "a2V5"))
    env = inherited() | deployment.app_settings()
    env.pop("PYTHONDONTWRITEBYTECODE", None)
    return env


def start(kind: str, env: dict[str, str]) -> Start:
    """Run one interpreter. Raises CalledProcessError when it fails."""
    probe = PROBE.format(imports=STARTS[kind], heavy=HEAVY)
    seconds, resident, loaded = json.loads(_python(["-c", probe], env).stdout)
    return Start(seconds * 1000, resident / 1024, tuple(loaded))


def slowest_imports(env: dict[str, str], count: int) -> list[dict[str, Any]]:
    """The modules whose own code took longest, in milliseconds, without their imports."""
    code = f"{STARTS['app']}\nimport os; os._exit(0)"
    text = _python(["-X", "importtime", "-c", code], env).stderr
    spent = [(int(own) / 1000, name) for own, _, name in IMPORT.findall(text)]
    return [{"module": name, "own_ms": own} for own, name in sorted(spent, reverse=True)[:count]]


def _python(arguments: list[str], env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=True)


def measure(runs: int, env: dict[str, str]) -> dict[str, list[Start]]:
    """All kinds in turn, so that other load affects all of them equally."""
    for kind in STARTS:
        start(kind, env)
    found: dict[str, list[Start]] = {kind: [] for kind in STARTS}
    for _ in range(runs):
        for kind, starts in found.items():
            starts.append(start(kind, env))
    return found


def summarize(found: dict[str, list[Start]]) -> dict[str, Any]:
    """Medians and minimums, and the app's as a multiple of each baseline."""
    kinds = {
        kind: {
            "median_ms": round(statistics.median(one.milliseconds for one in starts), 1),
            "least_ms": round(min(one.milliseconds for one in starts), 1),
            "resident_mb": round(statistics.median(one.resident_mb for one in starts), 1),
        }
        for kind, starts in found.items()
    }
    app, baseline = kinds["app"], kinds["baseline"]
    return {
        "kinds": kinds,
        "ratio": round(app["median_ms"] / baseline["median_ms"], 2),
        "ratio_of_least": round(app["least_ms"] / baseline["least_ms"], 2),
        "ratio_to_bare": round(app["median_ms"] / kinds["bare"]["median_ms"], 2),
        "heavy_loaded": sorted({name for one in found["app"] for name in one.heavy}),
    }


def show(summary: dict[str, Any], imports: list[dict[str, Any]], console: Console) -> None:
    table = Table("import", "median ms", "minimum ms", "resident MB", box=None)
    for kind, figures in summary["kinds"].items():
        table.add_row(kind, *(f"{figure:.1f}" for figure in figures.values()))
    console.print(table)
    verdict = "reached" if summary["ratio"] <= TARGET else "missed"
    console.print(f"app / baseline: {summary['ratio']} (target {TARGET}: {verdict})")
    console.print(f"app / baseline, minimum of each: {summary['ratio_of_least']}")
    console.print(f"app / bare: {summary['ratio_to_bare']}")
    console.print(f"loaded of {', '.join(HEAVY)}: {', '.join(summary['heavy_loaded']) or 'none'}")
    slowest = Table("slowest modules", "own ms", box=None)
    for line in imports:
        slowest.add_row(line["module"], f"{line['own_ms']:.1f}")
    console.print(slowest)


def main() -> None:
    parser = argparse.ArgumentParser(prog="./dev bench start", description=__doc__)
    parser.add_argument("--runs", type=int, default=15, help="runs of each kind")
    parser.add_argument("--quick", action="store_true", help="two runs of each kind")
    options = parser.parse_args()
    runs = 2 if options.quick else options.runs
    with tempfile.TemporaryDirectory() as folder:
        env = settings(Path(folder))
        summary = summarize(measure(runs, env))
        imports = slowest_imports(env, 10)
    show(summary, imports, Console())
    keep("start", [summary | {"runs": runs, "slowest_imports": imports}], quick=options.quick)


if __name__ == "__main__":
    main()
