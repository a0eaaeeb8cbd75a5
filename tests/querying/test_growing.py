"""A trail that grows while it is opened: whatever came between two looks, the answer is one that was right meanwhile."""

import shutil
from dataclasses import replace
from functools import cache, partial
from itertools import islice
from threading import Lock

import pytest

from archiver.format.layout import stream_name
from query.catalog import Evidence, Tail
from query.descriptions import Descriptions
from query.sealed import SealReader
from query.source import FolderSource
from tests.querying.derived_worlds import DAY_MS, TRAIL, Place, is_segment, make_world

TRAILS = 4
STREAMS = {"reenable_rate": 0.2, "anew_rate": 0.0, "poison_rate": 0.0, "pause_ms": 3_600_000}


class Growing:
    """Looks into folders, counted; before one of them, somebody puts something."""

    def __init__(self, monkeypatch):
        self.count, self._at, self._put, self._lock = 0, 0, None, Lock()
        for name in ("objects", "folders", "read", "fetch"):
            monkeypatch.setattr(FolderSource, name, self._watched(getattr(FolderSource, name)))

    def before(self, at, put):
        """From the next look on, which is the first."""
        self.count, self._at, self._put = 0, at, put

    def _watched(self, look):
        def watched(source, *given, **named):
            with self._lock:
                self.count += 1
                if self.count == self._at:
                    self._put()
            return look(source, *given, **named)

        return watched


def told(place, known=frozenset()):
    """The changes that a table tells which is opened now. Of streams that it tells something new of, it knows what is
    described.
    """
    table = place.table()
    changes = list(table.changes())
    labels = {change.stream_label for change in changes if change.change_id not in known}
    described = {label for label in labels if (place.archive_folder / TRAIL.prefix / stream_name(label)).exists()}
    assert described <= set(table.evidence.streams)
    return {change.change_id for change in changes}


def grow(place, world, stage, *, is_sealed):
    """Puts what comes until a stage, or all of it but the seals."""
    if is_sealed:
        place.play(world, stage)
        return
    for name in world.names_until(stage):
        path = place.archive_folder / name
        if "/seals/" not in name and not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(world.objects[name])


@cache
def drawn():
    """Histories and the stages after which a stream comes that there was not before."""
    return list(islice(_drawn(), TRAILS))


def _drawn():
    for seed in range(200):
        world = make_world(seed, overrides=STREAMS)
        for stage in range(len(world.stages) - 1) if world else ():
            held, more = (set(world.names_until(one)) for one in (stage, stage + 1))
            comes = any("/streams/" in name for name in more - held)
            if comes and any("/seals/" in name for name in held) and any(map(is_segment, held)):
                yield world, stage


@pytest.mark.parametrize("is_sealed", [False, True])
@pytest.mark.parametrize("number", range(TRAILS))
def test_a_trail_that_grows_between_two_looks(number, is_sealed, tmp_path, monkeypatch):
    """Never less than there was when it was opened, never more than there is now, and no new stream without its dates."""
    world, stage = drawn()[number]
    growing = Growing(monkeypatch)
    start = Place(tmp_path / "start", key_names=world.key_names).play(world, stage)
    assert start.compact()
    growing.before(0, None)
    before = told(start)
    looks = growing.count
    grown = Place(tmp_path / "after", key_names=world.key_names).play(world, stage)
    grow(grown, world, stage + 1, is_sealed=is_sealed)
    after = told(grown)
    for at in range(1, looks + 1):
        folder = tmp_path / f"at-{at}"
        shutil.copytree(start.folder, folder)
        place = replace(start, folder=folder, _written=set(start._written))
        growing.before(at, partial(grow, place, world, stage + 1, is_sealed=is_sealed))
        assert before <= told(place, before) <= after, at


def test_what_may_change_is_looked_at_in_an_order(tmp_path, monkeypatch):
    """Seals, then segments that they may not name, then the streams of those: whatever comes in between, nothing that
    was there before is missing beside what came after it.
    """
    world, stage = drawn()[0]
    place = Place(tmp_path, key_names=world.key_names).play(world, stage)
    assert place.compact()
    looks, objects = [], FolderSource.objects

    def noted(source, prefix, **named):
        found = objects(source, prefix, **named)
        looks.append(prefix.removeprefix(TRAIL.prefix))
        return found

    monkeypatch.setattr(FolderSource, "objects", noted)
    assert place.table().evidence.runs
    last = {prefix: number for number, prefix in enumerate(looks)}
    assert looks.index("seals/") < min(looks.index("segments/"), looks.index("late/"))
    assert max(last["segments/"], last["late/"]) < min(last["streams/"], last["baselines/"])


def test_a_tail_that_begins_too_late_is_listed_again(tmp_path):
    """Where it begins was told by derived data, which nobody has signed."""
    world, stage = drawn()[0]
    place = Place(tmp_path, key_names=world.key_names).play(world, stage)
    source = FolderSource(place.archive_folder)
    sealed = replace(SealReader(source).read(TRAIL), segments={}, runs=("some",))
    described = Descriptions.read(source, TRAIL)
    expected = Evidence.of(source, TRAIL, sealed, described)
    assert expected.segments
    for days in (-300, 0, 300):
        tail = Tail.read(source, TRAIL, sealed.to_ms + days * DAY_MS)
        assert Evidence.of(source, TRAIL, sealed, described, tail) == expected
