"""Functions in a child process: results, failures and termination."""

import os
import signal
import socket
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from core.errors import TaskFailed, TaskLost
from services.sandbox import child, landlock
from services.sandbox.child import ChildError, ChildKilled
from services.sandbox.exchange import open_exchange, read_at, write_at
from services.sandbox.processors import count_processors
from tests.fixtures import child_functions
from tests.fixtures.child_functions import Order, Reply

CLOSED = (
    "/proc/self/environ", "/proc/self/maps", "/proc/cpuinfo", "/etc/hosts", "/etc/passwd",
    "/etc/resolv.conf", f"/proc/{os.getpid()}/environ",
)  # fmt: skip
MB = 2**20
ROOT = Path(__file__).parents[2]


def run(function: str, report=lambda fraction, message: None, **limits: Any) -> Reply:
    order = Order(text=limits.pop("text", ""), number=limits.pop("number", 0))
    bounds = {"folder": None, "memory_bytes": 512 * MB, "seconds": 60.0} | limits
    load = getattr(child_functions, f"load_{function}")
    return child.run(load, order, Reply, report, **bounds)


def test_the_parent_receives_result_and_progress():
    steps: list[tuple[float, str]] = []
    reply = run("echo", lambda *step: steps.append(step), text="Grüße")
    assert reply.text == "Grüße"
    assert reply.pid != os.getpid()
    assert (0.0, "") in steps


def test_both_sides_write_to_and_read_from_the_exchange_file():
    with open_exchange() as exchange:
        write_at(exchange, 5, b"question")
        assert run("exchange", exchange=exchange, text="answer").text == "question"
        assert read_at(exchange, 13, 6) == b"answer"


def test_a_child_cannot_make_the_exchange_file_larger():
    with open_exchange() as exchange:
        assert run("overfill", exchange=exchange).text == "PermissionError"


def test_a_child_without_an_exchange_file_says_so():
    with pytest.raises(ChildError, match="without an exchange file"):
        run("exchange")


def test_every_task_has_a_process_of_its_own_at_the_same_time():
    with ThreadPoolExecutor(8) as pool:
        replies = list(pool.map(lambda n: run("echo", text=str(n)), range(24)))
    assert [reply.text for reply in replies] == [str(n) for n in range(24)]
    assert len({reply.pid for reply in replies}) == 24


def test_the_child_starts_with_preloaded_modules():
    wanted = "services.raster.cog services.raster.facts services.stac.describe"
    assert run("loaded", text=f"{wanted} json.tool").text == wanted


def test_the_child_starts_with_built_validators():
    count, *unprepared = run("unprepared").text.split()
    assert int(count) > 50 and unprepared == []


def test_child_has_no_credentials(monkeypatch):
    monkeypatch.setenv("AzureWebJobsStorage", "AccountKey=secret")
    child._SERVER.stop()
    names = run("environment").text
    assert "AzureWebJobsStorage" not in names
    assert "PATH" in names


@pytest.mark.skipif(not landlock.version(), reason="this kernel has no Landlock")
@pytest.mark.parametrize("write", [0, 1])
def test_the_child_can_open_only_its_own_folder(tmp_path, write):
    own, others = tmp_path / "own", tmp_path / "others"
    for folder in (own, others):
        folder.mkdir()
        (folder / "file").write_text("here")
    assert run("open_file", text=str(own / "file"), number=write, folder=own).text
    for outside in (others / "file", ROOT / "README.md", *CLOSED):
        with pytest.raises(ChildError, match="Permission denied"):
            run("open_file", text=str(outside), number=write, folder=own)
    assert (others / "file").read_text() == "here"


@pytest.mark.skipif(not landlock.version(), reason="this kernel has no Landlock")
def test_program_can_be_read_but_not_written(tmp_path):
    module = Path(child_functions.__file__)
    before = module.read_text()
    service = ROOT / "services" / "__init__.py"
    assert run("open_file", text=str(service), folder=tmp_path).text == service.read_text()
    with pytest.raises(ChildError, match="Permission denied"):
        run("open_file", text=str(service), number=1, folder=tmp_path)
    assert module.read_text() == before


