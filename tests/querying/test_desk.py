"""What a reviewer asks of a whole table: who and how much, what differs, what is new. Against the oracle, and by hand."""

from __future__ import annotations

from collections import Counter
from contextlib import closing
from random import Random

import orjson
import pytest

from query.actor import Attribution
from query.arrivals import Arrivals, Arrived
from query.change_stat import DAY_MS, MINUTE_MS, change_stat, stat_of_changes
from query.diff import changes as differences
from query.diff import compose_path, parse_path, touches
from query.errors import UsageError
from query.opening import open_archive
from tests.oracle import image_of, key_of
from tests.querying.derived_worlds import Place, instant, large, make_world
from tests.querying.test_cli import DAY, TTL, change, change_id, write

SEEDS = 6
ACTORS = ["status", "rev", "é", '["a.b"]', '["$x"]', '["a[0]"]', "pk", "N", "lines[0].qty", "nowhere", '["~/"]']


def text_names(change):
    """The attributes of top level whose text differs; None if an image that should be there is not."""
    if not change.is_comparable:
        return None
    old, new = (orjson.loads(image or "{}") for image in (change.old_image, change.new_image))
    return {name for name in {*old, *new} if orjson.dumps(old.get(name)) != orjson.dumps(new.get(name))}


def counted(found):
    """The counts as a plain table."""
    return {(one.by, one.value, one.source): one.changes for one in found.counts}


def expected(changes, bucket):
    """The same by a loop."""
    told: Counter = Counter()
    for each in changes:
        told["op", each.op, None] += 1
        actor = each.made_by
        told["actor", actor.name, actor.source or actor.reason] += 1
        for name in text_names(each) if text_names(each) is not None else [None]:
            told["attribute", name, None] += 1
        began_ms = each.changed_at_ms // bucket * bucket
        unit, length = ("minute", 16) if bucket == MINUTE_MS else ("day", 10)
        told[unit, instant(began_ms).spelled[:length], None] += 1
    return dict(told)


@pytest.mark.parametrize("is_large", [False, True])
def test_counts_are_those_of_the_changes_themselves(is_large, tmp_path, monkeypatch):
    """Duplicates, conflicts, missing images, runs beside segments: what `changes` gives is what is counted."""
    large(monkeypatch, is_large)
    reasons: Counter = Counter()
    for seed in range(SEEDS):
        world = make_world(seed)
        if world is None:
            continue
        rng = Random(seed)
        place = Place(tmp_path / str(seed), key_names=world.key_names)
        stage = rng.randrange(len(world.stages))
        place.play(world, stage)
        if rng.random() < 0.7:
            place.compact()
        place.play(world, len(world.stages) - 1)
        table = place.table()
        table.attribution = Attribution.of(rng.choice(ACTORS))
        since_ms, until_ms = sorted(rng.choices([*world.times, world.times[-1] + 1], k=2))
        for ends in ({}, {"since_ms": since_ms, "until_ms": until_ms + 1}):
            changes = table.changes(**ends)
            for bucket in (DAY_MS, MINUTE_MS):
                found = change_stat(table, **ends, bucket=bucket)
                assert counted(found) == expected(changes, bucket), (seed, ends)
                assert found.total == len(changes)
                assert found.conflicts == changes.conflicts
                reasons.update(one.source for one in found.counts if one.by == "actor")
        check_filters(table, rng, seed)
    assert len(reasons) > 4, reasons


