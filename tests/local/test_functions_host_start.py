"""What keeps the local functions host from starting: said at once, with the name and the place."""

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
    """Why the host refuses an app, given as source. Each has a module name of its own."""
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
        ({"WORK_QUEUE": ""}, "work: %WORK_QUEUE% names no app setting"),
        ({"SERVICE_BUS": ""}, "the connection setting SERVICE_BUS is not set"),
        ({"SERVICE_BUS": "nonsense"}, "work: the Service Bus connection string is not usable"),
        ({"TICK": "every day"}, "tick: schedule 'every day'"),
        ({"LOCAL_HOST_INVOKER": "magic"}, "LOCAL_HOST_INVOKER=magic; expected sdk or runtime"),
        ({"PYTHON_SCRIPT_FILE_NAME": "other.py"}, "other.py is missing"),
    ],
)
def test_a_wrong_setting(refusal, settings: dict[str, str], reason: str) -> None:
    source = (SAMPLE_APP / "function_app.py").read_text()
    assert reason in refusal(source, **settings)


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("import no_such_module", "cannot be imported: ModuleNotFoundError"),
        ("x = ", "cannot be imported: SyntaxError"),
        ("import azure.functions as func", "has 0 names for a function app"),
        (HEAD + "other = func.FunctionApp()", "has 2 names for a function app"),
        (HEAD, "the app has no function"),
        (
            HEAD + "@app.route('a')\ndef same(req): ...\n@app.route('b')\ndef same(req): ...",
            "same does not have a unique function name",
        ),
        (HEAD + "@app.route('admin/x')\ndef f(req): ...", "f: the route admin/x conflicts"),
        (HEAD + "@app.route('Administer')\ndef f(req): ...", "f: the route Administer conflicts"),
        (
            HEAD + "@app.route('a/{x}')\ndef f(req): ...\n@app.route('A/{y}')\ndef g(req): ...",
            "g: the route api/A/{y} is taken by f",
        ),
        (HEAD + "@app.route('a/{x:odd}')\ndef f(req): ...", "f: the constraint 'odd'"),
        (HEAD + "@app.route('a')\ndef f(request): ...", "f(request) does not fit its trigger"),
        (HEAD + "@app.route('a')\ndef f(req, more): ...", "f(more, req) does not fit its trigger"),
        (HEAD + "@app.route('a')\ndef f(req: 'Missing'): ...", "f: an annotation cannot be"),
        (
            HEAD + "@app.route('a')\ndef f(req: int): ...",
            "f: req cannot be annotated <class 'int'>",
        ),
        (HEAD + "@app.route('a')\ndef f(req) -> None: ...", "f: an HTTP function cannot"),
        (HEAD + "@app.route('a')\ndef f(req) -> str | None: ...", "f: an HTTP function cannot"),
        (
            HEAD + "@app.service_bus_queue_trigger('m', 'SERVICE_BUS', 'q', cardinality='many')\n"
            "def f(m: list[func.ServiceBusMessage]): ...",
            "f: m cannot be annotated list[",
        ),
        (
            HEAD + "@app.service_bus_queue_trigger('m', 'SERVICE_BUS', 'q',"
            " is_sessions_enabled=True)\ndef f(m): ...",
            "f: only queues without sessions are served here",
        ),
        (
            HEAD + "@app.service_bus_topic_trigger('m', 'SERVICE_BUS', 't', 's')\ndef f(m): ...",
            "f: only queues without sessions are served here",
        ),
        (
            HEAD + "@app.queue_trigger('m', 'q', 'C')\ndef f(m): ...",
            "f: queueTrigger is not served",
        ),
        (
            HEAD + "@app.route('a')\n@app.queue_output('o', 'q', 'C')\ndef f(req, o): ...",
            "f: the binding o (queue) is not served here",
        ),
        (HEAD + "@app.timer_trigger('t', '%NO_SUCH%')\ndef f(t): ...", "f: %NO_SUCH% names no"),
        (HEAD + "@app.timer_trigger('t', '0 0 0 30 2 *')\ndef f(t): ...", "no date ever matches"),
    ],
)
def test_an_app_that_azure_or_this_host_cannot_serve(refusal, source: str, reason: str) -> None:
    assert reason in refusal(source)


def test_two_routes_that_differ_in_method_share_a_path(refusal, tmp_path: Path) -> None:
    source = (
        HEAD + "@app.route('a', methods=['GET'])\ndef f(req): ...\n"
        "@app.route('a', methods=['POST'])\ndef g(req): ...\n"
        "@app.route('a', methods=['PUT', 'POST'])\ndef h(req): ..."
    )
    assert "h: the route api/a is taken by g" in refusal(source)
