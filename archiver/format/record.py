"""The change record: what a segment keeps of one item-level change, and how it is proved.

Laws: `change_record` refuses (ValueError) what it does not understand and changes nothing of what it keeps;
`delivered(row)` rebuilds the delivered record from a row alone, so `leaf_of_row(row)` equals the leaf computed when the
record arrived. Absent is not null, and null is not empty.
The shape is the one a Lambda function receives (*DynamoDB Streams API Reference*, `Record`).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from hashlib import sha256
from typing import Any, Final, Protocol

import orjson

from archiver.format import FORMAT_VERSION
from archiver.format.canonical import canonical, canonical_number, canonical_numbers
from archiver.format.keytext import key_text
from archiver.format.layout import StreamSource, sequence_text
from archiver.format.merkle import leaf_digest
from archiver.format.values import check_attributes, normal_number

OPERATIONS: Final = frozenset({"INSERT", "MODIFY", "REMOVE"})
# `SequenceNumber`: "Length Constraints: Minimum length of 21. Maximum length of 40" (API reference, StreamRecord).
_SEQUENCE_NUMBER: Final = re.compile(r"[0-9]{21,40}")
# 2012 (the service's first year) to 2100. Anything else is not a creation time, whatever a clock here says.
_EARLIEST_S: Final = 1_325_376_000
_LATEST_S: Final = 4_102_444_800

# What the two levels of a leaf are hashed behind, so that no digest of one kind passes for one of another.
_KEY_DOMAIN: Final = b"ddbtrail/v1/key\x00"
_IMAGE_DOMAIN: Final = b"ddbtrail/v1/image\x00"

_COLUMN_FIELDS: Final = frozenset({"eventID", "eventName", "userIdentity", "dynamodb"})
_COLUMN_STREAM_FIELDS: Final = frozenset({"Keys", "OldImage", "NewImage"})
_ENVELOPE_FIELDS: Final = {"eventSourceARN": "stream_arn", "eventVersion": "event_version", "awsRegion": "region"}
_ENVELOPE_STREAM_FIELDS: Final = {
    "SequenceNumber": "seq",
    "ApproximateCreationDateTime": "ts",
    "StreamViewType": "view_type",
    "SizeBytes": "size_bytes",
}
_KEY_TYPES: Final = frozenset({"S", "N", "B"})


@dataclass(frozen=True, slots=True)
class ChangeRecord:
    """One change, as the columns of a segment hold it, with the digest of its leaf.

    `changed_at_ms` is epoch milliseconds; JSON columns are canonical UTF-8 bytes; an image of None means that the
    stream
    carried none; `leaf` is 32 bytes.
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

    @property
    def order(self) -> tuple[str, str, bytes]:
        """The order of rows in a segment; the leaf decides between two records that contradict each other."""
        return self.sequence_number, self.change_id, self.leaf


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
    stream = _object(delivered, "dynamodb")
    if delivered.get("eventSource") != "aws:dynamodb":
        raise ValueError("eventSource is not aws:dynamodb")
    change_id, op = _text(delivered, "eventID"), _text(delivered, "eventName")
    if op not in OPERATIONS:
        raise ValueError(f"eventName {op!r} is not INSERT, MODIFY or REMOVE")
    sequence_number = _text(stream, "SequenceNumber")
    if _SEQUENCE_NUMBER.fullmatch(sequence_number) is None:
        raise ValueError("SequenceNumber is not 21 to 40 digits")
    changed_at_ms = _changed_at_ms(stream.get("ApproximateCreationDateTime"))
    keys = _object(stream, "Keys")
    keys_as_delivered = canonical(keys)
    item_key = item_key_text(keys)
    event = _event(delivered, stream, keys, is_normal=item_key == keys_as_delivered)
    pk, sk = key_hints(keys, key_names)
    old_image, new_image = _image(stream, "OldImage"), _image(stream, "NewImage")
    user_identity = canonical(canonical_numbers(delivered["userIdentity"])) if "userIdentity" in delivered else None
    envelope = _envelope(
        change_id, op, keys=keys_as_delivered, old=old_image, new=new_image, identity=user_identity, event=event
    )
    return ChangeRecord(
        source=source,
        change_id=change_id,
        op=op,
        changed_at_ms=changed_at_ms,
        sequence_number=sequence_text(sequence_number),
        item_key=item_key,
        pk=pk,
        sk=sk,
        old_image=old_image,
        new_image=new_image,
        user_identity=user_identity,
        event=canonical(event),
        leaf=leaf_digest(canonical(envelope)),
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
    return canonical(
        _envelope(
            row.change_id,
            row.op,
            keys=row.item_key if keys is None else canonical(keys),
            old=row.old_image,
            new=row.new_image,
            identity=row.user_identity,
            event=event,
        )
    )


def leaf_of_row(row: Row) -> bytes:
    """The leaf digest (32 bytes) of a row, re-derived from its columns."""
    return leaf_digest(envelope_of_row(row))


def item_key_text(keys: Mapping[str, Any]) -> bytes:
    """The canonical text of an item key by value: one item, one text, so numbers stand in their normal spelling.

    Raises ValueError for what is not a key: one or two attributes of type S, N or B.
    """
    check_attributes(keys)
    if len(keys) not in {1, 2}:
        raise ValueError(f"a key has one or two attributes, not {len(keys)}")
    normal = {}
    for name, value in keys.items():
        ((tag, content),) = value.items()
        if tag not in _KEY_TYPES:
            raise ValueError(f"a key attribute is S, N or B, not {tag}")
        normal[name] = {tag: normal_number(content)} if tag == "N" else value
    return canonical(normal)


def key_hints(keys: Mapping[str, Any], key_names: tuple[str, ...] | None) -> tuple[str | None, str | None]:
    """Key text of partition and sort key. A single key attribute is its own schema; (None, None) when unknown."""
    names = tuple(keys) if len(keys) == 1 else key_names
    if names is None or len(names) != len(keys) or any(name not in keys for name in names):
        return None, None
    try:
        pk, *sk = (key_text(keys[name]) for name in names)
    except ValueError:  # a number no real key holds: the item is still found by its key's value
        return None, None
    return pk, (sk[0] if sk else None)


def _changed_at_ms(created: Any) -> int:
    if isinstance(created, bool) or not isinstance(created, int | float):
        raise ValueError("ApproximateCreationDateTime is missing or not a number")
    if not _EARLIEST_S <= created < _LATEST_S:  # false for NaN too
        raise ValueError(f"ApproximateCreationDateTime {created!r} is not within 2012 to 2100")
    if isinstance(created, int) or created.is_integer():
        return int(created) * 1000
    return int(Decimal(repr(created)) * 1000)


def _image(stream: Mapping[str, Any], name: str) -> bytes | None:
    if name not in stream:
        return None
    image = stream[name]
    check_attributes(image)
    return canonical(image)


def _event(
    delivered: Mapping[str, Any], stream: Mapping[str, Any], keys: Mapping[str, Any], *, is_normal: bool
) -> dict[str, Any]:
    """Every delivered field that no other column holds byte for byte, numbers in canonical form."""
    rest = {
        name: value if type(value) is str else canonical_numbers(value)
        for name, value in delivered.items()
        if name not in _COLUMN_FIELDS
    }
    stream_rest = {
        name: value
        if type(value) is str
        else canonical_number(value)
        if type(value) is int or type(value) is float
        else canonical_numbers(value)
        for name, value in stream.items()
        if name not in _COLUMN_STREAM_FIELDS
    }
    if not is_normal:
        stream_rest["Keys"] = keys
    rest["dynamodb"] = stream_rest
    return rest


def _envelope(
    change_id: str,
    op: str,
    *,
    keys: bytes,
    old: bytes | None,
    new: bytes | None,
    identity: bytes | None,
    event: Mapping[str, Any],
) -> dict[str, Any]:
    """The envelope of `docs/format.md`: digests for key and images, so that a record is proved without showing them."""
    envelope: dict[str, Any] = {
        "v": FORMAT_VERSION,
        "event_id": change_id,
        "event_name": op,
        "keys": sha256(_KEY_DOMAIN + keys).hexdigest(),
        "old": None if old is None else sha256(_IMAGE_DOMAIN + old).hexdigest(),
        "new": None if new is None else sha256(_IMAGE_DOMAIN + new).hexdigest(),
    }
    extra: dict[str, Any] = {}
    for name, value in event.items():
        if name in _ENVELOPE_FIELDS:
            envelope[_ENVELOPE_FIELDS[name]] = value
        elif name != "dynamodb":
            extra[name] = value
    stream_extra: dict[str, Any] = {}
    for name, value in event["dynamodb"].items():
        if name in _ENVELOPE_STREAM_FIELDS:
            envelope[_ENVELOPE_STREAM_FIELDS[name]] = value
        elif name != "Keys":  # proved by its digest, in either spelling
            stream_extra[name] = value
    if stream_extra:
        extra["dynamodb"] = stream_extra
    if identity is not None:
        envelope["user_identity"] = orjson.loads(identity)
    if extra:
        envelope["extra"] = extra
    return envelope


def _text(record: Mapping[str, Any], name: str) -> str:
    value = record.get(name)
    if type(value) is not str or not value:
        raise ValueError(f"{name} is missing or not a string")
    return value


def _object(record: Mapping[str, Any], name: str) -> dict[str, Any]:
    value = record.get(name)
    if type(value) is not dict:
        raise ValueError(f"{name} is missing or not an object")
    return value
