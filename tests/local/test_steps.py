"""Steps run after their dependencies, and a failure is reported once with its cause."""

import io
import threading

import pytest
from rich.console import Console

from local.errors import LocalError
from local.steps import Report, Step, StepFailed, run_steps


@pytest.fixture
def output():
    return io.StringIO()


@pytest.fixture
def report(output):
    return Report(Console(file=output, width=200))


def test_a_step_waits_for_its_dependencies(report):
    order = []
    run_steps(
        [
            Step("a", lambda: order.append("a") or ""),
            Step("b", lambda: order.append("b") or "", ("a",)),
            Step("c", lambda: order.append("c") or "", ("a", "b")),
        ],
        report,
    )
    assert order == ["a", "b", "c"]


def test_independent_steps_run_concurrently(report):
    meeting = threading.Barrier(3, timeout=30)

    def meet():
        meeting.wait()
        return "met"

    run_steps([Step(name, meet) for name in "abc"], report)


def test_each_step_reports_what_it_did(report, output):
    run_steps([Step("blobs", lambda: "started"), Step("bus", lambda: "")], report)
    lines = sorted(output.getvalue().splitlines())
    assert [line.split()[:2] for line in lines] == [["blobs", "started"], ["bus", "nothing"]]
    assert all(line.endswith(" s") for line in lines)


def test_a_failure_names_the_step_and_skips_dependent_steps(report):
    ran = []

    def fail():
        raise LocalError("no disk", hint="free some")

    steps = [
        Step("a", fail),
        Step("b", lambda: ran.append("b") or "", ("a",)),
        Step("c", lambda: ran.append("c") or "", ("b",)),
        Step("d", lambda: ran.append("d") or ""),
    ]
    with pytest.raises(StepFailed, match="a: no disk") as caught:
        run_steps(steps, report)
    assert ran == ["d"]
    assert caught.value.reason.hint == "free some"


def test_every_failure_is_reported(report, output):
    def fail():
        raise LocalError("broken")

    with pytest.raises(StepFailed):
        run_steps([Step("a", fail), Step("b", fail)], report)
    assert sum("failed" in line for line in output.getvalue().splitlines()) == 2


def test_an_unexpected_error_is_not_wrapped(report):
    def fail():
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run_steps([Step("a", fail), Step("b", lambda: "", ("a",))], report)
