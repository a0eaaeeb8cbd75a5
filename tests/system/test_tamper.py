"""The tamper campaign: every attack on a sealed archive, with the exit code that `verify` must answer it with.

One table for all (`ATTACKS`); then the attacks that are made on every object, and on every pair. Exit codes: 0 every
check passed, 1 tampered, 3 incomplete, 4 could not be checked.
"""

from __future__ import annotations

import hashlib
import io
import itertools
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from archiver.format.canonical import canonical
from archiver.format.layout import BaselineName, SegmentName
from archiver.format.log_entry import AcknowledgeEntry, IntervalEntry, KeyRotationEntry, OpenEntry, SegmentEntry
from archiver.format.note import SignedNote
from archiver.format.seal import Seal, seal_name
from archiver.format.stamp import UNSTAMPED, stamp
from archiver.sealer import Sealer
from archiver.signer import public_key_text
from query.verify.verification import Level, Verification
from tests.simulator.memory_store import MemoryStore
from tests.system.tampered import (
    ATTACKER,
    CUSTOMERS,
    FIRST_KEY,
    HOUR_MS,
    MINUTE_MS,
    ORDERS,
    SECOND_KEY,
    THIRD_KEY,
    Reviewer,
    Sealed,
    Shop,
    forged_seal,
    kept,
    label_of,
    reference,
)

Attack = Callable[[Sealed], object]
DAY_MS = 24 * HOUR_MS
SEALED, TAMPERED, INCOMPLETE, UNCHECKED = 0, 1, 3, 4


@pytest.fixture(scope="module")
def sealed() -> Sealed:
    """The reference archive, made once; whoever spoils it takes a copy."""
    return reference()


@pytest.fixture(scope="module")
def reviewer() -> Iterator[Reviewer]:
    """Reads into memory where there is a file system for that: tens of thousands of files are written."""
    where = "/dev/shm" if Path("/dev/shm").is_dir() else None
    with tempfile.TemporaryDirectory(dir=where) as folder:
        yield Reviewer(Path(folder))


def codes(found: Verification) -> set[str]:
    return set(found.counts)


def told(found: Verification) -> str:
    """What a failing test shows."""
    return "\n".join(f"{problem.code} {problem.name}: {problem.detail}" for problem in found.problems)


# --- what is there, and sound ---


@pytest.mark.parametrize("level", Level)
@pytest.mark.parametrize("pinned", [FIRST_KEY, SECOND_KEY], ids=["first key", "second key"])
def test_the_reference_archive_is_verified(sealed, reviewer, level, pinned):
    """Otherwise no exit code below means anything: it is the attack that is found."""
    found = replace(reviewer, level=level, pinned=pinned).verify(sealed)
    assert found.exit_code == SEALED, told(found)
    assert (found.seals, found.segments, found.baselines, found.quarantined) == (6, 7, 1, 2)
    kinds = {entry.type for position in range(6) for entry in sealed.seal(position).entries}
    assert kinds == {"open", "close", "segment", "quarantine", "baseline", "acknowledge", "key-rotation", "interval"}
    opened = [e.description_sha256 for p in range(6) for e in sealed.seal(p).entries if isinstance(e, OpenEntry)]
    assert opened[0] is None
    assert None not in opened[1:]
    assert any("/late/" in name for name in sealed.objects)


def test_every_checkpoint_that_was_ever_made_is_continued(sealed, reviewer):
    """A log only grows: whichever head a reviewer kept, the archive of today leads on from it."""
    for position in range(len(sealed.seals)):
        for pinned in (FIRST_KEY, SECOND_KEY):
            found = replace(reviewer.with_checkpoint(sealed, position), pinned=pinned, level=Level.QUICK).verify(sealed)
            signed_before = pinned is SECOND_KEY and position < 4
            assert found.exit_code == (TAMPERED if signed_before else SEALED), (position, told(found))


# --- the table of attacks ---


@dataclass(frozen=True)
class Case:
    """An attack, the exit code it must get, a code among its findings, and how the reviewer looks."""

    name: str
    attack: Attack
    exit_code: int
    code: str = ""
    how: Callable[[Reviewer, Sealed], Reviewer] = lambda reviewer, _sealed: reviewer


ATTACKS: list[Case] = []


def attack(name: str, exit_code: int, code: str = "", how: Any = None):
    """Puts a function that spoils an archive into the table."""

    def take(function: Attack) -> Attack:
        case = Case(name, function, exit_code, code)
        ATTACKS.append(case if how is None else replace(case, how=how))
        return function

    return take


def pinned_to_the_newest(reviewer: Reviewer, sealed: Sealed) -> Reviewer:
    return reviewer.with_checkpoint(sealed, -1)


def pinned_to_the_first(reviewer: Reviewer, sealed: Sealed) -> Reviewer:
    return reviewer.with_checkpoint(sealed, 0)


def for_a_copy(reviewer: Reviewer, _sealed: Sealed) -> Reviewer:
    return replace(reviewer, max_age_ms=None)


def hours_later(hours: float, **options):
    return lambda reviewer, _sealed: replace(reviewer, later_ms=round(hours * HOUR_MS), **options)


def pinning(key):
    return lambda reviewer, _sealed: replace(reviewer, pinned=key)


def at_level(level):
    return lambda reviewer, _sealed: replace(reviewer, level=level)


def during(since_h: float | None, until_h: float | None, **options):
    """A range in hours from the instant of the archive."""

    def choose(reviewer: Reviewer, sealed: Sealed) -> Reviewer:
        since, until = (None if h is None else sealed.now_ms + round(h * HOUR_MS) for h in (since_h, until_h))
        return replace(reviewer, since_ms=since, until_ms=until, **options)

    return choose


def nothing(_sealed: Sealed) -> None:
    """The archive as it is: what is asked of it, or when, makes the answer."""


# What CloudTrail's verifier lets pass.


def cut_tail(sealed: Sealed) -> None:
    del sealed.objects[sealed.seals[-1]]


def cut_tail_and_evidence(sealed: Sealed) -> None:
    """The last two seals and the segments that they name."""
    sealed.objects = dict(sealed.stages[3])


def delete_everything_of_the_trail(sealed: Sealed) -> None:
    for name in sealed.named(""):
        del sealed.objects[name]


