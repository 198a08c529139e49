"""The plan of a seed: which jobs are submitted and which faults are injected, and when.

Nothing else in the suite is random, so that equal seeds give equal plans.
"""

import math
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from tests.faults.points import Action, Arm, When

Then = Literal["nothing", "twin", "cancel", "cancel and resubmit"]

# The operations of a host, and the faults that can occur there. Statements are named by the
# function that they call.
STATEMENTS = (
    "accept_job", "start_stage", "copy", "commit", "claim_attempts", "renew_leases",
    "complete_task_and_check_stage", "complete_tasks", "finish_job", "sweep", "create_items",
    "retry_task_later", "cancel_job", "retry_job", "store_dead_letter", "begin_upload",
    "record_output", "publish_outputs", "create_collection", "update_collection",
)  # fmt: skip
EFFECTS = (
    "send", "replace", "download", "stage_block", "commit_blocks", "upload", "write", "delete",
)  # fmt: skip
COLLECTION_EFFECTS = (
    "replace", "record_output", "upload", "create_collection", "create_items", "publish_outputs",
    "update_collection", "delete",
)  # fmt: skip
RASTERS = ("rgb", "dem", "large")
COLLECTION_JOBS = ("process_raster_collection", "unpublish_raster_collection")
PATTERNS = ("*", "tile-[01]*", "tile-[12]*")
"""Which rasters of the folder a job takes."""
SLACK = 30.0
"""Seconds that the faults of a long plan may take longer than planned."""
MEMBERS = "members/"
"""The folder of the rasters."""
COLLECTIONS = 2
"""How many collections the jobs share."""
SYNCED = (1, 5, 20)
"""The sizes of jobs of collections that remove items whose blobs are gone."""


@dataclass(frozen=True)
class Submission:
    """A submission of a job."""

    at: float
    number: int
    job_type: str
    size: int
    raster: str
    """Its name, or a pattern for the rasters of a collection."""
    then: Then
    pause: float
    """Between the submission and what comes then."""
    collection: int = 0

    @property
    def is_shared(self) -> bool:
        """Whether several submissions of the plan may be the same job."""
        return self.job_type in COLLECTION_JOBS


@dataclass(frozen=True)
class Fault:
    """A fault; `lasts` is its duration in seconds if it has one."""

    at: float
    kind: str
    host: int = 0
    lasts: float = 0.0
    arm: Arm | None = None

    def __str__(self) -> str:
        parts = [self.kind, str(self.arm or ""), f"for {self.lasts:.1f} s" if self.lasts else ""]
        return " ".join(filter(None, parts))


@dataclass(frozen=True)
class Plan:
    """A run of the suite."""

    seed: int
    seconds: float
    hosts: int
    submissions: tuple[Submission, ...]
    faults: tuple[Fault, ...]
    until: float = math.inf
    """Seconds after which no other fault is injected, should earlier ones have taken long."""


def long_plan(seed: int, seconds: float) -> Plan:
    """Random jobs and faults for a number of seconds."""
    chance = random.Random(seed)
    submissions = tuple(_submissions(chance, seconds))
    faults = tuple(_faults(chance, seconds))
    return Plan(seed, seconds, 2, submissions, faults, seconds + SLACK)


def short_plan(seed: int) -> Plan:
    """A few jobs and every kind of fault once, with the shortest pauses."""
    chance = random.Random(seed)
    faults, at = [], 1.0
    for kind in KINDS:
        fault = KINDS[kind](chance, at, kind)
        if kind in SOON_REACHED:
            fault = replace(fault, arm=SOON_REACHED[kind])
        faults.append(fault)
        at += 0.5 + min(fault.lasts, 1.5)
    submissions = tuple(_submissions(chance, at + 6.0))
    return Plan(seed, at, 2, submissions, tuple(faults))


def _submissions(chance: random.Random, seconds: float) -> Iterator[Submission]:
    at, number = 0.0, 0
    while at < seconds:
        job_type = _choose_type(chance, number)
        is_collection = job_type in COLLECTION_JOBS
        yield Submission(
            at=at,
            number=number,
            job_type=job_type,
            size=chance.choice((0, 1, 2, 5, 10, 20, 50, 200)),
            raster=chance.choice(PATTERNS if is_collection else RASTERS),
            then=chance.choices(
                ("nothing", "twin", "cancel", "cancel and resubmit"), (70, 10, 12, 8)
            )[0],
            pause=chance.uniform(0, 1.5 if job_type == "hello_world" else 4),
            collection=chance.randrange(COLLECTIONS),
        )
        number += 1
        at += chance.expovariate(1 / 1.5)


def _choose_type(chance: random.Random, number: int) -> str:
    if number % 6 == 2:
        return "process_raster"
    if number % 6 == 4:
        return chance.choices(COLLECTION_JOBS, (80, 20))[0]
    return "hello_world"


