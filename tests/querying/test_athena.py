"""What Athena is told: a table over exactly what the archiver writes, and views that answer as the reader does.

No Athena is here. Its dialect is Trino's; the statements use what DuckDB reads alike, so DuckDB stands in for it: the
segments as a table whose columns are those of the DDL, timestamps without a zone, `dt` a text and `hour` a number. They
are asked as they stand, or as sqlglot understands them as Trino's and says them in DuckDB's words.
"""

from __future__ import annotations

import contextlib
import io
import json
import re
import shlex
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

import duckdb
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import sqlglot
from hypothesis import given
from hypothesis import strategies as st

import query
from archiver.format.columns import SEGMENT_COLUMNS
from archiver.format.layout import HOUR_MS, Trail, hour_folder
from archiver.store import FolderStore, S3Store
from archiver.streams import Streams
from archiver.writer import Writer
from query.athena import PARTITIONS, TYPES, Place, athena_name, segments_location, statements
from query.catalog import first_hour_ms
from query.cli import run
from query.errors import CorruptSegment, UsageError
from query.source import Access, open_source
from query.state import Moment
from tests.archiving.strategies import PROPERTY
from tests.delivery import delivered
from tests.oracle import image_of, key_of
from tests.querying.test_simulated import ask, instants
from tests.simulator.memory_store import MemoryStore
from tests.simulator.real import LONG_AFTER_MS, RealHandler, finish, good_records, is_segment, open_table
from tests.simulator.run import simulate
from tests.system import parts

GOLDEN = Path(__file__).parents[1] / "golden" / "v1"
TRAIL = Trail("111122223333", "eu-west-1", "prod-orders.v2")
ARCHIVE = "s3://acme-audit/ddbtrail"
PLACE = Place("orders")
SEEDS, CHUNKS, WRITES = 16, 4, 24

# The types of Athena, by what Arrow calls them: told here once more, from Athena's documentation (*Data types*).
ATHENA_READS = {pa.string(): "string", pa.timestamp("ms", tz="UTC"): "timestamp"}


def made(place=PLACE, trail=TRAIL, archive=ARCHIVE, since="2026-09-01"):
    return {one.name: one for one in statements(segments_location(archive, trail), place, since)}


# --- the table ---


def told_of_table(sql):
    """Columns, partition columns and properties of a CREATE EXTERNAL TABLE."""
    columns, rest = sql.split("(\n", 1)[1].split("\n)\n", 1)
    partitions = re.search(r"PARTITIONED BY \((.*)\)", rest)[1]
    properties = dict(re.findall(r"'([^']+)' = '([^']*)'", rest))
    return re.findall(r"`(\w+)` (\w+)", columns), re.findall(r"`(\w+)` (\w+)", partitions), properties


def test_the_columns_are_those_that_the_archiver_writes():
    """Names, order and types: as the format lists them, and as they stand in a segment that was written."""
    columns, partitions, _ = told_of_table(made()["orders"].sql)
    assert columns == [(column.name, TYPES[column.kind]) for column in SEGMENT_COLUMNS]
    written = pq.read_schema(next(GOLDEN.rglob("segments/**/*.parquet")))
    assert columns == [(field.name, ATHENA_READS[field.type]) for field in written]
    assert partitions == list(PARTITIONS)


def test_every_kind_of_column_has_a_type():
    """A kind that the format gains must not be guessed at."""
    assert set(TYPES) == {column.kind for column in SEGMENT_COLUMNS}


