"""Route templates of HTTP triggers, matched as ASP.NET Core routing matches them.

https://learn.microsoft.com/aspnet/core/fundamentals/routing: case is ignored. If several
templates match, the order of `http_triggers` decides.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import unquote

_PARAMETER = re.compile(r"\{(\*{0,2})(\w+)((?::[^{}?]+)*)(\??)\}")
_CONSTRAINTS = {
    "int": r"-?\d{1,10}",
    "long": r"-?\d{1,19}",
    "decimal": r"-?\d+(?:\.\d+)?",
    "double": r"-?\d+(?:\.\d+)?",
    "float": r"-?\d+(?:\.\d+)?",
    "bool": r"true|false",
    "alpha": r"[a-z]+",
    "guid": r"[0-9a-f]{8}-?(?:[0-9a-f]{4}-?){3}[0-9a-f]{12}",
}


@dataclass(frozen=True)
class RouteTemplate:
    """A compiled template such as `jobs/{id:int}/{*rest}`."""

    template: str
    pattern: re.Pattern[str]

    @property
    def shape(self) -> str:
        """Equal for templates that match the same paths."""
        return re.sub(r"\?P<\w+>", "?:", self.pattern.pattern).lower()

    def match(self, path: str) -> dict[str, str] | None:
        """The parameters in a decoded path without its outer slashes; None without a match."""
        match = self.pattern.fullmatch(path)
        if match is None:
            return None
        return {name: value for name, value in match.groupdict().items() if value is not None}


def parse_route(template: str) -> RouteTemplate:
    """Compile a template. Raises ValueError for unsupported syntax."""
    segments = [segment for segment in template.strip("/").split("/") if segment]
    pattern = ""
    for position, segment in enumerate(segments):
        slash = "/" if position else ""
        expression, optional = _expression(segment)
        if optional and position != len(segments) - 1:
            raise ValueError(f"{segment} in {template!r} must be the last segment")
        pattern += f"(?:{slash}{expression})?" if optional else slash + expression
    return RouteTemplate(template, re.compile(pattern, re.IGNORECASE | re.DOTALL))


def decode_path(raw: bytes) -> str:
    """Decode a path as ASP.NET does for routing: everything except %2F."""
    kept = re.sub(r"%2f", "%252F", raw.decode("ascii", "replace"), flags=re.IGNORECASE)
    return unquote(kept).strip("/")


def _expression(segment: str) -> tuple[str, bool]:
    """The regular expression of a segment and whether the segment may be missing."""
    pieces = []
    end = 0
    optional = False
    for match in _PARAMETER.finditer(segment):
        pieces.append(_literal(segment[end : match.start()]))
        stars, name, constraints, question = match.groups()
        optional = bool(stars or question)
        pieces.append(f"(?P<{name}>{_value(stars, constraints)})")
        end = match.end()
    pieces.append(_literal(segment[end:]))
    return "".join(pieces), optional


def _literal(text: str) -> str:
    if "{" in text or "}" in text:
        raise ValueError(
            f"{text!r} is not a valid route parameter; expected {{name}} or {{name:int}}"
        )
    return re.escape(text)


def _value(stars: str, constraints: str) -> str:
    if stars:
        return ".*"
    expression = "[^/]+"
    for constraint in filter(None, constraints.split(":")):
        if constraint not in _CONSTRAINTS:
            raise ValueError(
                f"unknown constraint {constraint!r}; expected one of {sorted(_CONSTRAINTS)}"
            )
        expression = _CONSTRAINTS[constraint]
    return expression
