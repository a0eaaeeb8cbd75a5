"""Counts: what `log --stat` writes, and the command stats."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from query.cli.exits import FOUND
from query.cli.options import DEFAULTS, Explain, Options, Table, Which

if TYPE_CHECKING:
    from query.cli.invocation import Invocation
    from query.table import Table as Trail

_MOST_SHOWN = 50  # lines of one kind on a terminal, unless everything is asked for


def show_stat(
    run: "Invocation",
    table: "Trail",
    which: Which,
    since_ms: int | None,
    until_ms: int | None,
    where: str | None,
) -> int:
    """Writes how many changes there are, by op, actor, attribute and day or minute; the exit code."""
    from query.change_stat import bucket_ms, change_stat
    from query.cli.outcome import nothing_found
    from query.cli.table import tell_conflicts
    from query.operations import parse_operations
    from query.render.counts import count_sheet, count_views
    from query.render.text import counted

    ops = parse_operations(which.op)
    bucket = bucket_ms(since_ms, run.now_ms if until_ms is None else min(until_ms, run.now_ms))
    redaction = run.redaction(table)
    asked: dict[str, Any] = {"since_ms": since_ms, "until_ms": until_ms, "ops": ops}
    asked |= {"actor": which.actor, "attributes": which.attr}
    found = change_stat(table, **asked, where=where, bucket=bucket)
    views = count_views(found.counts, redaction, found.attribution)
    run.write(count_sheet(_shown(run, views)))
    code = tell_conflicts(found.conflicts, redaction)
    if not found.total and not code:
        raise nothing_found(run, table, table.name, None, since_ms, until_ms)
    run.note(f"{counted(found.total, 'change')} counted.")
    run.note_plan(found.plan)
    return code


def stats(
    table: Table,
    /,
    *,
    top: Annotated[int, Parameter(help="How many of the busiest and of the largest items.")] = 10,
    explain: Explain = False,
    options: Options = DEFAULTS,
) -> int:
    """Show a table in figures.

    Its items now and the largest of them; all its changes by op, actor, attribute and day, and the items that have
    most.
    """
    from query.cli.invocation import Invocation
    from query.cli.table import tell_conflicts
    from query.errors import UsageError
    from query.instant import Instant, format_ms
    from query.render.counts import CountView, count_sheet, count_views, key_value
    from query.render.text import counted
    from query.table_stats import table_stats

    if top < 0:
        raise UsageError(f"--top {top} is no number of items", hint="type --top 10, or --top 0 for none")
    run = Invocation(options)
    found = run.table(table)
    now = Instant(run.now_ms, "now", format_ms(run.now_ms))
    if explain:
        return run.explain(found.plan_changes())
    told = table_stats(found, now, top=top)
    redaction = run.redaction(found)
    views = [
        CountView("table", "items", told.items, size_bytes=told.size_bytes),
        *([CountView("table", "items unknown", told.unknown)] if told.unknown else []),
        CountView("table", "changes", told.changes.total),
        *count_views(told.changes.counts, redaction, found.attribution),
        *(
            CountView("largest item", key_value(one.item_key, redaction), size_bytes=one.size_bytes)
            for one in told.largest
        ),
    ]
    run.write(count_sheet(_shown(run, views), has_sizes=True))
    run.note(f"{counted(told.items, 'item')} as of {now.spelled}, {counted(told.changes.total, 'change')}")
    run.note_plan(told.changes.plan)
    return tell_conflicts(told.conflicts, redaction) or FOUND


def _shown(run: "Invocation", views: Sequence[Any]) -> list[Any]:
    """All lines for machines and files; of each kind the first ones on a terminal."""
    if not (run.target.is_terminal and run.target.output == "table") or run.options.full:
        return list(views)
    shown: list[Any] = []
    left_out: dict[str, int] = {}
    for view in views:
        if sum(one.by == view.by for one in shown) < _MOST_SHOWN:
            shown.append(view)
        else:
            left_out[view.by] = left_out.get(view.by, 0) + 1
    for by, number in left_out.items():
        run.note(f"{number} more by {by} (--full)")
    return shown
