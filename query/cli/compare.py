"""The command compare: what differs between a table then and a table later."""

from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from query.cli.exits import FOUND, NOT_COVERED
from query.cli.options import DEFAULTS, Explain, Options, Table

if TYPE_CHECKING:
    from query.cli.invocation import Invocation
    from query.compare import Comparison, ItemChange
    from query.redaction import Redaction

_NAMED = 10  # unknown items that are named on stderr


def compare(
    table: Table,
    /,
    *,
    older: Annotated[str, Parameter(name="--from", help="An instant, or @ID of a change: 2026-06-30T23:59:59Z.")],
    newer: Annotated[str, Parameter(name="--to", help="The same.")] = "now",
    stat: Annotated[bool, Parameter(negative=(), help="Only how many items, and which attributes.")] = False,
    exit_code: Annotated[bool, Parameter(negative=(), help="Exit with 1 if they differ.")] = False,
    strict: Annotated[bool, Parameter(negative=(), help="Exit with 3 if the trail cannot tell of some items.")] = False,
    explain: Explain = False,
    options: Options = DEFAULTS,
) -> int:
    """Show which items of a table were added, removed or modified between two moments.

    Both states are those of `as-of`: all changes up to and including that second count. What happened in between and
    was undone does not show; `log` tells of it. Items of which one state cannot tell are left out, counted and named
    on stderr.
    """
    from query.cli.exits import NOT_FOUND
    from query.cli.invocation import Invocation, at_text
    from query.cli.table import tell_conflicts
    from query.render.comparison import ItemChangeView, comparison_sheet
    from query.render.counts import CountView, count_sheet

    run = Invocation(options, is_paged=True)
    found = run.table(table)
    ends = found.resolve(older), found.resolve(newer)
    if explain:
        for at in ends:
            run.explain(found.plan_as_of(at, found.moment(at)))
        return FOUND
    redaction = run.redaction(found)
    kinds: Counter[str] = Counter()
    attributes: Counter[str] = Counter()

    def told(items: "Comparison") -> "Iterator[ItemChange]":
        for item in items:
            kinds[item.diff_type] += 1
            yield item

    with closing(found.compare(*ends)) as comparison:
        if stat:
            for item in told(comparison):
                attributes.update(item.changed_attributes if item.diff_type == "modified" else ())
            by_attribute = sorted(attributes.items(), key=lambda one: (-one[1], one[0]))
            views = [CountView("diff_type", name, kinds[name]) for name in ("added", "removed", "modified")]
            run.write(count_sheet([*views, *(CountView("attribute", name, count) for name, count in by_attribute)]))
        else:
            shown = (ItemChangeView(found.name, item, redaction) for item in told(comparison))
            run.write(comparison_sheet(shown))
        _tell(run, comparison, kinds, " to ".join(map(at_text, ends)), redaction)
        for plan in comparison.plans:
            run.note_plan(plan)
        code = tell_conflicts(comparison.conflicts, redaction)
        if strict and comparison.unknown:
            code = code or NOT_COVERED
    return code or (NOT_FOUND if exit_code and kinds else FOUND)


def _tell(
    run: "Invocation", comparison: "Comparison", kinds: "Counter[str]", ends: str, redaction: "Redaction"
) -> None:
    from query.render.text import counted, grouped

    parts = [f"{grouped(kinds[name])} {name}" for name in ("added", "removed", "modified")]
    run.note(f"{', '.join(parts)}, from {ends}")
    if comparison.unknown:
        count = len(comparison.unknown)
        run.warn(f"{counted(count, 'item')} left out: of one of the two moments the trail cannot tell (ddbtrail get)")
        for item_key in comparison.unknown[:_NAMED]:
            run.note(f"  unknown: {redaction.key(item_key)}")
        if count > _NAMED:
            run.note(f"  and {grouped(count - _NAMED)} more")
    if not comparison.has_floor:
        run.note("no baseline: items that never changed are not known, and did not differ")
