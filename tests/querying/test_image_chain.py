"""The image chain names the items of which changes are missing, and between which changes; and it never cries wolf."""

from __future__ import annotations

import tempfile
from collections import Counter
from itertools import pairwise
from pathlib import Path
from random import Random

import orjson
import pytest

import query
from archiver.format.canonical import canonical
from archiver.format.layout import label_time_ms
from archiver.store import FolderStore
from archiver.streams import Streams
from archiver.writer import Writer
from query.image_chain import Cause
from query.plan import CLOCK_MARGIN_MS
from tests.campaign import rounds
from tests.delivery import delivered
from tests.oracle import identity_of, image_of, key_of
from tests.querying.test_simulated import DigestingStore, archived_identities
from tests.simulator.real import RealHandler, finish, good_records, is_segment, open_table
from tests.simulator.run import simulate

LABEL, LATER_LABEL = "2026-09-01T00:00:00.000", "2026-09-15T01:00:00.000"
T0 = 1_789_430_400
CLEAN_SEEDS, LOSSY_SEEDS, LONG_SEEDS = 200, 100, 2_000
CHUNKS = 4
MARGIN_S = CLOCK_MARGIN_MS // 1000

ONE, TWO, THREE = ({"n": {"N": str(n)}} for n in (1, 2, 3))
SPELLED, SPELLED_OTHERWISE = (
    {"n": {"N": "1.0"}, "tags": {"SS": ["b", "a"]}},
    {"n": {"N": "1"}, "tags": {"SS": ["a", "b"]}},
)


def change(number, op, old=None, new=None, *, key="a", label=LABEL, at_s=None, view="NEW_AND_OLD_IMAGES"):
    return delivered(
        op,
        {"id": {"S": key}},
        old,
        new,
        sequence_number=10**21 + number,
        changed_at_s=T0 + number if at_s is None else at_s,
        arn=f"arn:aws:dynamodb:eu-west-1:111122223333:table/orders/stream/{label}",
        event_id=f"{number:032x}",
        view_type=view,
    )


@pytest.fixture
def chain_of(tmp_path):
    """The chain of these records, each archived in a segment of its own, or with others in a list."""

    def made(*records, **asked):
        writer = Writer(FolderStore(tmp_path / "archive"), Streams())
        for batch in records:
            assert not writer.archive(batch if isinstance(batch, list) else [batch], now_ms=T0 * 1000).quarantined
        return query.open(str(tmp_path / "archive")).table("orders").image_chain(**asked)

    return made


INSERT_ONE = change(1, "INSERT", None, ONE)
REMOVE_ONE = change(1, "REMOVE", ONE)


@pytest.mark.parametrize(
    ("earlier", "later", "missing"),
    [
        (INSERT_ONE, change(3, "MODIFY", TWO, THREE), "MODIFY"),
        (INSERT_ONE, change(3, "REMOVE", TWO), "MODIFY"),
        (INSERT_ONE, change(3, "INSERT", None, TWO), "REMOVE"),
        (REMOVE_ONE, change(3, "MODIFY", ONE, TWO), "INSERT"),
        (REMOVE_ONE, change(3, "REMOVE", ONE), "INSERT"),
        (INSERT_ONE, change(3, "MODIFY", ONE, TWO), None),
        (INSERT_ONE, change(3, "REMOVE", ONE), None),
        (REMOVE_ONE, change(3, "INSERT", None, ONE), None),
        (change(1, "INSERT", None, SPELLED), change(3, "REMOVE", SPELLED_OTHERWISE), None),
        (change(1, "INSERT", None, ONE), change(3, "REMOVE", {"n": {"S": "1"}}), "MODIFY"),
        (change(1, "INSERT", None, {}), change(3, "REMOVE", {"n": {"NULL": True}}), "MODIFY"),
    ],
)
def test_a_change_finds_what_the_one_before_it_left(chain_of, earlier, later, missing):
    """Where it does not, the kind of the change that is missing follows from what stands on both sides."""
    chain = chain_of(earlier, later)
    assert (chain.links, chain.comparable) == (1, 1)
    assert [found.missing for found in chain.breaks] == ([missing] if missing else [])
    for found in chain.breaks:
        assert (found.since.change_id, found.until.change_id) == (f"{1:032x}", f"{3:032x}")
        assert (found.since.at_ms, found.until.at_ms) == ((T0 + 1) * 1000, (T0 + 3) * 1000)
        assert found.cause is Cause.WITHIN_STREAM
        assert found.changed_attributes == (("n",) if missing == "MODIFY" else ())


