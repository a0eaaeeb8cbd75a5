"""The items file of a part beside the rows of that part.

Twice made: whoever wrote it had the engine digest the keys, and here Python's library does.
"""

from hashlib import sha256
from io import BytesIO
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq

from archiver.format.claims import check_row_count
from query.derived.items import ITEMS_SCHEMA, last_rows
from query.gate import EvidenceFile

_DIGEST_BYTES: Final = 16


class ItemsCheck:
    """What the items file of a part should say, as its rows come by."""

    def __init__(self) -> None:
        self._rows = 0
        self._expected: list[pa.Table] = []

    def take(self, rows: pa.Table) -> None:
        """The next rows of the part."""
        told = last_rows(rows, self._rows)
        self._rows += rows.num_rows
        keys = told.column("item_key").cast(pa.binary()).to_pylist()
        digests = pa.array([sha256(key).digest()[:_DIGEST_BYTES] for key in keys], pa.binary(_DIGEST_BYTES))
        columns = [pa.ExtensionArray.from_storage(pa.uuid(), digests), told.column("row"), told.column("existed")]
        self._expected.append(pa.table(columns, schema=ITEMS_SCHEMA))

    def finish(self, items: EvidenceFile) -> None:
        """Raises ValueError, and whatever a parser raises, if that is not the items file of these rows."""
        content = items.path.read_bytes()
        digest = sha256(content).hexdigest()
        if digest != items.sha256:
            raise ValueError(f"its digest is {digest[:16]}…, another one is described")
        with pq.ParquetFile(BytesIO(content), page_checksum_verification=True) as file:
            _check_footer(file)
            found = file.read(use_threads=False).cast(ITEMS_SCHEMA)
        expected = pa.concat_tables([ITEMS_SCHEMA.empty_table(), *self._expected])
        if found.num_rows != expected.num_rows:
            raise ValueError(f"it has {found.num_rows} items, its part tells of {expected.num_rows} last")
        for name in ITEMS_SCHEMA.names:
            if not found.column(name).equals(expected.column(name)):
                raise ValueError(f"its part says otherwise of {name}")


def _check_footer(file: pq.ParquetFile) -> None:
    """That a footer states what the writer of such files states. Raises ValueError."""
    empty = BytesIO()
    pq.ParquetWriter(empty, ITEMS_SCHEMA, store_schema=False).close()
    if not file.schema.equals(pq.ParquetFile(BytesIO(empty.getvalue())).schema) or file.metadata.metadata:
        raise ValueError("it does not have the columns of an items file")
    check_row_count(file.metadata)
    for number in range(file.num_row_groups):
        group = file.metadata.row_group(number)
        for place in range(group.num_columns):
            chunk = group.column(place)
            if chunk.is_stats_set or chunk.bloom_filter_offset is not None or chunk.has_column_index:
                raise ValueError("its footer states what no items file states")
