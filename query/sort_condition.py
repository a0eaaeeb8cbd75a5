"""A condition on the sort key: which items of a collection are asked about. Pure.

Invariant: both ends are included, and the lower one comes first, in DynamoDB's order of keys.
"""

from dataclasses import dataclass
from typing import Literal

from archiver.format.keytext import key_text
from query.key_schema import KeySchema, mismatch, unknown_schema
from query.key_value import typed_value


@dataclass(frozen=True, slots=True)
class SortCondition:
    """Which items of a collection: those whose sort key begins with `low`, or lies in `low … high`, both included.

    `low` and `high` are typed values such as `{"S": "ORDER#"}`; `high` is None for a prefix.
    """

    name: str
    kind: Literal["prefix", "between"]
    low: dict[str, str]
    high: dict[str, str] | None = None


def parse_sort_condition(
    schema: KeySchema | None,
    *,
    prefix: object = None,
    between: tuple[object, object] | None = None,
    table: str = "this table",
) -> SortCondition | None:
    """The condition of `--sk-prefix A` or `--sk-between A B` (both included); None if neither is given.

    Raises KeyMismatch if the table has no sort key, a prefix is asked of a number, or A is greater than B.
    """
    if prefix is None and between is None:
        return None
    if schema is None:
        raise unknown_schema(table, "type --key-schema pk,sk with the names of the two attributes")
    sort = schema.sort
    if sort is None:
        raise mismatch(schema, table, "it has no sort key", "leave --sk-prefix and --sk-between out")
    if prefix is not None and between is not None:
        raise mismatch(schema, table, "two conditions on one sort key", "type --sk-prefix or --sk-between, not both")
    if between is None:
        if sort.type == "N":
            raise mismatch(schema, table, "a number has no prefix", "type --sk-between A B")
        return SortCondition(sort.name, "prefix", typed_value(schema, sort, prefix, table))
    low, high = (typed_value(schema, sort, end, table) for end in between)
    if key_text(low) > key_text(high):
        what = f"{between[0]!r} is greater than {between[1]!r}"
        raise mismatch(schema, table, what, "type the lower end first")
    return SortCondition(sort.name, "between", low, high)
