"""The bytes of evidence beside what the log says of them, file by file: docs/verify.md, *Every object in the trail* and
*What is archived*.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from dataclasses import replace
from hashlib import sha256

import orjson
import pytest

from archiver.format.canonical import canonical
from archiver.format.layout import SegmentName
from archiver.format.log_entry import SegmentEntry
from query.coverage import LabelSpan
from query.errors import UnreadableArchive
from query.source import StoredObject
from query.verify import contents
from query.verify.contents import Check, Checked, check_contents
from query.verify.problem import Problem
from tests.simulator.memory_store import MemoryStore
from tests.system.tampered import HOUR_MS, MINUTE_MS, ORDERS, MemorySource, Sealed, Shop, reference
from tests.system.test_tamper import re_encode, table_of, with_hints_swapped

OLD = "2026-11-15T04:00:00.000"
KEYS = {OLD: ("pk", "sk"), "2026-11-21T00:00:00.000": ("pk", "sk")}
SCHEMA = (("pk", "S"), ("sk", "N"))


@pytest.fixture(scope="module")
def sealed() -> Sealed:
    """The reference archive, made once; whoever spoils it takes a copy."""
    return reference()


def entry_of(sealed: Sealed, name: str) -> SegmentEntry:
    inside = name.removeprefix(ORDERS.prefix)
    entries = [entry for position in range(6) for entry in sealed.seal(position).entries]
    return next(entry for entry in entries if isinstance(entry, SegmentEntry) and entry.path == inside)


def check_of(sealed: Sealed, name: str, **options) -> Check:
    """With the digest of what is there now."""
    content = sealed.objects[name]
    return Check(StoredObject(name, len(content)), ORDERS, sha256(content).hexdigest(), **options)


def segment_check(sealed: Sealed, name: str, **options) -> Check:
    entry = entry_of(sealed, name)
    return Check(
        StoredObject(name, len(sealed.objects[name])), ORDERS, entry.file_sha256, entry, key_names=KEYS, **options
    )


@pytest.fixture
def looked_at(tmp_path):
    """What comes of checks of an archive."""

    def look(sealed: Sealed, *checks: Check, source=None, workers: int | None = 1) -> list[Checked]:
        return list(check_contents(source or MemorySource(sealed.objects, tmp_path), checks, workers=workers))

    return look


def codes(found: list[Checked]) -> list[str]:
    return [checked.code for checked in found]


def others(sealed: Sealed) -> list[str]:
    """Everything that is no segment and no seal, by its whole name."""
    names = [*(sealed.named(kind)[0] for kind in ("streams/", "quarantine/")), *sealed.named("baselines/")]
    return [*names, *(name for name in sealed.objects if name.startswith("v1/quarantine/"))]


# --- what is as it should be ---


def test_an_object_without_anything_wrong_is_no_finding(sealed, looked_at):
    """With its digest, and where nobody said one. Rows are counted only where they were looked at."""
    for name in others(sealed):
        for check in (check_of(sealed, name), replace(check_of(sealed, name), sha256=None)):
            [checked] = looked_at(sealed, check)
            assert checked == Checked(check.stored), name
            assert (checked.code, checked.why) == ("", "")
            assert checked.problem() is None


def test_sealed_segments_are_counted_by_their_rows(sealed, looked_at):
    """Where rows are read; digests are compared without."""
    for name in sealed.segments:
        [quick], [full] = (looked_at(sealed, segment_check(sealed, name, reads_rows=reads)) for reads in (False, True))
        assert (quick.code, quick.rows, quick.span) == ("", 0, None)
        assert (full.code, full.rows, full.span) == ("", entry_of(sealed, name).records, None)


def test_a_segment_that_nobody_sealed_says_itself_what_it_covers(sealed, looked_at):
    """Whether or not the key attributes of its stream are known."""
    for name in sealed.segments:
        entry = entry_of(sealed, name)
        span = LabelSpan(entry.stream_label, entry.first_changed_at_ms, entry.last_changed_at_ms, entry.records)
        for keys in (KEYS, {}):
            check = Check(StoredObject(name, 1), ORDERS, reads_rows=True, key_names=keys)
            assert looked_at(sealed, check) == [Checked(check.stored, entry.records, span)]


def test_a_segment_covers_from_its_first_change_to_its_last(sealed, looked_at):
    """Two changes, ten minutes apart."""
    store = MemoryStore()
    shop, at_ms = Shop(store, ORDERS), sealed.now_ms - HOUR_MS
    shop.archive([shop.change("a", at_ms + minutes * MINUTE_MS, OLD) for minutes in (0, 10)], sealed.now_ms)
    [name] = [name for name in store.objects if "/segments/" in name]
    made = Sealed(store.objects, sealed.now_ms, ())
    [checked] = looked_at(made, Check(StoredObject(name, 1), ORDERS, reads_rows=True))
    assert checked.span == LabelSpan(OLD, at_ms, at_ms + 10 * MINUTE_MS, 2)


def test_a_part_is_counted_by_its_items(sealed, looked_at):
    """Four of them, as its baseline says; or nobody says how many."""
    [_, part] = sealed.named("baselines/")
    for items in (4, None):
        check = check_of(sealed, part, reads_rows=True, key_schema=SCHEMA, items=items)
        assert looked_at(sealed, check) == [Checked(check.stored, 4)]
    assert looked_at(sealed, check_of(sealed, part, items=9)) == [Checked(check_of(sealed, part).stored)], "quick"


# --- another digest ---


@pytest.mark.parametrize("reads_rows", [False, True])
def test_other_bytes_than_the_log_says_are_a_finding_before_anything_parses_them(sealed, looked_at, reads_rows):
    """With both digests, so that a reader can look for either."""
    for name in (*others(sealed), sealed.segments[0]):
        check = replace(check_of(sealed, name), sha256="ab" * 32, reads_rows=reads_rows)
        [checked] = looked_at(sealed, check)
        assert (checked.code, checked.stored, checked.rows) == ("digest-mismatch", check.stored, 0)
        found = sha256(sealed.objects[name]).hexdigest()
        assert checked.why == f"its digest is {found[:16]}…, the log says {'ab' * 8}…"
        assert checked.problem() == Problem("digest-mismatch", name, checked.why)


def test_a_segment_whose_rows_are_all_there_was_written_anew(sealed, looked_at):
    """Sound by itself, and yet not what was sealed; with one record less it is another segment."""
    spoilt = sealed.copy()
    name = spoilt.segments[3]
    re_encode(spoilt)
    [checked] = looked_at(spoilt, segment_check(sealed, name))
    assert (checked.code, checked.stored.name) == ("re-encoded", name)
    assert "its digest is" in checked.why
    spoilt.objects[name] = sealed.objects[sealed.segments[2]]
    assert codes(looked_at(spoilt, segment_check(sealed, name))) == ["digest-mismatch"], "of another name"


# --- what the log says of it is not so ---


def test_a_size_that_the_log_says_is_compared_with_the_bytes(sealed, looked_at):
    """The digest is right: whoever signed said something else."""
    name = sealed.segments[0]
    right = segment_check(sealed, name)
    for more in (1, -1):
        wrong = replace(right, entry=replace(right.entry, bytes=right.entry.bytes + more))
        [checked] = looked_at(sealed, wrong)
        assert checked.code == "entry-disagrees"
        assert str(right.entry.bytes + more) in checked.why


@pytest.mark.parametrize(
    "said",
    [
        {"stream_label": "2026-11-21T00:00:00.000"},
        {"records": 3},
        {"last_sequence": "9" * 40},
        {"first_changed_at_ms": -1_000},
        {"last_changed_at_ms": 1_000},
        {"writer": "somebody"},
    ],
    ids=lambda said: next(iter(said)),
)
def test_each_figure_that_the_log_says_is_compared_with_the_rows(sealed, looked_at, said):
    """Any of them could hide rows from whoever prunes by it. Quick, no row is looked at."""
    name = sealed.segments[1]
    right = segment_check(sealed, name, reads_rows=True)
    assert right.entry.records == 1
    said = {key: getattr(right.entry, key) + value if key.endswith("_ms") else value for key, value in said.items()}
    wrong = replace(right, entry=replace(right.entry, **said))
    assert codes(looked_at(sealed, wrong)) == ["entry-disagrees"]
    assert codes(looked_at(sealed, replace(wrong, reads_rows=False))) == [""]


def test_a_part_of_other_items_than_its_baseline_says(sealed, looked_at):
    [_, part] = sealed.named("baselines/")
    for items in (0, 3, 5):
        check = check_of(sealed, part, reads_rows=True, key_schema=SCHEMA, items=items)
        [checked] = looked_at(sealed, check)
        assert (checked.code, checked.rows) == ("entry-disagrees", 0)


# --- unsound by itself ---


def unsound(sealed: Sealed, name: str, content: bytes, **options) -> tuple[Sealed, Check]:
    """Other bytes, for which somebody vouches."""
    spoilt = sealed.copy()
    spoilt.objects[name] = content
    return spoilt, check_of(spoilt, name, **options)


def test_an_object_must_be_what_its_name_says(sealed, looked_at):
    """A description of another stream, a record of another digest, a baseline of another instant, a part of another
    schema, a segment of another root: also where the digest is that of the log."""
    old, new = sealed.named("streams/")
    record, other = [name for name in others(sealed) if "quarantine/" in name]
    [baseline, part] = sealed.named("baselines/")
    for name, content in (
        (old, sealed.objects[new]),
        (record, sealed.objects[other]),
        (other, sealed.objects[record]),
        (old, b"{}"),
        (baseline, b"{}"),
        (baseline.replace("06-00-00Z", "06-00-01Z"), sealed.objects[baseline]),
        (baseline.replace("06-00-00Z", "05-59-59Z"), sealed.objects[baseline]),
    ):
        assert codes(looked_at(*unsound(sealed, name, content))) == ["unsound"], name
    assert codes(looked_at(*unsound(sealed, part, sealed.objects[sealed.segments[0]], reads_rows=True))) == ["unsound"]
    assert codes(looked_at(sealed, check_of(sealed, part, reads_rows=True, key_schema=(("id", "S"),)))) == ["unsound"]
    moved = replace(SegmentName.parse(entry_of(sealed, sealed.segments[0]).path), root="0" * 64).compose()
    content = sealed.objects[sealed.segments[0]]
    assert codes(looked_at(*unsound(sealed, ORDERS.prefix + moved, content, reads_rows=True))) == ["unsound"]


def test_a_stream_of_another_table_is_not_of_this_trail(sealed, looked_at):
    """Of the same label, in another account, region or table: swapped trails would otherwise be sound."""
    [name, _] = sealed.named("streams/")
    for here, there in ((b"111122223333", b"999922223333"), (b"eu-west-1", b"us-east-1"), (b"orders", b"others")):
        content = sealed.objects[name].replace(here, there)
        assert content != sealed.objects[name]
        assert codes(looked_at(*unsound(sealed, name, content))) == ["unsound"]


def test_a_baseline_is_named_after_the_second_in_which_it_begins(sealed, looked_at):
    """Its description says the millisecond."""
    [name, _] = sealed.named("baselines/")
    members = orjson.loads(sealed.objects[name])
    for more, expected in ((0, ""), (1, ""), (999, ""), (1_000, "unsound"), (-1, "unsound")):
        content = canonical({**members, "from_ms": members["from_ms"] + more, "to_ms": members["to_ms"] + 5_000})
        assert codes(looked_at(*unsound(sealed, name, content))) == [expected], more


def test_a_finding_says_what_is_wrong(sealed, looked_at):
    """In the words of whoever found it."""
    record, other = [name for name in others(sealed) if "quarantine/" in name]
    [checked] = looked_at(*unsound(sealed, record, sealed.objects[other]))
    assert checked.why == "its digest is not its name"


def test_hints_in_the_wrong_order_are_unsound_where_the_key_schema_is_known(sealed, looked_at):
    """Whoever prunes by key would find nothing. Sealed or not; that of another stream says nothing of this one."""
    name = sealed.segments[-1]
    label = entry_of(sealed, name).stream_label
    spoilt = sealed.copy()
    spoilt.objects[name] = with_hints_swapped(sealed.objects[name])
    entry = replace(
        entry_of(sealed, name),
        bytes=len(spoilt.objects[name]),
        file_sha256=sha256(spoilt.objects[name]).hexdigest(),
        writer=table_of(spoilt.objects[name])[1][b"ddbtrail.writer"].decode(),
    )
    check = check_of(spoilt, name, reads_rows=True)
    for one in (check, replace(check, entry=entry)):
        for names, expected in (({label: ("pk", "sk")}, "unsound"), ({label: ("sk", "pk")}, ""), ({}, "")):
            assert codes(looked_at(spoilt, replace(one, key_names=names))) == [expected]
    elsewhere = {"2026-01-01T00:00:00.000": ("pk", "sk")}
    assert codes(looked_at(spoilt, replace(check, key_names=elsewhere))) == [""]


def test_whatever_a_parser_raises_is_a_finding_of_that_file(sealed, looked_at):
    """These bytes are anybody's; the file beside it is looked at all the same."""
    name = sealed.segments[0]
    for content in (b"", b"PAR1", b"\x00\xff{" * 100, sealed.objects[name][:-1]):
        spoilt, check = unsound(sealed, name, content, reads_rows=True)
        first, second = looked_at(spoilt, check, segment_check(sealed, sealed.segments[1], reads_rows=True))
        assert (first.code, second.code) == ("unsound", "")
        assert first.why


