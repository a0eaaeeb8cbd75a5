"""Runs beside the evidence that they claim to hold (docs/verify.md): whatever was done to one, also by somebody who makes
all digests right again, is 1; and nothing else is.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from query import snapshots as snapshots_kept
from query.archive import Archive
from query.derived import parts as parts_of_runs
from query.derived.columns import RUN_SCHEMA, SNAPSHOT_SCHEMA
from query.derived.description import RunDescription, SnapshotDescription
from query.derived.index import PartIndex
from query.derived.items import ITEMS_SCHEMA
from query.derived.members import Part
from query.derived.names import RUNS, RunName, index_name, items_name, part_name, segments_name
from query.derived.parts import file_of, write_parts, write_table
from query.derived.segment_table import parse_segments, table_of
from query.derived.store import FolderStore
from query.engine import Engine
from query.errors import EngineFailure, UnreadableArchive
from query.gate import EvidenceFile
from query.opening import open_archive
from query.runs import Compactor
from query.seal_log import read_log
from query.snapshots import SnapshotKeeper
from query.source import FolderSource, StoredObject
from query.verify.derived import Derived, DerivedPlace, check_derived
from query.verify.derived_part import Differs
from query.verify.derived_rows import RunFiles, check_roots, compare_with_segments
from query.verify.inventory import Inventory
from query.verify.statements import Statements
from query.verify.verification import Level, Verification
from query.verify.verifier import verify
from tests.querying.test_verify import Desk
from tests.simulator.memory_store import MemoryStore
from tests.system.tampered import (
    FIRST_KEY,
    HOUR_MS,
    MINUTE_MS,
    NOW_MS,
    ORDERS,
    Reviewer,
    Sealed,
    Shop,
    label_of,
    reference,
)

MISMATCH = "derived-mismatch"
TABLE = f"{ORDERS.account}/{ORDERS.region}/{ORDERS.table_name}"

# --- worlds ---


def busy() -> Sealed:
    """Three days of hours with a few changes each: first without key text, then with, some told twice."""
    store, stages = MemoryStore(), []
    shop, label = Shop(store, ORDERS), label_of(NOW_MS - 90 * HOUR_MS)
    hours = [-61, -60, -59, -38, -37, -36, -35, -14, -13, -2]  # two days end, and the third goes on
    for number, hour in enumerate(hours):
        at_ms = NOW_MS + hour * HOUR_MS
        records = [shop.change(item, at_ms + 1000 * place, label) for place, item in enumerate("abcdabca")]
        shop.archive(records, at_ms, knows_keys=number > 1)
        others = [records[0], shop.change("e", at_ms + 9000, label)]
        if number in {3, 4}:  # one that comes to be, and goes
            others.append(shop.change("gone", at_ms + 10_000, label))
        if number == 4:
            others[-1]["eventName"] = "REMOVE"
            del others[-1]["dynamodb"]["NewImage"]
        shop.archive(others, at_ms, knows_keys=number > 1)
        if number == 2:
            shop.baseline(at_ms + 600_000, label)
        shop.seal(FIRST_KEY, at_ms + 50 * MINUTE_MS)
        stages.append(dict(store.objects))
    shop.seal(FIRST_KEY, NOW_MS - 5 * MINUTE_MS)
    stages.append(dict(store.objects))
    return Sealed(dict(store.objects), NOW_MS, (FIRST_KEY,), stages=stages)


@dataclass
class Place:
    """An archive in a folder, its derived data in another."""

    sealed: Sealed
    folder: Path

    @property
    def archive(self) -> FolderSource:
        return FolderSource(self.folder / "archive")

    @property
    def derived(self) -> FolderSource:
        return FolderSource(self.folder / "derived")

    def compact(self) -> None:
        store = FolderStore(self.folder / "derived")
        store.prepare()
        Compactor(self.archive, self.derived, store, ORDERS, Engine(threads=1)).compact()
        url = str(self.folder / "archive")
        table = open_archive(url, derived_url=str(self.folder / "derived"), threads=1).table(TABLE)
        with pytest.MonkeyPatch.context() as often:
            often.setattr(snapshots_kept, "_FEWEST_CHANGES", 0)
            often.setattr(snapshots_kept, "_CHANGES_PER_ROW", 0)
            SnapshotKeeper(ORDERS, table.evidence, table.reader, store, Engine(threads=1)).keep()

    def copy(self, folder: Path) -> Place:
        shutil.copytree(self.folder / "derived", folder / "derived")
        (folder / "archive").symlink_to(self.folder / "archive")
        return Place(self.sealed, folder)

    @property
    def runs(self) -> list[Path]:
        return sorted(path.parent for path in (self.folder / "derived").rglob("run.json"))

    @property
    def snapshots(self) -> list[Path]:
        return sorted(path.parent for path in (self.folder / "derived").rglob("snapshot.json"))

    @property
    def day(self) -> Path:
        """The run of the most rows: that of a day, made of smaller ones."""
        return max(self.runs, key=lambda run: RunDescription.parse((run / "run.json").read_bytes()).rows)

    def run(self, start: int, end: int) -> Path:
        return self.folder / "derived" / ORDERS.prefix / RunName(start, end).folder.rstrip("/")

    # --- looking at it ---

    def demand(self, level: Level = Level.FULL, **more: Any) -> Any:
        return replace(Reviewer(self.folder, level=level).demand(self.sealed), **more)

    def verify(
        self, level: Level = Level.FULL, *, derived: Any = None, engine: Any = None, **more: Any
    ) -> Verification:
        """The whole of it."""
        opened = Archive(self.archive, lambda: Engine(threads=1), now_ms=lambda: self.sealed.now_ms)
        return verify(
            self.archive,
            ORDERS,
            self.demand(level, **more),
            open_table=lambda: opened.table(TABLE),
            workers=1,
            derived=DerivedPlace(derived or self.derived, engine or (lambda: Engine(threads=1))),
        )

    def check(self, level: Level = Level.FULL, *, is_sound: bool = True) -> Verification:
        """The derived data alone, evidence having been looked at."""
        found = Verification(ORDERS, self.demand(level))
        derived = Derived.listed(DerivedPlace(self.derived, lambda: Engine(threads=1)), ORDERS)
        log = read_log(self.archive, ORDERS)
        held = Inventory(ORDERS, Statements.of(log.entries()))
        held.take(self.archive.objects(ORDERS.prefix))
        check_derived(found, self.archive, derived, log, held, is_sound=is_sound)
        return found


def played(sealed: Sealed, folder: Path) -> Place:
    """A world in which somebody compacts after each seal."""
    place = Place(sealed, folder)
    for stage in sealed.stages:
        replace(sealed, objects=stage).write_to(folder / "archive")
        place.compact()
    sealed.write_to(folder / "archive")
    return place


@pytest.fixture(scope="module")
def clean(tmp_path_factory) -> Place:
    """Made once; whoever spoils it takes a copy."""
    return played(busy(), tmp_path_factory.mktemp("busy"))


@pytest.fixture
def place(clean, tmp_path) -> Place:
    return clean.copy(tmp_path)


def seen(found: Verification) -> list[tuple[str, str]]:
    return [(problem.code, problem.detail) for problem in found.problems]


def skipped(found: Verification) -> dict[str, str]:
    return dict(found.not_checked)


# --- nothing is wrong ---


@pytest.mark.parametrize("make", [busy, reference])
def test_runs_of_a_sound_trail_are_sound(make, tmp_path):
    """No false alarm, whichever runs there are: of hours, of days, and of hours that a day covers."""
    place = played(make(), tmp_path)
    found = place.verify()
    rows = sum(RunDescription.parse((run / "run.json").read_bytes()).rows for run in place.runs)
    assert (seen(found), found.exit_code) == ([], 0)
    assert (found.runs, found.run_rows, found.snapshots) == (len(place.runs), rows, len(place.snapshots))
    assert skipped(found).keys() == {"rollback", "versions"}


def test_the_world_has_what_can_go_wrong(clean):
    """Runs of runs, of segments, of hours that a day covers; rows without key text, and changes told twice."""
    names = [RunName.parse(run.name) for run in clean.runs]
    assert any(one != other and one.start <= other.start and other.end <= one.end for one in names for other in names)
    described = [RunDescription.parse((run / "run.json").read_bytes()) for run in clean.runs]
    assert max(one.repeats for one in described) > 2
    assert any(part.keys.first.pk is None for one in described for part in one.parts)
    assert len({one.name.start for one in described}) > 2
    assert len(clean.snapshots) > 2
    items = snapshot_rows(clean.snapshots[-1]).to_pylist()
    assert {(one["outcome"], one["basis"]) for one in items} == {("existed", "change"), ("already-deleted", "change")}


def test_without_a_place_runs_are_not_checked(clean):
    """Who does not say where they are is told that nobody looked."""
    found = verify(clean.archive, ORDERS, clean.demand(Level.QUICK), open_table=lambda: None, workers=1)  # type: ignore[arg-type,return-value]
    assert (found.exit_code, found.runs) == (0, 0)
    inside = replace(clean.sealed, objects={**clean.sealed.objects, f"{ORDERS.prefix}{RUNS}x": b"x"})
    reviewer = Reviewer(clean.folder / "files", level=Level.QUICK)
    reviewer.folder.mkdir(exist_ok=True)
    assert skipped(reviewer.verify(inside))["derived data"].startswith("1 objects")


def test_quick_reads_no_part(place):
    """It compares what is small, and says so of the rest."""
    found = place.verify(Level.QUICK)
    assert (seen(found), found.exit_code, found.runs) == ([], 0, 0)
    assert skipped(found)["rows of runs"].startswith(f"{len(place.runs)} runs")
    forge(place.runs[0], altered("new_image"))
    assert place.verify(Level.QUICK).exit_code == 0
    part = next(place.runs[0].glob("part-*.parquet"))
    part.write_bytes(part.read_bytes() + b"x")
    assert {code for code, _ in seen(place.verify(Level.QUICK))} == {MISMATCH}


def test_what_no_run_lists_is_counted(place):
    """Nobody reads it: somebody may be writing it, or was stopped."""
    (place.runs[0] / "part-9-0000000000000000.parquet").write_bytes(b"x")
    stopped = place.run(1000, 1001)
    stopped.mkdir()
    (stopped / "part-0-0000000000000000.parquet").write_bytes(b"x")
    snapshot = place.folder / "derived" / ORDERS.prefix / "snapshots" / "d1" / "x"
    snapshot.mkdir(parents=True)
    (snapshot / "y").write_bytes(b"x")
    (place.run(0, 1).parent / "no-run").mkdir()
    (place.run(0, 1).parent / "no-run" / "run.json").write_bytes(b"x")
    found = place.verify()
    assert (seen(found), found.exit_code) == ([], 0)
    assert skipped(found)["other derived data"].startswith("4 objects")


def test_of_what_was_not_asked_for_the_rows_are_not_read(place):
    """A day costs a day: older runs are compared with the log alone."""
    size = RunName.parse(place.runs[-1].name).start
    older = [run for run in place.runs if RunName.parse(run.name).end <= size]
    forge(older[0], altered("new_image"))
    found = place.verify(checks_from=size)
    assert (seen(found), found.runs) == ([], len(place.runs) - len(older))
    assert skipped(found)["older runs"].startswith(f"{len(older)} outside")
    since_ms = NOW_MS - 20 * HOUR_MS
    ranged = place.verify(since_ms=since_ms, until_ms=NOW_MS - 10 * HOUR_MS, max_age_ms=None)
    assert MISMATCH not in ranged.counts
    assert 0 < ranged.runs < len(place.runs)
    assert MISMATCH in place.verify(since_ms=NOW_MS - 62 * HOUR_MS, until_ms=NOW_MS, max_age_ms=None).counts


# --- bytes ---


@pytest.mark.parametrize("every", [11, pytest.param(1, marks=pytest.mark.long)])
def test_any_byte_of_any_file_that_changes_is_found(tmp_path, every):
    """One bit of each byte in turn, or of some; also a byte more, and one less."""
    store = MemoryStore()
    shop, label = Shop(store, ORDERS), label_of(NOW_MS - 90 * HOUR_MS)
    shop.archive([shop.change("a", NOW_MS - 10 * HOUR_MS, label)], NOW_MS - 10 * HOUR_MS)
    shop.seal(FIRST_KEY, NOW_MS - 9 * HOUR_MS)
    shop.seal(FIRST_KEY, NOW_MS - 5 * MINUTE_MS)
    place = played(Sealed(dict(store.objects), NOW_MS, (FIRST_KEY,), stages=[dict(store.objects)]), tmp_path)
    [run] = place.runs
    assert place.check().exit_code == 0
    files = sorted(run.iterdir())
    assert sorted(file.suffix for file in files) == [".idx", ".items", ".json", ".parquet", ".parquet"]
    missed = []
    for file in files:
        content = file.read_bytes()
        for at in range(0, len(content), every):
            flipped = bytearray(content)
            flipped[at] ^= 1 << at % 8
            file.write_bytes(flipped)
            if seen_codes(place) != {MISMATCH}:
                missed.append((file.name, at))
        for other in (content + b"\0", content[:-1], b""):
            file.write_bytes(other)
            if seen_codes(place) != {MISMATCH}:
                missed.append((file.name, len(other)))
        file.write_bytes(content)
    assert not missed
    assert place.check().exit_code == 0


def seen_codes(place: Place) -> set[str]:
    return set(place.check().counts)


# --- somebody who makes all digests right again ---


def digests(item_keys: pa.ChunkedArray) -> pa.Array:
    """Not those of the engine, which are not to be believed here."""
    found = [hashlib.sha256(key.as_py().encode()).digest()[:16] for key in item_keys]
    return pa.ExtensionArray.from_storage(pa.uuid(), pa.array(found, pa.binary(16)))


Rows = Callable[[pa.Table], pa.Table]


def rows_of(run: Path) -> pa.Table:
    description = RunDescription.parse((run / "run.json").read_bytes())
    tables = [pq.read_table(run / part.file.name) for part in description.parts]
    return pa.concat_tables(tables).select(RUN_SCHEMA.names).cast(RUN_SCHEMA)


def forge(run: Path, change: Rows, also: Callable[[RunDescription], RunDescription] = lambda told: told) -> None:
    """Writes a run's rows anew, as the real writer does, after a change: parts, indexes and description."""
    told = RunDescription.parse((run / "run.json").read_bytes())
    rows = change(rows_of(run))
    for path in run.glob("part-*"):
        path.unlink()
    written = list(write_parts(run, [rows], RUN_SCHEMA, "run", digests, with_index=True))
    told = replace(told, rows=rows.num_rows, parts=tuple(one.part for one in written))
    if told.rows != sum(span.rows for span in told.spans):
        more = told.rows - sum(span.rows for span in told.spans)
        told = replace(told, spans=(replace(told.spans[0], rows=told.spans[0].rows + more), *told.spans[1:]))
    describe(run, also(told))


