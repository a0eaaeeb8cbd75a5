"""A toy archiver (JSON objects instead of Parquet) and a toy reader, right ones, with known defects as switches.

They judge the simulator: on the right ones it must find nothing, on each defect something.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from functools import partial
from typing import Any

import orjson

from tests.oracle import Key, identity_of
from tests.simulator.check import Verdict, check
from tests.simulator.memory_store import MemoryStore
from tests.simulator.outcome import Outcome
from tests.simulator.run import simulate

DEFECTS = {
    # defect: what of the scenario it needs
    "last only": {},
    "poison dropped": {},
    "poison raises": {},
    "no destination": {"max_retries": 1, "has_destination": False},
    "no deduplication": {},
    "named by time": {},
    "named by first sequence": {},
    "compared as text": {},
    "compared as float": {},
    "ordered by time": {},
}

TAGS = {
    "S": str,
    "N": str,
    "B": str,
    "BOOL": bool,
    "NULL": bool,
    "M": dict,
    "L": list,
    "SS": list,
    "NS": list,
    "BS": list,
}


def is_value(value: Any) -> bool:
    below = [(value, 0)]
    for member, depth in below:
        if depth > 64 or type(member) is not dict or len(member) != 1:
            return False
        ((tag, content),) = member.items()
        if type(content) is not TAGS.get(tag):
            return False
        if tag in ("M", "L"):
            below += [(each, depth + 1) for each in (content.values() if tag == "M" else content)]
    return True


def is_understood(record: Any) -> bool:
    try:
        orjson.dumps(record)
        stream, seconds = record["dynamodb"], record["dynamodb"]["ApproximateCreationDateTime"]
        number, images = stream["SequenceNumber"], [stream[i] for i in ("NewImage", "OldImage") if i in stream]
        return (
            record["eventSource"] == "aws:dynamodb"
            and "/stream/" in record["eventSourceARN"]
            and record["eventName"] in ("INSERT", "MODIFY", "REMOVE")
            and type(seconds) in (int, float)
            and 1_325_376_000 <= seconds < 4_133_980_800
            and 21 <= len(number) <= 40
            and number.isascii()
            and number.isdigit()
            and bool(stream["Keys"])
            and is_value({"L": [{"M": image} for image in (stream["Keys"], *images)]})
        )
    except (KeyError, TypeError, ValueError):
        return False


def toy_archive(event: dict, store: Any, *, defect: str = "") -> None:
    """One object for each label and hour of the batch, named by its content; what is not understood goes to quarantine."""
    records = event["Records"][-1:] if defect == "last only" else event["Records"]
    groups: dict[tuple[str, int], list[dict]] = {}
    for record in records:
        if is_understood(record):
            label = record["eventSourceARN"].partition("/stream/")[2]
            hour = int(record["dynamodb"]["ApproximateCreationDateTime"]) // 3600
            groups.setdefault((label, hour), []).append(record)
        elif defect == "poison raises":
            raise ValueError(f"cannot understand {record}")
        elif defect != "poison dropped":
            text = json.dumps(record, sort_keys=True).encode()
            store.put_if_absent(f"quarantine/{hashlib.sha256(text).hexdigest()}.json", text)
    for (label, hour), group in groups.items():
        content = orjson.dumps(group)
        name = f"{group[0]['dynamodb']['SequenceNumber']:0>40}-{hashlib.sha256(content).hexdigest()}"
        if defect == "named by time":
            name = f"{group[0]['dynamodb']['ApproximateCreationDateTime']}"
        elif defect == "named by first sequence":
            name = name[:40]
        store.put_if_absent(f"segments/{label}/{hour}/{name}.json", content)


def toy_read(store: MemoryStore, *, defect: str = "") -> list[dict]:
    """Every archived record once, in order."""
    records: dict[Any, dict] = {}
    for name, _ in store.list("segments/"):
        for record in orjson.loads(store.get(name)):
            records.setdefault(len(records) if defect == "no deduplication" else identity_of(record), record)
    orders: dict[str, Callable[[dict], Any]] = {
        "compared as text": lambda record: record["dynamodb"]["SequenceNumber"],
        "compared as float": lambda record: float(record["dynamodb"]["SequenceNumber"]),
        "ordered by time": lambda record: record["dynamodb"]["ApproximateCreationDateTime"],
    }
    number = orders.get(defect, lambda record: int(record["dynamodb"]["SequenceNumber"]))
    return sorted(records.values(), key=lambda record: (record["eventSourceARN"], number(record)))


def run_toy(seed: int, writes: int = 150, *, defect: str = "", **options: Any) -> tuple[Outcome, Verdict]:
    """One history through the toy archiver, read by the toy reader, checked."""
    outcome = simulate(seed, writes=writes, handler=partial(toy_archive, defect=defect), **options)
    quarantined = [json.loads(outcome.store.get(name)) for name, _ in outcome.store.list("quarantine/")]
    return outcome, check(outcome, toy_read(outcome.store, defect=defect), quarantined)


def toy_table_at_cut(records: list[dict], cut: tuple[str, int], *, defect: str = "") -> dict[Key, tuple[str, Any]]:
    """The table after `cut`, for a trail of one label that lost nothing: newest change first, deletions dropped last."""
    states: dict[Key, tuple[str, Any]] = {}
    for record in reversed(records):
        label, sequence, key = identity_of(record)
        stream = record["dynamodb"]
        if (label, sequence) <= cut:
            if defect == "null images skipped" and "NewImage" not in stream:
                continue
            if states.get(key, ("before",))[0] in ("before", "not-yet-created"):
                image = stream.get("NewImage")
                states[key] = ("existed" if image else "already-deleted", image)
        elif defect != "old images ignored" and "OldImage" in stream:
            states[key] = ("before", stream["OldImage"])
        else:
            states[key] = ("not-yet-created", None)
    return {key: ("existed" if outcome == "before" else outcome, image) for key, (outcome, image) in states.items()}
