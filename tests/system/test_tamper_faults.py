"""What stands between the verifier and the evidence fails: nothing that could not be looked at is ever called good, and
nothing that was found is lost for it."""

from __future__ import annotations

import errno
import itertools
import multiprocessing
import os
import signal
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import duckdb
import pytest

from query.archive import Archive
from query.engine import Engine
from query.errors import EngineFailure, UnreadableArchive
from query.source import ObjectVersion, StoredObject
from query.verify import contents
from query.verify.verification import Level, Verification
from query.verify.verifier import verify
from tests.system.tampered import CUSTOMERS, ORDERS, MemorySource, Reviewer, Sealed, reference

SEALED, TAMPERED, INCOMPLETE, UNCHECKED = 0, 1, 3, 4


@pytest.fixture(scope="module")
def sealed() -> Sealed:
    """The reference archive, made once."""
    return reference()


@pytest.fixture(scope="module")
def reviewer() -> Iterator[Reviewer]:
    with tempfile.TemporaryDirectory() as folder:
        yield Reviewer(Path(folder), level=Level.QUICK)


def own(sealed: Sealed) -> list[str]:
    return [name for name in sorted(sealed.objects) if not name.startswith(CUSTOMERS.prefix)]


def spoilt(sealed: Sealed) -> Sealed:
    """One byte of one segment is another."""
    copy = sealed.copy()
    name = sealed.segments[2]
    copy.objects[name] = copy.objects[name][:-1] + b"?"
    return copy


def told(found: Verification) -> str:
    return "\n".join(f"{problem.code} {problem.name}: {problem.detail}" for problem in found.problems)


# --- what may be listed and not read ---


def denied(name: str) -> Exception:
    return UnreadableArchive(f"could not read {name}", why="access denied: s3:GetObject is missing", hint="")


def network(name: str) -> Exception:
    return UnreadableArchive(f"could not read {name}", why="connection reset", hint="")


def no_permission(name: str) -> Exception:
    return PermissionError(errno.EACCES, "Permission denied", name)


def disk_full(name: str) -> Exception:
    return OSError(errno.ENOSPC, "No space left on device", name)


@pytest.mark.parametrize("error", [denied, network, no_permission, disk_full])
def test_one_object_that_cannot_be_read_is_4_and_stops_no_other(sealed, reviewer, error):
    """Each object in turn. The others are checked all the same: what is wrong with one of them is still found."""
    whole = reviewer.verify(sealed)
    for name in own(sealed):
        if "/late/" in name:
            continue  # a marker is its name: there is nothing to read
        source = reviewer.source(sealed)
        source.denied, source.error = {name}, error
        found = reviewer.verify(sealed, source)
        expected = INCOMPLETE if "/seals/" in name and name != sealed.seals[-1] else UNCHECKED
        assert found.exit_code == expected, f"{name}\n{told(found)}"
        assert "unreadable" in found.counts, f"{name}\n{told(found)}"
        if "/seals/" not in name and "/baselines/" not in name:
            assert found.files_checked == whole.files_checked
        also = spoilt(sealed)
        if name != sealed.segments[2]:
            source = reviewer.source(also)
            source.denied, source.error = {name}, error
            assert reviewer.verify(also, source).exit_code == TAMPERED, name


def test_everything_that_cannot_be_read_is_4(sealed, reviewer):
    """A reviewer who may list, and read nothing, has verified nothing."""
    source = reviewer.source(sealed)
    source.denied, source.error = set(sealed.objects), denied
    found = reviewer.verify(sealed, source)
    assert found.exit_code in {INCOMPLETE, UNCHECKED}, told(found)
    assert "unreadable" in found.counts


# --- listings ---


class Listing(MemorySource):
    """A source whose listings somebody may spoil; the content of objects is right."""

    spoil: Callable[[str, list[StoredObject]], list[StoredObject]] = staticmethod(lambda _prefix, listed: listed)

    def objects(self, prefix: str, *, start_after: str = "", stop_before: str = "") -> list[StoredObject]:
        return self.spoil(prefix, super().objects(prefix, start_after=start_after, stop_before=stop_before))


def listing(reviewer: Reviewer, sealed: Sealed, spoil) -> Listing:
    source = Listing(sealed.objects, reviewer.folder)
    source.spoil = spoil
    return source


def test_a_listing_without_its_end_is_never_whole(sealed, reviewer):
    """S3 gives a thousand names at a time: a client that stops early, after any number of names."""
    for length in range(len(sealed.named(""))):
        found = reviewer.verify(sealed, listing(reviewer, sealed, lambda _, listed, length=length: listed[:length]))
        assert found.exit_code == INCOMPLETE, f"{length} names\n{told(found)}"