def test_an_error_without_words_is_named_by_its_kind(sealed, looked_at, monkeypatch):
    """A finding that says nothing helps nobody."""

    def fail(*_args):
        raise ZeroDivisionError

    monkeypatch.setattr(contents, "check_segment_file", fail)
    [checked] = looked_at(sealed, segment_check(sealed, sealed.segments[0], reads_rows=True))
    assert (checked.code, checked.why) == ("unsound", "ZeroDivisionError")


def test_a_machine_without_memory_is_no_sign_of_tampering(sealed, looked_at, monkeypatch):
    """4, and not 1."""

    def fail(*_args):
        raise MemoryError

    monkeypatch.setattr(contents, "check_segment_file", fail)
    [checked] = looked_at(sealed, segment_check(sealed, sealed.segments[0], reads_rows=True))
    assert checked.code == "unreadable"
    assert checked.why


# --- what cannot be read ---


def no_permission(name: str) -> Exception:
    return PermissionError(errno.EACCES, "Permission denied", name)


def without_words(_name: str) -> Exception:
    return OSError("out of room")


def denied(_name: str) -> Exception:
    return UnreadableArchive("could not read it", why="AccessDenied", hint="")


@pytest.mark.parametrize(
    ("error", "code", "why"),
    [
        (no_permission, "unreadable", "Permission denied"),
        (without_words, "unreadable", "out of room"),
        (denied, "unreadable", "could not read it: AccessDenied"),
        (FileNotFoundError, "object-missing", "it is gone"),
    ],
)
def test_one_file_that_cannot_be_fetched_stops_no_other(sealed, looked_at, tmp_path, error, code, why):
    """It says why, in its place; those before and after it are looked at."""
    checks = [segment_check(sealed, name) for name in sealed.segments]
    source = MemorySource(sealed.objects, tmp_path)
    source.denied, source.error = {sealed.segments[2]}, error
    found = looked_at(sealed, *checks, source=source)
    assert codes(found) == ["", "", code, "", "", "", ""]
    assert [checked.stored.name for checked in found] == sealed.segments
    assert found[2].why == why