def delete_segments(sealed: Sealed) -> None:
    for name in sealed.segments:
        del sealed.objects[name]


def delete_seals(sealed: Sealed) -> None:
    for name in sealed.seals:
        del sealed.objects[name]


def delete_all_but_the_last_seal(sealed: Sealed) -> None:
    for name in sealed.seals[:-1]:
        del sealed.objects[name]


def forge_segment(sealed: Sealed, hours: float, *, announced: bool = False, key: Any = None) -> str:
    """A sound segment that the archiver never wrote: made with the writer, of a change that never was."""
    store = MemoryStore()
    at_ms = sealed.now_ms + round(hours * HOUR_MS)
    shop = Shop(store, ORDERS)
    shop._number = 10_000
    label = label_of(sealed.now_ms - sealed.now_ms % HOUR_MS - 60 * HOUR_MS)
    shop.archive([shop.change("forged", at_ms, label)], at_ms + (3 * DAY_MS if announced else 0))
    [name] = [name for name in store.objects if "/segments/" in name and "/late/" not in name]
    for made, content in store.objects.items():
        if "/streams/" not in made:
            sealed.objects[made] = content
    return name


for _name, _function, _exit, _code, _how in (
    ("newest seal deleted, checkpoint of it pinned", cut_tail, 3, "rolled-back", pinned_to_the_newest),
    ("newest seal deleted, within max-age, nothing pinned: nobody can see it", cut_tail, 0, "", None),
    ("newest seal deleted, older than max-age", cut_tail, 3, "stale", hours_later(1.5)),
    ("tail and its segments deleted, pinned", cut_tail_and_evidence, 3, "rolled-back", pinned_to_the_newest),
    ("tail and its segments deleted, nothing pinned", cut_tail_and_evidence, 3, "stale", None),
    ("tail deleted from a copy, pinned", cut_tail, 3, "rolled-back", lambda r, s: for_a_copy(pinned_to_the_newest(r, s), s)),
    ("everything of the trail deleted", delete_everything_of_the_trail, 3, "no-seals", None),
    ("everything deleted", lambda sealed: sealed.objects.clear(), 3, "no-segments", None),
    ("everything deleted, checkpoint pinned", lambda sealed: sealed.objects.clear(), 3, "rolled-back", pinned_to_the_newest),
    ("all segments deleted", delete_segments, 3, "object-missing", None),
    ("all segments deleted: none is left", delete_segments, 3, "no-segments", None),
    ("all seals deleted", delete_seals, 3, "no-seals", None),
    ("all seals deleted, checkpoint pinned", delete_seals, 3, "rolled-back", pinned_to_the_newest),
    ("all seals but the last deleted", delete_all_but_the_last_seal, 3, "seal-missing", None),
    ("all seals but the last deleted, pinned", delete_all_but_the_last_seal, 3, "seal-missing", pinned_to_the_first),
    ("forged segment, unannounced, in an hour sealed over 26 h ago", lambda s: forge_segment(s, -40), 1, "forged-segment", None),
    ("the same in a copy", lambda s: forge_segment(s, -40), 1, "forged-segment", for_a_copy),
    ("forged segment, announced as late", lambda s: forge_segment(s, -40, announced=True), 3, "unsealed", None),
    ("forged segment in the tail, fresh: it may wait for its seal", lambda s: forge_segment(s, -3), 0, "", None),
    ("forged segment in the tail, stale", lambda s: forge_segment(s, -3), 3, "unsealed", hours_later(3)),
    ("forged segment of a time to come", lambda s: forge_segment(s, 400), 1, "forged-segment", None),
    ("forged segment of a time to come, announced", lambda s: forge_segment(s, 400, announced=True), 1, "forged-segment", None),
    ("nobody seals any more", nothing, 3, "stale", hours_later(3)),
    ("nobody seals any more: a copy may be of any age", nothing, 0, "", hours_later(10_000, max_age_ms=None)),
    ("no key is pinned", nothing, 4, "key-not-pinned", pinning(None)),
    ("no key is pinned, and a segment is gone", lambda s: s.objects.pop(s.segments[0]), 3, "key-not-pinned", pinning(None)),
    ("the key of somebody else is pinned", nothing, 1, "seal-signature", pinning(THIRD_KEY)),
    ("a period that is sealed to its end", nothing, 0, "", during(-3, -0.5, later_ms=10_000 * HOUR_MS, max_age_ms=None)),
    ("a period that is not sealed to its end", nothing, 3, "period-not-sealed", during(-3, 5, later_ms=9 * HOUR_MS, max_age_ms=None)),
    ("a period from before the trail began", nothing, 3, "outside-coverage", during(-2000, -1000)),
    ("until an instant before the trail began: an empty range", nothing, 3, "outside-coverage", during(None, -1000)),
    ("since an instant to come: an empty range", nothing, 3, "outside-coverage", during(5, None)),
):  # fmt: skip
    attack(_name, _exit, _code, _how)(_function)


# --- the log ---


def replace_seal(sealed: Sealed, position: int, content: bytes) -> None:
    sealed.objects[sealed.seals[position]] = content


def changed_seal(sealed: Sealed, position: int, change: Callable[[dict[str, Any]], None]) -> None:
    """A seal with members changed, written canonically, and signed by nobody anew."""
    members = orjson.loads(sealed.objects[sealed.seals[position]])
    change(members)
    replace_seal(sealed, position, canonical(members))


def in_note(sealed: Sealed, position: int, change: Callable[[str], str]) -> None:
    changed_seal(sealed, position, lambda members: members.update(checkpoint=change(members["checkpoint"])))


def append_forged(
    sealed: Sealed, key: Any, *also: Any, at_ms: int | None = None, reached_ms: int | None = None
) -> None:
    """One seal more, by somebody with another key."""
    last_name = sealed.seals[-1]
    last = Seal.parse(sealed.objects[last_name])
    when = sealed.now_ms if at_ms is None else at_ms
    reached = when if reached_ms is None else reached_ms
    notices = any(entry.type not in {"segment", "interval"} for entry in last.entries)
    notice = last.size_before if notices else last.interval.previous_notice
    entries = (*also, IntervalEntry(min(last.interval.to_ms, reached), reached, when, notice))
    name, content = forged_seal(last, sealed.objects[last_name], entries, key)
    sealed.objects[name] = content


