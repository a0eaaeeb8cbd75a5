"""Packages about some items: those that an auditor listed, and a sample that anybody can draw again."""

from __future__ import annotations

import csv
import json
import subprocess
from base64 import b64decode
from hashlib import sha256

import pytest

from archiver.signer import create_key
from archiver.store import FolderStore
from archiver.streams import Streams
from archiver.writer import Writer
from query.cli import run
from tests.querying.test_evidence import FORMULA, HOUR, MARKUP, PERIOD, RECORDS, START, World, checked, outside

__all__ = ["outside"]  # a fixture
ITEMS = ("A", "B", FORMULA, MARKUP)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return World(tmp_path_factory.mktemp("scope"))


def changed(*, attribute=None, until=START + 3 * HOUR):
    """How many changes each item had in the period, by the records themselves; of an attribute if one is named."""
    found = dict.fromkeys(ITEMS, 0)
    for record in RECORDS:
        told = record["dynamodb"]
        sides = [told.get(side, {}).get(attribute) for side in ("OldImage", "NewImage")]
        if told["ApproximateCreationDateTime"] < until and (attribute is None or sides[0] != sides[1]):
            found[told["Keys"]["pk"]["S"]] += 1
    return found


def items_in(folder):
    with (folder / "changes.csv").open(encoding="utf-8-sig", newline="") as file:
        return {json.loads(row["item_key"])["pk"] for row in csv.DictReader(file)}


def key_text(item):
    return json.dumps({"pk": {"S": item}}, separators=(",", ":"), ensure_ascii=False)


def ranked(items, seed):
    """Ranks and keys as docs/evidence.md has them."""
    return sorted((sha256(f"{seed}\n{key_text(item)}".encode()).hexdigest(), key_text(item)) for item in items)


def population(folder):
    return [tuple(line.split(" ", 1)) for line in (folder / "population.txt").read_text().splitlines()]


# --- items that were listed ---


def test_only_items_of_the_list_are_in_the_package(made, tmp_path, capsys):
    """Each is named with how many changes it had, also the one that had none; the list of the package is one again."""
    asked = tmp_path / "asked.jsonl"
    asked.write_text("".join(json.dumps({"pk": item}) + "\n" for item in ("nobody", MARKUP, "A", MARKUP)))
    assert made.build(tmp_path / "it", "--scope", str(asked)) == 0
    assert "1 item of the scope without a change" in capsys.readouterr().err
    assert items_in(tmp_path / "it") == {MARKUP, "A"}
    told = [json.loads(line) for line in (tmp_path / "it" / "scope.jsonl").read_text().splitlines()]
    had = changed() | {"nobody": 0}
    assert [(one["item_key"]["pk"], one["changes"]) for one in told] == [
        (item, had[item]) for item in ("nobody", MARKUP, "A")
    ]
    assert made.build(tmp_path / "again", "--scope", str(tmp_path / "it" / "scope.jsonl")) == 0
    assert (tmp_path / "again" / "MANIFEST.sha256").read_bytes() == (tmp_path / "it" / "MANIFEST.sha256").read_bytes()
    assert "3 items, listed in scope.jsonl" in (tmp_path / "it" / "REPORT.html").read_text()
    assert checked(tmp_path / "it") == 0


# --- a sample ---


@pytest.mark.parametrize("size", [1, 2, 3, 4, 9])
def test_a_sample_is_drawn_by_seed_and_keys_alone(made, tmp_path, size):
    """As an auditor would draw it, from a list of the items that changed."""
    for seed in ("2026Q3", "a", "b-1.x:y_Z"):
        folder = tmp_path / seed.replace(":", "")
        assert made.build(folder, "--sample", str(size), "--seed", seed) == 0
        wanted = ranked([item for item, changes in changed().items() if changes], seed)
        assert population(folder) == wanted
        assert {key_text(item) for item in items_in(folder)} == {key for _, key in wanted[:size]}


