"""The sample archive: what it holds is what its story tells, whoever writes it and whenever; and whoever has a copy of
the folder, and no AWS account, gets the answers.
"""

import json
import os
import shlex
import shutil
import subprocess
import sys
from collections import Counter

import orjson
import pytest

import query
from archiver.format.values import comparable_attributes
from query.cli.demo import COMMANDS
from query.cli.sample import write_sample
from query.cli.sample_story import tables
from query.errors import UsageError


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sample") / "shop"
    write_sample(folder)
    return folder


@pytest.fixture
def copy(sample, tmp_path):
    """What somebody got on a stick."""
    return shutil.copytree(sample, tmp_path / "copy")


def ask(folder, line, *, home):
    """A command as it is typed in the folder, on a machine that knows nothing of AWS."""
    environment = {"PATH": os.environ["PATH"], "HOME": str(home), "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", "from query.cli import main; main()", *shlex.split(line)]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def contents(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def held(state):
    return {one.item_key: comparable_attributes(orjson.loads(one.image)) for one in state.states()}


def told(table):
    """The items of a table as its story left them."""
    return {
        orjson.dumps({name: item[name] for name, _ in sorted(table.key)}).decode(): comparable_attributes(item)
        for item in table.items.values()
    }


def test_the_same_bytes_are_written_every_time(sample, tmp_path):
    """What a page shows of the sample is what everybody sees who writes it."""
    write_sample(tmp_path / "again")
    assert contents(tmp_path / "again") == contents(sample)


def test_a_sample_that_is_there_stays(copy):
    before = {path: path.stat().st_mtime_ns for path in copy.rglob("*")}
    assert not write_sample(copy).is_new
    assert {path: path.stat().st_mtime_ns for path in copy.rglob("*")} == before


def test_a_folder_that_holds_something_else_is_left_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(UsageError):
        write_sample(tmp_path)
    assert contents(tmp_path) == {"thesis.txt": b"mine"}


def test_a_copied_configuration_is_no_sample(copy, tmp_path):
    """It says where the archive lies, and none is there."""
    other = tmp_path / "other"
    other.mkdir()
    (other / "ddbtrail.toml").write_bytes((copy / "ddbtrail.toml").read_bytes())
    before = contents(other)
    with pytest.raises(UsageError):
        write_sample(other)
    assert contents(other) == before


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="could not make the folder") as told:
        write_sample(tmp_path / "file" / "shop")
    assert told.value.why


def test_an_interrupted_sample_is_not_taken_for_one(copy):
    """The configuration is written last: without it, something may be missing."""
    (copy / "ddbtrail.toml").unlink()
    before = contents(copy)
    with pytest.raises(UsageError):
        write_sample(copy)
    assert contents(copy) == before


@pytest.mark.parametrize("name", ["customers", "orders"])
def test_the_archive_gives_the_table_that_the_story_left(sample, name):
    """The story knows nothing of trails: it only remembers what it wrote."""
    story = next(table for table in tables() if table.name == name)
    state = query.open(str(sample / "archive")).table(name).as_of("2026-10-01T00:00:00Z")
    assert state.unknown == 0
    assert held(state) == told(story)


def test_every_change_that_was_delivered_is_in_the_log_once(sample):
    for story in tables():
        delivered = Counter(one["eventName"] for batch in story.batches if not batch.is_lost for one in batch.records)
        found = query.open(str(sample / "archive")).table(story.name).log()
        assert Counter(change.op for change in found) == delivered


def test_there_is_something_of_every_kind():
    """What the command promises: deletes by people and by TTL, numbers of 38 digits, sets, binary, documents, a gap,
    and something lost."""
    customers, orders, stock = tables()
    records = [one for table in (customers, orders, stock) for batch in table.batches for one in batch.records]
    removed = [one for one in records if one["eventName"] == "REMOVE"]
    assert {"userIdentity" in one for one in removed} == {True, False}
    assert len({batch.records[0]["eventSourceARN"] for batch in orders.batches}) == 2
    assert sum(batch.is_lost for batch in stock.batches) == 1
    values = [value for one in records for value in one["dynamodb"].get("NewImage", {}).values()]
    assert {tag for value in values for tag in value} == {"S", "N", "B", "SS", "NS", "L", "BOOL", "NULL"}
    assert max(len(value["N"].lstrip("-").replace(".", "").lstrip("0")) for value in values if "N" in value) == 38


@pytest.mark.parametrize("line", COMMANDS)
def test_what_the_command_tells_to_type_answers(sample, line, tmp_path):
    """All but one: coverage says that the afternoon without a stream is missing."""
    done = ask(sample, line, home=tmp_path)
    assert done.returncode == (3 if line.startswith("coverage") else 0), done.stderr
    assert ("verified:" in done.stderr) if line.startswith("verify") else done.stdout


def test_who_set_this_attribute(copy, tmp_path):
    """One command, a copied folder, no AWS. The story knows who was the last to set it."""
    story = tables()[0]
    last = max(
        (
            one["dynamodb"]
            for batch in story.batches
            for one in batch.records
            if one["dynamodb"]["Keys"]["number"] == {"N": "7"}
            and one["dynamodb"]["OldImage"]["credit_limit"] != one["dynamodb"]["NewImage"]["credit_limit"]
        ),
        key=lambda record: int(record["SequenceNumber"]),
    )
    done = ask(copy, "blame customers 7 --attr credit_limit", home=tmp_path)
    row = json.loads(done.stdout)
    assert (done.returncode, row["actor"]) == (0, last["NewImage"]["updated_by"]["S"])
    assert str(row["value"]) == last["NewImage"]["credit_limit"]["N"]


def test_what_changed_in_the_quarter(copy, tmp_path):
    done = ask(copy, "log orders --during 2026-Q3", home=tmp_path)
    begin, end = 1_782_864_000, 1_790_812_800  # 1 July and 1 October 2026
    delivered = [
        one["eventID"]
        for batch in tables()[1].batches
        for one in batch.records
        if begin <= one["dynamodb"]["ApproximateCreationDateTime"] < end
    ]
    assert done.returncode == 0
    assert sorted(json.loads(line)["change_id"] for line in done.stdout.splitlines()) == sorted(delivered)


def test_prove_it(copy, tmp_path):
    """0 for the folder as it was copied; and 1, with the name, as soon as one bit of it is another."""
    line = "verify customers --pinned-key sample.key.pub --during 2026-Q3 -o json"
    done = ask(copy, line, home=tmp_path)
    assert (done.returncode, json.loads(done.stdout)["findings"]) == (0, [])
    segment = min((copy / "archive").glob("v1/*/*/table_name=customers/segments/dt=2026-08-*/*/*.parquet"))
    content = bytearray(segment.read_bytes())
    content[len(content) // 2] ^= 1
    segment.write_bytes(content)
    done = ask(copy, line, home=tmp_path)
    found = json.loads(done.stdout)["findings"]
    assert (done.returncode, [one["object"].rpartition("/")[2] for one in found]) == (1, [segment.name])
