"""Throughput of the engine, compared with other engines: `./dev bench engine [SIZES]`.

Every engine fans out no-op tasks and joins them, eight at a time and one job after another, on one
PostgreSQL server. Geolathe runs hello_world through the whole stack: HTTP, Service Bus, the
Functions host. It is stopped while the other engines run, each in its own way (benchmarks/peers/).
Tasks per second count from storing the job's first task to the end of its last one; the hop is the
time from there to the start of the step that waits for all. `state` is eight threads that claim and
complete on PostgreSQL alone; pgbench is the limit of the server. Compare figures of one run only.
"""

import argparse
import os
import shutil
import statistics
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import psycopg
from _results import keep
from peers.cost import busy_share, database_cost
from peers.fan import Fan, summarize
from peers.pgbench import measure_pgbench
from peers.run import PEERS, PeerFailed, are_installed, install, measure_peer, running_redis
from psycopg import sql
from rich.console import Console
from rich.table import Table

from core.models import JobRecord, TaskRecord
from infrastructure.database import open_pool
from infrastructure.postgres import PostgresState
from local.stack.environment import Environment
from local.stack.postgres import Cluster
from local.stack.services import Services
from local.stack.stack import Stack
from local.steps import Report

WORKERS = 8
SMALL = 100
SHARING = 4
NAME = "geolathe"
FAN = """
SELECT extract(epoch FROM s.created_at), extract(epoch FROM s.finished_at),
       extract(epoch FROM min(t.started_at)), extract(epoch FROM n.created_at - s.finished_at)
  FROM app.stages s
  JOIN app.stages n ON n.job_id = s.job_id AND n.stage = 2
  JOIN app.tasks t ON t.job_id = s.job_id AND t.stage = 2
 WHERE s.job_id = %s AND s.stage = 1
 GROUP BY s.created_at, s.finished_at, n.created_at
"""
SETTINGS = ("server_version", "synchronous_commit", "fsync", "shared_buffers")
Row = dict[str, Any]


@contextmanager
def running_stack() -> Iterator[Environment]:
    """A temporary stack that records no telemetry, as the other engines do not."""
    os.environ["OTEL_SDK_DISABLED"] = "true"
    folder = Path(tempfile.mkdtemp(prefix="geolathe-bench-"))
    folder.chmod(0o711)
    stack = Stack(folder / "stack")
    quiet = Report(Console(quiet=True))
    try:
        yield stack.up(quiet)
    finally:
        stack.down(quiet)
        Cluster(folder / "stack" / "postgres").destroy()
        shutil.rmtree(folder, ignore_errors=True)


def measure_chain(environment: Environment, size: int, jobs: int = 1) -> dict[str, float]:
    """Run jobs of `size` greetings, one after another."""
    with database_cost(environment.database_url) as cost:
        fans, starts = zip(*(_greet(environment, size) for _ in range(jobs)), strict=True)
    return {**summarize(fans, size, cost), "stage_start_ms": statistics.median(starts) * 1000}


def measure_hops(environment: Environment, jobs: int) -> dict[str, float]:
    """The hop from one stage to the next in small jobs, p50 and p99."""
    return measure_chain(environment, SMALL, jobs)


def _submit(api: httpx.Client, size: int) -> str:
    body = {"n": size, "message": uuid.uuid4().hex}
    return str(api.post("/jobs/submit/hello_world", json=body).json()["job_id"])


def _wait(api: httpx.Client, job_id: str) -> None:
    while True:
        job = api.get(f"/jobs/status/{job_id}", params={"wait": 20}).json()
        if job["status"] not in ("queued", "processing"):
            break
    assert job["status"] == "completed", job


def open_client(environment: Environment) -> httpx.Client:
    headers = {"x-functions-key": environment.keys.function_key}
    return httpx.Client(base_url=environment.api, headers=headers, timeout=120)


def _greet(environment: Environment, size: int) -> tuple[Fan, float]:
    """The fan, and the seconds from the end of its last task until the next stage is stored."""
    with open_client(environment) as api:
        job_id = _submit(api, size)
        _wait(api, job_id)
    with psycopg.connect(environment.database_url) as connection:
        moments = connection.execute(FAN, (job_id,)).fetchone()
    assert moments is not None
    *fan, stage_start = map(float, moments)
    return Fan(*fan), stage_start


