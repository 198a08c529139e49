"""What happened to a job: its tasks with their attempts, and its timeline."""

from typing import Any

import azure.functions as func

from core.machine import CoreMachine
from core.models import Attempt, TaskRecord
from triggers.answers import answering_errors, json_answer, page_size, task_cursor, whole_number

TASK_FIELDS = {
    "task_id", "stage", "task_index", "task_type", "status", "attempt", "progress",
    "progress_message", "created_at", "started_at", "finished_at", "error",
}  # fmt: skip


def blueprint(machine: CoreMachine) -> func.Blueprint:
    """The history routes over a machine."""
    bp = func.Blueprint()

    @bp.route("jobs/{job_id}/tasks", methods=["GET"])
    @answering_errors
    def job_tasks(req: func.HttpRequest) -> func.HttpResponse:
        after, limit = task_cursor(req, "0-0"), page_size(req)
        job_id = machine.state.get_job(req.route_params["job_id"]).job_id
        tasks = machine.state.list_tasks(job_id, after, limit)
        attempts = machine.state.attempts([task.task_id for task in tasks])
        body: dict[str, Any] = {"tasks": [_task_body(task, attempts) for task in tasks]}
        if len(tasks) == limit:
            body["next"] = f"{tasks[-1].stage}-{tasks[-1].task_index}"
        return json_answer(body)

    @bp.route("jobs/{job_id}/events", methods=["GET"])
    @answering_errors
    def job_events(req: func.HttpRequest) -> func.HttpResponse:
        after, limit = whole_number(req, "after", 0, 2**62), page_size(req)
        job_id = machine.state.get_job(req.route_params["job_id"]).job_id
        events = machine.state.events(job_id, after, limit)
        body: dict[str, Any] = {"events": [event.model_dump(mode="json") for event in events]}
        if len(events) == limit:
            body["next"] = events[-1].event_id
        return json_answer(body)

    return bp


def _task_body(task: TaskRecord, attempts: list[Attempt]) -> dict[str, Any]:
    """A task, with the attempts that came to nothing."""
    body = task.model_dump(mode="json", include=TASK_FIELDS)
    mine = [attempt for attempt in attempts if attempt.task_id == task.task_id]
    body["attempts"] = [attempt.model_dump(mode="json", exclude={"task_id"}) for attempt in mine]
    return body
