"""Service Bus queues: job and task messages, and what ended in their dead-letter queues.

A function that returns completes its message; one that raises gets it again.
"""

import logging
from collections.abc import Sequence
from typing import List  # noqa: UP035 - what Azure's worker looks for in a batch function

import azure.functions as func
from pydantic import ValidationError

from core.machine import CoreMachine
from core.models import DeadLetter, JobMessage, Record, TaskMessage

logger = logging.getLogger(__name__)

CONNECTION = "SERVICEBUS_CONNECTION"
JOBS = "%JOBS_QUEUE%"
TASKS = "%TASKS_QUEUE%"
QUICK_TASKS = "%QUICK_TASKS_QUEUE%"
DEAD = "/$deadletterqueue"


def blueprint(machine: CoreMachine) -> func.Blueprint:
    """The queue functions over a machine."""
    bp = func.Blueprint()

    @bp.service_bus_queue_trigger("message", CONNECTION, JOBS)
    def process_job(message: func.ServiceBusMessage) -> None:
        hint = _read(machine, message, JobMessage)
        if isinstance(hint, JobMessage):
            machine.process_job_message(hint)

    @bp.service_bus_queue_trigger("message", CONNECTION, TASKS)
    def process_task(message: func.ServiceBusMessage) -> None:
        machine.process_tasks(_task_hints(machine, [message]))

    @bp.service_bus_queue_trigger("messages", CONNECTION, QUICK_TASKS, cardinality="many")
    def process_quick_tasks(messages: List[func.ServiceBusMessage]) -> None:  # noqa: UP006
        machine.process_tasks(_task_hints(machine, messages))

    @bp.service_bus_queue_trigger("message", CONNECTION, JOBS + DEAD)
    def record_dead_job(message: func.ServiceBusMessage) -> None:
        machine.record_dead_letter(_letter("jobs", message))

    @bp.service_bus_queue_trigger("message", CONNECTION, TASKS + DEAD)
    def record_dead_task(message: func.ServiceBusMessage) -> None:
        machine.record_dead_letter(_letter("tasks", message))

    @bp.service_bus_queue_trigger("message", CONNECTION, QUICK_TASKS + DEAD)
    def record_dead_quick_task(message: func.ServiceBusMessage) -> None:
        machine.record_dead_letter(_letter("quick-tasks", message))

    return bp


def _task_hints(
    machine: CoreMachine, messages: Sequence[func.ServiceBusMessage]
) -> list[TaskMessage]:
    hints = [_read(machine, message, TaskMessage) for message in messages]
    return [hint for hint in hints if isinstance(hint, TaskMessage)]


def _read(
    machine: CoreMachine, message: func.ServiceBusMessage, model: type[Record]
) -> Record | None:
    """The hint in a message. One that nobody can read is kept, and not tried again."""
    try:
        return model.model_validate_json(message.get_body())
    except ValidationError as error:
        reason = f"unreadable: {error.error_count()} errors, first {error.errors()[0]['msg']}"
        machine.record_dead_letter(_letter(model.__name__, message, reason))
        return None


def _letter(queue: str, message: func.ServiceBusMessage, reason: str | None = None) -> DeadLetter:
    body = message.get_body().decode("utf-8", "replace")
    why = message.application_properties or {}
    return DeadLetter(
        queue=queue,
        # Only the sequence number is the broker's: messages of ours have no id of their own.
        message_id=message.message_id or f"number {message.sequence_number}",
        reason=reason or why.get("DeadLetterReason"),
        description=why.get("DeadLetterErrorDescription"),
        body=body,
        **_ids(body),
    )


def _ids(body: str) -> dict[str, str | None]:
    """The ids in a message, where it can be read."""
    for model in (JobMessage, TaskMessage):
        try:
            hint = model.model_validate_json(body)
        except ValidationError:
            continue
        return {key: str(value) for key, value in hint.model_dump().items() if key.endswith("_id")}
    return {}
