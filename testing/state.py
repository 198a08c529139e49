"""The state of jobs in memory. It passes the same contract suite as PostgreSQL."""

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from math import inf
from typing import Any

from core.errors import JobNotFound
from core.models import (
    Attempt,
    DeadLetter,
    Event,
    Failure,
    JobMessage,
    JobRecord,
    JobStatus,
    Json,
    StageRecord,
    StageStatus,
    StateHealth,
    TaskMessage,
    TaskRecord,
    TaskStatus,
)
from core.ports import (
    ALL_TASKS,
    Claim,
    ClaimOutcome,
    Completion,
    Done,
    HeldTask,
    JobCursor,
    JobFilter,
    RequestKey,
    TaskFilter,
)
from core.results import TaskResult

AGAIN = (JobStatus.FAILED, JobStatus.CANCELLED)
WORKER_LOST = Failure(code="WORKER_LOST", message="the worker vanished: its lease ran out")
SLACK = timedelta(seconds=1)


@dataclass
class MemoryState:
    """The StateRepository port, with a clock that tests can move ahead.

    One lock takes the place of the database's transactions.
    """

    jobs: dict[str, JobRecord] = field(default_factory=dict)
    stages: dict[tuple[str, int], StageRecord] = field(default_factory=dict)
    tasks: dict[str, TaskRecord] = field(default_factory=dict)
    timeline: list[Event] = field(default_factory=list)
    lost: list[Attempt] = field(default_factory=list)
    dead_letters: dict[tuple[str, str], DeadLetter] = field(default_factory=dict)
    keys: dict[str, tuple[str, str]] = field(default_factory=dict)
    limits: dict[tuple[str, int], int | None] = field(default_factory=dict)
    """How many tasks of a stage may be in flight."""
    redelivered: dict[str, datetime] = field(default_factory=dict)
    swept: tuple[datetime | None, int, int] = (None, 0, 0)
    ahead: timedelta = timedelta(0)
    """How far the clock has been moved ahead of the system's."""
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def now(self) -> datetime:
        return datetime.now(UTC) + self.ahead

    def advance_to(self, time: datetime) -> None:
        """Move the clock ahead to `time`, unless it is later already."""
        self.ahead += max(time - self.now(), timedelta(0))

    def submit_job(
        self, job: JobRecord, key: RequestKey | None = None, *, runs_again: bool = False
    ) -> tuple[bool, JobRecord]:
        with self._lock:
            if key is not None:
                answered = self.find_submission(key)
                if answered is not None:
                    return False, answered
                self.keys[key.key] = (key.fingerprint, job.job_id)
            return self._submit(job, runs_again)

    def find_submission(self, key: RequestKey) -> JobRecord | None:
        with self._lock:
            if key.key not in self.keys:
                return None
            fingerprint, job_id = self.keys[key.key]
            key.must_match(fingerprint)
            return self.jobs[job_id]

    def list_jobs(self, wanted: JobFilter, after: JobCursor | None, limit: int) -> list[JobRecord]:
        with self._lock:
            found = [
                job.model_copy(update={"result": None})
                for job in self.jobs.values()
                if _is_wanted(job, wanted, self.now())
            ]
        found.sort(key=_age, reverse=True)
        return [job for job in found if after is None or _age(job) < after][:limit]

    def _submit(self, job: JobRecord, runs_again: bool) -> tuple[bool, JobRecord]:
        with self._lock:
            known = self.jobs.get(job.job_id)
            if known is None:
                stored = job.model_copy(update={"created_at": self.now(), "updated_at": self.now()})
                kind = "job_submitted"
            elif known.status in AGAIN or (runs_again and known.status.is_final):
                self._drop_stages(job.job_id, 1)
                fresh = {"status": JobStatus.QUEUED, "run": known.run + 1, "stage": 0}
                fresh |= {"total_stages": job.total_stages, "started_at": None}
                fresh |= {"correlation_id": job.correlation_id, "priority": job.priority}
                fresh |= {"traceparent": job.traceparent}
                stored = known.model_copy(update=fresh | OPEN_AGAIN)
                kind = "job_resubmitted"
            else:
                return False, known
            self.jobs[job.job_id] = stored
            self._log(job.job_id, kind)
            return True, stored

    def get_job(self, job_id: str) -> JobRecord:
        if job_id not in self.jobs:
            raise JobNotFound(f"no job has the id {job_id!r}")
        return self.jobs[job_id]

    def get_stages(self, job_id: str) -> list[StageRecord]:
        with self._lock:
            mine = [stage for stage in self.stages.values() if stage.job_id == job_id]
            return sorted(mine, key=lambda stage: stage.stage)

    def get_stage(self, job_id: str, stage: int) -> StageRecord | None:
        with self._lock:
            return self.stages.get((job_id, stage))

    def get_tasks(self, job_id: str, stage: int, limit: int) -> list[TaskRecord]:
        return self._tasks_of(job_id, stage)[:limit]

    def list_tasks(
        self, job_id: str, after: tuple[int, int], limit: int, wanted: TaskFilter = ALL_TASKS
    ) -> list[TaskRecord]:
        statuses = wanted.statuses or list(TaskStatus)
        with self._lock:
            found = [
                task if wanted.with_results else task.model_copy(update={"result": None})
                for task in self.tasks.values()
                if task.job_id == job_id
                and task.status in statuses
                and (task.stage, task.task_index) > after
            ]
        return sorted(found, key=lambda task: (task.stage, task.task_index))[:limit]

    def attempts(self, task_ids: Sequence[str]) -> list[Attempt]:
        mine = [attempt for attempt in self.lost if attempt.task_id in task_ids]
        return sorted(mine, key=lambda attempt: (attempt.task_id, attempt.attempt))

    def tasks_in_use(self, task_ids: Sequence[str]) -> set[str]:
        known = {name: self.tasks[name].job_id for name in task_ids if name in self.tasks}
        return {name for name, job_id in known.items() if self._may_use(self.jobs[job_id])}

    @staticmethod
    def _may_use(job: JobRecord) -> bool:
        if job.status is JobStatus.CANCELLED:
            return job.discarded_at is None
        return job.status is JobStatus.FAILED or not job.status.is_final

    def start_stage(
        self,
        job: JobRecord,
        stage: int,
        task_type: str,
        best_effort: bool,
        tasks: Sequence[TaskRecord],
        in_flight_limit: int | None = None,
    ) -> bool:
        with self._lock:
            known = self.jobs.get(job.job_id)
            if known is None or known.run != job.run or known.stage != stage - 1:
                return False
            before = self.stages.get((job.job_id, known.stage))
            passed = (StageStatus.COMPLETED, StageStatus.COMPLETED_WITH_ERRORS)
            if known.status.is_final or (before is not None and before.status not in passed):
                return False
            closed = {} if tasks else {"finished_at": self.now()}
            self.stages[job.job_id, stage] = StageRecord(
                job_id=job.job_id, stage=stage, task_type=task_type,
                status=StageStatus.PROCESSING if tasks else StageStatus.COMPLETED,
                best_effort=best_effort, total_tasks=len(tasks), open_tasks=len(tasks),
                created_at=self.now(), **closed,
            )  # fmt: skip
            for task in tasks:
                self.tasks[task.task_id] = task.model_copy(update={"created_at": self.now()})
            self.limits[job.job_id, stage] = in_flight_limit
            self._release(job.job_id, stage, in_flight_limit)
            self._set_job(
                known, status=JobStatus.PROCESSING, stage=stage,
                started_at=known.started_at or self.now(),
            )  # fmt: skip
            self._log(job.job_id, "stage_started")
            return True

    def queued_tasks(self, job_id: str, stage: int) -> list[str]:
        return [
            task.task_id
            for task in self._tasks_of(job_id, stage)
            if task.status is TaskStatus.QUEUED
            and task.scheduled_at is not None
            and task.scheduled_at <= self.now()
        ]

    def results(self, job_id: str, stage: int) -> list[Json]:
        done = [t for t in self._tasks_of(job_id, stage) if t.status is TaskStatus.COMPLETED]
        return [task.result or {} for task in done]

    def results_after(
        self, job_id: str, stage: int, task_index: int, limit: int
    ) -> list[TaskResult]:
        done = [
            TaskResult(task.task_index, task.result or {})
            for task in self._tasks_of(job_id, stage)
            if task.status is TaskStatus.COMPLETED and task.task_index > task_index
        ]
        return done[:limit]

    def first_failure(self, job_id: str, stage: int) -> Failure | None:
        failed = [t for t in self._tasks_of(job_id, stage) if t.status is TaskStatus.FAILED]
        failed.sort(key=lambda task: task.finished_at or self.now())
        return failed[0].error if failed else None

    def claim_tasks(self, task_ids: Sequence[str], lease: timedelta) -> list[Claim]:
        with self._lock:
            known = [self.tasks[each] for each in sorted(set(task_ids)) if each in self.tasks]
            return [self._claim(task, lease, len(task_ids) > 1) for task in known]

    def _claim(self, task: TaskRecord, lease: timedelta, in_batch: bool) -> Claim:
        outcome = _claim_outcome(task, in_batch, self.now())
        if task.status is TaskStatus.PROCESSING and outcome is ClaimOutcome.CLAIMED:
            self._keep_attempt(task, WORKER_LOST)
            self._log(task.job_id, "attempt_lost", task.task_id)
        if outcome is ClaimOutcome.CLAIMED:
            self.redelivered.pop(task.task_id, None)
            task = self._set_task(
                task, status=TaskStatus.PROCESSING, attempt=task.attempt + 1,
                lease_expires_at=self.now() + lease, started_at=self.now(), progress=0.0,
                progress_message="",
            )  # fmt: skip
        return Claim(outcome, task)

    def renew_leases(self, held: Sequence[HeldTask], lease: timedelta) -> set[str]:
        with self._lock:
            renewed = {each.task_id for each in held if self._holds(each.task_id, each.attempt)}
            for each in held:
                if each.task_id in renewed:
                    self._set_task(
                        self.tasks[each.task_id], lease_expires_at=self.now() + lease,
                        progress=each.progress, progress_message=each.message,
                    )  # fmt: skip
            return renewed

    def complete_task(
        self, task_id: str, attempt: int, result: Json | None, error: Failure | None
    ) -> Completion | None:
        with self._lock:
            task = self.tasks.get(task_id)
            if task is None:
                return None
            stage = self.stages[task.job_id, task.stage]
            if not self._holds(task_id, attempt):
                self._log_stale_write(task, attempt)
                return Completion(False, stage)
            status = TaskStatus.FAILED if error else TaskStatus.COMPLETED
            now = self.now()
            self._set_task(
                task, status=status, result=result, error=error, lease_expires_at=None,
                finished_at=now, progress=task.progress if error else 1.0,
            )  # fmt: skip
            cancelled = 0
            if error:
                self._log(task.job_id, "task_failed", task_id)
                cancelled = 0 if stage.best_effort else self._cancel_open(stage)
            stage = self._count_down(stage, bool(error), cancelled, now)
            return Completion(True, stage, self._release_one(stage))

    def complete_tasks(self, done: Sequence[Done]) -> dict[str, Completion]:
        with self._lock:
            # What is refused is logged after what is applied, which may close the stage.
            ordered = sorted(done, key=lambda each: not self._holds(each.task_id, each.attempt))
            written = {each.task_id: self.complete_task(*each, None) for each in ordered}
            return {
                task_id: found._replace(stage=self.stages[found.stage.job_id, found.stage.stage])
                for task_id, found in written.items()
                if found is not None
            }

    def retry_task_later(
        self, task_id: str, attempt: int, error: Failure, delay: timedelta
    ) -> bool:
        with self._lock:
            task = self.tasks.get(task_id)
            if task is None:
                return False
            if not self._holds(task_id, attempt):
                if _was_given_back(task, attempt):
                    return True
                self._log_stale_write(task, attempt)
                return False
            self._set_task(
                task,
                status=TaskStatus.QUEUED,
                scheduled_at=self.now() + delay,
                lease_expires_at=None,
                error=error,
            )
            self._keep_attempt(task, error)
            self._log(task.job_id, "task_retried", task_id)
            return True

    def finish_job(
        self, job: JobRecord, status: JobStatus, result: Json | None, error: Failure | None
    ) -> bool:
        with self._lock:
            known = self.jobs[job.job_id]
            if (known.run, known.stage) != (job.run, job.stage) or known.status.is_final:
                return False
            self._set_job(known, status=status, result=result, error=error, finished_at=self.now())
            self._log(job.job_id, f"job_{status}")
            return True

    def cancel_job(self, job_id: str) -> JobRecord:
        with self._lock:
            job = self.get_job(job_id)
            if job.status.is_final:
                return job
            stage = self.stages.get((job_id, job.stage))
            if stage is not None and not stage.is_closed:
                cancelled = stage.cancelled_tasks + self._cancel_open(stage)
                self.stages[job_id, job.stage] = stage.model_copy(
                    update={"status": StageStatus.CANCELLED, "open_tasks": 0,
                            "cancelled_tasks": cancelled, "finished_at": self.now()}
                )  # fmt: skip
            self._log(job_id, "job_cancelled")
            return self._set_job(job, status=JobStatus.CANCELLED, finished_at=self.now())

    def retry_job(self, job_id: str) -> tuple[bool, JobRecord]:
        with self._lock:
            job = self.get_job(job_id)
            if job.status not in (JobStatus.FAILED, JobStatus.COMPLETED_WITH_ERRORS):
                return False, job
            broken = [s for s in self.get_stages(job_id) if s.failed_tasks + s.cancelled_tasks]
            if broken:
                self._reopen(broken[0])
            stage = broken[0].stage if broken else job.stage
            status = JobStatus.PROCESSING if job.stage else JobStatus.QUEUED
            self._log(job_id, "job_retried")
            again = {"status": status, "run": job.run + 1, "stage": stage}
            return True, self._set_job(job, **(again | OPEN_AGAIN))

    def mark_discarded(self, job: JobRecord, after: timedelta) -> bool:
        with self._lock:
            known = self.jobs[job.job_id]
            if known.run != job.run or known.status is not JobStatus.CANCELLED:
                return False
            if known.finished_at is None or known.finished_at > self.now() - after:
                return False
            self.jobs[job.job_id] = known.model_copy(update={"discarded_at": self.now()})
            return True

    def reopen_discard(self, job_id: str) -> JobRecord | None:
        with self._lock:
            known = self.jobs.get(job_id)
            if known is None or known.status is not JobStatus.CANCELLED:
                return None
            self.jobs[job_id] = known.model_copy(update={"discarded_at": None})
            return self.jobs[job_id]

    def purge_jobs(self, age: timedelta, limit: int) -> list[str]:
        with self._lock:
            old = [job for job in self.jobs.values() if _is_purgeable(job, age, self.now())]
            old.sort(key=lambda job: job.finished_at or self.now())
            for job in old[:limit]:
                self._drop_stages(job.job_id, 1)
                self.timeline = [e for e in self.timeline if e.job_id != job.job_id]
                del self.jobs[job.job_id]
                self.keys = {k: v for k, v in self.keys.items() if v[1] != job.job_id}
            return [job.job_id for job in old[:limit]]

    def sweep(self, limit: int, grace: timedelta) -> list[JobMessage | TaskMessage]:
        with self._lock:
            late = sorted(self._late_jobs(grace), key=self._waiting_since)[:limit]
            late_tasks = sorted(self._late_tasks(grace), key=self._due_since)[:limit]
            for task in late_tasks:
                self.redelivered[task.task_id] = self.now()
                self._log(task.job_id, "repaired")
            for job in late:
                self.redelivered[job.job_id] = self.now()
                self._log(job.job_id, "repaired")
            found = len(late) + len(late_tasks)
            self.swept = (self.now(), found, self.swept[2] + found)
            return [
                *(job.stage_message(job.stage + 1) for job in late),
                *(self._task_message(task) for task in late_tasks),
            ]

    def _task_message(self, task: TaskRecord) -> TaskMessage:
        job = self.jobs[task.job_id]
        return TaskMessage(
            task_id=task.task_id,
            job_type=job.job_type,
            correlation_id=job.correlation_id,
            traceparent=job.traceparent,
        )

    def record_dead_letter(self, dead_letter: DeadLetter) -> int:
        with self._lock:
            if (dead_letter.queue, dead_letter.message_id) not in self.dead_letters:
                self.dead_letters[dead_letter.queue, dead_letter.message_id] = dead_letter
                task = self.tasks.get(dead_letter.task_id or "")
                job_id = dead_letter.job_id or (task.job_id if task else None)
                if job_id in self.jobs:
                    self._log(str(job_id), "dead_lettered", dead_letter.task_id)
            alike = (dead_letter.queue, dead_letter.body, dead_letter.reason)
            kept = self.dead_letters.values()
            return [(each.queue, each.body, each.reason) for each in kept].count(alike)

    def events(self, job_id: str, after: int, limit: int) -> list[Event]:
        mine = [e for e in self.timeline if e.job_id == job_id and e.event_id > after]
        return mine[:limit]

    def health(self) -> StateHealth:
        due = [
            t.scheduled_at
            for t in self.tasks.values()
            if t.status is TaskStatus.QUEUED and t.scheduled_at
        ]
        last, repaired, total = self.swept
        return StateHealth(
            open_jobs=sum(not job.status.is_final for job in self.jobs.values()),
            oldest_queued_task_age=(self.now() - min(due)).total_seconds() if due else None,
            sweep_age=(self.now() - last).total_seconds() if last else None,
            last_repaired=repaired,
            total_repaired=total,
            dead_letters=len(self.dead_letters),
        )

    def _keep_attempt(self, task: TaskRecord, error: Failure) -> None:
        kept = {(attempt.task_id, attempt.attempt) for attempt in self.lost}
        if (task.task_id, task.attempt) not in kept:
            self.lost.append(
                Attempt(
                    task_id=task.task_id, attempt=task.attempt, error=error,
                    started_at=task.started_at or self.now(), finished_at=self.now(),
                )
            )  # fmt: skip

    def _tasks_of(self, job_id: str, stage: int) -> list[TaskRecord]:
        with self._lock:
            mine = [t for t in self.tasks.values() if (t.job_id, t.stage) == (job_id, stage)]
            return sorted(mine, key=lambda task: task.task_index)

    def _holds(self, task_id: str, attempt: int) -> bool:
        task = self.tasks.get(task_id)
        held = task is not None and task.status is TaskStatus.PROCESSING
        return held and task is not None and task.attempt == attempt

    def _set_job(self, job: JobRecord, **changes: Any) -> JobRecord:
        changed = job.model_copy(update={"updated_at": self.now()} | changes)
        self.jobs[job.job_id] = changed
        self.redelivered.pop(job.job_id, None)
        return changed

    def _set_task(self, task: TaskRecord, **changes: Any) -> TaskRecord:
        changed = task.model_copy(update=changes)
        self.tasks[task.task_id] = changed
        return changed

    def _cancel_open(self, stage: StageRecord) -> int:
        tasks = self._tasks_of(stage.job_id, stage.stage)
        open_tasks = [task for task in tasks if not task.status.is_final]
        for task in open_tasks:
            self._set_task(
                task, status=TaskStatus.CANCELLED, lease_expires_at=None, finished_at=self.now()
            )
        return len(open_tasks)

    def _count_down(
        self, stage: StageRecord, failed: bool, cancelled: int, now: datetime
    ) -> StageRecord:
        open_tasks = stage.open_tasks - 1 - cancelled
        failures = stage.failed_tasks + failed
        changes: dict[str, Any] = {
            "open_tasks": open_tasks,
            "failed_tasks": failures,
            "cancelled_tasks": stage.cancelled_tasks + cancelled,
        }
        if open_tasks == 0:
            broken = StageStatus.COMPLETED_WITH_ERRORS if stage.best_effort else StageStatus.FAILED
            status = broken if failures else StageStatus.COMPLETED
            changes |= {"status": status, "finished_at": now}
            self._log(stage.job_id, f"stage_{status}")
        closed = stage.model_copy(update=changes)
        self.stages[stage.job_id, stage.stage] = closed
        return closed

    def _reopen(self, stage: StageRecord) -> None:
        self._drop_stages(stage.job_id, stage.stage + 1)
        again = [
            task
            for task in self._tasks_of(stage.job_id, stage.stage)
            if task.status in (TaskStatus.FAILED, TaskStatus.CANCELLED)
        ]
        for task in again:
            if task.error is not None and task.status is TaskStatus.FAILED:
                self._keep_attempt(task, task.error)
            self._set_task(
                task, status=TaskStatus.QUEUED, spent_attempts=task.attempt,
                scheduled_at=None, error=None, finished_at=None, progress=0.0,
            )  # fmt: skip
        self._release(stage.job_id, stage.stage, self.limits.get((stage.job_id, stage.stage)))
        self.stages[stage.job_id, stage.stage] = stage.model_copy(
            update={"status": StageStatus.PROCESSING, "open_tasks": len(again),
                    "failed_tasks": 0, "cancelled_tasks": 0, "finished_at": None}
        )  # fmt: skip

    def _release_one(self, stage: StageRecord) -> str | None:
        if self.limits.get((stage.job_id, stage.stage)) is None:
            return None
        return next(iter(self._release(stage.job_id, stage.stage, 1)), None)

    def _release(self, job_id: str, stage: int, count: int | None) -> list[str]:
        """Release held tasks: `count` of them, or all."""
        held = [
            task
            for task in self._tasks_of(job_id, stage)
            if task.status is TaskStatus.QUEUED and task.scheduled_at is None
        ][:count]
        for task in held:
            self._set_task(task, scheduled_at=self.now())
        return [task.task_id for task in held]

    def _drop_stages(self, job_id: str, first: int) -> None:
        for key in [key for key in self.stages if key[0] == job_id and key[1] >= first]:
            del self.stages[key]
        for task in [t for t in self.tasks.values() if t.job_id == job_id and t.stage >= first]:
            del self.tasks[task.task_id]

    def _waiting_since(self, job: JobRecord) -> datetime:
        return self.redelivered.get(job.job_id) or job.updated_at or self.now()

    def _due_since(self, task: TaskRecord) -> datetime:
        return self.redelivered.get(task.task_id) or task.scheduled_at or self.now()

    def _late_jobs(self, grace: timedelta) -> Iterator[JobRecord]:
        for job in self.jobs.values():
            stage = self.stages.get((job.job_id, job.stage))
            waits = not job.status.is_final and (stage is None or stage.is_closed)
            waits |= job.status is JobStatus.CANCELLED and job.discarded_at is None
            since = (stage.finished_at if stage else None) or job.updated_at or self.now()
            if waits and self.redelivered.get(job.job_id, since) < self.now() - grace:
                yield job

    def _late_tasks(self, grace: timedelta) -> Iterator[TaskRecord]:
        for task in self.tasks.values():
            job = self.jobs[task.job_id]
            if job.status is not JobStatus.PROCESSING or job.stage != task.stage:
                continue
            redelivered = self.redelivered.get(task.task_id)
            if task.status is TaskStatus.QUEUED:
                since = redelivered or task.scheduled_at
                late = since is not None and since < self.now() - grace
            else:
                late = task.status is TaskStatus.PROCESSING and _lapsed(task, self.now())
                late = late and (redelivered is None or redelivered < self.now() - grace)
            if late:
                yield task

    def _log(self, job_id: str, kind: str, task_id: str | None = None) -> None:
        number = self.timeline[-1].event_id + 1 if self.timeline else 1
        self.timeline.append(
            Event(
                event_id=number,
                job_id=job_id,
                task_id=task_id,
                at=self.now(),
                kind=kind,
                detail={},
                correlation_id=self.jobs[job_id].correlation_id,
            )
        )

    def _log_stale_write(self, task: TaskRecord, attempt: int) -> None:
        repeats = task.attempt == attempt and task.status in (
            TaskStatus.COMPLETED,
            TaskStatus.FAILED,
        )
        if not repeats:
            self._log(task.job_id, "late_write_refused", task.task_id)


