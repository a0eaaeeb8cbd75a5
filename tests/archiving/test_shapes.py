"""Shapes of images and keys: what one lets through is canonical, and what is like it is not looked at in full."""

import base64
import string
from collections.abc import Iterator
from typing import Any

import orjson
import pytest

from archiver.format.canonical import canonical
from archiver.format.record import item_key_text, key_hints
from archiver.format.shapes import (
    ImageShapes,
    KeyShape,
    KeyShapes,
    TextKey,
    is_canonical_image,
    is_canonical_key,
    possible_hints,
)

IMAGE: dict[str, Any] = {
    "S": {"S": "a é"},
    "N": {"N": "-10.5"},
    "BOOL": {"BOOL": True},
    "NULL": {"NULL": True},
    "B": {"B": "AAE="},
    "SS": {"SS": ["a", ""]},
    "NS": {"NS": ["1", "-2.5"]},
    "BS": {"BS": ["AAE=", "AA=="]},
    "L": {"L": [{"N": "1"}, {"N": "2"}]},
    "mixed": {"L": [{"S": "x"}, {"N": "1"}]},
    "M": {"M": {"a": {"S": "x"}, "b": {"L": []}}},
}
PUT = (b"", *(bytes([byte]) for byte in b'"\\{}[],:0a1-.Ez=A \x00\x1f\x7f\n+/'), b"\xc3", b"\xff", "é".encode())


def altered(text: bytes) -> Iterator[bytes]:
    """Something put, taken or replaced at every place."""
    for place in range(len(text) + 1):
        for put in PUT:
            yield text[:place] + put + text[place:]
            yield text[:place] + put + text[place + 1 :]


def loaded(text: bytes) -> Any:
    try:
        return orjson.loads(text)
    except ValueError:
        return None


def test_a_shape_lets_through_what_is_canonical_and_nothing_else():
    """Every byte changed, of an image with each type: the shape says what a look at the whole value says."""
    shapes = ImageShapes()
    assert shapes.is_canonical(canonical(IMAGE))
    texts = list(altered(canonical(IMAGE)))
    expected = [is_canonical_image(loaded(text), text) for text in texts]
    assert [shapes.is_canonical(text) for text in texts] == expected
    assert 1000 < sum(expected) < len(texts) - 1000


def test_many_images_at_once_are_judged_as_each_by_itself():
    """The caller has seen that nothing is escaped and all is ASCII; NULL is no image, and right."""
    shapes = ImageShapes()
    text = canonical(IMAGE).replace("é".encode(), b"e")
    texts = [one for one in altered(text) if one.isascii() and b"\\" not in one and min(one) >= 0x20]
    asked = [text, None, *texts]
    assert shapes.are_canonical([text, None]) == [True, True]
    assert shapes.are_canonical(asked) == [one is None or is_canonical_image(loaded(one), one) for one in asked]
    assert ImageShapes().are_canonical([None, b"", b"{}"]) == [True, False, True]


@pytest.mark.parametrize("last", [1, 2])
def test_base64_has_no_bits_left_over(last):
    """Of one byte or of two behind whole threes; each letter in the last place that counts."""
    shapes = ImageShapes()
    assert shapes.is_canonical(b'{"b":{"B":""}}')
    for letter in string.printable:
        coded = ("A" * (4 if letter < "a" else 0) + "A" * (3 - last) + letter + "=" * last).encode()
        text = b'{"b":{"B":"%b"}}' % coded
        assert shapes.is_canonical(text) == is_canonical_image(loaded(text), text)
    before = shapes.misses
    for size in range(10):
        assert shapes.is_canonical(
            canonical({"b": {"B": base64.b64encode(bytes(range(248, 248 + size % 8))).decode()}})
        )
    for byte in range(256):
        assert shapes.is_canonical(canonical({"b": {"B": base64.b64encode(bytes([byte, 0xFF, byte])).decode()}}))
        assert shapes.is_canonical(canonical({"b": {"B": base64.b64encode(bytes([byte])).decode()}}))
        assert shapes.is_canonical(canonical({"b": {"B": base64.b64encode(bytes([0, byte])).decode()}}))
    assert shapes.misses == before


