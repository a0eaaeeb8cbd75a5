"""Attribute values of every DynamoDB type, with the edges of each, and item keys.

Limits: *Constraints in Amazon DynamoDB* (38 significant digits, 1E-130 to 9.99...E+125, 32 levels) and *DynamoDB item
sizes and formats* (leading and trailing zeros are trimmed). Binary is base64 text, as in a Lambda event.
"""

from random import Random
from typing import Any

from tests.oracle import value_of

TEXTS = [
    "", "a", "PAID", "naïve", "nai\u0308ve", "line\u2028break", "\u2029", "\uffff", "\ufffd", "😀", "𝒳y", "\ud7ff", "\ue000",
    "\x00", "\x1f\x7f", "\t\r\n", '"quoted" \\ back', "</script>", "=1+1", "'; DROP TABLE", "{}", "null", " padded ", "é" * 40,
]  # fmt: skip
NUMBERS = [
    "0", "1", "-1", "42.2", "0.1", "-0.000001", "10", "100", "9007199254740993", "-9007199254740993",
    "12345678901234567890123456789012345678", "-12345678901234567890123456789012345678",
    "0.1234567890123456789012345678901234567", "9.9999999999999999999999999999999999999E+125", "1E-130", "-1E-130",
    "-9.9999999999999999999999999999999999999E+125", "1" + "0" * 40, "1E+100", "3.1415926535897932384626433832795028841",
]  # fmt: skip
BINARIES = ["", "AA==", "/w==", "AAEqQQ==", "QSoBAA==", "U3Vubnk=", "3q2+7w=="]
NAMES = [
    "status",
    "total",
    "a.b",
    "a[0]",
    "é",
    "e\u0301",
    "\uffff",
    "😀",
    "\ue000",
    "S",
    "N",
    "M",
    "size",
    "$x",
    " ",
    "x" * 64,
]

_DEEPEST = 32  # levels of nested attributes (*Constraints in Amazon DynamoDB*)


def _nested(levels: int) -> dict[str, Any]:
    value: dict[str, Any] = {"S": "bottom"}
    for level in range(levels - 1):
        value = {"M": {"d": value}} if level % 2 else {"L": [value]}
    return value


VALUES: list[dict[str, Any]] = [
    *({"S": text} for text in TEXTS),
    *({"N": number} for number in NUMBERS),
    *({"B": binary} for binary in BINARIES),
    {"BOOL": True}, {"BOOL": False}, {"NULL": True},
    {"L": []}, {"M": {}}, {"M": {"": {"S": ""}}}, {"M": {"S": {"S": "S"}}}, {"L": [{"L": [{"L": []}]}]},
    {"M": {"😀": {"N": "1"}, "\uffff": {"N": "2"}, "a": {"NULL": True}}}, {"M": {"z": {"S": "1"}, "a": {"S": "2"}}},
    {"L": [{"S": "x"}, {"N": "1"}, {"B": "AA=="}, {"BOOL": False}, {"NULL": True}, {"SS": ["b", "a"]}]},
    {"SS": ["a"]}, {"SS": ["b", "a", "\uffff", "😀"]}, {"SS": ["", "0"]}, {"NS": ["42.2", "-19", "0"]}, {"NS": NUMBERS[10:13]},
    {"BS": ["U3Vubnk=", "AA=="]}, {"BS": [""]}, {"S": "long " * 60}, _nested(_DEEPEST),
]  # fmt: skip

KEY_TEXTS = [
    "a",
    "b",
    "Z",
    "é",
    "e\u0301",
    "\uffff",
    "😀",
    "\ue000",
    "CUST#7",
    "a b",
    "0",
    "10",
    "9",
    "\x00",
    "a\x00",
    "pk=1/dt=2",
]
KEY_NUMBERS = [*NUMBERS, "2", "-2", "1.5", "1E+2", "99999999999999999999999999999999999999"]
KEY_BINARIES = [binary for binary in BINARIES if binary] + ["AAE=", "/wA="]
_KEY_POOLS = {"S": KEY_TEXTS, "N": KEY_NUMBERS, "B": KEY_BINARIES}


def draw_key_schema(rng: Random) -> list[tuple[str, str]]:
    """Names and types of the key attributes, partition key first; the names sort either way round."""
    names = rng.choice([["pk", "sk"], ["id", "at"], ["😀", "\uffff"]])
    return [(name, rng.choice("SSSNB")) for name in names[: rng.randint(1, 2)]]


def draw_keys(rng: Random, schema: list[tuple[str, str]], count: int) -> list[dict[str, Any]]:
    """At most `count` different item keys, some sharing a partition."""
    keys: list[dict[str, Any]] = []
    seen = set()
    for _ in range(count):
        key = {name: {tag: rng.choice(_KEY_POOLS[tag])} for name, tag in schema}
        if keys and len(schema) > 1 and rng.random() < 0.5:
            key[schema[0][0]] = keys[-1][schema[0][0]]
        by_value = value_of({"M": key})
        if by_value not in seen:
            seen.add(by_value)
            keys.append(key)
    return keys


def draw_value(rng: Random) -> dict[str, Any]:
    return VALUES[int(rng.random() * len(VALUES))]


def are_equal(one: dict | None, other: dict | None) -> bool:
    """Do two images hold the same data? Order in a set and the spelling of a number do not count."""
    if one is None or other is None or len(one) != len(other):
        return one is other
    for name, value in one.items():
        facing = other.get(name)
        if facing is None:
            return False
        if value != facing and (value.keys() != facing.keys() or value_of(value) != value_of(facing)):
            return False
    return True


def respell(value: dict[str, Any]) -> dict[str, Any]:
    """The same value with its sets in another order, at any depth."""
    ((tag, content),) = value.items()
    if tag in ("SS", "NS", "BS"):
        return {tag: content[::-1]}
    if tag == "L":
        return {tag: [respell(member) for member in content]}
    if tag == "M":
        return {tag: {name: respell(member) for name, member in content.items()}}
    return value
