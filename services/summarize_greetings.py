"""Fold many greetings into one summary."""

from core.handler import TaskContext, quick
from core.models import Record
from services.greet import Greeting


class SummarizeGreetings(Record):
    """The stage whose greetings are summarized."""

    stage: str


class Summary(Record):
    """How many greetings there were, and the outer ones."""

    greetings: int
    first: str | None
    last: str | None


@quick
def summarize_greetings(params: SummarizeGreetings, ctx: TaskContext) -> Summary:
    """Count the greetings, page by page, and keep the outer ones."""
    count, first, last = 0, None, None
    for greeting in ctx.results(params.stage, Greeting):
        count, first, last = count + 1, first or greeting.text, greeting.text
    return Summary(greetings=count, first=first, last=last)
