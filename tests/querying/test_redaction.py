"""What is redacted leaves in no byte: not of an answer, a file, a note or an error, whatever was asked and how."""

from __future__ import annotations

import base64
import json
import os
import re
from io import BytesIO
from pathlib import Path

import orjson
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from archiver.store import FolderStore
from archiver.streams import Streams
from archiver.writer import Writer
from query.cli import COMMANDS, GROUPED, run
from query.config_values import OUTPUTS
from query.diff import changes, compose_path
from query.opening import open_archive
from query.redaction import Redaction
from tests.campaign import rounds
from tests.delivery import delivered
from tests.oracle import value_of

LABEL = "2026-09-01T00:00:00.000"
ARN = f"arn:aws:dynamodb:eu-west-1:111122223333:table/cards/stream/{LABEL}"
DAY = 1_789_430_400  # 2026-09-15T00:00:00Z
SECRET = "CANARY"
DIGITS = "4929007411112222"
BINARY = base64.b64encode(b"CANARY in bytes").decode()
SIXTEEN = "a key of at least 16 characters"
REDACTED = ["customer", "card", "note", "meta.by", "lines[0].pan", "blob", "code"]
CUSTOMER = f"{SECRET}-customer"


def item(status: str, number: int) -> dict:
    """An item with secrets at every depth and of every kind."""
    return {
        "status": {"S": status},
        "card": {"S": f"{SECRET}-card-{number}"},
        "note": {"M": {"deep": {"L": [{"S": f"{SECRET}-deep"}]}, "set": {"SS": [f"{SECRET}-b", f"{SECRET}-a"]}}},
        "meta": {"M": {"by": {"S": f"{SECRET}-writer"}, "open": {"S": "shown"}}},
        "lines": {"L": [{"M": {"pan": {"S": f"{SECRET}-line"}, "qty": {"N": str(number)}}}]},
        "blob": {"B": BINARY},
        "code": {"N": DIGITS},
    }


def record(number: int, op: str, order: str, old: dict | None, new: dict | None, **rest) -> dict:
    key = {"customer": {"S": CUSTOMER}, "order": {"N": order}}
    where = {"sequence_number": 4_000_000_000_000_000_000_000 + number, "changed_at_s": DAY + number * 60, "arn": ARN}
    return delivered(op, key, old, new, event_id=f"{number:031x}c", **where) | rest


RECORDS = [
    record(1, "INSERT", "1.0", None, item("NEW", 1)),
    record(2, "MODIFY", "1", item("NEW", 1), item("PAID", 2)),
    record(3, "INSERT", "2", None, item("NEW", 3)),
    record(4, "REMOVE", "2", item("NEW", 3), None),
    record(5, "INSERT", "3", None, item("NEW", 4)),
    record(6, "MODIFY", "4", item("NEW", 5), item("PAID", 6)),
    record(7, "MODIFY", "4", item("LOST", 7), item("PAID", 8)),  # what it finds is not what was left
]
CONFLICT = record(5, "INSERT", "3", None, item("OTHER", 4))


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """An archive, sealed and compacted, with a conflict and a break of the image chain; its configuration and keys."""
    folder = tmp_path_factory.mktemp("redaction")
    writer = Writer(FolderStore(folder / "archive"), Streams(key_schema={"cards": ("customer", "order")}))
    writer.archive(RECORDS, now_ms=(DAY + 3600) * 1000)
    writer.archive([CONFLICT], now_ms=(DAY + 3600) * 1000)
    (folder / "ddbtrail.toml").write_text(
        f'default_archive = "it"\n[archives.it]\nurl = "{folder / "archive"}"\n[archives.it.tables.cards]\n'
        f'actor_attribute = "meta.by"\nredact = {json.dumps(REDACTED)}\n'
    )
    archive = ("-a", str(folder / "archive"))
    assert run(("key", "create", str(folder / "seal.key"), "-q")) == 0
    assert run(("seal", "cards", "--signing-key", str(folder / "seal.key"), "-q", *archive)) == 0
    assert run(("compact", "cards", "-q", *archive)) == 0
    events = [json.dumps({"Records": [record(9, "INSERT", "9", None, item("NEW", 9))]})]
    (folder / "events.jsonl").write_text("\n".join(events))
    (folder / "keys.jsonl").write_text(json.dumps({"customer": CUSTOMER, "order": 1}))
    return folder


