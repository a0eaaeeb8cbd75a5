"""Sealers on one trail at once, and an archiver beside them: every call of the store is a step, and a scheduler says whose.

A run is a thread per actor, of which exactly one moves at a time, so a race is its seed, or its place in an enumeration,
and nothing else. After each the second reader reads the whole log: one seal for each size, one chain, everything sealed.

`python -m tests.archiving.test_sealer_races FOLDER` is a sealer that dies, in a process of its own, at every point of its
output (`test_kill`): one copy of the archive in FOLDER for each.
"""

import os
import shutil
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from random import Random

import pytest

import archiver.sealer
from archiver.errors import StoreUnavailable
from archiver.format.log_entry import AcknowledgeEntry, KeyRotationEntry
from archiver.sealed_log import SealRefused
from archiver.sealer import Sealer, Sealing
from archiver.segment import SegmentFile, encode_segment
from archiver.signer import public_key_text
from archiver.store import FolderStore
from archiver.streams import Streams
from archiver.writer import Writer
from tests import second_reader
from tests.archiving import test_kill
from tests.archiving.batches import arn_of
from tests.archiving.test_sealer import (
    HOUR_MS,
    LATER,
    NEW,
    NOW_MS,
    OLD,
    P256,
    TRAIL,
    CountingStore,
    at,
    check_signatures,
    read,
    seal,
    sealed_segments,
    statements,
)
from tests.simulator.memory_store import MemoryStore

encode = lru_cache(maxsize=None)(encode_segment)  # the same planned segment always has the same bytes
STUCK_S = 20.0


@pytest.fixture(autouse=True)
def _checked_once(monkeypatch):
    """The same bytes under the same name are the same segment: thousands of races need not decode them anew."""
    for name in ("open", "check"):
        monkeypatch.setattr(SegmentFile, name, lru_cache(maxsize=None)(getattr(SegmentFile, name)))


# --- the scheduler ---


class Actor:
    """Somebody who works in a thread of their own, and moves only when told."""

    def __init__(self, work: Callable[["Actor"], object]):
        self.may_move, self.has_moved = threading.Semaphore(0), threading.Semaphore(0)
        self.is_done = False
        self.result: object = None
        self.error: BaseException | None = None
        self.thread = threading.Thread(target=self._run, args=(work,), daemon=True)
        self.thread.start()

    def _run(self, work) -> None:
        self.may_move.acquire()
        try:
            self.result = work(self)
        except BaseException as error:
            self.error = error
        self.is_done = True
        self.has_moved.release()

    def step(self) -> None:
        """In the actor's thread: says that it stands before its next call."""
        self.has_moved.release()
        self.may_move.acquire()

    def move(self) -> None:
        """In the scheduler's thread: lets it make one call."""
        self.may_move.release()
        assert self.has_moved.acquire(timeout=STUCK_S), "an actor waits for something else than its turn"


class SteppedStore:
    """A store whose every call is a step of an actor; a listing is one for every few names, as pages are."""

    def __init__(self, store: MemoryStore, actor: Actor, page: int = 3):
        self.store, self.actor, self.page = store, actor, page

    def put_if_absent(self, name: str, content: bytes) -> bool:
        self.actor.step()
        return self.store.put_if_absent(name, content)

    def get(self, name: str) -> bytes:
        self.actor.step()
        return self.store.get(name)

    def list(self, prefix: str, start_after: str = "") -> Iterator[tuple[str, int]]:
        while True:
            self.actor.step()
            found = list(self.store.list(prefix, start_after))[: self.page]
            yield from found
            if len(found) < self.page:
                return
            start_after = found[-1][0]


def run(actors: Sequence[Actor], choose: Callable[[Sequence[Actor]], Actor]) -> None:
    """Moves them until all are done; who fails, fails the test."""
    while running := [actor for actor in actors if not actor.is_done]:
        choose(running).move()
    for actor in actors:
        actor.thread.join()
        if actor.error is not None:
            raise actor.error


def sealing(store: MemoryStore, now_ms: int = NOW_MS, *, signer=OLD, passes: int = 1, **options) -> Actor:
    """A sealer that knows nothing yet, and makes one pass or several."""

    def work(actor: Actor) -> list[Sealing]:
        sealer = Sealer(SteppedStore(store, actor), TRAIL, signer)
        return [sealer.seal(now_ms + number, **options) for number in range(passes)]

    return Actor(work)