def strings(*values: str) -> list[dict[str, Any]]:
    return [{"S": value} for value in values]


@pytest.mark.parametrize(
    ("known", "like", "unlike"),
    [
        (
            {"S": "x"},
            strings("", "y", "é😀", "}", "{[,:", "\x7f", "a ~"),
            [{"N": "1"}, {"S": "\\"}, {"S": '"'}, {"S": "\n"}],
        ),
        ({"N": "1"}, [{"N": one} for one in ("0", "12", "-1", "1.50", "-0.1", "007")], [{"N": "1E5"}, {"S": "1"}]),
        ({"BOOL": True}, [{"BOOL": False}, {"BOOL": True}], [{"NULL": True}]),
        ({"NULL": True}, [{"NULL": True}], [{"BOOL": True}]),
        ({"SS": ["a"]}, [{"SS": []}, {"SS": ["", "é"]}, {"SS": ["a"] * 9}], [{"NS": ["1"]}, {"L": strings("a")}]),
        ({"NS": ["1"]}, [{"NS": []}, {"NS": ["-1.5", "2"]}], [{"SS": ["1"]}, {"NS": ["1E5"]}]),
        ({"BS": ["AAE="]}, [{"BS": []}, {"BS": ["", "AA==", "AAAA", "AAAAAAE="]}], [{"SS": ["AAE="]}, {"B": "AAE="}]),
        ({"L": strings("a")}, [{"L": []}, {"L": strings("b", "", "c")}], [{"L": [{"N": "1"}]}, {"L": [{"L": []}]}]),
        (
            {"L": [{"S": "a"}, {"N": "1"}]},
            [{"L": [{"S": ""}, {"N": "-2"}]}],
            [{"L": []}, {"L": strings("a")}, {"L": [{"N": "1"}, {"S": "a"}]}, {"L": [{"S": "a"}, {"N": "1"}] * 2}],
        ),
        ({"L": []}, [{"L": []}], [{"L": strings("a")}]),
        (
            {"M": {"a": {"S": ""}, "b": {"M": {}}}},
            [{"M": {"a": {"S": "x"}, "b": {"M": {}}}}],
            [{"M": {}}, {"M": {"a": {"S": ""}}}, {"M": {"a": {"S": ""}, "b": {"M": {"c": {"S": ""}}}}}],
        ),
    ],
)
def test_what_is_like_a_known_value_is_not_looked_at_in_full_and_what_is_not_is(known, like, unlike):
    """Contents are open, types and members are not; all of them are canonical either way."""
    for other in like:
        shapes = ImageShapes()
        assert shapes.is_canonical(canonical({"a": known}))
        assert shapes.misses == 1
        assert shapes.is_canonical(canonical({"a": other}))
        assert shapes.misses == 1, other
        assert shapes.are_canonical([canonical({"a": other})]) == [True]
    for other in unlike:
        shapes = ImageShapes()
        assert shapes.is_canonical(canonical({"a": known}))
        assert shapes.is_canonical(canonical({"a": other}))
        assert shapes.misses == 2, other


def test_what_is_no_image_is_no_miss():
    """Misses are counted because they are costs of a table that is right; what is wrong ends the check."""
    shapes = ImageShapes()
    for text in (b"", b"!", b"null", b"[]", b'{"a":1}', b'{"a":{"S":"x"} }', b"{}}"):
        assert not shapes.is_canonical(text)
    assert shapes.misses == 0


def test_lessons_become_rare():
    """The first shapes are learned at once, the next after as many misses as before, and at last each after 400 more:
    a table of ever new shapes is checked at half speed at worst."""
    shapes = ImageShapes()
    texts = [b'{"a%d":{"S":"x"}}' % number for number in range(2200)]
    assert all(map(shapes.is_canonical, texts))
    assert shapes.misses == len(texts)
    known = []
    for number, text in enumerate(texts, 1):
        misses = shapes.misses
        assert shapes.is_canonical(text)
        if shapes.misses == misses:
            known.append(number)
    assert known == [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 912, 1312, 1712, 2112]