@pytest.fixture
def ask(place, tmp_path, monkeypatch, capsysbinary):
    """Runs a command beside the configuration; every byte that it wrote, and its exit code."""
    for name in [*os.environ]:
        if name.startswith("DDBTRAIL_"):
            monkeypatch.delenv(name)
    here = tmp_path / "here"
    here.mkdir()
    (here / "ddbtrail.toml").write_text((place / "ddbtrail.toml").read_text())
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(here)

    def asked(*tokens: str) -> tuple[int, str]:
        capsysbinary.readouterr()
        code = run(tokens)
        out, err = capsysbinary.readouterr()
        told = content_of(out) + err.decode()
        for path in sorted(here.iterdir()):
            if path.name != "ddbtrail.toml":
                told += content_of(path.read_bytes())
                path.unlink()
        return code, told

    return asked


def content_of(written: bytes) -> str:
    """What was written, as text; of Parquet the decoded values too."""
    told = written.decode(errors="replace")
    return str(pq.read_table(BytesIO(written)).to_pylist()) + told if written[:4] == b"PAR1" else told


def leaks(told: str) -> list[str]:
    return [secret for secret in (SECRET, DIGITS, BINARY) if secret in told]


KEY = (CUSTOMER, "1")
GONE = (CUSTOMER, "2")
CONTRADICTED = (CUSTOMER, "3")
CHANGES = [
    *("change_id", "item_key", "item", "old_item", "new_image", "old_image", "event", "user_identity", "changes")
]
EVERYTHING = ",".join([*CHANGES, "actor", "actor_source", "actor_reason", "changed_attributes", "segment"])

# What is asked of each command; the exit codes that it may have.
ASKED: dict[str, list[tuple[str, ...]]] = {
    "history": [
        ("cards", *KEY),
        ("cards", *KEY, "-p", "--full"),
        ("cards", *KEY, "-c", EVERYTHING),
        ("cards", CUSTOMER),
        ("cards", CUSTOMER, "-p", "--full"),
        ("cards", *CONTRADICTED),
        ("cards", *KEY, "--explain"),
        ("cards", CUSTOMER, "--explain"),
        ("cards", *KEY, "--attr", "card"),
        ("cards", *KEY, "--op", "remove"),
        ("cards", CUSTOMER, "77"),
        ("cards", "--keys", "KEYS"),
    ],
    "get": [
        ("cards", *KEY),
        ("cards", *KEY, "-o", "ddb-json"),
        ("cards", *KEY, "--at", "first"),
        ("cards", *KEY, "--at", "~9"),
        ("cards", *KEY, "--at", "@ffff"),
        ("cards", *GONE),
        ("cards", CUSTOMER, "77"),
        ("cards", *CONTRADICTED),
        ("cards", *KEY, "--at", "2026-09-01"),
        ("cards", *KEY, "--explain"),
    ],
    "diff": [
        ("cards", *KEY),
        ("cards", *KEY, "-o", "json-patch"),
        ("cards", CUSTOMER, "2", "--from", "~1", "--to", "last"),
        ("cards", CUSTOMER, "2", "--from", "~1", "--to", "last", "-o", "json-patch"),
        ("cards", CUSTOMER, "2", "--from", "first", "--to", "last"),
        ("cards", *KEY, "--from", "~9"),
        ("cards", CUSTOMER, "77"),
    ],
    "blame": [
        ("cards", *KEY),
        ("cards", *KEY, "--nested", "--removed"),
        ("cards", *KEY, "--attr", "card", "--attr", "meta.by"),
        ("cards", *KEY, "--attr", "nothing"),
        ("cards", CUSTOMER, "4"),
        ("cards", *GONE),
        ("cards", CUSTOMER, "77"),
        ("cards", *CONTRADICTED),
        ("cards", *KEY, "--explain"),
    ],
    "compare": [
        ("cards", "--from", "2026-09-15T00:01:00Z"),
        ("cards", "--from", "2026-09-15T00:01:00Z", "--stat"),
        ("cards", "--from", "2026-09-01"),
        ("cards", "--from", "2026-09-15T00:01:00Z", "-c", "old_image,new_image,changes,item_key"),
    ],
    "stats": [("cards",)],
    "sql": [
        ("FROM cards.changes",),
        ("FROM cards.as_of(now())",),
        ("FROM cards.states('2026-09-15T00:02:00Z')",),
        ("FROM cards.compare('2026-09-15T00:01:00Z', now())",),
        ("FROM cards.versions",),
        ("FROM cards.attribute_changes",),
        ("FROM cards.changes_debezium",),
        ("FROM cards.changes_cdf",),
        ("FROM cards._changes",),
        ("FROM cards._key -- of changes",),
        ("FROM cards.history('nobody')",),
        ("SELECT pk::INTEGER FROM cards.changes",),
        ("SELECT item_key::INTEGER FROM cards.changes",),
        ("SELECT error(new_image) FROM cards.changes",),
    ],
    "duckdb": [("cards",), ()],
    "log": [
        ("cards",),
        ("cards", "--stat"),
        ("cards", "--stat", "--where", "op = 'MODIFY'"),
        ("cards", "--stat", "--actor", "somebody"),
        ("cards", "-p", "--full"),
        ("cards", "-c", EVERYTHING),
        ("cards", "--conflicts"),
        ("cards", "--explain"),
        ("cards", "--where", f"item->>'$.card' LIKE '{SECRET[:3]}%'"),
        ("cards", "--where", "(item->>'$.card')::INTEGER = 1"),
        ("cards", "--where", "(new_image->>'$.code.N')::TINYINT = 1"),
        ("cards", "--where", "pk::INTEGER = 1"),
        ("cards", "--where", "(item_key->>'$.customer')::INTEGER = 1"),
        ("cards", "--where", "actor::INTEGER = 1"),
    ],
    "as-of": [
        ("cards", "now"),
        ("cards", "now", "-o", "ddb-json"),
        ("cards", "now", "--best-effort"),
        ("cards", "now", "--where", "(item->>'$.card')::INTEGER = 1"),
        ("cards", "now", "--where", "(image->>'$.code.N')::TINYINT = 1"),
        ("cards", "now", "--where", "item_key::INTEGER = 1"),
        ("cards", "now", "-c", "item_key,item,image,outcome,basis,reason"),
    ],
    "coverage": [("cards",)],
    "verify": [("cards",), ("cards", "--full")],
    "tail": [("cards", "-p"), ("cards", "-f", "--until-seconds", "0"), ("cards", "-c", EVERYTHING)],
    "prove": [("cards", *KEY, "last"), ("cards", *KEY, "~9"), ("cards", *KEY, "last", "--digests-only")],
    "tables": [()],
    "config show": [(), ("--origin",)],
}
# What those say is none of the items', or they talk to AWS.
SAY_NOTHING_OF_ITEMS = {
    *("seal", "acknowledge", "compact", "gc", "athena", "key create", "cost", "archive", "baseline"),
    *("follow", "replay", "doctor", "status", "verify-proof", "evidence verify", "demo"),
    "evidence build",  # what it writes is many files: a test of its own
}


