"""Attribute values: what is legal, when two are equal, and how people read them."""

import base64
from decimal import Decimal

import orjson
import pytest
from boto3.dynamodb.types import Binary, TypeDeserializer
from hypothesis import given
from hypothesis import strategies as st

from archiver.format.canonical import canonical
from archiver.format.values import (
    check_attributes,
    comparable,
    comparable_attributes,
    native,
    native_attributes,
    normal_number,
    number_parts,
    plain,
    plain_attributes,
    same_attributes,
)
from archiver.stream import RepeatedMembers
from tests.archiving.strategies import PROPERTY, all_numbers, images, values
from tests.oracle import value_of


def nested(levels, tag="L"):
    """A value of `levels` levels."""
    value = {"S": "bottom"}
    for _ in range(levels - 1):
        value = {"L": [value]} if tag == "L" else {"M": {"a": value}}
    return value


# --- what is legal ---


@PROPERTY
@given(images)
def test_every_image_of_dynamodb_is_legal(image):
    """What a table can hold must never end in quarantine."""
    check_attributes(image)


ILLEGAL = {
    "unknown tag": {"X": "1"},
    "lower-case tag": {"s": "1"},
    "no tag": {},
    "two tags": {"S": "1", "N": "1"},
    "no object": "text",
    "null": None,
    "a list": [],
    "a number": 1,
    "S of a number": {"S": 1},
    "S of null": {"S": None},
    "S of an object": {"S": {}},
    "N of a number": {"N": 1},
    "N of a truth value": {"N": True},
    "N without digits": {"N": ""},
    "N with a point only": {"N": "."},
    "N with a blank": {"N": " 1"},
    "N with a newline": {"N": "1\n"},
    "N with an underscore": {"N": "1_0"},
    "N of another script": {"N": "٣"},
    "N superscript": {"N": "²"},
    "N infinite": {"N": "Infinity"},
    "N not a number": {"N": "NaN"},
    "N hexadecimal": {"N": "0x1"},
    "N with two points": {"N": "1.2.3"},
    "N with half an exponent": {"N": "1e"},
    "B of a number": {"B": 1},
    "B without padding": {"B": "AA"},
    "B with a newline": {"B": "AA==\n"},
    "B with stray bits": {"B": "AB=="},
    "B of the URL alphabet": {"B": "_w=="},
    "B beyond ASCII": {"B": "é==="},
    "BOOL of a number": {"BOOL": 1},
    "BOOL of a text": {"BOOL": "true"},
    "NULL of false": {"NULL": False},
    "NULL of one": {"NULL": 1},
    "NULL of null": {"NULL": None},
    "SS of a text": {"SS": "a"},
    "SS of an object": {"SS": {"a": 1}},
    "SS of numbers": {"SS": [1]},
    "NS of words": {"NS": ["a"]},
    "NS of numbers": {"NS": [1]},
    "BS without padding": {"BS": ["AA"]},
    "BS of numbers": {"BS": [1]},
    "L of an object": {"L": {}},
    "L of texts": {"L": ["a"]},
    "M of a list": {"M": []},
    "M of texts": {"M": {"a": "b"}},
    "M with a repeated member": {"M": RepeatedMembers([("a", {"S": ""}), ("a", {"S": ""})])},
    "a repeated tag": RepeatedMembers([("S", ""), ("S", "")]),
}


@pytest.mark.parametrize("value", ILLEGAL.values(), ids=ILLEGAL)
@pytest.mark.parametrize(
    "around", [lambda value: value, lambda value: {"L": [value]}, lambda value: {"M": {"x": value}}]
)
def test_an_illegal_value_is_refused_at_any_depth(value, around):
    """What no table can hold was not written by DynamoDB; taken in, it would break every reader for ever."""
    with pytest.raises(ValueError):
        check_attributes({"good": {"S": ""}, "bad": around(value)})


@pytest.mark.parametrize("name", ["no tag", "two tags", "no object", "a list", "a repeated tag"])
def test_the_reason_names_the_shape_of_a_value(name):
    """The reason in the log is all that an operator has of a record in quarantine."""
    with pytest.raises(ValueError, match="exactly one type tag"):
        check_attributes({"bad": ILLEGAL[name]})


