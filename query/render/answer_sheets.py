"""The sheet of each kind of answer: the columns and the masks that the command line has for it."""

from collections.abc import Iterable, Iterator
from functools import singledispatch
from typing import Any, Final

import orjson

from archiver.format.values import plain
from query.blame import ItemBlame
from query.change_stat import ChangeStat
from query.changes import Changes
from query.compare import Comparison, ItemChange
from query.coverage import Coverage
from query.history import History
from query.item import Diff
from query.reconcile import Reconciliation
from query.redaction import Redaction
from query.render.answers import answer_sheet
from query.render.blame import BlameView, blame_sheet
from query.render.comparison import ItemChangeView, comparison_sheet
from query.render.counts import count_sheet, count_views
from query.render.records import change_sheet, difference_sheet, state_sheet
from query.render.sheet import Column, Json, Sheet
from query.render.verification import verification_sheet
from query.render.views import ChangeView, StateView, key_cell
from query.sql_session import SqlAnswer
from query.table_state import TableState
from query.verify.verification import Verification


@singledispatch
def sheet_of(answer: object) -> Sheet:
    """The rows of an answer, read as they are written."""
    raise TypeError(f"{type(answer).__name__} is no answer of rows")


@sheet_of.register
def _(answer: History) -> Sheet:
    changes = (version.change for version in answer)
    return change_sheet(ChangeView(change, answer.redaction) for change in changes if change is not None)


@sheet_of.register
def _(answer: Changes) -> Sheet:
    return change_sheet(ChangeView(change, answer.redaction) for change in answer)


@sheet_of.register
def _(answer: Diff) -> Sheet:
    return difference_sheet(answer.redaction.change(change) for change in answer.changes)


@sheet_of.register
def _(answer: ItemBlame) -> Sheet:
    return blame_sheet([BlameView(answer.table_name, answer.item_key, row, answer.redaction) for row in answer])


@sheet_of.register
def _(answer: Comparison) -> Sheet:
    return item_change_sheet(answer.table_name, answer, answer.redaction)


@sheet_of.register
def _(answer: ChangeStat) -> Sheet:
    return count_sheet(count_views(answer.counts, answer.redaction, answer.attribution))


@sheet_of.register
def _(answer: TableState) -> Sheet:
    states = (StateView(state, answer.redaction) for state in answer.states())
    return state_sheet(states, with_guesses=answer.has_guesses)


@sheet_of.register
def _(answer: SqlAnswer) -> Sheet:
    table = answer.arrow()
    return answer_sheet(table.schema, table.to_batches())


@sheet_of.register
def _(answer: Reconciliation) -> Sheet:
    names = tuple(column.name for column in ITEM_DIFFERENCE_COLUMNS)
    views = ((difference, answer.redaction) for difference in answer.differences)
    return Sheet(ITEM_DIFFERENCE_COLUMNS, views, names, names)


@sheet_of.register
def _(answer: Verification) -> Sheet:
    return verification_sheet(answer)


@sheet_of.register
def _(answer: Coverage) -> Sheet:
    names = tuple(column.name for column in STRETCH_COLUMNS)
    return Sheet(STRETCH_COLUMNS, answer.stretches, names, names)


STRETCH_COLUMNS: Final = (
    Column("since", lambda stretch: stretch.since_ms, "time"),
    Column("until", lambda stretch: stretch.until_ms, "time"),
    Column("stream_label", lambda stretch: stretch.stream_label),
)
# Of pairs: an `ItemDifference`, and what is masked in it.
ITEM_DIFFERENCE_COLUMNS: Final = (
    Column("kind", lambda pair: pair[0].kind.value),
    Column("item_key", lambda pair: key_cell(pair[0].item_key, pair[1]), "json"),
    Column("changed_attributes", lambda pair: Json(list(pair[0].changed_attributes)), "json"),
    Column("change_id", lambda pair: pair[0].change_id, "change"),
    Column("changed_at", lambda pair: pair[0].changed_at_ms, "time"),
)


def item_change_sheet(table_name: str, items: Iterable[ItemChange], redaction: Redaction) -> Sheet:
    """The items of a comparison, or some of them."""
    return comparison_sheet(ItemChangeView(table_name, item, redaction) for item in items)


def attributes_sheet(image: str | None, redaction: Redaction) -> Sheet:
    """The attributes of one item, each a row, masked."""
    columns = (Column("attribute", lambda row: row[0]), Column("value", lambda row: Json(row[1]), "json"))
    return Sheet(columns, _attributes(image, redaction), ("attribute", "value"), ("attribute", "value"))


def _attributes(image: str | None, redaction: Redaction) -> Iterator[tuple[str, Any]]:
    masked = redaction.image(image)
    for name, value in sorted(orjson.loads(masked or "{}").items()):
        yield name, plain(value)
