"""With seals, an answer rests on what was sealed or on nothing: whatever was done to a sealed file ends every command,
before anything parses it; what is not sealed yet is read, and told.
"""

import contextlib
import io
import json
import os
import shutil
from functools import cache
from hashlib import sha256
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import query
from archiver.format.columns import METADATA_DIGEST
from archiver.format.layout import Trail
from archiver.format.log_entry import KeyRotationEntry
from archiver.format.stamp import UNSTAMPED, stamp
from archiver.sealer import Sealer
from archiver.signer import create_key, load_signer, public_key_text
from archiver.store import FolderStore
from archiver.streams import Streams
from archiver.writer import Writer
from query.catalog import Evidence
from query.cli import run
from query.descriptions import Descriptions
from query.errors import CorruptSegment, UnreadableArchive, UsageError
from query.seal_log import SealMismatch
from query.sealed import SealedObjectMissing, SealNotSigned, SealReader
from tests.querying.test_image_chain import ONE, T0, THREE, TWO, change, with_baseline

TRAIL = Trail("111122223333", "eu-west-1", "orders")
SEALED_TO_S = T0 + 7_200
COMMANDS = {
    "history": ["history", "orders", "a"],
    "get": ["get", "orders", "a", "--at", f"@{T0 + 8_000}"],
    "diff": ["diff", "orders", "a"],
    "log": ["log", "orders"],
    "as-of": ["as-of", "orders", f"@{T0 + 8_000}"],
    "coverage": ["coverage", "orders"],
}


class World:
    """A folder with keys and an archive: a baseline and two segments sealed by two seals, a third segment not yet."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.archive = folder, folder / "archive"

    def made(self):
        for name in ("one", "two", "stranger"):
            create_key(self.folder / name)
        with_baseline(self.archive, {"a": ONE, "b": ONE}, T0 - 7_200)
        self.archived(change(1, "MODIFY", ONE, TWO))
        self.sealed(T0 + 1_800)
        self.archived(change(2, "MODIFY", TWO, THREE, at_s=T0 + 3_600))
        self.sealed(SEALED_TO_S)
        self.archived(change(3, "MODIFY", THREE, ONE, at_s=T0 + 7_300))
        return self

    def archived(self, *records):
        assert not Writer(FolderStore(self.archive), Streams()).archive(list(records), now_ms=T0 * 1000).quarantined

    def sealed(self, now_s, key="one", also=()):
        sealer = Sealer(FolderStore(self.archive), TRAIL, load_signer(self.folder / key))
        assert sealer.seal(now_s * 1000, also=also).refused == ()

    def files(self, folder, ending=""):
        return sorted(path for path in (self.archive / TRAIL.prefix / folder).rglob(f"*{ending}") if path.is_file())

    @property
    def segments(self):
        return self.files("segments")

    def open(self, **options):
        return query.open(str(self.archive), **options)

    def table(self, **options):
        return self.open(**options).table("orders")


@cache
def made_once(folder: Path) -> World:
    return World(folder).made()


@pytest.fixture
def world(tmp_path, tmp_path_factory, monkeypatch):
    """A copy of the world, and nothing configured."""
    for name in [name for name in os.environ if name.startswith("DDBTRAIL_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    base = tmp_path_factory.getbasetemp() / "sealed-world"
    base.mkdir(exist_ok=True)
    shutil.copytree(made_once(base).folder, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return World(tmp_path)


def ask(world, *tokens):
    """Exit code, and what was written to stdout and stderr."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = run([*tokens, "-a", str(world.archive)])
    return code, out.getvalue(), err.getvalue()


def hexdigest(path):
    return sha256(path.read_bytes()).hexdigest()


# --- what somebody may do to a sealed file ---


def forged(path):
    """Written anew by somebody who knows the format: another image, root and stamp as they should be."""
    table = pq.read_table(path)
    images = [(text or "").replace('"N":"2"', '"N":"666"') for text in table["new_image"].to_pylist()]
    index = table.schema.get_field_index("new_image")
    _restamped(path, table.set_column(index, table.schema.field(index), pa.array(images, pa.string())))


def reencoded(path):
    """The same rows, encoded otherwise."""
    _restamped(path, pq.read_table(path))