def archiving(store: MemoryStore, batches: Sequence[Sequence[dict]], now_ms: int = NOW_MS) -> Actor:
    def work(actor: Actor) -> None:
        writer = Writer(SteppedStore(store, actor), Streams(), encode)
        for batch in batches:
            writer.archive(batch, now_ms=now_ms)

    return Actor(work)


def copy_of(store: MemoryStore) -> MemoryStore:
    other = MemoryStore()
    other.objects = dict(store.objects)
    return other


def check(store: MemoryStore, sealers: Sequence[Actor], signer=OLD) -> second_reader.LogRead:
    """One chain, which its sealers wrote between them; and one pass more seals what came too late, each once."""
    log = read(store, signer)
    written = Counter(name for actor in sealers for done in actor.result for name in done.seals)
    assert set(written) <= {f"seals/{one['size_before']:020d}.json" for one in log.seals}
    if signer is P256:  # two signatures of it are never alike; of Ed25519, two sealers may have made the same seal
        assert set(written.values()) <= {1}
    assert all(done.seals for actor in sealers for done in actor.result)
    seal(store, NOW_MS + HOUR_MS, signer=signer)
    after = read(store, signer)
    assert after.entries[: len(log.entries)] == log.entries
    names = [name.removeprefix(TRAIL.prefix) for name in store.objects]
    assert sorted(sealed_segments(after)) == sorted(name for name in names if name.startswith("segments/"))
    assert len(after.of_type("quarantine")) == sum("quarantine/" in name for name in names)
    assert len({entry["stream_label"] for entry in after.of_type("open")}) == len(
        [entry for entry in after.of_type("open") if entry["description_sha256"]]
    )
    return log


# --- 1,000 races ---

LIMITS = [1, 2, 5_000]


def race(seed: int, monkeypatch) -> None:
    """Two sealers, sometimes three, of one key, with clocks of their own; most often with an archiver between them."""
    rng = Random(seed)
    monkeypatch.setattr(archiver.sealer, "SEGMENTS_PER_SEAL", rng.choice(LIMITS))
    signer = rng.choice([OLD, P256])
    store = MemoryStore()
    batches = [[at(-rng.randrange(12), number)] for number in range(rng.randrange(6))]
    batches += [[{"eventSource": "aws:s3", "n": number}] for number in range(rng.randrange(2))]
    batches += [[at(0, 50, arn=arn_of("orders", LATER))]] * rng.randrange(2)
    writer = Writer(store, Streams(), encode)
    for at_once in range(rng.randrange(3)):
        for batch in batches[at_once::3]:
            writer.archive(batch, now_ms=NOW_MS)
        seal(store, NOW_MS - HOUR_MS, signer=signer)
    for batch in batches:
        writer.archive(batch, now_ms=NOW_MS)
    before = [name.removeprefix(TRAIL.prefix) for name in store.objects if "/segments/" in name]
    sealers = [
        sealing(store, NOW_MS + rng.randrange(-60_000, 60_000), signer=signer, passes=rng.choice([1, 1, 2]))
        for _ in range(rng.choice([2, 2, 2, 3]))
    ]
    more = [[at(-rng.randrange(3), 100 + number)] for number in range(rng.randrange(4))]
    pace = [rng.random() + 0.05 for _ in range(len(sealers) + 1)]
    actors = [*sealers, archiving(store, more)]
    run(actors, lambda running: rng.choices(running, [pace[actors.index(actor)] for actor in running])[0])
    log = check(store, sealers, signer)
    assert set(before) <= set(sealed_segments(log))


@pytest.mark.parametrize("block", range(10))
def test_two_sealers_racing_a_thousand_times_never_fork_the_log(block, monkeypatch):
    """One seal for each size, one chain, nothing sealed twice or left out, and nobody fails."""
    for seed in range(block * 100, block * 100 + 100):
        try:
            race(seed, monkeypatch)
        except BaseException as error:
            error.add_note(f"seed {seed}")
            raise


def test_a_race_is_lost_in_every_place():
    """Races that never met would prove nothing: the first sealer stops at each of its calls, and the other makes all of its own."""
    start = MemoryStore()
    writer = Writer(start, Streams(), encode)
    writer.archive([at(-1, 1), at(-2, 2), {"eventSource": "aws:s3"}], now_ms=NOW_MS)
    seal(start, NOW_MS - HOUR_MS)
    writer.archive([at(0, 3), at(-1, 4)], now_ms=NOW_MS)
    seals = Counter()
    for first_moves in range(1, 100):
        store = copy_of(start)
        first, second = sealing(store), sealing(store, NOW_MS + 1)
        for _ in range(first_moves):
            if not first.is_done:
                first.move()
        is_over = first.is_done
        run([second], lambda running: running[0])
        run([first], lambda running: running[0])
        log = check(store, [first, second])
        assert sorted(sealed_segments(log)) == sealed_segments(log)[:2] + sorted(sealed_segments(log)[2:])
        seals[len(log.seals)] += 1
        if is_over:
            break
    assert first_moves < 99
    assert set(seals) == {3}


