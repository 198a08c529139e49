"""The composition root: settings -> adapters -> machine -> triggers. No module imports it."""
# ruff: noqa: E402

import gc
import logging
import sys

# Imported objects stay until the process ends. Do not search them for garbage, neither now nor in
# later collections (gc.freeze below): docs/performance.md, "Cold start".
gc.disable()

# After a system call the event loop waits for a computing thread to give up the GIL. The default of
# 5 ms delays every response when many clients poll: docs/performance.md.
sys.setswitchinterval(0.0005)

from typing import TYPE_CHECKING

import azure.functions as func

from config import find_mismatches, read_host_limits, read_settings
from core.lease import Leases
from core.log_context import install_log_context
from core.machine import CoreMachine
from core.models import Deployment
from core.ports import Ports
from core.registry import Registry
from core.shares import FlightLimits
from core.telemetry import install_telemetry
from infrastructure.database import open_pool
from infrastructure.deferred import on_first_use
from infrastructure.outputs import PostgresOutputs
from infrastructure.pgstac import PgstacCatalog
from infrastructure.postgres import PostgresState
from infrastructure.scratch import LocalScratch
from jobs import ALL_JOBS
from services.sandbox import child, landlock
from triggers import api, queues, timers
from triggers.http.health import Check, Health
from triggers.http.history import History
from triggers.http.items import Items
from triggers.http.job_types import JobTypes
from triggers.http.jobs import Jobs
from triggers.http.pages import Pages
from triggers.http.uploads import Uploads
from triggers.ogc.processes import Processes

if TYPE_CHECKING:
    from infrastructure.blob_storage import AzureBlobs
    from infrastructure.service_bus import ServiceBus

# At INFO the SDKs log two lines for each request to storage.
logging.getLogger("azure").setLevel(logging.WARNING)

install_log_context()
settings = read_settings()
for mismatch in find_mismatches(
    read_host_limits(),
    settings.python_threadpool_thread_count,
    child.limit_processes(settings.raster_processes),
):
    logging.getLogger("geolathe").warning("%s", mismatch)


def service_bus() -> "ServiceBus":
    from infrastructure.service_bus import ServiceBus

    return ServiceBus(
        settings.service_bus, settings.jobs_queue, settings.tasks_queue, settings.quick_tasks_queue
    )


def blob_storage() -> "AzureBlobs":
    from infrastructure.blob_storage import AzureBlobs

    return AzureBlobs(settings.storage_connection.get_secret_value())


child.configure(proj_grids=settings.proj_grids_dir)
pool = open_pool(settings.database_url.get_secret_value(), settings.pool_size)
state = PostgresState(pool)
bus = on_first_use(service_bus)
blobs = on_first_use(blob_storage)
catalog = PgstacCatalog(pool)
outputs = PostgresOutputs(pool)
registry = Registry(ALL_JOBS)
machine = CoreMachine(
    registry,
    state,
    bus,
    Ports(
        blobs=blobs,
        catalog=catalog,
        scratch=LocalScratch(settings.scratch_dir),
        outputs=outputs,
        deployment=Deployment(
            silver_container=settings.silver_container,
            default_collection=settings.default_collection,
            titiler_url=settings.titiler_url,
            stac_url=settings.stac_url,
            windows_from_mb=settings.windows_from_mb,
            window_mb=settings.window_mb,
        ),
    ),
    Leases(state, settings.lease, settings.heartbeat),
    FlightLimits(settings.tasks_in_flight, settings.quick_tasks_in_flight),
)
checks: dict[str, Check] = {
    "database": lambda: state.health().model_dump(),
    "catalog": lambda: {"pgstac": catalog.check_version()},
    "storage": lambda: blobs.check(settings.bronze_container),
    "service_bus": lambda: bus.check(),
    "sandbox": landlock.health,
}
if settings.records_telemetry:
    # Importing OpenTelemetry would delay every cold start: docs/decisions/0052.
    from infrastructure.open_telemetry import start_telemetry

    insights = settings.applicationinsights_connection_string
    install_telemetry(
        start_telemetry(
            settings.otel_service_name,
            insights.get_secret_value() if insights else None,
            settings.otel_exporter_otlp_endpoint is not None,
            settings.otel_traces_sampler,
            state.health,
        )
    )
routes = [
    Jobs(machine, state, registry, settings.jobs_queue),
    History(state),
    JobTypes(registry),
    Uploads(blobs, settings.bronze_container),
    Items(blobs, catalog, settings.silver_container),
    Health(checks),
    Processes(machine, state, registry),
    Pages(),
]

app = func.FunctionApp(http_auth_level=func.AuthLevel.FUNCTION)
app.register_functions(api.blueprint(routes, list(registry.jobs.values())))
app.register_functions(queues.blueprint(machine))
app.register_functions(
    timers.blueprint(
        machine,
        settings.sweep_limit,
        settings.sweep_grace,
        settings.retention,
        settings.output_grace,
    )
)

gc.freeze()
gc.enable()
