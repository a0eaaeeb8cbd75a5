"""Who made a change: what images and identity can say of it, and what they cannot."""

from __future__ import annotations

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from query.actor import Attribution
from query.errors import UsageError
from tests.oracle import value_of

TTL = orjson.dumps({"type": "Service", "principalId": "dynamodb.amazonaws.com"}).decode()
BY = Attribution.of("updated_by")


def image(**attributes) -> str:
    return orjson.dumps(attributes).decode()


BOB, ADA = image(updated_by={"S": "bob"}), image(updated_by={"S": "ada"})


@pytest.mark.parametrize(
    ("change", "name", "source", "reason"),
    [
        (("INSERT", None, BOB, None), "bob", "attribute:updated_by", None),
        (("MODIFY", ADA, BOB, None), "bob", "attribute:updated_by", None),
        (("MODIFY", image(), BOB, None), "bob", "attribute:updated_by", None),
        (("MODIFY", BOB, BOB, None), "bob", "carried:updated_by", None),
        (("MODIFY", None, BOB, None), "bob", "carried:updated_by", None),
        (("MODIFY", BOB, image(), None), None, None, "no-attribute"),
        (("MODIFY", BOB, None, None), None, None, "no-image"),
        (("REMOVE", BOB, None, None), None, None, "delete"),
        (("REMOVE", BOB, None, TTL), "dynamodb-ttl", "dynamodb-ttl", None),
        (("REMOVE", BOB, None, "null"), None, None, "delete"),
        (("REMOVE", BOB, None, '{"principalId":"bob"}'), None, None, "delete"),
        (("INSERT", None, image(updated_by={"N": "42.0"}), None), "42.0", "attribute:updated_by", None),
        (("INSERT", None, image(updated_by={"M": {}}), None), None, None, "not-a-name"),
        (("INSERT", None, image(updated_by={"BOOL": True}), None), None, None, "not-a-name"),
        (("MODIFY", image(updated_by={"N": "42.0"}), image(updated_by={"N": "42"}), None), "42", "carried:updated_by", None),
    ],
)  # fmt: skip
def test_the_actor_is_what_the_change_says(change, name, source, reason):
    """A name is given with how it is known; none is given with why."""
    actor = BY.actor(*change)
    assert (actor.name, actor.source, actor.reason) == (name, source, reason)


def test_nobody_is_named_unless_it_is_known_where():
    """TTL is known without: DynamoDB says so itself."""
    assert Attribution().actor("INSERT", None, BOB, None).reason == "not-configured"
    assert Attribution().actor("REMOVE", BOB, None, TTL).name == "dynamodb-ttl"


@pytest.mark.parametrize(
    ("path", "found"),
    [("meta.by", "eve"), ('["a.b"]', "dot"), ("log[1].who", "second"), ("log[2].who", None), ("meta.by.x", None)],
)
def test_the_attribute_may_be_nested(path, found):
    """Single-table designs keep such things together."""
    nested = image(
        meta={"M": {"by": {"S": "eve"}}},
        log={"L": [{"M": {"who": {"S": "first"}}}, {"M": {"who": {"S": "second"}}}]},
        **{"a.b": {"S": "dot"}},
    )
    assert Attribution.of(path).actor("INSERT", None, nested, None).name == found


def test_a_path_that_is_none_is_refused():
    """Else every change would be by nobody, and nobody would know why."""
    with pytest.raises(UsageError):
        Attribution.of("updated by")


VALUES = st.none() | st.sampled_from(
    [{"S": "bob"}, {"S": "ada"}, {"N": "1"}, {"N": "1.0"}, {"L": []}, {"SS": ["a", "b"]}, {"SS": ["b", "a"]}]
)


@given(st.sampled_from(["INSERT", "MODIFY", "REMOVE"]), VALUES, VALUES, st.booleans(), st.booleans(), st.booleans())
def test_a_name_comes_from_the_new_image_of_the_change_and_from_nowhere_else(op, old, new, is_ttl, has_old, has_new):
    """In words: whose name the new image bears, never that of a delete; certain if the old one bears another."""
    old_image = None if op == "INSERT" or not has_old else image() if old is None else image(updated_by=old)
    new_image = None if op == "REMOVE" or not has_new else image() if new is None else image(updated_by=new)
    actor = BY.actor(op, old_image, new_image, TTL if is_ttl else None)
    assert (actor.name is None) == (actor.source is None) == (actor.reason is not None)
    if is_ttl:
        assert actor.name == "dynamodb-ttl"
    elif new_image is None or new is None or set(new) - {"S", "N"}:
        assert actor.name is None
    else:
        assert [actor.name] == list(new.values())
        is_written = op == "INSERT" or (has_old and (old is None or value_of(old) != value_of(new)))
        assert actor.is_certain == is_written
