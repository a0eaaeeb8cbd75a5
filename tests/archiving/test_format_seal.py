"""Entries of the log, and seals: both directions, one spelling, and no seal that its own entries do not lead to."""

import json
from dataclasses import replace

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from archiver.format.canonical import canonical
from archiver.format.layout import HOUR_MS, Trail
from archiver.format.log_entry import (
    TYPES,
    AcknowledgeEntry,
    BaselineEntry,
    CloseEntry,
    IntervalEntry,
    KeyRotationEntry,
    OpenEntry,
    QuarantineEntry,
    SegmentEntry,
    compose_entry,
    entry_leaf,
    entry_of,
    parse_entry,
)
from archiver.format.merkle import CompactRange, leaf_digest, tree_root
from archiver.format.note import Checkpoint, NoteSignature, SignedNote
from archiver.format.seal import Seal, is_seal_name, origin_of, parse_seal_name, seal_digest, seal_name
from tests.archiving.strategies import PROPERTY

HOUR = 1_795_413_600_000  # 2026-11-23T06:00Z
HEX, OTHER_HEX = "0123456789abcdef" * 4, "cd" * 32
LABEL = "2026-10-01T09:30:00.000"
SEGMENT = SegmentEntry(
    path=f"segments/dt=2026-11-23/hour=06/{7:040d}-{HEX}.parquet",
    stream_label=LABEL,
    file_sha256=OTHER_HEX,
    bytes=4_096,
    records=2,
    root=HEX,
    first_sequence=f"{7:040d}",
    last_sequence=f"{9:040d}",
    first_changed_at_ms=HOUR,
    last_changed_at_ms=HOUR + HOUR_MS - 1,
    writer="ddbtrail 1",
)
INTERVAL = IntervalEntry(HOUR, HOUR + HOUR_MS, HOUR + HOUR_MS, None)
ENTRIES = [
    OpenEntry(LABEL, None),
    OpenEntry(LABEL, HEX),
    CloseEntry(LABEL),
    SEGMENT,
    QuarantineEntry(f"quarantine/{HEX}.json", 1),
    QuarantineEntry(f"v1/quarantine/{HEX}.json", 0),
    BaselineEntry("baselines/2026-11-23T06-00-00Z/baseline.json", HEX),
    AcknowledgeEntry(f"quarantine/{HEX}.json", None, None, "a test of ours"),
    AcknowledgeEntry(None, HOUR, HOUR + 1, "the stream was off"),
    KeyRotationEntry("MCowBQYDK2VwAyEA"),
    IntervalEntry(HOUR, HOUR, HOUR + 1, 0),
    INTERVAL,
]
SIGNATURE = NoteSignature("ddbtrail/111122223333/eu-west-1/orders", b"abcd", b"signature")


# --- entries ---


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.type)
def test_an_entry_comes_back_as_it_was(entry):
    """What is hashed says all that is known, and nothing is said in two ways."""
    content = compose_entry(entry)
    assert parse_entry(content) == entry
    assert content == canonical(json.loads(content))
    assert entry_leaf(entry) == leaf_digest(content)


def test_every_type_of_entry_is_tried():
    """A type that nobody tests is one that a reader refuses one day; their names are bytes of the format."""
    names = {"open", "close", "segment", "quarantine", "baseline", "acknowledge", "key-rotation", "interval"}
    assert {entry.type for entry in ENTRIES} == set(TYPES) == names


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.type)
def test_an_entry_with_a_member_more_less_or_of_another_kind_is_refused(entry):
    """Whatever a reader skips, a forger can use."""
    members = json.loads(compose_entry(entry))
    wrong = [members | {"beside": 1}, *(members | {"type": other} for other in ("other", None, [], {}, 1))]
    wrong.append({name: value for name, value in members.items() if name != "type"})
    for name in members.keys() - {"type"}:
        wrong.append({other: value for other, value in members.items() if other != name})
        wrong += [members | {name: value} for value in (True, 1.5, [], {}, -1, "")]
    for attempt in wrong:
        with pytest.raises(ValueError, match=r"."):
            parse_entry(canonical_of(attempt))
        with pytest.raises(ValueError, match=r"."):
            entry_of(attempt)


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.type)
def test_a_null_stands_only_where_something_may_be_missing(entry):
    """Anywhere else it is refused like any other wrong value, not by an accident further on."""
    members = json.loads(compose_entry(entry))
    for name in members.keys() - {"type"} - {"description_sha256", "previous_notice"}:
        if members[name] is not None:
            with pytest.raises(ValueError, match=r"."):
                entry_of(members | {name: None})


