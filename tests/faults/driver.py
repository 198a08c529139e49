"""The fault suite: `./dev faults --minutes N [--seed S]`.

A world of its own is hurt in every way a plan holds while users keep submitting jobs. Then the
faults stop, the world gets time to settle, what failed is retried, and every invariant is asked.
The seed of a run is its plan: the same jobs, the same faults, at the same moments.
"""

import argparse
import logging
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.faults.faults import inject
from tests.faults.invariants import Violation, check, rows
from tests.faults.plan import RASTERS, Fault, Plan, Submission, long_plan
from tests.faults.rasters import make_raster
from tests.faults.recovery import Injury, percentile, recoveries
from tests.faults.workload import Users
from tests.faults.world import World

logger = logging.getLogger("tests.faults")

STILL = 45.0
"""Seconds without any progress after which what is open counts as stuck."""
RETRIES = 4
PROGRESS = """
    SELECT (SELECT count(*) FROM app.jobs WHERE status IN ('queued', 'processing')
                OR status = 'cancelled' AND discarded_at IS NULL) AS open,
           (SELECT count(*) FROM app.tasks WHERE finished_at IS NOT NULL)
         + (SELECT count(*) FROM app.events WHERE kind NOT IN
                ('repaired', 'late_write_refused', 'dead_lettered')) AS moved"""


@dataclass
class Outcome:
    """What a run of the suite found."""

    plan: Plan
    violations: list[Violation]
    figures: dict[str, str] = field(default_factory=dict)
    faults: Counter[str] = field(default_factory=Counter)


def run(plan: Plan, folder: Path) -> Outcome:
    """Play a plan in a world of its own."""
    world = World(folder, plan.seed, plan.hosts)
    try:
        world.start()
        return _play(plan, world)
    finally:
        world.stop()


def _play(plan: Plan, world: World) -> Outcome:
    checksums = _make_without_faults(world)
    users = Users(world)
    working = threading.Thread(target=users.follow, args=[plan], name="users", daemon=True)
    working.start()
    injuries = _inject(plan, world, users)
    working.join()
    world.mend()
    retried = _settle(world, users)
    _probe(world, users, plan)
    violations = check(world, users, checksums)
    injuries += [Injury(f"{arm.action} at a point", at) for arm, at in world.struck]
    injuries += [Injury(kind, at, job) for kind, at, job in world.climate.hits]
    outcome = Outcome(plan, violations)
    outcome.faults = Counter(injury.kind for injury in injuries)
    outcome.faults["message doubled"] = world.climate.counts["message doubled"]
    outcome.figures = _figures(world, users, injuries, violations, retried)
    return outcome


def _make_without_faults(world: World) -> dict[str, str]:
    """Upload the sources; the checksum of each one's COG before anything is broken."""
    users, checksums = Users(world), {}
    for number, name in enumerate(RASTERS):
        with world.storage as storage:
            blob = storage.get_blob_client("bronze-rasters", f"{name}.tif")
            blob.upload_blob(make_raster(name))
        plain = Submission(0, number, "process_raster", 0, name, "nothing", 0)
        job = users.submit(plain, seed=-1)
        _settle(world, users)
        with world.database() as connection:
            [row] = rows(connection, f"SELECT * FROM app.jobs WHERE job_id = '{job.job_id}'")
        assert row["status"] == "completed", row
        checksums[name] = row["result"]["cog"]["checksum"]
    return checksums


def _inject(plan: Plan, world: World, users: Users) -> list[Injury]:
    began, injuries = time.monotonic(), []
    for fault in plan.faults:
        time.sleep(max(0.0, began + fault.at - time.monotonic()))
        logger.info("%6.1f s: host-%d: %s", fault.at, fault.host, fault)
        if fault.arm is None and not fault.kind.startswith(("messages", "deliveries")):
            injuries.append(Injury(fault.kind, time.time()))
        inject(world, users, fault)
    if plan.faults:
        time.sleep(max(0.0, 2.0 + _longest_left(plan.faults, time.monotonic() - began)))
    return injuries


def _longest_left(faults: Sequence[Fault], now: float) -> float:
    return max(fault.at + fault.lasts for fault in faults) - now


