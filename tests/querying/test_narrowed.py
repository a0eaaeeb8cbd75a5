"""What a whole table leaves out changes no answer: each item is told as by a question about it alone, which reads all."""

import shutil
from contextlib import closing

import pytest

from archiver.format.layout import HOUR_MS
from query.answer import Outcome
from query.opening import open_archive
from tests.querying.derived_worlds import instant
from tests.simulator.memory_store import MemoryStore
from tests.system.tampered import KEYS, NOW_MS, ORDERS, Shop, label_of

BEGIN_MS = NOW_MS - NOW_MS % HOUR_MS - 100 * HOUR_MS
FIRST, SECOND = label_of(BEGIN_MS - HOUR_MS), label_of(BEGIN_MS + 19 * HOUR_MS)
# The stream of the second part, the one that the baseline names, and whether changes carry new images.
KINDS = {
    "one stream": (FIRST, FIRST, True),
    "two streams": (SECOND, FIRST, True),
    "a baseline of no stream": (FIRST, None, True),
    "old images only": (FIRST, FIRST, False),
}


def trail_of(folder, kind):
    """A change of each item, a complete baseline at ten hours, and changes at 20, 50 and 70 hours."""
    label, named, has_new = KINDS[kind]
    store = MemoryStore()
    shop = Shop(store, ORDERS)

    def put(hours, items, label, *, has_new):
        records = [shop.change(item, BEGIN_MS + hours * HOUR_MS, label) for item in items]
        for record in records:
            if not has_new:
                del record["dynamodb"]["NewImage"]
        shop.archive(records, BEGIN_MS + hours * HOUR_MS + 60_000)

    put(0, "abc", FIRST, has_new=True)
    shop.baseline(BEGIN_MS + 10 * HOUR_MS, named)
    for hours, items in ((20, "a"), (50, "ac"), (70, "z")):
        put(hours, items, label, has_new=has_new)
    for name, content in store.objects.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def told(state):
    """The best guess aside, which each question makes from what it has."""
    return state.outcome, state.reason, None if state.is_guess else state.image


@pytest.mark.parametrize("is_described", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_a_whole_table_is_told_as_its_items_are(kind, is_described, tmp_path):
    trail_of(tmp_path, kind)
    if not is_described:
        shutil.rmtree(tmp_path / ORDERS.prefix / "streams")
    archive = open_archive(str(tmp_path), check_seals=False, key_schema={ORDERS.table_name: KEYS})
    table = archive.table(ORDERS.table_name)
    known = 0
    for hours in (13, 15, 20, 30, 40, 60):
        at = instant(BEGIN_MS + hours * HOUR_MS)
        with closing(table.as_of(at)) as state:
            whole = {one.item_key: told(one) for one in state.all_states()}
        alone = {}
        for item in "abc":
            answer = table.item(item, 1).state(at).state
            alone[answer.item_key] = told(answer)
        assert {key: whole[key] for key in alone} == alone, hours
        known += sum(outcome is Outcome.EXISTED for outcome, _, _ in alone.values())
    assert known > 0


def test_of_one_stream_hours_are_left_out(tmp_path):
    """Else there was nothing to be seen here."""
    trail_of(tmp_path, "one stream")
    table = open_archive(str(tmp_path), check_seals=False).table(ORDERS.table_name)
    with closing(table.as_of(instant(BEGIN_MS + 30 * HOUR_MS))) as state:
        assert sum("/segments/" in file.name for file in state.plan.files) == 2
