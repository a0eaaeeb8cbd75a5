"""The archiver dies at every point of its I/O, in a process of its own, and what it leaves is whole (I9).

A child archives one batch into a folder and ends without a word (`os._exit`) at the n-th point: before and after each call
that makes, fills, syncs, links or removes a file, and inside each write. Then the batch comes again, undisturbed. The
children are forked by a fresh interpreter, since a fork of pytest's own threads could hang: `python -m
tests.archiving.test_kill kill|rerun FOLDER`. Loss of power is not played: what a call has returned from stays, so `fsync`
is a point and no more.
"""

import io
import os
import pathlib
import subprocess
import sys
from pathlib import Path

import pytest

from archiver.store import FolderStore
from tests import second_reader
from tests.golden import make

pytestmark = pytest.mark.xdist_group("kill")  # hundreds of children, once a run and not once a worker
KILLED = 137
WATCHED = ("open", "write", "close", "fsync", "link", "rename", "replace", "mkdir", "unlink")  # of `os`
PIECES = 3  # that each write of a file is torn into
# Three tables, a late segment, descriptions, quarantine.
RECORDS = [*make.load_batches()[6], *make.load_batches()[7][:3]]
MOST_POINTS = 2_000
UNDISTURBED = "0"  # no point has this number


def archive(folder: Path) -> None:
    make.new_writer(FolderStore(folder)).archive(RECORDS, now_ms=make.ARRIVED_MS)


# --- in the child ---


class Points:
    """Counts points of I/O and ends the process at one of them."""

    def __init__(self, last: int):
        self.last, self.passed = last, 0

    def reach(self) -> None:
        self.passed += 1
        if self.passed == self.last:
            os._exit(KILLED)

    def watch(self, function):
        def watched(*args, **kwargs):
            self.reach()
            try:
                return function(*args, **kwargs)
            finally:
                self.reach()

        return watched


class TornFile(io.FileIO):
    """A file whose writes reach the disk in pieces."""

    points: Points

    def write(self, content) -> int:
        size = max(1, -(-len(content) // PIECES))
        for at in range(0, len(content), size):
            self.points.reach()
            assert super().write(content[at : at + size]) == len(content[at : at + size])
        self.points.reach()
        return len(content)


def no_fsync(_descriptor: int) -> None:
    """Half of all the time, for what is not played here."""


def die_at(point: int, folder: Path) -> None:
    """Archives the batch with every call of I/O watched; ends with 137 at a point, with 0 if there is no such point."""
    points = Points(point)
    TornFile.points = points
    for name in WATCHED:
        setattr(os, name, points.watch(getattr(os, name)))
    real_open = io.open

    def torn_open(file, mode="r", *args, **kwargs):
        if "r" in mode or "b" not in mode:
            return real_open(file, mode, *args, **kwargs)
        points.reach()
        return TornFile(file, mode.replace("b", ""))

    io.open = torn_open
    pathlib.io.open = torn_open
    archive(folder)


def fork(action, *args) -> int:
    """The exit status of a child that does it."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    try:
        action(*args)
    except BaseException:
        sys.excepthook(*sys.exc_info())
        os._exit(1)
    os._exit(0)


def kill_everywhere(root: Path) -> None:
    """One folder for each point, the archive as the child left it; the last child finds no point left and ends well."""
    archive_in_memory()
    for point in range(1, MOST_POINTS):
        (root / str(point)).mkdir()
        status = fork(die_at, point, root / str(point))
        if status == 0:
            (root / str(point)).rename(root / UNDISTURBED)
            return
        if status != KILLED:
            sys.exit(f"the child of point {point} ended with {status}")
    sys.exit("there is no end of points")


def archive_in_memory() -> None:
    """Loads all that the children will need, so that each need not load it again."""
    make.new_writer(MemoryStore()).archive(RECORDS, now_ms=make.ARRIVED_MS)


class MemoryStore:
    def put_if_absent(self, name: str, content: bytes) -> bool:
        return True


def run_again(root: Path) -> None:
    for folder in root.iterdir():
        archive(folder)


# --- in pytest ---


def drive(what: str, root: Path) -> None:
    command = [sys.executable, "-m", "tests.archiving.test_kill", what, str(root)]
    run = subprocess.run(
        command, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False, timeout=300
    )
    assert run.returncode == 0, run.stderr


def objects(folder: Path) -> dict[str, str]:
    """Digest by name, of what is an object."""
    return {name: digest for name, digest in make.digests(folder).items() if "/.partial-" not in name}


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    """A folder of archives, each left by a child that died at the point it is called after."""
    root = tmp_path_factory.mktemp("killed")
    drive("kill", root)
    return root


@pytest.fixture(scope="module")
def left(killed):
    """What the children left: objects and partial files of each archive, and the second reader's problems."""
    folders = [folder for folder in killed.iterdir() if folder.name != UNDISTURBED]
    return {
        int(folder.name): (
            objects(folder),
            set(make.digests(folder)) - set(objects(folder)),
            second_reader.read_archive(folder)[2],
        )
        for folder in folders
    }


def test_there_are_points_enough(left):
    """Enumerated, not sampled: 200 is the least that a batch of several segments must have."""
    assert len(left) >= 200
    assert sorted(left) == list(range(1, len(left) + 1))


def test_a_killed_archiver_leaves_only_whole_objects(killed, left):
    """An object is absent or whole, so a reader may come at any time."""
    expected = objects(killed / UNDISTURBED)
    for point, (found, _, problems) in left.items():
        assert problems == [], point
        assert found.items() <= expected.items(), point


def test_the_kills_fall_into_every_stage(killed, left):
    """Points that all lay before the first object, or after the last, would prove nothing."""
    expected = objects(killed / UNDISTURBED)
    assert {len(found) for found, _, _ in left.values()} == set(range(len(expected) + 1))
    assert sum(bool(partial) for _, partial, _ in left.values()) > len(left) // 5
    assert len({next(iter(found.items()), None) for found, _, _ in left.values()}) > 1


def test_partial_files_are_not_listed(killed, left):
    """What a dead writer left lying about is no object to any reader."""
    for point, (found, partial, _) in left.items():
        assert [name for name, _ in FolderStore(killed / str(point)).list("")] == sorted(found)
        assert not partial & set(found)


def test_running_again_ends_as_if_nothing_had_happened(killed, left):
    """I9: killed anywhere and run again, the archive has the same names and the same bytes."""
    drive("rerun", killed)
    expected = objects(killed / UNDISTURBED)
    for point in left:
        assert objects(killed / str(point)) == expected, point
    assert second_reader.read_archive(killed / "1")[2] == []


if __name__ == "__main__":
    os.fsync = no_fsync
    {"kill": kill_everywhere, "rerun": run_again}[sys.argv[1]](Path(sys.argv[2]))