def measure_share(environment: Environment, size: int, jobs: int) -> dict[str, float]:
    """Large jobs, and the seconds that a job of one task takes when it is submitted after them."""
    with open_client(environment) as api:
        start = time.perf_counter()
        large = [_submit(api, size) for _ in range(jobs)]
        small = time.perf_counter()
        _wait(api, _submit(api, 1))
        small = time.perf_counter() - small
        for job_id in large:
            _wait(api, job_id)
        spent = time.perf_counter() - start
    return {"tasks_per_second": jobs * size / spent, "small_job_s": small}


def measure_state(database_url: str, size: int) -> dict[str, float]:
    """Claims and completions per second of eight threads on one stage."""
    with open_pool(database_url, max_size=WORKERS) as pool:
        state = PostgresState(pool)
        job_id = (uuid.uuid4().hex * 2)[:64]
        new = JobRecord(job_id=job_id, job_type="bench", parameters={}, total_stages=1)
        _, job = state.submit_job(new)
        tasks = [_task(job, index) for index in range(size)]
        stored = time.perf_counter()
        state.start_stage(job, 1, "bench", False, tasks)
        stored = time.perf_counter() - stored

        def work(number: int) -> None:
            for task in tasks[number::WORKERS]:
                [claim] = state.claim_tasks([task.task_id], timedelta(minutes=5))
                state.complete_task(task.task_id, claim.task.attempt, {"n": 1}, None)

        with database_cost(database_url) as cost, ThreadPoolExecutor(WORKERS) as threads:
            start = time.perf_counter()
            list(threads.map(work, range(WORKERS)))
            spent = time.perf_counter() - start
    return {
        "tasks_per_second": size / spent,
        "stored_per_second": size / stored,
        **cost.per_task(size),
    }


def _task(job: JobRecord, index: int) -> TaskRecord:
    return TaskRecord(
        task_id=f"{job.job_id[:32]}-1-1-{index}",
        job_id=job.job_id,
        stage=1,
        task_index=index,
        task_type="bench",
        parameters={"number": index},
    )


class Bench:
    """The rows of one run, printed as they are measured."""

    def __init__(self, options: argparse.Namespace, console: Console) -> None:
        self._options = options
        self._console = console
        self.rows: list[Row] = []
        self.server: dict[str, str] = {}
        self.has_failed = False

    def run(self) -> None:
        """Geolathe first, then pgbench, then the other engines while Geolathe is stopped."""
        with running_stack() as environment:
            cluster = Cluster(environment.folder / "postgres", environment.ports.postgres)
            _prepare(cluster)
            self.server = _server_settings(environment.database_url)
            self._run_geolathe(environment)
            limit = cluster.create_database("bench_limit")
            seconds = 1 if self._options.quick else 5
            self._add(
                "pgbench, one UPDATE a transaction",
                {},
                lambda: measure_pgbench(limit, WORKERS, seconds),
            )
            for name in ("host", "titiler", "stac", "broker"):
                Services(environment.folder).stop(name, 10.0)
            self._run_peers(cluster)

    def _run_geolathe(self, environment: Environment) -> None:
        measure_chain(environment, WORKERS)
        url, jobs = environment.database_url, self._options.hops
        self._add(NAME, {"tasks": SMALL, "jobs": jobs}, lambda: measure_hops(environment, jobs))
        for size in self._options.sizes:
            self._add(NAME, {"tasks": size}, partial(measure_chain, environment, size))
        load = {"tasks": self._options.share, "jobs": SHARING}
        name = f"{NAME}, and a small job after them"
        self._add(name, load, partial(measure_share, environment, self._options.share, SHARING))
        for size in self._options.sizes:
            self._add(f"{NAME}, state alone", {"tasks": size}, partial(measure_state, url, size))

    def _run_peers(self, cluster: Cluster) -> None:
        if self._options.quick and not are_installed():
            self._console.print(
                "the other engines are not installed; run without --quick to install them"
            )
            return
        if not are_installed():
            self._console.print("installing the other engines ...")
            install()
        with running_redis() as redis:
            for peer in PEERS:
                for tasks, jobs in self._peer_loads():
                    load = {"tasks": tasks, "workers": WORKERS, "jobs": jobs}
                    self._add(peer.name, load, partial(measure_peer, peer, cluster, redis, **load))

    def _peer_loads(self) -> list[tuple[int, int]]:
        """Numbers of tasks per job and of jobs."""
        if self._options.quick:
            return [(50, 1)]
        sizes = [size for size in self._options.sizes if size <= self._options.peers_up_to]
        return [(SMALL, self._options.hops), *((size, 1) for size in sizes)]

    def _add(self, what: str, asked: Row, measure: Callable[[], Row]) -> None:
        """One row, with how busy other programs kept the machine before it."""
        busy = busy_share(0.1 if self._options.quick else 1.0)
        row: Row = {"what": what, "jobs": 1, **asked, "busy_before": round(busy, 2)}
        try:
            row |= measure()
            text = f"{row['tasks_per_second']:,.0f} tasks/s"
        except PeerFailed as failure:
            row["error"] = text = str(failure)
            self.has_failed = True
        self.rows.append(row)
        self._console.print(f"  {what}, {_amount(row)}: {text}", markup=False, highlight=False)