def describe(run: Path, told: RunDescription) -> None:
    (run / "run.json").write_bytes(told.compose())


def with_column(rows: pa.Table, name: str, values: Any) -> pa.Table:
    at = RUN_SCHEMA.get_field_index(name)
    return rows.set_column(at, RUN_SCHEMA.field(at), pa.chunked_array([pa.array(values, RUN_SCHEMA.field(at).type)]))


def altered(name: str, row: int = 3) -> Rows:
    """One value of one row becomes another one of its kind."""

    def change(rows: pa.Table) -> pa.Table:
        values = rows.column(name).to_pylist()
        values[row] = other(values, row)
        return with_column(rows, name, values)

    def other(values: list[Any], row: int) -> Any:
        value = values[row]
        if isinstance(value, bool):
            return not value
        if isinstance(value, int):
            return value + 1
        if isinstance(value, list):
            return value[1:] if value else ["x"]
        if isinstance(value, str):
            return value.replace("change", "chance") if "change" in value else value[:-1] + chr(ord(value[-1]) + 1)
        return next(one for one in [*values, None] if one != value)

    return change


def swapped(one: int, other: int) -> Rows:
    def change(rows: pa.Table) -> pa.Table:
        order = list(range(rows.num_rows))
        order[one], order[other] = order[other], order[one]
        return rows.take(pa.array(order))

    return change


