"""Named steps that run as soon as their dependencies are done, each reported with its duration."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

from local.errors import LocalError


@dataclass(frozen=True)
class Step:
    """`run` returns what it did in a few words, or an empty string if there was nothing to do.

    `needs` names the steps that must succeed first.
    """

    name: str
    run: Callable[[], str]
    needs: tuple[str, ...] = ()


class StepFailed(Exception):
    """A step failed for the given reason."""

    def __init__(self, name: str, reason: LocalError) -> None:
        super().__init__(f"{name}: {reason}")
        self.reason = reason


class _Skipped(Exception):
    """The step was not run because a dependency failed."""


def print_step(console: Console, name: str, text: str, seconds: float | None = None) -> None:
    """Print one line: the name of a step, what was done, and the duration if given."""
    duration = "" if seconds is None else f"{seconds:6.1f} s"
    line = f"  {name:<12} {text:<42} {duration}".rstrip()
    console.print(line, highlight=False, markup=False, soft_wrap=True)


class Report:
    """Prints each step when it ends; on a terminal also shows the steps in progress."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._live = Progress(
            SpinnerColumn("line", finished_text=" "),
            TextColumn("{task.description}"),
            TimeElapsedColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )

    @contextmanager
    def live(self) -> Iterator[None]:
        """Show the steps in progress until the block ends."""
        with self._live:
            yield

    @contextmanager
    def step(self, name: str) -> Iterator[list[str]]:
        """Time one step. The block appends what it did to the list it gets."""
        started = time.monotonic()
        task: TaskID = self._live.add_task(name)
        done: list[str] = []
        try:
            yield done
        except LocalError:
            done.append("failed")
            raise
        finally:
            self._live.remove_task(task)
            text = " ".join(done) or "nothing to do"
            print_step(self.console, name, text, time.monotonic() - started)


def run_steps(steps: Sequence[Step], report: Report) -> None:
    """Run the steps concurrently, in dependency order.

    Waits for all of them, then raises StepFailed for the first one that failed.
    """
    futures: dict[str, Future[None]] = {}
    with report.live(), ThreadPoolExecutor(len(steps)) as pool:
        for step in steps:
            dependencies = [futures[name] for name in step.needs]
            futures[step.name] = pool.submit(_run, step, dependencies, report)
    for name, future in futures.items():
        reason = future.exception()
        if isinstance(reason, LocalError):
            raise StepFailed(name, reason) from reason
        if reason is not None and not isinstance(reason, _Skipped):
            raise reason


def _run(step: Step, dependencies: Sequence[Future[None]], report: Report) -> None:
    if any(future.exception() is not None for future in dependencies):
        raise _Skipped(step.name)
    with report.step(step.name) as done:
        if text := step.run():
            done.append(text)
