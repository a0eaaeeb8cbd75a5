"""The key schema of a table: which attributes its key has, and of which types.

Invariant: partition key first, everywhere. What people configure names the attributes only; their types come from
evidence.
"""

from dataclasses import dataclass
from typing import Literal

from query.errors import KeyMismatch, UsageError
from query.table_ref import TABLE_NAME

ANY_TABLE = "*"  # no table can bear that name: the key schema that `--key-schema pk,sk` gives without one

KeyType = Literal["S", "N", "B"]


@dataclass(frozen=True, slots=True)
class KeyAttribute:
    """One attribute of a key: its name and DynamoDB type."""

    name: str
    type: KeyType


@dataclass(frozen=True, slots=True)
class KeySchema:
    """The partition key of a table, and its sort key if it has one."""

    partition: KeyAttribute
    sort: KeyAttribute | None = None

    @property
    def attributes(self) -> tuple[KeyAttribute, ...]:
        """Partition key first."""
        return (self.partition,) if self.sort is None else (self.partition, self.sort)

    @property
    def text(self) -> str:
        """`customer_id (N), order_date (S)`."""
        return ", ".join(f"{attribute.name} ({attribute.type})" for attribute in self.attributes)


def parse_key_schema(text: str) -> tuple[str, ...]:
    """`pk,sk` or `id`: the names of the key attributes, partition key first. Raises UsageError."""
    names = tuple(name.strip() for name in text.split(","))
    if len(names) > 2 or "" in names or len(set(names)) < len(names):  # noqa: PLR2004  a key has one or two
        raise UsageError(
            f"{text!r} is not a key schema",
            why="a key has a partition key and at most one sort key, by different names",
            hint="type --key-schema pk,sk with the names of the attributes",
        )
    return names


def parse_key_schemas(text: str) -> dict[str, tuple[str, ...]]:
    """`orders=pk,sk;customers=id`, as in DDBTRAIL_KEY_SCHEMA: key attributes by table name. Raises UsageError."""
    schemas: dict[str, tuple[str, ...]] = {}
    for entry in (part.strip() for part in text.split(";")):
        if not entry:
            continue
        table_name, equals, names = (part.strip() for part in entry.partition("="))
        if not equals or TABLE_NAME.fullmatch(table_name) is None or table_name in schemas:
            raise UsageError(
                f"{entry!r} is not the key schema of a table",
                why=f"in {text!r} each table has one entry, name=attributes",
                hint="type orders=pk,sk;customers=id",
            )
        schemas[table_name] = parse_key_schema(names)
    return schemas


def mismatch(schema: KeySchema | None, table: str, what: str, hint: str) -> KeyMismatch:
    """The error for a key that does not fit: with the schema, so that the next key does."""
    known = f"{table} has keys: {schema.text}" if schema else f"the key schema of {table} is not known"
    return KeyMismatch(f"{known}. {what}", hint=hint)


def unknown_schema(table: str, hint: str) -> KeyMismatch:
    """The error where only a schema could tell what is meant."""
    return KeyMismatch(
        f"the key schema of {table} is not known",
        why="its key has two attributes, and the stream does not say which of them is the partition key",
        hint=hint,
    )
