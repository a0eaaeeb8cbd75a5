"""The cut of a table at one of its changes, which is named by the beginning of its id. Pure."""

from collections.abc import Sequence
from typing import Any

from query.errors import UsageError
from query.instant import format_ms
from query.rev import Rev
from query.state import Moment


def change_named(at: Rev, table: str) -> str:
    """The beginning of the id of the change that a table is to be cut at. Raises UsageError if `at` names none."""
    if at.base != "id" or at.back or at.change_id_prefix is None:
        raise UsageError(
            f"{at.text} does not name one change of the table {table}",
            why="a table is cut at one change, by its id",
            hint="write as-of TABLE @ID with an id from ddbtrail log",
        )
    return at.change_id_prefix


def cut_at(at: Rev, found: Sequence[tuple[Any, ...]], table: str) -> Moment:
    """The cut, of the rows of `change_by_id.sql`. Raises UsageError if they are none, or of several changes."""
    if len({row[:3] for row in found}) == 1:
        _, label, sequence_number, changed_at_ms = found[0]
        return Moment(changed_at_ms, (label, sequence_number))
    if not found:
        raise UsageError(
            f"no change of {table} has an id that begins with {at.change_id_prefix}",
            hint="ddbtrail log TABLE lists change ids",
        )
    raise UsageError(
        f"{at.text} is not the beginning of one change id only",
        why="it fits " + ", ".join(f"@{row[0]} ({format_ms(row[3])})" for row in found[:5]),
        hint="write more of it",
    )
