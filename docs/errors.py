"""Generates docs/errors.md from docs/errors.toml: `python docs/errors.py`."""

import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from core.errors import GeolatheError  # noqa: E402  the repository must be on the path first
from triggers.http.problems import STATUS  # noqa: E402

PAGE = ROOT / "docs" / "errors.md"
TITLES = {
    "request": "Requests: `code` and HTTP status of a problem",
    "raster": "Rasters: `error.code` of a failed job or task, and warnings of a result",
    "collection": "Collections: `error.code` of a failed job or task",
    "service": "Service",
}
INTRODUCTION = """# Errors

<!-- Generated from errors.toml by `python docs/errors.py`. Do not edit. -->

The response to an invalid request is `application/problem+json` (RFC 9457). A failed job or task
has an `error` with a `code` from the same list and a message that names the cause, the value and
the remedy. Codes are stable; messages are not.
"""


def read_advice() -> dict[str, dict[str, list[str]]]:
    """Cause and remedy of every code, by group."""
    return tomllib.loads(PAGE.with_suffix(".toml").read_text())


def render() -> str:
    """The page."""
    tables = (_render_table(TITLES[group], codes) for group, codes in read_advice().items())
    return INTRODUCTION + "".join(tables)


def _render_table(title: str, codes: dict[str, list[str]]) -> str:
    statuses = {kind.code: _find_status(kind) for kind in _list_kinds(GeolatheError)}
    rows = [
        f"| `{code}`{statuses.get(code, '')} | {cause} | {remedy} |"
        for code, (cause, remedy) in codes.items()
    ]
    head = ["", f"## {title}", "", "| Code | Cause | Remedy |", "| --- | --- | --- |"]
    return "\n".join([*head, *rows, ""])


def _list_kinds(kind: type[GeolatheError]) -> Iterator[type[GeolatheError]]:
    for child in kind.__subclasses__():
        yield child
        yield from _list_kinds(child)


def _find_status(kind: type[GeolatheError]) -> str:
    return next((f" {STATUS[each][0]}" for each in kind.__mro__ if each in STATUS), "")


if __name__ == "__main__":
    PAGE.write_text(render())
