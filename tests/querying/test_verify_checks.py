"""Which objects are read, and what each has to be: docs/verify.md, *Every object in the trail*."""

from __future__ import annotations

from hashlib import sha256

import orjson
import pytest

from archiver.format.canonical import canonical
from archiver.format.layout import HOUR_MS, SegmentName
from archiver.format.log_entry import SegmentEntry
from query.errors import UnreadableArchive
from query.verify.checks import checks
from query.verify.contents import Check
from query.verify.inventory import Inventory
from query.verify.statements import Statements
from query.verify.verification import Demand, Level, Verification
from tests.system.tampered import ORDERS, MemorySource, Sealed, reference

OLD, NEW = "2026-11-15T04:00:00.000", "2026-11-21T00:00:00.000"


@pytest.fixture(scope="module")
def sealed() -> Sealed:
    """The reference archive, made once; whoever spoils it takes a copy."""
    return reference()


class Asked:
    """What is to be read of an archive of which this much is sealed: checks by name, and what the listing tells."""

    def __init__(
        self, sealed: Sealed, source: MemorySource, *, seals: int = 6, level: Level = Level.FULL, **demand
    ) -> None:
        entries = [entry for position in range(seals) for entry in sealed.seal(position).entries]
        self.said = Statements.of(enumerate(entries))
        held = Inventory(ORDERS, self.said)
        held.take([*source.objects(ORDERS.prefix), *source.objects("v1/quarantine/")])
        found = Verification(ORDERS, Demand(level, sealed.now_ms, **demand))
        listed = list(checks(found, source, held))
        self.by_name: dict[str, Check] = {check.stored.name: check for check in listed}
        assert len(self.by_name) == len(listed), "each is read once"
        self.details = [problem.detail for problem in found.problems]
        self.told = [(problem.code, problem.name) for problem in found.problems]

    @property
    def segments(self) -> list[str]:
        return sorted(name for name in self.by_name if "/segments/" in name)

    def entry(self, name: str) -> SegmentEntry:
        return self.said.segments[name.removeprefix(ORDERS.prefix)]


@pytest.fixture
def ask(tmp_path):
    def look(sealed: Sealed, *, source: MemorySource | None = None, **demand) -> Asked:
        return Asked(sealed, source or MemorySource(sealed.objects, tmp_path), **demand)

    return look


def read_of(sealed: Sealed) -> set[str]:
    """Everything that is read: seals are read as the log, and a marker is its name."""
    own = [name for name in sealed.objects if name.startswith((ORDERS.prefix, "v1/quarantine/"))]
    return {name for name in own if "/seals/" not in name and "/late/" not in name}


# --- everything is read ---


@pytest.mark.parametrize("level", Level)
@pytest.mark.parametrize("seals", [6, 3, 0], ids=["all sealed", "half of it", "nothing"])
def test_everything_is_read_whether_it_is_sealed_or_not(sealed, ask, level, seals):
    """Each object once; what a baseline that is not sealed lists, too."""
    asked = ask(sealed, level=level, seals=seals)
    assert set(asked.by_name) == read_of(sealed)
    assert all(check.trail == ORDERS for check in asked.by_name.values())
    assert asked.told == []


@pytest.mark.parametrize("level", Level)
def test_what_is_sealed_has_the_digest_that_the_log_says(sealed, ask, level):
    """Segments with all that it says of them; rows are read if everything was asked for."""
    asked = ask(sealed, level=level)
    for name, check in asked.by_name.items():
        if "quarantine/" not in name:
            assert check.sha256 == sha256(sealed.objects[name]).hexdigest(), name
    assert asked.segments == sealed.segments
    for name in sealed.segments:
        check = asked.by_name[name]
        assert check.entry == asked.entry(name)
        assert check.reads_rows == (level is Level.FULL)
        assert check.key_names == {OLD: ("pk", "sk"), NEW: ("pk", "sk")}


@pytest.mark.parametrize("level", Level)
def test_what_nobody_has_vouched_for_is_read_in_every_detail(sealed, ask, level):
    """Quick too: its own name has to vouch for it, and the rows for a baseline's figures."""
    asked = ask(sealed, level=level, seals=0)
    for name, check in asked.by_name.items():
        if "/part-" not in name:
            assert (check.sha256, check.entry) == (None, None), name
        if "quarantine/" not in name:
            assert check.reads_rows, name
    assert all(asked.by_name[name].key_names == {OLD: ("pk", "sk"), NEW: ("pk", "sk")} for name in sealed.segments)


