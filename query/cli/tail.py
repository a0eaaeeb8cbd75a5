"""The command tail: the newest changes of a table, and those that come.

Waiting, signals and the clock are met here, and nowhere below.
"""

import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated, Final

from cyclopts import Parameter

from query.cli.exits import FAILED, FOUND, INTERRUPTED
from query.cli.options import DEFAULTS, Attributes, Options, Table

if TYPE_CHECKING:
    from query.answer import Change
    from query.cli.histories import Filter
    from query.cli.invocation import Invocation
    from query.conflicts import Conflict
    from query.table import Table as Trail

_LOOKED_BACK_MS: Final = 24 * 3_600_000
_STREAMED: Final = ("table", "jsonl")


def tail(
    table: Table,
    /,
    *,
    limit: Annotated[
        int, Parameter(name=["-n", "--limit"], help="How many of the last day's changes; 0 for none.")
    ] = 10,
    follow: Annotated[
        bool, Parameter(name=["--follow", "-f"], negative=(), help="Go on with those that come.")
    ] = False,
    every: Annotated[str, Parameter(help="With -f: look again after so long.")] = "10s",
    until_seconds: Annotated[int | None, Parameter(help="With -f: end after so many seconds.")] = None,
    attr: Attributes = (),
    op: Annotated[str | None, Parameter(help="insert, modify, remove, separated by commas.")] = None,
    actor: Annotated[str | None, Parameter(help="Only changes made by this actor.")] = None,
    patch: Annotated[
        bool, Parameter(name=["--patch", "-p"], negative=(), help="Show what changed, attribute by attribute.")
    ] = False,
    options: Options = DEFAULTS,
) -> int:
    """Show the newest changes of a table, oldest first, and with -f those that come.

    With -f the archive is looked at again and again: each change is shown once, in the order in which it was archived,
    which is not always that of time. What is not archived yet is not shown; stderr says how old the newest change is.
    Written as a table or as jsonl. Ctrl-C ends it (130); --until-seconds ends it by itself (0).
    """
    from query.arrivals import Arrivals
    from query.cli.durations import duration_ms
    from query.cli.follow import stopped_by_signals
    from query.cli.histories import Filter
    from query.cli.invocation import Invocation
    from query.diff import parse_path
    from query.errors import UsageError
    from query.operations import parse_operations

    wait_ms, ops = duration_ms(every, "--every"), parse_operations(op)
    if limit < 0 or (until_seconds is not None and until_seconds < 0):
        raise UsageError("a number is below zero", hint="type for example -n 10 --until-seconds 60")
    run = Invocation(options)
    if follow and (run.target.path is not None or run.target.output not in _STREAMED):
        raise UsageError("changes that come are written as they come", hint="add -o table or -o jsonl, and no -O")
    chosen = Filter(paths=[parse_path(path) for path in attr], actor=actor)
    found = run.archive.table(table, with_derived=False)
    arrivals = Arrivals(found, lambda: run.archive.table(table, with_derived=False))
    show = _shower(run, found, chosen, ops, with_patches=patch)
    newest_ms = _show_last(found, limit, show)
    _tell_age(run, newest_ms)
    if not follow:
        return FOUND
    stop = threading.Event()
    ends_at = None if until_seconds is None else time.monotonic() + until_seconds
    has_failed = False
    with stopped_by_signals(stop):
        while True:
            arrived = arrivals.look()
            show(arrived.changes)
            has_failed |= _tell(run, found, arrived.conflicts)
            newest_ms = max([newest_ms or 0, *(change.changed_at_ms for change in arrived.changes)]) or None
            left_s = wait_ms / 1000 if ends_at is None else min(wait_ms / 1000, ends_at - time.monotonic())
            if left_s <= 0 or stop.wait(left_s):
                break
    _tell_age(run, newest_ms)
    return INTERRUPTED if stop.is_set() else FAILED if has_failed else FOUND


def _show_last(table: "Trail", limit: int, show: "Callable[[Sequence[Change]], None]") -> int | None:
    """Shows the newest changes of the last day that has any; when the newest one of all was made."""
    hours = [segment.place.hour_ms for segment in table.evidence.segments]
    if not hours:
        return None
    newest = table.changes(since_ms=max(hours) - _LOOKED_BACK_MS, limit=max(limit, 1)).changes
    if limit:
        show(newest[::-1])
    return max((change.changed_at_ms for change in newest), default=None)


def _shower(
    run: "Invocation", table: "Trail", chosen: "Filter", ops: Sequence[str] | None, *, with_patches: bool
) -> "Callable[[Sequence[Change]], None]":
    """Writes changes, those that are asked for."""
    from query.render.records import change_sheet
    from query.render.story import Telling, story
    from query.render.views import ChangeView

    telling = Telling(run.target.look, with_patches=with_patches, names_items=True)
    redaction = run.redaction(table)

    def show(changes: "Sequence[Change]") -> None:
        views = [ChangeView(change, redaction) for change in changes if ops is None or change.op in ops]
        shown = [view for view in views if chosen.holds(view)]
        if shown:
            run.write(change_sheet(shown), lambda: story(shown, telling))
            sys.stdout.flush()

    return show


def _tell(run: "Invocation", table: "Trail", conflicts: "Sequence[Conflict]") -> bool:
    from query.cli.table import tell_conflicts

    return bool(tell_conflicts(conflicts, run.redaction(table)))


def _tell_age(run: "Invocation", newest_ms: int | None) -> None:
    """How old the newest change is: so far behind is the archive, unless nothing was written since."""
    from query.instant import format_ms
    from query.render.text import grouped

    if newest_ms is None:
        run.note("no change is archived yet")
        return
    age_s = max(time.time_ns() // 1_000_000 - newest_ms, 0) // 1000
    run.note(
        f"newest archived change: {format_ms(newest_ms)}, {grouped(age_s)} s ago; what is newer is not archived yet"
    )
