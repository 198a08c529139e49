"""Errors at the start of the local functions host name the function and the cause."""

import itertools
import sys
from pathlib import Path

import pytest

from local.emulators.functions.host import Host
from local.errors import LocalError
from tests.fixtures.functions_host import SAMPLE_APP, environment

HEAD = "import azure.functions as func\napp = func.FunctionApp()\n"
CONNECTION = "Endpoint=sb://127.0.0.1:1;SharedAccessKeyName=k;SharedAccessKey=dg=="
numbers = itertools.count()


@pytest.fixture
def refusal(tmp_path: Path, monkeypatch):
    """The error message of the host for an app, given as source; each app is a new module."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    module = f"refused_app_{next(numbers)}"
    monkeypatch.setenv("PYTHON_SCRIPT_FILE_NAME", f"{module}.py")

    def refusal(source: str, **settings: str) -> str:
        (tmp_path / f"{module}.py").write_text(source)
        (tmp_path / "host.json").write_text('{"version": "2.0"}')
        for name, value in (environment(tmp_path, CONNECTION) | settings).items():
            monkeypatch.setenv(name, value)
        with pytest.raises(LocalError) as error:
            Host(tmp_path)
        return str(error.value)

    yield refusal
    sys.modules.pop(module, None)


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"WORK_QUEUE": ""}, "work: the app setting WORK_QUEUE is not set"),
        ({"SERVICE_BUS": ""}, "the connection setting SERVICE_BUS is not set"),
        ({"SERVICE_BUS": "nonsense"}, "work: invalid Service Bus connection string"),
        ({"TICK": "every day"}, "tick: schedule 'every day'"),
        ({"LOCAL_HOST_INVOKER": "magic"}, "LOCAL_HOST_INVOKER=magic; expected sdk or runtime"),
        ({"PYTHON_SCRIPT_FILE_NAME": "other.py"}, "other.py is missing"),
    ],
)
def test_an_invalid_setting_is_named(refusal, settings: dict[str, str], reason: str) -> None:
    source = (SAMPLE_APP / "function_app.py").read_text()
    assert reason in refusal(source, **settings)


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("import no_such_module", "cannot be imported: ModuleNotFoundError"),
        ("x = ", "cannot be imported: SyntaxError"),
        ("import azure.functions as func", "defines 0 function apps"),
        (HEAD + "other = func.FunctionApp()", "defines 2 function apps"),
        (HEAD, "the app has no functions"),
        (
            HEAD + "@app.route('a')\ndef same(req): ...\n@app.route('b')\ndef same(req): ...",
            "same does not have a unique function name",
        ),
        (HEAD + "@app.route('admin/x')\ndef f(req): ...", "f: the route admin/x conflicts"),
        (HEAD + "@app.route('Administer')\ndef f(req): ...", "f: the route Administer conflicts"),
        (
            HEAD + "@app.route('a/{x}')\ndef f(req): ...\n@app.route('A/{y}')\ndef g(req): ...",
            "g: the route api/A/{y} is also the route of f",
        ),
        (HEAD + "@app.route('a/{x:odd}')\ndef f(req): ...", "f: unknown constraint 'odd'"),
        (HEAD + "@app.route('a')\ndef f(request): ...", "f(request) does not match its trigger"),
        (
            HEAD + "@app.route('a')\ndef f(req, more): ...",
            "f(more, req) does not match its trigger",
        ),
        (HEAD + "@app.route('a')\ndef f(req: 'Missing'): ...", "f: an annotation cannot be"),
        (
            HEAD + "@app.route('a')\ndef f(req: int): ...",
            "f: req cannot be annotated as <class 'int'>",
        ),
        (
            HEAD + "@app.route('a')\ndef f(req) -> None: ...",
            "f: <class 'NoneType'> is not a valid return",
        ),
        (
            HEAD + "@app.route('a')\ndef f(req) -> str | None: ...",
            "f: str | None is not a valid return",
        ),
        (
            HEAD + "@app.service_bus_queue_trigger('m', 'SERVICE_BUS', 'q', cardinality='many')\n"
            "def f(m: list[func.ServiceBusMessage]): ...",
            "f: m cannot be annotated as list[",
        ),
        (
            HEAD + "@app.service_bus_queue_trigger('m', 'SERVICE_BUS', 'q',"
            " is_sessions_enabled=True)\ndef f(m): ...",
            "f: only queues without sessions are supported",
        ),
        (
            HEAD + "@app.service_bus_topic_trigger('m', 'SERVICE_BUS', 't', 's')\ndef f(m): ...",
            "f: only queues without sessions are supported",
        ),
        (
            HEAD + "@app.queue_trigger('m', 'q', 'C')\ndef f(m): ...",
            "f: queueTrigger is not supported",
        ),
        (
            HEAD + "@app.route('a')\n@app.queue_output('o', 'q', 'C')\ndef f(req, o): ...",
            "f: the binding o (queue) is not supported",
        ),
        (
            HEAD + "@app.timer_trigger('t', '%NO_SUCH%')\ndef f(t): ...",
            "f: the app setting NO_SUCH is not",
        ),
        (
            HEAD + "@app.timer_trigger('t', '0 0 0 30 2 *')\ndef f(t): ...",
            "the schedule matches no date",
        ),
    ],
)
def test_an_unsupported_app_is_rejected_with_the_cause(refusal, source: str, reason: str) -> None:
    assert reason in refusal(source)


def test_routes_with_different_methods_share_a_path(refusal, tmp_path: Path) -> None:
    source = (
        HEAD + "@app.route('a', methods=['GET'])\ndef f(req): ...\n"
        "@app.route('a', methods=['POST'])\ndef g(req): ...\n"
        "@app.route('a', methods=['PUT', 'POST'])\ndef h(req): ..."
    )
    assert "h: the route api/a is also the route of g" in refusal(source)
