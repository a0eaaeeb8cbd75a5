"""The rows of a segment against the format: every rule has a row that breaks it alone, and both roads agree."""

import json
from collections.abc import Iterator
from typing import Any

import orjson
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from archiver.format.bulk_check import BulkCheck, Columns
from archiver.format.canonical import canonical
from archiver.format.layout import SegmentName, StreamSource, hour_of
from archiver.format.merkle import tree_root
from archiver.format.record import ChangeRecord, change_record, leaf_of_row
from archiver.format.row_check import Row, check_row, record_of_row
from archiver.format.shapes import ImageShapes, is_canonical_image
from archiver.plan import plan_segments
from tests.archiving.strategies import AWKWARD, PROPERTY, STREAM_ARN, all_numbers, binaries, images, records, texts

SOURCE = StreamSource.parse(STREAM_ARN)
AT_S = 1_795_414_530
IMAGE: dict[str, Any] = {
    "pk": {"S": "CUST#7"},
    "sk": {"S": "ORDER#1"},
    "total": {"N": "10.50"},
    "paid": {"BOOL": True},
    "none": {"NULL": True},
    "blob": {"B": "AAE="},
    "tags": {"SS": ["a", "b"]},
    "sizes": {"NS": ["1", "2.5"]},
    "blobs": {"BS": ["AAE=", "AA=="]},
    "lines": {"L": [{"M": {"sku": {"S": "x"}, "count": {"N": "1"}}}, {"M": {"sku": {"S": "y"}, "count": {"N": "2"}}}]},
    "mixed": {"L": [{"S": "x"}, {"N": "1"}]},
}


def record(number: int = 1, **changes: Any) -> dict[str, Any]:
    """A change of one item as it is delivered, with both images; `changes` are of its `dynamodb`."""
    stream: dict[str, Any] = {
        "ApproximateCreationDateTime": float(AT_S),
        "Keys": {"pk": IMAGE["pk"], "sk": IMAGE["sk"]},
        "NewImage": IMAGE | {"total": {"N": str(number)}},
        "OldImage": IMAGE,
        "SequenceNumber": str(442158450000000001745000 + number),
        "SizeBytes": 120,
        "StreamViewType": "NEW_AND_OLD_IMAGES",
    }
    return {
        "eventID": f"{number:032x}",
        "eventName": "MODIFY",
        "eventVersion": "1.1",
        "eventSource": "aws:dynamodb",
        "awsRegion": "eu-west-1",
        "dynamodb": stream | changes,
        "eventSourceARN": STREAM_ARN,
    }


def row_of_record(made: ChangeRecord) -> Row:
    return Row(
        made.change_id,
        made.op,
        made.changed_at_ms,
        made.sequence_number,
        made.source.stream_label,
        made.item_key,
        made.pk,
        made.sk,
        made.old_image,
        made.new_image,
        None if made.user_identity is None else made.user_identity.decode(),
        made.event.decode(),
    )


def row_of(delivered: dict[str, Any], key_names: tuple[str, ...] | None = ("pk", "sk")) -> Row:
    return row_of_record(change_record(delivered, SOURCE, key_names))


def changed(row: Row, **columns: Any) -> Row:
    return row._replace(**columns)


def leaf_as_written(row: Row) -> bytes:
    """The leaf that a forger would put into the tree: of what the row says, whatever it says."""
    try:
        return leaf_of_row(record_of_row(row, SOURCE))
    except (ValueError, TypeError, KeyError, AttributeError):
        return bytes(32)


def columns_of(rows: list[Row]) -> Columns:
    """As they come out of a file, in which texts may be any bytes."""
    kinds = {"changed_at_ms": pa.int64()}
    columns = zip(Row._fields, zip(*rows, strict=True), strict=True)
    arrays = [pa.array(map(in_file, values), kinds.get(name, pa.binary())) for name, values in columns]
    return Columns.of(pa.RecordBatch.from_arrays(arrays, names=list(Row._fields)))


def in_file(value: Any) -> Any:
    """A lone surrogate stands for a byte that is no text, or else is written as if it were a character."""
    if not isinstance(value, str):
        return value
    try:
        return value.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return value.encode("utf-8", "surrogatepass")


def named(rows: list[Row], hour_ms: int = hour_of(AT_S * 1000)) -> SegmentName:
    """The name that fits these rows, so that only the rows themselves can be at fault."""
    return SegmentName(hour_ms, rows[0][3], tree_root([leaf_as_written(row) for row in rows]).hex())