def test_a_listing_without_a_page_is_never_whole(sealed, reviewer):
    """Any three names that follow each other, left out of every listing."""
    names = sealed.named("")
    for start in range(len(names) - 2):
        gone = set(names[start : start + 3])
        if gone <= {*sealed.named("late/"), *sealed.seals[-2:]}:
            continue
        spoil = lambda _, listed, gone=gone: [stored for stored in listed if stored.name not in gone]  # noqa: E731
        found = reviewer.verify(sealed, listing(reviewer, sealed, spoil))
        assert found.exit_code == INCOMPLETE, f"{sorted(gone)}\n{told(found)}"


def test_a_seal_that_is_written_meanwhile_is_read_too(sealed, reviewer):
    """Honest sealers do not wait for a verifier: the log is then read once more, and the answer is that of the end."""
    calls = itertools.count()

    def late(prefix: str, listed: list[StoredObject]) -> list[StoredObject]:
        is_first = prefix.endswith("/seals/") and next(calls) == 0
        return listed[:-1] if is_first else listed

    found = reviewer.verify(sealed, listing(reviewer, sealed, late))
    assert (found.exit_code, found.seals) == (SEALED, 6), told(found)


def test_listings_that_never_agree_are_4(sealed, reviewer):
    """One of them lies, and nobody can tell which."""
    spoil = lambda prefix, listed: listed[:-1] if prefix.endswith("/seals/") else listed  # noqa: E731
    found = reviewer.verify(sealed, listing(reviewer, sealed, spoil))
    assert found.exit_code == UNCHECKED, told(found)
    assert "not-checkable" in found.counts


@pytest.mark.parametrize("at", ["v1/quarantine/", ORDERS.prefix, f"{ORDERS.prefix}seals/"])
def test_a_listing_that_fails_is_4(sealed, reviewer, at):
    """The network goes in the middle."""

    def fail(prefix: str, listed: list[StoredObject]) -> list[StoredObject]:
        if prefix == at:
            raise network(prefix)
        return listed

    found = reviewer.verify(sealed, listing(reviewer, sealed, fail))
    assert found.exit_code == UNCHECKED, told(found)
    assert "unreadable" in found.counts


def test_what_was_found_before_the_network_went_is_told(sealed, reviewer):
    """Whoever may deny a listing must not be able to hide a forged seal behind that."""
    forged = sealed.copy()
    forged.objects[forged.seals[1]] = forged.objects[forged.seals[1]].replace(b"open", b"opem")

    def fail(prefix: str, listed: list[StoredObject]) -> list[StoredObject]:
        if prefix == "v1/quarantine/":
            raise network(prefix)
        return listed

    found = reviewer.verify(forged, listing(reviewer, forged, fail))
    assert found.exit_code == TAMPERED, told(found)
    assert {"unreadable", "seal-malformed"} <= found.counts.keys()


# --- versions ---


def versions_of(sealed: Sealed, *more: tuple[str, str, bool]) -> list[ObjectVersion]:
    """One version of each object, and more (name, id, is it a marker)."""
    ones = [ObjectVersion(name, "1", False) for name in sealed.objects]
    return sorted((*ones, *(ObjectVersion(*one) for one in more)), key=lambda one: (one.name, one.version_id))


def with_versions(reviewer: Reviewer, sealed: Sealed, versions: Sequence[ObjectVersion]) -> MemorySource:
    source = reviewer.source(sealed)
    source.versions_of = list(versions)
    return source


def test_one_version_of_each_object_is_as_it_should_be(sealed, reviewer):
    """And then nothing is said to be unchecked for want of versions."""
    found = reviewer.verify(sealed, with_versions(reviewer, sealed, versions_of(sealed)))
    assert found.exit_code == SEALED, told(found)
    assert "versions" not in {what for what, _ in found.not_checked}


def test_a_second_version_of_any_object_is_tampering(sealed, reviewer):
    """Whatever it holds, and whether or not a delete marker lies between: nothing of evidence is written twice."""
    for name in own(sealed):
        for more in ([(name, "2", False)], [(name, "2", True), (name, "3", False)]):
            found = reviewer.verify(sealed, with_versions(reviewer, sealed, versions_of(sealed, *more)))
            assert found.exit_code == TAMPERED, f"{name} {more}\n{told(found)}"
            assert found.counts["second-version"] == 1


