"""The fault suite: `./dev faults --minutes N [--seed S]`.

The suite starts a separate system, submits jobs and injects the faults of a plan meanwhile. Then it
waits until all jobs have ended, retries the failed ones and checks every invariant. The seed of a
run determines its plan: the jobs, the faults and their times.
"""

import argparse
import logging
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from core.overviews import OVERVIEWS
from local.stack.environment import ROOT, SILVER
from tests.faults.collection_checks import (
    BAD,
    ITEMS,
    REFUSED,
    find_unused_overviews,
    name_version,
    tile_of,
)
from tests.faults.evidence import rows
from tests.faults.faults import inject
from tests.faults.folder import put, put_members
from tests.faults.invariants import Violation, check, check_collections
from tests.faults.plan import COLLECTIONS, PATTERNS, RASTERS, Plan, Submission, long_plan
from tests.faults.rasters import VERSIONS, make_raster
from tests.faults.recovery import Injury, percentile, recoveries
from tests.faults.system import System
from tests.faults.workload import Users

logger = logging.getLogger("tests.faults")

SUMMARY = "Break everything while jobs run, then ask whether anything was lost or done twice."
STILL = 45.0
"""Seconds without any progress after which what is open counts as stuck."""
RETRIES = 4
ONLY_AGAIN = BAD | REFUSED | {"NO_VALID_MEMBER"}
FAILED = f"""
    SELECT job_id, error, codes FROM app.jobs j
      LEFT JOIN (SELECT job_id, array_agg(DISTINCT error->>'code') AS codes FROM app.tasks
                  WHERE status = 'failed' GROUP BY job_id) failures USING (job_id)
     WHERE status = 'failed'
        OR status = 'completed_with_errors' AND NOT codes <@ ARRAY{sorted(BAD)}"""
"""Jobs that did not end as well as they can."""
COLLECTIONS_STORED = "SELECT content FROM pgstac.collections"
PROGRESS = """
    SELECT (SELECT count(*) FROM app.jobs WHERE status IN ('queued', 'processing')
                OR status = 'cancelled' AND discarded_at IS NULL)
         + (SELECT count(*) FROM app.outputs
             WHERE superseded_at IS NOT NULL AND removed_at IS NULL) AS open,
           (SELECT count(*) FROM app.tasks WHERE finished_at IS NOT NULL)
         + (SELECT count(*) FROM app.events WHERE kind NOT IN
                ('repaired', 'late_write_refused', 'dead_lettered')) AS moved"""


@dataclass
class Outcome:
    """The result of a run of the suite."""

    plan: Plan
    violations: list[Violation]
    figures: dict[str, str] = field(default_factory=dict)
    faults: Counter[str] = field(default_factory=Counter)
    recovery: dict[str, list[float]] = field(default_factory=dict)
    """Seconds, by the kind of fault."""


def run(plan: Plan, folder: Path) -> Outcome:
    """Run a plan in a separate system."""
    system = System(folder, plan.seed, plan.hosts)
    try:
        system.start()
        return _play(plan, system)
    finally:
        system.stop()


def _play(plan: Plan, system: System) -> Outcome:
    checksums = _make_without_faults(system)
    users = Users(system)
    working = threading.Thread(target=users.follow, args=[plan], name="users", daemon=True)
    working.start()
    injuries = _inject(plan, system, users)
    working.join()
    system.repair()
    retried = _settle(system, users)
    _wait_for_timer(system)
    violations = check_collections(system, users, checksums)
    _probe(system, users, plan)
    _wait_for_timer(system)
    violations += check(system, users, checksums)
    injuries += [Injury(f"{arm.action} at a point", at) for arm, at in system.struck]
    injuries += [Injury(kind, at, whom) for kind, at, whom in system.message_faults.hits]
    outcome = Outcome(plan, violations)
    outcome.faults = Counter(injury.kind for injury in injuries)
    for kind in ("message doubled", "message garbled"):
        outcome.faults[kind] = system.message_faults.counts[kind]
    with system.database() as connection:
        outcome.recovery = recoveries(connection, injuries)
    outcome.figures = _figures(system, users, outcome, retried)
    return outcome


def _make_without_faults(system: System) -> dict[str, str]:
    """Upload the sources and process them without faults. Returns the checksum of each COG."""
    users, checksums = Users(system), {}
    for number, name in enumerate(RASTERS):
        put(system, f"{name}.tif", make_raster(name))
        plain = Submission(0, number, "process_raster", 0, name, "nothing", 0)
        row = _run(system, users, plain)
        assert row["status"] == "completed", row
        assert (row["result"]["total_tasks_executed"] > 3) == (name == "large"), row
        checksums[name] = row["result"]["cog"]["checksum"]
    for version in reversed(range(VERSIONS)):
        put_members(system, version)
        checksums |= _make_collection(system, users, version)
    return checksums


