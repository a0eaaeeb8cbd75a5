"""The change record: what a segment keeps of one item-level change, and how it is proved.

Laws: `change_record` refuses (ValueError) what it does not understand and changes nothing of what it keeps;
`delivered(row)` rebuilds the delivered record from a row alone, so `leaf_of_row(row)` equals the leaf computed when the
record arrived. Absent is not null, and null is not empty.
The shape is the one a Lambda function receives (*DynamoDB Streams API Reference*, `Record`).
"""

import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from operator import attrgetter
from typing import Any, Final, NamedTuple, Protocol

import orjson

from archiver.format.canonical import canonical, canonical_numbers
from archiver.format.envelope import envelope_members, event_members, ordinary_texts
from archiver.format.keytext import key_text
from archiver.format.layout import StreamSource, sequence_text
from archiver.format.merkle import leaf_digest
from archiver.format.values import check_attributes, normal_number

OPERATIONS: Final = frozenset({"INSERT", "MODIFY", "REMOVE"})
# `SequenceNumber`: "Length Constraints: Minimum length of 21. Maximum length of 40" (API reference, StreamRecord).
_SEQUENCE_NUMBER: Final = re.compile(r"[0-9]{21,40}")
# 2012 (the service's first year) to 2100. Anything else is not a creation time, whatever a clock here says.
EARLIEST_S: Final = 1_325_376_000
LATEST_S: Final = 4_102_444_800

_KEY_TYPES: Final = frozenset({"S", "N", "B"})
_KEY_SIZES: Final = (1, 2)


class ChangeRecord(NamedTuple):
    """One change, as the columns of a segment hold it, with the digest of its leaf.

    `changed_at_ms` is epoch milliseconds; JSON columns are canonical UTF-8 bytes; an image of None means that the
    stream carried none; `leaf` is 32 bytes. A named tuple, since a frozen dataclass takes four times as long to make.
    """

    source: StreamSource
    change_id: str
    op: str
    changed_at_ms: int
    sequence_number: str
    item_key: bytes
    pk: str | None
    sk: str | None
    old_image: bytes | None
    new_image: bytes | None
    user_identity: bytes | None
    event: bytes
    leaf: bytes


# The order of rows in a segment; the leaf decides between two records that contradict each other.
row_order: Final[Callable[[ChangeRecord], tuple[str, str, bytes]]] = attrgetter("sequence_number", "change_id", "leaf")


class Row(Protocol):
    """The columns a leaf is rebuilt from."""

    @property
    def change_id(self) -> str: ...
    @property
    def op(self) -> str: ...
    @property
    def item_key(self) -> bytes: ...
    @property
    def old_image(self) -> bytes | None: ...
    @property
    def new_image(self) -> bytes | None: ...
    @property
    def user_identity(self) -> bytes | None: ...
    @property
    def event(self) -> bytes: ...


def change_record(
    delivered: Mapping[str, Any], source: StreamSource, key_names: tuple[str, ...] | None
) -> ChangeRecord:
    """The change record of one record as Lambda delivers it.

    `key_names` are the key attributes in schema order, for the `pk` and `sk` hints; None when the schema is not known.
    Raises ValueError or TypeError, naming the reason, for a record that cannot be understood.
    """
    stream = delivered.get("dynamodb")
    if type(stream) is not dict:
        raise ValueError("dynamodb is missing or not an object")
    if delivered.get("eventSource") != "aws:dynamodb":
        raise ValueError("eventSource is not aws:dynamodb")
    change_id, op, sequence_number = delivered.get("eventID"), delivered.get("eventName"), stream.get("SequenceNumber")
    if type(change_id) is not str or not change_id:
        raise ValueError("eventID is missing or not a text")
    if type(op) is not str or op not in OPERATIONS:
        raise ValueError(f"eventName {op!r} is not INSERT, MODIFY or REMOVE")
    if type(sequence_number) is not str or _SEQUENCE_NUMBER.fullmatch(sequence_number) is None:
        raise ValueError("SequenceNumber is not 21 to 40 digits")
    changed_at_ms = creation_ms(stream.get("ApproximateCreationDateTime"))
    keys = stream.get("Keys")
    if type(keys) is not dict:
        raise ValueError("Keys is missing or not an object")
    normal_keys = _normal_key(keys)
    keys_text = canonical(keys)
    pk, sk = key_hints(keys, key_names)
    old_image, new_image = _image(stream, "OldImage"), _image(stream, "NewImage")
    identity = canonical(canonical_numbers(delivered["userIdentity"])) if "userIdentity" in delivered else None
    texts = None
    if normal_keys is keys:
        texts = ordinary_texts(delivered, stream, keys=keys_text, old=old_image, new=new_image)
    if texts is None:
        members = event_members(delivered, stream, keys, is_normal=normal_keys is keys)
        texts = (
            canonical(members),
            canonical(envelope_members(change_id, op, keys_text, old_image, new_image, identity, members)),
        )
    event, envelope = texts
    return ChangeRecord(
        source,
        change_id,
        op,
        changed_at_ms,
        sequence_text(sequence_number),
        keys_text if normal_keys is keys else canonical(normal_keys),
        pk,
        sk,
        old_image,
        new_image,
        identity,
        event,
        leaf_digest(envelope),
    )


