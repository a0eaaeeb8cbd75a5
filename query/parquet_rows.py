"""Rows of Parquet files by their numbers: only the row groups that hold one are decoded, several at a time.

Invariant: rows come in the order asked for, file by file; of what is not wanted, each thread has about `_BYTES_AT_ONCE`
in memory, or one row group.
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
_BYTES_AT_ONCE: Final = 32 << 20


@dataclass(frozen=True, slots=True)
class RowsWanted:
    """The numbers of the rows wanted of a file that was checked, ascending, each once; and of which columns."""

    file: EvidenceFile
    kind: Kind
    rows: pa.Int64Array
    columns: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Stretch:
    """Some row groups in order, and the places of the rows wanted among all of theirs."""

    wanted: RowsWanted
    footer: pq.FileMetaData
    groups: tuple[int, ...]
    places: pa.Int64Array


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
    import pyarrow.compute as pc  # noqa: PLC0415  takes its time

    footer = _footer(wanted)
    groups: list[int] = []
    places: list[pa.Int64Array] = []
    held_rows = held_bytes = 0
    rows, place, start = wanted.rows, 0, 0
    for number in range(footer.num_row_groups):
        group = footer.row_group(number)
        end = bisect_left(range(len(rows)), start + group.num_rows, lo=place, key=lambda at: rows[at].as_py())
        if end > place:
            groups.append(number)
            places.append(pc.subtract(rows.slice(place, end - place), pa.scalar(start - held_rows, pa.int64())))
            held_rows, held_bytes = held_rows + group.num_rows, held_bytes + group.total_byte_size
        place, start = end, start + group.num_rows
        if groups and (held_bytes >= _BYTES_AT_ONCE or number == footer.num_row_groups - 1):
            yield _Stretch(wanted, footer, tuple(groups), pa.concat_arrays(places))
            groups, places, held_rows, held_bytes = [], [], 0, 0


def _footer(wanted: RowsWanted) -> pq.FileMetaData:
    try:
        return pq.read_metadata(wanted.file.path)
    except FileNotFoundError as error:
        raise gone(wanted.file, wanted.kind) from error
    except (pa.ArrowException, OSError) as error:
        raise corrupt(wanted.file, str(error)) from error


def _read(stretch: _Stretch) -> pa.Table:
    wanted = stretch.wanted
    try:
        with pq.ParquetFile(wanted.file.path, metadata=stretch.footer) as file:
            found = file.read_row_groups(list(stretch.groups), columns=list(wanted.columns), use_threads=False)
    except FileNotFoundError as error:
        raise gone(wanted.file, wanted.kind) from error
    except (pa.ArrowException, OSError) as error:
        raise corrupt(wanted.file, str(error)) from error
    if len(stretch.places) < found.num_rows:
        found = found.take(stretch.places)
    # Some rows of each: what comes after has a cost for each piece.
    return found.combine_chunks()
