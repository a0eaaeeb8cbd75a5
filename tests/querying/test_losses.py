"""What each detector of `coverage` finds of what was lost: the campaign whose rates stand in docs/answers.md.

Every history is one of the simulator's, with its own items; many of them make one trail, since no detector looks from one
item to another. Of each history something is taken away before it is archived, and each detector names the histories of
which it misses something.
"""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass
from math import sqrt
from random import Random

import orjson
import pytest

import query
from archiver.format.layout import StreamSource
from archiver.store import FolderStore
from archiver.stream import understand
from archiver.streams import Streams
from archiver.writer import Writer
from query.engine import Engine
from query.reconcile import reconcile
from query.second_reader import Read, SecondReader
from query.source import Access, open_source
from tests.querying.test_image_chain import CLEAN, LABEL
from tests.simulator.real import _put_baseline
from tests.simulator.run import simulate

FEW, MANY = 60, 2_000
WRITES = 150
START_MS = 1_795_413_600_000
HOUR_MS = 3_600_000
ARN = f"arn:aws:dynamodb:eu-west-1:111122223333:table/orders/stream/{LABEL}"
SOURCE = StreamSource.parse(ARN)
KEY_SCHEMA = (("history", "S"), ("key", "S"))
RECORDS_AT_ONCE = 20_000
# Nothing goes wrong but what the campaign does: one stream, whole images, a table that is never made anew.
WORLD = CLEAN | {
    "view_type": "NEW_AND_OLD_IMAGES",
    "time_style": "int",
    "has_counter": True,
    "items": 8,
    "start_ms": START_MS,
    "baseline_rate": 0.0,
    "put_fault_rate": 0.0,
    "is_padded": False,
}


@dataclass
class History:
    """The records of one history in order of emission, and the items that its table holds at the end."""

    seed: int
    records: list[dict]
    items: dict[str, bytes]

    def of_items(self) -> dict[str, list[dict]]:
        found = defaultdict(list)
        for record in self.records:
            found[record["dynamodb"]["Keys"]["key"]["S"]].append(record)
        return found


def history(seed: int) -> History:
    """A simulated history whose keys say which one it is."""
    outcome = simulate(seed, writes=WRITES, handler=lambda _event, _store: None, overrides=WORLD)
    records = [moved(seed, number, emitted.record) for number, emitted in enumerate(outcome.records)]
    items = {}
    for key, image in outcome.truth[max(outcome.truth)].items() if outcome.truth else ():
        keys = keys_of(seed, orjson.loads(key))
        items[json.dumps(keys, sort_keys=True, separators=(",", ":"), ensure_ascii=False)] = orjson.dumps(
            {**image, **keys}, option=orjson.OPT_SORT_KEYS
        )
    return History(seed, records, items)


def keys_of(seed: int, keys: dict) -> dict:
    return {"history": {"S": str(seed)}, "key": {"S": orjson.dumps(keys).hex()}}


def moved(seed: int, number: int, record: dict) -> dict:
    """A record as one of the trail that all histories share."""
    part = dict(record["dynamodb"])
    keys = keys_of(seed, part["Keys"])
    part["Keys"] = keys
    for image in ("OldImage", "NewImage"):
        if image in part:
            part[image] = {**part[image], **keys}
    return record | {"dynamodb": part, "eventSourceARN": ARN, "eventID": f"{seed:08x}{number:024x}"}


# --- what is lost ---


def one_record(rng: Random, past: History) -> list[dict]:
    return [rng.choice(past.records)]


def twenty_in_a_row(rng: Random, past: History) -> list[dict]:
    """Not the last ones: those are a loss of another kind."""
    start = rng.randrange(len(past.records) - 20)
    return past.records[start : start + 20]


def the_last_record(_rng: Random, past: History) -> list[dict]:
    return past.records[-1:]


def the_last_twenty(_rng: Random, past: History) -> list[dict]:
    return past.records[-20:]


def all_of_an_item(rng: Random, past: History) -> list[dict]:
    of_items = past.of_items()
    return of_items[rng.choice(sorted(of_items))]


def a_whole_life(rng: Random, past: History) -> list[dict]:
    """From INSERT to REMOVE; none if no item of the history was deleted."""
    lives = []
    for records in past.of_items().values():
        life: list[dict] = []
        for record in records:
            life = [record] if record["eventName"] == "INSERT" else [*life, record]
            if record["eventName"] == "REMOVE" and life[0]["eventName"] == "INSERT":
                lives.append(life)
    return rng.choice(lives) if lives else []


def nothing(_rng: Random, _past: History) -> list[dict]:
    return []


LOSSES = (one_record, twenty_in_a_row, the_last_record, the_last_twenty, all_of_an_item, a_whole_life)


def dice(past: History, loss) -> Random:
    """Of their own, so that what is lost has nothing to do with what happened."""
    return Random(f"{loss.__name__} {past.seed}")


# --- the detectors ---


@dataclass
class Campaign:
    """One kind of loss in many histories: how many lost something, and the histories that each detector named."""

    lost: set[int]
    named: dict[str, set[int]]

    def rate(self, *detectors: str) -> float:
        found = set().union(*(self.named[detector] for detector in detectors))
        return len(found & self.lost) / len(self.lost)

    @property
    def false_alarms(self) -> set[int]:
        return set().union(*self.named.values()) - self.lost