def delivered(row: Row) -> dict[str, Any]:
    """The delivered record, numbers in canonical form, rebuilt from the columns of its row."""
    record: dict[str, Any] = orjson.loads(row.event)
    stream = dict(record["dynamodb"])
    stream.setdefault("Keys", orjson.loads(row.item_key))
    if row.old_image is not None:
        stream["OldImage"] = orjson.loads(row.old_image)
    if row.new_image is not None:
        stream["NewImage"] = orjson.loads(row.new_image)
    record |= {"eventID": row.change_id, "eventName": row.op, "dynamodb": stream}
    if row.user_identity is not None:
        record["userIdentity"] = orjson.loads(row.user_identity)
    return record


def envelope_of_row(row: Row) -> bytes:
    """The canonical envelope of a row: what its leaf is the digest of."""
    event = orjson.loads(row.event)
    keys = event["dynamodb"].get("Keys")
    keys_text = row.item_key if keys is None else canonical(keys)
    return canonical(
        envelope_members(row.change_id, row.op, keys_text, row.old_image, row.new_image, row.user_identity, event)
    )


def leaf_of_row(row: Row) -> bytes:
    """The leaf digest (32 bytes) of a row, re-derived from its columns."""
    return leaf_digest(envelope_of_row(row))


def item_key_text(keys: Mapping[str, Any]) -> bytes:
    """The canonical text of an item key by value: one item, one text, so numbers stand in their normal spelling.

    Raises ValueError for what is not a key: one or two attributes of type S, N or B.
    """
    return canonical(_normal_key(keys))


def _normal_key(keys: Mapping[str, Any]) -> Mapping[str, Any]:
    """`keys` itself if every number in it stands in its normal spelling, else the key that does."""
    check_attributes(keys)
    if len(keys) not in _KEY_SIZES:
        raise ValueError(f"a key has one or two attributes, not {len(keys)}")
    normal = keys
    for name, value in keys.items():
        (tag,) = value
        if tag == "N":
            number = normal_number(value["N"])
            if number != value["N"]:
                normal = {**normal, name: {"N": number}}
        elif tag not in _KEY_TYPES:
            raise ValueError(f"a key attribute is S, N or B, not {tag}")
    return normal


def key_hints(keys: Mapping[str, Any], key_names: tuple[str, ...] | None) -> tuple[str | None, str | None]:
    """Key text of partition and sort key. A single key attribute is its own schema; (None, None) when unknown."""
    names = tuple(keys) if len(keys) == 1 else key_names
    if names is None or len(names) != len(keys):
        return None, None
    try:
        texts = [key_text(keys[name]) for name in names]
    except (KeyError, ValueError):  # another schema's names; a number no real key holds: the item is found by value
        return None, None
    return texts[0], (texts[1] if len(texts) > 1 else None)


def creation_ms(created: Any) -> int:
    """A delivered creation time in epoch ms, digits below cut off. Raises ValueError for what is none."""
    if type(created) is not int and type(created) is not float:
        raise ValueError("ApproximateCreationDateTime is missing or not a number")
    if not EARLIEST_S <= created < LATEST_S:  # false for NaN too
        raise ValueError(f"ApproximateCreationDateTime {created!r} is not within 2012 to 2100")
    seconds = int(created)
    return seconds * 1000 if seconds == created else int(Decimal(repr(created)) * 1000)


def _image(stream: Mapping[str, Any], name: str) -> bytes | None:
    if name not in stream:
        return None
    image = stream[name]
    check_attributes(image)
    return canonical(image)
