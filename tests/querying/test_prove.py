"""Proofs from archives that were sealed for real: made, checked, and refused where there is nothing to prove."""

import importlib.util
import json
import os
import shutil
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest

import query
from archiver.format.layout import Trail
from archiver.format.log_entry import KeyRotationEntry
from archiver.format.merkle import CompactRange
from archiver.format.note import Checkpoint
from archiver.format.seal import Seal
from archiver.sealer import Sealer
from archiver.signer import create_key, load_signer, public_key_text, public_pem
from archiver.store import FolderStore
from archiver.streams import Streams
from archiver.writer import Writer
from query.cli import run
from query.errors import UnreadableArchive, UsageError
from query.note_check import fingerprint
from query.prove import Chosen, NotProved, NotSealed, check_proof, prove_change
from query.seal_log import SealMismatch
from query.verify.heads import PinnedCheckpoint
from tests.delivery import delivered
from tests.querying.test_cli import on_terminal

ROOT = Path(__file__).parents[2]
ARN = "arn:aws:dynamodb:eu-west-1:111122223333:table/orders/stream/2026-09-01T00:00:00.000"
TRAIL = Trail("111122223333", "eu-west-1", "orders")
HOUR_S = 1_789_430_400  # 2026-09-15T00:00:00Z
NOW_MS = (HOUR_S + 7_200) * 1000
TTL = {"userIdentity": {"type": "Service", "principalId": "dynamodb.amazonaws.com"}}


def record(number, op, item, old=None, new=None, *, at=HOUR_S, **rest):
    made = delivered(
        op,
        {"pk": {"S": "CUST#7"}, "sk": item},
        old,
        new,
        sequence_number=100_000_000_000_000_000_000 + number,
        changed_at_s=at,
        arn=ARN,
        event_id=f"c{number:07x}{item['N'] * 24}"[:32],
    )
    return made | rest


ONE, TWO = {"N": "1"}, {"N": "2.0"}
FIRST = [
    record(1, "INSERT", ONE, None, {"status": {"S": "NEW"}, "note": {"S": "caf\u00e9 \u202e\x1b[2J"}}),
    record(2, "MODIFY", ONE, {"status": {"S": "NEW"}}, {"status": {"S": "PAID"}}, at=HOUR_S + 1),
    record(3, "INSERT", TWO, None, {}, at=HOUR_S + 1.25),
    record(4, "REMOVE", ONE, {"status": {"S": "PAID"}}, at=HOUR_S + 3_600, **TTL),
    record(5, "MODIFY", TWO, at=HOUR_S + 3_601, newField={"weight": 0.5}),
]
SECOND = [record(6, "MODIFY", TWO, {}, {"n": {"N": "1"}}, at=HOUR_S + 3_602)]
THIRD = [record(7, "MODIFY", TWO, {"n": {"N": "1"}}, {"n": {"N": "2"}}, at=HOUR_S + 3_603)]


class World:
    """A folder with an archive and keys: three batches in four segments, two of the batches sealed."""

    def __init__(self, folder):
        self.folder, self.archive, self.heads = folder, folder / "archive", []

    def made(self):
        folder = self.folder
        for name, kind in (("one", "ed25519"), ("two", "p256"), ("stranger", "ed25519")):
            create_key(folder / name, kind)
        self.archived(FIRST)
        self.heads = [self.sealed("one")]
        # A batch comes again with one change more, and the key is replaced.
        self.archived([*FIRST[3:], *SECOND])
        rotation = KeyRotationEntry(public_key_text(load_signer(folder / "two").public_key))
        self.heads.append(self.sealed("one", also=[rotation], now_ms=NOW_MS + 1))
        self.heads.append(self.sealed("two", now_ms=NOW_MS + 2))
        self.archived(THIRD)
        for number, head in enumerate(self.heads):
            (folder / f"head-{number}").write_bytes(head.compose())
        return self

    def copied(self, folder):
        shutil.copytree(self.folder, folder, dirs_exist_ok=True)
        other = World(folder)
        other.heads = self.heads
        return other

    def archived(self, records):
        Writer(FolderStore(self.archive), Streams({"orders": ("pk", "sk")})).archive(records, now_ms=NOW_MS)

    def sealed(self, key, *, also=(), now_ms=NOW_MS):
        done = Sealer(FolderStore(self.archive), TRAIL, load_signer(self.folder / key)).seal(now_ms, also=also)
        assert done.refused == ()
        return done.head

    def key(self, name):
        return load_signer(self.folder / name).public_key

    @property
    def table(self):
        return query.open(str(self.archive)).table("orders")

    @property
    def source(self):
        return query.open(str(self.archive)).source

    def changes(self):
        return {int(change.sequence_number) % 100: change for change in self.table.changes()}

    def prove(self, number, *, chosen=None, digests_only=False):
        return prove_change(self.source, self.changes()[number], chosen or Chosen(), digests_only=digests_only)[0]


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return World(tmp_path_factory.mktemp("proofs")).made()


