"""Stages that mypy must accept or reject. Not run: `./dev check` fails on an unused ignore."""

from core.handler import TaskContext
from core.job import JobBase, stage
from core.models import Record


class Number(Record):
    value: int


class Text(Record):
    value: str


def spell(params: Number, ctx: TaskContext) -> Text:
    return Text(value=str(params.value))


class Spelled(JobBase):
    @stage(spell)
    def one(self, params: Record) -> Number:
        return Number(value=1)

    @stage(spell)
    def many(self, params: Record, one: list[Text]) -> list[Number]:
        return [Number(value=len(one))]

    @stage(spell)  # type: ignore[arg-type]
    def wrong_list(self, params: Record) -> list[Text]:
        return []

    @stage(spell)  # type: ignore[arg-type]
    def wrong_single(self, params: Record) -> Text:
        return Text(value="")

    @stage("spell")  # type: ignore[arg-type]
    def name_of_a_handler(self, params: Record) -> list[Number]:
        return []

    @stage(spell)  # type: ignore[arg-type]
    def no_model(self, params: Record) -> list[int]:
        return []