def test_a_sample_is_of_items_that_the_package_would_have(made, tmp_path):
    """With other conditions: one that would show nothing is not drawn."""
    asked = tmp_path / "asked.jsonl"
    asked.write_text("".join(json.dumps({"pk": item}) + "\n" for item in ("A", FORMULA, "nobody")))
    short = ("--since", "2026-09-15T00:00:00Z", "--until", "2026-09-15T00:33:20Z")
    more = ("--scope", str(asked), "--attr", "owner", "--sample", "9", "--seed", "1")
    assert made.build(tmp_path / "it", *more, period=short) == 0
    had = changed(attribute="owner", until=START + 2_000)
    assert changed(until=START + 2_000)["A"] > had["A"] == 0
    assert population(tmp_path / "it") == ranked([FORMULA], "1")


def test_without_a_seed_it_is_one_that_nobody_chooses(made, tmp_path):
    """The root of the log at the end of the period: the same after another seal, and if it is typed."""
    assert made.build(tmp_path / "it", "--sample", "2") == 0
    seals = sorted(made.archive.rglob("seals/*.json"))
    root = json.loads(seals[0].read_text())["checkpoint"].split("\n")[2]
    made.seal(later=HOUR)
    assert len(sorted(made.archive.rglob("seals/*.json"))) == len(seals) + 1
    assert made.build(tmp_path / "later", "--sample", "2") == 0
    command = (tmp_path / "it" / "query.txt").read_text().splitlines()[0].split()
    seed = command[command.index("--seed") + 1]
    assert bytes.fromhex(seed) == b64decode(root)
    assert made.build(tmp_path / "typed", "--sample", "2", "--seed", seed) == 0
    for name in ("population.txt", "query.txt", "changes.csv", "changes.parquet"):
        assert len({(tmp_path / one / name).read_bytes() for one in ("it", "later", "typed")}) == 1, name


def test_an_auditor_draws_it_again_without_this_software(made, tmp_path):
    """What HOW-TO-VERIFY says, typed as it stands there; and failing where the list was touched."""
    folder = tmp_path / "it"
    assert made.build(folder, "--sample", "2") == 0
    text = (folder / "HOW-TO-VERIFY.txt").read_text()
    commands = [line.strip() for line in text.splitlines() if line.startswith("    ") and "population.txt" in line]
    assert len(commands) == 2
    first, again = (subprocess.run(["sh", "-c", one], cwd=folder, capture_output=True, text=True) for one in commands)
    assert (first.returncode, again.returncode, again.stdout) == (0, 0, "")
    assert {line.split(" ", 1)[1] for line in first.stdout.splitlines()} == {key_text(i) for i in items_in(folder)}
    lines = (folder / "population.txt").read_text().splitlines(keepends=True)
    (folder / "population.txt").write_text("".join([*lines[1:], lines[0]]))
    assert subprocess.run(["sh", "-c", commands[0]], cwd=folder, capture_output=True).returncode != 0
    (folder / "population.txt").write_text("".join(lines).replace('"A"', '"C"'))
    assert subprocess.run(["sh", "-c", commands[1]], cwd=folder, capture_output=True).returncode != 0


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (("--sample", "0"), "a sample of 0 items"),
        (("--seed", "a"), "a seed alone"),
        (("--sample", "1", "--seed", "a'b"), "is no seed"),
        (("--scope", "nowhere.jsonl"), "could not read nowhere.jsonl"),
        (("--scope", "nowhere.jsonl", "--key", "pk=A"), "given in two ways"),
        (("--scope", "empty.jsonl"), "no item is listed in empty.jsonl"),
    ],
)
def test_what_cannot_be_asked(made, tmp_path, capsys, monkeypatch, more, words):
    """Exit code 2 before anything is verified, and nothing is left behind."""
    (tmp_path / "empty.jsonl").write_text("\n")
    monkeypatch.setattr("query.verify.verifier.verify", None)
    assert made.build(tmp_path / "it", *more, period=PERIOD) == 2
    assert words in capsys.readouterr().err
    assert not (tmp_path / "it").exists()


