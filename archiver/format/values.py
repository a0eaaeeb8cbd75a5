"""DynamoDB attribute values: what is legal, when two are equal, and how people read them.

Laws: nothing here changes a value. `check_attributes` refuses what no DynamoDB table can hold in form (not in size).
`comparable(a) == comparable(b)` exactly when a and b are the same value: sets as sets, numbers as numbers.
The forms are those of *Attribute values* in the DynamoDB API reference.
"""

import base64
import binascii
import re
from collections.abc import Hashable, Iterable, Mapping
from decimal import Decimal
from typing import Any, Final

import orjson

from archiver.format.canonical import DEEPEST_LEVEL

# Exponents of more digits are no number of any table, and no reader could hold them.
_NUMBER: Final = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,12})?")
_JSON_NUMBER: Final = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
# A plain number of so many characters has an exponent within -130..125; a longer one may not.
_SURELY_IN_RANGE: Final = 120
_NORMAL_NUMBER: Final = re.compile(r"0|-?(?:0\.[0-9]*[1-9]|[1-9][0-9]*(?:\.[0-9]*[1-9])?)")

# *Constraints in Amazon DynamoDB*: up to 38 significant digits, 1E-130 to 9.99..E+125.
_PLAIN_EXPONENTS: Final = range(-130, 126)


def check_attributes(attributes: Any) -> None:
    """Refuses (ValueError) what is not a map of attribute name to attribute value.

    Lone surrogates are found when the map is encoded, not here.
    """
    if type(attributes) is not dict:
        raise ValueError(f"attributes must be an object, not {type(attributes).__name__}")
    _check_values(attributes.values(), 1)


def _check_values(values: Iterable[Any], level: int) -> None:
    # Half of the archiver's time is spent here. So the four commonest types are looked at without a call each, and no
    # view of the one member is made.
    for value in values:
        if type(value) is not dict or len(value) != 1:
            raise ValueError("an attribute value must be an object with exactly one type tag")
        (tag,) = value
        content = value[tag]
        if tag == "S":
            if type(content) is not str:
                raise ValueError("S must hold a string")
        elif tag == "N":
            if type(content) is not str or not _is_number(content):
                raise ValueError("N must hold the text of a number")
        elif tag == "M":
            if type(content) is not dict:
                raise ValueError("M must hold an object")
            _check_values(content.values(), _deeper(level))
        elif tag == "L":
            if type(content) is not list:
                raise ValueError("L must hold a list")
            _check_values(content, _deeper(level))
        else:
            _check_rarer(tag, content)


def _deeper(level: int) -> int:
    if level >= DEEPEST_LEVEL:
        raise ValueError(f"nested deeper than {DEEPEST_LEVEL} levels")
    return level + 1


def _check_rarer(tag: str, content: Any) -> None:
    match tag:
        case "BOOL":
            if type(content) is not bool:
                raise ValueError("BOOL must hold true or false")
        case "NULL":
            if content is not True:
                raise ValueError("NULL must hold true")
        case "B":
            _check_binary(content)
        case "SS" | "NS" | "BS":
            _check_set(tag, content)
        case _:
            raise ValueError(f"unknown type tag {tag!r}")


def _check_set(tag: str, content: Any) -> None:
    if type(content) is not list:
        raise ValueError(f"{tag} must hold a list")
    for element in content:
        if type(element) is not str:
            raise ValueError(f"{tag} must hold texts")
        if tag == "NS" and not _is_number(element):
            raise ValueError("NS must hold the texts of numbers")
        if tag == "BS":
            _check_binary(element)


def _is_number(text: str) -> bool:
    return (text.isdigit() and text.isascii()) or _NUMBER.fullmatch(text) is not None


def _check_binary(content: Any) -> None:
    # One spelling per value: a text that does not decode and encode to itself was not written by DynamoDB, and two
    # spellings of one binary key would be two items.
    if type(content) is not str or not content.isascii():
        raise ValueError("B must hold base64 text")
    try:
        decoded = binascii.a2b_base64(content, strict_mode=True)
    except binascii.Error as error:
        raise ValueError(f"B must hold base64 text: {error}") from error
    if binascii.b2a_base64(decoded, newline=False) != content.encode():
        raise ValueError("B must hold canonical base64 text")


