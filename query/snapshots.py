"""Snapshots: the state of a table at the end of a run, computed from the runs before it, so that a later state need not
begin at the baseline.

Invariants: a snapshot is made of what is sealed and of a complete baseline, and holds one row for each item ever known,
deleted ones too; it is live only when its description stands, which is written last. Where the state cannot be told by
order alone (`query.layers`), none is made: answers are then only slower.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Final

import pyarrow as pa

from archiver.format.layout import Trail
from query.answer import plain_text
from query.catalog import Evidence
from query.derived.columns import SNAPSHOT_SCHEMA
from query.derived.description import SnapshotDescription
from query.derived.levels import is_last_of_month
from query.derived.live import LiveRun, is_whole, read_snapshot, snapshot_names
from query.derived.members import Digested
from query.derived.names import SNAPSHOTS, SnapshotName
from query.derived.parts import WRITER, put_part, write_parts
from query.derived.store import DerivedStore
from query.descriptions import Baseline
from query.engine import Engine, Question
from query.layers import plan_layers
from query.plan import neighbours
from query.rows import Reader
from query.scratch import Scratch
from query.selection import Selection
from query.whole_table import ever_known

# Beside those at the ends of months: as many changes as make reading them as dear as the snapshot, and again as much.
_FEWEST_CHANGES: Final = 1_000_000
_CHANGES_PER_ROW: Final = 2
_ROWS_AT_ONCE: Final = 1 << 15


@dataclass(frozen=True, slots=True)
class MadeSnapshot:
    """A snapshot that was made: how many items it has, and the bytes of its files."""

    name: SnapshotName
    rows: int
    bytes: int


class SnapshotKeeper:
    """Makes the snapshots of one trail that are wanted. `reader` reads its runs; `store` is where they lie."""

    def __init__(self, trail: Trail, evidence: Evidence, reader: Reader, store: DerivedStore, engine: Engine) -> None:
        self._trail = trail
        self._evidence = evidence
        self._reader = reader
        self._store = store
        self._engine = engine

    def keep(self, told: Callable[[MadeSnapshot], None] | None = None) -> list[MadeSnapshot]:
        """Makes what is wanted by now: at the end of each month that is over, and where many changes came since.

        Raises SealMismatch, UnreadableArchive, UnwritableStore, EngineFailure.
        """
        made: list[MadeSnapshot] = []
        if self._reader.derived is None:
            return made
        there = self._there()
        times_ms = [run.description.until_ms for run in self._evidence.runs]
        last_rows, changes = 0, 0
        for place, run in enumerate(self._evidence.runs):
            changes += run.description.rows
            inside = [end for end in there if run.name.start < end <= run.name.end]
            if inside:
                last_rows, changes = there[max(inside)], 0
            is_due = changes > max(_FEWEST_CHANGES, _CHANGES_PER_ROW * last_rows) or is_last_of_month(times_ms, place)
            if not is_due or run.name.end in inside:
                continue
            found = self._make(run)
            if found is None:
                continue
            last_rows, changes = found.rows, 0
            made.append(found)
            if told is not None:
                told(found)
        return made

    def _there(self) -> dict[int, int]:
        """The rows of each snapshot that is live, by where it ends. What a snapshot says of itself is taken back if it
        cannot be read, or a file of it is gone or was cut: then it is made anew.
        """
        derived, trail = self._reader.derived, self._trail
        assert derived is not None
        held = {one.name: one.size_bytes for one in self._store.held(trail.prefix + SNAPSHOTS)}
        found = {}
        for name in snapshot_names(derived, trail):
            description = trail.prefix + name.description
            if description not in held:  # none, or one that came a moment ago
                continue
            snapshot = read_snapshot(derived, trail, name, anew=True)
            if snapshot is None or not is_whole(snapshot, held):
                self._store.delete([description])
            else:
                found[name.end] = snapshot.description.rows
        return found

    def _make(self, run: LiveRun) -> MadeSnapshot | None:
        name = SnapshotName(run.name.end, run.description.until_ms // 1000 * 1000)
        runs = tuple(one for one in self._evidence.runs if one.name.end <= run.name.end)
        evidence = replace(self._evidence, runs=runs, segments=())
        floor, _ = neighbours(evidence.baselines, name.at_ms, is_cut=False)
        if floor is None:
            return None
        reader = self._reader.beside(Selection((), runs))
        for base in (reader.snapshot(evidence, floor, name.at_ms), None):
            plan = plan_layers(evidence, "", at_ms=name.at_ms, floor=floor, snapshot=base, is_whole=True)
            if plan is None:
                return None
            with self._engine.ask() as question:
                if ever_known(question, reader, evidence, plan) is not None:
                    return self._write(question, name, run, floor)
            if base is None:
                break
        return None

    def _write(self, question: Question, name: SnapshotName, run: LiveRun, floor: Baseline) -> MadeSnapshot:
        folder = self._trail.prefix + name.folder
        with Scratch("compact") as work:
            parts = []
            with question.beside() as beside:
                rows, digests = _rows(question), beside.item_digests
                for written in write_parts(work.path, rows, SNAPSHOT_SCHEMA, "snapshot", digests, with_index=False):
                    put_part(self._store, folder, written)
                    parts.append(written.part)
            baseline = Digested(floor.name.description, sha256(floor.description.compose()).hexdigest())
            runs = [one for one in self._evidence.runs if one.name.end <= name.end]
            description = SnapshotDescription(
                name=name,
                root=run.description.root,
                seal=run.description.seal,
                rows=sum(part.rows for part in parts),
                spans=tuple(span for one in runs for span in one.description.spans),
                parts=tuple(parts),
                baseline=baseline,
                writer=WRITER,
            )
            path = work.path / "snapshot.json"
            path.write_bytes(description.compose())
            self._store.put_if_absent(self._trail.prefix + name.description, path)
        return MadeSnapshot(name, description.rows, sum(file.bytes for file in description.files))


def _rows(question: Question) -> Iterator[pa.Table]:
    """The rows of a snapshot in order, each image with its plain twin."""
    for batch in question.batches("snapshot_rows", rows_at_once=_ROWS_AT_ONCE):
        table = pa.Table.from_batches([batch])
        items = [plain_text(image) for image in table.column("image").to_pylist()]
        yield table.append_column("item", pa.array(items, pa.binary()).cast(pa.string()))