def dropped(row: int) -> Rows:
    return lambda rows: pa.concat_tables([rows.slice(0, row), rows.slice(row + 1)])


def added(row: int) -> Rows:
    return lambda rows: pa.concat_tables([rows.slice(0, row + 1), rows.slice(row, 1), rows.slice(row + 1)])


def both(one: Rows, other: Rows) -> Rows:
    return lambda rows: other(one(rows))


def null(name: str, row: int = 3) -> Rows:
    def change(rows: pa.Table) -> pa.Table:
        values = rows.column(name).to_pylist()
        values[row] = None
        return with_column(rows, name, values)

    return change


def moved(rows: pa.Table) -> pa.Table:
    """Two changes of different segments, each of which says that it is where the other one is."""
    numbers = rows.column("sequence_number").to_pylist()
    segments, positions = (rows.column(name).to_pylist() for name in ("segment", "position"))
    other = next(row for row in range(len(segments)) if segments[row] != segments[0] and numbers[row] != numbers[0])
    for values in (segments, positions):
        values[0], values[other] = values[other], values[0]
    return with_column(with_column(rows, "segment", segments), "position", positions)


CHANGES: dict[str, Rows] = {
    **{f"{name} of one row": altered(name) for name in RUN_SCHEMA.names if name not in {"sk", "user_identity"}},
    "no superseded_at": null("superseded_at"),
    "no preceded_at": null("preceded_at"),
    "no changed_attributes": null("changed_attributes"),
    "no key text": null("pk", 0),
    "a user identity": lambda rows: with_column(
        rows, "user_identity", ['{"PrincipalId":"x"}', *rows.column("user_identity").to_pylist()[1:]]
    ),
    "two rows swapped": swapped(2, 3),
    "first and last row swapped within their item": swapped(0, 1),
    "a row dropped": dropped(3),
    "the last row dropped": lambda rows: rows.slice(0, rows.num_rows - 1),
    "a row added": added(3),
    "a row in place of another": both(dropped(4), added(2)),
    "the last row twice, the first dropped": both(lambda rows: added(rows.num_rows - 1)(rows), dropped(0)),
    "two rows given to each other's segment": moved,
}


