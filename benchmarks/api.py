"""What pollers cost: `./dev bench api [--pollers 200] [--tasks 10000]`.

Everybody watches one job of many tasks while it runs, in a stack of its own: first as curl in a
loop does (a status every two seconds, as Retry-After says), then by long poll with an ETag. The
latency of a plain status, and the processor time of the functions host, of which the job's own
work is the larger part: `alone` is the job with nobody watching.
"""

import argparse
import asyncio
import json
import os
import platform
import statistics
import time
import uuid
from pathlib import Path

import httpx
from engine import RESULTS, running_stack
from rich.console import Console
from rich.table import Table

from local.environment import Environment
from local.services import Services

Row = dict[str, float | str]
POLL_SECONDS = 2.0


async def measure(environment: Environment, how: str, pollers: int, tasks: int) -> Row:
    """One job, watched by many to its end."""
    headers = {"x-functions-key": environment.keys.function_key}
    limits = httpx.Limits(max_connections=pollers + 1, max_keepalive_connections=pollers + 1)
    latencies: list[float] = []
    async with httpx.AsyncClient(
        base_url=environment.api, headers=headers, timeout=60, limits=limits, trust_env=False
    ) as api:
        body = {"n": tasks, "message": uuid.uuid4().hex}
        cpu, started = host_cpu(environment), time.perf_counter()
        job_id = (await api.post("/jobs/submit/hello_world", json=body)).json()["job_id"]
        watch = {"alone": wait_alone, "poll": poll, "long poll": long_poll}[how]
        await asyncio.gather(
            *(watch(api, job_id, latencies) for _ in range(1 if how == "alone" else pollers))
        )
        seconds = time.perf_counter() - started
        cpu = host_cpu(environment) - cpu
    row: Row = {"how": how, "seconds": seconds, "host_cpu": cpu, "requests": len(latencies)}
    if how == "poll":
        cuts = statistics.quantiles(latencies, n=100)
        row |= {"p50_ms": cuts[49] * 1000, "p99_ms": cuts[98] * 1000}
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
    """Processor seconds that the functions host has used."""
    record = Services(environment.folder).read("host")
    assert record is not None
    stat = Path(f"/proc/{record.identity.pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(stat[11]) + int(stat[12])) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    parser = argparse.ArgumentParser(prog="./dev bench api", description=__doc__)
    parser.add_argument("--pollers", type=int, default=200)
    parser.add_argument("--tasks", type=int, default=10_000)
    options = parser.parse_args()
    with running_stack() as environment:
        rows = [
            asyncio.run(measure(environment, how, options.pollers, options.tasks))
            for how in ("alone", "poll", "long poll")
        ]
    table = Table("watched", "job s", "host CPU s", "requests", "p50 ms", "p99 ms")
    for row in rows:
        figures = ("seconds", "host_cpu", "requests", "p50_ms", "p99_ms")
        table.add_row(str(row["how"]), *(f"{row[f]:,.0f}" if f in row else "" for f in figures))
    Console().print(table)
    RESULTS.mkdir(exist_ok=True)
    machine = {"machine": platform.platform(), "python": platform.python_version()}
    found = machine | vars(options) | {"rows": rows}
    (RESULTS / "api.json").write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
