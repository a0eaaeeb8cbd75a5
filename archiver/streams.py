"""What is known of each stream: key schema, table id, view type. Learnt once per container and stream label.

A stream record does not say which of its key attributes is the partition key. Invariant: a description is written once,
create-only, and only when the key schema is known; without it everything is archived all the same, with NULL hints.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from archiver.format.description import StreamDescription
from archiver.format.layout import StreamSource, Trail, label_time_ms, parse_stream_name, stream_name
from archiver.format.record import change_record
from archiver.store import ObjectStore

_KEY_ORDER: Final = ("HASH", "RANGE")


class TableUnreadable(Exception):  # noqa: N818
    """DescribeTable failed; `is_final` says that asking again would not help."""

    def __init__(self, message: str, *, is_final: bool) -> None:
        super().__init__(message)
        self.is_final = is_final


# The answer of DescribeTable for a stream's table (its `Table` member).
DescribeTable = Callable[[StreamSource], Mapping[str, Any]]


@dataclass
class Streams:
    """Key schemas by stream, from configuration, DescribeTable or the record itself, in this order of trust:
    DescribeTable where its latest stream is the one asked for, then `key_schema` (table name to key names, in order),
    then DescribeTable of a later stream of the same table, then a single key attribute.
    """

    key_schema: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    describe_table: DescribeTable | None = None
    warn: Callable[[str], None] = lambda _message: None
    _known: dict[StreamSource, StreamDescription | None] = field(default_factory=dict)
    _unwritten: dict[StreamSource, StreamDescription] = field(default_factory=dict)

    def key_names(self, source: StreamSource, record: Mapping[str, Any]) -> tuple[str, ...] | None:
        """The key attributes of a stream in schema order, None if not known. Learns from one delivered record."""
        if source not in self._known:
            key_types = _key_types(source, record)
            if key_types is None:
                return None
            description = self._learn(source, record, key_types)
            if isinstance(description, TableUnreadable):
                return tuple(key_types) if len(key_types) == 1 else self._configured(source, key_types)
            self._known[source] = description
            if description is not None:
                self._unwritten[source] = description
        known = self._known[source]
        return None if known is None else known.key_names

    def unwritten(self) -> list[tuple[StreamSource, str, bytes]]:
        """Descriptions still to be stored: source, object name below the archive, content."""
        return [
            (source, source.trail.prefix + stream_name(source.stream_label), description.compose())
            for source, description in self._unwritten.items()
        ]

    def written(self, source: StreamSource) -> None:
        """Says that a description is stored."""
        del self._unwritten[source]

    def _learn(
        self, source: StreamSource, record: Mapping[str, Any], key_types: dict[str, str]
    ) -> StreamDescription | TableUnreadable | None:
        described = self._described(source)
        if isinstance(described, TableUnreadable) and not described.is_final:
            return described  # asked again with the next batch: a table id is worth waiting for
        table: Mapping[str, Any] = {} if isinstance(described, TableUnreadable) else described
        is_latest = table.get("LatestStreamLabel") == source.stream_label
        names = _table_key(table) if is_latest else None
        names = names or self._configured(source, key_types) or _table_key(table)
        if names is None and len(key_types) == 1:
            names = tuple(key_types)
        if names is None or set(names) != set(key_types):
            self.warn(
                f"key schema of {source.trail.table_name} is not known; "
                "set DDBTRAIL_KEY_SCHEMA or allow dynamodb:DescribeTable"
            )
            return None
        view_type = record["dynamodb"].get("StreamViewType")
        if view_type != "NEW_AND_OLD_IMAGES":
            self.warn(f"stream of {source.trail.table_name} carries {view_type}, not NEW_AND_OLD_IMAGES")
        return StreamDescription(
            stream_arn=record["eventSourceARN"],
            key_schema=tuple((name, key_types[name]) for name in names),
            table_id=table.get("TableId") if is_latest else None,
            view_type=view_type if isinstance(view_type, str) else None,
        )

    def _described(self, source: StreamSource) -> Mapping[str, Any] | TableUnreadable:
        if self.describe_table is None:
            return {}
        try:
            return self.describe_table(source)
        except TableUnreadable as error:
            self.warn(f"could not describe {source.trail.table_name}: {error}")
            return error

    def _configured(self, source: StreamSource, key_types: Mapping[str, str]) -> tuple[str, ...] | None:
        names = self.key_schema.get(source.trail.table_name)
        return names if names is not None and set(names) == set(key_types) else None


def _table_key(table: Mapping[str, Any]) -> tuple[str, ...] | None:
    schema = {element["KeyType"]: element["AttributeName"] for element in table.get("KeySchema", ())}
    return tuple(schema[role] for role in _KEY_ORDER if role in schema) or None


def _key_types(source: StreamSource, record: Mapping[str, Any]) -> dict[str, str] | None:
    """Type by key attribute of a delivered record; None if the record is one that will be quarantined.

    A description stays for ever, so it is learnt from records only that are understood in full.
    """
    try:
        change_record(record, source, None)
    except (ValueError, TypeError, RecursionError):
        return None
    return {name: next(iter(value)) for name, value in record["dynamodb"]["Keys"].items()}


def described_streams(store: ObjectStore, trail: Trail) -> dict[str, StreamDescription]:
    """What the archive says of the streams of a table, by stream label, newest first."""
    described = {}
    for name, _ in sorted(store.list(f"{trail.prefix}streams/"), reverse=True):
        label = parse_stream_name(name.removeprefix(trail.prefix))
        described[label] = StreamDescription.parse(store.get(name))
    return described


def label_at(stream_labels: Iterable[str], from_ms: int) -> str | None:
    """The newest stream that was already enabled when the interval began (epoch ms); None if there was none.

    A stream enabled later has missed changes inside the interval: it must not cover the interval's beginning.
    """
    return max((label for label in stream_labels if label_time_ms(label) <= from_ms), default=None)


def parse_key_schema(text: str) -> dict[str, tuple[str, ...]]:
    """`orders=pk,sk;customers=id` as table name to key attributes in order. Raises ValueError with the part at
    fault."""
    schemas = {}
    for part in filter(None, (part.strip() for part in text.split(";"))):
        table, separator, names = part.partition("=")
        key = tuple(name.strip() for name in names.split(","))
        if not separator or not table.strip() or len(key) not in {1, 2} or "" in key or len(set(key)) < len(key):
            raise ValueError(f"{part!r} is not table=partition_key or table=partition_key,sort_key")
        if table.strip() in schemas:
            raise ValueError(f"{table.strip()} has two key schemas in {text!r}")
        schemas[table.strip()] = key
    return schemas
