"""Rows of Parquet files by their numbers: only the row groups that hold one are decoded, several at a time.

Invariant: rows come in the order asked for, file by file, and one row group of each thread is in memory.
"""

import os
from bisect import bisect_left
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq

from query.gate import EvidenceFile, Kind, corrupt, gone

# Opening a file again costs as much as decoding a few hundred rows.
_GROUPS_AT_ONCE: Final = 8


@dataclass(frozen=True, slots=True)
class RowsWanted:
    """The numbers of the rows wanted of a file that was checked, ascending, each once; and of which columns."""

    file: EvidenceFile
    kind: Kind
    rows: pa.Int64Array
    columns: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Stretch:
    """Some row groups in a row: the number of each, and the places of its rows among themselves; None: all of them."""

    wanted: RowsWanted
    footer: pq.FileMetaData
    groups: tuple[tuple[int, pa.Int64Array | None], ...]


def rows_of(wanted: Sequence[RowsWanted], threads: int | None = None) -> Iterator[tuple[RowsWanted, pa.Table]]:
    """The rows, some at a time, each with what it was asked for by.

    Raises DerivedGone for a part of a run or a snapshot that has gone meanwhile, CorruptSegment for a file that cannot
    be decoded.
    """
    count = threads or os.cpu_count() or 1
    with ThreadPoolExecutor(count) as pool:
        ahead: deque[tuple[RowsWanted, Future[pa.Table]]] = deque()
        try:
            for stretch in (stretch for one in wanted for stretch in _stretches(one)):
                ahead.append((stretch.wanted, pool.submit(_read, stretch)))
                if len(ahead) > count:
                    one, future = ahead.popleft()
                    yield one, future.result()
            while ahead:
                one, future = ahead.popleft()
                yield one, future.result()
        finally:
            for _, future in ahead:
                future.cancel()


def _stretches(wanted: RowsWanted) -> Iterator[_Stretch]:
    footer = _footer(wanted)
    groups: list[tuple[int, pa.Int64Array | None]] = []
    rows, place, start = wanted.rows, 0, 0
    for number in range(footer.num_row_groups):
        count = footer.row_group(number).num_rows
        end = bisect_left(range(len(rows)), start + count, lo=place, key=lambda at: rows[at].as_py())
        if end > place:
            inside = None if end - place == count else _less(rows.slice(place, end - place), start)
            groups.append((number, inside))
        place, start = end, start + count
        if len(groups) == _GROUPS_AT_ONCE:
            yield _Stretch(wanted, footer, tuple(groups))
            groups = []
    if groups:
        yield _Stretch(wanted, footer, tuple(groups))


def _less(rows: pa.Int64Array, start: int) -> pa.Int64Array:
    import pyarrow.compute as pc  # noqa: PLC0415  takes its time

    return pc.subtract(rows, pa.scalar(start, pa.int64()))


def _footer(wanted: RowsWanted) -> pq.FileMetaData:
    try:
        return pq.read_metadata(wanted.file.path)
    except FileNotFoundError as error:
        raise gone(wanted.file, wanted.kind) from error
    except (pa.ArrowException, OSError) as error:
        raise corrupt(wanted.file, str(error)) from error


def _read(stretch: _Stretch) -> pa.Table:
    wanted = stretch.wanted
    found = []
    try:
        with pq.ParquetFile(wanted.file.path, metadata=stretch.footer) as file:
            for number, rows in stretch.groups:
                table = file.read_row_group(number, columns=list(wanted.columns), use_threads=False)
                found.append(table if rows is None else table.take(rows))
    except FileNotFoundError as error:
        raise gone(wanted.file, wanted.kind) from error
    except (pa.ArrowException, OSError) as error:
        raise corrupt(wanted.file, str(error)) from error
    # Some rows of each: what comes after has a cost for each piece.
    return pa.concat_tables(found).combine_chunks()
