"""Processes are identified by pid and start time, and ended with their children."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from local import process
from local.errors import LocalError


@pytest.fixture
def log(tmp_path):
    return tmp_path / "out.log"


def spawn(code, log, tmp_path):
    return process.spawn([sys.executable, "-c", code], log, env=os.environ, cwd=tmp_path)


def wait_for_line(log):
    deadline = time.monotonic() + 30
    while "\n" not in log.read_text():
        assert time.monotonic() < deadline, "the child has no output"
    return log.read_text().splitlines()[-1]


def test_spawned_process_is_alive_until_stopped(log, tmp_path):
    identity = spawn("import time; time.sleep(600)", log, tmp_path)
    assert process.is_alive(identity)
    process.stop(identity)
    assert not process.is_alive(identity)
    assert process.identify(identity.pid) is None


def test_a_pid_with_another_start_time_is_another_process(log, tmp_path):
    identity = spawn("import time; time.sleep(600)", log, tmp_path)
    impostor = replace(identity, started=identity.started + 1)
    assert not process.is_alive(impostor)
    process.stop(impostor)
    assert process.is_alive(identity), "another process with the pid must not be killed"
    process.stop(identity)


def test_a_pid_from_before_a_reboot_is_another_process(log, tmp_path):
    identity = spawn("import time; time.sleep(600)", log, tmp_path)
    assert not process.is_alive(replace(identity, boot="an earlier one"))
    process.stop(identity)


def test_stop_kills_a_process_that_ignores_signals_and_its_children(log, tmp_path):
    code = (
        "import signal, subprocess, sys, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        "print(child.pid, flush=True)\n"
        "time.sleep(600)\n"
    )
    parent = spawn(code, log, tmp_path)
    child = process.identify(int(wait_for_line(log)))
    assert child is not None
    process.stop(parent, grace=0.1)
    assert process.wait_for_exit(child, 5)
    assert not process.is_alive(parent)


def test_stop_ends_children_of_a_leader_that_died_before(log, tmp_path):
    code = (
        "import subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        "print(child.pid, flush=True)\n"
        "time.sleep(600)\n"
    )
    parent = spawn(code, log, tmp_path)
    child = process.identify(int(wait_for_line(log)))
    assert child is not None
    os.kill(parent.pid, signal.SIGKILL)
    assert process.wait_for_exit(parent, 5)
    assert process.is_alive(child)
    process.stop(parent)
    assert process.wait_for_exit(child, 5)


def test_a_zombie_is_not_alive(tmp_path):
    child = subprocess.Popen([sys.executable, "-c", "pass"], stdout=subprocess.PIPE)
    child.stdout.read()
    child.stdout.close()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert process.identify(child.pid) is None
    child.wait()


def test_waiting_for_an_ended_process_returns_at_once(log, tmp_path):
    identity = spawn("import time; time.sleep(600)", log, tmp_path)
    process.stop(identity)
    assert process.wait_for_exit(identity, 0)


def test_found_by_working_folder(log, tmp_path):
    folder = tmp_path / "a folder, ü"
    folder.mkdir()
    identity = spawn("import time; time.sleep(600)", log, folder)
    assert process.find_by_working_folder(folder) == [identity]
    process.stop(identity)
    assert process.find_by_working_folder(folder) == []


def test_found_in_a_deleted_working_folder(log, tmp_path):
    folder = tmp_path / "gone"
    folder.mkdir()
    identity = spawn("import time; print('up', flush=True); time.sleep(600)", log, folder)
    wait_for_line(log)
    folder.rmdir()
    assert process.find_by_working_folder(folder) == [identity]
    process.stop(identity)


def test_one_log_has_one_writer(log, tmp_path):
    forgotten = spawn("import time; time.sleep(600)", log, tmp_path)
    successor = spawn("import time; time.sleep(600)", log, tmp_path)
    assert not process.is_alive(forgotten)
    assert process.find_by_log(tmp_path) == [successor]
    assert process.find_by_log(tmp_path / "other.log") == []
    process.stop(successor)


def test_not_ready_process_that_ends_is_reported_at_once_with_its_log(log, tmp_path):
    identity = spawn("print('no such table')", log, tmp_path)
    with pytest.raises(LocalError, match="the thing exited during its start") as caught:
        process.wait_until_ready("the thing", identity, lambda: False, log, timeout=60)
    assert caught.value.log == log


def test_the_error_of_a_command_has_its_name_exit_code_and_log(log):
    with pytest.raises(LocalError, match="failed with exit code 3") as caught:
        process.run([sys.executable, "-c", "print('why'); raise SystemExit(3)"], log, hint="do so")
    assert caught.value.hint == "do so"
    assert "why" in log.read_text()


@pytest.mark.parametrize("name", ["python", "a b) S 1 2", "((", ") R"])
def test_names_with_spaces_and_brackets_do_not_shift_the_fields(name):
    text = f"42 ({name}) S 1 77 78 0 -1 4194304 1 0 0 0 1 1 0 0 20 0 1 0 12345 1000 10 18446744"
    stat = process._parse_stat(text)
    assert (stat.state, stat.session, stat.started) == ("S", 78, 12345)


def test_own_identity_is_stable():
    assert process.identify(os.getpid()) == process.identify(os.getpid())
    assert Path(f"/proc/{os.getpid()}").exists()