def _faults(chance: random.Random, seconds: float) -> Iterator[Fault]:
    at = 2.0
    bag: list[str] = []
    while at < seconds:
        if not bag:
            bag = [kind for kind in KINDS for _ in range(WEIGHTS.get(kind, 1))]
            chance.shuffle(bag)
        kind = bag.pop()
        fault = KINDS[kind](chance, at, kind)
        yield fault
        at += chance.uniform(1.0, 5.0) + chance.choice((0.0, fault.lasts))


def _sudden(chance: random.Random, at: float, kind: str) -> Fault:
    return Fault(at, kind, host=chance.randrange(2))


def _lasting(shortest: float, longest: float) -> Callable[[random.Random, float, str], Fault]:
    def make(chance: random.Random, at: float, kind: str) -> Fault:
        lasts = chance.uniform(shortest, longest)
        return Fault(at, kind, host=chance.randrange(2), lasts=lasts)

    return make


def _at_point(
    action: Action, operations: Sequence[str], when: Sequence[When] = ("before", "after")
) -> Callable[[random.Random, float, str], Fault]:
    def make(chance: random.Random, at: float, kind: str) -> Fault:
        arm = Arm(chance.choice(operations), chance.randint(1, 6), chance.choice(when), action)
        return Fault(at, kind, host=chance.randrange(2), arm=arm)

    return make


def _under_a_frozen(operation: str) -> Callable[[random.Random, float, str], Fault]:
    def make(chance: random.Random, at: float, kind: str) -> Fault:
        return Fault(at, kind, arm=Arm(operation, 1, "before", "freeze"))

    return make


KINDS: dict[str, Callable[[random.Random, float, str], Fault]] = {
    "host killed": _sudden,
    "host killed at a point": _at_point("exit", (*STATEMENTS, *EFFECTS)),
    "host killed in a collection job": _at_point("exit", COLLECTION_EFFECTS),
    "host frozen": _sudden,
    "host stopped": _sudden,
    "host frozen at a point": _at_point("freeze", (*STATEMENTS, *EFFECTS)),
    "job cancelled under a frozen upload": _under_a_frozen("replace"),
    "job cancelled under a frozen cataloguing": _under_a_frozen("create_items"),
    "collection cancelled under a frozen upload": _under_a_frozen("upload"),
    "collection cancelled under a frozen publication": _under_a_frozen("update_collection"),
    "member replaced": _sudden,
    "member deleted for a while": _lasting(1, 6),
    "connection cut at a point": _at_point("cut", (*STATEMENTS, *EFFECTS)),
    "connections cut": _lasting(1, 3),
    "statements cancelled": _lasting(0.5, 2),
    "database read-only": _lasting(0.5, 2),
    "message locks lost": _lasting(0.5, 2),
    "messages lost": _lasting(2, 5),
    "messages doubled": _lasting(3, 8),
    "messages delayed and reordered": _lasting(3, 8),
    "deliveries lost": _lasting(2, 4),
    "messages garbled": _lasting(1, 3),
    "broker restarted empty": _sudden,
    "database killed": _sudden,
    "storage down": _lasting(1, 6),
    "scratch disk full": _lasting(2, 5),
    "scratch disk full at a point": _at_point("no_space", ("download",), ("before",)),
}
SOON_REACHED = {
    "host killed at a point": Arm("complete_task_and_check_stage", 2, "after", "exit"),
    "host frozen at a point": Arm("claim_attempts", 1, "after", "freeze"),
    "connection cut at a point": Arm("start_stage", 1, "after", "cut"),
}
"""What a short run is sure to pass."""
WEIGHTS = {
    "host killed at a point": 4,
    "host killed in a collection job": 2,
    "connection cut at a point": 3,
    "host frozen at a point": 2,
}


def parameters(submission: Submission, seed: int) -> dict[str, Any]:
    """The body of a submission. Only jobs of collections may get one job id for several."""
    name = f"{seed}-{submission.number}"
    if submission.job_type == "hello_world":
        return {"n": submission.size, "message": f"Hello {name}"}
    if submission.is_shared:
        return _collection_parameters(submission, seed)
    return {
        "container_name": "bronze-rasters",
        "blob_name": f"{submission.raster}.tif",
        "output_folder": name,
        "item_id": f"item-{name}",
        "collection_id": "faults",
    }


def _collection_parameters(submission: Submission, seed: int) -> dict[str, Any]:
    collection_id = name_collection(seed, submission.collection)
    if submission.job_type == "unpublish_raster_collection":
        return {"collection_id": collection_id}
    return {
        "container_name": "bronze-rasters",
        "prefix": MEMBERS,
        "pattern": submission.raster,
        "collection_id": collection_id,
        "sync": submission.size in SYNCED,
    }


def name_collection(seed: int, number: int) -> str:
    return f"collection-{seed}-{number}"
