"""Dates, times of day and zones, brought to instants.

This module alone knows zones. Invariants: nothing is guessed: a time without a zone, and a local time that happens
twice or never, are refused with what to type instead; a day begins at its first moment, also where midnight is skipped;
a fraction finer than a millisecond is cut, never rounded up. Without a zone, days begin in UTC.
"""

import calendar
import re
from datetime import UTC, date, datetime, timedelta

import whenever

from query.errors import NaiveTimeError, UsageError
from query.instant import EPOCH, INSTANT_FORMS, MILLISECOND

DATE = re.compile(r"(\d{4})-(\d\d)-(\d\d)", re.ASCII)
DATE_TIME = re.compile(r"(\d{4}-\d\d-\d\d)[T ](\d\d):(\d\d)(?::(\d\d)(?:\.(\d{1,9}))?)?(Z|[+-]\d\d:\d\d)?", re.ASCII)

_FARTHEST_OFFSET_HOURS = 18


def check_zone(zone: str) -> str:
    """`zone` itself if it is the IANA name of a time zone; else raises UsageError."""
    try:
        whenever.ZonedDateTime(2000, 1, 1, tz=zone)
    except whenever.TimeZoneNotFoundError as error:
        raise UsageError(
            f"{zone!r} is not a time zone",
            why="a zone is named as in the IANA database; an offset belongs to the time itself",
            hint="type --tz UTC or --tz Europe/Paris",
        ) from error
    return zone


def of_date_time(text: str, found: re.Match[str], zone: str | None) -> int:
    """Milliseconds of a date and time as `DATE_TIME` finds it; without offset it is a wall-clock time in `zone`."""
    day_text, hour, minute, second, fraction, offset = found.groups()
    day = real_date(day_text)
    hours, minutes, seconds = _real_time(text, hour, minute, second or "00")
    local = datetime(day.year, day.month, day.day, hours, minutes, seconds, tzinfo=UTC)
    past_second_ms = int(f"{fraction or '':0<3.3}")
    if offset is not None:
        return (local - EPOCH - _real_offset(text, offset)) // MILLISECOND + past_second_ms
    if zone is None:
        raise NaiveTimeError(
            f"{text!r} has no time zone",
            why="it would be a different instant in every zone, and none is configured",
            hint=f"type {text}Z for UTC, add an offset such as +02:00, or set --tz Europe/Paris",
        )
    return _of_local_time(text, local, zone) + past_second_ms


def _of_local_time(text: str, local: datetime, zone: str) -> int:
    """Milliseconds of a wall-clock time; one that happens twice or never is refused with both candidates."""
    check_zone(zone)
    clock = (local.year, local.month, local.day, local.hour, local.minute, local.second)
    try:
        earlier = whenever.ZonedDateTime(*clock, tz=zone, disambiguation="earlier")
        later = whenever.ZonedDateTime(*clock, tz=zone, disambiguation="later")
    except ValueError as error:
        raise _beyond_calendar(text) from error
    if earlier.to_instant() == later.to_instant():
        return int(earlier.timestamp(unit="millisecond"))
    what = "happens twice" if earlier.to_plain() == later.to_plain() else "does not exist"
    candidates = [moment.to_fixed_offset().format_iso() for moment in (earlier, later)]
    raise UsageError(
        f"{text!r} {what} in {zone}",
        why=f"the clocks there changed: it may mean {candidates[0]} or {candidates[1]}",
        hint=f"type {candidates[0]} or {candidates[1]}",
    )


def start_of_day(day: date, zone: str | None) -> int:
    """Milliseconds of the first moment of a day, also where midnight is skipped or happens twice."""
    if zone is None:
        return (datetime(day.year, day.month, day.day, tzinfo=UTC) - EPOCH) // MILLISECOND
    check_zone(zone)
    try:
        noon = whenever.ZonedDateTime(day.year, day.month, day.day, 12, tz=zone, disambiguation="compatible")
        return int(noon.start_of("day").timestamp(unit="millisecond"))
    except ValueError as error:
        raise _beyond_calendar(day.isoformat()) from error


def day_of(instant_ms: int, zone: str | None) -> date:
    """The day that an instant lies in."""
    if zone is None:
        return (EPOCH + timedelta(milliseconds=instant_ms)).date()
    moment = whenever.Instant.from_timestamp(instant_ms, unit="millisecond")
    return moment.to_tz(check_zone(zone)).date().to_stdlib()


def real_date(text: str) -> date:
    """The date of a text that `DATE` fits. Raises UsageError for a day that is in no calendar."""
    year, month, day = (int(part) for part in text.split("-"))
    try:
        return date(year, month, day)
    except ValueError as error:
        known = 1 <= month <= 12 and year > 0  # noqa: PLR2004  months of a year
        why = f"{text[:7]} has {calendar.monthrange(year, month)[1]} days" if known else str(error)
        raise UsageError(f"{text!r} is not a date", why=why, hint="type a date as YYYY-MM-DD") from error


def _real_time(text: str, hour: str, minute: str, second: str) -> tuple[int, int, int]:
    if second == "60":
        raise UsageError(
            f"{text!r} is a leap second",
            why="the time of a change is counted without leap seconds, so it has no instant of its own",
            hint="type second 59, or the minute after",
        )
    try:
        datetime(2000, 1, 1, int(hour), int(minute), int(second), tzinfo=UTC)
    except ValueError as error:
        raise UsageError(
            f"{text!r} is not a time of day",
            why=str(error),
            hint="type 00:00 to 23:59 or 00:00:00 to 23:59:59",
        ) from error
    return int(hour), int(minute), int(second)


def _real_offset(text: str, offset: str) -> timedelta:
    if offset == "Z":
        return timedelta()
    hours, minutes = int(offset[1:3]), int(offset[4:])
    if minutes > 59 or timedelta(hours=hours, minutes=minutes) > timedelta(hours=_FARTHEST_OFFSET_HOURS):  # noqa: PLR2004
        raise UsageError(
            f"{text!r} has no real offset",
            why=f"{offset} is not within -18:00 and +18:00",
            hint="type Z or ±hh:mm, as in 2026-09-16T14:00+02:00",
        )
    return timedelta(hours=hours, minutes=minutes) * (-1 if offset[0] == "-" else 1)


def _beyond_calendar(text: str) -> UsageError:
    return UsageError(
        f"{text!r} cannot be placed in time",
        why="it lies at the edge of the years 1 to 9999",
        hint=f"type one of: {INSTANT_FORMS}",
    )
