"""The times of a fan-out and its fan-in, their figures, and the command line of a peer."""

import argparse
import json
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from peers.cost import Cost, database_cost


@dataclass(frozen=True)
class Fan:
    """One job, in seconds since the epoch."""

    started: float
    """Before the first task is stored or sent."""
    last_ended: float
    """The end of the last task."""
    joined: float
    """The start of the step that waits for all tasks."""


@dataclass(frozen=True)
class Options:
    """The arguments of a peer."""

    database_url: str
    tasks: int
    workers: int
    jobs: int


def summarize(fans: Sequence[Fan], tasks: int, cost: Cost) -> dict[str, float]:
    """Figures of jobs with `tasks` tasks each; with p99 of the hop for more than one job."""
    spent = sum(fan.last_ended - fan.started for fan in fans)
    hops = [(fan.joined - fan.last_ended) * 1000 for fan in fans]
    done = tasks * len(fans)
    figures = {
        "tasks_per_second": done / spent,
        "hop_ms": statistics.median(hops),
        **cost.per_task(done),
    }
    if len(hops) > 1:
        figures["hop_p99_ms"] = statistics.quantiles(hops, n=100, method="inclusive")[98]
    return figures


def parse_options() -> Options:
    """Parse the command line of a peer."""
    parser = argparse.ArgumentParser()
    parser.add_argument("database_url")
    parser.add_argument("tasks", type=int)
    parser.add_argument("workers", type=int)
    parser.add_argument("--jobs", type=int, default=1)
    return Options(**vars(parser.parse_args()))


def report(options: Options, version: str, run: Callable[[int], Fan]) -> None:
    """Run one job to warm up, then the jobs one after another, and print the figures."""
    run(options.workers)
    with database_cost(options.database_url) as cost:
        fans = [run(options.tasks) for _ in range(options.jobs)]
    print(json.dumps({**summarize(fans, options.tasks, cost), "version": version}))
