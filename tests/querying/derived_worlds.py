"""Worlds for what is derived: a simulated history, sealed now and then by the real sealer on its way, so that at any of
its seals somebody may compact; and every answer of a table as plain data, to be compared with another one.

A world is played stage by stage (what stood there after each seal) into a folder. Which answers are right is never asked
of the reader that looks at runs: `Place.table(with_derived=False)` reads evidence alone, and the oracle neither.
"""

from __future__ import annotations

import hashlib
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from random import Random
from typing import Any

import orjson

import query.rows
import query.snapshots
from archiver.format.description import BaselineDescription, StreamDescription
from archiver.format.layout import StreamSource, Trail, stream_name
from archiver.format.log_entry import SegmentEntry
from archiver.format.seal import Seal
from archiver.sealer import Sealer
from archiver.segment import decode_segment
from archiver.streams import Streams
from archiver.writer import Writer
from query.archive import Archive
from query.derived.collect import GRACE_MS, waste
from query.derived.store import FolderStore, Held
from query.engine import Engine
from query.errors import QueryError
from query.instant import Instant, format_ms
from query.opening import open_archive
from query.runs import Compactor, MadeRun
from query.snapshots import MadeSnapshot, SnapshotKeeper
from query.source import Access, FolderSource
from query.table import Table
from tests.oracle import ABSENT, Oracle, image_of, key_of, to_ms
from tests.querying.test_simulated import archived_identities
from tests.simulator.memory_store import MemoryStore
from tests.simulator.outcome import Outcome
from tests.simulator.real import RealHandler, _put_baseline, _unreadable, good_records, is_segment
from tests.simulator.run import _Run
from tests.simulator.scenario import HOUR_MS, draw_scenario
from tests.simulator.table import ACCOUNT, REGION
from tests.system.tampered import FIRST_KEY, MINUTE_MS

TRAIL = Trail(ACCOUNT, REGION, "orders")
DAY_MS = 24 * HOUR_MS


@dataclass
class World:
    """A history: everything that was put, in order, and after which puts somebody had sealed (number of objects, epoch
    ms). `is_judged`: the oracle knows all that the archive holds.
    """

    seed: int
    outcome: Outcome
    objects: dict[str, bytes]
    stages: list[tuple[int, int]]
    is_judged: bool

    @property
    def now_ms(self) -> int:
        return self.stages[-1][1]

    def names_until(self, stage: int) -> list[str]:
        """The objects that stood there after a stage."""
        return list(self.objects)[: self.stages[stage][0]]

    @cached_property
    def key_names(self) -> tuple[str, ...]:
        return tuple(name for name, _ in self.outcome.key_schema)

    @cached_property
    def keys(self) -> list[dict[str, Any]]:
        """The keys of all items that ever had a change."""
        found = {
            orjson.dumps(e.record["dynamodb"]["Keys"]): e.record["dynamodb"]["Keys"] for e in good_records(self.outcome)
        }
        return [found[text] for text in sorted(found)]

    @cached_property
    def times(self) -> list[int]:
        """Each distinct `changed_at`, in order (epoch ms)."""
        return sorted({to_ms(e.record["dynamodb"]["ApproximateCreationDateTime"]) for e in good_records(self.outcome)})

    @cached_property
    def oracle(self) -> Oracle:
        return self.outcome.oracle(archived_identities(self.outcome))

    @cached_property
    def told(self) -> dict[tuple[str, str, str], dict[str, set[str]]]:
        """Which segments (full names) tell of each change, with what `event`: read by the decoder of segments."""
        found: dict[tuple[str, str, str], dict[str, set[str]]] = {}
        for name, content in self.objects.items():
            if is_segment(name):
                for row in decode_segment(content, StreamSource(TRAIL, "2000-01-01T00:00:00.000")):
                    identity = row.source.stream_label, row.sequence_number.zfill(40), row.item_key.decode()
                    found.setdefault(identity, {}).setdefault(name, set()).add(row.event.decode())
        return found

    def sealed_at(self, stage: int) -> set[str]:
        """The segments (full names) that are sealed after a stage."""
        seals = [self.objects[name] for name in self.names_until(stage) if "/seals/" in name]
        return {
            TRAIL.prefix + entry.path
            for content in seals
            for entry in Seal.parse(content).entries
            if isinstance(entry, SegmentEntry)
        }


