"""The changes of items in order, duplicates removed: from rows of evidence to histories. Pure but for reading rows.

Invariant: order is stream label and sequence number, never time; an item with a change in conflict has no history.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from archiver.format.layout import Trail
from query.actor import NOBODY_NAMED, Attribution
from query.answer import Change, Version
from query.conflicts import Conflict, find_conflicts
from query.errors import IdentityConflict
from query.plan import ReadPlan
from query.redaction import NOTHING_REDACTED, Redaction
from query.shown import Tabular
from query.tellers import Tellers

if TYPE_CHECKING:
    import pyarrow as pa


class ChangeRow(NamedTuple):
    """A row of evidence as statements select it: columns of a segment (`docs/format.md`), times in epoch ms, and the
    number of the segment that tells of it.
    """

    change_id: str
    op: str
    changed_at_ms: int
    sequence_number: str
    stream_label: str
    item_key: str
    pk: str | None
    sk: str | None
    old_image: str | None
    new_image: str | None
    user_identity: str | None
    event: str
    told_by: int

    @classmethod
    def all_of(cls, rows: "pa.Table | pa.RecordBatch") -> list[Self]:
        """The rows of a table that has these columns, and maybe others. Column by column, which takes half as long."""
        columns = (rows.column(name).to_pylist() for name in cls._fields)
        return list(map(cls._make, zip(*columns, strict=True)))

    @property
    def identity(self) -> tuple[str, str]:
        """Which change of its item it tells of: its order too."""
        return self.stream_label, self.sequence_number


def changes_of_item(
    trail: Trail,
    rows: Sequence[ChangeRow],
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
        in_order.sort(key=lambda row: (*row.identity, tellers.is_sealed(row.told_by) is False))
    last, effective_ms = None, 0
    for row in in_order:
        if row.identity == last:
            continue
        last, effective_ms = row.identity, max(effective_ms, row.changed_at_ms) if changes else row.changed_at_ms
        changes.append(change_of(trail, row, tellers, attribution, redaction, effective_ms=effective_ms))
    return changes


def _identity(row: ChangeRow) -> tuple[str, str]:
    return row.identity


def _is_told_again(rows: Sequence[ChangeRow]) -> bool:
    """Whether several rows of an item tell of the same change."""
    return len(set(map(_identity, rows))) < len(rows)


def change_of(
    trail: Trail,
    row: ChangeRow,
    tellers: Tellers,
    attribution: Attribution = NOBODY_NAMED,
    redaction: Redaction = NOTHING_REDACTED,
    *,
    effective_ms: int | None = None,
) -> Change:
    """One row as a change; its effective time is that of the row alone, unless it is known."""
    return Change(
        trail,
        row.change_id,
        row.op,
        row.changed_at_ms,
        row.changed_at_ms if effective_ms is None else effective_ms,
        row.sequence_number,
        row.stream_label,
        row.item_key,
        row.pk,
        row.sk,
        row.old_image,
        row.new_image,
        row.user_identity,
        row.event,
        tellers,
        row.told_by,
        attribution,
        redaction,
    )


def conflicts_of(
    rows: Sequence[ChangeRow], tellers: Tellers, redaction: Redaction = NOTHING_REDACTED
) -> tuple[Conflict, ...]:
    """The changes that rows of an item contradict each other about."""
    told = [
        (
            row.item_key,
            row.stream_label,
            row.sequence_number,
            row.op,
            row.changed_at_ms,
            row.old_image,
            row.new_image,
            row.told_by,
        )
        for row in rows
    ]
    return find_conflicts(told, tellers, redaction)


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
