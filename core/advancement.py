"""Job advancement: what a job message does, and the end of a stage.

stage n - 1 failed         fail the job
n is after the last stage  call finalize and complete the job
n is the next stage        store the stage with ALL its tasks, then send the messages of the first
n is the current stage     send the messages of its queued tasks again
the job was cancelled      discard what its tasks made
"""

import logging
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from core.errors import JobNotFound, UnknownJobType
from core.job import JobBase, Stage
from core.log_context import log_context
from core.models import (
    DeadLetter,
    Failure,
    JobMessage,
    JobRecord,
    JobStatus,
    Json,
    StageRecord,
    StageStatus,
    TaskMessage,
)
from core.outcome import Lost, Permanent, Success, Transient, call_plugin
from core.plan import make_result, plan_stage, prefixes_of_tasks, stored_results
from core.ports import MessageBus, Ports, StateRepository
from core.registry import Registry
from core.shares import FlightLimits
from core.telemetry import annotate, continue_trace, operation

logger = logging.getLogger(__name__)

MAX_DELIVERY_REASON = "MaxDeliveryCountExceeded"
MAX_HANDOFFS, HANDOFF_DELAY = 10, timedelta(seconds=30)
"""How often, and after which delay, a message for an unknown job type goes to another host."""
DEAD_LETTER_LIMIT = 3
"""Dead letters of one message after which its job fails. An outage causes one at most: the sweep,
which sends messages again, does not run during it."""


