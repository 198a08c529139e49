"""Which browser the tests use, and the message on a platform without one."""

from pathlib import Path

import pytest

from local.install.chromium import find_chromium, install, install_chromium


@pytest.fixture(autouse=True)
def bare_machine(monkeypatch, tmp_path):
    """A machine without a browser."""
    monkeypatch.delenv("CHROMIUM", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(install, "FOLDER", tmp_path / "chromium")


def test_without_a_browser_none_is_used(monkeypatch, tmp_path):
    assert find_chromium() is None
    monkeypatch.setattr(install.platform, "machine", lambda: "aarch64")
    message = install_chromium(tmp_path / "log")
    assert message == "not available for aarch64: browser tests are skipped"


def test_a_configured_browser_takes_precedence(monkeypatch, tmp_path):
    on_path = tmp_path / "chromium"
    on_path.touch(mode=0o755)
    assert find_chromium().program == on_path
    monkeypatch.setenv("CHROMIUM", "/usr/local/bin/mine")
    assert find_chromium().program == Path("/usr/local/bin/mine")
    assert install_chromium(tmp_path / "log") == ""