@PROPERTY
@given(st.integers(0, 4_102_444_800_000 // HOUR_MS))
def test_athena_composes_the_folders_that_the_archiver_does(hour):
    """The location template, filled in as Athena does, is the folder of the hour; one byte off and nothing is found."""
    sql = made()["orders"].sql
    _, _, properties = told_of_table(sql)
    start = datetime.fromtimestamp(hour * 3600, UTC)
    low, high = map(int, properties["projection.hour.range"].split(","))
    assert low <= start.hour <= high
    day = start.strftime(
        properties["projection.dt.format"].replace("yyyy", "%Y").replace("MM", "%m").replace("dd", "%d")
    )
    digits = int(properties["projection.hour.digits"])
    filled = properties["storage.location.template"].replace("${dt}", day).replace("${hour}", f"{start.hour:0{digits}}")
    assert filled == f"{ARCHIVE}/{TRAIL.prefix}{hour_folder(hour * HOUR_MS)}"
    assert f"LOCATION '{ARCHIVE}/{TRAIL.prefix}segments/'" in sql


def test_no_partition_has_to_be_added_by_hand():
    """Projection is on, from the first day until now, every hour of every day."""
    _, _, properties = told_of_table(made(since="2026-09-01")["orders"].sql)
    assert properties["projection.enabled"] == "true"
    assert properties["projection.dt.range"] == "2026-09-01,NOW"
    assert (properties["projection.dt.interval"], properties["projection.dt.interval.unit"]) == ("1", "DAYS")
    assert properties["projection.hour.range"] == "0,23"
    assert (properties["projection.dt.type"], properties["projection.hour.type"]) == ("date", "integer")


# --- names ---

DYNAMODB_NAMES = st.text("ABCXYZabcxyz0189_.-", min_size=3, max_size=247)


@PROPERTY
@given(DYNAMODB_NAMES)
def test_every_table_of_dynamodb_has_a_name_for_athena(table_name):
    """What Athena does not take is replaced; a name that it takes stays."""
    name = athena_name(table_name)
    assert re.fullmatch(r"[a-z0-9_]+", name)
    assert Place(name).quoted("_changes") == f'"{name}_changes"'
    assert athena_name(name) == name


@pytest.mark.parametrize("wrong", ["", "Orders", "a-b", 'a"b', "a`b", "a.b", "a b", "é", "a;DROP", "x" * 248])
@pytest.mark.parametrize("what", ["--name", "--database"])
def test_a_name_that_athena_does_not_take_is_refused(what, wrong):
    """Nothing that could end a quoted name gets into a statement."""
    with pytest.raises(UsageError, match=what):
        Place(wrong) if what == "--name" else Place("orders", wrong)
    assert Place("x" * 247)


@pytest.mark.parametrize("prefix", ["it's", 'a"b', "a`b", "${dt}", "a\\b", "a{b", "a\nb", "a;b", "a?b", "é"])
def test_an_archive_whose_prefix_would_end_the_text_is_refused(prefix):
    """A location stands in quotes, and in a template: what means something there is refused, not escaped on trust."""
    with pytest.raises(UsageError, match="cannot stand in a statement"):
        segments_location(f"s3://acme-audit/{prefix}", TRAIL)


@pytest.mark.parametrize("folder", ["/var/archive", "archive", "file:///var/archive"])
def test_a_folder_is_refused_with_the_reason(folder):
    """Athena reads S3."""
    with pytest.raises(UsageError) as caught:
        segments_location(folder, TRAIL)
    assert "reads S3 alone" in caught.value.why


def test_names_are_quoted_in_the_language_of_each_statement():
    """Backticks where Hive's language is spoken, double quotes where Trino's is; a database stands before each name."""
    found = made(Place("orders", "audit"))
    assert found["orders"].sql.startswith("CREATE EXTERNAL TABLE `audit`.`orders` (")
    assert found["orders_changes"].sql.startswith('CREATE OR REPLACE VIEW "audit"."orders_changes" AS')
    assert 'SELECT * FROM "audit"."orders"' in found["orders_changes"].sql
    assert 'SELECT * FROM "audit"."orders_changes"' in found["orders_current"].sql
    assert found["as_of_orders"].sql.startswith("PREPARE as_of_orders FROM\n")


def test_a_statement_holds_no_semicolon_and_one_parameter_at_most():
    """A script is split at semicolons, also by people; a question mark in a remark would be a parameter."""
    for one in made().values():
        assert ";" not in one.sql
        assert one.sql.count("?") == (1 if one.kind == "prepared" else 0)


# --- answers ---


def through_trino(sql: str) -> str:
    """A statement of Trino in the words of DuckDB; what is not Trino's is an error."""
    (said,) = sqlglot.transpile(sql, read="trino", write="duckdb", error_level=sqlglot.ErrorLevel.RAISE)
    return said


class StandIn:
    """DuckDB with the statements for one trail carried out, over the files of a folder."""

    def __init__(self, folder: Path, trail: Trail, understood: Callable[[str], str] = through_trino) -> None:
        self._understood = understood
        self._connection = duckdb.connect()
        columns = ", ".join(
            f"{c.name} AT TIME ZONE 'UTC' AS {c.name}" if c.kind == "timestamp_ms_utc" else c.name
            for c in SEGMENT_COLUMNS
        )
        partitions = ", ".join(f"{name}::{kind} AS {name}" for name, kind in PARTITIONS)
        files = folder / trail.prefix / "segments" / "dt=*" / "hour=*" / "*.parquet"
        self._connection.execute("SET TimeZone = 'UTC'")
        self._connection.execute(
            f"CREATE VIEW orders AS SELECT {columns}, {partitions} FROM read_parquet('{files}', hive_partitioning = true)"
        )
        self._made = made(trail=trail)
        self._connection.execute(understood(self._made["orders_changes"].sql))
        self._connection.execute(understood(self._made["orders_current"].sql))

    def rows(self, sql: str, *values: object) -> list[dict]:
        return self._connection.sql(sql, params=list(values)).to_arrow_table().to_pylist()

    def changes(self, where: str = "true") -> list[dict]:
        return self.rows(f"SELECT * FROM orders_changes WHERE {where} ORDER BY stream_label, sequence_number, item_key")

    def current(self) -> list[dict]:
        return self.rows("SELECT * FROM orders_current ORDER BY item_key")

    def as_of(self, at_ms: int) -> list[dict]:
        asked = self._made["as_of_orders"].sql.removeprefix("PREPARE as_of_orders FROM\n")
        return self.rows(self._understood(asked), datetime(1970, 1, 1) + timedelta(milliseconds=at_ms))

    def files_scanned(self, where: str) -> tuple[int, int]:
        """How many files a condition on the view of changes reads, and of how many."""
        plan = self._connection.execute(f"EXPLAIN SELECT op FROM orders_changes WHERE {where}").fetchall()[0][1]
        read, held = re.search(r"Scanning Files: (\d+)/(\d+)", plan).groups()
        return int(read), int(held)


def ms_of(moment: datetime) -> int:
    return round(moment.replace(tzinfo=UTC).timestamp() * 1000)


def states_of(rows: list[dict]) -> dict:
    """Key -> outcome and image; an item that is not there was absent."""
    found = {
        key_of(orjson.loads(row["item_key"])): (row["outcome"], row["image"] and orjson.loads(row["image"]))
        for row in rows
    }
    assert len(found) == len(rows), "an item twice"
    return found


def compare(rows, expected, conflicting, answered, where):
    """An item that exists is there with its image, one that does not is not, and what is not known is told so.

    Two things are left to the reader, and told as `unknown` or `conflict`: images across a gap that are equal as values
    and not as text (rule 4), and tellings of a change that differ as text alone.
    """
    found = states_of(rows)
    for key in found.keys() | expected.keys():
        outcome, image = found.get(key, ("absent", None))
        if outcome == "conflict":
            assert key in conflicting, f"{where}: {key} has no two tellings"
            answered["conflict"] += 1
            continue
        state = expected[key]
        assert key not in conflicting, f"{where}: {key} is told in two ways, and Athena chose"
        wanted = {"already-deleted": "absent", "not-yet-created": "absent"}.get(state.outcome, state.outcome)
        if state.rule == 4 and outcome == "unknown":
            answered["unknown, rule 4"] += 1
            continue
        assert (outcome, image_of(image)) == (wanted, image_of(state.image)), f"{where}: {key}: expected {state}"
        answered[outcome, state.rule] += 1


def history(seed: int, folder: Path, answered: Counter) -> None:
    """One simulated history, without baselines and table ids, which Athena is not shown: changes, present, instants."""
    outcome = simulate(seed, writes=WRITES, handler=RealHandler(seed, None), store=MemoryStore(Random(seed)))
    outcome.baselines, outcome.table_ids = [], {}
    finish(outcome)
    if not good_records(outcome) or not any(map(is_segment, outcome.store.objects)):
        return
    table = open_table(outcome.store, folder, Random(seed))
    athena = StandIn(folder, table.trail, through_trino if seed % 2 else str)
    changes = athena.changes()

    read = {(c.stream_label, c.sequence_number, c.item_key): c for c in table.changes()}
    refused = {key_of(orjson.loads(conflict.item_key)) for conflict in table.conflicts()}
    told = Counter((row["stream_label"], row["sequence_number"], row["item_key"]) for row in changes)
    conflicting = {key_of(orjson.loads(key)) for (_, _, key), count in told.items() if count > 1}
    assert refused <= conflicting, "a contradiction that Athena does not show"
    for row in changes:
        identity = row["stream_label"], row["sequence_number"], row["item_key"]
        # A contradiction about the time may put two tellings into two hours.
        assert (
            row["tellings"] == told[identity] or len({r["hour"] for r in changes if r["item_key"] == identity[2]}) > 1
        )
        if key_of(orjson.loads(identity[2])) not in conflicting:
            change = read.pop(identity)
            assert (row["op"], ms_of(row["changed_at"])) == (change.op, change.changed_at_ms)
            assert (row["old_image"], row["new_image"]) == (change.old_image, change.new_image)
            assert (row["change_id"], row["event"]) == (change.change_id, change.event)
    assert {key_of(orjson.loads(identity[2])) for identity in read} <= conflicting, "changes that Athena does not show"

    identities = {(label, int(sequence), key_of(orjson.loads(key))) for label, sequence, key in told}
    oracle = outcome.oracle(identities, baselines=False)
    last_ms = max(oracle._changed_at.values())
    for at_ms in [*instants(oracle, Random(seed)), last_ms]:
        rows = athena.as_of(at_ms)
        compare(rows, oracle.table_at(at_ms), conflicting, answered, (seed, at_ms))
        # The reader itself: what it knows to have existed is what Athena shows, image for image.
        existed = {key: image for key, (outcome_, image) in ask(table, Moment(at_ms)).items() if outcome_ == "existed"}
        shown = {key: image for key, (told_, image) in states_of(rows).items() if told_ == "existed"}
        assert shown.items() <= existed.items(), (seed, at_ms)
    compare(athena.current(), oracle.table_at(LONG_AFTER_MS), conflicting, answered, (seed, "now"))


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_the_views_answer_as_the_reader_and_the_oracle_do(chunk, tmp_path):
    """Simulated histories with retries in other cuts, gaps, clocks that step back and contradictions: the same changes,
    the same table at each instant, and "unknown" wherever the reader says so."""
    answered: Counter = Counter()
    for seed in range(chunk * SEEDS // CHUNKS, (chunk + 1) * SEEDS // CHUNKS):
        with tempfile.TemporaryDirectory(dir=tmp_path) as folder:
            history(seed, Path(folder), answered)
    assert {("existed", 2), ("absent", 2), ("absent", 3)} <= answered.keys(), answered


# --- each answer by itself ---

LABEL, NEXT_LABEL = "2026-09-01T00:00:00.000", "2026-09-20T00:00:00.000"
DAY_S = 1_789_430_400  # 2026-09-15T00:00:00Z
ONE, TWO = {"n": {"N": "1"}}, {"n": {"N": "2"}}


def change(number, op, item, old=None, new=None, *, at_s=DAY_S, label=LABEL, view="NEW_AND_OLD_IMAGES"):
    return delivered(
        op,
        {"id": {"S": item}},
        old,
        new,
        sequence_number=100_000_000_000_000_000_000 + number,
        changed_at_s=at_s,
        arn=f"arn:aws:dynamodb:eu-west-1:111122223333:table/prod-orders.v2/stream/{label}",
        event_id=f"{number:032x}",
        view_type=view,
    )


def archived(folder, *batches, streams=None):
    for batch in batches:
        Writer(FolderStore(folder), streams or Streams()).archive(batch, now_ms=(DAY_S + 3600) * 1000)
    return StandIn(folder, TRAIL), query.open(str(folder)).table("prod-orders.v2")


def shown(rows):
    return {
        orjson.loads(row["item_key"])["id"]["S"]: (
            row["outcome"],
            row["image"] and orjson.loads(row["image"])["n"]["N"],
        )
        for row in rows
    }


def test_a_change_that_was_delivered_twice_is_one_row(tmp_path):
    """Retries come in other cuts: the change stands in two segments, once in the view, and `copies` says so."""
    first, second = change(1, "INSERT", "a", None, ONE), change(2, "INSERT", "b", None, ONE)
    athena, table = archived(tmp_path, [first, second], [first])
    assert [(row["change_id"], row["copies"], row["tellings"]) for row in athena.changes()] == [
        (first["eventID"], 2, 1),
        (second["eventID"], 1, 1),
    ]
    assert [c.change_id for c in table.changes(reverse=True)] == [row["change_id"] for row in athena.changes()]


def test_what_one_segment_did_not_know_is_taken_from_the_other(tmp_path):
    """Archived while the key schema was unknown, and again when it was known: one row, with its key."""
    key = {"pk": {"S": "p"}, "sk": {"S": "s"}}
    record = change(1, "INSERT", "a", None, ONE)
    record["dynamodb"] |= {"Keys": key, "NewImage": key | ONE}
    other = change(2, "INSERT", "b", None, ONE)
    other["dynamodb"] |= {"Keys": key | {"sk": {"S": "t"}}, "NewImage": key | {"sk": {"S": "t"}} | ONE}
    archived(tmp_path, [record])
    athena, _ = archived(tmp_path, [record, other], streams=Streams({"prod-orders.v2": ("pk", "sk")}))
    first, _ = athena.changes()
    assert (first["copies"], first["tellings"], first["pk"], first["sk"]) == (2, 1, "p", "s")


def test_two_tellings_of_a_change_both_stay_and_the_item_has_no_answer(tmp_path):
    """Nobody chooses: both rows with `tellings` 2, and `conflict` without an image wherever a state is asked for."""
    good, told = change(1, "INSERT", "good", None, ONE), change(2, "INSERT", "bad", None, ONE)
    otherwise, after = change(2, "INSERT", "bad", None, TWO), change(3, "MODIFY", "bad", TWO, ONE, at_s=DAY_S + 60)
    athena, table = archived(tmp_path, [good, told], [otherwise, after])
    assert [row["tellings"] for row in athena.changes()] == [1, 2, 2, 1]
    assert shown(athena.current()) == {"good": ("existed", "1"), "bad": ("conflict", None)}
    for at_ms in ((DAY_S - 1) * 1000, DAY_S * 1000, (DAY_S + 60) * 1000):
        assert shown(athena.as_of(at_ms))["bad"] == ("conflict", None)
    assert [orjson.loads(conflict.item_key) for conflict in table.conflicts()] == [{"id": {"S": "bad"}}]


@pytest.mark.parametrize("apart_s", [7200, 86_400])
def test_two_tellings_that_differ_in_time_alone_are_seen_where_a_state_is_asked_for(apart_s, tmp_path):
    """They stand in two hours, which the view of changes keeps apart so that conditions on them leave files out."""
    told, later = change(1, "INSERT", "a", None, ONE), change(1, "INSERT", "a", None, ONE, at_s=DAY_S + apart_s)
    athena, table = archived(tmp_path, [told], [later])
    assert [row["tellings"] for row in athena.changes()] == [1, 1]
    assert shown(athena.current()) == shown(athena.as_of((DAY_S + 99_999) * 1000)) == {"a": ("conflict", None)}
    assert len(table.conflicts()) == 1


def test_a_deleted_item_stays_deleted(tmp_path):
    """The newest change wins even when it carries no image."""
    athena, _ = archived(
        tmp_path, [change(1, "INSERT", "a", None, ONE), change(2, "REMOVE", "a", ONE, None, at_s=DAY_S + 60)]
    )
    assert athena.current() == []
    assert shown(athena.as_of(DAY_S * 1000)) == {"a": ("existed", "1")}  # the first second of the trail
    assert shown(athena.as_of((DAY_S + 59) * 1000)) == {"a": ("existed", "1")}
    assert athena.as_of((DAY_S + 60) * 1000) == []
    assert shown(athena.as_of((DAY_S - 1) * 1000)) == {"a": ("unknown", None)}  # before the trail begins


def test_an_item_older_than_the_trail_is_told_by_its_first_change(tmp_path):
    """What the change found is what was there before: from the start of coverage on, and not known before."""
    other = change(1, "INSERT", "z", None, ONE, at_s=DAY_S - 600)
    athena, table = archived(tmp_path, [other, change(2, "MODIFY", "a", ONE, TWO)])
    assert shown(athena.as_of((DAY_S - 1) * 1000))["a"] == ("existed", "1")
    assert shown(athena.as_of((DAY_S - 601) * 1000)) == {"a": ("unknown", None), "z": ("unknown", None)}
    with contextlib.closing(table.as_of(f"@{DAY_S - 1}")) as state:
        assert {orjson.loads(one.item_key)["id"]["S"] for one in state.states()} == {"a", "z"}


def test_behind_a_gap_nothing_is_known_until_the_item_changes(tmp_path):
    """The stream was enabled anew: an item untouched since may have changed in between, unless both sides agree."""
    before = [change(number, "INSERT", item, None, ONE) for number, item in enumerate(("same", "other", "silent"))]
    before += [change(5, "REMOVE", "gone", ONE, None), change(6, "REMOVE", "back", ONE, None)]
    later_s = DAY_S + 9 * 86_400
    after = [
        change(10, "MODIFY", "same", ONE, TWO, at_s=later_s, label=NEXT_LABEL),
        change(11, "MODIFY", "other", TWO, ONE, at_s=later_s, label=NEXT_LABEL),
        change(12, "INSERT", "back", None, TWO, at_s=later_s, label=NEXT_LABEL),
    ]
    athena, table = archived(tmp_path, before, after)
    untouched = {"silent": ("unknown", None), "gone": ("unknown", None)}
    # The old stream covers up to its last second, without it: a write of that second may be lost already.
    for at_ms in (DAY_S * 1000, (later_s - 86_400) * 1000):
        in_the_gap = {"same": ("existed", "1"), "other": ("unknown", None)} | untouched
        assert shown(athena.as_of(at_ms)) == in_the_gap
    now = {"same": ("existed", "2"), "other": ("existed", "1"), "back": ("existed", "2")} | untouched
    assert shown(athena.current()) == shown(athena.as_of(later_s * 1000)) == now
    with contextlib.closing(table.as_of(f"@{later_s - 86_400}")) as state:
        assert {orjson.loads(one.item_key)["id"]["S"]: one.outcome.value for one in state.all_states()} == {
            **dict.fromkeys(("other", "silent", "gone"), "unknown"),
            "same": "existed",
            "back": "already-deleted",
        }


def test_a_new_stream_stands_behind_the_old_one_whatever_its_numbers(tmp_path):
    """Sequence numbers of two streams have nothing to do with each other: the label comes first."""
    athena, _ = archived(
        tmp_path,
        [
            change(900, "INSERT", "a", None, ONE),
            change(901, "MODIFY", "b", ONE, TWO, at_s=DAY_S + 20),
            change(902, "INSERT", "z", None, ONE, at_s=DAY_S + 30),
        ],
        [
            change(1, "MODIFY", "a", ONE, TWO, at_s=DAY_S + 60, label=NEXT_LABEL),
            change(2, "REMOVE", "b", TWO, None, at_s=DAY_S + 60, label=NEXT_LABEL),
        ],
    )
    assert shown(athena.as_of((DAY_S + 10) * 1000)) == {"a": ("existed", "1"), "b": ("existed", "1")}
    now = {"a": ("existed", "2"), "z": ("unknown", None)}
    assert shown(athena.current()) == shown(athena.as_of((DAY_S + 60) * 1000)) == now


def test_a_change_without_images_tells_that_something_is_not_known(tmp_path):
    """A stream of keys alone: the item was there, and nobody knows what it held."""
    athena, _ = archived(tmp_path, [change(1, "MODIFY", "a", view="KEYS_ONLY")])
    assert shown(athena.current()) == shown(athena.as_of(DAY_S * 1000)) == {"a": ("unknown", None)}


def test_time_never_orders(tmp_path):
    """The clock stepped back: the later change says an earlier time, and both count from the later one on."""
    athena, _ = archived(
        tmp_path, [change(1, "INSERT", "a", None, ONE, at_s=DAY_S + 60), change(2, "MODIFY", "a", ONE, TWO, at_s=DAY_S)]
    )
    assert athena.as_of((DAY_S + 59) * 1000) == []
    (row,) = athena.as_of((DAY_S + 60) * 1000)
    assert (shown([row]), ms_of(row["valid_from"])) == ({"a": ("existed", "2")}, (DAY_S + 60) * 1000)
    (now,) = athena.current()
    assert (now["image"], now["valid_from"]) == (row["image"], row["valid_from"])


def test_a_condition_on_the_day_leaves_files_out(tmp_path):
    """The view counts duplicates within the hour, so that a condition passes through it down to the folders."""
    hours = [[change(n, "INSERT", f"{n}", None, ONE, at_s=DAY_S + n * 43_200)] for n in range(6)]
    athena, _ = archived(tmp_path, *hours)
    assert athena.files_scanned("dt = '2026-09-16'") == (2, 6)
    assert athena.files_scanned("dt = '2026-09-16' AND hour = 12") == (1, 6)
    assert len(athena.changes("dt = '2026-09-16' AND hour = 12")) == 1


@pytest.mark.parametrize("table_name", ["orders", "files", "ledger"])
def test_the_golden_archive_is_read_as_the_reader_reads_it(table_name):
    """Changes, and contradictions, of an archive that today's code did not write."""
    table = query.open(str(GOLDEN), now_ms=lambda: LONG_AFTER_MS).table(table_name)
    athena = StandIn(GOLDEN, table.trail)
    rows = athena.changes()
    conflicting = {conflict.item_key for conflict in table.conflicts()}
    assert {row["item_key"] for row in rows if row["tellings"] > 1} == conflicting
    told = {(row["stream_label"], row["sequence_number"], row["item_key"]): row for row in rows}
    read = {(c.stream_label, c.sequence_number, c.item_key): c for c in table.changes()}
    assert {identity for identity in told if identity[2] not in conflicting} == read.keys()
    assert read
    for identity, change_ in read.items():
        row = told[identity]
        for column in ("change_id", "op", "pk", "sk", "old_image", "new_image", "user_identity", "event"):
            assert row[column] == getattr(change_, column), (identity, column)
        assert ms_of(row["changed_at"]) == change_.changed_at_ms
        assert f"{row['dt']} {row['hour']}" == f"{row['changed_at']:%Y-%m-%d} {row['changed_at'].hour}"
    existing = {row["item_key"] for row in athena.current() if row["outcome"] == "existed"}
    with contextlib.closing(table.as_of("now")) as state:
        assert existing == {one.item_key for one in state.states() if one.basis.value == "change"}


@pytest.fixture
def athena_emulated():
    """An endpoint that takes Athena's and Glue's requests: MiniStack, which gives the SQL to DuckDB."""
    with contextlib.ExitStack() as running:
        try:
            yield parts.AwsEndpoint(running.enter_context(parts.ministack()))
        except parts.PartAbsent as absent:
            pytest.skip(str(absent))


@pytest.mark.ministack
def test_an_emulator_of_athena_makes_the_table_and_answers_from_it(athena_emulated):
    """The statement for the table goes in as it is, Glue shows the table, and the views' questions find the segments.

    The emulator keeps no views, so they stand in front of the question. It has no types but DuckDB's: times are left out.
    """
    with contextlib.ExitStack() as closing:
        s3, glue, athena = (
            closing.enter_context(contextlib.closing(athena_emulated.client(name))) for name in ("s3", "glue", "athena")
        )
        for bucket in ("acme-audit", "results"):
            s3.create_bucket(Bucket=bucket)
        writer = Writer(S3Store(s3, "acme-audit", "ddbtrail"), Streams())
        first = change(1, "INSERT", "a", None, ONE)
        for batch in (
            [first, change(2, "INSERT", "b", None, ONE)],
            [first, change(3, "MODIFY", "b", ONE, TWO, at_s=DAY_S + 60)],
            [change(4, "REMOVE", "a", ONE, None, at_s=DAY_S + 7200)],
        ):
            writer.archive(batch, now_ms=(DAY_S + 3600) * 1000)
        glue.create_database(DatabaseInput={"Name": "audit"})

        def asked(sql):
            started = athena.start_query_execution(
                QueryString=sql,
                QueryExecutionContext={"Database": "audit"},
                ResultConfiguration={"OutputLocation": "s3://results/"},
            )["QueryExecutionId"]
            for _ in range(300):
                status = athena.get_query_execution(QueryExecutionId=started)["QueryExecution"]["Status"]
                if status["State"] in {"SUCCEEDED", "FAILED"}:
                    break
                time.sleep(0.1)
            assert status["State"] == "SUCCEEDED", status
            rows = athena.get_query_results(QueryExecutionId=started)["ResultSet"]["Rows"]
            return [[cell.get("VarCharValue") for cell in row["Data"]] for row in rows[1:]]

        found = made()
        assert asked(found["orders"].sql) == []
        table = glue.get_table(DatabaseName="audit", Name="orders")["Table"]
        assert [(key["Name"], key["Type"]) for key in table["PartitionKeys"]] == list(PARTITIONS)
        assert [column["Name"] for column in table["StorageDescriptor"]["Columns"]] == [c.name for c in SEGMENT_COLUMNS]
        assert table["Parameters"]["storage.location.template"].startswith(f"{ARCHIVE}/{TRAIL.prefix}segments/dt=")
        assert asked("SELECT dt, hour, count(*) FROM orders GROUP BY dt, hour ORDER BY hour") == [
            ["2026-09-15", "0", "4"],
            ["2026-09-15", "2", "1"],
        ]
        changes, current = (found[name].sql.split(" AS\n", 1)[1] for name in ("orders_changes", "orders_current"))
        views = f"WITH orders_changes AS ({changes}), orders_current AS ({current})"
        counted = asked(f"{views} SELECT change_id, copies, tellings FROM orders_changes ORDER BY change_id")
        assert counted == [[f"{n:032x}", copies, "1"] for n, copies in ((1, "2"), (2, "1"), (3, "1"), (4, "1"))]
        ((item_key, outcome, image),) = asked(f"{views} SELECT item_key, outcome, image FROM orders_current")
        assert (json.loads(item_key), outcome) == ({"id": {"S": "b"}}, "existed")
        assert json.loads(image)["n"] == {"N": "2"}


# --- the command ---


def answer(command):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = run(shlex.split(command))
    return code, out.getvalue(), err.getvalue()


@pytest.fixture(autouse=True)
def outside(tmp_path, monkeypatch):
    """No configuration of the person who runs the tests, and no way to AWS."""
    for name in ("DDBTRAIL_ARCHIVE", "DDBTRAIL_OUTPUT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)


FULL = f"athena 111122223333/eu-west-1/prod-orders.v2 -a {ARCHIVE} --since 2026-09-01"


def test_a_table_named_in_full_with_its_first_day_asks_nobody(monkeypatch):
    """No request at all: a policy that denies everything does not stand in the way."""
    monkeypatch.setattr("query.s3_source.s3_client", lambda *_: pytest.fail("AWS was asked"))
    code, out, err = answer(f"{FULL} --emit ddl")
    assert code == 0, err
    for one in made(Place("prod_orders_v2")).values():
        assert f"{one.sql};\n" in out
    assert out.count(";\n") == 4


def test_statements_come_one_by_one_for_a_program(tmp_path):
    """Athena runs one at a time: a row each, in the order in which they have to run."""
    code, out, _ = answer(f"{FULL} --name t --database audit -o jsonl")
    assert code == 0
    rows = [json.loads(line) for line in out.splitlines()]
    expected = made(Place("t", "audit")).values()
    assert rows == [{"kind": one.kind, "name": one.name, "sql": one.sql} for one in expected]
    code, _, err = answer(f"{FULL} -O {tmp_path / 'orders.sql'}")
    assert code == 0, err
    assert (tmp_path / "orders.sql").read_text(encoding="utf-8") == answer(FULL)[1]


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        (f"{FULL[:-10]}2026-9-1", "is not a day"),
        (f"{FULL[:-10]}20260901", "is not a day"),
        (f"{FULL[:-10]}2026-02-30", "is not a day"),
        (f"{FULL} --emit views", "views"),
        (f"{FULL} --name A", "is no name for Athena"),
        (f"{FULL} -c sequel -o jsonl", "sequel"),
    ],
)
def test_what_cannot_be_meant_is_a_usage_error(typed, told):
    """Exit code 2, and nothing on stdout."""
    code, out, err = answer(typed)
    assert (code, out) == (2, "")
    assert told in err


def test_a_folder_is_not_listed_but_refused(tmp_path):
    """Also one that is no archive."""
    code, out, err = answer(f"athena orders -a {tmp_path}")
    assert (code, out) == (2, "")
    assert "it reads S3 alone" in err


@pytest.fixture
def in_s3(tmp_path, monkeypatch):
    """An archive that says it is in S3 and lies in a folder: what is asked of it is listing alone."""
    folder = tmp_path / "bucket"
    folder.mkdir()
    monkeypatch.setattr("query.opening.open_source", lambda *_: open_source(str(folder), Access()))
    return folder


def test_the_first_day_is_that_of_the_first_segment(in_s3):
    """Told by the names of folders: no segment is opened."""
    writer = Writer(FolderStore(in_s3), Streams())
    for number, at_s in enumerate((DAY_S, DAY_S - 86_400 * 40, DAY_S + 86_400)):
        writer.archive([change(number, "INSERT", "a", None, ONE, at_s=at_s)], now_ms=(DAY_S + 90_000) * 1000)
    for segment in in_s3.rglob("*.parquet"):
        segment.write_bytes(b"")
    code, out, err = answer(f"athena prod-orders.v2 -a {ARCHIVE}")
    assert code == 0, err
    assert "'projection.dt.range' = '2026-08-06,NOW'" in out
    source = open_source(str(in_s3), Access())
    assert first_hour_ms(source, TRAIL) == (DAY_S - 86_400 * 40) * 1000
    assert first_hour_ms(source, Trail("111122223333", "eu-west-1", "nothing")) is None
    (in_s3 / TRAIL.prefix / "segments" / "dt=2020-01-01" / "hour=xx").mkdir(parents=True)
    with pytest.raises(CorruptSegment, match="hour=xx"):
        first_hour_ms(source, TRAIL)


def test_an_archive_without_segments_needs_to_be_told_the_day(in_s3):
    """A stack of five minutes ago: the table can be made before the first change."""
    (in_s3 / TRAIL.prefix / "streams").mkdir(parents=True)
    code, _, err = answer(f"athena prod-orders.v2 -a {ARCHIVE}")
    assert code == 2
    assert "--since YYYY-MM-DD" in err
    assert answer(f"athena prod-orders.v2 -a {ARCHIVE} --since 2026-09-15")[0] == 0


def test_two_tables_of_one_name_for_athena_are_told_apart(in_s3):
    """DynamoDB tells small letters from capitals and knows - and .; the second table must not hide the first."""
    for name in ("prod-orders.v2", "Prod.orders-v2"):
        (in_s3 / Trail("111122223333", "eu-west-1", name).prefix / "segments").mkdir(parents=True)
    code, _, err = answer(f"athena prod-orders.v2 -a {ARCHIVE} --since 2026-09-15")
    assert code == 2
    assert "Prod.orders-v2 would have it too" in err
    code, out, _ = answer(f"athena Prod.orders-v2 -a {ARCHIVE} --since 2026-09-15 --name orders_of_prod")
    assert code == 0
    assert "`orders_of_prod`" in out
    assert "table_name=Prod.orders-v2/segments/" in out
