"""A sheet: typed columns over records. What every format is written from, and the contract of the machine formats.

Laws: a column has one name in all formats. A time is epoch milliseconds in a cell and ISO-8601 UTC with Z when written.
A `Json` cell is an object in json and jsonl and canonical text elsewhere; number text is never parsed.
"""

import difflib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, Literal, Self

import orjson
import whenever

from query.errors import UsageError
from query.instant import format_ms
from query.render.text import amount

if TYPE_CHECKING:
    import pyarrow as pa

# Raised when a column of a machine format changes its name or meaning; adding one does not count.
SCHEMA_VERSION: Final = 1

Kind = Literal["text", "change", "integer", "number", "boolean", "time", "json"]


@dataclass(frozen=True, slots=True)
class Json:
    """A JSON cell: what orjson writes in json and jsonl, and the text that stands for it elsewhere."""

    shown: Any
    canonical: str | None = None

    @property
    def text(self) -> str:
        return dump(self.shown) if self.canonical is None else self.canonical

    @property
    def shown_text(self) -> str:
        """What json and jsonl hold, as text."""
        return dump(self.shown)


@dataclass(frozen=True, slots=True)
class Column:
    """One column: its name, how its cell is had from a record, and of which kind the cell is.

    A cell is str for `text` and `change` (a change id), int for `integer` and `time` (epoch ms), float for `number`,
    bool or Json; None is "there is none", whatever the kind.
    """

    name: str
    cell: Callable[[Any], Any]
    kind: Kind = "text"


@dataclass(frozen=True, slots=True)
class Sheet:
    """Columns over records, which are read once. `usual` and `brief` are the columns that machines and people see.

    `batches` are the records as Arrow batches of the usual columns, where they are to be had so, which is sooner.
    """

    columns: tuple[Column, ...]
    records: Iterable[Any]
    usual: tuple[str, ...]
    brief: tuple[str, ...]
    batches: "Iterable[pa.RecordBatch] | None" = None

    def pick(self, names: Sequence[str]) -> Self:
        """Only these columns, in this order, for everyone. Raises UsageError for an unknown one."""
        known = {column.name: column for column in self.columns}
        for name in names:
            if name not in known:
                raise _unknown_column(name, list(known))
        picked = tuple(dict.fromkeys(names))
        return replace(self, usual=picked, brief=picked, batches=None) if picked else self

    def for_machines(self) -> tuple[Column, ...]:
        """The columns of json, jsonl, csv, tsv and parquet."""
        return self._named(self.usual)

    def for_people(self, zone: str | None) -> tuple[Column, ...]:
        """The columns of tables; with a zone, each time also as it was on the clocks there."""
        chosen = self._named(self.brief)
        if zone is None:
            return chosen
        return tuple(made for column in chosen for made in (column, *_local(column, zone)))

    def _named(self, names: Sequence[str]) -> tuple[Column, ...]:
        known = {column.name: column for column in self.columns}
        return tuple(known[name] for name in names)


def dump(value: Any) -> str:
    """JSON text on one line, numbers verbatim."""
    return orjson.dumps(value).decode()


def as_json(columns: Sequence[Column], record: Any) -> dict[str, Any]:
    """A record as orjson takes it."""
    return {column.name: _json_cell(column.kind, column.cell(record)) for column in columns}


def as_text(column: Column, record: Any) -> str:
    """A cell as text, JSON in its canonical form; nothing for None."""
    cell = column.cell(record)
    if cell is None:
        return ""
    match column.kind:
        case "time":
            return format_ms(cell)
        case "json":
            return str(cell.text)
        case "boolean":
            return "true" if cell else "false"
        case _:
            return str(cell)


def as_shown(column: Column, record: Any) -> str:
    """A cell as text for people: JSON plain, as json and jsonl have it."""
    cell = column.cell(record)
    if column.kind == "number" and cell is not None:
        return amount(cell)
    return cell.shown_text if isinstance(cell, Json) else as_text(column, record)


def local_text(instant_ms: int, zone: str) -> str:
    """An instant on the clocks of a zone, with its offset: `2026-09-28T14:27:04+02:00`."""
    moment = whenever.Instant.from_timestamp(instant_ms, unit="millisecond").to_tz(zone)
    return moment.to_fixed_offset().format_iso()


def _json_cell(kind: Kind, cell: Any) -> Any:
    if cell is None:
        return None
    return format_ms(cell) if kind == "time" else cell.shown if kind == "json" else cell


def _local(column: Column, zone: str) -> tuple[Column, ...]:
    def cell(record: Any) -> str | None:
        instant_ms = column.cell(record)
        return None if instant_ms is None else local_text(instant_ms, zone)

    return (Column(f"{column.name}_local", cell),) if column.kind == "time" else ()


def _unknown_column(name: str, known: list[str]) -> UsageError:
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return UsageError(
        f"there is no column {name!r}",
        why=f"the columns are {', '.join(known)}",
        hint=f"did you mean -c {close[0]}?" if close else f"type for example -c {','.join(known[:2])}",
    )
