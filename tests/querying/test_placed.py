"""Whole tables told by the places of their rows: small trails in which changes arrive late, twice or told otherwise and
clocks step back, so that layers lie across each other; each answer is that of the evidence alone.
"""

from __future__ import annotations

import shutil
from collections import Counter
from contextlib import closing
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import orjson
import pytest

import query.whole_table
from archiver.format.record import item_key_text
from query.errors import DerivedGone
from query.opening import open_archive
from query.placed import OutOfOrderError
from query.reconcile import reconcile
from query.seal_log import SealMismatch
from query.table import Table
from tests.delivery import delivered
from tests.querying.derived_worlds import Place, instant, plain_conflict
from tests.simulator.memory_store import MemoryStore
from tests.system.tampered import FIRST_KEY, HOUR_MS, MINUTE_MS, NOW_MS, ORDERS, Shop, label_of

SEEDS, LONG_SEEDS = 6, 300
HOURS = 8
MOST_INSTANTS = 10
ITEMS = ("a", "b", "c", "d", "e")


class OddShop(Shop):
    """A table whose changes have any time, may be deletions, and are told once more or otherwise."""

    def change_at(self, item: str, at_ms: int, label: str, *, is_gone: bool) -> dict[str, Any]:
        record = self.change(item, at_ms, label)
        if not is_gone or record["eventName"] == "INSERT":
            return record
        del self._images[item]
        old = {name: value for name, value in record["dynamodb"]["OldImage"].items() if name not in {"pk", "sk"}}
        return delivered(
            "REMOVE",
            record["dynamodb"]["Keys"],
            old,
            None,
            sequence_number=int(record["dynamodb"]["SequenceNumber"]),
            changed_at_s=at_ms // 1000,
            arn=record["eventSourceARN"],
            event_id=record["eventID"],
        )


def told_otherwise(record: dict[str, Any]) -> dict[str, Any]:
    """The same change with another new image."""
    image = {**record["dynamodb"].get("NewImage", record["dynamodb"]["Keys"]), "note": {"S": "another story"}}
    return {**record, "dynamodb": {**record["dynamodb"], "NewImage": image}}


class Hours:
    """A trail that is archived and sealed hour by hour, with an hour and a complete baseline before the first; its runs
    are those of hours.
    """

    def __init__(self, folder: Path, *, apart: bool = False) -> None:
        self.first_ms = NOW_MS - NOW_MS % HOUR_MS - (HOURS + 3) * HOUR_MS
        self.label = label_of(self.first_ms - HOUR_MS)
        self.place = Place(folder, apart=apart, trail=ORDERS)
        self.times: list[int] = []
        self._store, self._written, self._hour = MemoryStore(), set[str](), 0
        self._shop = OddShop(self._store, ORDERS)
        early = [self._shop.change(item, self.first_ms - 30 * MINUTE_MS, self.label) for item in ITEMS[:3]]
        self._shop.archive(early, self.first_ms - 20 * MINUTE_MS)
        self._shop.baseline(self.first_ms - 10 * MINUTE_MS, self.label)
        self._shop.seal(FIRST_KEY, self.first_ms)

    def at(self, minute: int) -> int:
        """An instant (epoch ms), by minutes from the beginning of the first hour."""
        return self.first_ms + minute * MINUTE_MS

    def change(self, item: str, minute: int, *, is_gone: bool = False) -> dict[str, Any]:
        """The next change of the stream."""
        self.times.append(self.at(minute))
        return self._shop.change_at(item, self.at(minute), self.label, is_gone=is_gone)

    def archive(self, *records: dict[str, Any]) -> None:
        """What arrives in this hour; then it is sealed, and the next one begins."""
        if records:
            self._shop.archive(records, self.at(60 * self._hour + 52))
        self._hour += 1
        self._shop.seal(FIRST_KEY, self.at(60 * self._hour + 1))

    def compact(self) -> None:
        """Makes the runs and snapshots that are wanted by now."""
        self.write(self.at(60 * self._hour + 2))
        self.place.compact()
        self.place.keep()

    def write(self, now_ms: int) -> None:
        for name in self._store.objects.keys() - self._written:
            path = self.place.archive_folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(self._store.objects[name])
        self._written.update(self._store.objects)
        self.place.now_ms = now_ms

    def ended(self) -> Hours:
        """Sealed to the end, so that all hours with changes are in runs."""
        while self._hour < HOURS:
            self.archive()
        self.compact()
        self.write(NOW_MS)
        return self


