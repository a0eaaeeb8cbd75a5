"""The command blame: who set each attribute of an item."""

from typing import Annotated

from cyclopts import Parameter

from query.cli.exits import FOUND
from query.cli.options import DEFAULTS, Explain, NamedKey, OneKey, Options, Table


def blame(
    table: Table,
    /,
    *key: OneKey,
    named_key: NamedKey = (),
    at: Annotated[
        str, Parameter(help="An instant or a change: 2026-09-16, 3d ago, @9f31c2, @9f31c2~1, first, ~1.")
    ] = "now",
    attr: Annotated[
        tuple[str, ...], Parameter(name="--attr", negative=(), help="This attribute, such as lines[2].qty.")
    ] = (),
    nested: Annotated[
        bool, Parameter(negative=(), help="Each value inside lists and maps, not only attributes of top level.")
    ] = False,
    removed: Annotated[bool, Parameter(negative=(), help="Also those that were taken away since.")] = False,
    explain: Explain = False,
    options: Options = DEFAULTS,
) -> int:
    """Show which change set each attribute of an item, and by whom.

    Times tell how often it has changed since the item was last created. Where no recorded change can be blamed, the
    reason says why: the attribute is from before the first one, or was changed by one that is missing, in the time from
    changed_from until changed_until. An item that did not exist is answered as by `get` (exit codes 1 and 3).
    """
    from query.cli.invocation import Invocation
    from query.cli.outcome import note_unsealed_item
    from query.diff import parse_path
    from query.errors import NoVersion
    from query.render.blame import BlameView, blame_sheet

    for path in attr:
        parse_path(path)
    run = Invocation(options)
    found = run.table(table)
    item = found.item(*key, named=named_key)
    if explain:
        return run.explain(item.plan)
    rows = item.blame(at, attributes=attr, nested=nested, removed=removed)
    if not rows:
        raise NoVersion(
            f"{item.named} has none of {', '.join(attr)}",
            why="nor did it have any since it was last created",
            hint="ddbtrail history TABLE KEY --attr PATH shows earlier changes",
        )
    run.write(blame_sheet([BlameView(found.name, item.item_key, row, run.redaction(found)) for row in rows]))
    if unrecorded := sum(row.reason == "not-recorded" for row in rows):
        run.warn(f"{unrecorded} changed while no change was recorded; ddbtrail coverage {found.name} shows where")
    run.note_plan(item.plan)
    if item.plan.unsealed and item.unsealed:
        note_unsealed_item(run, found, item)
    return FOUND
