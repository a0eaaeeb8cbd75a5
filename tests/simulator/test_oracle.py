"""The oracle against hand-made cases (one for each rule of `docs/answers.md`), a real dict, and a real history."""

from __future__ import annotations

import gzip
import json
from bisect import bisect_left
from decimal import Decimal
from pathlib import Path

import pytest

from tests.oracle import ConflictError, Oracle, State, identity_of, image_of, key_of, label_ms, to_ms, value_of
from tests.simulator.run import simulate

FIRES = Path(__file__).resolve().parents[3] / "shared" / "data" / "fires"
L1, L2, L3 = "1970-01-01T00:00:00.000", "1970-01-01T00:01:40.500", "1970-01-01T00:05:00.000"
K = key_of({"id": {"S": "k"}})


def image(text: str) -> dict:
    return {"id": {"S": "k"}, "v": {"S": text}}


def change(
    at: float, number: int, old: str | None, new: str | None, *, label: str = L1, op: str = "", key: str = "k"
) -> dict:
    """A change record of item `key` at `at` seconds; `op` overrides what the images say."""
    stream = {"ApproximateCreationDateTime": at, "Keys": {"id": {"S": key}}, "SequenceNumber": str(number)}
    stream |= {name: image(text) for name, text in (("OldImage", old), ("NewImage", new)) if text is not None}
    return {
        "eventID": f"{number:032x}",
        "eventName": op or ("INSERT" if old is None else "REMOVE" if new is None else "MODIFY"),
        "dynamodb": stream,
        "eventSourceARN": f"arn:aws:dynamodb:eu-west-1:111122223333:table/t/stream/{label}",
    }


def baseline(s: float, e: float, label: str | None, text: str | None) -> dict:
    return {"s": s, "e": e, "label": label, "items": {} if text is None else {K: image(text)}}


def at(oracle: Oracle, seconds: float) -> tuple:
    """(outcome, text of the image, reason) of item K."""
    return told(oracle.state_at(K, to_ms(seconds)))


def told(state: State) -> tuple:
    return state.outcome, state.image and state.image["v"]["S"], state.reason


FIVE = [
    change(10, 1, None, "a"),
    change(20, 2, "a", "b"),
    change(30, 3, "b", None),
    change(40, 4, None, "c"),
    change(50, 5, "c", "d"),
]


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (9.999, ("unknown", None, "before-coverage")),
        (10, ("existed", "a", None)),
        (29, ("existed", "b", None)),
        (30, ("already-deleted", None, None)),
        (40, ("existed", "c", None)),
        (1e9, ("existed", "d", None)),
    ],
)
def test_the_newest_change_at_or_before_the_instant_wins(seconds, expected):
    """As of T includes T; deletion is an answer; before the first record there is no coverage."""
    assert at(Oracle(FIVE), seconds) == expected


def test_order_is_number_and_never_text_or_time():
    """999 is before 1000, and a clock that steps back neither reorders changes nor makes an earlier one the state."""
    oracle = Oracle([change(50, 1000, "a", "b"), change(60, 999, None, "a")])
    assert [(v.sequence, v.changed_at_ms, v.effective_ms) for v in oracle.history(K)] == [
        (999, 60_000, 60_000),
        (1000, 50_000, 60_000),
    ]
    assert at(oracle, 60) == ("existed", "b", None)
    assert at(oracle, 59) == ("not-yet-created", None, None)  # the label begins at 50; the item at 60


def test_an_item_that_changes_later_is_told_by_its_old_image():
    """A trail answers for items that existed before it began, as soon as they change once."""
    oracle = Oracle([change(10, 1, None, "x", key="other"), change(30, 2, "a", "b")])
    assert at(oracle, 20) == ("existed", "a", None)
    assert at(Oracle([change(10, 1, None, "x", key="other"), change(30, 2, None, "b")]), 20) == (
        "not-yet-created",
        None,
        None,
    )


def test_an_item_nobody_spoke_of_is_unknown():
    """No fact is not absence: the table may have held it all along."""
    assert at(Oracle([change(10, 1, None, "x", key="other")]), 20) == ("unknown", None, "no-fact")


def test_a_view_without_an_image_is_missing_image():
    """An image that the stream did not carry is not known; the other side of the instant may still know it."""
    blind = change(10, 1, None, None, op="MODIFY")
    assert at(Oracle([change(10, 1, None, None, op="REMOVE")]), 10) == ("already-deleted", None, None)
    assert at(Oracle([blind]), 10) == ("unknown", None, "missing-image")
    assert at(Oracle([blind, change(20, 2, "b", "c")]), 15) == ("existed", "b", None)