NAMES = ["by", "~/by", "~1", 'quo"te', "a.b", "0", "$", "*", "é", " "]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("is_nested", [False, True])
def test_actors_are_counted_whatever_their_attribute_is_called(name, is_nested, tmp_path):
    """Any UTF-8 is a name to DynamoDB; numbers are compared as numbers; what is carried is told apart."""

    def item(value=None, other="x"):
        held = {} if value is None else {name: value}
        return {"m": {"L": [{"M": held}]}} if is_nested else {**held, "other": {"S": other}}

    one, half, bob = {"N": "1"}, {"N": "1.0"}, {"S": "bob"}
    records = [
        change("who", 1, "INSERT", {"id": {"S": "a"}}, None, item(one)),
        change("who", 2, "MODIFY", {"id": {"S": "a"}}, item(one), item(half)),
        change("who", 3, "MODIFY", {"id": {"S": "a"}}, item(half), item(bob)),
        change("who", 4, "MODIFY", {"id": {"S": "a"}}, item(bob), item(bob, "y")),
        change("who", 5, "MODIFY", {"id": {"S": "a"}}, None, item(bob), view="NEW_IMAGE"),
        change("who", 6, "MODIFY", {"id": {"S": "a"}}, item(bob), item({"BOOL": True})),
        change("who", 7, "MODIFY", {"id": {"S": "a"}}, item(), item()),
        change("who", 8, "REMOVE", {"id": {"S": "a"}}, item(bob), None),
        change("who", 9, "REMOVE", {"id": {"S": "b"}}, item(bob), None, **TTL),
        change("who", 10, "MODIFY", {"id": {"S": "c"}}, view="KEYS_ONLY"),
    ]
    path = compose_path(("m", 0, name) if is_nested else (name,))
    archive = open_archive(str(write(tmp_path, records)), actor_attribute={"who": path}, check_seals=False)
    table = archive.table("who")
    found = {key: n for key, n in counted(change_stat(table)).items() if key[0] == "actor"}
    assert found == {key: n for key, n in expected(table.changes(), DAY_MS).items() if key[0] == "actor"}
    assert found == {
        ("actor", "1", f"attribute:{path}"): 1,
        ("actor", "1.0", f"carried:{path}"): 1,
        ("actor", "bob", f"attribute:{path}"): 1,
        ("actor", "bob", f"carried:{path}"): 2,
        ("actor", None, "not-a-name"): 1,
        ("actor", None, "no-attribute"): 1,
        ("actor", None, "delete"): 1,
        ("actor", "dynamodb-ttl", "dynamodb-ttl"): 1,
        ("actor", None, "no-image"): 1,
    }
    assert change_stat(table, actor="bob").total == len(table.changes(actor="bob")) == 3
    about = [each for each in table.changes() if is_about(each, path)]
    assert change_stat(table, attributes=[path]).total == len(about)
    assert sum(not each.is_comparable for each in about) == 2  # they cannot tell, so they may be


def test_an_empty_range_is_refused_as_on_the_command_line(tmp_path):
    """Whoever turns the ends around is told, instead of being shown nothing."""
    record = change("who", 1, "INSERT", {"id": {"S": "a"}}, None, {"by": {"S": "bob"}})
    table = open_archive(str(write(tmp_path, [record])), check_seals=False).table("who")
    for ask in (table.log, table.stat):
        with pytest.raises(UsageError, match="the range is empty"):
            ask(since="2026-02-01", until="2026-01-01")
        with pytest.raises(UsageError, match="a range was given twice"):
            ask(since="2026-02-01", during="2026-Q1")


def test_a_masked_actor_is_counted_by_its_mask_and_by_nothing_else(tmp_path):
    """Nobody can try names until one counts, and what is counted is what is listed."""
    records = [
        change("who", number, "INSERT", {"id": {"S": str(number)}}, None, {"by": {"S": "bob" if number % 3 else "eve"}})
        for number in range(9)
    ]
    folder = str(write(tmp_path, records))
    shown = {"actor_attribute": {"who": "by"}, "redact": {"who": ["by"]}, "redaction_key": b"k" * 32}
    table = open_archive(folder, check_seals=False, **shown).table("who")
    (mask,) = {one.value for one in table.stat(actor=table.redaction.mask({"S": "bob"})).counts if one.by == "actor"}
    assert mask.startswith("[redacted:")
    for name in ("bob", "eve", mask):
        assert table.stat(actor=name).total == len(table.log(actor=name)), name
    assert [table.stat(actor=name).total for name in ("bob", "eve", mask)] == [0, 0, 6]


def check_filters(table, rng, seed):
    """By op, actor and attribute, alone and together."""
    changes = list(table.changes())
    for _ in range(3):
        ops = rng.choice([None, ["MODIFY"], ["INSERT", "REMOVE"]])
        actor = rng.choice([None, None, *{change.actor for change in changes}])
        path = rng.choice([None, "status", "rev", "lines[0].qty", '["a.b"]'])
        asked = {"ops": ops, "actor": actor, "attributes": [path] if path else []}
        chosen = [
            change
            for change in changes
            if (ops is None or change.op in ops)
            and (actor is None or change.actor == actor)
            and (path is None or is_about(change, path))
        ]
        found = change_stat(table, **asked)
        assert counted(found) == expected(chosen, DAY_MS), (seed, asked)
        assert len(table.changes(**asked)) == sum(1 for change in chosen if may_touch(change, path)), (seed, asked)
        in_memory = stat_of_changes(table.changes(**asked), DAY_MS)
        assert {k: n for k, n in counted(in_memory).items() if k[0] == "op"} == dict(
            Counter(("op", change.op, None) for change in chosen if may_touch(change, path))
        )


