"""Service Bus triggers: job messages, task messages, and their dead-letter queues.

A function that returns completes its message; after an exception the message is delivered again.
"""

import logging
from collections.abc import Sequence
from typing import List  # noqa: UP035  the worker requires typing.List in a batch function

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
        hint = _read(machine, "jobs", message, JobMessage)
        if isinstance(hint, JobMessage):
            machine.process_job_message(hint)

    @bp.service_bus_queue_trigger("message", CONNECTION, TASKS)
    def process_task(message: func.ServiceBusMessage) -> None:
        machine.process_tasks(_task_hints(machine, "tasks", [message]))

    # As text, the host would leave an empty body out, and the whole batch would fail in the SDK.
    @bp.service_bus_queue_trigger(
        "messages",
        CONNECTION,
        QUICK_TASKS,
        data_type=func.DataType.BINARY,
        cardinality=func.Cardinality.MANY,
    )
    def process_quick_tasks(messages: List[func.ServiceBusMessage]) -> None:  # noqa: UP006
        machine.process_tasks(_task_hints(machine, "quick-tasks", messages))

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
    machine: CoreMachine, queue: str, messages: Sequence[func.ServiceBusMessage]
) -> list[TaskMessage]:
    hints = [_read(machine, queue, message, TaskMessage) for message in messages]
    return [hint for hint in hints if isinstance(hint, TaskMessage)]


def _read(
    machine: CoreMachine, queue: str, message: func.ServiceBusMessage, model: type[Record]
) -> Record | None:
    """Parse a message. An invalid one is stored as a dead letter and not delivered again."""
    try:
        return model.model_validate_json(message.get_body())
    except ValidationError as error:
        reason = f"invalid message: {error.errors()[0]['msg']}"
        machine.record_dead_letter(_letter(queue, message, reason))
        return None


def _letter(queue: str, message: func.ServiceBusMessage, reason: str | None = None) -> DeadLetter:
    body = message.get_body().decode("utf-8", "replace")
    why = message.application_properties or {}
    return DeadLetter(
        queue=queue,
        # The product sets no message ids; the broker's sequence number is unique within a queue.
        message_id=message.message_id or f"number {message.sequence_number}",
        reason=reason or why.get("DeadLetterReason"),
        description=why.get("DeadLetterErrorDescription"),
        body=body,
        **_ids(body),
    )


def _ids(body: str) -> dict[str, str | None]:
    """The ids in a message; none if it is invalid."""
    for model in (JobMessage, TaskMessage):
        try:
            hint = model.model_validate_json(body)
        except ValidationError:
            continue
        return dict(hint.model_dump(include={"job_id", "task_id"}))
    return {}