def test_between_two_labels_lies_a_gap():
    """A stream that was off may have missed anything, unless the facts on both sides agree."""
    differ = Oracle([change(10, 1, None, "a"), change(20, 2, "a", "b"), change(200, 1, "c", "d", label=L2)])
    assert at(differ, 19) == ("existed", "a", None)
    assert at(differ, 20) == ("unknown", None, "gap")
    assert differ.state_at(K, 21_000).guess == image("b")
    agree = Oracle([change(10, 1, None, "a"), change(20, 2, "a", "b"), change(200, 1, "b", "d", label=L2)])
    assert at(agree, 100) == ("existed", "b", None)


def test_within_the_new_label_the_old_image_counts_and_not_the_former_label():
    """What the former stream said last may be out of date; the next change says what it replaced."""
    oracle = Oracle(
        [change(20, 2, "a", "b"), change(200, 1, None, "x", label=L2, key="other"), change(300, 3, "c", "d", label=L2)]
    )
    assert at(oracle, 250) == ("existed", "c", None)
    assert at(Oracle([change(20, 2, "a", "b"), change(200, 1, None, "x", label=L2, key="o")]), 250) == (
        "unknown",
        None,
        "gap",
    )


def test_a_table_made_anew_ends_every_item():
    """Two known, different table ids; the end is at the second in the label, and says absent from then on."""
    records = [
        change(20, 2, None, "a"),
        change(99, 9, None, "x", key="o"),
        change(150, 1, None, "x", label=L2, key="o"),
    ]
    assert at(Oracle(records, table_ids={L1: "A", L2: "B"}), 150) == ("already-deleted", None, None)
    assert at(Oracle(records, table_ids={L1: "A", L2: "A"}), 150) == ("unknown", None, "gap")
    assert at(Oracle(records, table_ids={L1: "A"}), 150) == ("unknown", None, "gap")
    assert label_ms(L2) == 100_000
    back = Oracle([*records, change(160, 2, None, "z", label=L2)], table_ids={L1: "A", L2: "B"})
    assert at(back, 155) == ("already-deleted", None, None)
    assert at(back, 160) == ("existed", "z", None)


def test_a_table_made_anew_may_hold_items_from_before_its_stream():
    """The first label of a table is not its beginning: the old image of the next change outweighs the end."""
    records = [
        change(20, 2, None, "a"),
        change(150, 1, None, "x", label=L2, key="o"),
        change(160, 2, "y", "z", label=L2),
    ]
    oracle = Oracle(records, table_ids={L1: "A", L2: "B"})
    assert at(oracle, 155) == ("existed", "y", None)


def test_only_items_of_the_former_table_end_with_it():
    """An item first seen in the new table was never deleted; one never seen is still unknown."""
    records = [
        change(20, 2, None, "x", key="o"),
        change(150, 1, "x", "y", label=L2, key="o"),
        change(160, 2, None, "a", label=L2),
    ]
    oracle = Oracle(records, table_ids={L1: "A", L2: "B"})
    assert at(oracle, 155) == ("not-yet-created", None, None)
    assert told(oracle.state_at(key_of({"id": {"S": "never"}}), 155_000)) == ("unknown", None, "no-fact")


def test_a_cut_in_the_new_table_is_after_the_end_of_the_former():
    """For a cut the end stands at the start of the new label, whatever the label says of time."""
    records = [change(20, 2, None, "a"), change(50, 1, None, "x", label=L2, key="o")]
    oracle = Oracle(records, table_ids={L1: "A", L2: "B"})
    assert told(oracle.state_at_cut(K, L1, 2)) == ("existed", "a", None)
    assert told(oracle.state_at_cut(K, L2, 1)) == ("already-deleted", None, None)


def test_a_label_without_an_id_belongs_to_the_table_before():
    """A, unknown, B: the table ends at the label of B."""
    records = [
        change(20, 2, None, "a"),
        change(150, 1, "a", "b", label=L2),
        change(160, 2, None, "y", label=L2, key="p"),
        change(310, 1, None, "x", label=L3, key="o"),
    ]
    oracle = Oracle(records, table_ids={L1: "A", L3: "B"})
    assert at(oracle, 150) == ("existed", "b", None)
    assert at(oracle, 310) == ("already-deleted", None, None)


