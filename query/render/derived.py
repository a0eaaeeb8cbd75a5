"""What was made and what went of derived data, as `compact` and `gc` show it."""

from collections.abc import Sequence
from typing import Any, Final

from query.render.sheet import Column, Sheet

_MADE: Final = (
    Column("name", lambda made: made.name.folder.rstrip("/")),
    Column("from", lambda made: getattr(made.name, "start", 0), "integer"),
    Column("to", lambda made: made.name.end, "integer"),
    Column("runs", lambda made: getattr(made, "runs", None), "integer"),
    Column("segments", lambda made: getattr(made, "segments", None), "integer"),
    Column("rows", lambda made: made.rows, "integer"),
    Column("bytes", lambda made: made.bytes, "integer"),
)
_WASTE: Final = (
    Column("name", lambda waste: waste.name),
    Column("size_bytes", lambda waste: waste.size_bytes, "integer"),
    Column("why", lambda waste: waste.why),
)


def made_sheet(made: Sequence[Any]) -> Sheet:
    """The runs and snapshots that were made (`MadeRun`, `MadeSnapshot`)."""
    return _sheet(_MADE, made)


def waste_sheet(waste: Sequence[Any]) -> Sheet:
    """The objects that nobody needs (`Waste`)."""
    return _sheet(_WASTE, waste)


def _sheet(columns: tuple[Column, ...], records: Sequence[Any]) -> Sheet:
    names = tuple(column.name for column in columns)
    return Sheet(columns, records, names, names)