OF_MANY_TYPES = ({"S": "x"}, {"N": "1"}, {"BOOL": True}, {"NULL": True}, {"SS": ["a"]}, {"NS": ["1"]}, {"B": ""})


def test_an_attribute_is_remembered_with_a_few_types():
    """With every type that it ever had, a pattern would have no end."""
    shapes = ImageShapes()

    def is_known(value: dict[str, Any]) -> bool:
        """Beside another attribute, so that no shape of a whole image knows it."""
        misses = shapes.misses
        assert shapes.is_canonical(canonical({"a": value, "b": {"S": ""}}))
        return shapes.misses == misses

    learned = [canonical({"b": {"S": ""}}), *(canonical({"a": value}) for value in OF_MANY_TYPES)]
    for number, text in enumerate(learned):
        while shapes.misses + 1 < 2**number:  # the next miss is a lesson
            assert shapes.is_canonical(b'{"x%d":{"S":""}}' % shapes.misses)
        assert shapes.is_canonical(text)
    assert [is_known(value) for value in OF_MANY_TYPES] == [True] * 4 + [False] * 3


def learned_in_turn(*texts: bytes) -> ImageShapes:
    """Each of them was a lesson, with as many other misses between as that takes."""
    shapes = ImageShapes()
    for number, text in enumerate(texts):
        while shapes.misses + 1 < 2**number:
            assert shapes.is_canonical(b'{"x%d":{"S":""}}' % shapes.misses)
        assert shapes.is_canonical(text)
        assert shapes.misses == 2**number
    return shapes


def test_the_latest_shapes_are_known_as_a_whole():
    """The last three, also where an attribute has had more types than are remembered with its name."""
    types = (*OF_MANY_TYPES, {"BS": [""]})
    texts = [canonical({"a": value}) for value in types]
    shapes = learned_in_turn(*texts)
    known = []
    for text in texts:
        misses = shapes.misses
        assert shapes.is_canonical(text)
        known.append(shapes.misses == misses)
    assert known == [True] * 4 + [False] + [True] * 3


def test_what_was_used_last_is_forgotten_last():
    """A table of a few shapes, and now and then another one: those in use stay."""
    texts = [canonical({"a": value}) for value in (*OF_MANY_TYPES, {"BS": [""]})]
    shapes = learned_in_turn(*texts[:7])
    assert shapes.is_canonical(texts[4])  # the oldest of the three
    while shapes.misses + 1 < 128:
        assert shapes.is_canonical(b'{"x%d":{"S":""}}' % shapes.misses)
        assert shapes.is_canonical(texts[4])
    assert shapes.is_canonical(texts[7])
    assert shapes.misses == 128
    assert shapes.is_canonical(texts[4])
    assert shapes.misses == 128
    assert shapes.is_canonical(texts[5])
    assert shapes.misses == 129


def test_all_attributes_together_are_remembered_as_far_as_they_are_few():
    """A pattern of all names that a table ever had would have no end; the small ones still find their place."""
    names = [str(number) * 3_000 for number in range(1, 8)]
    shapes = learned_in_turn(*(canonical({name: {"S": ""}}) for name in names), b'{"a":{"S":""}}')

    def is_known(*some: str) -> bool:
        misses = shapes.misses
        assert shapes.is_canonical(canonical({name: {"S": "x"} for name in some}))
        return shapes.misses == misses

    assert is_known(names[0], names[4])
    assert is_known(names[0], "a")
    assert not is_known(names[0], names[5])
    assert not is_known(names[5], names[6])
    assert is_known(names[6])


def test_a_large_image_is_looked_at_in_full_each_time():
    """A pattern of it would cost more than it saves."""
    shapes = ImageShapes()
    large = canonical({"l": {"L": [{"S": "x"}, {"N": "1"}] * 1000}})
    for number in range(1, 4):
        assert shapes.is_canonical(large)
        assert not shapes.is_canonical(large[:-1])
        assert shapes.misses == number
    small = ImageShapes()
    for _ in range(3):
        assert small.is_canonical(canonical({"l": {"L": [{"S": "x"}, {"N": "1"}] * 100}}))
    assert small.misses == 1


