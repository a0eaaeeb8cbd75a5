"""The four answers to "what was this item then", and the two kinds of "nothing": none, and not known."""

import shlex
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

import orjson

from archiver.format.values import plain_attributes
from query.answer import Outcome
from query.cli.exits import FOUND, NOT_COVERED, NOT_FOUND
from query.cli.invocation import Invocation
from query.errors import NoVersion, OutsideCoverage
from query.instant import echo_range, format_ms
from query.render.records import answer_sheet
from query.render.sheet import as_json
from query.render.story import actor_text
from query.render.text import counted, visible
from query.render.views import AnswerView, image_cell

if TYPE_CHECKING:
    from query.item import Item, ItemState
    from query.redaction import Redaction
    from query.table import Table

_WORDS_WIDTH: Final = 18
_OFFER: Final = "; add --best-effort"  # with what an answer offers to those who have not asked for a guess


def show_answer(run: Invocation, table: "Table", item: "Item", answer: "ItemState", *, with_guess: bool) -> int:
    """Writes what an item was, or in words why there is nothing to show; the exit code."""
    redaction = run.redaction(table)
    explanation = answer.explanation.replace("ddbtrail get … ", f"ddbtrail get {table.name} {_named(item, redaction)} ")
    is_guess = with_guess and answer.state.is_guess
    if is_guess:
        explanation = explanation.partition(_OFFER)[0]
        run.warn(f"this is a guess: {explanation}")
    view = AnswerView(
        table.name, answer.state, answer.at, explanation, answer.version, answer.is_sealed, redaction=redaction
    )
    is_shown = answer.state.image is not None and (answer.state.outcome is Outcome.EXISTED or is_guess)
    _write(run, view, is_shown=is_shown)
    run.note_plan(answer.plan)
    if answer.is_sealed is False:
        note_unsealed_item(run, table, item)
    if is_shown:
        return FOUND
    return NOT_COVERED if answer.state.outcome is Outcome.UNKNOWN and not is_guess else NOT_FOUND


def note_unsealed_item(run: Invocation, table: "Table", item: "Item") -> None:
    """Says what of an item's changes is not sealed yet; if all are, then it is the baseline that was asked."""
    if item.unsealed:
        run.note_unsealed(table, item.unsealed, f"the item's {counted(len(item.changes), 'change')}")
    elif table.sealed_to_ms is not None:
        run.note(f"the baseline that was asked is not sealed yet (sealed to {format_ms(table.sealed_to_ms)})")


def nothing_found(
    run: Invocation, table: "Table", named: str, total: int | None, since_ms: int | None, until_ms: int | None
) -> NoVersion:
    """The error for no change at all: that there is none, or that the trail does not cover the time asked about.
    `total` is how many changes there are whatever was asked, None of a whole table.
    """
    coverage = table.coverage()
    covered_since_ms = coverage.covered_since_ms
    why = f"{table.name} has no recorded change"
    if covered_since_ms is not None:
        why = f"{table.name} is covered from {format_ms(covered_since_ms)} on"
    if not _is_covered(coverage, since_ms, until_ms, run.now_ms):
        if covered_since_ms is not None and until_ms is not None and until_ms > covered_since_ms:
            why = "it lies in a gap, of which no change was archived"
        return OutsideCoverage(
            f"the trail does not cover {echo_range(since_ms, until_ms, '')}",
            why=why,
            hint=f"ask about a time that is covered: ddbtrail coverage {table.name} says which that is",
        )
    if total is None:
        return NoVersion(
            f"no change of {named} matches",
            why=why,
            hint=f"ask about a longer time, or for less; ddbtrail coverage {named} shows where changes may be missing",
        )
    if total:
        return NoVersion(f"no change of {named} matches", why=f"it has {counted(total, 'change')}", hint="ask for less")
    return NoVersion(
        f"no change of {named} is recorded",
        why=why,
        hint="check the key; ddbtrail get also asks baselines, which know items that never changed",
    )


def _is_covered(coverage: Any, since_ms: int | None, until_ms: int | None, now_ms: int) -> bool:
    """Whether any covered stretch meets a half-open range."""
    return any(
        (until_ms is None or stretch.since_ms < until_ms)
        and (since_ms is None or since_ms <= (now_ms if stretch.until_ms is None else stretch.until_ms))
        for stretch in coverage.stretches
    )


def _write(run: Invocation, view: AnswerView, *, is_shown: bool) -> None:
    match run.target.output:
        case "ddb-json":
            run.note(_told(view, is_shown=is_shown))
            run.target.write(_image_lines(run, view) if is_shown else ())
        case "json" if not run.picked_columns:
            run.write_document(as_json(answer_sheet(view).for_machines(), view))
        case "table" if not run.picked_columns and is_shown:
            run.note(_told(view, is_shown=True))
            run.target.write(_item_lines(view))
        case _:
            run.write(answer_sheet(view), lambda: [_told(view, is_shown=is_shown) + "\n"])


def _told(view: AnswerView, *, is_shown: bool) -> str:
    """The answer in words; an item that is shown needs no more than which version it is."""
    if is_shown:
        by = "" if view.made_by is None else actor_text(view.made_by)
        return visible(view.explanation) + (f", written by {by}" if by else "")
    words = view.state.outcome.value.replace("-", " ")
    return visible(f"{words:<{_WORDS_WIDTH}}{view.explanation}")


def _image_lines(run: Invocation, view: AnswerView) -> list[str]:
    cell = image_cell(view.state.image, view.redaction)
    assert cell is not None
    if cell.text != view.state.image:
        run.warn("attributes are redacted: this is not the image as it was")
    return [visible(cell.text) + "\n" if run.target.is_terminal else cell.text + "\n"]


def _item_lines(view: AnswerView) -> Iterator[str]:
    masked = view.redaction.image(view.state.image)
    assert masked is not None
    item = plain_attributes(orjson.loads(masked))
    for line in orjson.dumps(item, option=orjson.OPT_INDENT_2).decode().splitlines():
        yield visible(line) + "\n"


def _typed(key: Any) -> str:
    """A key as it is typed after a table's name."""
    return " ".join(_argument(tag, text) for ((tag, text),) in (value.items() for value in key.values()))


def _named(item: "Item", redaction: "Redaction") -> str:
    """A key as it is typed, left open where an attribute of it is masked."""
    return _typed(item.key) if redaction.key(item.item_key) == item.item_key else "KEY"


def _argument(tag: str, text: str) -> str:
    return shlex.quote(f"b64:{text}" if tag == "B" else text)