def check(rows: list[Row], *, warm: bool, key_names: tuple[str, ...] | None = None, place: SegmentName | None = None):
    """Whether they pass, on the long road or after a check that has seen such rows."""
    checker = BulkCheck(SOURCE, key_names)
    if warm:
        seen = [row_of(record(number)) for number in (1, 2, 3)]
        checker.check([columns_of(seen)], named(seen))
    return checker.check([columns_of(rows)], place or named(rows))


def event_with(row: Row, **members: Any) -> str:
    return canonical(orjson.loads(row[-1]) | members).decode()


def stream_with(row: Row, **members: Any) -> str:
    event = orjson.loads(row[-1])
    event["dynamodb"] |= members
    return canonical(event).decode()


def image_with(**members: Any) -> bytes:
    return canonical(IMAGE | members)


GOOD = row_of(record(7))
EVENT = orjson.loads(GOOD[-1])
DELIVERED = STREAM_ARN.rpartition("/")[0]

# Each breaks one rule; its leaf and root are made again from what it says, so nothing else can find it.
BROKEN: dict[str, tuple[Row, str]] = {
    "another time": (changed(GOOD, changed_at_ms=GOOD[2] + 1000), "changed_at_ms"),
    "a millisecond more": (changed(GOOD, changed_at_ms=GOOD[2] + 1), "made from in changed_at_ms$"),
    "another sequence number": (changed(GOOD, sequence_number="442158450000000001745008".zfill(40)), "sequence_number"),
    "sequence number not padded": (changed(GOOD, sequence_number=GOOD[3].lstrip("0")), "sequence_number"),
    "another label": (
        changed(GOOD, stream_label="2027-01-01T00:00:00.000"),
        "another stream: .*, label 2027-01-01T00:00:00.000",
    ),
    "another item key": (changed(GOOD, item_key=b'{"pk":{"S":"CUST#8"},"sk":{"S":"ORDER#1"}}'), "key text"),
    "Keys of another item": (
        changed(GOOD, event=stream_with(GOOD, Keys={"pk": {"S": "a"}, "sk": {"S": "b"}})),
        "item_key",
    ),
    "Keys as in item_key": (changed(GOOD, event=stream_with(GOOD, Keys=orjson.loads(GOOD[5]))), "event"),
    "another table": (changed(GOOD, event=GOOD[-1].replace("table/orders/", "table/others/")), "another stream"),
    "another account": (changed(GOOD, event=GOOD[-1].replace("111122223333", "111122223334")), "another stream"),
    "another region": (changed(GOOD, event=GOOD[-1].replace(":eu-west-1:", ":eu-west-2:")), "another stream"),
    "an ARN that is none": (changed(GOOD, event=event_with(GOOD, eventSourceARN=DELIVERED)), "ARN"),
    "no ARN": (changed(GOOD, event=event_with(GOOD, eventSourceARN=None)), "rebuild"),
    "eventID in event": (changed(GOOD, event=event_with(GOOD, eventID=GOOD[0])), "event"),
    "eventName in event": (changed(GOOD, event=event_with(GOOD, eventName="MODIFY")), "event"),
    "userIdentity in event": (changed(GOOD, event=event_with(GOOD, userIdentity=None)), "user_identity"),
    "NewImage in event": (changed(GOOD, event=stream_with(GOOD, NewImage=orjson.loads(GOOD[9]))), "event"),
    "OldImage in event": (changed(GOOD, old_image=None, event=stream_with(GOOD, OldImage=IMAGE)), "old_image"),
    "another source": (changed(GOOD, event=event_with(GOOD, eventSource="aws:kinesis")), "eventSource"),
    "no such operation": (changed(GOOD, op="UPDATE"), "eventName"),
    "no change id": (changed(GOOD, change_id=""), "eventID"),
    "event not in order": (
        changed(GOOD, event=json.dumps(dict(reversed(EVENT.items())), separators=(",", ":"))),
        "event",
    ),
    "event with white space": (changed(GOOD, event=GOOD[-1] + " "), "event"),
    "event names a member twice": (changed(GOOD, event='{"awsRegion":"eu-west-1",' + GOOD[-1][1:]), "event"),
    "time with a point": (changed(GOOD, event=GOOD[-1].replace(str(AT_S), f"{AT_S}.0")), "event"),
    "time as a text": (changed(GOOD, event=GOOD[-1].replace(str(AT_S), f'"{AT_S}"')), "event"),
    "sequence number in Arabic digits": (
        changed(GOOD, sequence_number="٤" * 40, event=stream_with(GOOD, SequenceNumber="٤" * 40)),
        "SequenceNumber",
    ),
    "sequence number of letters": (
        changed(GOOD, sequence_number="a" * 40, event=stream_with(GOOD, SequenceNumber="a" * 40)),
        "SequenceNumber",
    ),
    "sequence number of 20 digits": (
        changed(GOOD, sequence_number=("9" * 20).zfill(40), event=stream_with(GOOD, SequenceNumber="9" * 20)),
        "SequenceNumber",
    ),
    "sequence number of 41 digits": (
        changed(GOOD, sequence_number="9" * 41, event=stream_with(GOOD, SequenceNumber="9" * 41)),
        "SequenceNumber",
    ),
    "size in Arabic digits": (changed(GOOD, event=GOOD[-1].replace(":120", ":٤")), "rebuild"),
    "size with a zero before it": (changed(GOOD, event=GOOD[-1].replace(":120", ":0120")), "rebuild"),
    "size with a sign": (changed(GOOD, event=GOOD[-1].replace(":120", ":-0")), "event"),
    "size beyond 2**53": (changed(GOOD, event=GOOD[-1].replace(":120", ":9007199254740993")), "2\\*\\*53"),
    "event not an object": (changed(GOOD, event="[]"), "rebuild"),
    "event without dynamodb": (changed(GOOD, event="{}"), "rebuild"),
    "dynamodb a list of pairs": (
        changed(GOOD, event=event_with(GOOD, dynamodb=[*EVENT["dynamodb"].items()])),
        "rebuild",
    ),
    "event not JSON": (changed(GOOD, event="{"), "rebuild"),
    "key not in order": (changed(GOOD, item_key=b'{"sk":{"S":"ORDER#1"},"pk":{"S":"CUST#7"}}'), "item_key"),
    "key names a member twice": (
        changed(GOOD, item_key=b'{"pk":{"S":"CUST#7"},"pk":{"S":"CUST#7"},"sk":{"S":"ORDER#1"}}'),
        "item_key",
    ),
    "image not in order": (changed(GOOD, new_image=orjson.dumps(dict(reversed(IMAGE.items())))), "new_image"),
    "image with white space": (changed(GOOD, old_image=image_with() + b"\n"), "old_image"),
    "image names a member twice": (changed(GOOD, new_image=b'{"a":{"S":"x"},"a":{"S":"x"}}'), "new_image"),
    "image with a needless escape": (changed(GOOD, new_image=b'{"a":{"S":"\\u0041"}}'), "new_image"),
    "image with a raw control character": (changed(GOOD, new_image=b'{"a":{"S":"\n"}}'), "rebuild"),
    "image that is no UTF-8": (changed(GOOD, new_image=b'{"a":{"S":"\xff"}}'), "rebuild"),
    "image with a surrogate in UTF-8": (changed(GOOD, new_image=b'{"a":{"S":"\xed\xa0\x80"}}'), "rebuild"),
    "image that is null": (changed(GOOD, new_image=b"null"), "attributes must be an object"),
    "image with an unknown tag": (changed(GOOD, new_image=image_with(total={"X": "1"})), "unknown type tag"),
    "image with two tags": (changed(GOOD, new_image=image_with(total={"N": "1", "S": "1"})), "exactly one"),
    "image with a JSON number": (changed(GOOD, new_image=image_with(total={"N": 1})), "text of a number"),
    "image with a number that is none": (changed(GOOD, new_image=image_with(total={"N": "1.2.3"})), "text of a number"),
    "image with a number in Arabic digits": (changed(GOOD, new_image=image_with(total={"N": "١"})), "text of a number"),
    "image with loose base64": (changed(GOOD, new_image=image_with(blob={"B": "AAF="})), "base64"),
    "image with base64 not padded": (changed(GOOD, new_image=image_with(blob={"B": "AAE"})), "base64"),
    "image with loose base64 in a set": (changed(GOOD, new_image=image_with(blobs={"BS": ["AB=="]})), "base64"),
    "image with a number in a set that is none": (
        changed(GOOD, new_image=image_with(sizes={"NS": ["1", ""]})),
        "numbers",
    ),
    "image with NULL that is false": (changed(GOOD, new_image=image_with(none={"NULL": False})), "NULL"),
    "image with a truth value as text": (changed(GOOD, new_image=image_with(paid={"BOOL": "true"})), "BOOL"),
    "image nested to 65 levels": (
        changed(GOOD, new_image=b'{"a":' + b'{"L":[' * 64 + b'{"S":""}' + b"]}" * 64 + b"}"),
        "64 levels",
    ),
    "user identity with white space": (changed(GOOD, user_identity='{"type": "Service"}'), "user_identity"),
    "user identity not in order": (changed(GOOD, user_identity='{"type":"a","principalId":"b"}'), "user_identity"),
    "user identity with a number not canonical": (changed(GOOD, user_identity='{"type":1.0}'), "user_identity"),
    "another pk": (changed(GOOD, pk="CUST#8"), "key text"),
    "another sk": (changed(GOOD, sk="ORDER#2"), "key text"),
    "pk without sk": (changed(GOOD, sk=None), "key text"),
    "sk without pk": (changed(GOOD, pk=None), "key text"),
    "pk twice": (changed(GOOD, sk=GOOD[6]), "key text"),
}