def seed_of(item_key: str) -> int:
    return int(orjson.loads(item_key)["history"]["S"])


def campaign(histories: list[History], loss, folder) -> Campaign:
    """Archives what is left of every history, and asks each detector."""
    lost: set[int] = set()
    kept: list[dict] = []
    for past in histories:
        gone = {id(record) for record in loss(dice(past, loss), past)}
        if gone:
            lost.add(past.seed)
        kept += [record for record in past.records if id(record) not in gone]
    write(kept, folder)
    table = query.open(str(folder), threads=1, now_ms=lambda: START_MS).table("orders")
    chain = table.image_chain()
    newest_ms = table.coverage().newest_change_ms
    assert newest_ms is not None
    rows = [row for past in histories for row in past.items.items()]
    beside = reconcile(table, [rows], from_ms=newest_ms + 3 * HOUR_MS)
    return Campaign(
        lost,
        {
            "image chain": {seed_of(one.item_key) for one in chain.breaks},
            "reconciliation": {seed_of(one.item_key) for one in beside.differences},
            "second reader": second_reader(histories, folder, newest_ms + 3 * HOUR_MS),
        },
    )


def write(records: list[dict], folder) -> None:
    """An archive of the records, and of the table when it was made: empty."""
    folder.mkdir()
    store = FolderStore(folder)
    records.sort(key=lambda record: record["dynamodb"]["ApproximateCreationDateTime"])
    writer = Writer(store, Streams({"orders": ("history", "key")}))
    for start in range(0, len(records), RECORDS_AT_ONCE):
        assert not writer.archive(records[start : start + RECORDS_AT_ONCE], now_ms=START_MS).quarantined
    began_s = (START_MS - 3 * HOUR_MS) // 1000
    _put_baseline(store, SOURCE.trail, {"s": began_s, "e": began_s + 1, "label": LABEL, "rows": []}, KEY_SCHEMA)


def second_reader(histories: list[History], folder, ended_ms: int) -> set[int]:
    with SecondReader(Engine(threads=1), SOURCE.trail, LABEL) as second:
        for past in histories:
            understood, quarantined = understand(past.records, lambda _source, _record: None)
            assert not quarantined
            second.take(
                [
                    Read(one.item_key.decode(), one.sequence_number, one.change_id, one.op, one.changed_at_ms, one.leaf)
                    for one in understood
                ]
            )
        found = second.compare(
            open_source(str(folder), Access()), began_ms=ended_ms, ended_ms=ended_ms, grace_ms=600_000
        )
    assert found.different == found.invented == 0
    return {seed_of(one.item_key) for one in found.disagreements}


# --- the claims ---

# The rate of docs/answers.md for each loss and detector, or for detectors together: what is found at least.
CLAIMS = [
    (one_record, ("image chain",), 0.948),
    (one_record, ("image chain", "reconciliation"), 1.0),
    (twenty_in_a_row, ("image chain",), 0.998),
    (the_last_record, ("reconciliation",), 1.0),
    (the_last_twenty, ("reconciliation",), 1.0),
    (all_of_an_item, ("reconciliation",), 0.79),
    *((loss, ("second reader",), 1.0) for loss in LOSSES),
]
BLIND = [
    (the_last_record, "image chain"),
    (all_of_an_item, "image chain"),
    (a_whole_life, "image chain"),
    (a_whole_life, "reconciliation"),
]


def check(histories: list[History], tmp_path, *, is_sample: bool) -> dict[str, dict[str, float]]:
    """Holds every claim against a campaign; of a sample, a rate may fall short by three standard deviations."""
    rates = {}
    found = {loss: campaign(histories, loss, tmp_path / loss.__name__) for loss in LOSSES}
    for loss, one in found.items():
        assert one.false_alarms == set(), loss.__name__
        assert len(one.lost) > len(histories) / 3, f"{loss.__name__} happens too seldom to judge by"
        rates[loss.__name__] = {name: round(one.rate(name), 4) for name in one.named}
    for loss, detectors, claimed in CLAIMS:
        slack = 3 * sqrt(claimed * (1 - claimed) / len(found[loss].lost)) if is_sample else 0.0
        assert found[loss].rate(*detectors) >= claimed - slack, (loss.__name__, detectors, rates)
    for loss, detector in BLIND:
        assert found[loss].rate(detector) == 0, f"{detector} sees {loss.__name__}: say so in docs/answers.md"
    return rates


def histories_of(count: int) -> list[History]:
    return [past for past in map(history, range(count)) if len(past.records) >= 40]


def test_losses_are_found_at_the_rates_that_are_claimed(tmp_path):
    """Of a sample of histories: each kind of loss, by the detector that is there for it."""
    check(histories_of(FEW), tmp_path, is_sample=True)


def test_of_whole_histories_no_detector_misses_anything(tmp_path):
    """The other half of every claim."""
    assert campaign(histories_of(FEW // 2), nothing, tmp_path / "whole").false_alarms == set()


@pytest.mark.long
def test_losses_are_found_at_the_rates_that_are_claimed_in_many_histories(tmp_path):
    """Of so many histories that the rates are what they are."""
    rates = check(histories_of(MANY), tmp_path, is_sample=False)
    print(json.dumps(rates, indent=1))
