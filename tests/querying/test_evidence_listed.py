"""What a package says of each item that it was asked for: how many of its changes it has, and of how many."""

from __future__ import annotations

import copy
import json
from hashlib import sha256

import pytest

from archiver.signer import create_key
from archiver.store import FolderStore
from archiver.streams import Streams
from archiver.writer import Writer
from query.cli import run
from tests.querying.test_evidence import FORMULA, HOUR, MARKUP, PERIOD, RECORDS, START, World, outside
from tests.querying.test_evidence_scope import items_in, key_text, population

__all__ = ["outside"]  # a fixture
ITEMS = ("A", "nobody", FORMULA, MARKUP, "B")
INSIDE = [one for one in RECORDS if one["dynamodb"]["ApproximateCreationDateTime"] < START + 3 * HOUR]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return World(tmp_path_factory.mktemp("listed"))


@pytest.fixture(scope="module")
def torn(tmp_path_factory):
    """A world in which two rows tell a change of A in two ways."""
    world = World.__new__(World)
    world.folder = tmp_path_factory.mktemp("torn")
    world.archive = world.folder / "archive"
    create_key(world.folder / "log", "ed25519")
    other = copy.deepcopy(next(one for one in INSIDE if item_of(one) == "A" and one["eventName"] == "MODIFY"))
    other["dynamodb"]["NewImage"]["status"] = {"S": "otherwise"}
    writer = Writer(FolderStore(world.archive), Streams(key_schema={"orders": ("pk",)}))
    for batch in (INSIDE, [other]):
        writer.archive(batch, now_ms=(START + 12 * HOUR) * 1000)
    world.seal()
    return world


def item_of(record):
    return record["dynamodb"]["Keys"]["pk"]["S"]


def is_about(record, attribute):
    old, new = (record["dynamodb"].get(side, {}).get(attribute) for side in ("OldImage", "NewImage"))
    return old != new


def of_each(records):
    """How many changes each item has, by the records themselves."""
    return {item: sum(item_of(one) == item for one in records) for item in ITEMS}


def asked(tmp_path, items=ITEMS):
    (tmp_path / "asked.jsonl").write_text("".join(json.dumps({"pk": item}) + "\n" for item in items))
    return ("--scope", str(tmp_path / "asked.jsonl"))


def lines_of(folder):
    return [json.loads(line) for line in (folder / "scope.jsonl").read_text().splitlines()]


def numbers_of(folder):
    return {one["item_key"]["pk"]: (one["changes"], one["changes_in_period"]) for one in lines_of(folder)}


# --- what else was asked leaves changes out ---


@pytest.mark.parametrize(
    ("more", "holds"),
    [
        ((), lambda record: True),
        (("--op", "remove"), lambda record: record["eventName"] == "REMOVE"),
        (("--attr", "owner"), lambda record: is_about(record, "owner")),
        (("--op", "insert", "--attr", "nothing"), lambda record: False),
    ],
)
def test_changes_that_were_not_asked_about_are_changes(made, tmp_path, capsys, more, holds):
    """An item is without a change only if it had none in the period, whatever the package has of it."""
    assert made.build(tmp_path / "it", *asked(tmp_path), *more) == 0
    inside, all_of = of_each(list(filter(holds, INSIDE))), of_each(INSIDE)
    assert numbers_of(tmp_path / "it") == {item: (inside[item], all_of[item]) for item in ITEMS}
    assert not any(one["is_contradicted"] for one in lines_of(tmp_path / "it"))
    left_out = sum(inside[item] == 0 < all_of[item] for item in ITEMS)
    err = capsys.readouterr().err
    assert "1 item of the scope without a change in the period" in err
    assert ("changed in the period, but not as was asked" in err) == (left_out > 0)
    told = f"1 without a change in the period; {left_out} changed, but not as was asked, or not drawn; 0 of which"
    assert told in (tmp_path / "it" / "REPORT.html").read_text()


def test_items_that_were_not_drawn_are_not_silent(made, tmp_path, capsys):
    """A sample of a list: all but one were left out by the draw, and had changes."""
    assert made.build(tmp_path / "it", *asked(tmp_path), "--sample", "1", "--seed", "1") == 0
    (drawn,) = items_in(tmp_path / "it")
    all_of = of_each(INSIDE)
    assert numbers_of(tmp_path / "it") == {i: (all_of[i] if i == drawn else 0, all_of[i]) for i in ITEMS}
    err = capsys.readouterr().err
    assert "1 item of the scope without a change in the period" in err
    assert "3 items of the scope changed in the period, but not as was asked, or not drawn" in err


# --- evidence contradicts itself ---


