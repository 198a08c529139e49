"""Services are started once, restarted after a crash or change, and stopped with their children."""

import shutil
import signal
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from local import ports, process
from local.errors import LocalError
from local.stack import keeper
from local.stack.services import Service, Services


@pytest.fixture
def services(tmp_path):
    services = Services(tmp_path / "state")
    yield services
    for name in ("web", "other"):
        services.stop(name, grace=1)


@pytest.fixture
def source(tmp_path):
    file = tmp_path / "source" / "app.py"
    file.parent.mkdir()
    file.write_text("x = 1\n")
    return file


@pytest.fixture
def web(source):
    port = ports.pick_free()
    return Service(
        name="web",
        command=("-m", "http.server", str(port), "--bind", "127.0.0.1"),
        settings={"GREETING": "hello"},
        port=port,
        ready_path="/",
        sources=(str(source.parent),),
    )


def test_a_started_service_keeps_running(services, web):
    assert services.ensure(web) == "started"
    assert web.is_ready()
    before = services.read("web")
    assert services.ensure(web) == "already running"
    assert services.read("web") == before


def test_killed_service_is_started_again(services, web):
    services.ensure(web)
    before = services.read("web").identity
    process.stop(before, ask=signal.SIGKILL)
    assert services.ensure(web) == "started"
    assert services.read("web").identity != before


def test_changed_setting_starts_it_again(services, web):
    services.ensure(web)
    before = services.read("web").identity
    changed = replace(web, settings={"GREETING": "bye"})
    assert services.ensure(changed) == "restarted after a change"
    assert not process.is_alive(before)


def test_changed_source_starts_it_again(services, web, source):
    services.ensure(web)
    (source.parent / "more.py").write_text("y = 2\n")
    assert services.ensure(web) == "restarted after a change"


def test_a_source_can_be_a_single_file(web, source):
    one = replace(web, sources=(str(source),))
    before = one.make_up()
    (source.parent / "more.py").write_text("y = 2\n")
    assert one.make_up() == before
    source.write_text("x = 2\n")
    assert one.make_up() != before


def test_compiled_files_are_not_sources(web, source):
    before = web.make_up()
    (source.parent / "app.pyc").write_bytes(b"")
    assert web.make_up() == before


def test_a_stopped_service_has_no_record(services, web):
    services.ensure(web)
    identity = services.read("web").identity
    assert services.stop("web", grace=5)
    assert not process.is_alive(identity)
    assert services.read("web") is None
    assert not services.stop("web", grace=5)


def test_a_failed_start_shows_the_log(services, web):
    dying = replace(web, name="other", command=("-c", "raise SystemExit('no such database')"))
    with pytest.raises(LocalError, match="other exited") as caught:
        services.ensure(dying)
    assert "no such database" in caught.value.log.read_text()


def test_services_use_the_same_python(services, web):
    services.ensure(web)
    pid = services.read("web").identity.pid
    command = Path(f"/proc/{pid}/cmdline").read_bytes()
    assert command.split(b"\0")[0].decode() == sys.executable


def test_two_keepers_can_clear_one_folder_concurrently(tmp_path):
    for number in range(20):
        folder = tmp_path / str(number)
        for name in range(100):
            (folder / f"{name}" / "below").mkdir(parents=True)
        other = threading.Thread(target=keeper.clear, args=[folder / "50"])
        rest = threading.Thread(target=shutil.rmtree, args=[folder], kwargs={"ignore_errors": True})
        other.start()
        rest.start()
        keeper.clear(folder)
        other.join()
        rest.join()
        assert not folder.exists() or not any(folder.iterdir())
