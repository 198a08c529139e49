"""NCRONTAB, the schedule of timer triggers: {second} {minute} {hour} {day} {month} {day of week}.

https://learn.microsoft.com/azure/azure-functions/functions-bindings-timer#ncrontab-expressions
All six fields must match, including both the day of the month and the day of the week. With five
fields, the second is 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

_MONTHS = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
]
_DAYS = ["sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday"]
_HORIZON = timedelta(days=366 * 28)  # 29 February is on each day of the week within 28 years


@dataclass(frozen=True)
class _Field:
    name: str
    low: int
    high: int
    names: tuple[str, ...] = ()

    def parse(self, text: str) -> frozenset[int]:
        values: set[int] = set()
        for part in text.lower().split(","):
            values |= self._part(part)
        return frozenset(value % 7 for value in values) if self.high == 7 else frozenset(values)

    def _part(self, part: str) -> set[int]:
        bounds, slash, step = part.partition("/")
        if slash and not (step.isdecimal() and int(step) > 0):
            raise ValueError(
                f"{self.name}: {part!r} has an invalid step; expected a positive number"
            )
        first, last = self._bounds(bounds, bool(slash))
        if first > last:
            raise ValueError(f"{self.name}: {part!r} starts after its end")
        return set(range(first, last + 1, int(step or 1)))

    def _bounds(self, text: str, stepped: bool) -> tuple[int, int]:
        top = min(self.high, 6) if self.high == 7 else self.high  # 0 and 7 are Sunday
        if text == "*":
            return self.low, top
        first, dash, last = text.partition("-")
        start = self._number(first)
        if dash:
            return start, self._number(last)
        return start, max(start, top) if stepped else start

    def _number(self, text: str) -> int:
        if len(text) >= 3 and text.isalpha():
            for index, name in enumerate(self.names):
                if name.startswith(text):
                    return index + self.low
        if text.isdecimal() and self.low <= int(text) <= self.high:
            return int(text)
        raise ValueError(f"{self.name}: {text!r} is not in {self.low}-{self.high}")


_FIELDS = (
    _Field("second", 0, 59),
    _Field("minute", 0, 59),
    _Field("hour", 0, 23),
    _Field("day", 1, 31),
    _Field("month", 1, 12, tuple(_MONTHS)),
    _Field("day of week", 0, 7, tuple(_DAYS)),
)


@dataclass(frozen=True)
class Schedule:
    """The times that match an expression."""

    seconds: frozenset[int]
    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]

    @classmethod
    def parse(cls, expression: str) -> Schedule:
        """Parse an expression. Raises ValueError with the invalid field."""
        parts = expression.split()
        if len(parts) == 5:
            parts.insert(0, "0")
        if len(parts) != 6:
            raise ValueError(f"{expression!r} has {len(parts)} fields; expected 6")
        return cls(*(field.parse(part) for field, part in zip(_FIELDS, parts, strict=True)))

    def next_after(self, moment: datetime) -> datetime:
        """The first match after a time. Raises ValueError if there is none (30 February)."""
        candidate = moment.replace(microsecond=0) + timedelta(seconds=1)
        end = moment + _HORIZON
        while candidate < end:
            later = self._skip(candidate)
            if later == candidate:
                return candidate
            candidate = later
        raise ValueError("the schedule matches no date")

    def _skip(self, moment: datetime) -> datetime:
        """The time itself if it matches, else the start of the next unit that could match."""
        if not self._has_day(moment):
            return moment.replace(hour=0, minute=0, second=0) + timedelta(days=1)
        if moment.hour not in self.hours:
            return moment.replace(minute=0, second=0) + timedelta(hours=1)
        if moment.minute not in self.minutes:
            return moment.replace(second=0) + timedelta(minutes=1)
        if moment.second not in self.seconds:
            return moment + timedelta(seconds=1)
        return moment

    def _has_day(self, moment: datetime) -> bool:
        return (
            moment.month in self.months
            and moment.day in self.days
            and moment.isoweekday() % 7 in self.weekdays
        )
