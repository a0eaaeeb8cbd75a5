"""The golden archive and the specification stay true: what was once written is read for ever, and the page says how."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from archiver.format.canonical import canonical, canonical_number
from archiver.format.columns import METADATA_DIGEST
from archiver.format.description import BaselineDescription, StreamDescription
from archiver.format.keytext import key_text, parse_key_text
from archiver.format.layout import SegmentName, StreamSource, Trail
from archiver.format.record import change_record, envelope_of_row
from archiver.format.stamp import UNSTAMPED, stamp
from archiver.format.values import normal_number
from archiver.plan import plan_segments
from archiver.segment import check_segment
from archiver.store import FolderStore
from archiver.stream import understand
from tests import second_reader
from tests.golden import make
from tests.oracle import ConflictError, Oracle, key_of

PAGE = (Path(__file__).parents[2] / "docs" / "format.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def golden():
    """The golden archive by the second reader: trails, homeless quarantine, problems."""
    return second_reader.read_archive(make.ARCHIVE)


def is_segment(name: str) -> bool:
    return "/segments/" in name and "/late/" not in name


def delivered_by_trail() -> dict[str, dict[bytes, dict]]:
    """Prefix of a trail -> leaf -> delivered record, for all that can be understood."""
    found: dict[str, dict[bytes, dict]] = {}
    for record in (record for batch in make.load_batches() for record in batch):
        understood, _ = understand([record], lambda _source, _record: None)
        for change in understood:
            found.setdefault(change.source.trail.prefix, {})[change.leaf] = record
    return found


# --- the golden archive ---


def test_the_golden_archive_is_never_made_again():
    """An archive that today's code wrote would prove nothing about yesterday's."""
    recorded = dict(reversed(line.split("  ")) for line in make.DIGESTS.read_text().splitlines())
    assert make.digests(make.ARCHIVE) == recorded


def test_its_script_refuses_to_overwrite_it():
    """Nobody should replace evidence by running the wrong file."""
    root = Path(__file__).parents[2]
    run = subprocess.run(
        [sys.executable, "-m", "tests.golden.make"], cwd=root, capture_output=True, text=True, check=False
    )
    assert run.returncode == 1
    assert "never made again" in run.stderr


def test_the_second_reader_finds_nothing_wrong(golden):
    """Every name, leaf, root and derived column follows from the page alone."""
    trails, homeless, problems = golden
    assert problems == []
    assert [prefix.rpartition("table_name=")[2] for prefix in trails] == ["files/", "ledger/", "orders/"]
    assert (len(homeless), len(trails[make.ORDERS.prefix].quarantined)) == (2, 10)


def test_the_golden_archive_holds_what_it_is_kept_for(golden):
    """A fixture that lost its odd cases would pass every other test here."""
    trails, _, _ = golden
    orders, ledger = trails[make.ORDERS.prefix], trails[Trail("111122223333", "eu-west-1", "ledger").prefix]
    assert len(set(orders.table_ids.values())) == 2
    assert len(orders.conflicts) == 1
    assert [baseline["is_complete"] for baseline in orders.baselines] == [True]
    assert orders.late
    assert orders.late < set(orders.leaves)
    assert ledger.table_ids == {}
    assert sum(map(len, orders.leaves.values())) > len(orders.records)  # overlapping batches
    text = json.dumps([record for trail in trails.values() for record in trail.records])
    for tag in ("S", "N", "B", "BOOL", "NULL", "SS", "NS", "BS", "L", "M"):
        assert f'"{tag}": ' in text


def test_todays_code_reads_it_and_derives_every_name_again():
    """The archiver's own checks must accept all that an older archiver wrote."""
    store = FolderStore(make.ARCHIVE)
    seen = 0
    for name in filter(is_segment, make.digests(make.ARCHIVE)):
        trail, inside = Trail.parse(name)
        place = SegmentName.parse(inside)
        rows = pq.read_table(pa.BufferReader(store.get(name)), columns=["stream_label"])
        source = StreamSource(trail, rows.column(0)[0].as_py())
        records = check_segment(store.get(name), source, place)
        (planned,) = plan_segments(records)
        assert planned.name == name
        seen += 1
    assert seen == 27


