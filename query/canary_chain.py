"""The chain of a canary: an item that somebody updates again and again, each time with a counter one higher. Pure.

Its changes must be continuous and fresh: a counter that leaves out a number tells of changes that were lost, silence of
a writer that stopped or of an archive that nothing reaches. Invariants: every pair of neighbouring changes is judged;
what no counter tells is not called continuous.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from typing import Final

import orjson

from archiver.format.values import normal_number, same_attributes
from query.answer import Change
from query.image_chain import LinkEnd

COUNTER: Final = "ddbtrail_counter"  # what the writer of a canary adds one to: UpdateItem, ADD ddbtrail_counter :one
CANNOT_SEE: Final = "other shards than those of its items, and changes of other items"
_LATE: Final = 2  # times the interval between two writes: one write may fail


class CanaryCause(StrEnum):
    """Why a chain is not continuous."""

    COUNTER = "canary-counter"  # numbers are left out, or come again
    IMAGES = "canary-images"  # a change does not find what the one before it left


@dataclass(frozen=True, slots=True)
class CanaryBreak:
    """Between two neighbouring changes of a canary something is missing, or too much. `counters` are theirs."""

    item_key: str
    cause: CanaryCause
    since: LinkEnd
    until: LinkEnd
    counters: tuple[int | None, int | None]
    missing: str = "MODIFY"
    changed_attributes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CanaryChain:
    """The changes of one canary in a range: `counted` of `changes` carry a counter. Times in epoch ms.

    `newest_ms` is the time of the last of them and `until_ms` the end of the range, or now; `longest_ms` is the longest
    time between two, and `every_ms` the time that should be.
    """

    item_key: str
    changes: int
    counted: int
    first_counter: int | None
    last_counter: int | None
    breaks: tuple[CanaryBreak, ...]
    newest_ms: int | None
    until_ms: int
    longest_ms: int
    every_ms: int

    @property
    def is_silent(self) -> bool:
        """Whether nothing was heard of it for so long that something is wrong."""
        return self.newest_ms is None or self.until_ms - self.newest_ms > _LATE * self.every_ms

    @property
    def has_rested(self) -> bool:
        """Whether it was silent before, and went on."""
        return self.longest_ms > _LATE * self.every_ms


def canary_chain(
    item_key: str, changes: Sequence[Change], *, since_ms: int | None, until_ms: int, every_ms: int
) -> CanaryChain:
    """The chain of a canary over a half-open range (epoch ms). `changes` are all of the item, in order."""
    from_ms = changes[0].effective_ms if since_ms is None and changes else since_ms or 0
    inside = [change for change in changes if from_ms <= change.effective_ms < until_ms]
    counters = [counter for change in inside if (counter := counter_of(change)) is not None]
    found = [_break(item_key, one, other) for one, other in pairwise(changes)]
    times = [change.effective_ms for change in inside]
    return CanaryChain(
        item_key=item_key,
        changes=len(inside),
        counted=len(counters),
        first_counter=counters[0] if counters else None,
        last_counter=counters[-1] if counters else None,
        breaks=tuple(one for one in found if one and one.until.at_ms >= from_ms and one.since.at_ms < until_ms),
        newest_ms=times[-1] if times else None,
        until_ms=until_ms,
        longest_ms=max((later - earlier for earlier, later in pairwise(times)), default=0),
        every_ms=every_ms,
    )


def counter_of(change: Change) -> int | None:
    """The counter that a change left, None if it left none."""
    image = None if change.new_image is None else orjson.loads(change.new_image)
    value = image.get(COUNTER) if isinstance(image, dict) else None
    if not isinstance(value, dict) or "N" not in value:
        return None
    number = normal_number(value["N"])
    return int(number) if number.lstrip("-").isdigit() else None


def _break(item_key: str, one: Change, other: Change) -> CanaryBreak | None:
    """What is wrong between two neighbouring changes."""
    counters = counter_of(one), counter_of(other)
    before, after = counters
    cause = None
    # A canary that was deleted begins anew, at whatever number.
    if before is not None and after is not None and after != before + 1:
        cause = CanaryCause.COUNTER
    elif not _finds(one, other):
        cause = CanaryCause.IMAGES
    if cause is None:
        return None
    since, until = (LinkEnd(change.effective_ms, change.stream_label, change.change_id) for change in (one, other))
    return CanaryBreak(item_key, cause, since, until, counters)


def _finds(one: Change, other: Change) -> bool:
    """Whether a change finds what the one before it left, as far as the stream carried it."""
    if (one.op == "REMOVE") != (other.op == "INSERT"):
        return False
    if one.op == "REMOVE" or one.new_image is None or other.old_image is None:
        return True
    return same_attributes(one.new_image, other.old_image)
