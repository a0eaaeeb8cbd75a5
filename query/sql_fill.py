"""What SQL may see of a trail, copied out of evidence: read through the reader, so every file passes the gate first.

Invariant: what is redacted is masked before it is copied, so no statement can find it. Equal values have equal masks,
so what is compared in SQL is still compared by value; what each change did is found before it is masked, as everywhere.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Final

import orjson
import pyarrow as pa

from query.conflicts import EVER, Conflict, find_conflicts
from query.coverage import Coverage
from query.descriptions import Baseline
from query.diff import changes
from query.engine import Question
from query.history import ChangeRow, change_of
from query.locked import DIFFERENCES, Filling
from query.surface import ALL_TIME, Between, quoted, statements
from query.table import Table
from query.tellers import Tellers
from query.value_functions import attributes_changed, differences_of, is_comparable

_TEXT: Final = pa.string()
_CHANGES: Final = pa.schema(
    [
        ("number", pa.int64()),
        *((name, _TEXT) for name in ("change_id", "op")),
        *((name, pa.int64()) for name in ("changed_at_ms", "effective_ms")),
        *(
            (name, _TEXT)
            for name in ("sequence_number", "stream_label", "item_key", "pk", "sk", "old_image", "new_image")
        ),
        *((name, _TEXT) for name in ("user_identity", "event")),
        ("told_by", pa.int64()),
    ]
)
# What is found out of a change before it is masked, or by a configured attribute: nothing, where nothing is configured.
_TOLD: Final = pa.schema(
    [
        ("told_attributes", pa.list_(_TEXT)),
        ("told_differences", DIFFERENCES),
        ("told_actor", _TEXT),
        ("told_actor_source", _TEXT),
    ]
)
_COPIED: Final = pa.schema([*_CHANGES, *_TOLD])
_ITEMS: Final = pa.schema([(name, _TEXT) for name in ("item_key", "pk", "sk", "image")])


class TrailFilling:
    """Copies one trail into the schema of its table, step by step, as statements need it."""

    def __init__(self, table: Table, schema: str, between: Between = ALL_TIME) -> None:
        self._table = table
        self._schema = schema
        self._between = between
        self._redaction = table.redaction
        self._conflicts: tuple[Conflict, ...] = ()

    def begin(self, filling: Filling, *, asked_at_ms: int) -> Coverage:
        """Who the trail is, its key schema, and what it covers; no image is read for that."""
        table, trail = self._table, self._table.trail
        self._run(filling, "tables")
        self._insert(filling, "_trail", [(trail.account, trail.region, trail.table_name, asked_at_ms)], times=(3,))
        self._insert(filling, "_key", self._key_rows())
        coverage = table.coverage()
        stretches = [(one.stream_label, one.since_ms, one.until_ms) for one in coverage.stretches]
        self._insert(filling, "_stretches", stretches, times=(1, 2))
        self._insert(filling, "_ends", [(end.stream_label, end.at_ms) for end in coverage.ends], times=(1,))
        self._run(filling, "coverage")
        return coverage

    def changes(self, filling: Filling) -> tuple[Conflict, ...]:
        """Its changes in the range, each once; those that evidence tells in two ways, whose items are left out."""
        since_ms, until_ms = self._between
        ends = {
            "since_ms": EVER["since_ms"] if since_ms is None else since_ms,
            "until_ms": EVER["until_ms"] if until_ms is None else until_ms,
        }

        def read(table: Table) -> Tellers:
            selection = table.reader.between(table.evidence, since_ms, until_ms)
            tellers = table.reader.tellers(selection)
            with table.engine.ask() as question:
                table.reader.read(question, selection)
                self._conflicts = find_conflicts(question.rows("range_conflicts", ends), tellers)
                batches = question.batches("surface_fill_changes", {"conflicting": self._conflicting, **ends})
                filling.insert(self._text("insert_changes"), self._copied(batches, tellers), _COPIED)

            return tellers

        tellers = self._table.asked(read)
        told_by = filling.rows(f"SELECT DISTINCT told_by FROM {self._name('_changes')}")  # noqa: S608  a quoted name
        self._insert(filling, "_segments", [(one, tellers[one], tellers.is_sealed(one)) for (one,) in told_by])
        self._run(filling, "changes")
        if self._between != ALL_TIME:
            self._run(filling, "without_states")
        return self._conflicts

    def baselines(self, filling: Filling) -> None:
        """The items of its complete baselines; after `changes`."""
        complete = [one for one in self._table.evidence.baselines if one.description.complete]
        for number, baseline in enumerate(complete):
            described = baseline.description
            rows = [(number, described.from_ms, described.to_ms, described.stream_label)]
            self._insert(filling, "_baselines", rows, times=(1, 2))
            with self._table.engine.ask() as question:
                self._baseline(filling, question, number, baseline)
        self._run(filling, "states")

    def _baseline(self, filling: Filling, question: Question, number: int, baseline: Baseline) -> None:
        self._table.reader.read_baseline(question, "floor", baseline)
        batches = question.batches("surface_fill_baseline", {"conflicting": self._conflicting})
        insert = f"INSERT INTO {self._name('_baseline_items')} SELECT {number}, * FROM incoming"  # noqa: S608  a count
        filling.insert(insert, self._masked_items(batches), _ITEMS)

    @property
    def _conflicting(self) -> list[str]:
        return [conflict.item_key for conflict in self._conflicts]

    def _key_rows(self) -> list[tuple[Any, ...]]:
        """Where the values of a key stand in it; of a masked one nothing can be asked for."""
        schema = self._table.key_schema
        return [
            (
                place,
                "redacted" if any(path[0] == one.name for path in self._redaction.paths) else one.type,
                f"/{_escaped(one.name)}/{one.type}",
            )
            for place, one in enumerate(schema.attributes if schema else (), 1)
        ]

    # --- what is masked ---

    def _copied(self, batches: Iterator[pa.RecordBatch], tellers: Tellers) -> Iterator[pa.RecordBatch]:
        is_plain = not self._redaction.paths and not self._table.attribution.steps
        for batch in batches:
            rows = batch.cast(_CHANGES)
            if is_plain:
                nothing = [pa.nulls(len(rows), field.type) for field in _TOLD]
                yield pa.RecordBatch.from_arrays([*rows.columns, *nothing], schema=_COPIED)
            else:
                made = [row | self._told(row, tellers) | self._masked(row) for row in rows.to_pylist()]
                yield pa.RecordBatch.from_pylist(made, schema=_COPIED)

    def _told(self, row: dict[str, Any], tellers: Tellers) -> dict[str, Any]:
        """Who made a change, and what it did, as every other surface tells it."""
        op, old, new = row["op"], row["old_image"], row["new_image"]
        told = ChangeRow(*(row[name] for name in ChangeRow._fields))
        made_by = self._redaction.made_by(change_of(self._table.trail, told, tellers, self._table.attribution))
        differences = (
            [self._redaction.change(one) for one in changes(old, new)] if is_comparable(op, old, new) else None
        )
        return {
            "told_attributes": attributes_changed(op, old, new),
            "told_differences": None if differences is None else differences_of(differences),
            "told_actor": made_by.name,
            "told_actor_source": made_by.source,
        }

    def _masked(self, row: dict[str, Any]) -> dict[str, Any]:
        if not self._redaction.paths:
            return {}
        return self._masked_key(row) | {
            "old_image": self._redaction.image(row["old_image"]),
            "new_image": self._redaction.image(row["new_image"]),
            "event": _without_keys(row["event"]),
        }

    def _masked_key(self, row: dict[str, Any]) -> dict[str, Any]:
        key = row["item_key"]
        hints = {name: self._redaction.key_text(key, row[name]) for name in ("pk", "sk")}
        return {"item_key": self._redaction.key(key), **hints}

    def _masked_items(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            if not self._redaction.paths:
                yield batch.cast(_ITEMS)
                continue
            rows = batch.to_pylist()
            masked = [self._masked_key(row) | {"image": self._redaction.image(row["image"])} for row in rows]
            yield pa.RecordBatch.from_pylist(masked, schema=_ITEMS)

    # --- statements ---

    def _text(self, name: str) -> str:
        return statements(name, self._schema)

    def _name(self, relation: str) -> str:
        return f"{quoted(self._schema)}.{relation}"

    def _run(self, filling: Filling, name: str) -> None:
        filling.run(self._text(name))

    def _insert(
        self, filling: Filling, relation: str, rows: Sequence[tuple[Any, ...]], *, times: tuple[int, ...] = ()
    ) -> None:
        """Rows of values, each bound; those at the places `times` are epoch ms."""
        for row in rows:
            values = {f"v{place}": value for place, value in enumerate(row)}
            marks = [
                f"make_timestamptz(${name}::BIGINT * 1000)" if place in times else f"${name}"
                for place, name in enumerate(values)
            ]
            filling.run(f"INSERT INTO {self._name(relation)} VALUES ({', '.join(marks)})", values)  # noqa: S608  values are bound


def _escaped(name: str) -> str:
    """A step of a JSON pointer (RFC 6901)."""
    return name.replace("~", "~0").replace("/", "~1")


def _without_keys(event: str) -> str:
    """What else was delivered; it may repeat the key as it was spelled."""
    found = orjson.loads(event)
    found.get("dynamodb", {}).pop("Keys", None)
    return orjson.dumps(found).decode()