@pytest.mark.parametrize("warm", [False, True])
@pytest.mark.parametrize(("broken", "reason"), BROKEN.values(), ids=BROKEN)
def test_a_row_that_breaks_one_rule_is_refused(broken, reason, warm):
    """A leaf covers what was delivered; the columns agree with it only as long as somebody looks."""
    with pytest.raises(ValueError, match=reason or ""):
        check([broken], warm=warm, place=named([broken]))


@pytest.mark.parametrize("warm", [False, True])
def test_the_row_that_was_broken_is_right_as_it_was(warm):
    """So it is each change, and nothing else, that is refused above."""
    assert check([GOOD], warm=warm) == [leaf_as_written(GOOD)]


def test_the_place_must_be_that_of_the_rows():
    """Hour, first sequence number and root are in the name."""
    rows = [row_of(record(number)) for number in (1, 2, 3)]
    place = named(rows)
    assert len(check(rows, warm=True, place=place)) == 3
    for hour_ms in (place.hour_ms - 3_600_000, place.hour_ms + 3_600_000):
        with pytest.raises(ValueError, match="another hour"):
            check(rows, warm=True, place=SegmentName(hour_ms, place.first_sequence, place.root))
    with pytest.raises(ValueError, match="begins with sequence number"):
        check(rows, warm=True, place=SegmentName(place.hour_ms, rows[1][3], place.root))
    with pytest.raises(ValueError, match="have root"):
        check(rows, warm=True, place=SegmentName(place.hour_ms, place.first_sequence, "00" * 32))