def test_a_period_that_is_not_sealed_gives_no_seed(made, tmp_path, capsys):
    """Whoever builds the package could wait for one that suits."""
    beyond = ("--since", "2026-09-15T00:00:00Z", "--until", "2026-09-25T00:00:00Z")
    assert made.build(tmp_path / "it", "--sample", "1", period=beyond) == 2
    assert "no head of the log gives a seed" in capsys.readouterr().err
    assert made.build(tmp_path / "it", "--sample", "1", "--seed", "x", "--accept", "gap", period=beyond) in {0, 3}


def test_what_is_redacted_is_not_in_the_list(made, tmp_path, monkeypatch):
    """Keys too, by masks that last; the counts are those of the items behind the masks."""
    monkeypatch.setenv("DDBTRAIL_REDACTION_KEY", "00" * 32)
    named = f'[archives.it]\nurl = "{made.archive}"\n[archives.it.tables.orders]\nredact = ["pk"]\n'
    (tmp_path / "ddbtrail.toml").write_text(named)
    items = (MARKUP, "A", FORMULA)
    (tmp_path / "asked.jsonl").write_text("".join(json.dumps({"pk": item}) + "\n" for item in items))
    more = ("--scope", str(tmp_path / "asked.jsonl"), "--pinned-key", str(made.folder / "log.pub"))
    assert run(["evidence", "build", "orders", "-a", "it", *PERIOD, "-O", str(tmp_path / "it"), *more]) == 0
    text = (tmp_path / "it" / "scope.jsonl").read_text()
    assert [json.loads(line)["changes"] for line in text.splitlines()] == [changed()[item] for item in items]
    assert not [item for item in (MARKUP, FORMULA, '"A"') if item in text]


def test_a_seed_is_worth_what_was_agreed_on(made, tmp_path):
    """A period a little longer may reach another head: whoever may choose it may choose the sample, and is told so."""
    made.seal(later=2 * HOUR)
    seeds = set()
    for minutes in (0, 90):
        until = f"@{START + 14 * HOUR + minutes * 60}"
        more = ("--sample", "1", "--accept", "gap")
        period = ("--since", PERIOD[1], "--until", until)
        assert made.build(tmp_path / str(minutes), *more, period=period) in {0, 3}
        told = (tmp_path / str(minutes) / "HOW-TO-VERIFY.txt").read_text()
        assert "who chooses the period" in told
        assert "Agree on all of them before" in told
        command = (tmp_path / str(minutes) / "query.txt").read_text().splitlines()[0].split()
        seeds.add(command[command.index("--seed") + 1])
    assert len(seeds) == 2


# --- what lies beside the period ---


def test_a_change_missing_in_the_period_is_told_by_those_around_it(tmp_path, capsys):
    """Also where all that its item has left lies before the period and after it, and nothing of it in between."""
    records = [one for one in RECORDS if one["dynamodb"]["ApproximateCreationDateTime"] < START + 4 * HOUR]
    of_item = [one for one in records if one["dynamodb"]["Keys"]["pk"]["S"] == "A"]
    lost = next(
        later
        for earlier, later, last in zip(of_item, of_item[1:], of_item[2:], strict=False)
        if later["dynamodb"].get("NewImage") != earlier["dynamodb"].get("NewImage")
        and last["dynamodb"]["ApproximateCreationDateTime"] - later["dynamodb"]["ApproximateCreationDateTime"] > 200
        and later["dynamodb"]["ApproximateCreationDateTime"] - earlier["dynamodb"]["ApproximateCreationDateTime"] > 200
    )
    at = lost["dynamodb"]["ApproximateCreationDateTime"]
    period = ("--since", f"@{at - 100}", "--until", f"@{at + 100}")
    for name, kept in (("whole", records), ("torn", [one for one in records if one is not lost])):
        world = World.__new__(World)
        world.folder, world.archive = tmp_path / name, tmp_path / name / "archive"
        world.folder.mkdir()
        create_key(world.folder / "log", "ed25519")
        Writer(FolderStore(world.archive), Streams(key_schema={"orders": ("pk",)})).archive(
            kept, now_ms=(START + 12 * HOUR) * 1000
        )
        world.seal()
        assert world.build(tmp_path / f"{name}-it", period=period) == (0 if name == "whole" else 3)
    told = json.loads((tmp_path / "torn-it" / "coverage.json").read_text())
    assert [one["code"] for one in told["exceptions"]] == ["image-break"]
    assert items_in(tmp_path / "torn-it") == set()
    capsys.readouterr()


