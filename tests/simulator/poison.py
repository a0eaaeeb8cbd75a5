"""Records that cannot be understood: each must end in quarantine, verbatim, and stop nothing.

A real stream never delivers them; a bug in the service, a replayed file or an attacker would. The kinds are those of
the project's own list of bad input; each is damage done to a good record.
"""

import copy
from collections.abc import Callable
from functools import partial
from random import Random
from typing import Any


def _some_image(record: dict) -> dict:
    stream = record["dynamodb"]
    return stream.get("NewImage") or stream.get("OldImage") or stream["Keys"]


def _deep(levels: int) -> dict[str, Any]:
    value: dict[str, Any] = {"S": "bottom"}
    for _ in range(levels):
        value = {"L": [value]}
    return value


def _set(path: str, value: Any, record: dict) -> Any:
    *parents, last = path.split(".")
    for parent in parents:
        record = record[parent]
    record[last] = value
    return None


def _drop(path: str, record: dict) -> Any:
    *parents, last = path.split(".")
    for parent in parents:
        record = record[parent]
    del record[last]
    return None


def _in_image(name: str, value: Any, record: dict) -> Any:
    _some_image(record)[name] = value
    return None


_TIME, _SEQUENCE = "dynamodb.ApproximateCreationDateTime", "dynamodb.SequenceNumber"

KINDS: dict[str, Callable[[dict], Any]] = {
    "unknown type tag": partial(_in_image, "odd", {"X": "1"}),
    "unknown type tag below": partial(_in_image, "odd", {"L": [{"M": {"a": {"SN": "1"}}}]}),
    "two type tags": partial(_in_image, "odd", {"S": "1", "N": "1"}),
    "no type tag": partial(_in_image, "odd", {}),
    "lone surrogate": partial(_in_image, "odd", {"S": "\ud800"}),
    "deeper than 64": partial(_in_image, "odd", _deep(66)),
    "creation time missing": partial(_drop, _TIME),
    "creation time in milliseconds": partial(_set, _TIME, 1_790_000_000_000),
    "creation time zero": partial(_set, _TIME, 0),
    "creation time negative": partial(_set, _TIME, -1_790_000_000.0),
    "creation time huge": partial(_set, _TIME, 1e300),
    "creation time as text": partial(_set, _TIME, "1790000000"),
    "creation time as truth value": partial(_set, _TIME, True),
    "sequence number too short": partial(_set, _SEQUENCE, "9" * 20),
    "sequence number too long": partial(_set, _SEQUENCE, "1" * 41),
    "sequence number with a letter": partial(_set, _SEQUENCE, "40000000000000000000x7"),
    "sequence number in other digits": partial(_set, _SEQUENCE, "٤" * 25),
    "sequence number missing": partial(_drop, _SEQUENCE),
    "keys missing": partial(_drop, "dynamodb.Keys"),
    "keys empty": partial(_set, "dynamodb.Keys", {}),
    "image null": partial(_set, "dynamodb.NewImage", None),
    "image not an object": partial(_set, "dynamodb.NewImage", "x"),
    "operation unknown": partial(_set, "eventName", "UPSERT"),
    "stream part missing": partial(_drop, "dynamodb"),
    "another service": partial(_set, "eventSource", "aws:s3"),
    "ARN missing": partial(_drop, "eventSourceARN"),
    "ARN of a queue": partial(_set, "eventSourceARN", "arn:aws:sqs:eu-west-1:111122223333:orders"),
}


def draw(rng: Random) -> Callable[[dict], dict]:
    """A way to spoil a record; the record given is left as it was."""
    damage = KINDS[rng.choice(list(KINDS))]

    def spoil(record: dict) -> dict:
        spoiled = copy.deepcopy(record)
        damage(spoiled)
        return spoiled

    return spoil