def test_only_descriptions_are_opened_before_everything_is_read(sealed, ask, tmp_path):
    """What is to be read is asked for a few files at a time, by whoever reads it: a trail does not fit anywhere."""
    opened = []

    class Counting(MemorySource):
        def fetch(self, wanted):
            opened.extend(stored.name for stored in wanted)
            return super().fetch(wanted)

    for seals in (6, 0):
        ask(sealed, source=Counting(sealed.objects, tmp_path), seals=seals)
    assert set(opened) == {*sealed.named("streams/"), description_of(sealed)[0]}


def description_of(sealed: Sealed) -> tuple[str, str, dict]:
    """The baseline's name, its part's, and its members."""
    name, part = sealed.named("baselines/")
    return name, part, orjson.loads(sealed.objects[name])


@pytest.mark.parametrize("level", Level)
@pytest.mark.parametrize("seals", [6, 0])
def test_a_part_has_the_digest_and_the_items_that_its_baseline_says(sealed, ask, level, seals):
    """Its rows are read if everything is, or if nobody has vouched for the baseline."""
    _, part, members = description_of(sealed)
    check = ask(sealed, level=level, seals=seals).by_name[part]
    assert check.sha256 == members["parts"][0]["sha256"] == sha256(sealed.objects[part]).hexdigest()
    assert (check.items, check.key_schema) == (members["items"], (("pk", "S"), ("sk", "N")))
    assert check.reads_rows == (level is Level.FULL or seals == 0)


# --- what is only listed ---


def shortened(sealed: Sealed, name: str) -> Sealed:
    spoilt = sealed.copy()
    spoilt.objects[name] = sealed.objects[name][:-1]
    return spoilt


def test_what_a_checkpoint_covers_is_listed_and_not_read(sealed, ask):
    """From the first entry after it on, everything is read; so a daily verification costs a day."""
    sizes = [sealed.seal(position).after.size for position in range(6)]
    for position, size in enumerate(sizes):
        asked = ask(sealed, checks_from=size)
        newer = {
            entry.path
            for later in range(position + 1, 6)
            for entry in sealed.seal(later).entries
            if isinstance(entry, SegmentEntry)
        }
        assert {name.removeprefix(ORDERS.prefix) for name in asked.segments} == newer
        assert asked.told == []


def test_the_first_entry_after_a_checkpoint_is_read(sealed, ask):
    """A checkpoint of so many entries covers those from 0 to one less."""
    place = ask(sealed).said.places[sealed.segments[0].removeprefix(ORDERS.prefix)]
    assert sealed.segments[0] in ask(sealed, checks_from=place).by_name
    assert sealed.segments[0] not in ask(sealed, checks_from=place + 1).by_name


def test_of_what_is_not_read_the_size_is_compared(sealed, ask):
    """All that a listing tells; another size is another digest."""
    for more in (b"", b"xx"):
        spoilt = sealed.copy()
        spoilt.objects[sealed.segments[0]] = sealed.objects[sealed.segments[0]][:-1] + more
        assert ask(spoilt, checks_from=1_000).told == [("digest-mismatch", sealed.segments[0])]
        assert ask(spoilt).told == [], "what is read is compared in its digest"
    stream = sealed.named("streams/")[0]
    assert ask(shortened(sealed, stream), checks_from=1_000).told == [], "the log says no size of a description"


def test_what_is_not_sealed_is_read_whatever_a_checkpoint_covers(sealed, ask):
    asked = ask(sealed, seals=0, checks_from=1_000)
    assert set(asked.by_name) == read_of(sealed)


# --- a range ---


