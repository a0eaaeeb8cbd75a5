"""A trail that grows while it is opened: whatever came between two looks, the answer is one that was right meanwhile."""

import shutil
from dataclasses import replace
from functools import cache, partial
from itertools import islice
from threading import Lock

import pytest

from archiver.format.layout import stream_name
from query.source import FolderSource
from tests.querying.derived_worlds import TRAIL, Place, is_segment, make_world

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
