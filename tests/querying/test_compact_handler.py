"""The function that compacts: it makes what fits, tells what does not, ends in time, and collects what is no more needed."""

import json
import os
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import pytest

from archiver.format.layout import Trail
from archiver.sealer import Sealer
from archiver.signer import create_key, load_signer
from archiver.store import FolderStore
from archiver.streams import Streams
from archiver.writer import Writer
from query.bounded_compactor import BoundedCompactor
from query.compact_handler import CompactionConfig, CompactionFailed, compact, compact_trails
from query.compaction_report import SERVICE
from query.derived.levels import cover
from query.derived.names import RunName
from query.derived.outgrown import Room
from query.errors import EngineFailure, UnreadableArchive
from query.opening import open_archive
from query.runs import Compactor
from query.seal_log import SealMismatch
from tests.archiving.batches import CHANGED_AT_S, arn_of, record

ORDERS, CUSTOMERS = Trail("111122223333", "eu-west-1", "orders"), Trail("111122223333", "eu-west-1", "customers")
BEGIN_MS = CHANGED_AT_S * 1_000
HOUR_MS, MINUTE_MS = 3_600_000, 60_000
AMPLE = Room(4 << 30, 10 << 30, cores=2.0, seconds=780)
# Two days that are over, four hours of each, and two hours of a third, the last of which goes on.
HOURS = (0, 6, 12, 18, 24, 30, 36, 42, 48, 49)
OVER = len(HOURS) - 1


@pytest.fixture(scope="module")
def sealed(tmp_path_factory):
    """An archive of two tables, a change an hour each, sealed 20 minutes after the hour and again at 50."""
    root = tmp_path_factory.mktemp("sealed")
    create_key(root / "key")
    store, signer = FolderStore(root / "archive"), load_signer(root / "key")
    writer = Writer(store, Streams(key_schema={"orders": ("id",), "customers": ("id",)}))
    sealers = [Sealer(store, trail, signer) for trail in (ORDERS, CUSTOMERS)]
    for number, hour in enumerate(HOURS):
        at_s = CHANGED_AT_S + hour * 3_600
        for table in ("orders", "customers"):
            changed = record(number + 1, changed_at_s=at_s + 60, arn=arn_of(table), item=f"item {number % 7}")
            writer.archive([changed], now_ms=(at_s + 120) * 1_000)
        for minute in (20, 50):
            for sealer in sealers:
                sealer.seal(at_s * 1_000 + minute * MINUTE_MS)
    return root / "archive"


NOW_MS = BEGIN_MS + HOURS[-1] * HOUR_MS + 55 * MINUTE_MS


@pytest.fixture
def config(sealed, tmp_path, monkeypatch):
    """What the function is told; what it puts on disk is put into a folder of the test's."""
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    return CompactionConfig(str(sealed), str(tmp_path / "derived"), (ORDERS,), None, 3_538)


def plenty():
    return 900.0


def runs_of(config, trail=ORDERS):
    """The runs that are live, by the log's entries."""
    folders = Path(config.derived_url, trail.prefix, "runs", "d1").glob("*/run.json")
    return sorted(RunName.parse(path.parent.name) for path in folders)


@pytest.fixture
def told(capsys, caplog):
    """What the function said since it was asked last: log lines, and the metrics of each table."""

    def since():
        logged = list(caplog.records)
        caplog.clear()
        lines = [json.loads(line) for line in capsys.readouterr().out.splitlines() if line.startswith("{")]
        return logged, {line["table"]: line for line in lines if "_aws" in line}

    return since


def value(metrics, name, table="orders"):
    found = metrics[table][name]
    return found[0] if isinstance(found, list) else found


# --- What it makes ---


