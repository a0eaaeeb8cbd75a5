"""A table of the sample as it is written to: what it holds, and what its stream delivers. Pure.

Invariant: a table's changes are in the order in which they happened, one second or more apart.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any, Final

Attributes = dict[str, Any]

ACCOUNT: Final = "111122223333"
REGION: Final = "eu-west-1"
TTL: Final = {"type": "Service", "principalId": "dynamodb.amazonaws.com"}
_FIRST_NUMBER: Final = 4 * 10**24  # of the sequence numbers


@dataclass(frozen=True, slots=True)
class Batch:
    """Some changes of a table, as Lambda delivers them; `is_lost` if they never reached the archive."""

    changed_at_s: int
    records: tuple[dict[str, Any], ...]
    is_lost: bool = False


@dataclass
class SampleTable:
    """A table that is written to: what it holds, and the batches that its stream delivered.

    `baselines` are whole tables by the second at which they were read, with the label of the stream that was on; `key`
    are its key attributes with their types.
    """

    name: str
    key: tuple[tuple[str, str], ...]
    items: dict[tuple[str, ...], Attributes] = field(default_factory=dict)
    batches: list[Batch] = field(default_factory=list)
    baselines: dict[int, tuple[str, list[Attributes]]] = field(default_factory=dict)
    _label_s: int | None = None
    _clock_s: int = 0
    _count: int = 0
    _waiting: list[dict[str, Any]] = field(default_factory=list)

    @property
    def label(self) -> str:
        """The label of the stream that is on."""
        assert self._label_s is not None
        return f"{datetime.fromtimestamp(self._label_s, UTC):%Y-%m-%dT%H:%M:%S}.000"

    def stream(self, since_s: int | None) -> None:
        """Enables a stream, or, without a time, disables it."""
        self._label_s = since_s

    def read_whole(self, at_s: int) -> None:
        """Somebody imports a baseline."""
        self.baselines[at_s] = self.label, [dict(item) for item in self.items.values()]

    def begin(self, at_s: int) -> None:
        """The next changes happen from here on; they end a batch."""
        assert at_s > self._clock_s, (self.name, at_s)
        self._clock_s = at_s

    def put(self, *key: str, **attributes: Attributes) -> None:
        """Writes a whole item."""
        old = self.items.get(key)
        new = {name: {kind: value} for (name, kind), value in zip(self.key, key, strict=True)} | attributes
        self.items[key] = new
        self._happened("INSERT" if old is None else "MODIFY", key, old, new)

    def set(self, *key: str, **attributes: Attributes) -> None:
        """Writes some attributes of an item."""
        names = {name for name, _ in self.key}
        kept = {name: value for name, value in self.items[key].items() if name not in names}
        self.put(*key, **{**kept, **attributes})

    def delete(self, *key: str, expired: bool = False) -> None:
        """Deletes an item, or lets DynamoDB do so."""
        self._happened("REMOVE", key, self.items.pop(key), None, {"userIdentity": TTL} if expired else {})

    def end(self, *, is_lost: bool = False) -> None:
        """What happened since the last batch is one."""
        if self._waiting:
            self.batches.append(Batch(self._clock_s, tuple(self._waiting), is_lost))
        self._waiting = []

    def _happened(
        self,
        op: str,
        key: tuple[str, ...],
        old: Attributes | None,
        new: Attributes | None,
        more: Mapping[str, Any] | None = None,
    ) -> None:
        self._clock_s += 1
        if self._label_s is None:
            return
        self._count += 1
        self._waiting.append(self._delivered(op, key, old, new) | dict(more or {}))

    def _delivered(
        self, op: str, key: tuple[str, ...], old: Attributes | None, new: Attributes | None
    ) -> dict[str, Any]:
        """The record in the shape of *Using AWS Lambda with Amazon DynamoDB*."""
        images = {"OldImage": old, "NewImage": new}
        return {
            "eventID": sha256(f"{self.name} {self._count}".encode()).hexdigest()[:32],
            "eventName": op,
            "eventVersion": "1.1",
            "eventSource": "aws:dynamodb",
            "awsRegion": REGION,
            "eventSourceARN": f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/{self.name}/stream/{self.label}",
            "dynamodb": {
                "ApproximateCreationDateTime": self._clock_s,
                "Keys": {name: {kind: value} for (name, kind), value in zip(self.key, key, strict=True)},
                **{name: image for name, image in images.items() if image is not None},
                "SequenceNumber": str(_FIRST_NUMBER + 97 * self._count),
                "SizeBytes": len(str(old)) + len(str(new)),
                "StreamViewType": "NEW_AND_OLD_IMAGES",
            },
        }
