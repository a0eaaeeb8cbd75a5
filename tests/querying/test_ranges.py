"""Row groups read by ranges: only what is needed is fetched, and nothing is decoded that was not checked."""

import os

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from query.derived import ranges
from query.derived.columns import RUN_SCHEMA
from query.derived.index import CHUNK_BYTES, PartIndex, RowGroup
from query.derived.ranges import chunk_ranges, read_groups
from query.errors import CorruptSegment, UnreadableArchive
from query.seal_log import SealMismatch
from query.source import FolderSource, StoredObject
from tests.querying.test_part_index import GROUPS, key, run_rows, write_part

COLUMNS = RUN_SCHEMA.names


class Watched(FolderSource):
    """A folder that remembers what was asked of it, and may answer with something else."""

    def __init__(self, root):
        super().__init__(root)
        self.asked = []
        self.answer = lambda contents: contents

    def read_ranges(self, wanted):
        self.asked.append([(stored.name, offset, length) for stored, offset, length in wanted])
        return self.answer(super().read_ranges(wanted))


@pytest.fixture
def source(tmp_path):
    return Watched(tmp_path)


def add_part(source, name, groups):
    index = write_part(source._root / name, groups)
    return StoredObject(name, index.size_bytes), index


@pytest.fixture
def part(source):
    return add_part(source, "part-0.parquet", GROUPS)


def rows_of(*groups, columns=COLUMNS):
    return pa.concat_tables(groups).select(columns)


@pytest.mark.parametrize("numbers", [(0,), (7,), (3, 4), (0, 7), (0, 2, 4, 6), tuple(range(8))])
def test_the_rows_are_those_of_the_row_groups(source, part, numbers):
    """All of their rows, all columns, in order."""
    table = read_groups(source, [(*part, numbers)], COLUMNS)
    assert table.schema.equals(RUN_SCHEMA)
    assert table.to_pylist() == rows_of(*(GROUPS[number] for number in numbers)).to_pylist()


def test_columns_come_as_they_were_asked_for(source, part):
    """Whoever asks for few columns, in another order, gets those."""
    columns = ["position", "changed_attributes", "item_key"]
    table = read_groups(source, [(*part, (5,))], columns)
    assert table.column_names == columns
    assert table.to_pylist() == rows_of(GROUPS[5], columns=columns).to_pylist()


def test_all_parts_are_asked_for_at_once(source, part):
    """Latency is paid once, not once for every part."""
    more = [add_part(source, f"part-{number}.parquet", GROUPS[number : number + 3]) for number in range(1, 6)]
    table = read_groups(source, [(*part, (1,)), *((*one, (0, 2)) for one in more)], COLUMNS)
    assert len(source.asked) == 1
    assert {name for name, _, _ in source.asked[0]} == {f"part-{number}.parquet" for number in range(6)}
    expected = [GROUPS[1], *(GROUPS[number + more] for number in range(1, 6) for more in (0, 2))]
    assert table.to_pylist() == rows_of(*expected).to_pylist()


def test_of_groups_without_a_row_that_is_wanted_only_one_column_is_decoded(source, part, monkeypatch):
    """The rows wanted come in the order of the parts, whatever stands between them."""
    more = add_part(source, "part-1.parquet", GROUPS[1:4])
    keys = {GROUPS[number].column("item_key")[1].as_py() for number in (0, 2, 3)}
    where = ranges.Where("item_key", lambda column: pc.is_in(column, pa.array(sorted(keys))))
    decoded, whole = [], ranges._decoded
    monkeypatch.setattr(
        ranges,
        "_decoded",
        lambda file, numbers, schema: decoded.append((numbers, schema)) or whole(file, numbers, schema),
    )
    table = read_groups(source, [(*part, (0, 3, 7)), (*more, (0, 1))], COLUMNS, where)
    expected = [
        row for group in (GROUPS[0], GROUPS[3], GROUPS[2]) for row in group.to_pylist() if row["item_key"] in keys
    ]
    assert len(expected) >= 3
    assert table.select(COLUMNS).to_pylist() == expected
    assert sorted(numbers for numbers, schema in decoded if len(schema) > 1) == [[0, 3], [1]]


def test_where_no_row_is_wanted_there_are_none(source, part):
    """Of a key that lies between those of a row group."""
    where = ranges.Where("item_key", lambda column: pc.equal(column, "no item has this key"))
    table = read_groups(source, [(*part, (0, 7))], COLUMNS, where)
    assert (table.num_rows, table.schema) == (0, RUN_SCHEMA)


