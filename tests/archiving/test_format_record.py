"""The change record: what is kept, what is refused, and the leaf that proves it."""

import json
from itertools import permutations
from pathlib import Path

import orjson
import pytest
from hypothesis import given

from archiver.format.canonical import canonical, canonical_numbers
from archiver.format.envelope import envelope_members, event_members, ordinary_frame, ordinary_texts
from archiver.format.keytext import key_text
from archiver.format.layout import StreamSource
from archiver.format.merkle import leaf_digest
from archiver.format.record import change_record, delivered, item_key_text, key_hints, leaf_of_row, row_order
from archiver.stream import RepeatedMembers
from tests.archiving.batches import BAD_RECORDS, CHANGED_AT_S
from tests.archiving.batches import record as record_of
from tests.archiving.strategies import PROPERTY, STREAM_ARN, records

SOURCE = StreamSource.parse(STREAM_ARN)
# Those that get as far as this module; what has no ARN of a stream is refused before (test_writer.py).
BAD_OF_ORDERS = [
    name for name, bad in BAD_RECORDS.items() if isinstance(bad(), dict) and bad().get("eventSourceARN") == STREAM_ARN
]
VECTORS = json.loads(Path(__file__).with_name("vectors.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("vector", VECTORS, ids=range(len(VECTORS)))
def test_format_1_never_changes_a_byte(vector):
    """Evidence is for ever: these columns and leaves were written once and are never regenerated."""
    names = vector["key_names"]
    source = StreamSource.parse(vector["delivered"]["eventSourceARN"])
    record = change_record(vector["delivered"], source, None if names is None else tuple(names))
    columns = vector["columns"]
    for name in ("item_key", "old_image", "new_image", "user_identity", "event"):
        found = getattr(record, name)
        assert (None if found is None else found.decode()) == columns[name], name
    for name in ("change_id", "op", "changed_at_ms", "sequence_number", "pk", "sk"):
        assert getattr(record, name) == columns[name], name
    assert record.source.stream_label == columns["stream_label"]
    assert record.leaf.hex() == vector["leaf"]
    assert leaf_of_row(record) == record.leaf


def general_texts(delivered, record):
    """The `event` column and the leaf by the general road only."""
    stream = delivered["dynamodb"]
    is_normal = record.item_key == canonical(stream["Keys"])
    members = event_members(delivered, stream, stream["Keys"], is_normal=is_normal)
    envelope = envelope_members(
        record.change_id,
        record.op,
        canonical(stream["Keys"]),
        record.old_image,
        record.new_image,
        record.user_identity,
        members,
    )
    return canonical(members), leaf_digest(canonical(envelope))


@PROPERTY
@given(records(is_ordinary=True) | records())
def test_the_short_road_and_the_general_one_write_the_same_bytes(delivered):
    """Ordinary records are composed as text for speed; the members of the two texts stay the law."""
    record = change_record(delivered, SOURCE, None)
    assert (record.event, record.leaf) == general_texts(delivered, record)


@PROPERTY
@given(records(is_ordinary=True))
def test_an_ordinary_record_takes_the_short_road(delivered):
    """The speed of the archiver rests on it: were the short road never taken, only the bill would tell."""
    record = change_record(delivered, SOURCE, None)
    is_normal = record.item_key == canonical(delivered["dynamodb"]["Keys"])
    texts = ordinary_texts(
        delivered,
        delivered["dynamodb"],
        keys=canonical(delivered["dynamodb"]["Keys"]),
        old=record.old_image,
        new=record.new_image,
    )
    assert texts is not None
    assert not is_normal or record.event == texts[0]


def without(members, name, **others):
    return {other: value for other, value in members.items() if other != name} | others


@pytest.mark.parametrize("name", ["eventVersion", "awsRegion", "StreamViewType", "SizeBytes"])
@pytest.mark.parametrize("value", ["unknown", None, 1, 1.5, True, ["x"]], ids=repr)
def test_an_unusual_field_takes_the_general_road(name, value):
    """As many fields as an ordinary record has, but one of them unknown or of another kind: the short road knows
    neither its place nor its spelling.
    """
    whole = record_of(1)
    place = whole["dynamodb"] if name in whole["dynamodb"] else whole
    changed = without(place, name, other=1) if value == "unknown" else place | {name: value}
    delivered_record = changed if place is whole else whole | {"dynamodb": changed}
    record = change_record(delivered_record, SOURCE, None)
    assert (record.event, record.leaf) == general_texts(delivered_record, record)


def test_a_record_without_its_arn_is_not_of_the_short_road():
    """Were it taken for one, the envelope would say null where it must say nothing."""
    whole = record_of(1)
    images = {"old": canonical(whole["dynamodb"]["OldImage"]), "new": canonical(whole["dynamodb"]["NewImage"])}
    keys = canonical(whole["dynamodb"]["Keys"])
    assert ordinary_texts(whole, whole["dynamodb"], keys=keys, **images) is not None
    for unusual in (without(whole, "eventSourceARN", other=1), whole | {"eventSourceARN": 1}):
        assert ordinary_texts(unusual, unusual["dynamodb"], keys=keys, **images) is None


@pytest.mark.parametrize("identity", [None, b'{"principalId":"dynamodb.amazonaws.com","type":"Service"}'])
def test_the_envelope_of_a_frame_is_the_general_one(identity):
    """Also for deletions by TTL, which name who deleted."""
    whole = record_of(1)
    record = change_record(whole, SOURCE, None)
    stream = whole["dynamodb"]
    frame = ordinary_frame(whole["eventSourceARN"], whole["awsRegion"], whole["eventVersion"], stream["StreamViewType"])
    general = envelope_members(
        record.change_id,
        record.op,
        record.item_key,
        record.old_image,
        record.new_image,
        identity,
        orjson.loads(record.event),
    )
    short = frame.envelope(
        record.change_id,
        record.op,
        record.item_key,
        record.old_image,
        record.new_image,
        stream["SequenceNumber"],
        CHANGED_AT_S,
        stream["SizeBytes"],
        None if identity is None else identity.decode(),
    )
    assert short == canonical(general)


@PROPERTY
@given(records())
def test_the_leaf_is_rebuilt_from_the_row_alone(delivered_record):
    """A verifier has the file and nothing else: not the path, not the event, not the archiver."""
    record = change_record(delivered_record, SOURCE, None)
    assert leaf_of_row(record) == record.leaf
    if isinstance(delivered_record["dynamodb"]["ApproximateCreationDateTime"], int):
        assert change_record(delivered(record), SOURCE, None) == record  # a fraction has become text


@PROPERTY
@given(records())
def test_the_delivered_record_is_rebuilt_from_the_row_alone(delivered_record):
    """Nothing delivered is lost, absent stays absent and null stays null; only numbers take their canonical form."""
    stream = delivered_record["dynamodb"]
    rebuilt = delivered(change_record(delivered_record, SOURCE, None))
    assert rebuilt == canonical_numbers({**delivered_record, "dynamodb": {}}) | {"dynamodb": rebuilt["dynamodb"]}
    for name in ("Keys", "OldImage", "NewImage"):
        assert rebuilt["dynamodb"].get(name) == stream.get(name)
    assert rebuilt["dynamodb"] == canonical_numbers(
        {name: value for name, value in stream.items() if name not in {"Keys", "OldImage", "NewImage"}}
    ) | {name: stream[name] for name in ("Keys", "OldImage", "NewImage") if name in stream}


CHANGES = {
    "eventID": lambda r: r.update(eventID="0" * 32),
    "eventName": lambda r: r.update(eventName="INSERT"),
    "eventVersion": lambda r: r.update(eventVersion="1.2"),
    "awsRegion": lambda r: r.update(awsRegion="us-east-1"),
    "eventSourceARN": lambda r: r.update(eventSourceARN=r["eventSourceARN"].replace("orders", "others")),
    "userIdentity": lambda r: r.update(userIdentity={"type": "Service"}),
    "userIdentity null": lambda r: r.update(userIdentity=None),
    "an unknown field": lambda r: r.update(unknown=None),
    "an unknown field of the stream": lambda r: r["dynamodb"].update(unknown=None),
    "sequence number": lambda r: r["dynamodb"].update(SequenceNumber="5" * 25),
    "zeros before the sequence number": lambda r: r["dynamodb"].update(
        SequenceNumber="0" + r["dynamodb"]["SequenceNumber"]
    ),
    "creation time": lambda r: r["dynamodb"].update(ApproximateCreationDateTime=CHANGED_AT_S + 1),
    "a fraction of the creation time": lambda r: r["dynamodb"].update(
        ApproximateCreationDateTime=CHANGED_AT_S + 0.0001
    ),
    "view type": lambda r: r["dynamodb"].update(StreamViewType="KEYS_ONLY"),
    "size": lambda r: r["dynamodb"].update(SizeBytes=55),
    "size absent": lambda r: r["dynamodb"].pop("SizeBytes"),
    "size null": lambda r: r["dynamodb"].update(SizeBytes=None),
    "key": lambda r: r["dynamodb"].update(Keys={"id": {"S": "b"}}),
    "key's type": lambda r: r["dynamodb"].update(Keys={"id": {"B": "aaaa"}}),
    "old image": lambda r: r["dynamodb"]["OldImage"].update(n={"N": "9"}),
    "spelling of a number": lambda r: r["dynamodb"]["NewImage"].update(n={"N": "1.0"}),
    "no old image": lambda r: r["dynamodb"].pop("OldImage"),
    "empty new image": lambda r: r["dynamodb"].update(NewImage={}),
    "images exchanged": lambda r: r["dynamodb"].update(
        OldImage=r["dynamodb"]["NewImage"], NewImage=r["dynamodb"]["OldImage"]
    ),
}


def test_the_leaf_covers_everything_delivered():
    """Whatever differs in a record differs in its leaf: nothing delivered can be altered under a seal."""
    leaves = {"as it was": change_record(record_of(1), SOURCE, None).leaf}
    for name, change in CHANGES.items():
        delivered_record = record_of(1)
        change(delivered_record)
        leaves[name] = change_record(delivered_record, SOURCE, None).leaf
    assert len(set(leaves.values())) == len(leaves)


def test_a_whole_second_is_one_value_in_two_spellings():
    """`1602179021.0` and `1602179021` are both delivered: one leaf, or a redelivery would be a conflict."""
    whole, pointed = record_of(1), record_of(1)
    pointed["dynamodb"]["ApproximateCreationDateTime"] = float(CHANGED_AT_S)
    assert change_record(whole, SOURCE, None) == change_record(pointed, SOURCE, None)


@pytest.mark.parametrize(
    ("created", "changed_at_ms"),
    [
        (1_325_376_000, 1_325_376_000_000),
        (4_102_444_799, 4_102_444_799_000),
        (4_102_444_799.999, 4_102_444_799_999),
        (1_602_179_021.5, 1_602_179_021_500),
        (1_602_179_021.001, 1_602_179_021_001),
        (1_602_179_021.0009, 1_602_179_021_000),
    ],
)
def test_creation_time_is_kept_to_the_millisecond(created, changed_at_ms):
    """A time is cut, never rounded into the next second or hour: the partition is made from it."""
    delivered_record = record_of(1, changed_at_s=created)
    assert change_record(delivered_record, SOURCE, None).changed_at_ms == changed_at_ms


@pytest.mark.parametrize(
    ("keys", "item_key"),
    [
        ({"id": {"N": "1.0"}}, '{"id":{"N":"1"}}'),
        ({"id": {"N": "-0"}}, '{"id":{"N":"0"}}'),
        ({"id": {"N": "1E2"}}, '{"id":{"N":"100"}}'),
        ({"id": {"S": "1.0"}}, '{"id":{"S":"1.0"}}'),
        ({"b": {"S": "x"}, "a": {"N": "+5"}}, '{"a":{"N":"5"},"b":{"S":"x"}}'),
        ({"\uffff": {"S": "1"}, "😀": {"B": "AA=="}}, '{"😀":{"B":"AA=="},"\uffff":{"S":"1"}}'),
    ],
)
def test_one_item_has_one_key_text(keys, item_key):
    """Numbers are keys by value: `1` and `1.0` are the same item, and must not have two histories."""
    assert item_key_text(keys).decode() == item_key
    delivered_record = record_of(1)
    delivered_record["dynamodb"]["Keys"] = keys
    record = change_record(delivered_record, SOURCE, None)
    assert record.item_key.decode() == item_key
    assert delivered(record)["dynamodb"]["Keys"] == keys
    assert (b'"Keys"' in record.event) == (canonical(keys) != record.item_key)


@pytest.mark.parametrize(
    ("keys", "names", "hints"),
    [
        ({"id": {"S": "a"}}, None, ("a", None)),
        ({"id": {"S": "a"}}, ("other",), ("a", None)),
        ({"id": {"N": "-1"}}, None, (key_text({"N": "-1"}), None)),
        ({"a": {"S": "x"}, "b": {"B": "AA=="}}, None, (None, None)),
        ({"a": {"S": "x"}, "b": {"B": "AA=="}}, ("a", "b"), ("x", "00")),
        ({"a": {"S": "x"}, "b": {"B": "AA=="}}, ("b", "a"), ("00", "x")),
        ({"a": {"S": "x"}, "b": {"B": "AA=="}}, ("a",), (None, None)),
        ({"a": {"S": "x"}, "b": {"B": "AA=="}}, ("a", "c"), (None, None)),
        ({"id": {"N": "1E+999"}}, None, (None, None)),
        ({"a": {"S": "x"}, "b": {"N": "1E+999"}}, ("a", "b"), (None, None)),
    ],
)
def test_hints_are_given_only_when_they_are_known(keys, names, hints):
    """A hint prunes: a wrong one hides an item, a missing one only costs time."""
    assert key_hints(keys, names) == hints


@pytest.mark.parametrize("name", BAD_OF_ORDERS)
def test_what_cannot_be_understood_is_refused_with_a_reason(name):
    """The reason ends in a log line, and is all that an operator has."""
    bad = BAD_RECORDS[name]()
    with pytest.raises((ValueError, TypeError)) as refusal:
        change_record(bad, SOURCE, None)
    assert str(refusal.value)


def test_an_unknown_field_that_named_a_member_twice_is_refused():
    """A recorded event can hold one; keeping either of the two would be choosing."""
    with pytest.raises(ValueError):
        change_record(record_of(1) | {"new": RepeatedMembers([("a", 1), ("a", 2)])}, SOURCE, None)
    with pytest.raises(ValueError):
        change_record(record_of(1) | {"userIdentity": RepeatedMembers([("a", 1), ("a", 2)])}, SOURCE, None)


def test_a_change_record_cannot_be_changed():
    """Its leaf was computed from what it holds."""
    record = change_record(record_of(1), SOURCE, None)
    with pytest.raises(AttributeError):
        record.op = "REMOVE"


def test_rows_are_ordered_by_sequence_number_then_id_then_leaf():
    """The order decides the root, so it must not depend on the order of arrival, even for contradicting records."""
    first, second = (change_record(record_of(number), SOURCE, None) for number in (1, 2))
    contradiction = record_of(1)
    contradiction["dynamodb"]["NewImage"] = {}
    other = change_record(contradiction, SOURCE, None)
    same_number = record_of(2)
    same_number["dynamodb"]["SequenceNumber"] = record_of(1)["dynamodb"]["SequenceNumber"]
    later_id = change_record(same_number, SOURCE, None)
    expected = [*sorted([first, other], key=lambda record: record.leaf), later_id, second]
    for arrived in permutations(expected):
        assert sorted(arrived, key=row_order) == expected
