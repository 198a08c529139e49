"""Timers: the sweep."""

from datetime import timedelta

import azure.functions as func

from core.machine import CoreMachine


def blueprint(machine: CoreMachine, limit: int, grace: timedelta) -> func.Blueprint:
    """The timer functions over a machine."""
    bp = func.Blueprint()

    @bp.timer_trigger("timer", "%SWEEP_SCHEDULE%")
    def sweep(timer: func.TimerRequest) -> None:
        machine.sweep(limit, grace)

    return bp
