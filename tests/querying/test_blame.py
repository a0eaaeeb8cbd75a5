"""Which change set an attribute last: against a model that looks at one path at a time, and by examples."""

from __future__ import annotations

import itertools
import tempfile
from collections import Counter
from pathlib import Path
from random import Random
from types import SimpleNamespace

import orjson
import pytest

from query.blame import blame
from query.coverage import TableEnd
from query.errors import NoVersion
from query.item import Item
from tests.oracle import key_of, value_of
from tests.querying.derived_worlds import instant
from tests.querying.test_render import make_change
from tests.querying.test_simulated import DigestingStore, archived_identities, good_records, instants
from tests.simulator.real import RealHandler, finish, identities, is_segment, open_table
from tests.simulator.run import simulate

SEEDS, LONG_SEEDS, CHUNKS, WRITES, INSTANTS = 4, 400, 20, 24, 2
GONE = "gone"


# --- the model: tokens in order, one path at a time ---


def at(image, path):
    """The value at a path, or None."""
    value = {"M": image}
    for step in path:
        held = value.get("M" if isinstance(step, str) else "L")
        try:
            value = held[step]
        except (KeyError, IndexError, TypeError):
            return None
    return value_of(value)


def paths_of(value, above=()):
    ((tag, content),) = value.items()
    inside = content.items() if tag == "M" else enumerate(content) if tag == "L" else ()
    for step, held in inside:
        yield (*above, step)
        yield from paths_of(held, (*above, step))


def tokens_of(versions, ends, image, at_ms):
    """What was seen of the item, and which changes lie between: ("seen", image or GONE, time) and ("change", version)."""
    tokens, label = [], None
    for version in versions:
        if label is not None and any(label < new <= version.label for new, _ in ends):
            tokens.append(("seen", GONE, None))
        label = version.label
        before = GONE if version.op == "INSERT" else version.old_image
        after = GONE if version.op == "REMOVE" else version.new_image
        tokens += [("seen", before, version.effective_ms), ("change", version), ("seen", after, version.effective_ms)]
    if label is not None and any(label < new and instant <= at_ms for new, instant in ends):
        tokens.append(("seen", GONE, None))
    return [*tokens, ("seen", image, at_ms)]


def expected_of(tokens, path):
    """(change id, reason, how often) for one path, from the last place at which its value differs."""
    known = [place for place, token in enumerate(tokens) if token[0] == "seen" and token[1] is not None]
    births = [place for place in known if tokens[place][1] == GONE]
    known = [place for place in known if place >= (births[-1] if births else 0)]
    last, times = None, 0
    for earlier, later in itertools.pairwise(known):
        before, after = (None if tokens[place][1] == GONE else at(tokens[place][1], path) for place in (earlier, later))
        if before == after:
            continue
        between = [token[1] for token in tokens[earlier:later] if token[0] == "change"]
        times += len(between) == 1
        if not between:
            last = None, "not-recorded"
        elif len(between) > 1:
            last = None, "one-of-several"
        else:
            is_own = later - earlier == 2 and tokens[earlier + 1][0] == "change"
            last = between[0].change_id, None if is_own else "told-by-neighbour"
    if last is None:
        is_told = any(token[0] == "change" for token in tokens[: known[0]])
        last = None, "one-of-several" if is_told and not births else "before-first"
    return (*last, times)


def expected_rows(tokens, image, *, is_nested, with_removed):
    chosen = [path for path in paths_of({"M": image}) if is_nested or len(path) == 1]
    if is_nested:
        chosen = [path for path in chosen if not any(other[: len(path)] == path and other != path for other in chosen)]
    rows = {path: expected_of(tokens, path) for path in chosen}
    if with_removed:
        births = [place for place, token in enumerate(tokens) if token[0] == "seen" and token[1] == GONE]
        seen = [token[1] for token in tokens[births[-1] if births else 0 :] if token[0] == "seen"]
        before = {path for found in seen if found not in (None, GONE) for path in paths_of({"M": found})}
        for path in before:
            is_gone = at(image, path) is None and at(image, path[:-1]) is not None
            if is_gone and (is_nested or len(path) == 1):
                rows[path] = expected_of(tokens, path)
    return rows