def test_members_that_are_missing_or_unknown_are_named_in_order():
    """Whoever compares two versions of the format reads them."""
    members = {"type": "close", "e": 1, "d": 1, "c": 1, "b": 1, "a": 1}
    with pytest.raises(ValueError, match=r"lacks, or has beside its own, a, b, c, d, e, stream_label$"):
        entry_of(members)
    with pytest.raises(ValueError, match=r"lacks, or has beside its own, beside$"):
        entry_of({"type": "close", "stream_label": LABEL, "beside": 1})


def canonical_of(members):
    return orjson.dumps(members, option=orjson.OPT_SORT_KEYS)


@pytest.mark.parametrize(
    ("entry", "changed"),
    [
        (ENTRIES[1], {"description_sha256": "x"}),
        (ENTRIES[1], {"stream_label": "yesterday"}),
        (SEGMENT, {"file_sha256": HEX[:-1]}),
        (SEGMENT, {"file_sha256": f"{HEX}0"}),
        (SEGMENT, {"file_sha256": f"0{HEX}"}),
        (SEGMENT, {"file_sha256": f"{HEX}\n"}),
        (SEGMENT, {"file_sha256": f"{HEX[:-1]}g"}),
        (SEGMENT, {"last_sequence": "9"}),
        (SEGMENT, {"last_sequence": f"{9:041d}"}),
        (SEGMENT, {"last_sequence": f"{9:040d}\n"}),
        (SEGMENT, {"last_sequence": f" {9:040d}"}),
        (SEGMENT, {"last_sequence": f"{9:039d}٩"}),
        (INTERVAL, {"sealed_at_ms": 2**53 + 1}),
    ],
)
def test_a_member_out_of_its_grammar_is_refused(entry, changed):
    """Each by the first value beyond what it may be; when an entry is written as when it is read."""
    members = json.loads(compose_entry(entry)) | changed
    with pytest.raises(ValueError, match=r"."):
        parse_entry(canonical_of(members))
    with pytest.raises(ValueError, match=r"."):
        entry_of(members)
    with pytest.raises(ValueError, match=r"."):
        compose_entry(replace(entry, **changed))


@pytest.mark.parametrize(
    "entry",
    [
        replace(SEGMENT, last_sequence=SEGMENT.first_sequence, last_changed_at_ms=HOUR, records=1, bytes=1),
        replace(INTERVAL, sealed_at_ms=2**53),
        IntervalEntry(0, 0, 0, 0),
    ],
    ids=["one record of one byte", "the largest number", "the smallest"],
)
def test_the_last_values_inside_the_grammar_are_accepted(entry):
    """Else a true archive could not be sealed."""
    assert parse_entry(compose_entry(entry)) == entry


@pytest.mark.parametrize("path", ["quarantine/x.json", f"segments/{HEX}.json", f"v2/quarantine/{HEX}.json"])
def test_a_quarantine_entry_names_a_quarantined_record(path):
    """Whatever else it names would count as looked at."""
    with pytest.raises(ValueError, match="quarantined record"):
        QuarantineEntry(path, 1)


@pytest.mark.parametrize("spelling", [b" %s", b"%s\n", b"[%s]"])
def test_an_entry_in_another_spelling_is_refused(spelling):
    """Two texts of one entry would have two leaves."""
    with pytest.raises(ValueError, match=r"."):
        parse_entry(spelling.replace(b"%s", compose_entry(INTERVAL)))


