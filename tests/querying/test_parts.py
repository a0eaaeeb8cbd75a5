"""Parts of a run: the rows that they were made of, in groups that end where somebody who asks for one item wants it."""

import json
from itertools import groupby, pairwise
from random import Random

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from archiver.format.layout import StreamSource
from archiver.segment import encode_segment
from query.derived import parts
from query.derived.columns import RUN_SCHEMA
from query.derived.description import RunDescription
from query.derived.index import PartIndex
from query.derived.parts import write_parts
from query.engine import Engine
from query.gate import EvidenceFile
from query.run_rows import read_unhinted, rows_in_order
from tests.archiving.test_golden import block, change_record, plan_segments
from tests.querying.test_part_index import key, run_rows

MOST = 64  # rows of a group here
LARGE = MOST // 16  # rows of an item that has a group of its own
SEEDS = 40


@pytest.fixture(scope="module")
def digests():
    with Engine(threads=1).ask() as question:
        yield question.item_digests


@pytest.fixture
def small_groups(monkeypatch):
    """Groups of `MOST` rows at most, whatever their bytes."""
    monkeypatch.setattr(parts, "_FIRST_GROUP_ROWS", MOST)
    monkeypatch.setattr(parts, "_MOST_GROUP_ROWS", MOST)


def rows_of_items(sizes):
    """Rows in order: as many of each item as `sizes` says."""
    return run_rows([key(item) for item, size in enumerate(sizes) for _ in range(size)], image_bytes=10)


def drawn_sizes(rng):
    ordinary = [rng.randrange(1, LARGE) for _ in range(rng.randrange(200))]
    hot = [rng.choice([LARGE, LARGE + 1, 40, MOST - 1, MOST, MOST + 1, 130]) for _ in range(rng.randrange(12))]
    sizes = ordinary + hot
    rng.shuffle(sizes)
    return sizes or [1]


def written(folder, rows, digests, rng=None):
    """The parts that are made of these rows, however they come: the tables of their groups, and all bytes."""
    folder.mkdir()
    ends = sorted(rng.randrange(rows.num_rows + 1) for _ in range(rng.randrange(5))) if rng else []
    tables = [rows.slice(start, end - start) for start, end in pairwise([0, *ends, rows.num_rows])]
    groups, contents = [], []
    for part in write_parts(folder, tables, RUN_SCHEMA, "run", digests, with_index=True):
        index = PartIndex.parse(part.index_path.read_bytes())
        with pq.ParquetFile(part.path) as file:
            groups += [file.read_row_group(number) for number in range(len(index.groups))]
        contents += [path.read_bytes() for path in part.paths]
    return groups, contents


def items_of(group):
    """How many rows of each item a group has."""
    return [(item, len(list(same))) for item, same in groupby(group.column("item_key").to_pylist())]


@pytest.mark.parametrize("seed", range(SEEDS))
def test_groups_end_where_items_do(seed, tmp_path, digests, small_groups, monkeypatch):
    """No row is lost or moved; an item with many rows is alone in its groups, and any that fits in one stands in one."""
    monkeypatch.setattr(parts, "_MOST_SMALL_GROUPS", 1 << 20)
    rng = Random(seed)
    sizes = drawn_sizes(rng)
    rows = rows_of_items(sizes)
    groups, contents = written(tmp_path / "once", rows, digests, rng)
    assert pa.concat_tables(groups).cast(RUN_SCHEMA).equals(rows)
    assert written(tmp_path / "again", rows, digests, rng)[1] == contents, "how rows came shows in the files"
    assert max(group.num_rows for group in groups) <= MOST
    said = dict(zip((key(item).item_key for item in range(len(sizes))), sizes, strict=True))
    for group in groups:
        held = items_of(group)
        assert len(held) == 1 or max(rows for _, rows in held) < LARGE
    where = [item for group in groups for item, _ in items_of(group)]
    assert {item for item in where if where.count(item) > 1} <= {item for item, size in said.items() if size > MOST}


def test_the_groups_of_ordinary_items_are_full(tmp_path, digests, small_groups):
    """Ending where an item does costs no more than a few rows of each group."""
    groups, _ = written(tmp_path / "parts", rows_of_items([LARGE - 1] * 1_000), digests)
    assert min(group.num_rows for group in groups[:-1]) > MOST - LARGE


