"""The injectors: each breaks one thing of a world, for as long as the fault lasts."""

import signal
import threading
import time
from collections.abc import Callable

from tests.faults.plan import RASTERS, Fault, Submission
from tests.faults.weather import CALM, Weather
from tests.faults.workload import Users
from tests.faults.world import World

WEATHERS = {
    "messages lost": Weather(lose=0.4),
    "messages doubled": Weather(twice=1.0),
    "messages delayed and reordered": Weather(delay=0.6),
    "deliveries lost": Weather(lose_delivery=0.3),
    "messages garbled": Weather(garble=0.5),
}

SIGNALS = {
    "host killed": signal.SIGKILL,
    "host frozen": signal.SIGSTOP,
    "host told to stop": signal.SIGTERM,
}
PATIENCE = 20.0


def inject(world: World, users: Users, fault: Fault) -> None:
    """Break what the fault names; what lasts is mended later by a timer."""
    host = world.hosts[fault.host % len(world.hosts)]
    if fault.kind.startswith("job cancelled under"):
        _cancel_under_a_frozen_worker(world, users, fault)
    elif fault.arm is not None:
        host.arm(fault.arm)
    elif fault.kind in SIGNALS:
        host.send(SIGNALS[fault.kind])
    elif fault.kind in WEATHERS:
        _turn_the_weather(world, users, fault)
    else:
        _BREAKS[fault.kind](world, fault)


def _turn_the_weather(world: World, users: Users, fault: Fault) -> None:
    """It lasts from when it has struck; a job is submitted for it to strike."""
    weather = WEATHERS[fault.kind]
    world.climate.change(weather)
    users.submit(_extra(fault, "hello_world"), world.climate.seed)
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until and not world.climate.has_struck:
        time.sleep(0.01)
    _later(fault.lasts, lambda: _clear_up(world, weather))


def _clear_up(world: World, weather: Weather) -> None:
    if world.climate.now == weather:
        world.climate.now = CALM


def _extra(fault: Fault, job_type: str) -> Submission:
    """A job beside those of the plan."""
    number = 10**5 + int(fault.at * 10)
    return Submission(fault.at, number, job_type, 1, RASTERS[0], "nothing", 0)


def _cancel_under_a_frozen_worker(world: World, users: Users, fault: Fault) -> None:
    """The worker stands still just before it shows its work, and goes on long after the cancel."""
    assert fault.arm is not None
    for host in world.hosts:
        host.arm(fault.arm)
    job = users.submit(_extra(fault, "process_raster"), world.climate.seed)
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until and all(host.point_file.exists() for host in world.hosts):
        time.sleep(0.01)
    for host in world.hosts:
        host.disarm_unless_struck()
    users.cancel(job)


def _cut_connections(world: World, fault: Fault) -> None:
    """Again and again, those in the middle of something."""
    until = time.monotonic() + fault.lasts
    with world.database() as connection:
        while time.monotonic() < until:
            connection.execute(
                """SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                    WHERE application_name = 'geolathe' AND (state <> 'idle' OR random() < 0.05)"""
            )
            time.sleep(0.02)


def _cancel_statements(world: World, fault: Fault) -> None:
    """As a statement_timeout does, again and again."""
    until = time.monotonic() + fault.lasts
    with world.database() as connection:
        while time.monotonic() < until:
            connection.execute(
                """SELECT pg_cancel_backend(pid) FROM pg_stat_activity
                    WHERE application_name = 'geolathe' AND state <> 'idle'"""
            )
            time.sleep(0.01)


def _forbid_writes(world: World, fault: Fault) -> None:
    """As in a failover, or when the database's disk is full."""
    world.forbid_writes(True)
    _later(fault.lasts, lambda: world.forbid_writes(False))


def _lose_locks(world: World, fault: Fault) -> None:
    until = time.monotonic() + fault.lasts
    while time.monotonic() < until:
        world.lose_locks()
        time.sleep(0.3)


def _restart_broker(world: World, fault: Fault) -> None:
    world.restart_broker_empty()


def _kill_database(world: World, fault: Fault) -> None:
    world.kill_database()


def _stop_storage(world: World, fault: Fault) -> None:
    world.azurite.stop()
    _later(fault.lasts, world.azurite.start)


def _fill_disk(world: World, fault: Fault) -> None:
    world.full_disk.touch()
    _later(fault.lasts, lambda: world.full_disk.unlink(missing_ok=True))


_BREAKS: dict[str, Callable[[World, Fault], None]] = {
    "connections cut": _cut_connections,
    "statements cancelled": _cancel_statements,
    "database read-only": _forbid_writes,
    "message locks lost": _lose_locks,
    "broker restarted empty": _restart_broker,
    "database killed": _kill_database,
    "storage down": _stop_storage,
    "scratch disk full": _fill_disk,
}


def _later(seconds: float, mend: Callable[[], object]) -> None:
    timer = threading.Timer(seconds, mend)
    timer.daemon = True
    timer.start()
