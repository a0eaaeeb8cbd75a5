"""The gate before the engine: each file is looked at once a process, and again if it is not the file it was."""

import os

import pytest

import query
from query import gate
from query.errors import CorruptSegment
from tests.querying.test_order import T0, archived


@pytest.fixture
def checked(monkeypatch):
    """The files whose digests were taken, in order."""
    looked_at = []
    check_stamp = gate.check_stamp
    monkeypatch.setattr(gate, "check_stamp", lambda content: (looked_at.append(len(content)), check_stamp(content)))
    return looked_at


@pytest.fixture
def archive(tmp_path, monkeypatch):
    """An archive of three segments, each question reading the files anew."""
    monkeypatch.setattr("query.rows._KEPT_BYTES", 0)
    return archived(tmp_path / "archive", [10**21, 10**21 + 1, 10**21 + 2], batches_of=1)


def ask(table):
    state = table.as_of(f"@{T0}")
    found = [one.image for one in state.states()]
    state.close()
    return found


def test_a_file_is_hashed_once_for_all_questions(archive, checked):
    """A second question on 1.3 GB must not read all of it again."""
    table = query.open(str(archive)).table("orders")
    assert ask(table) == ask(table)
    assert len(checked) == 3


def test_another_process_looks_for_itself(archive, checked):
    """What passed is remembered nowhere but in the engine that asked."""
    for _ in range(2):
        ask(query.open(str(archive)).table("orders"))
    assert len(checked) == 6


@pytest.mark.parametrize("keeps_its_times", [False, True])
def test_a_file_that_changed_between_two_questions_is_refused(archive, keeps_its_times):
    """Also one that was given its old time back: the time of the file itself nobody can set."""
    table = query.open(str(archive)).table("orders")
    ask(table)
    damaged = sorted(archive.glob("v1/*/*/*/segments/*/*/*.parquet"))[1]
    content, status = bytearray(damaged.read_bytes()), damaged.stat()
    content[content.rindex(b'{"N":"') + 6] ^= 1  # a digit of an image, which the engine reads without complaint
    damaged.write_bytes(bytes(content))
    if keeps_its_times:
        os.utime(damaged, ns=(status.st_atime_ns, status.st_mtime_ns))
    with pytest.raises(CorruptSegment, match=damaged.name):
        ask(table)