OPEN_AGAIN: dict[str, Any] = {
    "result": None, "error": None, "finished_at": None, "discarded_at": None,
}  # fmt: skip


def _age(job: JobRecord) -> JobCursor:
    return JobCursor(job.created_at or datetime.max.replace(tzinfo=UTC), job.job_id)


def _is_wanted(job: JobRecord, wanted: JobFilter, now: datetime) -> bool:
    created = job.created_at or now
    return (
        job.status in (wanted.statuses or JobStatus)
        and job.job_type in (wanted.job_types or (job.job_type,))
        and (wanted.created_from is None or created >= wanted.created_from)
        and (wanted.created_until is None or created <= wanted.created_until)
        and _has_run(job, wanted.least_seconds, wanted.most_seconds, now)
    )


def _has_run(job: JobRecord, least: float | None, most: float | None, now: datetime) -> bool:
    """Whether its duration, up to now or to its end, is between `least` and `most` seconds."""
    if least is None and most is None:
        return True
    if job.started_at is None:
        return False
    seconds = ((job.finished_at or now) - job.started_at).total_seconds()
    return (least or 0.0) <= seconds <= (inf if most is None else most)


def _is_purgeable(job: JobRecord, age: timedelta, now: datetime) -> bool:
    settled = job.status is not JobStatus.CANCELLED or job.discarded_at is not None
    return settled and job.finished_at is not None and job.finished_at < now - age


def _was_given_back(task: TaskRecord, attempt: int) -> bool:
    is_queued = task.status is TaskStatus.QUEUED and task.attempt == attempt
    return is_queued and task.spent_attempts < attempt


def _lapsed(task: TaskRecord, now: datetime) -> bool:
    return task.lease_expires_at is not None and task.lease_expires_at <= now


def _claim_outcome(task: TaskRecord, in_batch: bool, now: datetime) -> ClaimOutcome:
    if task.status.is_final:
        return ClaimOutcome.FINAL
    scheduled = task.scheduled_at or now
    if task.status is TaskStatus.QUEUED and scheduled > now + SLACK:
        return ClaimOutcome.EARLY
    if task.status is TaskStatus.PROCESSING and not _lapsed(task, now):
        return ClaimOutcome.LEASED
    if task.attempts_left <= 0:
        return ClaimOutcome.EXHAUSTED
    expired = task.status is TaskStatus.PROCESSING
    return ClaimOutcome.RUN_ALONE if expired and in_batch else ClaimOutcome.CLAIMED