class Vanishing(MemorySource):
    """A file is there when it is fetched, and gone, or a folder, when it is opened."""

    name, is_folder = "", False

    def fetch(self, wanted):
        paths = super().fetch(wanted)
        for stored, path in zip(wanted, paths, strict=True):
            if stored.name == self.name:
                path.unlink()
                if self.is_folder:
                    path.mkdir()
        return paths


@pytest.mark.parametrize(
    ("is_folder", "code", "why"), [(False, "object-missing", "it is gone"), (True, "unreadable", "Is a directory")]
)
def test_a_file_that_cannot_be_opened_stops_no_other(sealed, looked_at, tmp_path, is_folder, code, why):
    source = Vanishing(sealed.objects, tmp_path)
    source.name, source.is_folder = sealed.segments[2], is_folder
    found = looked_at(sealed, *(segment_check(sealed, name) for name in sealed.segments), source=source)
    assert codes(found) == ["", "", code, "", "", "", ""]
    assert found[2].why == why


# --- many files ---


@pytest.mark.parametrize("workers", [1, 2, None])
@pytest.mark.parametrize("reads_rows", [False, True])
def test_files_are_answered_for_in_order_each_once(sealed, looked_at, monkeypatch, workers, reads_rows):
    """Whoever looks at them, and however many are fetched at a time: none is left out at a border."""
    for at_once in (1, 2, 3, 256):
        monkeypatch.setattr(contents, "_FILES_AT_ONCE", at_once)
        checks = [segment_check(sealed, name, reads_rows=reads_rows) for name in sealed.segments]
        checks += [check_of(sealed, name) for name in others(sealed)]
        found = looked_at(sealed, *checks, workers=workers)
        assert [checked.stored for checked in found] == [check.stored for check in checks]
        assert set(codes(found)) == {""}
    assert looked_at(sealed, workers=workers) == []


def test_what_is_done_is_told_before_the_rest_is_fetched(sealed, tmp_path, monkeypatch):
    """Memory does not grow with the trail: only the next few are on their way."""
    monkeypatch.setattr(contents, "_FILES_AT_ONCE", 1)
    asked = []

    def checks() -> Iterator[Check]:
        for name in sealed.segments:
            asked.append(name)
            yield segment_check(sealed, name)

    coming = check_contents(MemorySource(sealed.objects, tmp_path), checks(), workers=1)
    assert next(coming).stored.name == sealed.segments[0]
    assert asked == sealed.segments[:2]
    coming.close()


def test_few_rows_are_read_in_this_process(sealed, looked_at, monkeypatch):
    """Others would take longer to begin. A process of its own would not see what was done to this one."""

    def fail(*_args):
        raise ZeroDivisionError

    monkeypatch.setattr(contents, "check_segment_file", fail)
    checks = [segment_check(sealed, name, reads_rows=True) for name in sealed.segments]
    assert sum(check.stored.size_bytes for check in checks) < 8_000_000
    assert codes(looked_at(sealed, *checks, workers=2)) == ["unsound"] * 7
