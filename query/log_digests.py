"""The log of a trail as readers need it: entries folded into digests and a root, seal by seal, and nothing else kept.

Laws: `extend` takes a seal only if `query.seal_log` finds no fault with it after the ones before, but for the grammar
of segment entries, which `verify` checks: here they only have to lead to the root; `Log.parse(x.compose()) == x`. Pure.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Final, NamedTuple, Self

import orjson

from archiver.format import FORMAT_VERSION
from archiver.format.layout import Trail, stream_name
from archiver.format.log_entry import (
    NOTICES,
    BaselineEntry,
    IntervalEntry,
    KeyRotationEntry,
    LogEntry,
    OpenEntry,
    entry_members,
    entry_of,
)
from archiver.format.merkle import leaf_digest, node_digest
from archiver.format.note import Checkpoint, SignedNote
from archiver.format.seal import Seal, origin_of, parse_seal_name, seal_digest

_MEMBERS: Final = {"format", "checkpoint", "entries", "previous_sha256", "roots", "size", "size_before"}
_VERSION: Final = 1  # of what `compose` writes: another one is not read
# Reading so many seals, or so many entries, costs less than to write down what they say.
_SEALS_WORTH_KEEPING: Final = 256
_ENTRIES_WORTH_KEEPING: Final = 10_000
_LATEST_MS: Final = 4_102_444_800_000  # as for the times of change records (docs/format.md, §6)


class SealedFile(NamedTuple):
    """A file as the log has it: its SHA-256 (hex) and its size in bytes; None where the log says no size."""

    sha256: str
    size_bytes: int | None = None


Named = tuple[str, bytes]  # a seal: its full name, and its bytes


@dataclass
class Log:
    """A log as far as it was read: what is sealed, by path inside the trail, the newest seal and the one before it, and
    the seals that name another key.
    """

    trail: Trail
    segments: dict[str, SealedFile] = field(default_factory=dict)
    descriptions: dict[str, SealedFile] = field(default_factory=dict)
    handovers: list[Named] = field(default_factory=list)
    newest: Named | None = None
    before_newest: str = ""
    size: int = 0
    _roots: list[bytes] = field(default_factory=list)
    _previous_sha256: str | None = None
    _interval: IntervalEntry | None = None
    _newest_notice: int | None = None
    _seals_since: int = field(default=0, compare=False)
    _entries_since: int = field(default=0, compare=False)

    @classmethod
    def starting_at(cls, trail: Trail, name: str, content: bytes) -> Self:
        """A log of which only the seal of that full name is known: what it leads to, not what was sealed until then.

        Raises ValueError, TypeError or KeyError for what is no seal of the trail.
        """
        seal = Seal.parse(content)
        _demand(name == trail.prefix + seal.name, "it is not the seal that its name says")
        _demand(seal.head.origin == origin_of(trail), "it is of another log")
        has_notice = any(isinstance(entry, NOTICES) for entry in seal.entries)
        return cls(
            trail=trail,
            newest=(name, content),
            size=seal.after.size,
            _roots=list(seal.after.roots),
            _previous_sha256=seal_digest(content),
            _interval=seal.interval,
            _newest_notice=seal.size_before if has_notice else seal.interval.previous_notice,
        )

    @property
    def root(self) -> bytes:
        """The root of the log (32 bytes)."""
        return _root(self._roots)

    @property
    def to_ms(self) -> int:
        """The end of the newest interval (epoch ms)."""
        assert self._interval is not None
        return self._interval.to_ms

    # --- seal by seal ---

    def extend(self, name: str, content: bytes) -> None:
        """Goes on by the seal of that full name. Raises ValueError, TypeError or KeyError for one that does not
        follow; the log is of no use then.
        """
        members = orjson.loads(content)
        # Names are ASCII, so what orjson sorts and writes is canonical JSON.
        _demand(orjson.dumps(members, option=orjson.OPT_SORT_KEYS) == content, "it is not in canonical form")
        _demand(isinstance(members, dict) and members.keys() == _MEMBERS, "it is not a seal")
        _demand(members["format"] == FORMAT_VERSION, "it is of another format")
        size_before = parse_seal_name(name.removeprefix(self.trail.prefix))
        _demand(size_before == members["size_before"] == self.size, "it does not extend the seal before it")
        _demand(members["previous_sha256"] == self._previous_sha256, "the seal before it is another one")
        notices = self._take_entries(members["entries"])
        _demand(members["size"] == self.size, "its entries do not lead to its size")
        _demand(members["roots"] == [root.hex() for root in self._roots], "its entries do not lead to its root")
        _demand(isinstance(members["checkpoint"], str), "its head is no text")
        note = SignedNote.parse(members["checkpoint"].encode())
        head = Checkpoint(origin_of(self.trail), self.size, _root(self._roots))
        _demand(note.text == head.text and len(note.signatures) == 1, "its head is not of this log, or not its own")
        self._take_interval(members["entries"][-1])
        self._previous_sha256 = seal_digest(content)
        if any(isinstance(entry, NOTICES) for entry in notices):
            self._newest_notice = size_before
        if any(isinstance(entry, KeyRotationEntry) for entry in notices):
            self.handovers.append((name, content))
        self.before_newest = self.newest[0] if self.newest else ""
        self.newest = name, content
        self._seals_since += 1

    def _take_entries(self, entries: Any) -> list[LogEntry]:
        """Appends the leaves, keeps what is sealed; the notices among the entries."""
        _demand(isinstance(entries, list) and bool(entries), "it has no entries")
        roots, size = self._roots, self.size
        notices = []
        for members in entries:
            kind = members["type"]
            if kind == "segment":
                said = SealedFile(members["file_sha256"], members["bytes"])
                _demand(type(said.sha256) is str and type(members["path"]) is str, "it names no file, or no digest")
                _demand(self.segments.setdefault(members["path"], said) == said, "it contradicts an earlier seal")
            elif kind != "interval":
                notices.append(self._notice(members))
            else:
                _demand(members is entries[-1], "it has two intervals")
            joined = leaf_digest(orjson.dumps(members, option=orjson.OPT_SORT_KEYS))
            size += 1
            for _ in range((size & -size).bit_length() - 1):  # as many as the size ends in binary noughts
                joined = node_digest(roots.pop(), joined)
            roots.append(joined)
        self._entries_since += size - self.size
        self.size = size
        return notices

    def _notice(self, members: Any) -> LogEntry:
        entry = entry_of(members)
        said = None
        if isinstance(entry, OpenEntry) and entry.description_sha256 is not None:
            said = stream_name(entry.stream_label), SealedFile(entry.description_sha256)
        elif isinstance(entry, BaselineEntry):
            said = entry.path, SealedFile(entry.file_sha256)
        if said is not None:
            _demand(self.descriptions.setdefault(*said) == said[1], "it contradicts an earlier seal")
        return entry

    def _take_interval(self, members: Any) -> None:
        interval, before = entry_of(members), self._interval
        if not isinstance(interval, IntervalEntry):
            raise ValueError("it does not end with an interval")
        _demand(interval.sealed_at_ms < _LATEST_MS, "it is from another age")
        _demand(interval.previous_notice == self._newest_notice, "it leads to other notices than there are")
        if before is not None:
            is_later = before.to_ms <= interval.to_ms and before.sealed_at_ms <= interval.sealed_at_ms
            _demand(is_later and interval.from_ms <= before.to_ms, "its interval does not follow the one before it")
        self._interval = interval

    # --- as a file in a cache ---

    @property
    def is_worth_keeping(self) -> bool:
        """Whether much was read since it was composed or parsed."""
        return self._seals_since >= _SEALS_WORTH_KEEPING or self._entries_since >= _ENTRIES_WORTH_KEEPING

    def compose(self) -> bytes:
        """Two lines: the SHA-256 of the second (hex), and what is known as JSON."""
        assert self.newest is not None
        assert self._interval is not None
        known = orjson.dumps(
            {
                "version": _VERSION,
                "prefix": self.trail.prefix,
                "segments": self.segments,
                "descriptions": self.descriptions,
                "handovers": [[name, content.decode()] for name, content in self.handovers],
                "newest": [self.newest[0], self.newest[1].decode()],
                "before_newest": self.before_newest,
                "size": self.size,
                "roots": [root.hex() for root in self._roots],
                "interval": entry_members(self._interval),
                "newest_notice": self._newest_notice,
            },
            default=list,  # named tuples
        )
        self._seals_since = self._entries_since = 0
        return sha256(known).hexdigest().encode() + b"\n" + known

    @classmethod
    def parse(cls, trail: Trail, content: bytes) -> Self:
        """Raises ValueError, TypeError or KeyError for what `compose` did not write of this trail."""
        digest, _, known = content.partition(b"\n")
        _demand(sha256(known).hexdigest().encode() == digest, "it is damaged")
        members = orjson.loads(known)
        _demand((members["version"], members["prefix"]) == (_VERSION, trail.prefix), "it is of something else")
        interval, newest = entry_of(members["interval"]), members["newest"][1].encode()
        assert isinstance(interval, IntervalEntry)
        return cls(
            trail=trail,
            segments={path: SealedFile(*said) for path, said in members["segments"].items()},
            descriptions={path: SealedFile(*said) for path, said in members["descriptions"].items()},
            handovers=[(name, text.encode()) for name, text in members["handovers"]],
            newest=(members["newest"][0], newest),
            before_newest=members["before_newest"],
            size=members["size"],
            _roots=[bytes.fromhex(root) for root in members["roots"]],
            _previous_sha256=seal_digest(newest),
            _interval=interval,
            _newest_notice=members["newest_notice"],
        )


def _root(roots: Sequence[bytes]) -> bytes:
    *others, root = roots
    for left in reversed(others):
        root = node_digest(left, root)
    return root


def _demand(holds: bool, why: str) -> None:
    if not holds:
        raise ValueError(why)