def test_attributes_may_be_there_or_not_without_another_look():
    """A table has items of many shapes; none of their combinations is checked in full once its attributes are known."""
    shapes = ImageShapes()
    assert shapes.is_canonical(b'{"a":{"S":"x"},"b":{"S":"y"}}')
    assert shapes.is_canonical(b'{"b":{"N":"1"},"c":{"M":{"d":{"S":""}}}}')
    assert shapes.misses == 2
    for text in (
        b'{"a":{"S":"other"}}',
        b'{"a":{"S":"other"},"b":{"N":"2"}}',
        b'{"a":{"S":""},"b":{"S":""},"c":{"M":{"d":{"S":"x"}}}}',
        b'{"a":{"S":""},"c":{"M":{"d":{"S":"x"}}}}',
        b'{"c":{"M":{"d":{"S":"x"}}}}',
    ):
        assert shapes.is_canonical(text)
    assert shapes.misses == 2
    for text in (
        b"{",
        b'{"a":{"S":"x"},',
        b'{"a":{"S":"x"},}',
        b'{"a":{"S":"x"}',
        b'{"a":{"S":"x"}}}',
        b'{"a":{"S":"x"}"b":{"S":"y"}}',
        b'{"a":{"S":"x"}}"b":{"S":"y"}}',
        b'{"a":{"S":"x"},,"b":{"S":"y"}}',
        b'{"b":{"S":"x"},"a":{"S":"y"}}',
        b'{"a":{"S":"x"},"a":{"S":"y"}}',
        b'{"a":{"N":"x"}}',
        b'{"c":{"M":{"d":{"S":"x"}},"b":{"S":"y"}}}',
        b'{"c":{"M":{"d":{"S":"x"},"b":{"S":"y"}}}}',
        b'{,"a":{"S":"x"}}',
    ):
        assert not shapes.is_canonical(text), text
    assert shapes.is_canonical(b"{}")


def test_names_are_in_the_order_of_canonical_json_when_they_come_together():
    """By UTF-16: a surrogate pair stands before U+FFFF, which UTF-8 would have the other way round."""
    shapes = ImageShapes()
    for name in ("\uffff", "😀"):
        assert shapes.is_canonical(canonical({name: {"S": ""}}))
    assert shapes.is_canonical('{"😀":{"S":""},"\uffff":{"S":""}}'.encode())
    assert not shapes.is_canonical('{"\uffff":{"S":""},"😀":{"S":""}}'.encode())


def test_a_name_is_no_pattern():
    """Names of attributes are what people chose."""
    shapes = ImageShapes()
    for name in ("a.c", "a*", "(", "[x]", "a|b"):
        assert shapes.is_canonical(canonical({name: {"S": ""}}))
        assert shapes.is_canonical(canonical({name: {"S": "x"}}))
    assert not shapes.is_canonical(b'{"a.c":{"S":""},"a*":{"S":""}}')


def test_what_is_wrong_is_refused_however_many_shapes_are_known():
    """What is remembered has a limit, and beyond it every image is looked at in full."""
    shapes = ImageShapes()
    for number in range(1000):
        assert shapes.is_canonical(b'{"a%d":{"S":"x"}}' % number)
        assert not shapes.is_canonical(b'{"a%d":{"S":1}}' % number)


# --- keys ---

KEYS: tuple[dict[str, Any], ...] = (
    {"a": {"S": "x"}},
    {"a": {"N": "10"}},
    {"a": {"B": "AAE="}},
    {"a": {"S": "x"}, "b": {"S": "y"}},
    {"a": {"S": "é"}, "b": {"N": "-7"}},
    {"a": {"N": "1"}, "b": {"B": ""}},
    {"a": {"S": "x"}, "b": {"S": "x"}},
    {"a": {"N": "1" * 39}, "b": {"S": "x"}},
    {"a": {"S": "None"}, "b": {"S": "x"}},
)


