"""Settings from the environment, and adapters that are created on first use."""

import threading

import pytest
from pydantic import ValidationError

from config import read_settings
from infrastructure.deferred import on_first_use

NEEDED = {
    "DATABASE_URL": "postgresql://someone:secret@db/geolathe",
    "SERVICEBUS_CONNECTION": "Endpoint=sb://bus;SharedAccessKey=hidden",
    "STORAGE_CONNECTION": "https://account.blob.core.windows.net",
    "TITILER_URL": "https://tiles.example.org",
    "STAC_URL": "https://stac.example.org",
}


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    for name, value in NEEDED.items():
        monkeypatch.setenv(name, value)


def test_settings_are_environment_variables_in_upper_case(monkeypatch):
    monkeypatch.setenv("QUICK_TASKS_QUEUE", "fast")
    monkeypatch.setenv("LEASE_SECONDS", "12.5")
    settings = read_settings()
    assert settings.quick_tasks_queue == "fast" and settings.lease.total_seconds() == 12.5
    assert settings.service_bus == NEEDED["SERVICEBUS_CONNECTION"]
    assert "secret" not in repr(settings) and "hidden" not in repr(settings)


def test_the_directory_of_datum_grids_must_exist(monkeypatch, tmp_path):
    assert read_settings().proj_grids_dir is None
    monkeypatch.setenv("PROJ_GRIDS_DIR", str(tmp_path))
    assert read_settings().proj_grids_dir == tmp_path
    monkeypatch.setenv("PROJ_GRIDS_DIR", str(tmp_path / "missing"))
    with pytest.raises(ValidationError, match="proj_grids_dir"):
        read_settings()


def test_service_bus_can_be_a_host_name_with_a_managed_identity(monkeypatch):
    monkeypatch.delenv("SERVICEBUS_CONNECTION")
    monkeypatch.setenv("SERVICEBUS_CONNECTION__fullyQualifiedNamespace", "bus.example.org")
    assert read_settings().service_bus == "bus.example.org"


@pytest.mark.parametrize(
    ("settings", "refused"),
    [
        ({}, None),
        ({"AZURE_CLIENT_ID": "a"}, "SERVICEBUS_CONNECTION__clientId"),
        ({"SERVICEBUS_CONNECTION__clientId": "a"}, "AZURE_CLIENT_ID"),
        ({"AZURE_CLIENT_ID": "a", "SERVICEBUS_CONNECTION__clientId": "b"}, "the same"),
        (
            {"AZURE_CLIENT_ID": "a", "SERVICEBUS_CONNECTION__clientId": "a"},
            "SERVICEBUS_CONNECTION__credential",
        ),
        (
            {
                "AZURE_CLIENT_ID": "a",
                "SERVICEBUS_CONNECTION__clientId": "a",
                "SERVICEBUS_CONNECTION__credential": "managedidentity",
            },
            None,
        ),
    ],
)
def test_an_identity_must_be_known_to_the_triggers_and_the_sdks(monkeypatch, settings, refused):
    monkeypatch.delenv("SERVICEBUS_CONNECTION")
    monkeypatch.setenv("SERVICEBUS_CONNECTION__fullyQualifiedNamespace", "bus.example.org")
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    if refused is None:
        read_settings()
        return
    with pytest.raises(ValidationError, match=refused):
        read_settings()


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("DATABASE_URL", None, "database_url"),
        ("POOL_SIZE", "none", "pool_size"),
        ("SERVICEBUS_CONNECTION", None, "SERVICEBUS_CONNECTION"),
    ],
)
def test_an_invalid_setting_is_named_without_its_value(monkeypatch, name, value, message):
    monkeypatch.delenv(name) if value is None else monkeypatch.setenv(name, value)
    with pytest.raises(ValidationError, match=message) as raised:
        read_settings()
    assert "secret" not in str(raised.value)


def test_an_adapter_is_created_once_by_the_first_caller():
    made = []

    class Adapter:
        answer = 42

    def make() -> Adapter:
        made.append(threading.get_ident())
        return Adapter()

    adapter = on_first_use(make)
    assert not made
    answers: list[int] = []
    threads = [threading.Thread(target=lambda: answers.append(adapter.answer)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [42] * 8 and len(made) == 1


def test_an_adapter_that_cannot_be_created_raises_each_time():
    def make() -> str:
        raise ValueError("the connection string has no key")

    adapter = on_first_use(make)
    for _ in range(2):
        with pytest.raises(ValueError, match="no key"):
            adapter.upper()
