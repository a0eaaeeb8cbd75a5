"""An archive with one of everything that a log can name, made by the real writer and sealer; and ways to spoil it.

Everything follows from the instant it is made for: the same bytes each time, the same keys. An archive is a mapping of
names to contents; `MemorySource` shows it to the verifier as a folder or a versioned bucket would.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

import query
from archiver.baseline import BaselineWriter
from archiver.format.layout import Trail
from archiver.format.log_entry import AcknowledgeEntry, KeyRotationEntry, LogEntry, entry_leaf
from archiver.format.merkle import CompactRange
from archiver.format.note import Checkpoint, NoteSignature, SignedNote
from archiver.format.seal import Seal, origin_of
from archiver.sealer import Sealer
from archiver.signer import LocalSigner, public_key_text
from archiver.streams import Streams
from archiver.writer import Writer
from query.archive import Archive
from query.engine import Engine
from query.errors import EngineFailure
from query.source import ObjectVersion, StoredObject
from query.verify.heads import PinnedCheckpoint
from query.verify.verification import DEFAULT_MAX_AGE_MS, Demand, Level, Verification
from query.verify.verifier import verify
from tests.delivery import delivered
from tests.simulator.memory_store import MemoryStore

HOUR_MS = 3_600_000
MINUTE_MS = 60_000
NOW_MS = 1_795_435_200_000  # 2026-11-23T12:00:00Z
ORDERS = Trail("111122223333", "eu-west-1", "orders")
CUSTOMERS = Trail("111122223333", "eu-west-1", "customers")
KEYS = ("pk", "sk")


def signer(number: int) -> LocalSigner:
    """A key that is the same in every run."""
    return LocalSigner(Ed25519PrivateKey.from_private_bytes(hashlib.sha256(b"key %d" % number).digest()))


FIRST_KEY, SECOND_KEY, THIRD_KEY, ATTACKER = signer(1), signer(2), signer(3), signer(666)


@dataclass
class Sealed:
    """An archive as names and contents, the instant it is for (epoch ms), and the keys that signed it, in order.

    `stages` are what stood there after each seal of the first trail: older versions of it.
    """

    objects: dict[str, bytes]
    now_ms: int
    signers: tuple[LocalSigner, ...]
    trail: Trail = ORDERS
    stages: list[dict[str, bytes]] = field(default_factory=list)

    def copy(self) -> Sealed:
        return replace(self, objects=dict(self.objects), stages=list(self.stages))

    def named(self, part: str, trail: Trail | None = None) -> list[str]:
        """Names of a trail that begin with `part`, in order."""
        return sorted(name for name in self.objects if name.startswith((trail or self.trail).prefix + part))

    @property
    def segments(self) -> list[str]:
        return self.named("segments/")

    @property
    def seals(self) -> list[str]:
        return self.named("seals/")

    def seal(self, position: int) -> Seal:
        return Seal.parse(self.objects[self.seals[position]])

    def write_to(self, folder: Path) -> Path:
        for name, content in self.objects.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        return folder


# --- making it ---


class Shop:
    """A table whose changes are archived as they come: each knows the image that the one before it left."""

    def __init__(self, store: MemoryStore, trail: Trail) -> None:
        self.store, self.trail = store, trail
        self._images: dict[str, dict[str, Any]] = {}
        self._number = 0

    def change(self, item: str, at_ms: int, label: str) -> dict[str, Any]:
        """A delivered record: the item comes to be, or its counter goes on."""
        self._number += 1
        before = self._images.get(item)
        after = {"n": {"N": str(self._number)}, "note": {"S": f"the {self._number}th change, of {item}"}}
        self._images[item] = after
        arn = f"arn:aws:dynamodb:{self.trail.region}:{self.trail.account}:table/{self.trail.table_name}/stream/{label}"
        return delivered(
            "INSERT" if before is None else "MODIFY",
            {"pk": {"S": item}, "sk": {"N": "1"}},
            before,
            after,
            sequence_number=10**24 + self._number,
            changed_at_s=at_ms // 1000,
            arn=arn,
            event_id=f"{self._number:032x}",
        )

    def items(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """The table as a scan gives it."""
        for item, image in self._images.items():
            yield item, {"pk": {"S": item}, "sk": {"N": "1"}, **image}

    def archive(self, records: Sequence[Any], now_ms: int, *, knows_keys: bool = True) -> None:
        schema = {self.trail.table_name: KEYS} if knows_keys else {}
        Writer(self.store, Streams(schema)).archive(records, now_ms=now_ms)

    def seal(self, key: LocalSigner, now_ms: int, *also: LogEntry) -> None:
        done = Sealer(self.store, self.trail, key).seal(now_ms, also=also)
        assert not done.refused, done.refused

    def baseline(self, at_ms: int, label: str) -> None:
        writer = BaselineWriter(self.store, self.trail, at_ms, KEYS, {})
        parts = writer.parts(self.items())
        writer.describe(parts, to_ms=at_ms + 1_000, origin=f"scan of {self.trail.table_name}", stream_label=label)


def label_of(at_ms: int) -> str:
    """A stream label that begins at an instant."""
    from datetime import UTC, datetime

    return f"{datetime.fromtimestamp(at_ms / 1000, UTC):%Y-%m-%dT%H:%M:%S}.000"


def reference(now_ms: int = NOW_MS) -> Sealed:
    """Two trails; the first with seven segments, six seals and one entry of each type, and nothing wrong with it."""
    hour_ms = now_ms - now_ms % HOUR_MS
    store = MemoryStore()
    shop, stages = Shop(store, ORDERS), []

    def at(hours: float) -> int:
        return hour_ms + round(hours * HOUR_MS)

    def seal(key: LocalSigner, when_ms: int, *also: LogEntry) -> None:
        shop.seal(key, when_ms, *also)
        stages.append(dict(store.objects))

    old, new = label_of(at(-200)), label_of(at(-60))
    # 1. A stream of which nobody knows the key schema yet.
    shop.archive([shop.change("a", at(-90), old), shop.change("b", at(-90), old)], at(-90), knows_keys=False)
    seal(FIRST_KEY, at(-89))
    # 2. The schema becomes known; a batch of two hours; records that nobody understands, one of no table at all.
    odd = shop.change("z", at(-80), old)
    odd["dynamodb"]["Keys"] = {"pk": {"BOOL": True}}
    shop.archive(
        [shop.change("a", at(-80.5), old), shop.change("b", at(-79.5), old), odd, {"eventSource": "aws:s3"}], at(-79)
    )
    seal(FIRST_KEY, at(-78.5))
    # 3. A segment that comes a day late, a baseline, and somebody who has looked at the odd records.
    shop.archive([shop.change("c", at(-78.4), old)], at(-50))
    shop.baseline(at(-78), old)
    odd_names = [name for name in store.objects if "quarantine/" in name]
    looked = [
        AcknowledgeEntry(name.removeprefix(ORDERS.prefix), None, None, "a test record") for name in sorted(odd_names)
    ]
    seal(FIRST_KEY, at(-49), *looked)
    # 4. The stream was switched off and on: a gap, which is acknowledged; the old label closes; another key follows.
    shop.archive([shop.change("a", at(-40), new)], at(-40))
    gap = AcknowledgeEntry(None, at(-78.5), at(-39), "the stream was switched off by mistake")
    seal(FIRST_KEY, at(-30), gap, KeyRotationEntry(public_key_text(SECOND_KEY.public_key)))
    # 5. and 6. An hour like any other, and one in which nothing arrived.
    shop.archive([shop.change("b", at(-2), new), shop.change("d", at(-2), new)], at(-2))
    shop.archive([shop.change("c", at(-2), new)], at(-2))
    seal(SECOND_KEY, at(-1))
    seal(SECOND_KEY, now_ms - 5 * MINUTE_MS)
    others = Shop(store, CUSTOMERS)
    others.archive([others.change("x", at(-3), new)], at(-3))
    others.archive([others.change("y", at(-1.5), new)], at(-1.5))
    acknowledged = [name for name in store.objects if name.startswith("v1/quarantine/")]
    others.seal(FIRST_KEY, at(-1.2), *(AcknowledgeEntry(name, None, None, "not ours") for name in acknowledged))
    others.seal(FIRST_KEY, now_ms - 5 * MINUTE_MS)
    return Sealed(dict(store.objects), now_ms, (FIRST_KEY, SECOND_KEY), stages=stages)


def smallest(now_ms: int = NOW_MS) -> Sealed:
    """One trail with one object of each kind, sealed twice: few bytes, each of which can be spoilt in turn."""
    hour_ms = now_ms - now_ms % HOUR_MS
    store = MemoryStore()
    shop, label = Shop(store, ORDERS), label_of(hour_ms - 60 * HOUR_MS)
    odd = {**shop.change("z", hour_ms - 40 * HOUR_MS, label), "eventName": "UPSERT"}
    shop.archive([shop.change("a", hour_ms - 40 * HOUR_MS, label), odd, 7], hour_ms)
    shop.baseline(hour_ms - 39 * HOUR_MS, label)
    names = sorted(name.removeprefix(ORDERS.prefix) for name in store.objects if "quarantine/" in name)
    shop.seal(FIRST_KEY, now_ms - 20 * MINUTE_MS, *(AcknowledgeEntry(name, None, None, "a test") for name in names))
    shop.seal(FIRST_KEY, now_ms - 5 * MINUTE_MS)
    return Sealed(dict(store.objects), now_ms, (FIRST_KEY,))


# --- looking at it ---


class MemorySource:
    """An archive in memory as the reader sees one; objects come to it as files of a folder, each when first wanted.

    `versions_of` are versions and delete markers (name, id, is it a marker) if the store has any; `denied` are names
    that may be listed and not read.
    """

    def __init__(self, objects: Mapping[str, bytes], folder: Path) -> None:
        self.url = "memory:"
        self.objects_by_name = objects
        self.denied: set[str] = set()
        self.error: Callable[[str], Exception] = lambda name: PermissionError(name)
        self.versions_of: list[ObjectVersion] | None = None
        self._folder = folder
        self._written: dict[str, bytes] = {}

    def folders(self, prefix: str) -> list[str]:
        below = (name.removeprefix(prefix) for name in self.objects_by_name if name.startswith(prefix))
        return sorted({name.partition("/")[0] for name in below if "/" in name})

    def objects(self, prefix: str, *, start_after: str = "", stop_before: str = "") -> list[StoredObject]:
        return sorted(
            StoredObject(name, len(content))
            for name, content in self.objects_by_name.items()
            if name.startswith(prefix) and name > start_after and (not stop_before or name < stop_before)
        )

    def fetch(self, wanted: Sequence[StoredObject]) -> list[Path]:
        return [self._file(stored.name) for stored in wanted]

    def read(self, names: Sequence[str], *, anew: bool = False) -> list[bytes | None]:
        for name in self.denied.intersection(names):
            raise self.error(name)
        return [self.objects_by_name.get(name) for name in names]

    def versions(self, prefix: str) -> Iterator[ObjectVersion] | None:
        if self.versions_of is None:
            return None
        return iter([one for one in self.versions_of if one.name.startswith(prefix)])

    def _file(self, name: str) -> Path:
        if name in self.denied:
            raise self.error(name)
        if name not in self.objects_by_name:
            raise FileNotFoundError(name)
        path = self._folder / hashlib.sha256(name.encode()).hexdigest()
        content = self.objects_by_name[name]
        if self._written.get(name) is not content:
            path.write_bytes(content)
            self._written[name] = content
        return path


@dataclass
class Reviewer:
    """Somebody who verifies: with which key, how thoroughly, against which checkpoint, at what time (epoch ms)."""

    folder: Path
    pinned: Any = FIRST_KEY
    level: Level = Level.FULL
    max_age_ms: int | None = DEFAULT_MAX_AGE_MS
    checkpoint: PinnedCheckpoint | None = None
    since_ms: int | None = None
    until_ms: int | None = None
    checks_from: int = 0
    later_ms: int = 0

    def source(self, archive: Sealed) -> MemorySource:
        return MemorySource(archive.objects, self.folder)

    def demand(self, archive: Sealed) -> Demand:
        return Demand(
            level=self.level,
            now_ms=archive.now_ms + self.later_ms,
            pinned_key=None if self.pinned is None else self.pinned.public_key,
            pinned_checkpoint=self.checkpoint,
            max_age_ms=self.max_age_ms,
            since_ms=self.since_ms,
            until_ms=self.until_ms,
            checks_from=self.checks_from,
        )

    def verify(self, archive: Sealed, source: Any = None, *, asks_rows: bool = True) -> Verification:
        """Everything anew, in this process. Without `asks_rows`, the table is not opened, and that is a finding (4)."""
        source = source or self.source(archive)
        opened = Archive(source, lambda: Engine(threads=1), now_ms=lambda: archive.now_ms + self.later_ms)

        def open_table() -> query.Table:
            if not asks_rows:
                raise EngineFailure("nobody asked", hint="")
            return opened.table(f"{archive.trail.account}/{archive.trail.region}/{archive.trail.table_name}")

        return verify(source, archive.trail, self.demand(archive), open_table=open_table, workers=1)

    def with_checkpoint(self, archive: Sealed, position: int) -> Reviewer:
        """The same, with the checkpoint of a seal kept."""
        return replace(self, checkpoint=kept(archive.seal(position).checkpoint))


def kept(note: SignedNote) -> PinnedCheckpoint:
    return PinnedCheckpoint(note, Checkpoint.parse(note.text), "kept.txt")


# --- forging ---


def forged_seal(
    last: Seal | None,
    last_content: bytes | None,
    entries: Sequence[LogEntry],
    key: LocalSigner,
    *,
    trail: Trail = ORDERS,
    signs: Callable[[str, str], tuple[NoteSignature, ...]] | None = None,
) -> tuple[str, bytes]:
    """Name and bytes of a seal that follows another, whoever signs it, with whatever entries."""
    before = last.after if last else CompactRange()
    after = before
    for entry in entries:
        after = after.append(entry_leaf(entry))
    origin = origin_of(trail)
    text = Checkpoint(origin, after.size, after.root).text
    signatures = signs(origin, text) if signs else (key.sign(origin, text),)
    previous = None if last_content is None else hashlib.sha256(last_content).hexdigest()
    seal = Seal(before.size, previous, tuple(entries), after, SignedNote(text, signatures))
    return trail.prefix + seal.name, seal.compose()
