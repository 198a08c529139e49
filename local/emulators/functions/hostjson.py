"""host.json, read as the Functions host and the Service Bus extension 5.x read it.

Azure ignores keys that are not fields of these models; `unread_keys` lists them, so that they can
be reported. The Service Bus keys are directly in `extensions.serviceBus`
(ServiceBusOptions of Microsoft.Azure.WebJobs.Extensions.ServiceBus 5.x).
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from local.errors import LocalError

_TIMESPAN = re.compile(r"(?:(\d+)\.)?(\d{1,2}):([0-5]?\d)(?::([0-5]?\d(?:\.\d{1,7})?))?")

_OVERRIDE = "AzureFunctionsJobHost__"

Section = dict[str, Any]


def parse_timespan(text: object) -> object:
    """A .NET TimeSpan, `[d.]hh:mm[:ss[.fffffff]]`, as a timedelta. Raises ValueError."""
    if isinstance(text, timedelta):
        return text
    match = _TIMESPAN.fullmatch(str(text))
    if match is None or int(match[2]) > 23:
        raise ValueError(f"{text!r} is not a time span like 00:05:00")
    days, hours, minutes, seconds = (float(part or 0) for part in match.groups())
    return timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)


def _parse_timeout(text: object) -> object:
    return None if text in (-1, "-1") else parse_timespan(text)


TimeSpan = Annotated[timedelta, BeforeValidator(parse_timespan)]
Timeout = Annotated[timedelta | None, BeforeValidator(_parse_timeout)]


class _Keys(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, frozen=True, extra="ignore")


class RetryOptions(_Keys):
    """Retries of the connection to the broker."""

    mode: Literal["exponential", "fixed", "Exponential", "Fixed"] = "Exponential"
    try_timeout: TimeSpan = timedelta(minutes=1)
    delay: TimeSpan = timedelta(seconds=0.8)
    max_delay: TimeSpan = timedelta(minutes=1)
    max_retries: int = Field(default=3, ge=0)


class ServiceBusOptions(_Keys):
    """`extensions.serviceBus`, with the defaults that Microsoft documents for one core."""

    prefetch_count: int = Field(default=0, ge=0)
    client_retry_options: RetryOptions = RetryOptions()
    transport_type: Literal["amqpTcp", "amqpWebSockets", "AmqpTcp", "AmqpWebSockets"] = "amqpTcp"
    web_proxy: str | None = None
    auto_complete_messages: bool = True
    max_auto_lock_renewal_duration: TimeSpan = timedelta(minutes=5)
    max_concurrent_calls: int = Field(default=16, ge=1)
    max_concurrent_sessions: int = Field(default=8, ge=1)
    max_concurrent_calls_per_session: int = Field(default=1, ge=1)
    max_message_batch_size: int = Field(default=1000, ge=1)
    min_message_batch_size: int = Field(default=1, ge=1)
    max_batch_wait_time: TimeSpan = timedelta(seconds=30)
    session_idle_timeout: TimeSpan | None = None
    enable_cross_entity_transactions: bool = False


class HttpOptions(_Keys):
    """`extensions.http`; only `routePrefix` has an effect here."""

    route_prefix: str = "api"
    max_outstanding_requests: int = -1
    max_concurrent_requests: int = -1
    dynamic_throttles_enabled: bool = False
    hsts: Section = Field(default_factory=dict)
    custom_headers: dict[str, str] = Field(default_factory=dict)


class Extensions(_Keys):
    """The extensions that this host supports."""

    http: HttpOptions = HttpOptions()
    service_bus: ServiceBusOptions = ServiceBusOptions()


class HostJson(_Keys):
    """The whole file. Sections that have no effect here are not parsed further."""

    version: Literal["2.0"]
    function_timeout: Timeout = timedelta(minutes=30)
    extensions: Extensions = Extensions()
    extension_bundle: Section = Field(default_factory=dict)
    logging: Section = Field(default_factory=dict)
    aggregator: Section = Field(default_factory=dict)
    concurrency: Section = Field(default_factory=dict)
    health_monitor: Section = Field(default_factory=dict)
    managed_dependency: Section = Field(default_factory=dict)
    retry: Section = Field(default_factory=dict)
    singleton: Section = Field(default_factory=dict)
    telemetry_mode: str = "ApplicationInsights"
    functions: list[str] = Field(default_factory=list)
    watch_directories: list[str] = Field(default_factory=list)
    watch_files: list[str] = Field(default_factory=list)


def read_host_json(
    path: Path, environment: Mapping[str, str] = os.environ
) -> tuple[HostJson, list[str]]:
    """Read the file. Returns it and its unknown keys. Raises LocalError if it is invalid.

    A variable `AzureFunctionsJobHost__section__key` overrides a value, as app settings do:
    https://learn.microsoft.com/azure/azure-functions/functions-host-json#override-hostjson-values
    """
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        for name, value in environment.items():
            if name.startswith(_OVERRIDE):
                _override(raw, name.removeprefix(_OVERRIDE).split("__"), value)
        return HostJson.model_validate(raw), unread_keys(HostJson, raw)
    except FileNotFoundError:
        raise LocalError(f"{path} is missing", hint='write at least {"version": "2.0"}') from None
    except json.JSONDecodeError as error:
        raise LocalError(f"{path} is not JSON: {error}") from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise LocalError(f"{path}: {where}: {first['msg']}") from None


def _override(section: Section, names: list[str], value: str) -> None:
    for name in names[:-1]:
        section = section.setdefault(name, {})
    section[names[-1]] = value


def unread_keys(model: type[BaseModel], raw: Section, prefix: str = "") -> list[str]:
    """The dotted names of the keys that are not fields of the model."""
    fields = {field.alias or name: field.annotation for name, field in model.model_fields.items()}
    unread = []
    for key, value in raw.items():
        inner = fields.get(key)
        if key not in fields:
            unread.append(prefix + key)
        elif isinstance(inner, type) and issubclass(inner, BaseModel) and isinstance(value, dict):
            unread += unread_keys(inner, value, f"{prefix}{key}.")
    return unread