def test_a_baseline_is_a_fact_unless_the_item_changed_inside_it():
    """A scan stands for an interval and says nothing of an item that changed while it ran; the bounds are inside."""
    other = change(10, 1, None, "x", key="other")
    assert at(Oracle([other], baselines=[baseline(20, 25, L1, "a")]), 30) == ("existed", "a", None)
    assert at(Oracle([other], baselines=[baseline(20, 25, L1, "a")]), 15) == ("existed", "a", None)
    assert at(Oracle([other], baselines=[baseline(20, 25, L1, None)]), 30) == ("not-yet-created", None, None)
    assert at(Oracle([other], baselines=[baseline(20, 25, None, "a")]), 30) == ("unknown", None, "gap")
    touched = [other, change(25, 2, None, None, op="MODIFY")]
    assert at(Oracle(touched, baselines=[baseline(20, 25, L1, "a")]), 30) == ("unknown", None, "missing-image")
    after = [other, change(26, 2, None, None, op="MODIFY")]
    assert at(Oracle(after, baselines=[baseline(20, 25, L1, "a")]), 25) == ("existed", "a", None)


def test_only_the_baselines_next_to_the_instant_are_consulted():
    """The newest at or before, the oldest after; a baseline further away says nothing."""
    other = change(10, 1, None, "x", key="other")
    many = [baseline(20, 21, L1, "a"), baseline(30, 31, L1, None), baseline(40, 41, L1, "b")]
    oracle = Oracle([other], baselines=many)
    assert at(oracle, 20) == at(oracle, 25) == ("existed", "a", None)
    assert at(oracle, 30) == at(oracle, 35) == ("not-yet-created", None, None)
    assert at(oracle, 15) == ("existed", "a", None)


def test_a_baseline_of_a_label_widens_its_coverage():
    """The stream named by a baseline was on while it was taken."""
    oracle = Oracle(
        [change(10, 1, None, "a"), change(200, 1, "b", "c", label=L2)], baselines=[baseline(5, 30, L1, None)]
    )
    assert oracle.covering(5_000) == L1
    assert oracle.covering(29_999) == L1
    assert oracle.covering(30_000) is None


def test_a_cut_takes_every_change_at_or_before_it_whatever_its_time():
    """`as-of @ID` is a place in the order, not an instant."""
    records = [
        change(50, 1, None, "a"),
        change(40, 2, "a", "b"),
        change(60, 3, None, "x", key="other"),
        change(10, 4, "b", None),
    ]
    oracle = Oracle(records)
    cuts = [told(oracle.state_at_cut(K, L1, n)) for n in (1, 2, 3, 4)]
    assert cuts == [
        ("existed", "a", None),
        ("existed", "b", None),
        ("existed", "b", None),
        ("already-deleted", None, None),
    ]
    assert oracle.boundaries() == [(L1, n) for n in (1, 2, 3, 4)]
    with pytest.raises(KeyError):
        oracle.state_at_cut(K, L1, 7)


def test_a_cut_uses_a_baseline_only_if_it_ended_before():
    """A floor that reaches past the cut may already hold what came after it."""
    other = [change(10, 1, None, "x", key="other"), change(30, 2, "x", "y", key="other")]
    assert told(Oracle(other, baselines=[baseline(20, 29, L1, "a")]).state_at_cut(K, L1, 2)) == ("existed", "a", None)
    assert told(Oracle(other, baselines=[baseline(20, 30, L1, "a")]).state_at_cut(K, L1, 2)) == (
        "unknown",
        None,
        "no-fact",
    )


def test_duplicates_count_once_and_conflicts_refuse_the_item_only():
    """Sets are sets, numbers are numbers, 10 is 10.0; another content under one identity is never chosen between."""
    one, same, other = change(10, 1, None, "a"), change(10.0, 1, None, "a"), change(20, 2, None, "b", key="other")
    one["dynamodb"]["NewImage"]["s"], same["dynamodb"]["NewImage"]["s"] = {"NS": ["1", "2"]}, {"NS": ["2.0", "1"]}
    assert len(Oracle([one, same, other]).history(K)) == 1
    assert not Oracle([one, same, other]).conflicts()
    torn = Oracle([one, other, change(10, 1, None, "forged")])
    assert list(torn.conflicts()) == [identity_of(one)]
    assert torn.state_at(K, 10_000) == State("refused", reason="conflict")
    assert torn.state_at(key_of({"id": {"S": "other"}}), 20_000).outcome == "existed"
    with pytest.raises(ConflictError):
        torn.history(K)


def test_keys_are_values():
    """One item is one key by value, however its numbers are spelled; types are not mixed."""
    assert key_of({"a": {"N": "1"}, "b": {"S": "x"}}) == key_of({"b": {"S": "x"}, "a": {"N": "1.0"}})
    assert key_of({"a": {"N": "1"}}) != key_of({"a": {"S": "1"}})
    assert value_of({"N": "1E+2"}) == ("N", Decimal(100))
    assert value_of({"N": "NaN"}) == ("N", "NaN")


