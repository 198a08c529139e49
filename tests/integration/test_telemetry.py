"""Traces, metrics and logs of real jobs: requests over the routes, state in PostgreSQL."""

import json
import logging
import os
import re
import subprocess
import sys
import threading
from collections import Counter, defaultdict
from contextlib import contextmanager
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer

import azure.functions as func
import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from core import log_context
from core.handler import RetryPolicy, TaskContext, retry
from core.telemetry import NoTelemetry, install_telemetry, measure
from infrastructure.open_telemetry import OpenTelemetry
from infrastructure.traced_cursor import describe
from local.emulators.otlp.receiver import Receiver
from local.emulators.otlp.store import SpanStore
from local.stack.environment import ROOT
from testing.harness import JobHarness
from tests.fixtures.squares import Square, Squared, Squares, squares_with
from triggers.http.jobs import Jobs
from triggers.http.route import register

CALLER = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
SECRET = "InstrumentationKey=00000000-0000-0000-0000-000000000000"


class Recorded:
    """What was recorded in memory."""

    def __init__(self):
        self.exporter, self.reader = InMemorySpanExporter(), InMemoryMetricReader()

    @property
    def spans(self):
        return self.exporter.get_finished_spans()

    def named(self, start):
        return [span for span in self.spans if span.name.startswith(start)]

    def metrics(self):
        """The data points by the name of the metric."""
        found = {}
        for resource in self.reader.get_metrics_data().resource_metrics:
            for scope in resource.scope_metrics:
                found |= {metric.name: metric.data.data_points for metric in scope.metrics}
        return found


@pytest.fixture
def recorded(postgres_state):
    recorded = Recorded()
    tracers = TracerProvider()
    tracers.add_span_processor(SimpleSpanProcessor(recorded.exporter))
    meters = MeterProvider([recorded.reader])
    install_telemetry(
        OpenTelemetry(tracers.get_tracer("t"), meters.get_meter("t"), postgres_state.health)
    )
    yield recorded
    install_telemetry(NoTelemetry())
    tracers.shutdown()
    meters.shutdown()


@pytest.fixture
def submit(postgres_state):
    """A harness over PostgreSQL, and a submission through its route."""

    def prepare(job=Squares):
        harness = JobHarness([job], state=postgres_state)
        jobs = Jobs(harness.machine, postgres_state, harness.registry, "jobs")
        app = func.FunctionApp()
        app.register_functions(register([jobs]))
        routes = {f.get_function_name(): f.get_user_function() for f in app.get_functions()}

        def post(**parameters):
            request = func.HttpRequest(
                "POST", "/api/jobs/submit/squares", body=json.dumps(parameters).encode(),
                headers={"traceparent": CALLER, "x-correlation-id": "mine"},
                route_params={"job_type": "squares"},
            )  # fmt: skip
            return json.loads(routes["submit_job"](request).get_body())["job_id"]

        return harness, post

    return prepare


def test_one_trace_from_the_request_to_every_statement(recorded, submit):
    harness, post = submit()
    job_id = post(n=3)
    harness.drain()
    assert harness.state.get_job(job_id).result == {"total": 5}
    trace = {span.context.trace_id for span in recorded.spans}
    assert {f"{each:032x}" for each in trace} == {CALLER.split("-")[1]}
    known = {span.context.span_id: span for span in recorded.spans}
    [request] = [span for span in recorded.spans if span.parent.span_id not in known]
    assert request.name == "POST /api/jobs/submit/{job_type}"
    assert f"{request.parent.span_id:016x}" == CALLER.split("-")[2]
    assert request.attributes["job_id"] == job_id and request.attributes["job_type"] == "squares"
    names = defaultdict(set)
    for span in recorded.spans:
        if span.parent.span_id in known:
            names[known[span.parent.span_id].name].add(span.name)
    assert {"SELECT app.accept_job", "stage 1 requested"} <= names[request.name]
    assert {"SELECT app.start_stage", "COPY app.tasks", "task delivered"} <= names[
        "stage 1 requested"
    ]
    assert {"SELECT app.claim_attempts", "square attempt 1", "stage 2 requested"} <= names[
        "task delivered"
    ]
    assert "SELECT app.finish_job" in names["stage 3 requested"]


