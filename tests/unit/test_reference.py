"""The generated pages of the documentation are current."""

import importlib.util
import re

import pytest

from local.stack.environment import ROOT

spec = importlib.util.spec_from_file_location("reference_pages", ROOT / "docs" / "reference.py")
reference = importlib.util.module_from_spec(spec)
spec.loader.exec_module(reference)
PAGES = reference.pages()


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_the_page_is_current(path):
    assert path.read_text() == PAGES[path], "run: python docs/reference.py"


def test_every_app_setting_that_a_trigger_names_is_described():
    triggers = (ROOT / "triggers").glob("*.py")
    named = {name for file in triggers for name in re.findall(r"%([A-Z_]+)%", file.read_text())}
    assert "SWEEP_SCHEDULE" in named
    settings = PAGES[ROOT / "docs" / "reference" / "settings.md"]
    assert [name for name in named if f"| `{name}` |" not in settings] == []