class _Handler(RealHandler):
    """The real archiver by an honest clock, whose deployment may learn the key schema only after a while; descriptions
    and baselines come in between, and now and then somebody seals."""

    def __init__(self, seed: int, store: MemoryStore):
        super().__init__(seed, None)
        self.store = store
        self.run: Any = None
        self.stages: list[tuple[int, int]] = []
        self.has_incomplete = False
        own = Random(f"{seed} derived")
        self._own = own
        self._in_order = MemoryStore()
        self._in_order.objects = store.objects
        self._seal_rate = own.choice([0.15, 0.5, 0.9])
        self._learns_at = own.choice([0, 0, 4, 1 << 30])  # batches
        self._describes_at = own.choice([0, 3, 1 << 30])
        self._incomplete_rate = own.choice([0.0, 0.0, 0.5])
        self._batches = 0
        self._called_ms = 0
        self._baselines = 0
        self._sealer = Sealer(self._in_order, TRAIL, FIRST_KEY)

    def __call__(self, event: dict, store: Any) -> None:
        self._arrive()
        self._called_ms = self.run._clock.now_ms
        self._batches += 1
        if self._batches == self._learns_at:
            self._writer = None
        try:
            if self._writer is None or self._rng.random() < 0.1:
                self._writer = Writer(store, Streams(self._schema(), describe_table=_unreadable))
            self._writer.store = store
            self._writer.archive(event["Records"], now_ms=self.run._clock.now_ms)
        finally:
            if self._own.random() < self._seal_rate:
                self.seal()

    def _schema(self) -> dict[str, tuple[str, ...]]:
        names = tuple(name for name, _ in self.run._outcome.key_schema)
        return {"orders": names} if self._batches >= self._learns_at else {}

    def _arrive(self) -> None:
        """A put that is under way arrives within the hour: sealers and readers beside runs look back 26 hours for what is
        not announced, and here days may go by between two batches."""
        if self.run._clock.now_ms - self._called_ms > HOUR_MS:
            self.run._store.settle()

    def seal(self, *, is_last: bool = False) -> None:
        self._arrive()
        if self._batches >= self._describes_at or is_last:
            self._describe()
        self._put_baselines()
        if self._own.random() < 0.3:
            self._sealer = Sealer(self._in_order, TRAIL, FIRST_KEY)
        done = self._sealer.seal(self.run._clock.now_ms)
        assert not done.refused, done.refused
        self.stages.append((len(self.store.objects), self.run._clock.now_ms))

    def _describe(self) -> None:
        schema = tuple(self.run._outcome.key_schema)
        knows_ids = self.run._scenario.knows_table_ids
        for stream in self.run._streams:
            table_id = (
                self.run._table.table_ids[stream.label]
                if knows_ids and stream.label in self.run._table.table_ids
                else None
            )
            description = StreamDescription(stream.arn, schema, table_id, "NEW_AND_OLD_IMAGES")
            self.store.put_if_absent(TRAIL.prefix + stream_name(stream.label), description.compose())

    def _put_baselines(self) -> None:
        """Those that were finished since; two of one second have one name, and the first stays."""
        scanned = self.run._scanner.baselines
        kept: dict[int, dict] = {}
        for baseline in scanned:
            kept.setdefault(baseline["s"], baseline)
        for baseline in scanned[self._baselines :]:
            if kept[baseline["s"]] is not baseline:
                continue
            beside = MemoryStore()
            _put_baseline(beside, TRAIL, baseline, tuple(self.run._outcome.key_schema))
            is_complete = self._own.random() >= self._incomplete_rate
            for name, content in beside.objects.items():
                if name.endswith("baseline.json") and not is_complete:
                    self.has_incomplete = True
                    content = replace(BaselineDescription.parse(content), complete=False).compose()
                self.store.put_if_absent(name, content)
        self._baselines = len(scanned)