@pytest.mark.parametrize("name", CHANGES)
def test_rows_that_are_not_those_of_evidence_are_found(place, name):
    """Digests, indexes and description are right again: the rows are not."""
    run = place.day
    try:
        forge(run, CHANGES[name])
    except ValueError as error:  # keys out of order: no index can be made of them, and no description parsed
        pytest.skip(f"nobody can write that: {error}")
    assert [code for code, _ in seen(place.check())] == [MISMATCH]


@pytest.mark.parametrize("number", range(7))
def test_every_run_is_looked_at(place, number):
    """Also one that a larger one covers: somebody may be reading it."""
    run = place.runs[number]
    forge(run, altered("old_image", 5))
    found = place.check()
    [problem] = found.problems
    assert problem.code == MISMATCH
    assert f"/{run.name}/" in problem.name
    assert "row 5 of the run" in problem.detail
    assert problem.detail.endswith(": old_image")
    assert found.runs == len(place.runs) - 1


def test_a_run_of_many_parts_and_groups_is_compared_to_its_end(place, monkeypatch):
    """Parts and groups end anywhere; the last row counts like the first."""
    monkeypatch.setattr(parts_of_runs, "_FIRST_GROUP_ROWS", 3)
    monkeypatch.setattr(parts_of_runs, "_MOST_GROUP_ROWS", 3)
    monkeypatch.setattr(parts_of_runs, "PART_BYTES", parts_of_runs.GROUP_BYTES + 4000)
    run = max(place.runs, key=lambda run: RunName.parse(run.name).end - RunName.parse(run.name).start)
    forge(run, lambda rows: rows)
    assert len(list(run.glob("part-*.idx"))) > 3
    assert place.check().exit_code == 0
    last = rows_of(run).num_rows - 1
    forge(run, altered("event", last))
    assert [code for code, _ in seen(place.check())] == [MISMATCH]
    forge(run, altered("event", last))  # and back: of an odd digit
    forge(run, lambda rows: rows.slice(0, last))
    assert [code for code, _ in seen(place.check())] == [MISMATCH]


# --- each of the two ways by itself ---


def files_of(place: Place, run: Path) -> RunFiles:
    told = RunDescription.parse((run / "run.json").read_bytes())
    table = parse_segments((run / told.segments.name).read_bytes())
    segments = [one for one in table if told.name.start <= one.entry < told.name.end]
    named = [ORDERS.prefix + one.path for one in segments]
    paths = place.archive.fetch([StoredObject(name, 0) for name in named])
    return RunFiles(
        ORDERS,
        segments,
        [
            EvidenceFile(path, name, sha256=one.file_sha256, is_sealed=True)
            for path, name, one in zip(paths, named, segments, strict=True)
        ],
        told,
        [EvidenceFile(run / one.file.name, one.file.name, sha256=one.file.sha256) for one in told.parts],
        [EvidenceFile(run / one.items.name, one.items.name, sha256=one.items.sha256) for one in told.parts],
        [PartIndex.parse((run / one.index.name).read_bytes()) for one in told.parts if one.index],
    )


# Of what leaves and order cover. Times, and names of attributes, follow from them, and are compared row by row.
IN_LEAVES = [
    *(f"{name} of one row" for name in ("change_id", "op", "changed_at", "sequence_number", "stream_label")),
    *(f"{name} of one row" for name in ("old_image", "new_image", "event", "segment", "position")),
    *("a row dropped", "a row added", "a row in place of another", "two rows given to each other's segment"),
    *("the last row dropped", "a user identity"),
]


@pytest.mark.parametrize("name", IN_LEAVES)
def test_the_rows_of_a_run_alone_prove_its_segments(place, name):
    """Nothing of compaction is used: the roots in the names of segments are made from the run's rows, or are not."""
    run = place.day
    engine = Engine(threads=1)
    check_roots(engine, files_of(place, run))
    forge(run, CHANGES[name])
    with pytest.raises(Differs):
        check_roots(engine, files_of(place, run))


@pytest.mark.parametrize("name", [name for name in CHANGES if name.split()[0] not in {"item_key", "pk", "no", "first"}])
def test_the_rows_derived_anew_are_those_of_the_run(place, name):
    """Every column, whatever leaves cover."""
    run = place.day
    engine = Engine(threads=1)
    compare_with_segments(engine, files_of(place, run))
    forge(run, CHANGES[name])
    with pytest.raises(Differs):
        compare_with_segments(engine, files_of(place, run))


# --- what a part says of its rows ---


def rewritten(run: Path, change: Callable[[bytes], bytes]) -> None:
    """Changes bytes of a part, and makes its index and the description right again."""
    told = RunDescription.parse((run / "run.json").read_bytes())
    part = told.parts[0]
    assert part.index is not None
    content = change((run / part.file.name).read_bytes())
    keys = [group.keys for group in PartIndex.parse((run / part.index.name).read_bytes()).groups]
    items = (run / part.items.name).read_bytes()
    for path in run.glob("part-0-*"):
        path.unlink()
    digest = hashlib.sha256(content).hexdigest()
    path = run / part_name(0, digest)
    path.write_bytes(content)
    index = PartIndex.of(path, keys).compose()
    (run / index_name(path.name)).write_bytes(index)
    (run / items_name(path.name)).write_bytes(items)
    made = replace(
        part,
        file=file_of(path),
        items=replace(part.items, name=items_name(path.name)),
        index=replace(
            part.index, name=index_name(path.name), bytes=len(index), sha256=hashlib.sha256(index).hexdigest()
        ),
    )
    describe(run, replace(told, parts=(made, *told.parts[1:])))


