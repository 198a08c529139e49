"""The stack as a whole: `up` twice, recovery from a crash, `down`; and its command line."""

import io
import json
import signal
import uuid

import pytest
from rich.console import Console

from local import __main__ as command_line
from local import process
from local.stack.stack import PARTS, Stack
from local.steps import Report


@pytest.fixture
def stack(service_folder):
    return Stack(service_folder / f"stack {uuid.uuid4().hex} ü")


@pytest.fixture
def report():
    return Report(Console(file=io.StringIO(), width=200))


@pytest.fixture
def run(stack, monkeypatch):
    monkeypatch.setattr(command_line, "Stack", lambda: stack)
    return lambda *arguments: command_line.main(arguments)


def running(stack):
    return {part.name: part.identity for part in stack.status() if part.identity is not None}


def test_up_restarts_dead_services_and_down_stops_all(stack, report, run, capsys):
    environment = stack.up(report)
    first = running(stack)
    assert set(first) == set(PARTS)

    assert stack.up(report) == environment
    assert running(stack) == first, "a second up starts nothing"

    assert run("status", "--json") == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["pids"] == {name: identity.pid for name, identity in first.items()}
    assert printed["api"] == environment.api

    process.stop(first["stac"], ask=signal.SIGKILL)
    process.stop(first["broker"], ask=signal.SIGKILL)
    assert {part.name for part in stack.status() if part.is_missing} == {"stac", "broker"}
    assert run("status") == 1
    assert "died" in capsys.readouterr().out

    assert stack.up(report) == environment
    repaired = running(stack)
    assert set(repaired) == set(PARTS)
    changed = {name for name in PARTS if repaired[name] != first[name]}
    assert changed == {"stac", "broker"}, "running services are left alone"

    stack.down(report)
    assert running(stack) == {}
    assert not any(part.is_missing for part in stack.status())
    assert process.find_by_log(stack.folder) == []
    assert not any(process.is_alive(identity) for identity in repaired.values())


def test_status_before_the_first_start(run, capsys):
    assert run("status") == 1
    assert capsys.readouterr().out.count("stopped") == len(PARTS)


def test_json_status_before_the_first_start_is_an_error_with_a_hint(run, capsys):
    assert run("status", "--json") == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "run ./dev up" in printed.err


def test_submit_before_up_is_an_error_with_a_hint(run, capsys):
    assert run("submit", "x.tif") == 1
    assert "run ./dev up" in capsys.readouterr().err


def test_unknown_log_is_an_error_that_lists_the_logs(run, capsys):
    assert run("logs", "kafka") == 1
    printed = capsys.readouterr().err
    assert "no log 'kafka'" in printed
    assert "titiler" in printed


def test_unknown_benchmark_is_an_error(run, capsys):
    assert run("bench", "no-such-thing") == 1
    assert "unknown benchmark 'no-such-thing'" in capsys.readouterr().err


@pytest.mark.parametrize("given", [["fly"], ["up", "now"], ["status", "--yaml"], []])
def test_unknown_arguments_are_an_error(run, capsys, given):
    with pytest.raises(SystemExit) as caught:
        run(*given)
    assert caught.value.code == 2
    assert "usage: ./dev" in capsys.readouterr().err


def test_down_without_a_running_stack_succeeds(run, capsys):
    assert run("down") == 0
    assert "was not running" in capsys.readouterr().err
