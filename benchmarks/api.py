"""Load on the API: `./dev bench api [--pollers 200] [--tasks 10000] [--large 100000]`.

First, 1, 16 and 200 clients request the status of a job of 10 tasks and of a large job, and submit
jobs, each as soon as it has the previous response. Then, in a stack of its own, many clients follow
one job while it runs: by polling, as curl in a loop does (every two seconds, as Retry-After says),
and by long polling with an ETag; `alone` is the job without clients. Clients, stack and database
share the machine's processors.
"""

import argparse
import asyncio
import itertools
import statistics
import time
import uuid
from collections.abc import Awaitable, Callable, Sequence

import httpx
from _machine import STIME, TICKS, UTIME, process_stat
from _results import Row, keep
from engine import running_stack
from rich.console import Console
from rich.table import Table

from local.stack.environment import Environment
from local.stack.services import Services

Request = Callable[[], Awaitable[httpx.Response]]
POLL_SECONDS = 2.0


def connect(environment: Environment, clients: int) -> httpx.AsyncClient:
    limits = httpx.Limits(max_connections=clients + 1, max_keepalive_connections=clients + 1)
    return httpx.AsyncClient(
        base_url=environment.api,
        headers={"x-functions-key": environment.keys.function_key},
        timeout=60,
        limits=limits,
        trust_env=False,
    )


async def measure_throughput(
    environment: Environment, clients: Sequence[int], sizes: Sequence[int], seconds: float
) -> list[Row]:
    rows = []
    async with connect(environment, max(clients)) as api:
        numbers, name = itertools.count(), uuid.uuid4().hex
        jobs = {size: await finished_job(api, size, name) for size in sizes}

        async def submit() -> httpx.Response:
            body = {"n": 0, "message": f"{name} {next(numbers)}"}
            return await api.post("/jobs/submit/hello_world", json=body)

        for (size, job_id), count in itertools.product(jobs.items(), clients):

            async def ask(job_id: str = job_id) -> httpx.Response:
                return await api.get(f"/jobs/status/{job_id}")

            what = f"status of {size:,} tasks, {count} clients"
            rows.append(await press(what, ask, count, seconds))
        # Last, because the submitted jobs keep running for a while.
        for count in clients:
            rows.append(await press(f"submit, {count} clients", submit, count, seconds))
    return rows


async def finished_job(api: httpx.AsyncClient, size: int, name: str) -> str:
    body = {"n": size, "message": name}
    job_id = str((await api.post("/jobs/submit/hello_world", json=body)).json()["job_id"])
    while not await is_over(api, job_id, [], {}, wait=20):
        pass
    return job_id


async def press(what: str, request: Request, clients: int, seconds: float) -> Row:
    """Send requests without a pause for so many seconds."""
    latencies: list[float] = []
    until = time.perf_counter() + seconds

    async def client() -> None:
        while (started := time.perf_counter()) < until:
            answer = await request()
            assert answer.is_success, answer.text
            latencies.append(time.perf_counter() - started)

    started = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(clients)))
    rate = len(latencies) / (time.perf_counter() - started)
    return {"what": what, "requests": len(latencies), "per_second": rate, **cuts(latencies)}


def cuts(latencies: list[float]) -> dict[str, float]:
    found = statistics.quantiles(latencies, n=100)
    return {"p50_ms": found[49] * 1000, "p99_ms": found[98] * 1000}


async def measure_watching(environment: Environment, how: str, pollers: int, tasks: int) -> Row:
    """One job, followed by many clients to its end."""
    latencies: list[float] = []
    async with connect(environment, pollers) as api:
        body = {"n": tasks, "message": uuid.uuid4().hex}
        cpu, started = host_cpu(environment), time.perf_counter()
        job_id = (await api.post("/jobs/submit/hello_world", json=body)).json()["job_id"]
        watch = {"alone": wait_alone, "poll": poll, "long poll": long_poll}[how]
        await asyncio.gather(
            *(watch(api, job_id, latencies) for _ in range(1 if how == "alone" else pollers))
        )
        seconds = time.perf_counter() - started
        cpu = host_cpu(environment) - cpu
    watchers = "no clients" if how == "alone" else f"{pollers} {how}"
    row: Row = {
        "what": f"{tasks:,} tasks, {watchers}",
        "requests": len(latencies),
        "seconds": seconds,
        "host_cpu": cpu,
    }
    if how == "poll":
        row.update(cuts(latencies))
    return row


async def wait_alone(api: httpx.AsyncClient, job_id: str, latencies: list[float]) -> None:
    while not await is_over(api, job_id, latencies, {}):
        await asyncio.sleep(POLL_SECONDS)


async def poll(api: httpx.AsyncClient, job_id: str, latencies: list[float]) -> None:
    await asyncio.sleep(POLL_SECONDS * uuid.uuid4().int / 2**128)
    while not await is_over(api, job_id, latencies, {}):
        await asyncio.sleep(POLL_SECONDS)


async def long_poll(api: httpx.AsyncClient, job_id: str, latencies: list[float]) -> None:
    headers: dict[str, str] = {}
    while not await is_over(api, job_id, latencies, headers, wait=20):
        await asyncio.sleep(0.5)


async def is_over(
    api: httpx.AsyncClient,
    job_id: str,
    latencies: list[float],
    headers: dict[str, str],
    wait: int = 0,
) -> bool:
    started = time.perf_counter()
    answer = await api.get(f"/jobs/status/{job_id}", params={"wait": wait}, headers=headers)
    latencies.append(time.perf_counter() - started)
    assert answer.status_code in (200, 304), answer.text
    if wait:
        headers["If-None-Match"] = answer.headers["etag"]
    return answer.status_code == 200 and bool(answer.json()["finished_at"])


def host_cpu(environment: Environment) -> float:
    """CPU seconds that the Functions host has used."""
    record = Services(environment.folder).read("host")
    assert record is not None
    stat = process_stat(record.identity.pid)
    return (stat[UTIME] + stat[STIME]) / TICKS


def main() -> None:
    parser = argparse.ArgumentParser(prog="./dev bench api", description=__doc__)
    parser.add_argument("--pollers", type=int, default=200)
    parser.add_argument(
        "--tasks", type=int, default=10_000, help="tasks of the job that clients follow"
    )
    parser.add_argument("--large", type=int, default=100_000, help="tasks of the large job")
    parser.add_argument("--quick", action="store_true", help="only check that it works")
    options = parser.parse_args()
    clients, seconds = [1, 16, 200], 5.0
    if options.quick:
        clients, seconds = [1, 4], 0.5
        options.pollers, options.tasks, options.large = 4, 20, 100
    with running_stack() as environment:
        sizes = (10, options.large)
        rows = asyncio.run(measure_throughput(environment, clients, sizes, seconds))
    with running_stack() as environment:
        rows += [
            asyncio.run(measure_watching(environment, how, options.pollers, options.tasks))
            for how in ("alone", "poll", "long poll")
        ]
    _print(rows)
    keep("api", rows, quick=options.quick)


def _print(rows: list[Row]) -> None:
    table = Table("case", "requests", "requests/s", "p50 ms", "p99 ms", "job s", "host CPU s")
    for row in rows:
        figures = ("requests", "per_second", "p50_ms", "p99_ms", "seconds", "host_cpu")
        table.add_row(str(row["what"]), *(f"{row[f]:,.0f}" if f in row else "" for f in figures))
    Console().print(table)


if __name__ == "__main__":
    main()
