"""Every put of a batch fails, before it is stored or after, alone and in pairs; the whole archive is read after each step.

A put that fails *before* leaves nothing; one that fails *after* leaves the object, and the caller cannot know. Lambda sends
the batch again, whole or cut differently. Whatever happened: nothing half, nothing twice in answers, in the end everything.
"""

import itertools
from collections.abc import Iterator
from functools import cache, lru_cache
from random import Random

import pytest

from archiver.errors import StoreUnavailable
from archiver.segment import encode_segment
from archiver.stream import understand
from tests import second_reader
from tests.golden import make

BEFORE, AFTER = "before", "after"

# Two tables, three hours, late markers, descriptions, quarantined records with and without a trail.
BATCH = [*make.load_batches()[6], *make.load_batches()[7][:3], {"eventSource": "aws:s3"}]
FOLLOWING = make.load_batches()[8]
EVERYTHING = [*BATCH, *FOLLOWING]
WHOLE = tuple(range(len(BATCH)))  # a batch is a tuple of indices into `EVERYTHING`
PUTS = 12  # that `BATCH` takes
FAULTS = [(number, kind) for number in range(PUTS) for kind in (BEFORE, AFTER)]

encode = lru_cache(maxsize=None)(encode_segment)  # the same planned segment always has the same bytes


class FaultyStore:
    """Create-only objects in memory; the puts with the numbers in `faults` (from 0, since `begin`) fail."""

    def __init__(self):
        self.objects: dict[str, bytes] = {}
        self.faults: dict[int, str] = {}
        self.puts = 0

    def begin(self, faults: dict[int, str] | None = None) -> None:
        self.faults, self.puts = faults or {}, 0

    def put_if_absent(self, name: str, content: bytes) -> bool:
        fault = self.faults.get(self.puts)
        self.puts += 1
        is_new = name not in self.objects
        if fault != BEFORE and is_new:
            self.objects[name] = content
        if fault:
            raise StoreUnavailable(f"{name}: lost {fault} it was stored")
        return is_new

    def get(self, name: str) -> bytes:
        return self.objects[name]

    def list(self, prefix: str, start_after: str = "") -> Iterator[tuple[str, int]]:
        return ((name, len(content)) for name, content in sorted(self.objects.items()) if name.startswith(prefix))


class Container:
    """A Lambda container: what it learnt of streams stays until it is replaced."""

    def __init__(self, store, *, is_replaced):
        self.store, self.is_replaced = store, is_replaced
        self.writer = None

    def archive(self, records) -> bool:
        """Whether the batch was acknowledged."""
        if self.writer is None or self.is_replaced:
            self.writer = make.new_writer(self.store)
            self.writer.encode = encode
        try:
            report = self.writer.archive(records, now_ms=make.ARRIVED_MS)
        except StoreUnavailable:
            return False
        assert report.received == len(records) == report.archived + report.repeated + len(report.quarantined)
        return True


@cache
def contents(indices: tuple[int, ...]) -> tuple[set[str], set[bytes]]:
    """Leaves and quarantined texts of these records."""
    changes, quarantined = understand([EVERYTHING[index] for index in indices], lambda _source, _record: None)
    return {change.leaf.hex() for change in changes}, {record.content for record in quarantined}


def check(store: FaultyStore, acknowledged: list[tuple[int, ...]]) -> None:
    """The whole archive, by the second reader: nothing half, nothing foreign, nothing twice, nothing acknowledged missing."""
    trails, homeless, problems = second_reader.read_archive(store)
    assert problems == []
    leaves = {leaf for trail in trails.values() for found in trail.leaves.values() for leaf in found}
    texts = set(homeless).union(*(trail.quarantined for trail in trails.values()))
    known_leaves, known_texts = contents(tuple(range(len(EVERYTHING))))
    assert leaves <= known_leaves
    assert texts <= known_texts
    done_leaves, done_texts = contents(tuple(sorted(set(itertools.chain(*acknowledged)))))
    assert done_leaves <= leaves
    assert done_texts <= texts
    for trail in trails.values():
        identities = [(r["eventSourceARN"], r["dynamodb"]["SequenceNumber"]) for r in trail.records]
        assert len(identities) == len(set(identities))
        # A late segment without its marker could stay unseen for ever.
        late = {name for name in trail.leaves if name < "segments/dt=2028-03-01/hour=11"}
        assert late <= trail.late