def written_otherwise(run: Path, **options: Any) -> None:
    """The same rows, as another writer would write them."""
    usual = {"compression": "zstd", "write_statistics": ["pk", "sk", "changed_at"], "store_schema": False}
    metadata = options.pop("metadata", None)
    schema = options.pop("schema", RUN_SCHEMA)

    def change(content: bytes) -> bytes:
        known = pq.read_metadata(pa.BufferReader(content)).metadata
        sink = pa.BufferOutputStream()
        with pq.ParquetWriter(sink, schema, **{**usual, **options}) as writer:
            writer.write_table(rows.cast(schema))
            writer.add_key_value_metadata(metadata or known)
        return sink.getvalue().to_pybytes()

    rows = rows_of(run)
    rewritten(run, change)


def test_another_encoding_of_the_same_rows_is_no_finding(place):
    """Another version of the writer may compress otherwise: what is said of the rows is what counts."""
    written_otherwise(place.runs[0], use_dictionary=False, compression="none")
    assert seen(place.check()) == []


@pytest.mark.parametrize(
    "options",
    [
        {"metadata": {b"ddbtrail.kind": b"segment"}},
        {"store_schema": True},
        {"write_page_index": True},
        {"sorting_columns": [pq.SortingColumn(0)]},
        {"write_statistics": True},
        {"schema": RUN_SCHEMA.set(0, pa.field("change_id", pa.binary(), nullable=False))},
        {"schema": RUN_SCHEMA.set(0, pa.field("change_id", pa.string()))},
    ],
    ids=lambda options: next(iter(options)),
)
def test_a_part_says_of_its_rows_what_a_run_says(place, options):
    """What engines skip rows by, or read them by, is not left to whoever writes there."""
    written_otherwise(place.runs[0], **options)
    assert [code for code, _ in seen(place.check())] == [MISMATCH]


def test_false_statistics_are_found(place):
    """They hide rows from whoever prunes by them; rows and digests are right."""

    def change(content: bytes) -> bytes:
        length = int.from_bytes(content[-8:-4], "little")
        footer = content[-8 - length :]
        statistics = pq.read_metadata(pa.BufferReader(content)).row_group(0).column(2).statistics
        stated = statistics.max_raw.to_bytes(8, "little")
        assert footer.count(stated)
        return content[: -8 - length] + footer.replace(stated, statistics.min_raw.to_bytes(8, "little"))

    rewritten(place.runs[0], change)
    [(code, detail)] = seen(place.check())
    assert code == MISMATCH
    assert "changed_at" in detail


def test_bytes_that_belong_to_no_row_group_are_found(place):
    """A file of derived data holds rows, and nothing else."""

    def change(content: bytes) -> bytes:
        length = int.from_bytes(content[-8:-4], "little")
        return content[: -8 - length] + b"hidden" + content[-8 - length :]

    rewritten(place.runs[0], change)
    [(code, detail)] = seen(place.check())
    assert (code, "no row group" in detail) == (MISMATCH, True)


# --- what a run says of itself ---


def test_an_index_of_another_part_is_found(place):
    """With the digest that the description says, and a valid one at that."""
    one, other = place.runs[:2]
    told, of_other = (RunDescription.parse((run / "run.json").read_bytes()) for run in (one, other))
    index, another = told.parts[0].index, of_other.parts[0].index
    assert index is not None
    assert another is not None
    shutil.copyfile(other / another.name, one / index.name)
    described = replace(index, bytes=another.bytes, sha256=another.sha256)
    describe(one, replace(told, parts=(replace(told.parts[0], index=described), *told.parts[1:])))
    assert [code for code, _ in seen(place.check(Level.QUICK))] == [MISMATCH]


def test_keys_of_a_part_that_are_not_its_rows_are_found(place):
    """Readers leave a part out by them."""
    run = place.runs[0]
    told = RunDescription.parse((run / "run.json").read_bytes())
    keys = told.parts[0].keys
    describe(run, replace(told, parts=(replace(told.parts[0], keys=replace(keys, last=keys.first)),)))
    assert [code for code, _ in seen(place.check())] == [MISMATCH]


def test_keys_of_a_row_group_that_are_not_its_rows_are_found(place):
    """And a group by these."""
    run = place.runs[0]
    told = RunDescription.parse((run / "run.json").read_bytes())
    index_file = told.parts[0].index
    assert index_file is not None
    index = PartIndex.parse((run / index_file.name).read_bytes())
    group = index.groups[0]
    narrower = replace(group, keys=replace(group.keys, last=group.keys.first))
    content = replace(index, groups=(narrower, *index.groups[1:])).compose()
    (run / index_file.name).write_bytes(content)
    described = replace(index_file, bytes=len(content), sha256=hashlib.sha256(content).hexdigest())
    describe(run, replace(told, parts=(replace(told.parts[0], index=described),)))
    [(code, detail)] = seen(place.check())
    assert (code, "index" in detail) == (MISMATCH, True)


def with_items(part: Part, folder: Path, items: pa.Table, **options: Any) -> Part:
    """Another items file in the place of a part's, written as the real writer does it, unless `options` say otherwise."""
    path = folder / part.items.name
    usual: dict[str, Any] = {"compression": "zstd", "write_statistics": False, "store_schema": False}
    pq.write_table(items, path, **usual | {"use_dictionary": False} | options)
    return replace(part, items=file_of(path))


def another_digest(items: pa.Table) -> pa.Table:
    storage = items.column("item_digest").combine_chunks().storage.to_pylist()
    storage[1] = bytes(16)
    return items.set_column(
        0, ITEMS_SCHEMA.field(0), pa.ExtensionArray.from_storage(pa.uuid(), pa.array(storage, pa.binary(16)))
    )


def another_row(items: pa.Table) -> pa.Table:
    rows = items.column("row").to_pylist()
    return items.set_column(1, ITEMS_SCHEMA.field(1), pa.array([*rows[:1], rows[1] - 1, *rows[2:]], pa.int64()))


def not_deleted(items: pa.Table) -> pa.Table:
    existed = items.column("existed").to_pylist()
    return items.set_column(2, ITEMS_SCHEMA.field(2), pa.array([not existed[0], *existed[1:]], pa.bool_()))


