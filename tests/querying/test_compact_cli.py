"""The commands compact and gc as scripts see them, on a folder."""

from __future__ import annotations

import json
import os

import pytest

from archiver.sealer import Sealer
from archiver.signer import create_key, load_signer
from archiver.store import FolderStore
from archiver.streams import Streams
from archiver.writer import Writer
from query.cli import run
from tests.archiving.batches import record
from tests.archiving.test_sealer import TRAIL

HOUR_S = 3600
BEGAN_S = 1_795_400_000 - 1_795_400_000 % HOUR_S  # 2026-11-22, long before any clock that runs this


@pytest.fixture
def archive(tmp_path, monkeypatch):
    """Four hours of one change each, sealed at the end of each."""
    for name in [name for name in os.environ if name.startswith("DDBTRAIL_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    create_key(tmp_path / "key")
    folder = tmp_path / "archive"
    folder.mkdir()
    store = FolderStore(folder)
    writer, sealer = Writer(store, Streams()), Sealer(store, TRAIL, load_signer(tmp_path / "key"))
    for number in range(4):
        at_s = BEGAN_S + number * HOUR_S
        writer.archive([record(number, changed_at_s=at_s)], now_ms=at_s * 1000)
        sealer.seal((at_s + HOUR_S) * 1000 - 1)
    return folder


def asked(capsys, *tokens) -> tuple[int, str, str]:
    code = run([str(token) for token in tokens])
    told = capsys.readouterr()
    return code, told.out, told.err


def lines(out: str) -> list[dict]:
    return [json.loads(line) for line in out.splitlines()]


def test_each_hour_that_is_over_becomes_a_run_and_once(archive, capsys):
    code, out, err = asked(capsys, "compact", TRAIL.table_name, "-a", archive)
    assert code == 0
    made = lines(out)
    assert [one["rows"] for one in made] == [1, 1, 1]
    assert [one["to"] for one in made[:-1]] == [one["from"] for one in made[1:]]
    assert err.count("runs/d1/") == 3
    code, out, err = asked(capsys, "compact", TRAIL.table_name, "-a", archive)
    assert (code, out) == (0, "")
    assert "nothing to do" in err


def test_answers_are_the_same_and_say_what_they_read(archive, capsys):
    log = ("log", TRAIL.table_name, "-a", archive, "-o", "jsonl", "-q")
    before = asked(capsys, *log)
    asked(capsys, "compact", TRAIL.table_name, "-a", archive)
    assert asked(capsys, *log) == asked(capsys, *log, "--no-derived") == before
    code, out, _ = asked(capsys, *log[:-2], "json", "--explain")
    plan = json.loads(out)
    assert code == 0
    assert plan["files_read"] == plan["requests"] == 4  # three runs and the hour that goes on
    assert sum("/runs/" in file["name"] for file in plan["files"]) == 3
    assert plan["bytes"] == sum(file["size_bytes"] for file in plan["files"])
    assert plan["planning"]["requests"] > 0


def test_derived_data_may_lie_elsewhere(archive, capsys, tmp_path):
    held = sorted(path for path in archive.rglob("*") if path.is_file())
    code, out, _ = asked(capsys, "compact", TRAIL.table_name, "-a", archive, "--derived", tmp_path / "derived")
    assert (code, len(lines(out))) == (0, 3)
    assert sorted(path for path in archive.rglob("*") if path.is_file()) == held


def test_what_nobody_lists_goes_after_its_grace_and_nothing_else(archive, capsys):
    asked(capsys, "compact", TRAIL.table_name, "-a", archive)
    run_folder = min((archive / TRAIL.prefix / "runs/d1").iterdir())
    orphan = run_folder / "part-9-0123456789abcdef.parquet"
    orphan.write_bytes(b"left behind")
    held = sorted(path for path in archive.rglob("*") if path.is_file())
    gc = ("gc", TRAIL.table_name, "-a", archive)
    code, out, err = asked(capsys, *gc)
    assert (code, out) == (0, "")  # it is too young
    code, out, err = asked(capsys, *gc, "--grace", "0s", "--dry-run")
    assert [(one["name"].rpartition("/")[2], one["size_bytes"]) for one in lines(out)] == [(orphan.name, 11)]
    assert "would go" in err
    assert orphan.exists()
    code, out, err = asked(capsys, *gc, "--grace", "0s")
    assert (code, len(lines(out))) == (0, 1)
    assert sorted(path for path in archive.rglob("*") if path.is_file()) == [path for path in held if path != orphan]


def test_what_is_not_sealed_is_told(archive, capsys):
    for seal in (archive / TRAIL.prefix / "seals").iterdir():
        seal.unlink()
    code, out, err = asked(capsys, "compact", TRAIL.table_name, "-a", archive)
    assert (code, out) == (0, "")
    assert "nothing is sealed yet" in err


@pytest.mark.parametrize("command", ["compact", "gc"])
def test_runs_are_not_put_into_an_archive_in_s3(command, capsys, archive):
    """Its objects may be locked, and nobody who reads it may delete there."""
    for given in ([], ["--derived", "s3://bucket/prefix"]):
        code, _, err = asked(capsys, command, TRAIL.table_name, "-a", "s3://bucket/prefix", *given)
        assert code == 2
        assert "--derived" in err
