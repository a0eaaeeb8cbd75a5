"""A difference as JSON Patch (RFC 6902) over the plain item: applied to the older one it gives the newer one.

Values that differ only in their DynamoDB type (a set and a list of the same texts) are replaced by their equal.
"""

from collections.abc import Collection, Sequence
from typing import Any

from archiver.format.values import plain
from query.diff import AttributeChange, Step


def json_patch(changes: Sequence[AttributeChange], key_names: Collection[str]) -> list[dict[str, Any]]:
    """The operations, ready for orjson.

    `key_names` are the item's key attributes: they never change while the item exists, so where one is added or removed
    the whole item was, and the operation is on the whole document.
    """
    of_key = {change.kind for change in changes if change.steps[0] in key_names}
    if "+" in of_key:
        whole = {change.steps[0]: plain(change.new_value) for change in changes if change.new_value is not None}
        return [{"op": "add", "path": "", "value": whole}]
    if "-" in of_key:
        return [{"op": "remove", "path": ""}]
    # From the end of a list backwards: each removal leaves the places before it as they are.
    return [*map(_put, (change for change in changes if change.kind != "-"))] + [
        {"op": "remove", "path": pointer(change.steps)} for change in reversed(changes) if change.kind == "-"
    ]


def pointer(steps: Sequence[Step]) -> str:
    """A JSON Pointer (RFC 6901)."""
    return "".join("/" + str(step).replace("~", "~0").replace("/", "~1") for step in steps)


def _put(change: AttributeChange) -> dict[str, Any]:
    assert change.new_value is not None
    operation = "add" if change.kind == "+" else "replace"
    return {"op": operation, "path": pointer(change.steps), "value": plain(change.new_value)}
