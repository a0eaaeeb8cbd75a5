"""Key text: one attribute of a key as text whose byte order (UTF-8) is DynamoDB's order of keys.

    S   the string itself: DynamoDB orders strings by their UTF-8 bytes
    B   lower-case hexadecimal: DynamoDB orders binary by unsigned byte
    N   `0` for zero; `1`, the exponent plus 130 in three digits, the significant digits for what is above zero;
        `-`, 255 minus that number, the nines' complement of the digits, `~` for what is below

A number's text begins with `-`, `0` or `1`, in the order of its sign. Exponents run from -130 to 125 (*Constraints in
Amazon DynamoDB*), so three digits hold them. Digits without trailing zeros compare as fractions do, the shorter first;
below zero the complement turns the order round, and `~`, beyond every digit, puts the shorter one last.

Law: `parse_key_text(t, key_text(v)) == v` for every key value whose number is in its normal spelling.
"""

import base64
from collections.abc import Mapping
from typing import Final

from archiver.format.values import normal_number, number_parts

_EXPONENT_SHIFT: Final = 130
_LARGEST_SHIFTED: Final = 255
_MOST_DIGITS: Final = 38
_COMPLEMENT: Final = str.maketrans("0123456789", "9876543210")


def key_text(value: Mapping[str, str]) -> str:
    """The key text of one key attribute value, `{"S"|"N"|"B": text}`.

    Raises ValueError for other types and for numbers that no DynamoDB key can hold.
    """
    (tag,) = value
    content = value[tag]
    if tag == "S":
        return content
    if tag == "N":
        return _number_text(content)
    if tag == "B":
        return base64.b64decode(content).hex()
    raise ValueError(f"a key attribute is S, N or B, not {tag}")


def parse_key_text(tag: str, text: str) -> dict[str, str]:
    """The key attribute value that a key text was made from. Raises ValueError for what `key_text` never makes."""
    if tag == "S":
        return {"S": text}
    if tag == "N":
        value = {"N": _parse_number_text(text)}
    elif tag == "B":
        value = {"B": base64.b64encode(bytes.fromhex(text)).decode()}
    else:
        raise ValueError(f"a key attribute is S, N or B, not {tag}")
    if key_text(value) != text:
        raise ValueError(f"{text!r} is not the key text of any {tag}")
    return value


def _number_text(number: str) -> str:
    negative, digits, exponent = number_parts(number)
    if not digits:
        return "0"
    shifted = exponent + _EXPONENT_SHIFT
    if not 0 <= shifted <= _LARGEST_SHIFTED or len(digits) > _MOST_DIGITS:
        raise ValueError(f"{number} is outside the range of a DynamoDB number")
    if negative:
        return f"-{_LARGEST_SHIFTED - shifted:03d}{digits.translate(_COMPLEMENT)}~"
    return f"1{shifted:03d}{digits}"


def _parse_number_text(text: str) -> str:
    if text == "0":
        return "0"
    sign, shifted, digits = text[:1], text[1:4], text[4:]
    if sign not in {"1", "-"} or not shifted.isdecimal() or not digits:
        raise ValueError(f"{text!r} is not the key text of any N")
    exponent = int(shifted)
    if sign == "-":
        exponent = _LARGEST_SHIFTED - exponent
        digits = digits.removesuffix("~").translate(_COMPLEMENT)
    minus = "-" if sign == "-" else ""
    return normal_number(f"{minus}{digits[0]}.{digits[1:]}e{exponent - _EXPONENT_SHIFT}")