@pytest.mark.parametrize("more", [(), ("--op", "remove")])
def test_an_item_told_in_two_ways_is_not_told_to_be_silent(torn, tmp_path, capsys, more):
    """It is in no file of changes; its line, the page and the command say why."""
    assert torn.build(tmp_path / "it", *asked(tmp_path), *more) == 1
    told = {one["item_key"]["pk"]: one for one in lines_of(tmp_path / "it")}
    assert {item for item, one in told.items() if one["is_contradicted"]} == {"A"}
    assert (told["A"]["changes"], told["A"]["changes_in_period"]) == (0, of_each(INSIDE)["A"])
    left_out = sum(one["changes"] == 0 < one["changes_in_period"] for item, one in told.items() if item != "A")
    counts = f"; {left_out} changed, but not as was asked, or not drawn; 1 of which evidence contradicts itself"
    assert counts in (tmp_path / "it" / "REPORT.html").read_text()
    err = capsys.readouterr().err
    assert "1 item of the scope without a change in the period" in err
    assert "1 item of the scope left out, as evidence contradicts itself" in err


@pytest.mark.parametrize("size", [1, 4])
@pytest.mark.parametrize("more", [(), ("--op", "remove"), ("--attr", "nothing")])
def test_an_item_told_in_two_ways_may_be_drawn(torn, tmp_path, capsys, size, more):
    """Else whoever spoils the evidence of an item takes it out of every sample. If drawn, it is named."""
    seed = next(seed for seed in map(str, range(99)) if first_of(seed) == "A")
    assert torn.build(tmp_path / "it", "--sample", str(size), "--seed", seed, *more) == 1
    assert json.loads(population(tmp_path / "it")[0][1]) == {"pk": {"S": "A"}}
    assert "A" not in items_in(tmp_path / "it")
    named = 'drawn, but left out: evidence contradicts itself: {"pk":{"S":"A"}}'
    assert named in (tmp_path / "it" / "query.txt").read_text()
    assert "drawn, but left out" in (tmp_path / "it" / "REPORT.html").read_text()
    assert "Of some that were drawn evidence contradicts itself" in (tmp_path / "it" / "HOW-TO-VERIFY.txt").read_text()
    capsys.readouterr()


def first_of(seed):
    return min(("A", "B", FORMULA, MARKUP), key=lambda item: sha256(f"{seed}\n{key_text(item)}".encode()).hexdigest())


def test_one_that_was_not_asked_about_is_not_drawn(torn, tmp_path, capsys):
    """The population is of the list, also where evidence contradicts itself about others."""
    more = asked(tmp_path, ("B", MARKUP))
    assert torn.build(tmp_path / "it", *more, "--sample", "9", "--seed", "1") == 1
    assert {json.loads(key)["pk"]["S"] for _, key in population(tmp_path / "it")} == {"B", MARKUP}
    capsys.readouterr()


# --- what is masked ---


@pytest.fixture
def masked(made, tmp_path, monkeypatch):
    """Builds with the key redacted."""
    monkeypatch.setenv("DDBTRAIL_REDACTION_KEY", "00" * 32)
    named = f'[archives.it]\nurl = "{made.archive}"\n[archives.it.tables.orders]\nredact = ["pk"]\n'
    (tmp_path / "ddbtrail.toml").write_text(named)

    def build(target, *more):
        pinned = ("--pinned-key", str(made.folder / "log.pub"))
        return run(["evidence", "build", "orders", "-a", "it", *PERIOD, "-O", str(target), *more, *pinned])

    return build


@pytest.mark.parametrize("by", ["scope", "key"])
def test_a_command_with_masks_says_that_they_are_some(masked, tmp_path, by):
    """The list of a package that is masked is no list to ask with; one without masks is, and its command says nothing."""
    more = asked(tmp_path) if by == "scope" else ("--key", "pk=A")
    assert masked(tmp_path / "it", *more) == 0
    text = (tmp_path / "it" / "query.txt").read_text()
    command = text.splitlines()[0]
    assert "[redacted" in command
    assert "scope.jsonl" not in command
    assert "what is masked in this command has to be typed as it was asked" in text
    assert not [item for item in (MARKUP, FORMULA) if item in text]


def test_a_command_without_masks_says_nothing_of_them(made, tmp_path):
    """It can be typed as it stands."""
    assert made.build(tmp_path / "it", *asked(tmp_path)) == 0
    text = (tmp_path / "it" / "query.txt").read_text()
    assert "--scope scope.jsonl" in text
    assert "masked" not in text


@pytest.mark.parametrize("is_early", [True, False])
def test_no_sample_is_drawn_of_masked_keys(masked, tmp_path, capsys, monkeypatch, is_early):
    """Exit code 2 before anything is verified: whoever has the redaction key would choose, or anybody could guess. Where
    the names of the key attributes are not known before, it shows in the keys.
    """
    if is_early:
        monkeypatch.setattr("query.verify.verifier.verify", None)
    else:
        monkeypatch.setattr("query.cli.evidence_asked.check_sample", lambda *_: None)
    assert masked(tmp_path / "it", "--sample", "2") == 2
    err = capsys.readouterr().err
    assert "no sample can be drawn where keys are redacted" in err
    assert not (tmp_path / "it").exists()