def test_every_command_is_asked():
    """A command that comes anew has to be tried here, or it is said why it need not be."""
    known = {name for name, *_ in COMMANDS}
    known |= {f"{group} {name}" for group, _, _, members in GROUPED for name, _ in members}
    assert known == set(ASKED) | SAY_NOTHING_OF_ITEMS
    assert not set(ASKED) & SAY_NOTHING_OF_ITEMS


WAYS = (("-o", "table"), ("-o", "json"), ("-O", "file.parquet"))


@pytest.mark.parametrize("command", sorted(ASKED))
@pytest.mark.parametrize("turn", rounds(1, len(WAYS)))
def test_what_is_redacted_is_in_no_output(command, turn, ask, place):
    """Each question, answered or refused, to the terminal or into a file, in turns (`make test-long` has each in all); the
    first of a command in every format."""
    for number, question in enumerate(ASKED[command]):
        tokens = [str(place / "keys.jsonl") if token == "KEYS" else token for token in question]
        every = [*WAYS, *(("-o", output) for output in OUTPUTS)]
        ways = every if number == turn == 0 else [WAYS[(number + turn) % len(WAYS)]]
        for way in ways if "-o" not in question else [()]:
            code, told = ask(*command.split(), *tokens, *way)
            assert code in {0, 1, 2, 3, 4}
            assert "ddbtrail failed" not in told, (tokens, way, told)
            assert not leaks(told), (command, tokens, way, told[:2000])


def test_the_canary_is_seen_where_nothing_is_redacted(ask, place):
    """The test above must be able to fail: without the setting the same answers hold every secret."""
    Path("ddbtrail.toml").write_text(f'default_archive = "it"\n[archives.it]\nurl = "{place / "archive"}"\n')
    for command, question in (
        ("history", ("cards", *KEY)),
        ("log", ("cards", "-p", "--full")),
        ("as-of", ("cards", "now")),
    ):
        _, told = ask(command, *question)
        assert leaks(told), command
    _, told = ask("get", "cards", *CONTRADICTED)
    assert SECRET in told


