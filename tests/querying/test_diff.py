"""The attribute walker: what differs, where, and that a path names one attribute only."""

import copy
import json
from decimal import Decimal

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from query.diff import changed_attributes, changes, compose_path, parse_path, touches
from query.errors import UsageError
from query.render.json_patch import json_patch, pointer

OLD = {
    "pk": {"S": "a"},
    "status": {"S": "NEW"},
    "total": {"N": "21.10"},
    "tags": {"SS": ["x", "y"]},
    "lines": {"L": [{"M": {"qty": {"N": "1"}}}, {"M": {"qty": {"N": "4"}}}]},
}


def edited(**attributes):
    new = copy.deepcopy(OLD)
    for name, value in attributes.items():
        if value is None:
            del new[name]
        else:
            new[name] = value
    return new


def told(old, new):
    return [(change.path, change.kind, change.old, change.new) for change in changes(old, new)]


def test_a_change_is_told_where_it_is():
    """A person asks which line of the order changed, not that `lines` did."""
    lines = {"L": [{"M": {"qty": {"N": "1"}}}, {"M": {"qty": {"N": "5"}}}, {"S": "gift"}]}
    assert told(OLD, edited(lines=lines)) == [
        ("lines[1].qty", "~", Decimal(4), Decimal(5)),
        ("lines[2]", "+", None, "gift"),
    ]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("total", {"N": "21.1"}),
        ("total", {"N": "2.110E1"}),
        ("tags", {"SS": ["y", "x"]}),
    ],
)
def test_another_spelling_of_the_same_value_is_no_change(name, value):
    """DynamoDB compares numbers by value and sets as sets, so a difference of spelling happened to nobody."""
    assert told(OLD, edited(**{name: value})) == []
    assert changed_attributes(OLD, edited(**{name: value})) == ()


@pytest.mark.parametrize(
    ("name", "value"),
    [("total", {"S": "21.10"}), ("tags", {"L": [{"S": "x"}, {"S": "y"}]}), ("status", {"NULL": True})],
)
def test_another_type_is_a_change(name, value):
    """The text "1" is not the number 1, a list is no set, and null is not absent."""
    assert [(path, kind) for path, kind, _, _ in told(OLD, edited(**{name: value}))] == [(name, "~")]


def test_absent_and_null_are_told_apart():
    """An attribute that is gone has no new value; one set to null has."""
    gone, nulled = changes(OLD, edited(status=None))[0], changes(OLD, edited(status={"NULL": True}))[0]
    assert (gone.kind, gone.new_value) == ("-", None)
    assert (nulled.kind, nulled.new_value) == ("~", {"NULL": True})


def test_no_image_stands_for_no_item():
    """An insert adds every attribute, a removal takes every one away."""
    assert {kind for _, kind, _, _ in told(None, OLD)} == {"+"}
    assert {kind for _, kind, _, _ in told(OLD, None)} == {"-"}
    assert changed_attributes(None, OLD) == ("lines", "pk", "status", "tags", "total")


def test_images_may_be_text():
    """Evidence holds canonical text: nobody should have to parse it first."""
    assert told(json.dumps(OLD), orjson.dumps(edited(status={"S": "PAID"}))) == [("status", "~", "NEW", "PAID")]


def test_digits_of_a_number_are_all_kept():
    """38 digits do not fit a double: a difference in the last one must be seen and shown."""
    digits = "0." + "1" * 38
    old, new = {"n": {"N": digits}}, {"n": {"N": digits[:-1] + "2"}}
    assert told(old, new) == [("n", "~", Decimal(digits), Decimal(digits[:-1] + "2"))]


CASES = [
    ("status", ("status",)),
    ("lines[2].qty", ("lines", 2, "qty")),
    ('["a.b"]', ("a.b",)),
    ('a["b c"][0]', ("a", "b c", 0)),
    ('["2"]', ("2",)),
    ('["we\\"ird"].x', ('we"ird', "x")),
    ('[""]', ("",)),
    ("été", ("été",)),
    ("a-b_c", ("a-b_c",)),
]


