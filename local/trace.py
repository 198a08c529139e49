"""`./dev trace`: the spans of a job as a tree."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

from rich.markup import escape
from rich.tree import Tree

from local.emulators.otlp.store import Span, SpanStore
from local.errors import LocalError

MOST_ALIKE = 10
"""Spans of one name below one parent that are shown; the others are counted."""
IDS = ("stage", "attempt", "outcome")


def show_traces(store: SpanStore, job_id: str) -> list[Tree]:
    """One tree for each trace of the job. Raises LocalError if there is none."""
    if not job_id or set(job_id) - set("0123456789abcdef"):
        raise LocalError(f"invalid job id {job_id!r}", hint="expected its hexadecimal digits")
    traces = store.traces_of(job_id)
    if not traces:
        raise LocalError(
            f"no spans of job {job_id}",
            hint="spans are kept for a day and arrive a few seconds after they end",
        )
    return [build_tree(spans) for spans in traces]


def build_tree(spans: Sequence[Span]) -> Tree:
    """The spans of a trace. One whose parent is missing stands at the top."""
    known = {span.span_id for span in spans}
    below: dict[str, list[Span]] = defaultdict(list)
    for span in spans:
        below[span.parent_id if span.parent_id in known else ""].append(span)
    tree = Tree(f"trace {spans[0].trace_id}")
    _grow(tree, below, "", spans[0].started)
    return tree


def _grow(tree: Tree, below: Mapping[str, list[Span]], parent: str, start: int) -> None:
    alike: dict[str, int] = defaultdict(int)
    for span in below.get(parent, []):
        alike[span.name] += 1
        if alike[span.name] <= MOST_ALIKE:
            _grow(tree.add(_describe(span, start)), below, span.span_id, start)
    for name, count in alike.items():
        if count > MOST_ALIKE:
            tree.add(escape(f"{name}: {count - MOST_ALIKE} more"))


def _describe(span: Span, start: int) -> str:
    """The name, the start after that of the trace, and the duration, in milliseconds."""
    ids = [f"{name}={value}" for name in IDS if (value := span.attribute(name)) is not None]
    times = f"+{(span.started - start) / 1e6:.0f} {(span.ended - span.started) / 1e6:.1f} ms"
    text = escape(" ".join([span.name, *ids]))
    return f"[red]{text} failed[/red] {times}" if span.is_error else f"{text} [dim]{times}[/dim]"