@pytest.mark.parametrize("second", [0, 3599])
def test_the_first_and_the_last_second_of_an_hour_belong_to_it(second):
    """The hour ends before the next one begins."""
    start_s = AT_S - AT_S % 3600
    row = row_of(record(1, ApproximateCreationDateTime=float(start_s + second)))
    assert check([row], warm=True) == [leaf_as_written(row)]
    for outside in (-1, 3600):
        row = row_of(record(1, ApproximateCreationDateTime=float(start_s + outside)))
        with pytest.raises(ValueError, match="another hour"):
            check([row], warm=True)


def test_rows_stand_in_order_and_once():
    """Sequence number, then change id, then leaf; the same row twice would be one change told twice."""
    one, two = row_of(record(1)), row_of(record(2))
    with pytest.raises(ValueError, match="not in order"):
        check([two, one], warm=True)
    with pytest.raises(ValueError, match="there twice"):
        check([one, one], warm=True)
    twin = changed(one, change_id="f" * 32)
    assert check([one, twin], warm=True)
    with pytest.raises(ValueError, match="not in order"):
        check([twin, one], warm=True)
    contradiction = row_of(record(1, SizeBytes=121))
    ordered = sorted([one, contradiction], key=leaf_as_written)
    assert check(ordered, warm=True)
    with pytest.raises(ValueError, match="not in order"):
        check(ordered[::-1], warm=True)