def test_what_is_over_is_in_runs_and_the_metrics_say_so(config, told):
    """Two days, two hours: as the command makes them; the hour that goes on waits, and nothing else does."""
    answer = compact_trails(config, now_ms=NOW_MS, remaining_s=plenty)
    assert answer == {"runs": 3, "rows": OVER}
    logged, metrics = told()
    assert value(metrics, "RunsMade") == 3
    assert value(metrics, "RowsCompacted") == OVER
    assert value(metrics, "RunBytes") > 0
    assert value(metrics, "CompactionRefused") == 0
    assert value(metrics, "CompactionLagSeconds") == 0
    assert metrics["orders"]["service"] == SERVICE
    assert [line.message for line in logged] == ["run made"] * 3 + ["trail compacted"]


def test_a_second_call_has_nothing_to_do(config, told):
    """It is called every hour."""
    compact_trails(config, now_ms=NOW_MS, remaining_s=plenty)
    before = runs_of(config)
    told()
    assert compact_trails(config, now_ms=NOW_MS, remaining_s=plenty) == {}
    assert runs_of(config) == before
    _, metrics = told()
    assert (value(metrics, "RunsMade"), value(metrics, "CompactionLagSeconds")) == (0, 0)


def test_answers_are_those_of_the_evidence(config, sealed):
    """What the function made is what a reader reads."""
    compact_trails(config, now_ms=NOW_MS, remaining_s=plenty)
    archive = open_archive(str(sealed), derived_url=config.derived_url, now_ms=lambda: NOW_MS, threads=1)

    def states(**given):
        table = archive.table("orders", **given)
        return {
            (state.item_key, state.change_id, json.dumps(state.image, default=str))
            for hour in (0, 30, 49)
            for state in table.as_of(datetime.fromtimestamp(CHANGED_AT_S + hour * 3_600 + 61, UTC)).all_states()
        }

    found = states()
    assert found == states(with_derived=False)
    assert len(found) > 7


def test_the_handler_does_it_by_its_environment(config, monkeypatch, told):
    """As Lambda calls it; the clock is the machine's, so whatever is over by the log is made."""
    for name, text in {
        "DDBTRAIL_ARCHIVE": config.archive_url,
        "DDBTRAIL_DERIVED": config.derived_url,
        "DDBTRAIL_TABLES": "111122223333/eu-west-1/orders;111122223333/eu-west-1/customers",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "3538",
    }.items():
        monkeypatch.setenv(name, text)
    context = SimpleNamespace(
        function_name="compactor",
        memory_limit_in_mb=3_538,
        invoked_function_arn="arn",
        aws_request_id="id",
        get_remaining_time_in_millis=lambda: 900_000,
    )
    assert compact({}, context) == {"runs": 6, "rows": 2 * OVER}
    _, metrics = told()
    assert set(metrics) == {"orders", "customers"}


@pytest.mark.parametrize("name", ["DDBTRAIL_ARCHIVE", "DDBTRAIL_DERIVED", "DDBTRAIL_TABLES"])
def test_a_variable_that_is_missing_is_named(name):
    """The log is all that whoever deployed it sees."""
    environment = {"DDBTRAIL_ARCHIVE": "a", "DDBTRAIL_DERIVED": "b", "DDBTRAIL_TABLES": "111122223333/eu-west-1/orders"}
    assert CompactionConfig.from_environment(environment).trails == (ORDERS,)
    with pytest.raises(CompactionFailed, match=f"{name} is not set"):
        CompactionConfig.from_environment({**environment, name: ""})


@pytest.mark.parametrize("table", ["orders", "1/eu-west-1/orders", "111122223333/eu-west-1/orders/x", ""])
def test_what_names_no_table_is_refused(table):
    """It would be a trail that is empty for ever."""
    environment = {"DDBTRAIL_ARCHIVE": "a", "DDBTRAIL_DERIVED": "b"}
    with pytest.raises(CompactionFailed, match="DDBTRAIL_TABLES"):
        CompactionConfig.from_environment({**environment, "DDBTRAIL_TABLES": f"111122223333/eu-west-1/orders;{table}"})


def test_an_archive_without_the_trail_is_nothing_to_do(config, told):
    """The stack is there before the first change."""
    config = replace(config, trails=(Trail("111122223333", "eu-west-1", "empty"),))
    assert compact_trails(config, now_ms=NOW_MS, remaining_s=plenty) == {}
    _, metrics = told()
    assert value(metrics, "CompactionLagSeconds", "empty") == 0


