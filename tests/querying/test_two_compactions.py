"""Two compactions in one folder: what one has finished, the other leaves; what one takes away, the other does not miss."""

from contextlib import closing
from itertools import combinations
from pathlib import Path

import pytest

import query.compare
import query.rows
import query.snapshots
from query.derived.names import SNAPSHOTS
from query.derived.store import FolderStore
from tests.querying.derived_worlds import TRAIL, Place, instant, make_world


class SlowStore(FolderStore):
    """After it has looked at what there is, and before it says so, something happens."""

    def __init__(self, root, then):
        super().__init__(root)
        self._then = then

    def held(self, prefix):
        found = super().held(prefix)
        self._then()
        return found


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A trail in runs that has snapshots to make."""
    monkeypatch.setattr(query.snapshots, "_FEWEST_CHANGES", 0)
    monkeypatch.setattr(query.snapshots, "_CHANGES_PER_ROW", 0)
    for seed in range(200):
        world = make_world(seed)
        if world is None:
            continue
        place = Place(tmp_path / str(seed), key_names=world.key_names).play(world, len(world.stages) - 1)
        tried = Place(tmp_path / f"{seed} tried", key_names=world.key_names).play(world, len(world.stages) - 1)
        place.compact(), tried.compact()
        if tried.keep():
            place.world = world
            return place
    raise AssertionError("no history had a snapshot")


def described(place):
    """The descriptions of snapshots, and which file each is."""
    found = (place.derived_folder / TRAIL.prefix / SNAPSHOTS).rglob("snapshot.json")
    return {path: path.stat().st_ino for path in found}


def test_a_snapshot_that_was_finished_meanwhile_is_left(place):
    """It was not there when this one looked for files; that is no reason to call it broken."""
    others = []

    def finish():
        if not others:
            others.extend(place.keep())
            others.append(described(place))

    place.keep(SlowStore(place.derived_folder, finish))
    assert len(others) > 1
    assert described(place) == others[-1]


def test_a_file_that_goes_while_a_folder_is_looked_at_is_not_there(place, monkeypatch):
    """A partial copy that another compaction has just made an object of, or given up."""
    place.keep()
    store, whole = place.store(), place.store().held(TRAIL.prefix)
    gone = place.derived_folder / whole[0].name
    stat = Path.stat

    def vanishing(path, **how):
        if path == gone:
            path.unlink(missing_ok=True)
        return stat(path, **how)

    monkeypatch.setattr(Path, "stat", vanishing)
    assert store.held(TRAIL.prefix) == whole[1:]


def test_a_folder_that_another_one_has_taken_away_is_no_failure(place):
    """Both delete the last file of a folder, or the other puts one more."""
    place.keep()
    store = place.store()
    names = [one.name for one in place.held()]
    store.delete(names)
    store.delete(names)
    assert place.held() == []


def test_runs_that_go_while_two_states_are_compared_are_not_missed(place, monkeypatch):
    """Between the states and the question which items they do not tell of, a compaction collects what it has merged."""
    asked, reconstruct = [], query.compare.reconstruct
    monkeypatch.setattr(query.rows, "_KEPT_BYTES", 0)
    monkeypatch.setattr(query.compare, "_tells_absence", lambda table, state: False)
    monkeypatch.setattr(query.compare, "reconstruct", lambda *of: asked.append(of) or reconstruct(*of))

    def compared(table, older_ms, newer_ms):
        with closing(table.compare(instant(older_ms), instant(newer_ms))) as found:
            return sorted((one.item_key, one.diff_type) for one in found), found.unknown

    evidence = place.table(with_derived=False)
    for older_ms, newer_ms in combinations(place.world.times, 2):
        expected = compared(evidence, older_ms, newer_ms)
        if asked:
            break
    assert asked, "no two states of this history leave the question open"
    table = place.table()
    assert table.evidence.runs
    monkeypatch.setattr(query.compare, "reconstruct", lambda *of: place.without_derived() or reconstruct(*of))
    assert compared(table, older_ms, newer_ms) == expected
    assert not table.evidence.runs
