"""The history of a job: its tasks with their attempts, and its timeline."""

import azure.functions as func

from core.models import Attempt, TaskRecord
from core.ports import StateRepository
from triggers.http import bodies, parameters
from triggers.http.payloads import respond
from triggers.http.route import Reply, Routes, route


class History(Routes):
    """The history routes over the state."""

    tag = "history"

    def __init__(self, state: StateRepository) -> None:
        self.state = state

    @route(
        "GET",
        "jobs/{job_id}/tasks",
        "List the tasks of a job with their failed attempts",
        {200: Reply("A page of tasks", (bodies.TaskList,))},
        problems=(404, 422, 503),
        parameters=(
            parameters.JOB_ID,
            parameters.TASK_STATUS,
            parameters.INCLUDE_RESULTS,
            parameters.AFTER_TASK,
            parameters.LIMIT,
        ),
    )
    def list_tasks(self, req: func.HttpRequest) -> func.HttpResponse:
        after, limit = parameters.read_task_cursor(req), parameters.read_page_size(req)
        wanted = parameters.read_task_filter(req)
        job = self.state.get_job(parameters.read_job_id(req))
        tasks = self.state.list_tasks(job.job_id, after, limit, wanted)
        attempts = self.state.attempts([task.task_id for task in tasks])
        last = tasks[-1] if len(tasks) == limit else None
        return respond(
            bodies.TaskList(
                tasks=[_describe_task(task, attempts) for task in tasks],
                next=f"{last.stage}-{last.task_index}" if last else None,
            )
        )

    @route(
        "GET",
        "jobs/{job_id}/events",
        "List the events of a job, oldest first",
        {200: Reply("A page of events", (bodies.EventList,))},
        problems=(404, 422, 503),
        parameters=(parameters.JOB_ID, parameters.AFTER_EVENT, parameters.LIMIT),
    )
    def list_events(self, req: func.HttpRequest) -> func.HttpResponse:
        after = parameters.read_integer(req, "after", 0, 2**62)
        limit = parameters.read_page_size(req)
        job = self.state.get_job(parameters.read_job_id(req))
        events = self.state.events(job.job_id, after, limit)
        return respond(
            bodies.EventList(
                events=[bodies.EventBody.model_validate(event.model_dump()) for event in events],
                next=events[-1].event_id if len(events) == limit else None,
            )
        )


def _describe_task(task: TaskRecord, attempts: list[Attempt]) -> bodies.Task:
    """The task with its failed attempts."""
    own = [attempt for attempt in attempts if attempt.task_id == task.task_id]
    return bodies.Task(
        **task.model_dump(include=set(bodies.Task.model_fields)),
        attempts=[bodies.AttemptBody(**attempt.model_dump(exclude={"task_id"})) for attempt in own],
    )
