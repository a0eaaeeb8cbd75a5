"""One writer for each format: from a sheet to pieces of text, or to a Parquet file.

Laws: json, jsonl, csv, tsv and parquet hold the same columns whoever looks; only table, md and html are made for people
and may change. Text that a person's program could act on is made harmless in the copy that is for people: control
characters on a terminal, formulas in csv and tsv, markup in md and html. json, jsonl and parquet are lossless.
"""

import csv
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import orjson

from query.render import grid, markup
from query.render.sheet import SCHEMA_VERSION, Column, Sheet, as_json, as_text, dump
from query.render.text import Look, visible

if TYPE_CHECKING:
    import pyarrow as pa

EXTENSIONS: Final = {
    ".json": "json",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".csv": "csv",
    ".tsv": "tsv",
    ".parquet": "parquet",
    ".md": "md",
    ".html": "html",
    ".txt": "table",
}
_MADE_FOR_TERMINALS: Final = frozenset({"json", "jsonl"})
_ROWS_PER_BATCH: Final = 10_000

# What spreadsheets take for a formula, also in their full-width forms (OWASP, *CSV Injection*). A number is none.
_FORMULA: Final = re.compile("[=+\\-@\t\r\n\uff1d\uff0b\uff0d\uff20]")
_NUMBER: Final = re.compile(r"[+-]?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?", re.ASCII)


def text_of(sheet: Sheet, output: str, look: Look, *, is_terminal: bool = False) -> Iterator[str]:
    """A sheet in one of the text formats, in pieces that end a line; records are read as they are written."""
    match output:
        case "jsonl":
            pieces = _json_lines(sheet)
        case "json":
            pieces = _json(sheet)
        case "csv":
            pieces = _delimited(sheet, ",")
        case "tsv":
            pieces = _delimited(sheet, "\t")
        case "md":
            pieces = markup.markdown(sheet.for_people(look.zone), sheet.records)
        case "html":
            pieces = markup.html(sheet.for_people(look.zone), sheet.records)
        case _:
            pieces = grid.table(sheet.for_people(look.zone), sheet.records, look)
    if is_terminal and output in _MADE_FOR_TERMINALS:
        # The same JSON: such characters stand in strings only, and an escape is the same string.
        return (f"{visible(piece.removesuffix(chr(10)))}\n" for piece in pieces)
    return pieces


def write_parquet(sheet: Sheet, path: Path) -> None:
    """A sheet as a Parquet file: JSON as canonical text, times as timestamp[ms, UTC]."""
    import pyarrow.parquet as pq  # noqa: PLC0415

    columns = sheet.for_machines()
    schema = _arrow_schema(columns)
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        records = iter(sheet.records)
        while batch := list(islice(records, _ROWS_PER_BATCH)):
            writer.write_batch(_arrow_batch(columns, batch, schema))


def arrow_table(sheet: Sheet) -> "pa.Table":
    """The same as an Arrow table in memory."""
    import pyarrow as pa  # noqa: PLC0415

    columns = sheet.for_machines()
    schema = _arrow_schema(columns)
    records = iter(sheet.records)
    batches = iter(lambda: list(islice(records, _ROWS_PER_BATCH)), [])
    return pa.Table.from_batches((_arrow_batch(columns, batch, schema) for batch in batches), schema)


# --- JSON ---


def _json_lines(sheet: Sheet) -> Iterator[str]:
    columns = sheet.for_machines()
    for record in sheet.records:
        yield dump(as_json(columns, record)) + "\n"


def _json(sheet: Sheet) -> Iterator[str]:
    """One document, a record on each line, so that it need not be held whole."""
    columns = sheet.for_machines()
    yield f'{{"schema_version":{SCHEMA_VERSION},"rows":[\n'
    before = ""
    for record in sheet.records:
        if before:
            yield before + ",\n"
        before = dump(as_json(columns, record))
    yield before + "\n" if before else ""
    yield "]}\n"


def json_document(content: dict[str, Any]) -> str:
    """One answer as an indented JSON document, its schema version first."""
    document = {"schema_version": SCHEMA_VERSION} | content
    return orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE).decode()


# --- csv and tsv ---


def _delimited(sheet: Sheet, delimiter: str) -> Iterator[str]:
    columns = sheet.for_machines()
    yield delimited_head(columns, delimiter)
    for record in sheet.records:
        yield delimited_line(columns, record, delimiter)


def delimited_head(columns: Sequence[Column], delimiter: str = ",") -> str:
    """The line of names that a file of csv or tsv begins with."""
    return _line([column.name for column in columns], delimiter)


def delimited_line(columns: Sequence[Column], record: Any, delimiter: str = ",") -> str:
    """A record as a line of csv or tsv, every cell harmless in a spreadsheet."""
    return _line([_harmless(as_text(column, record)) for column in columns], delimiter)


def _line(cells: Iterable[str], delimiter: str) -> str:
    # The writer quotes what holds a character of its line end: a lone carriage return must not end a row either.
    line = io.StringIO()
    csv.writer(line, delimiter=delimiter, lineterminator="\r\n").writerow(cells)
    return line.getvalue().removesuffix("\r\n") + "\n"


def _harmless(text: str) -> str:
    """A text that no spreadsheet takes for a formula."""
    return f"'{text}" if _FORMULA.match(text) and not _NUMBER.fullmatch(text) else text


# --- Parquet ---


def _arrow_schema(columns: Sequence[Column]) -> "pa.Schema":
    import pyarrow as pa  # noqa: PLC0415

    types = {"time": pa.timestamp("ms", tz="UTC"), "integer": pa.int64(), "number": pa.float64(), "boolean": pa.bool_()}
    fields = [pa.field(column.name, types.get(column.kind, pa.string())) for column in columns]
    return pa.schema(fields, metadata={"ddbtrail.schema_version": str(SCHEMA_VERSION)})


def _arrow_batch(columns: Sequence[Column], records: Sequence[Any], schema: "pa.Schema") -> "pa.RecordBatch":
    import pyarrow as pa  # noqa: PLC0415

    arrays = [
        pa.array([_arrow_cell(column, record) for record in records], field.type)
        for column, field in zip(columns, schema, strict=True)
    ]
    return pa.record_batch(arrays, schema=schema)


def _arrow_cell(column: Column, record: Any) -> Any:
    cell = column.cell(record)
    return cell.text if cell is not None and column.kind == "json" else cell
