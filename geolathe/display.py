"""Output of the command: progress bars on a terminal, lines in a log, tables."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
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

PIPE_WIDTH = 1000
ID_PREFIX = 12
STYLES = {
    "completed": "green",
    "completed_with_errors": "yellow",
    "failed": "red",
    "cancelled": "magenta",
    "processing": "cyan",
}


class Terminal(Console):
    """A console that raises BrokenPipeError when its reader has closed the pipe."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


def open_console(stderr: bool = False) -> Console:
    """A console on stdout or stderr. In a pipe or file, lines are not wrapped."""
    console = Terminal(stderr=stderr)
    if not console.is_terminal:
        console.width = PIPE_WIDTH
    return console


def follow(job: Job, console: Console) -> Job:
    """Show a job's stages until it has ended: bars on a terminal, lines elsewhere."""
    return _follow_bars(job, console) if console.is_terminal else _follow_lines(job, console)


def upload(client: Client, file: Path, name: str | None, console: Console) -> dict[str, str]:
    """Upload a file with a progress bar. Returns the job parameters that name the blob."""
    with _transfer_bar(f"upload {file.name}", console) as advance:
        return client.upload(file, name, advance)


def download(
    client: Client,
    item_id: str,
    tier: str | None,
    collection: str,
    target: Path | None,
    console: Console,
) -> Path:
    """Download a COG of an item with a progress bar. Returns the path of the file."""
    with _transfer_bar(f"download {item_id}", console) as advance:
        return client.get(item_id, tier, collection=collection, target=target, progress=advance)


@contextmanager
def _transfer_bar(description: str, console: Console) -> Iterator[Callable[[int, int], None]]:
    """A bar that the yielded function moves to the transferred and total number of bytes."""
    columns = (TextColumn("  {task.description}"), BarColumn(), DownloadColumn())
    bar = Progress(
        *columns,
        TransferSpeedColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
    with bar:
        task = bar.add_task(description, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


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
    shown: dict[int, str] = {}
    started = time.monotonic()
    for _ in job.follow():
        for stage in job.stages:
            if stage["status"] in ("pending", shown.get(stage["stage"])):
                continue
            shown[stage["stage"]] = stage["status"]
            done = f"{stage['status']} ({stage['completed_tasks']}/{stage['total_tasks']})"
            after = time.monotonic() - started
            print_line(console, f"  {stage['name']:<20} {done:<32} {after:6.1f} s")
    return job


def render_outcome(job: Job) -> RenderableType:
    """The status of a job, with its result or error and its warnings."""
    lines: list[RenderableType] = [_plain(job.reason, style=STYLES.get(job.status, ""))]
    result = job.result or {}
    maps = [each.get("share_url") for each in result.get("collections", [result])]
    if any(maps):
        lines += [_plain(f"map: {url}") for url in maps if url]
    elif result:
        lines += [_plain(f"{name}: {value}") for name, value in result.items()]
    for warning in (result.get("validation") or {}).get("warnings", []):
        lines.append(_plain(f"warning: {warning['code']}: {warning['message']}", style="yellow"))
    return Group(*lines)


def render_job(job: Job) -> RenderableType:
    """A job with its parameters, stages and failed tasks."""
    head = Table.grid(padding=(0, 2))
    for name in ("job_id", "job_type", "created_at", "started_at", "finished_at"):
        head.add_row(name, _plain(str(job.data.get(name) or "")))
    for name, value in job.parameters.items():
        if value is not None:
            head.add_row(_plain(f"  {name}"), _plain(str(value)))
    failed = (
        [_render_failed_task(task) for task in job.tasks() if task["error"]] if job.error else []
    )
    return Group(head, "", _render_stages(job.stages), "", render_outcome(job), *failed)


def render_jobs(jobs: Iterable[Job]) -> Table:
    """A list of jobs. Every command accepts the beginning of a job id."""
    table = Table(box=None, pad_edge=False)
    for column in ("job", "type", "status", "stage", "created", "about"):
        min_width = ID_PREFIX if column == "job" else None
        table.add_column(column, no_wrap=column != "about", min_width=min_width)
    for job in jobs:
        table.add_row(
            job.id[:ID_PREFIX],
            _plain(job.type),
            _plain(job.status, style=STYLES.get(job.status, "")),
            f"{job.data['stage']}/{job.data['total_stages']}",
            f"{datetime.fromisoformat(job.data['created_at']).astimezone():%Y-%m-%d %H:%M:%S}",
            _plain(_summarize(job)),
        )
    return table


def render_types(types: Iterable[dict[str, Any]]) -> Table:
    """Job types with their parameters; an asterisk marks the required ones."""
    table = Table(box=None, pad_edge=False)
    for column in ("type", "parameters", ""):
        table.add_column(column)
    for each in types:
        schema = each["parameters"]
        required = set(schema.get("required", ()))
        names = ", ".join(name + "*" * (name in required) for name in schema["properties"])
        table.add_row(_plain(each["job_type"]), _plain(names), _plain(each["description"]))
    return table


def print_line(console: Console, text: str) -> None:
    """Print a line unchanged: without markup, colours or wrapping."""
    console.print(text, markup=False, highlight=False, soft_wrap=True)


def _plain(text: str, style: str = "") -> Text:
    """Text from outside, with control characters replaced."""
    shown = (char if char.isprintable() or char == "\n" else "\ufffd" for char in text)
    return Text("".join(shown), style=style)


def _render_stages(stages: Iterable[dict[str, Any]]) -> Table:
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


def _render_failed_task(task: dict[str, Any]) -> Text:
    error = task["error"]
    name = f"{task['task_type']} {task['task_index']}, attempt {task['attempt']}"
    return _plain(f"  {name}: {error['code']}: {error['message']}", style="red")


def _summarize(job: Job) -> str:
    """What the list says about a job: its error, or its most telling parameter."""
    if job.error:
        return f"{job.error['code']}: {job.error['message']}"
    parameters = job.parameters
    return str(parameters.get("blob_name") or parameters.get("message") or "")
