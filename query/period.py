"""The grammar of periods: what people type for a stretch of time.

Invariants: a stretch is half open, `since <= t < until`, so that neighbouring periods share no instant and leave none
out; one that has not begun is refused. No clock is read: `now_ms` is given.

    period = YYYY | YYYY-Qn | YYYY-MM | YYYY-Www | YYYY-MM-DD | today | yesterday
           | last-week | last-month | last-quarter
"""

import re
from dataclasses import dataclass
from datetime import date, timedelta

from query.errors import UsageError
from query.instant import echo_range, format_ms
from query.zone import DATE, day_of, real_date, start_of_day

PERIOD_FORMS = "2026, 2026-Q3, 2026-09, 2026-W38, 2026-09-16, today, yesterday, last-week, last-month, last-quarter"

_MONTH = re.compile(r"(\d{4})-(\d\d)", re.ASCII)
_QUARTER = re.compile(r"(\d{4})-Q([1-4])", re.ASCII)
_WEEK = re.compile(r"(\d{4})-W(\d\d)", re.ASCII)
_YEAR = re.compile(r"\d{4}", re.ASCII)
_PERIOD_WORDS = ("last-week", "last-month", "last-quarter")


@dataclass(frozen=True, slots=True)
class Period:
    """A stretch of time: `since_ms <= t < until_ms`, as it was typed, and the zone its days begin in."""

    since_ms: int
    until_ms: int
    text: str
    zone: str = "UTC"

    @property
    def echo(self) -> str:
        """The resolved range, for stderr."""
        return echo_range(self.since_ms, self.until_ms, self.text, zone=self.zone)


def parse_period(text: str, *, now_ms: int, zone: str | None = None) -> Period:
    """The stretch of time that `text` means, with days beginning in `zone` (UTC without one).

    It may reach beyond `now_ms` but not begin after it. Raises UsageError.
    """
    name = text.strip()
    first, after = _period_days(name, day_of(now_ms, zone))
    period = Period(start_of_day(first, zone), start_of_day(after, zone), name, zone or "UTC")
    if period.since_ms == period.until_ms:
        raise UsageError(
            f"{name} is not a day in {zone}",
            why="the clocks there went from the day before to the day after",
            hint="type a neighbouring day",
        )
    if period.since_ms > now_ms:
        raise UsageError(
            f"{name} has not begun",
            why=f"it begins at {format_ms(period.since_ms)}, and now is {format_ms(now_ms)}",
            hint=f"type a period that has begun: {PERIOD_FORMS}",
        )
    return period


def looks_like_period(text: str) -> bool:
    """Whether `text` is of the form of a period that is no instant, be it one or not."""
    return text in _PERIOD_WORDS or any(form.fullmatch(text) for form in (_YEAR, _QUARTER, _MONTH, _WEEK))


def _period_days(name: str, today: date) -> tuple[date, date]:
    """The first day of a period and the first day after it."""
    try:
        return _named_days(name, today) or _calendar_days(name)
    except (OverflowError, ValueError) as error:
        raise _not_a_period(name, str(error)) from error


def _named_days(name: str, today: date) -> tuple[date, date] | None:
    match name:
        case "today":
            return today, today + timedelta(days=1)
        case "yesterday":
            return today - timedelta(days=1), today
        case "last-week":
            monday = today - timedelta(days=today.weekday())
            return monday - timedelta(weeks=1), monday
        case "last-month":
            return _months_on(today, -1), _months_on(today, 0)
        case "last-quarter":
            into = (today.month - 1) % 3
            return _months_on(today, -into - 3), _months_on(today, -into)
    return None


def _calendar_days(name: str) -> tuple[date, date]:
    if _YEAR.fullmatch(name):
        return date(int(name), 1, 1), date(int(name) + 1, 1, 1)
    if found := _QUARTER.fullmatch(name):
        first = date(int(found[1]), 3 * int(found[2]) - 2, 1)
        return first, _months_on(first, 3)
    if found := _MONTH.fullmatch(name):
        first = date(int(found[1]), int(found[2]), 1)
        return first, _months_on(first, 1)
    if found := _WEEK.fullmatch(name):
        first = date.fromisocalendar(int(found[1]), int(found[2]), 1)
        return first, first + timedelta(weeks=1)
    if DATE.fullmatch(name):
        first = real_date(name)
        return first, first + timedelta(days=1)
    raise _not_a_period(name, "it is not in the grammar of periods")


def _months_on(day: date, months: int) -> date:
    """The first day of the month that is `months` after the month of `day`."""
    year, month = divmod(day.year * 12 + day.month - 1 + months, 12)
    return date(year, month + 1, 1)


def _not_a_period(name: str, why: str) -> UsageError:
    return UsageError(
        f"cannot read {name!r} as a period",
        why=why,
        hint=f"type one of: {PERIOD_FORMS}; or an instant each with --since and --until",
    )