def test_a_member_that_stands_there_twice_is_refused():
    """Two readers would take different ones."""
    content = compose_entry(INTERVAL)
    with pytest.raises(ValueError, match="canonical"):
        parse_entry(content.replace(b'{"from_ms"', b'{"from_ms":1,"from_ms"'))


@pytest.mark.parametrize(
    "changed",
    [
        {"root": OTHER_HEX},
        {"first_sequence": f"{8:040d}"},
        {"last_sequence": f"{6:040d}"},
        {"first_changed_at_ms": HOUR - 1},
        {"last_changed_at_ms": HOUR + HOUR_MS},
        {"first_changed_at_ms": HOUR + 2, "last_changed_at_ms": HOUR + 1},
        {"records": 0},
        {"bytes": 0},
        {"path": "segments/x.parquet"},
        {"path": None},
        {"root": HEX.upper()},
    ],
)
def test_a_segment_entry_that_contradicts_itself_is_refused(changed):
    """Name, root, first number and hour say the same in two places."""
    with pytest.raises(ValueError, match=r"."):
        parse_entry(canonical(json.loads(compose_entry(SEGMENT)) | changed))


@pytest.mark.parametrize(
    ("path", "from_ms", "to_ms", "reason"),
    [
        (None, None, None, "why"),
        ("quarantine/x", HOUR, HOUR + 1, "why"),
        (None, HOUR, None, "why"),
        (None, None, HOUR, "why"),
        (None, HOUR, HOUR, "why"),
        (None, HOUR + 1, HOUR, "why"),
        ("quarantine/x", HOUR, HOUR, "why"),
        ("quarantine/x", HOUR + 1, HOUR, "why"),
        ("quarantine/x", HOUR, None, "why"),
        ("quarantine/x", None, HOUR, "why"),
        ("quarantine/x", None, None, " "),
    ],
)
def test_an_acknowledgement_names_one_thing_and_a_reason(path, from_ms, to_ms, reason):
    """An auditor reads it years later."""
    with pytest.raises(ValueError, match="acknowledgement"):
        AcknowledgeEntry(path, from_ms, to_ms, reason)


@pytest.mark.parametrize(
    "times", [(2, 1, 3), (1, 3, 2), (None, 1, 2), (1, None, 2)], ids=["backwards", "too early", "no start", "no end"]
)
def test_an_interval_runs_forwards_and_is_sealed_after_it(times):
    """A seal of the future says nothing of the past."""
    members = {"type": "interval", **dict(zip(("from_ms", "to_ms", "sealed_at_ms"), times, strict=True))}
    members |= {"previous_notice": None}
    with pytest.raises(ValueError, match=r"."):
        parse_entry(canonical(members))


@pytest.mark.parametrize(("from_ms", "to_ms"), [(None, HOUR), (HOUR, None), (None, None)])
def test_an_interval_has_both_ends(from_ms, to_ms):
    """An entry that is made here says so, before it is ever written."""
    with pytest.raises(ValueError, match="a beginning and an end"):
        IntervalEntry(from_ms, to_ms, HOUR, None)


@pytest.mark.parametrize("path", ["baselines/2026-11-23T06-00-00Z/part-0-0f5c1de9a3b24768.parquet", "baseline.json"])
def test_a_baseline_entry_names_the_description(path):
    """It is the description that states the digests of the parts."""
    with pytest.raises(ValueError, match="baseline"):
        BaselineEntry(path, HEX)


# --- seals ---


def sealed(entries, before=None, previous=None):
    """A seal of these entries over a log, signed by nobody."""
    before = before or CompactRange()
    after = before
    for entry in entries:
        after = after.append(entry_leaf(entry))
    checkpoint = Checkpoint("ddbtrail/111122223333/eu-west-1/orders", after.size, after.root)
    return Seal(before.size, previous, tuple(entries), after, SignedNote(checkpoint.text, (SIGNATURE,)))


FIRST = sealed([OpenEntry(LABEL, None), SEGMENT, INTERVAL])
SECOND = sealed([INTERVAL], FIRST.after, seal_digest(FIRST.compose()))


