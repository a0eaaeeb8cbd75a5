"""The items of a table as others have them: a DynamoDB export, or a consistent scan. Nothing is written.

Clocks are read here. Invariants: an export is read as `baseline` reads it, its manifests and checksums first; a table
that was made again while it was scanned gives no items; at most a batch of items is in memory.
"""

import base64
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import orjson

from archiver.errors import ArchiverError, ExportRefused
from archiver.format.canonical import canonical
from archiver.format.layout import HOUR_MS, Trail
from archiver.format.record import item_key_text
from archiver.format.values import check_attributes
from query.cli.writing import DataSource, now_ms
from query.errors import QueryError, UsageError
from query.operate.aws import is_of_aws

if TYPE_CHECKING:
    from query.reconcile import Items
    from query.table import Table

_THREADS: Final = 4
_ITEMS_AT_ONCE: Final = 10_000
_BYTES_AT_ONCE: Final = 16_000_000
# What happened longer ago than a stream keeps it is not on its way any more.
_ON_ITS_WAY_MS: Final = 24 * HOUR_MS


class ItemsUnreadable(QueryError):  # noqa: N818
    """Export or live table cannot be read, or is not the one meant."""

    code = "unreadable-items"


@dataclass(frozen=True, slots=True)
class TableItems:
    """The items of a table as they stood from `from_ms` until `to_ms` (epoch ms; None: now), to be read once.

    `again` gives some of them, by key, as they are now, or once more as they were in the export. `may_be_late` says
    that changes from before may still be on their way to the archive.
    """

    from_ms: int
    to_ms: int | None
    batches: "Items"
    again: Callable[[Sequence[str]], "TableItems"]
    may_be_late: bool


def exported_items(url: str, table: "Table", data: DataSource, key_names: tuple[str, ...] | None = None) -> TableItems:
    """The items of a full export in a folder or below `s3://`; `key_names` are those that are configured.

    Raises ItemsUnreadable, or UsageError where nothing says which attributes are the key.
    """
    from archiver.export import open_export
    from archiver.export_files import find_export

    schema = table.key_schema
    names = key_names if schema is None else tuple(attribute.name for attribute in schema.attributes)
    if names is None:
        raise UsageError(
            f"the key of {table.name} is not known",
            why="an export holds whole items, and the archive does not say which attributes are the key",
            hint="add --key-schema pk,sk: partition key, then sort key",
        )
    with _sorted_errors():
        export = open_export(find_export(url, lambda: data.client("s3")))
    _check_trail(export.trail, table.trail, f"the export in {url}")
    from_ms, to_ms = export.interval_ms
    may_be_late = now_ms() - to_ms < _ON_ITS_WAY_MS

    def read(wanted: frozenset[str] | None) -> TableItems:
        items = _batches(export.items(), names, wanted)
        return TableItems(from_ms, to_ms, items, lambda keys: read(frozenset(keys)), may_be_late)

    return read(None)


def scanned_items(table: "Table", data: DataSource) -> TableItems:
    """The items of the live table, by a consistent scan that begins when they are read. Raises ItemsUnreadable."""
    from archiver.scan import scan_items
    from archiver.tables import key_of_table, trail_of_table

    name = table.name
    with _sorted_errors():
        client = data.client("dynamodb", region=data.region or table.trail.region, connections=_THREADS)
        live = client.describe_table(TableName=name)["Table"]
        names, _ = key_of_table(live)
    _check_trail(trail_of_table(live["TableArn"]), table.trail, "the live table")

    def scan() -> Iterator[tuple[str, Mapping[str, Any]]]:
        yield from scan_items(client, name, threads=_THREADS)
        if client.describe_table(TableName=name)["Table"].get("TableId") != live.get("TableId"):
            raise ExportRefused(f"{name} was deleted and made again during the scan", hint="scan it again")

    def again(keys: Sequence[str]) -> TableItems:
        return TableItems(now_ms(), None, _batches(_got(client, name, keys), names, None), again, may_be_late=True)

    return TableItems(now_ms(), None, _batches(scan(), names, None), again, may_be_late=True)


def _got(client: Any, name: str, keys: Sequence[str]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    from archiver.stream import wire

    for text in keys:
        key = {
            attribute: {tag: base64.b64decode(content) if tag == "B" else content for tag, content in value.items()}
            for attribute, value in orjson.loads(text).items()
        }
        item = client.get_item(TableName=name, Key=key, ConsistentRead=True).get("Item")
        if item is not None:
            yield f"an item of {name}", wire(item)


def _batches(
    items: Iterable[tuple[str, Mapping[str, Any]]], names: Sequence[str], wanted: frozenset[str] | None
) -> Iterator[list[tuple[str, bytes]]]:
    """Items as (item key, image) in canonical text, some at a time."""
    batch: list[tuple[str, bytes]] = []
    size_bytes = 0
    with _sorted_errors():
        for place, item in items:
            key, image = _item(place, item, names)
            if wanted is not None and key not in wanted:
                continue
            batch.append((key, image))
            size_bytes += len(image)
            if len(batch) >= _ITEMS_AT_ONCE or size_bytes >= _BYTES_AT_ONCE:
                yield batch
                batch, size_bytes = [], 0
    if batch:
        yield batch


def _item(place: str, item: Mapping[str, Any], names: Sequence[str]) -> tuple[str, bytes]:
    try:
        check_attributes(item)
        return item_key_text({name: item[name] for name in names}).decode(), canonical(item)
    except KeyError as error:
        hint = "correct --key-schema: partition key, then sort key"
        raise ExportRefused(f"{place} has no attribute {error}, which should be part of its key", hint=hint) from error
    except (ValueError, TypeError) as error:
        raise ExportRefused(f"{place} is no item: {error}", hint="fetch it again") from error


def _check_trail(found: Trail, asked: Trail, what: str) -> None:
    if found != asked:
        told = f"{found.account}/{found.region}/{found.table_name}"
        meant = f"{asked.account}/{asked.region}/{asked.table_name}"
        raise ItemsUnreadable(f"{what} is of {told}, not of {meant}", hint="name the table or the export that is meant")


@contextmanager
def _sorted_errors() -> Iterator[None]:
    """Tells what archiver and AWS say as an error of the reader."""
    try:
        yield
    except ArchiverError as error:
        raise ItemsUnreadable(str(error), hint=error.hint or "correct it and compare again") from error
    except Exception as error:
        if not is_of_aws(error):
            raise
        hint = "check credentials, --profile, --region and --endpoint-url"
        raise ItemsUnreadable(f"AWS did not answer: {error}", hint=hint) from error
