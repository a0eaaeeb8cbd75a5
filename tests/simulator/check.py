"""The checker: what a reader read back, against the model (invariants I1 to I5)."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import orjson

from tests.oracle import Key, State, content_of, identity_of, image_of
from tests.simulator.outcome import Outcome
from tests.simulator.stream import Emitted

Identity = tuple[str, int, Key]
MOST_SHOWN = 3


@dataclass
class Verdict:
    """What is wrong, by invariant. `ok` counts records that came back as they went in, `recovered` the excused ones that
    came back although they need not have."""

    seed: int
    writes: int
    ok: int = 0
    recovered: int = 0
    lost: list[Any] = field(default_factory=list)  # I1
    unquarantined: list[Any] = field(default_factory=list)  # I1: neither archived nor in quarantine, or not verbatim
    duplicated: list[Identity] = field(default_factory=list)  # I2
    invented: list[Any] = field(default_factory=list)  # in the archive, never in the stream
    disordered: list[Key] = field(default_factory=list)  # I3
    wrong_states: list[Any] = field(default_factory=list)  # I4
    altered: list[Identity] = field(default_factory=list)  # I5
    handler_errors: list[str] = field(default_factory=list)

    FINDINGS = ("lost", "unquarantined", "duplicated", "invented", "disordered", "wrong_states", "altered")

    def passed(self) -> bool:
        return not any(getattr(self, name) for name in self.FINDINGS)

    def __str__(self) -> str:
        lines = [f"seed {self.seed}, {self.writes} writes: {self.ok} ok, {self.recovered} recovered"]
        findings = [(name, getattr(self, name)) for name in self.FINDINGS]
        lines += [f"  {name}: {len(found)}, such as {found[:MOST_SHOWN]}" for name, found in findings if found]
        return "\n".join([*lines, *(f"  the handler raised:\n{error}" for error in self.handler_errors[:1])])


def check(outcome: Outcome, archived: Iterable[Any], quarantined: Iterable[Any] = ()) -> Verdict:
    """Compare what was read back with what the streams held.

    `archived`: records in Lambda's shape, or bare identities (stream label, number, `key_of`), each once, in the order in
    which the reader gives them (only the order within an item counts). `quarantined`: the records in quarantine.
    """
    verdict = Verdict(outcome.seed, outcome.writes, handler_errors=outcome.handler_errors)
    expected, excused = outcome.expected, outcome.excused
    seen: dict[Identity, list] = {}
    orders: dict[Key, list[tuple[str, int]]] = {}
    for record in archived:
        identity = record if isinstance(record, tuple) else identity_of(record)
        emitted = expected.get(identity) or excused.get(identity)
        if emitted is None:
            verdict.invented.append(identity)
            continue
        before = seen.setdefault(identity, [])
        orders.setdefault(identity[2], []).append(identity[:2])
        if any(_are_the_same(record, other) for other in before):
            verdict.duplicated.append(identity)
        elif not _was_delivered(record, emitted):
            verdict.altered.append(identity)
        elif identity in excused:
            verdict.recovered += 1
        else:
            verdict.ok += 1
        before.append(record)
    verdict.lost = [identity for identity in expected if identity not in seen]
    # Nothing but numbers decides the order of one item: (stream label, sequence number).
    verdict.disordered = [key for key, order in orders.items() if any(a > b for a, b in pairwise(order))]
    _check_quarantine(verdict, outcome, quarantined)
    return verdict


def check_states(
    outcome: Outcome,
    table_at_cut: Callable[[str, int], Mapping[Key, tuple[str, Any]]],
    archived: Iterable[Identity] = (),
    *,
    has_baselines: bool = False,
) -> Verdict:
    """I4 at every sequence boundary: `table_at_cut(stream label, number)` gives key -> (outcome, image or None).

    An item that the oracle calls *not yet created* may be left out.
    """
    verdict = Verdict(outcome.seed, outcome.writes, handler_errors=outcome.handler_errors)
    oracle = outcome.oracle(archived, baselines=has_baselines)
    for label, sequence in oracle.boundaries():
        found = table_at_cut(label, sequence)
        expected = oracle.table_at_cut(label, sequence)
        for key in expected.keys() | found.keys():
            outcome_there, image = found.get(key, ("not-yet-created", None))
            state = expected.get(key, State("not-yet-created"))
            if outcome_there != state.outcome or image_of(image) != image_of(state.image):
                verdict.wrong_states.append(((label, sequence), key, state, (outcome_there, image)))
    return verdict


def canonical(record: Mapping) -> bytes:
    """A record with its keys in order and its creation time in one spelling, as bytes."""
    stream = record["dynamodb"]
    seconds = stream["ApproximateCreationDateTime"]
    if not isinstance(seconds, int):
        seconds = float(seconds)
        seconds = int(seconds) if seconds.is_integer() else seconds
        record = {**record, "dynamodb": {**stream, "ApproximateCreationDateTime": seconds}}
    return orjson.dumps(record, option=orjson.OPT_SORT_KEYS)


def shrink(seed: int, fails: Callable[[int, int], bool], writes: int = 150) -> int:
    """The fewest writes of this seed that still fail; `fails(seed, writes)` runs and checks. To be printed with a failure."""
    low, high = 0, writes
    for count in (1, 2, 4, 8, 16, 32, 64, 128):
        if count >= writes:
            break
        if fails(seed, count):
            high = count
            break
        low = count
    return next((count for count in range(low + 1, high) if fails(seed, count)), high)


def _are_the_same(record: Any, other: Any) -> bool:
    """Two records of one identity are duplicates unless their contents conflict."""
    return isinstance(record, tuple) or isinstance(other, tuple) or content_of(record) == content_of(other)


def _was_delivered(record: Any, emitted: Emitted) -> bool:
    if isinstance(record, tuple):
        return True
    content = canonical(record)
    return any(content == canonical(delivered) for delivered in (emitted.record, *emitted.variants))


def _check_quarantine(verdict: Verdict, outcome: Outcome, quarantined: Iterable[Any]) -> None:
    held = {_verbatim(record) for record in quarantined}
    poison = {_verbatim(record) for record in outcome.poison}
    verdict.unquarantined = sorted(poison - held)
    verdict.ok += len(poison & held)
    may_be = {_verbatim(e.record) for e in outcome.records if e.is_poison}
    verdict.invented += sorted(held - may_be)


def _verbatim(record: Any) -> str:
    return json.dumps(record, sort_keys=True)
