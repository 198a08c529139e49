"""Makes docs/errors.md of docs/errors.toml: `python docs/errors.py`."""

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
    "service": "The service itself",
}
INTRODUCTION = """# Errors

<!-- Made of errors.toml by `python docs/errors.py`. -->

A wrong request is answered with `application/problem+json`; a failed job or task shows the same
kind of `code` and a sentence that names what, where and what to do. Codes are stable, sentences
are not.
"""


def advice() -> dict[str, dict[str, list[str]]]:
    """Cause and cure of every code, by group."""
    return tomllib.loads(PAGE.with_suffix(".toml").read_text())


def render() -> str:
    """The page."""
    return INTRODUCTION + "".join(_table(TITLES[group], codes) for group, codes in advice().items())


def _table(title: str, codes: dict[str, list[str]]) -> str:
    statuses = {kind.code: _status(kind) for kind in _kinds(GeolatheError)}
    rows = [
        f"| `{code}`{statuses.get(code, '')} | {cause} | {cure} |"
        for code, (cause, cure) in codes.items()
    ]
    head = ["", f"## {title}", "", "| code | why | what to do |", "| --- | --- | --- |"]
    return "\n".join([*head, *rows, ""])


def _kinds(kind: type[GeolatheError]) -> Iterator[type[GeolatheError]]:
    for child in kind.__subclasses__():
        yield child
        yield from _kinds(child)


def _status(kind: type[GeolatheError]) -> str:
    return next((f" {STATUS[each][0]}" for each in kind.__mro__ if each in STATUS), "")


if __name__ == "__main__":
    PAGE.write_text(render())