def _settle(world: World, users: Users) -> int:
    """Wait for every job's end, and retry those that failed. Returns how many retries that took."""
    retried = 0
    for _ in range(RETRIES):
        _wait_until_still(world)
        with world.database() as connection:
            failed = rows(connection, "SELECT job_id, error FROM app.jobs WHERE status = 'failed'")
        if not failed:
            break
        for job in failed:
            logger.info("retrying %s: %s", job["job_id"], job["error"])
            users.act(job["job_id"], "retry")
        retried += len(failed)
    return retried


def _wait_until_still(world: World) -> None:
    """Until no job is open, or nothing has moved for so long that what is open is stuck."""
    moved, since = -1, time.monotonic()
    with world.database() as connection:
        while time.monotonic() < since + STILL:
            [now] = rows(connection, PROGRESS)
            if not now["open"]:
                return
            if now["moved"] != moved:
                moved, since = now["moved"], time.monotonic()
            time.sleep(0.1)


def _probe(world: World, users: Users, plan: Plan) -> None:
    """A last job that nothing disturbs: whoever uses scratch next clears what the dead left."""
    last = Submission(0, 10**6, "process_raster", 0, RASTERS[0], "nothing", 0)
    users.submit(last, plan.seed)
    _settle(world, users)


def _figures(
    world: World, users: Users, injuries: list[Injury], violations: list[Violation], retried: int
) -> dict[str, str]:
    kinds = Counter(violation.kind for violation in violations)
    counts = world.climate.counts
    with world.database() as connection:
        [told] = rows(
            connection,
            """SELECT (SELECT count(*) FROM app.tasks) AS tasks,
                      count(*) FILTER (WHERE kind = 'late_write_refused') AS late,
                      count(*) FILTER (WHERE kind = 'attempt_lost') AS lost,
                      count(*) FILTER (WHERE kind = 'dead_lettered') AS dead,
                      (SELECT total_repaired FROM app.sweeps) AS repaired FROM app.events""",
        )
        times = recoveries(connection, injuries)
    return {
        "jobs accepted": str(len(users.accepted)),
        "tasks": str(told["tasks"]),
        "messages sent": str(counts["messages"]),
        "redeliveries": str(counts["redeliveries"]),
        "workers lost": str(told["lost"]),
        "late writes refused": str(told["late"]),
        "repairs by the sweep": str(told["repaired"]),
        "dead letters": str(told["dead"]),
        "deadlocks": str(_deadlocks(world)),
        "failed by faults, retried": str(retried),
        "recovery p50 / p95": f"{percentile(times, 50):.1f} s / {percentile(times, 95):.1f} s",
        "lost": str(kinds["lost"]),
        "doubled": str(kinds["doubled"]),
        "stuck": str(kinds["stuck"]),
        "other violations": str(sum(kinds.values()) - sum(kinds[k] for k in _NAMED)),
    }


_NAMED = ("lost", "doubled", "stuck")


def _deadlocks(world: World) -> int:
    return world.cluster.log.read_text(errors="replace").count("deadlock detected")


def report(outcome: Outcome, console: Console) -> None:
    """The figures, then what does not hold, then how to see it again."""
    table = Table(title=f"fault suite, seed {outcome.plan.seed}", box=None, show_header=False)
    for kind, count in sorted(outcome.faults.items()):
        table.add_row(f"fault: {kind}", str(count))
    for name, value in outcome.figures.items():
        table.add_row(name, value)
    console.print(table)
    for violation in outcome.violations[:50]:
        console.print(f"{violation.kind}: {violation.text}", style="red", markup=False)
    if outcome.violations:
        minutes = f"{outcome.plan.seconds / 60:g}"
        console.print(f"again: ./dev faults --minutes {minutes} --seed {outcome.plan.seed}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the long suite. Exit code 1 when an invariant does not hold."""
    parser = argparse.ArgumentParser(prog="./dev faults", description=__doc__)
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--seed", type=int, default=None, help="the plan; drawn when absent")
    options = parser.parse_args(arguments)
    seed = random.randrange(10**6) if options.seed is None else options.seed
    folder = Path(tempfile.mkdtemp(prefix="geolathe-faults-"))
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    for noisy in ("azure", "httpx", "local"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    outcome = run(long_plan(seed, options.minutes * 60), folder)
    report(outcome, Console())
    return 1 if outcome.violations else 0


if __name__ == "__main__":
    sys.exit(main())
