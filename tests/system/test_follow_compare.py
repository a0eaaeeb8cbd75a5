"""`ddbtrail follow --compare` against streams that are not ours: it finds what was taken from a copy of the archive."""

import contextlib
import json
import os
import shutil
import time
from datetime import datetime
from pathlib import Path

import orjson
import pytest

from archiver.format.layout import SegmentName, StreamSource, Trail
from archiver.segment import check_segment
from archiver.store import FolderStore
from archiver.streams import Streams
from archiver.writer import Writer
from query.cli import run
from query.errors import QueryError
from tests.delivery import delivered
from tests.simulator.values import VALUES
from tests.system.parts import REGION
from tests.system.test_follow_ministack import LiveTable, endpoint, follow  # noqa: F401  `endpoint` is a fixture


@pytest.fixture
def table(endpoint):  # noqa: F811
    table = LiveTable(endpoint)
    with contextlib.closing(table.client):
        yield table


def compare(table, capsys, archive="archive", *options):
    """Exit code and document of the comparison."""
    tokens = ["follow", "--compare", "--stream", table.stream_arn, "-a", archive, "--region", REGION, "-o", "json"]
    code = run([*tokens, "--endpoint-url", os.environ["AWS_ENDPOINT_URL"], *options])
    told = capsys.readouterr()
    return code, json.loads(told.out) if told.out else told.err


def everything(folder: Path):
    """Every file below a folder, with content and times."""
    return {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in sorted(folder.rglob("*")) if path.is_file()}


def segment_of(folder: Path, partition_key: str) -> list[Path]:
    """The segments that tell of an item, and of nothing else."""
    found = []
    for path in folder.rglob("*.parquet"):
        trail, place = Trail.parse(path.relative_to(folder).as_posix())
        (label,) = {
            StreamSource.parse(orjson.loads(each.read_bytes())["stream_arn"]).stream_label
            for each in (folder / trail.prefix / "streams").iterdir()
        }
        records = check_segment(path.read_bytes(), StreamSource(trail, label), SegmentName.parse(place))
        keys = {orjson.loads(record.item_key)["sk"]["S"] for record in records}
        if partition_key in keys:
            assert keys == {partition_key}
            found.append(path)
    return found


def test_a_life_that_vanished_from_the_archive_is_found_and_nothing_is_written(table, tmp_path, capsys):
    """Insert, change and delete of an item, all in one segment that is gone: no image and no table tells of it. Compared
    with the whole archive, the same stream finds nothing."""
    table.put(1, {"S": "before"})
    assert follow(table) == 0
    for count in range(2):
        table.put(7, {"S": "a life"}, count)
    table.delete(7)
    assert follow(table) == 0
    table.put(2, {"S": "after"})
    table.put(1, {"S": "after"})
    assert follow(table) == 0
    capsys.readouterr()
    shutil.copytree("archive", "copy")
    (lost,) = segment_of(tmp_path / "copy", "o-7")
    lost.unlink()
    before = everything(tmp_path)

    code, whole = compare(table, capsys, "archive", "--grace", "1s")
    assert (code, whole["read"], whole["agreed"], whole["disagreements"]) == (0, 6, 6, [])

    assert run(["coverage", table.name, "-a", "copy", "-o", "json"]) == 0, "the image chain sees nothing"
    capsys.readouterr()
    code, found = compare_after_grace(table, capsys)
    assert code == 3
    assert (found["missing"], found["agreed"], found["different"], found["invented"]) == (3, 3, 0, 0)
    assert [(one["kind"], one["item_key"]["sk"], one["op"]) for one in found["disagreements"]] == [
        ("missing", "o-7", op) for op in ("INSERT", "MODIFY", "REMOVE")
    ]
    assert everything(tmp_path) == before


def compare_after_grace(table, capsys):
    """The changes are some seconds old by now, and a second is the shortest grace."""
    time.sleep(2.1)
    return compare(table, capsys, "copy", "--grace", "1s")


def test_a_change_that_somebody_invented_exits_1(table, capsys):
    """The archive says that an item changed, and the table's own stream does not."""
    table.put(1, {"S": "x"})
    time.sleep(1.1)
    table.put(2, {"S": "y"})
    assert follow(table) == 0
    capsys.readouterr()
    time.sleep(2.1)
    code, whole = compare(table, capsys, "archive", "--grace", "1s")
    assert (code, whole["agreed"]) == (0, 2)
    key = {"sk": {"S": "o-1"}, "at": {"N": "1"}}
    forged = delivered(
        "REMOVE",
        key,
        {"value": {"S": "x"}, "count": {"N": "0"}},
        sequence_number=10**24,
        changed_at_s=datetime.fromisoformat(whole["invented_would_be_seen"]["since"]).timestamp(),
        arn=table.stream_arn,
        event_id="f" * 32,
    )
    Writer(FolderStore(Path("archive")), Streams()).archive([forged], now_ms=0)
    code, found = compare(table, capsys, "archive", "--grace", "1s")
    assert (code, found["invented"], found["agreed"]) == (1, 1, 2)
    (told,) = found["disagreements"]
    assert (told["kind"], told["item_key"], told["op"]) == ("invented", {"at": 1, "sk": "o-1"}, "REMOVE")
    assert told["segment"].endswith(".parquet")