def test_of_nothing_there_are_no_rows(source, part, undecoded):
    """An empty table has its columns, and asks for nothing."""
    for wanted in ([], [(*part, ())]):
        table = read_groups(source, wanted, ["pk", "effective_at"])
        assert table.num_rows == 0
        assert table.schema.equals(pa.schema([RUN_SCHEMA.field("pk"), RUN_SCHEMA.field("effective_at")]))
    assert [one for asked in source.asked for one in asked] == []


def test_only_the_chunks_of_the_row_groups_are_fetched(source, part):
    """Whole chunks, since only of those is there a digest; neighbours in one request; never the footer."""
    stored, index = part
    read_groups(source, [(stored, index, (2,))], ["pk"])
    read_groups(source, [(stored, index, (2, 3))], ["pk"])
    read_groups(source, [(stored, index, (0, 7))], ["pk"])
    one, neighbours, distant = source.asked
    group = index.groups[2]
    start, end = group.offset // CHUNK_BYTES * CHUNK_BYTES, -(-group.end // CHUNK_BYTES) * CHUNK_BYTES
    assert one == [(stored.name, start, end - start)]
    assert neighbours == [(stored.name, start, -(-index.groups[3].end // CHUNK_BYTES) * CHUNK_BYTES - start)]
    assert [offset for _, offset, _ in distant] == [0, index.groups[7].offset // CHUNK_BYTES * CHUNK_BYTES]
    assert sum(distant[-1][1:]) == min(-(-index.groups[7].end // CHUNK_BYTES) * CHUNK_BYTES, index.size_bytes)


def place(*groups):
    """An index for the chunks only: (offset, bytes) of each group."""
    return type("Index", (), {"groups": [RowGroup(offset, size, 1, None) for offset, size in groups]})


C = CHUNK_BYTES


@pytest.mark.parametrize(
    ("groups", "numbers", "expected"),
    [
        ([(4, 10)], (0,), [range(1)]),
        ([(4, C - 4)], (0,), [range(1)]),
        ([(4, C - 3)], (0,), [range(2)]),
        ([(C - 1, 1)], (0,), [range(1)]),
        ([(C, C)], (0,), [range(1, 2)]),
        ([(4, C - 4), (C, 1)], (0, 1), [range(2)]),
        ([(4, 10), (14, 10)], (0, 1), [range(1)]),
        ([(4, 10), (C + 5, 10)], (0, 1), [range(2)]),
        ([(4, 10), (2 * C, 10)], (0, 1), [range(1), range(2, 3)]),
        ([(4, 5 * C), (6 * C, 10)], (1, 0), [range(7)]),
        ([(4, 5 * C), (5 * C + 9, 10)], (0, 0), [range(6)]),
    ],
)
def test_chunks_are_the_fewest_that_hold_the_groups(groups, numbers, expected):
    """At the borders of chunks: a byte before, at, and after."""
    assert chunk_ranges(place(*groups), numbers) == expected


# --- what is not what the index says ---


def damaged(source, name, position, bit=0):
    path = source._root / name
    content = bytearray(path.read_bytes())
    content[position] ^= 1 << bit
    path.write_bytes(bytes(content))


@pytest.fixture
def undecoded(monkeypatch):
    """A decoder that must not be reached."""

    def refuse(*_args, **_more):
        raise AssertionError("decoded before all of it was checked")

    monkeypatch.setattr(ranges.pq, "ParquetFile", refuse)


def test_a_flipped_bit_in_any_chunk_is_found_before_anything_is_decoded(source, part, undecoded):
    """In the first byte, the last one or between, of every chunk that holds a row."""
    stored, index = part
    whole = (source._root / stored.name).read_bytes()
    chunks = -(-index.groups[-1].end // CHUNK_BYTES)
    assert chunks > 8
    for chunk in range(chunks):
        start, end = index.chunk_range(chunk)
        for bit, position in enumerate((start, (start + end) // 2, end - 1)):
            damaged(source, stored.name, position, bit)
            with pytest.raises(SealMismatch, match=stored.name) as caught:
                read_groups(source, [(stored, index, index.all_groups())], COLUMNS)
            assert f"digest-mismatch: bytes {start} to {end} have digest" in caught.value.why
            assert index.digest(chunk).hex() in caught.value.why
            assert (caught.value.code, caught.value.exit_code) == ("digest-mismatch", 4)
            (source._root / stored.name).write_bytes(whole)


def test_a_flipped_bit_in_one_of_many_parts_is_found(source, undecoded):
    """Before any of the others is decoded."""
    parts = [add_part(source, f"part-{number}.parquet", GROUPS[:2]) for number in range(4)]
    damaged(source, "part-3.parquet", 70_000)
    with pytest.raises(SealMismatch, match="part-3"):
        read_groups(source, [(*one, (0, 1)) for one in parts], COLUMNS)


def test_damage_elsewhere_in_a_part_is_not_looked_for(source, part):
    """What no answer rests on is for verify to find."""
    stored, index = part
    damaged(source, stored.name, index.groups[7].offset + 70_000)
    assert read_groups(source, [(stored, index, (0,))], COLUMNS).num_rows == 100


def test_bytes_of_another_place_are_found(source, part, undecoded):
    """A source that mixes up two ranges, or answers with too few or too many bytes, is no part of what is trusted."""
    stored, index = part
    for answer in (
        lambda contents: contents[::-1],
        lambda contents: [content[:-1] for content in contents],
        lambda contents: [content[:CHUNK_BYTES] for content in contents],
        lambda contents: [b"" for _ in contents],
        lambda contents: [content + b"\x00" for content in contents],
    ):
        source.answer = answer
        with pytest.raises(SealMismatch):
            read_groups(source, [(stored, index, (0, 7))], COLUMNS)


def test_a_part_of_another_size_is_found(source, part):
    """The index speaks of another file."""
    stored, index = part
    with pytest.raises(SealMismatch, match=stored.name) as caught:
        read_groups(source, [(StoredObject(stored.name, stored.size_bytes + 1), index, (0,))], COLUMNS)
    assert f"it has {stored.size_bytes + 1} bytes, its index says {stored.size_bytes}" in caught.value.why
    assert source.asked == []


def test_a_byte_that_was_not_fetched_cannot_be_read():
    """Nor what lies behind the end; all others are those of their chunks, wherever a read begins and ends."""
    content = os.urandom(3 * CHUNK_BYTES + 100)
    chunks = {number: memoryview(content)[number * CHUNK_BYTES : (number + 1) * CHUNK_BYTES] for number in (1, 3)}
    file = ranges._CheckedBytes(chunks, len(content))
    for start, end in ((C, C + 1), (2 * C - 1, 2 * C), (C + 5, 2 * C), (3 * C, 3 * C + 100), (3 * C + 99, 3 * C + 100)):
        assert file.seek(start) == file.tell() == start
        assert file.read(end - start) == content[start:end]
        assert file.tell() == end
    assert file.read(10) == b""
    assert file.seek(-10, os.SEEK_END) == len(content) - 10
    assert file.read() == content[-10:]
    for start, length in ((C - 1, 1), (C - 1, 2), (2 * C - 1, 2), (0, 1), (2 * C, C + 1)):
        file.seek(start)
        with pytest.raises(OSError, match="was not fetched"):
            file.read(length)


def test_what_was_not_fetched_is_not_answered(source, part, monkeypatch):
    """A group left out of the ranges is an error, never a row of zeros."""
    stored, index = part
    monkeypatch.setattr(ranges, "chunk_ranges", lambda index, numbers: chunk_ranges(index, numbers[:1]))
    with pytest.raises(CorruptSegment, match=f"{stored.name} cannot be read") as caught:
        read_groups(source, [(stored, index, (0, 7))], COLUMNS)
    assert "was not fetched" in caught.value.why


def test_what_is_as_promised_and_no_parquet_is_corrupt(source, part):
    """An index over nonsense, every digest of it true."""
    stored, index = part
    path = source._root / stored.name
    content = bytearray(path.read_bytes())
    group = index.groups[3]
    content[group.offset : group.end] = bytes(group.size_bytes)
    path.write_bytes(bytes(content))
    lying = PartIndex.of(path, [group.keys for group in index.groups])
    with pytest.raises(CorruptSegment, match=f"{stored.name} cannot be read"):
        read_groups(source, [(stored, lying, (3,))], COLUMNS)
    assert read_groups(source, [(stored, lying, (4,))], COLUMNS).to_pylist() == GROUPS[4].to_pylist()


def test_an_index_that_its_own_footer_contradicts_is_not_followed(source, part):
    """The decoder goes by the footer, the digests by the groups: rows of another group would be checked ones too."""
    stored, index = part
    group = index.groups[3]
    more = RowGroup(group.offset, group.size_bytes, group.rows + 1, group.keys)
    lying = PartIndex(index.size_bytes, (*index.groups[:3], more, *index.groups[4:]), index.digests, index.footer)
    with pytest.raises(CorruptSegment, match=f"{stored.name} cannot be read") as caught:
        read_groups(source, [(stored, lying, (3,))], COLUMNS)
    assert caught.value.why == "its footer says otherwise"


def test_a_part_without_a_column_is_corrupt(source):
    """Of another derivation, or of another hand."""
    narrow = GROUPS[0].drop_columns(["superseded_at"])
    with pq.ParquetWriter(source._root / "part-0.parquet", narrow.schema, compression="zstd") as writer:
        writer.write_table(narrow)
    index = PartIndex.of(source._root / "part-0.parquet", [write_part(source._root / "x", GROUPS[:1]).groups[0].keys])
    with pytest.raises(CorruptSegment):
        read_groups(source, [(StoredObject("part-0.parquet", index.size_bytes), index, (0,))], COLUMNS)


def test_a_part_that_has_gone_is_named(source, part):
    """The question is planned once more: a collector may have removed it."""
    stored, index = part
    (source._root / stored.name).unlink()
    with pytest.raises(FileNotFoundError, match=stored.name):
        read_groups(source, [(stored, index, (0,))], COLUMNS)


# --- a folder's ranges ---


def test_a_folder_gives_the_bytes_asked_for(tmp_path):
    """In the order they were asked for, of whatever objects."""
    content = os.urandom(1000)
    (tmp_path / "a").write_bytes(content)
    (tmp_path / "b").write_bytes(content[::-1])
    a, b = StoredObject("a", 1000), StoredObject("b", 1000)
    source = FolderSource(tmp_path)
    found = source.read_ranges([(b, 0, 10), (a, 990, 10), (a, 0, 1000), (b, 5, 1)])
    assert found == [content[::-1][:10], content[990:], content, content[::-1][5:6]]
    assert (source.traffic.requests, source.traffic.bytes, source.traffic.cached) == (4, 1021, 0)
    assert source.read_ranges([]) == []


def test_a_file_that_ends_too_early_is_an_error(tmp_path):
    """Fewer bytes than were asked for are no answer."""
    (tmp_path / "a").write_bytes(bytes(100))
    with pytest.raises(UnreadableArchive, match="a has 100 bytes, and 101 were expected"):
        FolderSource(tmp_path).read_ranges([(StoredObject("a", 200), 1, 100)])
    with pytest.raises(UnreadableArchive, match="a has 100 bytes"):
        FolderSource(tmp_path).read_ranges([(StoredObject("a", 200), 150, 1)])


def test_what_is_no_file_is_an_error(tmp_path):
    """A pipe in its place would be waited for without end."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    for name in ("pipe", "folder"):
        with pytest.raises(UnreadableArchive):
            FolderSource(tmp_path).read_ranges([(StoredObject(name, 10), 0, 10)])
    with pytest.raises(FileNotFoundError, match="none/at-all"):
        FolderSource(tmp_path).read_ranges([(StoredObject("none/at-all", 10), 0, 10)])


def test_a_folder_counts_what_is_asked_of_it(tmp_path):
    """What `--explain` says of a folder is what S3 would have been asked."""
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "a").write_bytes(bytes(100))
    source = FolderSource(tmp_path)
    counted = []
    for ask in (
        lambda: source.folders(""),
        lambda: source.objects(""),
        lambda: source.fetch(source.objects("") * 2),
        lambda: source.read(["./x/a", "x/b"]),
    ):
        ask()
        counted.append((source.traffic.requests, source.traffic.bytes, source.traffic.cached))
    assert counted == [(1, 0, 0), (2, 0, 0), (5, 200, 0), (7, 300, 0)]


def test_groups_smaller_than_a_chunk_share_it(source):
    """Groups that lie close to one another: what is between them is neither fetched twice nor missed."""
    groups = [run_rows([key(number)], start=number, image_bytes=200) for number in range(100)]
    part = add_part(source, "small.parquet", groups)
    for numbers in ((0, 99), (3, 5, 7), tuple(range(0, 100, 9))):
        table = read_groups(source, [(*part, numbers)], COLUMNS)
        assert table.to_pylist() == rows_of(*(groups[number] for number in numbers)).to_pylist()
        assert sum(length for _, _, length in source.asked[-1]) <= part[1].size_bytes
