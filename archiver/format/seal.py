"""A seal: the entries by which a trail's log grew, and the signed head of the log after them.

Laws: `Seal.parse(x.compose()) == x`, and nothing else is accepted; a seal is named by the size it extends, so only one
can extend a size; its last entry, and no other, is the interval that was looked at. Nothing is signed or checked
against a key here; that its entries lead from one head to the next is (`check_extends`).
"""

import re
from collections.abc import Mapping
from dataclasses import InitVar, dataclass, field
from hashlib import sha256
from typing import Any, Final, Self

import orjson

from archiver.format import FORMAT_VERSION
from archiver.format.canonical import canonical
from archiver.format.layout import Trail
from archiver.format.log_entry import IntervalEntry, LogEntry, entry_leaf, entry_members, entry_of
from archiver.format.merkle import CompactRange, leaf_digest
from archiver.format.note import Checkpoint, SignedNote

SIZE_DIGITS: Final = 20
_NAME: Final = re.compile(rf"seals/(?P<size>[0-9]{{{SIZE_DIGITS}}})\.json")
_MEMBERS: Final = frozenset({"format", "checkpoint", "entries", "previous_sha256", "roots", "size", "size_before"})
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")


def origin_of(trail: Trail) -> str:
    """The name of a trail's log, in checkpoints."""
    return f"ddbtrail/{trail.account}/{trail.region}/{trail.table_name}"


def seal_name(size_before: int) -> str:
    """The name, inside the trail, of the seal that extends a log of so many entries."""
    if not 0 <= size_before < 10**SIZE_DIGITS:
        raise ValueError(f"{size_before} is no size of a log")
    return f"seals/{size_before:0{SIZE_DIGITS}d}.json"


def parse_seal_name(name: str) -> int:
    """The size that a seal extends, from its name inside the trail. Raises ValueError for other names."""
    match = _NAME.fullmatch(name)
    if match is None:
        raise ValueError(f"{name} is not the name of a seal")
    return int(match["size"])


def is_seal_name(name: str) -> bool:
    """Whether `parse_seal_name` takes a name."""
    return _NAME.fullmatch(name) is not None


@dataclass(frozen=True, slots=True)
class Seal:
    """One seal. `previous_sha256` is the digest of the seal before it (hex), None for the first; `after` is what is
    needed to go on; `checkpoint` is the signed note (C2SP) over origin, size and root after these entries.
    """

    size_before: int
    previous_sha256: str | None
    entries: tuple[LogEntry, ...]
    after: CompactRange
    checkpoint: SignedNote
    known_leaves: InitVar[tuple[bytes, ...] | None] = None  # of these entries, where they were made already
    leaves: tuple[bytes, ...] = field(init=False, compare=False, repr=False)

    def __post_init__(self, known_leaves: tuple[bytes, ...] | None) -> None:
        leaves = known_leaves or tuple(entry_leaf(entry) for entry in self.entries)
        object.__setattr__(self, "leaves", leaves)
        before = self.interval.previous_notice if self.entries and isinstance(self.entries[-1], IntervalEntry) else None
        if before is not None and before >= self.size_before:
            raise ValueError("the notices of earlier seals stand in earlier seals")
        if (self.size_before == 0) != (self.previous_sha256 is None):
            raise ValueError("the first seal of a log has none before it, and every other one has")
        kinds = [isinstance(entry, IntervalEntry) for entry in self.entries]
        if kinds != [False] * (len(kinds) - 1) + [True]:
            raise ValueError("a seal ends with its interval, and has no other")
        head = self.head
        if (head.size, head.root) != (self.after.size, self.after.root):
            raise ValueError("the checkpoint of a seal is not of its log")
        if self.after.size != self.size_before + len(self.entries):
            raise ValueError(f"{len(self.entries)} entries do not lead from {self.size_before} to {self.after.size}")

    @property
    def name(self) -> str:
        """The object's name inside the trail."""
        return seal_name(self.size_before)

    @property
    def head(self) -> Checkpoint:
        """What was signed."""
        return Checkpoint.parse(self.checkpoint.text)

    @property
    def interval(self) -> IntervalEntry:
        """What was looked at, and when the seal was made."""
        last = self.entries[-1]
        assert isinstance(last, IntervalEntry)
        return last

    def check_extends(self, before: CompactRange) -> None:
        """Raises ValueError unless these entries lead from `before` to this head."""
        if before.size != self.size_before:
            raise ValueError(f"a seal of {self.size_before} does not extend a log of {before.size}")
        reached = before
        for leaf in self.leaves:
            reached = reached.append(leaf)
        if reached != self.after:
            raise ValueError(f"the entries of {self.name} do not lead to its root")

    def compose(self) -> bytes:
        """Canonical JSON."""
        return canonical(
            {
                "format": FORMAT_VERSION,
                "checkpoint": self.checkpoint.compose().decode(),
                "entries": [entry_members(entry) for entry in self.entries],
                "previous_sha256": self.previous_sha256,
                "roots": [root.hex() for root in self.after.roots],
                "size": self.after.size,
                "size_before": self.size_before,
            }
        )

    @classmethod
    def parse(cls, content: bytes) -> Self:
        """Raises ValueError for what `compose` would not have written."""
        members = _members(content)
        if canonical(members) != content:
            raise ValueError("a seal is not in canonical form")
        return cls(
            size_before=members["size_before"],
            previous_sha256=members["previous_sha256"],
            entries=tuple(entry_of(entry) for entry in members["entries"]),
            after=CompactRange(members["size"], tuple(_digest(root) for root in members["roots"])),
            checkpoint=SignedNote.parse(members["checkpoint"].encode()),
            known_leaves=tuple(leaf_digest(canonical(entry)) for entry in members["entries"]),
        )


def seal_digest(content: bytes) -> str:
    """The digest of a seal's bytes (hex): what the next one names."""
    return sha256(content).hexdigest()


def _members(content: bytes) -> Mapping[str, Any]:
    members = orjson.loads(content)
    if not isinstance(members, dict) or members.get("format") != FORMAT_VERSION:
        raise ValueError(f"not a seal of format {FORMAT_VERSION}")
    if members.keys() != _MEMBERS:
        raise ValueError(f"not a seal: members {sorted(members.keys() ^ _MEMBERS)} are missing or unknown")
    for name in ("size", "size_before"):
        if type(members[name]) is not int or members[name] < 0:
            raise ValueError(f"{name} is {members[name]!r}, not a size")
    for name in ("entries", "roots"):
        if type(members[name]) is not list:
            raise ValueError(f"{name} is not a list")
    if type(members["checkpoint"]) is not str:
        raise ValueError("the checkpoint is not a text")
    previous = members["previous_sha256"]
    if previous is not None:
        _digest(previous)
    return members


def _digest(text: Any) -> bytes:
    if type(text) is not str or _DIGEST.fullmatch(text) is None:
        raise ValueError(f"{text!r} is not a SHA-256 in hex")
    return bytes.fromhex(text)
