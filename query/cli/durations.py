"""Lengths of time as they are typed: `90s`, `10m`, `24h`, `7d`. A point in time is `query.when`."""

import re
from typing import Final

from query.errors import UsageError

_DURATION: Final = re.compile(r"(\d{1,6}) ?([smhdw])", re.ASCII)
_UNITS_MS: Final = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}


def duration_ms(text: str, flag: str) -> int:
    """Milliseconds of `90s`, `10m`, `1h`, `7d` or `2w`, also of `0s`. Raises UsageError naming the flag."""
    found = _DURATION.fullmatch(text.strip())
    if found is None:
        raise UsageError(f"{text!r} is no length of time", hint=f"type for example {flag} 90s or {flag} 10m")
    return int(found[1]) * _UNITS_MS[found[2]]