# How the pace of requests is drawn: as the scenario has it (minutes), or steady, so that hours, days and months close.
_PACES_MS = (0, 0, 20 * MINUTE_MS, 2 * HOUR_MS, 8 * HOUR_MS, 60 * HOUR_MS)


def make_world(seed: int, writes: int = 24, overrides: dict[str, Any] | None = None) -> World | None:
    """One history, sealed on its way, days later, and after a late replay; None if nothing was ever archived."""
    rng, own, store = Random(seed), Random(f"{seed} world"), MemoryStore(Random(seed))
    chosen: dict[str, Any] = {
        "pause_ms": own.choice(_PACES_MS),
        "baseline_rate": own.choice([0.0, 0.05, 0.15]),
        "poison_rate": 0.0,
        "duplicate_rate": own.choice([0.0, 0.3]),
        "is_skewed": own.random() < 0.7,
        "anew_rate": own.choice([0.0, 0.0, 0.04]),
        "reenable_rate": own.choice([0.0, 0.0, 0.06]),
    }
    if own.random() < 0.4:  # one stream, and baselines to begin at: a whole table is told by runs and snapshots
        chosen |= {"baseline_rate": 0.2, "anew_rate": 0.0, "reenable_rate": 0.0, "view_type": "NEW_AND_OLD_IMAGES"}
        chosen |= {"pause_ms": own.choice(_PACES_MS[3:])}
    elif own.random() < 0.5:
        chosen |= {"conflict_rate": 0.3, "duplicate_rate": 0.4, "put_fault_rate": 0.0}
    scenario = draw_scenario(rng, {**chosen, **(overrides or {})})
    handler = _Handler(seed, store)
    run = _Run(seed, writes, rng, scenario, handler, store)
    handler.run = run
    outcome = run.play(has_replay=False)
    for _ in range(own.randint(0, 2)):
        run._clock.now_ms += int(own.random() * 40 * HOUR_MS)
        handler.seal()
    run._replay()
    assert not outcome.handler_errors, outcome.handler_errors
    if not good_records(outcome) or not any(map(is_segment, store.objects)):
        return None
    run._clock.now_ms += MINUTE_MS
    handler.seal(is_last=True)
    for _ in range(own.randint(0, 2)):  # nothing comes any more, and hours close
        run._clock.now_ms += int(own.random() * 3 * DAY_MS)
        handler.seal()
    kept: dict[int, dict] = {}
    for baseline in outcome.baselines:
        kept.setdefault(baseline["s"], baseline)
    outcome.baselines = list(kept.values())
    # Where stamps step back while a table is made anew, baselines of the new one can lie before the end of the old one.
    is_judged = not handler.has_incomplete and not (scenario.is_skewed and outcome.happened["table made anew"])
    return World(seed, outcome, dict(store.objects), handler.stages, is_judged)


# --- a folder in which a world is played ---


class Stopped(Exception):
    """Somebody pulled the plug."""


class StoppingStore(FolderStore):
    """Stops before or after its k-th put; k is counted from 1, and puts of later than it never happen."""

    def __init__(self, root: Path, at: int, *, is_after: bool = False) -> None:
        super().__init__(root)
        self._left, self._is_after = at, is_after

    def put_if_absent(self, name: str, path: Path) -> bool:
        self._left -= 1
        if self._left < 0 or (self._left == 0 and not self._is_after):
            raise Stopped
        done = super().put_if_absent(name, path)
        if self._left == 0:
            raise Stopped
        return done


