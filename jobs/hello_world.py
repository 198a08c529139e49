"""hello_world: the smallest fan-out and fan-in, `n` greetings and one summary."""

from typing import ClassVar

from pydantic import BaseModel, ConfigDict, Field

from core.job import JobBase, stage
from core.models import Json
from services.greet import Greet, greet
from services.summarize_greetings import SummarizeGreetings, Summary, summarize_greetings


class Parameters(BaseModel):
    """The parameters of hello_world."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    n: int = Field(3, ge=0, le=100_000, strict=True, description="number of greetings")
    message: str = Field("Hello", min_length=1, max_length=200, description="the greeting")


class HelloWorld(JobBase):
    """Greets `n` numbers and summarizes the greetings."""

    job_type = "hello_world"
    description = "Greet n numbers in parallel and summarize: the smallest fan-out and fan-in"
    parameters = Parameters
    example: ClassVar[Json] = {"n": 3, "message": "Hello"}

    @stage(greet)
    def greetings(self, params: Parameters) -> list[Greet]:
        return [Greet(number=number, message=params.message) for number in range(params.n)]

    @stage(summarize_greetings)
    def summary(self, params: Parameters) -> SummarizeGreetings:
        return SummarizeGreetings(stage="greetings")

    def finalize(self, params: Parameters, summary: list[Summary]) -> Summary:
        [result] = summary
        return result