def normal_number(text: str) -> str:
    """The one spelling of a number: plain digits without needless zeros, signs or exponents.

    Numbers outside DynamoDB's range keep an exponent (`1E+999`), so that no text grows without bound.
    Raises ValueError for what is not a number.
    """
    if len(text) <= _SURELY_IN_RANGE and _NORMAL_NUMBER.fullmatch(text):
        return text
    if _NUMBER.fullmatch(text) is None:
        raise ValueError(f"{text!r} is not a number")
    sign, digits, exponent = _parts(text)
    if not digits:
        return "0"
    minus = "-" if sign else ""
    if exponent not in _PLAIN_EXPONENTS:
        fraction = f".{digits[1:]}" if len(digits) > 1 else ""
        return f"{minus}{digits[0]}{fraction}E{exponent:+d}"
    point = exponent + 1
    if point <= 0:
        return f"{minus}0.{'0' * -point}{digits}"
    if point >= len(digits):
        return f"{minus}{digits}{'0' * (point - len(digits))}"
    return f"{minus}{digits[:point]}.{digits[point:]}"


def _parts(text: str) -> tuple[bool, str, int]:
    """Sign, significant digits without zeros at either end, and the exponent of the first digit."""
    mantissa, _, exponent = text.lower().partition("e")
    negative = mantissa.startswith("-")
    whole, _, fraction = mantissa.lstrip("+-").partition(".")
    digits = whole + fraction
    significant = digits.lstrip("0")
    if not significant:
        return False, "", 0
    first = len(whole) - 1 - (len(digits) - len(significant))
    return negative, significant.rstrip("0"), first + int(exponent or "0")


def number_parts(text: str) -> tuple[bool, str, int]:
    """Sign, significant digits and exponent of the first digit (`-0.0120` is `True, "12", -2`; zero has no digits).

    Raises ValueError for what is not a number.
    """
    if _NUMBER.fullmatch(text) is None:
        raise ValueError(f"{text!r} is not a number")
    return _parts(text)


def comparable(value: Mapping[str, Any]) -> Hashable:
    """A hashable form of one attribute value, equal exactly for equal values."""
    ((tag, content),) = value.items()
    match tag:
        case "N":
            return "N", number_parts(content)
        case "SS" | "BS":
            return tag, frozenset(content)
        case "NS":
            return "NS", frozenset(number_parts(element) for element in content)
        case "L":
            return "L", tuple(comparable(element) for element in content)
        case "M":
            return "M", comparable_attributes(content)
        case _:
            return tag, content


def comparable_attributes(attributes: Mapping[str, Any]) -> Hashable:
    """A hashable form of an image, a key or a map, equal exactly for equal values."""
    return frozenset((name, comparable(value)) for name, value in attributes.items())


def same_attributes(one: bytes | str | None, other: bytes | str | None) -> bool:
    """Whether two images, as canonical text or None for "no image", are the same value."""
    if one is None or other is None or one == other:
        return one == other
    return comparable_attributes(orjson.loads(one)) == comparable_attributes(orjson.loads(other))


def plain(value: Mapping[str, Any]) -> Any:
    """The plain twin of an attribute value, ready for orjson: what a person reads, type tags gone.

    Number text stays verbatim (as an `orjson.Fragment`), binary stays base64 text, sets become sorted lists.
    """
    ((tag, content),) = value.items()
    match tag:
        case "S":
            return content
        case "N":
            return _plain_number(content)
        case "NULL":
            return None
        case "L":
            return [plain(element) for element in content]
        case "M":
            return plain_attributes(content)
        case "NS":
            return [_plain_number(element) for element in sorted(content, key=Decimal)]
        case "SS" | "BS":
            return sorted(content)
        case _:
            return content


def _plain_number(text: str) -> orjson.Fragment:
    return orjson.Fragment(text if _JSON_NUMBER.fullmatch(text) else normal_number(text))


def plain_attributes(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """The plain twin of an image, a key or a map, names in order; give it to `orjson.dumps`."""
    made = {}
    for name in sorted(attributes):
        value = attributes[name]
        made[name] = value["S"] if "S" in value else plain(value)  # most are text: no call for those
    return made


def native(value: Mapping[str, Any]) -> Any:
    """An attribute value as Python objects: str, Decimal (exact), bytes, bool, None, list, dict, frozenset."""
    ((tag, content),) = value.items()
    match tag:
        case "N":
            return Decimal(content)
        case "B":
            return base64.b64decode(content)
        case "NULL":
            return None
        case "L":
            return [native(element) for element in content]
        case "M":
            return native_attributes(content)
        case "SS":
            return frozenset(content)
        case "NS":
            return frozenset(Decimal(element) for element in content)
        case "BS":
            return frozenset(base64.b64decode(element) for element in content)
        case _:
            return content


def native_attributes(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """An image as Python objects, one per attribute."""
    return {name: native(value) for name, value in attributes.items()}