class JobAdvancer:
    """Moves jobs from stage to stage and to their end."""

    def __init__(
        self,
        registry: Registry,
        state: StateRepository,
        bus: MessageBus,
        ports: Ports,
        lease: timedelta,
        limits: FlightLimits,
    ) -> None:
        self._registry = registry
        self._state = state
        self._bus = bus
        self._ports = ports
        self._lease = lease
        self._limits = limits

    def process_message(self, message: JobMessage) -> None:
        """Advance the job to the stage that the message names, if that stage is next."""
        with operation(
            f"stage {message.stage} requested",
            "consumer",
            message.traceparent,
            correlation_id=message.correlation_id,
            job_id=message.job_id,
            stage=message.stage,
        ):
            job = self._find_job(message)
            if job is not None:
                annotate(job_type=job.job_type)
                with log_context(correlation_id=job.correlation_id, job_type=job.job_type):
                    self._handle(job, message)

    def advance_from(self, stage: StageRecord) -> None:
        """Advance the job of a stage that has just closed, without a message.

        If that fails, the message of the task that closed the stage is delivered again, and a job
        message sent.
        """
        job = self._state.get_job(stage.job_id)
        message = job.stage_message(stage.stage + 1)
        if job.status.is_final or job.stage != stage.stage:
            return
        with (
            operation(f"stage {message.stage} requested", "internal", stage=message.stage),
            log_context(
                correlation_id=job.correlation_id, job_id=job.job_id, job_type=job.job_type
            ),
        ):
            self._leave(job, stage, message)

    def record_dead_letter(self, dead_letter: DeadLetter) -> None:
        """Keep a dead letter. The sweep sends its message again, unless the limit is reached.

        Without a limit, a job whose stage method kills every worker would never end.
        """
        logger.error(
            "dead letter in %s: %s %s",
            dead_letter.queue,
            dead_letter.reason,
            dead_letter.description,
        )
        count = self._state.record_dead_letter(dead_letter)
        exceeded = dead_letter.reason == MAX_DELIVERY_REASON and count >= DEAD_LETTER_LIMIT
        if dead_letter.job_id and exceeded:
            self._give_up(JobMessage.model_validate_json(dead_letter.body), count)

    def _handle(self, job: JobRecord, message: JobMessage) -> None:
        if job.status is JobStatus.CANCELLED:
            self._discard(job, message)
        elif job.status.is_final:
            return
        elif message.stage == job.stage + 1:
            self._advance(job, message)
        elif message.stage == job.stage:
            self._send_current_stage(job)

    def _find_job(self, message: JobMessage) -> JobRecord | None:
        """None when the job was purged, or when the message is from an earlier run."""
        try:
            job = self._state.get_job(message.job_id)
        except JobNotFound:
            logger.info("job %s not found; message dropped", message.job_id)
            return None
        return job if message.run == job.run else None

    def _advance(self, job: JobRecord, message: JobMessage) -> None:
        """Fail the job, finish it or start its next stage, once its current stage is closed."""
        current = self._state.get_stage(job.job_id, job.stage) if job.stage else None
        if job.stage == 0 or (current is not None and current.is_closed):
            self._leave(job, current, message)

    def _leave(self, job: JobRecord, current: StageRecord | None, message: JobMessage) -> None:
        """Go on from the current stage, which is closed; None before the first."""
        if current is not None and current.status in (StageStatus.FAILED, StageStatus.CANCELLED):
            self._fail(job, self._state.first_failure(job.job_id, job.stage))
            return
        definition = self._find_definition(job, message)
        if definition is None:
            return
        if job.stage == len(definition.stages):
            self._finish(job, definition)
        else:
            self._start_stage(job, definition, definition.stages[job.stage])

    def _start_stage(self, job: JobRecord, definition: JobBase, stage: Stage) -> None:
        """Store the stage with all its tasks, then send the messages of those released."""
        handler = self._registry.handler_of(stage)
        results = stored_results(self._state, job, definition, stage.method)
        match plan_stage(self._registry, job, definition, stage, results):
            case Success(tasks):
                pass
            case Permanent(failure) | Transient(failure):
                self._fail(job, failure)
                return
            case Lost():
                self._fail(job, None)
                return
        limit = self._limits.limit(handler.is_quick, job.priority)
        best_effort = stage.accepts_failures(
            definition.prepared_model().model_validate(job.parameters)
        )
        if not self._state.start_stage(job, stage.number, handler.name, best_effort, tasks, limit):
            self._send_current_stage(self._state.get_job(job.job_id))
            return
        logger.info("job %s: stage %d started, %d tasks", job.job_id, stage.number, len(tasks))
        if tasks:
            self._send_tasks(job, [task.task_id for task in tasks[:limit]], handler.name)
        else:
            self._bus.send_jobs([job.stage_message(stage.number + 1)])

    def _send_current_stage(self, job: JobRecord) -> None:
        """Send what the current stage waits for: its queued tasks, or the next stage's message."""
        if job.status.is_final:
            return
        stage = self._state.get_stage(job.job_id, job.stage)
        if stage is None or stage.is_closed:
            self._bus.send_jobs([job.stage_message(job.stage + 1)])
            return
        queued = self._state.queued_tasks(job.job_id, job.stage)
        self._send_tasks(job, queued, stage.task_type)

    def _send_tasks(self, job: JobRecord, task_ids: Sequence[str], task_type: str) -> None:
        quick = self._registry.is_quick(task_type)
        self._bus.send_tasks(
            TaskMessage(
                task_id=task_id,
                quick=quick,
                job_type=job.job_type,
                correlation_id=job.correlation_id,
                traceparent=continue_trace(job.traceparent),
            )
            for task_id in task_ids
        )

    def _finish(self, job: JobRecord, definition: JobBase) -> None:
        """Make the job's result and complete the job."""
        results = stored_results(self._state, job, definition, type(definition).finalize)
        match make_result(self._registry, job, definition, results):
            case Success(result):
                stages = self._state.get_stages(job.job_id)
                clean = all(stage.status is StageStatus.COMPLETED for stage in stages)
                status = JobStatus.COMPLETED if clean else JobStatus.COMPLETED_WITH_ERRORS
                self._end(job, status, result, None)
            case Permanent(failure) | Transient(failure):
                self._fail(job, failure)
            case Lost():
                self._fail(job, None)

    def _fail(self, job: JobRecord, failure: Failure | None) -> None:
        default = Failure(code="STAGE_FAILED", message=f"stage {job.stage} failed")
        self._end(job, JobStatus.FAILED, None, failure or default)

    def _end(
        self, job: JobRecord, status: JobStatus, result: Json | None, error: Failure | None
    ) -> None:
        if self._state.finish_job(job, status, result, error):
            logger.info("job %s: %s", job.job_id, status)

    def _give_up(self, message: JobMessage, dead_letters: int) -> None:
        """Fail a job whose next stage could not be started."""
        job = self._find_job(message)
        if job is None or message.stage != job.stage + 1:
            return
        stage = self._state.get_stage(job.job_id, job.stage)
        if stage is None or stage.is_closed:
            text = (
                f"stage {message.stage} could not be started:"
                f" {dead_letters} deliveries were dead-lettered"
            )
            self._fail(job, Failure(code="STAGE_FAILED", message=text))

    def _find_definition(self, job: JobRecord, message: JobMessage) -> JobBase | None:
        """The job's class. None if this release has another one, or none: then hand the job off."""
        try:
            definition = self._registry.job(job.job_type)
        except UnknownJobType as error:
            self._hand_off(job, message, error)
            return None
        if len(definition.stages) == job.total_stages:
            return definition
        text = (
            f"this release of {job.job_type} has {len(definition.stages)} stages, but the job was"
            f" submitted with {job.total_stages}: submit the job again"
        )
        self._hand_off(job, message, UnknownJobType(text))
        return None

    def _hand_off(self, job: JobRecord, message: JobMessage, error: UnknownJobType) -> None:
        """During a deployment another host may know the job; after MAX_HANDOFFS the job fails."""
        if message.handoffs < MAX_HANDOFFS:
            again = message.model_copy(update={"handoffs": message.handoffs + 1})
            self._bus.send_jobs([again], due=datetime.now(UTC) + HANDOFF_DELAY)
        elif job.status.is_final:
            self._state.mark_discarded(job, self._lease)
        else:
            self._fail(job, Failure(code=error.code, message=error.message))

    def _discard(self, job: JobRecord, message: JobMessage) -> None:
        """Remove what a cancelled job made; again once its last worker must have stopped."""
        definition = None if job.discarded_at else self._find_definition(job, message)
        if definition is None:
            return
        outcome = call_plugin(lambda: self._discard_outputs(job, definition))
        if isinstance(outcome, Transient):
            logger.warning("job %s: discard failed: %s", job.job_id, outcome.failure.message)
        elif not self._state.mark_discarded(job, self._lease) and job.finished_at:
            self._bus.send_jobs(
                [job.stage_message(job.stage + 1)], due=job.finished_at + self._lease
            )

    def _discard_outputs(self, job: JobRecord, definition: JobBase) -> None:
        """Only of the runs that `job` knows: the job may have been submitted again since."""
        params = definition.prepared_model().model_validate(job.parameters)
        for prefix in prefixes_of_tasks(job):
            definition.discard(params, self._ports, prefix)