@pytest.mark.parametrize(("text", "steps"), CASES)
def test_a_path_reads_both_ways(text, steps):
    """What is printed must be what --attr takes."""
    assert compose_path(steps) == text
    assert parse_path(text) == steps


@pytest.mark.parametrize("text", ["", "[0]", "a..b", "a.", ".a", "a[01]", "a[-1]", "a[x]", '["a"]', "a b", 'a["b'])
def test_what_is_never_printed_is_no_path(text):
    """One attribute has one path, so that comparing paths compares attributes."""
    with pytest.raises(UsageError, match="not the path"):
        parse_path(text)


NAMES = st.text(st.characters(codec="utf-8"), max_size=6)


@given(NAMES, st.lists(NAMES | st.integers(0, 99), max_size=4))
def test_every_name_has_a_path(first, rest):
    """DynamoDB takes any text for a name."""
    steps = (first, *rest)
    assert parse_path(compose_path(steps)) == steps


def test_a_path_is_touched_from_above_and_below():
    """A change inside an attribute changes it, and so does a change of what holds it; a namesake does not."""
    assert touches(("lines", 2, "qty"), ("lines",))
    assert touches(("lines",), ("lines", 2, "qty"))
    assert not touches(("lines", 10), ("lines", 1))
    assert not touches(("line",), ("lines",))


# --- JSON Patch ---


def applied(patch, document):
    """RFC 6902, as little of it as is written here: add, remove and replace."""
    document = copy.deepcopy(document)
    for step in orjson.loads(orjson.dumps(patch)):
        if step["path"] == "":
            document = step.get("value")
            continue
        *above, last = [part.replace("~1", "/").replace("~0", "~") for part in step["path"].split("/")[1:]]
        inside = document
        for part in above:
            inside = inside[int(part)] if isinstance(inside, list) else inside[part]
        last = int(last) if isinstance(inside, list) else last
        if step["op"] == "remove":
            del inside[last]
        elif step["op"] == "add" and isinstance(inside, list):
            inside.insert(last, step["value"])
        else:
            assert step["op"] == "add" or last in inside or isinstance(inside, list)
            inside[last] = step["value"]
    return document


def plain(image):
    from archiver.format.values import plain_attributes

    return None if image is None else orjson.loads(orjson.dumps(plain_attributes(image)))


VALUES = st.recursive(
    st.fixed_dictionaries({"S": st.text("ab", max_size=2)})
    | st.fixed_dictionaries({"N": st.integers(-3, 3).map(str)})
    | st.just({"NULL": True}),
    lambda inside: (
        st.fixed_dictionaries({"L": st.lists(inside, max_size=4)})
        | st.fixed_dictionaries({"M": st.dictionaries(st.sampled_from(["a", "b/c", "d~e", ""]), inside, max_size=3)})
    ),
    max_leaves=6,
)
IMAGES = st.none() | st.dictionaries(st.sampled_from(["x", "y/z"]), VALUES, max_size=2).map(
    lambda attributes: {"pk": {"S": "k"}} | attributes
)


@given(IMAGES, IMAGES)
def test_a_patch_brings_one_version_to_the_other(old, new):
    """That is all that a patch is for; lists that shrink and names with slashes are where it goes wrong."""
    assert applied(json_patch(changes(old, new), {"pk"}), plain(old)) == plain(new)


def test_a_list_shrinks_from_its_end():
    """Each removal moves the places behind it: taken from the front, the second one hits another element."""
    old, new = ({"pk": {"S": "k"}, "x": {"L": [{"N": str(n)} for n in range(count)]}} for count in (4, 1))
    assert applied(json_patch(changes(old, new), {"pk"}), plain(old)) == plain(new)


def test_a_pointer_escapes_its_two_characters():
    """RFC 6901: `~` is `~0` and `/` is `~1`, in that order."""
    assert pointer(("a/b", 0, "~1")) == "/a~1b/0/~01"
