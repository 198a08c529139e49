"""Timers: the sweep, and the purge of old jobs."""

from datetime import timedelta

import azure.functions as func

from core.machine import CoreMachine


def blueprint(
    machine: CoreMachine, limit: int, grace: timedelta, retention: timedelta | None
) -> func.Blueprint:
    """The timer functions over a machine. Without a retention nothing is purged."""
    bp = func.Blueprint()

    @bp.timer_trigger("timer", "%SWEEP_SCHEDULE%")
    def sweep(timer: func.TimerRequest) -> None:
        machine.sweep(limit, grace)
        if retention is not None:
            machine.purge(retention, limit)

    return bp