def test_times_are_floored_to_milliseconds_as_written():
    """A float counts as its shortest decimal text: the nearest double of .123 lies below it."""
    assert [to_ms(t) for t in (1, 1.0, 1700000000.123, "0.9999")] == [1000, 1000, 1700000000123, 999]


STEADY = {
    "is_skewed": False, "poison_rate": 0.0, "outage_ms": 0, "max_retries": -1, "max_age_ms": -1, "time_style": "int",
    "reenable_rate": 0.03, "anew_rate": 0.01, "baseline_rate": 0.02, "view_type": "NEW_AND_OLD_IMAGES",
}  # fmt: skip


def test_an_answer_is_never_wrong_within_a_label():
    """Against the table itself, a dict: streams are switched off and on, tables made anew, writes lost in between.

    Left out are the instants at which the definition cannot know better: the second in which a label ends (writes after
    its last record, in the same second), all after the last record of all, and facts that agree across a gap (rule 4).
    """
    known = 0
    for seed in range(40):
        outcome = simulate(seed, handler=lambda event, store: None, overrides=STEADY)
        oracle, stamps = outcome.oracle(), sorted(outcome.truth)
        ends = {
            max(at for at in (to_ms(e.record["dynamodb"]["ApproximateCreationDateTime"]) for e in of_label))
            for of_label in _by_label(outcome)
        }
        for second in sorted({stamp // 1000 for stamp in stamps})[::3]:
            t_ms = second * 1000
            if t_ms >= max(ends) or t_ms in ends or t_ms in {to_ms(b["e"]) for b in outcome.baselines}:
                continue
            table = outcome.truth[stamps[bisect_left(stamps, t_ms + 1000) - 1]]
            held = {key_of({name: item[name] for name, _ in outcome.key_schema}): item for item in table.values()}
            for key, state in oracle.table_at(t_ms).items():
                if state.outcome != "unknown" and state.rule != 4:
                    known += 1
                    assert image_of(state.image) == image_of(held.get(key)), (seed, t_ms, key, state)
    assert known > 2_000


def test_on_one_steady_stream_everything_is_known():
    """From the first record on, for every item that ever changed: no unknown, and exactly what the table held."""
    for seed in range(20):
        overrides = {**STEADY, "reenable_rate": 0.0, "anew_rate": 0.0}
        outcome = simulate(seed, handler=lambda event, store: None, overrides=overrides)
        oracle, stamps = outcome.oracle(), sorted(outcome.truth)
        for second in sorted({stamp // 1000 for stamp in stamps})[::5]:
            table = outcome.truth[stamps[bisect_left(stamps, second * 1000 + 1000) - 1]]
            held = {key_of({name: item[name] for name, _ in outcome.key_schema}): item for item in table.values()}
            found = {k: s.image for k, s in oracle.table_at(second * 1000).items() if s.outcome == "existed"}
            assert found == held, (seed, second)


def _by_label(outcome):
    labels: dict[str, list] = {}
    for emitted in outcome.records:
        labels.setdefault(emitted.record["eventSourceARN"], []).append(emitted)
    return labels.values()


@pytest.mark.skipif(not FIRES.exists(), reason=f"the fires history is not at {FIRES}")
def test_the_fires_come_out_exactly():
    """402 items, 41 instants of a real history with known answers, every second record delivered twice."""
    lines = gzip.decompress((FIRES / "events.jsonl.gz").read_bytes()).splitlines()
    records = [record for line in lines for record in json.loads(line)["Records"]]
    oracle = Oracle(records[::-1] + records[::2])
    for line in gzip.decompress((FIRES / "history.jsonl.gz").read_bytes()).splitlines():
        expected = json.loads(line)
        key = key_of({"UniqueId": {"S": json.loads(expected["key"])[0]}})
        found = [(v.changed_at_ms, v.sequence, v.op, plain(v.new_image)) for v in oracle.history(key)]
        assert found == [(v["at"] * 1000, int(v["seq"]), v["op"], v["item"]) for v in expected["versions"]]
    for line in gzip.decompress((FIRES / "expected.jsonl.gz").read_bytes()).splitlines():
        expected = json.loads(line)
        states = oracle.table_at(expected["at"] * 1000).items()
        found = {json.dumps([key[0][1][1]]): plain(s.image) for key, s in states if s.outcome == "existed"}
        assert found == expected["items"]


def plain(item: dict | None) -> dict | None:
    """An image as plain JSON, numbers as Python reads them."""
    return None if item is None else {name: _plain(value) for name, value in item.items()}


def _plain(value: dict):
    ((tag, content),) = value.items()
    if tag == "N":
        return json.loads(content)
    if tag == "NULL":
        return None
    if tag == "L":
        return [_plain(member) for member in content]
    return plain(content) if tag == "M" else content
