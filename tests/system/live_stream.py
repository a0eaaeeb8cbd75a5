"""A stream read through its real API, as the simulator's mapping takes it.

The conversion from what `GetRecords` returns to what Lambda delivers is written from AWS's documents alone, and shares
nothing with `archiver.stream`, which is under test: *Using AWS Lambda with Amazon DynamoDB* (the event), DynamoDB
Streams API Reference (*Record*, *StreamRecord*, *Identity*, *AttributeValue*).
"""

from __future__ import annotations

import base64
from typing import Any

import orjson

from tests.simulator.stream import HASH_SPACE, Emitted, Shard


def as_lambda_delivers(record: dict[str, Any], stream_arn: str) -> dict[str, Any]:
    """A record in boto3's shape (bytes, datetimes, capital letters in the identity) as an element of `Records`."""
    part = dict(record["dynamodb"])
    seconds = part["ApproximateCreationDateTime"].timestamp()
    part["ApproximateCreationDateTime"] = int(seconds) if seconds.is_integer() else seconds
    for name in ("Keys", "NewImage", "OldImage"):
        if name in part:
            part[name] = {attribute: _event_value(value) for attribute, value in part[name].items()}
    delivered = {**record, "dynamodb": part, "eventSourceARN": stream_arn}
    if "userIdentity" in record:
        identity = record["userIdentity"]
        delivered["userIdentity"] = {"type": identity["Type"], "principalId": identity["PrincipalId"]}
    return delivered


def _event_value(value: dict[str, Any]) -> dict[str, Any]:
    """Binary is base64 text in an event, also inside lists and maps."""
    ((tag, content),) = value.items()
    if tag == "B":
        return {tag: base64.b64encode(content).decode()}
    if tag == "BS":
        return {tag: [base64.b64encode(member).decode() for member in content]}
    if tag == "L":
        return {tag: [_event_value(member) for member in content]}
    if tag == "M":
        return {tag: {name: _event_value(member) for name, member in content.items()}}
    return value


class LiveStream:
    """What `Mapping` needs of a stream: its shards, filled by `read` from the API, from the trim horizon on."""

    def __init__(self, streams_client: Any, arn: str):
        self.arn, self.label = arn, arn.partition("/stream/")[2]
        self.count = 0
        self.shards: list[Shard] = []
        self._client = streams_client
        self._iterators: dict[str, str | None] = {}

    def read(self, *, now_ms: int) -> None:
        """Reads on in every shard until it has no more for now; what is new is as old as `now_ms` says."""
        described = self._client.describe_stream(StreamArn=self.arn)["StreamDescription"]["Shards"]
        known = {shard.shard_id: shard for shard in self.shards}
        for each in described:
            if each["ShardId"] not in known:
                shard = Shard(len(self.shards), 0, 0, HASH_SPACE, known.get(each.get("ParentShardId", "")))
                shard.shard_id = each["ShardId"]
                self.shards.append(shard)
                self._iterators[shard.shard_id] = self._client.get_shard_iterator(
                    StreamArn=self.arn, ShardId=shard.shard_id, ShardIteratorType="TRIM_HORIZON"
                )["ShardIterator"]
        for shard in self.shards:
            self._read_shard(shard, now_ms)

    def _read_shard(self, shard: Shard, now_ms: int) -> None:
        while iterator := self._iterators[shard.shard_id]:
            page = self._client.get_records(ShardIterator=iterator)
            self._iterators[shard.shard_id] = page.get("NextShardIterator")
            for record in page["Records"]:
                delivered = as_lambda_delivers(record, self.arn)
                key_text = orjson.dumps(delivered["dynamodb"]["Keys"], option=orjson.OPT_SORT_KEYS)
                emitted = Emitted(delivered, now_ms, key_text, is_poison=False)
                emitted.index = len(shard.records)
                shard.records.append(emitted)
                self.count += 1
            if not page["Records"]:
                return
        shard.is_closed = True
