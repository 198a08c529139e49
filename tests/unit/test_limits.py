"""The limits that must fit each other: host.json, leases, the longest task, threads, processes."""

import json
import logging
import subprocess
import sys
from datetime import timedelta

import pytest

from config import find_mismatches, read_host_limits
from config.host import HOST_JSON, OVERRIDE, HostLimits
from config.settings import Settings
from core.handler import LONGEST_TASK
from local.emulators.functions.hostjson import read_host_json
from services import estimate_cogs, extract_stac_metadata
from services.outputs import cog, facts
from services.storage.fetch import SIGNATURE_LIFETIME

TRANSFERS = timedelta(hours=1)
"""For the largest source and COG, before and after the computation."""


def default(name: str) -> timedelta:
    return timedelta(seconds=Settings.model_fields[name].default)


def test_no_limit_ends_a_task_that_keeps_its_time():
    options, _ = read_host_json(HOST_JSON, {})
    limits = [each.SECONDS for each in (cog, estimate_cogs, extract_stac_metadata, facts)]
    assert max(limits) == LONGEST_TASK.total_seconds()
    assert options.function_timeout is None, "a timeout restarts the worker with all its tasks"
    renewal = options.extensions.service_bus.max_auto_lock_renewal_duration
    assert renewal >= LONGEST_TASK + TRANSFERS
    assert renewal >= SIGNATURE_LIFETIME > LONGEST_TASK + TRANSFERS


def test_leases_survive_missed_heartbeats_and_end_long_before_the_sweep_asks():
    assert default("lease_seconds") >= 10 * default("heartbeat_seconds")
    assert default("lease_seconds") < default("sweep_grace_seconds")


def test_the_host_hands_out_no_more_tasks_than_an_instance_processes():
    """Flex Consumption with 4,096 MB has two processors, and memory for three processes."""
    limits = read_host_limits(environment={})
    assert limits.max_concurrent_calls == 2
    assert find_mismatches(limits, 16, 2) == []


def test_the_limits_are_those_that_the_host_reads(tmp_path):
    assert read_host_limits(environment={OVERRIDE: "5"}).max_concurrent_calls == 5
    options, _ = read_host_json(HOST_JSON, {OVERRIDE: "5"})
    assert options.extensions.service_bus.max_concurrent_calls == 5


@pytest.mark.parametrize(
    ("calls", "threads", "processes", "named"),
    [
        (2, 8, 2, []),
        (2, 7, 2, ["PYTHON_THREADPOOL_THREAD_COUNT is 7"]),
        (8, None, 8, ["PYTHON_THREADPOOL_THREAD_COUNT is not set, which gives 5 threads"]),
        (2, 16, 1, ["maxConcurrentCalls is 2"]),
        (4, 4, 1, ["PYTHON_THREADPOOL_THREAD_COUNT is 4", "maxConcurrentCalls is 4"]),
    ],
)
def test_limits_that_do_not_fit_are_named(monkeypatch, calls, threads, processes, named):
    monkeypatch.setattr("os.cpu_count", lambda: 1)
    found = find_mismatches(HostLimits(max_concurrent_calls=calls), threads, processes)
    assert len(found) == len(named)
    assert all(text.startswith(start) for text, start in zip(found, named, strict=True))


def test_the_app_warns_at_its_start():
    """The composition root on its own: nothing connects at import."""
    settings = {
        "DATABASE_URL": "postgresql://u:p@127.0.0.1:1/db",
        "SERVICEBUS_CONNECTION": "Endpoint=sb://x;SharedAccessKeyName=k;SharedAccessKey=a2V5",
        "STORAGE_CONNECTION": "https://account.blob.core.windows.net",
        "TITILER_URL": "https://tiles.example.org",
        "STAC_URL": "https://stac.example.org",
        "RASTER_PROCESSES": "1",
        "PYTHON_THREADPOOL_THREAD_COUNT": "5",
        "PATH": "/usr/bin",
    }
    ended = subprocess.run(
        [sys.executable, "-c", "import function_app; function_app.pool.close()"],
        env=settings, cwd=HOST_JSON.parent, capture_output=True, text=True, timeout=120,
        check=True,
    )  # fmt: skip
    assert "PYTHON_THREADPOOL_THREAD_COUNT is 5" in ended.stderr
    assert "processes 1 rasters at once" in ended.stderr


def test_host_json_is_the_file_that_is_deployed():
    assert HOST_JSON.name == "host.json" and json.loads(HOST_JSON.read_text())["version"] == "2.0"
    assert logging.getLogger("geolathe").propagate