def test_a_proof_is_shown_masked(ask, place):
    """Whoever checks a proof under the same configuration sees no more of it than of the item."""
    Path("ddbtrail.toml").unlink()
    archive = ("-a", str(place / "archive"))
    assert run(("prove", "cards", *KEY, "last", *archive, "-O", str(place / "proof.json"), "-q")) == 0
    Path("ddbtrail.toml").write_text((place / "ddbtrail.toml").read_text())
    assert SECRET in (place / "proof.json").read_text()
    code, told = ask("verify-proof", str(place / "proof.json"), "--pinned-key", str(place / "seal.key.pub"))
    assert code == 0
    assert not leaks(told)


def test_what_is_redacted_is_in_no_file_of_a_package(ask, place, tmp_path, monkeypatch):
    """Nor in what is said while it is built; and without a key that lasts there is no package."""
    period = ("--since", "2026-09-15T00:00:00Z", "--until", "2026-09-15T01:00:00Z")
    build = ("evidence", "build", "cards", *period, "--attr", "card", "--actor", f"{SECRET}-writer")
    monkeypatch.delenv("DDBTRAIL_REDACTION_KEY", raising=False)
    settings = Path("ddbtrail.toml").read_text()
    Path("ddbtrail.toml").write_text(re.sub("redaction_key.*\n", "", settings))
    assert ask(*build, "-O", str(tmp_path / "none"))[0] == 2
    monkeypatch.setenv("DDBTRAIL_REDACTION_KEY", SIXTEEN)
    for number, tokens in enumerate(
        (build[:-2], build[:-4], (*build[:-4], "--key", f"customer={CUSTOMER}", "--key", "order=1"))
    ):
        target = tmp_path / f"masked-{number}"
        code, told = ask(*tokens, "-O", str(target))
        assert code in {1, 3, 4}, told
        told += "".join(content_of(path.read_bytes()) for path in sorted(target.iterdir()))
        assert not leaks(told), (tokens, told[:3000])
        assert "[redacted:" in told
    _, told = ask(*build, "-O", str(tmp_path / "by-actor"))
    assert not leaks(told + "".join(content_of(path.read_bytes()) for path in (tmp_path / "by-actor").iterdir()))
    Path("ddbtrail.toml").write_text(f'default_archive = "it"\n[archives.it]\nurl = "{place / "archive"}"\n')
    ask(*build[:-4], "-O", str(tmp_path / "plain"))
    assert leaks("".join(content_of(path.read_bytes()) for path in (tmp_path / "plain").iterdir()))


def test_equal_values_have_equal_masks_under_one_key(ask, monkeypatch):
    """So a reviewer can say "the same card in both" without having seen it; another key says nothing."""

    def masks(key: str) -> list[str]:
        monkeypatch.setenv("DDBTRAIL_REDACTION_KEY", key)
        _, told = ask("history", "cards", *KEY, "-o", "jsonl", "-q")
        newest, first = (json.loads(line)["item"] for line in told.splitlines())
        assert newest["code"] == first["code"]
        assert newest["card"] != first["card"]
        return re.findall(r"\[redacted:[0-9a-f]{16}\]", told)

    once, again, other = masks(SIXTEEN), masks(SIXTEEN), masks(SIXTEEN + "!")
    assert once == again
    assert len(once) == len(other)
    assert not set(once) & set(other)


def test_without_a_key_masks_of_two_answers_are_not_comparable_and_it_is_said(ask):
    """A key that nobody chose is kept by nobody."""
    (_, one), (_, other) = (ask("history", "cards", *KEY) for _ in range(2))
    assert "in this answer only" in one
    found, others = (set(re.findall(r"\[redacted:[0-9a-f]{16}\]", told)) for told in (one, other))
    assert found
    assert not found & others


def test_the_key_is_shown_by_no_command(ask, monkeypatch):
    """Whoever has it can try values until one fits."""
    monkeypatch.setenv("DDBTRAIL_REDACTION_KEY", "CANARY of at least 16 characters")
    code, told = ask("config", "show", "--origin", "-o", "json")
    assert code == 0
    assert "redaction_key" in told
    assert not leaks(told)
    monkeypatch.setenv("DDBTRAIL_REDACTION_KEY", "CANARY")
    code, told = ask("config", "show")
    assert code == 2
    assert "16 characters" in told
    assert not leaks(told)


