"""Job, stage and task state in PostgreSQL. Atomic steps are functions in sql/functions."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from psycopg.rows import DictRow, dict_row
from psycopg.types.json import Jsonb
from psycopg_pool import ConnectionPool
from pydantic import BaseModel

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
from infrastructure.database import checked, retried, transaction

# Lists have no results, which may be large.
JOB_HEAD = """job_id, job_type, version, parameters, status, run, stage, total_stages, error,
              created_at, updated_at, started_at, finished_at, discarded_at,
              correlation_id, priority"""
TASK_HEAD = """task_id, job_id, stage, task_index, task_type, parameters, status, attempt,
               spent_attempts, attempt_limit, scheduled_at, lease_expires_at, progress,
               progress_message, error, created_at, started_at, finished_at"""
RUN_SECONDS = "extract(epoch FROM coalesce(finished_at, now()) - started_at)"
LAST = JobCursor(datetime.max.replace(tzinfo=UTC), "")


class PostgresState:
    """The StateRepository port over one connection pool."""

    def __init__(self, pool: ConnectionPool) -> None:
        self.pool = pool

    @retried
    def submit_job(
        self, job: JobRecord, key: RequestKey | None = None, *, runs_again: bool = False
    ) -> tuple[bool, JobRecord]:
        columns = (
            job.job_id,
            job.job_type,
            job.version,
            Jsonb(job.parameters),
            job.total_stages,
            job.correlation_id,
            job.priority,
            job.traceparent,
            runs_again,
        )
        if key is None:
            query = """SELECT is_new, (job_row).*
                         FROM app.accept_job(%s, %s, %s, %s, %s, %s, %s, %s, %s)"""
            [row] = self._rows(query, *columns)
        else:
            query = """SELECT fingerprint, is_new, (job_row).*
                         FROM app.accept_job_once(%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)"""
            [row] = self._rows(query, *key, *columns)
            key.must_match(row["fingerprint"])
        return row["is_new"], JobRecord.model_validate(row)

    @retried
    def find_submission(self, key: RequestKey) -> JobRecord | None:
        rows = self._rows(
            """SELECT k.fingerprint, j.*
                 FROM app.request_keys k JOIN app.jobs j USING (job_id) WHERE k.key = %s""",
            key.key,
        )
        if not rows:
            return None
        key.must_match(rows[0]["fingerprint"])
        return JobRecord.model_validate(rows[0])

    @retried
    def list_jobs(self, wanted: JobFilter, after: JobCursor | None, limit: int) -> list[JobRecord]:
        conditions = _conditions(wanted)
        where = ["(created_at, job_id) < (%s, %s)", *conditions]
        rows = self._rows(
            f"""SELECT {JOB_HEAD} FROM app.jobs WHERE {" AND ".join(where)}
                ORDER BY created_at DESC, job_id DESC LIMIT %s""",
            *(after or LAST),
            *conditions.values(),
            limit,
        )
        return [JobRecord.model_validate(row) for row in rows]

    @retried
    def get_job(self, job_id: str) -> JobRecord:
        rows = self._rows("SELECT * FROM app.jobs WHERE job_id = %s", job_id)
        return _one_job(rows, job_id)

    @retried
    def get_stages(self, job_id: str) -> list[StageRecord]:
        rows = self._rows("SELECT * FROM app.stages WHERE job_id = %s ORDER BY stage", job_id)
        return [StageRecord.model_validate(row) for row in rows]

    @retried
    def get_stage(self, job_id: str, stage: int) -> StageRecord | None:
        query = "SELECT * FROM app.stages WHERE job_id = %s AND stage = %s"
        rows = self._rows(query, job_id, stage)
        return StageRecord.model_validate(rows[0]) if rows else None

    @retried
    def get_tasks(self, job_id: str, stage: int, limit: int) -> list[TaskRecord]:
        rows = self._rows(
            """SELECT * FROM app.tasks WHERE job_id = %s AND stage = %s
                ORDER BY task_index LIMIT %s""",
            job_id,
            stage,
            limit,
        )
        return [TaskRecord.model_validate(row) for row in rows]

    @retried
    def list_tasks(
        self, job_id: str, after: tuple[int, int], limit: int, wanted: TaskFilter = ALL_TASKS
    ) -> list[TaskRecord]:
        columns = TASK_HEAD + (", result" if wanted.with_results else "")
        rows = self._rows(
            f"""SELECT {columns} FROM app.tasks
                 WHERE job_id = %s AND (stage, task_index) > (%s, %s) AND {_task_condition(wanted)}
                 ORDER BY stage, task_index LIMIT %s""",
            job_id,
            *after,
            list(wanted.statuses or TaskStatus),
            limit,
        )
        return [TaskRecord.model_validate(row) for row in rows]

    @retried
    def attempts(self, task_ids: Sequence[str]) -> list[Attempt]:
        rows = self._rows(
            "SELECT * FROM app.attempts WHERE task_id = ANY(%s) ORDER BY task_id, attempt",
            list(task_ids),
        )
        return [Attempt.model_validate(row) for row in rows]

    @retried
    def tasks_in_use(self, task_ids: Sequence[str]) -> set[str]:
        rows = self._rows(
            """SELECT task_id FROM app.tasks JOIN app.jobs j USING (job_id)
                WHERE task_id = ANY(%s)
                  AND (j.status IN ('queued', 'processing', 'failed')
                       OR j.status = 'cancelled' AND j.discarded_at IS NULL)""",
            list(task_ids),
        )
        return {row["task_id"] for row in rows}

    @retried
    def start_stage(
        self,
        job: JobRecord,
        stage: int,
        task_type: str,
        best_effort: bool,
        tasks: Sequence[TaskRecord],
        in_flight_limit: int | None = None,
    ) -> bool:
        with transaction(self.pool) as conn, conn.cursor() as cur:
            cur.execute(
                "SELECT app.start_stage(%s, %s, %s, %s, %s, %s, %s), now()",
                (job.job_id, job.run, stage, task_type, best_effort, len(tasks), in_flight_limit),
            )
            started, now = cur.fetchone() or (False, None)
            if not started:
                return False
            columns = """task_id, job_id, stage, task_index, task_type, parameters, attempt_limit,
                         scheduled_at"""
            with cur.copy(f"COPY app.tasks ({columns}) FROM STDIN") as copy:
                for index, task in enumerate(tasks):
                    is_held = in_flight_limit is not None and index >= in_flight_limit
                    copy.write_row(
                        (
                            task.task_id,
                            task.job_id,
                            task.stage,
                            task.task_index,
                            task.task_type,
                            Jsonb(task.parameters),
                            task.attempt_limit,
                            None if is_held else now,
                        )
                    )
        return True

    @retried
    def queued_tasks(self, job_id: str, stage: int) -> list[str]:
        rows = self._rows(
            """SELECT task_id FROM app.tasks
                WHERE job_id = %s AND stage = %s AND status = 'queued' AND scheduled_at <= now()
                ORDER BY task_index""",
            job_id,
            stage,
        )
        return [row["task_id"] for row in rows]

    @retried
    def results(self, job_id: str, stage: int) -> list[Json]:
        rows = self._rows(
            """SELECT result FROM app.tasks
                WHERE job_id = %s AND stage = %s AND status = 'completed' ORDER BY task_index""",
            job_id,
            stage,
        )
        return [row["result"] for row in rows]

    @retried
    def results_after(
        self, job_id: str, stage: int, task_index: int, limit: int
    ) -> list[TaskResult]:
        rows = self._rows(
            """SELECT task_index, result FROM app.tasks
                WHERE job_id = %s AND stage = %s AND task_index > %s AND status = 'completed'
                ORDER BY task_index LIMIT %s""",
            job_id,
            stage,
            task_index,
            limit,
        )
        return [TaskResult(**row) for row in rows]

    @retried
    def first_failure(self, job_id: str, stage: int) -> Failure | None:
        rows = self._rows(
            """SELECT error FROM app.tasks
                WHERE job_id = %s AND stage = %s AND status = 'failed'
                ORDER BY finished_at LIMIT 1""",
            job_id,
            stage,
        )
        return Failure.model_validate(rows[0]["error"]) if rows else None

    def claim_tasks(self, task_ids: Sequence[str], lease: timedelta) -> list[Claim]:
        return self._claim(list(task_ids), lease, uuid4())

    @retried
    def _claim(self, task_ids: list[str], lease: timedelta, claim_id: UUID) -> list[Claim]:
        query = "SELECT outcome, (task_row).* FROM app.claim_attempts(%s, %s, %s)"
        rows = self._rows(query, task_ids, lease, claim_id)
        return [Claim(ClaimOutcome(row["outcome"]), TaskRecord.model_validate(row)) for row in rows]

    @retried
    def renew_leases(self, held: Sequence[HeldTask], lease: timedelta) -> set[str]:
        columns = [list(column) for column in zip(*held, strict=True)]
        rows = self._rows(
            """SELECT renewed FROM app.renew_leases(
                   %s, %s::int[], %s::real[], %s::text[], %s) AS renewed""",
            *columns,
            lease,
        )
        return {row["renewed"] for row in rows}

    @retried
    def complete_task(
        self, task_id: str, attempt: int, result: Json | None, error: Failure | None
    ) -> Completion | None:
        rows = self._rows(
            """SELECT applied, released, (stage_row).*
                 FROM app.complete_task_and_check_stage(%s, %s, %s, %s)""",
            task_id,
            attempt,
            _jsonb(result),
            _jsonb(error),
        )
        if not rows:
            return None
        return _completion(rows[0])

    @retried
    def complete_tasks(self, done: Sequence[Done]) -> dict[str, Completion]:
        rows = self._rows(
            """SELECT task_id, applied, released, (stage_row).*
                 FROM app.complete_tasks(%s, %s::int[], %s::jsonb[])""",
            [each.task_id for each in done],
            [each.attempt for each in done],
            [Jsonb(each.result) for each in done],
        )
        return {row["task_id"]: _completion(row) for row in rows}

    @retried
    def retry_task_later(
        self, task_id: str, attempt: int, error: Failure, delay: timedelta
    ) -> bool:
        [row] = self._rows(
            "SELECT app.retry_task_later(%s, %s, %s, %s) AS given_back",
            task_id,
            attempt,
            _jsonb(error),
            delay,
        )
        return bool(row["given_back"])

    @retried
    def finish_job(
        self, job: JobRecord, status: JobStatus, result: Json | None, error: Failure | None
    ) -> bool:
        [row] = self._rows(
            "SELECT app.finish_job(%s, %s, %s, %s, %s, %s) AS finished",
            job.job_id,
            job.run,
            job.stage,
            status,
            _jsonb(result),
            _jsonb(error),
        )
        return bool(row["finished"])

    @retried
    def cancel_job(self, job_id: str) -> JobRecord:
        return _one_job(self._rows("SELECT * FROM app.cancel_job(%s)", job_id), job_id)

    def retry_job(self, job_id: str) -> tuple[bool, JobRecord]:
        return self._retry(job_id, uuid4())

    @retried
    def _retry(self, job_id: str, retry_id: UUID) -> tuple[bool, JobRecord]:
        query = "SELECT retried, (job_row).* FROM app.retry_job(%s, %s)"
        rows = self._rows(query, job_id, retry_id)
        job = _one_job(rows, job_id)
        return rows[0]["retried"], job

    @retried
    def mark_discarded(self, job: JobRecord, after: timedelta) -> bool:
        rows = self._rows(
            """UPDATE app.jobs SET discarded_at = now()
                WHERE job_id = %s AND run = %s AND status = 'cancelled'
                  AND finished_at <= now() - %s RETURNING job_id""",
            job.job_id,
            job.run,
            after,
        )
        return bool(rows)

    @retried
    def reopen_discard(self, job_id: str) -> JobRecord | None:
        rows = self._rows(
            """UPDATE app.jobs SET discarded_at = NULL
                WHERE job_id = %s AND status = 'cancelled' RETURNING *""",
            job_id,
        )
        return JobRecord.model_validate(rows[0]) if rows else None

    @retried
    def purge_jobs(self, age: timedelta, limit: int) -> list[str]:
        rows = self._rows("SELECT purged FROM app.purge_jobs(%s, %s) AS purged", age, limit)
        return [row["purged"] for row in rows]

    @retried
    def sweep(self, limit: int, grace: timedelta) -> list[JobMessage | TaskMessage]:
        rows = self._rows(
            """SELECT s.*, j.job_type, j.correlation_id, j.traceparent
                 FROM app.sweep(%s, %s) s JOIN app.jobs j USING (job_id)""",
            limit,
            grace,
        )
        return [
            TaskMessage.model_validate(row) if row["task_id"] else JobMessage.model_validate(row)
            for row in rows
        ]

    @retried
    def record_dead_letter(self, dead_letter: DeadLetter) -> int:
        [row] = self._rows(
            "SELECT app.store_dead_letter(%s, %s, %s, %s, %s, %s, %s) AS alike",
            dead_letter.queue,
            dead_letter.message_id,
            dead_letter.reason,
            dead_letter.description,
            dead_letter.body,
            dead_letter.job_id,
            dead_letter.task_id,
        )
        return int(row["alike"])

    @retried
    def events(self, job_id: str, after: int, limit: int) -> list[Event]:
        rows = self._rows(
            """SELECT * FROM app.events WHERE job_id = %s AND event_id > %s
                ORDER BY event_id LIMIT %s""",
            job_id,
            after,
            limit,
        )
        return [Event.model_validate(row) for row in rows]

    @checked
    def health(self) -> StateHealth:
        [row] = self._rows("SELECT * FROM app.health()")
        return StateHealth.model_validate(row)

    def _rows(self, query: str, *parameters: Any) -> list[DictRow]:
        with self.pool.connection() as conn, conn.cursor(row_factory=dict_row) as cur:
            return cur.execute(query, parameters).fetchall()


def _conditions(wanted: JobFilter) -> dict[str, Any]:
    """The conditions of a filter, each with its value."""
    every = {
        "status = ANY(%s)": list(wanted.statuses) or None,
        "job_type = ANY(%s)": list(wanted.job_types) or None,
        "created_at >= %s": wanted.created_from,
        "created_at <= %s": wanted.created_until,
        f"{RUN_SECONDS} >= %s": wanted.least_seconds,
        f"{RUN_SECONDS} <= %s": wanted.most_seconds,
    }
    return {condition: value for condition, value in every.items() if value is not None}


def _task_condition(wanted: TaskFilter) -> str:
    """Failed tasks are few: the second condition selects their partial index."""
    is_failed = list(wanted.statuses) == [TaskStatus.FAILED]
    return "status = ANY(%s)" + (" AND error IS NOT NULL" if is_failed else "")


def _jsonb(value: Json | BaseModel | None) -> Jsonb | None:
    if value is None:
        return None
    return Jsonb(value.model_dump(mode="json") if isinstance(value, BaseModel) else value)


def _completion(row: DictRow) -> Completion:
    return Completion(row["applied"], StageRecord.model_validate(row), row["released"])


def _one_job(rows: list[DictRow], job_id: str) -> JobRecord:
    if not rows:
        raise JobNotFound(f"no job has the id {job_id!r}")
    return JobRecord.model_validate(rows[0])
