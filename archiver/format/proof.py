"""The proof of one change record: from its envelope to the head of a trail's log, all in one file.

Laws: `Proof.parse(x.compose()) == x`, and nothing else is accepted; a `Proof` that exists holds together: what is shown
has the digests of the envelope, the envelope leads to the root of its segment, the segment's entry to the root that the
checkpoint states, and all of them are of one trail. Only the signature is left to check, which needs a key.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

import orjson

from archiver.format import FORMAT_VERSION
from archiver.format.canonical import DEEPEST_LEVEL, LARGEST_INTEGER, canonical
from archiver.format.envelope import image_digest, key_digest
from archiver.format.layout import StreamSource, sequence_text
from archiver.format.log_entry import SegmentEntry, entry_leaf, entry_members, entry_of
from archiver.format.merkle import inclusion_path, leaf_digest, root_of_path
from archiver.format.note import Checkpoint, NoteSignature, SignedNote
from archiver.format.record import OPERATIONS, Row, creation_ms, envelope_of_row
from archiver.format.seal import origin_of

_MEMBERS: Final = frozenset(
    {"format", "checkpoint", "entry_index", "entry_path", "envelope", "record_index", "record_path", "segment", "shown"}
)
_SHOWN: Final = frozenset({"keys", "old", "new"})
_ALWAYS: Final = frozenset({"v", "event_id", "event_name", "keys", "old", "new", "stream_arn", "seq", "ts", "extra"})
_MAYBE: Final = frozenset({"region", "event_version", "view_type", "size_bytes", "user_identity"})
_SEQUENCE_NUMBER: Final = re.compile(r"[0-9]{21,40}")
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
# A delivered field nests to 64 levels; proof, envelope, extra and dynamodb stand around it.
_DEEPEST: Final = DEEPEST_LEVEL + 4


@dataclass(frozen=True, slots=True)
class Envelope:
    """What an envelope says of its change; `keys`, `old`, `new` are digests in hex, None for an image not carried.

    `changed_at_ms` is epoch milliseconds. `text` is the canonical JSON of which the leaf is the digest.
    """

    text: bytes
    change_id: str
    op: str
    source: StreamSource
    sequence_number: str
    changed_at_ms: int
    keys: str
    old: str | None
    new: str | None

    @classmethod
    def of(cls, members: Any) -> Self:
        """From parsed JSON. Raises ValueError for what no change record has as its envelope."""
        _check_members("the envelope", members, _ALWAYS, _MAYBE)
        extra = members["extra"]
        if type(members["v"]) is not int or members["v"] != FORMAT_VERSION:
            raise ValueError(f"the envelope is of version {members['v']!r}, not {FORMAT_VERSION}")
        if type(extra) is not dict or extra.get("eventSource") != "aws:dynamodb":
            raise ValueError("the envelope is not that of a record of DynamoDB")
        if _text(members, "event_name") not in OPERATIONS:
            raise ValueError(f"event_name is {members['event_name']!r}, not INSERT, MODIFY or REMOVE")
        if _SEQUENCE_NUMBER.fullmatch(_text(members, "seq")) is None:
            raise ValueError(f"seq is {members['seq']!r}, not 21 to 40 digits")
        for name in ("keys", "old", "new"):
            if name == "keys" or members[name] is not None:
                _digest(members[name])
        return cls(
            text=canonical(members),
            change_id=_text(members, "event_id"),
            op=members["event_name"],
            source=StreamSource.parse(_text(members, "stream_arn")),
            sequence_number=sequence_text(members["seq"]),
            changed_at_ms=_milliseconds(members["ts"]),
            keys=members["keys"],
            old=members["old"],
            new=members["new"],
        )


@dataclass(frozen=True, slots=True)
class Shown:
    """What a proof shows of its record: the key as it was delivered and the images, as canonical text."""

    keys: bytes
    old: bytes | None
    new: bytes | None

    def check(self, envelope: Envelope) -> None:
        """Raises ValueError unless the envelope holds the digests of these texts."""
        old, new = (None if text is None else image_digest(text) for text in (self.old, self.new))
        found = {"key": key_digest(self.keys), "old image": old, "new image": new}
        stated = {"key": envelope.keys, "old image": envelope.old, "new image": envelope.new}
        for name, digest in found.items():
            if digest != stated[name]:
                raise ValueError(f"the {name} is not the one that the envelope states")


@dataclass(frozen=True, slots=True)
class Proof:
    """One proof. `shown` is None where key and images are withheld; paths are digests of 32 bytes, from the leaf up."""

    envelope: Envelope
    shown: Shown | None
    record_index: int
    record_path: tuple[bytes, ...]
    segment: SegmentEntry
    entry_index: int
    entry_path: tuple[bytes, ...]
    checkpoint: SignedNote

    def __post_init__(self) -> None:
        envelope, segment, head = self.envelope, self.segment, self.head
        if self.shown is not None:
            self.shown.check(envelope)
        leaf = leaf_digest(envelope.text)
        if root_of_path(leaf, self.record_index, segment.records, self.record_path).hex() != segment.root:
            raise ValueError("the path of the record does not lead to the root of its segment")
        if root_of_path(entry_leaf(segment), self.entry_index, head.size, self.entry_path) != head.root:
            raise ValueError("the path of the segment does not lead to the root of the checkpoint")
        if origin_of(envelope.source.trail) != head.origin:
            raise ValueError(f"the record is of another trail than the log {head.origin}")
        if segment.stream_label != envelope.source.stream_label:
            raise ValueError("the record is of another stream than its segment")
        if not segment.first_sequence <= envelope.sequence_number <= segment.last_sequence:
            raise ValueError("the sequence number of the record is not one of its segment")
        if not segment.first_changed_at_ms <= envelope.changed_at_ms <= segment.last_changed_at_ms:
            raise ValueError("the time of the record is not one of its segment")
        if len(self.checkpoint.signatures) != 1 or self.signature.key_name != head.origin:
            raise ValueError("the checkpoint of a proof has one signature, that of the log")

    @property
    def head(self) -> Checkpoint:
        """What was signed."""
        return Checkpoint.parse(self.checkpoint.text)

    @property
    def signature(self) -> NoteSignature:
        """The signature of the log, which nobody has checked yet."""
        return self.checkpoint.signatures[0]

    def compose(self) -> bytes:
        """The file: canonical JSON, and a newline."""
        shown = self.shown
        return (
            canonical(
                {
                    "format": FORMAT_VERSION,
                    "checkpoint": self.checkpoint.compose().decode(),
                    "entry_index": self.entry_index,
                    "entry_path": [digest.hex() for digest in self.entry_path],
                    "envelope": orjson.loads(self.envelope.text),
                    "record_index": self.record_index,
                    "record_path": [digest.hex() for digest in self.record_path],
                    "segment": entry_members(self.segment),
                    "shown": shown
                    and {
                        name: None if text is None else orjson.loads(text)
                        for name, text in (("keys", shown.keys), ("old", shown.old), ("new", shown.new))
                    },
                }
            )
            + b"\n"
        )

    @classmethod
    def parse(cls, content: bytes) -> Self:
        """Raises ValueError for what `compose` would not have written, and for what does not hold together."""
        members = orjson.loads(content)
        _check_numbers(members)
        if canonical(members) + b"\n" != content:
            raise ValueError("a proof is canonical JSON and a newline, and this is not")
        _check_members("the proof", members, _MEMBERS)
        if type(members["format"]) is not int or members["format"] != FORMAT_VERSION:
            raise ValueError(f"the proof is of format {members['format']!r}, not {FORMAT_VERSION}")
        if type(members["segment"]) is not dict or members["segment"].get("type") != SegmentEntry.type:
            raise ValueError("the entry of the log is not that of a segment")
        segment = entry_of(members["segment"])
        assert isinstance(segment, SegmentEntry), "its type says so"
        return cls(
            envelope=Envelope.of(members["envelope"]),
            shown=_shown(members["shown"]),
            record_index=_index(members, "record_index"),
            record_path=_path(members, "record_path"),
            segment=segment,
            entry_index=_index(members, "entry_index"),
            entry_path=_path(members, "entry_path"),
            checkpoint=SignedNote.parse(_text(members, "checkpoint").encode()),
        )


def prove_row(
    row: Row,
    *,
    shows: bool,
    rows: Sequence[bytes],
    row_index: int,
    segment: SegmentEntry,
    entries: Sequence[bytes],
    entry_index: int,
    checkpoint: SignedNote,
) -> Proof:
    """The proof of a row: `rows` are the leaves of its segment, `entries` those of the log that `checkpoint` is of.

    `shows` says whether key and images stand in it. Raises ValueError for what does not lead to the checkpoint.
    """
    event = orjson.loads(row.event)
    keys = event["dynamodb"].get("Keys")
    shown = Shown(row.item_key if keys is None else canonical(keys), row.old_image, row.new_image)
    return Proof(
        envelope=Envelope.of(orjson.loads(envelope_of_row(row))),
        shown=shown if shows else None,
        record_index=row_index,
        record_path=tuple(inclusion_path(rows, row_index)),
        segment=segment,
        entry_index=entry_index,
        entry_path=tuple(inclusion_path(entries, entry_index)),
        checkpoint=checkpoint,
    )


def _check_members(what: str, members: Any, always: frozenset[str], maybe: frozenset[str] = frozenset()) -> None:
    if type(members) is not dict:
        raise ValueError(f"{what} is not an object")
    wrong = (always - members.keys()) | (members.keys() - always - maybe)
    if wrong:
        raise ValueError(f"{what} lacks, or has beside its own, {', '.join(sorted(wrong))}")


def _check_numbers(value: Any, level: int = 0) -> None:
    """Refuses what canonical JSON of evidence never holds: fractions, integers beyond 2**53, more levels."""
    if type(value) is float or (type(value) is int and abs(value) > LARGEST_INTEGER):
        raise ValueError(f"the number {value!r} has no canonical form")
    if type(value) is dict or type(value) is list:
        if level >= _DEEPEST:
            raise ValueError(f"nested deeper than {_DEEPEST} levels")
        for member in value.values() if type(value) is dict else value:
            _check_numbers(member, level + 1)


def _shown(members: Any) -> Shown | None:
    if members is None:
        return None
    _check_members("what is shown", members, _SHOWN)
    old, new = (None if members[name] is None else _object(members, name) for name in ("old", "new"))
    return Shown(_object(members, "keys"), old, new)


def _milliseconds(created: Any) -> int:
    """A creation time in canonical form, in epoch milliseconds: an integer, or the text of any other double."""
    if type(created) is not str:
        return creation_ms(created)
    seconds = float(created)
    if repr(seconds) != created or seconds.is_integer():
        raise ValueError(f"ts is {created!r}, which is no number in canonical form")
    return creation_ms(seconds)


def _text(members: Mapping[str, Any], name: str) -> str:
    value = members[name]
    if type(value) is not str or not value:
        raise ValueError(f"{name} is {value!r}, not a text")
    return value


def _object(members: Mapping[str, Any], name: str) -> bytes:
    if type(members[name]) is not dict:
        raise ValueError(f"{name} is {members[name]!r}, not an object")
    return canonical(members[name])


def _index(members: Mapping[str, Any], name: str) -> int:
    value = members[name]
    if type(value) is not int or value < 0:
        raise ValueError(f"{name} is {value!r}, not an index")
    return value


def _path(members: Mapping[str, Any], name: str) -> tuple[bytes, ...]:
    if type(members[name]) is not list:
        raise ValueError(f"{name} is not a list")
    return tuple(_digest(text) for text in members[name])


def _digest(text: Any) -> bytes:
    if type(text) is not str or _DIGEST.fullmatch(text) is None:
        raise ValueError(f"{text!r} is not a SHA-256 in hex")
    return bytes.fromhex(text)
