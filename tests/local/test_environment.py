"""Ports, keys and settings of the local stack."""

import json
import re
import socket
import stat

import pytest

from local import ports
from local.errors import LocalError
from local.stack.environment import inherited, prepare_environment, read_environment


@pytest.fixture
def taken():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


def test_ports_and_keys_stay_the_same(tmp_path):
    first = prepare_environment(tmp_path, [])
    assert prepare_environment(tmp_path, []) == first == read_environment(tmp_path)


def test_ports_differ_from_each_other(tmp_path):
    noted = json.loads((prepare_environment(tmp_path, []).folder / "ports.json").read_text())
    assert len(set(noted.values())) == len(noted) == 7


def test_a_stored_port_taken_by_another_program_is_replaced(tmp_path, taken):
    prepare_environment(tmp_path, [])
    noted = json.loads((tmp_path / "ports.json").read_text())
    (tmp_path / "ports.json").write_text(json.dumps({**noted, "api": taken}))
    again = prepare_environment(tmp_path, [])
    assert again.ports.api != taken
    assert again.ports.stac == noted["stac"]


def test_a_port_of_a_running_service_is_kept(tmp_path, taken):
    prepare_environment(tmp_path, [])
    noted = json.loads((tmp_path / "ports.json").read_text())
    (tmp_path / "ports.json").write_text(json.dumps({**noted, "api": taken}))
    assert prepare_environment(tmp_path, ["api"]).ports.api == taken


def test_a_requested_port_is_used(tmp_path, monkeypatch):
    port = ports.pick_free()
    monkeypatch.setenv("GEOLATHE_API_PORT", str(port))
    assert prepare_environment(tmp_path, []).api == f"http://127.0.0.1:{port}/api"


def test_a_requested_port_in_use_is_an_error(tmp_path, monkeypatch, taken):
    monkeypatch.setenv("GEOLATHE_TITILER_PORT", str(taken))
    with pytest.raises(LocalError, match=rf"port {taken} \(GEOLATHE_TITILER_PORT\) is in use"):
        prepare_environment(tmp_path, [])


@pytest.mark.parametrize("value", ["", "http", "0", "65536", "-1"])
def test_an_invalid_port_is_an_error(tmp_path, monkeypatch, value):
    monkeypatch.setenv("GEOLATHE_STAC_PORT", value)
    with pytest.raises(LocalError, match=re.escape(f"GEOLATHE_STAC_PORT={value!r}")):
        prepare_environment(tmp_path, [])


def test_there_is_no_environment_before_the_first_start(tmp_path):
    assert read_environment(tmp_path) is None


def test_the_file_of_keys_is_private(tmp_path):
    prepare_environment(tmp_path, [])
    assert stat.S_IMODE((tmp_path / "keys.json").stat().st_mode) == 0o600


def test_the_status_has_what_clients_need(tmp_path):
    description = prepare_environment(tmp_path, []).describe()
    assert set(description) == {
        "api",
        "function_key",
        "titiler",
        "stac",
        "database_url",
        "storage_connection_string",
        "servicebus_connection_string",
        "bronze_container",
    }
    assert description["api"].endswith("/api")
    assert "UseDevelopmentEmulator=true" in description["servicebus_connection_string"]


def test_the_broker_and_the_connection_string_have_the_same_key(tmp_path):
    environment = prepare_environment(tmp_path, [])
    [key] = environment.broker_config()["keys"].values()
    assert f"SharedAccessKey={key};" in environment.servicebus_connection_string


@pytest.mark.parametrize(
    "name",
    [
        *("PGHOST", "PGSERVICE", "AZURE_STORAGE_CONNECTION_STRING", "GDAL_DATA", "PROJ_LIB"),
        *("https_proxy", "HTTP_PROXY", "all_proxy", "PYTHONPATH"),
    ],
)
def test_the_services_do_not_inherit_settings(monkeypatch, name):
    monkeypatch.setenv(name, "elsewhere")
    assert inherited().get(name) is None


def test_settings_of_the_product_are_passed_on(monkeypatch):
    monkeypatch.setenv("LEASE_SECONDS", "5")
    assert inherited()["LEASE_SECONDS"] == "5"