def _make_collection(system: System, users: Users, version: int) -> dict[str, str]:
    """Process the folder without faults. Returns the checksum of the COG of each tile."""
    row = _run(system, users, _whole_folder(0))
    assert row["status"] == "completed_with_errors" and row["result"]["has_overview"], row
    with system.database() as connection:
        items = [each["content"] for each in rows(connection, ITEMS)]
    return {
        name_version(tile_of(item), version): item["assets"]["data"]["file:checksum"]
        for item in items
    }


def _whole_folder(collection: int) -> Submission:
    number, job_type = 10**6 + 1 + collection, "process_raster_collection"
    return Submission(0, number, job_type, 0, PATTERNS[0], "nothing", 0, collection)


def _run(system: System, users: Users, submission: Submission) -> dict[str, Any]:
    """Run a job without faults. Returns its row."""
    job = users.submit(submission, seed=-1)
    _settle(system, users)
    with system.database() as connection:
        [row] = rows(connection, f"SELECT * FROM app.jobs WHERE job_id = '{job.job_id}'")
    return row


def _inject(plan: Plan, system: System, users: Users) -> list[Injury]:
    """Inject the faults of the plan, with the same pauses even if a fault takes long."""
    began, before, injuries = time.monotonic(), 0.0, []
    for fault in plan.faults:
        time.sleep(fault.at - before)
        before = fault.at
        now = time.monotonic() - began
        if now > plan.until:
            break
        logger.info("%6.1f s: host-%d: %s", now, fault.host, fault)
        if fault.arm is None and not fault.kind.startswith(("messages", "deliveries")):
            injuries.append(Injury(fault.kind, time.time()))
        inject(system, users, fault)
    time.sleep(max((fault.lasts for fault in plan.faults), default=0.0))
    return injuries


def _settle(system: System, users: Users) -> int:
    """Wait for the end of every job and retry failed ones. Returns the number of retries."""
    retried = 0
    for _ in range(RETRIES):
        _wait_until_still(system)
        with system.database() as connection:
            failed = rows(connection, FAILED)
        if not failed:
            break
        for job in failed:
            logger.info("retrying %s: %s", job["job_id"], job["error"] or job["codes"])
            _try_again(users, job)
        retried += len(failed)
    return retried


def _try_again(users: Users, job: dict[str, Any]) -> None:
    """Retry a job, or submit it again if another job has removed what it had made."""
    codes = set(job["codes"] or ())
    if job["error"]:
        codes.add(job["error"]["code"])
    known = users.accepted.get(job["job_id"])
    if known is not None and known.submission.is_shared and codes <= ONLY_AGAIN:
        users.submit(known.submission, known.seed)
    else:
        users.act(job["job_id"], "retry")


def _wait_until_still(system: System) -> None:
    """Wait until no job is open, or until the open ones make no progress."""
    moved, since = -1, time.monotonic()
    with system.database() as connection:
        while time.monotonic() < since + STILL:
            [now] = rows(connection, PROGRESS)
            if not now["open"]:
                return
            if now["moved"] != moved:
                moved, since = now["moved"], time.monotonic()
            time.sleep(0.1)


def _wait_for_timer(system: System) -> None:
    """Wait until overviews that nothing names are removed. The checks report those that stay."""
    until = time.monotonic() + STILL
    with system.database() as connection, system.storage as storage:
        container = storage.get_container_client(SILVER)
        while time.monotonic() < until:
            documents = [row["content"] for row in rows(connection, COLLECTIONS_STORED)]
            listed = container.list_blob_names(name_starts_with=OVERVIEWS)
            if not find_unused_overviews(documents, listed):
                return
            time.sleep(0.1)


def _probe(system: System, users: Users, plan: Plan) -> None:
    """Run last jobs without faults; one also removes scratch folders of killed workers."""
    last = Submission(0, 10**6, "process_raster", 0, RASTERS[0], "nothing", 0)
    users.submit(last, plan.seed)
    for collection in range(COLLECTIONS):
        users.submit(_whole_folder(collection), plan.seed)
    _settle(system, users)


