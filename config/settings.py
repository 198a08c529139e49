"""Everything the deployment decides. Read once; nothing else touches the environment."""

import os
import tempfile
from datetime import timedelta
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator

# Pydantic would look for plugins in the metadata of every installed package. There are none.
os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")


class Settings(BaseModel):
    """App settings of the function app; names are the same, in upper case, in Azure and here."""

    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    database_url: SecretStr
    """postgresql://user@host:port/name; without a password the managed identity signs in."""

    servicebus_connection: SecretStr | None = None
    """A connection string; or set SERVICEBUS_CONNECTION__fullyQualifiedNamespace."""
    servicebus_host: str | None = Field(
        None, validation_alias="servicebus_connection__fullyqualifiednamespace"
    )
    jobs_queue: str = "geospatial-jobs"
    tasks_queue: str = "geospatial-tasks"
    quick_tasks_queue: str = "geospatial-quick-tasks"

    storage_connection: SecretStr
    """A connection string, or the account's https URL for the managed identity."""
    bronze_container: str = "bronze-rasters"
    silver_container: str = "silver-cogs"

    titiler_url: str
    stac_url: str
    default_collection: str = "system-rasters"

    scratch_dir: Path = Field(default_factory=lambda: Path(tempfile.gettempdir(), "geolathe"))
    pool_size: int = Field(16, ge=1)
    lease_seconds: float = Field(30, gt=0)
    heartbeat_seconds: float = Field(1, gt=0)
    sweep_limit: int = Field(1000, ge=1)
    sweep_grace_seconds: float = Field(120, gt=0)

    retention_days: float | None = Field(None, gt=0)
    """Jobs that ended longer ago are deleted; unset, none is."""

    @model_validator(mode="after")
    def _one_service_bus(self) -> "Settings":
        if not self.servicebus_connection and not self.servicebus_host:
            raise ValueError(
                "set SERVICEBUS_CONNECTION, or SERVICEBUS_CONNECTION__fullyQualifiedNamespace"
            )
        return self

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
    def sweep_grace(self) -> timedelta:
        return timedelta(seconds=self.sweep_grace_seconds)


def read_settings() -> Settings:
    """The settings in the environment. Raises ValidationError, which names them but no value."""
    return Settings.model_validate({name.lower(): value for name, value in os.environ.items()})
