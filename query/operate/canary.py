"""The canary: one write into the user's table, and how long it takes to be found in the archive.

Invariants: the item written replaces nothing but an earlier canary; every one has a value of its own, since a write
that changes nothing makes no stream record; nothing is written unless the archive can be read.
"""

import base64
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from archiver.format.layout import HOUR_MS, Trail
from query.catalog import segments_between
from query.engine import Engine
from query.errors import UsageError
from query.key import TypedKey, parse_key
from query.key_schema import KeyAttribute, KeySchema, KeyType
from query.operate.answers import Missing, Said, Unknown
from query.operate.aws import Asker
from query.operate.checks_function import key_of
from query.operate.checks_mapping import check_result
from query.operate.finding import Finding, Result, failed, not_checked, passed
from query.rows import Reader
from query.selection import Selection
from query.source import Source

MARKER: Final = "ddbtrail_canary"
CODE: Final = "canary"
# The checks without which nothing arrives; a bucket without a lock, say, is no reason.
_CAUSES: Final = frozenset(
    {"stream", "mapping", "mapping-stream", "mapping-state", "mapping-filter", "mapping-tumbling"}
    | {"function-handler", "function-archive", "function-concurrency", "key"}
    | {"role-stream", "role-archive", "role-key", "archive-bucket", "archive-encryption"}
)
_PAUSE_S: Final = 2.0
# The stream's clock is not ours: changes are looked for an hour to either side.
_AROUND_MS: Final = HOUR_MS


@dataclass(frozen=True, slots=True)
class Canary:
    """An item to be written: its key in DynamoDB JSON, and a value that no other canary has."""

    key: TypedKey
    token: str

    @classmethod
    def of(cls, table: Said, typed: Sequence[str], token: str) -> "Canary":
        """From key values in schema order. Raises KeyMismatch, or UsageError where a canary cannot be told apart."""
        name = str(table["TableName"])
        partition, *sort = (KeyAttribute(attribute, _key_type(kind)) for attribute, kind in key_of(table))
        if MARKER in {partition.name, *(attribute.name for attribute in sort)}:
            what = f"{MARKER} is a key attribute of {name}: a canary could not be told from an item"
            raise UsageError(what, hint="watch the archive with ddbtrail status instead")
        schema = KeySchema(partition, sort[0] if sort else None)
        return cls(parse_key(schema, typed, table=name), token)

    def put(self, dynamodb: Asker, table: str) -> Finding | None:
        """Writes it, unless an item that is no canary stands there. None if it is written.

        `table` is what the table was described by: a name means one's own account, an ARN any.
        """
        answer = dynamodb.ask(
            "put_item",
            "dynamodb:PutItem",
            missing={"ConditionalCheckFailedException": "an item that is no canary of ours has that key"},
            TableName=table,
            Item={**_for_boto3(self.key), MARKER: {"S": self.token}},
            ConditionExpression="attribute_not_exists(#key) OR attribute_exists(#marker)",
            ExpressionAttributeNames={"#key": next(iter(self.key)), "#marker": MARKER},
        )
        if isinstance(answer, Missing):
            return failed(CODE, f"{answer.what}; it was left as it is", "choose a key that your application never uses")
        return not_checked(CODE, answer).essential() if isinstance(answer, Unknown) else None


@dataclass
class Lookout:
    """Looks for a token among the changes that are new in the archive; a segment is read once."""

    source: Source
    trail: Trail
    token: str
    _read: set[str] = field(default_factory=set)

    def sees(self, now_ms: int) -> bool:
        """Whether it is there now. Raises UnreadableArchive."""
        around = segments_between(self.source, self.trail, now_ms - _AROUND_MS, now_ms + _AROUND_MS + 1)
        fresh = [segment for segment in around if segment.stored.name not in self._read]
        if not fresh:
            return False
        with Engine().ask() as question:
            Reader(self.source, self.trail, Selection(tuple(fresh))).read(question)
            ((changed_at_ms,),) = question.rows("canary", {"token": self.token})
        self._read |= {segment.stored.name for segment in fresh}
        return changed_at_ms is not None


def watch(
    sees: Callable[[], bool], *, wait_s: float, monotonic: Callable[[], float], pause: Callable[[float], object]
) -> float | None:
    """Seconds until it was seen, None if it was not within `wait_s`; looked for once more at the end of the wait."""
    began_s = monotonic()
    while True:
        if sees():
            return monotonic() - began_s
        left_s = began_s + wait_s - monotonic()
        if left_s <= 0:
            return None
        pause(min(_PAUSE_S, left_s))


def told(seconds: float | None, wait_s: float, findings: Sequence[Finding], mapping: Mapping[str, Any]) -> Finding:
    """What became of a canary that was written; where it was not seen, what is likely to be the reason.

    `findings` are what was found before it was written, `mapping` is as it was after the wait.
    """
    if seconds is not None:
        return passed(CODE, f"seen in the archive after {seconds:.0f} s; the item stays in the table")
    broken = [finding.check for finding in findings if finding.result is Result.FAILED and finding.check in _CAUSES]
    window_s = mapping.get("MaximumBatchingWindowInSeconds") or 0
    reasons = [f"mend first: {', '.join(broken)}"] if broken else []
    if mapping and check_result(mapping).result is Result.FAILED:
        reasons.append(f"the last batch of the mapping: {mapping['LastProcessingResult']}")
    if window_s >= wait_s:
        reasons.append(f"wait longer than the batching window of {window_s} s: --wait {window_s * 2}s")
    if not reasons:
        reasons.append("the function's log says what fails (docs/operations.md, Errors and No heartbeat)")
    why = f"written, and not seen in the archive within {wait_s:.0f} s; the item stays in the table"
    return failed(CODE, why, "; ".join(reasons))


def _key_type(kind: str) -> KeyType:
    types: dict[str, KeyType] = {"S": "S", "N": "N", "B": "B"}
    return types[kind]


def _for_boto3(key: TypedKey) -> dict[str, dict[str, str | bytes]]:
    """Binary as bytes: boto3 encodes it itself."""
    return {
        name: {tag: base64.b64decode(text) if tag == "B" else text for tag, text in value.items()}
        for name, value in key.items()
    }
