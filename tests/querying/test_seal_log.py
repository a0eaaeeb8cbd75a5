"""The log as its seals tell it: each follows from the one before it or is a fault (docs/verify.md, *The log*), on logs that
are made directly.
"""

from __future__ import annotations

import errno
import hashlib
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import orjson
import pytest

from archiver.format.log_entry import SegmentEntry
from archiver.format.note import SignedNote
from archiver.format.seal import seal_name
from query.errors import UnreadableArchive
from query.seal_log import LogFault, SealLog, SealMismatch, read_log
from query.source import StoredObject
from tests.querying.logs import AT_MS, MadeLog, acknowledged, hands_over
from tests.system.tampered import (
    CUSTOMERS,
    FIRST_KEY,
    MINUTE_MS,
    ORDERS,
    SECOND_KEY,
    MemorySource,
    forged_seal,
    reference,
)

LATEST_MS = 4_102_444_800_000  # 2100-01-01T00:00:00Z


@pytest.fixture
def read(tmp_path):
    """Reads objects as a log: what there is of it, and code and position of each fault."""

    def look(objects: dict[str, bytes]) -> tuple[SealLog, list[tuple[str, int]]]:
        faults: list[LogFault] = []
        log = read_log(MemorySource(objects, tmp_path), ORDERS, faults.append)
        assert all(fault.why for fault in faults)
        names = sorted(objects)
        return log, [(fault.code, names.index(fault.name)) for fault in faults]

    return look


def three() -> MadeLog:
    """The second seal has a notice, so the third leads back to it; two of them have more than an interval."""
    return MadeLog(FIRST_KEY).add(acknowledged()).add(acknowledged("again")).add()


def without(made: MadeLog, *positions: int) -> dict[str, bytes]:
    names = list(made.objects)
    return {name: content for name, content in made.objects.items() if names.index(name) not in positions}


def put(made: MadeLog, position: int, content: bytes) -> dict[str, bytes]:
    return {**made.objects, list(made.objects)[position]: content}


# --- a log that holds ---


def test_a_log_is_all_its_seals_in_order(read):
    """Each entry has the place that it has in the tree."""
    made = three()
    log, faults = read({**made.objects, f"{CUSTOMERS.prefix}seals/x": b"", f"{ORDERS.prefix}segments/x": b""})
    assert faults == []
    assert log == made.read()
    assert log.seals == tuple(made.seals)
    assert [one.sha256 for one in log.read] == [
        hashlib.sha256(content).hexdigest() for content in made.objects.values()
    ]
    assert (log.size, log.is_whole, log.listed) == (5, True, tuple(made.objects))
    entries = [entry for seal in made.seals for entry in seal.entries]
    assert list(log.entries()) == list(enumerate(entries))


def test_a_trail_without_seals_has_an_empty_log(read):
    log, faults = read({})
    assert (log.read, log.size, log.is_whole, faults) == ((), 0, True, [])


def test_the_segments_of_a_log_are_those_that_it_names(tmp_path):
    sealed = reference()
    log = read_log(MemorySource(sealed.objects, tmp_path), ORDERS)
    assert [ORDERS.prefix + path for path in sorted(log.segments())] == sealed.segments
    assert all(isinstance(entry, SegmentEntry) and entry.path == path for path, entry in log.segments().items())


def test_a_long_log_is_read_like_a_short_one(read):
    """It is fetched by hundreds: every seal once, in order."""
    made = MadeLog(FIRST_KEY)
    for _ in range(513):
        made.add()
    log, faults = read(made.objects)
    assert (log.size, log.is_whole, faults) == (513, True, [])


# --- a seal that does not follow ---


@pytest.mark.parametrize("gone", range(3))
def test_a_missing_seal_is_told_at_the_one_after_it(read, gone):
    """The end of a log is missed by nobody here: a checkpoint tells, or its age. What is left is read."""
    log, faults = read(without(three(), gone))
    assert faults == ([] if gone == 2 else [("seal-missing", gone)])
    assert (log.is_whole, len(log.read)) == (gone == 2, 2)


def test_after_a_hole_the_next_seal_is_not_accused(read):
    """Of digest, root and notices nobody can say anything across a hole; behind it all is compared again."""
    made = three().add().add()
    assert read(without(made, 1))[1] == [("seal-missing", 1)]
    seal = made.seals[4]
    content = replace(seal, previous_sha256="0" * 64).compose()
    assert read({name: one for name, one in put(made, 4, content).items() if name in without(made, 1)})[1] == [
        ("seal-missing", 1),
        ("log-inconsistent", 3),
    ]