def is_about(change, path):
    """By text, as it is counted."""
    steps = parse_path(path)
    names = text_names(change)
    if names is None:
        return True
    if len(steps) == 1:
        return steps[0] in names
    old, new = (at(orjson.loads(image or "{}"), steps) for image in (change.old_image, change.new_image))
    return orjson.dumps(old) != orjson.dumps(new)


def at(image, steps):
    value = {"M": image}
    for step in steps:
        try:
            value = value["M" if isinstance(step, str) else "L"][step]
        except (KeyError, IndexError):
            return None
    return value


def may_touch(change, path):
    """By value, as it is listed."""
    if path is None or not change.is_comparable:
        return True
    return any(touches(one.steps, parse_path(path)) for one in differences(change.old_image, change.new_image))


def test_what_differs_is_what_the_oracle_says_of_both_moments(tmp_path):
    """Added, removed and modified items; those of which one moment cannot tell are named and in no row."""
    seen: Counter = Counter()
    for seed in range(SEEDS):
        world = make_world(seed)
        if world is None or not world.is_judged:
            continue
        rng = Random(seed)
        place = Place(tmp_path / str(seed), key_names=world.key_names).play(world, len(world.stages) - 1)
        if rng.random() < 0.5:
            place.compact()
            place.keep()
        table = place.table()
        refused = {key for *_, key in world.oracle.conflicts()}
        for _ in range(3):
            older_ms, newer_ms = rng.choices([world.times[0] - 1_000, *world.times, world.now_ms], k=2)
            older, newer = (world.oracle.table_at(ms) for ms in (older_ms, newer_ms))
            keys = (older.keys() | newer.keys()) - refused
            unknown = {
                key
                for key in keys
                if any(
                    (state := told.get(key)) and state.outcome == "unknown" and state.reason != "no-fact"
                    for told in (older, newer)
                )
            }
            told = {key: (image(older.get(key)), image(newer.get(key))) for key in keys - unknown}
            expected_rows = {key: sides for key, sides in told.items() if sides[0] != sides[1]}
            with closing(table.compare(instant(older_ms), instant(newer_ms))) as comparison:
                found = {
                    key_of(orjson.loads(one.item_key)): (value(one.old_image), value(one.new_image))
                    for one in comparison
                    if key_of(orjson.loads(one.item_key)) not in refused
                }
                assert found == expected_rows, (seed, older_ms, newer_ms)
                named = {key_of(orjson.loads(item_key)) for item_key in comparison.unknown} - refused
                shown = {key for key in unknown if image(older.get(key)) or image(newer.get(key))}
                assert shown <= named <= unknown, (seed, older_ms, newer_ms)
                stat = comparison.stat()
                assert sum(stat["diff_type"].values()) >= len(found)
                seen.update(one.diff_type for one in comparison)
                seen["unknown"] += len(named)
    assert all(seen[kind] for kind in ("added", "removed", "modified", "unknown")), seen


def image(state):
    return None if state is None or state.outcome != "existed" else image_of(state.image)


def value(text):
    return None if text is None else image_of(orjson.loads(text))


def test_two_spellings_of_an_item_do_not_differ(tmp_path):
    """A set has no order, and 1.0 is 1: nobody changed the item."""
    one, other = {"s": {"SS": ["a", "b"]}, "n": {"N": "1"}}, {"s": {"SS": ["b", "a"]}, "n": {"N": "1.0"}}
    key = {"id": {"S": "a"}}
    records = [change("sets", 1, "INSERT", key, None, one), change("sets", 2, "MODIFY", key, one, other, at=DAY + 60)]
    table = open_archive(str(write(tmp_path, records)), check_seals=False).table("sets")
    with closing(table.compare("2026-09-15T00:00:00Z", "2026-09-16")) as comparison:
        assert list(comparison) == []
        assert comparison.stat() == {"diff_type": {}, "attribute": {}}