def _restamped(path, table):
    metadata = pq.read_metadata(path).metadata
    kept = {key: value for key, value in metadata.items() if key != b"ARROW:schema"} | {
        METADATA_DIGEST: UNSTAMPED.encode()
    }
    sink = pa.BufferOutputStream()
    with pq.ParquetWriter(sink, table.schema.remove_metadata(), compression="none") as writer:
        writer.write_table(table.replace_schema_metadata(None))
        writer.add_key_value_metadata({key.decode(): value.decode() for key, value in kept.items()})
    path.write_bytes(stamp(sink.getvalue().to_pybytes()))


def flipped(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


def swapped(path):
    """Two sealed segments in each other's place."""
    other = next(one for one in sorted(path.parents[2].rglob("*.parquet")) if one != path)
    content = path.read_bytes()
    path.write_bytes(other.read_bytes())
    other.write_bytes(content)


def cut(path):
    path.write_bytes(path.read_bytes()[:-1])


def longer(path):
    path.write_bytes(path.read_bytes() + b"\0")


def emptied(path):
    path.write_bytes(b"")


def replaced(path):
    """No Parquet at all: whatever parses it says so, and not that the digest is another one."""
    path.write_bytes(b"\x00\xff{" * 100)


ATTACKS = (forged, reencoded, flipped, swapped, cut, longer, emptied, replaced)


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.__name__)
def test_no_command_answers_from_a_sealed_segment_that_changed(world, command, attack):
    """Not one: the least asked question is the one that a forger counts on. Nothing of the answer is written."""
    path = world.segments[0]
    sealed = hexdigest(path)
    attack(path)
    code, out, err = ask(world, *COMMANDS[command])
    assert (code, out) == (4, "")
    what, why, hint = err.strip().splitlines()[-3:]
    assert path.name in what
    assert why == f"digest-mismatch: it has digest {hexdigest(path)}, its seal says {sealed}"
    assert "ddbtrail verify" in hint


@pytest.mark.parametrize("command", COMMANDS)
def test_no_command_answers_without_a_sealed_segment(world, command):
    """The answer would silently lack its changes."""
    path = world.segments[1]
    path.unlink()
    code, out, err = ask(world, *COMMANDS[command])
    assert (code, out) == (4, "")
    assert path.name in err
    assert "sealed-object-missing" in err


def test_a_forged_file_passes_every_other_check(world):
    """Otherwise the tests above would show nothing of seals."""
    forged(world.segments[0])
    code, out, _ = ask(world, "get", "orders", "a", "--at", f"@{T0 + 10}", "-o", "ddb-json", "--no-seals")
    assert code == 0
    assert '"n":{"N":"666"}' in out


def test_the_same_rows_encoded_otherwise_are_the_same_answer_without_seals(world):
    """A re-encoded file is whole evidence but for its seal."""
    before = ask(world, *COMMANDS["log"], "--no-seals")[1]
    reencoded(world.segments[0])
    code, out, _ = ask(world, *COMMANDS["log"], "--no-seals")
    assert (code, out) == (0, before)
    assert '"is_sealed":null' in out


def test_errors_can_be_told_apart_in_python(world):
    """Scripts compare the code."""
    flipped(world.segments[0])
    with pytest.raises(SealMismatch) as mismatch:
        world.table().item("a").history()
    world.segments[0].unlink()
    with pytest.raises(SealedObjectMissing) as gone:
        world.table().item("a").history()
    assert (mismatch.value.code, mismatch.value.exit_code) == ("digest-mismatch", 4)
    assert (gone.value.code, gone.value.exit_code) == ("sealed-object-missing", 4)
    assert issubclass(SealedObjectMissing, UnreadableArchive)


@pytest.mark.parametrize("attack", [flipped, Path.unlink])
def test_a_question_that_would_not_read_it_is_answered(world, attack):
    """One bad file does not take the whole trail away: the hours beside it are as good as before."""
    attack(world.segments[0])
    later = {"since_ms": (T0 + 3_600) * 1000}
    assert [found.op for found in world.table().changes(**later)] == ["MODIFY", "MODIFY"]
    with pytest.raises(SealMismatch):
        world.table().changes(until_ms=(T0 + 3_600) * 1000)