def test_every_record_that_was_delivered_is_there_and_no_other(golden):
    """Leaf for leaf: what the events say is what the segments hold."""
    trails, _, _ = golden
    archived = {
        prefix: {leaf for leaves in trail.leaves.values() for leaf in leaves} for prefix, trail in trails.items()
    }
    assert archived == {prefix: {leaf.hex() for leaf in found} for prefix, found in delivered_by_trail().items()}


def test_the_descriptions_read_and_write_the_same(golden):
    """A description is evidence too: today's parser takes it and today's composer gives its very bytes."""
    store = FolderStore(make.ARCHIVE)
    seen = 0
    for name in make.digests(make.ARCHIVE):
        kind = {"/streams/": StreamDescription, "/baselines/": BaselineDescription}.get(
            next(iter(re.findall("/(?:streams|baselines)/", name)), "")
        )
        if kind is not None and name.endswith(".json"):
            assert kind.parse(store.get(name)).compose() == store.get(name)
            seen += 1
    assert seen == 4


def test_archiving_the_events_again_gives_the_same_names(tmp_path):
    """A name depends on the records alone, so a newer version must choose the same; JSON even has the same bytes."""
    make.write_events(FolderStore(tmp_path))
    again, kept = make.digests(tmp_path), make.digests(make.ARCHIVE)
    assert set(again) == {name for name in kept if "/baselines/" not in name}
    for name, digest in again.items():
        assert digest == kept[name] or is_segment(name)
    assert second_reader.read_archive(tmp_path)[2] == []


def test_the_oracle_says_the_same_of_the_archive_and_of_the_events(golden):
    """Nothing that an answer rests on was lost on the way into the archive and out again."""
    trails, _, _ = golden
    for prefix, records in delivered_by_trail().items():
        trail = trails[prefix]
        baselines = [{**b, "items": {key_of(key): image for key, image in b["items"]}} for b in trail.baselines]
        of_events = Oracle(records.values(), baselines=baselines, table_ids=trail.table_ids)
        of_archive = Oracle(trail.records, baselines=baselines, table_ids=trail.table_ids)
        assert of_archive.boundaries() == of_events.boundaries() != []
        for boundary in of_events.boundaries():
            assert of_archive.table_at_cut(*boundary) == of_events.table_at_cut(*boundary)
        for keys in trail.item_keys().values():
            try:
                history = of_events.history(key_of(keys))
            except ConflictError:
                continue
            assert [record["eventID"] for record in trail.history(keys)] == [version.change_id for version in history]


def test_what_was_archived_can_be_archived_again(golden):
    """The rows alone rebuild the delivered record: archived once more, each has the leaf that it had."""
    trails, _, _ = golden
    for trail in trails.values():
        leaves = {leaf for found in trail.leaves.values() for leaf in found}
        changes, quarantined = understand(trail.records, lambda _source, _record: None)
        assert quarantined == []
        assert {change.leaf.hex() for change in changes} <= leaves


# --- the second reader can fail ---


# Column -> a forged value, and what must be said about it; the leaf covers only those with "root".
COLUMN_FORGERIES = {
    "change_id": ("f" * 32, "root"),
    "op": ("REMOVE", "root"),
    "changed_at": (1, "changed_at is not"),  # 1 ms later
    "sequence_number": ("0" * 18 + "1000000000000000000099", "sequence_number is not"),
    "stream_label": ("2028-02-01T08:00:00.001", "the stream is another's"),
    "item_key": ('{"pk":{"S":"CUST#2"},"sk":{"N":"101"}}', "item_key is not"),
    "pk": ("CUST#8", "pk and sk are not"),
    "sk": ("11309", "pk and sk are not"),
    "old_image": ("{}", "root"),
    "new_image": ("{}", "root"),
    "user_identity": ("null", "root"),
    "event": ('{"dynamodb":{}}', "not a segment"),
}


