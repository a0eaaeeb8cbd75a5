"""What differs between two images of an item, attribute by attribute. Pure.

Laws: values are compared as DynamoDB values (sets as sets, numbers by value, types apart), so two spellings of one
value never differ. `changes(a, b)` is empty exactly when a and b are the same item. Lists are compared place by place.
A path names one attribute and no other: `parse_path(compose_path(steps)) == steps`.

    path = step ("." bare-name | "[" index "]" | "[" JSON string "]")*        `lines[2].qty`, `["a.b"].c`
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal

import orjson

from archiver.format.values import comparable, native
from query.errors import UsageError
from query.masked import Masked

if TYPE_CHECKING:
    from query.redaction import Redaction

Kind = Literal["+", "-", "~"]
Step = str | int  # the name of an attribute in a map, or a place in a list, counted from 0
Image = str | bytes | Mapping[str, Any]  # canonical text, or the DynamoDB JSON object itself

_BARE_NAME: Final = re.compile(r"[^\W\d][\w-]*")
_STEP: Final = re.compile(
    r"(?:^|\.)(?P<name>[^\W\d][\w-]*)"
    r"|\[(?P<index>0|[1-9][0-9]*)\]"
    r"|\[(?P<quoted>\"(?:[^\"\\]|\\.)*\")\]"
)


@dataclass(frozen=True, slots=True, repr=False)
class AttributeChange(Masked):
    """One attribute that was added (`+`), removed (`-`) or changed (`~`).

    `old_value` and `new_value` are DynamoDB JSON (`{"S": "PAID"}`), None on the side where there is none.
    """

    path: str
    kind: Kind
    old_value: Mapping[str, Any] | None
    new_value: Mapping[str, Any] | None
    steps: tuple[Step, ...]
    redaction: "Redaction | None" = field(default=None, repr=False, compare=False)

    @property
    def old(self) -> Any:
        """The value before as a Python object, exact; None if there was none."""
        return None if self.old_value is None else native(self.old_value)

    @property
    def new(self) -> Any:
        """The value after as a Python object, exact; None if there is none."""
        return None if self.new_value is None else native(self.new_value)


def changes(old_image: Image | None, new_image: Image | None) -> tuple[AttributeChange, ...]:
    """Every attribute that differs, in order of name; None for an image stands for an item that is not there."""
    return tuple(_of_map(_attributes(old_image), _attributes(new_image), ()))


def changed_attributes(old_image: Image | None, new_image: Image | None) -> tuple[str, ...]:
    """The names of the top-level attributes that differ, in order."""
    old, new = _attributes(old_image), _attributes(new_image)
    return tuple(name for name in sorted({*old, *new}) if not _is_same(old.get(name), new.get(name)))


def compose_path(steps: Sequence[Step]) -> str:
    """`lines[2].qty`; a name that is not a plain word stands in brackets as a JSON string."""
    return "".join(_composed(step, is_first=position == 0) for position, step in enumerate(steps))


def parse_path(text: str) -> tuple[Step, ...]:
    """The steps of a path. Raises UsageError for what `compose_path` never makes."""
    steps: list[Step] = []
    position = 0
    while position < len(text) or not text:
        found = _STEP.match(text, position)
        if found is None:
            raise _not_a_path(text)
        steps.append(_parsed(found, text))
        position = found.end()
    if compose_path(steps) != text or not isinstance(steps[0], str):
        raise _not_a_path(text)
    return tuple(steps)


def touches(steps: Sequence[Step], path: Sequence[Step]) -> bool:
    """Whether a change at `steps` changes what stands at `path`: one of them contains the other."""
    shared = min(len(steps), len(path))
    return tuple(steps[:shared]) == tuple(path[:shared])


def at_path(value: Mapping[str, Any], path: Sequence[Step]) -> Mapping[str, Any] | None:
    """What stands at a path below a value, None where it leads nowhere."""
    for step in path:
        inside: Any = value.get("M" if isinstance(step, str) else "L")
        if inside is None or (step not in inside if isinstance(step, str) else step >= len(inside)):
            return None
        value = inside[step]
    return value


# --- the walk ---


def _attributes(image: Image | None) -> Mapping[str, Any]:
    if image is None:
        return {}
    return image if isinstance(image, Mapping) else orjson.loads(image)


def _is_same(old: Mapping[str, Any] | None, new: Mapping[str, Any] | None) -> bool:
    if old is None or new is None or old == new or ("S" in old and "S" in new):
        return old == new
    return comparable(old) == comparable(new)


def _of_map(old: Mapping[str, Any], new: Mapping[str, Any], above: tuple[Step, ...]) -> Iterator[AttributeChange]:
    for name in sorted({*old, *new}):
        before, after = old.get(name), new.get(name)
        if before != after:  # as most are not: no walk begins for those
            yield from _of_value(before, after, (*above, name))


def _of_list(old: Sequence[Any], new: Sequence[Any], above: tuple[Step, ...]) -> Iterator[AttributeChange]:
    for place in range(max(len(old), len(new))):
        before = old[place] if place < len(old) else None
        after = new[place] if place < len(new) else None
        yield from _of_value(before, after, (*above, place))


def _of_value(
    old: Mapping[str, Any] | None, new: Mapping[str, Any] | None, steps: tuple[Step, ...]
) -> Iterator[AttributeChange]:
    if old == new:
        return
    if old is None or new is None:
        yield AttributeChange(compose_path(steps), "+" if old is None else "-", old, new, steps)
    elif "M" in old and "M" in new:
        yield from _of_map(old["M"], new["M"], steps)
    elif "L" in old and "L" in new:
        yield from _of_list(old["L"], new["L"], steps)
    elif not _is_same(old, new):
        yield AttributeChange(compose_path(steps), "~", old, new, steps)


# --- paths ---


def _composed(step: Step, *, is_first: bool) -> str:
    if isinstance(step, int):
        return f"[{step}]"
    if _BARE_NAME.fullmatch(step):
        return step if is_first else f".{step}"
    return f"[{json.dumps(step, ensure_ascii=False)}]"


def _parsed(found: re.Match[str], text: str) -> Step:
    if found["index"] is not None:
        return int(found["index"])
    if found["quoted"] is None:
        return found["name"]
    try:
        return str(json.loads(found["quoted"]))
    except ValueError as error:
        raise _not_a_path(text) from error


def _not_a_path(text: str) -> UsageError:
    return UsageError(
        f"{text!r} is not the path of an attribute",
        why="a path is names and places: status, lines[2].qty; any other name stands in brackets",
        hint="""type for example --attr status, --attr 'lines[2].qty' or --attr '["a.b"]'""",
    )
