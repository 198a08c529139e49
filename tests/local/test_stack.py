"""The stack as a whole: `up` twice, a crash and its repair, `down`; and its command line."""

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


def test_up_repairs_what_died_and_down_leaves_nothing(stack, report, run, capsys):
    environment = stack.up(report)
    first = running(stack)
    assert set(first) == set(PARTS)

    assert stack.up(report) == environment
    assert running(stack) == first, "up twice starts nothing"

    assert run("status", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["pids"] == {name: identity.pid for name, identity in first.items()}
    assert told["api"] == environment.api

    process.stop(first["stac"], ask=signal.SIGKILL)
    process.stop(first["broker"], ask=signal.SIGKILL)
    assert {part.name for part in stack.status() if part.is_missing} == {"stac", "broker"}
    assert run("status") == 1
    assert "dead" in capsys.readouterr().out

    assert stack.up(report) == environment
    repaired = running(stack)
    assert set(repaired) == set(PARTS)
    changed = {name for name in PARTS if repaired[name] != first[name]}
    assert changed == {"stac", "broker"}, "what lives is left alone"

    stack.down(report)
    assert running(stack) == {}
    assert not any(part.is_missing for part in stack.status())
    assert process.find_by_log(stack.folder) == []
    assert not any(process.is_alive(identity) for identity in repaired.values())


def test_status_of_what_was_never_started(run, capsys):
    assert run("status") == 1
    assert capsys.readouterr().out.count("stopped") == len(PARTS)


def test_status_for_programs_says_what_to_do_before_the_first_start(run, capsys):
    assert run("status", "--json") == 1
    told = capsys.readouterr()
    assert told.out == ""
    assert "run ./dev up" in told.err


def test_submit_before_up_says_what_to_do(run, capsys):
    assert run("submit", "x.tif") == 1
    assert "run ./dev up" in capsys.readouterr().err


def test_unknown_log_is_refused_with_the_known_ones(run, capsys):
    assert run("logs", "kafka") == 1
    told = capsys.readouterr().err
    assert "no log 'kafka'" in told
    assert "titiler" in told


def test_unknown_benchmark_is_refused(run, capsys):
    assert run("bench", "no-such-thing") == 1
    assert "no benchmark 'no-such-thing'" in capsys.readouterr().err


@pytest.mark.parametrize("given", [["fly"], ["up", "now"], ["status", "--yaml"], []])
def test_unknown_words_are_refused(run, capsys, given):
    with pytest.raises(SystemExit) as caught:
        run(*given)
    assert caught.value.code == 2
    assert "usage: ./dev" in capsys.readouterr().err


def test_down_of_what_never_ran_is_no_error(run, capsys):
    assert run("down") == 0
    assert "was not running" in capsys.readouterr().err