def test_attempts_have_the_ids_of_their_task(recorded, submit):
    harness, post = submit()
    job_id = post(n=2)
    harness.drain()
    attempts = recorded.named("square attempt")
    ids = {"job_id": job_id, "job_type": "squares", "stage": 1, "attempt": 1}
    for span in attempts:
        assert ids.items() <= dict(span.attributes).items()
        assert span.attributes["correlation_id"] == "mine"
        assert span.attributes["outcome"] == "success"
    tasks = {f"{job_id[:32]}-1-1-{index}" for index in range(2)}
    assert {span.attributes["task_id"] for span in attempts} == tasks


def test_a_repeated_attempt_and_its_measurements(recorded, submit):
    @retry(RetryPolicy(attempts=3, base=timedelta(0), cap=timedelta(0)))
    def square(params: Square, ctx: TaskContext) -> Squared:
        if ctx.attempt == 1:
            raise OSError("once")
        return Squared(value=1)

    harness, post = submit(squares_with(square))
    post(n=1)
    harness.drain()
    outcomes = [span.attributes["outcome"] for span in recorded.named("square attempt")]
    assert outcomes == ["transient", "success"]
    metrics = recorded.metrics()
    [retries] = metrics["geolathe.task.retries"]
    assert retries.value == 1 and retries.attributes["task_type"] == "square"
    durations = {p.attributes["task_type"]: p.count for p in metrics["geolathe.task.duration"]}
    assert durations == {"square": 2, "add": 1}


def test_the_state_is_measured(recorded, submit):
    harness, post = submit()
    post(n=1)
    harness.machine.sweep(10, timedelta(0))
    values = {name: points[0].value for name, points in recorded.metrics().items() if points}
    assert values["geolathe.jobs.open"] == 1
    assert values["geolathe.dead_letters"] == 0
    assert values["geolathe.sweep.repaired"] == 1
    assert values["geolathe.sweep.age"] >= 0


def test_every_metric_is_documented(recorded):
    page = (ROOT / "docs/how-to/trace.md").read_text()
    documented = set(re.findall(r"`(geolathe\.[a-z._]+)`", page))
    for name in ("task.duration", "task.retries", "blob.read", "blob.written"):
        measure(name, 1)
    # Before the first sweep there is no age.
    assert set(recorded.metrics()) == documented - {"geolathe.sweep.age"}


def test_a_message_that_the_sweep_sends_again_continues_the_trace(recorded, submit):
    harness, post = submit()
    post(n=1)
    harness.bus.messages.clear()
    harness.machine.sweep(10, timedelta(0))
    [message] = harness.bus.messages
    assert message.traceparent.split("-")[1] == CALLER.split("-")[1]
    harness.drain()
    [attempt] = recorded.named("square attempt")
    assert f"{attempt.context.trace_id:032x}" == CALLER.split("-")[1]
    assert attempt.attributes["correlation_id"] == "mine"
    assert attempt.attributes["job_type"] == "squares"
    [sweep] = recorded.named("sweep")
    assert f"{sweep.context.trace_id:032x}" != CALLER.split("-")[1]


def test_log_records_have_the_ids_of_their_span(recorded, submit, caplog, monkeypatch):
    monkeypatch.setattr(logging, "_logRecordFactory", log_context.ContextRecord)

    def square(params: Square, ctx: TaskContext) -> Squared:
        logging.getLogger("services.example").info("squaring")
        return Squared(value=1)

    harness, post = submit(squares_with(square))
    with caplog.at_level(logging.INFO, "services.example"):
        post(n=1)
        harness.drain()
    [record] = [each for each in caplog.records if each.name == "services.example"]
    [attempt] = recorded.named("square attempt")
    for name in ("correlation_id", "job_id", "job_type", "stage", "task_id", "attempt"):
        assert getattr(record, name) == attempt.attributes[name]


def test_nothing_is_recorded_outside_of_a_span(recorded, postgres_state):
    postgres_state.health()
    assert recorded.spans == ()