def check_history(seed: int, writes: int) -> Counter:
    """Every item of one history, at instants around all its changes; how often each reason was given."""
    outcome = simulate(seed, writes=writes, handler=RealHandler(seed, None), store=DigestingStore(Random(seed)))
    finish(outcome)
    given: Counter = Counter()
    if not good_records(outcome) or not any(map(is_segment, outcome.store.objects)):
        return given
    with tempfile.TemporaryDirectory() as folder:
        table = open_table(outcome.store, Path(folder), Random(seed))
        conflicts = {key_of(orjson.loads(conflict.item_key)) for conflict in table.conflicts()}
        told = [(c.stream_label, int(c.sequence_number), key_of(orjson.loads(c.item_key))) for c in table.conflicts()]
        oracle = outcome.oracle({*identities(table), *told, *archived_identities(outcome)})
        keys = {change.item_key for change in table.changes()}
        for text in sorted(keys):
            key = key_of(orjson.loads(text))
            if key not in conflicts:
                item = Item(table, orjson.loads(text))
                rng = Random(f"{seed} {text}")
                asked = instants(oracle, rng)
                for at_ms in rng.sample(asked, min(INSTANTS, len(asked))):
                    check_item(oracle, item, key, at_ms, given, (seed, text, at_ms))
    return given


def check_item(oracle, item, key, at_ms, given, where) -> None:
    state = oracle.state_at(key, at_ms)
    when = instant(at_ms)
    if state.outcome != "existed":
        with pytest.raises(NoVersion):
            item.blame(when)
        return
    versions = [version for version in oracle.history(key) if version.effective_ms <= at_ms]
    tokens = tokens_of(versions, oracle._ends, state.image, at_ms)
    rows = item.blame(when, nested=True, removed=True)
    found = {row.steps: (row.change and row.change.change_id, row.reason, row.times_changed) for row in rows}
    assert found == expected_rows(tokens, state.image, is_nested=True, with_removed=True), where
    for row in rows:
        value = None if row.value is None else value_of(row.value)
        assert value == at(state.image, row.steps), where
        given[row.reason, row.is_removed] += 1


VALUES = [
    {"S": "x"},
    {"N": "1"},
    {"N": "1.0"},
    {"SS": ["p", "q"]},
    {"SS": ["q", "p"]},
    {"M": {}},
    {"M": {"a": {"S": "x"}}},
    {"M": {"a": {"S": "y"}, "b": {"L": [{"S": "x"}, {"S": "y"}]}}},
    {"L": [{"S": "x"}]},
    {"L": [{"M": {"a": {"N": "1"}}}, {"S": "x"}]},
]


def written(rng, item):
    """An item after somebody wrote a few of its attributes."""
    changed = dict(item)
    for name in rng.sample("abc", rng.randint(0, 2)):
        changed.pop(name, None)
        if rng.random() < 0.8:
            changed[name] = rng.choice(VALUES)
    return changed


def lived(rng):
    """The recorded changes of an item, some missing or without images, the ends of its table, and what it is at last."""
    item, changes, ends, label = None, [], [], "L0"
    for number in range(1, rng.randint(2, 12)):
        if rng.random() < 0.1:
            label = f"L{number}"
            if rng.random() < 0.5:
                ends.append(TableEnd(number * 1_000, label))
                item = None
        old, item = item, None if item is not None and rng.random() < 0.15 else written(rng, item or {})
        op = "INSERT" if old is None else "REMOVE" if item is None else "MODIFY"
        if op == "REMOVE" or rng.random() < 0.8:
            carried = [image if rng.random() < 0.85 else None for image in (old, item)]
            changes.append(made(number, op, *carried, label=label))
    while item is None or rng.random() < 0.3:
        item = written(rng, item or {})
    return changes, ends, item