@pytest.mark.skipif(landlock.version() < 4, reason="this kernel does not restrict TCP")
def test_only_a_task_with_network_can_connect(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(ChildError, match="Permission denied"):
            run("connect", number=port, folder=tmp_path)
        assert run("connect", number=port, folder=tmp_path, network=True).text == "connected"


def test_short_work_does_not_wait_for_long_work():
    """Long calls occupy every processor until the short one has ended."""
    processors = count_processors()
    started, done = threading.Semaphore(0), threading.Event()

    def report(_: float, message: str) -> None:
        if message and message != "waiting for a processor":
            started.release()
        if done.is_set():
            raise TaskLost("seen enough")

    def hang(_: int) -> None:
        with pytest.raises(TaskLost):
            run("hang", report)

    with ThreadPoolExecutor(processors) as pool:
        hanging = [pool.submit(hang, number) for number in range(processors)]
        for _ in hanging:
            started.acquire()
        try:
            assert run("echo", text="short", length="short").text == "short"
        finally:
            done.set()
        for each in hanging:
            each.result()


def test_task_failed_reaches_the_parent_unchanged():
    with pytest.raises(TaskFailed, match="no CRS here") as refused:
        run("refuse", text="no CRS here")
    assert refused.value.code == "CRS_MISSING"


def test_a_transient_error_is_not_a_task_failure():
    with pytest.raises(ConnectionError, match="storage is away"):
        run("stumble", text="storage is away")


def test_other_errors_include_their_message():
    with pytest.raises(ChildError, match="ZeroDivisionError: oops") as broken:
        run("break_down", text="oops")
    assert "break_down" in broken.value.__notes__[0]


@pytest.mark.parametrize(
    ("number", "code"),
    [
        (signal.SIGSEGV, "GDAL_CRASHED"),
        (signal.SIGABRT, "GDAL_CRASHED"),
    ],
)
def test_a_signal_is_reported_as_a_crash(number, code):
    with pytest.raises(TaskFailed) as dead:
        run("die", number=int(number))
    assert dead.value.code == code
    assert run("echo", text="the next one works").text == "the next one works"


def test_a_killed_child_is_a_transient_failure():
    """Memory pressure from outside is transient; if every attempt is killed, this is the code."""
    with pytest.raises(ChildKilled) as killed:
        run("die", number=int(signal.SIGKILL))
    assert killed.value.code == "RASTER_OUT_OF_MEMORY"


def test_no_more_processes_run_than_there_are_processors():
    processors = count_processors()
    running: set[str] = set()
    most, waited = [0], threading.Event()

    def hold(number: int) -> None:
        def report(_: float, message: str) -> None:
            if message == "waiting for a processor":
                waited.set()
            elif message:
                running.add(message)
                most[0] = max(most[0], len(running))
                if waited.is_set() and most[0] >= processors:
                    raise TaskLost("seen enough")

        with pytest.raises(TaskLost):
            run("hang", report)
        running.clear()

    with ThreadPoolExecutor(processors + 1) as pool:
        list(pool.map(hold, range(processors + 1)))
    assert most[0] == processors


def test_deadline_ends_a_hang():
    pids: list[str] = []
    with pytest.raises(TaskFailed) as late:
        run("hang", lambda _, message: pids.append(message), seconds=1.0)
    assert late.value.code == "RASTER_TIMEOUT"
    assert not _alive(pids[-1])


@pytest.mark.parametrize(("function", "number"), [("grow", 0), ("gulp", 3_000 * MB)])
def test_memory_is_capped(function, number):
    with pytest.raises(TaskFailed) as heavy:
        run(function, number=number, memory_bytes=200 * MB)
    assert heavy.value.code == "RASTER_OUT_OF_MEMORY"


def test_lost_task_ends_its_child():
    pids: list[str] = []

    def report(fraction: float, message: str) -> None:
        if message:
            pids.append(message)
            raise TaskLost("cancelled")

    with pytest.raises(TaskLost):
        run("hang", report)
    assert not _alive(pids[0])


def test_the_child_ends_with_the_server():
    pids: list[str] = []

    def report(fraction: float, message: str) -> None:
        if message and not pids:
            pids.append(message)
            child._SERVER._process.kill()

    with pytest.raises(ChildError):
        run("hang", report)
    assert not _alive(pids[0])
    assert run("echo", text="a new server").text == "a new server"


def _alive(pid: str) -> bool:
    """Whether the process is running; a zombie is not."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii")
    except (FileNotFoundError, ProcessLookupError):  # ended before, or while it is read
        return False
    return stat.rsplit(")", 1)[1].split()[0] not in "ZX"


def test_an_embedded_interpreter_is_not_started(monkeypatch):
    """There sys.executable is the program that embeds Python, or empty."""
    for executable in ("/opt/host/FunctionsNetHost", ""):
        monkeypatch.setattr(sys, "executable", executable)
        program = child.find_python()
        version = subprocess.run([program, "-V"], capture_output=True, text=True, check=True)
        assert version.stdout == f"Python {sys.version.split()[0]}\n"
    monkeypatch.setattr(sys, "prefix", "/nowhere")
    monkeypatch.setattr(sys, "base_prefix", "/nowhere")
    with pytest.raises(ChildError, match="/nowhere/bin"):
        child.find_python()
