"""docs/errors.md lists every code that a user can meet, and no other."""

import ast
import importlib.util

from local.stack.environment import ROOT

PRODUCT = ("core", "jobs", "services", "infrastructure", "triggers")
# The first argument of these, or the one called `code`, is a code.
RAISERS = {"TaskFailed", "failing_as", "warn_or_fail", "warn", "RasterWarning", "Failure"}

spec = importlib.util.spec_from_file_location("errors_page", ROOT / "docs" / "errors.py")
errors_page = importlib.util.module_from_spec(spec)
spec.loader.exec_module(errors_page)


def candidates(node):
    """Expressions that hold a code."""
    if isinstance(node, ast.Call) and called(node.func) in RAISERS:
        yield from [word.value for word in node.keywords if word.arg == "code"] or node.args[:1]
    if isinstance(node, ast.Assign) and called(node.targets[0]) == "code":
        yield node.value
    if isinstance(node, ast.BoolOp):
        yield node.values[-1]


def called(node):
    return getattr(node, "attr", None) or getattr(node, "id", None)


def codes_of_the_sources():
    return {
        value.value
        for package in PRODUCT
        for path in (ROOT / package).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        for value in candidates(node)
        if isinstance(value, ast.Constant) and str(value.value).isupper()
    }


def test_every_code_has_its_cause_and_cure_and_none_is_invented():
    known = [code for codes in errors_page.advice().values() for code in codes]
    assert len(known) == len(set(known))
    found = codes_of_the_sources()
    assert {"NOT_A_RASTER", "PIXELS_UNREADABLE", "CRS_MISMATCH", "UNEXPECTED_ERROR"} <= found
    assert set(known) == found


def test_the_page_is_made_of_the_table():
    assert errors_page.PAGE.read_text() == errors_page.render(), "run: python docs/errors.py"
    assert "| `BODY_TOO_LARGE` 413 |" in errors_page.render()
