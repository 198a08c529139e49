"""Task execution: what task messages do.

claim    take the lease and the next attempt of every task that is due
run      call the handler; a heartbeat keeps the lease and stores the progress
settle   complete, fail or retry the task; if that closed its stage, advance the job
"""

import logging
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import NamedTuple

from core.advancement import JobAdvancer
from core.handler import RetryPolicy, TaskContext
from core.lease import HeldLease, Leases
from core.models import Failure, Json, StageRecord, TaskMessage, TaskRecord
from core.outcome import Lost, Outcome, Permanent, Success, Transient, call_plugin
from core.ports import Claim, ClaimOutcome, Completion, Done, MessageBus, Ports, StateRepository
from core.registry import Registry
from core.results import ReadPage
from core.telemetry import annotate, continue_trace, measure, operation, timed

logger = logging.getLogger(__name__)

UNKNOWN_HANDLER_RETRY = RetryPolicy(base=timedelta(minutes=1))
"""Retries of a task whose handler this release does not have: another host may have it."""


class _Attempt(NamedTuple):
    """An attempt of a task that has ended, and the message that started it."""

    task: TaskRecord
    message: TaskMessage
    outcome: Outcome[Json]


class TaskRunner:
    """Claims tasks, runs their handlers and records the outcome."""

    def __init__(
        self,
        registry: Registry,
        state: StateRepository,
        bus: MessageBus,
        ports: Ports,
        leases: Leases,
        jobs: JobAdvancer,
    ) -> None:
        self._registry = registry
        self._state = state
        self._bus = bus
        self._ports = ports
        self._leases = leases
        self._jobs = jobs

    def process_messages(self, messages: Sequence[TaskMessage]) -> None:
        """Run the tasks that are due and not running elsewhere.

        All messages of a call share one claim and one completion; each task has its own attempt.
        A batch of several messages is recorded in the trace of the first one.
        """
        if not messages:
            return
        first, is_single = messages[0], len(messages) == 1
        with operation(
            "task delivered" if is_single else f"{len(messages)} tasks delivered",
            "consumer",
            first.traceparent,
            correlation_id=first.correlation_id if is_single else None,
            job_type=first.job_type if is_single else None,
            task_id=first.task_id if is_single else None,
        ):
            self._process(messages)

    def _process(self, messages: Sequence[TaskMessage]) -> None:
        by_task = {message.task_id: message for message in messages}
        claims = self._state.claim_tasks(list(by_task), self._leases.lease)
        if len(claims) < len(by_task):
            logger.info("%d task messages dropped: no such task", len(by_task) - len(claims))
        claimed = [task for outcome, task in claims if outcome is ClaimOutcome.CLAIMED]
        if claimed:
            with self._leases.hold(claimed) as leases:
                attempts = [
                    _Attempt(task, by_task[task.task_id], self._run(task, by_task, lease))
                    for task, lease in zip(claimed, leases, strict=True)
                ]
            for stage in self._settle_all(attempts):
                self._jobs.advance_from(stage)
        self._handle_unclaimed(claims, by_task)

    def _handle_unclaimed(
        self, claims: Sequence[Claim], by_task: Mapping[str, TaskMessage]
    ) -> None:
        """Fail exhausted tasks, send early ones again, and repeat the message after a last task."""
        for outcome, task in claims:
            if outcome is ClaimOutcome.EXHAUSTED:
                stage = self._complete(task, by_task[task.task_id], None, _worker_lost(task))
                if stage is not None:
                    self._jobs.advance_from(stage)
            elif outcome is ClaimOutcome.EARLY:
                self._send_again(by_task[task.task_id], task.scheduled_at)
            elif outcome is ClaimOutcome.RUN_ALONE:
                self._send_again(by_task[task.task_id])
        self._repeat_requests(task for outcome, task in claims if outcome is ClaimOutcome.FINAL)

    def _send_again(self, message: TaskMessage, due: datetime | None = None) -> None:
        """To the queue that delivers messages one by one."""
        self._bus.send_tasks([message.model_copy(update={"quick": False})], due=due)

    def _run(
        self, task: TaskRecord, by_task: Mapping[str, TaskMessage], lease: HeldLease
    ) -> Outcome[Json]:
        handler = self._registry.handlers.get(task.task_type)
        if handler is None:
            text = f"this release has no handler {task.task_type!r}: submit the job again"
            return Transient(Failure(code="TASK_TYPE_NOT_FOUND", message=text))
        message = by_task[task.task_id]
        stages = partial(self._read_stage, task, message.job_type)
        context = TaskContext(task.task_id, task.attempt, self._ports, lease, stages)
        with (
            operation(
                f"{task.task_type} attempt {task.attempt}",
                "internal",
                continue_trace(message.traceparent),
                correlation_id=message.correlation_id,
                job_id=task.job_id,
                job_type=message.job_type,
                stage=task.stage,
                task_id=task.task_id,
                attempt=task.attempt,
            ),
            timed("task.duration", {"task_type": task.task_type}),
        ):
            outcome = call_plugin(lambda: handler(task.parameters, context))
            annotate(outcome=type(outcome).__name__.lower())
            return outcome

    def _read_stage(self, task: TaskRecord, job_type: str | None, name: str) -> ReadPage:
        """How to read the results of another stage of the task's job."""
        definition = self._registry.job(job_type or self._state.get_job(task.job_id).job_type)
        stage = definition.stage_named(name)
        return partial(self._state.results_after, task.job_id, stage.number)

    def _settle_all(self, attempts: Sequence[_Attempt]) -> list[StageRecord]:
        """Record the outcomes: several successes in one write, everything else one by one.

        Returns the stages that are closed after that.
        """
        done = [each for each in attempts if isinstance(each.outcome, Success)]
        batched = len(done) > 1
        closed = self._complete_all(done) if batched else []
        for each in attempts:
            if not (batched and isinstance(each.outcome, Success)):
                stage = self._settle(each)
                closed += [] if stage is None else [stage]
        return closed

    def _settle(self, attempt: _Attempt) -> StageRecord | None:
        """Record the outcome of an attempt. Returns the stage if it is closed."""
        task, message = attempt.task, attempt.message
        match attempt.outcome:
            case Success(result):
                return self._complete(task, message, result, None)
            case Permanent(failure):
                return self._complete(task, message, None, failure)
            case Transient(failure) if task.attempts_left > 0:
                self._retry_later(attempt, failure)
            case Transient(failure):
                return self._complete(task, message, None, failure)
            case Lost():
                logger.info("task %s: attempt %d lost its claim", task.task_id, task.attempt)
                self._handle_stale_write(task)
        return None

    def _retry_later(self, attempt: _Attempt, failure: Failure) -> None:
        task = attempt.task
        handler = self._registry.handlers.get(task.task_type)
        policy = handler.retry if handler else UNKNOWN_HANDLER_RETRY
        delay = policy.delay(task.attempt - task.spent_attempts)
        if self._state.retry_task_later(task.task_id, task.attempt, failure, delay):
            measure("task.retries", 1, task_type=task.task_type, code=failure.code)
            self._send_again(attempt.message, datetime.now(UTC) + delay)
        else:
            self._handle_stale_write(task)

    def _complete(
        self, task: TaskRecord, message: TaskMessage, result: Json | None, error: Failure | None
    ) -> StageRecord | None:
        """Complete or fail the task. Returns the stage if it is closed."""
        completion = self._state.complete_task(task.task_id, task.attempt, result, error)
        if completion is not None:
            self._send_released([(completion, task, message)])
        if completion is None or not completion.applied:
            self._handle_stale_write(task)
        return completion.stage if completion and completion.stage.is_closed else None

    def _complete_all(self, attempts: Sequence[_Attempt]) -> list[StageRecord]:
        """Complete tasks that succeeded, in one write. Returns the stages that are closed."""
        written = self._state.complete_tasks(
            [
                Done(each.task.task_id, each.task.attempt, each.outcome.value)
                for each in attempts
                if isinstance(each.outcome, Success)
            ]
        )
        self._send_released(
            (written[each.task.task_id], each.task, each.message)
            for each in attempts
            if each.task.task_id in written
        )
        for each in attempts:
            completion = written.get(each.task.task_id)
            if completion is None or not completion.applied:
                self._handle_stale_write(each.task)
        stages = {(each.stage.job_id, each.stage.stage): each.stage for each in written.values()}
        return [stage for stage in stages.values() if stage.is_closed]

    def _send_released(
        self, completions: Iterable[tuple[Completion, TaskRecord, TaskMessage]]
    ) -> None:
        """Send the tasks that these completions released: of the same stage, so of one handler."""
        messages = [
            message.model_copy(
                update={
                    "task_id": completion.released,
                    "quick": self._registry.is_quick(task.task_type),
                }
            )
            for completion, task, message in completions
            if completion.released
        ]
        if messages:
            self._bus.send_tasks(messages)

    def _repeat_requests(self, ended: Iterable[TaskRecord]) -> None:
        """Request the stages after those of ended tasks whose messages are delivered again.

        A worker may have crashed between the last task's completion and the messages of the next
        stage.
        """
        by_stage = defaultdict[tuple[str, int], list[TaskRecord]](list)
        for task in ended:
            by_stage[task.job_id, task.stage].append(task)
        for (job_id, number), tasks in by_stage.items():
            stage = self._state.get_stage(job_id, number)
            if stage is not None and stage.is_closed:
                self._repeat_request(stage, tasks)

    def _repeat_request(self, stage: StageRecord, tasks: Sequence[TaskRecord]) -> None:
        job = self._state.get_job(stage.job_id)
        has_last = any(task.finished_at == stage.finished_at for task in tasks)
        is_due = job.stage == stage.stage or (has_last and job.stage == stage.stage + 1)
        if is_due and not job.status.is_final:
            self._bus.send_jobs([job.stage_message(stage.stage + 1)])

    def _handle_stale_write(self, task: TaskRecord) -> None:
        """Discard a cancelled job again: this attempt may have written its output since."""
        job = self._state.reopen_discard(task.job_id)
        if job is not None:
            self._bus.send_jobs([job.stage_message(job.stage + 1)])


def _worker_lost(task: TaskRecord) -> Failure:
    attempts = task.attempt - task.spent_attempts
    return Failure(code="WORKER_LOST", message=f"worker lost in all {attempts} attempts")
