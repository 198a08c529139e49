"""Timer triggers: one call at a time, on an NCRONTAB schedule in UTC.

Azure stores the time of the last run and makes up for a missed one. This host does not: runs that
are due while it is stopped are skipped.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from datetime import UTC, datetime

from local.emulators.functions.appsettings import resolve
from local.emulators.functions.calls import CallFailed, Calls
from local.emulators.functions.indexing import Function
from local.emulators.functions.invoke import Datum
from local.emulators.functions.ncrontab import Schedule
from local.errors import LocalError

_LONGEST_SLEEP = 60.0  # seconds, because the system clock may be changed


@dataclass(frozen=True)
class TimerTrigger:
    """A function with its schedule."""

    function: Function
    expression: str
    schedule: Schedule
    run_on_startup: bool


def timer_trigger(function: Function) -> TimerTrigger:
    """Read a trigger. Raises LocalError for an invalid schedule."""
    expression = resolve(str(function.trigger["schedule"]), function.name)
    try:
        schedule = Schedule.parse(expression)
        schedule.next_after(datetime.now(UTC))
    except ValueError as error:
        raise LocalError(f"{function.name}: schedule {expression!r}: {error}") from None
    return TimerTrigger(function, expression, schedule, bool(function.trigger.get("runOnStartup")))


class Timer:
    """Calls one function on its schedule."""

    def __init__(self, trigger: TimerTrigger, calls: Calls) -> None:
        self._trigger = trigger
        self._calls = calls
        self._task: asyncio.Task[None] | None = None
        self._stopping = False
        self._is_waiting = False

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name=self._trigger.function.name)

    async def stop(self, grace: float) -> None:
        """Stop the schedule. Wait for a running call for up to `grace` seconds."""
        self._stopping = True
        if self._task is None:
            return
        if self._is_waiting:
            self._task.cancel()
        await asyncio.wait({self._task}, timeout=grace)
        self._task.cancel()
        await asyncio.wait({self._task})

    async def _run(self) -> None:
        if self._trigger.run_on_startup:
            await self._call(datetime.now(UTC))
        while not self._stopping:
            due = self._trigger.schedule.next_after(datetime.now(UTC))
            await self._sleep_until(due)
            await self._call(due)

    async def _sleep_until(self, due: datetime) -> None:
        self._is_waiting = True
        while (pause := (due - datetime.now(UTC)).total_seconds()) > 0:
            await asyncio.sleep(min(pause, _LONGEST_SLEEP))
        self._is_waiting = False

    async def _call(self, due: datetime) -> None:
        data = timer_datum(due, self._trigger.schedule.next_after(due))
        try:
            await self._calls.run(self._trigger.function.name, data, {}, f"due {due:%H:%M:%S}")
        except CallFailed:
            return


def timer_datum(due: datetime | None = None, following: datetime | None = None) -> Datum:
    """The input of a timer function."""
    last = due or datetime.now(UTC)
    status = {
        "Last": last.isoformat(),
        "Next": (following or last).isoformat(),
        "LastUpdated": last.isoformat(),
    }
    facts = {"Schedule": {"AdjustForDST": True}, "ScheduleStatus": status, "IsPastDue": False}
    return Datum(json.dumps(facts), "json")
