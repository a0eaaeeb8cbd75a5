"""What a leaf is the digest of, and the `event` column: everything delivered, in two canonical texts.

Laws: `event_members` and `envelope_members` say what the two texts hold, and `canonical` writes them. `ordinary_texts`
composes the same bytes directly for records with exactly the fields that DynamoDB delivers today, and answers None for
every other record; a property test holds the two roads equal.
"""

from collections.abc import Iterable, Mapping
from functools import lru_cache
from hashlib import sha256
from typing import Any, Final, NamedTuple

import orjson

from archiver.format import FORMAT_VERSION
from archiver.format.canonical import LARGEST_INTEGER, canonical, canonical_numbers

# What the two levels of a leaf are hashed behind, so that no digest of one kind passes for one of another. Copied for
# each digest, which takes half the time of beginning a new one.
_KEY_PREFIX: Final = b"ddbtrail/v1/key\x00"
_IMAGE_PREFIX: Final = b"ddbtrail/v1/image\x00"
_NO_DIGEST: Final = bytes(32)
_KEY_DOMAIN: Final = sha256(_KEY_PREFIX)
_IMAGE_DOMAIN: Final = sha256(_IMAGE_PREFIX)

_COLUMN_FIELDS: Final = frozenset({"eventID", "eventName", "userIdentity", "dynamodb"})
_COLUMN_STREAM_FIELDS: Final = frozenset({"Keys", "OldImage", "NewImage"})
_ENVELOPE_FIELDS: Final = {"eventSourceARN": "stream_arn", "eventVersion": "event_version", "awsRegion": "region"}
_ENVELOPE_STREAM_FIELDS: Final = {
    "SequenceNumber": "seq",
    "ApproximateCreationDateTime": "ts",
    "StreamViewType": "view_type",
    "SizeBytes": "size_bytes",
}
# eventID eventName eventVersion eventSource awsRegion dynamodb eventSourceARN
_ORDINARY_FIELDS: Final = 7
# ApproximateCreationDateTime Keys SequenceNumber SizeBytes StreamViewType, and the images
_ORDINARY_STREAM_FIELDS: Final = 5
_FRAMES: Final = 64  # streams, regions and view types that one container meets


def key_digest(text: bytes) -> str:
    """The digest of a key's canonical text, in hex."""
    digest = _KEY_DOMAIN.copy()
    digest.update(text)
    return digest.hexdigest()


def image_digest(text: bytes) -> str:
    """The digest of an image's canonical text, in hex."""
    digest = _IMAGE_DOMAIN.copy()
    digest.update(text)
    return digest.hexdigest()


def key_digests(texts: Iterable[bytes]) -> list[bytes]:
    """The digests of many keys, 32 bytes each."""
    return [sha256(_KEY_PREFIX + text).digest() for text in texts]


def image_digests(texts: Iterable[bytes | None]) -> list[bytes]:
    """The digests of many images, 32 bytes each; of None, as many zeros."""
    return [_NO_DIGEST if text is None else sha256(_IMAGE_PREFIX + text).digest() for text in texts]


def event_members(
    delivered: Mapping[str, Any], stream: Mapping[str, Any], keys: Mapping[str, Any], *, is_normal: bool
) -> dict[str, Any]:
    """Every delivered field that no other column holds byte for byte, numbers in canonical form.

    `is_normal` says that the `item_key` column holds the key as it was delivered. Raises ValueError for a number
    without a canonical form.
    """
    rest = {name: canonical_numbers(value) for name, value in delivered.items() if name not in _COLUMN_FIELDS}
    stream_rest = {
        name: canonical_numbers(value) for name, value in stream.items() if name not in _COLUMN_STREAM_FIELDS
    }
    if not is_normal:
        stream_rest["Keys"] = keys
    rest["dynamodb"] = stream_rest
    return rest


