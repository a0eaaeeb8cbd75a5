"""Rows by whole columns: which take the short road, how often rows are looked at, and that no wrong one slips by."""

from itertools import pairwise
from typing import Any

import orjson
import pytest

from archiver.format.bulk_check import BulkCheck, Columns
from archiver.format.canonical import canonical
from archiver.format.layout import SegmentName, hour_of
from archiver.format.record import EARLIEST_S, LATEST_S
from archiver.format.row_check import Row, check_row
from tests.archiving.test_row_check import (
    AT_S,
    GOOD,
    IMAGE,
    SOURCE,
    awkward_rows,
    changed,
    columns_of,
    image_with,
    leaf_as_written,
    named,
    record,
    row_of,
)


class Counting(BulkCheck):
    """Takes down of how many rows the short road was asked at a time, and how many of them it left."""

    def __init__(self, key_names: tuple[str, ...] | None = None) -> None:
        super().__init__(SOURCE, key_names)
        self.asked: list[tuple[int, int]] = []

    def ordinary_leaves(self, rows: Columns, place: SegmentName) -> list[bytes | None]:
        leaves = super().ordinary_leaves(rows, place)
        self.asked.append((len(rows), leaves.count(None)))
        return leaves


def of_version(number: int, version: str, **changes: Any) -> Row:
    """A row whose event shares its frame with others of that version only."""
    return row_of(record(number, **changes) | {"eventVersion": version})


def odd(number: int, version: str = "1.1") -> Row:
    """One that takes the long road, whatever was learned."""
    return of_version(number, version, ApproximateCreationDateTime=AT_S + 0.25)


def is_ordinary(checker: BulkCheck, row: Row) -> bool:
    """Whether it takes the short road; its leaf is then the right one."""
    place = named([row], hour_of(row.changed_at_ms))
    (leaf,) = checker.ordinary_leaves(columns_of([row]), place)
    assert leaf in {None, leaf_as_written(row)}
    return leaf is not None


def test_one_row_is_enough_to_know_the_others():
    """The first row of a stream takes the long road, and all behind it are asked once more."""
    rows = [row_of(record(number)) for number in range(1, 51)]
    checker = Counting()
    assert len(checker.check([columns_of(rows)], named(rows))) == 50
    assert checker.asked == [(50, 50), (49, 0)]
    checker.check([columns_of(rows)], named(rows))
    assert checker.asked[2:] == [(50, 0)]


def test_rows_of_the_long_road_do_not_have_the_others_asked_again():
    """Only where something was learned of the events: else one odd row in ten would cost a look at all, each time."""
    rows = [odd(number) if number % 3 == 0 else row_of(record(number)) for number in range(1, 31)]
    checker = Counting()
    for _ in range(2):
        assert checker.check([columns_of(rows)], named(rows)) == [leaf_as_written(row) for row in rows]
    assert checker.asked == [(30, 30), (29, 10), (30, 10)]


def test_each_kind_of_event_is_known_by_itself():
    """Rows of the one that was learned last stand alone, and beside the others."""
    one, two = [of_version(number, "1.1") for number in (1, 2)], [of_version(number, "1.2") for number in (3, 4)]
    checker = Counting()
    checker.check([columns_of([one[0], two[0]])], named([one[0], two[0]]))
    checker.asked.clear()
    for rows in (two, one, [one[1], two[1]], [*one, *two]):
        checker.check([columns_of(rows)], named(rows))
    assert checker.asked == [(2, 0), (2, 0), (2, 0), (4, 0)]


def test_few_kinds_of_events_are_known():
    """Each costs an attempt at all rows: eight, of which a stream has one or two."""
    checker = BulkCheck(SOURCE)
    rows = [of_version(number, f"1.{number}") for number in range(1, 13)]
    for _ in range(2):
        assert len(checker.check([columns_of(rows)], named(rows))) == 12
    assert [is_ordinary(checker, row) for row in rows] == [True] * 8 + [False] * 4


def test_a_kind_that_was_seen_often_uses_up_one_place():
    """Its odd rows take the long road again and again, and teach nothing new."""
    checker = BulkCheck(SOURCE)
    rows = [odd(number) for number in range(1, 21)]
    checker.check([columns_of(rows)], named(rows))
    later = of_version(30, "1.2")
    checker.check([columns_of([later])], named([later]))
    assert is_ordinary(checker, of_version(31, "1.2"))