@PROPERTY
@given(st.lists(st.lists(st.sampled_from(ENTRIES[:-2]), max_size=4), min_size=1, max_size=4))
def test_seals_follow_each_other_and_come_back_as_they_were(batches):
    """The head after each is the RFC 6962 root of all entries so far, whoever computes it."""
    log, leaves, previous = CompactRange(), [], None
    for batch in batches:
        seal = sealed([*batch, INTERVAL], log, previous)
        content = seal.compose()
        assert Seal.parse(content) == seal
        assert seal.name == seal_name(len(leaves))
        seal.check_extends(log)
        leaves += [entry_leaf(entry) for entry in seal.entries]
        assert (seal.head.size, seal.head.root) == (len(leaves), tree_root(leaves))
        log, previous = seal.after, seal_digest(content)


@pytest.mark.parametrize("size", [0, 1, 10**19, 10**20 - 1])
def test_a_seal_is_named_by_the_size_it_extends(size):
    """Twenty digits, so that the order of names is the order of seals."""
    assert parse_seal_name(seal_name(size)) == size
    assert is_seal_name(seal_name(size))
    assert len(seal_name(size)) == len("seals/") + 20 + len(".json")


@pytest.mark.parametrize("name", ["seals/1.json", f"seals/{0:021d}.json", f"seals/{0:020d}.json.tmp", f"{0:020d}.json"])
def test_what_is_no_name_of_a_seal_is_refused(name):
    """Something foreign among the seals is a finding, not a seal."""
    assert not is_seal_name(name)
    with pytest.raises(ValueError, match="name of a seal"):
        parse_seal_name(name)
    for size in (-1, 10**20):
        with pytest.raises(ValueError, match="size of a log"):
            seal_name(size)


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"size_before": 1}, "first seal"),
        ({"previous_sha256": HEX}, "first seal"),
        ({"entries": ()}, "interval"),
        ({"entries": FIRST.entries[:-1]}, "interval"),
        ({"entries": (INTERVAL, *FIRST.entries)}, "interval"),
        ({"entries": FIRST.entries[1:]}, "do not lead"),
        ({"after": SECOND.after}, "checkpoint"),
        ({"entries": (*FIRST.entries[:-1], IntervalEntry(HOUR, HOUR, HOUR, 0))}, "earlier seals"),
        ({"checkpoint": SECOND.checkpoint}, "checkpoint"),
        ({"checkpoint": SignedNote("no checkpoint\n", (SIGNATURE,))}, "three lines"),
    ],
)
def test_a_seal_that_contradicts_itself_is_refused(changed, reason):
    """Size, entries, head and place say the same in several places."""
    with pytest.raises(ValueError, match=reason):
        replace(FIRST, **changed)


def test_entries_that_do_not_lead_to_the_head_are_found():
    """A seal whose entries were edited has the right size and a wrong root."""
    edited = replace(FIRST, entries=(OpenEntry(LABEL, HEX), *FIRST.entries[1:]))
    assert Seal.parse(edited.compose()) == edited, "its form is right"
    with pytest.raises(ValueError, match="do not lead to its root"):
        edited.check_extends(CompactRange())


def test_a_seal_extends_the_log_that_it_names_and_no_other():
    """Also not one of the same size with other leaves."""
    SECOND.check_extends(FIRST.after)
    other = sealed([OpenEntry(LABEL, HEX), SEGMENT, INTERVAL])
    with pytest.raises(ValueError, match="do not lead to its root"):
        SECOND.check_extends(other.after)
    with pytest.raises(ValueError, match="does not extend"):
        SECOND.check_extends(SECOND.after)


