"""Invariants of a system without open jobs, checked on tables, blobs, catalogue and disk."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import psycopg

from local.stack.environment import SILVER
from tests.faults import collection_checks
from tests.faults.evidence import Evidence, digest, gather, rows
from tests.faults.plan import name_collection
from tests.faults.system import System
from tests.faults.workload import Accepted, Users

# Each run of a job ends before the next begins; these events separate them.
RUNS = """
    WITH logged AS (
        SELECT *, count(*) FILTER (WHERE kind IN ('job_resubmitted', 'job_retried'))
                  OVER (PARTITION BY job_id ORDER BY event_id) AS run FROM app.events)
"""
DOUBLED = {
    "a stage was started twice in one run": f"""{RUNS}
        SELECT job_id, run, detail->>'stage' AS stage, count(*) FROM logged
         WHERE kind = 'stage_started' GROUP BY 1, 2, 3 HAVING count(*) > 1""",
    "a stage was closed twice in one run": f"""{RUNS}
        SELECT job_id, run, detail->>'stage' AS stage, count(*) FROM logged
         WHERE kind IN ('stage_completed', 'stage_completed_with_errors', 'stage_failed')
         GROUP BY 1, 2, 3 HAVING count(*) > 1""",
    "a run did not end exactly once": f"""{RUNS}
        SELECT job_id, run, count(*) FILTER (WHERE kind IN (
                   'job_completed', 'job_completed_with_errors', 'job_failed', 'job_cancelled'))
          FROM logged GROUP BY 1, 2 HAVING count(*) FILTER (WHERE kind IN (
                   'job_completed', 'job_completed_with_errors', 'job_failed', 'job_cancelled'))
               <> 1""",
    "a task was stored twice": """
        SELECT job_id, stage, task_index, count(*) FROM app.tasks
         GROUP BY 1, 2, 3 HAVING count(*) > 1""",
    "a task was given back twice by one attempt": """
        SELECT task_id, detail->>'attempt' AS attempt, count(*) FROM app.events
         WHERE kind = 'task_retried' GROUP BY 1, 2 HAVING count(*) > 1""",
}
DRIFTED = {
    "counters differ from the task rows": """
        SELECT s.job_id, s.stage, s.total_tasks, s.open_tasks, s.failed_tasks, s.cancelled_tasks,
               count(t.*) AS rows, count(t.*) FILTER (WHERE t.status = 'failed') AS failed
          FROM app.stages s LEFT JOIN app.tasks t USING (job_id, stage)
         GROUP BY s.job_id, s.stage
        HAVING count(t.*) <> s.total_tasks
            OR count(t.*) FILTER (WHERE t.status IN ('queued', 'processing')) <> s.open_tasks
            OR count(t.*) FILTER (WHERE t.status = 'failed') <> s.failed_tasks
            OR count(t.*) FILTER (WHERE t.status = 'cancelled') <> s.cancelled_tasks""",
    "a completed job has stages or tasks that are not completed": """
        SELECT j.job_id, s.stage, s.status FROM app.jobs j JOIN app.stages s USING (job_id)
         WHERE j.status = 'completed' AND s.status <> 'completed'
         UNION ALL
        SELECT j.job_id, 0, 'missing' FROM app.jobs j
         WHERE j.status = 'completed' AND j.total_stages <> (
               SELECT count(*) FROM app.stages s WHERE s.job_id = j.job_id)""",
    "a completed task has not exactly one winning attempt": """
        SELECT t.task_id, t.attempt FROM app.tasks t
         WHERE t.status = 'completed'
           AND (t.attempt < 1 OR t.result IS NULL
                OR EXISTS (SELECT FROM app.attempts a
                            WHERE a.task_id = t.task_id AND a.attempt >= t.attempt))""",
    "an attempt of a completed task is missing": """
        SELECT t.task_id, t.attempt, t.spent_attempts FROM app.tasks t
         WHERE t.status = 'completed' AND t.spent_attempts = 0
           AND t.attempt - 1 <> (SELECT count(*) FROM app.attempts a WHERE a.task_id = t.task_id)
    """,
}
STUCK = {
    "an accepted job has not ended": """
        SELECT job_id, status, stage FROM app.jobs WHERE status IN ('queued', 'processing')""",
    "the leavings of a cancelled job were not discarded": """
        SELECT job_id FROM app.jobs WHERE status = 'cancelled' AND discarded_at IS NULL""",
    "a task of an ended job is still open": """
        SELECT t.task_id, t.status FROM app.tasks t JOIN app.jobs j USING (job_id)
         WHERE j.status NOT IN ('queued', 'processing') AND t.status IN ('queued', 'processing')""",
}

ALWAYS = {
    text: query
    for text, query in {**DOUBLED, **DRIFTED}.items()
    if not text.startswith(("a run did not end", "a completed job has"))
}
"""What holds at every moment, not only once everything has settled."""


@dataclass(frozen=True)
class Violation:
    """An invariant that does not hold."""

    kind: str
    text: str


def check(system: System, users: Users, checksums: dict[str, str]) -> list[Violation]:
    """Check every invariant. Returns the violations."""
    with system.database() as connection:
        found = [
            *_asked(connection, "doubled", DOUBLED),
            *_asked(connection, "drifted", DRIFTED),
            *_asked(connection, "stuck", STUCK),
        ]
        evidence = gather(system, users, checksums, connection)
    found += [Violation("answer", text) for text in users.complaints]
    for kind, judge in _JUDGES.items():
        found += [Violation(kind, text) for text in judge(evidence)]
    return found


def check_collections(system: System, users: Users, checksums: dict[str, str]) -> list[Violation]:
    """Check the invariants of collections, as faults have left them."""
    with system.database() as connection:
        evidence = gather(system, users, checksums, connection)
    return [
        Violation(kind, f"after the faults: {text}")
        for kind, judge in collection_checks.JUDGES.items()
        for text in judge(evidence)
    ]


def _asked(
    connection: psycopg.Connection[Any], kind: str, queries: dict[str, str]
) -> Iterator[Violation]:
    for text, query in queries.items():
        for row in rows(connection, query):
            yield Violation(kind, f"{text}: {row}")


def _lost(evidence: Evidence) -> Iterator[str]:
    for job in evidence.users.accepted.values():
        found = evidence.jobs.get(job.job_id)
        if found is None:
            yield f"job {job.job_id} was accepted and is not in the tables"
        elif not _has_ended_well(evidence, job, found) and not job.is_cancelled:
            what = f"job {job.job_id} ({job.submission.job_type}) was accepted and came to nothing"
            yield f"{what}: {found['status']} {found['error']}"


def _has_ended_well(evidence: Evidence, job: Accepted, row: dict[str, Any]) -> bool:
    """Jobs of collections cannot process the bad members of the folder."""
    if job.submission.is_shared and row["status"] == "completed_with_errors":
        return evidence.failures.get(job.job_id, set()) <= collection_checks.ACCEPTED
    return bool(row["status"] == "completed")


def _wrong_results(evidence: Evidence) -> Iterator[str]:
    for job in _completed(evidence):
        if job.submission.is_shared:
            continue
        result = evidence.jobs[job.job_id]["result"]
        if job.submission.job_type == "hello_world":
            expected: Any = greetings(job.submission.size, result)
        else:
            expected, result = evidence.checksums[job.submission.raster], result["cog"]["checksum"]
        if result != expected:
            yield f"job {job.job_id}: {result} instead of {expected}"


def greetings(count: int, result: dict[str, Any]) -> dict[str, Any]:
    """The expected result of hello_world for a greeting."""
    word = str(result["first"]).partition(",")[0]
    outer = (f"{word}, number 0", f"{word}, number {count - 1}") if count else (None, None)
    return {"greetings": count, "first": outer[0], "last": outer[1]}


def _blobs(evidence: Evidence) -> Iterator[str]:
    """Each blob belongs to an item, or to a failed job that can be retried."""
    shown = "".join(str(item["assets"]) for item in evidence.items.values())
    failed = {_folder(job) for job in _with_status(evidence, "failed")}
    for name, content in evidence.cogs.items():
        if f"{SILVER}/{name}'" not in shown and name.partition("/")[0] not in failed:
            yield f"blob {name} belongs to nothing"
        if digest(content) not in evidence.checksums.values():
            yield f"blob {name} is not what a run without faults makes"


def _orphans(evidence: Evidence) -> Iterator[str]:
    """Each live output of the registry is in storage, and the reverse, and has an item.

    Outputs of a failed job, which can be retried, have no item.
    """
    for name in evidence.cogs.keys() - evidence.outputs.keys():
        yield f"blob {name} has no live row in the registry"
    for name, row in evidence.outputs.items():
        if evidence.etags.get(name) != row["etag"]:
            yield f"output {row['output_id']}, {name}, is not what the blob holds"
        failed = evidence.jobs.get(row["job_id"], {}).get("status") == "failed"
        if row["item_id"] not in evidence.items and not failed:
            yield f"output {row['output_id']}, {name}, has no item: {row['item_id']}"


def _items(evidence: Evidence) -> Iterator[str]:
    wanted = {f"item-{_folder(job)}" for job in _completed(evidence, "process_raster")}
    for missing in wanted - evidence.items.keys():
        yield f"item {missing} of a completed job is not in the catalogue"
    for item, content in evidence.items.items():
        for asset in content["assets"].values():
            name = str(asset["href"]).partition(f"/{SILVER}/")[2]
            if name and name not in evidence.blobs:
                yield f"item {item} shows {name}, which is not there"


def _scratch(evidence: Evidence) -> Iterator[str]:
    if evidence.system.scratch.exists():
        for left in evidence.system.scratch.iterdir():
            yield f"scratch file {left.name} was left behind"


def _completed(evidence: Evidence, job_type: str = "") -> Iterator[Accepted]:
    for job in _with_status(evidence, "completed"):
        if job_type in ("", job.submission.job_type):
            yield job


def _with_status(evidence: Evidence, status: str) -> Iterator[Accepted]:
    for job in evidence.users.accepted.values():
        if evidence.jobs.get(job.job_id, {}).get("status") == status:
            yield job


def _folder(job: Accepted) -> str:
    """The folder of the job's COGs."""
    if job.submission.is_shared:
        return name_collection(job.seed, job.submission.collection)
    return f"{job.seed}-{job.submission.number}"


_JUDGES: dict[str, Callable[[Evidence], Iterator[str]]] = {
    "lost": _lost,
    "result": _wrong_results,
    "blob": _blobs,
    "orphaned": _orphans,
    "item": _items,
    "scratch": _scratch,
    **collection_checks.JUDGES,
}