# --- Time ---


def clock(*, makes, took_s=0.0):
    """Time enough for so many runs, then none. It is looked at before each run, at the beginning and before gc."""
    looked = iter([900.0, *[900.0 - took_s] * makes])
    return lambda: next(looked, 65.0)


@pytest.mark.parametrize("makes", [0, 1, 2])
def test_what_the_time_is_not_enough_for_is_left_to_the_next_call(config, told, makes):
    """Each call goes on where the last one ended, and the lag tells that something waits."""
    answer = compact_trails(config, now_ms=NOW_MS, remaining_s=clock(makes=makes))
    assert (answer.get("runs", 0), answer["later"]) == (makes, 3 - makes)
    assert len(runs_of(config)) == makes
    _, metrics = told()
    first_waiting_ms = BEGIN_MS + (0, 24, 48)[makes] * HOUR_MS + 20 * MINUTE_MS
    assert value(metrics, "CompactionLagSeconds") == (NOW_MS - first_waiting_ms) / 1_000
    assert value(metrics, "CompactionRefused") == 0, "it is not too large"
    assert compact_trails(config, now_ms=NOW_MS, remaining_s=plenty)["runs"] == 3 - makes
    assert cover(runs_of(config)) == tuple(runs_of(config))


def test_every_trail_is_the_first_now_and_then(config, monkeypatch):
    """One that takes all the time would keep the others waiting for ever."""
    order = []
    monkeypatch.setattr(
        "query.compact_handler._compact_trail", lambda _config, found, *_, **__: order.append(found.trail)
    )
    both = replace(config, trails=(ORDERS, CUSTOMERS))
    for hour in (0, 1):
        compact_trails(both, now_ms=BEGIN_MS + hour * HOUR_MS, remaining_s=plenty)
    assert order in ([ORDERS, CUSTOMERS, CUSTOMERS, ORDERS], [CUSTOMERS, ORDERS, ORDERS, CUSTOMERS])


# --- What outgrows it ---


def room_for(monkeypatch, rows):
    """A place in which a run may have so many rows."""
    monkeypatch.setattr(
        "query.bounded_compactor.need_of",
        lambda work, _cores: SimpleNamespace(
            seconds=0.0, exceeds=lambda _room: f"{work.rows} rows" if work.rows > rows else None
        ),
    )


@pytest.mark.parametrize(
    ("rows", "runs", "refused"), [(4, 3, 0), (3, 9, 2), (1, 9, 2)], ids=["a day", "almost a day", "an hour"]
)
def test_a_day_that_is_too_large_is_made_of_hours_and_told(config, told, monkeypatch, rows, runs, refused):
    """It is not begun; what is sealed is in runs all the same, so that nothing waits but the merge."""
    room_for(monkeypatch, rows)
    answer = compact_trails(config, now_ms=NOW_MS, remaining_s=plenty)
    assert (answer["runs"], answer.get("refused", 0), answer["rows"]) == (runs, refused, OVER)
    logged, metrics = told()
    assert value(metrics, "CompactionRefused") == refused
    assert value(metrics, "CompactionLagSeconds") == 0
    lines = [line for line in logged if line.message == "run refused"]
    assert len(lines) == refused
    for line in lines:
        assert "ddbtrail compact 111122223333/eu-west-1/orders -a" in line.hint
        assert line.reason == "4 rows"
        assert line.levelname == "ERROR"


def test_the_merge_that_was_refused_is_refused_again_until_somebody_made_it(config, told, monkeypatch):
    """The alarm stays while there is something to do. `ddbtrail compact` on a machine does it."""
    room_for(monkeypatch, 3)
    compact_trails(config, now_ms=NOW_MS, remaining_s=plenty)
    again = compact_trails(config, now_ms=NOW_MS, remaining_s=plenty)
    assert again == {"refused": 2}, "nothing is made twice"
    monkeypatch.undo()
    monkeypatch.setattr("tempfile.tempdir", None)
    assert compact_trails(config, now_ms=NOW_MS, remaining_s=plenty, room=AMPLE)["runs"] == 2
    told()
    assert compact_trails(config, now_ms=NOW_MS, remaining_s=plenty).get("refused") is None


