"""Which runs a log should have, against plain models: whenever and however often somebody looks, the same ones; and which
of the runs that there are cover the log.
"""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import pairwise
from random import Random

import pytest

from archiver.format.layout import SegmentName
from archiver.format.log_entry import SegmentEntry
from query.derived.levels import Piece, cover, is_last_of_month, until_ms, wanted_runs
from query.derived.names import RunName
from tests.querying.logs import AT_MS, MadeLog, acknowledged
from tests.system.tampered import FIRST_KEY, MINUTE_MS

HOUR_MS, DAY_MS = 3_600_000, 86_400_000
SEEDS = 200
START_MS = 1_798_761_600_000  # 2027-01-01T00:00Z


def period(at_ms: int, form: str) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime(form)


def drawn(rng: Random) -> list[Piece]:
    """Seals in order of time, some in one hour, some months apart, around the turn of a year."""
    pieces, at_ms, size = [], START_MS - rng.randrange(3 * DAY_MS), 0
    step = rng.choice([MINUTE_MS, HOUR_MS // 2, 5 * HOUR_MS, 9 * DAY_MS])
    for _ in range(rng.randint(1, 25)):
        at_ms += rng.choice([0, 1, step, rng.randrange(2 * step)])
        entries = rng.randint(1, 4)
        pieces.append(Piece(RunName(size, size + entries), at_ms, is_run=False))
        size += entries
    return pieces


def compacted(pieces: list[Piece]) -> tuple[list[Piece], list[tuple[Piece, ...]]]:
    """What stands after a compaction, and what was made: as `query.runs` does it."""
    made = wanted_runs(pieces)
    left = list(pieces)
    for members in made:
        at = left.index(members[0])
        assert tuple(left[at : at + len(members)]) == members, "a run of pieces that do not follow each other"
        name = RunName(members[0].name.start, members[-1].name.end)
        left[at : at + len(members)] = [Piece(name, members[-1].until_ms, is_run=True)]
    return left, made


def model(seals: list[Piece]) -> list[tuple[int, int]]:
    """Each seal in the run of the longest period of its own that is over; those of the present hour in none."""
    now = seals[-1].until_ms
    groups: dict[str, list[Piece]] = {}
    for seal in seals:
        for form in ("%Y-%m", "%Y-%m-%d", "%Y-%m-%dT%H"):
            if period(seal.until_ms, form) != period(now, form):
                groups.setdefault(period(seal.until_ms, form), []).append(seal)
                break
    return [(members[0].name.start, members[-1].name.end) for members in groups.values()]


def test_the_same_log_gives_the_same_runs_whenever_it_is_looked_at():
    """Looked at after each seal, now and then, or only at the end: the runs are those of the model, and nothing is
    left to do; no change is written more than three times."""
    for seed in range(SEEDS):
        rng = Random(seed)
        seals = drawn(rng)
        right = model(seals)
        for rate in (0.0, 0.3, 1.0):
            stands: list[Piece] = []
            written: dict[int, int] = {}
            for seal in seals:
                stands.append(seal)
                if rng.random() < rate or seal is seals[-1]:
                    stands, made = compacted(stands)
                    for members in made:
                        for entry in range(members[0].name.start, members[-1].name.end):
                            written[entry] = written.get(entry, 0) + 1
                    assert not wanted_runs(stands), (seed, rate, "there is more to do at once")
            assert [(one.name.start, one.name.end) for one in stands if one.is_run] == right, (seed, rate)
            assert max(written.values(), default=0) <= 3, (seed, rate)
            assert [one.name.end for one in stands[:-1]] == [one.name.start for one in stands[1:]]


def test_nothing_sealed_nothing_wanted():
    assert wanted_runs([]) == []
    assert wanted_runs([Piece(RunName(0, 3), START_MS, is_run=False)]) == []


@pytest.mark.parametrize(
    ("first", "then", "runs"),
    [
        ("2027-01-01T00:59:59.999", "2027-01-01T01:00:00.000", 1),  # an hour is over with its last millisecond
        ("2027-01-01T00:00:00.000", "2027-01-01T00:59:59.999", 0),
        ("2026-12-31T23:59:59.999", "2027-01-01T00:00:00.000", 1),  # hour, day, month and year at once: one run
        ("2028-02-29T23:59:59.999", "2028-03-01T00:00:00.000", 1),
    ],
)
def test_where_periods_end(first, then, runs):
    """What belongs to a period becomes a run as soon as something is sealed that belongs to a later one."""
    times = [round(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000) for text in (first, then)]
    pieces = [Piece(RunName(n, n + 1), at_ms, is_run=False) for n, at_ms in enumerate(times)]
    assert wanted_runs(pieces) == [(pieces[0],)] * runs


def test_cover_is_the_fewest_runs_that_reach_furthest():
    """Against every chain of runs from 0: none reaches further, and none that reaches as far has fewer."""
    for seed in range(SEEDS):
        rng = Random(seed)
        names = list(
            {RunName(start, start + rng.randint(1, 5)) for start in rng.choices(range(12), k=rng.randint(0, 14))}
        )
        rng.shuffle(names)
        found = cover(names)
        assert set(found) <= set(names), seed
        assert all(one.end == other.start for one, other in pairwise(found)), seed
        assert not found or found[0].start == 0, seed
        end, fewest = best(names)
        assert (found[-1].end if found else 0, len(found)) == (end, fewest), seed


def best(names: list[RunName]) -> tuple[int, int]:
    """How far runs reach from 0 without a gap, and the fewest that do."""
    fewest = {0: 0}
    for at in range(20):
        if at in fewest:
            for name in names:
                if name.start == at:
                    fewest[name.end] = min(fewest.get(name.end, 99), fewest[at] + 1)
    return max(fewest), fewest[max(fewest)]


def segment(last_ms: int) -> SegmentEntry:
    hour_ms = last_ms - last_ms % HOUR_MS
    place = SegmentName(hour_ms, "1".zfill(40), "ab" * 32)
    return SegmentEntry(
        path=place.compose(),
        stream_label="2026-11-01T00:00:00.000",
        file_sha256="cd" * 32,
        bytes=10,
        records=1,
        root=place.root,
        first_sequence=place.first_sequence,
        last_sequence=place.first_sequence,
        first_changed_at_ms=hour_ms,
        last_changed_at_ms=last_ms,
        writer="test",
    )


def test_the_time_that_a_seal_belongs_to():
    """The end of what it looked at; its latest change where that is later, but never beyond the sealer's own clock; and
    never before that of the seal before it."""
    plain = MadeLog(FIRST_KEY).add(acknowledged()).seals[0]
    assert until_ms(plain, 0) == plain.interval.to_ms == AT_MS
    assert until_ms(plain, AT_MS + 5) == AT_MS + 5
    # Not all was looked at: it claims no time, but has changes.
    partial = {"to_ms": AT_MS - 90 * MINUTE_MS, "from_ms": AT_MS - 95 * MINUTE_MS}
    log = MadeLog(FIRST_KEY).add(segment(AT_MS - MINUTE_MS), **partial)
    assert until_ms(log.seals[0], 0) == AT_MS - MINUTE_MS
    ahead = MadeLog(FIRST_KEY).add(segment(AT_MS + 300 * DAY_MS), **partial)
    assert until_ms(ahead.seals[0], 0) == AT_MS == ahead.seals[0].interval.sealed_at_ms


def test_the_last_of_a_month():
    """Only where something of another month follows."""
    january, february = START_MS + 30 * DAY_MS, START_MS + 31 * DAY_MS
    times = [START_MS, january, february, february + 5]
    assert [is_last_of_month(times, place) for place in range(4)] == [False, True, False, False]
