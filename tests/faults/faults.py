"""The injectors: each breaks one part of a system for the duration of its fault."""

import signal
import threading
import time
from collections.abc import Callable

from tests.faults.folder import delete_tile, put_tile
from tests.faults.message_faults import NO_FAULTS, FaultRates
from tests.faults.plan import COLLECTION_JOBS, COLLECTIONS, PATTERNS, RASTERS, Fault, Submission
from tests.faults.rasters import TILES, VERSIONS
from tests.faults.system import System
from tests.faults.workload import Users

RATES = {
    "messages lost": FaultRates(lose=0.4),
    "messages doubled": FaultRates(twice=1.0),
    "messages delayed and reordered": FaultRates(delay=0.6),
    "deliveries lost": FaultRates(lose_delivery=0.3),
    "messages garbled": FaultRates(garble=0.5),
}

SIGNALS = {
    "host killed": signal.SIGKILL,
    "host frozen": signal.SIGSTOP,
    "host stopped": signal.SIGTERM,
}
TIMEOUT = 20.0


def inject(system: System, users: Users, fault: Fault) -> None:
    """Inject a fault; a timer ends one with a duration."""
    host = system.hosts[fault.host % len(system.hosts)]
    if "cancelled under" in fault.kind:
        _cancel_under_a_frozen_worker(system, users, fault)
    elif fault.arm is not None:
        host.arm(fault.arm)
        if fault.kind.endswith("collection job"):
            users.submit(_extra(fault, "process_raster_collection"), system.message_faults.seed)
    elif fault.kind in SIGNALS:
        host.send(SIGNALS[fault.kind])
    elif fault.kind in RATES:
        _disturb_messages(system, users, fault)
    else:
        _BREAKS[fault.kind](system, fault)


def _disturb_messages(system: System, users: Users, fault: Fault) -> None:
    """Disturb messages, for a time that starts when the first one was affected."""
    rates = RATES[fault.kind]
    system.message_faults.change(rates)
    users.submit(_extra(fault, "hello_world"), system.message_faults.seed)
    until = time.monotonic() + TIMEOUT
    while time.monotonic() < until and not system.message_faults.has_struck:
        time.sleep(0.01)
    _later(fault.lasts, lambda: _stop_disturbing(system, rates))


def _stop_disturbing(system: System, rates: FaultRates) -> None:
    if system.message_faults.now == rates:
        system.message_faults.now = NO_FAULTS


def _extra(fault: Fault, job_type: str) -> Submission:
    """A job that is not in the plan."""
    number = 10**5 + int(fault.at * 10)
    raster = PATTERNS[0] if job_type in COLLECTION_JOBS else RASTERS[0]
    collection = number % COLLECTIONS
    return Submission(fault.at, number, job_type, 1, raster, "nothing", 0, collection)


def _cancel_under_a_frozen_worker(system: System, users: Users, fault: Fault) -> None:
    """Freeze the worker just before it publishes, and resume it long after the cancel."""
    assert fault.arm is not None
    is_collection = fault.kind.startswith("collection")
    job_type = "process_raster_collection" if is_collection else "process_raster"
    for host in system.hosts:
        host.arm(fault.arm)
    job = users.submit(_extra(fault, job_type), system.message_faults.seed)
    until = time.monotonic() + TIMEOUT
    while time.monotonic() < until and all(host.point_file.exists() for host in system.hosts):
        time.sleep(0.01)
    for host in system.hosts:
        host.disarm_unless_struck()
    users.cancel(job)


def _cut_connections(system: System, fault: Fault) -> None:
    """Repeatedly cut connections that are in use."""
    until = time.monotonic() + fault.lasts
    with system.database() as connection:
        while time.monotonic() < until:
            connection.execute(
                """SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                    WHERE application_name = 'geolathe' AND (state <> 'idle' OR random() < 0.05)"""
            )
            time.sleep(0.02)


def _cancel_statements(system: System, fault: Fault) -> None:
    """Repeatedly cancel statements, as statement_timeout does."""
    until = time.monotonic() + fault.lasts
    with system.database() as connection:
        while time.monotonic() < until:
            connection.execute(
                """SELECT pg_cancel_backend(pid) FROM pg_stat_activity
                    WHERE application_name = 'geolathe' AND state <> 'idle'"""
            )
            time.sleep(0.01)


def _forbid_writes(system: System, fault: Fault) -> None:
    """Make the database read-only, as in a failover or with a full disk."""
    system.forbid_writes(True)
    _later(fault.lasts, lambda: system.forbid_writes(False))


def _lose_locks(system: System, fault: Fault) -> None:
    until = time.monotonic() + fault.lasts
    while time.monotonic() < until:
        system.lose_locks()
        time.sleep(0.3)


def _restart_broker(system: System, fault: Fault) -> None:
    system.restart_broker_empty()


def _kill_database(system: System, fault: Fault) -> None:
    system.kill_database()


def _stop_storage(system: System, fault: Fault) -> None:
    system.azurite.stop()
    _later(fault.lasts, system.azurite.start)


def _fill_disk(system: System, fault: Fault) -> None:
    system.full_disk.touch()
    _later(fault.lasts, lambda: system.full_disk.unlink(missing_ok=True))


def _replace_member(system: System, fault: Fault) -> None:
    """Upload another version of a member. Nothing is broken by it."""
    turn = int(fault.at * 10)
    put_tile(system, turn % TILES, turn // TILES % VERSIONS)


def _delete_member(system: System, fault: Fault) -> None:
    """Delete a member; jobs with `sync` remove its item. Then put it back."""
    turn = int(fault.at * 10)
    delete_tile(system, turn % TILES)
    _later(fault.lasts, lambda: put_tile(system, turn % TILES, turn // TILES % VERSIONS))


_BREAKS: dict[str, Callable[[System, Fault], None]] = {
    "connections cut": _cut_connections,
    "statements cancelled": _cancel_statements,
    "database read-only": _forbid_writes,
    "message locks lost": _lose_locks,
    "broker restarted empty": _restart_broker,
    "database killed": _kill_database,
    "storage down": _stop_storage,
    "scratch disk full": _fill_disk,
    "member replaced": _replace_member,
    "member deleted for a while": _delete_member,
}


def _later(seconds: float, repair: Callable[[], object]) -> None:
    timer = threading.Timer(seconds, repair)
    timer.daemon = True
    timer.start()