@pytest.mark.parametrize(
    ("statement", "name"),
    [
        ("SELECT outcome, (task_row).* FROM app.claim_attempts(%s, %s, %s)",
         "SELECT app.claim_attempts"),
        ("\n  UPDATE app.jobs SET discarded_at = now()", "UPDATE app.jobs"),
        ("SELECT create_item(%s)", "SELECT create_item"),
        ("DELETE FROM items WHERE collection = %s AND id = %s", "DELETE items"),
        ("SELECT count(*) FROM app.dead_letters", "SELECT app.dead_letters"),
        ("SET LOCAL search_path TO pgstac, public", "SET"),
        ("", "SQL"),
    ],
)  # fmt: skip
def test_names_of_statements(statement, name):
    assert describe(statement) == name


def app_settings(**more):
    return {
        "DATABASE_URL": "postgresql://u:p@127.0.0.1:1/db",
        "SERVICEBUS_CONNECTION": "Endpoint=sb://x;SharedAccessKeyName=k;SharedAccessKey=a2V5",
        "STORAGE_CONNECTION": "https://account.blob.core.windows.net",
        "TITILER_URL": "https://tiles.example.org",
        "STAC_URL": "https://stac.example.org",
        "PATH": os.environ["PATH"],
        **more,
    }


def run_app(code, settings):
    """Import the composition root in a process of its own, and run some code after it."""
    ended = subprocess.run(
        [sys.executable, "-c", f"import function_app\n{code}\nfunction_app.pool.close()"],
        env=settings, cwd=ROOT, capture_output=True, text=True, timeout=180, check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


@pytest.mark.parametrize(
    "more",
    [{}, {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "OTEL_SDK_DISABLED": "true"}],
)
def test_a_cold_start_without_a_destination_imports_nothing_of_it(more):
    code = "import sys; print([m for m in sys.modules if m.startswith('opentelemetry')])"
    assert run_app(code, app_settings(**more)) == "[]\n"


RECORD = """
import logging
from core.telemetry import operation
for _ in range(20):
    with operation("probe", job_id="ab" * 32):
        pass
with operation("logged", job_id="ab" * 32):
    logging.getLogger("services.example").warning("from the app")
from opentelemetry import trace, metrics
from opentelemetry._logs import get_logger_provider
trace.get_tracer_provider().force_flush()
get_logger_provider().force_flush()
"""


def test_spans_reach_an_otlp_endpoint(tmp_path):
    store = SpanStore(tmp_path / "spans.sqlite")
    store.create()
    with Receiver(0, store) as receiver, serving(receiver):
        endpoint = f"http://127.0.0.1:{receiver.server_port}"
        run_app(RECORD, app_settings(OTEL_EXPORTER_OTLP_ENDPOINT=endpoint))
    spans = [span for [span] in store.traces_of("ab" * 4)]
    assert Counter(span.name for span in spans) == {"probe": 20, "logged": 1}
    assert {(span.parent_id, span.attribute("job_id")) for span in spans} == {("", "ab" * 32)}


def test_spans_and_logs_reach_application_insights():
    """A server in the place of the ingestion endpoint; the exporter is Microsoft's."""
    received = []

    class Ingestion(BaseHTTPRequestHandler):
        def do_POST(self):
            import gzip

            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            received.append(json.loads(body))
            answer = json.dumps(
                {"itemsReceived": len(received[-1]), "itemsAccepted": len(received[-1]),
                 "errors": []}
            ).encode()  # fmt: skip
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *args):
            pass

    with HTTPServer(("127.0.0.1", 0), Ingestion) as server, serving(server):
        connection = f"{SECRET};IngestionEndpoint=http://127.0.0.1:{server.server_port}/"
        run_app(
            RECORD,
            app_settings(
                APPLICATIONINSIGHTS_CONNECTION_STRING=connection,
                APPLICATIONINSIGHTS_STATSBEAT_DISABLED_ALL="true",
            ),
        )
    items = [item["data"]["baseData"] for batch in received for item in batch]
    spans = [item for item in items if item.get("name") == "probe"]
    assert [span["properties"]["job_id"] for span in spans] == ["ab" * 32] * 20
    [record] = [item for item in items if item.get("message") == "from the app"]
    assert record["properties"]["job_id"] == "ab" * 32


@contextmanager
def serving(server):
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
