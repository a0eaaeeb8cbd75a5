"""The machine fails while evidence is read: no file, no room, no memory, a process that is ended. What nobody could look
at is told, accuses nobody, and stops no other file (docs/verify.md, *Exit codes*).
"""

from __future__ import annotations

import itertools
import multiprocessing
import os
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from archiver.format.log_entry import SegmentEntry
from query.errors import UnreadableArchive
from query.source import StoredObject
from query.verify import contents
from query.verify.contents import Check, Checked, check_contents
from tests.system.tampered import KEYS, ORDERS, MemorySource, Sealed, reference


@pytest.fixture(scope="module")
def sealed() -> Sealed:
    """The reference archive, made once."""
    return reference()


@pytest.fixture
def look(tmp_path):
    """What comes of checks, in this process."""

    def check(objects: Mapping[str, bytes], *checks: Check) -> list[Checked]:
        return list(check_contents(MemorySource(objects, tmp_path), checks, workers=1))

    return check


def entries(sealed: Sealed) -> dict[str, SegmentEntry]:
    """What the log says of each segment, by full name."""
    said = [entry for position in range(len(sealed.seals)) for entry in sealed.seal(position).entries]
    return {ORDERS.prefix + entry.path: entry for entry in said if isinstance(entry, SegmentEntry)}


def key_names(sealed: Sealed) -> dict[str, tuple[str, ...]]:
    return {entry.stream_label: KEYS for entry in entries(sealed).values()}


def of_segment(sealed: Sealed, name: str) -> Check:
    """A check as the log asks for it, every row looked at."""
    entry, stored = entries(sealed)[name], StoredObject(name, len(sealed.objects[name]))
    return Check(stored, ORDERS, entry.file_sha256, entry, reads_rows=True, key_names=key_names(sealed))


def finding(checked: Checked) -> tuple[str, str] | None:
    """Code and object of a finding."""
    problem = checked.problem()
    return None if problem is None else (problem.code, problem.name)


class Failing(MemorySource):
    """One object cannot be had."""

    name: str
    failure: Exception

    def fetch(self, wanted: Sequence[StoredObject]) -> list[Path]:
        if self.name in {stored.name for stored in wanted}:
            raise self.failure
        return super().fetch(wanted)


@pytest.mark.parametrize(
    ("failure", "code", "why"),
    [
        (FileNotFoundError("x"), "object-missing", "it is gone"),
        (OSError(28, "No space left on device"), "unreadable", "No space left on device"),
        (OSError("a reason in words"), "unreadable", "a reason in words"),
        (UnreadableArchive("could not read it", why="AccessDenied", hint=""), "unreadable", "could not read it: AccessDenied"),
    ],
    ids=["gone", "no room", "other", "by S3"],
)  # fmt: skip
def test_an_object_that_cannot_be_had_is_told_and_stops_no_other(sealed, tmp_path, failure, code, why):
    checks = [of_segment(sealed, name) for name in sealed.segments]
    source = Failing(sealed.objects, tmp_path)
    source.name, source.failure = sealed.segments[2], failure
    found = list(check_contents(source, checks, workers=1))
    assert [checked.stored for checked in found] == [check.stored for check in checks]
    assert [finding(checked) for checked in found if checked.code] == [(code, sealed.segments[2])]
    assert found[2].why == why


class OnThisMachine(type(Path())):  # type: ignore[misc]
    """A file that is opened, and then the machine fails."""

    failure: BaseException

    def read_bytes(self) -> bytes:
        raise self.failure


