"""Simulated production: a busy table, and a model of it that is compact enough for a million changes.

The model is a journal of (second, item, digest of what it held), and per change a digest of its identity and one of its
content; no record is kept. Digests are 8 bytes of BLAKE2: two of a million changes share one by chance once in 15 million
runs.
"""

from __future__ import annotations

import json
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import blake2b
from random import Random
from typing import Any

import orjson

from tests.simulator import poison
from tests.simulator.clock import Clock
from tests.simulator.scenario import Scenario
from tests.simulator.stream import Emitted, Stream
from tests.simulator.table import Image, Table

ABSENT = 0  # the digest of no image
TEXT_BYTES = 1_000_000  # that contents are cut from: as random as real ones, and cheap
SCHEMA = ("customer", "order")


def digest(*parts: bytes | None) -> int:
    """Of texts in order, each with its length; None is not the empty text."""
    told = blake2b(digest_size=8)
    for part in parts:
        told.update(b"-" if part is None else b"%d:" % len(part) + part)
    return int.from_bytes(told.digest()) | 1  # never ABSENT


def text_of(image: Any) -> bytes | None:
    """One text for one image: names in order (all are ASCII here)."""
    return None if image is None else orjson.dumps(image, option=orjson.OPT_SORT_KEYS)


def identity_digest(label: str, sequence_number: str, keys: Image) -> int:
    return digest(label.encode(), str(int(sequence_number)).encode(), text_of(keys))


@dataclass
class Journal:
    """`of_change` maps the identity of each change to its content; `seconds`, `items` and `images` are its columns."""

    of_change: dict[int, int] = field(default_factory=dict)
    seconds: array = field(default_factory=lambda: array("I"))
    items: array = field(default_factory=lambda: array("I"))
    images: array = field(default_factory=lambda: array("Q"))
    poison: set[str] = field(default_factory=set)

    def note(self, emitted: Emitted, item: int, label: str) -> None:
        record = emitted.record
        part = record["dynamodb"]
        old, new = text_of(part.get("OldImage")), text_of(part.get("NewImage"))
        identity = identity_digest(label, part["SequenceNumber"], part["Keys"])
        assert identity not in self.of_change, "two changes with one identity, or with one digest"
        self.of_change[identity] = digest(record["eventName"].encode(), old, new)
        self.seconds.append(part["ApproximateCreationDateTime"])
        self.items.append(item)
        self.images.append(ABSENT if new is None else digest(new))

    def tables_at(self, seconds: list[int]) -> Iterator[tuple[int, dict[int, int]]]:
        """The whole table (item number -> digest of its image) at each second, ascending; the clock never stepped back."""
        table: dict[int, int] = {}
        at, count = 0, len(self.seconds)
        for second in sorted(seconds):
            while at < count and self.seconds[at] <= second:
                if self.images[at] == ABSENT:
                    table.pop(self.items[at], None)
                else:
                    table[self.items[at]] = self.images[at]
                at += 1
            yield second, dict(table)


class Production:
    """A table of a few thousand items, some hot, of 0.2 to 2 KB each; every write is told to the journal."""

    def __init__(self, rng: Random, clock: Clock, scenario: Scenario, *, items: int, expected: int):
        self.journal = Journal()
        self._rng, self._items = rng, items
        self._hot = range(0, items, max(1, items // 20))
        self._text = "".join(f"{rng.getrandbits(64):016x}" for _ in range(TEXT_BYTES // 16))
        self._damage: Any = None
        self._revision = 0

        def new_stream(label: str, arn: str) -> Stream:
            shards, gap = scenario.shards, scenario.gap
            return Stream(rng, label, arn, shards=shards, gap=gap, expected_records=expected, is_padded=False)

        self.table = Table(
            rng,
            clock,
            "orders",
            partition_key=SCHEMA[0],
            style=scenario,
            new_stream=new_stream,
            damage=lambda: self._damage,
            keeps_truth=False,
        )

    @property
    def stream(self) -> Stream:
        assert self.table.stream is not None
        return self.table.stream

    @staticmethod
    def keys_of(item: int) -> Image:
        return {SCHEMA[0]: {"S": f"CUST#{item % 997}"}, SCHEMA[1]: {"N": str(item)}}

    @staticmethod
    def item_of(keys: Image) -> int:
        return int(keys[SCHEMA[1]]["N"])

    def write(self) -> bool:
        """One request; whether it changed anything. A third goes to twenty hot items."""
        rng = self._rng
        luck = rng.random()
        item = self._hot[int(luck * 3 * len(self._hot))] if luck < 1 / 3 else int(rng.random() * self._items)
        keys, kind = self.keys_of(item), rng.random()
        held = self.table.item(keys)
        if kind < 0.08:
            emitted = self.table.write(keys, None, is_ttl=kind < 0.03)
        elif kind < 0.1:
            emitted = self.table.write(keys, held)  # the same again
        else:
            emitted = self.table.write(keys, self._updated(keys, held))
        if emitted is not None:
            self.journal.note(emitted, item, self.stream.label)
        return emitted is not None

    def write_poison(self) -> None:
        """A record that cannot be understood, of an item that nothing else is written to."""
        self._damage = poison.draw(self._rng)
        item = self._items + len(self.journal.poison)
        emitted = self.table.write(self.keys_of(item), self._updated(self.keys_of(item), None))
        self._damage = None
        assert emitted is not None
        self.journal.poison.add(verbatim(emitted.record))
        del self.table.items[orjson.dumps(self.keys_of(item))]

    def _updated(self, keys: Image, held: Image | None) -> Image:
        """A new item of any size, or one whose status, and now and then text, changes."""
        rng = self._rng
        self._revision += 1
        revision = {"rev": {"N": str(self._revision)}, "status": {"S": rng.choice(("NEW", "PAID", "SENT"))}}
        if held is not None and rng.random() < 0.8:
            return {**held, **revision}
        size = int(100 + 1_900 * rng.random() ** 2)
        start = int(rng.random() * (len(self._text) - size))
        tags = {"SS": ["a", "b"]} if rng.random() < 0.2 else {"L": [{"BOOL": True}, {"M": {"n": {"N": "1.5"}}}]}
        return {**keys, **revision, "note": {"S": self._text[start : start + size]}, "tags": tags}


def verbatim(record: Any) -> str:
    return json.dumps(record, sort_keys=True)