@pytest.mark.parametrize("attributes", [None, [], "a", 1, RepeatedMembers([])])
def test_attributes_are_an_object(attributes):
    """A null image is not an empty one, and not an absent one."""
    with pytest.raises(ValueError, match="attributes must be an object"):
        check_attributes(attributes)


@pytest.mark.parametrize("tag", ["L", "M"])
def test_values_nest_to_64_levels(tag):
    """DynamoDB nests to 32; beyond 64 it is surely something else, and recursive readers must live."""
    check_attributes({"a": nested(64, tag)})
    with pytest.raises(ValueError, match="nested deeper than 64 levels"):
        check_attributes({"a": nested(65, tag)})


# --- numbers ---


@PROPERTY
@given(all_numbers)
def test_the_normal_spelling_is_the_same_number(number):
    """No digit is lost: decimals are exact, and a normal spelling is its own normal spelling."""
    normal = normal_number(number)
    assert Decimal(normal) == Decimal(number)
    assert normal_number(normal) == normal


@PROPERTY
@given(all_numbers, all_numbers)
def test_equal_numbers_have_one_normal_spelling(one, other):
    """The canonical key of an item rests on this: one item, one text."""
    assert (normal_number(one) == normal_number(other)) == (Decimal(one) == Decimal(other))


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        ("0", "0"),
        ("-0", "0"),
        ("+0.00e5", "0"),
        ("1", "1"),
        ("+1", "1"),
        ("007", "7"),
        ("1.10", "1.1"),
        ("1.", "1"),
        (".5", "0.5"),
        ("-0.0120", "-0.012"),
        ("1E2", "100"),
        ("12345e-2", "123.45"),
        ("1e-130", "0." + "0" * 129 + "1"),
        ("9.9e125", "99" + "0" * 124),
        ("1e126", "1E+126"),
        ("-12e130", "-1.2E+131"),
        ("1e-131", "1E-131"),
        ("100", "100"),
        ("1E+999999999999", "1E+999999999999"),
    ],
)
def test_a_normal_spelling_is_plain(number, expected):
    """Plain digits inside DynamoDB's range; outside it an exponent, so that no text grows without bound."""
    assert normal_number(number) == expected


@pytest.mark.parametrize("text", ["", ".", "-", "e5", "1e", "NaN", "Infinity", "1_0", " 1", "1\n", "٣", "0x1"])
def test_what_is_no_number_has_no_parts(text):
    """Python's own parsers take some of these; DynamoDB writes none."""
    with pytest.raises(ValueError, match="is not a number"):
        normal_number(text)
    with pytest.raises(ValueError, match="is not a number"):
        number_parts(text)


def test_number_parts_are_sign_digits_and_exponent():
    """The three things that key text and comparison are made of."""
    assert number_parts("-0.0120") == (True, "12", -2)
    assert number_parts("1200") == (False, "12", 3)
    assert number_parts("-0.0") == (False, "", 0)


# --- equality ---


@PROPERTY
@given(values, values)
def test_values_are_comparable_exactly_when_they_are_equal(one, other):
    """The oracle, which shares no code, agrees on when two values are the same."""
    assert (comparable(one) == comparable(other)) == (value_of(one) == value_of(other))