def test_order_holds_from_one_batch_of_rows_to_the_next():
    """Rows are looked at some at a time."""
    one, two = row_of(record(1)), row_of(record(2))
    place = named([two, one])
    with pytest.raises(ValueError, match="not in order"):
        BulkCheck(SOURCE).check([columns_of([two]), columns_of([one])], place)
    assert len(BulkCheck(SOURCE).check([columns_of([one]), columns_of([two])], named([one, two]))) == 2


def test_a_batch_that_begins_with_the_last_number_is_compared_in_full():
    """Both batches rise by themselves; the same change, or one that belongs before it, stands at the seam."""
    one, two, three = (row_of(record(number)) for number in (1, 2, 3))
    twin = changed(two, change_id="f" * 32)
    place = named([one, two, twin, three])
    assert len(BulkCheck(SOURCE).check([columns_of([one, two]), columns_of([twin, three])], place)) == 4
    for first, second in (([one, twin], [two, three]), ([one, two], [two, three])):
        with pytest.raises(ValueError, match=r"row 2, .*not in order, or there twice"):
            BulkCheck(SOURCE).check([columns_of(first), columns_of(second)], named([*first, *second]))
    other = row_of(record(2, SizeBytes=121))
    low, high = sorted([two, other], key=leaf_as_written)
    assert BulkCheck(SOURCE).check([columns_of([one, low]), columns_of([high])], named([one, low, high]))
    with pytest.raises(ValueError, match=r"row 2, .*not in order"):
        BulkCheck(SOURCE).check([columns_of([one, high]), columns_of([low])], named([one, high, low]))


def test_a_segment_has_rows():
    """An empty one would state a root of nothing."""
    with pytest.raises(ValueError, match="no rows"):
        BulkCheck(SOURCE).check([], SegmentName(hour_of(AT_S * 1000), "0" * 40, tree_root([]).hex()))


@pytest.mark.parametrize("warm", [False, True])
def test_hints_stand_in_the_order_of_the_schema_when_it_is_known(warm):
    """Without a schema no record says which attribute is the partition key, so either order will do."""
    swapped = changed(GOOD, pk=GOOD[7], sk=GOOD[6])
    unknown = changed(GOOD, pk=None, sk=None)
    for row in (GOOD, swapped, unknown):
        assert check([row], warm=warm)
    assert check([GOOD], warm=warm, key_names=("pk", "sk"))
    assert check([unknown], warm=warm, key_names=("pk", "sk"))
    for row, key_names in ((swapped, ("pk", "sk")), (GOOD, ("sk", "pk")), (GOOD, ("pk", "other"))):
        with pytest.raises(ValueError, match=r"key text|pk and sk"):
            check([row], warm=warm and key_names == ("pk", "sk"), key_names=key_names)


@pytest.mark.parametrize("key_names", [("pk", "sk"), ("sk", "pk")])
@pytest.mark.parametrize("sort", [{"S": "b"}, {"N": "5"}])
def test_an_order_that_was_learned_is_not_turned_round(key_names, sort):
    """The partition key may stand last in the text of the key."""
    rows = [row_of(record(number, Keys={"pk": {"S": "a"}, "sk": sort}), key_names) for number in (1, 2, 3)]
    assert check(rows, warm=False, key_names=key_names)
    turned = changed(rows[2], pk=rows[2][7], sk=rows[2][6])
    with pytest.raises(ValueError, match=r"row 2, .*key text"):
        check([*rows[:2], turned], warm=False, key_names=key_names)


def test_keys_of_another_schema_pass_without_hints():
    """A description that does not fit is no fault of the rows."""
    rows = [changed(row_of(record(number)), pk=None, sk=None) for number in (1, 2, 3)]
    assert len(check(rows, warm=False, key_names=("pk", "other"))) == 3


def test_a_key_that_is_no_utf8_is_refused_without_hints_too():
    """Hints that are NULL compare with nothing, so the bytes of the key have to be looked at."""
    known = [row_of(record(number, Keys={"pk": {"S": "a"}})) for number in (1, 2)]
    third = changed(row_of(record(3, Keys={"pk": {"S": "a"}})), pk=None)
    assert check([*known, third], warm=False)
    with pytest.raises(ValueError, match=r"row 2, .*rebuild"):
        check([*known, changed(third, item_key=b'{"pk":{"S":"\xff"}}')], warm=False)