@pytest.mark.parametrize("column", COLUMN_FORGERIES)
def test_the_second_reader_finds_a_forged_value_in_any_column(column, tmp_path):
    """A leaf covers what was delivered; the columns beside it agree with it only if somebody looks."""
    name = next(name for name in make.digests(make.ARCHIVE) if is_segment(name) and "dt=2028-02-29/hour=23" in name)
    table = pq.read_table(make.ARCHIVE / name, partitioning=None)
    assert (
        '"sk":{"N":"1E+2"}' in table.column("event")[-1].as_py()
    )  # a key spelled otherwise: item_key is not in its leaf
    value, reason = COLUMN_FORGERIES[column]
    field = table.schema.field(column)
    values = table.column(column).cast(pa.int64() if column == "changed_at" else pa.string()).to_pylist()
    values[-1] = values[-1] + value if column == "changed_at" else value
    forged = pa.array(values, pa.int64() if column == "changed_at" else pa.string()).cast(field.type)
    found = problems_of(table.set_column(table.column_names.index(column), field, forged), name, tmp_path)
    assert any(reason in problem for problem in found)


@pytest.mark.parametrize(
    "change", ["as it was", "metadata", "a row fewer", "a row twice", "another order", "a column more"]
)
def test_the_second_reader_finds_a_forged_file(change, tmp_path):
    """Whole rows and the frame around them are covered by root, order, columns and metadata."""
    name = next(name for name in make.digests(make.ARCHIVE) if is_segment(name) and "table_name=ledger" in name)
    table = pq.read_table(make.ARCHIVE / name, partitioning=None)
    forged = {
        "as it was": lambda: table,
        "metadata": lambda: table.replace_schema_metadata({**table.schema.metadata, b"ddbtrail.format": b"2"}),
        "a row fewer": lambda: table.slice(1),
        "a row twice": lambda: pa.concat_tables([table.slice(0, 1), table]),
        "another order": lambda: table.take(list(reversed(range(len(table))))),
        "a column more": lambda: table.append_column("more", pa.array(["x"] * len(table))),
    }[change]()
    assert bool(problems_of(forged, name, tmp_path)) is (change != "as it was")


def problems_of(table, name, folder):
    prefix = name.partition("segments/")[0]
    path = folder / name
    path.parent.mkdir(parents=True)
    sink = pa.BufferOutputStream()
    metadata = {**table.schema.metadata, METADATA_DIGEST: UNSTAMPED.encode()}  # a forger stamps what was forged
    pq.write_table(table.replace_schema_metadata(metadata), sink)
    path.write_bytes(stamp(bytes(sink.getvalue())))
    return second_reader.read_trail(folder, prefix).problems


@pytest.mark.parametrize("name", sorted(make.digests(make.ARCHIVE)) if make.ARCHIVE.exists() else [])
def test_the_second_reader_finds_every_object_cut_short(name, tmp_path):
    """No kind of object may be outside its sight; an empty one, a marker, is made longer."""
    content = (make.ARCHIVE / name).read_bytes()
    spoilt = {name: content[:-1] if content else b"x"}
    if re.search("/part-|/baseline.json", name):
        folder = make.ARCHIVE / name.rpartition("/")[0]
        spoilt = {f"{name.rpartition('/')[0]}/{path.name}": path.read_bytes() for path in folder.iterdir()} | spoilt
    for each, bytes_ in spoilt.items():
        (tmp_path / each).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / each).write_bytes(bytes_)
    _, _, problems = second_reader.read_archive(tmp_path)
    assert len(problems) == 1


# --- the page ---


