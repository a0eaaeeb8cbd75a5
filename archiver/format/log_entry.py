"""The entries of a trail's log: what a seal says of which evidence. Each is a leaf of the log's RFC 6962 tree.

Laws: `parse_entry(compose_entry(x)) == x`; a parser accepts only what its composer makes, and refuses (ValueError)
everything else: an unknown type, missing and unknown members, values out of their grammar. Names are those inside the
trail, but for a quarantined record whose trail nobody could tell (`v1/quarantine/…`).
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Final, TypeAlias, get_args

import orjson

from archiver.format.canonical import LARGEST_INTEGER, canonical
from archiver.format.layout import (
    ROOT,
    SEQUENCE_DIGITS,
    BaselineName,
    SegmentName,
    hour_of,
    label_time_ms,
    parse_quarantine_name,
)
from archiver.format.merkle import leaf_digest

_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
_SEQUENCE: Final = re.compile(rf"[0-9]{{{SEQUENCE_DIGITS}}}")


@dataclass(frozen=True, slots=True)
class OpenEntry:
    """A stream label is part of the trail from here on; with its description's digest, or null while it has none.

    A second one follows when the description appears later.
    """

    type: ClassVar[str] = "open"
    stream_label: str
    description_sha256: str | None


@dataclass(frozen=True, slots=True)
class CloseEntry:
    """Nothing more is expected of a stream label."""

    type: ClassVar[str] = "close"
    stream_label: str


@dataclass(frozen=True, slots=True)
class SegmentEntry:
    """A segment as it was when it was sealed: its file's SHA-256 and size, and what its rows say (times epoch ms)."""

    type: ClassVar[str] = "segment"
    path: str
    stream_label: str
    file_sha256: str
    bytes: int
    records: int
    root: str
    first_sequence: str
    last_sequence: str
    first_changed_at_ms: int
    last_changed_at_ms: int
    writer: str

    def __post_init__(self) -> None:
        place = SegmentName.parse(self.path)
        if (place.root, place.first_sequence) != (self.root, self.first_sequence):
            raise ValueError(f"{self.path} is not named after its root and its first sequence number")
        if not self.first_sequence <= self.last_sequence or not self.first_changed_at_ms <= self.last_changed_at_ms:
            raise ValueError(f"{self.path} ends before it begins")
        if {hour_of(self.first_changed_at_ms), hour_of(self.last_changed_at_ms)} != {place.hour_ms}:
            raise ValueError(f"{self.path} has changes of another hour")
        if self.records < 1 or self.bytes < 1:
            raise ValueError(f"{self.path} is empty")


@dataclass(frozen=True, slots=True)
class QuarantineEntry:
    """A record that nobody understood; its name says its digest."""

    type: ClassVar[str] = "quarantine"
    path: str
    bytes: int

    def __post_init__(self) -> None:
        parse_quarantine_name(self.path.removeprefix(f"{ROOT}/"))


@dataclass(frozen=True, slots=True)
class BaselineEntry:
    """A baseline: the digest of its `baseline.json`, which states those of its parts."""

    type: ClassVar[str] = "baseline"
    path: str
    file_sha256: str

    def __post_init__(self) -> None:
        if BaselineName.parse(self.path).description != self.path:
            raise ValueError(f"{self.path} is not the description of a baseline")


@dataclass(frozen=True, slots=True)
class AcknowledgeEntry:
    """Somebody has looked at an object, or at a stretch of time without evidence (epoch ms), and says why it is so."""

    type: ClassVar[str] = "acknowledge"
    path: str | None
    from_ms: int | None
    to_ms: int | None
    reason: str

    def __post_init__(self) -> None:
        if self.from_ms is None or self.to_ms is None:
            is_of_one_thing = self.path is not None and self.from_ms is None and self.to_ms is None
        else:
            is_of_one_thing = self.path is None and self.from_ms < self.to_ms
        if not is_of_one_thing or not self.reason.strip():
            raise ValueError("an acknowledgement is of an object or of a stretch of time, and gives a reason")


@dataclass(frozen=True, slots=True)
class KeyRotationEntry:
    """From the next seal on, another key signs: its SubjectPublicKeyInfo (DER) in base64. Signed by the old one."""

    type: ClassVar[str] = "key-rotation"
    public_key: str


@dataclass(frozen=True, slots=True)
class IntervalEntry:
    """What was looked at for this seal, from `from_ms` until before `to_ms`, and when it was made (epoch ms).

    `previous_notice` leads to the notices of earlier seals: the size that the newest earlier seal with one extends, or
    None. So they are all found without reading the seals between them.
    """

    type: ClassVar[str] = "interval"
    from_ms: int
    to_ms: int
    sealed_at_ms: int
    previous_notice: int | None

    def __post_init__(self) -> None:
        if self.from_ms is None or self.to_ms is None:
            raise ValueError("an interval has a beginning and an end")
        if not self.from_ms <= self.to_ms <= self.sealed_at_ms:
            raise ValueError("an interval ends before it begins, or was sealed before it ended")