def test_blame_is_what_a_model_says_that_looks_at_one_path_at_a_time():
    """Missing changes, missing images, tables made anew: what was recorded decides."""
    given: Counter = Counter()
    for seed in range(1_500):
        changes, ends, item = lived(Random(seed))
        versions = [
            SimpleNamespace(
                op=change.op,
                label=change.stream_label,
                effective_ms=change.effective_ms,
                change_id=change.change_id,
                old_image=change.old_image and orjson.loads(change.old_image),
                new_image=change.new_image and orjson.loads(change.new_image),
            )
            for change in changes
        ]
        tokens = tokens_of(versions, [(end.stream_label, end.at_ms) for end in ends], item, 99_000)
        for is_nested, with_removed in ((False, False), (True, True)):
            rows = blame(changes, dumped(item), 99_000, ends=ends, is_nested=is_nested, with_removed=with_removed)
            found = {row.steps: (row.change and row.change.change_id, row.reason, row.times_changed) for row in rows}
            assert len(found) == len(rows), seed
            assert found == expected_rows(tokens, item, is_nested=is_nested, with_removed=with_removed), seed
            given.update((row.reason, row.is_removed) for row in rows)
    reasons = [None, "before-first", "not-recorded", "one-of-several", "told-by-neighbour"]
    assert all(given[reason, False] > 50 for reason in reasons), given
    assert given[None, True] > 50


def test_blame_of_simulated_histories_is_what_the_model_says():
    """The same through archiver and reader, with what the oracle says of each item then."""
    given: Counter = Counter()
    for seed in [62, *range(SEEDS)]:
        given += check_history(seed, WRITES)
    assert given[None, False]