@pytest.mark.parametrize("seals", [6, 0], ids=["sealed", "not sealed"])
def test_only_segments_of_hours_that_the_range_touches_are_read(sealed, ask, seals):
    """To the millisecond: an hour is over when the next begins. Everything else is of no hour, and is read."""
    name = sealed.segments[0]
    hour_ms = SegmentName.parse(name.removeprefix(ORDERS.prefix)).hour_ms
    for since_ms, until_ms, expected in (
        (None, hour_ms + 1, True),
        (None, hour_ms, False),
        (hour_ms + HOUR_MS - 1, None, True),
        (hour_ms + HOUR_MS, None, False),
        (hour_ms, hour_ms + HOUR_MS, True),
        (hour_ms - HOUR_MS, hour_ms, False),
        (hour_ms + HOUR_MS, hour_ms + 2 * HOUR_MS, False),
        (0, None, True),
        (0, hour_ms, False),
        (None, 0, False),
    ):
        asked = ask(sealed, seals=seals, since_ms=since_ms, until_ms=until_ms)
        assert (name in asked.by_name) == expected, (since_ms, until_ms)
        assert set(asked.by_name) >= {other for other in read_of(sealed) if "/segments/" not in other}


def test_segments_outside_the_range_are_compared_in_size(sealed, ask):
    spoilt = shortened(sealed, sealed.segments[0])
    hour_ms = SegmentName.parse(sealed.segments[0].removeprefix(ORDERS.prefix)).hour_ms
    assert ask(spoilt, since_ms=hour_ms + HOUR_MS).told == [("digest-mismatch", sealed.segments[0])]


# --- key attributes ---


def without_words(_name: str) -> Exception:
    return OSError("out of room")


def denied(name: str) -> Exception:
    return UnreadableArchive(f"could not read {name}", why="AccessDenied", hint="")


NOT_DESCRIPTIONS = {
    "another object": b"{}",
    "no object": b"[]",
    "no JSON": b"{",
    "no format": b"null",
    "of text": b'"x"',
}


@pytest.mark.parametrize("seals", [6, 0])
@pytest.mark.parametrize("content", NOT_DESCRIPTIONS.values(), ids=NOT_DESCRIPTIONS)
def test_a_description_that_is_none_says_nothing_of_keys(sealed, ask, content, seals):
    """Its own check tells it; those of other streams are known all the same."""
    spoilt = sealed.copy()
    spoilt.objects[sealed.named("streams/")[0]] = content
    asked = ask(spoilt, seals=seals)
    assert all(asked.by_name[name].key_names == {NEW: ("pk", "sk")} for name in sealed.segments)


@pytest.mark.parametrize("error", [without_words, denied, FileNotFoundError])
def test_a_description_that_cannot_be_read_says_nothing_of_keys(sealed, ask, tmp_path, error):
    source = MemorySource(sealed.objects, tmp_path)
    source.denied, source.error = {sealed.named("streams/")[1]}, error
    asked = ask(sealed, source=source)
    assert all(asked.by_name[name].key_names == {OLD: ("pk", "sk")} for name in sealed.segments)


def test_keys_are_believed_of_the_sealed_description_only(sealed, ask):
    """A forged one would let hints stand in the wrong order; one that is not sealed yet speaks for itself."""
    forged = sealed.copy()
    name = sealed.named("streams/")[0]
    members = orjson.loads(sealed.objects[name])
    forged.objects[name] = canonical({**members, "key_schema": list(reversed(members["key_schema"]))})
    assert ask(forged).by_name[sealed.segments[0]].key_names == {NEW: ("pk", "sk")}
    assert ask(forged, seals=0).by_name[sealed.segments[0]].key_names == {OLD: ("sk", "pk"), NEW: ("pk", "sk")}


# --- the parts of baselines ---


def test_a_part_that_is_gone_is_missed_by_its_baseline(sealed, ask):
    _, part, _ = description_of(sealed)
    spoilt = sealed.copy()
    del spoilt.objects[part]
    for seals in (6, 0):
        asked = ask(spoilt, seals=seals)
        assert (asked.told, part in asked.by_name) == ([("object-missing", part)], False)


def test_a_part_has_the_size_that_its_baseline_says(sealed, ask):
    """Else it is another one, and is not read."""
    _, part, members = description_of(sealed)
    [said] = members["parts"]
    for content in (sealed.objects[part][:-1], sealed.objects[part] + b"x"):
        spoilt = sealed.copy()
        spoilt.objects[part] = content
        asked = ask(spoilt)
        assert (asked.told, part in asked.by_name) == ([("digest-mismatch", part)], False)
        assert asked.details == [
            f"its baseline says {said['bytes']} bytes, digest {said['sha256'][:16]}…, it has {len(content)} bytes"
        ]