@pytest.mark.parametrize(
    ("failure", "code", "why"),
    [
        (FileNotFoundError(2, "No such file or directory"), "object-missing", "it is gone"),
        (OSError(5, "Input/output error"), "unreadable", "Input/output error"),
        (OSError("a reason in words"), "unreadable", "a reason in words"),
        (MemoryError(), "unreadable", "there is not enough memory to read it"),
    ],
    ids=["gone", "disk", "other", "memory"],
)
def test_a_file_that_cannot_be_read_is_told_and_stops_no_other(sealed, tmp_path, failure, code, why):
    """Disk or memory: it says nothing of the evidence."""

    class Broken(MemorySource):
        def fetch(self, wanted: Sequence[StoredObject]) -> list[Path]:
            paths = super().fetch(wanted)
            for place, stored in enumerate(wanted):
                if stored.name == sealed.segments[2]:
                    paths[place] = OnThisMachine(paths[place])
                    paths[place].failure = failure
            return paths

    checks = [of_segment(sealed, name) for name in sealed.segments]
    found = list(check_contents(Broken(sealed.objects, tmp_path), checks, workers=1))
    assert [finding(checked) for checked in found if checked.code] == [(code, sealed.segments[2])]
    assert found[2].why == why
    assert len(found) == len(checks)


@pytest.mark.parametrize(
    ("failure", "code", "why"),
    [
        (pa.ArrowMemoryError("malloc of size 9 failed"), "unreadable", "there is not enough memory to read it"),
        (pa.ArrowNotImplementedError("no such page"), "unsound", "it is not Parquet: no such page"),
        (ZeroDivisionError(), "unsound", "ZeroDivisionError"),
    ],
    ids=["memory", "Arrow", "anything"],
)
def test_a_library_may_fail_in_any_way(sealed, look, monkeypatch, failure, code, why):
    """Without memory nothing was looked at, and nobody is accused; what no parser takes is not evidence."""

    def fail(*_args: object, **_options: object) -> None:
        raise failure

    monkeypatch.setattr(pq, "ParquetFile", fail)
    [checked] = look(sealed.objects, of_segment(sealed, sealed.segments[0]))
    assert (finding(checked), checked.why) == ((code, sealed.segments[0]), why)


# --- many at once ---


@pytest.mark.parametrize(("workers", "cpus", "worth_bytes"), [(2, 2, None), (1, 2, 0), (None, None, 0)])
def test_few_rows_and_one_worker_start_no_process(sealed, tmp_path, monkeypatch, workers, cpus, worth_bytes):
    """Starting one takes longer than to read them."""
    monkeypatch.setattr(os, "cpu_count", lambda: cpus)
    if worth_bytes is not None:
        monkeypatch.setattr(contents, "_WORTH_PROCESSES_BYTES", worth_bytes)
    checks = [of_segment(sealed, name) for name in sealed.segments]
    for checked in check_contents(MemorySource(sealed.objects, tmp_path), checks, workers=workers):
        assert checked.rows > 0
        assert multiprocessing.active_children() == []


def test_a_process_that_is_ended_takes_down_only_what_it_had(sealed, tmp_path, monkeypatch):
    """What it had not answered for is unchecked; other processes look at the rest."""
    monkeypatch.setattr(contents, "_WORTH_PROCESSES_BYTES", 1)
    monkeypatch.setattr(contents, "_FILES_AT_ONCE", 12)
    monkeypatch.setattr(os, "cpu_count", lambda: 1 + 1)
    some = [of_segment(sealed, name) for name in sealed.segments]
    checks = list(itertools.islice(itertools.cycle(some), 30))
    found, ended = [], []
    for checked in check_contents(MemorySource(sealed.objects, tmp_path), checks):
        found.append(checked)
        if not ended:
            ended = [process.pid for process in multiprocessing.active_children()]
            for process in ended:
                os.kill(process, signal.SIGKILL)
    assert len(ended) == 2
    assert [checked.stored for checked in found] == [check.stored for check in checks]
    unchecked = [place for place, checked in enumerate(found) if checked.code]
    # It had one batch of twelve, whichever: on a busy machine the first is answered for before the signal comes.
    assert unchecked == list(range(unchecked[0], (unchecked[0] // 12 + 1) * 12))
    assert {(found[place].code, found[place].why) for place in unchecked} == {
        ("unreadable", "a process that read it was ended")
    }
