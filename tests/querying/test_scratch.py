"""Folders for what is thrown away: nobody else enters them, and what a killed process left is removed by the next."""

from __future__ import annotations

import errno
import gc
import os
import shutil
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from query.engine import Engine
from query.scratch import Scratch, sweep

HOLDER = """
import sys
from query.engine import Engine
from query.locked import LockedDatabase
from query.scratch import Scratch
held = [Engine(), LockedDatabase(), Scratch("verify")]
(held[2].path / "evidence").write_text("somebody's address")
print("ready", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    """A temporary folder of one's own, for this process and its children."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    return tmp_path


@pytest.fixture
def holder(temporary):
    process = subprocess.Popen([sys.executable, "-c", HOLDER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "ready\n"
    with process:
        yield process
        process.kill()


def purposes(folder: Path) -> list[str]:
    return sorted(path.name.split("-")[1] for path in folder.iterdir())


def test_a_folder_is_ones_own_and_goes_with_its_user(temporary):
    with Scratch("compact") as scratch:
        assert stat.S_IMODE(scratch.path.parent.stat().st_mode) == 0o700
        (scratch.path / "part").write_text("x")
        assert purposes(temporary) == ["compact"]
    assert purposes(temporary) == []
    engine = Engine(threads=1)
    assert purposes(temporary) == ["spill"]
    del engine
    gc.collect()
    assert purposes(temporary) == []


def test_what_a_killed_process_left_is_removed_by_the_next(temporary, holder):
    assert purposes(temporary) == ["spill", "sql", "verify"]
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert purposes(temporary) == ["spill", "sql", "verify"]
    done = subprocess.run(
        [sys.executable, "-c", "from query.scratch import Scratch; Scratch('spill').close()"], check=True
    )
    assert done.returncode == 0
    assert purposes(temporary) == []


def test_removing_that_was_cut_short_is_gone_on_with(temporary, holder):
    """The lock goes last, so what is left is found; also what is left empty."""
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    for outer in temporary.iterdir():
        shutil.rmtree(outer / "held")
    assert len(sweep(temporary)) == 3
    assert purposes(temporary) == []


def test_what_is_copied_there_cannot_make_room_of_the_lock(temporary):
    """A cache that is full removes its oldest files."""
    with Scratch("verify") as scratch:
        assert [*scratch.path.rglob("*")] == []
        for path in scratch.path.rglob("*"):
            path.unlink()
        assert sweep(temporary) == []


def test_a_process_that_was_forked_removes_nothing(temporary):
    """It has all that its parent had, and ends with the same farewells."""
    program = (
        "import os, sys\nfrom query.scratch import Scratch\nheld = Scratch('sql')\n(held.path / 'x').touch()\n"
        "child = os.fork()\nif child == 0:\n    held.close()\n    sys.exit(0)\n"
        "os.waitpid(child, 0)\nassert (held.path / 'x').exists()\nprint('there')"
    )
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert done.stdout == "there\n"
    assert purposes(temporary) == []


def test_without_locks_it_works_and_is_not_swept(temporary, monkeypatch):
    """Some network file systems have none."""

    def refused(*_):
        raise OSError(errno.ENOLCK, "no locks")

    with monkeypatch.context() as patch:
        patch.setattr("fcntl.flock", refused)
        scratch = Scratch("compact")
        assert sweep(temporary) == []
    assert sweep(temporary) == []
    scratch.close()
    assert purposes(temporary) == []


def test_what_vanishes_meanwhile_does_not_end_the_sweep(temporary, holder, monkeypatch):
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    lstat, seen = Path.lstat, []

    def vanishing(path):
        if path.parent == temporary and not seen:
            seen.append(path)
            shutil.rmtree(path)
        return lstat(path)

    monkeypatch.setattr(Path, "lstat", vanishing)
    assert len(sweep(temporary)) == 2
    assert purposes(temporary) == []


def test_what_is_in_use_stays(temporary, holder):
    mine = Scratch("compact")
    assert sweep(temporary) == []
    assert purposes(temporary) == ["compact", "spill", "sql", "verify"]
    mine.close()
    holder.communicate()
    assert purposes(temporary) == []


def test_what_is_not_ours_stays(temporary):
    """Other names, folders without a lock, and links to somewhere else."""
    elsewhere = temporary / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / ".in-use").touch()
    for name in ("ddbtrail-spill-a.b", "ddbtrail-other-abc", "my-ddbtrail-spill-abc", "ddbtrail-spill-nolock"):
        (temporary / name).mkdir()
        if "nolock" not in name:
            (temporary / name / ".in-use").touch()
    (temporary / "ddbtrail-spill-link").symlink_to(elsewhere)
    (temporary / "ddbtrail-sql-file").touch()
    linked = temporary / "ddbtrail-sql-linked"
    linked.mkdir()
    (linked / ".in-use").symlink_to(elsewhere / ".in-use")
    before = sorted(temporary.rglob("*"))
    assert sweep(temporary) == []
    assert sorted(temporary.rglob("*")) == before


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a folder to somebody else")
def test_what_is_somebody_elses_stays(temporary):
    theirs = temporary / "ddbtrail-spill-theirs"
    theirs.mkdir()
    (theirs / ".in-use").touch()
    os.chown(theirs, 12345, 12345)
    assert sweep(temporary) == []
    os.chown(theirs, 0, 0)
    assert sweep(temporary) == [theirs]