KEYS = {
    "one string": ({"pk": {"S": "a"}}, ("a", None)),
    "one number": ({"pk": {"N": "-42"}}, ("-12457~", None)),
    "binary and number": ({"b": {"B": "AAE="}, "n": {"N": "42"}}, ("0001", "113142")),
    "a number beyond 38 digits": ({"pk": {"N": "1" * 39}}, (None, None)),
    "a number spelled otherwise": ({"pk": {"N": "1.0"}}, ("11301", None)),
    "strings that need an escape": ({"pk": {"S": 'a"b'}, "sk": {"S": "\\"}}, ('a"b', "\\")),
    "strings beyond ASCII": ({"pk": {"S": "é😀"}, "sk": {"S": "\u2028"}}, ("é😀", "\u2028")),
    "a question mark": ({"pk": {"S": "?"}, "sk": {"S": "?"}}, ("?", "?")),
    "the word None": ({"pk": {"S": "None"}, "sk": {"S": "None"}}, ("None", "None")),
}


@pytest.mark.parametrize(("keys", "hints"), KEYS.values(), ids=KEYS)
def test_keys_of_every_kind_are_checked_alike_when_they_are_new_and_when_they_are_known(keys, hints):
    """The first row takes the long road, on the second the key is learned, and the third is known."""
    rows = [row_of(record(number, Keys=keys), tuple(keys)) for number in (1, 2, 3)]
    assert (rows[0][6], rows[0][7]) == hints
    assert check(rows, warm=False) == [leaf_as_written(row) for row in rows]
    wrongs = [(None, "x"), ("x", hints[1]), (hints[0], "x"), ("None", None), (None, "None"), ("\ud800", hints[1])]
    for wrong in wrongs:
        for place in range(3):
            altered = [*rows[:place], changed(rows[place], pk=wrong[0], sk=wrong[1]), *rows[place + 1 :]]
            with pytest.raises(ValueError, match=f"row {place}, .*(key text|utf-8)"):
                check(altered, warm=False)


def test_a_string_cannot_pass_for_what_stands_around_it():
    """Text with quotation marks in it would end the string of a key and begin another."""
    known = [row_of(record(number, Keys={"pk": {"S": "a"}})) for number in (1, 2)]
    third = row_of(record(3, Keys={"pk": {"S": "a"}}))
    assert check([*known, third], warm=False)
    for key, pk in ((b'{"pk":{"S":"a"b"}}', 'a"b'), (b'{"pk":{"S":"a"},"sk":{"S":"b"}}', 'a"},"sk":{"S":"b')):
        with pytest.raises(ValueError, match=r"row 2, .*(rebuild|key text)"):
            check([*known, changed(third, item_key=key, pk=pk)], warm=False)


@given(st.lists(records(), min_size=1, max_size=4), st.booleans())
@PROPERTY
def test_all_that_can_be_delivered_is_right(delivered, is_known):
    """What the archiver writes passes, and with the leaves that it wrote."""
    made = [change_record(one, SOURCE, None) for one in delivered]
    for segment in plan_segments(made):
        rows = [row_of_record(one) for one in segment.rows]
        checker = BulkCheck(SOURCE)
        leaves = [one.leaf for one in segment.rows]
        for _ in range(1 + is_known):
            assert checker.check([columns_of(rows)], segment.place) == leaves


# --- many rows at once ---