WRONG_ITEMS: dict[str, tuple[Rows, dict[str, Any]]] = {
    "a digest": (another_digest, {}),
    "a row": (another_row, {}),
    "existed": (not_deleted, {}),
    "an item left out": (lambda items: items.slice(1), {}),
    "an item twice": (lambda items: pa.concat_tables([items.slice(0, 1), items]), {}),
    "statistics": (lambda items: items, {"write_statistics": True}),
    "a column more": (lambda items: items.append_column("more", items.column("row")), {}),
    "no UUIDs": (lambda items: items.set_column(0, "item_digest", items.column(0).combine_chunks().storage), {}),
}


@pytest.mark.parametrize("wrong", WRONG_ITEMS)
@pytest.mark.parametrize("kind", ["run", "snapshot"])
def test_an_items_file_of_other_rows_is_found(place, kind, wrong):
    """With the digest that the description says: answers about whole tables begin there."""
    change, options = WRONG_ITEMS[wrong]
    folder = place.runs[0] if kind == "run" else place.snapshots[0]
    path = folder / f"{kind}.json"
    parse = RunDescription.parse if kind == "run" else SnapshotDescription.parse
    told = parse(path.read_bytes())
    items = pq.read_table(folder / told.parts[0].items.name)
    parts = (with_items(told.parts[0], folder, change(items), **options), *told.parts[1:])
    path.write_bytes(replace(told, parts=parts).compose())
    [problem] = place.check().problems
    assert (problem.code, problem.name) == (MISMATCH, at_name(place, folder / told.parts[0].items.name))


def test_an_items_file_with_another_digest_is_found(place):
    path = next(place.runs[0].glob("part-*.items"))
    content = path.read_bytes()
    path.write_bytes(content[:40] + bytes([content[40] ^ 1]) + content[41:])
    [problem] = place.check().problems
    assert (problem.code, problem.name) == (MISMATCH, at_name(place, path))


def at_name(place: Place, path: Path) -> str:
    return path.relative_to(place.folder / "derived").as_posix()


def changed_member(name: str) -> Callable[[RunDescription], RunDescription]:
    def change(told: RunDescription) -> RunDescription:
        value = getattr(told, name)
        match name:
            case "root":
                return replace(told, root="0" * 64)
            case "seal":
                return replace(told, seal=replace(value, sha256="0" * 64))
            case "writer":
                return replace(told, writer="ddbtrail/0")
            case "spans":
                return replace(told, spans=(replace(value[0], last_ms=value[0].last_ms + 1000), *value[1:]))
            case "handovers":
                return replace(told, handovers=(told.seal.name,))
            case "descriptions":
                return replace(told, descriptions=(*value, told.seal))
        return replace(told, **{name: value + 1})

    return change


@pytest.mark.parametrize(
    "name",
    [
        *(
            "root",
            "seal",
            "repeats",
            "contradictions",
            "imageless",
            "spans",
            "segment_count",
            "sealed_to_ms",
            "until_ms",
        ),
        *("descriptions", "handovers", "writer"),
    ],
)
def test_a_description_that_says_otherwise_is_found(place, name):
    """Each member is held against the log, or against the rows."""
    run = place.runs[0]
    describe(run, changed_member(name)(RunDescription.parse((run / "run.json").read_bytes())))
    [(code, detail)] = seen(place.check())
    assert code == MISMATCH
    assert name in detail


def test_a_description_has_no_member_that_nobody_looks_at(place):
    """Whoever adds one adds what it is held against."""
    looked_at = {"name", "rows", "parts", "segments", "root", "seal", "repeats", "contradictions", "spans", "writer"}
    looked_at |= {
        "segment_count",
        "sealed_to_ms",
        "until_ms",
        "descriptions",
        "handovers",
        "imageless",
        "previous_sha256",
    }
    assert set(RunDescription.__dataclass_fields__) == looked_at


def test_a_description_of_another_range_is_found(place):
    """It lies in a folder of another name."""
    one, other = place.runs[:2]
    shutil.copyfile(other / "run.json", one / "run.json")
    [(code, detail)] = seen(place.check())
    assert code == MISMATCH
    assert "describes the run" in detail


@pytest.mark.parametrize(("start", "end"), [(0, 1), (1, 3), (0, 10**6)])
def test_a_run_of_what_no_seals_say_is_found(place, start, end):
    """Its entries are those between two seals of this log."""
    run = place.runs[0]
    told = RunDescription.parse((run / "run.json").read_bytes())
    seal = replace(told.seal, name=f"seals/{start:020d}.json")
    made = place.run(start, end)
    shutil.copytree(run, made)
    describe(made, replace(told, name=RunName(start, end), seal=seal))
    assert [code for code, _ in seen(place.check())] == [MISMATCH]


def test_a_run_of_another_log_is_found(place, tmp_path):
    """The same range, of a log that says something else."""
    another = played(reference(), tmp_path / "another")
    for run in another.runs:
        shutil.rmtree(place.folder / "derived" / ORDERS.prefix / RUNS / run.name, ignore_errors=True)
        shutil.copytree(run, place.folder / "derived" / ORDERS.prefix / RUNS / run.name)
    found = place.verify()
    assert found.counts == {MISMATCH: len(another.runs)}
    assert found.exit_code == 1


def test_segments_that_the_log_does_not_name_are_found(place):
    """A reader of the tail believes the table of segments."""
    run = place.runs[-1]
    told = RunDescription.parse((run / "run.json").read_bytes())
    table = parse_segments((run / told.segments.name).read_bytes())
    for others in (table[1:], (replace(table[0], records=9), *table[1:]), table[::-1]):
        path = run / "made"
        write_table(path, table_of(others))
        path = path.rename(run / segments_name(file_of(path).sha256))
        describe(run, replace(told, segments=file_of(path)))
        assert [code for code, _ in seen(place.check(Level.QUICK))] == [MISMATCH]


# --- snapshots ---


