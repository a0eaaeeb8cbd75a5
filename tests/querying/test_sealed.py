"""What a reader takes from a log: as much as the strict reader of seals does, no more, and from memory the same."""

import json
import shutil
from pathlib import Path

import pytest

from archiver.format.canonical import canonical
from archiver.format.log_entry import AcknowledgeEntry, KeyRotationEntry
from archiver.format.merkle import CompactRange, leaf_digest
from archiver.format.note import Checkpoint
from archiver.format.seal import Seal, origin_of
from archiver.signer import load_signer, public_key_text
from query import log_digests
from query.log_digests import Log
from query.seal_log import SealMismatch, read_log
from query.sealed import SealReader
from query.source import FolderSource
from tests.querying.test_seal_gate import SEALED_TO_S, TRAIL, World, edited, flipped

HOUR_MS = 3_600_000


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A log of four seals with nearly every type of entry."""
    world = World(tmp_path_factory.mktemp("log")).made()
    next_key = public_key_text(load_signer(world.folder / "two").public_key)
    gap = AcknowledgeEntry(None, SEALED_TO_S * 1000, SEALED_TO_S * 1000 + 5, "caf\u00e9 \U0001f600 \u2028")
    world.sealed(SEALED_TO_S + 200, also=[gap, KeyRotationEntry(next_key)])
    world.sealed(SEALED_TO_S + 300, key="two")
    return world


@pytest.fixture
def world(whole, tmp_path):
    shutil.copytree(whole.folder, tmp_path, dirs_exist_ok=True)
    return World(tmp_path)


class Counting(FolderSource):
    """A folder that notes the names of what was fetched."""

    def __init__(self, root):
        super().__init__(root)
        self.fetched = []

    def fetch(self, wanted):
        self.fetched += [Path(stored.name).name for stored in wanted]
        return super().fetch(wanted)


def strictly(world):
    """What the strict reader has of the log; None for one that it refuses."""
    try:
        log = read_log(FolderSource(world.archive), TRAIL)
    except SealMismatch:
        return None
    segments = {path: (entry.file_sha256, entry.bytes) for path, entry in log.segments().items()}
    return (segments, log.seals[-1].interval.to_ms) if log.seals else "no seals"


def quickly(world, **options):
    """The same, by what every question uses."""
    try:
        sealed = SealReader(FolderSource(world.archive), **options).read(TRAIL)
    except SealMismatch:
        return None
    return (dict(sealed.segments), sealed.to_ms) if sealed else "no seals"


def test_it_reads_what_the_strict_reader_reads(world):
    """Digests and sizes, and how far the log reaches."""
    segments, to_ms = quickly(world)
    assert (segments, to_ms) == strictly(world)
    assert len(segments) == 3
    assert to_ms == (SEALED_TO_S + 300) * 1000


def test_it_refuses_every_flipped_bit_that_the_strict_reader_refuses(world):
    """Only in the newest signature may a bit be another one: whether it is valid is for whoever pinned a key."""
    accepted = set()
    for number, path in enumerate(world.files("seals")):
        content = path.read_bytes()
        for position in range(number % 3, len(content), 11):
            path.write_bytes(content[:position] + bytes([content[position] ^ 1]) + content[position + 1 :])
            found = quickly(world)
            assert found == strictly(world), f"{path.name} at {position}"
            if found is not None:
                accepted.add((path.name, content.count(b"\\n\\n", 0, position)))
        path.write_bytes(content)
    assert {(name, lines) for name, lines in accepted} <= {(path.name, 1)}


@pytest.mark.parametrize("number", range(4))
@pytest.mark.parametrize(
    "attack", ["removed", "swapped", "renamed", "repeated", "emptied", "foreign", "spelled", "ended"]
)
def test_it_refuses_every_structure_that_the_strict_reader_refuses(world, attack, number):
    """A seal that is gone at the end is no fault of what is left: only a pinned checkpoint tells."""
    paths = world.files("seals")
    path, other = paths[number], paths[(number + 1) % 4]
    match attack:
        case "removed":
            path.unlink()
        case "swapped":
            content = path.read_bytes()
            path.write_bytes(other.read_bytes())
            other.write_bytes(content)
        case "renamed":
            path.rename(path.with_name(f"{10**6:020d}.json"))
        case "repeated":
            shutil.copy(path, path.with_name(f"{10**6:020d}.json"))
        case "emptied":
            path.write_bytes(b"")
        case "spelled":
            path.write_bytes(json.dumps(json.loads(path.read_bytes()), sort_keys=True, ensure_ascii=False).encode())
        case "ended":
            path.write_bytes(path.read_bytes() + b"\n")
        case "foreign":
            shutil.copy(path, path.with_name(f"{number}.json"))
    found = quickly(world)
    assert found == strictly(world)
    assert (found is not None) is (attack == "removed" and number == 3)


def rebuilt(members, before: CompactRange, origin=None):
    """A seal of these members whose root and head are those of its entries, whatever the entries are."""
    after = before
    for entry in members["entries"]:
        after = after.append(leaf_digest(canonical(entry)))
    members["size"], members["roots"] = after.size, [root.hex() for root in after.roots]
    text = Checkpoint(origin or origin_of(TRAIL), after.size, after.root).text
    if members["checkpoint"] != 5:  # one of the edits
        members["checkpoint"] = text + "\n" + members["checkpoint"].partition("\n\n")[2]
    return canonical(members)


def signed_twice(members):
    line = members["checkpoint"].splitlines(keepends=True)[-1]
    members["checkpoint"] += line


def segment(**members):
    """An entry of a segment that is none."""
    text = {"type": "segment", "writer": "ddbtrail", "path": "segments/one", "root": "0" * 64, "file_sha256": "0" * 64}
    numbers = dict.fromkeys(("bytes", "records", "first_changed_at_ms", "last_changed_at_ms"), 1)
    return text | numbers | {"first_sequence": "0" * 40, "last_sequence": "0" * 40} | members


EDITS = {
    "unchanged": lambda members, interval: None,
    "another seal before it": lambda members, interval: members.update(previous_sha256="0" * 64),
    "no seal before it": lambda members, interval: members.update(previous_sha256=None),
    "another format": lambda members, interval: members.update(format=2),
    "a member more": lambda members, interval: members.update(more=1),
    "a member less": lambda members, interval: members.pop("format"),
    "no entries": lambda members, interval: members.update(entries=[]),
    "a hole in time": lambda members, interval: interval.update(from_ms=interval["from_ms"] + 1),
    "an overlap": lambda members, interval: interval.update(from_ms=interval["from_ms"] - 1),
    "back in time": lambda members, interval: interval.update(from_ms=0, to_ms=1),
    "made before": lambda members, interval: interval.update(from_ms=0, to_ms=0, sealed_at_ms=5),
    "made in another age": lambda members, interval: interval.update(sealed_at_ms=4_102_444_800_000),
    "made at the end of ours": lambda members, interval: interval.update(sealed_at_ms=4_102_444_799_999),
    "other notices": lambda members, interval: interval.update(previous_notice=0),
    "no notices": lambda members, interval: interval.update(previous_notice=None),
    "two intervals": lambda members, interval: members["entries"].append(dict(interval)),
    "no interval": lambda members, interval: members["entries"].pop(),
    "a promise": lambda members, interval: members["entries"].insert(0, {"type": "promise"}),
    "no type": lambda members, interval: members["entries"].insert(0, {}),
    "a text": lambda members, interval: members["entries"].insert(0, "interval"),
    "a number too much": lambda members, interval: interval.update(more=1),
    "a notice that is none": lambda members, interval: members["entries"].insert(0, {"type": "close"}),
    "a closed label": lambda members, interval: members["entries"].insert(
        0, {"type": "close", "stream_label": "2026-09-01T00:00:00.000"}
    ),
    "a digest that is none": lambda members, interval: members["entries"].insert(0, segment(file_sha256=None)),
    "a path that is none": lambda members, interval: members["entries"].insert(0, segment(path=None)),
    "a head that is no text": lambda members, interval: members.update(checkpoint=5),
    "signed twice": lambda members, interval: signed_twice(members),
}


@pytest.mark.parametrize("edit", EDITS)
def test_it_refuses_every_statement_that_the_strict_reader_refuses(world, edit):
    """Whoever holds a key can sign anything; what does not follow is believed by neither."""
    *_, before, path = world.files("seals")
    members = json.loads(path.read_bytes())
    EDITS[edit](members, members["entries"][-1])
    path.write_bytes(rebuilt(members, Seal.parse(before.read_bytes()).after))
    found = quickly(world)
    assert found == strictly(world)
    allowed = {"unchanged", "an overlap", "made at the end of ours", "a closed label"}
    assert (found is not None) is (edit in allowed)


@pytest.mark.parametrize("member", ["size", "size_before", "roots", "checkpoint"])
def test_what_a_seal_says_of_its_log_is_what_its_entries_lead_to(world, member):
    """Each of the four says it again, and none may say something else."""
    path, other = world.files("seals")[-2:]
    value = json.loads(other.read_bytes())[member]
    edited(path, lambda members: members.update({member: value}))
    other.unlink()
    assert quickly(world) is strictly(world) is None


def test_it_refuses_a_log_of_another_trail(world):
    """A log that holds together, and says nothing of this table."""
    *_, before, path = world.files("seals")
    members = json.loads(path.read_bytes())
    path.write_bytes(rebuilt(members, Seal.parse(before.read_bytes()).after, origin=origin_of(TRAIL) + "s"))
    assert quickly(world) is strictly(world) is None


@pytest.mark.parametrize("kind", ["segment", "open", "baseline"])
@pytest.mark.parametrize("is_same", [True, False])
def test_two_seals_that_contradict_each_other_are_believed_nothing(world, kind, is_same):
    """An entry may be repeated word for word; of two digests for one file neither is chosen."""
    entries = [entry for one in world.files("seals") for entry in json.loads(one.read_bytes())["entries"]]
    entry = next(entry for entry in entries if entry["type"] == kind)
    if not is_same:
        entry["description_sha256" if kind == "open" else "file_sha256"] = "0" * 64
    *_, before, path = world.files("seals")
    members = json.loads(path.read_bytes())
    members["entries"].insert(0, entry)
    path.write_bytes(rebuilt(members, Seal.parse(before.read_bytes()).after))
    assert (quickly(world) is not None) is is_same


# --- what is remembered ---


@pytest.fixture
def remembered(world, tmp_path, monkeypatch):
    """A folder in which the log of `world` is remembered."""
    monkeypatch.setattr(log_digests, "_SEALS_WORTH_KEEPING", 1)
    folder = tmp_path / "cache" / "logs"
    quickly(world, folder=folder)
    assert len(list(folder.iterdir())) == 1
    return folder


def test_a_log_that_is_known_is_only_continued(world, remembered, monkeypatch):
    """A table that rests has a year of seals, and no question is to read them all."""
    monkeypatch.setattr(log_digests, "_SEALS_WORTH_KEEPING", 2)
    world.sealed(SEALED_TO_S + 400, key="two")
    source = Counting(world.archive)
    reader = SealReader(source, folder=remembered)
    sealed = reader.read(TRAIL)
    assert (dict(sealed.segments), sealed.to_ms) == strictly(world)
    names = [path.name for path in world.files("seals")]
    assert source.fetched == names[-2:], "the newest known one, to see that it is the same log, and the new one"
    assert reader.read(TRAIL) == sealed
    assert source.fetched == [*names[-2:], names[-1]]


def test_a_short_log_is_not_written_down(world, tmp_path):
    """It is read in less time than that takes."""
    assert quickly(world, folder=tmp_path / "logs") is not None
    assert not (tmp_path / "logs").exists()


@pytest.mark.parametrize("limit", ["_SEALS_WORTH_KEEPING", "_ENTRIES_WORTH_KEEPING"])
def test_a_log_is_written_down_once(world, tmp_path, monkeypatch, limit):
    """Many seals of little, or few of much; and not again for each question of a process."""
    monkeypatch.setattr(log_digests, limit, 4)
    reader = SealReader(FolderSource(world.archive), folder=tmp_path / "logs")
    reader.read(TRAIL)
    (path,) = (tmp_path / "logs").iterdir()
    path.unlink()
    reader.read(TRAIL)
    assert not path.exists()


def test_what_is_remembered_comes_back_as_it_was(world):
    """Also what is needed to go on: the next seal extends both."""
    log = Log(TRAIL)
    paths = world.files("seals")
    for path in paths[:3]:
        log.extend(TRAIL.prefix + "seals/" + path.name, path.read_bytes())
    again = Log.parse(TRAIL, log.compose())
    assert again == log
    for one in (log, again):
        one.extend(TRAIL.prefix + "seals/" + paths[3].name, paths[3].read_bytes())
    assert again == log


def test_a_damaged_memory_is_no_memory(world, remembered):
    """A bit of a cache may flip like any other; then the log is read."""
    (path,) = remembered.iterdir()
    content = path.read_bytes()
    for position in range(0, len(content), 97):
        path.write_bytes(content[:position] + bytes([content[position] ^ 1]) + content[position + 1 :])
        assert quickly(world, folder=remembered) == strictly(world)
        assert path.read_bytes() == content, "and remembered once more"
    path.write_bytes(b"")
    assert quickly(world, folder=remembered) == strictly(world)


def test_another_log_in_the_same_place_is_read_from_its_beginning(world, remembered):
    """An archive that was made anew, or taken back to an earlier copy."""
    newest = world.files("seals")[-1]
    newest.unlink()
    assert quickly(world, folder=remembered) == strictly(world)
    world.sealed(SEALED_TO_S + 999, key="two")
    assert quickly(world, folder=remembered) == strictly(world)
    for path in world.files("seals"):
        path.unlink()
    assert quickly(world, folder=remembered) == "no seals"


def test_what_follows_a_known_log_has_to_hold_together_too(world, remembered):
    """And a log that was refused is remembered as it was before."""
    (path,) = remembered.iterdir()
    before = path.read_bytes()
    world.sealed(SEALED_TO_S + 400, key="two")
    flipped(world.files("seals")[-1])
    assert quickly(world, folder=remembered) is strictly(world) is None
    assert path.read_bytes() == before
    reader = SealReader(FolderSource(world.archive))
    for _ in range(2):
        with pytest.raises(SealMismatch):
            reader.read(TRAIL)


def test_a_known_log_is_checked_against_the_pinned_key_all_the_same(world, remembered):
    """What one command believed without a key, the next does not with one."""
    for name, is_believed in (("one", True), ("two", True), ("stranger", False)):
        key = load_signer(world.folder / name).public_key
        assert (quickly(world, folder=remembered, pinned=key) is not None) is is_believed


def test_a_cache_that_cannot_be_written_costs_no_answer(world, tmp_path, monkeypatch):
    """A full disk on the reader's side says nothing about the archive."""
    monkeypatch.setattr(log_digests, "_SEALS_WORTH_KEEPING", 1)
    (tmp_path / "file").write_bytes(b"")
    assert quickly(world, folder=tmp_path / "file" / "logs") == strictly(world)
