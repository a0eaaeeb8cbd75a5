"""The time grammar: what people type for a moment or a stretch of time, and the instants that it means.

An instant is an `int`: milliseconds since 1970-01-01T00:00:00Z, as `changed_at` is stored; a leap second has
no number of its own. A finer fraction is cut, never rounded up. A stretch of time is half open:
`since <= t < until`. Nothing is guessed: a time without a zone, a local time that happens twice or never, a
future instant and an unknown word are refused with what to type instead. No clock is read: `now_ms` is given.

    when    = instant | relative | named | rev
    instant = YYYY-MM-DDThh:mm[:ss[.f]] (Z | ±hh:mm) | YYYY-MM-DD | @unix-seconds[.f]
    relative= NUMBER unit ["ago"]          unit = s m h d w, also second(s) … week(s); a day is 24 hours
    named   = now | today | yesterday | start | end
    rev     = (@ID | first | last)[~N] | ~N
    period  = YYYY | YYYY-Qn | YYYY-MM | YYYY-Www | YYYY-MM-DD | today | yesterday
            | last-week | last-month | last-quarter
"""

import calendar
import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Literal

import whenever

from query.errors import NaiveTimeError, UsageError

INSTANT_FORMS = (
    "2026-09-16T12:00:00Z, 2026-09-16T14:00+02:00, 2026-09-16, @1789560000, 3d ago, now, today, yesterday, start, end"
)
REV_FORMS = "@9f31c2, @9f31c2~1, @id:123, first, last, last~2, ~1"
PERIOD_FORMS = "2026, 2026-Q3, 2026-09, 2026-W38, 2026-09-16, today, yesterday, last-week, last-month, last-quarter"

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_FIRST_MS = (datetime.min.replace(tzinfo=UTC) - _EPOCH) // _MILLISECOND
_LAST_MS = (datetime.max.replace(tzinfo=UTC) - _EPOCH) // _MILLISECOND

_DATE = re.compile(r"(\d{4})-(\d\d)-(\d\d)", re.ASCII)
_DATE_TIME = re.compile(r"(\d{4}-\d\d-\d\d)[T ](\d\d):(\d\d)(?::(\d\d)(?:\.(\d{1,9}))?)?(Z|[+-]\d\d:\d\d)?", re.ASCII)
_UNIX = re.compile(r"@(\d+)(?:\.(\d+))?", re.ASCII)
_RELATIVE = re.compile(r"(\d{1,15}(?:\.\d{1,9})?) ?([a-z]+)(?: ago)?", re.ASCII)
_REV = re.compile(r"(@id:[^\s~@]+|@(?!id:(?:~|$))[^\s~@]+|first|last)?(?:~(\d{1,9}))?", re.ASCII)
_MONTH = re.compile(r"(\d{4})-(\d\d)", re.ASCII)
_QUARTER = re.compile(r"(\d{4})-Q([1-4])", re.ASCII)
_WEEK = re.compile(r"(\d{4})-W(\d\d)", re.ASCII)
_YEAR = re.compile(r"\d{4}", re.ASCII)

_UNITS_MS = {"second": 1_000, "minute": 60_000, "hour": 3_600_000, "day": 86_400_000, "week": 604_800_000}
_UNIT_NAMES = {spelling: name for name in _UNITS_MS for spelling in (name[0], name, f"{name}s")}
_PERIOD_WORDS = ("last-week", "last-month", "last-quarter")
_FARTHEST_OFFSET_HOURS = 18


@dataclass(frozen=True, slots=True)
class Instant:
    """A moment: milliseconds since the epoch, as it was typed, and as ISO-8601 UTC."""

    ms: int
    text: str
    spelled: str


@dataclass(frozen=True, slots=True)
class Rev:
    """A change by name: `back` changes before the base. Which change that is, a trail tells."""

    base: Literal["first", "last", "id"]
    change_id_prefix: str | None = None
    back: int = 0

    @property
    def text(self) -> str:
        """The canonical spelling, which `parse_when_or_rev` reads back."""
        head = self.base if self.change_id_prefix is None else _change_name(self.change_id_prefix)
        return head + (f"~{self.back}" if self.back else "")


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


def format_ms(instant_ms: int) -> str:
    """`2026-07-01T00:00:00Z`; with three digits of milliseconds only if they are not zero."""
    moment = _EPOCH + timedelta(milliseconds=instant_ms)
    timespec = "milliseconds" if instant_ms % 1000 else "seconds"
    return moment.replace(tzinfo=None).isoformat(timespec=timespec) + "Z"


