"""docs/errors.md lists every code that a user can receive, and no other."""

import ast
import importlib.util

from local.stack.environment import ROOT

PRODUCT = ("core", "jobs", "services", "infrastructure", "triggers")
# The first argument of these, or their argument `code`, is an error code.
RAISERS = {"TaskFailed", "failing_as", "warn_or_fail", "warn", "RasterWarning", "Failure"}

spec = importlib.util.spec_from_file_location("errors_page", ROOT / "docs" / "errors.py")
errors_page = importlib.util.module_from_spec(spec)
spec.loader.exec_module(errors_page)


def find_candidates(node):
    """Expressions that may be a code."""
    if isinstance(node, ast.Call) and name_of(node.func) in RAISERS:
        yield from [word.value for word in node.keywords if word.arg == "code"] or node.args[:1]
    if isinstance(node, ast.Assign) and name_of(node.targets[0]) == "code":
        yield node.value
    if isinstance(node, ast.BoolOp):
        yield node.values[-1]


def name_of(node):
    return getattr(node, "attr", None) or getattr(node, "id", None)


def find_codes():
    return {
        value.value
        for package in PRODUCT
        for path in (ROOT / package).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        for value in find_candidates(node)
        if isinstance(value, ast.Constant) and str(value.value).isupper()
    }


def test_the_table_has_exactly_the_find_codes():
    known = [code for codes in errors_page.read_advice().values() for code in codes]
    assert len(known) == len(set(known))
    found = find_codes()
    assert {"NOT_A_RASTER", "PIXELS_UNREADABLE", "CRS_MISMATCH", "UNEXPECTED_ERROR"} <= found
    assert set(known) == found


def test_the_page_is_generated_from_the_table():
    assert errors_page.PAGE.read_text() == errors_page.render(), "run: python docs/errors.py"
    assert "| `BODY_TOO_LARGE` 413 |" in errors_page.render()
