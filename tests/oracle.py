"""The oracle: what every answer must be, worked out with a dict and a loop.

Follows `docs/answers.md` to the letter and shares no code with the archiver or the reader: plain ints, Decimals and
dicts, one item and one question at a time. Slow on purpose. Instants are integer milliseconds since the epoch, UTC.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from math import floor
from typing import Any

Key = tuple[tuple[str, Any], ...]

ABSENT = "absent"
NOT_KNOWN = "not known"

EXISTED, DELETED, NOT_CREATED, UNKNOWN = "existed", "already-deleted", "not-yet-created", "unknown"
REFUSED = "refused"  # the item has a change in conflict: no answer is given

_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")


def value_of(attribute: Mapping[str, Any]) -> tuple[str, Any]:
    """An attribute value `{tag: content}` as a hashable value: numbers as Decimal, sets as sets, the rest as text."""
    ((tag, content),) = attribute.items()
    if tag == "N":
        return tag, _number(content)
    if tag in ("SS", "BS"):
        return tag, frozenset(content)
    if tag == "NS":
        return tag, frozenset(map(_number, content))
    if tag == "L":
        return tag, tuple(map(value_of, content))
    if tag == "M":
        return tag, frozenset((name, value_of(value)) for name, value in content.items())
    return tag, content


def image_of(image: Mapping[str, Any] | None) -> Any:
    """An image as a value, or None where the stream carried none."""
    return None if image is None else value_of({"M": image})


def key_of(record_keys: Mapping[str, Any]) -> Key:
    """The key of an item, by value: `{"pk": {"N": "1.0"}}` and `{"pk": {"N": "1"}}` are one key."""
    if len(record_keys) == 1:
        ((name, value),) = record_keys.items()
        return ((name, value_of(value)),)
    return tuple((name, value_of(record_keys[name])) for name in sorted(record_keys))


def label_of(record: Mapping[str, Any]) -> str:
    """The stream label: what follows `/stream/` in the ARN (DynamoDB Streams API Reference, *StreamDescription*)."""
    return record["eventSourceARN"].partition("/stream/")[2]


def identity_of(record: Mapping[str, Any]) -> tuple[str, int, Key]:
    stream = record["dynamodb"]
    return label_of(record), int(stream["SequenceNumber"]), key_of(stream["Keys"])


def content_of(record: Mapping) -> tuple:
    """What two records of one identity must agree in to be the same change: operation, creation time, images, by value."""
    stream = record["dynamodb"]
    images = image_of(stream.get("OldImage")), image_of(stream.get("NewImage"))
    return record["eventName"], Fraction(str(stream["ApproximateCreationDateTime"])), *images


def to_ms(seconds: float | str) -> int:
    """Seconds, as int, float or text, to whole milliseconds, rounded down; a float counts as its shortest decimal text."""
    return seconds * 1000 if isinstance(seconds, int) else floor(Fraction(str(seconds)) * 1000)


def label_ms(label: str) -> int:
    """The instant written in a stream label, cut to the second."""
    return int(datetime.fromisoformat(label).replace(tzinfo=UTC).timestamp()) * 1000


def _number(text: str) -> Decimal | str:
    if not _NUMBER.fullmatch(text):
        return text
    try:
        return Decimal(text)
    except InvalidOperation:
        return text


@dataclass(frozen=True, slots=True)
class Version:
    """One change of an item and the version it begins."""

    op: str
    changed_at_ms: int
    effective_ms: int
    sequence: int
    label: str
    change_id: str | None
    new_image: dict | None
    old_image: dict | None


@dataclass(frozen=True, slots=True)
class State:
    """An item at an instant. `guess` is an image or ABSENT, given only where the outcome is unknown; `rule` is the number
    of the rule in *State* that found the answer."""

    outcome: str
    image: dict | None = None
    reason: str | None = None
    guess: dict | str | None = None
    rule: int = field(default=5, compare=False)


@dataclass(frozen=True, slots=True)
class Fact:
    kind: str  # "change", "baseline", "end"
    label: str | None
    before: Any
    after: Any
    is_past: bool  # at or before the instant or the cut


class ConflictError(Exception):
    """The item has two different contents for one identity: answers that rest on it are refused."""


class Oracle:
    """The truth about one trail.

    `records`: change records as Lambda delivers them, in any order, with duplicates. `baselines`: dicts with `s` and `e`
    (seconds), `label` (or None) and `items` (key as `key_of` gives it -> image). `table_ids`: stream label -> table id,
    None where it is not known.
    """

    def __init__(
        self, records: Iterable[Mapping], *, baselines: Iterable[Mapping] = (), table_ids: Mapping | None = None
    ):
        self._baselines = [{**b, "s": to_ms(b["s"]), "e": to_ms(b["e"])} for b in baselines]
        changes: dict[Key, dict[tuple[str, int], dict]] = {}
        self._conflicts: dict[tuple[str, int, Key], list] = {}
        self._changed_at: dict[tuple[str, int], int] = {}
        times: dict[str, list[int]] = {}
        for record in records:
            label, sequence, key = identity_of(record)
            known = changes.setdefault(key, {})
            first = known.setdefault((label, sequence), record)
            if first is not record and content_of(first) != content_of(record):
                self._conflicts.setdefault((label, sequence, key), [first]).append(record)
            at = to_ms(record["dynamodb"]["ApproximateCreationDateTime"])
            times.setdefault(label, []).append(at)
            self._changed_at[label, sequence] = min(at, self._changed_at.get((label, sequence), at))
        for baseline in self._baselines:
            if baseline["label"] in times:
                times[baseline["label"]] += [baseline["s"], baseline["e"]]
        self._labels = sorted(times)
        self._start = {label: min(times[label]) for label in times}
        self._end = {label: max(times[label]) for label in times}
        self._ends = _ends_of_tables(self._labels, table_ids or {})
        self._history = {key: _versions(known) for key, known in changes.items()}
        self._refused = {key for _, _, key in self._conflicts}

    def item_keys(self) -> set[Key]:
        """Every item with a change or a place in a baseline."""
        return set(self._history).union(*(baseline["items"] for baseline in self._baselines))

    def boundaries(self) -> list[tuple[str, int]]:
        """Every (stream label, sequence number) at which a cut can be made, in order."""
        return sorted(self._changed_at)

    def conflicts(self) -> dict[tuple[str, int, Key], list]:
        """Identity -> the records that share it and differ."""
        return self._conflicts

    def history(self, key: Key) -> list[Version]:
        """All versions in order. Raises ConflictError if a change of the item is in conflict."""
        if key in self._refused:
            raise ConflictError(key)
        return self._history.get(key, [])

    def covering(self, t_ms: int) -> str | None:
        """The greatest label begun by then, if it has no end or `t_ms` is before it."""
        begun = [label for label in self._labels if self._start[label] <= t_ms]
        if begun and (begun[-1] == self._labels[-1] or t_ms < self._end[begun[-1]]):
            return begun[-1]
        return None

    def state_at(self, key: Key, t_ms: int) -> State:
        earlier = [b for b in self._baselines if b["s"] <= t_ms]
        later = [b for b in self._baselines if b["s"] > t_ms]
        consulted = [max(earlier, key=lambda b: (b["s"], b["e"]))] if earlier else []
        consulted += [min(later, key=lambda b: (b["s"], b["e"]))] if later else []
        facts = self._facts(
            key,
            consulted,
            change=lambda version: version.effective_ms <= t_ms,
            end=lambda _, instant: instant <= t_ms,
            baseline=lambda baseline: baseline["s"] <= t_ms,
        )
        last = max((n for n, fact in enumerate(facts) if fact.is_past), default=-1)
        following = facts[last + 1] if last + 1 < len(facts) else None
        uncovered = "before-coverage" if all(t_ms < start for start in self._start.values()) else "gap"
        return self._state(key, facts[: last + 1], following, self.covering(t_ms), uncovered)

    def state_at_cut(self, key: Key, label: str, sequence: int) -> State:
        """The item after every change at or before (`label`, `sequence`), which must be a change of the trail."""
        named_at = self._changed_at[label, sequence]
        ended = [b for b in self._baselines if b["e"] < named_at]
        facts = self._facts(
            key,
            [max(ended, key=lambda b: (b["s"], b["e"]))] if ended else [],
            change=lambda version: (version.label, version.sequence) <= (label, sequence),
            end=lambda new_label, _: new_label <= label,
            baseline=lambda _: True,
        )
        next_change = min((n for n, f in enumerate(facts) if f.kind == "change" and not f.is_past), default=len(facts))
        last = max((n for n, fact in enumerate(facts[:next_change]) if fact.is_past), default=-1)
        following = facts[next_change] if next_change < len(facts) else None
        return self._state(key, facts[: last + 1], following, label, "gap")

    def table_at(self, t_ms: int) -> dict[Key, State]:
        return {key: self.state_at(key, t_ms) for key in self.item_keys()}

    def table_at_cut(self, label: str, sequence: int) -> dict[Key, State]:
        return {key: self.state_at_cut(key, label, sequence) for key in self.item_keys()}

    def _facts(self, key: Key, baselines: list, *, change: Callable, end: Callable, baseline: Callable) -> list[Fact]:
        """The facts of an item in order: changes and ends of tables by label, then each baseline put in its place."""
        versions = self._history.get(key, [])
        untouched = [
            b
            for b in baselines
            if not any(b["s"] <= t <= b["e"] for v in versions for t in (v.changed_at_ms, v.effective_ms))
        ]
        earliest = [version.label for version in versions[:1]]
        places: list[tuple[Any, Fact]] = [
            (version, Fact("change", version.label, _before(version), _after(version), change(version)))
            for version in versions
        ]
        for label, instant in self._ends:
            if any(first < label for first in earliest) or any(not _after_end(b, label, instant) for b in untouched):
                at = sum(version.label < label for version in versions)
                at += sum(fact.kind == "end" for _, fact in places)
                places.insert(at, ((label, instant), Fact("end", label, NOT_KNOWN, ABSENT, end(label, instant))))
        for b in sorted(untouched, key=lambda b: (b["s"], b["e"])):
            at = max(
                (n + 1 for n, (v, f) in enumerate(places) if f.kind == "change" and v.effective_ms < b["s"]), default=0
            )
            while at < len(places) and (
                places[at][1].kind == "baseline" or (places[at][1].kind == "end" and _after_end(b, *places[at][0]))
            ):
                at += 1
            held = b["items"].get(key, ABSENT)
            places.insert(at, (b, Fact("baseline", b["label"], held, held, baseline(b))))
        return [fact for _, fact in places]

    def _state(self, key: Key, past: list[Fact], following: Fact | None, covering: str | None, uncovered: str) -> State:
        if key in self._refused:
            return State(REFUSED, reason="conflict")
        last = past[-1] if past else None
        covers_last = bool(last and covering and last.label == covering)
        covers_next = bool(following and covering and following.label == covering)
        rules = [
            following.before if last and last.kind == "end" and covers_next else NOT_KNOWN,
            last.after if covers_last else NOT_KNOWN,
            following.before if covers_next else NOT_KNOWN,
            last.after if last and following and _agree(last.after, following.before) else NOT_KNOWN,
        ]
        rule, found = next(((n, a) for n, a in enumerate(rules, start=1) if a is not NOT_KNOWN), (5, NOT_KNOWN))
        if found is ABSENT:
            was_there = any(f.kind == "change" or isinstance(f.before, dict) or isinstance(f.after, dict) for f in past)
            return State(DELETED if was_there else NOT_CREATED, rule=rule)
        if found is not NOT_KNOWN:
            return State(EXISTED, found, rule=rule)
        guesses = [last.after if last else NOT_KNOWN, following.before if following else NOT_KNOWN]
        guess = next((guess for guess in guesses if guess is not NOT_KNOWN), None)
        if (covers_last and last.kind == "change") or (covers_next and following.kind == "change"):
            return State(UNKNOWN, reason="missing-image", guess=guess)
        reason = uncovered if covering is None or last or following else "no-fact"
        return State(UNKNOWN, reason=reason, guess=guess)


def _versions(known: Mapping[tuple[str, int], Mapping]) -> list[Version]:
    versions: list[Version] = []
    for (label, sequence), record in sorted(known.items(), key=lambda entry: entry[0]):
        stream = record["dynamodb"]
        at = to_ms(stream["ApproximateCreationDateTime"])
        version = Version(
            op=record["eventName"],
            changed_at_ms=at,
            effective_ms=at,
            sequence=sequence,
            label=label,
            change_id=record.get("eventID"),
            new_image=stream.get("NewImage"),
            old_image=stream.get("OldImage"),
        )
        versions.append(replace(version, effective_ms=max(at, versions[-1].effective_ms)) if versions else version)
    return versions


def _ends_of_tables(labels: list[str], table_ids: Mapping[str, str | None]) -> list[tuple[str, int]]:
    """(first label of the new table, its instant in ms); a label without an id belongs to the table of the one before."""
    ends, current = [], None
    for label in labels:
        table_id = table_ids.get(label) or current
        if current and table_id != current:
            ends.append((label, label_ms(label)))
        current = table_id
    return ends


def _after_end(baseline: Mapping, new_label: str, instant: int) -> bool:
    """Was the baseline taken of the new table? Its label says so, or else its time."""
    return baseline["label"] >= new_label if baseline["label"] else baseline["s"] >= instant


def _before(version: Version) -> Any:
    return ABSENT if version.op == "INSERT" else NOT_KNOWN if version.old_image is None else version.old_image


def _after(version: Version) -> Any:
    return ABSENT if version.op == "REMOVE" else NOT_KNOWN if version.new_image is None else version.new_image


def _agree(after: Any, before: Any) -> bool:
    if isinstance(after, dict) and isinstance(before, dict):
        return image_of(after) == image_of(before)
    return after is before is ABSENT
