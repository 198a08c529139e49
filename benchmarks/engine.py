"""How fast the engine completes tasks, and whether it stays flat: `./dev bench engine [SIZES]`.

`chain` is hello_world through everything: HTTP, Service Bus, the functions host, PostgreSQL, in a
stack of its own. `state` is eight threads that claim and complete on PostgreSQL alone: what the
tables and the SQL functions allow. Rates of one run on one machine; compare within a table.
"""

import argparse
import json
import platform
import shutil
import tempfile
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path

import httpx
from rich.console import Console
from rich.table import Table

from core.models import JobRecord, TaskRecord
from infrastructure.database import open_pool
from infrastructure.migrate import migrate
from infrastructure.postgres import PostgresState
from local.environment import Environment
from local.postgres import Cluster
from local.stack import Stack
from local.steps import Report

RESULTS = Path(__file__).parent / "results"
WORKERS = 8


@contextmanager
def running_stack() -> Iterator[Environment]:
    """A stack of its own, gone afterwards."""
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


def measure_chain(environment: Environment, size: int) -> dict[str, float]:
    """Tasks per second between the start and the end of the greetings stage."""
    headers = {"x-functions-key": environment.keys.function_key}
    with httpx.Client(base_url=environment.api, headers=headers, timeout=120) as api:
        body = {"n": size, "message": uuid.uuid4().hex}
        job_id = api.post("/jobs/submit/hello_world", json=body).json()["job_id"]
        while True:
            job = api.get(f"/jobs/status/{job_id}", params={"wait": 20}).json()
            if job["status"] not in ("queued", "processing"):
                break
    assert job["result_data"] and job["result_data"]["greetings"] == size, job
    greetings, summary = job["stages"]
    spent = _seconds(greetings["started_at"], greetings["finished_at"])
    hop = _seconds(greetings["finished_at"], summary["started_at"])
    return {"tasks_per_second": size / spent, "stage_hop_ms": hop * 1000}


def _seconds(start: str, end: str) -> float:
    return (datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds()


def measure_state(database_url: str, size: int) -> dict[str, float]:
    """Claims and completions per second by eight threads on one stage."""
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

        start = time.perf_counter()
        with ThreadPoolExecutor(WORKERS) as threads:
            list(threads.map(work, range(WORKERS)))
        return {
            "tasks_per_second": size / (time.perf_counter() - start),
            "stored_per_second": size / stored,
        }


def _task(job: JobRecord, index: int) -> TaskRecord:
    return TaskRecord(
        task_id=f"{job.job_id[:32]}-1-1-{index}",
        job_id=job.job_id,
        run=1,
        stage=1,
        task_index=index,
        task_type="bench",
        parameters={"number": index},
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="./dev bench engine", description=__doc__)
    parser.add_argument("sizes", nargs="*", type=int, default=[1_000, 10_000, 100_000])
    sizes = parser.parse_args().sizes
    rows: list[dict[str, float | str]] = []
    with running_stack() as environment:
        database_url = environment.database_url
        migrate(database_url)
        for size in sizes:
            rows.append({"what": "chain", "tasks": size} | measure_chain(environment, size))
        for size in sizes:
            rows.append({"what": "state", "tasks": size} | measure_state(database_url, size))
    _print(rows)
    RESULTS.mkdir(exist_ok=True)
    found = {"machine": platform.platform(), "python": platform.python_version(), "rows": rows}
    (RESULTS / "engine.json").write_text(json.dumps(found, indent=1) + "\n")


def _print(rows: list[dict[str, float | str]]) -> None:
    table = Table("what", "tasks", "tasks/s", "stored/s", "stage hop ms")
    for row in rows:
        figures = (row.get(name) for name in ("tasks_per_second", "stored_per_second"))
        table.add_row(
            str(row["what"]),
            f"{row['tasks']:,}",
            *("" if figure is None else f"{figure:,.0f}" for figure in figures),
            "" if "stage_hop_ms" not in row else f"{row['stage_hop_ms']:.1f}",
        )
    Console().print(table)


if __name__ == "__main__":
    main()
