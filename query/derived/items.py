"""The items file of a part: for each item that a row of the part tells of last, a digest of its key, that row, and
whether the item existed. Whoever asks for a whole table reads it instead of the keys in the part.

Laws: what it says follows from the rows of its part alone, however they were cut into batches. An item has at most one
row in all items files of a run, since it has one last change.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

ITEMS_SCHEMA: Final = pa.schema(
    [
        pa.field("item_digest", pa.uuid(), nullable=False),
        pa.field("row", pa.int64(), nullable=False),
        pa.field("existed", pa.bool_(), nullable=False),
    ]
)
# Large groups: all of it is read, or nothing.
_GROUP_ROWS: Final = 1 << 17

# The first 16 bytes of the SHA-256 of each item key, as UUIDs.
Digests = Callable[[pa.ChunkedArray], pa.Array]


def last_rows(rows: pa.Table, start: int) -> pa.Table:
    """Of rows of a run or a snapshot those that tell of an item last: `item_key`, `row` (the first one is `start`) and
    `existed`. Of rows that tell of the same change it is the first.
    """
    if "outcome" in rows.column_names:
        chosen = pa.array(range(rows.num_rows), pa.int64())
        existed = pc.equal(rows.column("outcome"), "existed")
    else:
        is_last = pc.and_not(pc.is_null(rows.column("superseded_at")), rows.column("repeats"))
        chosen = pc.indices_nonzero(is_last).cast(pa.int64())
        existed = pc.not_equal(rows.column("op").take(chosen), "REMOVE")
    keys = rows.column("item_key").take(chosen)
    return pa.table({"item_key": keys, "row": pc.add(chosen, start), "existed": existed})


class ItemsWriter:
    """Writes the items file of a part whose rows come one group after the other. `digests` says what the keys have."""

    def __init__(self, path: Path, digests: Digests) -> None:
        self._digests = digests
        self._writer = pq.ParquetWriter(
            path,
            ITEMS_SCHEMA,
            compression="zstd",
            use_dictionary=False,
            column_encoding={"row": "DELTA_BINARY_PACKED"},
            write_statistics=False,
            write_page_checksum=True,
            store_schema=False,
        )
        self._held: list[pa.Table] = []
        self._held_rows = self._rows = 0

    def add(self, rows: pa.Table) -> None:
        """The next rows of the part."""
        self._held.append(last_rows(rows, self._rows))
        self._rows += rows.num_rows
        self._held_rows += self._held[-1].num_rows
        while self._held_rows >= _GROUP_ROWS:
            self._write(_GROUP_ROWS)

    def close(self) -> None:
        """Writes what is left."""
        if self._held_rows:
            self._write(self._held_rows)
        self._writer.close()

    def _write(self, count: int) -> None:
        held = pa.concat_tables(self._held)
        group = held.slice(0, count)
        self._held, self._held_rows = [held.slice(count)], held.num_rows - count
        columns = [self._digests(group.column("item_key")), group.column("row"), group.column("existed")]
        self._writer.write_table(pa.table(columns, schema=ITEMS_SCHEMA), row_group_size=count)