@pytest.mark.parametrize("name", ["eventVersion", "awsRegion", "StreamViewType"])
def test_an_event_without_one_of_its_texts_teaches_nothing(name):
    """It is right, and no other row is like it."""
    delivered = record(1)
    for members in (delivered, delivered["dynamodb"]):
        members.pop(name, None)
    checker = BulkCheck(SOURCE)
    row = row_of(delivered)
    assert checker.check([columns_of([row])], named([row])) == [leaf_as_written(row)]
    assert not is_ordinary(checker, row)
    assert not is_ordinary(checker, row_of(record(2)))


def warm() -> BulkCheck:
    checker = BulkCheck(SOURCE)
    rows = [row_of(record(number)) for number in (1, 2)]
    checker.check([columns_of(rows)], named(rows))
    return checker


@pytest.mark.parametrize(
    "changes",
    [
        {"SizeBytes": 0},
        {"SizeBytes": 1},
        {"SizeBytes": 10**15 - 1},
        {"SequenceNumber": "1" + "0" * 20},
        {"SequenceNumber": "9" * 40},
        {"NewImage": IMAGE | {"pk": {"S": "a b~\x7f"}}},
        {"NewImage": IMAGE | {"pk": {"S": "é"}}},
        {"NewImage": IMAGE | {"pk": {"S": '"'}}},
        {"Keys": {"pk": {"N": "7"}, "sk": {"B": "AAE="}}},
    ],
    ids=str,
)
def test_what_dynamodb_delivers_is_ordinary(changes):
    """To the last digit that a number may have; so no table lives on the long road."""
    assert is_ordinary(warm(), row_of(record(7, **changes)))


def test_an_ordinary_row_may_lack_images_and_have_an_identity():
    """INSERT and REMOVE, and what expires; also where its strings need an escape."""
    checker = warm()
    for gone in (("OldImage",), ("NewImage",), ("OldImage", "NewImage")):
        for note in ("plain", "é"):
            delivered = record(7, NewImage=IMAGE | {"pk": {"S": note}})
            for name in gone:
                del delivered["dynamodb"][name]
            assert is_ordinary(checker, row_of(delivered))
            assert is_ordinary(checker, row_of(delivered | {"userIdentity": {"type": "Service", "principalId": note}}))


def test_no_image_stands_beside_one_beyond_ascii():
    """Such a column is looked at text by text."""
    checker = warm()
    one, two = record(7, OldImage=IMAGE | {"pk": {"S": "é"}}), record(8)
    del two["dynamodb"]["OldImage"]
    rows = [row_of(one), row_of(two)]
    assert checker.ordinary_leaves(columns_of(rows), named(rows)) == [leaf_as_written(row) for row in rows]


@pytest.mark.parametrize("second", [EARLIEST_S, EARLIEST_S + 3599, LATEST_S - 3600, LATEST_S - 1])
def test_the_first_and_the_last_second_of_all_are_ordinary(second):
    """2012 to 2100, as every record (format.md §4)."""
    assert is_ordinary(warm(), row_of(record(7, ApproximateCreationDateTime=float(second))))


@pytest.mark.parametrize("second", [EARLIEST_S - 3600, EARLIEST_S - 1, LATEST_S, LATEST_S + 3599])
def test_no_second_before_or_behind_is_right(second):
    """The leaf of such a row would be sound, and its hour that of its name."""
    row = changed(GOOD, changed_at_ms=second * 1000, event=GOOD.event.replace(str(AT_S), str(second)))
    assert str(second) in row.event
    checker = warm()
    place = named([row], hour_of(row.changed_at_ms))
    assert checker.ordinary_leaves(columns_of([row]), place) == [None]
    with pytest.raises(ValueError, match="2012"):
        checker.check([columns_of([row])], place)


WRONG = {
    "a sequence number with a sign before it": changed(GOOD, sequence_number="~" + GOOD.sequence_number[1:]),
    "a raw 1F": changed(GOOD, new_image=image_with(pk={"S": "~"}).replace(b"~", b"\x1f")),
    "a raw 1F in the key": changed(GOOD, item_key=b'{"pk":{"S":"\x1f"},"sk":{"S":"b"}}', pk="\x1f", sk="b"),
    "a lone 80": changed(GOOD, new_image=image_with(pk={"S": "~"}).replace(b"~", b"\x80")),
    "a hint that spells the escape": changed(
        GOOD, item_key=b'{"pk":{"S":"\\u0001"},"sk":{"S":"b"}}', pk="\\u0001", sk="b"
    ),
    "an identity with white space": changed(GOOD, user_identity='{"type": "Service"}'),
    "an identity that is no JSON": changed(GOOD, user_identity="{"),
    "an identity that is no UTF-8": changed(GOOD, user_identity='{"type":"\udc80"}'),
    "a change id that is no UTF-8": changed(GOOD, change_id="\udc80"),
    "a pk that is no UTF-8": changed(GOOD, pk="\udc80"),
}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
def test_a_wrong_row_is_refused_however_often_it_comes(wrong):
    """Nothing is learned from it; among others, and with the same row beside it."""
    checker = warm()
    for rows in ([wrong], [wrong, wrong], [GOOD, wrong], [wrong]):
        assert checker.ordinary_leaves(columns_of(rows), named([GOOD]))[-1] is None
        with pytest.raises(ValueError, match=f"row {len(rows) - 1 if rows[0] is GOOD else 0}, change"):
            checker.check([columns_of(rows)], named([GOOD]))


