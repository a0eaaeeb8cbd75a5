"""The time grammar: what people type, or pass, for a moment, and the instant that it means.

Invariants: a finer fraction than a millisecond is cut, never rounded up; nothing is guessed: a time without a zone, a
future instant and an unknown word are refused with what to type instead. No clock is read: `now_ms` is given.

    when    = instant | relative | named | rev
    instant = YYYY-MM-DDThh:mm[:ss[.f]] (Z | ±hh:mm) | YYYY-MM-DD | @unix-seconds[.f]
    relative= NUMBER unit ["ago"]          unit = s m h d w, also second(s) … week(s); a day is 24 hours
    named   = now | today | yesterday | start | end
    rev     = a change by name: query.rev
"""

import re
from datetime import datetime, timedelta
from decimal import Decimal

import whenever

from query.errors import NaiveTimeError, UsageError
from query.instant import EPOCH, FIRST_MS, INSTANT_FORMS, LAST_MS, MILLISECOND, Instant, format_ms
from query.period import looks_like_period
from query.rev import REV_FORMS, UNIX, Rev, looks_like_rev, parse_rev
from query.zone import DATE, DATE_TIME, day_of, of_date_time, real_date, start_of_day

_RELATIVE = re.compile(r"(\d{1,15}(?:\.\d{1,9})?) ?([a-z]+)(?: ago)?", re.ASCII)

_UNITS_MS = {"second": 1_000, "minute": 60_000, "hour": 3_600_000, "day": 86_400_000, "week": 604_800_000}
_UNIT_NAMES = {spelling: name for name in _UNITS_MS for spelling in (name[0], name, f"{name}s")}


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
    if isinstance(value, str) and (rev := parse_rev(value.strip())):
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
    if found := DATE_TIME.fullmatch(text):
        return of_date_time(text, found, zone)
    if DATE.fullmatch(text):
        return start_of_day(real_date(text), zone)
    if found := UNIX.fullmatch(text):
        return _of_unix_seconds(found[1], found[2] or "", text)
    if (found := _RELATIVE.fullmatch(text)) and found[2] in _UNIT_NAMES:
        return now_ms - int(Decimal(found[1]) * _UNITS_MS[_UNIT_NAMES[found[2]]])
    if text == "now":
        return now_ms
    if text in ("today", "yesterday"):
        return start_of_day(day_of(now_ms, zone) - timedelta(days=text == "yesterday"), zone)
    return None


def _not_an_instant(value: str, forms: str) -> UsageError:
    text = value.strip()
    if looks_like_period(text):
        why = f"{text!r} is a period, not an instant"
    elif looks_like_rev(text):
        why = f"{text!r} names a change of one item, not an instant"
    else:
        why = "it is not in the time grammar"
    return UsageError(f"cannot read {text!r} as an instant", why=why, hint=f"type one of: {forms}")


def _checked(ms: int, text: str, now_ms: int) -> Instant:
    if ms > now_ms:
        spelled = format_ms(ms) if ms <= LAST_MS else "after the year 9999"
        digits = text.strip().removeprefix("@")
        meant = f"@{digits[:-3]}.{digits[-3:]}" if ms > LAST_MS and digits.isdecimal() else "now"
        raise UsageError(
            f"{text!r} is in the future",
            why=f"it is {spelled}, and now is {format_ms(now_ms)}",
            hint=f"type {meant}" + ("" if meant == "now" else " if those are milliseconds"),
        )
    if ms < FIRST_MS:
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
        return (value - EPOCH) // MILLISECOND
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