def drawn(rng: Random, folder: Path, *, is_odd: bool) -> Hours:
    """Hours of changes, compacted now and then. `is_odd`: what can go wrong does, and the stream may be switched off and
    another one on, at once or hours later.
    """
    hours = Hours(folder, apart=rng.random() < 0.5)
    late, known = [], []
    odds = {kind: is_odd * rng.choice([0.0, 0.1, 0.3]) for kind in ("late", "again", "clock")}
    odds["otherwise"] = is_odd * rng.choice([0.0, 0.0, 0.05])
    off = rng.randrange(1, HOURS) if is_odd and rng.random() < 0.4 else HOURS
    on = rng.choice([off, HOURS - 1, rng.randrange(off, HOURS + 1)])
    for hour in range(HOURS):
        if hour == max(off, on):
            hours.label = label_of(hours.at(60 * hour))
        batch = late if rng.random() < 0.6 else []
        late = [] if batch is late else late
        for minute in sorted(rng.sample(range(50), 0 if off <= hour < on else rng.randrange(5))):
            back = rng.randrange(110) if rng.random() < odds["clock"] else 0  # two hours are allowed for
            record = hours.change(rng.choice(ITEMS), 60 * hour + minute - back, is_gone=rng.random() < 0.25)
            (late if rng.random() < odds["late"] else batch).append(record)
            known.append(record)
        if known and rng.random() < odds["again"]:
            again = rng.choice(known)
            batch.append(told_otherwise(again) if rng.random() < odds["otherwise"] else again)
        hours.archive(*batch)
        if rng.random() < 0.4 or hour == HOURS - 2:
            hours.compact()
    hours.write(NOW_MS)
    return hours


def told(table: Table, at_ms: int) -> tuple[Any, ...]:
    """What existed, of how many nothing can be told, and which conflicts there are."""
    state = table.as_of(instant(at_ms))
    found = tuple(state.states())
    unordered = sorted(row["item_key"] for batch in state.batches(in_order=False) for row in batch.to_pylist())
    assert unordered == [one.item_key for one in found]
    assert state.count == len(found)
    conflicts = sorted(map(plain_conflict, state.conflicts))
    state.close()
    return found, state.unknown, conflicts


def roads(monkeypatch: Any) -> Counter[str]:
    """Counts which way whole tables are told."""
    had: Counter[str] = Counter()
    place = query.whole_table.place

    def watched(*arguments: Any) -> Any:
        try:
            found = place(*arguments)
        except OutOfOrderError:
            had["in turn"] += 1
            raise
        had["not told" if found is None else "placed"] += 1
        return found

    monkeypatch.setattr(query.whole_table, "place", watched)
    return had


def campaign(seeds: range, folder: Path, monkeypatch: Any, *, is_odd: bool) -> Counter[str]:
    had = roads(monkeypatch)
    monkeypatch.setattr("query.snapshots._FEWEST_CHANGES", 3)
    for seed in seeds:
        hours = drawn(Random(f"placed {seed}"), folder / str(seed), is_odd=is_odd)
        table, evidence = hours.place.table(), hours.place.table(with_derived=False)
        had["runs"] += len(table.evidence.runs)
        had["snapshots"] += any("snapshots/" in one.name for one in hours.place.held())
        instants = [time_ms + more for time_ms in sorted(set(hours.times)) for more in (-1_000, 0)]
        for at_ms in [*Random(seed).sample(instants, min(MOST_INSTANTS, len(instants))), NOW_MS - MINUTE_MS]:
            assert told(table, at_ms) == told(evidence, at_ms), f"seed {seed}, as of {at_ms}"
    return had


def test_layers_in_order_are_told_by_places_alone(tmp_path, monkeypatch):
    """Where nothing is odd, no other road is taken."""
    had = campaign(range(2), tmp_path, monkeypatch, is_odd=False)
    assert had["placed"] > 8, had
    assert (had["in turn"], had["not told"]) == (0, 0), had


