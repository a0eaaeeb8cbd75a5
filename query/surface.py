"""The relations of SQL as text: a schema for each table, the same statements for every one. Nothing is run here.

Invariants: `query/sql/surface_*.sql` says `trail` where the schema of a table stands, and only such a name, quoted,
takes its place; values are never put into a text.
"""

import re
from collections import Counter
from collections.abc import Sequence
from typing import Final

from archiver.format.layout import Trail
from query.engine import sql

# What a relation rests on: its changes, and the complete baselines too.
OF_CHANGES: Final = (
    *("changes", "versions", "changes_between", "history", "attribute_changes", "blame"),
    *("changes_debezium", "changes_cdf"),
)
OF_STATES: Final = ("states", "as_of", "compare")
RELATIONS: Final = ("coverage", *OF_CHANGES, *OF_STATES)
# What the changes of a range alone would answer wrongly.
OF_ALL_TIME: Final = ("versions", "blame", *OF_STATES)

Between = tuple[int | None, int | None]  # a half-open range of `changed_at` (epoch ms); None: open
ALL_TIME: Final[Between] = (None, None)

# Names that mean something else to the engine, as a schema or as a database.
_TAKEN: Final = frozenset({"main", "temp", "system", "memory", "information_schema", "pg_catalog"})
_PLACEHOLDER: Final = re.compile(r"\btrail\b(?=\.|;)")
_AFTER_A_DOT: Final = re.compile(r'\.\s*"?([A-Za-z_][A-Za-z0-9_]*)')
_WORD: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def schema_names(trails: Sequence[Trail]) -> dict[str, Trail]:
    """A schema for each trail: the table's name, or `account/region/name` where that is not one table's alone.

    Names of SQL do not tell capitals apart, so neither does this.
    """
    count = Counter(trail.table_name.lower() for trail in trails)
    return {
        trail.table_name
        if count[trail.table_name.lower()] == 1 and trail.table_name.lower() not in _TAKEN
        else f"{trail.account}/{trail.region}/{trail.table_name}": trail
        for trail in trails
    }


def statements(name: str, schema: str) -> str:
    """The statements of one file for one schema."""
    return _PLACEHOLDER.sub(lambda _: quoted(schema), sql(f"surface_{name}"))


def quoted(name: str) -> str:
    """A name as SQL takes it, whatever is in it."""
    return '"' + name.replace('"', '""') + '"'


def named_schemas(text: str, names: Sequence[str]) -> list[str]:
    """The schemas that a statement may be about: those whose names stand in it anywhere. One that is put together only
    when it runs is not found, and then does not exist.
    """
    lowered = text.lower()
    return [name for name in names if name.lower() in lowered]


def relations_after_a_dot(text: str) -> set[str]:
    """Those that a statement asks, rather than says in a text or for a column of its own."""
    return {word.lower() for word in _AFTER_A_DOT.findall(text)}.intersection(RELATIONS)


def named_relations(text: str) -> set[str]:
    """The relations whose names stand in a statement, anywhere."""
    words = {word.lower() for word in _WORD.findall(text)}
    return words.intersection(RELATIONS)