def snapshot_rows(folder: Path) -> pa.Table:
    told = SnapshotDescription.parse((folder / "snapshot.json").read_bytes())
    tables = [pq.read_table(folder / part.file.name) for part in told.parts]
    return pa.concat_tables(tables).select(SNAPSHOT_SCHEMA.names).cast(SNAPSHOT_SCHEMA)


def forge_snapshot(folder: Path, change: Rows, **members: Any) -> None:
    """Writes a snapshot's items anew, as the real writer does, after a change."""
    told = SnapshotDescription.parse((folder / "snapshot.json").read_bytes())
    rows = change(snapshot_rows(folder))
    for path in folder.glob("part-*"):
        path.unlink()
    tables = [rows] if rows.num_rows else []
    written = list(write_parts(folder, tables, SNAPSHOT_SCHEMA, "snapshot", digests, with_index=False))
    told = replace(told, rows=rows.num_rows, parts=tuple(one.part for one in written), **members)
    (folder / "snapshot.json").write_bytes(told.compose())


def said(name: str, value: Callable[[Any], Any], row: int = 1) -> Rows:
    def change(rows: pa.Table) -> pa.Table:
        values = rows.column(name).to_pylist()
        values[row] = value(values[row])
        at = SNAPSHOT_SCHEMA.get_field_index(name)
        return rows.set_column(at, SNAPSHOT_SCHEMA.field(at), pa.array(values, SNAPSHOT_SCHEMA.field(at).type))

    return change


ITEMS: dict[str, Rows] = {
    **{
        f"{name} of one item": said(name, lambda text: text[:-1] + chr(ord(text[-1]) + 1))
        for name in ("item_key", "pk", "sk", "change_id", "sequence_number", "stream_label")
    },
    **{
        f"{name} of one item": said(name, lambda at: at + timedelta(seconds=1))
        for name in ("changed_at", "effective_at")
    },
    "op": said("op", lambda op: "INSERT" if op == "MODIFY" else "MODIFY"),
    "outcome": said("outcome", lambda _: "already-deleted"),
    "basis": said("basis", lambda _: "baseline"),
    "image": said("image", lambda text: text.replace("change", "chance")),
    "image and twin": both(
        said("image", lambda text: text.replace("change", "chance")),
        said("item", lambda text: text.replace("change", "chance")),
    ),
    "plain twin": said("item", lambda text: text.replace("change", "chance")),
    "no image": both(said("image", lambda _: None), said("item", lambda _: None)),
    "an item dropped": dropped(1),
    "an item twice": added(1),
    "two items swapped": swapped(1, 2),
    "no item": lambda rows: rows.slice(0, 0),
}


def test_a_snapshot_written_anew_is_sound(place):
    """What the next test finds is what it changed, not who wrote it."""
    forge_snapshot(place.snapshots[-1], lambda rows: rows)
    assert seen(place.check()) == []


@pytest.mark.parametrize("name", ITEMS)
def test_items_that_are_not_those_of_evidence_are_found(place, name):
    """As for runs; of every item the last change is looked for in evidence."""
    try:
        forge_snapshot(place.snapshots[-1], ITEMS[name])
    except ValueError as error:
        pytest.skip(f"nobody can write that: {error}")
    found = place.check()
    assert [code for code, _ in seen(found)] == [MISMATCH]
    assert found.snapshots == len(place.snapshots) - 1


def test_the_items_of_another_time_are_found(place):
    """Each right once."""
    one, other = place.snapshots[0], place.snapshots[-1]
    earlier = snapshot_rows(one)
    forge_snapshot(other, lambda _: earlier)
    assert [code for code, _ in seen(place.check())] == [MISMATCH]


def test_key_text_may_be_left_out_of_a_snapshot(place):
    """It is a hint, and depends on which runs were read."""
    forge_snapshot(place.snapshots[-1], both(said("pk", lambda _: None, 0), said("sk", lambda _: None, 0)))
    assert seen(place.check()) == []


@pytest.mark.parametrize("member", ["root", "seal", "spans", "baseline", "writer", "no baseline"])
def test_a_snapshot_that_says_otherwise_of_itself_is_found(place, member):
    """Each member is held against the log, against rows, or against the footers of its parts."""
    folder = place.snapshots[-1]
    told = SnapshotDescription.parse((folder / "snapshot.json").read_bytes())
    assert told.baseline is not None
    others: dict[str, Any] = {
        "root": {"root": "0" * 64},
        "seal": {"seal": replace(told.seal, sha256="0" * 64)},
        "spans": {"spans": (*told.spans[:-1], replace(told.spans[-1], last_ms=told.spans[-1].last_ms + 1000))},
        "baseline": {"baseline": replace(told.baseline, sha256="0" * 64)},
        "no baseline": {"baseline": None},
        "writer": {"writer": "ddbtrail/0"},
    }
    (folder / "snapshot.json").write_bytes(replace(told, **others[member]).compose())
    assert [code for code, _ in seen(place.check())] == [MISMATCH]
    assert set(SnapshotDescription.__dataclass_fields__) == {
        *("name", "root", "seal", "rows", "spans", "parts", "baseline", "writer")
    }


def test_a_snapshot_of_another_end_or_time_is_found(place):
    """Copied whole to where a reader takes it for a later one."""
    folder = place.snapshots[0]
    told = SnapshotDescription.parse((folder / "snapshot.json").read_bytes())
    end = SnapshotDescription.parse((place.snapshots[-1] / "snapshot.json").read_bytes()).name.end
    for name in (replace(told.name, end=end), replace(told.name, at_ms=told.name.at_ms + 20 * HOUR_MS)):
        made = place.folder / "derived" / ORDERS.prefix / name.folder.rstrip("/")
        shutil.copytree(folder, made)
        assert [code for code, _ in seen(place.check())] == [MISMATCH]
        (made / "snapshot.json").write_bytes(replace(told, name=name).compose())
        found = place.check().counts
        shutil.rmtree(made)
        # At another time the same items may be right.
        assert found == {MISMATCH: 1} or name.end == told.name.end