def test_a_seal_that_is_too_large_stops_what_comes_after_it(config, told, monkeypatch):
    """A run stands on the one before it. What comes before is made, and the lag tells the rest."""
    room_for(monkeypatch, 0)
    answer = compact_trails(config, now_ms=NOW_MS, remaining_s=plenty)
    assert answer.get("runs", 0) == 0
    assert answer["refused"] == 2, "the day, and the first seal of it; nobody is told of the hours between them"
    assert answer["later"] == 1 + 3 + 2, "the rest of the first hour, of the day, and what is after the day"
    _, metrics = told()
    assert value(metrics, "CompactionLagSeconds") == (NOW_MS - BEGIN_MS - 20 * MINUTE_MS) / 1_000
    assert runs_of(config) == []


def test_what_the_engine_says_is_too_large_is_made_smaller_too(config, told, monkeypatch):
    """How well images compress is known only when they are read."""
    made = Compactor.make

    def full(self, state, pieces):
        if len(pieces) > 2:
            raise EngineFailure("the query engine failed", why="Out of Memory Error: could not allocate", hint="more")
        return made(self, state, pieces)

    monkeypatch.setattr(Compactor, "make", full)
    answer = compact_trails(config, now_ms=NOW_MS, remaining_s=plenty)
    assert (answer["runs"], answer["refused"]) == (9, 2)
    logged, _ = told()
    reasons = {line.reason for line in logged if line.message == "run refused"}
    assert reasons == {"the estimate was too low: Out of Memory Error: could not allocate"}


def test_any_other_failure_of_the_engine_is_one(config, monkeypatch):
    """A mistake of ours is not mended by smaller runs."""

    def broken(*_):
        raise EngineFailure("the query engine failed", why="Catalog Error: no such table", hint="report it")

    monkeypatch.setattr(Compactor, "make", broken)
    with pytest.raises(EngineFailure):
        compact_trails(config, now_ms=NOW_MS, remaining_s=plenty)


# --- What goes wrong ---


def test_one_trail_does_not_wait_for_the_failure_of_another(config, sealed, tmp_path, told):
    """All that can be made is made, whichever of the two comes first; then the failure is raised, so that Lambda counts it."""
    archive = copied(sealed, tmp_path / "archive")
    (segment, *_) = sorted((archive / ORDERS.prefix / "segments").rglob("*.parquet"))
    segment.write_bytes(segment.read_bytes()[:-1] + b"?")
    both = replace(config, archive_url=str(archive), trails=(ORDERS, CUSTOMERS))
    for hour in (0, 1):
        with pytest.raises(SealMismatch):
            compact_trails(both, now_ms=NOW_MS + hour * HOUR_MS, remaining_s=plenty)
    assert len(runs_of(both, CUSTOMERS)) == 3
    assert runs_of(both) == []
    logged, metrics = told()
    assert "compaction failed" in {line.message for line in logged}
    assert value(metrics, "CompactionLagSeconds") > 3 * 3_600, "what was to be compacted is known, and waits"


def test_an_archive_that_cannot_be_read_has_no_lag_that_one_could_tell(config, tmp_path, told):
    """No figure at all: the alarm takes that for the same news."""
    with pytest.raises(UnreadableArchive):
        compact_trails(replace(config, archive_url=str(tmp_path / "none")), now_ms=NOW_MS, remaining_s=plenty)
    _, metrics = told()
    assert "CompactionLagSeconds" not in metrics["orders"]


def test_the_evidence_is_as_it_was(config, sealed):
    """Byte for byte, and nothing beside it."""
    before = {path: path.read_bytes() for path in sealed.rglob("*") if path.is_file()}
    compact_trails(config, now_ms=NOW_MS, remaining_s=plenty)
    assert {path: path.read_bytes() for path in sealed.rglob("*") if path.is_file()} == before


