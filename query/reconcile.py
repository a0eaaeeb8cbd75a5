"""Reconciliation: what the trail says that a table held, beside what the table or an export of it holds.

Invariants: only items that rested while the table was read are compared, and only where the trail knows their state, so
that records on their way and clocks that disagree accuse nobody; images are compared as values; a baseline that stands
for the same moment says nothing here, since it would be compared with itself. Items are held by the engine, which
spills them to disk, never by Python.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa

from archiver.format.values import same_attributes
from query.diff import changed_attributes
from query.engine import Question
from query.errors import UsageError
from query.image_chain import LinkEnd
from query.masked import Masked
from query.plan import changes_between, plan_state
from query.redaction import NOTHING_REDACTED, Redaction
from query.rows import Reader
from query.selection import Selection
from query.shown import Tabular
from query.state import Moment, reconstruct

if TYPE_CHECKING:
    from query.table import Table

CANNOT_SEE: Final = (
    "a life from insert to remove that is missing whole, changes that later ones covered, items that changed while "
    "the table was read or within a minute of it, and, without a baseline, items of which the trail knows nothing"
)

# The clock of the stream and that of whoever read the table may disagree so far without an item being compared wrongly.
CLOCK_MARGIN_MS: Final = 60_000
MOST_DIFFERENCES: Final = 100_000  # that a list in memory holds
_EVER_MS: Final = 2**62

Items = Iterable[Sequence[tuple[str, bytes]]]  # batches of (item key, image), each canonical JSON


class Difference(StrEnum):
    """On what trail and table disagree."""

    MISSING_IN_ARCHIVE = "missing-in-archive"  # the table has the item, the trail says that there is none
    NOT_IN_TABLE = "not-in-table"  # the trail says that there is one
    DIFFERS = "differs"


@dataclass(frozen=True, slots=True, repr=False)
class ItemDifference(Masked):
    """An item on which trail and table disagree: something of it is missing between its last archived change (None: it
    has none) and `until_ms`. `changed_attributes` are the top-level names that differ. Times in epoch ms.
    """

    item_key: str
    kind: Difference
    change_id: str | None
    changed_at_ms: int | None
    until_ms: int
    changed_attributes: tuple[str, ...] = ()
    redaction: Redaction = field(default=NOTHING_REDACTED, repr=False, compare=False)

    @property
    def cause(self) -> Difference:
        """What is told of it, in one word."""
        return self.kind

    @property
    def missing(self) -> str:
        """The operation that is missing, whatever else is."""
        return _MISSING[self.kind]

    @property
    def since(self) -> LinkEnd | None:
        """The last archived change of the item."""
        at_ms = self.changed_at_ms
        return None if at_ms is None else LinkEnd(at_ms, None, change_id=self.change_id)

    @property
    def until(self) -> LinkEnd:
        """The table."""
        return LinkEnd(self.until_ms, None)


_MISSING: Final = {
    Difference.MISSING_IN_ARCHIVE: "INSERT",
    Difference.NOT_IN_TABLE: "REMOVE",
    Difference.DIFFERS: "MODIFY",
}


@dataclass(frozen=True, slots=True)
class Reconciliation(Tabular):
    """A table as it stood from `from_ms` until `to_ms` (epoch ms; None: now), compared with the trail.

    The table held `items`. `compared` counts those that were compared, and those that only the trail has; the others
    changed meanwhile (`touched`), or the trail cannot tell them (`unknown`), or contradicts itself (`conflicts`).
    `differences` are at most `MOST_DIFFERENCES` of `different`, in order of key; `settled` more were gone at a second
    look.
    """

    from_ms: int
    to_ms: int | None
    items: int
    compared: int
    touched: int
    unknown: int
    conflicts: int
    different: int
    differences: tuple[ItemDifference, ...]
    settled: int = 0
    table_name: str = ""
    redaction: Redaction = field(default=NOTHING_REDACTED, repr=False, compare=False)

    def confirmed_by(self, again: "Reconciliation") -> "Reconciliation":
        """This one with only those differences that a second look at the same items found too."""
        kinds = {(found.item_key, found.kind) for found in again.differences}
        kept = tuple(found for found in self.differences if (found.item_key, found.kind) in kinds)
        gone = len(self.differences) - len(kept)
        return replace(self, differences=kept, different=self.different - gone, settled=self.settled + gone)


def reconcile(
    table: "Table",
    items: Items,
    *,
    from_ms: int,
    to_ms: int | None = None,
    item_keys: Sequence[str] | None = None,
    is_from_beginning: bool = False,
    refresh: "Callable[[], Table] | None" = None,
) -> Reconciliation:
    """Compares the state that the trail gives for `from_ms` with the items of a table that was read from then until
    `to_ms` (epoch ms; None: until now, so that every later change makes its item one that did not rest).

    `items` holds every item of the table once, or those of `item_keys`. An item of which the trail knows nothing is
    missing if the trail began with the table (`is_from_beginning`) or has an earlier complete baseline of the same
    stream; else it is unknown. `refresh` opens the trail again when the items are read, since that takes time, and what
    was archived meanwhile says which of them did not rest. Raises UnreadableArchive, UsageError for an item that is
    there twice, and what `items` raises.
    """
    since_ms = from_ms - CLOCK_MARGIN_MS
    until_ms = _EVER_MS if to_ms is None else to_ms + CLOCK_MARGIN_MS
    with table.engine.ask() as question:
        question.run("reconcile_tables")
        held = _hold(question, items)
        _refuse_repeated(question, table)
        current = table if refresh is None else refresh()
        everything = Selection(current.evidence.segments, current.evidence.runs)
        reader = (
            table.reader
            if current is table
            else Reader(current.reader.source, current.trail, everything, current.reader.derived, keeps_rows=False)
        )
        earlier = [one for one in current.evidence.baselines if one.description.to_ms < since_ms]
        evidence = replace(current.evidence, baselines=tuple(earlier))
        with question.beside() as beside:
            reader.read(beside, changes_between(evidence, since_ms, until_ms + 1))
            _find_touched(question, beside, since_ms, until_ms)
        plan = plan_state(evidence, f"{table.name} beside its items", at_ms=from_ms, is_cut=False)
        states = reconstruct(question, reader, evidence, plan, Moment(from_ms), item_keys)
        label = states.coverage.covering(from_ms)
        is_whole = plan.floor is not None and label is not None and plan.floor.description.stream_label == label
        conflicting = sorted({conflict.item_key for conflict in states.conflicts})
        question.set("reconcile", {"conflicting": conflicting, "is_complete": is_from_beginning or is_whole})
        question.run("reconcile")
        told = _told(question, from_ms, to_ms, held)
        shown = tuple(replace(one, redaction=table.redaction) for one in told.differences)
        kept = replace(told, differences=shown, conflicts=len(conflicting))
        return replace(kept, table_name=table.name, redaction=table.redaction)


def _hold(question: Question, items: Items) -> int:
    """Gives the items to the engine; how many there are."""
    held = 0
    for batch in items:
        keys, images = [key for key, _ in batch], [image for _, image in batch]
        table = {"item_key": pa.array(keys, pa.string()), "image": pa.array(images, pa.binary()).cast(pa.string())}
        question.register("items_batch", pa.table(table))
        question.run("reconcile_add_items")
        held += len(batch)
    return held


def _refuse_repeated(question: Question, table: "Table") -> None:
    """A table has an item once; which of two rows would be compared, nobody said."""
    for item_key, times in question.rows("reconcile_repeated"):
        raise UsageError(
            f"{times} rows are of one item, {table.redaction.key(item_key)}",
            why=f"{table.name} has an item once, and each row would be counted and compared",
            hint="give each item once; where its rows differ, read the table anew",
        )


def _find_touched(question: Question, beside: Question, since_ms: int, until_ms: int) -> None:
    """Makes the relation `touched` of the changes that `beside` has read: all hours that can hold such a change."""
    for batch in beside.batches("reconcile_touched", {"since_ms": since_ms, "until_ms": until_ms}):
        question.register("touched_batch", pa.Table.from_batches([batch]))
        question.run("reconcile_add_touched")


def _told(question: Question, from_ms: int, to_ms: int | None, held: int) -> Reconciliation:
    counts: dict[str, int] = dict(question.rows("reconcile_counts"))
    differences: list[ItemDifference] = []
    different = 0
    for batch in question.batches("reconcile_rows"):
        for row in batch.to_pylist():
            kind = Difference(row["verdict"])
            if kind is Difference.DIFFERS and same_attributes(row["told_image"], row["shown_image"]):
                continue
            different += 1
            if len(differences) < MOST_DIFFERENCES:
                differences.append(_difference(row, kind, from_ms if to_ms is None else to_ms))
    verdicts = [*Difference, "same"]
    return Reconciliation(
        from_ms=from_ms,
        to_ms=to_ms,
        items=held,
        compared=sum(counts.get(verdict, 0) for verdict in verdicts),
        touched=counts.get("touched", 0),
        unknown=counts.get("unknown", 0),
        conflicts=0,
        different=different,
        differences=tuple(differences),
    )


def _difference(row: dict[str, Any], kind: Difference, until_ms: int) -> ItemDifference:
    is_both = kind is Difference.DIFFERS
    names = changed_attributes(row["told_image"], row["shown_image"]) if is_both else ()
    return ItemDifference(row["item_key"], kind, row["change_id"], row["changed_at_ms"], until_ms, names)
