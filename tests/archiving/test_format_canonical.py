"""Canonical JSON: one text for one value, and the text is that of RFC 8785."""

import math

import orjson
import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from archiver.format.canonical import DEEPEST_LEVEL, LARGEST_INTEGER, canonical, canonical_number, canonical_numbers
from archiver.stream import RepeatedMembers
from tests.archiving.strategies import PROPERTY, images, json_values, texts

numberless = st.recursive(
    st.none() | st.booleans() | texts | st.integers(-(2**53) + 1, 2**53 - 1),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=8,
)


@PROPERTY
@given(numberless)
def test_canonical_json_is_that_of_rfc_8785(value):
    """An independent implementation of the RFC gives the same bytes, so any language has one to read ours with."""
    assert canonical(value) == rfc8785.dumps(value)


@PROPERTY
@given(images)
def test_an_image_is_canonical_json(image):
    """Attribute values hold no JSON numbers, so nothing of an image needs a rule of ours."""
    assert canonical(image) == rfc8785.dumps(image)


@PROPERTY
@given(json_values)
def test_canonical_is_idempotent(value):
    """Canonical text read and written again is the same text: no second canonical form exists."""
    text = canonical(canonical_numbers(value))
    assert canonical(canonical_numbers(orjson.loads(text))) == text


def test_names_are_sorted_by_utf_16():
    """U+1F600 is D83D DE00 in UTF-16: before U+FFFF, though its code point is greater. RFC 8785 §3.2.3."""
    assert (
        canonical({"\uffff": {}, "😀": {"\uffff": 1, "😀": 2}, "a": 0})
        == '{"a":0,"😀":{"😀":2,"\uffff":1},"\uffff":{}}'.encode()
    )


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (0, 0),
        (-0.0, 0),
        (1602179021.0, 1602179021),
        (1602179021.5, "1602179021.5"),
        (0.1, "0.1"),
        (1e-7, "1e-07"),
        (2**53, 2**53),
        (-(2**53), -(2**53)),
        (float(2**53), 2**53),
    ],
)
def test_a_number_has_one_canonical_form(number, expected):
    """Integral numbers are integers; any other is the text of the double, since two JSON writers spell it apart."""
    found = canonical_number(number)
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf, 2**53 + 1, -(2**53) - 1, 1e300])
def test_a_number_that_readers_would_disagree_about_is_refused(number):
    """Beyond 2**53 two readers may see two integers (RFC 7493 §2.2); NaN is no JSON at all."""
    with pytest.raises(ValueError):
        canonical_number(number)
    with pytest.raises(ValueError):
        canonical_numbers({"a": [number]})


@pytest.mark.parametrize("value", ["\ud800", {"\udfff": 1}, b"x", object(), {1: 2}, 2**64, {1}, RepeatedMembers([])])
def test_what_is_not_json_is_refused(value):
    """A lone surrogate has no UTF-8, and Python's other types have no JSON: neither may be guessed into one."""
    with pytest.raises(TypeError):
        canonical(value)


@pytest.mark.parametrize(
    "value", [b"x", (1,), {1}, RepeatedMembers([("a", 1), ("a", 2)]), {"x": [RepeatedMembers([])]}]
)
def test_only_what_a_json_parser_makes_has_canonical_numbers(value):
    """An object that named a member twice lost one of them when it became a dict: it must not pass for a whole one."""
    with pytest.raises(ValueError, match="is not JSON"):
        canonical_numbers(value)


def nested(levels, around):
    value = 1
    for _ in range(levels):
        value = around(value)
    return value


@pytest.mark.parametrize("around", [lambda value: [value], lambda value: {"a": value}], ids=["lists", "objects"])
def test_nesting_ends_at_64_levels(around):
    """Every recursive reader must be able to read what is kept for ever; DynamoDB nests to 32."""
    assert canonical_numbers(nested(DEEPEST_LEVEL, around)) == nested(DEEPEST_LEVEL, around)
    with pytest.raises(ValueError, match="nested deeper than 64 levels"):
        canonical_numbers(nested(DEEPEST_LEVEL + 1, around))
    assert LARGEST_INTEGER == 2**53