def test_layers_across_each_other(tmp_path, monkeypatch):
    """Late changes, changes told twice, clocks that step back: whatever the road, each answer is right."""
    had = campaign(range(SEEDS), tmp_path, monkeypatch, is_odd=True)
    assert min(had[kind] for kind in ("placed", "in turn", "snapshots")) > 0, had
    assert had["runs"] > 2 * SEEDS, had


@pytest.mark.long
def test_layers_across_each_other_often(tmp_path, monkeypatch):
    """The same for hundreds of trails."""
    had = campaign(range(SEEDS, SEEDS + LONG_SEEDS), tmp_path, monkeypatch, is_odd=True)
    assert min(had[kind] for kind in ("placed", "in turn", "not told", "snapshots")) > 0, had


def images(hours: Hours, minute: int, *, with_derived: bool) -> dict[str, str | None]:
    table = hours.place.table(with_derived=with_derived)
    found, _, _ = told(table, hours.at(minute))
    return {one.item_key: one.image for one in found}


def same(hours: Hours, minute: int) -> dict[str, str | None]:
    """What existed, the same with what is derived and without."""
    found = images(hours, minute, with_derived=True)
    assert found == images(hours, minute, with_derived=False)
    return found


def test_a_change_that_arrived_late_does_not_win(tmp_path, monkeypatch):
    """An older change in a newer run: the layers are settled in turn."""
    had, hours = roads(monkeypatch), Hours(tmp_path)
    hours.archive()
    hours.archive()
    hours.archive()
    late, right = hours.change("d", 190), hours.change("d", 200)
    hours.archive(right)
    hours.archive(late)
    (image,) = (image for key, image in same(hours.ended(), 400).items() if '"d"' in key)
    assert image is not None
    assert '"the 5th change, of d"' in image
    assert (had["in turn"], had["placed"]) == (1, 0), had


def test_a_clock_that_stepped_back_across_the_instant(tmp_path, monkeypatch):
    """A change is made after one that bears a later time, in a later run: at an instant between, neither was made."""
    had, hours = roads(monkeypatch), Hours(tmp_path)
    for _ in range(4):
        hours.archive()
    hours.archive(hours.change("d", 270))
    hours.archive(hours.change("d", 240))
    hours.ended()
    assert not any('"d"' in key for key in same(hours, 250))
    assert had["not told"] == 1, had
    assert any('"d"' in key for key in same(hours, 270))


def test_a_change_that_two_runs_tell_otherwise_gives_no_answer(tmp_path, monkeypatch):
    """What is told twice alike is told once; what is told otherwise is a conflict, and is named."""
    for is_alike in (True, False):
        with monkeypatch.context() as patched:
            had, hours = roads(patched), Hours(tmp_path / str(is_alike))
            for _ in range(3):
                hours.archive()
            change = hours.change("d", 200)
            hours.archive(change)
            hours.archive(change if is_alike else told_otherwise(change))
            same(hours.ended(), 400)
            _, _, conflicts = told(hours.place.table(), hours.at(400))
            assert len(conflicts) == (not is_alike)
            assert had["placed" if is_alike else "not told"] == 2, had


def test_a_stream_that_was_off_is_a_gap_before_its_successor_is_in_a_run(tmp_path):
    """What the runs hold ends, nobody knows what came then, and only a segment that nothing was made of yet tells that
    another stream followed.
    """
    hours = Hours(tmp_path)
    for _ in range(3):
        hours.archive(*(hours.change(item, 60 * hours._hour + 5) for item in ITEMS))
    for _ in range(6):
        hours.archive()
    hours.compact()
    hours.label = label_of(hours.at(60 * hours._hour + 10))
    hours.archive(*(hours.change(item, 60 * hours._hour + 15) for item in ITEMS[1:]))
    hours.write(hours.at(60 * hours._hour + 2))
    table, evidence = hours.place.table(), hours.place.table(with_derived=False)
    assert len(table.evidence.runs) >= 3
    for minute in (100, 140, 300, 420, 600):
        at_ms = hours.at(minute)
        assert told(table, at_ms) == told(evidence, at_ms), minute
        # What the others were before they changed again, that change tells.
        assert told(evidence, at_ms)[1] == (minute >= 140), minute