class WatchedStore(FolderStore):
    """Calls somebody before each put: another compaction, a reader."""

    def __init__(self, root: Path, before: Callable[[int], None]) -> None:
        super().__init__(root)
        self._before, self._count = before, 0

    def put_if_absent(self, name: str, path: Path) -> bool:
        self._count += 1
        self._before(self._count)
        return super().put_if_absent(name, path)


@dataclass
class Place:
    """A folder with an archive, and where its derived data lies: in itself, or apart."""

    folder: Path
    apart: bool = False
    now_ms: int = 0
    trail: Trail = TRAIL
    key_names: tuple[str, ...] | None = None
    _written: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.archive_folder.mkdir(parents=True, exist_ok=True)
        self.derived_folder.mkdir(parents=True, exist_ok=True)

    @property
    def archive_folder(self) -> Path:
        return self.folder / "archive"

    @property
    def derived_folder(self) -> Path:
        return self.folder / "derived" if self.apart else self.archive_folder

    def play(self, world: World, stage: int) -> Place:
        """Puts what stood there after a stage."""
        for name in world.names_until(stage):
            if name not in self._written:
                path = self.archive_folder / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(world.objects[name])
                self._written.add(name)
        self.now_ms = world.stages[stage][1] + MINUTE_MS
        return self

    def archive(self) -> Archive:
        return open_archive(
            str(self.archive_folder),
            derived_url=str(self.derived_folder),
            now_ms=lambda: self.now_ms,
            threads=1,
            access=Access(cache_dir=self.folder / "cache"),
            key_schema=None if self.key_names is None else {self.trail.table_name: self.key_names},
        )

    def table(self, *, with_derived: bool = True) -> Table:
        return self.archive().table(self.trail.table_name, with_derived=with_derived)

    def store(self) -> FolderStore:
        return FolderStore(self.derived_folder)

    def derived(self) -> FolderSource:
        return FolderSource(self.derived_folder)

    def compactor(self, store: FolderStore | None = None) -> Compactor:
        return Compactor(
            FolderSource(self.archive_folder),
            self.derived(),
            store or self.store(),
            self.trail,
            Engine(threads=1),
        )

    def compact(self, store: FolderStore | None = None) -> list[MadeRun]:
        return self.compactor(store).compact()

    def keep(self, store: FolderStore | None = None) -> list[MadeSnapshot]:
        """Makes the snapshots that are wanted by now."""
        table = self.table()
        keeper = SnapshotKeeper(self.trail, table.evidence, table.reader, store or self.store(), Engine(threads=1))
        return keeper.keep()

    def collect(self) -> list[str]:
        """What `gc` takes away after the grace period."""
        later_ms = round(time.time() * 1000) + 2 * GRACE_MS
        gone = [one.name for one in waste(self.derived(), self.store(), self.trail, now_ms=later_ms)]
        self.store().delete(gone)
        return gone

    def held(self) -> list[Held]:
        """Every object of runs and snapshots that is there."""
        return [one for kind in ("runs/", "snapshots/") for one in self.store().held(self.trail.prefix + kind)]

    def without_derived(self) -> None:
        """Takes all that is derived away."""
        for kind in ("runs", "snapshots"):
            shutil.rmtree(self.derived_folder / self.trail.prefix / kind, ignore_errors=True)


# --- every answer as plain data ---


def by_value(image: str | None) -> str | None:
    """An image with its sets in order: of segments that spell it differently, any may be read."""
    return None if image is None else orjson.dumps(_in_order({"M": orjson.loads(image)})).decode()


def _in_order(value: dict[str, Any]) -> dict[str, Any]:
    ((tag, content),) = value.items()
    if tag in {"SS", "NS", "BS"}:
        return {tag: sorted(content)}
    if tag == "L":
        return {tag: [_in_order(member) for member in content]}
    if tag == "M":
        return {tag: {name: _in_order(member) for name, member in content.items()}}
    return value


