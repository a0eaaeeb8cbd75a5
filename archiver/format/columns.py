"""The columns of a segment and of a baseline part, as data. `docs/format.md` repeats them in words."""

from dataclasses import dataclass
from typing import Final, Literal

# Plain strings and millisecond UTC timestamps: what Athena, Spark, DuckDB and pandas all read alike.
Kind = Literal["string", "timestamp_ms_utc"]


@dataclass(frozen=True, slots=True)
class Column:
    """One column: its name, its kind, and whether a value may be absent."""

    name: str
    kind: Kind
    nullable: bool = False
    has_statistics: bool = False


SEGMENT_COLUMNS: Final[tuple[Column, ...]] = (
    Column("change_id", "string"),
    Column("op", "string"),
    Column("changed_at", "timestamp_ms_utc", has_statistics=True),
    Column("sequence_number", "string", has_statistics=True),
    Column("stream_label", "string", has_statistics=True),
    Column("item_key", "string"),
    Column("pk", "string", nullable=True, has_statistics=True),
    Column("sk", "string", nullable=True, has_statistics=True),
    Column("old_image", "string", nullable=True),
    Column("new_image", "string", nullable=True),
    Column("user_identity", "string", nullable=True),
    Column("event", "string"),
)

BASELINE_COLUMNS: Final[tuple[Column, ...]] = (
    Column("item_key", "string"),
    Column("pk", "string", nullable=True, has_statistics=True),
    Column("sk", "string", nullable=True, has_statistics=True),
    Column("image", "string"),
)

# File metadata of every Parquet file of evidence.
METADATA_FORMAT: Final = b"ddbtrail.format"
METADATA_WRITER: Final = b"ddbtrail.writer"
METADATA_ROOT: Final = b"ddbtrail.root"
METADATA_KIND: Final = b"ddbtrail.kind"
METADATA_DIGEST: Final = b"ddbtrail.digest"