def test_python_asks_in_the_words_of_the_command_line(tmp_path):
    """What was learnt at the prompt works in a notebook: periods, operations, paths, the ends of ranges."""
    key, old, new = {"id": {"S": "a"}}, {"v": {"N": "1"}}, {"v": {"N": "2"}}
    records = [change("sets", 1, "INSERT", key, None, old), change("sets", 2, "MODIFY", key, old, new, at=DAY + 60)]
    table = open_archive(str(write(tmp_path, records)), check_seals=False).table("sets")
    assert [each.op for each in table.log(during="2026-Q3")] == ["MODIFY", "INSERT"]
    assert [each.op for each in table.log(since="2026-09-15", until="2026-09-15T00:01:00Z")] == ["INSERT"]
    assert [each.op for each in table.log(op="modify,remove", attr="v", reverse=True)] == ["MODIFY"]
    assert table.log(during="2026-Q2").changes == ()
    assert table.stat(during="2026-09", attr="v").of("op") == {"INSERT": 1, "MODIFY": 1}
    with closing(table.compare("2026-09-15")) as comparison:
        assert [one.diff_type for one in comparison] == ["modified"]
    for wrong in ({"during": "2026-Q3", "since": "now"}, {"since": "~1"}, {"op": "update"}, {"attr": "a..b"}):
        with pytest.raises(UsageError):
            table.log(**wrong)


# --- what arrives ---


def test_each_change_arrives_once_whatever_repeats_it(tmp_path):
    """Batches are cut anew on every retry, arrive late and out of order; nothing is told twice, nothing is left out: at
    each look all that was written by then has been told, and in the end what the reader tells."""
    told_again = 0
    for seed in range(25):
        rng = Random(seed)
        records = [
            change("new", n, "INSERT", {"id": {"N": str(n)}}, None, {}, at=DAY + rng.randrange(4) * 3600)
            for n in range(20)
        ]
        folder = tmp_path / str(seed)
        first = rng.sample(records, 4)
        write(folder, first)
        written = {one["eventID"] for one in first}
        archive = open_archive(str(folder), check_seals=False)
        table = archive.table("new", with_derived=False)
        seen = [found.change_id for found in table.changes()]
        arrivals = Arrivals(table, lambda archive=archive: archive.table("new", with_derived=False))
        for _ in range(rng.randint(2, 6)):
            for _ in range(rng.randint(0, 3)):
                batch = rng.sample(records, rng.randint(1, 8))
                told_again += sum(change_id("new", records.index(one)) in seen for one in batch)
                write(folder, batch)
                written |= {one["eventID"] for one in batch}
            arrived = arrivals.look()
            orders = [found.order for found in arrived.changes]
            assert orders == sorted(orders)
            seen += [found.change_id for found in arrived.changes]
            assert sorted(seen) == sorted(written), seed
        assert sorted(seen) == sorted(found.change_id for found in archive.table("new").changes()), seed
        assert arrivals.look().changes == ()
    assert told_again > 50


def test_a_contradiction_that_arrives_is_told_once(tmp_path):
    """The change of which a second, different account comes in is not chosen between, and not shown again."""
    one = change("new", 1, "INSERT", {"id": {"S": "a"}}, None, {"v": {"N": "1"}})
    other = change("new", 1, "INSERT", {"id": {"S": "a"}}, None, {"v": {"N": "2"}})
    archive = open_archive(str(write(tmp_path, [one])), check_seals=False)
    arrivals = Arrivals(archive.table("new"), lambda: archive.table("new", with_derived=False))
    write(tmp_path, [other, change("new", 2, "INSERT", {"id": {"S": "b"}}, None, {})])
    arrived = arrivals.look()
    assert [found.change_id for found in arrived.changes] == [change_id("new", 2)]
    assert [conflict.item_key for conflict in arrived.conflicts] == ['{"id":{"S":"a"}}']
    assert arrivals.look() == Arrived()
    write(tmp_path, [change("new", 3, "INSERT", {"id": {"S": "c"}}, None, {})])
    later = arrivals.look()
    assert ([found.change_id for found in later.changes], later.conflicts) == ([change_id("new", 3)], ())
