"""The two descriptions that are JSON: what is known of a stream, and what a baseline consists of."""

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from archiver.format.canonical import canonical
from archiver.format.description import BaselineDescription, BaselinePart, StreamDescription
from tests.archiving.strategies import PROPERTY, STREAM_ARN, texts

key_schemas = st.lists(st.tuples(texts, st.sampled_from("SNB")), min_size=1, max_size=2).map(tuple)
streams = st.builds(
    StreamDescription,
    stream_arn=st.just(STREAM_ARN),
    key_schema=key_schemas,
    table_id=st.none() | texts,
    view_type=st.none() | texts,
)
parts = st.builds(
    BaselinePart, name=texts, bytes=st.integers(0, 2**40), items=st.integers(0, 2**20), sha256=st.just("ab" * 32)
)


@st.composite
def baselines(draw):
    chosen = tuple(draw(st.lists(parts, max_size=3)))
    from_ms = draw(st.integers(0, 2**42))
    return BaselineDescription(
        complete=draw(st.booleans()),
        from_ms=from_ms,
        to_ms=from_ms + draw(st.integers(0, 2**20)),
        items=sum(part.items for part in chosen),
        key_schema=draw(key_schemas),
        origin=draw(texts),
        parts=chosen,
        stream_label=draw(st.none() | texts),
        table_id=draw(st.none() | texts),
    )


STREAM = StreamDescription(STREAM_ARN, (("pk", "S"), ("sk", "N")), "id-1", "NEW_AND_OLD_IMAGES")
BASELINE = BaselineDescription(
    complete=True,
    from_ms=1000,
    to_ms=2000,
    items=3,
    key_schema=(("pk", "S"),),
    origin="scan",
    parts=(BaselinePart("part-0-0123456789abcdef.parquet", 10, 3, "ab" * 32),),
    stream_label=None,
    table_id=None,
)


@PROPERTY
@given(streams)
def test_a_stream_description_comes_back(description):
    """It is written once and never again: nothing of it may be lost on the way."""
    assert StreamDescription.parse(description.compose()) == description


@PROPERTY
@given(baselines())
def test_a_baseline_description_comes_back(description):
    """It is written once and never again: nothing of it may be lost on the way."""
    assert BaselineDescription.parse(description.compose()) == description


def test_a_description_is_canonical_json():
    """Seals name it by its digest, so two writers of the same facts must write the same bytes."""
    for description in (STREAM, BASELINE):
        content = description.compose()
        assert canonical(orjson.loads(content)) == content
    assert STREAM.key_names == ("pk", "sk")


@pytest.mark.parametrize("description", [STREAM, BASELINE])
@pytest.mark.parametrize(
    "change",
    [
        {"format": 2},
        {"format": "1"},
        {"unknown": 1},
        {"key_schema": None},
        {"key_schema": []},
        {"key_schema": [{"name": "a", "type": "BOOL"}]},
        {"key_schema": [{"name": name, "type": "S"} for name in "abc"]},
    ],
    ids=str,
)
def test_a_description_that_is_not_ours_is_refused(description, change):
    """Another version may mean something else by the same member: a reader must not guess."""
    content = orjson.dumps(orjson.loads(description.compose()) | change)
    with pytest.raises((ValueError, TypeError)):
        type(description).parse(content)


@pytest.mark.parametrize("description", [STREAM, BASELINE])
def test_a_missing_member_is_refused(description):
    """A description cut short says less than it seems to."""
    members = orjson.loads(description.compose())
    for name in members:
        with pytest.raises(ValueError):
            type(description).parse(orjson.dumps({other: value for other, value in members.items() if other != name}))


@pytest.mark.parametrize("content", [b"", b"[]", b"null", b"{", b'"a"'])
def test_what_is_no_object_is_refused(content):
    """A truncated object must not read as an empty one."""
    for kind in (StreamDescription, BaselineDescription):
        with pytest.raises(ValueError):
            kind.parse(content)


def test_a_baseline_that_contradicts_itself_is_refused():
    """An interval that ends before it begins, and parts that do not add up, would make wrong floors."""
    members = orjson.loads(BASELINE.compose())
    with pytest.raises(ValueError, match="ends before it begins"):
        BaselineDescription.parse(orjson.dumps(members | {"to_ms": 999}))
    with pytest.raises(ValueError, match="do not add up"):
        BaselineDescription.parse(orjson.dumps(members | {"items": 4}))