@pytest.mark.parametrize("size", [LARGE, LARGE + 3, MOST // 2 - 1])
def test_many_large_items_do_not_make_an_index_of_small_groups(size, tmp_path, digests, small_groups):
    """Every item of a table may change often: then groups are shared again, but for a few."""
    groups, _ = written(tmp_path / "parts", rows_of_items([size] * (6_400 // size)), digests)
    full = [group for group in groups if 2 * group.num_rows >= MOST]
    small = len(groups) - len(full)
    assert LARGE < small <= 16 + len(full) + 1  # the last one may be
    assert max(group.num_rows for group in groups) <= MOST


def test_full_groups_allow_for_no_row_of_small_ones(tmp_path, digests, small_groups):
    """One item with very many changes does not make each later one a group: indexes would grow beyond reading."""
    sizes = [100 * MOST, *[LARGE] * 400]
    groups, _ = written(tmp_path / "parts", rows_of_items(sizes), digests)
    small = [2 * group.num_rows < MOST for group in groups]
    assert max(len(list(same)) for is_small, same in groupby(small) if is_small) <= 16
    assert sum(small) <= 16 + len(groups) / 2


def test_a_small_group_of_large_rows_tells_how_large_rows_are(tmp_path, digests):
    """Small rows, then larger ones, of items with a group of their own each: no more of those than have to be."""
    small = run_rows([key(item) for item in range(8_000)], image_bytes=10)
    large = run_rows([key(8_000 + item // 400) for item in range(4_000)], image_bytes=4_000)
    written(tmp_path / "parts", pa.concat_tables([small, large]), digests)
    (path,) = (tmp_path / "parts").glob("*.parquet")
    found = PartIndex.parse(path.with_name(path.name.replace(".parquet", ".idx")).read_bytes()).groups
    assert sum(group.size_bytes > 2 * parts.GROUP_BYTES for group in found) <= 2


def test_the_first_groups_of_a_run_are_small_ones(tmp_path, digests):
    """In a run of a day an item that changed often costs a group; a group of 256 KB would be a good part of the run."""
    rows = run_rows([key(item) for item in range(24_000)], image_bytes=200)
    written(tmp_path / "parts", rows, digests)
    (path,) = (tmp_path / "parts").glob("*.parquet")
    found = PartIndex.parse(path.with_name(path.name.replace(".parquet", ".idx")).read_bytes()).groups
    sizes = [group.size_bytes for group in found][1:-1]  # the first is of rows that nobody knew the size of
    assert len(sizes) >= 20
    for number, size in enumerate(sizes):
        before = found[number + 1].offset
        meant = min(parts.GROUP_BYTES, max(64 << 10, before // 8))
        assert meant * 0.8 < size < meant * 1.2, (number, before)
    assert sizes[0] < 80_000
    assert sizes[-1] > 200_000


def test_the_part_on_the_page(tmp_path, digests):
    """The example of docs/format.md, section 17: what becomes of its segment. Another version of a library may write
    other bytes: then the page gets them.
    """
    source = StreamSource.parse(json.loads(block("delivered-a"))["eventSourceARN"])
    rows = [change_record(json.loads(block(f"delivered-{row}")), source, ("pk", "sk")) for row in "abc"]
    (planned,) = plan_segments(rows)
    path = tmp_path / "segment.parquet"
    path.write_bytes(encode_segment(planned))
    with Engine(threads=1).ask() as question:
        read_unhinted(question, [], [EvidenceFile(path, planned.name, root=planned.place.root)], [1])
        question.run("run_rows_as_hinted")
        tables = list(rows_in_order(question))
    (tmp_path / "run").mkdir()
    (part,) = write_parts(tmp_path / "run", tables, RUN_SCHEMA, "run", digests, with_index=True)
    line = PartIndex.parse(part.index_path.read_bytes())._plain().partition(b"\n")[0]
    assert line.decode() == block("run-index")
    assert RunDescription.parse(block("run-description").encode()).parts == (part.part,)
