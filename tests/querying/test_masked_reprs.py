"""What a cell of a notebook keeps of anything that an answer leads to: never a value that is redacted."""

import enum
from dataclasses import is_dataclass

import pytest

import query
from query.actor import Actor
from query.answer import Change, State, Version
from query.blame import Blame, ItemBlame
from query.change_stat import Count
from query.compare import ItemChange
from query.conflicts import Conflict
from query.diff import AttributeChange
from query.history import History
from query.item import Diff, ItemState
from query.masked import Masked
from query.reconcile import ItemDifference
from query.redaction import Redaction
from tests.querying.test_notebook_pages import ACTORS, ASKED, AT_S, MARKUP, SECRET, change, folder

__all__ = ["folder"]  # a table in which what is redacted is in every place
REDACT = ["id", "card", "deep.card", "who"]
# Whose fields are asked for by name, and hold what they say: names of people, and a redaction itself.
BARE = Actor | Count | Redaction


@pytest.fixture(scope="module")
def redacted(folder):
    return query.open(str(folder), actor_attribute=ACTORS, redact={"things": REDACT}).table("things")


def reached(*starts):
    """Every object of the reader that these lead to by a field, a property, an element or a slice; and lists of them."""
    left, seen = list(starts), {}
    while left:
        one = left.pop()
        if id(one) in seen or isinstance(one, BARE | enum.Enum):
            continue
        if isinstance(one, tuple | list):
            left += one
        elif type(one).__module__.startswith("query."):
            left += [getattr(one, name) for name in dir(one) if not name.startswith("_") and is_read(one, name)]
            left += list(one) if hasattr(one, "__iter__") else []
            left += [one[: len(one) // 2]] if hasattr(one, "__getitem__") and len(one) > 1 else []
        else:
            continue
        if not isinstance(one, tuple | list) or any(is_dataclass(inside) for inside in one):
            seen[id(one)] = one
    return list(seen.values())


def is_read(one, name):
    """Whether an attribute is a field or a property, not a method or what is read only once."""
    held = getattr(type(one), name, None)
    return not callable(held) and not callable(getattr(one, name)) and name not in {"tellers", "_question"}


def kept(one):
    """All that a notebook, a log or a traceback may keep of it."""
    texts = [repr(one), str(one), repr([one])]
    if hasattr(one, "_repr_mimebundle_"):
        texts += [one._repr_html_(), *one._repr_mimebundle_().values()]
    return "\n".join(texts)


def starts(table):
    state = table.as_of("now")
    return [
        *(asked(table) for asked in ASKED.values()),
        *(table.collection(key).history() for key in (MARKUP, SECRET)),
        table.item(SECRET).as_of("2026-07-02T00:00:03Z"),
        table.item(MARKUP).blame(nested=True, removed=True),
        table.item(MARKUP).diff("first", "last"),
        table.log().changes[:2],
        [*table.as_of("now", where="true").states()],
        [*state.states()],
        state.all_states(),
    ]


def leaks(found):
    return [one for one in found if SECRET in kept(one) or SECRET[::-1] in kept(one)]


def test_nothing_that_an_answer_leads_to_shows_what_is_redacted(redacted):
    """A slice, one element of a list, a version's change: what is left at the end of a cell is kept in the notebook."""
    found = reached(*starts(redacted))
    kinds = {type(one) for one in found}
    assert kinds > {
        History, Version, Change, State, ItemState, Diff, AttributeChange, ItemBlame, Blame, ItemChange, ItemDifference, tuple
    }  # fmt: skip
    assert leaks(found) == []
    assert any("[redacted:" in repr(one) for one in found if type(one) is Change)


def test_the_canary_is_there_where_nothing_is_redacted(folder):
    """Of each kind that masks, one at least shows the value: else the test above could not fail."""
    table = query.open(str(folder), actor_attribute=ACTORS).table("things")
    found = reached(*starts(table))
    shown = {type(one) for one in leaks(found)}
    assert {type(one) for one in found if isinstance(one, Masked)} <= shown


@pytest.mark.parametrize("redact", [(), ("id",)])
def test_conflicts_name_items_masked(tmp_path, redact):
    from archiver.segment import encode_segment
    from archiver.store import FolderStore
    from archiver.streams import Streams
    from archiver.writer import Writer

    writer = Writer(FolderStore(tmp_path), Streams(), encode_segment)
    for value in ("1", "2"):
        writer.archive([change(1, "INSERT", SECRET, None, {"n": {"N": value}})], now_ms=AT_S * 1000)
    table = query.open(str(tmp_path), redact={"things": redact}).table("things")
    found = reached(
        table.log(), table.stat(), table.as_of("now"), table.compare("2026-07-02", "now"), table.conflicts()
    )
    found += reached(table.collection(SECRET).conflicts)
    conflicts = [one for one in found if isinstance(one, Conflict)]
    assert len(conflicts) >= 5
    assert bool(leaks(found)) == (not redact)


def test_an_object_is_the_same_whether_it_is_shown_masked_or_not(folder, redacted):
    """A repr hides; equality, and every attribute, is of the values."""
    plain = query.open(str(folder), actor_attribute=ACTORS).table("things")
    for one, other in zip(plain.item(MARKUP).blame(), redacted.item(MARKUP).blame(), strict=True):
        assert one == other
        assert repr(one) != repr(other) or one.path == MARKUP
    assert redacted.item(MARKUP).history()[0].item == plain.item(MARKUP).history()[0].item


def test_a_slice_of_a_history_is_one(redacted):
    """With its page and its table, as all of it."""
    history = redacted.item(MARKUP).history()
    part = history[:1]
    assert isinstance(part, History)
    assert [*part] == [history[0]]
    assert (len(part), part.total) == (1, history.total)
    assert part.arrow().to_pylist() == history.arrow().to_pylist()[:1]
    assert isinstance(redacted.item(MARKUP).blame()[1:], ItemBlame)
    assert [*redacted.item(MARKUP).blame()[1:]] == [*redacted.item(MARKUP).blame()][1:]
