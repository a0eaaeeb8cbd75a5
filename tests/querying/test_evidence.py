"""Packages of evidence: what is in them, that they come out the same, and that nothing in them can be altered unseen."""

from __future__ import annotations

import csv
import json
import os
import random
import shutil
import subprocess
import zipfile
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from archiver.format.layout import Trail
from archiver.format.log_entry import AcknowledgeEntry
from archiver.sealer import Sealer
from archiver.signer import create_key, load_signer
from archiver.store import FolderStore
from archiver.streams import Streams
from archiver.writer import Writer
from query.cli import run
from query.evidence.package import BESIDE, MANIFEST, SIGNATURE, in_order
from tests.delivery import delivered

START = 1_789_430_400  # 2026-09-15T00:00:00Z
HOUR = 3_600
TRAIL = Trail("111122223333", "eu-west-1", "orders")
LABELS = ("2026-09-01T00:00:00.000", "2026-09-15T06:00:00.000")
PERIOD = ("--since", "2026-09-15T00:00:00Z", "--until", "2026-09-15T03:00:00Z")
WITH_GAP = ("--since", "2026-09-15T00:00:00Z", "--until", "2026-09-15T12:00:00Z")
FORMULA, MARKUP = '=HYPERLINK("http://evil.example","x")', "<script>alert(1)</script>\u202e"


def record(number, op, item, old, new, *, at, label=LABELS[0]):
    return delivered(
        op,
        {"pk": {"S": item}},
        old,
        new,
        sequence_number=100_000_000_000_000_000_000 + number,
        changed_at_s=at,
        arn=f"arn:aws:dynamodb:eu-west-1:111122223333:table/orders/stream/{label}",
        event_id=f"{number:031x}e",
    )


