"""The status of a job: its stages, their progress, and an estimate of the remaining time."""

from datetime import UTC, datetime

from core.errors import UnknownJobType
from core.models import JobRecord, JobStatus, Record, StageRecord, StageStatus
from core.ports import OutputRegistry, StateRepository
from core.registry import Registry

PENDING = "pending"
MAX_TASKS_SUMMED = 100


class StageView(Record):
    """A stage with its task counts. `progress` is a fraction from 0 to 1."""

    stage: int
    name: str
    task_type: str
    status: str
    total_tasks: int
    completed_tasks: int
    failed_tasks: int
    cancelled_tasks: int
    progress: float
    message: str
    started_at: datetime | None
    finished_at: datetime | None


class JobView(Record):
    """A job with its stages. `remaining_seconds` is an estimate, or None."""

    job: JobRecord
    stages: list[StageView]
    progress: float
    remaining_seconds: float | None
    superseded_by: str | None = None
    """The job that wrote over an output of this one."""


def view_job(
    registry: Registry, state: StateRepository, outputs: OutputRegistry, job: JobRecord
) -> JobView:
    """The job with its stages. The counts come from the stage rows, so no tasks are counted."""
    names = _names(registry, job)
    started = {row.stage: row for row in state.get_stages(job.job_id)}
    stages = [
        _view_stage(state, started[number], name)
        if number in started
        else _pending(number, name, task_type)
        for number, (name, task_type) in enumerate(names, start=1)
    ]
    progress = _progress(job, stages)
    return JobView(
        job=job,
        stages=stages,
        progress=progress,
        remaining_seconds=_remaining(job, progress),
        superseded_by=outputs.superseded_by(job.job_id) if job.status.is_final else None,
    )


def _names(registry: Registry, job: JobRecord) -> list[tuple[str, str]]:
    try:
        definition = registry.job(job.job_type)
    except UnknownJobType:
        return [(f"stage_{n}", "unknown") for n in range(1, job.total_stages + 1)]
    return [(stage.name, stage.task_type) for stage in definition.stages]


def _view_stage(state: StateRepository, row: StageRecord, name: str) -> StageView:
    done = row.total_tasks - row.open_tasks
    running, message = 0.0, ""
    if row.status is StageStatus.PROCESSING and row.total_tasks <= MAX_TASKS_SUMMED:
        tasks = state.get_tasks(row.job_id, row.stage, MAX_TASKS_SUMMED)
        active = [task for task in tasks if not task.status.is_final]
        running = sum(task.progress for task in active)
        message = next((t.progress_message for t in active if t.progress_message), "")
    return StageView(
        stage=row.stage,
        name=name,
        task_type=row.task_type,
        status=row.status,
        total_tasks=row.total_tasks,
        completed_tasks=row.completed_tasks,
        failed_tasks=row.failed_tasks,
        cancelled_tasks=row.cancelled_tasks,
        progress=round((done + running) / row.total_tasks, 4) if row.total_tasks else 1.0,
        message=message,
        started_at=row.created_at,
        finished_at=row.finished_at,
    )


def _pending(number: int, name: str, task_type: str) -> StageView:
    return StageView(
        stage=number,
        name=name,
        task_type=task_type,
        status=PENDING,
        total_tasks=0,
        completed_tasks=0,
        failed_tasks=0,
        cancelled_tasks=0,
        progress=0.0,
        message="",
        started_at=None,
        finished_at=None,
    )


def _progress(job: JobRecord, stages: list[StageView]) -> float:
    if job.status in (JobStatus.COMPLETED, JobStatus.COMPLETED_WITH_ERRORS):
        return 1.0
    return round(sum(stage.progress for stage in stages) / max(len(stages), 1), 4)


def _remaining(job: JobRecord, progress: float) -> float | None:
    """Extrapolated from the time so far. None until there is some progress."""
    if job.status.is_final or job.started_at is None or progress <= 0.01:
        return None
    elapsed = max(0.0, (datetime.now(UTC) - job.started_at).total_seconds())
    return round(elapsed * (1 - progress) / progress, 1)
