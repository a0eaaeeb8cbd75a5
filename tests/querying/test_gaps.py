"""Each rule of `docs/answers.md`, *State*, through the real writer and reader: answers in a gap, and at a table's end.

A stream was switched off and on again; between its two labels lies a gap. Simulated histories rarely hold values that
agree across one, so those are made here by hand.
"""

import pytest

import query
from archiver.format.canonical import canonical
from archiver.format.layout import StreamSource
from archiver.store import FolderStore
from archiver.streams import Streams
from archiver.writer import Writer
from query.answer import Basis, Outcome
from tests.delivery import delivered

OFF, ON = "2026-09-01T00:00:00.000", "2026-09-15T01:00:00.000"
T0 = 1_789_430_400  # 2026-09-15T00:00:00Z; the second label begins an hour later
IN_THE_GAP, AFTER_IT = f"@{T0 + 1800}", f"@{T0 + 3700}"


def change(label, number, at_s, op, key, old=None, new=None):
    return delivered(
        op,
        {"id": {"S": key}},
        old,
        new,
        sequence_number=10**21 + number,
        changed_at_s=at_s,
        arn=f"arn:aws:dynamodb:eu-west-1:111122223333:table/orders/stream/{label}",
        event_id=f"{number:032x}",
    )


def before(number, op, key, old=None, new=None):
    """A change under the first label: at its last second but for the first."""
    return change(OFF, number, T0 + (60 if number > 1 else 0), op, key, old, new)


def after(number, op, key, old=None, new=None):
    """A change under the second label, an hour and more later."""
    return change(ON, number, T0 + 3600 + 10 * number, op, key, old, new)


ONE, TWO = {"n": {"N": "1"}}, {"n": {"N": "2"}}
SPELLED = {"n": {"N": "1.0"}, "tags": {"SS": ["b", "a"]}}
SPELLED_OTHERWISE = {"n": {"N": "1"}, "tags": {"SS": ["a", "b"]}}
RECORDS = [
    before(1, "INSERT", "first", None, ONE),
    before(2, "INSERT", "same", None, ONE),
    before(3, "INSERT", "spelled", None, SPELLED),
    before(4, "INSERT", "changed", None, ONE),
    before(5, "REMOVE", "gone", ONE),
    before(6, "INSERT", "lost", None, ONE),
    after(1, "MODIFY", "same", ONE, TWO),
    after(2, "MODIFY", "spelled", SPELLED_OTHERWISE, TWO),
    after(3, "MODIFY", "changed", TWO, ONE),
    after(4, "INSERT", "gone", None, ONE),
    after(5, "INSERT", "lost", None, TWO),
    after(6, "INSERT", "new", None, ONE),
]


@pytest.fixture
def table_of(tmp_path):
    """The table of these records; with ids, of a table deleted and made again between the labels."""

    def made(table_ids=None):
        def describe(source: StreamSource):
            return {
                "LatestStreamLabel": source.stream_label,
                "TableId": table_ids[source.stream_label],
                "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}],
            }

        writer = Writer(FolderStore(tmp_path / "archive"), Streams(describe_table=describe if table_ids else None))
        assert not writer.archive(RECORDS, now_ms=T0 * 1000).quarantined
        return query.open(str(tmp_path / "archive")).table("orders")

    return made


@pytest.mark.parametrize(
    ("key", "outcome", "basis", "image"),
    [
        ("same", Outcome.EXISTED, Basis.AGREEMENT, ONE),
        ("spelled", Outcome.EXISTED, Basis.AGREEMENT, SPELLED),
        ("changed", Outcome.UNKNOWN, Basis.GUESS, None),
        ("gone", Outcome.ALREADY_DELETED, Basis.AGREEMENT, None),
        ("lost", Outcome.UNKNOWN, Basis.GUESS, None),
        ("new", Outcome.UNKNOWN, Basis.GUESS, None),
    ],
)
def test_in_a_gap_only_facts_that_agree_answer(table_of, key, outcome, basis, image):
    """As the same text, as the same value in another spelling, as absent on both sides; else nobody knows (rules 4, 5)."""
    state = table_of().item(key).state(IN_THE_GAP).state
    assert (state.outcome, state.basis) == (outcome, basis)
    expected = None if image is None else canonical({"id": {"S": key}, **image}).decode()
    assert state.image == expected


def test_the_whole_table_in_a_gap_leaves_out_what_is_unknown(table_of):
    """And counts it; a best effort gives the guess of the earlier side, marked."""
    table = table_of()
    state = table.as_of(IN_THE_GAP)
    assert [key_in(one) for one in state.states()] == ["same", "spelled"]
    assert (state.count, state.unknown) == (2, 4)  # "first" did not change again
    guessed = table.as_of(IN_THE_GAP, best_effort=True)
    assert {key_in(one): one.is_guess for one in guessed.states()} == {
        "changed": True,
        "first": True,
        "lost": True,
        "same": False,
        "spelled": False,
    }


def key_in(state):
    return state.item_key.split('"')[5]


def test_after_a_gap_the_next_change_tells_of_the_moment_before_it(table_of):
    """Rule 3: its old image, under a label that covers the instant, though the last change before lies beyond the gap."""
    state = table_of().item("changed").state(f"@{T0 + 3625}").state
    assert (state.outcome, state.basis) == (Outcome.EXISTED, Basis.OLD_IMAGE)
    assert '"n":{"N":"2"}' in state.image


def test_a_table_made_again_has_lost_its_items(table_of):
    """Rule 1: deleting a table emits no REMOVE, so its end does; what the new table then says counts first."""
    table = table_of({OFF: "A", ON: "B"})
    found = {key: table.item(key).state(AFTER_IT).state for key in ("first", "same", "gone", "new")}
    assert {key: state.outcome for key, state in found.items()} == {
        "first": Outcome.ALREADY_DELETED,
        "same": Outcome.EXISTED,
        "gone": Outcome.EXISTED,
        "new": Outcome.EXISTED,
    }
    assert found["first"].basis is Basis.TABLE_END
    state = table.item("lost").state(f"@{T0 + 3610}").state
    assert (state.outcome, state.basis) == (Outcome.ALREADY_DELETED, Basis.OLD_IMAGE)


def test_without_table_ids_the_same_item_is_unknown(table_of):
    """A stream switched off and on may have missed its deletion, or not."""
    assert table_of().item("first").state(AFTER_IT).state.outcome is Outcome.UNKNOWN


def test_who_asks_outside_coverage_is_told_what_is_covered(table_of):
    """As pairs of epoch ms: the stretch of each label, the last one still going on."""
    with pytest.raises(query.OutsideCoverage) as raised:
        table_of().item("changed").as_of(IN_THE_GAP)
    assert raised.value.covered == ((T0 * 1000, (T0 + 60) * 1000), ((T0 + 3610) * 1000, None))