def test_a_condition_can_ask_for_equal_values_and_for_no_others(ask, monkeypatch):
    """Masked values match by their mask; a guess at the value itself finds nothing."""
    monkeypatch.setenv("DDBTRAIL_REDACTION_KEY", SIXTEEN)
    mask = Redaction.of(["card"], SIXTEEN.encode()).mask({"S": f"{SECRET}-card-2"})
    assert ask("log", "cards", "--where", f"item->>'$.card' = '{mask}'")[0] in {0, 4}  # 4 names the conflict
    _, found = ask("log", "cards", "--where", f"item->>'$.card' = '{mask}'", "-q", "-o", "jsonl")
    assert [json.loads(line)["op"] for line in found.splitlines() if line.startswith("{")] == ["MODIFY"]
    _, none = ask("log", "cards", "--where", f"item->>'$.card' = '{SECRET}-card-2'", "-q", "-o", "jsonl")
    assert not [line for line in none.splitlines() if line.startswith("{")]


def test_in_python_words_are_masked_and_images_are_not(place):
    """Whoever opens the archive in Python has the evidence; what becomes text of it is masked all the same."""
    archive = open_archive(str(place / "archive"), redact={"cards": REDACTED}, redaction_key=b"x")
    table = archive.table("cards")
    found = table.item(*KEY)
    assert SECRET in str(found.versions[-1].item)
    assert SECRET not in found.plan.question
    with pytest.raises(Exception, match="redacted"):
        table.item(*CONTRADICTED).state()


NAMES = st.sampled_from(["a", "b", "c"])
VALUES = st.recursive(
    st.sampled_from([{"S": "x"}, {"S": "y"}, {"N": "1"}, {"N": "1.0"}, {"SS": ["p", "q"]}, {"SS": ["q", "p"]}]),
    lambda inner: (
        st.dictionaries(NAMES, inner, max_size=3).map(lambda found: {"M": found})
        | st.lists(inner, max_size=3).map(lambda found: {"L": found})
    ),
    max_leaves=8,
)
ITEMS = st.dictionaries(NAMES, VALUES, max_size=3)
PATHS = st.lists(st.tuples(NAMES, st.lists(NAMES | st.integers(0, 2), max_size=2)), max_size=3)


def leaves(value: dict, steps: tuple = ()) -> dict[tuple, dict]:
    """Every value that holds no other, by its path."""
    ((tag, content),) = value.items()
    inside = content.items() if tag == "M" else enumerate(content) if tag == "L" else ()
    found = {path: leaf for step, below in inside for path, leaf in leaves(below, (*steps, step)).items()}
    return found or {steps: value}


@given(ITEMS, ITEMS, PATHS)
def test_exactly_what_lies_below_a_path_is_masked(old, new, paths):
    """Nothing more, or answers are useless; nothing less. Masks are equal exactly where values are."""
    chosen = [(name, *rest) for name, rest in paths]
    redaction = Redaction.of([compose_path(path) for path in chosen], b"key")
    masked = orjson.loads(redaction.image(orjson.dumps(old).decode()) or "{}")
    shown = {path: leaf for path, leaf in leaves({"M": masked}).items() if path}
    for path, leaf in leaves({"M": old}).items():
        is_covered = any(path[: len(one)] == one for one in chosen)
        assert not path or is_covered or shown[path] == leaf
    for path, leaf in shown.items():
        is_covered = any(path[: len(one)] == one for one in chosen)
        assert is_covered == str(leaf.get("S", "")).startswith("[redacted:")
    for change in changes(old, new):
        told = redaction.change(change)
        for value in (told.old_value, told.new_value):
            for path, leaf in leaves(value).items() if value is not None else ():
                whole = change.steps + path
                is_covered = any(whole[: len(one)] == one for one in chosen)
                assert is_covered == str(leaf.get("S", "")).startswith("[redacted:")


@given(VALUES, VALUES)
@example({"N": "1"}, {"N": "1.0"})
@example({"L": [{"SS": ["p", "q"]}]}, {"L": [{"SS": ["q", "p"]}]})
@example({"N": "1"}, {"S": "1"})
def test_masks_are_equal_where_values_are(one, other):
    """By value: the order of a set and the spelling of a number are not part of it."""
    redaction = Redaction.of(["a"], b"key")
    assert (redaction.mask(one) == redaction.mask(other)) == (value_of(one) == value_of(other))


def test_item_keys_in_words_are_masked():
    """Findings and errors name items as the JSON that evidence holds."""
    redaction = Redaction.of(["pk"], b"key")
    mask = redaction.mask({"S": "x"})
    text = 'MODIFY of {"pk":{"S":"x"},"sk":{"S":"y"}} is missing, beside {"pk":{"S":"x"}} and {"pk": 1} and {"'
    assert redaction.text(text) == (
        f'MODIFY of {{"pk":{{"S":"{mask}"}},"sk":{{"S":"y"}}}} is missing, beside {{"pk":{{"S":"{mask}"}}}}'
        ' and {"pk": 1} and {"'
    )
