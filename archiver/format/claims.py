"""What a Parquet footer states of a group of rows, beside the rows: how many, least and greatest values, NULLs.

Readers skip whole groups by it, so a false statement hides rows that are there, and no leaf covers it. No Parquet
library is imported: metadata are asked as pyarrow's `FileMetaData` and `RowGroupMetaData` answer.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from archiver.format.columns import Column

_PHYSICAL: Final = {"string": "BYTE_ARRAY", "timestamp_ms_utc": "INT64"}


class Extent:
    """Least and greatest value of a column in a group of rows (text, bytes or a number), and how many are NULL."""

    def __init__(self, least: Any = None, greatest: Any = None, nulls: int = 0) -> None:
        self.least, self.greatest, self.nulls = least, greatest, nulls

    def take(self, least: Any, greatest: Any, nulls: int) -> None:
        """Takes the next values of the column into account: least and greatest of them, None if all are NULL."""
        self.nulls += nulls
        if least is not None:
            self.least = least if self.least is None else min(least, self.least)
            self.greatest = greatest if self.greatest is None else max(greatest, self.greatest)


def check_row_count(footer: Any) -> None:
    """Raises ValueError for a footer that states another number of rows than its groups have in all: engines count by
    it."""
    rows = sum(footer.row_group(number).num_rows for number in range(footer.num_row_groups))
    if footer.num_rows != rows:
        raise ValueError(f"its footer states {footer.num_rows} rows, its groups have {rows}")


def stated_columns(group: Any, columns: Sequence[Column]) -> list[int]:
    """The places of the columns of whose values a group states anything. Raises ValueError for what no writer of this
    format states.
    """
    stated = []
    for place, column in enumerate(columns):
        chunk = group.column(place)
        if chunk.physical_type != _PHYSICAL[column.kind]:
            # Not asked further: the library would end the process, and no error could be caught.
            raise ValueError(f"its footer states that {column.name} is {chunk.physical_type} in a group of rows")
        if chunk.num_values != group.num_rows:
            raise ValueError(f"its footer states {chunk.num_values} values of {column.name} in {group.num_rows} rows")
        if chunk.bloom_filter_offset is not None or chunk.has_column_index:
            raise ValueError(f"its column {column.name} has a filter or an index, which nobody writes")
        if chunk.is_stats_set:
            stated.append(place)
    return stated


def check_claims(group: Any, rows: int, seen: Mapping[int, Extent], columns: Sequence[Column]) -> None:
    """Raises ValueError for a group of so many rows whose footer states what is not true of them. `seen` are the
    extents of its `stated_columns`, by place.
    """
    if rows != group.num_rows or group.sorting_columns:
        raise ValueError(f"a group of {rows} rows is stated to have {group.num_rows}, or an order")
    for place, extent in seen.items():
        name, stated = columns[place].name, group.column(place).statistics
        if stated.has_distinct_count:
            raise ValueError(f"its footer states how many different values {name} has, which nobody does")
        if stated.has_null_count and stated.null_count != extent.nulls:
            raise ValueError(f"its footer states {stated.null_count} NULLs in {name}, there are {extent.nulls}")
        if stated.has_min_max and (stated.min_raw, stated.max_raw) != (_raw(extent.least), _raw(extent.greatest)):
            raise ValueError(f"its footer states that {name} is from {stated.min_raw!r} to {stated.max_raw!r}")


def _raw(value: Any) -> Any:
    return value.encode() if isinstance(value, str) else value
