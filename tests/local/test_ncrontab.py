"""Schedules of timer triggers."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local.emulators.functions.ncrontab import Schedule


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("expression", "after", "expected"),
    [
        ("0 */5 * * * *", "2026-11-22 10:02:31", "2026-11-22 10:05:00"),
        ("0 */5 * * * *", "2026-11-22 10:05:00", "2026-11-22 10:10:00"),
        ("*/15 * * * * *", "2026-11-22 10:02:31.5", "2026-11-22 10:02:45"),
        ("30 * * * * *", "2026-12-31 23:59:31", "2027-01-01 00:00:30"),
        ("0 5 * * * *", "2026-11-22 10:06:00", "2026-11-22 11:05:00"),
        ("0 0 9-17 * * *", "2026-11-22 17:00:00", "2026-11-23 09:00:00"),
        ("0 0 9-17/4 * * *", "2026-11-22 09:30:00", "2026-11-22 13:00:00"),
        ("0 5/20 * * * *", "2026-11-22 10:26:00", "2026-11-22 10:45:00"),
        ("0 10,40 * * * *", "2026-11-22 10:10:00", "2026-11-22 10:40:00"),
        ("0 0 0 29 2 *", "2026-11-22 10:00:00", "2028-02-29 00:00:00"),
        ("0 0 0 31 * *", "2026-11-22 10:00:00", "2026-12-31 00:00:00"),
        ("0 30 9 * Jan Mon", "2026-11-22 10:00:00", "2027-01-04 09:30:00"),
        ("0 0 12 * * sun", "2026-11-23 00:00:00", "2026-11-29 12:00:00"),
        ("0 0 12 * * 0", "2026-11-23 00:00:00", "2026-11-29 12:00:00"),
        ("0 0 12 * * 7", "2026-11-23 00:00:00", "2026-11-29 12:00:00"),
        ("0 0 12 * * 5-7", "2026-11-29 12:00:00", "2026-12-04 12:00:00"),
        ("0 0 12 * * 5-7", "2026-11-28 12:00:00", "2026-11-29 12:00:00"),
        ("0 0 12 * * */2", "2026-11-22 12:00:00", "2026-11-24 12:00:00"),
        ("0 0 12 * * */2", "2026-11-28 12:00:00", "2026-11-29 12:00:00"),
        ("0 0 12 * * monday-FRI", "2026-11-27 12:00:00", "2026-11-30 12:00:00"),
        ("0 0 0 13 * Fri", "2026-11-22 00:00:00", "2027-08-13 00:00:00"),
        ("*/5 * * * *", "2026-11-22 10:02:31", "2026-11-22 10:05:00"),
    ],
)
def test_next_match(expression: str, after: str, expected: str) -> None:
    assert Schedule.parse(expression).next_after(moment(after)) == moment(expected)


@pytest.mark.parametrize(
    ("expression", "reason"),
    [
        ("", "0 fields"),
        ("* * * *", "4 fields"),
        ("60 * * * * *", "second: '60'"),
        ("0 * 24 * * *", "hour: '24'"),
        ("0 0 0 0 * *", "day: '0'"),
        ("0 0 0 * 13 *", "month: '13'"),
        ("0 0 0 * * 8", "day of week: '8'"),
        ("0 0 0 * * someday", "day of week: 'someday'"),
        ("0 */0 * * * *", "minute: '*/0'"),
        ("0 */x * * * *", "minute: '*/x'"),
        ("0 9-5 * * * *", "starts after its end"),
        ("0 -1 * * * *", "minute: ''"),
        ("0 1,,2 * * * *", "minute: ''"),
    ],
)
def test_an_invalid_expression_is_rejected_with_its_field(expression: str, reason: str) -> None:
    with pytest.raises(ValueError) as error:
        Schedule.parse(expression)
    assert reason in str(error.value)


def test_a_schedule_without_any_date_is_rejected() -> None:
    with pytest.raises(ValueError, match="no date"):
        Schedule.parse("0 0 0 30 2 *").next_after(moment("2026-01-01"))


@given(
    minutes=st.sets(st.integers(0, 59), min_size=1, max_size=4),
    hours=st.sets(st.integers(0, 23), min_size=1, max_size=4),
    weekdays=st.sets(st.integers(0, 6), min_size=1, max_size=3),
    start=st.datetimes(datetime(2020, 1, 1), datetime(2030, 1, 1)),
)
def test_the_next_match_agrees_with_a_search_of_every_minute(
    minutes: set[int], hours: set[int], weekdays: set[int], start: datetime
) -> None:
    fields = (",".join(map(str, sorted(values))) for values in (minutes, hours, weekdays))
    minute, hour, weekday = fields
    found = Schedule.parse(f"0 {minute} {hour} * * {weekday}").next_after(start)

    def matches(at: datetime) -> bool:
        return at.minute in minutes and at.hour in hours and at.isoweekday() % 7 in weekdays

    tried = start.replace(second=0, microsecond=0) + timedelta(minutes=1)
    while not matches(tried):
        tried += timedelta(minutes=1)
    assert found == tried
