"""The settings of a deployment: read once, and nowhere else from the environment."""

import os
import tempfile
from datetime import timedelta
from pathlib import Path

from pydantic import BaseModel, ConfigDict, DirectoryPath, Field, SecretStr, model_validator

# Pydantic otherwise searches the metadata of every installed package for plugins.
os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")


class Settings(BaseModel):
    """App settings of the function app. The names are those of the fields, in upper case."""

    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    database_url: SecretStr
    """postgresql://user@host:port/name; without a password, the managed identity signs in."""

    servicebus_connection: SecretStr | None = None
    """Connection string of the Service Bus namespace."""
    servicebus_host: str | None = Field(
        None, validation_alias="servicebus_connection__fullyqualifiednamespace"
    )
    """Host name of the Service Bus namespace, instead of a connection string."""
    servicebus_credential: str | None = Field(
        None, validation_alias="servicebus_connection__credential"
    )
    """`managedidentity` when the triggers sign in with a user-assigned identity."""
    servicebus_client_id: str | None = Field(
        None, validation_alias="servicebus_connection__clientid"
    )
    """Client id of a user-assigned identity, for the triggers."""
    azure_client_id: str | None = None
    """Client id of the same identity, for storage, PostgreSQL and sending."""
    jobs_queue: str = "geospatial-jobs"
    """Queue of the job messages."""
    tasks_queue: str = "geospatial-tasks"
    """Queue of the task messages, delivered one by one."""
    quick_tasks_queue: str = "geospatial-quick-tasks"
    """Queue of the messages of quick tasks, delivered in batches."""

    storage_connection: SecretStr
    """Connection string of the storage account, or its https URL with a managed identity."""
    bronze_container: str = "bronze-rasters"
    """Container for uploaded rasters."""
    silver_container: str = "silver-cogs"
    """Container for COGs."""

    titiler_url: str
    """Public URL of the tile server."""
    stac_url: str
    """Public URL of the STAC API."""
    default_collection: str = "system-rasters"
    """STAC collection of items for which the caller names none."""

    windows_from_mb: int = Field(200, ge=1)
    """COGs of at least this decoded size, in MB, are made by many tasks, each a window."""
    window_mb: int = Field(64, ge=4, le=128)
    """Largest decoded size of a window in MB; a worker needs about four times as much memory."""
    scratch_dir: Path = Field(default_factory=lambda: Path(tempfile.gettempdir(), "geolathe"))
    """Directory for temporary files; by default one in the system's temporary directory."""
    proj_grids_dir: DirectoryPath | None = None
    """Directory with PROJ's datum grids, for transformations that need them."""
    pool_size: int = Field(4, ge=1)
    """Largest number of database connections of one worker (how-to "Scale")."""
    raster_processes: int | None = Field(None, ge=1)
    """Rasters processed at once by one worker; by default what its processors and memory allow."""
    python_threadpool_thread_count: int | None = Field(None, ge=1)
    """Threads of one worker for all functions, 16 in most deployments; read by the host."""
    lease_seconds: float = Field(30, gt=0)
    """How long a claim is valid without a heartbeat."""
    heartbeat_seconds: float = Field(1, gt=0)
    """Time between two renewals of the leases."""
    tasks_in_flight: int = Field(32, ge=1)
    """How many tasks of one stage are in the queue or running at once."""
    quick_tasks_in_flight: int = Field(256, ge=1)
    """The same for a stage of quick tasks."""
    sweep_limit: int = Field(1000, ge=1)
    """Largest number of overdue jobs, and of overdue tasks, that one sweep handles."""
    sweep_grace_seconds: float = Field(120, gt=0)
    """How long a job or task may be overdue before the sweep sends its message again."""
    output_grace_seconds: float = Field(300, ge=0)
    """How long a COG that is no longer part of an item, or an overview that no collection names,
    stays for readers of its tiles."""

    applicationinsights_connection_string: SecretStr | None = None
    """Connection string of Application Insights, for traces, metrics and logs."""
    otel_exporter_otlp_endpoint: str | None = None
    """URL of an OTLP endpoint (HTTP), for the same."""
    otel_sdk_disabled: bool = False
    """`true` records nothing, whichever of the two is set."""
    otel_traces_sampler: str | None = None
    """Which traces are recorded, such as `parentbased_traceidratio`; by default all."""
    otel_service_name: str = "geolathe"
    """Name of the function app in traces, metrics and logs."""

    retention_days: float | None = Field(None, gt=0)
    """Jobs that ended longer ago are deleted. If not set, jobs are kept."""

    @model_validator(mode="after")
    def _one_service_bus(self) -> "Settings":
        if not self.servicebus_connection and not self.servicebus_host:
            raise ValueError(
                "set SERVICEBUS_CONNECTION, or SERVICEBUS_CONNECTION__fullyQualifiedNamespace"
            )
        return self

    @model_validator(mode="after")
    def _one_identity(self) -> "Settings":
        """The triggers read a user-assigned identity from other settings than the SDKs."""
        if self.servicebus_connection or self.servicebus_client_id == self.azure_client_id is None:
            return self
        if self.servicebus_client_id != self.azure_client_id:
            raise ValueError(
                "AZURE_CLIENT_ID and SERVICEBUS_CONNECTION__clientId must name the same"
                " user-assigned identity: the SDKs read the first, the triggers the second"
            )
        if self.servicebus_credential != "managedidentity":
            raise ValueError(
                "set SERVICEBUS_CONNECTION__credential to managedidentity: without it the triggers"
                " ignore SERVICEBUS_CONNECTION__clientId"
            )
        return self

    @property
    def records_telemetry(self) -> bool:
        """Whether there is a destination for telemetry."""
        is_set = self.applicationinsights_connection_string or self.otel_exporter_otlp_endpoint
        return bool(is_set) and not self.otel_sdk_disabled

    @property
    def service_bus(self) -> str:
        if self.servicebus_connection:
            return self.servicebus_connection.get_secret_value()
        return self.servicebus_host or ""

    @property
    def lease(self) -> timedelta:
        return timedelta(seconds=self.lease_seconds)

    @property
    def heartbeat(self) -> timedelta:
        return timedelta(seconds=self.heartbeat_seconds)

    @property
    def retention(self) -> timedelta | None:
        return timedelta(days=self.retention_days) if self.retention_days else None

    @property
    def output_grace(self) -> timedelta:
        return timedelta(seconds=self.output_grace_seconds)

    @property
    def sweep_grace(self) -> timedelta:
        return timedelta(seconds=self.sweep_grace_seconds)


def read_settings() -> Settings:
    """The settings in the environment. Raises ValidationError, which shows no values."""
    return Settings.model_validate({name.lower(): value for name, value in os.environ.items()})