def block(label: str) -> str:
    """The text of the fenced block with this label."""
    (text,) = re.findall(rf"^```\w+ {label}\n(.*?)\n```$", PAGE, re.MULTILINE | re.DOTALL)
    return text


def table_under(header: str) -> list[tuple[str, str]]:
    """The rows, two code spans each, of the table with this header."""
    (rows,) = re.findall(rf"^{re.escape(header)}\n\|---\|---\|\n((?:\|.*\|\n)+)", PAGE, re.MULTILINE)
    found = re.findall(r"^\| `(.*?)` \| `(.*?)` \|$", rows, re.MULTILINE)
    assert len(found) == rows.count("\n")
    return found


@pytest.mark.parametrize(("delivered", "expected"), table_under("| delivered | canonical |"))
def test_numbers_on_the_page(delivered, expected):
    """The canonical form of a number is the one thing here that RFC 8785 does not say."""
    assert canonical(canonical_number(json.loads(delivered))).decode() == expected


@pytest.mark.parametrize(("number", "expected"), table_under("| number | normal spelling |"))
def test_normal_spellings_on_the_page(number, expected):
    """Two implementations, one spelling: an item key depends on it."""
    assert normal_number(number) == expected == second_reader.normal_number(number)


@pytest.mark.parametrize(("attribute", "expected"), table_under("| key attribute | key text |"))
def test_key_texts_on_the_page(attribute, expected):
    """Two implementations, one text: pruning by key depends on it."""
    value = json.loads(attribute)
    assert key_text(value) == expected == second_reader.key_text(value)
    assert key_text(parse_key_text(next(iter(value)), expected)) == expected


def test_key_texts_on_the_page_are_in_order():
    """The order of the texts is what they are for."""
    numbers = [
        (float(json.loads(value)["N"]), text)
        for value, text in table_under("| key attribute | key text |")
        if '"N"' in value
    ]
    assert [text for _, text in sorted(numbers)] == sorted(text for _, text in numbers)


def test_the_worked_example_is_what_the_archiver_does():
    """Whoever writes a second reader starts from these bytes."""
    source = StreamSource.parse(json.loads(block("delivered-a"))["eventSourceARN"])
    rows = [change_record(json.loads(block(f"delivered-{row}")), source, ("pk", "sk")) for row in "abc"]
    for row, letter in zip(rows, "abc", strict=True):
        assert envelope_of_row(row).decode() == block(f"envelope-{letter}")
        assert row.leaf.hex() == block(f"leaf-{letter}")
    assert rows[2].item_key.decode() == block("item-key-c")
    assert rows[2].event.decode() == block("event-c")
    (planned,) = plan_segments(reversed(rows))
    assert planned.name == block("worked-name")
    assert planned.place.root == block("root")


def test_the_worked_example_is_what_the_second_reader_derives():
    """The row on the page, read by the page alone, gives the digests on the page."""
    row = dict(line.split(maxsplit=1) for line in block("columns-a").splitlines())
    row = {column: None if value == "NULL" else value for column, value in row.items()}
    assert list(row) == list(second_reader.SEGMENT_COLUMNS)
    assert second_reader.envelope(row) == block("envelope-a")
    leaves = [second_reader.sha256(b"\x00" + block(f"envelope-{letter}").encode()).digest() for letter in "abc"]
    assert [leaf.hex() for leaf in leaves] == [block(f"leaf-{letter}") for letter in "abc"]
    assert second_reader.tree_root(leaves[:2]).hex() == block("node-ab")
    assert second_reader.tree_root(leaves).hex() == block("root")
    delivered = json.loads(block("delivered-a"))
    assert second_reader.delivered_record(row) == delivered


@pytest.mark.parametrize(
    ("label", "kind"), [("stream-description", StreamDescription), ("baseline-description", BaselineDescription)]
)
def test_the_descriptions_on_the_page_are_real(label, kind):
    """An example that no parser takes would be worse than none."""
    assert kind.parse(block(label).encode()).compose().decode() == block(label)
