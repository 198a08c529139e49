"""The settings of pip apply to uv, which does not read them itself."""

import pytest

from local.install import bootstrap


@pytest.fixture(autouse=True)
def no_uv_settings(monkeypatch):
    for name in bootstrap.PIP_TO_UV.values():
        monkeypatch.delenv(name, raising=False)


def test_the_environment_takes_precedence_over_files():
    listing = "\n".join(
        [
            ":env:.index-url='https://env/simple'",
            "global.index-url='https://global/simple'",
            "global.extra-index-url='https://a/simple\\nhttps://b/simple'",
            "install.extra-index-url='https://c/simple'",
            "download.find-links='/elsewhere'",
            "WARNING: something else",
        ]
    )
    assert bootstrap.parse_pip_settings(listing) == {
        "index-url": "https://env/simple",
        "extra-index-url": "https://c/simple",
    }


def test_several_indexes_are_joined():
    listing = "global.extra-index-url='https://a/simple\\nhttps://b/simple'"
    settings = bootstrap.uv_settings(bootstrap.parse_pip_settings(listing))
    assert settings["UV_INDEX"] == "https://a/simple https://b/simple"


def test_pip_settings_are_passed_to_uv():
    settings = bootstrap.uv_settings(
        {"index-url": "https://i", "find-links": "/a\n/b", "cert": "/c.pem", "timeout": "9"}
    )
    assert settings == {
        "UV_DEFAULT_INDEX": "https://i",
        "UV_FIND_LINKS": "/a,/b",
        "SSL_CERT_FILE": "/c.pem",
        "UV_INDEX_STRATEGY": "unsafe-best-match",
        "UV_SYSTEM_CERTS": "1",
        "UV_NATIVE_TLS": "1",
    }


def test_uv_settings_take_precedence(monkeypatch):
    monkeypatch.setenv("UV_DEFAULT_INDEX", "https://mine")
    assert "UV_DEFAULT_INDEX" not in bootstrap.uv_settings({"index-url": "https://i"})


def test_pip_wheel_with_another_checksum_is_refused(tmp_path, monkeypatch):
    index = tmp_path / "simple"
    (index / "pip").mkdir(parents=True)
    (index / "pip" / bootstrap.PIP_WHEEL).write_bytes(b"not pip")
    page = index / "pip" / "index.html"
    page.write_text(f'<a href="{bootstrap.PIP_WHEEL}#sha256=0">{bootstrap.PIP_WHEEL}</a>')
    monkeypatch.setattr(bootstrap, "pip_page", lambda: page.as_uri())
    with pytest.raises(bootstrap.SetupError, match="another checksum"):
        bootstrap.fetch_pip(tmp_path)


def test_an_unreachable_index_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    with pytest.raises(bootstrap.SetupError, match=r"127\.0\.0\.1:9/simple/pip/ is out of reach"):
        bootstrap.fetch_pip(tmp_path)
