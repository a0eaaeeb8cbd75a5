"""One value of a key, brought to DynamoDB JSON: `{"S"|"N"|"B": text}`.

Invariants: numbers come out in their normal form, binary in padded base64, as in `item_key`; a value that no key of
DynamoDB can hold is refused; nothing is rounded: a float is no number here, and digits of a JSON text stay as written.
"""

import base64
import binascii
import json
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from archiver.format.keytext import key_text
from archiver.format.values import normal_number
from query.key_schema import KeyAttribute, KeySchema, KeyType, mismatch
from query.redaction import is_mask, mask_given

_TYPE_NAMES: Mapping[str, str] = {"S": "text", "N": "a number", "B": "binary"}
_TAGS: Mapping[str, KeyType] = {"S": "S", "N": "N", "B": "B"}


class NumberText(str):
    """A number of a JSON text, digits as they were written."""

    __slots__ = ()


def typed_value(
    schema: KeySchema, attribute: KeyAttribute, value: Any, table: str, *, ours: bool = False
) -> dict[str, str]:
    """`{type: text}` of a bare or typed value. Raises KeyMismatch with the schema; UsageError for the mask of a number
    or of binary, which is text and never a value.
    """
    if attribute.type != "S" and is_mask(value):
        raise mask_given(attribute.name, value)
    bare, is_base64 = value, ours
    if isinstance(value, Mapping):
        tag = tag_of(value)
        if tag != attribute.type or type(value[tag]) is not str:
            spelled = json.dumps({attribute.name: {attribute.type: "…"}}, ensure_ascii=False)
            what = f"{json.dumps(value, default=str)} is not a value of {attribute.name}"
            raise mismatch(schema, table, what, f"type --key '{spelled}' with the value as text")
        bare, is_base64 = value[tag], True
    try:
        return {attribute.type: _text_of(attribute.type, bare, is_base64=is_base64)}
    except ValueError as error:
        raise mismatch(schema, table, str(error), _example(attribute)) from error


def tag_of(value: object) -> KeyType | None:
    """The type that a value bears in DynamoDB JSON, None if it is bare."""
    if isinstance(value, Mapping) and len(value) == 1:
        (tag,) = value
        return _TAGS.get(tag)
    return None


def _text_of(key_type: KeyType, value: object, *, is_base64: bool) -> str:
    match key_type:
        case "S":
            return _text(value)
        case "N":
            return _number(value)
        case "B":
            return _binary(value, is_base64=is_base64)


def _text(value: object) -> str:
    if not isinstance(value, str) or isinstance(value, NumberText):
        raise ValueError(f"{_shown(value)} is not text")
    if not value:
        raise ValueError("'' is empty, and a key never is")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"{value!r} is not valid Unicode") from error
    return value


def _number(value: object) -> str:
    """The normal form. A float is refused: 0.1 is not the number that it looks like."""
    if not isinstance(value, str | int | Decimal):
        raise ValueError(f"{_shown(value)} is not a number")
    try:
        number = normal_number(str(value))
    except ValueError as error:
        raise ValueError(f"{_shown(value)} is not a number") from error
    key_text({"N": number})  # refuses what no key of DynamoDB can hold
    return number


def _binary(value: object, *, is_base64: bool) -> str:
    """Padded base64 of `b64:…`, `hex:…`, bytes, or of bare base64 where a machine wrote it."""
    if isinstance(value, bytes | bytearray | memoryview):
        octets = bytes(value)
    elif isinstance(value, str) and not isinstance(value, NumberText):
        octets = _octets(value, is_base64=is_base64)
    else:
        raise ValueError(f"{_shown(value)} is not binary")
    if not octets:
        raise ValueError(f"{_shown(value)} is empty, and a key never is")
    return base64.b64encode(octets).decode()


def _octets(text: str, *, is_base64: bool) -> bytes:
    form, colon, digits = text.partition(":")
    try:
        if colon and form == "hex":
            return bytes.fromhex(digits)
        if colon and form == "b64":
            return base64.b64decode(digits, validate=True)
        if is_base64:
            return base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error) as error:
        raise ValueError(f"{text!r} is not binary: {str(error).lower()}") from error
    raise ValueError(f"{text!r} is not binary: it begins with neither b64: nor hex:")


def _shown(value: object) -> str:
    shown = repr(str(value)) if isinstance(value, str) else f"{value} ({type(value).__name__})"
    return shown if len(shown) <= 60 else f"{shown[:60]}…"  # noqa: PLR2004  one line of a terminal


def _example(attribute: KeyAttribute) -> str:
    forms = {"S": "the text as it is", "N": "digits, as in 42 or -0.5", "B": "b64:3q2+7w== or hex:deadbeef"}
    return f"type {attribute.name} as {_TYPE_NAMES[attribute.type]}: {forms[attribute.type]}"
