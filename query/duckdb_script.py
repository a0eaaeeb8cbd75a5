"""The relations of SQL as a script for a DuckDB that has nothing of ours: text, made from what evidence there is.

Invariant: the script reads evidence where it lies and verifies nothing, and says so; every value that stands in it is
quoted here. The relations are the same statements that `ddbtrail sql` runs, over views in place of copied tables.
"""

import re
from collections.abc import Sequence
from typing import Final

from query.coverage import TableEnd
from query.descriptions import Baseline
from query.engine import sql
from query.errors import UsageError
from query.instant import format_ms
from query.surface import quoted, statements
from query.table import Table

_HEAD: Final = """\
-- Relations over the trails of {url}, for DuckDB 2.0 and later: duckdb -init THIS_FILE
-- NOTHING IS VERIFIED HERE: no digest, no seal, no signature. ddbtrail sql checks evidence before it answers, ddbtrail
-- verify checks all of it. Runs and snapshots are not read. Items of which evidence contradicts itself are in no
-- relation: FROM T._conflicting names them. An actor is told for what expired alone, whatever is configured.
-- New segments are seen as they come. Make it anew after a baseline, and after a stream was switched off and on.
"""
_S3: Final = """
-- DuckDB finds AWS credentials in its own way, such as:
-- INSTALL aws; LOAD aws; CREATE SECRET (TYPE s3, PROVIDER credential_chain);
INSTALL httpfs;
LOAD httpfs;
"""
_GLOB: Final = re.compile(r"[*?\[\]]")
_COLUMNS: Final = (
    *("change_id", "op", "sequence_number", "stream_label", "item_key", "pk", "sk", "old_image", "new_image"),
    *("user_identity", "event", "filename"),
)


def script(url: str, tables: Sequence[tuple[str, Table]]) -> str:
    """The script for tables of an archive, each with the name of its schema. Raises UsageError where it would show what
    is redacted, or where DuckDB could not name the archive.
    """
    if _GLOB.search(url):
        raise UsageError(
            f"{url} cannot stand in the script", why="DuckDB takes * ? [ ] for patterns", hint="rename the folder"
        )
    shared = [sql("time_zone") + ";", sql("optimizers") + ";"]
    shared += [sql(f"surface_{name}") for name in ("functions", "values", "plain_value")]
    pieces = [_HEAD.format(url=_on_one_line(url)), _S3 if url.startswith("s3://") else "", *shared]
    pieces += [_of_table(url.rstrip("/") + "/", schema, table) for schema, table in tables]
    return "\n".join(piece.strip() + "\n" for piece in pieces if piece)


def _of_table(url: str, schema: str, table: Table) -> str:
    if table.redaction.paths:
        raise UsageError(
            f"{table.name} has attributes that are redacted",
            why="a script reads evidence as it is, where nothing is masked",
            hint="ask ddbtrail sql, which masks them; or name other tables",
        )
    evidence = table.evidence
    complete = [baseline for baseline in evidence.baselines if baseline.description.complete]
    ends = table.coverage().ends if len(evidence.streams) > 1 else ()
    views = {
        "_trail": _trail(table),
        "_key": _values("place, kind, pointer", _keys(table), "INTEGER, VARCHAR, VARCHAR"),
        "_ends": _values("stream_label, began", [_end(end) for end in ends], "VARCHAR, TIMESTAMPTZ"),
        "_baselines": _values(
            "baseline, from_at, to_at, stream_label",
            [_baseline(number, baseline) for number, baseline in enumerate(complete)],
            "INTEGER, TIMESTAMPTZ, TIMESTAMPTZ, VARCHAR",
        ),
        "_told": _rows(url, table),
        "_baseline_told": _items(url, complete),
    }
    made = [f"CREATE VIEW {quoted(schema)}.{name} AS {body};" for name, body in views.items()]
    relations = [statements(name, schema) for name in ("script", "coverage", "changes", "states")]
    return "\n".join([f"\n-- {schema}", f"CREATE SCHEMA IF NOT EXISTS {quoted(schema)};", *made, *relations])


def _trail(table: Table) -> str:
    trail = table.trail
    named = ("account", trail.account), ("region", trail.region), ("table_name", trail.table_name)
    return "SELECT " + ", ".join(f"{_text(value)} AS {name}" for name, value in named) + ", now() AS asked_at"


def _keys(table: Table) -> list[str]:
    schema = table.key_schema
    return [
        f"{place}, {_text(one.type)}, '/' || pointer_step({_text(one.name)}) || {_text('/' + one.type)}"
        for place, one in enumerate(schema.attributes if schema else (), 1)
    ]


def _end(end: TableEnd) -> str:
    return f"{_text(end.stream_label)}, {_instant(end.at_ms)}"


def _baseline(number: int, baseline: Baseline) -> str:
    told = baseline.description
    return f"{number}, {_instant(told.from_ms)}, {_instant(told.to_ms)}, {_text(told.stream_label)}"


def _rows(url: str, table: Table) -> str:
    if not table.evidence.segments:
        nothing = ", ".join(f"NULL::VARCHAR AS {name}" for name in _COLUMNS)
        return f"SELECT {nothing}, NULL::TIMESTAMPTZ AS changed_at, 0::BIGINT AS file_row_number WHERE false"
    pattern = _text(f"{url}{table.trail.prefix}segments/*/*/[0-9]*.parquet")
    return f"SELECT * FROM read_parquet({pattern}, filename = true, file_row_number = true, hive_partitioning = false)"  # noqa: S608  a quoted text


def _items(url: str, complete: Sequence[Baseline]) -> str:
    read = []
    for number, baseline in enumerate(complete):
        parts = ", ".join(_text(url + part.name) for part in baseline.parts)
        if parts:
            items = f"read_parquet([{parts}], hive_partitioning = false)"
            read.append(f"SELECT {number} AS baseline, item_key, pk, sk, image FROM {items}")  # noqa: S608  quoted texts
    nothing = ", ".join(f"NULL::VARCHAR AS {name}" for name in ("item_key", "pk", "sk", "image"))
    return "\nUNION ALL ".join(read) or f"SELECT 0 AS baseline, {nothing} WHERE false"


def _values(names: str, rows: Sequence[str], types: str) -> str:
    """Rows of values; none, of these types, where there are none."""
    if rows:
        return f"SELECT * FROM (VALUES {', '.join(f'({row})' for row in rows)}) AS told({names})"  # noqa: S608  quoted texts
    columns = zip(names.split(", "), types.split(", "), strict=True)
    return "SELECT " + ", ".join(f"NULL::{kind} AS {name}" for name, kind in columns) + " WHERE false"


def _text(value: str | None) -> str:
    return "NULL::VARCHAR" if value is None else "'" + value.replace("'", "''") + "'"


def _instant(instant_ms: int) -> str:
    return f"TIMESTAMPTZ {_text(format_ms(instant_ms))}"


def _on_one_line(text: str) -> str:
    return " ".join(text.split())