def plain_change(change: Any) -> tuple:
    return (
        change.change_id,
        change.op,
        change.changed_at_ms,
        change.effective_ms,
        change.sequence_number,
        change.stream_label,
        change.item_key,
        by_value(change.old_image),
        by_value(change.new_image),
        change.user_identity,
    )


def plain_conflict(conflict: Any) -> tuple:
    return (
        conflict.item_key,
        conflict.stream_label,
        conflict.sequence_number,
        tuple(sorted(conflict.segments)),
        conflict.differs,
    )


def plain_version(version: Any) -> tuple:
    change = None if version.change is None else plain_change(version.change)
    return version.item_key, by_value(version.image), change, version.valid_from_ms, version.valid_to_ms


def teller(change: Any) -> tuple:
    """What tells of a change: where several segments do, it may be any of them."""
    identity = change.stream_label, change.sequence_number, change.item_key
    return identity, or_error(lambda: change.segment), change.event, change.is_sealed


TOLD = 6  # members of what `whole_table` tells; an error has fewer


def whole_table(table: Table, when: Any) -> tuple:
    state = table.as_of(when)
    try:
        return (
            tuple(replace(one, image=by_value(one.image)) for one in state.all_states()),
            tuple(replace(one, image=by_value(one.image)) for one in state.states()),
            state.count,
            state.unknown,
            tuple(map(plain_conflict, state.conflicts)),
            state.has_floor,
        )
    finally:
        state.close()


def or_error(ask: Callable[[], Any]) -> Any:
    """An answer, or the error that says why there is none: errors are answers too."""
    try:
        return ask()
    except QueryError as error:
        return type(error).__name__, error.message


def instant(at_ms: int) -> Instant:
    return Instant(at_ms, format_ms(at_ms), format_ms(at_ms))


@dataclass(frozen=True)
class Questions:
    """What is asked: instants for the whole table, instants for single items, keys, ranges, and cuts."""

    instants: tuple[int, ...]
    item_instants: tuple[int, ...]
    keys: tuple[dict, ...]
    ranges: tuple[tuple[int | None, int | None], ...]
    cuts: int

    @classmethod
    def of(cls, world: World, rng: Random, *, instants: int, item_instants: int, keys: int, cuts: int) -> Questions:
        """Some of all that could be asked: around each change, before the beginning, after the end."""
        around = sorted({at + by for at in world.times for by in (-1000, -1, 0, 1000)})
        ends = [world.times[-1] + 40 * DAY_MS, world.times[0] - DAY_MS][: max(1, instants)]
        chosen = sorted({*ends, *rng.sample(around, min(instants, len(around)))})
        for_items = sorted({*rng.sample(around, min(item_instants, len(around))), ends[0]})
        ranges = [(None, None)]
        for _ in range(2):
            since, until = sorted(rng.choices(around, k=2))
            ranges += [(since, until)]
        ranges += [(rng.choice(around), None), (None, rng.choice(around))]
        some = tuple(rng.sample(world.keys, min(keys, len(world.keys))))
        return cls(tuple(chosen), tuple(for_items), some, tuple(ranges), cuts)


