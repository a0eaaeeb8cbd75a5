"""Half-open ranges of time, from their ends or from a period. No clock is read: `now_ms` is given."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

import whenever

from query.errors import UsageError
from query.instant import echo_range
from query.period import parse_period
from query.when import parse_when


def parse_range(
    since: str | datetime | whenever.Instant | None,
    until: str | datetime | whenever.Instant | None,
    during: str | None,
    *,
    now_ms: int,
    zone: str | None = None,
    end_ms: Callable[[Any], int] | None = None,
) -> tuple[int | None, int | None]:
    """A half-open range (epoch ms; None: open) from its ends, or from a period. `end_ms` is what knows `start` and
    `end` of a table. Raises UsageError, also for an empty range.
    """
    if during is not None:
        if since is not None or until is not None:
            raise UsageError("a range was given twice", hint="give either during, or since and until")
        period = parse_period(during, now_ms=now_ms, zone=zone)
        return period.since_ms, period.until_ms
    known = end_ms or (lambda end: parse_when(end, now_ms=now_ms, zone=zone).ms)
    since_ms, until_ms = (None if end is None else known(end) for end in (since, until))
    if since_ms is not None and until_ms is not None and since_ms >= until_ms:
        raise UsageError("the range is empty", why=echo_range(since_ms, until_ms, ""), hint="since is before until")
    return since_ms, until_ms
