"""Some row groups of some parts as one table, read by ranges: the road to few rows of large files.

Invariants: every byte that the decoder sees was compared with the digest of its chunk in the part's index before
anything was parsed; what was not fetched cannot be read; the footer comes from the index. Whether an index is the
one that its run names is for whoever hands it over. All ranges of all parts are asked for at once.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from io import SEEK_CUR, SEEK_END, SEEK_SET, RawIOBase
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from query.derived.columns import RUN_SCHEMA
from query.derived.index import CHUNK_BYTES, PartIndex
from query.errors import CorruptSegment
from query.seal_log import SealMismatch
from query.source import Source, StoredObject

# A part, its index, and the numbers of the row groups that are wanted of it, in order.
Wanted = tuple[StoredObject, PartIndex, Sequence[int]]

_MADE_ANEW: Final = "no answer is given from it: delete the run that it belongs to, and ddbtrail compact makes it anew"


@dataclass(frozen=True, slots=True)
class Where:
    """Which rows are wanted, told by one column: `mask` has true for those of its values that they bear."""

    column: str
    mask: Callable[[pa.ChunkedArray], pa.ChunkedArray]


def read_groups(
    source: Source, wanted: Sequence[Wanted], columns: Sequence[str], where: Where | None = None
) -> pa.Table:
    """The rows of the row groups wanted, part after part, with these columns of a run in this order; of those rows only
    some, if it is told which: of a row group without such rows no more is decoded than the column that tells.

    Raises SealMismatch for bytes that are not those of the index, CorruptSegment for what cannot be decoded though it
    is what the index describes, FileNotFoundError (with the name) for a part that has gone, UnreadableArchive.
    """
    schema = pa.schema([RUN_SCHEMA.field(name) for name in columns])
    wanted = [one for one in wanted if one[2]]
    planned = [chunk_ranges(index, numbers) for _, index, numbers in wanted]
    for part, index, _ in wanted:
        _check_size(part, index)
    # Reading footers, hashing and decoding let other threads run.
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        footers = [threads.submit(index.metadata, numbers) for _, index, numbers in wanted]
        contents = iter(
            source.read_ranges(
                [
                    (part, *_bytes_of(index, chunks))
                    for (part, index, _), found in zip(wanted, planned, strict=True)
                    for chunks in found
                ]
            )
        )
        fetched = [[(chunks, next(contents)) for chunks in found] for found in planned]
        checked = list(threads.map(_checked, wanted, fetched))
        tables = list(threads.map(partial(_rows, schema, where), wanted, footers, checked))
    return pa.concat_tables(tables) if tables else schema.empty_table()


def chunk_ranges(index: PartIndex, numbers: Sequence[int]) -> list[range]:
    """The chunks that hold these row groups, as the fewest ranges of chunk numbers, in order."""
    found: list[range] = []
    for number in sorted(numbers):
        group = index.groups[number]
        first, last = group.offset // CHUNK_BYTES, (group.end - 1) // CHUNK_BYTES
        if found and first <= found[-1].stop:
            found[-1] = range(found[-1].start, last + 1)
        else:
            found.append(range(first, last + 1))
    return found


def _bytes_of(index: PartIndex, chunks: range) -> tuple[int, int]:
    """Offset and length in bytes."""
    start, end = index.chunk_range(chunks[0])[0], index.chunk_range(chunks[-1])[1]
    return start, end - start


def _check_size(part: StoredObject, index: PartIndex) -> None:
    if part.size_bytes != index.size_bytes:
        raise SealMismatch(
            f"{part.name} is not the file that its index describes",
            why=f"digest-mismatch: it has {part.size_bytes} bytes, its index says {index.size_bytes}",
            hint=_MADE_ANEW,
        )


def _checked(wanted: Wanted, fetched: Sequence[tuple[range, bytes]]) -> dict[int, memoryview]:
    """Chunks by number, each with the digest that the index says. Raises SealMismatch."""
    part, index, _ = wanted
    chunks = {}
    for numbers, content in fetched:
        start, length = _bytes_of(index, numbers)
        if len(content) != length:
            raise SealMismatch(
                f"{part.name} is not the file that its index describes",
                why=f"digest-mismatch: {len(content)} bytes came from byte {start} on, {length} were asked for",
                hint=_MADE_ANEW,
            )
        view = memoryview(content)
        for place, number in enumerate(numbers):
            chunk = view[place * CHUNK_BYTES : (place + 1) * CHUNK_BYTES]
            digest = sha256(chunk).digest()
            if digest != index.digest(number):
                start, end = index.chunk_range(number)
                raise SealMismatch(
                    f"{part.name} is not the file that its index describes",
                    why=f"digest-mismatch: bytes {start} to {end} have digest {digest.hex()}, "
                    f"its index says {index.digest(number).hex()}",
                    hint=_MADE_ANEW,
                )
            chunks[number] = chunk
    return chunks


def _rows(
    schema: pa.Schema,
    where: Where | None,
    wanted: Wanted,
    footer: "Future[pq.FileMetaData]",
    chunks: Mapping[int, memoryview],
) -> pa.Table:
    """The rows of one part, from chunks of it that were checked. Raises CorruptSegment."""
    part, index, numbers = wanted
    try:
        with pa.PythonFile(_CheckedBytes(chunks, index.size_bytes), mode="r") as file:
            parquet = pq.ParquetFile(file, metadata=footer.result(), pre_buffer=False)
            if where is None:
                return _decoded(parquet, numbers, schema)
            telling = pa.schema([RUN_SCHEMA.field(where.column)])
            masks = {number: where.mask(_decoded(parquet, [number], telling).column(0)) for number in numbers}
            numbers = [number for number in numbers if pc.any(masks[number]).as_py()]
            mask = pa.chunked_array([chunk for number in numbers for chunk in masks[number].chunks], pa.bool_())
            return _decoded(parquet, numbers, schema).filter(mask)
    except (pa.ArrowException, ValueError, KeyError, OSError) as error:
        raise CorruptSegment(
            f"{part.name} cannot be read", why=" ".join(str(error).split()), hint=_MADE_ANEW
        ) from error


def _decoded(parquet: pq.ParquetFile, numbers: Sequence[int], schema: pa.Schema) -> pa.Table:
    table = parquet.read_row_groups(list(numbers), columns=schema.names, use_threads=False).select(schema.names)
    return table if table.schema.equals(schema) else table.cast(schema)


class _CheckedBytes(RawIOBase):
    """A file of which only checked chunks can be read: anything else is an OSError."""

    def __init__(self, chunks: Mapping[int, memoryview], size_bytes: int) -> None:
        self._chunks = chunks
        self._size_bytes = size_bytes
        self._place = 0

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._place

    def seek(self, offset: int, whence: int = SEEK_SET) -> int:
        self._place = offset + {SEEK_SET: 0, SEEK_CUR: self._place, SEEK_END: self._size_bytes}[whence]
        return self._place

    def read(self, size: int = -1) -> bytes:
        end = self._size_bytes if size < 0 else min(self._place + size, self._size_bytes)
        pieces = []
        while self._place < end:
            number, start = divmod(self._place, CHUNK_BYTES)
            chunk = self._chunks.get(number)
            if chunk is None:
                raise OSError(f"byte {self._place} was not fetched: no row group wanted holds it")
            pieces.append(chunk[start : start + end - self._place])
            self._place += len(pieces[-1])
        return b"".join(pieces)
