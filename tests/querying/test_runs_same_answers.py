"""No answer changes by maintenance: simulated histories, asked with what is derived and from evidence alone, while somebody
compacts, merges, collects, loses, damages and copies runs; and against the oracle, which has never heard of any of it.
"""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

import pytest

import query.snapshots
from query.derived.live import live_runs
from query.derived.names import RunName
from query.runs import MadeRun
from query.seal_log import SealMismatch
from query.source import FolderSource
from tests.campaign import rounds
from tests.querying.derived_worlds import (
    HOUR_MS,
    TRAIL,
    Place,
    Questions,
    Stopped,
    StoppingStore,
    WatchedStore,
    World,
    answers,
    check_oracle,
    check_same,
    check_tellers,
    differences,
    instant,
    large,
    make_world,
    or_error,
    whole_table,
)
from tests.simulator.memory_store import MemoryStore
from tests.system.tampered import FIRST_KEY, MINUTE_MS, ORDERS, Shop, label_of

CHUNKS, SEEDS = 3, 9
LONG_CHUNKS, LONG_SEEDS = 20, 500
FEW = {"instants": 0, "item_instants": 0, "keys": 1, "cuts": 0}
SOME = {"instants": 2, "item_instants": 1, "keys": 1, "cuts": 1}
MANY = {"instants": 5, "item_instants": 2, "keys": 2, "cuts": 1}


def place_of(world: World, folder: Path) -> Place:
    """With derived data inside the archive or apart from it, with the key schema configured or not."""
    is_told = world.seed % 4 != 0
    return Place(folder, apart=world.seed % 3 == 0, key_names=world.key_names if is_told else None)


def check(place: Place, world: World, stage: int, asked: Questions, expected: dict, where: Any) -> dict:
    """Everything with what is derived now, as it was from evidence alone."""
    found = answers(place.table(), asked)
    check_same(expected, found, where)
    check_tellers(world, stage, found, where)
    return found


# --- maintenance at random points between questions ---


def maintained(world: World, folder: Path, size: dict[str, int]) -> Counter[str]:
    """Plays a world; between its stages somebody does this or that to what is derived, and everything is asked again."""
    rng, place, had = Random(f"{world.seed} play"), place_of(world, folder), Counter[str]()
    last = len(world.stages) - 1
    stages = sorted({rng.randrange(last + 1), last})
    for stage in stages:
        place.play(world, stage)
        asked = Questions.of(world, rng, **size)
        expected = answers(place.table(with_derived=False), asked)
        where = f"seed {world.seed}, stage {stage}"
        if place.held():
            check(place, world, stage, asked, expected, f"{where}, sealed more, not compacted")
            had["behind"] += 1
        made, kept = place.compact(), place.keep()
        had["runs"] += len(made)
        had["snapshots"] += len(kept)
        had["merged"] += sum(one.runs > 0 for one in made)
        if stage == last:
            found = check(place, world, stage, asked, expected, f"{where}, compacted")
            had["judged"] += check_oracle(world, found, where)
        had["collected"] += bool(place.collect())
        assert not place.compact(), f"{where}: there was something left to compact"
        done = lose(place, rng)
        had[done] += 1
        check(place, world, stage, asked, expected, f"{where}, compacted, collected, {done}")
        if rng.random() < 0.7:
            place.compact()
            check(place, world, stage, asked, expected, f"{where}, {done}, mended")
            had["mended"] += 1
    return had


def lose(place: Place, rng: Random) -> str:
    """Something of the runs goes: a folder, a description, a part, its items file, an index, a table of segments; or
    nothing does.
    """
    held = [one.name for one in place.held()]
    kind = rng.choice(["", "run", ".json", ".idx", ".items", "part", "segments", "everything"])
    if not held or not kind:
        return "nothing lost"
    if kind == "everything":
        place.without_derived()
    elif kind == "run":
        shutil.rmtree((place.derived_folder / rng.choice(held)).parent)
    else:
        chosen = [name for name in held if kind in name.rpartition("/")[2]]
        if kind == "part":
            chosen = [name for name in chosen if name.endswith(".parquet")]
        if chosen:
            (place.derived_folder / rng.choice(chosen)).unlink()
    return f"lost {kind}"