def test_two_holes_are_two_findings_and_the_log_is_not_whole(read):
    log, faults = read(without(three().add().add(), 1, 3))
    assert (faults, log.is_whole) == ([("seal-missing", 1), ("seal-missing", 2)], False)


def test_a_second_history_is_a_fork(read):
    """A seal that extends a size which the log has passed: both are read."""
    made = MadeLog(FIRST_KEY).add(acknowledged()).add(acknowledged(), acknowledged())
    name, content = forged_seal(
        MadeLog(FIRST_KEY).add(acknowledged(), acknowledged("other")).seals[0], b"", made.seals[1].entries, FIRST_KEY
    )
    log, faults = read({**made.objects, name: content})
    assert faults == [("log-forked", 2)]
    assert (len(log.read), log.is_whole) == (3, False)


def test_entries_that_do_not_lead_to_the_root_are_told(read):
    """With the same size and another entry before it."""
    made, other = three(), MadeLog(FIRST_KEY).add(acknowledged("other")).add(acknowledged("again"))
    content = replace(other.seals[1], previous_sha256=made.seals[1].previous_sha256).compose()
    assert read(put(made, 1, content))[1] == [("log-inconsistent", 1), ("log-inconsistent", 2), ("log-inconsistent", 2)]


def test_another_seal_before_it_is_told_by_its_digest(read):
    """The same entries, signed by another key: the root agrees, and the bytes do not."""
    made, other = three(), MadeLog(SECOND_KEY).add(acknowledged())
    assert read({**made.objects, **other.objects})[1] == [("log-inconsistent", 1)]


@pytest.mark.parametrize(
    ("interval", "is_told"),
    [
        ({"from_ms": AT_MS}, False),
        ({"from_ms": AT_MS + 1}, True),
        ({"from_ms": AT_MS - MINUTE_MS}, False),  # it looks at some of it again
        ({"from_ms": AT_MS - 1, "to_ms": AT_MS}, False),
        ({"from_ms": AT_MS - 1, "to_ms": AT_MS - 1}, True),
        ({"to_ms": AT_MS, "sealed_at_ms": AT_MS}, False),
        ({"from_ms": 1, "to_ms": 2, "sealed_at_ms": AT_MS}, True),
    ],
    ids=str,
)
def test_intervals_lead_on_from_each_other(read, interval, is_told):
    """They leave nothing out, and their ends do not run backwards."""
    made = MadeLog(FIRST_KEY).add().add(**interval)
    assert read(made.objects)[1] == ([("log-inconsistent", 1)] if is_told else [])


def test_seals_are_not_made_backwards(read):
    """Even where the interval ends later than the one before it, which was made long after its end."""
    later = {"to_ms": AT_MS, "sealed_at_ms": AT_MS + 10}
    for sealed_at_ms, is_told in ((AT_MS + 10, False), (AT_MS + 9, True)):
        made = MadeLog(FIRST_KEY).add(**later).add(to_ms=AT_MS + 5, sealed_at_ms=sealed_at_ms)
        assert read(made.objects)[1] == ([("log-inconsistent", 1)] if is_told else [])


def test_notices_lead_back_to_the_newest_earlier_one(read):
    """Also over seals without any; and a seal that leads anywhere else hides a notice."""
    made = MadeLog(FIRST_KEY).add().add(acknowledged()).add().add(hands_over(SECOND_KEY)).add()
    assert [seal.interval.previous_notice for seal in made.seals] == [None, None, 1, 1, 4]
    assert read(made.objects)[1] == []
    for position, wrong in ((1, 0), (2, None), (2, 0), (3, None), (4, 1), (4, None)):
        log = MadeLog(FIRST_KEY)
        for number, seal in enumerate(made.seals[: position + 1]):
            notice = wrong if number == position else seal.interval.previous_notice
            log.add(*seal.entries[:-1], previous_notice=notice)
        assert read(log.objects)[1] == [("log-inconsistent", position)], (position, wrong)


def test_notices_behind_a_hole_are_nobodys_fault(read):
    """The seal that is gone may have had them; further on too."""
    made = MadeLog(FIRST_KEY).add(acknowledged()).add().add(acknowledged()).add().add()
    assert read(without(made, 0, 2))[1] == [("seal-missing", 0), ("seal-missing", 1)]
    assert read(without(made, 0))[1] == [("seal-missing", 0)]


