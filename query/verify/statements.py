"""What the log of a trail says of its evidence: of each object one thing. Pure.

Invariant: an entry may repeat an earlier one word for word; two that differ are a contradiction, never the later one.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TypeVar

from archiver.format.layout import stream_name
from archiver.format.log_entry import (
    AcknowledgeEntry,
    BaselineEntry,
    IntervalEntry,
    LogEntry,
    OpenEntry,
    QuarantineEntry,
    SegmentEntry,
)

Said = TypeVar("Said")


@dataclass(slots=True)
class Statements:
    """By name as entries have it. `places` says where in the log an object was first named; times are epoch ms."""

    segments: dict[str, SegmentEntry] = field(default_factory=dict)
    baselines: dict[str, BaselineEntry] = field(default_factory=dict)
    quarantined: dict[str, QuarantineEntry] = field(default_factory=dict)
    descriptions: dict[str, str] = field(default_factory=dict)
    acknowledgements: list[AcknowledgeEntry] = field(default_factory=list)
    places: dict[str, int] = field(default_factory=dict)
    contradictions: list[str] = field(default_factory=list)
    _waiting: list[tuple[int, int]] = field(
        default_factory=list
    )  # for the end of their seal, which says when it was made
    _looked_at: list[tuple[int, int]] = field(default_factory=list)

    @classmethod
    def of(cls, entries: Iterable[tuple[int, LogEntry]]) -> "Statements":
        said = cls()
        for place, entry in entries:
            said._take(place, entry)
        return said

    def has_acknowledged(self, from_ms: int, to_ms: int) -> bool:
        """Whether one acknowledgement names the whole of a stretch, which was over when it was made: nobody has looked
        at what was still to come.
        """
        return any(since <= from_ms and to_ms <= until for since, until in self._looked_at)

    @property
    def acknowledged(self) -> set[str]:
        """The objects that somebody has looked at."""
        return {said.path for said in self.acknowledgements if said.path is not None}

    def _take(self, place: int, entry: LogEntry) -> None:
        match entry:
            case SegmentEntry():
                self._say(self.segments, entry.path, entry, place)
            case BaselineEntry():
                self._say(self.baselines, entry.path, entry, place)
            case QuarantineEntry():
                self._say(self.quarantined, entry.path, entry, place)
            case OpenEntry() if entry.description_sha256 is not None:
                self._say(self.descriptions, stream_name(entry.stream_label), entry.description_sha256, place)
            case AcknowledgeEntry():
                self.acknowledgements.append(entry)
                if entry.from_ms is not None and entry.to_ms is not None:
                    self._waiting.append((entry.from_ms, entry.to_ms))
            case IntervalEntry():
                self._looked_at += [(since, min(until, entry.sealed_at_ms)) for since, until in self._waiting]
                self._waiting.clear()

    def _say(self, said: dict[str, Said], name: str, what: Said, place: int) -> None:
        if said.setdefault(name, what) != what:
            self.contradictions.append(name)
        self.places.setdefault(name, place)