def test_a_bare_delete_marker_hides_an_object(sealed, reviewer):
    """It is missing, and can be had back: 3. The marker of a late segment too, which no seal names."""
    for name in own(sealed):
        hidden = sealed.copy()
        del hidden.objects[name]
        versions = [*versions_of(sealed), ObjectVersion(name, "2", True)]
        versions.sort(key=lambda one: (one.name, one.version_id))
        found = reviewer.with_checkpoint(sealed, -1).verify(hidden, with_versions(reviewer, hidden, versions))
        assert found.exit_code == INCOMPLETE, f"{name}\n{told(found)}"
        assert found.counts["object-hidden"] == 1


def test_versions_of_derived_data_are_nobodys_business(sealed, reviewer):
    """Runs and snapshots are deleted and made anew."""
    more = [(f"{ORDERS.prefix}runs/d1/x", "1", False), (f"{ORDERS.prefix}runs/d1/x", "2", True)]
    found = reviewer.verify(sealed, with_versions(reviewer, sealed, versions_of(sealed, *more)))
    assert found.exit_code == SEALED, told(found)


def test_a_version_that_is_listed_twice_is_one_version(sealed, reviewer):
    """Some servers begin a page with the end of the one before: that is no second version."""
    versions = [one for one in versions_of(sealed) for _ in range(2)]
    found = reviewer.verify(sealed, with_versions(reviewer, sealed, versions))
    assert found.exit_code == SEALED, told(found)


def test_versions_that_may_not_be_listed_are_4(sealed, reviewer):
    """Then a forgery may hide behind a delete marker, and nobody would see it."""

    class Denied(MemorySource):
        def versions(self, prefix: str) -> Iterator[ObjectVersion]:
            raise UnreadableArchive("could not list the versions", why="AccessDenied", hint="")
            yield

    for archive, expected in ((sealed, UNCHECKED), (spoilt(sealed), TAMPERED)):
        found = reviewer.verify(archive, Denied(archive.objects, reviewer.folder))
        assert found.exit_code == expected, told(found)
        assert "unreadable" in found.counts


# --- the machine ---


@pytest.mark.parametrize(
    "error",
    [
        EngineFailure("the query engine failed", hint=""),
        duckdb.InternalException("assertion"),
        MemoryError(),
        OSError(),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_engine_that_fails_is_4(sealed, reviewer, error):
    """Whatever it raises: that rows agree was not seen."""
    source = reviewer.source(sealed)

    def fail():
        raise error

    demand = replace(reviewer, level=Level.FULL).demand(sealed)
    found = verify(source, sealed.trail, demand, open_table=fail, workers=1)
    assert (found.exit_code, found.counts) == (UNCHECKED, {"not-checkable": 1}), told(found)


def test_an_engine_without_memory_is_4(sealed, reviewer):
    """The real one, with far too little."""
    source = reviewer.source(sealed)
    archive = Archive(source, lambda: Engine(memory_limit="1KB", threads=1), now_ms=lambda: sealed.now_ms)
    demand = replace(reviewer, level=Level.FULL).demand(sealed)
    name = f"{ORDERS.account}/{ORDERS.region}/{ORDERS.table_name}"
    found = verify(source, sealed.trail, demand, open_table=lambda: archive.table(name), workers=1)
    assert found.exit_code == UNCHECKED, told(found)


def test_a_process_that_is_killed_is_4(sealed, reviewer, monkeypatch):
    """The machine ends a worker for its memory: what it had not answered for is unchecked, the rest is done."""
    monkeypatch.setattr(contents, "_WORTH_PROCESSES_BYTES", 0)
    monkeypatch.setattr(contents, "_FILES_AT_ONCE", 4)
    killed = []

    def kill_once() -> None:
        working = [process.pid for process in multiprocessing.active_children()]
        if not killed and working:
            killed.extend(working)
            for pid in working:
                os.kill(pid, signal.SIGKILL)

    demand = replace(reviewer, level=Level.FULL).demand(sealed)
    found = verify(
        reviewer.source(sealed), sealed.trail, demand, open_table=lambda: pytest.fail("files are unchecked"),
        progress=lambda _files: kill_once, workers=2,
    )  # fmt: skip
    assert killed
    assert found.exit_code == UNCHECKED, told(found)
    assert 0 < found.counts["unreadable"] < found.files_checked
    assert found.files_checked == reviewer.verify(sealed).files_checked


def test_a_mistake_of_our_own_is_4(sealed, reviewer, monkeypatch):
    """Any exception: what was found until then is told, and the rest is not called good."""

    def fail(*_args, **_options):
        raise ZeroDivisionError("no reason")

    monkeypatch.setattr("query.verify.verifier._presence", fail)
    found = reviewer.verify(sealed)
    assert (found.exit_code, found.counts) == (UNCHECKED, {"not-checkable": 1})
