"""One stream (one stream label): its shards, sequence numbers and records.

"Each stream record appears exactly once in the stream." "For each item that is modified in a DynamoDB table, the stream
records appear in the same sequence as the actual modifications to the item." (*Change data capture for DynamoDB
Streams*). Order is promised per item and within a shard, nowhere else.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import pairwise
from random import Random
from typing import Any
from zlib import crc32

import orjson

HASH_SPACE = 2**32
# SequenceNumber, "Length Constraints: Minimum length of 21. Maximum length of 40." (DynamoDB Streams API Reference,
# *StreamRecord*).
SHORTEST_SEQUENCE, LONGEST_SEQUENCE = 21, 40
GAPS = {"unit": 1, "small": 1_000, "wide": 10**12}  # numbers are not contiguous (aws-sdk-java #1798)


class Emitted:
    """A record as the stream holds it, and what became of it."""

    __slots__ = (
        "at_ms",
        "fate",
        "index",
        "is_acknowledged",
        "is_poison",
        "key_text",
        "lane_hash",
        "record",
        "text",
        "variants",
    )

    def __init__(self, record: Any, at_ms: int, key_text: bytes, *, is_poison: bool):
        self.record = record
        self.text = to_text(record)
        self.at_ms = at_ms  # true time, for age and expiry
        self.key_text = key_text
        self.lane_hash = crc32(key_text, 7)
        self.is_poison = is_poison
        self.is_acknowledged = False  # a batch that held it was answered with success
        self.variants: list[Any] = []  # other spellings and contents that were delivered under its identity
        self.fate: str | None = None  # "expired", "starved", "discarded", "destination"
        self.index = -1

    def fresh(self) -> Any:
        """The record as if just parsed: a handler can spoil only its own copy."""
        return from_text(self.text)


def to_text(record: Any) -> bytes:
    try:
        return orjson.dumps(record)
    except (TypeError, ValueError):  # a lone surrogate, or deeper than orjson goes
        return json.dumps(record).encode()


def from_text(text: bytes) -> Any:
    try:
        return orjson.loads(text)
    except ValueError:
        return json.loads(text)


class Records:
    """What a shard holds, each by its place from the beginning, also when the first of them were let go of."""

    __slots__ = ("_kept", "first")

    def __init__(self) -> None:
        self.first, self._kept = 0, list[Emitted]()

    def __len__(self) -> int:
        return self.first + len(self._kept)

    def __iter__(self) -> Iterator[Emitted]:
        return iter(self._kept)

    def append(self, emitted: Emitted) -> None:
        self._kept.append(emitted)

    def since(self, place: int) -> list[Emitted]:
        assert place >= self.first, f"record {place} was let go of; {self.first} is the first that is held"
        return self._kept[place - self.first :]

    def forget_before(self, place: int) -> None:
        """For histories too long to be held: whoever reads must not come back for what is let go of."""
        del self._kept[: max(0, place - self.first)]
        self.first = max(self.first, place)


class Shard:
    """An ordered piece of a stream: the hash range [low, high) of partition keys, until it closes."""

    def __init__(self, number: int, sequence: int, low: int, high: int, parent: Shard | None = None):
        self.shard_id = f"shardId-{number:020d}-{crc32(str(number).encode()):08x}"
        self.sequence = sequence
        self.low, self.high = low, high
        self.parent = parent
        self.is_closed = False
        self.records = Records()


class Stream:
    """The shards of one label. Children begin above the last number of their parent, so an item's numbers always grow."""

    def __init__(
        self, rng: Random, label: str, arn: str, *, shards: int, gap: str, expected_records: int, is_padded: bool
    ):
        self.label, self.arn = label, arn
        self.count = 0  # records so far
        self._rng = rng
        self._gap = GAPS[gap]
        self._is_padded = is_padded  # DynamoDB Local writes 000000000000000000001
        edges = [HASH_SPACE * n // shards for n in range(shards + 1)]
        start = self._first_sequence(expected_records // shards)
        self.shards = [Shard(n, start, edges[n], edges[n + 1]) for n in range(shards)]
        self._open = list(self.shards)

    def append(self, record: dict, at_ms: int, partition: bytes, key_text: bytes, damage: Any = None) -> Emitted:
        """Number the record and put it at the end of its shard; `damage` may spoil it after that."""
        place = crc32(partition)
        shard = next(shard for shard in self._open if shard.low <= place < shard.high)
        shard.sequence += 1 + int(self._rng.random() * (self._gap - 1))
        number = str(shard.sequence)
        record["dynamodb"]["SequenceNumber"] = number.zfill(SHORTEST_SEQUENCE) if self._is_padded else number
        emitted = Emitted(damage(record) if damage else record, at_ms, key_text, is_poison=damage is not None)
        emitted.index = len(shard.records)
        shard.records.append(emitted)
        self.count += 1
        return emitted

    def split(self) -> None:
        """Close a shard and go on in one or two children (shards are split or rolled over, never merged)."""
        parent = self._rng.choice(self._open)
        parent.is_closed = True
        middle = (parent.low + parent.high) // 2
        edges = [parent.low, parent.high] if self._rng.random() < 0.5 else [parent.low, middle, parent.high]
        at = self._open.index(parent)
        children = [
            Shard(len(self.shards) + n, parent.sequence, low, high, parent)
            for n, (low, high) in enumerate(pairwise(edges))
        ]
        self._open[at : at + 1] = children
        self.shards += children

    def close(self) -> None:
        """After disabling, open shards close and what they hold stays readable for 24 hours."""
        for shard in self._open:
            shard.is_closed = True
        self._open = []

    def _first_sequence(self, expected: int) -> int:
        if self._is_padded:
            return 0
        digits = self._rng.randint(SHORTEST_SEQUENCE, LONGEST_SEQUENCE - 1)
        if self._rng.random() < 0.5:  # cross from `digits` to one more within the history
            return 10**digits - 1 - int(self._rng.random() * expected * max(1, self._gap / 2))
        return self._rng.randrange(10 ** (digits - 1), 8 * 10 ** (digits - 1))