def rewrite_log(sealed: Sealed, key: Any, change: Callable[[int, list[Any]], list[Any]]) -> None:
    """The whole log anew, in itself consistent: with other entries, signed by another key; None: by its own keys."""
    last, content = None, None
    seals = [sealed.seal(position) for position in range(len(sealed.seals))]
    for name in sealed.seals:
        del sealed.objects[name]
    notice = None
    for position, seal in enumerate(seals):
        entries = change(position, list(seal.entries[:-1]))
        interval = replace(seal.interval, previous_notice=notice)
        signs = key or (FIRST_KEY if position < 4 else SECOND_KEY)
        name, content = forged_seal(last, content, (*entries, interval), signs)
        last = Seal.parse(content)
        sealed.objects[name] = content
        if any(entry.type != "segment" for entry in entries):
            notice = last.size_before


def without_first_segment(sealed: Sealed, key: Any) -> None:
    """A segment and every mention of it disappear."""
    gone = next(entry for entry in sealed.seal(0).entries if isinstance(entry, SegmentEntry))
    del sealed.objects[ORDERS.prefix + gone.path]
    rewrite_log(sealed, key, lambda _position, entries: [entry for entry in entries if entry != gone])


def fork_at(position: int, pinned_branch: bool = True):
    """Two valid logs by the sealer's own key, from one size on: the archive shows one, the reviewer kept the other."""

    def choose(reviewer: Reviewer, sealed: Sealed) -> Reviewer:
        original = reference(sealed.now_ms)
        return reviewer.with_checkpoint(original, position)

    return choose


def fork_last_seal(sealed: Sealed) -> None:
    """The sealer's own key signs another end of the log, over the true one."""
    last, before = sealed.seal(-1), sealed.seal(-2)
    entries = (
        AcknowledgeEntry(None, sealed.now_ms - 2 * DAY_MS, sealed.now_ms - DAY_MS, "nothing to see here"),
        last.interval,
    )
    name, content = forged_seal(before, sealed.objects[sealed.seals[-2]], entries, SECOND_KEY)
    assert name == sealed.seals[-1]
    sealed.objects[name] = content


def fork_beside(sealed: Sealed) -> None:
    """A second seal for a size in the middle of the log, at a name of its own: one entry further on."""
    before = sealed.seal(1)
    extra = AcknowledgeEntry(None, 1, 2, "another history")
    interval = replace(sealed.seal(2).interval, from_ms=before.interval.to_ms)
    middle = forged_seal(before, sealed.objects[sealed.seals[1]], (extra, interval), FIRST_KEY)
    seal = Seal.parse(middle[1])
    end = forged_seal(seal, middle[1], (extra, interval), FIRST_KEY)
    assert end[0] not in sealed.objects
    sealed.objects[end[0]] = end[1]


def reorder(sealed: Sealed) -> None:
    first, second = sealed.seals[1], sealed.seals[2]
    sealed.objects[first], sealed.objects[second] = sealed.objects[second], sealed.objects[first]


def splice_other_trail(sealed: Sealed) -> None:
    for name in sealed.named("seals/"):
        del sealed.objects[name]
    for name in sealed.named("seals/", CUSTOMERS):
        sealed.objects[ORDERS.prefix + name.removeprefix(CUSTOMERS.prefix)] = sealed.objects[name]


def swap_trails(sealed: Sealed) -> None:
    """All of one trail under the name of the other, and the other way round."""
    moved = {}
    for name, content in sealed.objects.items():
        for here, there in ((ORDERS, CUSTOMERS), (CUSTOMERS, ORDERS)):
            if name.startswith(here.prefix):
                moved[there.prefix + name.removeprefix(here.prefix)] = content
                break
        else:
            moved[name] = content
    sealed.objects = moved


def two_signatures(second_key: Any, *, name: str | None = None, spoil: bool = False):
    def spoil_note(sealed: Sealed) -> None:
        note = sealed.seal(-1).checkpoint
        signature = second_key.sign(name or note.signatures[0].key_name, note.text)
        if spoil:
            signature = replace(signature, signature=bytes(64))
        in_note(sealed, -1, lambda _: SignedNote(note.text, (*note.signatures, signature)).compose().decode())

    return spoil_note


def only_a_witness(sealed: Sealed) -> None:
    note = sealed.seal(-1).checkpoint
    witness = SECOND_KEY.sign("witness.example/w1", note.text)
    in_note(sealed, -1, lambda _: SignedNote(note.text, (witness,)).compose().decode())


def duplicate_key(sealed: Sealed) -> None:
    content = sealed.objects[sealed.seals[-1]]
    replace_seal(sealed, -1, content[:-1] + b',"size_before":' + str(sealed.seal(-1).size_before).encode() + b"}")


def other_base64(sealed: Sealed) -> None:
    """The last character before the padding carries two bits that mean nothing."""

    def respell(note: str) -> str:
        lines = note.split("\n")
        root = lines[2]
        alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
        lines[2] = root[:-2] + alphabet[alphabet.index(root[-2]) | 1] + "="
        assert lines[2] != root
        return "\n".join(lines)

    in_note(sealed, -1, respell)


def of_size(text: str):
    def change(sealed: Sealed) -> None:
        in_note(sealed, -1, lambda note: "\n".join([*note.split("\n")[:1], text, *note.split("\n")[2:]]))

    return change


def of_no_entries(sealed: Sealed) -> None:
    def empty(members: dict[str, Any]) -> None:
        members.update(size_before=0, size=0, entries=[], roots=[], previous_sha256=None)

    changed_seal(sealed, 0, empty)


def leave_a_member_out(sealed: Sealed) -> None:
    changed_seal(sealed, -1, lambda members: members.pop("roots"))


def unknown_version(sealed: Sealed) -> None:
    changed_seal(sealed, -1, lambda members: members.update(format=2))


def unknown_entry(sealed: Sealed) -> None:
    changed_seal(sealed, -1, lambda members: members["entries"].insert(0, {"type": "erasure"}))


def rewrite_unchanged(sealed: Sealed) -> None:
    rewrite_log(sealed, None, lambda _position, entries: entries)