@pytest.mark.parametrize("is_described", [False, True])
def test_a_stream_that_had_a_successor_is_known_to_its_end(is_described, tmp_path):
    """Nothing is made of segments, and maybe no description tells that there were two streams: what was left out, since
    of one stream no more is needed, is read then.
    """
    hours = Hours(tmp_path)
    for hour in range(8):
        hours.archive(*(hours.change(item, 60 * hour + 5) for item in ITEMS if hour in (0, 7)))
    hours.label = label_of(hours.at(490))
    hours.archive(*(hours.change(item, 495) for item in ITEMS))
    hours.write(hours.at(560))
    if not is_described:
        shutil.rmtree(hours.place.archive_folder / ORDERS.prefix / "streams")
    table = open_archive(str(hours.place.archive_folder), check_seals=False).table(ORDERS.table_name)
    assert len(table.evidence.streams) == 2 * is_described
    for minute in (6, 150, 300, 424):
        state = table.as_of(instant(hours.at(minute)))
        assert (state.count, state.unknown) == (len(ITEMS), 0), minute
        assert sum("/segments/" in file.name for file in state.plan.files) == 4, "what was read is told"
        state.close()


@pytest.mark.parametrize("damage", ["gone", "cut"])
@pytest.mark.parametrize("kind", [".parquet", ".items", "snapshot.json"])
def test_a_snapshot_that_is_not_whole_is_made_anew(kind, damage, tmp_path, monkeypatch):
    """As later ones would stand on it, one that lost a file must not stop them for ever."""
    monkeypatch.setattr("query.snapshots._FEWEST_CHANGES", 1)
    hours = Hours(tmp_path)
    for _ in range(4):
        hours.archive(*(hours.change(item, 60 * hours._hour + 5) for item in ITEMS))
    hours.compact()
    before = {one.name: one.size_bytes for one in hours.place.held() if "/snapshots/" in one.name}
    (name,) = [name for name in before if name.endswith(kind)]
    path = hours.place.derived_folder / name
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-1])
    for _ in range(4):
        hours.archive(*(hours.change(item, 60 * hours._hour + 5) for item in ITEMS))
    hours.compact()
    after = {one.name: one.size_bytes for one in hours.place.held() if "/snapshots/" in one.name}
    assert before.items() <= after.items()
    assert sum(name.endswith("snapshot.json") for name in after) == 2
    for minute in (200, 300, 500):
        same(hours, minute)


@pytest.mark.parametrize("is_second", [False, True])
def test_a_table_beside_its_trail_is_compared_alike_whatever_is_in_runs(is_second, tmp_path):
    """The trail is opened once more when the table was read: with runs, or without."""
    hours = Hours(tmp_path)
    for _ in range(4):
        hours.archive(*(hours.change(item, 60 * hours._hour + 5) for item in ITEMS))
    hours.compact()
    if is_second:  # only a segment that is in no run tells of another stream, and so of a gap
        for _ in range(3):
            hours.archive()
        hours.label = label_of(hours.at(420))
        hours.archive(hours.change("a", 425))
        hours.write(hours.at(500))
    else:
        hours.ended()
    shown = [
        (
            item_key_text({name: whole[name] for name in ("pk", "sk")}).decode(),
            orjson.dumps({**whole, "note": {"S": "nobody told the archive"}}, option=orjson.OPT_SORT_KEYS),
        )
        for item, whole in hours._shop.items()
        if item in ("a", "b")
    ]
    archive, name = hours.place.archive(), ORDERS.table_name
    found = []
    for with_derived in (False, True):
        table = archive.table(name, with_derived=False)
        refresh = partial(archive.table, name, with_derived=with_derived)
        found.append(reconcile(table, [shown], from_ms=hours.at(480), to_ms=hours.at(481), refresh=refresh))
    assert found[0] == found[1]
    # The other items are missing from the table, but for those that nobody knows any more.
    assert (found[0].compared, found[0].unknown) == ((1, 4) if is_second else (5, 0))
    assert found[0].different == found[0].compared