def test_a_part_is_named_after_the_digest_that_its_baseline_says(sealed, ask):
    """Sixteen digits of it, at the end of its name."""
    name, _, members = description_of(sealed)
    [said] = members["parts"]
    for digest, expected in (
        (said["sha256"], []),
        (said["sha256"][:16] + "0" * 48, []),
        (
            said["sha256"][:15] + ("0" if said["sha256"][15] != "0" else "1") + said["sha256"][16:],
            ["digest-mismatch"],
        ),
        ("0" * 64, ["digest-mismatch"]),
    ):
        spoilt = sealed.copy()
        spoilt.objects[name] = canonical({**members, "parts": [{**said, "sha256": digest}]})
        assert [code for code, _ in ask(spoilt, seals=0).told] == expected


def test_every_part_is_looked_at(sealed, ask):
    """One that is wrong hides none after it; each in its own place."""
    name, part, members = description_of(sealed)
    [said] = members["parts"]
    parts = [{**said, "name": said["name"].replace("part-0-", f"part-{number}-")} for number in range(3)]
    folder = part.rpartition("/")[0]
    for gone in range(3):
        spoilt = sealed.copy()
        spoilt.objects[name] = canonical({**members, "items": 3 * said["items"], "parts": parts})
        spoilt.objects |= {f"{folder}/{one['name']}": sealed.objects[part] for one in parts}
        del spoilt.objects[f"{folder}/{parts[gone]['name']}"]
        asked = ask(spoilt, seals=0)
        assert asked.told == [("object-missing", f"{folder}/{parts[gone]['name']}")]
        assert [one["name"] for one in parts if f"{folder}/{one['name']}" in asked.by_name] == [
            one["name"] for number, one in enumerate(parts) if number != gone
        ]


@pytest.mark.parametrize("content", NOT_DESCRIPTIONS.values(), ids=NOT_DESCRIPTIONS)
@pytest.mark.parametrize("seals", [6, 0])
def test_a_baseline_that_is_none_has_no_parts(sealed, ask, content, seals):
    """Its own check tells it, and nothing else is said of it."""
    name, part, _ = description_of(sealed)
    spoilt = sealed.copy()
    spoilt.objects[name] = content
    asked = ask(spoilt, seals=seals)
    assert (asked.told, part in asked.by_name, name in asked.by_name) == ([], False, True)


def test_a_sealed_baseline_of_other_bytes_states_no_parts(sealed, ask):
    """What a forger states of parts is nobody's finding: that it is forged is."""
    name, part, members = description_of(sealed)
    spoilt = sealed.copy()
    spoilt.objects[name] = canonical({**members, "origin": "somebody"})
    asked = ask(spoilt)
    assert (asked.told, part in asked.by_name) == ([], False)


@pytest.mark.parametrize("error", [without_words, denied, FileNotFoundError])
def test_a_baseline_that_cannot_be_read_states_no_parts(sealed, ask, tmp_path, error):
    name, part, _ = description_of(sealed)
    source = MemorySource(sealed.objects, tmp_path)
    source.denied, source.error = {name}, error
    asked = ask(sealed, source=source)
    assert (asked.told, part in asked.by_name, name in asked.by_name) == ([], False, True)


def test_a_baseline_that_is_gone_states_no_parts(sealed, ask):
    """That it is missing was told."""
    name, part, _ = description_of(sealed)
    spoilt = sealed.copy()
    del spoilt.objects[name]
    asked = ask(spoilt)
    assert (asked.told, part in asked.by_name) == ([], False)


def test_parts_that_a_checkpoint_covers_are_listed_and_not_read(sealed, ask):
    """Through their baseline, which the log names; so a daily verification costs a day, and no baseline."""
    name, part, _ = description_of(sealed)
    place = ask(sealed).said.places[name.removeprefix(ORDERS.prefix)]
    assert part in ask(sealed, checks_from=place).by_name
    assert part not in ask(sealed, checks_from=place + 1).by_name
    assert part in ask(sealed, checks_from=place + 1, seals=0).by_name, "nobody has vouched for it"
    spoilt = shortened(sealed, part)
    assert ask(spoilt, checks_from=place + 1).told == [("digest-mismatch", part)]
    del spoilt.objects[part]
    assert ask(spoilt, checks_from=place + 1).told == [("object-missing", part)]
