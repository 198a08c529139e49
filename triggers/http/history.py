"""What happened to a job: its tasks with their attempts, and its timeline."""

import azure.functions as func

from core.models import Attempt, TaskRecord
from core.ports import StateRepository
from triggers.http.answers import READ, answering_errors, json_answer
from triggers.http.bodies import AttemptBody, EventBody, EventList, Task, TaskList
from triggers.http.queries import job_id, only, page_size, task_cursor, whole_number


def blueprint(state: StateRepository) -> func.Blueprint:
    """The history routes over the state."""
    bp = func.Blueprint()

    @bp.route("jobs/{job_id}/tasks", methods=READ)
    @answering_errors
    def job_tasks(req: func.HttpRequest) -> func.HttpResponse:
        only(req, "after", "limit")
        after, limit = task_cursor(req), page_size(req)
        job = state.get_job(job_id(req))
        tasks = state.list_tasks(job.job_id, after, limit)
        attempts = state.attempts([task.task_id for task in tasks])
        last = tasks[-1] if len(tasks) == limit else None
        return json_answer(
            TaskList(
                tasks=[_describe_task(task, attempts) for task in tasks],
                next=f"{last.stage}-{last.task_index}" if last else None,
            )
        )

    @bp.route("jobs/{job_id}/events", methods=READ)
    @answering_errors
    def job_events(req: func.HttpRequest) -> func.HttpResponse:
        only(req, "after", "limit")
        after, limit = whole_number(req, "after", 0, 2**62), page_size(req)
        job = state.get_job(job_id(req))
        events = state.events(job.job_id, after, limit)
        return json_answer(
            EventList(
                events=[EventBody.model_validate(event.model_dump()) for event in events],
                next=events[-1].event_id if len(events) == limit else None,
            )
        )

    return bp


def _describe_task(task: TaskRecord, attempts: list[Attempt]) -> Task:
    """A task, with the attempts that came to nothing."""
    mine = [attempt for attempt in attempts if attempt.task_id == task.task_id]
    return Task(
        **task.model_dump(include=set(Task.model_fields)),
        attempts=[AttemptBody(**attempt.model_dump(exclude={"task_id"})) for attempt in mine],
    )