def hints_of(keys: dict[str, Any]) -> list[tuple[str | None, str | None]]:
    """Those that may belong to it, and others that are like them."""
    one, two = key_hints(keys, tuple(keys))
    others = {(None, None), (one, two), (two, one), (one, None), (None, one), (None, two), (two, None), (one, one)}
    return [*others, ("", ""), ("", None), ("x", "z"), ("z", "y"), ("None", "x"), ("x", "None"), ("x\udc80", None)]


@pytest.mark.parametrize("keys", KEYS, ids=str)
@pytest.mark.parametrize("order", ["unknown", "as written", "reversed", "another schema"])
def test_a_key_with_its_hints_is_right_and_nothing_else(keys, order):
    """Every byte changed, with every kind of hints, by itself or after others of its shape in either order."""
    names = {"unknown": None, "as written": tuple(keys), "reversed": tuple(keys)[::-1], "another schema": ("c", "d")}[
        order
    ]
    text = item_key_text(keys)
    shapes = KeyShapes(names)
    for hints in hints_of(keys):  # what is right of them is learned
        for one in (KeyShapes(names), shapes, shapes):
            assert one.is_canonical(text, *hints) == is_canonical_key(keys, text, hints, names), hints
    for hints in hints_of(keys)[:4]:
        for other in altered(text):
            assert shapes.is_canonical(other, *hints) == is_canonical_key(loaded(other), other, hints, names)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"a": {"S": "x"}}, {"a": {"S": "é{}"}}),
        ({"a": {"N": "0"}}, {"a": {"N": "-1234567890"}}),
        ({"a": {"B": ""}}, {"a": {"B": "AAAAAAE="}}),
        ({"a": {"B": "AA=="}}, {"a": {"B": "AAAA"}}),
        ({"a": {"N": "1"}}, {"a": {"N": "-" + "9" * 38}}),
        ({"😀": {"N": "1"}, "\uffff": {"N": "1"}}, {"😀": {"N": "2"}, "\uffff": {"N": "3"}}),
        ({"a": {"S": "x"}, "b": {"N": "1"}}, {"a": {"S": ""}, "b": {"N": "0"}}),
        ({"a": {"B": "AAE="}, "b": {"S": "x"}}, {"a": {"B": "AA=="}, "b": {"S": "y"}}),
    ],
)
def test_a_shape_knows_the_other_keys_of_its_table(one, other):
    """With key text or without, partition key first or last, whether the schema is known or not."""
    names, text = tuple(one), item_key_text(other)
    pk, sk = key_hints(other, names)
    for known in (None, names):
        shape = KeyShape.of(one, known)
        shapes = KeyShapes(known)
        assert shapes.is_canonical(item_key_text(one), None, None)  # from which no strings are learned
        assert shapes.is_canonical(text, pk, sk)
        assert shapes.misses == 1
        assert shape.is_key(text, pk, sk)
        assert shape.is_key(text, None, None)
        assert shape.is_key(text, pk, "z") is False
        assert shape.is_key(text, "z", sk) is False
        assert shape.is_key(text, None, pk) is False
        assert shape.is_key(text + b" ", pk, sk) is False
    if len(names) == 2:
        assert KeyShape.of(one, None).is_key(text, sk, pk)
        assert not KeyShape.of(one, names).is_key(text, sk, pk)
        assert KeyShape.of(one, names[::-1]).is_key(text, sk, pk)
        assert not KeyShape.of(one, names[::-1]).is_key(text, pk, sk)
        assert KeyShape.of(one, (*names[:1], "c")) is None