def campaign(first: int, after_last: int, folder: Path, size: dict[str, int], monkeypatch: Any) -> Counter[str]:
    had: Counter[str] = Counter()
    for seed in range(first, after_last):
        world = make_world(seed)
        if world is None:
            continue
        with monkeypatch.context() as patch:
            large(patch, seed % 2 == 1)
            had.update(maintained(world, folder / str(seed), size))
        had["worlds"] += 1
        had["labels"] += len({e.record["eventSourceARN"] for e in world.outcome.records}) > 1
        had["conflicts"] += bool(world.oracle.conflicts())
        had["tables"] += world.outcome.happened["table made anew"]
        had["baselines"] += len(world.outcome.baselines)
        shutil.rmtree(folder / str(seed))
    return had


@pytest.mark.parametrize("chunk", rounds(2, CHUNKS))
def test_no_answer_changes_by_maintenance(chunk, tmp_path, monkeypatch):
    """Behind, compacted, merged, collected, lost in part, mended: what evidence says, it always said."""
    had = campaign(chunk * SEEDS // CHUNKS, (chunk + 1) * SEEDS // CHUNKS, tmp_path, SOME, monkeypatch)
    assert had["worlds"] > 0
    assert had["runs"] > had["worlds"], had
    assert had["judged"] > 0, had


@pytest.mark.long
@pytest.mark.parametrize("chunk", range(LONG_CHUNKS))
def test_no_answer_ever_changes_by_maintenance(chunk, tmp_path, monkeypatch):
    """The same for hundreds of histories, with more questions."""
    size = LONG_SEEDS // LONG_CHUNKS
    had = campaign(SEEDS + chunk * size, SEEDS + (chunk + 1) * size, tmp_path, MANY, monkeypatch)
    assert min(had[kind] for kind in ("runs", "merged", "behind", "collected", "mended", "judged")) > 0, had
    assert had["baselines"] > 0, had


@pytest.mark.long
def test_those_histories_have_what_can_go_wrong():
    """All of them together: in a few dozens alone, several labels or a table made anew may be missing."""
    had: Counter[str] = Counter()
    for world in filter(None, map(make_world, range(SEEDS, SEEDS + LONG_SEEDS))):
        had["labels"] += len({e.record["eventSourceARN"] for e in world.outcome.records}) > 1
        had["conflicts"] += bool(world.oracle.conflicts())
        had["tables"] += world.outcome.happened["table made anew"]
    assert min(had[kind] for kind in ("labels", "conflicts", "tables")) > LONG_CHUNKS, had


# --- one history, looked at closely ---


class Fixed:
    """A world that has what these tests need, played to its end in a folder; and what is right there."""

    def __init__(self, folder: Path, seed: int, *, compacted_at: int | None = None) -> None:
        world = make_world(seed)
        assert world is not None
        self.world, self.stage = world, len(world.stages) - 1
        self.place = place_of(world, folder)
        self.made: list[MadeRun] = []
        if compacted_at is not None:
            self.place.play(world, compacted_at)
            self.made = self.place.compact()
        self.place.play(world, self.stage)
        self.asked = Questions.of(world, Random(seed), **FEW)
        self.expected = answers(self.place.table(with_derived=False), self.asked)

    def check(self, where: Any, asked: Questions | None = None) -> None:
        expected = self.expected if asked is None else answers(self.place.table(with_derived=False), asked)
        check(self.place, self.world, self.stage, asked or self.asked, expected, where)

    def live(self) -> tuple[RunName, ...]:
        return tuple(run.name for run in live_runs(self.place.derived(), TRAIL))

    def files(self) -> dict[str, bytes]:
        return {one.name: (self.place.derived_folder / one.name).read_bytes() for one in self.place.held()}


# Histories over days: hours close, then days, so that runs are merged. Chosen by `worth_a_look`.
MERGING = (16, 5)


@pytest.mark.parametrize("is_after", [False, True])
@pytest.mark.parametrize("seed", MERGING)
def test_a_compaction_stopped_at_any_put_leaves_nothing_half_made(seed, is_after, tmp_path):
    """Before each put and after each: what is live is whole, answers stay, and the next compaction does the rest."""
    whole = Fixed(tmp_path / "whole", seed, compacted_at=len(make_world(seed).stages) // 2)
    whole.place.compact()
    right, names = whole.files(), whole.live()
    broken = Fixed(tmp_path / "broken", seed, compacted_at=len(whole.world.stages) // 2)
    before = broken.live()
    for at in range(1, 1_000):
        store = StoppingStore(broken.place.derived_folder, at, is_after=is_after)
        kept = broken.files()
        try:
            broken.place.compact(store)
        except Stopped:
            left = broken.files()
            assert left.items() >= kept.items()
            assert len(left) == len(kept) + at - (not is_after)
            assert left.items() <= right.items(), "another run than the one that is made without a stop"
            live = broken.live()
            assert sum(one.end - one.start for one in live) >= sum(one.end - one.start for one in before)
            for run in live_runs(broken.place.derived(), TRAIL):
                for part in run.parts:
                    assert len(left[part.name]) == part.size_bytes
            broken.check(f"stopped at put {at}")
            # The next one begins with what was there before: each put is stopped at once.
            for name in left.keys() - kept.keys():
                (broken.place.derived_folder / name).unlink()
        else:
            break
    assert at > 4, "nothing was made"
    assert (broken.files(), broken.live()) == (right, names)
    broken.check("after all")


@pytest.mark.parametrize("seed", MERGING[:1])
def test_a_compaction_that_is_stopped_again_and_again_ends_with_the_same_runs(seed, tmp_path):
    """Nothing is tidied up in between: what was left is found there and taken."""
    whole, broken = Fixed(tmp_path / "whole", seed), Fixed(tmp_path / "broken", seed)
    whole.place.compact()
    for at in range(1, 1_000):
        try:
            broken.place.compact(StoppingStore(broken.place.derived_folder, at))
        except Stopped:
            continue
        break
    assert (broken.files(), broken.live()) == (whole.files(), whole.live())
    broken.check("after all")


@pytest.mark.parametrize("seed", MERGING[:1])
def test_two_compactions_at_once(seed, tmp_path):
    """Another one runs from beginning to end before some put of the first: both succeed, and there is one set of runs."""
    whole = Fixed(tmp_path / "whole", seed)
    whole.place.compact()
    puts = len(whole.files())
    for at in sorted({1, 2, 4, puts // 2, puts}):
        raced = Fixed(tmp_path / str(at), seed)
        place = raced.place

        def before(count: int, at: int = at, place: Place = place) -> None:
            if count == at:
                place.compact()

        place.compact(WatchedStore(place.derived_folder, before))
        assert raced.files() == whole.files(), at
        assert raced.live() == whole.live(), at
    raced.check("after a race")


@pytest.mark.parametrize("is_large", [False, True])
def test_asked_while_somebody_compacts_and_collects(is_large, tmp_path, monkeypatch):
    """A reader comes between any two puts; and one that chose before asks on while its runs are merged and go."""
    large(monkeypatch, is_large)
    seed = MERGING[0]
    fixed = Fixed(tmp_path, seed, compacted_at=len(make_world(seed).stages) // 2)
    opened = fixed.place.table()
    loaded = fixed.place.table()
    check_same(fixed.expected, answers(loaded, fixed.asked), "before")

    def before(count: int) -> None:
        if count % 3 == 0:
            fixed.check(f"before put {count}")

    fixed.place.compact(WatchedStore(fixed.place.derived_folder, before))
    gone = fixed.place.collect()
    assert gone, "nothing was merged"
    check_same(fixed.expected, answers(opened, fixed.asked), "opened before, asked after")
    check_same(fixed.expected, answers(loaded, fixed.asked), "asked before, asked after")


# --- what is lost, damaged, or of somebody else ---


@pytest.mark.parametrize("is_large", [False, True])
def test_any_file_of_a_run_may_be_gone(is_large, tmp_path, monkeypatch):
    """Whichever it is, also after it was chosen: the question is answered from what there is."""
    large(monkeypatch, is_large)
    fixed = Fixed(tmp_path, MERGING[0])
    fixed.place.compact()
    fixed.check("whole")
    for name, content in sorted(fixed.files().items()):
        path = fixed.place.derived_folder / name
        opened = fixed.place.table()
        path.unlink()
        check_same(fixed.expected, answers(opened, fixed.asked), f"{name} went after it was chosen")
        fixed.check(f"{name} is gone")
        path.write_bytes(content)


@pytest.mark.parametrize("damage", ["gone", "cut", "longer"])
def test_a_run_that_is_not_whole_is_made_anew(damage, tmp_path):
    """Whichever file it is, the next compaction leaves what the first one did."""
    fixed = Fixed(tmp_path, MERGING[0])
    fixed.place.compact()
    right = fixed.files()
    for name, content in sorted(right.items()):
        path = fixed.place.derived_folder / name
        if damage == "gone":
            path.unlink()
        else:
            path.write_bytes(content[:-1] if damage == "cut" else content + b"\0")
        assert fixed.place.compact(), name
        assert fixed.files() == right, name


def spoilt(content: bytes, rng: Random) -> dict[str, bytes]:
    """A file as a disk or somebody left it."""
    size = len(content)
    found = {"cut short": content[: rng.randrange(size)], "longer": content + b"\0", "empty": b""}
    for eighth in range(8):
        at = rng.randrange(eighth * size // 8, (eighth + 1) * size // 8)
        found[f"bit in eighth {eighth}"] = (
            content[:at] + bytes([content[at] ^ 1 << rng.randrange(8)]) + content[at + 1 :]
        )
    return found


def refusals(fixed: Fixed, name: str, how: str) -> int:
    """How many questions are refused, naming the damaged file; all others must have the right answer."""
    try:
        found = answers(fixed.place.table(), fixed.asked)
    except SealMismatch:
        return 1
    wrong = differences(fixed.expected, found)
    for question, _, got in wrong:
        where = f"{name}: {how}: {question} {got}"
        assert not name.endswith("run.json"), where
        assert got[0] == "SealMismatch" or (got[0] == "UnreadableArchive" and how in {"cut short", "empty"}), where
        assert name.rpartition(".")[0] in got[1], where
    return len(wrong)


@pytest.mark.parametrize("is_large", [False, True])
def test_no_answer_comes_from_a_damaged_run(is_large, tmp_path, monkeypatch):
    """Every answer is the right one or an error that says what is damaged; a damaged description is none."""
    large(monkeypatch, is_large)
    fixed, rng = Fixed(tmp_path, MERGING[0]), Random(3)
    fixed.place.compact()
    refused: Counter[str] = Counter()
    for name, content in sorted(fixed.files().items()):
        kind = name.rpartition("/")[2]
        kind = kind if kind == "run.json" else kind.rpartition(".")[2] if "part-" in kind else "segments"
        ways = sorted(spoilt(content, rng).items())
        for how, damaged in ways if kind == "parquet" else rng.sample(ways, 3 if kind == "run.json" else 1):
            (fixed.place.derived_folder / name).write_bytes(damaged)
            refused[kind] += refusals(fixed, name, how)
        (fixed.place.derived_folder / name).write_bytes(content)
    assert refused["parquet"] > 0, refused
    assert refused["segments"] > 0, refused
    fixed.check("whole again")


def test_runs_of_another_log_are_not_taken(tmp_path):
    """Copied from another trail or environment: whichever runs reach furthest, nothing of them is told."""
    ours, theirs = Fixed(tmp_path / "ours", MERGING[0]), Fixed(tmp_path / "theirs", MERGING[1])
    theirs.place.compact()
    runs = TRAIL.prefix + "runs"
    shutil.copytree(theirs.place.derived_folder / runs, ours.place.derived_folder / runs)
    ours.check("theirs only")
    shutil.rmtree(ours.place.derived_folder / runs)
    ours.place.compact()
    shutil.copytree(theirs.place.derived_folder / runs, ours.place.derived_folder / runs, dirs_exist_ok=True)
    ours.check("ours and theirs")


def test_runs_of_a_log_that_was_rolled_back_are_not_taken(tmp_path):
    """The archive was restored from an older copy, what was derived was not: it tells more than there is, and is made anew."""
    world = make_world(MERGING[0])
    later = place_of(world, tmp_path / "later").play(world, len(world.stages) - 1)
    later.compact()
    stage = len(world.stages) // 2
    earlier = place_of(world, tmp_path / "earlier").play(world, stage)
    shutil.copytree(later.derived_folder / TRAIL.prefix / "runs", earlier.derived_folder / TRAIL.prefix / "runs")
    ends = {world_seal_end(world, number) for number in range(stage + 1)}
    assert {run.name.end for run in live_runs(FolderSource(earlier.derived_folder), TRAIL)} - ends
    asked = Questions.of(world, Random(1), **SOME)
    expected = answers(earlier.table(with_derived=False), asked)
    check_same(expected, answers(earlier.table(), asked), "rolled back")
    earlier.compact()
    live = live_runs(earlier.derived(), TRAIL)
    assert {run.name.end for run in live} <= ends
    check_same(expected, answers(earlier.table(), asked), "rolled back, compacted")
    assert earlier.table().evidence.runs == live


def world_seal_end(world: World, stage: int) -> int:
    from archiver.format.seal import Seal

    seals = sorted(name for name in world.names_until(stage) if "/seals/" in name)
    return Seal.parse(world.objects[seals[-1]]).after.size


# --- made by hand ---

MIDNIGHT_MS = 1_799_625_600_000  # 2027-01-11T00:00Z


class ByHand:
    """A trail of few changes, each archived and sealed by itself; hours count from a midnight."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        self.shop = Shop(self.store, ORDERS)
        self.label = label_of(self.at(-200))

    @staticmethod
    def at(hours: float) -> int:
        return MIDNIGHT_MS + round(hours * HOUR_MS)

    def change(self, item: str, hours: float, *, archived: float | None = None, note: str | None = None) -> None:
        """A change, archived then or later, and sealed a minute after it was."""
        record = self.shop.change(item, self.at(hours), self.label)
        if note is not None:
            record["dynamodb"]["NewImage"]["note"] = {"S": note}
        self.archive(record, hours if archived is None else archived)

    def archive(self, record: dict[str, Any], hours: float) -> None:
        self.shop.archive([record], self.at(hours))
        self.shop.seal(FIRST_KEY, self.at(hours) + MINUTE_MS)

    def place(self, folder: Path, now: float) -> Place:
        place = Place(folder, trail=ORDERS, now_ms=self.at(now), key_names=("pk", "sk"))
        for name, content in self.store.objects.items():
            path = place.archive_folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        return place


@pytest.mark.parametrize("hours", [-25, -23, -1, 1, 20])
def test_a_late_segment_in_an_older_run_is_not_in_the_tail_too(hours, tmp_path):
    """It announced itself, so a listing of the tail still shows it days later, when a run has long held it."""
    trail = ByHand()
    trail.change("a", -100)
    trail.change("b", -90, archived=hours)
    for later in (26, 37, 48, 49, 49.5):
        trail.change("a", later)
    place = trail.place(tmp_path, 52)
    assert len(place.compact()) > 1
    table = place.table()
    assert table.evidence.runs
    assert all(one.is_sealed for one in table.evidence.segments)
    held = sum(run.description.rows for run in table.evidence.runs)
    assert held + len(table.evidence.segments) == len(list(table.changes()))


def test_a_run_of_another_log_in_the_middle_is_not_taken(tmp_path):
    """The last run is of this log, and one before it of another with the same ranges: an archive that was rolled back."""
    places = []
    for name, note in (("ours", "ours"), ("theirs", "theirs")):
        trail = ByHand()
        for number, hours in enumerate((-100, -70, -40, 1, 2)):
            trail.change("a", hours, note=note if number == 0 else None)
        places.append(trail.place(tmp_path / name, 5))
        places[-1].compact()
    ours, theirs = places
    first, *_ = live_runs(ours.derived(), ORDERS)
    other, *_ = live_runs(theirs.derived(), ORDERS)
    assert first.name == other.name
    assert first.description != other.description
    shutil.rmtree(ours.derived_folder / first.folder)
    shutil.copytree(theirs.derived_folder / other.folder, ours.derived_folder / first.folder)
    found = or_error(lambda: [version.image for version in ours.table().item("a", "1").versions])
    assert found[0] == "SealMismatch" or '"ours"' in found[0], found


@pytest.mark.parametrize("knows_later", [False, True])
def test_an_item_whose_key_text_was_not_known(knows_later, tmp_path, monkeypatch):
    """Rows that do not say their key text stand before all others in a run, and are found there by key too."""
    large(monkeypatch, True)
    trail = ByHand()
    for number, hours in enumerate((-100, -99, -98, -70, -69, -40, 1, 2)):
        record = trail.shop.change("abc"[number % 3], trail.at(hours), trail.label)
        trail.shop.archive([record], trail.at(hours), knows_keys=knows_later and hours > -80)
        trail.shop.seal(FIRST_KEY, trail.at(hours) + MINUTE_MS)
    place = trail.place(tmp_path, 5)
    place.compact()
    with_runs, without = place.table(), place.table(with_derived=False)
    assert with_runs.evidence.runs
    for item in "abcd":
        found, expected = (
            [(one.image, one.valid_from_ms, one.change.event) for one in table.item(item, "1").versions]
            for table in (with_runs, without)
        )
        assert found == expected
        assert bool(found) == (item != "d")
        collected = [len(table.collection(item).versions) for table in (with_runs, without)]
        assert collected == [len(expected)] * 2


@pytest.mark.parametrize("seed", rounds(3, 6))
def test_clocks_that_step_back_across_runs(seed, tmp_path, monkeypatch):
    """Changes in order whose times are not, late segments, and a baseline and snapshots between: at every instant the
    table is what evidence alone says, whichever road is taken.
    """
    large(monkeypatch, True)
    monkeypatch.setattr(query.snapshots, "_FEWEST_CHANGES", 2)
    rng, trail = Random(f"{seed} steps"), ByHand()
    now, times, waiting = 1.0, [], []
    for number in range(14):
        now += rng.choice([0.0, 0.3, 1.0, 1.5])
        at = round(now - rng.choice([0, 0, 0, 0.2, 0.9, 1.7]), 1)
        waiting.append(trail.shop.change(rng.choice("abc"), trail.at(at), trail.label))
        times.append(trail.at(at))
        if rng.random() < 0.7:
            trail.archive(waiting.pop(rng.randrange(len(waiting))), now)
        if number == 3:
            now += 2
            trail.shop.baseline(trail.at(now), trail.label)
            now += 0.5
    for record in waiting:
        now += 0.5
        trail.archive(record, now)
    trail.change("z", now + 1.5)
    place = trail.place(tmp_path, now + 2)
    assert len(place.compact()) > 1
    place.keep()
    with_runs, without = place.table(), place.table(with_derived=False)
    for at_ms in sorted({at + by for at in times for by in (-1000, 0)} | {trail.at(now + 1)}):
        found, expected = ({("as of", at_ms): whole_table(one, instant(at_ms))} for one in (with_runs, without))
        found |= {("conflicts", None): ()}
        expected |= {("conflicts", None): ()}
        check_same(expected, found, at_ms)


def test_the_change_that_wins_may_be_none_that_a_run_offers(tmp_path, monkeypatch):
    """The second of three changes comes late and is stamped after the instant, the third before it: the first one wins,
    though in its own run it is followed before the instant.
    """
    large(monkeypatch, True)
    trail = ByHand()
    first, second, third = (trail.shop.change("a", trail.at(hours), trail.label) for hours in (1.5, 3.5, 1.7))
    trail.archive(first, 1.8)
    trail.archive(third, 1.9)
    trail.archive(second, 3.6)
    trail.change("z", 5)
    place = trail.place(tmp_path, 6)
    assert len(place.compact()) == 2
    state = place.table().as_of(instant(trail.at(2.5)))
    assert [one.change_id for one in state.states()] == [first["eventID"]]
    assert [one.change_id for one in place.table(with_derived=False).as_of(instant(trail.at(2.5))).states()] == [
        first["eventID"]
    ]
