"""Named steps, each run as soon as what it needs is done, each told with the time it took."""

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
    """`run` returns what it did in a few words, or nothing when there was nothing to do."""

    name: str
    run: Callable[[], str]
    needs: tuple[str, ...] = ()


class StepFailed(Exception):
    """A step failed; its cause is the reason."""

    def __init__(self, name: str, reason: LocalError) -> None:
        super().__init__(f"{name}: {reason}")
        self.reason = reason


class _Skipped(Exception):
    """Something this step needs has failed."""


def tell(console: Console, name: str, done: str, seconds: float | None = None) -> None:
    """One line of what was done, under its name, with the time it took."""
    took = "" if seconds is None else f"{seconds:6.1f} s"
    line = f"  {name:<12} {done:<42} {took}".rstrip()
    console.print(line, highlight=False, markup=False, soft_wrap=True)


class Report:
    """Tells how steps go: live on a terminal, line by line elsewhere."""

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
        """Show what is under way until the block ends."""
        with self._live:
            yield

    @contextmanager
    def step(self, name: str) -> Iterator[list[str]]:
        """Time one step; the block appends what it did."""
        started = time.monotonic()
        shown: TaskID = self._live.add_task(name)
        did: list[str] = []
        try:
            yield did
        except LocalError:
            did.append("failed")
            raise
        finally:
            self._live.remove_task(shown)
            done = " ".join(did) or "nothing to do"
            tell(self.console, name, done, time.monotonic() - started)


def run_steps(steps: Sequence[Step], report: Report) -> None:
    """Run steps side by side. Raises StepFailed for the first that fails, after all have ended."""
    futures: dict[str, Future[None]] = {}
    with report.live(), ThreadPoolExecutor(len(steps)) as pool:
        for step in steps:
            needed = [futures[name] for name in step.needs]
            futures[step.name] = pool.submit(_run, step, needed, report)
    for name, future in futures.items():
        reason = future.exception()
        if isinstance(reason, LocalError):
            raise StepFailed(name, reason) from reason
        if reason is not None and not isinstance(reason, _Skipped):
            raise reason


def _run(step: Step, needed: Sequence[Future[None]], report: Report) -> None:
    if any(future.exception() is not None for future in needed):
        raise _Skipped(step.name)
    with report.step(step.name) as did:
        if told := step.run():
            did.append(told)