# --- what is no seal of this trail ---


def members(made: MadeLog, position: int, **changes) -> bytes:
    content = list(made.objects.values())[position]
    return orjson.dumps({**orjson.loads(content), **changes}, option=orjson.OPT_SORT_KEYS)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda made: b"",
        lambda made: b"\x00\xff",
        lambda made: b"[" * 10_000,
        lambda made: list(made.objects.values())[1] + b"\n",
        lambda made: members(made, 1, format=2),
        lambda made: members(made, 1, entries="?").replace(b'"?"', b"[" * 500 + b"]" * 500),
    ],
    ids=["nothing", "no text", "brackets", "a line more", "another version", "deeper than anybody reads"],
)
def test_a_seal_in_another_form_is_malformed(read, spoil):
    """It is not taken into the log, which then has a hole there."""
    made = three()
    log, faults = read(put(made, 1, spoil(made)))
    assert faults == [("seal-malformed", 1), ("seal-missing", 2)]
    assert (len(log.read), log.is_whole, len(log.listed)) == (2, False, 3)


def test_a_malformed_seal_at_the_end_is_no_whole_log_either(read):
    log, faults = read(put(three(), 2, b"{}"))
    assert (faults, log.is_whole, log.size) == ([("seal-malformed", 2)], False, 4)


def test_a_seal_stands_under_its_own_name(read):
    made = MadeLog(FIRST_KEY).add()
    [content] = made.objects.values()
    assert read({ORDERS.prefix + seal_name(1): content})[1] == [("seal-malformed", 0)]


@pytest.mark.parametrize(("at_ms", "expected"), [(LATEST_MS - 1, []), (LATEST_MS, [("seal-malformed", 0)])])
def test_no_seal_is_made_in_2100_or_later(read, at_ms, expected):
    made = MadeLog(FIRST_KEY).add(sealed_at_ms=at_ms)
    assert read(made.objects)[1] == expected


@pytest.mark.parametrize("count", [2, 3])
def test_a_seal_bears_one_signature(read, count):
    """Others would be bytes that nobody checks."""
    made = MadeLog(FIRST_KEY).add()
    [(name, _)], [seal] = made.objects.items(), made.seals
    note = seal.checkpoint
    signatures = (*note.signatures, *(SECOND_KEY.sign(f"witness.example/{n}", note.text) for n in range(count - 1)))
    spoilt = replace(seal, checkpoint=SignedNote(note.text, signatures))
    assert read({name: spoilt.compose()})[1] == [("seal-malformed", 0)]


def test_a_seal_of_another_trail_is_told_and_read(read):
    """Whoever copied it there may have copied all of them."""
    made = MadeLog(FIRST_KEY, trail=CUSTOMERS).add().add()
    moved = {name.replace(CUSTOMERS.prefix, ORDERS.prefix): content for name, content in made.objects.items()}
    log, faults = read(moved)
    assert faults == [("seal-of-another-trail", 0), ("seal-of-another-trail", 1)]
    assert len(log.read) == 2


def test_what_is_named_like_no_seal_is_foreign(read):
    """It is no part of the log, wherever in the listing it stands."""
    made = three()
    foreign = {f"{ORDERS.prefix}seals/!": b"x", f"{ORDERS.prefix}seals/{10**21}.json": b"x"}
    log, faults = read({**made.objects, **foreign})
    assert faults == [("foreign-object", 0), ("foreign-object", 4)]
    assert log == made.read()


# --- what cannot be read ---


class Failing(MemorySource):
    """Some seals cannot be had."""

    failures: dict[str, Exception]

    def fetch(self, wanted: Sequence[StoredObject]) -> list[Path]:
        for stored in wanted:
            if stored.name in self.failures:
                raise self.failures[stored.name]
        return super().fetch(wanted)


DENIED = UnreadableArchive("could not read it", why="AccessDenied", hint="")