def test_order_is_the_streams_and_not_that_of_clocks(chain_of):
    """A clock that stepped back breaks nothing, and hides nothing."""
    intact = chain_of(change(1, "INSERT", None, ONE, at_s=T0 + 90), change(2, "MODIFY", ONE, TWO, at_s=T0))
    assert (intact.links, intact.broken) == (1, 0)
    broken = chain_of(change(4, "MODIFY", THREE, ONE, at_s=T0 + 30))
    assert [found.since.change_id for found in broken.breaks] == [f"{2:032x}"]


@pytest.mark.parametrize(("view", "new"), [("OLD_IMAGE", None), ("KEYS_ONLY", None)])
def test_without_images_nothing_is_compared_and_that_is_said(chain_of, view, new):
    """Not knowing is not the same as being whole."""
    chain = chain_of(change(1, "INSERT", None, new, view=view), change(3, "MODIFY", None, new, view=view))
    assert (chain.links, chain.comparable, chain.broken) == (1, 0, 0)


def test_an_insert_over_what_was_there_is_a_break_without_any_image(chain_of):
    """KEYS_ONLY too: an item cannot be made twice without having been deleted between; here the images are there."""
    chain = chain_of(INSERT_ONE, change(2, "INSERT", None, ONE))
    assert [found.missing for found in chain.breaks] == ["REMOVE"]


def test_a_change_that_stands_in_two_segments_is_one_fact(chain_of):
    """Retries cut batches in other places, so the same change is stored twice."""
    chain = chain_of([INSERT_ONE], [INSERT_ONE, change(2, "MODIFY", ONE, TWO)], change(2, "MODIFY", ONE, TWO))
    assert (chain.links, chain.comparable, chain.broken) == (1, 1, 0)


def test_a_change_that_stands_there_in_another_spelling_is_one_fact(chain_of):
    """The order of a set is nobody's promise."""
    other = change(1, "INSERT", None, SPELLED_OTHERWISE)
    chain = chain_of(change(1, "INSERT", None, SPELLED), other, change(3, "REMOVE", SPELLED))
    assert (chain.links, chain.broken, chain.conflicts) == (1, 0, ())


def test_an_item_whose_evidence_contradicts_itself_is_left_to_its_conflict(chain_of):
    """Which of two contents is true nobody knows, so nothing is said to be missing beside them."""
    chain = chain_of(
        INSERT_ONE,
        change(1, "INSERT", None, TWO),
        change(3, "REMOVE", THREE),
        change(5, "INSERT", None, ONE, key="b"),
        change(6, "REMOVE", TWO, key="b"),
    )
    assert [conflict.item_key for conflict in chain.conflicts] == ['{"id":{"S":"a"}}']
    assert [found.item_key for found in chain.breaks] == ['{"id":{"S":"b"}}']


def test_a_break_between_two_streams_says_so(chain_of):
    """It is known why changes are missing there: the stream was off."""
    chain = chain_of(INSERT_ONE, change(1, "REMOVE", TWO, label=LATER_LABEL, at_s=T0 + 7200))
    assert [(found.cause, found.since.stream_label, found.until.stream_label) for found in chain.breaks] == [
        (Cause.BETWEEN_STREAMS, LABEL, LATER_LABEL)
    ]


@pytest.mark.parametrize(
    ("since_s", "until_s", "is_inside"),
    [
        (None, None, True),
        (3, None, True),
        (4, None, False),
        (None, 2, True),
        (None, 1, False),
        (2, 3, True),
    ],
)
def test_a_range_keeps_what_may_lie_in_it(chain_of, since_s, until_s, is_inside):
    """What is missing lies somewhere between both ends, each to its last second."""
    chain = chain_of(
        INSERT_ONE,
        change(3, "REMOVE", TWO),
        since_ms=None if since_s is None else (T0 + since_s) * 1000,
        until_ms=None if until_s is None else (T0 + until_s) * 1000,
    )
    assert (chain.broken, chain.items, len(chain.breaks)) == ((1, 1, 1) if is_inside else (0, 0, 0))