@pytest.mark.long
@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_blame_of_many_simulated_histories_is_what_the_model_says(chunk):
    """The same at length."""
    for seed in range(SEEDS + chunk * LONG_SEEDS // CHUNKS, SEEDS + (chunk + 1) * LONG_SEEDS // CHUNKS):
        check_history(seed, WRITES)


# --- examples ---


def made(number, op, old=None, new=None, *, seconds=None, label="2026-01-01T00:00:00.000"):
    at_ms = 1_000 * (number if seconds is None else seconds)
    return make_change(
        old,
        new,
        op=op,
        change_id=f"{number:08x}",
        changed_at_ms=at_ms,
        effective_ms=at_ms,
        stream_label=label,
        sequence_number=str(number).zfill(40),
    )


def told(changes, image, **asked):
    rows = blame(changes, dumped(image), 99_000, **asked)
    return {row.path: (row.change and int(row.change.change_id, 16), row.reason, row.times_changed) for row in rows}


def dumped(image):
    return orjson.dumps(image).decode()


def text(content):
    return {"S": content}


def test_each_attribute_is_put_down_to_the_change_that_set_it():
    """One that was set and set back was changed twice; one that others changed around is left alone."""
    one, two = {"a": text("x"), "b": text("x")}, {"a": text("y"), "b": text("x")}
    changes = [made(1, "INSERT", None, one), made(2, "MODIFY", one, two), made(3, "MODIFY", two, one)]
    assert told(changes, one) == {"a": (3, None, 3), "b": (1, None, 1)}


def test_what_was_missed_is_put_down_to_nobody():
    """Between the two changes somebody set b: the next change found it so, and did not do it."""
    one, found, left = ({"a": text(a), "b": text(b)} for a, b in ("xx", "xy", "yy"))
    changes = [made(1, "INSERT", None, one), made(5, "MODIFY", found, left)]
    assert told(changes, left) == {"a": (5, None, 2), "b": (None, "not-recorded", 1)}
    (row,) = blame(changes, dumped(left), 99_000, paths=[("b",)])
    assert (row.since_ms, row.until_ms) == (1_000, 5_000)


def test_an_attribute_from_before_the_trail_is_put_down_to_nobody():
    """The first change found it there."""
    one, two = {"a": text("x"), "b": text("x")}, {"a": text("y"), "b": text("x")}
    assert told([made(4, "MODIFY", one, two)], two) == {"a": (4, None, 1), "b": (None, "before-first", 0)}


def test_an_item_that_was_made_again_begins_anew():
    """Whoever wrote the item before it was deleted has nothing to do with it."""
    one = {"a": text("x")}
    changes = [made(1, "INSERT", None, one), made(2, "REMOVE", one), made(3, "INSERT", None, one)]
    assert told(changes, one) == {"a": (3, None, 1)}


def test_a_table_that_was_made_again_has_none_of_the_former_tables_items():
    """No REMOVE tells of it, and the same content is not the same item."""
    one, label = {"a": text("x")}, "2026-02-01T00:00:00.000"
    changes = [made(1, "INSERT", None, one), made(7, "MODIFY", one, one, label=label)]
    assert told(changes, one) == {"a": (1, None, 1)}
    assert told(changes, one, ends=[TableEnd(5_000, label)]) == {"a": (None, "not-recorded", 0)}
    assert told(changes[:1], one, ends=[TableEnd(5_000, label)]) == {"a": (None, "not-recorded", 0)}


def test_changes_without_images_are_blamed_only_where_there_is_one():
    """Of one change between two known images its neighbours tell; of several nobody can say which it was."""
    one, two = {"a": text("x")}, {"a": text("y")}
    first = made(1, "INSERT", None, one)
    assert told([first, made(2, "MODIFY", None, two)], two) == {"a": (2, "told-by-neighbour", 2)}
    assert told([first, made(2, "MODIFY"), made(3, "MODIFY", None, two)], two) == {"a": (None, "one-of-several", 1)}
    assert told([made(2, "MODIFY"), made(3, "MODIFY", None, two)], two) == {"a": (None, "one-of-several", 0)}


def test_nested_paths_are_told_apart():
    """Only the quantity of the third line was changed; the list that holds it changed with it."""
    old = {"lines": {"L": [{"M": {"qty": {"N": "1"}, "sku": text("a")}}]}}
    new = {"lines": {"L": [{"M": {"qty": {"N": "2"}, "sku": text("a")}}]}}
    changes = [made(1, "INSERT", None, old), made(2, "MODIFY", old, new)]
    assert told(changes, new) == {"lines": (2, None, 2)}
    assert told(changes, new, is_nested=True) == {"lines[0].qty": (2, None, 2), "lines[0].sku": (1, None, 1)}
    assert told(changes, new, paths=[("lines", 0), ("lines", 9)]) == {"lines[0]": (2, None, 2)}


def test_two_spellings_of_a_value_are_no_change():
    """Values are compared, not texts: the order of a set says nothing."""
    one, two = {"a": {"SS": ["x", "y"]}, "n": {"N": "1.0"}}, {"a": {"SS": ["y", "x"]}, "n": {"N": "1"}}
    assert told([made(1, "INSERT", None, one), made(2, "MODIFY", two, one)], one) == {
        "a": (1, None, 1),
        "n": (1, None, 1),
    }


def test_a_removed_attribute_is_told_if_asked_for():
    """Who took it away is as good a question as who set it."""
    one, two = {"a": text("x"), "m": {"M": {"b": text("x"), "c": text("x")}}}, {"m": {"M": {"c": text("x")}}}
    changes = [made(1, "INSERT", None, one), made(2, "MODIFY", one, two)]
    assert told(changes, two) == {"m": (2, None, 2)}
    assert told(changes, two, with_removed=True) == {"m": (2, None, 2), "a": (2, None, 2)}
    assert told(changes, two, paths=[("m", "b")]) == {"m.b": (2, None, 2)}
    assert told(changes, two, is_nested=True, with_removed=True) == {
        "m.c": (1, None, 1),
        "m.b": (2, None, 2),
        "a": (2, None, 2),
    }
