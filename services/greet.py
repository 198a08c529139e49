"""Say one greeting: the smallest handler there is."""

from core.handler import TaskContext, quick
from core.models import Record


class Greet(Record):
    """Whom to greet, and how."""

    number: int
    message: str


class Greeting(Record):
    """What was said."""

    number: int
    text: str


@quick
def greet(params: Greet, ctx: TaskContext) -> Greeting:
    """Greet one number."""
    return Greeting(number=params.number, text=f"{params.message}, number {params.number}")
