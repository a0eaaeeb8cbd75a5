"""One writer for each format: from a sheet to pieces of text, or to a Parquet file.

Laws: json, jsonl, csv, tsv and parquet hold the same columns whoever looks; only table, md and html are made for people
and may change. Text that a person's program could act on is made harmless in the copy that is for people: control
characters on a terminal, formulas in csv and tsv, markup in md and html. json, jsonl and parquet are lossless.
"""

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
_FORMULAS: Final = frozenset("=+-@\t\r\n\uff1d\uff0b\uff0d\uff20")
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
        found = _arrow_batches(columns, sheet.records, schema) if sheet.batches is None else sheet.batches
        for batch in found:
            writer.write_batch(batch.cast(schema))


def arrow_table(sheet: Sheet) -> "pa.Table":
    """The same as an Arrow table in memory."""
    import pyarrow as pa  # noqa: PLC0415

    columns = sheet.for_machines()
    schema = _arrow_schema(columns)
    return pa.Table.from_batches(_arrow_batches(columns, sheet.records, schema), schema)


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
    yield delimited_cells([column.name for column in columns], delimiter) + "\n"
    for record in sheet.records:
        yield delimited_line(columns, record, delimiter)


def delimited_line(columns: Sequence[Column], record: Any, delimiter: str = ",") -> str:
    """A record as a line of csv or tsv, every cell harmless in a spreadsheet."""
    return delimited_cells([as_text(column, record) for column in columns], delimiter) + "\n"


def delimited_cells(texts: Iterable[str], delimiter: str = ",") -> str:
    """Texts as a line of csv or tsv without its end, every cell harmless in a spreadsheet."""
    # As the writer of Python's csv does it, which takes longer for each line than all its cells do. A row of one empty
    # cell would be no row.
    return delimiter.join([_quoted(_harmless(text), delimiter) for text in texts]) or '""'


def _quoted(cell: str, delimiter: str) -> str:
    if '"' in cell:
        cell = cell.replace('"', '""')
    elif not (delimiter in cell or "\n" in cell or "\r" in cell):  # a lone carriage return must not end a row either
        return cell
    return f'"{cell}"'


def _harmless(text: str) -> str:
    """A text that no spreadsheet takes for a formula."""
    return f"'{text}" if text[:1] in _FORMULAS and not _NUMBER.fullmatch(text) else text


# --- Parquet ---


def _arrow_schema(columns: Sequence[Column]) -> "pa.Schema":
    import pyarrow as pa  # noqa: PLC0415

    types = {"time": pa.timestamp("ms", tz="UTC"), "integer": pa.int64(), "number": pa.float64(), "boolean": pa.bool_()}
    fields = [pa.field(column.name, types.get(column.kind, pa.string())) for column in columns]
    return pa.schema(fields, metadata={"ddbtrail.schema_version": str(SCHEMA_VERSION)})


def _arrow_batches(
    columns: Sequence[Column], records: Iterable[Any], schema: "pa.Schema"
) -> "Iterator[pa.RecordBatch]":
    """Records in batches; until one is whole no more of a record is held than its cells."""
    import pyarrow as pa  # noqa: PLC0415

    rows = ([_arrow_cell(column, record) for column in columns] for record in records)
    while batch := list(islice(rows, _ROWS_PER_BATCH)):
        cells = zip(*batch, strict=True)
        arrays = [pa.array(column, field.type) for column, field in zip(cells, schema, strict=True)]
        yield pa.record_batch(arrays, schema=schema)


def _arrow_cell(column: Column, record: Any) -> Any:
    cell = column.cell(record)
    return cell.text if cell is not None and column.kind == "json" else cell
