"""Fold many greetings into one summary."""

from core.handler import TaskContext, quick
from core.models import Record


class SummarizeGreetings(Record):
    """What is known of the greetings."""

    count: int
    first: str | None
    last: str | None


class Summary(Record):
    """How many greetings there were, and the outer ones."""

    greetings: int
    first: str | None
    last: str | None


@quick
def summarize_greetings(params: SummarizeGreetings, ctx: TaskContext) -> Summary:
    """Sum up."""
    return Summary(greetings=params.count, first=params.first, last=params.last)