@pytest.mark.parametrize(
    "changed",
    [
        {"format": 2},
        {"beside": 1},
        {"size": True},
        {"size": "3"},
        {"size_before": -1},
        {"size_before": None},
        {"entries": {}},
        {"entries": [1]},
        {"roots": "x"},
        {"roots": ["x"]},
        {"roots": []},
        {"roots": [HEX.upper(), HEX]},
        {"checkpoint": None},
        {"checkpoint": "x"},
        {"previous_sha256": "x"},
        {"previous_sha256": 7},
    ],
)
def test_what_is_no_seal_is_refused(changed):
    """By its form alone, before anything is looked up."""
    members = json.loads(FIRST.compose()) | changed
    with pytest.raises(ValueError, match=r"."):
        Seal.parse(canonical_of(members))
    without = {name: value for name, value in json.loads(FIRST.compose()).items() if name not in changed}
    with pytest.raises(ValueError, match=r"."):
        Seal.parse(canonical_of(without | ({"size": 0} if "beside" in changed else {})))


@pytest.mark.parametrize("content", [b"[]", b"1", b"null", b'"x"', b"{}", b"", b"{"])
def test_what_is_no_object_is_no_seal(content):
    """A refusal like any other, whatever stands in the place of a seal."""
    with pytest.raises(ValueError, match=r"."):
        Seal.parse(content)


@pytest.mark.parametrize(
    "changed",
    [
        {"previous_sha256": None},
        {"previous_sha256": 7},
        {"previous_sha256": "x"},
        {"previous_sha256": HEX.upper()},
        {"previous_sha256": f"{HEX}0"},
        {"previous_sha256": f"0{HEX}"},
        {"previous_sha256": f"{HEX}\n"},
        {"roots": [f"{OTHER_HEX}00"]},
        {"roots": {root.hex(): 1 for root in SECOND.after.roots}},
    ],
    ids=repr,
)
def test_a_later_seal_that_is_no_seal_is_refused(changed):
    """What it says of the seal before it, and its roots, in their one spelling and kind."""
    with pytest.raises(ValueError, match=r"."):
        Seal.parse(canonical_of(json.loads(SECOND.compose()) | changed))


def test_a_log_never_began_before_its_first_entry():
    """A forger may choose sizes that agree with each other."""
    forged = json.loads(sealed([INTERVAL]).compose()) | {
        "entries": [json.loads(compose_entry(entry)) for entry in (CloseEntry(LABEL), INTERVAL)],
        "size_before": -1,
        "previous_sha256": HEX,
    }
    with pytest.raises(ValueError, match="size_before is -1"):
        Seal.parse(canonical_of(forged))


def test_notices_are_found_in_an_earlier_seal():
    """The last size inside: that of the seal just before."""
    seal = sealed([replace(INTERVAL, previous_notice=FIRST.after.size - 1)], FIRST.after, HEX)
    assert Seal.parse(seal.compose()) == seal
    with pytest.raises(ValueError, match="earlier seals"):
        sealed([replace(INTERVAL, previous_notice=FIRST.after.size)], FIRST.after, HEX)


@pytest.mark.parametrize(
    "other",
    [
        FIRST.compose() + b"\n",
        FIRST.compose().replace(b'"size":3', b'"size": 3'),
        FIRST.compose().replace(b'"size":3', b'"size":9,"size":3'),
        FIRST.compose().replace(b"ddbtrail 1", b"\\u0064dbtrail 1"),
    ],
)
def test_a_seal_in_another_spelling_is_refused(other):
    """The next seal names the digest of these very bytes."""
    assert other != FIRST.compose()
    with pytest.raises(ValueError, match="canonical"):
        Seal.parse(other)


@PROPERTY
@given(st.integers(0, len(SECOND.compose()) - 1), st.integers(0, 7))
def test_a_flipped_bit_makes_another_seal_or_none(position, bit):
    """No bit of a seal is without meaning."""
    content = bytearray(SECOND.compose())
    content[position] ^= 1 << bit
    try:
        found = Seal.parse(bytes(content))
    except ValueError:
        return
    assert found != SECOND
    assert found.compose() == bytes(content)


def test_the_origin_names_the_trail():
    """So that no head of one table can stand for another's."""
    assert origin_of(Trail("111122223333", "eu-west-1", "orders")) == "ddbtrail/111122223333/eu-west-1/orders"