def made_records(seed=7, most=120):
    """Lives of a few items, each change following from the one before; half of them after a gap between streams."""
    chance, held, made = random.Random(seed), {}, []
    for number in range(most):
        label = LABELS[number >= most // 2]
        at = START + (number * 200 if label == LABELS[0] else 6 * HOUR + (number - most // 2) * 200)
        item = chance.choice(["A", "B", FORMULA, MARKUP])
        old = held.get(item)
        kind = "INSERT" if old is None else chance.choice(["MODIFY", "MODIFY", "MODIFY", "REMOVE"])
        new = None
        if kind != "REMOVE":
            new = {name: {"S": str(chance.randrange(3))} for name in ("status", "owner", "by") if chance.random() < 0.8}
            new |= {"note": {"S": chance.choice([FORMULA, MARKUP, "@x", "-1"])}}
        if kind == "MODIFY" and number % 5 == 0:
            new = dict(old)  # written again as it was
        made.append(record(number, kind, item, old, new, at=at, label=label))
        if new is None:
            held.pop(item)
        else:
            held[item] = new
    return made


RECORDS = made_records()


class World:
    """An archive in two streams with a gap between them, sealed; and keys."""

    def __init__(self, folder: Path):
        self.folder, self.archive = folder, folder / "archive"
        for name, kind in (("log", "ed25519"), ("package", "ed25519"), ("p256", "p256")):
            create_key(folder / name, kind)
        store = FolderStore(self.archive)
        writer = Writer(store, Streams(key_schema={"orders": ("pk",)}))
        for start in range(0, len(RECORDS), 10):
            writer.archive(RECORDS[start : start + 10], now_ms=(START + 12 * HOUR) * 1000)
        self.seal()

    def seal(self, also=(), later=0):
        sealer = Sealer(FolderStore(self.archive), TRAIL, load_signer(self.folder / "log"))
        assert sealer.seal((START + 14 * HOUR + later) * 1000, also=also).refused == ()

    def build(self, target, *more, period=PERIOD, pinned=True):
        tokens = ["evidence", "build", "orders", "-a", str(self.archive), *period, "-O", str(target), *more]
        return run([*tokens, *(("--pinned-key", str(self.folder / "log.pub")) if pinned else ())])


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return World(tmp_path_factory.mktemp("evidence"))


@pytest.fixture
def world(made, tmp_path):
    """A copy that may be spoilt."""
    shutil.copytree(made.folder, tmp_path / "world")
    copied = World.__new__(World)
    copied.folder, copied.archive = tmp_path / "world", tmp_path / "world" / "archive"
    return copied


@pytest.fixture(autouse=True)
def outside(tmp_path, monkeypatch):
    """No configuration of the person who runs the tests."""
    for name in [*os.environ]:
        if name.startswith(("DDBTRAIL_", "XDG_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def package(made, tmp_path_factory):
    """A signed package as a folder and as a zip archive."""
    folder = tmp_path_factory.mktemp("package")
    for name in ("it", "it.zip"):
        assert made.build(folder / name, "--signing-key", str(made.folder / "package")) == 0
    return folder


def checked(path, *more):
    return run(["evidence", "verify", str(path), *more])


def rows_of(folder):
    with (folder / "changes.csv").open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


# --- what is in it ---


def expected(since, until, *, ops=None, attribute=None):
    """The rows by a model of a few lines: what the records say, attribute by attribute."""
    made = []
    for one in RECORDS:
        change = one["dynamodb"]
        inside = since <= change["ApproximateCreationDateTime"] < until
        if not inside or (ops and one["eventName"] not in ops):
            continue
        old, new = change.get("OldImage", {}), change.get("NewImage", {})
        names = [name for name in sorted({*old, *new}) if old.get(name) != new.get(name)]
        if attribute is not None and attribute not in names:
            continue
        names = [name for name in names if attribute in {None, name}] or [""]
        for name in names:
            sides = [json.dumps(side[name]["S"], ensure_ascii=False) if name in side else "" for side in (old, new)]
            kind = "" if not name else "added" if name not in old else "removed" if name not in new else "changed"
            made.append((one["eventID"], one["eventName"], name, kind, *sides))
    return made


@pytest.mark.parametrize("seed", range(6))
def test_the_rows_are_those_of_the_records(made, tmp_path, seed):
    """For periods, operations and attributes at random, also those with nothing in them."""
    chance = random.Random(seed)
    since = START + chance.randrange(0, 40) * 200 + chance.choice([-1, 0, 0, 1])
    until = since + chance.choice([1, 200, HOUR, 3 * HOUR])
    ops = chance.choice([None, ["INSERT"], ["MODIFY", "REMOVE"]])
    attribute = chance.choice([None, "status", "owner"])
    more = ["--accept", "gap"]
    more += [] if ops is None else ["--op", ",".join(ops).lower()]
    more += [] if attribute is None else ["--attr", attribute]
    target = tmp_path / "it"
    assert made.build(target, *more, period=("--since", f"@{since}", "--until", f"@{until}")) == 0
    found = [tuple(row[name] for name in ("change_id", "op", "path", "kind", "old", "new")) for row in rows_of(target)]
    wanted = expected(since, until, ops=ops, attribute=attribute)
    assert found == wanted
    records = pq.read_table(target / "changes.parquet").to_pylist()
    assert [row["change_id"] for row in records] == list(dict.fromkeys(row[0] for row in wanted))


def test_a_change_that_changed_nothing_has_a_row(package):
    """It was made, and the package leaves nothing out."""
    found = [(row["change_id"], row["path"]) for row in rows_of(package / "it")]
    assert found == [(row[0], row[2]) for row in expected(START, START + 3 * HOUR)]
    assert "" in {path for _, path in found}


def test_one_item(made, tmp_path):
    """By its key, as every command takes one."""
    assert made.build(tmp_path / "it", "--key", f"pk={FORMULA}") == 0
    rows = rows_of(tmp_path / "it")
    assert rows
    assert {json.loads(row["item_key"])["pk"] for row in rows} == {FORMULA}


def test_full_records_are_lossless(package):
    """What a spreadsheet is spared is in the twin as it was."""
    table = pq.read_table(package / "it" / "changes.parquet").to_pylist()
    by_id = {one["eventID"]: one["dynamodb"] for one in RECORDS}
    for row in table:
        new = row["new_image"] and json.loads(row["new_image"])
        assert new == by_id[row["change_id"]].get("NewImage")


def test_no_actor_is_a_formula(made, tmp_path):
    """A name stands in its cell as it is, and not as JSON."""
    named = f'[archives.it]\nurl = "{made.archive}"\n[archives.it.tables.orders]\nactor_attribute = "note"\n'
    (tmp_path / "ddbtrail.toml").write_text(named)
    tokens = ("-a", "it", *PERIOD, "-O", str(tmp_path / "it"), "--accept", "key-not-pinned")
    assert run(["evidence", "build", "orders", *tokens]) == 0
    actors = {row["actor"] for row in rows_of(tmp_path / "it")}
    assert {f"'{FORMULA}", "'@x", "-1"} <= actors


def test_no_cell_is_a_formula(package):
    """Whatever a key or a value holds; and a spreadsheet takes the file for UTF-8."""
    content = (package / "it" / "changes.csv").read_bytes()
    assert content.startswith(b"\xef\xbb\xbf")
    cells = [cell for row in rows_of(package / "it") for cell in row.values()]
    assert any(FORMULA.partition("(")[0] in cell for cell in cells)
    assert not [cell for cell in cells if cell[:1] in {*"=+-@\t\r"}]


def test_what_the_files_say(package):
    """The figures of the verification and the objects that were read, each with the digest of its bytes."""
    told = json.loads((package / "it" / "verification.json").read_text())
    assert (told["signatureValid"], told["signatureAlgorithm"], told["validationErrors"]) == (True, "Ed25519", [])
    proofs = (package / "it" / "proofs.jsonl").read_text().splitlines()
    segments = {row["segment"] for row in rows_of(package / "it")}
    assert told["proofs"]["segments_proved"] == len(proofs) == len(segments)
    with (package / "it" / "source-files.csv").open() as file:
        sources = {row["object"]: row["sha256"] for row in csv.DictReader(file)}
    assert segments <= sources.keys()


def test_the_digests_of_sources_are_those_of_the_archive(made, package):
    """By sha256sum itself, in the archive."""
    with (package / "it" / "source-files.csv").open() as file:
        lines = "".join(f"{row['sha256']}  {row['object']}\n" for row in csv.DictReader(file))
    subprocess.run(["sha256sum", "-c", "--quiet"], input=lines, text=True, cwd=made.archive, check=True)


def test_each_proof_is_proved(made, package, tmp_path):
    """One line is one file as `ddbtrail prove` writes it."""
    for line in (package / "it" / "proofs.jsonl").read_text().splitlines(keepends=True):
        (tmp_path / "proof.json").write_text(line)
        assert run(["verify-proof", str(tmp_path / "proof.json"), "--pinned-key", str(made.folder / "log.pub")]) == 0


# --- the same again ---


def test_built_twice_it_is_the_same(made, package, tmp_path):
    """Another moment, another place: the same bytes. With a key whose signatures differ, all but the signature."""
    copied = tmp_path / "elsewhere"
    shutil.copytree(made.archive, copied)
    moved = World.__new__(World)
    moved.folder, moved.archive = made.folder, copied
    assert moved.build(tmp_path / "again.zip", "--signing-key", str(made.folder / "package")) == 0
    assert (tmp_path / "again.zip").read_bytes() == (package / "it.zip").read_bytes()
    for name in ("one", "two"):
        assert made.build(tmp_path / name, "--signing-key", str(made.folder / "p256")) == 0
    one, two = ({path.name: path.read_bytes() for path in (tmp_path / name).iterdir()} for name in ("one", "two"))
    assert {name for name in one if one[name] != two.get(name)} == {SIGNATURE}
    assert one.keys() == two.keys()


def test_folder_and_zip_hold_the_same(package):
    """In order, one folder, what a signature changes last."""
    with zipfile.ZipFile(package / "it.zip") as archive:
        inside = {name.rpartition("/")[2]: archive.read(name) for name in archive.namelist()}
        assert {member.date_time for member in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
    assert inside == {path.name: path.read_bytes() for path in (package / "it").iterdir()}
    assert list(inside) == in_order(inside)
    assert list(inside)[-2:] == list(BESIDE[:2])


# --- nothing can be altered unseen ---


def test_as_it_was_built_it_is_verified(made, package, capsys):
    """With the key that came along, said to be so, and with a pinned one."""
    assert checked(package / "it.zip", "-o", "json") == 0
    out, err = capsys.readouterr()
    assert not json.loads(out)["is_pinned_key"]
    assert "compare its fingerprint" in err
    for path in (package / "it", package / "it.zip"):
        assert checked(path, "--pinned-key", str(made.folder / "package.pub"), "-q", "-o", "json") == 0
    assert json.loads(capsys.readouterr().out.split("\n}\n")[1] + "}")["is_pinned_key"]
    assert checked(package / "it.zip", "--pinned-key", str(made.folder / "p256.pub")) == 1


def test_a_flipped_bit_of_a_zip_archive_is_found(package, tmp_path, capsys):
    """Also in the bytes between its files, its times and its directory."""
    content = (package / "it.zip").read_bytes()
    chance = random.Random(1)
    places = {*range(64), *range(len(content) - 200, len(content)), *chance.sample(range(len(content)), 150)}
    for place in sorted(places):
        spoilt = bytearray(content)
        spoilt[place] ^= 1 << chance.randrange(8)
        (tmp_path / "spoilt.zip").write_bytes(spoilt)
        assert checked(tmp_path / "spoilt.zip") == 1, place
    for spoilt in (content + b"\n", b"\n" + content, content[:-1], b""):
        (tmp_path / "spoilt.zip").write_bytes(spoilt)
        assert checked(tmp_path / "spoilt.zip") == 1
    capsys.readouterr()


def test_a_file_that_was_altered_added_or_taken_away_is_found(package, tmp_path, capsys):
    """Every file of the folder, at its first, last and some other byte."""
    for name in [path.name for path in (package / "it").iterdir()]:
        size = (package / "it" / name).stat().st_size
        for place in {0, size - 1, size // 2}:
            copied = tmp_path / "copied"
            shutil.copytree(package / "it", copied)
            spoilt = bytearray((copied / name).read_bytes())
            spoilt[place] ^= 4
            (copied / name).write_bytes(spoilt)
            assert checked(copied) == 1, (name, place)
            shutil.rmtree(copied)
        shutil.copytree(package / "it", copied)
        (copied / name).unlink()
        assert checked(copied) == 1, name
        shutil.rmtree(copied)
    shutil.copytree(package / "it", copied)
    (copied / "more.txt").write_text("")
    assert checked(copied) == 1
    (copied / "more.txt").unlink()
    (copied / "folder").mkdir()
    assert checked(copied) == 1
    capsys.readouterr()


def test_the_signature_of_another_package_is_found(made, package, tmp_path, capsys):
    """By the same key, of another manifest; and a manifest made anew, without the key."""
    other = ("--since", "2026-09-15T00:00:00Z", "--until", "2026-09-15T01:00:00Z")
    assert made.build(tmp_path / "other", "--signing-key", str(made.folder / "package"), period=other) == 0
    shutil.copytree(package / "it", tmp_path / "it")
    shutil.copy(tmp_path / "other" / SIGNATURE, tmp_path / "it" / SIGNATURE)
    assert checked(tmp_path / "it") == 1
    shutil.rmtree(tmp_path / "it")
    shutil.copytree(package / "it", tmp_path / "it")
    (tmp_path / "it" / "query.txt").write_text("another question\n")
    names = sorted(path.name for path in (tmp_path / "it").iterdir() if path.name not in BESIDE)
    done = subprocess.run(["sha256sum", *names], cwd=tmp_path / "it", capture_output=True, check=True)
    (tmp_path / "it" / MANIFEST).write_bytes(done.stdout)
    assert checked(tmp_path / "it") == 1
    (tmp_path / "it" / SIGNATURE).unlink()
    assert checked(tmp_path / "it") == 1
    capsys.readouterr()


def test_files_in_another_order_are_found(package, tmp_path, capsys):
    """The same files, packed by somebody else."""
    with zipfile.ZipFile(package / "it.zip") as archive, zipfile.ZipFile(tmp_path / "it.zip", "w") as other:
        for name in reversed(archive.namelist()):
            other.writestr(name, archive.read(name))
    assert checked(tmp_path / "it.zip") == 1
    assert checked(tmp_path / "nothing.zip") == 2
    capsys.readouterr()


@pytest.mark.parametrize("kind", ["package", "p256"])
def test_it_is_verified_without_this_software(made, package, tmp_path, kind):
    """What HOW-TO-VERIFY says, typed as it stands there, with openssl and sha256sum; and failing where it should."""
    folder = tmp_path / "it"
    assert made.build(folder, "--signing-key", str(made.folder / kind)) == 0
    commands = [
        line.strip()
        for line in (folder / "HOW-TO-VERIFY.txt").read_text().splitlines()
        if line.startswith("    ") and " " in line.strip()
    ]
    assert {command.split()[0] for command in commands} == {"openssl", "sha256sum"}
    assert len(commands) == 5

    def codes():
        done = [subprocess.run(["sh", "-c", one], cwd=folder, capture_output=True, text=True) for one in commands]
        for one in done[2], done[4]:
            assert one.stdout.split()[0] in (folder / "HOW-TO-VERIFY.txt").read_text()
        return [one.returncode for one in done]

    assert codes() == [0] * 5
    with (folder / "changes.csv").open("a") as file:
        file.write("\n")
    assert codes()[0] != 0
    with (folder / MANIFEST).open("a") as file:
        file.write("\n")
    assert codes()[1] != 0
    (folder / "checkpoint.signed").write_text("another head\n")
    assert codes()[3] != 0


# --- what is missing is said ---


def test_a_gap_ends_with_3_unless_somebody_took_it(world, tmp_path, capsys):
    """Named on the command line in full, or acknowledged in the log; half of it does not do."""
    assert world.build(tmp_path / "gap", period=WITH_GAP) == 3
    told = json.loads((tmp_path / "gap" / "coverage.json").read_text())
    (gap,) = told["exceptions"]
    assert (gap["code"], gap["accepted"]) == ("gap", None)
    assert "INCOMPLETE" in capsys.readouterr().err
    half = gap["since"], "2026-09-15T04:00:00Z"
    assert world.build(tmp_path / "half", "--accept", "/".join(half), period=WITH_GAP) == 3
    whole = f"{gap['since']}/{gap['until']}"
    assert world.build(tmp_path / "whole", "--accept", whole, period=WITH_GAP) == 0
    assert world.build(tmp_path / "code", "--accept", "gap", period=WITH_GAP) == 0
    assert json.loads((tmp_path / "whole" / "coverage.json").read_text())["exceptions"][0]["accepted"]
    assert whole in (tmp_path / "whole" / "query.txt").read_text()
    ends = [last["dynamodb"]["ApproximateCreationDateTime"] * 1000 for last in (RECORDS[59], RECORDS[60])]
    world.seal(also=[AcknowledgeEntry(None, ends[0], ends[1], "trigger was off")], later=60)
    assert world.build(tmp_path / "acknowledged", period=WITH_GAP) == 0
    assert checked(tmp_path / "acknowledged") == 0


def test_tampering_leaves_no_package(world, tmp_path, capsys):
    """Exit code 1, and it cannot be accepted."""
    segment = min(world.archive.rglob("segments/**/*.parquet"))
    spoilt = bytearray(segment.read_bytes())
    spoilt[len(spoilt) // 2] ^= 1
    segment.chmod(0o644)
    segment.write_bytes(spoilt)
    assert world.build(tmp_path / "it.zip") == 1
    assert not (tmp_path / "it.zip").exists()
    assert "TAMPERED" in capsys.readouterr().err
    assert world.build(tmp_path / "it.zip", "--accept", "digest-mismatch") == 2


def test_without_seals_or_key_it_says_so(world, tmp_path, capsys):
    """3 and 4, as `verify`; and 0 where that was taken as it is."""
    assert world.build(tmp_path / "one", pinned=False) == 4
    assert world.build(tmp_path / "two", "--accept", "key-not-pinned", pinned=False) == 0
    shutil.rmtree(world.archive / TRAIL.prefix / "seals")
    assert world.build(tmp_path / "three") == 3
    assert not (tmp_path / "three" / "proofs.jsonl").exists()
    assert json.loads((tmp_path / "three" / "verification.json").read_text())["signatureValid"] is False
    capsys.readouterr()


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ((), "no period was named"),
        (("--during", "2026-09-15", "--accept", "nonsense"), "'nonsense' cannot be accepted"),
        (("--since", "2026-09-15", "--until", "2026-09-16", "--accept", "2026-09-16/2026-09-15"), "ends before"),
        (("--during", "2026-09-15", "--signing-key", "nowhere"), "cannot be signed with nowhere"),
    ],
)
def test_what_cannot_be_asked(made, tmp_path, capsys, more, words):
    """Exit code 2, and nothing is left behind."""
    assert made.build(tmp_path / "it.zip", *more, period=()) == 2
    assert words in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir() if "evidence" in path.name or path.suffix == ".zip"] == []


def test_a_package_is_not_written_over(made, package, capsys):
    """Somebody may have it already."""
    before = (package / "it.zip").read_bytes()
    assert made.build(package / "it.zip") == 2
    assert "there already" in capsys.readouterr().err
    assert (package / "it.zip").read_bytes() == before
