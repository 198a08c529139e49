"""Growth under steady load: `./dev bench soak --hours H [--distinct] [--quick]`.

Every second a hello_world of 50 tasks and every ten seconds a process_raster of a raster of 1 MB,
on a stack of its own. `--distinct` uploads each raster under a name of its own, and
`--raster-seconds` changes how often. What must not grow is sampled all the time; the table compares
the medians of the first and last third of the samples and gives the slope. Rows grow by design
(RETENTION_DAYS is not set), so for them the table has what one finished job adds, in each third. A
warm-up of a tenth of the time is not sampled.
"""

import argparse
import statistics
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import Event, Thread
from typing import Any

import psycopg
from _results import keep
from engine import running_stack
from raster import make_source
from rich.console import Console
from rich.table import Table

from geolathe import Client, Error
from local import process
from local.client import connect
from local.stack.environment import Environment
from local.stack.stack import Stack

TASKS = 50
GREETING_SECONDS = 1.0
RASTER_SECONDS = 10.0
RASTER_PIXELS = 840  # width and height; 1 MB of DEFLATE
QUICK_SECONDS = 15.0
DRAIN_SECONDS = 60.0
MB = 2**20
# A rise below a tenth, or below this, is noise of allocator, vacuum and page sizes.
NOISE = {"MB": 5.0, "files": 5.0, "%": 5.0, "jobs": 5.0, "": 3.0, "kB a job": 2.0,
         "rows per job": 0.5}  # fmt: skip
SHARE = 0.1

JOBS = """
SELECT count(*) FILTER (WHERE status IN ('queued', 'processing')),
       count(*) FILTER (WHERE status NOT IN ('queued', 'processing')),
       count(*) FILTER (WHERE status NOT IN ('queued', 'processing', 'completed'))
  FROM app.jobs
"""
CONNECTIONS = """
SELECT count(*) FROM pg_stat_activity
 WHERE datname = current_database() AND pid <> pg_backend_pid()
"""
TABLES = """
SELECT relname, pg_table_size(relid), pg_indexes_size(relid), n_live_tup, n_dead_tup
  FROM pg_stat_user_tables WHERE schemaname = 'app' ORDER BY relname
"""


@dataclass(frozen=True)
class Sample:
    """The stack at one moment."""

    hours: float
    finished: int
    failed: int
    levels: dict[tuple[str, str], float]
    """What must not grow, by name and unit."""
    stock: dict[tuple[str, str], float]
    """What every job adds to, by name and unit per job."""


@dataclass(frozen=True)
class Trend:
    """The first third of the samples compared with the last."""

    name: str
    unit: str
    first: float
    last: float
    slope_per_hour: float
    is_flat: bool


class Observer:
    """Observes a running stack from outside."""

    def __init__(self, environment: Environment, connection: psycopg.Connection) -> None:
        self._stack = Stack(environment.folder)
        self._scratch = environment.folder / "scratch"
        self._connection = connection
        self._started = time.monotonic()

    def look(self) -> Sample:
        """Raises SystemExit when a service has died."""
        pids = self._pids()
        still_open, finished, failed = self._rows(JOBS)[0]
        tables = self._rows(TABLES)
        levels: dict[tuple[str, str], float] = {
            (f"{name}, memory", "MB"): process.memory_of(pid) / MB for name, pid in pids.items()
        }
        levels["host, open handles", "files"] = _open_files(pids["host"])
        levels["database connections", ""] = self._rows(CONNECTIONS)[0][0]
        levels["scratch folder", "MB"] = _bytes_below(self._scratch) / MB
        dead, living = (sum(table[place] for table in tables) for place in (4, 3))
        # Autovacuum runs when a fifth of a table is dead.
        levels["dead rows per live row", "%"] = 100 * dead / living
        levels["open jobs", "jobs"] = still_open
        stock: dict[tuple[str, str], float] = {}
        for name, table_bytes, index_bytes, live, _ in tables:
            stock[f"{name}, table", "kB a job"] = table_bytes / 1024
            stock[f"{name}, indexes", "kB a job"] = index_bytes / 1024
            stock[name, "rows per job"] = live
        hours = (time.monotonic() - self._started) / 3600
        return Sample(hours, finished, failed, levels, stock)

    def finishes(self, seconds: float) -> bool:
        """Wait until no job is open. Returns False after `seconds`."""
        until = time.monotonic() + seconds
        while self._rows(JOBS)[0][0]:
            if time.monotonic() > until:
                return False
            time.sleep(0.5)
        return True

    def _pids(self) -> dict[str, int]:
        parts = self._stack.status()
        dead = [part.name for part in parts if part.identity is None]
        if dead:
            raise SystemExit(f"{', '.join(dead)}: died under load")
        return {part.name: part.identity.pid for part in parts if part.identity is not None}

    def _rows(self, query: str) -> list[tuple[Any, ...]]:
        return self._connection.execute(query.encode()).fetchall()


