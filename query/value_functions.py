"""What SQL is given beside its own functions: images as plain text, as comparable text, and what differs between two.

The same code as on every other surface, so that an answer in SQL is the answer. All take and give canonical or plain
JSON as text, None for "there is none".
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson

from archiver.format.values import normal_number, plain, plain_attributes
from query.diff import AttributeChange, changed_attributes, changes

DIFFERENCES_TYPE: Final = "STRUCT(path VARCHAR, kind VARCHAR, old VARCHAR, new VARCHAR)[]"


@dataclass(frozen=True, slots=True)
class ValueFunction:
    """A function of SQL: its name there, how many texts it takes, and the type it gives, as SQL has it."""

    name: str
    parameters: int
    returns: str
    work: Callable[..., Any]


def plain_item(image: str | None) -> str | None:
    """The plain JSON twin of an image or a key, number text verbatim."""
    return None if image is None else orjson.dumps(plain_attributes(orjson.loads(image))).decode()


def value_text(image: str | None) -> str | None:
    """A text that two images share exactly if they are the same value: sets as sets, numbers as numbers."""
    if image is None:
        return None
    attributes = orjson.loads(image)
    return orjson.dumps({name: _normal(attributes[name]) for name in sorted(attributes)}).decode()


def attributes_changed(op: str, old_image: str | None, new_image: str | None) -> list[str] | None:
    """The names of the top-level attributes that a change touched, in order; None where an image was not carried."""
    return list(changed_attributes(old_image, new_image)) if is_comparable(op, old_image, new_image) else None


def attribute_differences(op: str, old_image: str | None, new_image: str | None) -> list[dict[str, Any]] | None:
    """What a change did to each attribute, as `differences_of`; None where an image was not carried."""
    return differences_of(changes(old_image, new_image)) if is_comparable(op, old_image, new_image) else None


def differences_of(found: Sequence[AttributeChange]) -> list[dict[str, Any]]:
    """Changes of attributes as rows of SQL: path, kind (`+`, `-`, `~`), old and new as plain JSON."""
    return [
        {"path": one.path, "kind": one.kind, "old": _plain_text(one.old_value), "new": _plain_text(one.new_value)}
        for one in found
    ]


def is_comparable(op: str, old_image: str | None, new_image: str | None) -> bool:
    """Whether the stream carried the images that tell what a change did."""
    return (old_image is not None or op == "INSERT") and (new_image is not None or op == "REMOVE")


FUNCTIONS: Final = (
    ValueFunction("plain_item", 1, "VARCHAR", plain_item),
    ValueFunction("value_text", 1, "VARCHAR", value_text),
    ValueFunction("changed_attributes", 3, "VARCHAR[]", attributes_changed),
    ValueFunction("attribute_differences", 3, DIFFERENCES_TYPE, attribute_differences),
)


def _plain_text(value: Mapping[str, Any] | None) -> str | None:
    return None if value is None else orjson.dumps(plain(value)).decode()


def _normal(value: Mapping[str, Any]) -> dict[str, Any]:
    ((tag, content),) = value.items()
    match tag:
        case "N":
            return {tag: normal_number(content)}
        case "NS":
            return {tag: sorted({normal_number(element) for element in content})}
        case "SS" | "BS":
            return {tag: sorted(set(content))}
        case "L":
            return {tag: [_normal(element) for element in content]}
        case "M":
            return {tag: {name: _normal(content[name]) for name in sorted(content)}}
        case _:
            return {tag: content}
