"""Names in the documentation exist: files, constants, error codes, settings."""

import re

import pytest

from local.stack.environment import ROOT

PACKAGES = (
    "config", "core", "geolathe", "infra", "infrastructure", "jobs", "local", "services",
    "stac_api", "testing", "tests", "tiles", "triggers",
)  # fmt: skip
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "SECURITY.md",
    *(page for page in sorted(ROOT.glob("docs/**/*.md")) if page.parent.name != "decisions"),
]
FROM_OUTSIDE = {"CHROMIUM", "SCREENSHOTS", "DEFLATE", "LZW", "LERC_DEFLATE", "GDAL_CACHEMAX",
                "PYTHON_ENABLE_OPENTELEMETRY", "OTEL_TRACES_SAMPLER_ARG"}  # fmt: skip
"""Names of other programs, and variables that only tests read."""
FOLDERS = (*PACKAGES, "benchmarks", "docs", "samples", "sql")


@pytest.fixture(scope="module")
def sources():
    """The text of all code and hand-written tables."""
    files = [file for name in PACKAGES for file in (ROOT / name).rglob("*.py")]
    files += [ROOT / "function_app.py", ROOT / "docs" / "errors.toml"]
    files += [ROOT / "infra" / "main.parameters.json"]
    return "\n".join(file.read_text(encoding="utf-8") for file in files)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_constant_that_a_page_names_exists(page, sources):
    named = re.findall(r"`([A-Z][A-Z0-9]*(?:_[A-Z0-9]+)*)`", page.read_text(encoding="utf-8"))
    unknown = {
        name
        for name in set(named) - FROM_OUTSIDE
        if len(name) > 3 and name.lower() not in sources and name not in sources
    }
    assert unknown == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_file_that_a_page_names_exists(page):
    folders = "|".join(FOLDERS)
    named = re.findall(rf"`((?:{folders})/[\w./-]*)`", page.read_text(encoding="utf-8"))
    missing = {name for name in named if not (ROOT / name).exists()}
    assert missing - {"services/measure_blob.py", "jobs/measure_blobs.py"} == set()
