"""Canonical JSON: one text for one value.

Laws: `canonical` gives the bytes of RFC 8785 for every value without numbers, and for integers up to 2**53;
`canonical_numbers` brings any other JSON value into that domain or refuses it. Equal values give equal bytes.
"""

import math
import re
from typing import Any, Final

import orjson

# RFC 8785 §3.2.3 sorts member names by UTF-16 code unit, orjson by code point. The two orders differ only where a name
# holds a character beyond U+FFFF (a surrogate pair, D800..DFFF) and another one of U+E000..U+FFFF. In UTF-8 all of
# these begin with a byte of 0xEE or more, so a text without such a byte is already right.
_BEYOND_D7FF: Final = re.compile(rb"[\xee-\xf4]")

# I-JSON (RFC 7493 §2.2): beyond this, two readers may disagree about an integer.
LARGEST_INTEGER: Final = 2**53

# DynamoDB nests to 32 levels; twice that is surely not DynamoDB, and still safe for every recursive reader.
DEEPEST_LEVEL: Final = 64

_SORTED: Final = (
    orjson.OPT_SORT_KEYS
    | orjson.OPT_PASSTHROUGH_DATACLASS
    | orjson.OPT_PASSTHROUGH_DATETIME
    | orjson.OPT_PASSTHROUGH_SUBCLASS
)


def canonical(value: Any) -> bytes:
    """The canonical UTF-8 bytes of a JSON value (RFC 8785).

    `value` holds str, bool, None, list, dict with str names, and integers up to 2**53; floats are the caller's to
    bring into that domain (`canonical_numbers`). Raises TypeError for anything else and for lone surrogates.
    """
    text = orjson.dumps(value, option=_SORTED)
    if not text.isascii() and _BEYOND_D7FF.search(text):
        return orjson.dumps(_sorted_by_utf16(value))
    return text


def _sorted_by_utf16(value: Any) -> Any:
    if isinstance(value, dict):
        names = sorted(value, key=lambda name: name.encode("utf-16-be"))
        return {name: _sorted_by_utf16(value[name]) for name in names}
    if isinstance(value, list):
        return [_sorted_by_utf16(element) for element in value]
    return value


def canonical_number(number: float) -> int | str:
    """An integral number as an integer, any other as the text of the double's `repr`.

    Raises ValueError for NaN, infinities and integers beyond 2**53.
    """
    if isinstance(number, float):
        if not math.isfinite(number):
            raise ValueError(f"the number {number!r} is not finite")
        if not number.is_integer():
            return repr(number)
        number = int(number)
    if abs(number) > LARGEST_INTEGER:
        raise ValueError(f"the integer {number} is beyond 2**53")
    return number


def canonical_numbers(value: Any, level: int = 0) -> Any:
    """`value` with every number in canonical form, anything else untouched.

    Raises ValueError for numbers without one, for nesting deeper than 64 levels, and for what is not JSON.
    """
    if value is None or isinstance(value, str | bool):
        return value
    if isinstance(value, int | float):
        return canonical_number(value)
    if level >= DEEPEST_LEVEL:
        raise ValueError(f"nested deeper than {DEEPEST_LEVEL} levels")
    if type(value) is dict:  # a kind of dict that remembers repeated members is no JSON value
        return {name: canonical_numbers(member, level + 1) for name, member in value.items()}
    if type(value) is list:
        return [canonical_numbers(element, level + 1) for element in value]
    raise ValueError(f"a {type(value).__name__} is not JSON")
