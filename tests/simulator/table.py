"""An in-memory DynamoDB table that emits stream records by the documented rules.

Items are never changed in place: every write makes a new image, so a shallow copy of `items` is a true snapshot.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from random import Random
from typing import Any

import orjson

from tests.simulator.clock import Clock
from tests.simulator.stream import Emitted, Stream
from tests.simulator.values import are_equal

ACCOUNT, REGION = "111122223333", "eu-west-1"

# "userIdentity ... Items that are deleted by the Time to Live process after expiration" (DynamoDB Streams API
# Reference, *Record* and *Identity*). No other write carries an identity.
TTL_IDENTITY = {"type": "Service", "principalId": "dynamodb.amazonaws.com"}

# What a record holds of each view type (*Change data capture for DynamoDB Streams*, StreamViewType): (new, old).
IMAGES_OF_VIEW = {
    "NEW_AND_OLD_IMAGES": (True, True),
    "NEW_IMAGE": (True, False),
    "OLD_IMAGE": (False, True),
    "KEYS_ONLY": (False, False),
}

Image = dict[str, Any]
ItemWrite = tuple[Image, Image | None]  # keys, and the image to leave there (None: delete)


class Table:
    """One table name: its items, its current stream, and every stream it ever had.

    `damage()` is asked at every record and gives None or a function that spoils it (`poison.py`). `truth` is a copy of the
    table after every write: not for histories too long to be held.
    """

    def __init__(
        self,
        rng: Random,
        clock: Clock,
        name: str,
        *,
        partition_key: str,
        style: Any,
        new_stream: Callable[[str, str], Stream],
        damage: Callable[[], Callable[[dict], dict] | None],
        keeps_truth: bool = True,
    ):
        self.name, self.clock = name, clock
        self.items: dict[bytes, Image] = {}
        self.truth: dict[int, dict[bytes, Image]] = {}  # stamp in ms -> the table after all its writes
        self.streams: list[Stream] = []
        self.stream: Stream | None = None
        self.table_ids: dict[str, str] = {}
        self._rng, self._style = rng, style
        self._partition_key, self._keeps_truth = partition_key, keeps_truth
        self._new_stream, self._damage = new_stream, damage
        self._table_id = self._make_id()
        self._last_label_ms = 0
        self.enable_stream()

    def item(self, keys: Image) -> Image | None:
        return self.items.get(orjson.dumps(keys))

    def write(self, keys: Image, image: Image | None, *, is_ttl: bool = False) -> Emitted | None:
        """Put, update or delete one item: leave `image` (None: nothing) where it was.

        "If you perform a PutItem or UpdateItem operation that does not change any data in an item, DynamoDB Streams does
        not write a stream record for that operation." (*Change data capture for DynamoDB Streams*). The same is taken to
        hold for the delete of a missing item.
        """
        key_text = orjson.dumps(keys)
        old = self.items.get(key_text)
        if are_equal(old, image):
            return None
        if image is None:
            del self.items[key_text]
        else:
            self.items[key_text] = image
        if self._keeps_truth:
            self.truth[self.clock.stamp_ms()] = dict(self.items)
        return self._emit(keys, key_text, old, image, is_ttl=is_ttl)

    def write_together(self, writes: list[ItemWrite]) -> None:
        """A transaction or a batch: one moment, records in any order.

        "Stream consumers shouldn't assume transaction atomicity or ordering guarantees." (*Amazon DynamoDB Transactions:
        How it works*). Both kinds of request refuse two operations on one item.
        """
        self._rng.shuffle(writes)
        for keys, image in writes:
            self.write(keys, image)

    def enable_stream(self) -> None:
        """A stream that is enabled again is a new stream with a new ARN and label (*Change data capture for DynamoDB Streams*)."""
        label = self._make_label()
        arn = f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/{self.name}/stream/{label}"
        self.stream = self._new_stream(label, arn)
        self.streams.append(self.stream)
        self.table_ids[label] = self._table_id

    def disable_stream(self) -> None:
        """Writes go on and leave no record; what the stream holds stays readable for 24 hours."""
        if self.stream:
            self.stream.close()
        self.stream = None

    def make_anew(self) -> None:
        """DeleteTable, then CreateTable with the same name: another table id, another label, no REMOVE records."""
        self.disable_stream()
        self.items = {}
        self._table_id = self._make_id()
        self.enable_stream()
        self.truth[self.clock.stamp_ms()] = {}

    def _emit(
        self, keys: Image, key_text: bytes, old: Image | None, new: Image | None, *, is_ttl: bool
    ) -> Emitted | None:
        if self.stream is None:
            return None
        style = self._style
        has_new, has_old = IMAGES_OF_VIEW[style.view_type]
        stream_part: dict[str, Any] = {
            "ApproximateCreationDateTime": style.spell_time(self.clock.stamp_ms()),
            "Keys": keys,
        }
        if new is not None and has_new:
            stream_part["NewImage"] = new
        if old is not None and has_old:
            stream_part["OldImage"] = old
        stream_part["SequenceNumber"] = ""  # the shard writes it
        stream_part["SizeBytes"] = 1 + len(key_text) + 16 * (len(new or ()) + len(old or ()))  # no one may lean on it
        stream_part["StreamViewType"] = style.view_type
        record = {
            "eventID": f"{self._rng.getrandbits(128):032x}",
            "eventName": "INSERT" if old is None else "REMOVE" if new is None else "MODIFY",
            "eventVersion": style.event_version,
            "eventSource": "aws:dynamodb",
            "awsRegion": REGION,
            "dynamodb": stream_part,
            "eventSourceARN": self.stream.arn,
        }
        if is_ttl:
            record["userIdentity"] = TTL_IDENTITY
        elif style.has_null_identity:
            record["userIdentity"] = None
        if style.has_unknown_field:
            record["somethingNew"] = {"since": "2027", "values": [1, None, {"é": "😀"}]}
        partition = orjson.dumps(keys[self._partition_key])
        return self.stream.append(record, self.clock.now_ms, partition, key_text, self._damage())

    def _make_label(self) -> str:
        """ISO 8601 with milliseconds, never twice the same (API *StreamDescription*, StreamLabel)."""
        self._last_label_ms = max(self.clock.now_ms, self._last_label_ms + 1)
        moment = datetime.fromtimestamp(self._last_label_ms / 1000, UTC)
        return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{self._last_label_ms % 1000:03d}"

    def _make_id(self) -> str:
        digits = f"{self._rng.getrandbits(128):032x}"
        return "-".join([digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]])