@pytest.mark.parametrize(
    ("error", "code", "why"),
    [
        (FileNotFoundError("x"), "seal-missing", "it was listed a moment ago, and is gone"),
        (PermissionError(errno.EACCES, "Permission denied", "x"), "unreadable", "Permission denied"),
        (OSError("a reason in words"), "unreadable", "a reason in words"),
        (DENIED, "unreadable", "could not read it: AccessDenied"),
    ],
    ids=["gone", "denied", "other", "by S3"],
)
def test_a_seal_that_cannot_be_had_is_told_with_its_reason_and_stops_no_other(tmp_path, error, code, why):
    made = three()
    names = list(made.objects)
    source, faults = Failing(made.objects, tmp_path), []
    source.failures = {names[1]: error}
    log = read_log(source, ORDERS, faults.append)
    missing = "the seals of entries 2 to 4 are missing"
    assert faults == [LogFault(code, names[1], why), LogFault("seal-missing", names[2], missing)]
    assert ([one.stored.name for one in log.read], log.is_whole) == ([names[0], names[2]], False)
    assert log.listed == tuple(names)


class Vanishing(MemorySource):
    """Files are found, and one of them is something else once it is opened."""

    name: str
    becomes: str

    def fetch(self, wanted: Sequence[StoredObject]) -> list[Path]:
        paths = super().fetch(wanted)
        place = [stored.name for stored in wanted].index(self.name)
        paths[place].unlink()
        if self.becomes == "a folder":
            paths[place].mkdir()
        return paths


@pytest.mark.parametrize(
    ("becomes", "code", "why"),
    [
        ("nothing", "seal-missing", "it was listed a moment ago, and is gone"),
        ("a folder", "unreadable", "Is a directory"),
    ],
)
def test_a_file_that_goes_before_it_is_opened_stops_no_other(tmp_path, becomes, code, why):
    """A copy in a folder may change meanwhile."""
    made = three()
    names = list(made.objects)
    source, faults = Vanishing(made.objects, tmp_path), []
    source.name, source.becomes = names[1], becomes
    log = read_log(source, ORDERS, faults.append)
    assert (faults[0], len(faults)) == (LogFault(code, names[1], why), 2)
    assert ([one.stored.name for one in log.read], log.is_whole) == ([names[0], names[2]], False)


def test_without_anybody_to_take_faults_the_first_is_an_error(tmp_path):
    """An answer that rests on seals rests on all of them; what cannot be read is another error than what does not fit."""
    made = three()
    name = list(made.objects)[1]
    with pytest.raises(SealMismatch) as refused:
        read_log(MemorySource(without(made, 0), tmp_path), ORDERS)
    assert refused.value.code == "digest-mismatch"
    assert name in refused.value.message
    assert refused.value.why.startswith("seal-missing: ")
    source = Failing(made.objects, tmp_path)
    source.failures = {name: DENIED}
    with pytest.raises(UnreadableArchive) as unreadable:
        read_log(source, ORDERS)
    assert not isinstance(unreadable.value, SealMismatch)
    assert (unreadable.value.message, unreadable.value.why) == (
        f"could not read {name}",
        "could not read it: AccessDenied",
    )
    assert read_log(MemorySource(made.objects, tmp_path), ORDERS) == made.read()


def test_a_seal_nested_too_deep_is_malformed_and_stops_nothing(tmp_path):
    """Deeper than Python goes, and not too deep for JSON."""
    made = three()
    name = list(made.objects)[1]
    deep = b'"size":' + b"[" * 1_000 + b"]" * 1_000 + b","
    objects = made.objects | {name: re.sub(rb'"size":[0-9]+,', deep, made.objects[name])}
    assert objects[name] != made.objects[name]
    faults: list[LogFault] = []
    log = read_log(MemorySource(objects, tmp_path), ORDERS, faults.append)
    assert [fault.code for fault in faults] == ["seal-malformed", "seal-missing"]
    assert log.read == made.read(without=[1]).read


def test_one_seal_that_is_denied_and_one_that_goes_are_both_told(tmp_path):
    """They are then read one by one; each is told in its own place."""
    made = three()
    first, second, third = made.objects

    class Failing(MemorySource):
        def fetch(self, wanted):
            if second in [stored.name for stored in wanted]:
                raise PermissionError(errno.EACCES, "Permission denied", second)
            paths = super().fetch(wanted)
            for stored, path in zip(wanted, paths, strict=True):
                if stored.name == first:
                    path.unlink()
            return paths

    faults: list[LogFault] = []
    log = read_log(Failing(made.objects, tmp_path), ORDERS, faults.append)
    assert [(fault.code, fault.name) for fault in faults] == [
        ("seal-missing", first),
        ("unreadable", second),
        ("seal-missing", third),
    ]
    assert [one.stored.name for one in log.read] == [third]
