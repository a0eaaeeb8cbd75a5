"""A real change history with known answers, through the real commands: 2,575 states of a public table, 402 items.

The data stands beside the repository; without it these tests are skipped, and say so.
"""

from __future__ import annotations

import json
from pathlib import Path
from random import Random

import pytest

import query
from query.answer import plain_text
from query.source import Access
from query.table import Table
from tests.system.fires import DATA, ddbtrail, lines

pytestmark = [
    pytest.mark.skipif(
        not DATA.is_dir(), reason="the fires data is not there: shared/data/fires beside the repository"
    ),
    pytest.mark.xdist_group("fires"),
]


@pytest.fixture(scope="session")
def disturbed_archive(tmp_path_factory) -> str:
    """Every record at least twice, cut into other batches, in shuffled order, in three deliveries."""
    rng = Random(7)
    records = [record for event in lines("events.jsonl.gz") for record in event["Records"]]
    archive = tmp_path_factory.mktemp("fires-disturbed")
    for turn, size in enumerate((311, 1000, 97)):
        batches = [records[start : start + size] for start in range(0, len(records), size)]
        if turn:
            rng.shuffle(batches)
        for batch in batches:
            rng.shuffle(batch)
        chosen = batches if turn < 2 else batches[::3]
        file = archive.with_suffix(f".{turn}.jsonl")
        file.write_text("".join(json.dumps({"Records": batch}) + "\n" for batch in chosen))
        ddbtrail("archive", str(file), "-a", str(archive))
    return str(archive)


def check_instants(archive: str, instants: list[dict], *more: str) -> None:
    """Through the command, one process's worth of work for each instant."""
    for expected in instants:
        rows = ddbtrail("as-of", "fires", f"@{expected['at']}", "-a", archive, "-o", "jsonl", *more)
        found = {json.dumps([row["item_key"]["UniqueId"]]): row["item"] for row in rows}
        assert len(found) == len(rows)
        assert found == expected["items"], expected["at"]
        assert all({"item_key", "item", "image", "changed_at", "change_id"} <= row.keys() for row in rows)


def check_instants_in_python(table: Table, instants: list[dict]) -> None:
    """Through the Python API, on a trail that is read once."""
    for expected in instants:
        state = table.as_of(f"@{expected['at']}")
        found = {
            json.dumps(list(json.loads(plain_text(one.item_key)).values())): json.loads(plain_text(one.image))
            for one in state.states()
        }
        state.close()
        assert found == expected["items"], expected["at"]


def check_histories(archive: str, tmp_path: Path, *more: str) -> None:
    """All histories in one call, by a file of keys; each must equal what is known, newest first."""
    histories = {json.loads(line["key"])[0]: line["versions"] for line in lines("history.jsonl.gz")}
    keys = tmp_path / "keys.jsonl"
    keys.write_text("".join(json.dumps({"UniqueId": key}) + "\n" for key in histories))
    found: dict[str, list[dict]] = {key: [] for key in histories}
    for row in ddbtrail("history", "fires", "--keys", str(keys), "-a", archive, "-o", "jsonl", *more):
        found[row["item_key"]["UniqueId"]].append(row)
    for key, versions in histories.items():
        assert [told(row) for row in reversed(found[key])] == [
            (version["seq"].zfill(40), version["op"], version["item"]) for version in versions
        ], key


def told(row: dict) -> tuple:
    assert row["table_name"] == "fires"
    assert row["actor"] is None
    return row["sequence_number"], row["op"], row["item"]


def test_all_41_instants_come_out_exactly(fires_archive):
    """The table as of each known instant equals the state that was published then."""
    instants = lines("expected.jsonl.gz")
    assert len(instants) == 41
    check_instants_in_python(query.open(fires_archive).table("fires"), instants)


@pytest.mark.parametrize("every", [5, pytest.param(1, marks=pytest.mark.long)])
def test_the_command_prints_the_same_tables(every, fires_archive):
    """Some of the instants in `make test`: the command reads the whole trail for each."""
    check_instants(fires_archive, lines("expected.jsonl.gz")[::every])


def test_all_402_histories_come_out_exactly(fires_archive, tmp_path):
    """Every version of every item, in order, with its content."""
    check_histories(fires_archive, tmp_path)


def test_a_history_by_positional_key(fires_archive):
    """The interface that scripts use: one key, one change a line, newest first."""
    longest = max(lines("history.jsonl.gz"), key=lambda line: len(line["versions"]))
    rows = ddbtrail("history", "fires", json.loads(longest["key"])[0], "-a", fires_archive, "-o", "jsonl")
    assert len(rows) == len(longest["versions"]) == 269
    assert rows[-1]["op"] == "INSERT"


def test_the_same_again_delivered_twice_cut_differently_and_shuffled(disturbed_archive, tmp_path):
    """Answers do not depend on how often, in which batches and in which order records came."""
    check_instants_in_python(query.open(disturbed_archive).table("fires"), lines("expected.jsonl.gz"))
    check_instants(disturbed_archive, lines("expected.jsonl.gz")[10:12])
    check_histories(disturbed_archive, tmp_path)


def test_the_same_on_s3(s3_bucket, monkeypatch, tmp_path):
    """The same commands on a bucket; the reader's cache is its own."""
    for name, value in s3_bucket.server.environ().items():
        monkeypatch.setenv(name, value)
    more = ("--endpoint-url", s3_bucket.server.url, "--cache-dir", str(tmp_path / "cache"))
    archive = f"{s3_bucket.url}/trail"
    events = str(DATA / "events.jsonl.gz")
    ddbtrail("archive", events, "--batch", "500", "-a", archive, "--endpoint-url", s3_bucket.server.url)
    table = query.open(archive, access=Access(endpoint_url=s3_bucket.server.url, cache_dir=tmp_path / "cache")).table(
        "fires"
    )
    check_instants_in_python(table, lines("expected.jsonl.gz"))
    check_instants(archive, lines("expected.jsonl.gz")[20:22], *more)
    check_histories(archive, tmp_path, *more)