def test_a_table_that_was_compared_with_what_came_since_tells_what_it_told(tmp_path):
    """Its rows stay in the engine, in which those of the trail that was opened once more are read too."""
    hours = Hours(tmp_path)
    hours.archive(*(hours.change(item, 5) for item in ITEMS))
    hours.write(hours.at(62))
    archive, name = hours.place.archive(), ORDERS.table_name
    table = archive.table(name, with_derived=False)
    before = [(change.change_id, change.segment) for change in table.changes()]
    hours.archive(hours.change("a", 65))
    hours.write(hours.at(122))
    refresh = partial(archive.table, name, with_derived=False)
    found = reconcile(table, [], from_ms=hours.at(1_000), to_ms=hours.at(1_001), refresh=refresh)
    assert found.compared == len(ITEMS)
    assert [(change.change_id, change.segment) for change in table.changes()] == before


def test_a_part_that_goes_while_its_rows_are_told(tmp_path):
    """Whoever has begun to read is told which part has gone, in order and without."""
    hours = drawn(Random("placed 0"), tmp_path, is_odd=False)
    for in_order in (False, True):
        state = hours.place.table().as_of(instant(hours.times[-1]))
        batches = state.batches(in_order=in_order)
        kept = {one.name: (hours.place.derived_folder / one.name) for one in hours.place.held() if "part-" in one.name}
        content = {path: path.read_bytes() for path in kept.values() if path.suffix == ".parquet"}
        for path in content:
            path.unlink()
        with pytest.raises(DerivedGone):
            list(batches)
        for path, held in content.items():
            path.write_bytes(held)


def test_what_is_damaged_is_refused_and_what_is_not_needed_is_not_read(tmp_path):
    """Items files are read, but that of the run in which the baseline was taken, and of parts those with a row that is an
    answer; nothing is told from a damaged one.
    """
    hours = drawn(Random("placed 0"), tmp_path, is_odd=False)
    last = instant(hours.times[-1])
    expected = states_of(hours.place.table(), last)
    found: Counter[str] = Counter()
    for one in hours.place.held():
        path = hours.place.derived_folder / one.name
        if "part-" not in path.name or path.suffix == ".idx":
            continue
        content = path.read_bytes()
        path.write_bytes(content[:-9] + bytes([content[-9] ^ 1]) + content[-8:])
        refused = ""
        try:
            assert states_of(hours.place.table(), last) == expected
        except SealMismatch as error:
            refused = error.message
        path.write_bytes(content)
        found[f"{path.suffix} {'refused' if refused else 'not read'}"] += 1
        assert not refused or one.name in refused
    assert found[".items refused"] > 3, found
    assert found[".items not read"] == 1, found
    assert found[".parquet refused"] > 0, found
    assert found[".parquet not read"] > 0, found


def test_an_items_file_that_is_gone_makes_no_difference(tmp_path):
    """Its run is then none."""
    hours = drawn(Random("placed 0"), tmp_path, is_odd=False)
    last = instant(hours.times[-1])
    expected = states_of(hours.place.table(with_derived=False), last)
    held = [hours.place.derived_folder / one.name for one in hours.place.held() if one.name.endswith(".items")]
    assert held
    for path in held:
        content, opened = path.read_bytes(), hours.place.table()
        path.unlink()
        assert states_of(opened, last) == expected
        assert states_of(hours.place.table(), last) == expected
        path.write_bytes(content)


def states_of(table: Table, at: Any) -> list[tuple[str, str | None]]:
    with closing(table.as_of(at)) as state:
        rows = [row for batch in state.batches() for row in batch.to_pylist()]
        return [(row["item_key"], row["image"]) for row in rows]


def test_a_table_that_is_closed_while_it_is_read(tmp_path, monkeypatch):
    """Nobody has to read to the end; a question that was asked before can be asked again."""
    hours = drawn(Random("placed 0"), tmp_path, is_odd=False)
    unheard: list[Any] = []
    monkeypatch.setattr("sys.unraisablehook", unheard.append)
    state = hours.place.table().as_of(instant(hours.times[-1]))
    begun = state.batches()
    first = next(begun)
    del begun
    assert next(state.batches()) == first
    begun = state.batches()
    next(begun)
    state.close()
    del begun
    assert not unheard
