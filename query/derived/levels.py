"""Which runs a log should have: one for each hour, merged per day and per month. Pure.

Each seal belongs to the time until which it tells: the end of what it looked at, or its latest change where it did not
look at everything, and never before that of the seal before it. What belongs to an hour, a day or a month (UTC) becomes
one run as soon as something is sealed that belongs to a later one; the hour of the newest seal stays as it is. So the
same log gives the same runs, whenever and however often it is looked at.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby
from typing import Final

from archiver.format.log_entry import SegmentEntry
from archiver.format.seal import Seal
from query.derived.names import RunName

_PERIODS: Final = ("%Y-%m", "%Y-%m-%d", "%Y-%m-%dT%H")


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of the log that stands as it is: a run, or a seal of which there is none yet. `until_ms` (epoch ms) is
    the time that it belongs to.
    """

    name: RunName
    until_ms: int
    is_run: bool


def wanted_runs(pieces: Sequence[Piece]) -> list[tuple[Piece, ...]]:
    """For each run that is to be made, the pieces that it is made of; `pieces` cover the log from its beginning."""
    if not pieces:
        return []
    now = [_period(pieces[-1].until_ms, form) for form in _PERIODS]
    wanted = []
    for _, members in groupby(pieces, key=lambda piece: _group(piece.until_ms, now)):
        together = tuple(members)
        if _group(together[0].until_ms, now) == now[-1]:
            continue  # the hour that still goes on
        if len(together) > 1 or not together[0].is_run:
            wanted.append(together)
    return wanted


def until_ms(seal: Seal, before_ms: int) -> int:
    """The time that a seal belongs to (epoch ms), after one that belongs to `before_ms`."""
    # No clock of a change reaches beyond that of the sealer: else one wrong time would keep everything open for ever.
    latest = max((entry.last_changed_at_ms for entry in seal.entries if isinstance(entry, SegmentEntry)), default=0)
    return max(before_ms, seal.interval.to_ms, min(latest, seal.interval.sealed_at_ms))


def _group(at_ms: int, now: Sequence[str]) -> str:
    """The longest period that is over and that an instant falls into; the present hour is a group of its own."""
    for form, present in zip(_PERIODS, now, strict=True):
        period = _period(at_ms, form)
        if period != present:
            return period
    return now[-1]


def _period(at_ms: int, form: str) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime(form)


def is_last_of_month(times_ms: Sequence[int], place: int) -> bool:
    """Whether what belongs to a time is the last of its month, and the month is over; times (epoch ms) in order."""
    month = _period(times_ms[place], _PERIODS[0])
    return place + 1 < len(times_ms) and _period(times_ms[place + 1], _PERIODS[0]) != month


def cover(names: Sequence[RunName]) -> tuple[RunName, ...]:
    """The fewest runs that cover the log from 0, without a gap, as far as any do."""
    ends: dict[int, list[int]] = {}
    for name in names:
        ends.setdefault(name.start, []).append(name.end)
    reached: dict[int, RunName | None] = {0: None}
    here = [0]
    while here:  # each round takes one run more, so a size is first reached with the fewest
        fresh: dict[int, RunName] = {}
        for start in here:
            for end in ends.get(start, ()):
                if end not in reached:
                    fresh.setdefault(end, RunName(start, end))
        reached |= fresh
        here = list(fresh)
    return tuple(_back(reached, max(reached)))[::-1]


def _back(reached: dict[int, RunName | None], end: int) -> Iterator[RunName]:
    while (name := reached[end]) is not None:
        yield name
        end = name.start
