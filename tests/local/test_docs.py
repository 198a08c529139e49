"""The documentation site builds in strict mode."""

import re
import shutil

import pytest
from playwright.sync_api import expect

from local import docs
from local.errors import LocalError
from local.stack.environment import ROOT


@pytest.fixture
def copy(tmp_path, monkeypatch):
    """A copy of the documentation for tests that change it."""
    shutil.copytree(ROOT / "docs", tmp_path / "docs")
    shutil.copy(ROOT / "zensical.toml", tmp_path)
    monkeypatch.setattr(docs, "ROOT", tmp_path)
    return tmp_path


def test_the_site_builds_without_warnings(copy):
    docs.build_site()
    assert "Geolathe" in (copy / ".local" / "docs" / "site" / "index.html").read_text()


def test_diagrams_are_drawn_without_other_hosts(copy, chromium):
    docs.build_site()
    requested = []
    with chromium.new_context() as context:
        page = context.new_page()
        page.on("request", lambda request: requested.append(request.url))
        page.goto((copy / ".local" / "docs" / "site" / "architecture.html").as_uri())
        expect(page.locator("div.mermaid")).to_have_count(2)
    assert [url for url in requested if not url.startswith("file:")] == []


@pytest.mark.parametrize("link", ["missing.md", "glossary.md#missing"])
def test_a_broken_link_fails_the_build(copy, link):
    page = copy / "docs" / "index.md"
    page.write_text(page.read_text() + f"\n[broken]({link})\n")
    with pytest.raises(LocalError, match="does not exist"):
        docs.build_site()


def test_every_page_is_in_the_navigation():
    navigation = (ROOT / "zensical.toml").read_text()
    pages = {page.relative_to(ROOT / "docs").as_posix() for page in ROOT.glob("docs/**/*.md")}
    listed = set(re.findall(r'"([\w/-]+\.md)"', navigation))
    decisions = {page for page in pages if re.match(r"decisions/\d", page)}
    assert listed == pages - decisions
