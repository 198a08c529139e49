"""CoreMachine: four entry points, each safe to repeat at any moment, in any order.

    submit           validate, store the job (or find it)          -> send job message, stage 1
    job message n    stage n-1 failed? fail the job
                     n > last? finalize, complete the job
                     else store stage + ALL its tasks at once     -> send its queued tasks' messages
    task messages    claim (lease + attempt) -> run handlers -> complete and check the stage
                     stage now closed?                             -> send job message n+1
    sweep            anything overdue in the tables                -> send its message again

PostgreSQL is the truth and a message only a hint. Write state, then send; when a message comes
again, send again. A trigger settles its message only after the entry point returned.
"""

import hashlib
import json
import logging
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from core.errors import JobNotFound, StateConflict, UnknownJobType
from core.handler import BoundHandler, RetryPolicy, TaskContext
from core.job import JobBase, Stage, needs
from core.lease import HeldLease, Leases
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
    TaskRecord,
)
from core.outcome import Lost, Outcome, Transient, Permanent, Success, call_plugin
from core.plan import make_result, plan_stage, prefixes_of_tasks, stored_results
from core.ports import (
    ClaimOutcome,
    Done,
    JobCursor,
    JobFilter,
    MessageBus,
    Ports,
    RequestKey,
    StateRepository,
)
from core.registry import Registry
from core.status import JobView, view_job
from core.validation import validate_body

logger = logging.getLogger(__name__)

MAX_DELIVERY_REASON = "MaxDeliveryCountExceeded"
MAX_HANDOFFS, HANDOFF_DELAY = 10, timedelta(seconds=30)
"""How often a job that this release does not know waits for a host that does."""
UNKNOWN_HANDLER_RETRY = RetryPolicy(base=timedelta(minutes=1))
"""How long a task whose handler this release does not know waits for a host that does."""
DEAD_LETTER_LIMIT = 3
"""So many dead letters of one hint are the job's fault: an outage makes one, and no sweep runs."""


class Submission(NamedTuple):
    """A submitted job: stored or started anew by this call, or found."""

    is_new: bool
    job: JobRecord


