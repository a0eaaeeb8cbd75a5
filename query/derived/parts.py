"""Rows in order to the parts of a run or a snapshot: files in a working folder, with what a description says of them.

Invariants: the same rows give the same bytes, however they were cut into batches; a group of rows is at most about
`GROUP_BYTES` compressed, a part at most about `PART_BYTES` and `MOST_PART_ROWS` rows; one group is in memory.

Where groups end is for whoever asks for one item (`_GroupEnds`): an item with many rows has groups of its own, so that
its history decodes no rows of others, and any other stands in one group; but where too many small groups would follow
each other, such items share groups.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from archiver.format import FORMAT_VERSION
from archiver.format.columns import METADATA_FORMAT, METADATA_KIND, METADATA_WRITER
from query.derived.columns import REPETITIVE, WITH_STATISTICS
from query.derived.description import MOST_PART_ROWS
from query.derived.index import PartIndex
from query.derived.items import Digests, ItemsWriter
from query.derived.key_range import KeyRange, RowKey
from query.derived.members import File, Part
from query.derived.names import index_name, items_name, part_name
from query.derived.store import DerivedStore, put_whole

GROUP_BYTES: Final = 256 << 10
# A group is an eighth of what the run has before it, between this much and `GROUP_BYTES`: in a run of a day every item
# that changed often costs a question a group, which would be a quarter of the run.
_SMALLEST_GROUP_BYTES: Final = 64 << 10
_SHARE_OF_RUN: Final = 8
PART_BYTES: Final = 128_000_000
_MOST_GROUP_ROWS: Final = 1 << 16
_FIRST_GROUP_ROWS: Final = 1 << 10
# Of rows in memory, so that a few hundred items of 400 KB do not become one group.
_MOST_GROUP_MEMORY: Final = 32 << 20
# An item that would be at least this part of a group has one of its own. That makes small groups, of which an index
# tells too: each full group allows for one, and no more than some follow each other.
_LARGE_ITEM: Final = 16
_MOST_SMALL_GROUPS: Final = 16

try:
    WRITER: Final = f"ddbtrail/{version('ddbtrail')}"
except PackageNotFoundError:  # a source tree that is not installed
    WRITER = "ddbtrail"  # type: ignore[misc]


@dataclass(frozen=True, slots=True)
class WrittenPart:
    """A part that is whole in the working folder, its items file, and its index, if it has one."""

    part: Part
    path: Path
    items_path: Path
    index_path: Path | None

    @property
    def paths(self) -> tuple[Path, ...]:
        """All its files."""
        own = (self.path, self.items_path)
        return own if self.index_path is None else (*own, self.index_path)


def write_parts(
    folder: Path, tables: Iterable[pa.Table], schema: pa.Schema, kind: str, digests: Digests, *, with_index: bool
) -> Iterator[WrittenPart]:
    """Writes rows into parts below `folder`, each told as soon as it is whole. `kind` is `run` or `snapshot`; `digests`
    says which digests item keys have.
    """
    number = 0
    open_part: _OpenPart | None = None
    size = _GroupSize()
    for group in _groups(tables, schema, size):
        if open_part is None:
            open_part = _OpenPart(folder / f"part-{number}", schema, kind, digests)
        size.learn(group, open_part.write(group))
        if open_part.is_full:
            yield open_part.close(number, with_index=with_index)
            open_part, number = None, number + 1
    if open_part is not None:
        yield open_part.close(number, with_index=with_index)


class _GroupSize:
    """How many rows the next group has: as many as make the bytes that are meant, by what the last full one made of its
    rows; a small one tells more of what a group costs than of rows.
    """

    def __init__(self) -> None:
        self.rows = _FIRST_GROUP_ROWS
        self._written_bytes = 0

    def learn(self, group: pa.Table, written_bytes: int) -> None:
        self._written_bytes += written_bytes
        rows = self.rows
        meant = min(GROUP_BYTES, max(_SMALLEST_GROUP_BYTES, self._written_bytes // _SHARE_OF_RUN))
        if written_bytes > meant or not _is_small(group.num_rows, rows):
            rows = group.num_rows * meant // max(1, written_bytes)
        by_memory = group.num_rows * _MOST_GROUP_MEMORY // max(1, group.nbytes)
        self.rows = max(1, min(rows, by_memory, _MOST_GROUP_ROWS))


def _is_small(rows: int, most: int) -> bool:
    """Whether a group of so many rows is less than half of what it could have been."""
    return 2 * rows < most


def _groups(tables: Iterable[pa.Table], schema: pa.Schema, size: _GroupSize) -> Iterator[pa.Table]:
    """Rows cut into groups, each of at most as many as `size` says when it begins."""
    ends = _GroupEnds()
    waiting: list[pa.Table] = []
    rows = 0
    for table in tables:
        waiting.append(table.select(schema.names).cast(schema))
        rows += table.num_rows
        if rows <= size.rows:
            continue
        whole = pa.concat_tables(waiting)
        start = 0
        while rows - start > size.rows:
            count = ends.find(whole.slice(start, size.rows + 1).column("item_key"), size.rows)
            yield whole.slice(start, count)
            start += count
        waiting, rows = [whole.slice(start)], rows - start
    rest = pa.concat_tables(waiting) if waiting else schema.empty_table()
    while rest.num_rows:
        count = ends.find(rest.slice(0, size.rows + 1).column("item_key"), size.rows)
        yield rest.slice(0, count)
        rest = rest.slice(count)


class _GroupEnds:
    """Where groups of rows end, those of one run after each other."""

    def __init__(self) -> None:
        self._small_groups_left = _MOST_SMALL_GROUPS

    def find(self, item_keys: pa.ChunkedArray, most: int) -> int:
        """How many of these rows, which are in order, the next group has; of more than `most` one is there to tell
        whether an item goes on.
        """
        items = pc.run_end_encode(item_keys.combine_chunks(), run_end_type=pa.int64())
        ends = items.run_ends  # of the rows of each item
        starts = pa.concat_arrays([pa.array([0], pa.int64()), ends[:-1]])
        large = max(2, most // _LARGE_ITEM)
        is_large = pc.greater_equal(pc.subtract(pc.min_element_wise(ends, most), starts), large)
        first = pc.index(is_large, pa.scalar(value=True)).as_py() if self._small_groups_left > 0 else -1
        if first >= 0:
            count = starts[first].as_py() or min(ends[first].as_py(), most)
        else:
            count = min(len(item_keys), most)
            last = starts[-1].as_py()
            if max(0, most - large) < last < most < len(item_keys):
                count = last  # the item that goes on begins the next group
        left = self._small_groups_left + (-1 if _is_small(count, most) else 1)
        self._small_groups_left = min(left, _MOST_SMALL_GROUPS)  # at a time, however many full ones there were
        return int(count)


class _OpenPart:
    """A part that is being written."""

    def __init__(self, path: Path, schema: pa.Schema, kind: str, digests: Digests) -> None:
        self._path = path
        self._items_path = path.with_name(f"{path.name}.items")
        self._items = ItemsWriter(self._items_path, digests)
        self._sink = pa.OSFile(str(path), "wb")
        self._writer = pq.ParquetWriter(
            self._sink,
            schema,
            compression="zstd",
            use_dictionary=[name for name in REPETITIVE if name.partition(".")[0] in schema.names],
            write_statistics=[name for name in WITH_STATISTICS if name in schema.names],
            write_page_checksum=True,
            store_schema=False,
        )
        self._writer.add_key_value_metadata(
            {
                METADATA_FORMAT: str(FORMAT_VERSION).encode(),
                METADATA_KIND: kind.encode(),
                METADATA_WRITER: WRITER.encode(),
            }
        )
        self._groups: list[KeyRange] = []
        self._rows = 0

    @property
    def is_full(self) -> bool:
        """Whether another group would make it too large."""
        is_large: bool = self._sink.tell() + GROUP_BYTES > PART_BYTES
        return is_large or self._rows + _MOST_GROUP_ROWS > MOST_PART_ROWS

    def write(self, group: pa.Table) -> int:
        """Writes one group of rows; its size in bytes."""
        before = self._sink.tell()
        self._writer.write_table(group, row_group_size=group.num_rows)
        self._items.add(group)
        self._groups.append(KeyRange(_key(group, 0), _key(group, group.num_rows - 1)))
        self._rows += group.num_rows
        return int(self._sink.tell() - before)

    def close(self, number: int, *, with_index: bool) -> WrittenPart:
        self._writer.close()
        self._sink.close()
        self._items.close()
        digest = _sha256(self._path)
        file = File(part_name(number, digest), self._path.stat().st_size, digest)
        path = self._path.rename(self._path.with_name(file.name))
        items_path = self._items_path.rename(path.with_name(items_name(file.name)))
        index, index_path = None, None
        if with_index:
            content = PartIndex.of(path, self._groups).compose()
            index_path = path.with_name(index_name(file.name))
            index_path.write_bytes(content)
            index = File(index_path.name, len(content), sha256(content).hexdigest())
        keys = KeyRange(self._groups[0].first, self._groups[-1].last)
        part = Part(file, file_of(items_path), index, self._rows, keys)
        return WrittenPart(part, path, items_path, index_path)


def put_part(store: DerivedStore, folder: str, written: WrittenPart) -> None:
    """Puts the files of a part into a folder (its full name, with its slash), and away from here."""
    for path in written.paths:
        put_whole(store, folder + path.name, path)
        path.unlink()


def file_of(path: Path) -> File:
    """What a description says of a file."""
    return File(path.name, path.stat().st_size, _sha256(path))


def write_table(path: Path, table: pa.Table) -> File:
    """Writes a small table beside parts."""
    pq.write_table(table, path, compression="zstd", store_schema=False)
    return file_of(path)


def _key(table: pa.Table, row: int) -> RowKey:
    pk, sk, item_key = (table.column(name)[row].as_py() for name in ("pk", "sk", "item_key"))
    return RowKey(pk, sk, item_key)


def _sha256(path: Path) -> str:
    digest = sha256()
    with path.open("rb") as file:
        while some := file.read(1 << 20):
            digest.update(some)
    return digest.hexdigest()
