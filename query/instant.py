"""An instant and how it is written.

An instant is an `int`: milliseconds since 1970-01-01T00:00:00Z, as `changed_at` is stored; a leap second has no number
of its own. What people type for one is read in `when`; no text is parsed here, and no clock is read.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

INSTANT_FORMS = (
    "2026-09-16T12:00:00Z, 2026-09-16T14:00+02:00, 2026-09-16, @1789560000, 3d ago, now, today, yesterday, start, end"
)

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MILLISECOND = timedelta(milliseconds=1)
FIRST_MS = (datetime.min.replace(tzinfo=UTC) - EPOCH) // MILLISECOND
LAST_MS = (datetime.max.replace(tzinfo=UTC) - EPOCH) // MILLISECOND


@dataclass(frozen=True, slots=True)
class Instant:
    """A moment: milliseconds since the epoch, as it was typed, and as ISO-8601 UTC."""

    ms: int
    text: str
    spelled: str


def format_ms(instant_ms: int) -> str:
    """`2026-07-01T00:00:00Z`; with three digits of milliseconds only if they are not zero."""
    moment = EPOCH + timedelta(milliseconds=instant_ms)
    timespec = "milliseconds" if instant_ms % 1000 else "seconds"
    return moment.replace(tzinfo=None).isoformat(timespec=timespec) + "Z"


def echo_range(since_ms: int | None, until_ms: int | None, text: str, *, zone: str | None = None) -> str:
    """`2026-07-01T00:00:00Z ≤ t < 2026-10-01T00:00:00Z (2026-Q3, UTC)`; None leaves an end open."""
    since = "" if since_ms is None else f"{format_ms(since_ms)} ≤ "
    until = "" if until_ms is None else f" < {format_ms(until_ms)}"
    return f"{since}t{until} ({', '.join(part for part in (text, zone or 'UTC') if part)})"