def test_a_key_of_strings_is_known_by_what_stands_around_them():
    """The strings are the hints, in one order of the two or the other."""
    alone = TextKey.of({"a": {"S": "x"}}, ("x", None))
    assert alone == ('{"a":{"S":"', None, '"}}', 6, False)
    pair = {"a": {"S": "x"}, "b": {"S": "y"}}
    straight, swapped = TextKey.of(pair, ("x", "y")), TextKey.of(pair, ("y", "x"))
    assert straight == ('{"a":{"S":"', '"},"b":{"S":"', '"}}', 12, False)
    assert swapped == (*straight[:4], True)
    text = b'{"a":{"S":"p"},"b":{"S":"q"}}'
    assert straight.is_key(text, "p", "q")
    assert swapped.is_key(text, "q", "p")
    assert not straight.is_key(text, "q", "p")
    assert not swapped.is_key(text, "p", "q")
    assert straight.is_key(text, "p", None) is False
    assert alone.is_key(b'{"a":{"S":"p"}}', "p", None)
    assert not alone.is_key(b'{"a":{"S":"pNoneNone"}}', "p", None)
    assert not alone.is_key(b'{"a":{"S":"p"}}', "\udc80", None)
    for hints in ((None, None), ("x", None), ("z", "y"), (None, "x")):
        assert TextKey.of(pair, hints) is None
    assert TextKey.of({"a": {"S": "x"}, "b": {"N": "1"}}, ("x", None)) is None
    assert TextKey.of({"a": {"N": "1"}}, ("1", None)) is None
    assert TextKey.of({"a": {"N": "1"}}, (None, None)) is None


def test_a_string_that_holds_what_stands_between_the_two_is_not_split_in_two_ways():
    """`x"},"b":{"S":"y` could be a string only with escapes, and then it is not this text."""
    key = TextKey.of({"a": {"S": "x"}, "b": {"S": "y"}}, ("x", "y"))
    text = b'{"a":{"S":"p"},"b":{"S":"q"},"b":{"S":"r"}}'
    assert not key.is_key(text, 'p"},"b":{"S":"q', "r")
    assert not key.is_key(text, "p", 'q"},"b":{"S":"r')


def test_few_keys_are_remembered():
    """A table has one or two; whatever is beyond is looked at in full."""
    shapes = KeyShapes(None)
    for number in range(12):
        for text in ("x", "y"):
            keys = {f"a{number}": {"S": text}}
            assert shapes.is_canonical(canonical(keys), text, None)
            assert not shapes.is_canonical(canonical(keys), "z", None)
        assert shapes.misses == (number + 1 if number < 8 else 8 + 2 * (number - 7))
    assert [key.head for key in shapes.texts] == [f'{{"a{number}":{{"S":"' for number in range(8)]


@pytest.mark.parametrize("other", [{"S": "y"}, {"N": "1"}])
def test_keys_that_always_take_the_long_way_use_up_no_place(other):
    """One with an escape is no text that a shape knows, however often its like was seen."""
    shapes = KeyShapes(None)
    for number in range(10):
        assert shapes.is_canonical(canonical({"a": {"S": f'"{number}'}}), f'"{number}', None)
    assert shapes.misses == 10
    for _ in range(2):
        assert shapes.is_canonical(canonical({"b": other}), *key_hints({"b": other}, ("b",)))
    assert shapes.misses == 11
    assert len(shapes.texts) == (2 if "S" in other else 1)


def test_strings_are_known_by_themselves_and_beyond_ascii():
    """As text, whichever bytes it has."""
    for text in ("y", "é😀"):
        shapes = KeyShapes(None)
        assert shapes.is_canonical(canonical({"a": {"S": "x"}}), "x", None)
        assert shapes.is_canonical(canonical({"a": {"S": text}}), text, None)
        assert shapes.is_canonical(canonical({"a": {"S": text}}), None, None)
        assert shapes.misses == 1


def test_hints_are_those_of_the_schema_or_of_either_order():
    """None is a hint too: a key may have no key text."""
    keys = {"a": {"S": "x"}, "b": {"N": "1"}}
    one, two = key_hints(keys, ("a", "b"))
    assert two is not None
    assert possible_hints(keys, ("a", "b")) == [(None, None), (one, two)]
    assert possible_hints(keys, ("b", "a")) == [(None, None), (two, one)]
    assert possible_hints(keys, None) == [(None, None), (one, two), (two, one)]
    assert possible_hints({"a": {"S": "x"}}, None) == [(None, None), ("x", None), ("x", None)]
