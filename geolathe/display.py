"""Jobs on a terminal: bars while they run, lines in a log, tables."""

from __future__ import annotations

import time
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TransferSpeedColumn,
)
from rich.table import Table
from rich.text import Text

from geolathe.client import Client
from geolathe.job import Job

WIDE = 1000
ID_BEGINNING = 12
STYLES = {
    "completed": "green",
    "completed_with_errors": "yellow",
    "failed": "red",
    "cancelled": "magenta",
    "processing": "cyan",
}


class Terminal(Console):
    """A console whose reader may go away: whoever prints learns of it."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


def terminal(stderr: bool = False) -> Console:
    """Where people read. What is no terminal has no width: a row stays one line there."""
    console = Terminal(stderr=stderr)
    if not console.is_terminal:
        console.width = WIDE
    return console


def follow(job: Job, console: Console) -> Job:
    """Show a job's stages until it is over: bars on a terminal, lines elsewhere."""
    return _follow_bars(job, console) if console.is_terminal else _follow_lines(job, console)


def upload(client: Client, file: Path, name: str | None, console: Console) -> dict[str, str]:
    """Send a file with a bar. Returns the parameters that name it."""
    columns = (TextColumn("  upload {task.description}"), BarColumn(), DownloadColumn())
    bar = Progress(
        *columns,
        TransferSpeedColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
    with bar:
        task = bar.add_task(file.name, total=None)
        return client.upload(
            file, name, lambda sent, total: bar.update(task, completed=sent, total=total)
        )


def _follow_bars(job: Job, console: Console) -> Job:
    columns = (TextColumn("  {task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeElapsedColumn(), console=console) as progress:
        bars: dict[int, TaskID] = {}
        for _ in job.follow():
            for stage in job.stages:
                number = stage["stage"]
                if number not in bars:
                    bars[number] = progress.add_task(stage["name"], total=None)
                total = stage["total_tasks"]
                done = stage["progress"] * total if total else 0
                progress.update(bars[number], completed=round(done, 1), total=total or None)
    return job


def _follow_lines(job: Job, console: Console) -> Job:
    told: dict[int, str] = {}
    started = time.monotonic()
    for _ in job.follow():
        for stage in job.stages:
            if stage["status"] in ("pending", told.get(stage["stage"])):
                continue
            told[stage["stage"]] = stage["status"]
            done = f"{stage['status']} ({stage['completed_tasks']}/{stage['total_tasks']})"
            after = time.monotonic() - started
            say(console, f"  {stage['name']:<20} {done:<32} {after:6.1f} s")
    return job


def outcome(job: Job) -> RenderableType:
    """What came of a job: its links, or its reason."""
    lines: list[RenderableType] = [_plain(job.reason, style=STYLES.get(job.status, ""))]
    result = job.result or {}
    if "share_url" in result:
        lines.append(_plain(f"map: {result['share_url']}"))
    elif result:
        lines += [_plain(f"{name}: {value}") for name, value in result.items()]
    for warning in (result.get("validation") or {}).get("warnings", []):
        lines.append(_plain(f"warning: {warning['code']}: {warning['message']}", style="yellow"))
    return Group(*lines)


def job_page(job: Job) -> RenderableType:
    """A job with its parameters, stages, and the tasks that failed."""
    head = Table.grid(padding=(0, 2))
    for name in ("job_id", "job_type", "created_at", "started_at", "finished_at"):
        head.add_row(name, _plain(str(job.data.get(name) or "")))
    for name, value in job.parameters.items():
        if value is not None:
            head.add_row(_plain(f"  {name}"), _plain(str(value)))
    failed = [_failed_task(task) for task in job.tasks() if task["error"]] if job.error else []
    return Group(head, "", _stages(job.stages), "", outcome(job), *failed)


def job_table(jobs: Iterable[Job]) -> Table:
    """A list of jobs. An id's beginning is enough for every command."""
    table = Table(box=None, pad_edge=False)
    for column in ("job", "type", "status", "stage", "created", "about"):
        least = ID_BEGINNING if column == "job" else None
        table.add_column(column, no_wrap=column != "about", min_width=least)
    for job in jobs:
        table.add_row(
            job.id[:ID_BEGINNING],
            _plain(job.type),
            _plain(job.status, style=STYLES.get(job.status, "")),
            f"{job.data['stage']}/{job.data['total_stages']}",
            f"{datetime.fromisoformat(job.data['created_at']).astimezone():%Y-%m-%d %H:%M:%S}",
            _plain(_about(job)),
        )
    return table


def type_table(types: Iterable[dict[str, Any]]) -> Table:
    """Job types with their parameters; those that must be given have a star."""
    table = Table(box=None, pad_edge=False)
    for column in ("type", "parameters", ""):
        table.add_column(column)
    for each in types:
        schema = each["parameters"]
        wanted = set(schema.get("required", ()))
        names = ", ".join(name + "*" * (name in wanted) for name in schema["properties"])
        table.add_row(_plain(each["job_type"]), _plain(names), _plain(each["description"]))
    return table


def say(console: Console, text: str) -> None:
    """A line as it is: no markup, no colours, no wrapping."""
    console.print(text, markup=False, highlight=False, soft_wrap=True)


def _plain(text: str, style: str = "") -> Text:
    """Text of others, without what a terminal would obey."""
    shown = (char if char.isprintable() or char == "\n" else "\ufffd" for char in text)
    return Text("".join(shown), style=style)


def _stages(stages: Iterable[dict[str, Any]]) -> Table:
    table = Table(box=None, pad_edge=False)
    for column in ("stage", "status", "tasks", "failed", "progress"):
        table.add_column(column)
    for stage in stages:
        table.add_row(
            _plain(stage["name"]),
            _plain(stage["status"], style=STYLES.get(stage["status"], "")),
            f"{stage['completed_tasks']}/{stage['total_tasks']}",
            str(stage["failed_tasks"]),
            f"{stage['progress']:.0%}",
        )
    return table


def _failed_task(task: dict[str, Any]) -> Text:
    error = task["error"]
    where = f"{task['task_type']} {task['task_index']}, attempt {task['attempt']}"
    return _plain(f"  {where}: {error['code']}: {error['message']}", style="red")


def _about(job: Job) -> str:
    if job.error:
        return f"{job.error['code']}: {job.error['message']}"
    parameters = job.parameters
    return str(parameters.get("blob_name") or parameters.get("message") or "")