def answers(table: Table, asked: Questions) -> dict[Any, Any]:
    """Every answer by its question. Without keys where nobody knows the schema."""
    found: dict[Any, Any] = {}
    for at_ms in asked.instants:
        found["as of", at_ms] = or_error(partial(whole_table, table, instant(at_ms)))
    for since, until in asked.ranges:
        changes = or_error(partial(table.changes, since_ms=since, until_ms=until))
        if isinstance(changes, tuple):
            found["changes", since, until] = changes
            continue
        found["changes", since, until] = (
            tuple(map(plain_change, changes)),
            tuple(map(plain_conflict, changes.conflicts)),
        )
        found["tellers", since, until] = tuple(map(teller, changes))
    ids = [change[0] for change in found.get(("changes", None, None), ((),))[0]]
    for change_id in [ids[n * len(ids) // asked.cuts] for n in range(asked.cuts)] if ids else []:
        found["cut", change_id] = or_error(partial(whole_table, table, f"@{change_id}"))
    found["conflicts", None] = or_error(lambda: tuple(map(plain_conflict, table.conflicts())))
    found["coverage", None] = or_error(table.coverage)
    found["chain", None] = or_error(lambda: _image_chain(table))
    for key in asked.keys:
        _ask_item(table, key, asked, found)
    return found


def _ask_item(table: Table, key: dict, asked: Questions, found: dict[Any, Any]) -> None:
    text = orjson.dumps(key).decode()
    item = or_error(lambda: table.item(json_text=text))
    if isinstance(item, tuple):
        found["item", text] = item
        return
    found["versions", text] = or_error(lambda: tuple(map(plain_version, item.versions)))
    found["item tellers", text] = or_error(lambda: tuple(teller(v.change) for v in item.versions if v.change))
    for at_ms in asked.item_instants:
        found["state", text, at_ms] = or_error(partial(_item_state, item, at_ms))
    schema = table.key_schema
    if schema is None or schema.sort is None:
        return
    name = schema.partition.name
    collection = or_error(lambda: table.collection(json_text=orjson.dumps({name: key[name]}).decode()))
    if isinstance(collection, tuple):
        found["collection", text] = collection
        return
    found["collection", text] = or_error(
        lambda: (
            tuple(map(plain_version, collection.versions)),
            tuple(item.item_key for item in collection.items()),
            tuple(map(plain_conflict, collection.conflicts)),
        )
    )


def _image_chain(table: Table) -> tuple:
    chain = table.image_chain()
    counts = chain.links, chain.comparable, chain.broken, chain.items
    return counts, chain.breaks, tuple(map(plain_conflict, chain.conflicts))


def _item_state(item: Any, at_ms: int) -> tuple:
    answer = item.state(instant(at_ms))
    version = None if answer.version is None else plain_version(answer.version)
    return replace(answer.state, image=by_value(answer.state.image)), version, answer.explanation, answer.is_sealed


def differences(expected: dict[Any, Any], found: dict[Any, Any]) -> list[tuple[Any, Any, Any]]:
    """The questions whose answers differ, with both; but for what tells of changes (`check_tellers`)."""
    wrong = []
    for question in {**expected, **found}:
        right, got = expected.get(question), found.get(question)
        if question[0] in {"as of", "cut"}:
            doubted = {conflict[0] for conflict in expected["conflicts", None]}
            right, got = _both_told(right, got, doubted), _both_told(got, right, doubted)
        if question[0] not in {"tellers", "item tellers"} and right != got:
            wrong.append((question, right, got))
    return wrong


def _both_told(answer: tuple, other: tuple, doubted: set[str]) -> tuple:
    """A table without what may differ with runs (docs/answers.md): where a baseline lets older hours be left out, what
    an answer rests on, whether an absent item ever was, and whether a conflict in those hours refuses an item.
    """
    if len(answer) < TOLD or len(other) < TOLD:
        return answer
    states, existing, count, unknown, conflicts, has_floor = answer
    told = [{state.item_key: state for state in one[0]} for one in (answer, other)]
    refused = {item_key for item_key in doubted if has_floor and not all(item_key in one for one in told)}
    if refused:
        count = unknown = None

    def kept(found: tuple, facing: tuple) -> tuple:
        others = {state.item_key: state for state in facing}
        left = [state for state in found if state.item_key not in refused]
        if not has_floor:
            return tuple(left)
        return tuple(
            state if state == others.get(state.item_key) else (state.item_key, state.image, state.reason)
            for state in left
            if state.outcome.value in {"existed", "unknown"}
        )

    return (
        kept(states, other[0]),
        kept(existing, other[1]),
        count,
        unknown,
        tuple(conflict for conflict in conflicts if conflict[0] not in refused),
        has_floor,
    )


def check_tellers(world: World, stage: int, found: dict[Any, Any], where: Any) -> None:
    """Each segment that is named for a change does tell of it, in these words, and is sealed if that is what is said."""
    sealed = world.sealed_at(stage)
    for question, tellers in found.items():
        if question[0] in {"tellers", "item tellers"} and tellers[:1] != ("IdentityConflict",):
            for identity, segment, event, is_sealed in tellers:
                assert isinstance(segment, str), f"{where}: {segment}"
                events = world.told[identity].get(segment)
                assert events is not None, f"{where}: {segment} does not tell of {identity}"
                assert event in events, f"{where}: {segment} tells of {identity} in other words"
                assert is_sealed == (segment in sealed), f"{where}: {segment} of {identity}: sealed? {is_sealed}"


def unlike(right: Any, got: Any, place: str = "") -> str:
    """The first places in which two answers differ."""
    if isinstance(right, tuple) and isinstance(got, tuple):
        if len(right) != len(got):
            return f"{place} {len(right)} members, not {len(got)}: {right!r:.700}\n    {got!r:.700}"
        pairs = enumerate(zip(right, got, strict=True))
        return "\n".join(unlike(a, b, f"{place}[{n}]") for n, (a, b) in pairs if a != b)
    return f"{place} {right!r:.700}\n    {got!r:.700}"


def check_same(expected: dict[Any, Any], found: dict[Any, Any], where: Any) -> None:
    """Raises AssertionError with the first question whose answers differ."""
    wrong = differences(expected, found)
    if wrong:
        question, right, got = wrong[0]
        kinds = sorted({question[0] for question, *_ in wrong})
        raise AssertionError(f"{where}: {len(wrong)} answers differ ({kinds}), first {question}:\n{unlike(right, got)}")


def check_oracle(world: World, found: dict[Any, Any], where: Any) -> int:
    """Compares the whole-table answers with the oracle's, where it knows the whole of the evidence."""
    if not world.is_judged:
        return 0
    refused = {key for *_, key in world.oracle.conflicts()}
    compared = 0
    for question, answer in found.items():
        if question[0] != "as of":
            continue
        told = {key_of(orjson.loads(state.item_key)): state for state in answer[0]}
        for key, state in world.oracle.table_at(question[1]).items():
            if key in refused:
                continue
            got = told.get(key)
            if state.rule == 4 and got is not None and got.is_guess:  # a baseline of no label before a gap
                continue
            # An item that nothing consulted tells of is not in the answer; where a baseline lets older hours be left
            # out, one that was deleted is as one that never was.
            is_silent = state.outcome == "unknown" and state.guess in (None, ABSENT)
            outcome = ("unknown" if is_silent else "not-yet-created") if got is None else got.outcome.value
            if answer[-1] and {outcome, state.outcome} == {"not-yet-created", "already-deleted"}:
                outcome = state.outcome
            image = None if got is None or got.image is None or got.is_guess else orjson.loads(got.image)["M"]
            assert (outcome, image_of(image)) == (state.outcome, image_of(state.image)), (
                f"{where}: {key} at {question[1]}: expected {state}, found {got}"
            )
            compared += 1
    return compared


def digest(folder: Path) -> str:
    """Of everything below a folder: names and contents."""
    whole = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            whole.update(path.relative_to(folder).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return whole.hexdigest()


def large(monkeypatch: Any, is_large: bool) -> None:
    """Lets even a small trail take the roads of large ones: nothing is kept in memory from question to question, and
    a few changes are worth a snapshot."""
    if is_large:
        monkeypatch.setattr(query.rows, "_KEPT_BYTES", 0)
        monkeypatch.setattr(query.snapshots, "_FEWEST_CHANGES", 3)
