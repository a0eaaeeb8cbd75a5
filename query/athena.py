"""Athena's view of a trail: the statements that make it, as text. Nothing is sent to Athena.

Invariants: columns come from `archiver.format.columns`. The statements of `query/sql/athena_*.sql` stand as they are,
in words that Trino and DuckDB both read, over one relation each, `segments` or `changes`. Only checked names and the
archive's location are put around them; a name has small letters, digits and `_` alone, and is quoted all the same.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Final
from urllib.parse import urlsplit

from archiver.format.columns import SEGMENT_COLUMNS, Kind
from archiver.format.layout import Trail
from query.errors import UsageError

# What Athena reads our columns as. Its timestamps have no zone: these are UTC.
TYPES: Final[dict[Kind, str]] = {"string": "string", "timestamp_ms_utc": "timestamp"}
# `dt` and `hour` as AWS's own example of a day and an hour has them (*Partition projection*, Firehose example).
PARTITIONS: Final = (("dt", "string"), ("hour", "int"))
_NAME: Final = re.compile(r"[a-z0-9_]+")
_NAME_LENGTH_MAX: Final = 255 - len("_changes")
# What has no meaning of its own in a quoted text of Hive's language, or in a location template.
LOCATION: Final = re.compile(r"s3://[a-z0-9.-]+/[A-Za-z0-9!_.*()/=,:@&+ -]*")


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement, without its semicolon: what it makes (`table`, `view` or `prepared`), under which name."""

    kind: str
    name: str
    sql: str


@dataclass(frozen=True, slots=True)
class Place:
    """Where the statements make things: a table of Athena, and its database, or that in which they are run."""

    name: str
    database: str | None = None

    def __post_init__(self) -> None:
        for what, text in (("--name", self.name), ("--database", self.database)):
            if text is not None and (_NAME.fullmatch(text) is None or len(text) > _NAME_LENGTH_MAX):
                raise UsageError(
                    f"{what} {text!r} is no name for Athena",
                    why=f"it has small letters, digits and _ alone, at most {_NAME_LENGTH_MAX} of them",
                    hint=f"type for example {what} orders_trail",
                )

    def quoted(self, suffix: str = "", mark: str = '"') -> str:
        """The table, or one of its views, as SQL has it; `mark` is a backtick where Hive's language rules."""
        parts = [part for part in (self.database, f"{self.name}{suffix}") if part is not None]
        return ".".join(f"{mark}{part}{mark}" for part in parts)


def athena_name(table_name: str) -> str:
    """A table name of DynamoDB with what Athena does not take replaced by `_`; two tables may get the same one."""
    return re.sub(r"[^a-z0-9_]", "_", table_name.lower())


def refuse_folder(archive_url: str) -> None:
    """Raises UsageError for an archive that is not in S3."""
    if urlsplit(archive_url).scheme != "s3":
        raise UsageError(
            f"Athena cannot read {archive_url}",
            why="it reads S3 alone, and this archive is in a folder",
            hint="type -a s3://bucket/prefix; a folder is read by ddbtrail log and as-of, or by DuckDB",
        )


def segments_location(archive_url: str, trail: Trail) -> str:
    """`s3://bucket/prefix/v1/account=…/segments/`. Raises UsageError for what Athena cannot read."""
    refuse_folder(archive_url)
    location = f"{archive_url.rstrip('/')}/{trail.prefix}segments/"
    if LOCATION.fullmatch(location) is None:
        raise UsageError(
            f"{archive_url} cannot stand in a statement of Athena",
            why="its prefix has a quote, a brace or another character with a meaning there",
            hint="read it with ddbtrail, or write to a prefix of letters, digits and / - _ . =",
        )
    return location


def statements(location: str, place: Place, since: str) -> tuple[Statement, ...]:
    """The table over all segments from a day on (`YYYY-MM-DD`), its two views, and the prepared question."""
    changes, current = place.quoted("_changes"), place.quoted("_current")
    prepared = f"as_of_{place.name}"
    as_of = f"PREPARE {prepared} FROM\n{_over(_relation('changes', changes), 'athena_as_of')}"
    return (
        Statement("table", place.name, _table(location, place, since)),
        Statement("view", f"{place.name}_changes", _view(changes, "segments", place.quoted(), "athena_changes")),
        Statement("view", f"{place.name}_current", _view(current, "changes", changes, "athena_current")),
        Statement("prepared", prepared, as_of),
    )


def script(made: Sequence[Statement], place: Place) -> str:
    """All statements in the order in which they have to run, told apart. Athena takes one at a time."""
    *_, prepared = made
    return "\n".join(
        (
            "-- Athena runs one statement at a time.",
            f"-- To make the table anew, first DROP TABLE {place.quoted(mark='`')}: that touches nothing in S3.",
            "-- It sees no change made before the first day of projection.dt.range; ddbtrail athena --since sets that.",
            "",
            *(f"-- {one.kind} {one.name}\n{one.sql};\n" for one in made),
            f"-- Then: EXECUTE {prepared.name} USING TIMESTAMP '2026-06-30 23:59:59'    (UTC, that second included)\n",
        )
    )


def _table(location: str, place: Place, since: str) -> str:
    columns = [f"  `{column.name}` {TYPES[column.kind]}" for column in SEGMENT_COLUMNS]
    partitions = ", ".join(f"`{name}` {kind}" for name, kind in PARTITIONS)
    properties = {
        "projection.enabled": "true",
        "projection.dt.type": "date",
        "projection.dt.format": "yyyy-MM-dd",
        "projection.dt.range": f"{since},NOW",
        "projection.dt.interval": "1",
        "projection.dt.interval.unit": "DAYS",
        "projection.hour.type": "integer",
        "projection.hour.range": "0,23",
        "projection.hour.digits": "2",
        "storage.location.template": location + "dt=${dt}/hour=${hour}/",
    }
    told = ",\n".join(f"  '{name}' = '{value}'" for name, value in properties.items())
    return (
        f"CREATE EXTERNAL TABLE {place.quoted(mark='`')} (\n"
        + ",\n".join(columns)
        + f"\n)\nPARTITIONED BY ({partitions})\nSTORED AS PARQUET\nLOCATION '{location}'\nTBLPROPERTIES (\n{told}\n)"
    )


def _view(view: str, relation: str, source: str, statement: str) -> str:
    return as_view(view, _relation(relation, source), statement)


def as_view(view: str, relations: str, statement: str) -> str:
    """The view that shows what a statement finds in relations, given as what stands behind `WITH`."""
    return f"CREATE OR REPLACE VIEW {view} AS\n{_over(relations, statement)}"


def _relation(name: str, source: str) -> str:
    """A relation of a statement, which is another table or view here."""
    return f"{name} AS (SELECT * FROM {source})"  # noqa: S608  names are checked, values are parameters


def _over(relations: str, statement: str) -> str:
    return f"WITH {relations}\nSELECT * FROM (\n{statement_text(statement)}\n)"


def statement_text(name: str) -> str:
    """One of the statements of `query/sql/`."""
    return files("query").joinpath("sql", f"{name}.sql").read_text(encoding="utf-8").strip()