for _name, _function, _exit, _code, _how in (
    ("first seal deleted", lambda s: s.objects.pop(s.seals[0]), 3, "seal-missing", None),
    ("middle seal deleted", lambda s: s.objects.pop(s.seals[2]), 3, "seal-missing", None),
    ("the seal that hands over to the next key deleted", lambda s: s.objects.pop(s.seals[3]), 3, "seal-missing", None),
    ("the same, the next key pinned", lambda s: s.objects.pop(s.seals[3]), 3, "seal-missing", pinning(SECOND_KEY)),
    ("a middle seal deleted, pinned", lambda s: s.objects.pop(s.seals[2]), 3, "seal-missing", pinned_to_the_newest),
    ("two seals change places", reorder, 1, "seal-malformed", None),
    ("the log forked at its end by the sealer's own key", fork_last_seal, 1, "checkpoint-forked", fork_at(-1)),
    ("a second history beside the log", fork_beside, 1, "log-forked", None),
    ("the log written once more, word for word, by the sealer's own key", rewrite_unchanged, 0, "", None),
    ("a segment and every mention of it gone, log rewritten by the sealer's own key", lambda s: without_first_segment(s, None), 1, "checkpoint-forked", fork_at(0)),
    ("the same by somebody without the key", lambda s: without_first_segment(s, ATTACKER), 1, "seal-signature", None),
    ("seals of another trail", splice_other_trail, 1, "seal-of-another-trail", None),
    ("two trails swapped", swap_trails, 1, "seal-of-another-trail", None),
    ("a seal by another key at the end", lambda s: append_forged(s, ATTACKER), 1, "seal-signature", None),
    ("a hand-over to another key, by that key", lambda s: append_forged(s, ATTACKER, KeyRotationEntry(public_key_text(ATTACKER.public_key))), 1, "seal-signature", None),
    ("a log handed over to the pinned key by somebody without it", lambda s: (without_first_segment(s, ATTACKER), append_forged(s, ATTACKER, KeyRotationEntry(public_key_text(FIRST_KEY.public_key)))), 1, "seal-signature", None),
    ("a hand-over to what is no key, by the sealer", lambda s: append_forged(s, SECOND_KEY, KeyRotationEntry("AAAA")), 1, "log-inconsistent", None),
    ("two signatures, the second of another key", two_signatures(ATTACKER), 1, "seal-malformed", None),
    ("two signatures, the second not valid", two_signatures(SECOND_KEY, spoil=True), 1, "seal-malformed", None),
    ("a second signature, of a witness that nobody can check", two_signatures(ATTACKER, name="witness.example/w1"), 1, "seal-malformed", None),
    ("the signature of a witness only", only_a_witness, 1, "seal-signature", None),
    ("a member twice", duplicate_key, 1, "seal-malformed", None),
    ("a member left out", leave_a_member_out, 1, "seal-malformed", None),
    ("base64 in another spelling", other_base64, 1, "seal-malformed", None),
    ("bytes after the end", lambda s: replace_seal(s, -1, s.objects[s.seals[-1]] + b"\n"), 1, "seal-malformed", None),
    ("bytes before the beginning", lambda s: replace_seal(s, -1, b" " + s.objects[s.seals[-1]]), 1, "seal-malformed", None),
    ("a tree of no leaves", of_size("0"), 1, "seal-malformed", None),
    ("a seal of no entries", of_no_entries, 1, "seal-malformed", None),
    ("a size with a leading zero", of_size("024"), 1, "seal-malformed", None),
    ("a size with a sign", of_size("+24"), 1, "seal-malformed", None),
    ("an unknown version of a seal", unknown_version, 1, "seal-malformed", None),
    ("an unknown type of entry", unknown_entry, 1, "seal-malformed", None),
    ("a seal of tomorrow, by the sealer's own key", lambda s: append_forged(s, SECOND_KEY, at_ms=s.now_ms + DAY_MS), 1, "seal-in-future", None),
    ("a seal of the year 287396, by the sealer's own key", lambda s: append_forged(s, SECOND_KEY, at_ms=2**53 - 1), 1, "seal-malformed", None),
    ("a seal of five minutes ahead: clocks differ", lambda s: append_forged(s, SECOND_KEY, at_ms=s.now_ms + 4 * MINUTE_MS), 0, "", None),
    ("time runs backwards, by the sealer's own key", lambda s: append_forged(s, SECOND_KEY, at_ms=s.now_ms - 2 * DAY_MS), 1, "log-inconsistent", None),
    ("a seal that is no JSON", lambda s: replace_seal(s, 1, b"\x00\xff"), 1, "seal-malformed", None),
    ("a seal of nothing", lambda s: replace_seal(s, 1, b""), 1, "seal-malformed", None),
    ("a seal of ten thousand brackets", lambda s: replace_seal(s, 1, b"[" * 10_000), 1, "seal-malformed", None),
):  # fmt: skip
    attack(_name, _exit, _code, _how)(_function)


# --- objects ---


def foreign(name: str, content: bytes = b"x"):
    def put(sealed: Sealed) -> None:
        sealed.objects[ORDERS.prefix + name] = content

    return put


def table_of(content: bytes) -> tuple[pa.Table, dict[bytes, bytes]]:
    file = pq.ParquetFile(pa.BufferReader(content))
    return file.read(), dict(file.metadata.metadata or {})


def parquet_of(table: pa.Table, metadata: dict[bytes, bytes], **options: Any) -> bytes:
    """A segment's file as somebody with the library would write it, its own digest right."""
    sink = io.BytesIO()
    with pq.ParquetWriter(sink, table.schema, store_schema=False, compression="zstd", **options) as writer:
        writer.write_table(table)
        writer.add_key_value_metadata({**metadata, b"ddbtrail.digest": UNSTAMPED.encode()})
    return stamp(sink.getvalue())


def re_encode(sealed: Sealed) -> None:
    """The same rows in another file: other compression of pages, everything that a file says of itself is right."""
    table, metadata = table_of(sealed.objects[sealed.segments[3]])
    content = parquet_of(table, metadata, use_dictionary=True, write_page_checksum=True)
    assert content != sealed.objects[sealed.segments[3]]
    sealed.objects[sealed.segments[3]] = content


