"""A table at two moments: which items were added, removed or modified in between.

Joined by the engine, images compared as values. Invariant: an item of which one of the two states cannot tell is in no
row; it is named in `unknown`, or in `conflicts`.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

import pyarrow as pa

from archiver.format.values import same_attributes
from query.answer import Outcome
from query.conflicts import Conflict
from query.derived.by_key import Wanted
from query.diff import AttributeChange, changed_attributes, changes
from query.engine import Question
from query.instant import Instant
from query.masked import Masked
from query.plan import neighbours
from query.redaction import NOTHING_REDACTED, Redaction
from query.rev import Rev
from query.shown import Tabular
from query.state import reconstruct
from query.table_state import TableState

if TYPE_CHECKING:
    from query.table import Table

DiffType = Literal["added", "removed", "modified"]


@dataclass(frozen=True, slots=True, repr=False)
class ItemChange(Masked):
    """One item that differs. Images are canonical DynamoDB JSON, None where the item did not exist.

    `change_id` and `changed_at_ms` (epoch ms) are of the change that left the newer state, if one is recorded.
    """

    item_key: str
    old_image: str | None
    new_image: str | None
    change_id: str | None
    changed_at_ms: int | None
    redaction: Redaction = field(default=NOTHING_REDACTED, repr=False, compare=False)

    @property
    def diff_type(self) -> DiffType:
        """`added`, `removed` or `modified`."""
        return "added" if self.old_image is None else "removed" if self.new_image is None else "modified"

    @property
    def changes(self) -> tuple[AttributeChange, ...]:
        """Every attribute that differs."""
        found = changes(self.old_image, self.new_image)
        return tuple(replace(one, redaction=self.redaction) for one in found) if self.redaction.paths else found

    @property
    def changed_attributes(self) -> tuple[str, ...]:
        """The attributes of top level that differ."""
        return changed_attributes(self.old_image, self.new_image)


class Comparison(Tabular):
    """What differs between two states; iterate it as often as you like, and close it.

    `unknown` are the keys of items, in order, of which one state cannot tell while the other shows them, or that a fact
    tells of; `conflicts` give no answer.
    """

    def __init__(self, question: Question, older: TableState, newer: TableState, unknown: tuple[str, ...]) -> None:
        self._question = question
        self.table_name, self.redaction = newer.table_name, newer.redaction
        self.older_at: Instant | Rev = older.at
        self.newer_at: Instant | Rev = newer.at
        self.has_floor = older.has_floor and newer.has_floor
        self.unknown = unknown
        self.conflicts: tuple[Conflict, ...] = tuple(dict.fromkeys((*older.conflicts, *newer.conflicts)))
        self.plans = (older.plan, newer.plan)

    def __iter__(self) -> Iterator[ItemChange]:
        for batch in self._question.batches("compared_states"):
            for row in batch.to_pylist():
                change = ItemChange(**row, redaction=self.redaction)
                if change.diff_type != "modified" or not same_attributes(change.old_image, change.new_image):
                    yield change

    def stat(self) -> dict[str, dict[str, int]]:
        """How many items: by `diff_type`, and of those modified by `attribute`."""
        kinds: Counter[str] = Counter()
        attributes: Counter[str] = Counter()
        for change in self:
            kinds[change.diff_type] += 1
            if change.diff_type == "modified":
                attributes.update(change.changed_attributes)
        return {"diff_type": dict(kinds), "attribute": dict(attributes)}

    def close(self) -> None:
        """Gives back the memory and disk that the engine holds for it; nothing can be read of it afterwards."""
        self._question.close()


def compare(table: "Table", older: Any, newer: Any) -> Comparison:
    """What differs from the state at `older` to that at `newer`; both as `Table.as_of` takes them. Raises as that."""
    question = table.engine.ask()
    try:
        with closing(table.as_of(older)) as before, closing(table.as_of(newer)) as after:
            unknown = {*_unknown(before), *_unknown(after)}
            conflicting = [conflict.item_key for state in (before, after) for conflict in state.conflicts]
            question.set("left_out", [*unknown, *conflicting])
            question.run("compare_tables")
            for name, state in (("older", before), ("newer", after)):
                for batch in state.batches(in_order=False):
                    question.register("compare_batch", pa.Table.from_batches([batch]))
                    question.run(f"compare_add_{name}")
            unknown |= {*_untold(question, table, before, "only_newer"), *_untold(question, table, after, "only_older")}
            return Comparison(question, before, after, tuple(sorted(unknown)))
    except BaseException:
        question.close()
        raise


def _unknown(state: TableState) -> list[str]:
    """The items of which a state cannot tell; their names are only looked for where there are any."""
    if not state.unknown:
        return []
    return [one.item_key for one in state.all_states() if one.outcome is Outcome.UNKNOWN]


def _untold(question: Question, table: "Table", state: TableState, others: str) -> list[str]:
    """The items of the other state of which this one cannot say that they did not exist; they are left out.

    That an item is not in a state says so only where a complete baseline beside it does, which never names what it does
    not have (`docs/answers.md`, *State*). Without any baseline every item has a change, and each is told.
    """
    if not table.evidence.baselines or _tells_absence(table, state):
        return []
    keys = [item_key for (item_key,) in question.rows(f"compare_{others}")]
    if not keys:
        return []
    moment = table.moment(state.at)
    plan = table.plan_item_state(state.at, moment, Wanted())
    with closing(reconstruct(table.engine.ask(), table.reader, table.evidence, plan, moment, keys)) as found:
        known = {one.item_key for one in found.all() if one.outcome is not Outcome.UNKNOWN}
    unknown = [key for key in keys if key not in known]
    question.run("compare_leave_out", {"item_keys": unknown})
    return unknown


def _tells_absence(table: "Table", state: TableState) -> bool:
    """Whether an item of which no fact is told did not exist: a baseline of the label that covers the moment says so,
    or one before it and one after it agree.
    """
    moment = table.moment(state.at)
    floor, ceiling = neighbours(table.evidence.baselines, moment.at_ms, is_cut=moment.cut is not None)
    covering = state.coverage.covering(moment.at_ms) if moment.cut is None else moment.cut[0]
    labels = {one.description.stream_label for one in (floor, ceiling) if one is not None}
    return (floor is not None and ceiling is not None) or covering in labels - {None}
