"""OpenTelemetry: spans, metrics and logs to Application Insights, to an OTLP endpoint, or to both.

Only `function_app` imports this module, and only where there is a destination.
"""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from threading import Lock

from opentelemetry import metrics, trace
from opentelemetry._logs import set_logger_provider
from opentelemetry.metrics import CallbackOptions, Meter, Observation
from opentelemetry.sdk._logs import LoggerProvider, LogRecordProcessor
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import MetricReader, PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import SpanKind, Tracer
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from core.log_context import Ids
from core.models import StateHealth
from core.telemetry import Kind, Measure

NAME = "geolathe"
KINDS: dict[Kind, SpanKind] = {
    "server": SpanKind.SERVER,
    "consumer": SpanKind.CONSUMER,
    "producer": SpanKind.PRODUCER,
    "client": SpanKind.CLIENT,
    "internal": SpanKind.INTERNAL,
}
# Of the libraries that azure-monitor-opentelemetry can instrument, only the Azure SDKs are used.
_UNUSED = ("django", "fastapi", "flask", "httpx", "psycopg2", "requests", "urllib", "urllib3")
HEALTH_SECONDS = 5.0
"""For so long one answer of app.health() serves all gauges."""


class OpenTelemetry:
    """The Telemetry port over a tracer and a meter."""

    def __init__(self, tracer: Tracer, meter: Meter, health: Callable[[], StateHealth]) -> None:
        self._tracer = tracer
        self._parents = TraceContextTextMapPropagator()
        duration = meter.create_histogram(f"{NAME}.task.duration", "s", "Duration of an attempt")
        retries = meter.create_counter(f"{NAME}.task.retries", "1", "Attempts that are repeated")
        read = meter.create_counter(f"{NAME}.blob.read", "By", "Bytes downloaded from storage")
        written = meter.create_counter(f"{NAME}.blob.written", "By", "Bytes uploaded to storage")
        self._measures: dict[Measure, Callable[[float, Ids], None]] = {
            "task.duration": duration.record,
            "task.retries": retries.add,
            "blob.read": read.add,
            "blob.written": written.add,
        }
        HealthGauges(meter, health)

    @contextmanager
    def span(self, name: str, kind: Kind, parent: str | None, attributes: Ids) -> Iterator[None]:
        context = self._parents.extract({"traceparent": parent}) if parent else None
        with self._tracer.start_as_current_span(
            name, context=context, kind=KINDS[kind], attributes=attributes
        ):
            yield

    def annotate(self, attributes: Ids) -> None:
        trace.get_current_span().set_attributes(attributes)

    def traceparent(self) -> str | None:
        context = trace.get_current_span().get_span_context()
        if not context.is_valid:
            return None
        return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"

    def measure(self, name: Measure, value: float, attributes: Ids) -> None:
        self._measures[name](value, attributes)


class HealthGauges:
    """The state of the orchestrator, read when the metrics are exported."""

    def __init__(self, meter: Meter, health: Callable[[], StateHealth]) -> None:
        self._health = health
        self._lock = Lock()
        self._last: tuple[float, StateHealth] | None = None
        gauges: dict[str, tuple[str, str, Callable[[StateHealth], float | None]]] = {
            "jobs.open": ("1", "Jobs that have not ended", lambda h: h.open_jobs),
            "tasks.oldest_due": (
                "s", "Age of the oldest task that is due", lambda h: h.oldest_queued_task_age or 0
            ),
            "dead_letters": ("1", "Dead letters recorded", lambda h: h.dead_letters),
            "sweep.age": ("s", "Time since the last sweep", lambda h: h.sweep_age),
            "sweep.repaired": ("1", "Messages sent again so far", lambda h: h.total_repaired),
        }  # fmt: skip
        for name, (unit, about, value) in gauges.items():
            meter.create_observable_gauge(
                f"{NAME}.{name}", [partial(self._observe, value)], unit, about
            )

    def _observe(
        self, value: Callable[[StateHealth], float | None], options: CallbackOptions
    ) -> list[Observation]:
        found = value(self._read())
        return [] if found is None else [Observation(found)]

    def _read(self) -> StateHealth:
        with self._lock:
            if self._last is None or time.monotonic() - self._last[0] > HEALTH_SECONDS:
                self._last = (time.monotonic(), self._health())
            return self._last[1]


@dataclass(frozen=True)
class Destination:
    """What sends spans, metrics and log records away."""

    spans: Sequence[SpanProcessor] = ()
    metrics: Sequence[MetricReader] = ()
    logs: Sequence[LogRecordProcessor] = ()


def start_telemetry(
    service: str,
    insights_connection: str | None,
    to_otlp: bool,
    sampler: str | None,
    health: Callable[[], StateHealth],
) -> OpenTelemetry:
    """Start exporting in the background, every trace unless there is a `sampler`.

    The environment decides the rest, such as OTEL_METRIC_EXPORT_INTERVAL:
    https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/
    """
    destination = _otlp() if to_otlp else Destination()
    resource = Resource.create({"service.name": service})
    if insights_connection is None:
        _start(resource, destination)
    else:
        _start_with_insights(
            resource, destination, insights_connection, records_all=sampler is None
        )
    return OpenTelemetry(trace.get_tracer(NAME), metrics.get_meter(NAME), health)


def _otlp() -> Destination:
    from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    return Destination(
        [BatchSpanProcessor(OTLPSpanExporter())],
        [PeriodicExportingMetricReader(OTLPMetricExporter())],
        [BatchLogRecordProcessor(OTLPLogExporter())],
    )


def _start(resource: Resource, destination: Destination) -> None:
    from opentelemetry.instrumentation.logging.handler import LoggingHandler

    tracers = TracerProvider(resource=resource)
    for spans in destination.spans:
        tracers.add_span_processor(spans)
    trace.set_tracer_provider(tracers)
    metrics.set_meter_provider(MeterProvider(destination.metrics, resource))
    loggers = LoggerProvider(resource)
    for logs in destination.logs:
        loggers.add_log_record_processor(logs)
    set_logger_provider(loggers)
    logging.getLogger().addHandler(LoggingHandler(logger_provider=loggers))


def _start_with_insights(
    resource: Resource, destination: Destination, connection: str, *, records_all: bool
) -> None:
    from azure.monitor.opentelemetry import configure_azure_monitor

    configure_azure_monitor(
        connection_string=connection,
        resource=resource,
        span_processors=list(destination.spans),
        metric_readers=list(destination.metrics),
        log_record_processors=list(destination.logs),
        instrumentation_options={name: {"enabled": False} for name in _UNUSED},
        enable_live_metrics=False,
        # Without a sampler or a ratio it keeps five traces a second.
        **({"sampling_ratio": 1.0} if records_all else {}),
    )
