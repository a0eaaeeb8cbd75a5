"""What holds values shows them masked: `repr` is what a notebook, a log or a traceback keeps of an object.

Invariants: every field that can hold a value of an item is named here; attributes themselves hold the values as they
are, since who opens an archive in Python has the evidence.
"""

from dataclasses import fields
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from query.redaction import Redaction


class Masked:
    """A dataclass with a `redaction` (None: nothing is masked), to be made with `repr=False`."""

    __slots__ = ()

    def __repr__(self) -> str:
        redaction: Redaction | None = getattr(self, "redaction", None)
        names = [one.name for one in fields(cast("Any", self)) if one.repr]
        values = ((name, getattr(self, name)) for name in names)
        if redaction is not None and redaction.paths:
            values = ((name, _shown(self, name, value, redaction)) for name, value in values)
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in values)})"


def _shown(held: Any, name: str, value: Any, redaction: "Redaction") -> Any:
    if value is None:
        return None
    match name:
        case "item_key" | "image" | "old_image" | "new_image":
            return redaction.image(value)
        case "pk" | "sk":
            return redaction.key_text(held.item_key, value)
        case "value" | "old_value" | "new_value":
            return redaction.value(value, held.steps)
        case "event" | "explanation":  # words, and JSON in which keys stand
            return redaction.text(value)
        case _:
            return value
