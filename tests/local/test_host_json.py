"""Reading host.json, the product's and others."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from local.emulators.functions.hostjson import HostJson, parse_timespan, read_host_json, unread_keys
from local.errors import LocalError

PRODUCT = Path(__file__).parents[2] / "host.json"

# ServiceBusOptions of Microsoft.Azure.WebJobs.Extensions.ServiceBus 5.x, bound at
# `extensions.serviceBus`; Azure ignores other keys without a message.
SERVICE_BUS_5X = {
    "autoCompleteMessages",
    "clientRetryOptions",
    "enableCrossEntityTransactions",
    "maxAutoLockRenewalDuration",
    "maxBatchWaitTime",
    "maxConcurrentCalls",
    "maxConcurrentCallsPerSession",
    "maxConcurrentSessions",
    "maxMessageBatchSize",
    "minMessageBatchSize",
    "prefetchCount",
    "sessionIdleTimeout",
    "transportType",
    "webProxy",
}


@pytest.fixture
def write(tmp_path: Path):
    def write(content: Any) -> Path:
        path = tmp_path / "host.json"
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return path

    return write


def test_every_key_of_the_product_is_read() -> None:
    _, unread = read_host_json(PRODUCT)
    assert unread == []
    raw = json.loads(PRODUCT.read_text())
    assert set(raw["extensions"]["serviceBus"]) <= SERVICE_BUS_5X
    assert set(raw["extensions"]) <= {"http", "serviceBus"}


def test_the_options_of_the_product_take_effect() -> None:
    options, _ = read_host_json(PRODUCT, {})
    bus = options.extensions.service_bus
    assert options.extensions.http.route_prefix == "api"
    assert options.extension_bundle == {
        "id": "Microsoft.Azure.Functions.ExtensionBundle",
        "version": "[4.*, 5.0.0)",
    }
    assert (bus.auto_complete_messages, bus.prefetch_count) == (True, 0)
    assert bus.max_concurrent_calls == 2


def test_app_settings_override_the_file(write) -> None:
    given = {
        "AzureFunctionsJobHost__extensions__serviceBus__maxConcurrentCalls": "7",
        "AzureFunctionsJobHost__functionTimeout": "-1",
        "extensions__serviceBus__maxConcurrentCalls": "9",
    }
    options, unread = read_host_json(write({"version": "2.0"}), given)
    assert options.extensions.service_bus.max_concurrent_calls == 7
    assert options.function_timeout is None and unread == []


def test_the_model_is_the_allow_list() -> None:
    model = HostJson.model_fields["extensions"].default.service_bus
    aliases = {field.alias for field in type(model).model_fields.values()}
    assert aliases == SERVICE_BUS_5X


def test_defaults_are_those_of_the_extension(write) -> None:
    options, unread = read_host_json(write({"version": "2.0"}))
    bus = options.extensions.service_bus
    assert unread == []
    assert options.function_timeout == timedelta(minutes=30)
    assert options.extensions.http.route_prefix == "api"
    assert bus.max_concurrent_calls == 16
    assert bus.max_auto_lock_renewal_duration == timedelta(minutes=5)
    assert bus.max_message_batch_size == 1000
    assert bus.min_message_batch_size == 1
    assert bus.max_batch_wait_time == timedelta(seconds=30)


def test_unknown_keys_are_reported(write) -> None:
    old_style = {
        "version": "2.0",
        "maxConcurrentCalls": 1,
        "extensions": {
            "serviceBus": {
                "messageHandlerOptions": {"maxAutoLockRenewalDuration": "00:30:00"},
                "clientRetryOptions": {"maxRetries": 1, "maxRetry": 1},
            }
        },
    }
    options, unread = read_host_json(write(old_style))
    assert unread == [
        "maxConcurrentCalls",
        "extensions.serviceBus.messageHandlerOptions",
        "extensions.serviceBus.clientRetryOptions.maxRetry",
    ]
    assert options.extensions.service_bus.max_auto_lock_renewal_duration == timedelta(minutes=5)
    assert options.extensions.service_bus.client_retry_options.max_retries == 1


def test_sections_of_the_host_are_not_searched() -> None:
    raw = {"logging": {"logLevel": {"My.Own": "Debug"}}}
    assert unread_keys(HostJson, raw) == []


@pytest.mark.parametrize("value", ["-1", -1])
def test_no_function_timeout(write, value: object) -> None:
    options, _ = read_host_json(write({"version": "2.0", "functionTimeout": value}))
    assert options.function_timeout is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("00:05:00", timedelta(minutes=5)),
        ("00:00:01.5", timedelta(seconds=1.5)),
        ("00:00:00.8000000", timedelta(seconds=0.8)),
        ("1.02:03:04", timedelta(days=1, hours=2, minutes=3, seconds=4)),
        ("01:30", timedelta(hours=1, minutes=30)),
    ],
)
def test_time_spans(text: str, expected: timedelta) -> None:
    assert parse_timespan(text) == expected


@pytest.mark.parametrize("text", ["", "5", "24:00:00", "00:60:00", "00:00:61", "-00:01:00", "soon"])
def test_an_invalid_time_span_is_rejected(text: str) -> None:
    with pytest.raises(ValueError, match="not a time span"):
        parse_timespan(text)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("{", "is not JSON"),
        ({}, "version"),
        ({"version": "3.0"}, "version"),
        ({"version": "2.0", "functionTimeout": "soon"}, "functionTimeout"),
        (
            {"version": "2.0", "extensions": {"serviceBus": {"maxConcurrentCalls": 0}}},
            "extensions.serviceBus.maxConcurrentCalls",
        ),
    ],
)
def test_an_unusable_file_is_refused_with_the_place(write, content: Any, reason: str) -> None:
    path = write(content)
    with pytest.raises(LocalError) as error:
        read_host_json(path)
    assert reason in str(error.value) and str(path) in str(error.value)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LocalError, match="missing"):
        read_host_json(tmp_path / "host.json")