def echo_range(since_ms: int | None, until_ms: int | None, text: str, *, zone: str | None = None) -> str:
    """`2026-07-01T00:00:00Z ≤ t < 2026-10-01T00:00:00Z (2026-Q3, UTC)`; None leaves an end open."""
    since = "" if since_ms is None else f"{format_ms(since_ms)} ≤ "
    until = "" if until_ms is None else f" < {format_ms(until_ms)}"
    return f"{since}t{until} ({', '.join(part for part in (text, zone or 'UTC') if part)})"


def parse_when_or_rev(
    value: str | datetime | whenever.Instant,
    *,
    now_ms: int,
    zone: str | None = None,
    coverage: tuple[int, int] | None = None,
) -> Instant | Rev:
    """An instant as `parse_when` reads it, or the name of a change.

    `@` and digits only, with or without a fraction, is unix seconds; anything else after `@` is the prefix of
    a change id, and `@id:` makes one of any digits. Raises UsageError.
    """
    if isinstance(value, str) and (rev := _parse_rev(value.strip())):
        return rev
    if instant := _read(value, now_ms, zone, coverage):
        return instant
    raise _not_an_instant(str(value), f"{INSTANT_FORMS}, {REV_FORMS}")


def parse_when(
    value: str | datetime | whenever.Instant,
    *,
    now_ms: int,
    zone: str | None = None,
    coverage: tuple[int, int] | None = None,
) -> Instant:
    """The instant that `value` means.

    `zone` is an IANA name: where days begin, and what a date-time without zone means; without it days begin
    in UTC and such a date-time raises NaiveTimeError. `coverage` gives `start` and `end` in milliseconds.
    Raises UsageError for what is not in the grammar, is no real date or time, or lies after `now_ms`.
    """
    if instant := _read(value, now_ms, zone, coverage):
        return instant
    raise _not_an_instant(str(value), INSTANT_FORMS)


def parse_period(text: str, *, now_ms: int, zone: str | None = None) -> Period:
    """The stretch of time that `text` means, with days beginning in `zone` (UTC without one).

    It may reach beyond `now_ms` but not begin after it. Raises UsageError.
    """
    name = text.strip()
    first, after = _period_days(name, _day_of(now_ms, zone))
    period = Period(_start_of_day(first, zone), _start_of_day(after, zone), name, zone or "UTC")
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


# --- texts ---


def _read(value: object, now_ms: int, zone: str | None, coverage: tuple[int, int] | None) -> Instant | None:
    """The instant that `value` means, None if it is a text outside the grammar."""
    if not isinstance(value, str):
        ms = _of_object(value)
        return _checked(ms, value.isoformat() if isinstance(value, datetime) else str(value), now_ms)
    text = value.strip()
    if text in ("start", "end"):
        ms = _of_coverage(text, coverage)
        return Instant(ms, value, format_ms(ms))
    found = _parse_text(text, now_ms, zone)
    return None if found is None else _checked(found, value, now_ms)


def _of_coverage(text: str, coverage: tuple[int, int] | None) -> int:
    if coverage is None:
        raise UsageError(
            f"{text!r} cannot be used here",
            why=f"{text!r} means the {text} of coverage, and no coverage is known",
            hint=f"type an instant: {INSTANT_FORMS}",
        )
    return coverage[text == "end"]


def _parse_text(text: str, now_ms: int, zone: str | None) -> int | None:
    if found := _DATE_TIME.fullmatch(text):
        return _of_date_time(text, found, zone)
    if _DATE.fullmatch(text):
        return _start_of_day(_real_date(text), zone)
    if found := _UNIX.fullmatch(text):
        return _of_unix_seconds(found[1], found[2] or "", text)
    if (found := _RELATIVE.fullmatch(text)) and found[2] in _UNIT_NAMES:
        return now_ms - int(Decimal(found[1]) * _UNITS_MS[_UNIT_NAMES[found[2]]])
    if text == "now":
        return now_ms
    if text in ("today", "yesterday"):
        return _start_of_day(_day_of(now_ms, zone) - timedelta(days=text == "yesterday"), zone)
    return None


def _not_an_instant(value: str, forms: str) -> UsageError:
    text = value.strip()
    if _looks_like_period(text):
        why = f"{text!r} is a period, not an instant"
    elif _looks_like_rev(text):
        why = f"{text!r} names a change of one item, not an instant"
    else:
        why = "it is not in the time grammar"
    return UsageError(f"cannot read {text!r} as an instant", why=why, hint=f"type one of: {forms}")


def _looks_like_period(text: str) -> bool:
    return text in _PERIOD_WORDS or any(form.fullmatch(text) for form in (_YEAR, _QUARTER, _MONTH, _WEEK))


def _looks_like_rev(text: str) -> bool:
    return bool(text) and _REV.fullmatch(text) is not None


