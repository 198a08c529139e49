"""SQL statements as spans of the operation that runs them."""

import re
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import psycopg
from psycopg.abc import Params, Query
from psycopg.rows import Row
from psycopg.sql import Composable

from core.telemetry import is_traced, operation

_VERB = re.compile(r"\s*(\w+)")
_QUALIFIED = re.compile(r"\b((?:app|pgstac)\.\w+)")
_UNQUALIFIED = re.compile(r"\b(?:SELECT|FROM)\s+(\w+)(?=\(|\s+WHERE)")


class TracedCursor(psycopg.Cursor[Row]):
    """Records each statement within a span. Outside of one, as in the heartbeat, nothing."""

    def execute(self, query: Any, params: Params | None = None, **options: Any) -> Any:
        with self._span(query):
            return super().execute(query, params, **options)

    @contextmanager
    def copy(self, statement: Query, *arguments: Any, **options: Any) -> Iterator[psycopg.Copy]:
        with self._span(statement), super().copy(statement, *arguments, **options) as copy:
            yield copy

    def _span(self, query: Query) -> AbstractContextManager[None]:
        if not is_traced():
            return nullcontext()
        return operation(describe(_text(query, self)), "client")


def describe(statement: str) -> str:
    """A short name without values, such as `SELECT app.claim_attempts`."""
    verb = _VERB.match(statement)
    found = _QUALIFIED.search(statement) or _UNQUALIFIED.search(statement)
    names = [verb[1].upper() if verb else "SQL", found[1] if found else ""]
    return " ".join(filter(None, names))


def _text(query: Query, cursor: psycopg.Cursor[Any]) -> str:
    if isinstance(query, Composable):
        return query.as_string(cursor)
    return query.decode() if isinstance(query, bytes) else str(query)