@pytest.fixture
def own(world, tmp_path):
    """A world that a test may spoil."""
    return world.copied(tmp_path)


@pytest.fixture(autouse=True)
def outside(tmp_path, monkeypatch):
    """No configuration of the person who runs the tests."""
    for name in [*os.environ]:
        if name.startswith("DDBTRAIL_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)


@cache
def stand_alone():
    spec = importlib.util.spec_from_file_location("verify_proof", ROOT / "docs" / "verify_proof.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# --- made and checked ---


@pytest.mark.parametrize("digests_only", [False, True])
@pytest.mark.parametrize("number", range(1, 7))
def test_every_sealed_change_is_proved(world, number, digests_only):
    """To both checkers, with what the history says: an insert, a deletion by TTL, a fraction, no image at all."""
    proof = world.prove(number, digests_only=digests_only)
    content, key = proof.compose(), world.key("two")
    assert check_proof(content, key) == proof
    proved = stand_alone().check(content, public_pem(key))
    change = world.changes()[number]
    assert (proof.envelope.change_id, proof.envelope.op) == (change.change_id, change.op)
    assert proof.envelope.changed_at_ms == change.changed_at_ms
    assert proof.head == Checkpoint.parse(world.heads[-1].text)
    assert proved["change id"] == change.change_id
    if digests_only:
        assert proof.shown is proved["shown"] is None
        return
    shown = [None if text is None else text.decode() for text in (proof.shown.old, proof.shown.new)]
    assert shown == [change.old_image, change.new_image]
    assert json.loads(proof.shown.keys) == {"pk": {"S": "CUST#7"}, "sk": ONE if number in {1, 2, 4} else TWO}


def test_a_change_that_came_twice_is_proved_from_a_segment_that_is_sealed(own):
    """Which of its segments is sealed is chance; one is enough."""
    own.archived([*FIRST[:2], *THIRD])
    assert own.prove(2).head.size == Checkpoint.parse(own.heads[-1].text).size
    assert len(list(own.archive.rglob("*.parquet"))) == 5, "the first batch has come again, cut otherwise"


def test_a_change_beside_a_sealed_segment_is_not_in_it(own):
    """Its hour and its sequence number would fit: only the rows tell."""
    own.archived([record(2, "INSERT", {"N": "9"}, None, {}, at=HOUR_S + 1)])
    (change,) = (change for change in own.table.changes() if '"9"' in change.item_key)
    with pytest.raises(NotSealed, match="is not in the log of") as told:
        prove_change(own.source, change, Chosen(), digests_only=False)
    assert "no seal names its segment" in told.value.why


def test_the_sealed_segment_is_named_as_the_log_has_it(world):
    """Place in the log and in the segment are those that the evidence has."""
    proof = world.prove(2)
    assert (world.archive / TRAIL.prefix / proof.segment.path).stat().st_size == proof.segment.bytes
    assert proof.record_index == 1
    assert proof.segment.records == 3


class Counted:
    """A source that remembers which objects it was asked for."""

    def __init__(self, source):
        self.source, self.fetched = source, []

    def __getattr__(self, name):
        return getattr(self.source, name)

    def fetch(self, wanted):
        self.fetched += [stored.name for stored in wanted]
        return self.source.fetch(wanted)


def test_one_segment_is_read(world):
    """A trail has thousands; the log says which of them can hold the change."""
    source = Counted(world.source)
    prove_change(source, world.changes()[6], Chosen(), digests_only=False)
    assert len([name for name in source.fetched if name.endswith(".parquet")]) == 1


# --- which head ---


def test_after_a_rotation_a_proof_against_the_old_key_is_to_be_had(world):
    """Whoever pinned the first key can check what was sealed until it handed over."""
    old = Chosen(key=world.key("one"))
    proof = world.prove(6, chosen=old)
    assert proof.head == Checkpoint.parse(world.heads[1].text)
    assert check_proof(proof.compose(), world.key("one")) == proof
    with pytest.raises(NotProved, match="not signed with the pinned key") as told:
        check_proof(proof.compose(), world.key("two"))
    assert "--checkpoint-of" in told.value.hint
    with pytest.raises(NotSealed, match="signed with that key"):
        world.prove(6, chosen=Chosen(key=world.key("stranger")))


def test_a_proof_against_a_pinned_head_leads_to_that_very_head(world):
    """A reviewer who has kept a checkpoint need not believe that the log still is the same."""
    pinned = PinnedCheckpoint.load(world.folder / "head-0").head
    proof = world.prove(2, chosen=Chosen(pinned=pinned))
    assert proof.head == pinned
    assert check_proof(proof.compose(), world.key("one"), pinned) == proof
    for other in (PinnedCheckpoint.load(world.folder / "head-1").head, replace(pinned, origin=pinned.origin + "2")):
        with pytest.raises(NotProved, match="another head") as told:
            check_proof(proof.compose(), world.key("one"), other)
        assert "--pinned-checkpoint" in told.value.hint
    with pytest.raises(NotProved, match="another head") as told:
        check_proof(proof.compose(), world.key("one"), replace(pinned, root=bytes(32)))
    assert "forked" in told.value.why


def test_a_pinned_head_that_the_log_never_had_is_told(world):
    """A fork, a log cut back, or the checkpoint of another table: three different things."""
    pinned = PinnedCheckpoint.load(world.folder / "head-0").head
    with pytest.raises(SealMismatch, match="never had") as told:
        world.prove(2, chosen=Chosen(pinned=replace(pinned, root=bytes(32))))
    assert "another root" in told.value.why
    with pytest.raises(SealMismatch, match="never had") as told:
        world.prove(2, chosen=Chosen(pinned=replace(pinned, size=1_000)))
    assert "no seal ends there" in told.value.why
    with pytest.raises(UsageError, match="is of the log"):
        world.prove(2, chosen=Chosen(pinned=replace(pinned, origin=pinned.origin + "2")))


# --- what has no proof ---


def test_what_is_not_sealed_has_no_proof_yet(world):
    """And the message says until when the log reaches."""
    with pytest.raises(NotSealed, match="is not in the log of") as told:
        world.prove(7)
    assert told.value.exit_code == 3
    assert "2026-09-15T02:00:00.002Z" in told.value.why
    with pytest.raises(NotSealed, match="is not in the log of") as told:
        world.prove(6, chosen=Chosen(pinned=PinnedCheckpoint.load(world.folder / "head-0").head))
    assert "sealed after that" in told.value.why


def test_a_log_without_a_seal_proves_nothing(own):
    """Nobody has signed anything."""
    shutil.rmtree(own.archive / TRAIL.prefix / "seals")
    with pytest.raises(NotSealed, match="no seal yet"):
        own.prove(1)


def test_a_segment_is_compared_with_its_seal_before_a_row_is_read(own):
    """A file that was written anew with the same rows is not the file that was sealed; a gone one is none."""
    change = own.changes()[2]
    proof = own.prove(2)
    path = own.archive / TRAIL.prefix / proof.segment.path
    content = path.read_bytes()
    for other in (content[:-1] + b"x", b"PAR1", content.replace(b"ddbtrail.writer", b"ddbtrail.Writer")):
        path.chmod(0o600)
        path.write_bytes(other)
        with pytest.raises(SealMismatch, match="not the file that was sealed") as told:
            prove_change(own.source, change, Chosen(), digests_only=False)
        assert (told.value.code, told.value.exit_code) == ("digest-mismatch", 4)
    path.unlink()
    with pytest.raises(UnreadableArchive, match="is gone"):
        prove_change(own.source, change, Chosen(), digests_only=False)
    path.write_bytes(content)
    assert prove_change(own.source, change, Chosen(), digests_only=False)[0] == proof


def test_a_log_that_does_not_hold_together_proves_nothing(own):
    """A proof of a part of it would hide what happened to the rest."""
    seals = sorted((own.archive / TRAIL.prefix / "seals").iterdir())
    seals[1].unlink()
    with pytest.raises(SealMismatch, match="does not fit"):
        own.prove(1)


# --- the commands ---


@pytest.fixture
def ask(world, capsys):
    """Runs a command in this process: exit code, standard output, standard error."""

    def asked(*tokens):
        return run([str(token) for token in tokens]), *capsys.readouterr()

    return asked


@pytest.fixture
def proof_file(world, ask, tmp_path):
    path = tmp_path / "proof.json"
    assert ask("prove", "orders", "CUST#7", "1", "@c0000002", "-a", world.archive, "-O", path)[0] == 0
    return path


def test_prove_writes_the_file_and_nothing_else(world, ask, proof_file):
    """To a file as to a pipe, byte for byte; what it says about it goes to standard error."""
    expected = world.prove(2).compose()
    assert proof_file.read_bytes() == expected
    code, out, err = ask("prove", "orders", "CUST#7", "1", "@c0000002", "-a", world.archive)
    assert (code, out.encode()) == (0, expected)
    assert "proves @c0000002" in err
    assert "MODIFY at 2026-09-15T00:00:01Z" in err
    named = ask("prove", "orders", "last~1", "--key", '{"sk": 1, "pk": "CUST#7"}', "-a", world.archive, "-q")
    assert named == ask("prove", "orders", "CUST#7", "1", "~1", "-a", world.archive, "-q") == (0, out, "")


def test_verify_proof_says_in_words_what_is_proved(world, ask, proof_file):
    """Table, item, operation, time, images, log and key; and what it does not say."""
    code, out, err = ask("verify-proof", proof_file, "--pinned-key", world.folder / "two.pub", "-o", "table")
    assert (code, err) == (0, "")
    for text in (
        *("verified: ", "nothing else happened, it does not say", "111122223333/eu-west-1/orders", "MODIFY"),
        *('{"pk":{"S":"CUST#7"},"sk":{"N":"1"}}', "2026-09-15T00:00:01Z", '"status":{"S":"PAID"}', "none was pinned"),
        *(fingerprint(world.key("two")), f"of {world.prove(2).head.size}, root", "@c0000002"),
    ):
        assert text in out, text


def test_verify_proof_answers_in_json(world, ask, proof_file):
    """The same for scripts, with digests of what may be withheld."""
    code, out, _ = ask("verify-proof", proof_file, "--pinned-key", world.folder / "two.pub", "-o", "json")
    told = json.loads(out)
    proof = world.prove(2)
    assert code == 0
    assert told["verified"] is True
    assert (told["table_name"], told["op"], told["changed_at"]) == ("orders", "MODIFY", "2026-09-15T00:00:01Z")
    assert told["new_image"]["status"] == {"S": "PAID"}
    assert told["keys"] == {"pk": {"S": "CUST#7"}, "sk": ONE}
    assert (told["is_withheld"], told["new_image_sha256"]) == (False, proof.envelope.new)
    assert (told["log_size"], told["log_root"]) == (proof.head.size, proof.head.root.hex())
    assert (told["key_sha256"], told["is_pinned_checkpoint"]) == (fingerprint(world.key("two")), False)


def test_withheld_is_told_as_withheld_and_none_as_none(world, ask, tmp_path):
    """A deletion has no new image; a withheld one is there and not shown."""
    path = tmp_path / "proof.json"
    assert ask("prove", "orders", "CUST#7", "1", "last", "--digests-only", "-a", world.archive, "-O", path)[0] == 0
    _, out, _ = ask("verify-proof", path, "--pinned-key", world.folder / "two.pub", "-o", "table")
    lines = {line[:14].strip(): line[14:] for line in out.splitlines()[1:]}
    assert lines["new image"] == "none"
    assert lines["old image"] == f"withheld, SHA-256 {world.prove(4).envelope.old}"
    assert lines["item key"].startswith("withheld, SHA-256 ")
    assert "dynamodb.amazonaws.com" in lines["made by"]
    assert "PAID" not in out
    told = json.loads(ask("verify-proof", path, "--pinned-key", world.folder / "two.pub", "-o", "json")[1])
    assert (told["is_withheld"], told["keys"], told["old_image"], told["new_image_sha256"]) == (True, None, None, None)


def test_nothing_in_an_image_steers_a_terminal(world, ask, tmp_path):
    """Who wrote the item chose its text."""
    path, tokens = tmp_path / "proof.json", ("prove", "orders", "CUST#7", "1", "first", "-a", str(world.archive))
    code, shown = on_terminal([*tokens, "-q"], {**os.environ, "PYTHONPATH": str(ROOT)})
    assert (code, shown[:15]) == (0, '{"checkpoint":"')
    assert "\u202e" not in shown
    assert ask(*tokens, "-O", path)[0] == 0
    assert "\u202e" in path.read_text(encoding="utf-8")
    code, out, _ = ask("verify-proof", path, "--pinned-key", world.folder / "two.pub", "-o", "table")
    assert code == 0
    assert "caf\u00e9" in out
    assert "\u202e" not in out
    assert "\x1b" not in out


def test_exit_codes_of_verify_proof(world, ask, proof_file, tmp_path):
    """0 proved, 1 not proved, 2 wrongly asked, 4 not read: a script compares them."""
    key, heads = world.folder / "two.pub", [world.folder / f"head-{number}" for number in range(3)]
    pinned = ("--pinned-key", key, "--pinned-checkpoint", heads[2])
    code, out, _ = ask("verify-proof", proof_file, *pinned)
    assert (code, json.loads(out)["is_pinned_checkpoint"]) == (0, True)
    assert "  checkpoint  the pinned one\n" in ask("verify-proof", proof_file, *pinned, "-o", "table")[1]
    code, out, _ = ask("verify-proof", proof_file, "--pinned-key", key, "--pinned-checkpoint", heads[0])
    assert code == 1
    assert json.loads(out) == {
        "verified": False,
        "reason": json.loads(out)["reason"],
        "key_sha256": fingerprint(world.key("two")),
    }
    assert "another head" in json.loads(out)["reason"]
    assert ask("verify-proof", proof_file, "--pinned-key", world.folder / "one.pub")[0] == 1
    code, out, err = ask("verify-proof", proof_file, "--pinned-key", world.folder / "stranger.pub", "-o", "table")
    assert (code, out) == (1, "")
    assert "not signed with the pinned key" in err
    bent = tmp_path / "bent.json"
    bent.write_bytes(proof_file.read_bytes()[:-1])
    assert ask("verify-proof", bent, "--pinned-key", key)[0] == 1
    for tokens in (
        (proof_file,),
        (proof_file, "--pinned-key", world.folder / "two"),
        (proof_file, "--pinned-key", tmp_path / "absent"),
        (proof_file, "--pinned-key", key, "--pinned-checkpoint", tmp_path / "absent"),
        (proof_file, "--pinned-key", key, "--pinned-checkpoint", proof_file),
    ):
        assert ask("verify-proof", *tokens)[0] == 2, tokens
    assert ask("verify-proof", tmp_path / "absent", "--pinned-key", key)[0] == 4
    assert ask("verify-proof", tmp_path, "--pinned-key", key)[0] == 4


def test_exit_codes_of_prove(world, ask):
    """3 while it is not sealed, 1 for a change that is none, 2 for a question that is none."""

    def code(*tokens):
        return ask("prove", "orders", *tokens, "-a", world.archive)[0]

    heads = [world.folder / f"head-{number}" for number in range(3)]
    assert code("CUST#7", "2", "last") == 3
    assert code("CUST#7", "2", "last~1") == 0
    assert code("CUST#7", "2", "last~1", "--pinned-checkpoint", heads[0]) == 3
    assert code("CUST#7", "2", "last~1", "--pinned-checkpoint", heads[1]) == 0
    assert code("CUST#7", "2", "last~1", "--checkpoint-of", world.folder / "one.pub") == 0
    assert code("CUST#7", "2", "last~1", "--checkpoint-of", world.folder / "stranger.pub") == 3
    assert code("CUST#7", "2", "@ffff") == 1
    assert code() == code("CUST#7", "1") == code("CUST#7", "1", "2026-09-15") == code("CUST#7", "1", "@123") == 2
    assert code("CUST#7", "1", "last", "-o", "csv") == 2
    assert code("CUST#7", "last") == 2
    both = ("--pinned-checkpoint", heads[0], "--checkpoint-of", world.folder / "one.pub")
    assert code("CUST#7", "1", "last", *both) == 2


def test_a_table_with_redacted_attributes_gives_digests_only(world, ask, proof_file, tmp_path):
    """A proof cannot mask a part of an image, and a setting that says "never shown" means it."""
    (tmp_path / "ddbtrail.toml").write_text(
        f'[archives.prod]\nurl = "{world.archive}"\n[archives.prod.tables.orders]\nredact = ["status"]\n'
    )
    tokens = ("prove", "orders", "CUST#7", "1", "@c0000002", "-a", "prod")
    code, out, err = ask(*tokens)
    assert (code, out) == (2, "")
    assert "--digests-only" in err
    assert ask(*tokens, "--digests-only")[0] == 0
    _, out, _ = ask("verify-proof", proof_file, "--pinned-key", world.folder / "two.pub", "-o", "table", "-a", "prod")
    assert "PAID" not in out
    assert "[redacted:" in out


def test_the_log_of_the_fixture_is_as_described(world):
    """Else the tests above would try less than they say."""
    seals = [Seal.parse(path.read_bytes()) for path in sorted((world.archive / TRAIL.prefix / "seals").iterdir())]
    assert [seal.head for seal in seals] == [Checkpoint.parse(head.text) for head in world.heads]
    kinds = [[entry.type for entry in seal.entries] for seal in seals]
    assert kinds == [
        ["open", "segment", "segment", "interval"],
        ["segment", "key-rotation", "interval"],
        ["interval"],
    ], kinds
    seals[0].check_extends(CompactRange())