def envelope_members(
    change_id: str,
    op: str,
    keys: bytes,
    old: bytes | None,
    new: bytes | None,
    identity: bytes | None,
    event: Mapping[str, Any],
) -> dict[str, Any]:
    """The envelope of `docs/format.md`: digests for key and images, so that a record is proved without showing them.

    `keys` is the key as delivered; `event` are the members of the `event` column.
    """
    envelope: dict[str, Any] = {
        "v": FORMAT_VERSION,
        "event_id": change_id,
        "event_name": op,
        "keys": key_digest(keys),
        "old": None if old is None else image_digest(old),
        "new": None if new is None else image_digest(new),
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


def ordinary_texts(
    delivered: Mapping[str, Any],
    stream: Mapping[str, Any],
    *,
    keys: bytes,
    old: bytes | None,
    new: bytes | None,
) -> tuple[bytes, bytes] | None:
    """The `event` column and the envelope of an ordinary record, composed as text; None for any other record.

    The caller has checked what every change record needs (`change_record`), and that the key is in normal spelling.
    """
    fields = _ORDINARY_STREAM_FIELDS + (old is not None) + (new is not None)
    if len(delivered) != _ORDINARY_FIELDS or len(stream) != fields:
        return None
    change_id, sequence_number = delivered["eventID"], stream["SequenceNumber"]
    created, size = stream["ApproximateCreationDateTime"], stream.get("SizeBytes")
    seconds = int(created)
    if seconds != created or type(size) is not int or not 0 <= size <= LARGEST_INTEGER:
        return None
    arn, region = delivered.get("eventSourceARN"), delivered.get("awsRegion")
    version, view_type = delivered.get("eventVersion"), stream.get("StreamViewType")
    if type(arn) is not str or type(region) is not str or type(version) is not str or type(view_type) is not str:
        return None
    if not (change_id.isalnum() and change_id.isascii()):
        return None
    frame = ordinary_frame(arn, region, version, view_type)
    event = f'{frame.event_head}{seconds},"SequenceNumber":"{sequence_number}","SizeBytes":{size}{frame.event_tail}'
    envelope = frame.envelope(change_id, delivered["eventName"], keys, old, new, sequence_number, seconds, size)
    return event.encode(), envelope


class OrdinaryFrame(NamedTuple):
    """What the two texts of an ordinary record share with all others of its stream."""

    event_head: str
    event_tail: str
    before_keys: str
    before_sequence: str
    before_time: str
    envelope_tail: str

    def envelope(
        self,
        change_id: str,
        op: str,
        keys: bytes,
        old: bytes | None,
        new: bytes | None,
        sequence_number: str,
        seconds: int | str,
        size: int | str,
        identity: str | None = None,
    ) -> bytes:
        """The envelope of one record. `identity` is the canonical text of its `userIdentity`."""
        _, _, before_keys, before_sequence, before_time, tail = self
        old_digest = "null" if old is None else f'"{image_digest(old)}"'
        new_digest = "null" if new is None else f'"{image_digest(new)}"'
        who = "" if identity is None else f',"user_identity":{identity}'
        return (
            f'{{"event_id":"{change_id}","event_name":"{op}{before_keys}{key_digest(keys)}","new":{new_digest}'
            f',"old":{old_digest}{before_sequence}{sequence_number}","size_bytes":{size}{before_time}{seconds}{who}{tail}'
        ).encode()


@lru_cache(_FRAMES)
def ordinary_frame(stream_arn: str, region: str, version: str, view_type: str) -> OrdinaryFrame:
    """A pure function of four texts, remembered because a batch asks it the same thing ten thousand times."""
    arn, place, number, view = (canonical(text).decode() for text in (stream_arn, region, version, view_type))
    return OrdinaryFrame(
        event_head=f'{{"awsRegion":{place},"dynamodb":{{"ApproximateCreationDateTime":',
        event_tail=f',"StreamViewType":{view}}},"eventSource":"aws:dynamodb","eventSourceARN":{arn},"eventVersion":{number}}}',
        before_keys=f'","event_version":{number},"extra":{{"eventSource":"aws:dynamodb"}},"keys":"',
        before_sequence=f',"region":{place},"seq":"',
        before_time=f',"stream_arn":{arn},"ts":',
        envelope_tail=f',"v":{FORMAT_VERSION},"view_type":{view}}}',
    )
