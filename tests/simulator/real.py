"""The real archiver and the real reader under simulation: the same writer, with Parquet or without, and `query` on top."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from functools import cache
from hashlib import sha256
from pathlib import Path
from random import Random
from typing import Any
from unittest.mock import patch

import orjson

import query
from archiver.format.description import BaselineDescription, StreamDescription
from archiver.format.layout import BaselineName, StreamSource, Trail, stream_name
from archiver.format.record import delivered, item_key_text, key_hints
from archiver.plan import PlannedSegment
from archiver.segment import encode_baseline_part, encode_segment
from archiver.streams import Streams, TableUnreadable
from archiver.writer import Writer
from query.engine import Engine
from query.table import Table
from tests.oracle import Key, key_of
from tests.simulator.check import Identity
from tests.simulator.memory_store import MemoryStore
from tests.simulator.outcome import Outcome

LONG_AFTER_MS = 4_102_444_800_000


def encode_rows(planned: PlannedSegment) -> bytes:
    """A segment without Parquet: its rows as delivered records, rebuilt from the columns alone."""
    return orjson.dumps([delivered(row) for row in planned.rows])


class RealHandler:
    """The archiver behind the simulator's mapping: a new writer now and then, as containers come and go."""

    def __init__(self, seed: int, key_names: tuple[str, ...] | None, encode: Any = encode_segment):
        self._rng = Random(seed)
        self._key_names = key_names
        self._encode = encode
        self._writer: Writer | None = None

    def __call__(self, event: dict, store: Any) -> None:
        if self._writer is None or self._rng.random() < 0.1:
            self._writer = Writer(store, Streams(self._schema(), describe_table=_unreadable), self._encode)
        self._writer.store = store
        # The clock of the archiver only decides about late markers: any clock must do (F14).
        self._writer.archive(event["Records"], now_ms=self._rng.choice([0, 1_700_000_000_000, LONG_AFTER_MS]))

    def _schema(self) -> dict[str, tuple[str, ...]]:
        return {"orders": self._key_names} if self._key_names else {}


def _unreadable(source: StreamSource) -> Mapping[str, Any]:
    raise TableUnreadable("throttled", is_final=False)


def is_segment(name: str) -> bool:
    """Whether an object is a segment; late markers end in the name of one."""
    return "/segments/" in name and "/late/" not in name


def archived_rows(store: MemoryStore) -> list[dict]:
    """The delivered records of a store whose segments were written by `encode_rows`, as often as they stand there."""
    return [record for name, content in store.objects.items() if is_segment(name) for record in orjson.loads(content)]


def quarantined(store: MemoryStore) -> list[Any]:
    return [json.loads(content) for name, content in store.objects.items() if "quarantine/" in name]


def finish(outcome: Outcome) -> None:
    """Adds what is known besides the stream: descriptions of streams, and baselines."""
    store: MemoryStore = outcome.store
    sources = {
        StreamSource.parse(e.record["eventSourceARN"]): e.record["eventSourceARN"] for e in good_records(outcome)
    }
    schema = tuple(outcome.key_schema)
    for source, arn in sources.items():
        description = StreamDescription(arn, schema, outcome.table_ids.get(source.stream_label), "NEW_AND_OLD_IMAGES")
        store.put_if_absent(source.trail.prefix + stream_name(source.stream_label), description.compose())
    if not sources:
        outcome.baselines = []
        return
    trail = next(iter(sources)).trail
    kept = {}
    for baseline in outcome.baselines:  # two of one second have one name: the first stays
        kept.setdefault(baseline["s"], baseline)
    outcome.baselines = list(kept.values())
    for baseline in outcome.baselines:
        _put_baseline(store, trail, baseline, schema)


def good_records(outcome: Outcome) -> list[Any]:
    return [e for e in outcome.records if not e.is_poison]


def _put_baseline(store: MemoryStore, trail: Trail, baseline: dict, schema: tuple[tuple[str, str], ...]) -> None:
    from archiver.format.canonical import canonical
    from archiver.format.description import BaselinePart

    names = tuple(name for name, _ in schema)
    rows = [(item_key_text(keys), *key_hints(keys, names), canonical(image)) for keys, image in baseline["rows"]]
    place = BaselineName(baseline["s"] * 1000)
    parts = []
    for number, start in enumerate(range(0, len(rows), 3)):
        content = encode_baseline_part(sorted(rows[start : start + 3], key=_in_order))
        digest = sha256(content).hexdigest()
        name = place.part(number, digest)
        store.put_if_absent(trail.prefix + name, content)
        parts.append(BaselinePart(name.rpartition("/")[2], len(content), len(rows[start : start + 3]), digest))
    description = BaselineDescription(
        complete=True,
        from_ms=baseline["s"] * 1000,
        to_ms=baseline["e"] * 1000,
        items=len(rows),
        key_schema=schema,
        origin="simulated scan",
        parts=tuple(parts),
        stream_label=baseline["label"],
        table_id=None,
    )
    store.put_if_absent(trail.prefix + place.description, description.compose())


def _in_order(row: tuple[bytes, str | None, str | None, bytes]) -> tuple[str, str, bytes]:
    """Rows of a part stand in the order of key text, then item key (docs/format.md, §10)."""
    return row[1] or "", row[2] or "", row[0]


@cache
def _engine() -> Engine:
    """One for the histories of a process, one after the other: to start it takes longer than many of the questions."""
    return Engine(threads=1)


def open_table(store: MemoryStore, folder: Path, rng: Random) -> Table:
    """The table of a store, written out to a folder in random order and opened by the reader. Ask it before the next."""
    names = list(store.objects)
    rng.shuffle(names)
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(store.objects[name])
    archive = query.open(str(folder), now_ms=lambda: LONG_AFTER_MS, threads=1)
    with patch("query.opening.Engine", lambda **_: _engine()):
        return archive.table("orders")


def states(found: Iterable[Any]) -> dict[Key, tuple[str, dict | None]]:
    """States as the checker takes them."""
    return {
        key_of(orjson.loads(state.item_key)): (
            state.outcome.value,
            None if state.image is None or state.is_guess else orjson.loads(state.image),
        )
        for state in found
    }


def identities(table: Table) -> list[Identity]:
    """Every change that the reader tells of, oldest first, as identities."""
    return [
        (change.stream_label, int(change.sequence_number), key_of(orjson.loads(change.item_key)))
        for change in table.changes(reverse=True)
    ]