def test_every_pair_of_stops(monkeypatch):
    """The first goes some calls, the second some, the first to its end, the second to its end: every such pair."""
    monkeypatch.setattr(archiver.sealer, "SEGMENTS_PER_SEAL", 1)
    start = MemoryStore()
    Writer(start, Streams(), encode).archive([at(0, 1)], now_ms=NOW_MS)
    lost = 0
    for first_moves in range(1, 60):
        for second_moves in range(1, 60):
            store = copy_of(start)
            first, second = sealing(store), sealing(store, NOW_MS + 1)
            for actor, moves in ((first, first_moves), (second, second_moves)):
                for _ in range(moves):
                    if not actor.is_done:
                        actor.move()
            are_over = first.is_done, second.is_done
            run([first], lambda running: running[0])
            run([second], lambda running: running[0])
            log = check(store, [first, second])
            lost += log.of_type("interval")[0]["sealed_at_ms"] != NOW_MS
            if are_over[1]:
                break
        if are_over[0]:
            break
    assert first_moves < 59
    assert lost > 0


def test_a_sealer_that_was_long_at_it_does_not_blame_its_clock():
    """It took ten minutes over its segments, and another sealed meanwhile with a clock that is as right as its own."""
    store = MemoryStore()
    Writer(store, Streams(), encode).archive([at(0, 1), at(-1, 2)], now_ms=NOW_MS)
    slow, quick = sealing(store), sealing(store, NOW_MS + 10 * 60_000)
    for _ in range(8):
        slow.move()
    run([quick], lambda running: running[0])
    run([slow], lambda running: running[0])
    assert len(check(store, [slow, quick]).seals) == 2


def test_a_clock_that_is_a_day_ahead_is_not_followed():
    """The loser of a race takes the winner's time only as far as a pass may have taken."""
    store = MemoryStore()
    Writer(store, Streams(), encode).archive([at(0, 1)], now_ms=NOW_MS)
    right, ahead = sealing(store), sealing(store, NOW_MS + 24 * HOUR_MS)
    for _ in range(8):
        right.move()
    run([ahead], lambda running: running[0])
    with pytest.raises(SealRefused, match="86400 s from now"):
        run([right], lambda running: running[0])


def test_two_acknowledgements_at_once_are_both_in_the_log():
    """What a person signed is not lost with the race; the loser appends it to what the winner wrote."""
    store = MemoryStore()
    entries = [AcknowledgeEntry(None, 1_000, 2_000, reason) for reason in ("Ada looked", "Bob looked")]
    actors = [sealing(store, also=[entry]) for entry in entries]
    rng = Random(1)
    run(actors, rng.choice)
    assert sorted(entry["reason"] for entry in read(store).of_type("acknowledge")) == ["Ada looked", "Bob looked"]


def test_a_key_that_is_handed_over_during_a_pass_stops_the_old_one():
    """Whoever sealed with the old key loses the race and is told; the log goes on with the new one."""
    store = MemoryStore()
    seal(store)
    old, rotating = sealing(store), sealing(store, also=[KeyRotationEntry(public_key_text(NEW.public_key))])
    for _ in range(5):
        old.move()
    run([rotating], lambda running: running[0])
    with pytest.raises(SealRefused, match="handed over to another key"):
        run([old], lambda running: running[0])
    seal(store, NOW_MS + 1, signer=NEW)
    read(store, OLD, NEW)


def test_two_keys_at_once_make_one_log_of_one_key():
    """Two sealers that were given different keys: the first wins the trail, the other is told."""
    store = MemoryStore()
    one, other = sealing(store), sealing(store, signer=NEW)
    for actor in (one, other, one, other, one, other):
        actor.move()
    run([one], lambda running: running[0])
    with pytest.raises(SealRefused, match="not signed with this key"):
        run([other], lambda running: running[0])
    read(store)