class CoreMachine:
    """Moves jobs through their stages."""

    def __init__(
        self,
        registry: Registry,
        state: StateRepository,
        bus: MessageBus,
        ports: Ports,
        leases: Leases,
    ) -> None:
        self.registry = registry
        self.state = state
        self.bus = bus
        self.ports = ports
        self.leases = leases

    def submit(self, job_type: str, body: Any, key: str | None = None) -> Submission:
        """Store a job and ask for its first stage, or find it. Raises RequestError.

        A `key` stands for one job for ever, whatever becomes of it or of its source: a request
        repeated with its key never starts anything a second time.
        """
        job = self.registry.job(job_type)
        request = RequestKey(key, _fingerprint(job_type, body)) if key else None
        known = self.state.find_submission(request) if request else None
        if known is not None:
            return self._submitted(False, known)
        prepared = job.prepare(validate_body(job.parameters, body), self.ports)
        is_new, record = self.state.submit_job(
            JobRecord(
                job_id=job.job_id(prepared),
                job_type=job_type,
                version=job.version,
                parameters=prepared.model_dump(mode="json"),
                total_stages=len(job.stages),
            ),
            request,
        )
        return self._submitted(is_new, record)

    def list_jobs(self, wanted: JobFilter, after: JobCursor | None, limit: int) -> list[JobRecord]:
        """Jobs without their results, newest first. Raises UnknownJobType."""
        for job_type in wanted.job_types:
            self.registry.job(job_type)
        return self.state.list_jobs(wanted, after, limit)

    def process_job_message(self, message: JobMessage) -> None:
        """Move a job to the stage the message names, if that is what comes next."""
        job = self._job_of(message)
        if job is None:
            return
        if job.status is JobStatus.CANCELLED:
            self._discard(job, message)
        elif job.status.is_final:
            return
        elif message.stage == job.stage + 1:
            self._advance(job, message)
        elif message.stage == job.stage:
            self._send_stage(job)

    def process_tasks(self, messages: Sequence[TaskMessage]) -> None:
        """Run the tasks that are due and that nobody else runs; pass on stages that they closed.

        Many at a time share one claim and one completion; each has its own attempt and fence.
        """
        claims = self.state.claim_tasks([each.task_id for each in messages], self.leases.lease)
        if len(claims) < len(messages):
            logger.info("%d task messages are dropped", len(messages) - len(claims))
        ours = [task for outcome, task in claims if outcome is ClaimOutcome.CLAIMED]
        if ours:
            with self.leases.hold(ours) as leases:
                held = zip(ours, leases, strict=True)
                attempts = [(task, self._run(task, lease)) for task, lease in held]
            self._settle_all(attempts)
        for outcome, task in claims:
            if outcome is ClaimOutcome.EXHAUSTED:
                self._complete(task, None, self._exhausted(task))
            elif outcome is ClaimOutcome.EARLY:
                self.bus.send_tasks([TaskMessage(task_id=task.task_id)], due=task.scheduled_at)
            elif outcome is ClaimOutcome.RUN_ALONE:
                self.bus.send_tasks([TaskMessage(task_id=task.task_id)])
        ended = [task for outcome, task in claims if outcome is ClaimOutcome.FINAL]
        for job_id, number in dict.fromkeys((task.job_id, task.stage) for task in ended):
            self._advance_if_closed(self.state.get_stage(job_id, number))

    def sweep(self, limit: int, grace: timedelta) -> int:
        """Send again what is overdue. Returns how many messages that were."""
        overdue = self.state.sweep(limit, grace)
        self.bus.send_jobs([m for m in overdue if isinstance(m, JobMessage)])
        self.bus.send_tasks([m for m in overdue if isinstance(m, TaskMessage)])
        if overdue:
            logger.warning("the sweep sent %d overdue messages again", len(overdue))
        return len(overdue)

    def status(self, job_id: str) -> JobView:
        """The job with its stages. Raises JobNotFound."""
        return view_job(self.registry, self.state, self.state.get_job(job_id))

    def cancel(self, job_id: str) -> JobRecord:
        """Cancel a job at once. Raises JobNotFound and StateConflict."""
        job = self.state.cancel_job(job_id)
        if job.status is not JobStatus.CANCELLED:
            raise StateConflict(f"job {job_id} is {job.status} and cannot be cancelled any more")
        self._request_stage(job, job.stage + 1)
        return job

    def retry(self, job_id: str) -> JobRecord:
        """Run the failed tasks of an ended job again. Raises JobNotFound and StateConflict."""
        retried, job = self.state.retry_job(job_id)
        if not retried:
            raise StateConflict(f"job {job_id} is {job.status}: it has nothing to retry")
        self._request_stage(job, max(job.stage, 1))
        return job

    def record_dead_letter(self, letter: DeadLetter) -> None:
        """Keep a message that nobody could handle, with its reason.

        The sweep sends it again, to whoever may do better. But a job whose stage method kills or
        breaks every worker must end some day.
        """
        logger.error("dead letter in %s: %s %s", letter.queue, letter.reason, letter.description)
        alike = self.state.record_dead_letter(letter)
        if letter.job_id and letter.reason == MAX_DELIVERY_REASON and alike >= DEAD_LETTER_LIMIT:
            self._give_up(JobMessage.model_validate_json(letter.body), alike)

    def purge(self, age: timedelta, limit: int) -> int:
        """Delete jobs that ended longer ago than `age`. Returns how many."""
        purged = self.state.purge_jobs(age, limit)
        if purged:
            logger.info("purged %d jobs that ended more than %s ago", len(purged), age)
        return len(purged)

    def _submitted(self, is_new: bool, record: JobRecord) -> Submission:
        """The answer to a request, once a waiting job's message is sent: the first may be lost."""
        if record.status is JobStatus.QUEUED:
            self._request_stage(record, 1)
        return Submission(is_new, record)

    def _job_of(self, message: JobMessage) -> JobRecord | None:
        """None when the job, or the run that the message is of, is gone."""
        try:
            job = self.state.get_job(message.job_id)
        except JobNotFound:
            logger.info("job %s is gone; its message is dropped", message.job_id)
            return None
        return job if message.run == job.run else None

    def _definition(self, job: JobRecord, message: JobMessage) -> JobBase | None:
        """The class of the job. None when this release has another one: then others are asked."""
        try:
            definition = self.registry.job(job.job_type)
        except UnknownJobType as error:
            self._hand_off(job, message, error)
            return None
        if len(definition.stages) == job.total_stages:
            return definition
        words = (
            f"{job.job_type} has {len(definition.stages)} stages in this release,"
            f" and this job was stored with {job.total_stages}: submit it again"
        )
        self._hand_off(job, message, UnknownJobType(words))
        return None

    def _hand_off(self, job: JobRecord, message: JobMessage, error: UnknownJobType) -> None:
        """During a deploy another host may know the job. When none did for long, it ends."""
        if message.handoffs < MAX_HANDOFFS:
            again = message.model_copy(update={"handoffs": message.handoffs + 1})
            self.bus.send_jobs([again], due=datetime.now(UTC) + HANDOFF_DELAY)
        elif job.status.is_final:
            self.state.mark_discarded(job, self.leases.lease)
        else:
            self._fail(job, Failure(code=error.code, message=error.message))

    def _discard(self, job: JobRecord, message: JobMessage) -> None:
        """Remove what a cancelled job made; again when its last worker must have noticed."""
        definition = None if job.discarded_at else self._definition(job, message)
        if definition is None:
            return
        outcome = call_plugin(lambda: self._discard_leavings(job, definition))
        if isinstance(outcome, Transient):
            logger.warning("job %s: not discarded yet: %s", job.job_id, outcome.failure.message)
        elif not self.state.mark_discarded(job, self.leases.lease) and job.finished_at:
            again = JobMessage(job_id=job.job_id, run=job.run, stage=job.stage + 1)
            self.bus.send_jobs([again], due=job.finished_at + self.leases.lease)

    def _discard_leavings(self, job: JobRecord, definition: JobBase) -> None:
        """Of the runs so far: the job may have been submitted again since it was read."""
        params = definition.prepared().model_validate(job.parameters)
        for prefix in prefixes_of_tasks(job):
            definition.discard(params, self.ports, prefix)

    def _advance(self, job: JobRecord, message: JobMessage) -> None:
        """Fail, finish or start the next stage of a job whose stage is closed."""
        if job.stage:
            current = self.state.get_stage(job.job_id, job.stage)
            if current is None or not current.is_closed:
                return
            if current.status in (StageStatus.FAILED, StageStatus.CANCELLED):
                self._fail(job, self.state.first_failure(job.job_id, job.stage))
                return
        definition = self._definition(job, message)
        if definition is None:
            return
        if job.stage == len(definition.stages):
            self._finish(job, definition)
        else:
            self._start(job, definition, definition.stages[job.stage])

    def _start(self, job: JobRecord, definition: JobBase, stage: Stage) -> None:
        """Store the stage with all its tasks, then send their messages."""
        handler = self.registry.handler_of(stage)
        results = stored_results(self.state, job, definition, stage.needs)
        match plan_stage(self.registry, job, definition, stage, results):
            case Success(tasks):
                pass
            case Permanent(failure) | Transient(failure):
                self._fail(job, failure)
                return
            case Lost():
                self._fail(job, None)
                return
        if not self.state.start_stage(job, stage.number, handler.name, stage.best_effort, tasks):
            self._send_stage(self.state.get_job(job.job_id))
            return
        logger.info("job %s: stage %d, %d tasks", job.job_id, stage.number, len(tasks))
        if tasks:
            self._send_tasks([task.task_id for task in tasks], handler)
        else:
            self._request_stage(job, stage.number + 1)

    def _finish(self, job: JobRecord, definition: JobBase) -> None:
        """Make the job's result and end it."""
        names = needs(type(definition).finalize)
        results = stored_results(self.state, job, definition, names)
        match make_result(self.registry, job, definition, results):
            case Success(result):
                stages = self.state.get_stages(job.job_id)
                clean = all(stage.status is StageStatus.COMPLETED for stage in stages)
                status = JobStatus.COMPLETED if clean else JobStatus.COMPLETED_WITH_ERRORS
                self._end(job, status, result, None)
            case Permanent(failure) | Transient(failure):
                self._fail(job, failure)
            case Lost():
                self._fail(job, None)

    def _give_up(self, message: JobMessage, alike: int) -> None:
        """Fail a job that no worker could move to its next stage."""
        job = self._job_of(message)
        if job is None or message.stage != job.stage + 1:
            return
        stage = self.state.get_stage(job.job_id, job.stage)
        if stage is None or stage.is_closed:
            words = f"no worker could get to stage {message.stage}: {alike} messages died of it"
            self._fail(job, Failure(code="STAGE_FAILED", message=words))

    def _fail(self, job: JobRecord, failure: Failure | None) -> None:
        unknown = Failure(code="STAGE_FAILED", message=f"stage {job.stage} failed")
        self._end(job, JobStatus.FAILED, None, failure or unknown)

    def _end(
        self, job: JobRecord, status: JobStatus, result: Json | None, error: Failure | None
    ) -> None:
        if self.state.finish_job(job, status, result, error):
            logger.info("job %s: %s", job.job_id, status)

    def _send_stage(self, job: JobRecord) -> None:
        """Send what the current stage needs to move: its queued tasks, or the next stage."""
        if job.status.is_final:
            return
        stage = self.state.get_stage(job.job_id, job.stage)
        if stage is None or stage.is_closed:
            self._request_stage(job, job.stage + 1)
            return
        waiting = self.state.queued_tasks(job.job_id, job.stage)
        self._send_tasks(waiting, self.registry.handlers.get(stage.task_type))

    def _send_tasks(self, task_ids: Sequence[str], handler: BoundHandler | None) -> None:
        quick = handler is not None and handler.is_quick
        self.bus.send_tasks(TaskMessage(task_id=task_id, quick=quick) for task_id in task_ids)

    def _request_stage(self, job: JobRecord, stage: int) -> None:
        self.bus.send_jobs([JobMessage(job_id=job.job_id, run=job.run, stage=stage)])

    def _run(self, task: TaskRecord, lease: HeldLease) -> Outcome[Json]:
        handler = self.registry.handlers.get(task.task_type)
        if handler is None:
            message = f"there is no handler {task.task_type!r} in this version"
            return Transient(Failure(code="UNKNOWN_TASK_TYPE", message=message))
        context = TaskContext(task.task_id, task.attempt, self.ports, lease)
        return call_plugin(lambda: handler(task.parameters, context))

    def _settle_all(self, attempts: list[tuple[TaskRecord, Outcome[Json]]]) -> None:
        """Write what came of attempts: successes together, anything else by itself."""
        done = [(task, found.value) for task, found in attempts if isinstance(found, Success)]
        together = len(done) > 1
        if together:
            self._complete_all(done)
        for task, outcome in attempts:
            if not (together and isinstance(outcome, Success)):
                self._settle(task, outcome)

    def _settle(self, task: TaskRecord, outcome: Outcome[Json]) -> None:
        """Write what came of an attempt."""
        match outcome:
            case Success(result):
                self._complete(task, result, None)
            case Permanent(failure):
                self._complete(task, None, failure)
            case Transient(failure) if task.attempts_left > 0:
                self._retry_later(task, failure)
            case Transient(failure):
                self._complete(task, None, failure)
            case Lost():
                logger.info("task %s: attempt %d lost its claim", task.task_id, task.attempt)
                self._handle_stale_write(task)

    def _retry_later(self, task: TaskRecord, failure: Failure) -> None:
        handler = self.registry.handlers.get(task.task_type)
        policy = handler.retry if handler else UNKNOWN_HANDLER_RETRY
        delay = policy.delay(task.attempt - task.spent_attempts)
        if self.state.retry_task_later(task.task_id, task.attempt, failure, delay):
            due = datetime.now(UTC) + delay
            self.bus.send_tasks([TaskMessage(task_id=task.task_id)], due=due)
        else:
            self._handle_stale_write(task)

    def _complete(self, task: TaskRecord, result: Json | None, error: Failure | None) -> None:
        """Close the task, and ask for the next stage when that closed this one."""
        completion = self.state.complete_task(task.task_id, task.attempt, result, error)
        if completion is not None:
            self._advance_if_closed(completion.stage)
        if completion is None or not completion.applied:
            self._handle_stale_write(task)

    def _complete_all(self, done: list[tuple[TaskRecord, Json]]) -> None:
        """Close tasks that succeeded, and ask for the next stage of each stage that they closed."""
        written = self.state.complete_tasks(
            [Done(task.task_id, task.attempt, result) for task, result in done]
        )
        stages = {(each.stage.job_id, each.stage.stage): each.stage for each in written.values()}
        for stage in stages.values():
            self._advance_if_closed(stage)
        for task, _ in done:
            if task.task_id not in written or not written[task.task_id].applied:
                self._handle_stale_write(task)

    def _handle_stale_write(self, task: TaskRecord) -> None:
        """After a cancel a late worker may still have shown its work: discard once more."""
        job = self.state.reopen_discard(task.job_id)
        if job is not None:
            self._request_stage(job, job.stage + 1)

    def _advance_if_closed(self, stage: StageRecord | None) -> None:
        """Ask for the next stage when this one is closed and still the job's current one."""
        if stage is None or not stage.is_closed:
            return
        job = self.state.get_job(stage.job_id)
        if not job.status.is_final and job.stage == stage.stage:
            self._request_stage(job, job.stage + 1)

    @staticmethod
    def _exhausted(task: TaskRecord) -> Failure:
        message = f"no worker survived the {task.attempt} attempts of this task"
        return Failure(code="WORKER_LOST", message=message)


def _fingerprint(job_type: str, body: Any) -> str:
    """Equal for requests that ask for the same; key order and white space do not count."""
    text = json.dumps([job_type, body], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