def undisturbed(cut: list[tuple[int, ...]]) -> tuple[dict[str, bytes], list[int]]:
    """The objects of a run without faults, and how many puts each invocation made."""
    store = FaultyStore()
    container = Container(store, is_replaced=True)
    puts = []
    for indices in cut:
        store.begin()
        assert container.archive([EVERYTHING[index] for index in indices])
        puts.append(store.puts)
    check(store, cut)
    return store.objects, puts


def kind_of(name: str) -> str:
    return next(kind for kind in ("late", "streams", "quarantine", "segments") if f"/{kind}/" in name)


def test_the_batch_puts_every_kind_of_object():
    """A fault on each put is only as good as the puts there are."""
    objects, (puts,) = undisturbed([WHOLE])
    assert {kind_of(name) for name in objects} == {"late", "streams", "quarantine", "segments"}
    assert any(name.startswith("v1/quarantine/") for name in objects)
    assert puts == len(objects) == PUTS


@pytest.mark.parametrize("is_replaced", [False, True], ids=["same container", "new container"])
@pytest.mark.parametrize("first", FAULTS, ids=lambda fault: f"{fault[0]} {fault[1]}")
def test_two_faults_in_a_row_leave_what_an_undisturbed_run_leaves(first, is_replaced):
    """All or nothing: a batch that failed twice, anywhere, ends with the same names and bytes once it is acknowledged."""
    expected, _ = undisturbed([WHOLE])
    for second in FAULTS:
        store = FaultyStore()
        container = Container(store, is_replaced=is_replaced)
        store.begin(dict([first]))
        assert not container.archive(BATCH)
        check(store, [])
        store.begin(dict([second]))
        is_done = container.archive(BATCH)
        assert is_done is (second[0] >= store.puts)
        check(store, [WHOLE] if is_done else [])
        store.begin()
        assert container.archive(BATCH)
        check(store, [WHOLE])
        assert store.objects == expected


def recuts() -> dict[str, list[tuple[int, ...]]]:
    """How the records may come again after a failure: cut, merged and ordered in other ways."""
    half = len(BATCH) // 2
    shuffled = list(WHOLE)
    Random(7).shuffle(shuffled)
    return {
        "bisected": [WHOLE[:half], WHOLE[half:]],
        "one by one": [(index,) for index in WHOLE],
        "merged": [tuple(range(len(EVERYTHING)))],
        "shuffled": [tuple(shuffled)],
        "overlapping": [WHOLE[: half + 3], WHOLE[half - 3 :]],
        "twice in one": [WHOLE + tuple(shuffled)],
        "shuffled thirds": [tuple(shuffled[at::3]) for at in range(3)],
    }


@pytest.mark.parametrize("cut", recuts().values(), ids=recuts().keys())
def test_batches_cut_anew_after_a_fault_lose_and_double_nothing(cut):
    """Lambda cuts a batch differently on every retry, so segments overlap; answers must not notice."""
    expected, puts = undisturbed(cut)
    first_faults = itertools.cycle(FAULTS)
    for invocation, kind in itertools.product(range(len(cut)), (BEFORE, AFTER)):
        for number in range(puts[invocation]):
            store = FaultyStore()
            container = Container(store, is_replaced=True)
            store.begin(dict([next(first_faults)]))
            assert not container.archive(BATCH)
            check(store, [])
            left_over = set(store.objects)
            done: list[tuple[int, ...]] = []
            for at, indices in enumerate(cut):
                records = [EVERYTHING[index] for index in indices]
                store.begin({number: kind} if at == invocation else None)
                if not container.archive(records):
                    assert at == invocation
                    check(store, done)
                    store.begin()
                    assert container.archive(records)
                done.append(indices)
                check(store, done)
            assert set(store.objects) == set(expected) | left_over
