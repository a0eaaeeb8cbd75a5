"""The changes of items in order, duplicates removed: from rows of evidence to histories. Pure but for reading rows.

Invariant: order is stream label and sequence number, never time; an item with a change in conflict has no history.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

from archiver.format.layout import Trail
from query.actor import NOBODY_NAMED, Attribution
from query.answer import Change, Version
from query.conflicts import Conflict, find_conflicts
from query.errors import IdentityConflict
from query.plan import ReadPlan
from query.redaction import NOTHING_REDACTED, Redaction
from query.shown import Tabular
from query.tellers import Tellers

Row = Mapping[str, Any]


def changes_of_item(
    trail: Trail,
    rows: Sequence[Row],
    tellers: Tellers,
    attribution: Attribution = NOBODY_NAMED,
    redaction: Redaction = NOTHING_REDACTED,
) -> list[Change]:
    """The changes of one item in order, with effective times. Raises IdentityConflict if rows contradict each other."""
    changes: list[Change] = []
    in_order = sorted(rows, key=_identity)
    if _is_told_again(rows):
        conflicts = conflicts_of(rows, tellers, redaction)
        if conflicts:
            raise conflict_error(conflicts, redaction)
        # Of several rows that tell of a change, one that is sealed.
        in_order.sort(key=lambda row: (*_identity(row), _is_unsealed(row, tellers)))
    for row in in_order:
        change = change_of(trail, row, tellers, attribution, redaction)
        if changes and changes[-1].order == change.order:
            continue
        effective_ms = max(change.changed_at_ms, changes[-1].effective_ms) if changes else change.changed_at_ms
        is_late = effective_ms != change.effective_ms  # rarely, and a copy takes as long as the change did
        changes.append(replace(change, effective_ms=effective_ms) if is_late else change)
    return changes


def _identity(row: Row) -> tuple[str, str]:
    """Which change of its item a row tells of: its order too."""
    return row["stream_label"], row["sequence_number"]


def _is_told_again(rows: Sequence[Row]) -> bool:
    """Whether several rows of an item tell of the same change."""
    return len(set(map(_identity, rows))) < len(rows)


def _is_unsealed(row: Row, tellers: Tellers) -> bool:
    return tellers.is_sealed(row["told_by"]) is False


def change_of(
    trail: Trail,
    row: Row,
    tellers: Tellers,
    attribution: Attribution = NOBODY_NAMED,
    redaction: Redaction = NOTHING_REDACTED,
) -> Change:
    """One row as a change; its effective time is that of the row alone."""
    return Change(
        trail=trail,
        change_id=row["change_id"],
        op=row["op"],
        changed_at_ms=row["changed_at_ms"],
        effective_ms=row["changed_at_ms"],
        sequence_number=row["sequence_number"],
        stream_label=row["stream_label"],
        item_key=row["item_key"],
        pk=row["pk"],
        sk=row["sk"],
        old_image=row["old_image"],
        new_image=row["new_image"],
        user_identity=row["user_identity"],
        event=row["event"],
        tellers=tellers,
        told_by=row["told_by"],
        attribution=attribution,
        redaction=redaction,
    )


def conflicts_of(
    rows: Sequence[Row], tellers: Tellers, redaction: Redaction = NOTHING_REDACTED
) -> tuple[Conflict, ...]:
    """The changes that rows of an item contradict each other about."""
    columns = (
        "item_key",
        "stream_label",
        "sequence_number",
        "op",
        "changed_at_ms",
        "old_image",
        "new_image",
        "told_by",
    )
    return find_conflicts([tuple(row[column] for column in columns) for row in rows], tellers, redaction)


def conflict_error(conflicts: Sequence[Conflict], redaction: Redaction = NOTHING_REDACTED) -> IdentityConflict:
    """The error for answers that rest on conflicting evidence."""
    first = conflicts[0]
    return IdentityConflict(
        f"evidence contradicts itself about {redaction.key(first.item_key)}: "
        f"sequence number {first.sequence_number.lstrip('0')} differs in {', '.join(first.differs)}",
        why=f"told differently by {' and '.join(first.segments)}",
        hint="no answer is given for this item; ddbtrail log TABLE --conflicts lists all conflicts",
    )


class History(Tabular):
    """Versions of one item, newest first unless asked the other way round.

    To be counted, indexed, iterated, and sliced into a shorter one; no `Sequence` by name: polars would not take that
    for a table.
    `total` counts the item's changes in all, `first_change` is the first one recorded, whatever was selected.
    """

    def __init__(
        self,
        versions: Sequence[Version],
        *,
        total: int,
        first_change: Change | None,
        plan: ReadPlan,
        redaction: Redaction = NOTHING_REDACTED,
    ) -> None:
        self._versions = tuple(versions)
        self.total = total
        self.first_change = first_change
        self.redaction = redaction
        self.plan = plan

    def __len__(self) -> int:
        return len(self._versions)

    # Not `@overload`: its registry outlives modules, and DuckDB then complains on stderr when the process ends.
    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, int):
            return self._versions[index]
        return History(
            self._versions[index],
            total=self.total,
            first_change=self.first_change,
            plan=self.plan,
            redaction=self.redaction,
        )

    def __iter__(self) -> Iterator[Version]:
        return iter(self._versions)

    def __repr__(self) -> str:
        return f"History({len(self)} of {self.total} changes)"


def versions_of(changes: Sequence[Change], redaction: Redaction = NOTHING_REDACTED) -> list[Version]:
    """The versions of one item, oldest first, each knowing its neighbours."""
    versions: list[Version] = []
    for change, following in zip(changes, [*changes[1:], None], strict=False):
        version = Version(
            item_key=change.item_key,
            image=None if change.op == "REMOVE" else change.new_image,
            change=change,
            valid_from_ms=change.effective_ms,
            valid_to_ms=None if following is None else following.effective_ms,
            redaction=redaction,
        )
        versions.append(version)
    # Neighbours are tied afterwards, once: a version is frozen for everybody else.
    for earlier, later in pairwise(versions):
        object.__setattr__(earlier, "next", later)
        object.__setattr__(later, "prev", earlier)
    return versions
