"""Rules of the architecture that import-linter does not check."""

import ast
import tomllib
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PRODUCT = ["core", "jobs", "services", "infrastructure", "triggers", "config"]
VENDORS = {
    "azure.functions": {"triggers", "function_app"},
    "azure.servicebus": {"infrastructure"},
    "azure.storage": {"infrastructure"},
    "azure.identity": {"infrastructure"},
    "azure.core": {"infrastructure"},
    "opentelemetry": {"infrastructure"},
    "psycopg": {"infrastructure"},
    "psycopg_pool": {"infrastructure"},
    "pypgstac": {"infrastructure"},
    "rasterio": {"services"},
    "rio_cogeo": {"services"},
    "pystac": {"services"},
}


@cache
def sources():
    files = [
        (package, path) for package in PRODUCT for path in sorted((ROOT / package).rglob("*.py"))
    ]
    return [*files, ("function_app", ROOT / "function_app.py")]


@cache
def nodes(path):
    return list(ast.walk(ast.parse(path.read_text())))


@cache
def imports(path):
    names = set()
    for node in nodes(path):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
            names.add(node.module)
    return names


@pytest.mark.parametrize("vendor", VENDORS)
def test_vendor_packages_are_imported_in_their_layer_only(vendor):
    outside = [
        f"{path.relative_to(ROOT)} imports {name}"
        for package, path in sources()
        if package not in VENDORS[vendor]
        for name in imports(path)
        if name == vendor or name.startswith(vendor + ".")
    ]
    assert outside == []


def test_no_module_imports_the_composition_root():
    everywhere = [*sources(), *(("local", path) for path in (ROOT / "local").rglob("*.py"))]
    assert [path for _, path in everywhere if "function_app" in imports(path)] == []


def test_the_contract_for_handlers_lists_every_handler():
    tools = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]
    [contract] = [
        contract
        for contract in tools["importlinter"]["contracts"]
        if contract["name"].startswith("Handlers use")
    ]
    handlers = {f"services.{path.stem}" for path in (ROOT / "services").glob("*.py")}
    assert set(contract["forbidden_modules"]) == handlers - {"services.__init__"}


def test_only_config_reads_the_environment():
    readers = [
        str(path.relative_to(ROOT))
        for package, path in sources()
        if package != "config"
        for node in nodes(path)
        if isinstance(node, ast.Attribute) and node.attr in ("environ", "getenv")
    ]
    # These read no settings: child.py passes a part of it to the child process, landlock.py allows
    # the child to read the certificates that it names, and gdal.py sets options of GDAL.
    allowed = (
        "services/sandbox/child.py",
        "services/sandbox/landlock.py",
        "services/raster/gdal.py",
    )
    assert set(readers) <= {*allowed}


def test_exceptions_are_caught_broadly_in_two_places_only():
    """Around handlers, and where the child process reports errors to its parent."""
    catch_alls = [
        str(path.relative_to(ROOT))
        for _, path in sources()
        for node in nodes(path)
        if isinstance(node, ast.ExceptHandler)
        and (node.type is None or getattr(node.type, "id", "") in ("Exception", "BaseException"))
    ]
    assert sorted(catch_alls) == ["core/outcome.py", "services/sandbox/forkserver.py"]


def test_every_sql_function_has_a_comment():
    for path in sorted((ROOT / "sql" / "functions").glob("*.sql")):
        text = path.read_text()
        assert text.startswith("-- "), path
        assert f"FUNCTION app.{path.stem}(" in text, path