LogEntry: TypeAlias = (
    OpenEntry
    | CloseEntry
    | SegmentEntry
    | QuarantineEntry
    | BaselineEntry
    | AcknowledgeEntry
    | KeyRotationEntry
    | IntervalEntry
)
# All but segments and intervals, of which there are few: what a sealer must know of the whole log.
NOTICES: Final = (OpenEntry, CloseEntry, QuarantineEntry, BaselineEntry, AcknowledgeEntry, KeyRotationEntry)
TYPES: Final[Mapping[str, type[LogEntry]]] = {kind.type: kind for kind in get_args(LogEntry)}
_NAMES: Final = {kind.type: frozenset(field.name for field in fields(kind)) for kind in TYPES.values()}


def entry_members(entry: LogEntry) -> dict[str, Any]:
    """An entry as JSON members, its type among them."""
    members = {name: getattr(entry, name) for name in _NAMES[entry.type]}
    for name, value in members.items():
        _GRAMMAR[name](name, value)
    return {"type": entry.type, **members}


def compose_entry(entry: LogEntry) -> bytes:
    """The canonical text of an entry: what is hashed into the log."""
    return canonical(entry_members(entry))


def entry_leaf(entry: LogEntry) -> bytes:
    """The leaf of an entry (32 bytes)."""
    return leaf_digest(compose_entry(entry))


def entry_of(members: Any) -> LogEntry:
    """The entry of parsed JSON members. Raises ValueError."""
    if not isinstance(members, dict):
        raise ValueError("an entry of the log is an object")
    kind = TYPES.get(members["type"]) if isinstance(members.get("type"), str) else None
    if kind is None:
        raise ValueError(f"{members.get('type')!r} is no type of entry: a newer version may know it")
    names = _NAMES[kind.type]
    if members.keys() - {"type"} != names:
        wrong = sorted((members.keys() - {"type"}) ^ names)
        raise ValueError(f"an entry of type {kind.type} lacks, or has beside its own, {', '.join(wrong)}")
    for name in names:
        _GRAMMAR[name](name, members[name])
    try:
        return kind(**{name: members[name] for name in names})
    except (TypeError, AttributeError) as error:  # a null where this entry needs a value
        raise ValueError(f"an entry of type {kind.type} has a null where it needs a value: {error}") from error


def parse_entry(content: bytes) -> LogEntry:
    """The entry that `compose_entry` wrote. Raises ValueError for anything else."""
    entry = entry_of(orjson.loads(content))
    if compose_entry(entry) != content:
        raise ValueError("an entry of the log is not in canonical form")
    return entry


# --- one grammar for each member, whatever entry it stands in ---


def _text(name: str, value: Any) -> None:
    if type(value) is not str or not value:
        raise ValueError(f"{name} is {value!r}, not a text")


def _digest(name: str, value: Any) -> None:
    if type(value) is not str or _DIGEST.fullmatch(value) is None:
        raise ValueError(f"{name} is {value!r}, not a SHA-256 in hex")


def _sequence(name: str, value: Any) -> None:
    if type(value) is not str or _SEQUENCE.fullmatch(value) is None:
        raise ValueError(f"{name} is {value!r}, not {SEQUENCE_DIGITS} digits")


def _label(name: str, value: Any) -> None:
    _text(name, value)
    label_time_ms(value)


def _count(name: str, value: Any) -> None:
    if type(value) is not int or not 0 <= value <= LARGEST_INTEGER:
        raise ValueError(f"{name} is {value!r}, not a whole number")


def _or_null(check: Callable[[str, Any], None]) -> Callable[[str, Any], None]:
    return lambda name, value: None if value is None else check(name, value)


_GRAMMAR: Final[Mapping[str, Callable[[str, Any], None]]] = {
    "stream_label": _label,
    "description_sha256": _or_null(_digest),
    "path": _or_null(_text),  # an entry that needs one parses it
    "file_sha256": _digest,
    "bytes": _count,
    "records": _count,
    "root": _digest,
    "first_sequence": _sequence,
    "last_sequence": _sequence,
    "first_changed_at_ms": _count,
    "last_changed_at_ms": _count,
    "writer": _text,
    "from_ms": _or_null(_count),  # an interval compares it
    "to_ms": _or_null(_count),
    "sealed_at_ms": _count,
    "previous_notice": _or_null(_count),
    "reason": _text,
    "public_key": _text,
}