@pytest.mark.parametrize(
    ("one", "other", "are_equal"),
    [
        ({"N": "1"}, {"N": "1.0"}, True),
        ({"N": "0"}, {"N": "-0"}, True),
        ({"N": "1"}, {"S": "1"}, False),
        ({"N": "9007199254740993"}, {"N": "9007199254740992"}, False),
        ({"NS": ["1", "2"]}, {"NS": ["2.0", "1"]}, True),
        ({"SS": ["a", "b"]}, {"SS": ["b", "a"]}, True),
        ({"L": [{"S": "a"}, {"S": "b"}]}, {"L": [{"S": "b"}, {"S": "a"}]}, False),
        ({"SS": ["a"]}, {"L": [{"S": "a"}]}, False),
        ({"S": "AA=="}, {"B": "AA=="}, False),
        ({"BOOL": True}, {"NULL": True}, False),
        ({"BOOL": True}, {"N": "1"}, False),
        ({"M": {}}, {"L": []}, False),
        ({"S": "é"}, {"S": "e\u0301"}, False),
        ({"M": {"a": {"N": "1"}}}, {"M": {"a": {"N": "1.0"}}}, True),
    ],
)
def test_equality_is_by_value(one, other, are_equal):
    """Sets as sets, numbers as numbers, everything else as text."""
    assert (comparable(one) == comparable(other)) is are_equal
    assert (comparable_attributes({"a": one}) == comparable_attributes({"a": other})) is are_equal
    assert same_attributes(canonical({"a": one}), canonical({"a": other})) is are_equal


def test_no_image_equals_only_no_image():
    """Absent is not empty: an item without attributes exists."""
    assert same_attributes(None, None)
    assert not same_attributes(None, b"{}")
    assert not same_attributes(b"{}", None)
    assert same_attributes('{"a":{"N":"1"}}', b'{"a":{"N":"1.0"}}')


# --- for people ---


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"S": 'a"'}, '"a\\""'),
        ({"N": "0.1234567890123456789012345678901234567"}, "0.1234567890123456789012345678901234567"),
        ({"N": "1.10"}, "1.10"),
        ({"N": "+05"}, "5"),
        ({"N": "1e2"}, "1e2"),
        ({"N": ".5"}, "0.5"),
        ({"B": "AA=="}, '"AA=="'),
        ({"BOOL": False}, "false"),
        ({"NULL": True}, "null"),
        ({"L": [{"N": "1"}, {"M": {}}]}, "[1,{}]"),
        ({"M": {"b": {"S": ""}, "a": {"L": []}}}, '{"a":[],"b":""}'),
        ({"SS": ["b", "a"]}, '["a","b"]'),
        ({"NS": ["10", "9", "-1"]}, "[-1,9,10]"),
        ({"BS": ["BB==", "AA=="]}, '["AA==","BB=="]'),
    ],
)
def test_the_plain_twin_is_what_a_person_reads(value, expected):
    """Type tags gone, every digit kept: no number passes through a double."""
    assert orjson.dumps(plain(value)).decode() == expected


@PROPERTY
@given(images)
def test_the_plain_twin_is_json_with_names_in_order(image):
    """Two versions of an item side by side must not differ by the order of their names."""
    found = orjson.loads(orjson.dumps(plain_attributes(image)))
    assert list(found) == sorted(image)


@PROPERTY
@given(values)
def test_native_values_are_those_of_boto3(value):
    """A second opinion on what each type means; boto3 wants bytes where an event has base64 text."""
    assert native(value) == boto3_value(value)
    assert native_attributes({"a": value}) == {"a": boto3_value(value)}


def boto3_value(value):
    ((tag, content),) = value.items()
    if tag == "N":
        return Decimal(content)  # boto3's context refuses what is legal
    if tag == "NS":
        return {Decimal(element) for element in content}
    if tag == "B":
        content = base64.b64decode(content)
    if tag == "BS":
        content = [base64.b64decode(element) for element in content]
    if tag == "L":
        return [boto3_value(element) for element in content]
    if tag == "M":
        return {name: boto3_value(element) for name, element in content.items()}
    found = TypeDeserializer().deserialize({tag: content})
    if tag == "BS":
        return {element.value if isinstance(element, Binary) else element for element in found}
    return found.value if isinstance(found, Binary) else found


@given(st.sampled_from(["S", "N", "B", "L", "M", "SS"]))
@PROPERTY
def test_checking_changes_nothing(tag):
    """Evidence holds values exactly as delivered."""
    image = {
        "a": {
            "S": {"S": "x"},
            "N": {"N": "1.0"},
            "B": {"B": "AA=="},
            "L": {"L": []},
            "M": {"M": {}},
            "SS": {"SS": ["b", "a"]},
        }[tag]
    }
    before = orjson.dumps(image)
    check_attributes(image)
    assert orjson.dumps(image) == before