def test_a_part_of_a_snapshot_that_is_gone_or_changed_is_found(place):
    """As of runs."""
    part = next(place.snapshots[0].glob("part-*"))
    content = part.read_bytes()
    part.write_bytes(content[:100] + b"x" + content[101:])
    assert place.check().counts == {MISMATCH: 1}
    assert place.check(Level.QUICK).counts == {}
    assert skipped(place.check(Level.QUICK))["items of snapshots"].startswith(f"{len(place.snapshots)} snapshots")
    part.unlink()
    assert place.check().counts == {"derived-missing": 1}


# --- what is not there, or not to be had ---


class Failing:
    """Derived data of which some cannot be read."""

    def __init__(self, source: FolderSource, error: Exception | None, after: Callable[[], None] = lambda: None) -> None:
        self.url, self._source, self._error, self._after = source.url, source, error, after

    def objects(self, prefix: str, **more: Any) -> list[StoredObject]:
        listed = self._source.objects(prefix, **more)
        self._after()
        return listed

    def read(self, names: list[str], *, anew: bool = False) -> Any:
        return self._source.read(names, anew=anew)

    def fetch(self, wanted: Any) -> Any:
        if self._error is not None:
            raise self._error
        return self._source.fetch(wanted)


@pytest.mark.parametrize("pattern", ["part-*.parquet", "part-*.idx", "part-*.items", "segments-*.parquet"])
def test_a_file_that_is_gone_is_missing(place, pattern):
    """3, as for evidence; readers cannot use the run."""
    next(place.runs[0].glob(pattern)).unlink()
    found = place.verify()
    assert ([code for code, _ in seen(found)], found.exit_code) == (["derived-missing"], 3)


def test_a_run_that_is_collected_meanwhile_is_no_finding(place):
    """Its description goes first."""
    found = place.verify(derived=Failing(place.derived, None, lambda: shutil.rmtree(place.runs[0], ignore_errors=True)))
    assert (seen(found), found.exit_code) == ([], 0)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (PermissionError(13, "denied"), "derived-unreadable"),
        (UnreadableArchive("x", why="denied", hint=""), "derived-unreadable"),
        (MemoryError(), "derived-unreadable"),
        (RuntimeError("a mistake"), "not-checkable"),
    ],
)
def test_what_cannot_be_read_is_not_called_good(place, error, code):
    """4, for each run by itself."""
    found = place.verify(derived=Failing(place.derived, error))
    assert (found.counts, found.exit_code) == ({code: len(place.runs) + len(place.snapshots)}, 4)
    assert (found.runs, found.snapshots) == (0, 0)


def test_an_engine_that_fails_is_not_called_good(place):
    """Out of memory or disk, for example."""

    def engine() -> Engine:
        raise EngineFailure("it failed", hint="")

    found = place.verify(engine=engine)
    assert (found.counts, found.exit_code) == ({"not-checkable": len(place.runs) + len(place.snapshots)}, 4)


def test_a_listing_that_fails_is_a_finding(place):
    def denied() -> None:
        raise UnreadableArchive("x", why="denied", hint="")

    found = place.verify(derived=Failing(place.derived, None, denied))
    assert (found.counts, found.exit_code) == ({"derived-unreadable": 1}, 4)


def test_rows_are_compared_with_sound_evidence_only(place):
    """What is wrong with evidence is told of that, and not of its runs."""
    (place.folder / "archive").unlink()
    place.sealed.write_to(place.folder / "archive")
    name = place.sealed.segments[0]
    path = place.folder / "archive" / name
    path.write_bytes(path.read_bytes() + b"x")
    found = place.verify()
    assert found.counts == {"digest-mismatch": 1}
    assert "sound" in skipped(found)["rows of runs"]
    place.sealed.write_to(place.folder / "archive")
    (place.folder / "archive" / place.sealed.seals[1]).unlink()
    found = place.verify()
    assert MISMATCH not in found.counts
    assert "holds together" in skipped(found)["derived data"]


def test_a_log_cut_short_does_not_make_its_runs_right(place):
    """A run of more entries than the log has: of the two, somebody touched one."""
    (place.folder / "archive").unlink()
    place.sealed.write_to(place.folder / "archive")
    for name in place.sealed.seals[-3:]:
        (place.folder / "archive" / name).unlink()
    found = place.verify(max_age_ms=None)
    assert found.exit_code == 1
    assert {problem.name.partition(RUNS)[2].partition("/")[0] for problem in found.problems if problem.code == MISMATCH}


# --- the command ---


@pytest.fixture
def desk(tmp_path) -> Desk:
    """As of now, since the command reads the clock; the archive's folder holds its derived data too."""
    made = Desk(tmp_path, reference(time.time_ns() // 1_000_000))
    source = FolderSource(made.archive)
    Compactor(source, source, FolderStore(made.archive), ORDERS, Engine(threads=1)).compact()
    return made


def test_the_command_tells_of_runs(desk):
    """A line for people, two totals for scripts; 1 if one is not what it claims to be."""
    done = desk.verify("--full", "-o", "table")
    assert done.returncode == 0, done.stdout + done.stderr
    [line] = [line for line in done.stdout.splitlines() if line.startswith("✓ derived: ")]
    assert "equal to the evidence" in line
    report = json.loads(desk.verify("--full", "-o", "json").stdout)
    assert report["totals"]["runs_checked"] > 0
    assert report["totals"]["run_rows_checked"] > 0
    run = min(path.parent for path in desk.archive.rglob("run.json"))
    forge(run, altered("new_image", 0))
    done = desk.verify("--full", "-o", "json")
    assert done.returncode == 1
    [finding] = json.loads(done.stdout)["findings"]
    assert (finding["code"], finding["verdict"]) == (MISMATCH, "tampered")
    without = desk.verify("--full", "--no-derived", "-o", "json")
    assert without.returncode == 0
    assert "derived data" in {entry["check"] for entry in json.loads(without.stdout)["not_checked"]}
    elsewhere = desk.verify("--full", "--derived", str(desk.folder / "nothing"), "-o", "json")
    assert elsewhere.returncode == 0
    assert "derived data" in {entry["check"] for entry in json.loads(elsewhere.stdout)["not_checked"]}