def test_a_row_that_is_no_text_is_told_by_its_place():
    """Its change id cannot be read."""
    with pytest.raises(ValueError, match="row 0, change unknown: 'utf-8' codec"):
        warm().check([columns_of([changed(GOOD, event="\udc80")])], named([GOOD]))


def in_order() -> list[Row]:
    """Neighbours that differ in sequence number, in change id alone, or in their leaf alone."""
    rows = []
    for number in (1, 2, 3):
        same = [row_of(record(number, SizeBytes=size)) for size in (120, 121)]
        rows += [changed(row, change_id=change_id) for row in same for change_id in ("a" * 32, "f" * 32)]
    return sorted(rows, key=lambda row: (row.sequence_number, row.change_id, leaf_as_written(row)))


def test_rows_stand_in_order_wherever_they_are_cut_into_batches():
    """Sequence number, then change id, then leaf; never two the same."""
    rows = in_order()
    checker = warm()
    for cut in range(1, len(rows)):
        batches = [columns_of(rows[:cut]), columns_of(rows[cut:])]
        assert len(checker.check(batches, named(rows))) == len(rows)
        for one in {cut - 1, max(0, cut - 2), min(cut, len(rows) - 2)}:
            mixed = [*rows[:one], rows[one + 1], rows[one], *rows[one + 2 :]]
            twice = [*rows[: one + 1], *rows[one:]]
            for wrong in (mixed, twice):
                with pytest.raises(ValueError, match="it is not in order, or there twice"):
                    checker.check([columns_of(wrong[:cut]), columns_of(wrong[cut:])], named(rows))


def test_numbers_that_rise_in_a_batch_may_begin_too_low():
    """The first of them is compared with the last of the batch before."""
    one, two, three, four = (row_of(record(number)) for number in (1, 2, 3, 4))
    for rows, cut in (([one, three, two, four], 2), ([two, one, three, four], 1), ([three, four, one, two], 2)):
        with pytest.raises(ValueError, match=f"row {cut}, change .*not in order"):
            warm().check([columns_of(rows[:cut]), columns_of(rows[cut:])], named(rows))


def test_columns_give_their_rows():
    """As values: what is hashed is bytes."""
    rows = awkward_rows()
    columns = columns_of(rows)
    assert list(columns.rows()) == rows
    assert list(columns.rows(7, 3)) == rows[7:10]
    assert list(columns.from_row(50).rows()) == rows[50:]
    assert columns.row(5) == rows[5]
    assert len(columns.from_row(50)) == 10


def test_identities_and_keys_without_number_are_right():
    """More than are remembered."""
    checker = warm()
    for number in range(70):
        row = row_of(record(7) | {"userIdentity": {"principalId": f"user-{number}", "type": "Service"}})
        for _ in range(2):
            assert is_ordinary(checker, row)
        assert not is_ordinary(checker, changed(row, user_identity=row.user_identity + " "))


def test_the_leaf_is_that_of_the_long_road():
    """In a batch of one kind and in one of all kinds, cut out of a longer one or not."""
    rows = awkward_rows()
    checker = BulkCheck(SOURCE)
    checker.check([columns_of(rows)], named(rows))
    expected = [check_row(row, SOURCE, named(rows)) for row in rows]
    for first, end in pairwise([0, 1, 2, 5, 20, 59, 60]):
        found = checker.ordinary_leaves(columns_of(rows).from_row(first), named(rows))[: end - first]
        assert all(leaf in {None, right} for leaf, right in zip(found, expected[first:end], strict=True))


def test_an_event_has_one_spelling_of_its_size():
    """A zero before it, or a sign, is another text of the same number."""
    checker = warm()
    for size in ("00", "0120", "+1", "-0", "1.0", "1e2", "", " 1", "9007199254740993"):
        row = changed(GOOD, event=GOOD.event.replace(":120,", f":{size},"))
        assert checker.ordinary_leaves(columns_of([row]), named([GOOD])) == [None], size
    assert orjson.loads(GOOD.event)["dynamodb"]["SizeBytes"] == 120
    assert canonical(orjson.loads(GOOD.event)).decode() == GOOD.event
