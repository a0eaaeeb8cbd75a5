"""The operations of a change, as they are typed."""

from typing import Final

from query.errors import UsageError

OPERATIONS: Final = ("INSERT", "MODIFY", "REMOVE")


def parse_operations(text: str | None) -> tuple[str, ...] | None:
    """`insert,modify` as DynamoDB writes them. Raises UsageError."""
    if text is None:
        return None
    names = tuple(name.strip().upper() for name in text.split(","))
    unknown = [name for name in names if name not in OPERATIONS]
    if unknown:
        what = f"{unknown[0].lower()!r} is not an operation"
        raise UsageError(what, why="they are insert, modify and remove", hint="type for example --op insert,remove")
    return names