# --- a scope that is kept ---


def test_a_saved_scope_asks_what_its_words_would(made, tmp_path):
    """The same package, byte for byte; items are looked for beside the file."""
    folder = tmp_path / "kept"
    folder.mkdir()
    (folder / "asked.jsonl").write_text('{"pk":"A"}\n{"pk":"B"}\n')
    since, until = PERIOD[1], PERIOD[3]
    (folder / "q3.TOML").write_text(
        f'tables = ["payments", "orders"]\nsince = "{since}"\nuntil = "{until}"\nattr = ["owner"]\nop = "modify"\n'
        'items = "asked.jsonl"\nsample = 1\nseed = "a-word"\n'
    )
    assert made.build(tmp_path / "saved", "--scope", str(folder / "q3.TOML"), period=()) == 0
    typed = (
        "--scope",
        str(folder / "asked.jsonl"),
        "--attr",
        "owner",
        "--op",
        "modify",
        "--sample",
        "1",
        "--seed",
        "a-word",
    )
    assert made.build(tmp_path / "typed", *typed) == 0
    saved, other = (
        {path.name: path.read_bytes() for path in (tmp_path / name).iterdir()} for name in ("saved", "typed")
    )
    assert saved == other
    assert len(items_in(tmp_path / "saved")) <= 1


def test_the_period_of_a_saved_scope_may_be_typed(made, tmp_path):
    (tmp_path / "q.toml").write_text('attr = ["owner"]\n')
    assert made.build(tmp_path / "it", "--scope", str(tmp_path / "q.toml")) == 0


@pytest.mark.parametrize(
    ("content", "more", "words"),
    [
        ('atr = ["owner"]', (), "did you mean 'attr'?"),
        ('attr = "owner"', (), "attr must be a list of texts"),
        ("attr = []", (), "attr must be a list of texts"),
        ("sample = true", (), "sample must be a whole number"),
        ("since = 2026-09-15T00:00:00Z", (), "since must be a text in quotes"),
        ("sample = 0", (), "a sample of 0 items"),
        ('seed = "x"', (), "a seed alone"),
        ('tables = ["payments"]', (), "is not about orders"),
        ('tables = ["rders"]', (), "is not about orders"),
        ('attr = ["owner"]', ("--attr", "status"), "--attr was typed"),
        ('during = "2026-Q3"', (), "a period was typed"),
        ('items = "nowhere.jsonl"', (), "could not read"),
        ("attr = [", (), "is not valid TOML"),
    ],
)
def test_a_saved_scope_that_cannot_be_asked(made, tmp_path, capsys, monkeypatch, content, more, words):
    (tmp_path / "q.toml").write_text(content)
    monkeypatch.setattr("query.verify.verifier.verify", None)
    assert made.build(tmp_path / "it", "--scope", str(tmp_path / "q.toml"), *more) == 2
    assert words in capsys.readouterr().err
    assert not (tmp_path / "it").exists()


def test_a_saved_scope_that_is_not_there(made, tmp_path, capsys):
    assert made.build(tmp_path / "it", "--scope", str(tmp_path / "nowhere.toml")) == 2
    assert "could not read" in capsys.readouterr().err
