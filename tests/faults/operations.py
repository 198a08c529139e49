"""What can be done to the state, as values: drawn by hypothesis, applied to any StateRepository.

Each names its job and task by small numbers, which are looked up in the model when it is bound.
Numbers of attempts and runs may be stale, as those of a late worker or message are.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from core.errors import JobNotFound
from core.models import Failure, JobRecord, JobStatus, StageStatus, TaskRecord
from core.ports import Done, HeldTask, StateRepository
from testing.state import MemoryState
from tests.fixtures.records import MINUTE, NOW, claim, new_tasks

Act = Callable[[StateRepository], Any]
STAGES = 2
JOBS = [
    JobRecord(job_id=digit * 64, job_type="test", parameters={}, total_stages=STAGES)
    for digit in "ab"
]
BROKEN = Failure(code="BROKEN", message="no")


@dataclass(frozen=True)
class Submit:
    job: int

    def bind(self, model: MemoryState) -> Act:
        return lambda state: _facts(state.submit_job(JOBS[self.job]))


@dataclass(frozen=True)
class StartStage:
    """The next stage, or again the one that a message from earlier asks for."""

    job: int
    tasks: int
    best_effort: bool
    late: bool
    again: bool = False
    limit: int | None = None

    def bind(self, model: MemoryState) -> Act | None:
        job = _job(model, self.job, self.late)
        if job is None:
            return None
        stage = min(max(job.stage + 1 - self.again, 1), STAGES)
        tasks = new_tasks(job, stage, self.tasks, attempts=2)
        return lambda state: state.start_stage(
            job, stage, "test", self.best_effort, tasks, self.limit
        )


@dataclass(frozen=True)
class Claim:
    job: int
    task: int
    lease: timedelta

    def bind(self, model: MemoryState) -> Act | None:
        task = _task(model, self.job, self.task)
        return task and (lambda state: _claimed(state, task.task_id, self.lease))


@dataclass(frozen=True)
class ClaimAll:
    """Of a stage, as a host does that takes its messages together."""

    job: int
    lease: timedelta

    def bind(self, model: MemoryState) -> Act | None:
        ids = [task.task_id for task in _tasks(model, self.job)]

        def act(state: StateRepository) -> Any:
            claims = state.claim_tasks([*ids, "nobody"], self.lease)
            return [(each.outcome, task_facts(each.task)) for each in claims]

        return act if ids else None


@dataclass(frozen=True)
class CompleteAll:
    """Of a stage; of `late` ones the attempt before."""

    job: int
    late: bool

    def bind(self, model: MemoryState) -> Act | None:
        tasks = _tasks(model, self.job)
        done = [
            Done(task.task_id, task.attempt - (self.late and task.task_index == 0), {"by": "all"})
            for task in tasks
        ]

        def act(state: StateRepository) -> Any:
            written = state.complete_tasks([*done, Done("nobody", 1, {})])
            # Which of the tasks returns a released one is not defined.
            released = sorted(each.released for each in written.values() if each.released)
            closed = {key: (each.applied, stage_facts(each.stage)) for key, each in written.items()}
            return closed, released

        return act if done else None


@dataclass(frozen=True)
class Renew:
    job: int
    task: int
    late: bool
    lease: timedelta

    def bind(self, model: MemoryState) -> Act | None:
        task = _task(model, self.job, self.task)
        if task is None:
            return None
        held = [HeldTask(task.task_id, task.attempt - self.late, 0.5, "half")]
        return lambda state: state.renew_leases(held, self.lease)


@dataclass(frozen=True)
class Complete:
    job: int
    task: int
    late: bool
    fails: bool

    def bind(self, model: MemoryState) -> Act | None:
        task = _task(model, self.job, self.task)
        if task is None:
            return None
        attempt = task.attempt - self.late
        result, error = (None, BROKEN) if self.fails else ({"by": attempt}, None)

        def act(state: StateRepository) -> Any:
            done = state.complete_task(task.task_id, attempt, result, error)
            return done and (done.applied, stage_facts(done.stage), done.released)

        return act


@dataclass(frozen=True)
class RetryLater:
    job: int
    task: int
    late: bool
    delay: timedelta

    def bind(self, model: MemoryState) -> Act | None:
        task = _task(model, self.job, self.task)
        if task is None:
            return None
        attempt = task.attempt - self.late
        return lambda state: state.retry_task_later(task.task_id, attempt, BROKEN, self.delay)


@dataclass(frozen=True)
class Finish:
    """As the machine does it: once the current stage is closed."""

    job: int
    fails: bool
    late: bool

    def bind(self, model: MemoryState) -> Act | None:
        job = _job(model, self.job, self.late)
        if job is None or not _may_finish(model, job, self.fails):
            return None
        status = JobStatus.FAILED if self.fails else JobStatus.COMPLETED_WITH_ERRORS
        result, error = (None, BROKEN) if self.fails else ({"done": True}, None)
        return lambda state: state.finish_job(job, status, result, error)


@dataclass(frozen=True)
class Cancel:
    job: int

    def bind(self, model: MemoryState) -> Act | None:
        job = _job(model, self.job)
        return job and (lambda state: job_facts(state.cancel_job(job.job_id)))


@dataclass(frozen=True)
class RetryJob:
    job: int

    def bind(self, model: MemoryState) -> Act | None:
        job = _job(model, self.job)
        return job and (lambda state: _facts(state.retry_job(job.job_id)))


@dataclass(frozen=True)
class Discarded:
    job: int
    late: bool

    def bind(self, model: MemoryState) -> Act | None:
        job = _job(model, self.job, self.late)
        return job and (lambda state: state.mark_discarded(job, NOW))


@dataclass(frozen=True)
class Sweep:
    grace: timedelta

    def bind(self, model: MemoryState) -> Act:
        return lambda state: {str(message) for message in state.sweep(1000, self.grace)}


Operation = (
    Submit | StartStage | Claim | ClaimAll | Renew | Complete | CompleteAll | RetryLater | Finish
    | Cancel | RetryJob | Discarded | Sweep
)  # fmt: skip


def is_instant(operation: Operation) -> bool:
    """Whether its outcome hangs on the very microsecond, or on what others hold just now."""
    lapses = isinstance(operation, Claim | ClaimAll | Renew) and operation.lease == NOW
    waits = isinstance(operation, RetryLater) and operation.delay == NOW
    return lapses or waits or isinstance(operation, Sweep)


def job_facts(job: JobRecord) -> dict[str, Any]:
    """A job without its times: only whether it has them."""
    facts = job.model_dump(exclude={"created_at", "updated_at", "started_at"})
    for name in ("finished_at", "discarded_at"):
        facts[name] = facts[name] is not None
    return facts


def stage_facts(stage: Any) -> dict[str, Any]:
    facts: dict[str, Any] = stage.model_dump(exclude={"created_at"})
    return facts | {"finished_at": stage.finished_at is not None}


def task_facts(task: TaskRecord) -> dict[str, Any]:
    facts = task.model_dump(exclude={"created_at", "started_at", "scheduled_at"})
    for name in ("finished_at", "lease_expires_at"):
        facts[name] = facts[name] is not None
    return facts


def snapshot(state: StateRepository) -> dict[str, Any]:
    """Every row of the jobs."""
    return {job.job_id[0]: _all_of(state, job.job_id) for job in JOBS}


def _all_of(state: StateRepository, job_id: str) -> dict[str, Any]:
    try:
        job = state.get_job(job_id)
    except JobNotFound:
        return {}
    tasks = state.list_tasks(job_id, (0, 0), 1000)
    stages = state.get_stages(job_id)
    events = [event.kind for event in state.events(job_id, 0, 10_000)]
    return {
        "job": job_facts(job),
        "stages": [stage_facts(stage) for stage in stages],
        "tasks": [task_facts(task) for task in tasks],
        "queued": state.queued_tasks(job_id, len(stages)),
        "results": state.results(job_id, len(stages)),
        "attempts": [
            (attempt.task_id, attempt.attempt, attempt.error.code)
            for attempt in state.attempts([task.task_id for task in tasks])
        ],
        # One line of the sweep's tells of all tasks of a stage, or of one: that may differ.
        "events": [kind for kind in events if kind != "repaired"],
    }


def _job(model: MemoryState, number: int, late: bool = False) -> JobRecord | None:
    job = model.jobs.get(JOBS[number].job_id)
    return job and job.model_copy(update={"run": job.run - late})


def _tasks(model: MemoryState, number: int) -> list[TaskRecord]:
    """The tasks of the job's newest stage."""
    stages = model.get_stages(JOBS[number].job_id)
    return model.get_tasks(JOBS[number].job_id, len(stages), 1000)


def _task(model: MemoryState, number: int, index: int) -> TaskRecord | None:
    """One of them, counted round."""
    tasks = _tasks(model, number)
    return tasks[index % len(tasks)] if tasks else None


def _may_finish(model: MemoryState, job: JobRecord, fails: bool) -> bool:
    stages = model.get_stages(job.job_id)
    if not stages:
        return fails
    broken = stages[-1].status in (StageStatus.FAILED, StageStatus.CANCELLED)
    return stages[-1].is_closed and (fails or (not broken and len(stages) == STAGES))


def _facts(answer: tuple[bool, JobRecord]) -> tuple[bool, dict[str, Any]]:
    return answer[0], job_facts(answer[1])


def _claimed(state: StateRepository, task_id: str, lease: timedelta) -> Any:
    found = claim(state, task_id, lease)
    return found and (found.outcome, task_facts(found.task))


LEASES = (NOW, MINUTE)