# --- What it leaves ---


def test_runs_that_a_larger_one_covers_go_after_a_day(config, monkeypatch):
    """So that whoever is reading can end; then they would be paid for, and read by nobody."""
    room_for(monkeypatch, 1)
    compact_trails(config, now_ms=NOW_MS, remaining_s=plenty)
    assert len(runs_of(config)) == 9
    room_for(monkeypatch, 10**9)
    written_ms = round(max(path.stat().st_mtime for path in Path(config.derived_url).rglob("run.json")) * 1_000)
    assert compact_trails(config, now_ms=written_ms + 1_000, remaining_s=plenty) == {"runs": 2, "rows": 8}
    assert len(runs_of(config)) == 11
    answer = compact_trails(config, now_ms=written_ms + 23 * HOUR_MS, remaining_s=plenty)
    assert "deleted" not in answer
    answer = compact_trails(config, now_ms=written_ms + 25 * HOUR_MS, remaining_s=plenty)
    assert answer["deleted"] == 8 * 5
    assert tuple(runs_of(config)) == cover(runs_of(config))
    assert len(runs_of(config)) == 3


def test_nothing_is_left_on_disk(config, tmp_path):
    """The next call finds all of it free. What a call that was ended by its timeout has left goes first."""
    left = tmp_path / "tmp" / "ddbtrail-compaction" / "work" / "spilled"
    left.parent.mkdir(parents=True)
    left.write_bytes(b"of a call that was killed")
    seen = []

    def remaining():
        seen.append(left.exists())
        return 900.0

    compact_trails(config, now_ms=NOW_MS, remaining_s=remaining)
    assert True not in seen[1:]
    assert list((tmp_path / "tmp").iterdir()) == []


def test_copies_of_one_run_are_gone_before_the_next(config, tmp_path, monkeypatch):
    """Of S3, where what a run is made of is copied first: the next one may need all of the disk."""
    copy = tmp_path / "tmp" / "ddbtrail-compaction" / "cache" / "copied"
    found, made = [], Compactor.make

    def watched(self, state, pieces):
        found.append(copy.exists())
        copy.parent.mkdir(exist_ok=True)
        copy.write_bytes(b"a segment")
        return made(self, state, pieces)

    monkeypatch.setattr(Compactor, "make", watched)
    compact_trails(config, now_ms=NOW_MS, remaining_s=plenty)
    assert found == [False] * 3


def test_all_temporary_files_are_in_one_place(config, tmp_path, monkeypatch):
    """Whatever the engine spills and the parts that are written: `/tmp` is all the disk that there is."""
    folders = set()
    made = Compactor.make

    def watched(self, state, pieces):
        folders.update(path.name for path in (tmp_path / "tmp").iterdir())
        folders.update(
            path.name.rpartition("-")[0] for path in (tmp_path / "tmp" / "ddbtrail-compaction" / "work").iterdir()
        )
        return made(self, state, pieces)

    monkeypatch.setattr(Compactor, "make", watched)
    compact_trails(config, now_ms=NOW_MS, remaining_s=plenty)
    assert folders == {"ddbtrail-compaction", "ddbtrail-spill"}


def test_the_engine_has_half_of_the_memory(config, tmp_path, monkeypatch):
    """The other half is Python's and Arrow's; docs/operations.md has what was measured."""
    given = {}
    monkeypatch.setattr("query.bounded_compactor.Engine", lambda **limits: given.update(limits))
    monkeypatch.setattr(BoundedCompactor, "compact_within", lambda *_: None)
    compact_trails(replace(config, memory_mb=3_538), now_ms=NOW_MS, remaining_s=plenty)
    assert given == {"memory_limit": "1854MB", "threads": 2}


def copied(archive, target):
    """The same archive, to be damaged."""
    for path in archive.rglob("*"):
        if path.is_file():
            copy = target / path.relative_to(archive)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(path.read_bytes())
    assert os.path.isdir(target)
    return target