def awkward_rows() -> list[Row]:
    """Ordinary rows and others in one batch: of two kinds of events, with and without images, hints and identity, with
    sizes and numbers of different lengths, and texts that JSON escapes or that are beyond ASCII.
    """
    made: list[dict[str, Any]] = []
    for number in range(1, 60):
        changes: dict[str, Any] = {"SizeBytes": (0, 7, 120, 99_999)[number % 4]}
        if number % 5 == 1:
            changes["NewImage"] = IMAGE | {
                "note": {"S": ("line\nbreak", 'say "no"', "naïve", "😀", "\\")[number // 5 % 5]}
            }
        if number % 7 == 2:
            changes["StreamViewType"] = "NEW_IMAGE"
        if number % 9 == 3:
            changes["Keys"] = {"pk": {"S": 'a"b'}, "sk": {"N": "5"}}
        if number % 11 == 4:
            changes["ApproximateCreationDateTime"] = AT_S + 0.25
        one = record(number, **changes)
        if number % 6 == 5:
            del one["dynamodb"]["OldImage"]
        if number % 8 == 6:
            one["userIdentity"] = {"principalId": f"user-{number % 3}", "type": "Service"}
        if number % 13 == 7:
            one["eventVersion"] = "1.2"
        made.append(one)
    made.append(record(4_000_000_000_000_000_000_000_000))
    return [row_of(one) for one in made]


@pytest.mark.parametrize("size", [1, 7, 60])
def test_rows_of_many_kinds_stand_in_one_batch(size):
    """Each takes the road that is its own, and its leaf is that of the long one, in its place."""
    rows = awkward_rows()
    checker = BulkCheck(SOURCE, ("pk", "sk"))
    place = named(rows)
    expected = [check_row(row, SOURCE, place, ("pk", "sk")) for row in rows]
    for _ in range(3):
        batches = [columns_of(rows[start : start + size]) for start in range(0, len(rows), size)]
        assert checker.check(batches, place) == expected
    ordinary = checker.ordinary_leaves(columns_of(rows), place)
    assert all(leaf in {None, right} for leaf, right in zip(ordinary, expected, strict=True))
    assert 40 < sum(leaf is not None for leaf in ordinary) < 60


def test_the_one_row_that_is_wrong_is_named_wherever_it_stands():
    """Among rows that are right, behind others and in a batch that was cut out of a longer one."""
    rows = awkward_rows()
    place = named(rows)
    checker = BulkCheck(SOURCE, ("pk", "sk"))
    checker.check([columns_of(rows)], place)
    for number, row in enumerate(rows):
        wrong = changed(row, new_image=row.new_image[:-1] + b" }")
        altered = columns_of([*rows[:number], wrong, *rows[number + 1 :]])
        for batches in ([altered], [columns_of(rows[:number]), altered.from_row(number)] if number else [altered]):
            with pytest.raises(ValueError, match=f"row {number}, change {row.change_id}: .*new_image"):
                checker.check(batches, place)


# --- both roads ---


def roads_agree(checker: BulkCheck, row: Row, hour_ms: int = hour_of(AT_S * 1000)) -> bool:
    """Whether the row passes; fails if the two roads, or the whole check, say different things of it."""
    place = named([row], hour_ms)
    try:
        long = check_row(row, SOURCE, place)
    except ValueError:
        long = None
    (short,) = checker.ordinary_leaves(columns_of([row]), place)
    assert short is None or short == long
    try:
        whole = checker.check([columns_of([row])], place)
    except ValueError:
        whole = None
    assert whole == (None if long is None else [long])
    return long is not None


def warmed(*rows: Row, key_names: tuple[str, ...] | None = None) -> BulkCheck:
    checker = BulkCheck(SOURCE, key_names)
    for row in rows:
        checker.check([columns_of([row])], named([row], hour_of(row[2])))
    return checker


def test_an_ordinary_row_takes_the_short_road():
    """Else the tests below would compare the long road with itself."""
    checker = warmed(row_of(record(1)))
    for other in (2, 3):
        row = row_of(record(other))
        assert checker.ordinary_leaves(columns_of([row]), named([row])) == [leaf_as_written(row)]
    expired = record(4) | {"userIdentity": {"principalId": "dynamodb.amazonaws.com", "type": "Service"}}
    row = row_of(expired)
    assert checker.ordinary_leaves(columns_of([row]), named([row])) == [leaf_as_written(row)]


BYTES = [*b'"\\{}[],:0a1-.Ez=A \x00\x1f\x7f\n', 0xC3, 0xFF]


@pytest.mark.parametrize("column", Row._fields)
def test_both_roads_say_the_same_of_every_byte_that_is_changed(column):
    """Put, taken or added at every place of every column."""
    good = changed(row_of(record(7)), user_identity='{"principalId":"dynamodb.amazonaws.com","type":"Service"}')
    checker = warmed(row_of(record(1)), good)
    rows = [changed(good, **{column: altered}) for altered in _altered(getattr(good, column))]
    place, passed = named([good]), 0
    for some in (rows[start : start + 1000] for start in range(0, len(rows), 1000)):
        for row, short in zip(some, checker.ordinary_leaves(columns_of(some), place), strict=True):
            try:
                long = check_row(row, SOURCE, place)
            except ValueError:
                long = None
            assert short is None or short == long
            passed += long is not None
    assert len(rows) - passed > 5
    for row in (good, *rows[:: len(rows) // 100 + 1]):
        roads_agree(checker, row)


def _altered(value: Any) -> Iterator[Any]:
    if isinstance(value, int):
        yield from (value + step for step in (-3_600_000, -1000, -1, 1, 999, 1000, 3_600_000))
        return
    text = value.encode() if isinstance(value, str) else value
    for place in range(len(text) + 1):
        ends = [text[place:]] if place == len(text) else [text[place:], text[place + 1 :]]
        for end in ends:
            for put in (b"", *(bytes([byte]) for byte in BYTES)):
                altered = text[:place] + put + end
                yield altered.decode("utf-8", "surrogateescape") if isinstance(value, str) else altered


@st.composite
def refilled(draw: st.DrawFn, attributes: dict[str, Any]) -> dict[str, Any]:
    """Attributes of the same names and types with other contents: what a shape lets through."""

    def other(value: dict[str, Any]) -> dict[str, Any]:
        ((tag, content),) = value.items()
        match tag:
            case "S":
                return {tag: draw(texts)}
            case "N":
                return {tag: draw(all_numbers | st.from_regex(r"-?[0-9]{1,6}(\.[0-9]{1,3})?", fullmatch=True))}
            case "B":
                return {tag: draw(binaries)}
            case "BOOL":
                return {tag: draw(st.booleans())}
            case "SS":
                return {tag: draw(st.lists(texts, max_size=3))}
            case "L":
                return {tag: [other(element) for element in content * draw(st.integers(0, 2))]}
            case "M":
                return {tag: {name: other(inner) for name, inner in content.items()}}
            case _:
                return value

    return {name: other(value) for name, value in attributes.items()}


@st.composite
def altered_texts(draw: st.DrawFn, text: bytes) -> bytes:
    """A text with some bytes put, taken or replaced: often at what JSON is made of."""
    for _ in range(draw(st.integers(0, 2))):
        place = draw(st.integers(0, len(text)))
        put = draw(st.sampled_from([b"", *(bytes([byte]) for byte in BYTES), "é".encode(), b'\\"', b'":{"S":"']))
        text = text[:place] + put + text[place + draw(st.integers(0, 1)) :]
    return text


@given(st.data())
@PROPERTY
def test_an_image_of_known_attributes_is_accepted_exactly_if_it_is_canonical(data):
    """A shape opens contents, and lets an attribute be there or not: each is still one that its type allows."""
    known = data.draw(st.lists(images, min_size=1, max_size=3))
    shapes = ImageShapes()
    for image in known:
        assert shapes.is_canonical(canonical(image))
    mixed = {name: value for image in known for name, value in image.items() if data.draw(st.booleans())}
    text = data.draw(altered_texts(canonical(data.draw(refilled(mixed)))))
    try:
        image = orjson.loads(text)
    except ValueError:
        image = None
    assert shapes.is_canonical(text) == is_canonical_image(image, text)


@given(st.data())
@PROPERTY
def test_both_roads_say_the_same_of_any_row(data):
    """A row of a known stream, in which something may have been changed."""
    first = data.draw(records(is_ordinary=data.draw(st.integers(0, 3)) > 0))
    names = tuple(first["dynamodb"]["Keys"])
    checker = warmed(row_of(first, names))
    stream = dict(first["dynamodb"])
    for name in {"OldImage", "NewImage", "Keys"} & stream.keys():
        stream[name] = data.draw(refilled(stream[name]))
    made = row = row_of(first | {"dynamodb": stream}, data.draw(st.sampled_from([names, names[::-1], None])))
    column = data.draw(st.sampled_from(["none", *Row._fields]))
    value = row._asdict().get(column)
    if isinstance(value, int):
        row = changed(row, changed_at_ms=value + data.draw(st.sampled_from([-1000, -1, 1, 1000, 3_600_000])))
    elif isinstance(value, bytes):
        row = changed(row, **{column: data.draw(altered_texts(value))})
    elif isinstance(value, str):
        text = data.draw(altered_texts(value.encode())).decode("utf-8", "surrogateescape")
        row = changed(row, **{column: data.draw(st.sampled_from([text, *AWKWARD]))})
    elif column in {"pk", "sk"}:
        row = changed(row, **{column: data.draw(st.sampled_from(["None", "", "a"]))})
    roads_agree(checker, row, hour_of(made[2]))
