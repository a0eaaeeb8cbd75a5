"""What lies in a trail, beside what its log says lies there: missing, hidden, foreign, and not sealed yet.

Names and sizes only; nothing is opened. Invariant: every object of the listing is either one that the log names, one
that may wait to be sealed, derived data, or a finding.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Final

from archiver.format.layout import (
    HOUR_MS,
    ROOT,
    BaselineName,
    SegmentName,
    Trail,
    parse_late_name,
    parse_quarantine_name,
    parse_stream_name,
)
from archiver.format.seal import parse_seal_name
from query.source import ObjectVersion, StoredObject
from query.verify.problem import Problem
from query.verify.statements import Statements

TAIL_MS: Final = 26 * HOUR_MS
AHEAD_MS: Final = HOUR_MS  # creation times are DynamoDB's, and no clock is exact: so far ahead a sealer looks
DERIVED: Final = ("runs/", "snapshots/")
_SHOWN_VERSIONS: Final = 5


@dataclass(slots=True)
class Inventory:
    """The objects of a trail by kind, by name inside the trail (records of no trail by their whole name).

    `sealed` are those that the log names and that are there; `unsealed` those that it does not name.
    """

    trail: Trail
    said: Statements
    sealed: dict[str, StoredObject] = field(default_factory=dict)
    unsealed: dict[str, StoredObject] = field(default_factory=dict)
    parts: dict[str, StoredObject] = field(default_factory=dict)
    quarantined: dict[str, StoredObject] = field(default_factory=dict)
    announced: set[str] = field(default_factory=set)
    seals: list[str] = field(default_factory=list)
    derived: int = 0
    segments: int = 0
    problems: list[Problem] = field(default_factory=list)

    def take(self, listed: Sequence[StoredObject]) -> None:
        """Sorts a listing of the trail, and of what stands beside all trails."""
        for stored in listed:
            inside = stored.name.removeprefix(self.trail.prefix)
            kind = inside.partition("/")[0]
            try:
                self._sort(kind, inside, stored)
            except ValueError as error:
                self.problems.append(Problem("foreign-object", stored.name, str(error)))

    def _sort(self, kind: str, inside: str, stored: StoredObject) -> None:
        match kind:
            case "segments":
                SegmentName.parse(inside)
                self.segments += 1
                self._place(inside, stored, inside in self.said.segments)
            case "streams":
                parse_stream_name(inside)
                self._place(inside, stored, inside in self.said.descriptions)
            case "late":
                _, segment = parse_late_name(inside)
                self.announced.add(segment.compose())
                if stored.size_bytes:
                    self.problems.append(Problem("unsound", stored.name, "a late marker has content"))
            case "quarantine":
                parse_quarantine_name(inside)
                self.quarantined[inside] = stored
            case _ if inside == stored.name:  # beside all trails: a name of that form is foreign in one
                parse_quarantine_name(inside.removeprefix(f"{ROOT}/"))
                self.quarantined[inside] = stored
            case "baselines":
                if BaselineName.parse(inside).description != inside:
                    self.parts[inside] = stored
                else:
                    self._place(inside, stored, inside in self.said.baselines)
            case "seals":
                parse_seal_name(inside)  # one of another name was told when the log was read, too
                self.seals.append(inside)
            case _:
                if not inside.startswith(DERIVED):
                    raise ValueError("nothing of this name belongs to a trail")
                self.derived += 1

    def _place(self, inside: str, stored: StoredObject, is_sealed: bool) -> None:
        (self.sealed if is_sealed else self.unsealed)[inside] = stored

    def missing(self) -> Iterator[Problem]:
        """Objects that the log names and the listing does not."""
        for inside in (*self.said.segments, *self.said.descriptions, *self.said.baselines):
            if inside not in self.sealed:
                yield Problem("object-missing", self.trail.prefix + inside, "the log names it, and it is not there")
        for inside in self.said.quarantined:
            if inside not in self.quarantined:
                yield Problem("object-missing", self.full(inside), "the log names it, and it is not there")

    def full(self, inside: str) -> str:
        """The full name of an object, from the one that entries have."""
        return inside if inside.startswith(f"{ROOT}/") else self.trail.prefix + inside

    def waiting(self, *, now_ms: int, sealed_to_ms: int | None, is_fresh: bool) -> Iterator[Problem]:
        """What the log does not name, judged by its name alone: whether it may still wait for a seal.

        `sealed_to_ms` is how far the log reaches without a hole (epoch ms; None: nobody knows), `is_fresh` whether its
        newest seal is young enough for evidence to wait for the next one.
        """
        for inside, stored in self.unsealed.items():
            problem = self._judged(inside, stored, now_ms, sealed_to_ms, is_fresh=is_fresh)
            if problem is not None:
                yield problem

    def _judged(
        self, inside: str, stored: StoredObject, now_ms: int, sealed_to_ms: int | None, *, is_fresh: bool
    ) -> Problem | None:
        if inside.startswith("segments/"):
            hour_ms = SegmentName.parse(inside).hour_ms
            if hour_ms > now_ms + AHEAD_MS:
                return Problem("forged-segment", stored.name, "its hour has not begun, and no sealer would look there")
            if sealed_to_ms is not None and hour_ms + HOUR_MS + TAIL_MS < sealed_to_ms:
                if inside not in self.announced:
                    return Problem(
                        "forged-segment", stored.name, "its hour was sealed without it, nothing announced it"
                    )
                return Problem("unsealed", stored.name, "it was announced as late, and no seal names it yet")
        return None if is_fresh else Problem("unsealed", stored.name, "no seal names it")

    def unacknowledged(self) -> Iterator[Problem]:
        """Records that were set aside, until somebody said why."""
        acknowledged = self.said.acknowledged
        for inside, stored in self.quarantined.items():
            if inside not in acknowledged:
                yield Problem("quarantined", stored.name, "a record was set aside because nobody understood it")


def version_problems(
    versions: Iterator[ObjectVersion], trail: Trail, is_missing: Callable[[str], bool]
) -> Iterator[Problem]:
    """Evidence with a second version, or behind a delete marker: nothing of it is ever written twice or deleted.

    `is_missing` tells of a full name whether it was found missing already.
    """
    for name, listed in groupby(versions, key=lambda version: version.name):  # in order of name, as S3 lists them
        found = list(dict.fromkeys(listed))  # some servers tell the last version of a page once more on the next
        if any(name.startswith(trail.prefix + folder) for folder in DERIVED):
            continue
        contents = [one for one in found if not one.is_delete_marker]
        markers = len(found) - len(contents)
        if len(contents) > 1:
            ids = ", ".join(one.version_id for one in contents[:_SHOWN_VERSIONS])
            yield Problem("second-version", name, f"{len(contents)} versions of it: {ids}")
        elif markers:
            why = "a delete marker hides it" if contents else "a delete marker stands where nothing is left"
            yield Problem("object-hidden", name, why + (", and the log names it" if is_missing(name) else ""))