def _checked(ms: int, text: str, now_ms: int) -> Instant:
    if ms > now_ms:
        spelled = format_ms(ms) if ms <= _LAST_MS else "after the year 9999"
        digits = text.strip().removeprefix("@")
        meant = f"@{digits[:-3]}.{digits[-3:]}" if ms > _LAST_MS and digits.isdecimal() else "now"
        raise UsageError(
            f"{text!r} is in the future",
            why=f"it is {spelled}, and now is {format_ms(now_ms)}",
            hint=f"type {meant}" + ("" if meant == "now" else " if those are milliseconds"),
        )
    if ms < _FIRST_MS:
        raise UsageError(
            f"{text!r} is too long ago", why="it lies before the year 1", hint=f"type one of: {INSTANT_FORMS}"
        )
    return Instant(ms, text, format_ms(ms))


def _of_unix_seconds(seconds: str, fraction: str, text: str) -> int:
    if len(seconds) > 15:  # noqa: PLR2004  thirty million years
        raise UsageError(
            f"{text!r} is in the future",
            why="unix seconds of today have ten digits",
            hint=f"type @1789560000, or @id:{seconds} if it is a change id",
        )
    return int(seconds) * 1000 + int(f"{fraction:0<3.3}")


def _of_object(value: object) -> int:
    if isinstance(value, datetime) and value.tzinfo is not None and value.utcoffset() is not None:
        return (value - _EPOCH) // _MILLISECOND
    if isinstance(value, whenever.Instant):
        return int(value.timestamp(unit="millisecond"))
    if isinstance(value, datetime | whenever.PlainDateTime):
        raise NaiveTimeError(
            f"{str(value)!r} has no time zone",
            why="it would be a different instant on every machine",
            hint="pass an aware datetime: datetime(2026, 9, 16, tzinfo=timezone.utc)",
        )
    raise UsageError(
        f"{type(value).__name__} {str(value)!r} is not a time",
        why="a time is a text of the time grammar, an aware datetime or a whenever.Instant",
        hint=f"pass one of: {INSTANT_FORMS}",
    )


# --- dates and zones ---


def _of_date_time(text: str, found: re.Match[str], zone: str | None) -> int:
    day_text, hour, minute, second, fraction, offset = found.groups()
    day = _real_date(day_text)
    hours, minutes, seconds = _real_time(text, hour, minute, second or "00")
    local = datetime(day.year, day.month, day.day, hours, minutes, seconds, tzinfo=UTC)
    past_second_ms = int(f"{fraction or '':0<3.3}")
    if offset is not None:
        return (local - _EPOCH - _real_offset(text, offset)) // _MILLISECOND + past_second_ms
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


def _start_of_day(day: date, zone: str | None) -> int:
    """Milliseconds of the first moment of a day, also where midnight is skipped or happens twice."""
    if zone is None:
        return (datetime(day.year, day.month, day.day, tzinfo=UTC) - _EPOCH) // _MILLISECOND
    check_zone(zone)
    try:
        noon = whenever.ZonedDateTime(day.year, day.month, day.day, 12, tz=zone, disambiguation="compatible")
        return int(noon.start_of("day").timestamp(unit="millisecond"))
    except ValueError as error:
        raise _beyond_calendar(day.isoformat()) from error


def _day_of(instant_ms: int, zone: str | None) -> date:
    if zone is None:
        return (_EPOCH + timedelta(milliseconds=instant_ms)).date()
    moment = whenever.Instant.from_timestamp(instant_ms, unit="millisecond")
    return moment.to_tz(check_zone(zone)).date().to_stdlib()


def _real_date(text: str) -> date:
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


# --- changes by name ---


def _change_name(prefix: str) -> str:
    """`@9f31c2`; with `@id:` where the bare form would read as unix seconds, a fraction or another word."""
    return f"@id:{prefix}" if _reads_as_number(prefix) or prefix.startswith("id:") else f"@{prefix}"


def _reads_as_number(prefix: str) -> bool:
    return _UNIX.fullmatch(f"@{prefix}") is not None


def _parse_rev(text: str) -> Rev | None:
    found = _REV.fullmatch(text)
    if not text or found is None or _UNIX.fullmatch(text):
        return None
    base, back = found[1] or "last", int(found[2] or 0)
    if not base.startswith("@"):
        return Rev("first" if base == "first" else "last", None, back)
    prefix = base.removeprefix("@id:") if base.startswith("@id:") else base.removeprefix("@")
    if _reads_as_number(prefix) and not base.startswith("@id:"):
        raise UsageError(
            f"cannot read {text!r} as a change",
            why=f"@ and digits only is unix seconds, and ~ counts changes, not seconds: {base} is an instant",
            hint=f"type @id:{prefix}~{back} if it is a change id",
        )
    return Rev("id", prefix, back)


# --- periods ---


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
    if _DATE.fullmatch(name):
        first = _real_date(name)
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