# --- descriptions and baselines ---


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("folder", ["streams", "baselines"])
@pytest.mark.parametrize("attack", [flipped, replaced, longer, Path.unlink])
def test_a_sealed_description_is_the_sealed_one_or_nothing(world, command, folder, attack):
    """Key order, table ids and the stretch of a baseline decide answers; it is looked at before it is parsed."""
    (path,) = world.files(folder, ".json")
    attack(path)
    code, out, err = ask(world, *COMMANDS[command])
    assert (code, out) == (4, "")
    assert path.name in err
    assert ("sealed-object-missing" if attack is Path.unlink else "digest-mismatch") in err


def test_a_description_sealed_while_the_trail_was_being_read_is_none_that_is_gone(world):
    """Descriptions are read beside the log, which may have gone on since: those are read once more."""
    source = world.open().source
    sealed = SealReader(source).read(TRAIL)
    assert len(sealed.descriptions) == 2
    before = Descriptions(TRAIL, {}, {})
    found = Evidence.of(source, TRAIL, sealed, before)
    assert found == Evidence.of(source, TRAIL, sealed)
    assert (len(found.streams), len(found.baselines)) == (1, 1)
    for description in world.files("baselines", "baseline.json"):
        description.unlink()
    with pytest.raises(SealedObjectMissing):
        Evidence.of(source, TRAIL, sealed, before)


def test_the_parts_of_a_sealed_baseline_are_vouched_for_through_its_description(world):
    """The seal says the description's digest, and that says its parts'."""
    (part,) = world.files("baselines", ".parquet")
    before = part.read_bytes()
    part.write_bytes(before[:-1] + b"\0")
    with pytest.raises(SealMismatch, match=part.name):
        world.table().as_of(f"@{T0 - 100}")
    part.write_bytes(before)
    assert world.table().as_of(f"@{T0 - 100}").count == 2


# --- the log itself ---