def _open_files(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def _bytes_below(folder: Path) -> int:
    """The size of all files, except those deleted meanwhile."""
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.stat().st_size if path.is_file() else 0
        except FileNotFoundError:
            continue
    return total


@dataclass(frozen=True)
class Rasters:
    """What is submitted to process_raster, and how often."""

    file: Path
    distinct: bool
    """Whether each submission has a raster of its own."""
    seconds: float

    def submit(self, client: Client) -> None:
        number = uuid.uuid4().hex
        name = f"soak/{number}.tif" if self.distinct else "soak/soak.tif"
        source = client.upload(self.file, name)
        client.submit("process_raster", source | {"item_id": f"soak-{number}"})


@contextmanager
def steady_load(environment: Environment, rasters: Rasters) -> Iterator[list[str]]:
    """Submit at fixed times, whether or not earlier jobs have ended.

    Yields a list of errors, which grows.
    """
    done, errors = Event(), list[str]()

    def greet(client: Client) -> None:
        client.submit("hello_world", {"n": TASKS, "message": uuid.uuid4().hex})

    def repeat(submit: Callable[[Client], None], seconds: float) -> None:
        due = time.monotonic()
        with connect(environment) as client:
            while not done.wait(max(0.0, due - time.monotonic())):
                due += seconds
                try:
                    submit(client)
                except Error as error:
                    errors.append(repr(error))

    loads = ((greet, GREETING_SECONDS), (rasters.submit, rasters.seconds))
    threads = [Thread(target=repeat, args=load, daemon=True) for load in loads]
    for thread in threads:
        thread.start()
    try:
        yield errors
    finally:
        done.set()
        for thread in threads:
            thread.join()


def prepare(environment: Environment, file: Path) -> None:
    """Make the raster and run one job of each type."""
    make_source(file, RASTER_PIXELS, 3, "uint8")
    with connect(environment) as client:
        client.submit("hello_world", {"n": TASKS}).wait(120)
        client.submit("process_raster", client.upload(file)).wait(120)


def soak(
    seconds: float, every: float, console: Console, *, distinct: bool, raster_seconds: float
) -> tuple[list[Sample], list[str]]:
    """Samples under load, and errors."""
    samples = []
    with (
        tempfile.TemporaryDirectory() as folder,
        running_stack() as environment,
        psycopg.connect(environment.database_url, autocommit=True) as connection,
    ):
        rasters = Rasters(Path(folder, "soak.tif"), distinct, raster_seconds)
        prepare(environment, rasters.file)
        with steady_load(environment, rasters) as errors:
            time.sleep(seconds / 10)
            observer = Observer(environment, connection)
            until = time.monotonic() + seconds * 0.9
            while time.monotonic() < until:
                samples.append(observer.look())
                _tell(samples[-1], console)
                time.sleep(every)
        if not observer.finishes(DRAIN_SECONDS):
            errors.append(f"jobs are still open {DRAIN_SECONDS:.0f} s after the load")
        if failed := observer.look().failed:
            errors.append(f"{failed} jobs did not complete")
    return samples, errors


def _tell(sample: Sample, console: Console) -> None:
    memory = sample.levels["host, memory", "MB"]
    still_open = sample.levels["open jobs", "jobs"]
    text = f"{sample.finished} jobs done, {still_open:.0f} open, host {memory:.0f} MB"
    console.print(f"  {sample.hours * 60:.1f} min: {text}", highlight=False)


def find_trends(samples: Sequence[Sample]) -> list[Trend]:
    """The trends of what must not grow, then of what one job adds."""
    third = max(2, len(samples) // 3)
    first, last = samples[:third], samples[-third:]
    hours = [sample.hours for sample in samples]
    trends = []
    for name, unit in samples[0].levels:
        values = [sample.levels[name, unit] for sample in samples]
        slope = statistics.linear_regression(hours, values).slope
        ends = (statistics.median(values[:third]), statistics.median(values[-third:]))
        trends.append(_trend(name, unit, *ends, slope))
    for name, unit in samples[0].stock:
        if samples[-1].stock[name, unit] == samples[0].stock[name, unit]:
            continue
        ends = (_added_by_a_job(first, (name, unit)), _added_by_a_job(last, (name, unit)))
        trends.append(_trend(name, unit, *ends, (ends[1] - ends[0]) / (hours[-1] - hours[0])))
    return trends


def _added_by_a_job(samples: Sequence[Sample], key: tuple[str, str]) -> float:
    jobs = samples[-1].finished - samples[0].finished
    return (samples[-1].stock[key] - samples[0].stock[key]) / jobs if jobs else 0.0


def _trend(name: str, unit: str, first: float, last: float, slope: float) -> Trend:
    is_flat = last - first <= max(SHARE * first, NOISE[unit])
    return Trend(name, unit, round(first, 2), round(last, 2), round(slope, 2), is_flat)


def show(trends: Sequence[Trend], errors: Sequence[str], console: Console) -> None:
    table = Table("what", "unit", "first third", "last third", "per hour", "", box=None)
    for trend in trends:
        figures = (f"{value:,.1f}" for value in (trend.first, trend.last, trend.slope_per_hour))
        table.add_row(trend.name, trend.unit, *figures, "" if trend.is_flat else "rises")
    console.print(table)
    rising = [f"{trend.name} ({trend.unit})" for trend in trends if not trend.is_flat]
    console.print(f"growing: {', '.join(rising) or 'nothing'}")
    console.print(f"errors: {'; '.join(errors[:10]) or 'nothing'}")


def main() -> None:
    parser = argparse.ArgumentParser(prog="./dev bench soak", description=__doc__)
    parser.add_argument("--hours", type=float, default=0.0)
    parser.add_argument("--minutes", type=float, default=0.0)
    parser.add_argument("--every", type=float, default=10.0, help="seconds between samples")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_SECONDS:.0f} s of load")
    parser.add_argument("--distinct", action="store_true", help="a name for each raster")
    parser.add_argument("--raster-seconds", type=float, default=RASTER_SECONDS)
    options = parser.parse_args()
    seconds = options.hours * 3600 + options.minutes * 60
    every = min(options.every, seconds / 60)
    if options.quick:
        seconds, every = QUICK_SECONDS, 1.0
    if not seconds:
        parser.error("give --hours, --minutes or --quick")
    console = Console()
    samples, errors = soak(
        seconds, every, console, distinct=options.distinct, raster_seconds=options.raster_seconds
    )
    trends = find_trends(samples)
    show(trends, errors, console)
    rows = [asdict(trend) for trend in trends]
    found = {"seconds": seconds, "jobs": samples[-1].finished, "errors": errors, "trends": rows}
    keep("soak", [found], quick=options.quick)
    keep("soak", [_plain(sample) for sample in samples], quick=options.quick, part="samples")


def _plain(sample: Sample) -> dict[str, float]:
    levels = {f"{name} ({unit})": level for (name, unit), level in sample.levels.items()}
    return {"hours": sample.hours, "finished": sample.finished, **levels}


if __name__ == "__main__":
    main()
