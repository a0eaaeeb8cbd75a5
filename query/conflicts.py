"""Changes that rows of evidence tell in two ways. Pure: which rows are compared, the statements choose.

Invariant: content is compared as values, and nothing is chosen between; rows that only spell it otherwise are
duplicates.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from archiver.format.values import same_attributes
from query.masked import Masked
from query.redaction import NOTHING_REDACTED, Redaction

# The range of `range_conflicts.sql` that holds every change.
EVER: Final = {"since_ms": -(1 << 62), "until_ms": 1 << 62}


@dataclass(frozen=True, slots=True, repr=False)
class Conflict(Masked):
    """One change that rows of evidence contradict each other about: never chosen between.

    `segments` are the objects that tell of it, `differs` the columns in which they do.
    """

    item_key: str
    stream_label: str
    sequence_number: str
    segments: tuple[str, ...]
    differs: tuple[str, ...]
    redaction: Redaction = field(default=NOTHING_REDACTED, repr=False, compare=False)


class Names(Protocol):
    """What segments are called, by the number that rows bear (`query.tellers`)."""

    def __getitem__(self, told_by: int, /) -> str: ...


def find_conflicts(
    rows: Sequence[tuple[str, str, str, str, int, str | None, str | None, int]],
    names: Names,
    redaction: Redaction = NOTHING_REDACTED,
) -> tuple[Conflict, ...]:
    """The changes whose rows differ as values. A row: item key, label, sequence number, operation, creation time in ms,
    old and new image, and which segment tells of it, by `names`. `redaction` is theirs where they are shown.
    """
    told: dict[tuple[str, str, str], list[tuple[str, int, str | None, str | None, int]]] = defaultdict(list)
    for item_key, label, sequence_number, *rest in rows:
        told[item_key, label, sequence_number].append(tuple(rest))  # type: ignore[arg-type]
    conflicts = []
    for (item_key, label, sequence_number), versions in sorted(told.items()):
        first = versions[0]
        differs = {name for other in versions[1:] for name in _differences(first, other)}
        if differs:
            segments = tuple(dict.fromkeys(names[version[4]] for version in versions))
            conflicts.append(Conflict(item_key, label, sequence_number, segments, tuple(sorted(differs)), redaction))
    return tuple(conflicts)


def _differences(
    one: tuple[str, int, str | None, str | None, int], other: tuple[str, int, str | None, str | None, int]
) -> list[str]:
    found = []
    if one[0] != other[0]:
        found.append("op")
    if one[1] != other[1]:
        found.append("changed_at")
    if not same_attributes(one[2], other[2]):
        found.append("old_image")
    if not same_attributes(one[3], other[3]):
        found.append("new_image")
    return found
