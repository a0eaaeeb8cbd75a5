"""Baselines: the whole table, written with the interval of time it stands for, wherever its items come from.

Invariants: a baseline exists when its description does, and the description is written last, over parts that are all
there; an item is kept exactly as DynamoDB gave it; no two items have one key. Memory is bounded by the part, not by the
table.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from archiver.errors import ArchiverError, ExportRefused
from archiver.format.canonical import canonical
from archiver.format.description import BaselineDescription, BaselinePart, KeySchema
from archiver.format.layout import BaselineName, Trail
from archiver.format.record import item_key_text, key_hints
from archiver.format.values import check_attributes
from archiver.segment import encode_baseline_part
from archiver.store import ObjectStore

# Images of one part before compression. Items are in key order within a part, not across parts: sorting a table of any
# size would need its size in memory or on disk, and a reader prunes by the key range of each part all the same.
PART_BYTES: Final = 64 * 1024 * 1024

# One row of a part: item key, partition and sort key text, image.
_Row = tuple[bytes, str | None, str | None, bytes]


class BaselineExists(ArchiverError):  # noqa: N818
    """Another baseline stands for an interval that begins in the same second. Nothing was replaced."""


@dataclass(frozen=True, slots=True)
class Written:
    """A baseline in the archive: its description, and whether it was there before."""

    name: str
    description: BaselineDescription
    is_new: bool


@dataclass
class BaselineWriter:
    """Writes one baseline: `parts` takes all items, then `describe` makes them a baseline.

    `from_ms` (epoch ms, whole seconds) is the start of its interval; `key_names` the key attributes in schema order.
    """

    store: ObjectStore
    trail: Trail
    from_ms: int
    key_names: tuple[str, ...]
    key_types: dict[str, str]
    part_bytes: int = PART_BYTES

    def parts(self, items: Iterable[tuple[str, Mapping[str, Any]]]) -> tuple[BaselinePart, ...]:
        """Stores items, each with the place it came from, as parts; learns the types of the key.

        Raises ExportRefused, naming the place, for what is no item of this key schema, or twice the same key.
        """
        return tuple(self._put(number, rows) for number, rows in enumerate(self._portions(items)))

    def describe(
        self,
        parts: tuple[BaselinePart, ...],
        *,
        to_ms: int,
        origin: str,
        stream_label: str | None = None,
        table_id: str | None = None,
    ) -> Written:
        """Stores the description, after which the baseline counts. `to_ms` (epoch ms) ends its interval.

        The same import once more finds its own bytes and succeeds. Raises BaselineExists if another one is there.
        """
        description = BaselineDescription(
            complete=True,
            from_ms=self.from_ms,
            to_ms=to_ms,
            items=sum(part.items for part in parts),
            key_schema=self._key_schema(),
            origin=origin,
            parts=parts,
            stream_label=stream_label,
            table_id=table_id,
        )
        name = self.trail.prefix + BaselineName(self.from_ms).description
        # Last of all: a stop before this leaves parts that no description lists, which no reader looks at and the next
        # attempt finds in place. Written first, it would promise a complete table while parts are missing.
        if self.store.put_if_absent(name, description.compose()):
            return Written(name, description, is_new=True)
        try:
            found = BaselineDescription.parse(self.store.get(name))
        except ValueError as error:
            raise BaselineExists(f"{name} is already there: {error}", hint="nothing was replaced") from error
        # Another version of the Parquet library writes other bytes for the same items.
        if replace(found, parts=()) != replace(description, parts=()):
            raise BaselineExists(
                f"{name} is already there and says otherwise: {_differences(found, description)}",
                hint="evidence is never replaced: use the baseline that is there, or import a newer export or scan",
            )
        return Written(name, found, is_new=False)

    def _key_schema(self) -> KeySchema:
        unknown = [name for name in self.key_names if name not in self.key_types]
        if unknown:
            raise ExportRefused(
                f"the table is empty, so nothing tells the type of {', '.join(unknown)}",
                hint="allow dynamodb:DescribeTable and leave out --no-describe-table",
            )
        return tuple((name, self.key_types[name]) for name in self.key_names)

    def _portions(self, items: Iterable[tuple[str, Mapping[str, Any]]]) -> Iterator[list[_Row]]:
        rows: list[_Row] = []
        size_bytes = 0
        for place, item in items:
            row = self._row(place, item)
            rows.append(row)
            size_bytes += len(row[-1])
            if size_bytes >= self.part_bytes:
                yield rows
                rows, size_bytes = [], 0
        if rows:
            yield rows

    def _row(self, place: str, item: Mapping[str, Any]) -> _Row:
        try:
            check_attributes(item)
            keys = {name: item[name] for name in self.key_names}
            item_key = item_key_text(keys)
            image = canonical(item)
        except KeyError as error:
            raise ExportRefused(
                f"{place} has no attribute {error}, which should be part of its key",
                hint="correct --key-schema: partition key, then sort key",
            ) from error
        except (ValueError, TypeError) as error:
            raise ExportRefused(f"{place} is no item: {error}", hint="nothing was imported; fetch it again") from error
        types = {name: next(iter(value)) for name, value in keys.items()}
        for name, kind in types.items():
            if self.key_types.setdefault(name, kind) != kind:
                raise ExportRefused(
                    f"{place} has {name} of type {kind}, other items of type {self.key_types[name]}",
                    hint="a key attribute has one type: correct --key-schema",
                )
        return item_key, *key_hints(keys, self.key_names), image

    def _put(self, number: int, rows: list[_Row]) -> BaselinePart:
        rows.sort(key=lambda row: (row[1] or "", row[2] or "", row[0]))
        keys = [row[0] for row in rows]
        if len(set(keys)) < len(keys):
            twice = next(key for index, key in enumerate(keys[1:]) if keys[index] == key)
            raise ExportRefused(
                f"two items have the key {twice.decode()}",
                hint="a key names one item: is the sort key missing from --key-schema?",
            )
        content = encode_baseline_part(rows)
        digest = hashlib.sha256(content).hexdigest()
        name = BaselineName(self.from_ms).part(number, digest)
        self.store.put_if_absent(self.trail.prefix + name, content)
        return BaselinePart(name.rpartition("/")[2], len(content), len(rows), digest)


def _differences(found: BaselineDescription, ours: BaselineDescription) -> str:
    names = [name for name in BaselineDescription.__slots__ if name != "parts"]
    return ", ".join(
        f"{name} {getattr(found, name)!r}, not {getattr(ours, name)!r}"
        for name in names
        if getattr(found, name) != getattr(ours, name)
    )