def edit_metadata(sealed: Sealed) -> None:
    """Another writer is named; the rows are untouched and the file's own digest is right."""
    table, metadata = table_of(sealed.objects[sealed.segments[3]])
    sealed.objects[sealed.segments[3]] = parquet_of(table, {**metadata, b"ddbtrail.writer": b"somebody"})


def edit_metadata_without_stamp(sealed: Sealed) -> None:
    name = sealed.segments[3]
    assert b"ddbtrail.writer" in sealed.objects[name]
    sealed.objects[name] = sealed.objects[name].replace(b"ddbtrail.writer", b"ddbtrail.wroter")


def edit_row(sealed: Sealed) -> None:
    """One image is changed and the file written anew, its own digest right: the root is another."""
    table, metadata = table_of(sealed.objects[sealed.segments[3]])
    place = table.schema.get_field_index("new_image")
    images = [image.replace('"N":"', '"N":"9') for image in table.column(place).to_pylist()]
    changed = table.set_column(place, table.schema.field(place), pa.array(images, pa.string()))
    sealed.objects[sealed.segments[3]] = parquet_of(changed, metadata)


def edit_hint(sealed: Sealed) -> None:
    """A column that no leaf covers says something else: the item is hidden from whoever prunes by key."""
    table, metadata = table_of(sealed.objects[sealed.segments[3]])
    place = table.schema.get_field_index("pk")
    changed = table.set_column(place, table.schema.field(place), pa.array(["elsewhere"] * len(table), pa.string()))
    sealed.objects[sealed.segments[3]] = parquet_of(changed, metadata)


def with_hints_swapped(content: bytes) -> bytes:
    """Partition and sort key change columns: every leaf and the root stay, and whoever prunes by key finds nothing."""
    table, metadata = table_of(content)
    pk, sk = (table.schema.get_field_index(name) for name in ("pk", "sk"))
    pks, sks = table.column(pk), table.column(sk)
    swapped = table.set_column(pk, table.schema.field(pk), sks).set_column(sk, table.schema.field(sk), pks)
    return parquet_of(swapped, metadata)


def forge_with_hints_swapped(sealed: Sealed) -> None:
    name = forge_segment(sealed, -3)
    sealed.objects[name] = with_hints_swapped(sealed.objects[name])


def seal_with_hints_swapped(sealed: Sealed) -> None:
    name = sealed.segments[-1]
    reseal(sealed, name, with_hints_swapped(sealed.objects[name]))