def test_others_who_never_stop_are_an_error_at_last():
    """A sealer that loses for ever says so, instead of trying for ever."""
    store = MemoryStore()

    class Beaten(CountingStore):
        beaten = 0

        def put_if_absent(self, name, content):
            Beaten.beaten += 1
            seal(store, NOW_MS + Beaten.beaten)
            return super().put_if_absent(name, content)

    with pytest.raises(SealRefused, match="others keep sealing"):
        Sealer(Beaten(store), TRAIL, OLD).seal(NOW_MS)
    assert Beaten.beaten == 20
    assert len(read(store).seals) == 20


# --- answers that are lost ---


@pytest.mark.parametrize("signer", [OLD, P256], ids=["ed25519", "p256"])
@pytest.mark.parametrize("number", range(4))
def test_a_put_whose_answer_was_lost_is_a_success_once(monkeypatch, signer, number):
    """The store's own retry is told that the name is taken: by the same bytes, also where no two signatures are alike."""
    monkeypatch.setattr(archiver.sealer, "SEGMENTS_PER_SEAL", 1)
    store = MemoryStore()
    for hours in range(3):
        Writer(store, Streams(), encode).archive([at(-hours, hours)], now_ms=NOW_MS)

    class Retrying(CountingStore):
        def put_if_absent(self, name, content):
            is_new = super().put_if_absent(name, content)
            return is_new and len(self.names("put")) - 1 != number

    done = Sealer(Retrying(store), TRAIL, signer).seal(NOW_MS)
    log = read(store, signer)
    assert len(log.seals) == len(done.seals) == 4
    assert done.head.compose().decode() == log.seals[-1]["checkpoint"]


def test_an_error_after_the_put_leaves_a_seal_to_go_on_from():
    """Every retry's answer was lost: the pass fails, the seal is there, and the next pass knows its own."""
    store = MemoryStore()

    class Losing(CountingStore):
        def put_if_absent(self, name, content):
            super().put_if_absent(name, content)
            if len(self.names("put")) == 1:
                raise StoreUnavailable("no answer")
            return True

    sealer = Sealer(Losing(store), TRAIL, P256)
    with pytest.raises(StoreUnavailable):
        sealer.seal(NOW_MS)
    assert sealer.seal(NOW_MS + 1).seals == ["seals/00000000000000000001.json"]
    check_signatures(read(store, P256), P256)


# --- a process that dies ---

MOST_POINTS = 1_000


def seal_folder(folder: Path) -> None:
    archiver.sealer.SEGMENTS_PER_SEAL = 1
    assert Sealer(FolderStore(folder), TRAIL, OLD).seal(NOW_MS).refused == ()


def die_everywhere(root: Path) -> None:
    """Copies of `start`, each as a child left it; the last child finds no point left and ends well."""
    os.fsync = test_kill.no_fsync
    test_kill.archive = seal_folder
    for point in range(1, MOST_POINTS):
        shutil.copytree(root / "start", root / str(point))
        status = test_kill.fork(test_kill.die_at, point, root / str(point))
        if status == 0:
            (root / str(point)).rename(root / test_kill.UNDISTURBED)
            return
        if status != test_kill.KILLED:
            sys.exit(f"the child of point {point} ended with {status}")
    sys.exit("there is no end of points")


def test_a_process_that_dies_leaves_a_whole_log(tmp_path):
    """F23: before, during and after each put of a seal. What is left is a log, and run again it says what it would have."""
    store = FolderStore(tmp_path / "start")
    writer = Writer(store, Streams(), encode)
    writer.archive([at(0, 1), at(-1, 2), {"eventSource": "aws:s3"}], now_ms=NOW_MS)
    seal(store, NOW_MS - HOUR_MS)
    writer.archive([at(0, 3), at(-1, 4)], now_ms=NOW_MS)
    command = [sys.executable, "-m", "tests.archiving.test_sealer_races", str(tmp_path)]
    ran = subprocess.run(
        command, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False, timeout=300
    )
    assert ran.returncode == 0, ran.stderr
    expected = statements(read(tmp_path / test_kill.UNDISTURBED))
    left = Counter()
    for point in range(1, MOST_POINTS):
        folder = tmp_path / str(point)
        if not folder.exists():
            break
        log = read(folder)
        left[len(log.seals)] += 1
        assert expected[: len(statements(log))] == statements(log), point
        seal(FolderStore(folder))
        assert statements(read(folder)) == expected, point
    assert set(left) == {1, 2, 3, 4}
    assert sum(left.values()) > 40


if __name__ == "__main__":
    die_everywhere(Path(sys.argv[1]))