def _prepare(cluster: Cluster) -> None:
    """Make the server durable, as in production, and let it count statements."""
    settings = dict.fromkeys(("fsync", "full_page_writes", "synchronous_commit"), "on")
    settings["shared_preload_libraries"] = "pg_stat_statements"
    with psycopg.connect(cluster.dsn(), autocommit=True) as connection:
        for name, value in settings.items():
            change = sql.SQL("ALTER SYSTEM SET {} = {}")
            connection.execute(change.format(sql.Identifier(name), sql.Literal(value)))
    cluster.stop()
    cluster.start()


def _server_settings(database_url: str) -> dict[str, str]:
    with psycopg.connect(database_url) as connection:
        found = connection.execute(
            "SELECT name, setting FROM pg_settings WHERE name = ANY(%s)", (list(SETTINGS),)
        )
        return dict(found.fetchall())


def main() -> None:
    options = _parse_options()
    console = Console() if sys.stdout.isatty() else Console(width=100)
    bench = Bench(options, console)
    try:
        bench.run()
    finally:
        if bench.rows:
            _print(bench.rows, console)
            keep("engine", bench.rows, quick=options.quick, server=bench.server, workers=WORKERS)
    if bench.has_failed:
        raise SystemExit(1)


def _parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="./dev bench engine",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("sizes", nargs="*", type=int, help="tasks per job (1000 10000 100000)")
    parser.add_argument(
        "--peers-up-to", type=int, default=10_000, help="largest job of the other engines"
    )
    parser.add_argument("--hops", type=int, help=f"jobs of {SMALL} tasks for p50 and p99 (30)")
    parser.add_argument("--share", type=int, help=f"tasks of {SHARING} jobs at once (20000)")
    parser.add_argument("--quick", action="store_true", help="only check that it works")
    options = parser.parse_args()
    options.sizes = options.sizes or ([SMALL] if options.quick else [1_000, 10_000, 100_000])
    options.share = options.share or (SMALL if options.quick else 20_000)
    options.hops = options.hops or (3 if options.quick else 30)
    return options


def _print(rows: Sequence[Row], console: Console) -> None:
    table = Table("what", box=None, pad_edge=False)
    figures = {
        "tasks_per_second": ("tasks/s", ",.0f"),
        "hop_ms": ("hop ms", ",.1f"),
        "hop_p99_ms": ("p99 ms", ",.1f"),
        "stage_start_ms": ("stage ms", ",.1f"),
        "small_job_s": ("small s", ",.1f"),
        "database_cpu_ms_per_task": ("db ms", ".2f"),
        "commits_per_task": ("commits", ".2f"),
        "statements_per_task": ("statements", ".2f"),
        "busy_before": ("busy", ".0%"),
    }
    for head in ("tasks", *(head for head, _ in figures.values())):
        table.add_column(head, justify="right")
    for row in rows:
        text = (format(row[name], f) if name in row else "" for name, (_, f) in figures.items())
        version = f" {row['version']}" if "version" in row else ""
        table.add_row(f"{row['what']}{version}", _amount(row), *text)
    console.print(table)
    console.print(
        "hop: until the next step starts; stage: until it is stored; small: the job of one task\n"
        "db ms, commits, statements: CPU, writing transactions and client statements per task\n"
        "busy: other load just before; rates of a busy machine are not comparable"
    )


def _amount(row: Row) -> str:
    tasks = f"{row['tasks']:,}"
    return tasks if row["jobs"] == 1 else f"{row['jobs']} x {tasks}"


if __name__ == "__main__":
    main()