def reseal(sealed: Sealed, name: str, content: bytes) -> None:
    """Other bytes of a segment, for which the sealer's own key vouches."""
    sealed.objects[name] = content
    said = {"file_sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}

    def change(_position: int, entries: list[Any]) -> list[Any]:
        inside = name.removeprefix(ORDERS.prefix)
        return [replace(e, **said) if isinstance(e, SegmentEntry) and e.path == inside else e for e in entries]

    rewrite_log(sealed, None, change)


def with_statistics_that_lie(content: bytes) -> bytes:
    """The footer says that partition keys are from y to z, its own digest right: whoever prunes by them finds nothing."""
    start = content.rindex(content[content.rindex(b"ddbtrail.digest") + 17 :][:64])
    unstamped = content[:start] + UNSTAMPED.encode() + content[start + 64 :]
    length = int.from_bytes(content[-8:-4], "little")
    rows, footer = unstamped[: -8 - length], unstamped[-8 - length :]
    assert footer.count(b"\x01c\x18\x01c") == 1
    return stamp(rows + footer.replace(b"\x01c\x18\x01c", b"\x01z\x18\x01y"))


def forge_with_statistics_that_lie(sealed: Sealed) -> None:
    """In the tail, where nothing but the file itself says what is right."""
    name = sealed.segments[-1]
    sealed.objects = dict(sealed.stages[3])
    sealed.objects[name] = with_statistics_that_lie(reference(sealed.now_ms).objects[name])


def seal_with_statistics_that_lie(sealed: Sealed) -> None:
    name = sealed.segments[-1]
    reseal(sealed, name, with_statistics_that_lie(sealed.objects[name]))


def move_quarantine_into_the_trail(sealed: Sealed) -> None:
    """A record of no trail goes from beside the trails into this one, under the same path."""
    name = next(name for name in sealed.objects if name.startswith("v1/quarantine/"))
    sealed.objects[ORDERS.prefix + name] = sealed.objects.pop(name)


def copy_quarantine_into_the_trail(sealed: Sealed) -> None:
    name = next(name for name in sealed.objects if name.startswith("v1/quarantine/"))
    sealed.objects[ORDERS.prefix + name] = sealed.objects[name]


def new_quarantine(sealed: Sealed, prefix: str) -> None:
    content = b'{"nobody":"understood"}'
    sealed.objects[f"{prefix}quarantine/{hashlib.sha256(content).hexdigest()}.json"] = content


def orphan_part(sealed: Sealed) -> None:
    [part] = sealed.named("baselines/2026-11-20T06-00-00Z/part-")
    sealed.objects[part.replace("part-0-", "part-7-")] = sealed.objects[part]


def new_baseline(sealed: Sealed, **claims: Any) -> None:
    """A baseline that no seal names, which describes the part of the sealed one."""
    [name] = sealed.named("baselines/2026-11-20T06-00-00Z/baseline.json")
    [part] = sealed.named("baselines/2026-11-20T06-00-00Z/part-")
    members = {**orjson.loads(sealed.objects[name]), **claims}
    place = BaselineName(members["from_ms"])
    sealed.objects[ORDERS.prefix + place.description] = canonical(members)
    sealed.objects[ORDERS.prefix + place.folder + part.rpartition("/")[2]] = sealed.objects[part]


def baseline_of_more_items(sealed: Sealed) -> None:
    [name] = sealed.named("baselines/2026-11-20T06-00-00Z/baseline.json")
    members = orjson.loads(sealed.objects[name])
    [part] = members["parts"]
    new_baseline(sealed, from_ms=members["from_ms"] - 5_000, items=9, parts=[{**part, "items": 9}])


def baseline_of_more_bytes(sealed: Sealed) -> None:
    [name] = sealed.named("baselines/2026-11-20T06-00-00Z/baseline.json")
    members = orjson.loads(sealed.objects[name])
    [part] = members["parts"]
    new_baseline(sealed, from_ms=members["from_ms"] - 5_000, parts=[{**part, "bytes": part["bytes"] + 1}])


def late_marker(sealed: Sealed, content: bytes = b"") -> None:
    name = sealed.segments[0].removeprefix(ORDERS.prefix)
    sealed.objects[f"{ORDERS.prefix}late/2026-11-21/{name}"] = content


def contradict(sealed: Sealed) -> None:
    """The sealer's own key signs that a segment has another digest than it said before."""
    entry = next(entry for entry in sealed.seal(0).entries if isinstance(entry, SegmentEntry))
    append_forged(sealed, SECOND_KEY, replace(entry, file_sha256="0" * 64))


def lie_about_rows(sealed: Sealed) -> None:
    """The sealer's own key signed other figures of a segment than its rows have; its digest is right."""

    def change(_position: int, entries: list[Any]) -> list[Any]:
        return [
            replace(entry, records=entry.records + 1) if isinstance(entry, SegmentEntry) else entry for entry in entries
        ]

    rewrite_log(sealed, None, change)


def lie_about_size(sealed: Sealed) -> None:
    def change(_position: int, entries: list[Any]) -> list[Any]:
        return [
            replace(entry, bytes=entry.bytes + 1) if isinstance(entry, SegmentEntry) else entry for entry in entries
        ]

    rewrite_log(sealed, None, change)


def conflict(sealed: Sealed) -> None:
    """The archiver's role writes a change once more, with another content, and it is sealed: nothing else is wrong."""
    store = MemoryStore()
    store.objects = sealed.objects
    shop = Shop(store, ORDERS)
    label = label_of(sealed.now_ms - sealed.now_ms % HOUR_MS - 60 * HOUR_MS)
    record = shop.change("b", sealed.now_ms - 2 * HOUR_MS, label)
    record["dynamodb"]["SequenceNumber"] = str(10**24 + 8)
    shop.archive([record], sealed.now_ms)
    shop.seal(SECOND_KEY, sealed.now_ms)


def lose_a_change(sealed: Sealed) -> None:
    """One of an item's changes was never archived; what was is sealed, and sound."""
    store = MemoryStore()
    store.objects = sealed.objects
    shop = Shop(store, ORDERS)
    shop._number = 500
    label = label_of(sealed.now_ms - sealed.now_ms % HOUR_MS - 60 * HOUR_MS)
    changes = [shop.change("new", sealed.now_ms - HOUR_MS + n * MINUTE_MS, label) for n in range(3)]
    shop.archive([changes[0]], sealed.now_ms)
    shop.archive([changes[2]], sealed.now_ms)
    shop.seal(SECOND_KEY, sealed.now_ms)


def without_acknowledgement(kind: str):
    """The log as it would be had nobody looked, by the sealer's own key."""

    def attack_(sealed: Sealed) -> None:
        def change(_position: int, entries: list[Any]) -> list[Any]:
            return [e for e in entries if not (isinstance(e, AcknowledgeEntry) and (e.path is None) == (kind == "gap"))]

        rewrite_log(sealed, None, change)

    return attack_


def acknowledge_in_advance(sealed: Sealed) -> None:
    """By the sealer's own key, for all times, in the first seal: what was still to come nobody can have looked at."""

    def change(position: int, entries: list[Any]) -> list[Any]:
        kept_ = [e for e in entries if not (isinstance(e, AcknowledgeEntry) and e.path is None)]
        return [*kept_, AcknowledgeEntry(None, 0, 4_000_000_000_000, "whatever comes")] if position == 0 else kept_

    rewrite_log(sealed, None, change)


def shorten(sealed: Sealed, name: str) -> None:
    sealed.objects[name] = sealed.objects[name][:-1]


def since_checkpoint(position: int):
    def choose(reviewer: Reviewer, sealed: Sealed) -> Reviewer:
        with_head = reviewer.with_checkpoint(sealed, position)
        return replace(with_head, checks_from=with_head.checkpoint.head.size)

    return choose


for _name, _function, _exit, _code, _how in (
    ("re-encoded, every row the same", re_encode, 1, "re-encoded", None),
    ("re-encoded, quick", re_encode, 1, "re-encoded", at_level(Level.QUICK)),
    ("metadata edited, own digest right", edit_metadata, 1, "re-encoded", None),
    ("metadata edited in place", edit_metadata_without_stamp, 1, "digest-mismatch", None),
    ("an image edited, own digest right", edit_row, 1, "digest-mismatch", None),
    ("a hint edited, own digest right", edit_hint, 1, "digest-mismatch", None),
    ("a foreign object among the segments", foreign("segments/dt=2026-11-23/hour=06/readme.txt"), 1, "foreign-object", None),
    ("a foreign object among the seals", foreign("seals/latest.json"), 1, "foreign-object", None),
    ("a seal beyond the twenty digits", foreign(f"seals/{10**21}.json"), 1, "foreign-object", None),
    ("a foreign object among the streams", foreign("streams/x.txt"), 1, "foreign-object", None),
    ("a foreign object among the markers", foreign("late/2026-11-23/x"), 1, "foreign-object", None),
    ("a foreign object in quarantine", foreign("quarantine/x.json"), 1, "foreign-object", None),
    ("a foreign object among the baselines", foreign("baselines/x/baseline.json"), 1, "foreign-object", None),
    ("a foreign object beside all kinds", foreign("notes.txt"), 1, "foreign-object", None),
    ("a foreign folder", foreign("segments2/dt=2026-11-23/x.parquet"), 1, "foreign-object", None),
    ("a name with control characters", foreign("segments/\x1b[2J\u202e.parquet"), 1, "foreign-object", None),
    ("a name that is no text", foreign("segments/\udcff.parquet"), 1, "foreign-object", None),
    ("derived data, whatever it is", foreign("runs/d1/x"), 0, "", None),
    ("a record of no trail moved into the trail", move_quarantine_into_the_trail, 1, "foreign-object", None),
    ("a record of no trail copied into the trail", copy_quarantine_into_the_trail, 1, "foreign-object", None),
    ("a record in quarantine that nobody has looked at", lambda s: new_quarantine(s, ORDERS.prefix), 3, "quarantined", None),
    ("a record of no trail that nobody has looked at", lambda s: new_quarantine(s, "v1/"), 3, "quarantined", None),
    ("an orphaned part of a baseline", orphan_part, 0, "", None),
    ("a baseline more, sound, not sealed yet", lambda s: new_baseline(s, from_ms=1_795_154_390_000), 0, "", None),
    ("a baseline more, and nobody seals", lambda s: new_baseline(s, from_ms=1_795_154_390_000), 3, "unsealed", hours_later(3)),
    ("a baseline that claims more items than its part has", baseline_of_more_items, 1, "entry-disagrees", None),
    ("the same, quick: nobody has vouched for its rows", baseline_of_more_items, 1, "entry-disagrees", at_level(Level.QUICK)),
    ("hints in the wrong order in the tail", forge_with_hints_swapped, 1, "unsound", at_level(Level.QUICK)),
    ("hints in the wrong order, sealed by the sealer's own key", seal_with_hints_swapped, 1, "unsound", None),
    ("statistics that lie, in the tail", forge_with_statistics_that_lie, 1, "unsound", at_level(Level.QUICK)),
    ("statistics that lie, sealed by the sealer's own key", seal_with_statistics_that_lie, 1, "unsound", None),
    ("a baseline that claims more bytes than its part has", baseline_of_more_bytes, 1, "digest-mismatch", None),
    ("a late marker more", late_marker, 0, "", None),
    ("a late marker with content", lambda s: late_marker(s, b"x"), 1, "unsound", None),
    ("the log says two things of one segment, by the sealer's own key", contradict, 1, "entry-contradicts", None),
    ("the log says other figures than the rows, by the sealer's own key", lie_about_rows, 1, "entry-disagrees", None),
    ("the log says another size than the file, by the sealer's own key", lie_about_size, 1, "entry-disagrees", None),
    ("the same, quick: the digest is right, and the size is not", lie_about_size, 1, "entry-disagrees", at_level(Level.QUICK)),
    ("one change told in two ways", conflict, 1, "identity-conflict", None),
    ("one change told in two ways: quick asks no rows", conflict, 0, "", at_level(Level.QUICK)),
    ("a change that was never archived", lose_a_change, 3, "image-break", None),
    ("a change that was never archived: quick asks no rows", lose_a_change, 0, "", at_level(Level.QUICK)),
    ("a gap that nobody acknowledged", without_acknowledgement("gap"), 3, "gap", None),
    ("a gap that nobody acknowledged, quick", without_acknowledgement("gap"), 3, "gap", at_level(Level.QUICK)),
    ("a gap that was acknowledged before it was over", acknowledge_in_advance, 3, "gap", None),
    ("quarantined records that nobody acknowledged", without_acknowledgement("object"), 3, "quarantined", None),
    ("an old segment changed, since a checkpoint: it is not read again", edit_row, 1, "digest-mismatch", since_checkpoint(0)),
    ("an old segment a byte shorter, since the newest checkpoint: its size tells", lambda s: shorten(s, s.segments[0]), 1, "digest-mismatch", since_checkpoint(-1)),
    ("an old segment deleted, since the newest checkpoint", lambda s: s.objects.pop(s.segments[0]), 3, "object-missing", since_checkpoint(-1)),
    ("a segment outside the range changed in size", lambda s: shorten(s, s.segments[0]), 1, "digest-mismatch", during(-3, -0.5, max_age_ms=None)),
    ("a checkpoint of another trail", nothing, 1, "checkpoint-forked", lambda r, s: replace(r, checkpoint=kept(Seal.parse(s.objects[s.named("seals/", CUSTOMERS)[-1]]).checkpoint))),
    ("a checkpoint that somebody else signed", nothing, 1, "checkpoint-signature", lambda r, s: replace(r, checkpoint=kept(SignedNote(s.seal(-1).checkpoint.text, (ATTACKER.sign("ddbtrail/111122223333/eu-west-1/orders", s.seal(-1).checkpoint.text),))))),
):  # fmt: skip
    attack(_name, _exit, _code, _how)(_function)


def test_every_attack_has_a_name_of_its_own():
    """Or one would hide another in the report."""
    names = [case.name for case in ATTACKS]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("forge", [forge_with_hints_swapped, forge_with_statistics_that_lie])
def test_what_verify_would_not_let_pass_is_not_sealed(sealed, forge):
    """A segment that hides its rows from whoever prunes: the sealer tells it and vouches for nothing."""
    spoilt = sealed.copy()
    forge(spoilt)
    store = MemoryStore()
    store.objects = spoilt.objects
    before = len(spoilt.seals)
    done = Sealer(store, ORDERS, SECOND_KEY).seal(spoilt.now_ms)
    assert [one.name in spoilt.segments for one in done.refused] == [True]
    assert len(spoilt.seals) == before + 1
    assert done.refused[0].name.removeprefix(ORDERS.prefix) not in {
        entry.path for entry in spoilt.seal(-1).entries if isinstance(entry, SegmentEntry)
    }


@pytest.mark.parametrize("case", ATTACKS, ids=lambda case: case.name)
def test_an_attack_gets_its_exit_code(sealed, reviewer, case):
    """The exact code, not just any: scripts and people act on which one it is."""
    spoilt = sealed.copy()
    looks = replace(reviewer, level=Level.FULL)
    looks = case.how(looks, sealed)
    case.attack(spoilt)
    found = looks.verify(spoilt)
    assert found.exit_code == case.exit_code, told(found)
    if case.code:
        assert case.code in codes(found), told(found)
    else:
        assert not found.problems, told(found)


# --- on every object, and every pair ---


def kind_of(name: str) -> str:
    """What an object is, for whom the outcome depends on it."""
    if name.startswith("v1/quarantine/"):
        return "quarantine"
    kind, _, rest = name.removeprefix(ORDERS.prefix).partition("/")
    return "part" if kind == "baselines" and "/part-" in rest else kind


def own(sealed: Sealed) -> list[str]:
    """The objects that a verification of the first trail has to look at."""
    return [name for name in sorted(sealed.objects) if not name.startswith(CUSTOMERS.prefix)]


@pytest.fixture(scope="module")
def quick(reviewer) -> Reviewer:
    """Digests and names, which find all of these; and no row is asked, so that nothing else can."""
    return replace(reviewer, level=Level.QUICK)


def exit_of(quick: Reviewer, spoilt: Sealed, **options: Any) -> tuple[int, str]:
    found = quick.verify(spoilt, asks_rows=False, **options)
    return found.exit_code, told(found)


def test_a_deleted_object_is_missing(sealed, quick):
    """Each of them: 3. A marker of a segment that is sealed meanwhile has done its work, and no seal names it; the
    newest seal is missed by whoever kept its checkpoint."""
    pinned = quick.with_checkpoint(sealed, -1)
    for name in own(sealed):
        spoilt = sealed.copy()
        del spoilt.objects[name]
        found = pinned.verify(spoilt)
        assert found.exit_code == (SEALED if kind_of(name) == "late" else INCOMPLETE), f"{name}\n{told(found)}"


def other_names(name: str, sealed: Sealed) -> Iterator[str]:
    """The same object under other names of its kind: another root, hour or number, another label, digest or size."""
    kind, inside = kind_of(name), name.removeprefix(ORDERS.prefix)
    match kind:
        case "segments":
            place = SegmentName.parse(inside)
            for other in (
                replace(place, root="0" * 64),
                replace(place, hour_ms=place.hour_ms + HOUR_MS),
                replace(place, hour_ms=sealed.now_ms),
                replace(place, first_sequence=f"{int(place.first_sequence) + 1:040d}"),
            ):
                yield ORDERS.prefix + other.compose()
            yield name.replace(ORDERS.prefix, f"{ORDERS.prefix}segments/")
        case "late":
            yield name.replace("hour=05", "hour=06")
        case "streams":
            yield f"{ORDERS.prefix}streams/2026-10-10T10:10:10.000.json"
        case "quarantine":
            yield name.replace(inside[-20:-5], "0" * 15)
        case "part":
            yield name.replace("part-0-", "part-1-")
        case "baselines":
            yield name.replace("06-00-00Z", "06-00-01Z")
        case "seals":
            yield ORDERS.prefix + seal_name(int(inside[6:-5]) + 1)
            yield ORDERS.prefix + seal_name(10**9)


@pytest.mark.parametrize("is_moved", [False, True], ids=["copied", "renamed"])
def test_an_object_under_another_name_is_found(sealed, quick, is_moved):
    """Each: 1. But a marker may announce what does not exist, and a part that no baseline lists means nothing: then
    only what is gone from its old place counts."""
    for name in own(sealed):
        for other in other_names(name, sealed):
            spoilt = sealed.copy()
            assert other not in spoilt.objects
            spoilt.objects[other] = spoilt.objects[name]
            if is_moved:
                del spoilt.objects[name]
            expected = {"late": SEALED, "part": INCOMPLETE if is_moved else SEALED}.get(kind_of(name), TAMPERED)
            found = quick.verify(spoilt)
            assert found.exit_code == expected, f"{name}\n{other}\n{told(found)}"


def test_an_object_in_the_place_of_any_other_is_found(sealed, quick):
    """Every ordered pair: the content of one over that of the other: 1."""
    for name, other in itertools.permutations(own(sealed), 2):
        if sealed.objects[name] == sealed.objects[other]:
            continue
        spoilt = sealed.copy()
        spoilt.objects[name] = spoilt.objects[other]
        code, findings = exit_of(quick, spoilt)
        assert code == TAMPERED, f"{name}\n{other}\n{findings}"


def test_two_objects_that_change_places_are_found(sealed, quick):
    """Every pair, which is also every swap of names: 1."""
    for name, other in itertools.combinations(own(sealed), 2):
        spoilt = sealed.copy()
        spoilt.objects[name], spoilt.objects[other] = spoilt.objects[other], spoilt.objects[name]
        code, findings = exit_of(quick, spoilt)
        assert code == TAMPERED, f"{name}\n{other}\n{findings}"


def test_an_object_cut_short_is_found(sealed, quick):
    """At sixteen points, the last byte and the first among them: 1."""
    for name in own(sealed):
        content = sealed.objects[name]
        for length in sorted({*(len(content) * sixteenth // 16 for sixteenth in range(16)), len(content) - 1}):
            if not 0 <= length < len(content):
                continue  # a marker is empty as it is
            spoilt = sealed.copy()
            spoilt.objects[name] = content[:length]
            code, findings = exit_of(quick, spoilt)
            assert code == TAMPERED, f"{name} cut to {length} bytes\n{findings}"


@pytest.mark.parametrize("more", [b"\x00", b"\n", b" ", b"PAR1", b"{}"])
def test_an_object_that_goes_on_is_found(sealed, quick, more):
    """A byte more at its end: 1, also for a marker, which is empty."""
    for name in own(sealed):
        spoilt = sealed.copy()
        spoilt.objects[name] += more
        code, findings = exit_of(quick, spoilt)
        assert code == TAMPERED, f"{name} + {more}\n{findings}"


def test_every_rollback_is_found(sealed, quick):
    """To the archive as it stood after each seal. A kept checkpoint of any later one: 3. Without one, age tells."""
    for stage, objects in enumerate(sealed.stages[:-1]):
        spoilt = sealed.copy()
        spoilt.objects = dict(objects)
        for position in range(stage + 1, len(sealed.stages)):
            pinned = quick.with_checkpoint(sealed, position)
            found = pinned.verify(spoilt)
            assert (found.exit_code, "rolled-back" in codes(found)) == (INCOMPLETE, True), (
                stage,
                position,
                told(found),
            )
        found = quick.verify(spoilt)
        is_seen = stage < 4  # the last but one was made an hour ago
        assert found.exit_code == (INCOMPLETE if is_seen else SEALED), (stage, told(found))


def test_every_rollback_of_the_seals_alone_is_found(sealed, quick):
    """The evidence stays, its seals go, from the newest on."""
    for length in range(len(sealed.seals)):
        spoilt = sealed.copy()
        for name in sealed.seals[length:]:
            del spoilt.objects[name]
        found = quick.with_checkpoint(sealed, -1).verify(spoilt)
        assert found.exit_code == INCOMPLETE, (length, told(found))
