"""Timers: the sweep, the purge of old jobs, and the removal of superseded outputs."""

from datetime import timedelta

import azure.functions as func

from core.machine import CoreMachine


def blueprint(
    machine: CoreMachine,
    limit: int,
    grace: timedelta,
    retention: timedelta | None,
    output_grace: timedelta,
) -> func.Blueprint:
    """The timer functions over a machine. Without a retention nothing is purged."""
    bp = func.Blueprint()

    @bp.timer_trigger("timer", "%SWEEP_SCHEDULE%")
    def sweep(timer: func.TimerRequest) -> None:
        machine.sweep(limit, grace)
        if retention is not None:
            machine.purge(retention, limit)

    @bp.timer_trigger("timer", "%SWEEP_SCHEDULE%")
    def clean_outputs(timer: func.TimerRequest) -> None:
        machine.clean_outputs(output_grace, limit)

    return bp
