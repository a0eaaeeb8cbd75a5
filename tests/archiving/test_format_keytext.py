"""Key text: the byte order of the text is DynamoDB's order of keys, and nothing is lost."""

import base64
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archiver.format.keytext import key_text, parse_key_text
from archiver.format.values import normal_number
from tests.archiving.strategies import PROPERTY, all_numbers, texts

# In order. Bounds of *Constraints in Amazon DynamoDB*: 38 digits, 1E-130 to 9.99..E+125, either sign.
IN_ORDER = [
    "-9.9999999999999999999999999999999999999E+125",
    "-9.9999999999999999999999999999999999998E+125",
    "-1E+125",
    "-100",
    "-12.1",
    "-12",
    "-11.999999999999999999999999999999999999",
    "-1.5",
    "-1.1",
    "-1",
    "-0.5",
    "-1.1E-130",
    "-1E-130",
    "0",
    "1E-130",
    "1.1E-130",
    "0.5",
    "1",
    "1.1",
    "1.5",
    "9",
    "10",
    "11.999999999999999999999999999999999999",
    "12",
    "12.1",
    "100",
    "12345678901234567890123456789012345678",
    "1E+125",
    "9.9999999999999999999999999999999999998E+125",
    "9.9999999999999999999999999999999999999E+125",
]


def order(one, other):
    return (one > other) - (one < other)


def test_the_order_of_number_texts_is_numeric():
    """Range pruning compares texts; the bounds of DynamoDB's numbers are where an encoding breaks."""
    found = [key_text({"N": number}).encode() for number in IN_ORDER]
    assert found == sorted(found)
    assert len(set(found)) == len(found)


@PROPERTY
@given(all_numbers, all_numbers)
def test_any_two_number_texts_compare_as_the_numbers_do(one, other):
    """Equal numbers have equal texts in whatever spelling, others compare as numbers."""
    by_text = order(key_text({"N": one}).encode(), key_text({"N": other}).encode())
    assert by_text == order(Decimal(one), Decimal(other))


@PROPERTY
@given(st.binary(max_size=5), st.binary(max_size=5))
def test_binary_texts_compare_as_unsigned_bytes(one, other):
    """ "DynamoDB ... compares binary values ... treats each byte as unsigned": base64 itself has another order."""
    found = [key_text({"B": base64.b64encode(content).decode()}).encode() for content in (one, other)]
    assert order(*found) == order(one, other)


@PROPERTY
@given(texts, texts)
def test_string_texts_compare_as_utf_8(one, other):
    """DynamoDB orders strings by their UTF-8 bytes, which is what a text column compares."""
    found = [key_text({"S": text}).encode() for text in (one, other)]
    assert order(*found) == order(one.encode(), other.encode())


@PROPERTY
@given(all_numbers)
def test_a_number_comes_back_from_its_text(number):
    """The hint is reversible, to the normal spelling of the number."""
    assert parse_key_text("N", key_text({"N": number})) == {"N": normal_number(number)}


@PROPERTY
@given(st.binary(max_size=8), texts)
def test_binary_and_strings_come_back_from_their_texts(content, text):
    """The hint is reversible."""
    binary = {"B": base64.b64encode(content).decode()}
    assert parse_key_text("B", key_text(binary)) == binary
    assert parse_key_text("S", key_text({"S": text})) == {"S": text}


@pytest.mark.parametrize("number", ["1E+126", "1E-131", "-1E+126", "1" * 39, "0.1" + "0" * 37 + "1"])
def test_a_number_that_no_key_holds_has_no_text(number):
    """The first exponents and the first digit outside the range: three digits of exponent could not order them."""
    with pytest.raises(ValueError, match="outside the range"):
        key_text({"N": number})


@pytest.mark.parametrize(
    ("tag", "text"),
    [
        ("N", ""),
        ("N", "1"),
        ("N", "00"),
        ("N", "1130"),
        ("N", "11301x"),
        ("N", "113010"),  # a trailing zero is another spelling
        ("N", "-1248"),  # without its tilde
        ("N", "12561"),  # exponent beyond 125
        ("N", "1١٣٠1"),
        ("N", "2130 1"),
        ("B", "A0"),
        ("B", "0"),
        ("B", "zz"),
        ("B", "00 01"),
        ("BOOL", "true"),
    ],
)
def test_a_parser_accepts_only_what_its_composer_makes(tag, text):
    """A second text for one key would hide that key from a pruned read."""
    with pytest.raises(ValueError):
        parse_key_text(tag, text)


def test_only_key_types_have_a_text():
    """A key attribute is S, N or B (*Constraints in Amazon DynamoDB*)."""
    with pytest.raises(ValueError, match="S, N or B"):
        key_text({"BOOL": True})