def _figures(system: System, users: Users, outcome: Outcome, retried: int) -> dict[str, str]:
    kinds = Counter(violation.kind for violation in outcome.violations)
    counts = system.message_faults.counts
    with system.database() as connection:
        [found] = rows(
            connection,
            """SELECT (SELECT count(*) FROM app.tasks) AS tasks,
                      (SELECT count(*) FROM app.events e JOIN app.jobs j USING (job_id)
                        WHERE e.kind IN ('job_submitted', 'job_resubmitted', 'job_retried')
                          AND j.job_type LIKE '%_collection') AS collections,
                      count(*) FILTER (WHERE kind = 'late_write_refused') AS late,
                      count(*) FILTER (WHERE kind = 'attempt_lost') AS lost,
                      count(*) FILTER (WHERE kind = 'dead_lettered') AS dead,
                      (SELECT total_repaired FROM app.sweeps) AS repaired FROM app.events""",
        )
    times = [wait for waits in outcome.recovery.values() for wait in waits]
    return {
        "jobs accepted": str(len(users.accepted)),
        "runs of jobs on collections": str(found["collections"]),
        "tasks": str(found["tasks"]),
        "messages sent": str(counts["messages"]),
        "redeliveries": str(counts["redeliveries"]),
        "workers lost": str(found["lost"]),
        "late writes refused": str(found["late"]),
        "repairs by the sweep": str(found["repaired"]),
        "dead letters": str(found["dead"]),
        "deadlocks": str(_deadlocks(system)),
        "failed by faults, retried": str(retried),
        "recovery p50 / p95": f"{percentile(times, 50):.1f} s / {percentile(times, 95):.1f} s",
        "lost": str(kinds["lost"]),
        "doubled": str(kinds["doubled"]),
        "stuck": str(kinds["stuck"]),
        "other violations": str(sum(kinds.values()) - sum(kinds[k] for k in _NAMED)),
    }


_NAMED = ("lost", "doubled", "stuck")


def _deadlocks(system: System) -> int:
    return system.cluster.log.read_text(errors="replace").count("deadlock detected")


def report(outcome: Outcome, console: Console) -> None:
    """The figures, the violations, and the command that repeats the run."""
    faults = Table("fault", "times", "recovery p50", "p95", box=None)
    for kind, count in sorted(outcome.faults.items()):
        waits = outcome.recovery.get(kind, [])
        spread = [f"{percentile(waits, percent):.1f} s" if waits else "" for percent in (50, 95)]
        faults.add_row(kind, str(count), *spread)
    figures = Table(box=None, show_header=False)
    for name, value in outcome.figures.items():
        figures.add_row(name, value)
    console.print(f"fault suite, seed {outcome.plan.seed}, {outcome.plan.seconds:.0f} s of faults")
    console.print(faults, "", figures)
    for violation in outcome.violations[:50]:
        console.print(f"{violation.kind}: {violation.text}", style="red", markup=False)
    if outcome.violations:
        minutes = f"{outcome.plan.seconds / 60:g}"
        console.print(f"again: ./dev faults --minutes {minutes} --seed {outcome.plan.seed}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the long suite. Exit code 1 if an invariant does not hold."""
    parser = argparse.ArgumentParser(prog="./dev faults", description=SUMMARY)
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--seed", type=int, default=None, help="the plan; drawn when absent")
    options = parser.parse_args(arguments)
    seed = random.randrange(10**6) if options.seed is None else options.seed
    folder = Path(tempfile.mkdtemp(prefix="geolathe-faults-"))
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    for noisy in ("azure", "httpx", "local"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    console = Console()
    outcome = run(long_plan(seed, options.minutes * 60), folder)
    is_modelled = _check_model(seed)
    report(outcome, console)
    if not is_modelled:
        console.print("the SQL functions differ from their model: see above", style="red")
    if outcome.violations:
        console.print(f"logs: {_keep_logs(folder, seed)}")
    return 0 if is_modelled and not outcome.violations else 1


def _check_model(seed: int) -> bool:
    """Compare the SQL functions with the model on many new examples."""
    test = Path(__file__).with_name("test_state_machine.py")
    options = ["-q", "-p", "no:cacheprovider", "--hypothesis-profile=faults"]
    command = [sys.executable, "-m", "pytest", *options, f"--hypothesis-seed={seed}", str(test)]
    return subprocess.run(command, cwd=ROOT, check=False).returncode == 0


def _keep_logs(folder: Path, seed: int) -> Path:
    """Copy the logs of a failed run, because its folder is deleted."""
    kept = ROOT / ".local" / "faults" / f"seed-{seed}"
    kept.mkdir(parents=True, exist_ok=True)
    for log in folder.rglob("*.log"):
        shutil.copy(log, kept)
    return kept


if __name__ == "__main__":
    sys.exit(main())
