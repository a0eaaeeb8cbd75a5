"""Logs made directly: seals that follow each other, of whatever entries, signed by whatever key. Nothing is archived."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from archiver.format.layout import Trail
from archiver.format.log_entry import AcknowledgeEntry, IntervalEntry, KeyRotationEntry, LogEntry, entry_leaf
from archiver.format.merkle import CompactRange
from archiver.format.note import Checkpoint, SignedNote
from archiver.format.seal import Seal, origin_of
from archiver.signer import public_key_text
from query.seal_log import ReadSeal, SealLog
from query.source import StoredObject
from query.verify.heads import PinnedCheckpoint
from tests.system.tampered import MINUTE_MS, NOW_MS, ORDERS, forged_seal, kept

AT_MS = NOW_MS - 1_000 * MINUTE_MS  # the first seal; then one each minute


def acknowledged(text: str = "looked at") -> AcknowledgeEntry:
    return AcknowledgeEntry(None, 1, 2, text)


def hands_over(key: Any) -> KeyRotationEntry:
    return KeyRotationEntry(public_key_text(key.public_key))


class MadeLog:
    """A log of any number of seals, one a minute, each of which follows from the one before it."""

    def __init__(self, key: Any, *, trail: Trail = ORDERS) -> None:
        self.trail, self._key = trail, key
        self.objects: dict[str, bytes] = {}
        self.seals: list[Seal] = []
        self._notice: int | None = None

    def add(self, *entries: LogEntry, key: Any = None, **interval: Any) -> MadeLog:
        """One seal more; words of `interval` replace those of the usual one."""
        last = self.seals[-1] if self.seals else None
        content = list(self.objects.values())[-1] if last else None
        from_ms = last.interval.to_ms if last else AT_MS - MINUTE_MS
        at_ms = AT_MS + len(self.seals) * MINUTE_MS
        usual = replace(IntervalEntry(from_ms, at_ms, at_ms, self._notice), **interval)
        name, made = forged_seal(last, content, (*entries, usual), key or self._key, trail=self.trail)
        self.objects[name] = made
        self.seals.append(Seal.parse(made))
        if any(entry.type not in {"segment", "interval"} for entry in entries):
            self._notice = self.seals[-1].size_before
        return self

    def read(self, *, without: Sequence[int] = ()) -> SealLog:
        """What a reader has of it, if the seals at some positions are gone."""
        read = [
            ReadSeal(seal, StoredObject(name, len(content)), hashlib.sha256(content).hexdigest())
            for seal, (name, content) in zip(self.seals, self.objects.items(), strict=True)
        ]
        left = [one for position, one in enumerate(read) if position not in without]
        is_whole = [one.seal.size_before for one in left] == [0, *(one.seal.after.size for one in left[:-1])][
            : len(left)
        ]
        return SealLog(self.trail, tuple(left), is_whole, tuple(one.stored.name for one in left))

    def head(self, position: int) -> PinnedCheckpoint:
        """The checkpoint of a seal, kept."""
        return kept(self.seals[position].checkpoint)


def at_size(log: MadeLog, size: int, key: Any) -> PinnedCheckpoint:
    """A checkpoint between two seals, which any log of these entries has: the sealer may have shown it."""
    reached = CompactRange()
    for entry in [entry for seal in log.seals for entry in seal.entries][:size]:
        reached = reached.append(entry_leaf(entry))
    origin = origin_of(log.trail)
    text = Checkpoint(origin, reached.size, reached.root).text
    return kept(SignedNote(text, (key.sign(origin, text),)))