def test_what_has_not_arrived_yet_is_on_its_way(table, tmp_path, capsys):
    """Ten minutes are given to a batch before anybody is told."""
    (tmp_path / "archive").mkdir()
    table.put(1, {"S": "x"})
    code, found = compare(table, capsys)
    assert (code, found["read"], found["in_flight"], found["missing"]) == (0, 1, 1, 0)


def test_an_archive_that_is_not_there_is_told_before_the_stream_is_read(table, capsys):
    """A day of changes takes its time to read."""
    code, told = compare(table, capsys, "nowhere")
    assert code == QueryError.exit_code
    assert "there is no archive" in told


@pytest.mark.parametrize(
    ("options", "hint"),
    [(["--checkpoint", "x.json"], "leave out --checkpoint"), (["--grace", "soon"], "type for example")],
)
def test_what_makes_no_sense_together_is_refused(table, tmp_path, capsys, options, hint):
    """A position would be kept for nobody."""
    (tmp_path / "archive").mkdir()
    code, told = compare(table, capsys, "archive", *options)
    assert (code, hint in told) == (2, True)


def test_people_see_what_is_missing(table, tmp_path, capsys):
    """The words of every other command: item, short id, time; and what the check cannot see."""
    (tmp_path / "archive").mkdir()
    table.put(1, {"S": "x"})
    time.sleep(2.1)
    tokens = ["follow", "--compare", "--stream", table.stream_arn, "-a", "archive", "--region", REGION, "-o", "table"]
    assert run([*tokens, "--endpoint-url", os.environ["AWS_ENDPOINT_URL"], "--grace", "1s"]) == 3
    out = capsys.readouterr().out
    assert "✗ second-reader: 1 missing in the archive" in out
    assert "missing    at=1 sk=o-1  @" in out
    assert "second-reader cannot see" in out


# --- the live table ---


def coverage(table, capsys, *options):
    """Exit code and document of `coverage`."""
    tokens = ["coverage", table.name, "-a", "archive", "--region", REGION, "-o", "json", "--settle", "0s"]
    code = run([*tokens, "--endpoint-url", os.environ["AWS_ENDPOINT_URL"], *options])
    return code, json.loads(capsys.readouterr().out)


def line_of(document, check):
    (found,) = (detector for detector in document["detectors"] if detector["check"] == check)
    return found["result"], found["detail"]


def test_a_scan_finds_the_last_change_that_the_archive_does_not_have(table, capsys, monkeypatch):
    """Every type of value compares equal with what a consistent scan gives; the table is read again where it differs."""
    monkeypatch.setattr("query.reconcile.CLOCK_MARGIN_MS", 0)
    for number, value in enumerate(VALUES):
        table.put(number, value)
    table.delete(0)
    assert follow(table) == 0
    capsys.readouterr()
    time.sleep(2.1)  # times have a grain of a second: nothing of this second is compared
    code, whole = coverage(table, capsys, "--scan", "--from-beginning")
    assert line_of(whole, "reconciliation") == ("passed", f"{len(VALUES) - 1} items compared")
    assert code == 0

    table.put(1, {"S": "not archived"})
    table.put(500, {"S": "not archived"})
    table.delete(2)
    code, found = coverage(table, capsys, "--scan", "--from-beginning")
    assert code == 3
    assert sorted((one["item_key"]["sk"], one["op"]) for one in found["missing"]) == [
        ("o-1", "MODIFY"),
        ("o-2", "REMOVE"),
        ("o-500", "INSERT"),
    ]
    assert follow(table) == 0
    capsys.readouterr()
    time.sleep(2.1)
    assert coverage(table, capsys, "--scan", "--from-beginning")[0] == 0


def test_items_that_just_changed_are_not_compared(table, capsys):
    """Within a minute nobody knows whether the change or the scan came first."""
    table.put(1, {"S": "x"})
    assert follow(table) == 0
    capsys.readouterr()
    code, found = coverage(table, capsys, "--scan")
    assert (code, line_of(found, "reconciliation")[0]) == (4, "not-checked")
    assert found["reconciliation"]["items_changed_meanwhile"] == 1


def test_a_table_that_cannot_be_scanned_exits_4(table, capsys):
    """It was asked for, and nobody looked."""
    table.put(1, {"S": "x"})
    assert follow(table) == 0
    capsys.readouterr()
    table.client.delete_table(TableName=table.name)
    code, found = coverage(table, capsys, "--scan")
    assert (code, line_of(found, "reconciliation")[0]) == (4, "not-checked")
    assert "AWS did not answer" in line_of(found, "reconciliation")[1]