def edited(path, change):
    members = json.loads(path.read_bytes())
    change(members)
    path.write_bytes(json.dumps(members, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode())


def other_digest(path):
    """What a forger of a segment has to change too: then the entries do not lead to the head."""

    def change(members):
        for entry in members["entries"]:
            if entry["type"] == "segment":
                entry["file_sha256"] = "0" * 64

    edited(path, change)


def of_the_future(path):
    edited(path, lambda members: members["entries"][0].update(type="promise"))


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("attack", [flipped, other_digest, of_the_future, replaced, emptied, Path.unlink])
def test_a_log_that_does_not_hold_together_is_believed_nothing(world, command, attack):
    """What it says of the other files may be as wrong; the first seal, whose absence only its successor shows."""
    path = world.files("seals")[0]
    attack(path)
    code, out, err = ask(world, *COMMANDS[command])
    assert (code, out) == (4, "")
    assert "seals/" in err
    assert "ddbtrail verify" in err


@pytest.mark.parametrize("command", COMMANDS)
def test_whoever_must_answer_can_and_it_is_told_each_time(world, command):
    """At three in the morning an answer with a warning is better than none."""
    replaced(world.files("seals")[0])
    reencoded(world.segments[0])
    code, _, err = ask(world, *COMMANDS[command], "--no-seals")
    assert code == 0
    assert "warning: seals are not checked (--no-seals)" in err.splitlines()


def test_seals_can_be_left_out_by_configuration_too(world, monkeypatch):
    """And the warning says where that was set."""
    replaced(world.segments[0])
    replaced(world.files("seals")[0])
    monkeypatch.setenv("DDBTRAIL_CHECK_SEALS", "false")
    code, _, err = ask(world, "log", "orders", "--since", f"@{T0 + 3_600}")
    assert code == 0
    assert "warning: seals are not checked (DDBTRAIL_CHECK_SEALS)" in err.splitlines()
    monkeypatch.setenv("DDBTRAIL_CHECK_SEALS", "maybe")
    assert ask(world, "log", "orders")[0] == 2
    monkeypatch.delenv("DDBTRAIL_CHECK_SEALS")
    Path("ddbtrail.toml").write_text("check_seals = false\n", encoding="utf-8")
    code, _, err = ask(world, "log", "orders", "--since", f"@{T0 + 3_600}")
    assert code == 0
    assert "ddbtrail.toml: check_seals)" in err


# --- keys ---


def pinned(world, name):
    return {"pinned_key": world.folder / f"{name}.pub"}


def test_with_a_pinned_key_only_its_log_is_believed(world):
    """Whoever can write to the archive can write a log of their own, in which everything fits."""
    assert world.table(**pinned(world, "one")).sealed_to_ms == SEALED_TO_S * 1000
    with pytest.raises(SealNotSigned) as refused:
        world.table(**pinned(world, "stranger"))
    assert (refused.value.code, refused.value.exit_code) == ("seal-signature", 4)
    for path in world.files("seals"):
        path.unlink()
    world.archived(change(4, "MODIFY", ONE, {"n": {"N": "666"}}, at_s=T0 + 7_400))
    world.sealed(T0 + 8_000, key="stranger")
    assert all(found.is_sealed for found in world.table().changes()), "an invented change, sealed by its inventor"
    with pytest.raises(SealNotSigned):
        world.table(**pinned(world, "one"))


def test_a_pinned_key_is_found_in_the_configuration(world, monkeypatch):
    """In the file beside the archive's URL, and in the environment; a relative path starts at the file."""
    text = '[archives.mine]\nurl = "archive"\npinned_key = "{}.pub"\n'
    for name, code in (("one", 0), ("stranger", 4), ("nowhere", 2)):
        Path("ddbtrail.toml").write_text(text.format(name), encoding="utf-8")
        assert run(["log", "orders", "-a", "mine"]) == code
    Path("ddbtrail.toml").unlink()
    monkeypatch.setenv("DDBTRAIL_PINNED_KEY", "stranger.pub")
    code, _, err = ask(world, "log", "orders")
    assert code == 4
    assert "seal-signature" in err
    assert ask(world, "log", "orders", "--no-seals")[0] == 0


def test_a_trail_without_seals_is_not_believed_with_a_pinned_key(world):
    """Whoever removes all seals must not get more believed than whoever forges one."""
    for path in world.files("seals"):
        path.unlink()
    assert len(world.table().changes()) == 3
    with pytest.raises(SealNotSigned, match="no seals"):
        world.table(**pinned(world, "one"))
    assert world.open(**pinned(world, "one")).tables()[0].changes == 3, "a list of tables may hold new ones"


def handed_over(world, key, to, now_s):
    text = public_key_text(load_signer(world.folder / to).public_key)
    world.sealed(now_s, key=key, also=[KeyRotationEntry(text)])


def test_a_key_may_hand_over_to_the_next(world):
    """The old key stays a way in, the new one becomes one with its first seal."""
    handed_over(world, "one", "two", SEALED_TO_S + 1)
    world.table(**pinned(world, "one"))
    with pytest.raises(SealNotSigned, match="not signed"):
        world.table(**pinned(world, "two"))
    world.sealed(SEALED_TO_S + 2, key="two")
    for name in ("one", "two"):
        assert world.table(**pinned(world, name)).sealed_to_ms == (SEALED_TO_S + 2) * 1000
    with pytest.raises(SealNotSigned):
        world.table(**pinned(world, "stranger"))


def test_nobody_hands_over_but_the_holder_of_the_key(world):
    """A log by a stranger that begins with a hand-over to the stranger's key, or ends with one to ours."""
    for path in world.files("seals"):
        path.unlink()
    handed_over(world, "stranger", "two", SEALED_TO_S)
    world.sealed(SEALED_TO_S + 1, key="two")
    with pytest.raises(SealNotSigned):
        world.table(**pinned(world, "one"))
    handed_over(world, "two", "one", SEALED_TO_S + 2)
    with pytest.raises(SealNotSigned):
        world.table(**pinned(world, "one"))


# --- what is not sealed yet ---


def test_what_is_not_sealed_yet_is_read_and_told(world):
    """The newest quarter of an hour is what most questions are about."""
    table = world.table()
    assert [one.is_sealed for one in table.changes()] == [False, True, True]
    versions = table.item("a").history()
    assert [version.change.is_sealed for version in versions] == [False, True, True]
    assert [file.is_sealed for file in versions.plan.files] == [True, True, False]
    assert table.sealed_to_ms == SEALED_TO_S * 1000


@pytest.mark.parametrize(
    ("command", "told"),
    [
        ("history", "1 of 3 changes is not sealed yet (sealed to 2026-09-15T02:00:00Z)"),
        ("log", "1 of 3 changes is not sealed yet (sealed to 2026-09-15T02:00:00Z)"),
        ("get", "1 of the item's 3 changes is not sealed yet (sealed to 2026-09-15T02:00:00Z)"),
        ("diff", "1 of the item's 3 changes is not sealed yet (sealed to 2026-09-15T02:00:00Z)"),
        ("as-of", "1 of 4 files read is not sealed yet (sealed to 2026-09-15T02:00:00Z)"),
    ],
)
def test_people_are_told_how_much(world, command, told):
    """One line, and none once it is sealed; or if it never was, in a trail without seals."""
    code, _, err = ask(world, *COMMANDS[command])
    assert code == 0
    assert told in err.splitlines()
    world.sealed(T0 + 8_000)
    assert "sealed" not in ask(world, *COMMANDS[command])[2]
    for path in world.files("seals"):
        path.unlink()
    assert "sealed" not in ask(world, *COMMANDS[command])[2]


def test_scripts_are_told_of_each_change(world):
    """A column, null where there are no seals."""
    rows = [json.loads(line) for line in ask(world, *COMMANDS["log"])[1].splitlines()]
    assert [row["is_sealed"] for row in rows] == [False, True, True]
    assert json.loads(ask(world, *COMMANDS["get"], "-o", "json")[1])["is_sealed"] is False
    at_first = ["get", "orders", "a", "--at", f"@{T0 + 10}", "-o", "json"]
    assert json.loads(ask(world, *at_first)[1])["is_sealed"] is False, "a change that is not sealed may be one more"
    world.sealed(T0 + 8_000)
    assert json.loads(ask(world, *at_first)[1])["is_sealed"] is True
    plan = json.loads(ask(world, *COMMANDS["as-of"], "--explain", "-o", "json")[1])
    assert {file["is_sealed"] for file in plan["files"]} == {True}


def test_an_unsealed_baseline_is_told(world):
    """An answer that rests on it rests on nothing that is signed."""
    world.sealed(T0 + 8_000)
    with_baseline(world.archive, {"a": ONE, "b": ONE}, T0 + 9_000)
    code, _, err = ask(world, "get", "orders", "b", "--at", f"@{T0 + 10_000}")
    assert code == 0
    assert "the baseline that was asked is not sealed yet (sealed to 2026-09-15T02:13:20Z)" in err.splitlines()


def test_a_plan_marks_each_file(world):
    """`--explain` reads nothing, and says what would be believed."""
    code, out, _ = ask(world, *COMMANDS["history"], "--explain", "-o", "table")
    assert code == 0
    assert "IS SEALED" in out
    assert [line.split()[-1] for line in out.splitlines() if ".parquet" in line] == ["true", "true", "false"]
    for path in world.files("seals"):
        path.unlink()
    assert "SEALED" not in ask(world, *COMMANDS["history"], "--explain", "-o", "table")[1]


def test_a_segment_that_nobody_sealed_still_has_to_be_whole(world):
    """As before there were seals: its own digest says so."""
    flipped(world.segments[2])
    with pytest.raises(CorruptSegment, match=world.segments[2].name):
        world.table().item("a").history()


def test_a_sealed_file_is_looked_at_again_after_it_changed(world):
    """What one question found good, the next one may not."""
    table = world.table()
    state = table.as_of(f"@{T0 + 8_000}")
    state.close()
    (part,) = world.files("baselines", ".parquet")
    cut(part)
    with pytest.raises(SealMismatch, match=part.name):
        table.as_of(f"@{T0 + 8_000}")


def test_a_pinned_key_has_to_be_a_key(world):
    """A mistake in the configuration is no finding about the archive."""
    with pytest.raises(UsageError):
        world.table(pinned_key=world.folder / "one")
