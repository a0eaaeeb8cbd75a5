"""What `follow --compare` shows: counts, each change on which stream and archive disagree, and what cannot be seen."""

from collections.abc import Iterator
from typing import Any, Final

from query.instant import format_ms
from query.operate.finding import Finding, failed, not_checked, passed
from query.redaction import Redaction
from query.render.findings import finding_lines, wrapped
from query.render.ids import short_ids
from query.render.sheet import Column, Sheet, as_json
from query.render.story import key_text
from query.render.text import Look, counted, elide, grouped, visible
from query.render.views import key_cell
from query.second_reader import CANNOT_SEE, Comparison, Disagreement

_SHOWN: Final = 20  # changes on a terminal
CHECK: Final = "second-reader"


def disagreement_columns(redaction: Redaction) -> tuple[Column, ...]:
    """The columns of a disagreement; keys pass the redaction."""
    return (
        Column("kind", lambda one: one.kind.value),
        Column("item_key", lambda one: key_cell(one.item_key, redaction), "json"),
        Column("op", lambda one: one.op),
        Column("change_id", lambda one: one.change_id, "change"),
        Column("changed_at", lambda one: one.changed_at_ms, "time"),
        Column("sequence_number", lambda one: one.sequence_number),
        Column("segment", lambda one: one.segment),
    )


def disagreement_sheet(found: Comparison, redaction: Redaction) -> Sheet:
    """A row for each change on which stream and archive disagree."""
    columns = disagreement_columns(redaction)
    names = tuple(column.name for column in columns)
    return Sheet(columns, found.disagreements, names, names[:5])


def comparison_findings(found: Comparison) -> Iterator[Finding]:
    """What was found, in words: one line, and one more for what could not be read."""
    whole = f"{grouped(found.agreed)} of {counted(found.read, 'change')} in the stream archived as they are"
    young = f"; {grouped(found.in_flight)} on their way" if found.in_flight else ""
    wrong = [
        f"{grouped(number)} {what}"
        for number, what in (
            (found.different, "archived with other content"),
            (found.invented, "archived that the stream does not hold"),
            (found.missing, "missing in the archive"),
            (len(found.set_aside), "not understood and not in quarantine"),
        )
        if number
    ]
    if found.different or found.invented:
        fix = "somebody wrote evidence that is not true: find out who can write to the archive (docs/operations.md)"
        yield failed(CHECK, f"{', '.join(wrong)} ({whole}{young})", fix)
    elif wrong:
        fix = "archive them while the stream has them: ddbtrail follow --stream ARN, and ddbtrail replay"
        yield failed(CHECK, f"{', '.join(wrong)} ({whole}{young})", fix)
    elif not found.read:
        yield passed(CHECK, "the stream holds no change: there was nothing to compare")
    else:
        yield passed(CHECK, whole + young)
    for loss in found.losses:
        yield not_checked(CHECK, loss)


def comparison_document(found: Comparison, table_name: str, redaction: Redaction) -> dict[str, Any]:
    """The whole comparison as one JSON document."""
    columns = disagreement_columns(redaction)
    judged = found.judged
    return {
        "table_name": table_name,
        "stream_label": found.stream_label,
        "read": found.read,
        "archived": found.archived,
        "agreed": found.agreed,
        "in_flight": found.in_flight,
        "missing": found.missing,
        "different": found.different,
        "invented": found.invented,
        "set_aside_and_not_in_quarantine": list(found.set_aside),
        "invented_would_be_seen": None
        if judged is None
        else {"since": format_ms(judged[0]), "until": format_ms(judged[1])},
        "not_read": list(found.losses),
        "cannot_see": CANNOT_SEE,
        "disagreements": [as_json(columns, one) for one in found.disagreements],
    }


def comparison_lines(found: Comparison, table_name: str, redaction: Redaction, look: Look) -> Iterator[str]:
    """The comparison for people."""
    yield f"{look.paint(visible(table_name), 'head')}  stream {found.stream_label}  times are UTC, 1 s resolution\n\n"
    yield from finding_lines(list(comparison_findings(found)), look)
    some = found.disagreements[: None if look.is_full else _SHOWN]
    if some:
        yield "\n"
        ids = short_ids(one.change_id for one in some)
        for one in some:
            line = _line(one, ids[one.change_id], redaction)
            yield f"{line if look.width is None or look.is_full else elide(line, look.width)}\n"
    if len(found.disagreements) > len(some):
        yield f"… {counted(len(found.disagreements) - len(some), 'more change')} (-o jsonl lists all)\n"
    yield "\n"
    for text in _blind(found):
        lines = [text] if look.width is None else wrapped(text, look.width, "")
        yield from (f"{line}\n" for line in lines)


def _line(one: Disagreement, name: str, redaction: Redaction) -> str:
    told = f"{one.kind.value:<9}  {key_text(one.item_key, redaction)}  {name} {format_ms(one.changed_at_ms)}  {one.op}"
    return f"{told}  {visible(one.segment)}" if one.segment else told


def _blind(found: Comparison) -> Iterator[str]:
    yield f"{CHECK} cannot see {CANNOT_SEE}"
    if found.judged is None:
        yield "of changes that were invented nothing can be said: the stream held too little to judge by"
    else:
        since, until = map(format_ms, found.judged)
        yield f"changes that were invented would have been seen from {since} to {until}"
