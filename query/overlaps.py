"""Where stretches of an order have something in common. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Self

from query.derived.members import Span

_BEFORE_ALL: Final = ""
_AFTER_ALL: Final = "~"  # stream labels begin with a digit


@dataclass(frozen=True, slots=True)
class Stretch:
    """The first and the last change of something, in order (stream label and sequence number as one text)."""

    first: str
    last: str

    @classmethod
    def of(cls, spans: Sequence[Span]) -> Self:
        return cls(
            min(f"{span.stream_label} {span.first_sequence}" for span in spans),
            max(f"{span.stream_label} {span.last_sequence}" for span in spans),
        )


@dataclass(frozen=True, slots=True)
class Shared:
    """What of a stretch may be of another one too: all up to `upto`, and all from `since` on."""

    upto: str = _BEFORE_ALL
    since: str = _AFTER_ALL


NOTHING: Final = Shared()
EVERYTHING: Final = Shared(upto=_AFTER_ALL)


def shared(stretch: Stretch, others: Sequence[Stretch]) -> Shared:
    """Never too little: another stretch that lies inside counts as if it reached to the beginning."""
    upto, since = _BEFORE_ALL, _AFTER_ALL
    for other in others:
        if other.last < stretch.first or other.first > stretch.last:
            continue
        if other.first > stretch.first and other.last >= stretch.last:
            since = min(since, other.first)
        else:
            upto = max(upto, other.last)
    return Shared(upto, since)