def test_all_breaks_are_counted_and_so_many_listed(chain_of):
    """A stretch in which everything was lost may break a million items."""
    records = [
        change(n, op, *images, key=str(n // 2))
        for n, (op, images) in enumerate([("INSERT", (None, ONE)), ("REMOVE", (TWO,))] * 5)
    ]
    chain = chain_of(*records, most=2)
    assert (chain.broken, chain.items, len(chain.breaks)) == (5, 5, 2)
    assert [found.item_key for found in chain.breaks] == ['{"id":{"S":"0"}}', '{"id":{"S":"1"}}']


# --- beside baselines ---


def with_baseline(folder, items, at_s, *, label=LABEL, is_complete=True):
    from archiver.format.layout import Trail
    from tests.simulator.real import _put_baseline

    rows = [({"id": {"S": key}}, {"id": {"S": key}, **image}) for key, image in items.items()]
    told = {"s": at_s, "e": at_s + 10, "label": label, "rows": rows}
    _put_baseline(FolderStore(folder), Trail("111122223333", "eu-west-1", "orders"), told, (("id", "S"),))
    if not is_complete:
        [path] = folder.rglob("baseline.json")
        path.write_bytes(canonical(orjson.loads(path.read_bytes()) | {"complete": False}))


FAR_S = MARGIN_S + 100


@pytest.mark.parametrize(
    ("records", "shown", "breaks"),
    [
        ([INSERT_ONE], {"a": ONE}, []),
        ([INSERT_ONE], {"a": TWO}, [("a", "MODIFY", "change", "baseline")]),
        ([INSERT_ONE], {}, [("a", "REMOVE", "change", "baseline")]),
        ([REMOVE_ONE], {"a": ONE}, [("a", "INSERT", "change", "baseline")]),
        ([REMOVE_ONE], {}, []),
        ([change(9, "MODIFY", ONE, TWO, at_s=T0 + 2 * FAR_S)], {"a": ONE}, []),
        ([change(9, "MODIFY", TWO, ONE, at_s=T0 + 2 * FAR_S)], {"a": ONE}, [("a", "MODIFY", "baseline", "change")]),
        ([change(9, "MODIFY", TWO, ONE, at_s=T0 + 2 * FAR_S)], {}, [("a", "INSERT", "baseline", "change")]),
        ([change(9, "INSERT", None, ONE, at_s=T0 + 2 * FAR_S)], {}, []),
        ([change(9, "INSERT", None, ONE, at_s=T0 + 2 * FAR_S)], {"a": ONE}, [("a", "REMOVE", "baseline", "change")]),
        # What came back to what it was between two changes, a baseline between them saw.
        (
            [INSERT_ONE, change(9, "MODIFY", ONE, TWO, at_s=T0 + 2 * FAR_S)],
            {"a": THREE},
            [("a", "MODIFY", "change", "baseline"), ("a", "MODIFY", "baseline", "change")],
        ),
    ],
)
def test_a_baseline_is_a_link_of_the_chain(chain_of, tmp_path, records, shown, breaks):
    """The last change of an item, which no later change vouches for, is seen by a baseline taken after it."""
    with_baseline(tmp_path / "archive", shown, T0 + FAR_S)
    chain = chain_of(*records)
    kinds = [
        (
            found.item_key[12:-3],
            found.missing,
            *("baseline" if end.baseline else "change" for end in (found.since, found.until)),
        )
        for found in chain.breaks
    ]
    assert kinds == breaks
    for found in chain.breaks:
        assert found.cause is Cause.BESIDE_BASELINE
        if found.since.baseline:
            assert found.since.at_ms == (T0 + FAR_S) * 1000
        if found.until.baseline:
            assert found.until.at_ms == (T0 + FAR_S + 10) * 1000


@pytest.mark.parametrize(
    ("at_s", "is_void"),
    [
        (T0 + 1 + MARGIN_S, True),
        (T0 + 1 + MARGIN_S + 1, False),
    ],
)
def test_a_baseline_near_a_change_says_nothing_of_the_item(chain_of, tmp_path, at_s, is_void):
    """Two clocks made those times, and which came first is not known; to the last second."""
    with_baseline(tmp_path / "archive", {"a": TWO, "b": ONE}, at_s)
    chain = chain_of(INSERT_ONE)
    assert chain.broken == (0 if is_void else 1)


def test_two_baselines_are_linked_to_each_other(chain_of, tmp_path):
    """An item without any change was changed nevertheless: somebody wrote, and nothing was archived."""
    with_baseline(tmp_path / "archive", {"b": ONE, "c": ONE}, T0)
    with_baseline(tmp_path / "archive", {"a": ONE, "b": TWO, "c": ONE, "d": ONE}, T0 + FAR_S)
    chain = chain_of(INSERT_ONE)
    assert [(found.item_key[12:-3], found.missing) for found in chain.breaks] == [("b", "MODIFY"), ("d", "INSERT")]


# --- beside the end of a table ---


@pytest.fixture
def chain_of_two_tables(tmp_path):
    """The chain of these records, of a table that was deleted and made again between the labels."""

    def describe(source):
        return {
            "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}],
            "AttributeDefinitions": [{"AttributeName": "id", "AttributeType": "S"}],
            "LatestStreamLabel": source.stream_label,
            "TableId": f"id-of-{source.stream_label}",
        }

    def made(*records, **asked):
        writer = Writer(FolderStore(tmp_path / "archive"), Streams(describe_table=describe))
        for record in records:
            assert not writer.archive([record], now_ms=T0 * 1000).quarantined
        return query.open(str(tmp_path / "archive")).table("orders").image_chain(**asked)

    return made


NEW_TABLE_S = label_time_ms(LATER_LABEL) // 1000


def later(number, op, *images, key="a"):
    return change(number, op, *images, key=key, label=LATER_LABEL, at_s=NEW_TABLE_S + FAR_S + number)


@pytest.mark.parametrize(
    ("record", "missing"),
    [
        (later(1, "INSERT", None, TWO), []),
        (later(1, "REMOVE", ONE), ["INSERT"]),
        (later(1, "MODIFY", ONE, TWO), ["INSERT"]),
    ],
)
def test_a_new_table_begins_empty(chain_of_two_tables, record, missing):
    """What the old one held went with it: only what the new one never got is missing."""
    chain = chain_of_two_tables(INSERT_ONE, record)
    assert (chain.links, chain.comparable) == (1, 1)
    assert [found.missing for found in chain.breaks] == missing
    assert [(found.cause, found.changed_attributes) for found in chain.breaks] == [(Cause.BETWEEN_TABLES, ())] * len(
        missing
    )


@pytest.mark.parametrize(
    ("at_s", "label", "broken"),
    [
        (NEW_TABLE_S - 1, None, 0),
        (NEW_TABLE_S, None, 1),
        (NEW_TABLE_S, LABEL, 0),
        (NEW_TABLE_S - 1, LATER_LABEL, 1),
    ],
)
def test_a_baseline_is_of_the_table_that_its_stream_or_its_time_tells(
    chain_of_two_tables, tmp_path, at_s, label, broken
):
    """Of the old one the item is the last that was written; in the new one nobody wrote it."""
    with_baseline(tmp_path / "archive", {"a": ONE}, at_s, label=label)
    long_before = change(1, "INSERT", None, ONE, at_s=T0 - FAR_S)
    chain = chain_of_two_tables(long_before, later(1, "INSERT", None, TWO, key="b"))
    assert [(found.missing, found.cause) for found in chain.breaks] == [("INSERT", Cause.BETWEEN_TABLES)] * broken


def test_a_baseline_that_is_not_complete_shows_nothing(chain_of, tmp_path):
    """What it does not list may be there."""
    with_baseline(tmp_path / "archive", {"a": TWO}, T0 + FAR_S, is_complete=False)
    assert chain_of(INSERT_ONE).broken == 0


def test_sequence_numbers_may_be_longer_than_any_number_that_the_engine_has(chain_of):
    """Up to 40 digits (format.md §4); they are compared as numbers, whatever their length."""
    long = 9 * 10**39
    records = [
        change(long + 2, "MODIFY", ONE, TWO, at_s=T0),
        INSERT_ONE,
        change(long + 10, "MODIFY", THREE, ONE, at_s=T0),
    ]
    chain = chain_of(*records)
    assert (chain.links, chain.comparable) == (2, 2)
    assert [(found.missing, found.since.change_id) for found in chain.breaks] == [("MODIFY", f"{long + 2:032x}")]


def test_a_break_in_another_item_is_told_when_the_first_is_left_out(chain_of):
    """Outside the range, or in conflict: the others are looked at none the less."""
    records = [
        change(n, op, *images, key=key)
        for key, n, op, images in [
            ("a", 1, "INSERT", (None, ONE)),
            ("a", 3, "REMOVE", (TWO,)),
            ("b", 11, "INSERT", (None, ONE)),
            ("b", 13, "MODIFY", (TWO, THREE)),
            ("b", 15, "REMOVE", (TWO,)),
        ]
    ]
    chain = chain_of(*records, since_ms=(T0 + 10) * 1000)
    assert (chain.broken, chain.items) == (2, 1)
    assert [(found.cause, found.cause.value) for found in chain.breaks] == [(Cause.WITHIN_STREAM, "within-stream")] * 2


def test_causes_are_words_that_scripts_compare():
    """In reports (docs/answers.md)."""
    assert [cause.value for cause in Cause] == ["within-stream", "between-streams", "between-tables", "beside-baseline"]


# --- simulated histories ---


class Forgetful(RealHandler):
    """The real archiver, but some records of a table never reach it, in none of their deliveries."""

    def __init__(self, seed: int, share: float):
        super().__init__(seed, None)
        self._share, self._salt = share, seed

    def __call__(self, event, store):
        kept = [record for record in event["Records"] if not self._is_forgotten(record)]
        super().__call__({"Records": kept}, store)

    def _is_forgotten(self, record) -> bool:
        try:
            return Random(f"{self._salt} {identity_of(record)}").random() < self._share
        except (KeyError, TypeError, ValueError, AttributeError):
            return False


def chain_of_seed(seed: int, share: float, overrides=None):
    """One simulated history with some records forgotten: its outcome, what was archived, and the chain."""
    handler = Forgetful(seed, share)
    outcome = simulate(seed, writes=40, handler=handler, store=DigestingStore(Random(seed)), overrides=overrides)
    assert not outcome.handler_errors, outcome.handler_errors
    finish(outcome)
    if not good_records(outcome) or not any(map(is_segment, outcome.store.objects)):
        return None
    archived = archived_identities(outcome)
    with tempfile.TemporaryDirectory() as folder:
        chain = open_table(outcome.store, Path(folder), Random(seed)).image_chain()
    return outcome, archived, chain


def facts_of(outcome, archived, key):
    """(table number, effective ms, order, what stood before, what after, what it is) of each fact of an item: the rules of
    docs/answers.md, The image chain, written once more."""
    oracle = outcome.oracle(archived)
    records = [e.record for identity, e in outcome.identities.items() if identity in archived and identity[2] == key]
    labels = sorted({identity_of(e.record)[0] for i, e in outcome.identities.items() if i in archived})
    firsts = [label for label, _ in oracle._ends]
    facts, effective, seen = [], 0, []
    for record in sorted(records, key=lambda r: identity_of(r)[:2]):
        label, number, _ = identity_of(record)
        part = record["dynamodb"]
        at = int(float(part["ApproximateCreationDateTime"]) * 1000)
        effective = max(effective, at)
        old = (
            "absent"
            if record["eventName"] == "INSERT"
            else image_of(part.get("OldImage"))
            if "OldImage" in part
            else None
        )
        new = (
            "absent"
            if record["eventName"] == "REMOVE"
            else image_of(part.get("NewImage"))
            if "NewImage" in part
            else None
        )
        table = sum(first <= label for first in firsts)
        seen.append((at, effective))
        facts.append((table, effective, (label, number), old, new, record["eventID"]))
    for baseline in outcome.baselines:
        s, e = baseline["s"] * 1000, baseline["e"] * 1000
        if any(at <= e + CLOCK_MARGIN_MS and late >= s - CLOCK_MARGIN_MS for at, late in seen):
            continue
        shown = baseline["items"].get(key)
        held = "absent" if shown is None else image_of(shown)
        label = baseline["label"]
        table = sum(f <= label for f in firsts) if label else sum(instant <= s for _, instant in oracle._ends)
        facts.append((table, s, ("", 0), held, held, None))
    assert labels
    return sorted(facts, key=lambda fact: fact[:3])


def expected_breaks(outcome, archived):
    found = Counter()
    keys = {key for _, _, key in archived} | {key for baseline in outcome.baselines for key in baseline["items"]}
    for key in keys:
        facts = facts_of(outcome, archived, key)
        for one, other in pairwise(facts):
            left = "absent" if one[0] < other[0] else one[4]
            if left is not None and other[3] is not None and left != other[3]:
                missing = "INSERT" if left == "absent" else "REMOVE" if other[3] == "absent" else "MODIFY"
                found[key, missing, one[5], other[5]] += 1
    return found


def told(chain):
    return Counter(
        (key_of(orjson.loads(found.item_key)), found.missing, found.since.change_id, found.until.change_id)
        for found in chain.breaks
    )


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_every_break_of_simulated_histories_is_found_and_no_other(chunk):
    """With records forgotten here and there: the same breaks as the rules give that are written once more in this test."""
    breaks = 0
    for seed in range(chunk * LOSSY_SEEDS // CHUNKS, (chunk + 1) * LOSSY_SEEDS // CHUNKS):
        found = chain_of_seed(seed, 0.15)
        if found is None:
            continue
        outcome, archived, chain = found
        assert told(chain) == expected_breaks(outcome, archived), f"seed {seed}"
        for one in chain.breaks:
            if one.cause is Cause.WITHIN_STREAM:
                assert is_missing_between(outcome, archived, one), f"seed {seed}: {one}"
        breaks += chain.broken
    assert breaks > 20, "the histories break too little to judge by"


def is_missing_between(outcome, archived, broken):
    """No false alarm: between the two changes the stream held one of that item that is not archived (or is none that can
    be understood)."""
    emitted = {e.record["eventID"]: e for e in outcome.identities.values()}
    since, until = emitted[broken.since.change_id], emitted[broken.until.change_id]
    of_item = [e for e in outcome.records if e.key_text == since.key_text]
    between = of_item[of_item.index(since) + 1 : of_item.index(until)]
    return any(e.is_poison or identity_of(e.record) not in archived for e in between)


CLEAN = {
    "reenable_rate": 0.0,
    "anew_rate": 0.0,
    "outage_ms": 0,
    "max_retries": -1,
    "max_age_ms": -1,
    "poison_rate": 0.0,
    "is_skewed": False,
}


@pytest.mark.parametrize("chunk", rounds(CHUNKS // 2, CHUNKS))
def test_a_history_of_which_nothing_is_missing_breaks_nowhere(chunk):
    """Duplicates, retries, restarts, faults and baselines, one stream: not one false alarm."""
    assert clean_links(chunk * CLEAN_SEEDS // CHUNKS, (chunk + 1) * CLEAN_SEEDS // CHUNKS) > 500


@pytest.mark.long
@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_no_clean_history_ever_breaks(chunk):
    """The same for ten times as many."""
    clean_links(chunk * LONG_SEEDS // CHUNKS, (chunk + 1) * LONG_SEEDS // CHUNKS)


def clean_links(first_seed, after_last_seed):
    """How many links were compared, none of them broken."""
    links = 0
    for seed in range(first_seed, after_last_seed):
        found = chain_of_seed(seed, 0.0, CLEAN)
        if found is not None:
            *_, chain = found
            assert chain.breaks == (), f"seed {seed}"
            links += chain.comparable
    return links
