"""Commands about a whole table: log, as-of."""

import sys
from collections.abc import Iterable, Iterator
from contextlib import closing
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from query.cli.exits import FAILED, FOUND, NOT_COVERED, NOT_FOUND, tell
from query.cli.options import ALL, DEFAULTS, PLAIN, Explain, Options, Shown, Table, Where, Which

if TYPE_CHECKING:
    import pyarrow as pa

    from query.cli.invocation import Invocation
    from query.plan import ReadPlan
    from query.table_state import TableState


def log(
    table: Table,
    /,
    *,
    which: Which = ALL,
    where: Where = None,
    shown: Shown = PLAIN,
    conflicts: Annotated[
        bool, Parameter(negative=(), help="List changes that two segments tell differently, instead.")
    ] = False,
    stat: Annotated[
        bool, Parameter(negative=(), help="Only how many, by op, actor, attribute, and day (minute, within 6 hours).")
    ] = False,
    explain: Explain = False,
    options: Options = DEFAULTS,
) -> int:
    """Show the changes of a whole table, newest first.

    `--where` is a condition on change_id, op, changed_at, sequence_number, stream_label, item_key, item, old_item,
    old_image, new_image and actor. Exit code 1 says that no change matches.
    """
    from query.cli.counts import show_stat
    from query.cli.histories import Filter
    from query.cli.invocation import Invocation, check_limit
    from query.cli.outcome import nothing_found
    from query.diff import parse_path
    from query.operations import parse_operations
    from query.render.records import change_sheet
    from query.render.story import Telling, heading, story
    from query.render.text import counted
    from query.render.views import ChangeView

    paths = [parse_path(path) for path in which.attr]
    ops, most = parse_operations(which.op), check_limit(shown.limit)
    run = Invocation(options, is_paged=True)
    found = run.table(table)
    since_ms, until_ms = run.resolve_range(which, lambda: found)
    plan = found.plan_changes(since_ms, until_ms)
    if explain:
        return run.explain(plan)
    redaction = run.redaction(found)
    if conflicts:
        return _list_conflicts(run, found.conflicts(), redaction)
    if stat:
        return show_stat(run, found, which, since_ms, until_ms, where)
    read = found.changes(
        since_ms=since_ms,
        until_ms=until_ms,
        ops=ops,
        where=where,
        limit=None if paths or which.actor is not None else most,
        reverse=shown.reverse,
    )
    chosen = Filter(paths=paths, actor=which.actor, limit=most)
    views = [view for view in (ChangeView(change, redaction) for change in read) if chosen.holds(view)][: chosen.limit]

    def told() -> Iterator[str]:
        if views:
            yield heading(found.name, counted(len(views), "change"), run.target.look) + "\n"
            yield from story(views, Telling(run.target.look, with_patches=shown.patch, names_items=True))

    run.write(change_sheet(views), told)
    code = tell_conflicts(read.conflicts, redaction)
    if not views and not code:
        raise nothing_found(run, found, found.name, None, since_ms, until_ms)
    run.note(f"{counted(len(views), 'change')} shown.")
    run.note_plan(plan)
    unsealed = sum(view.change.is_sealed is False for view in views)
    run.note_unsealed(found, unsealed, counted(len(views), "change"))
    return code


def as_of(
    table: Table,
    when: Annotated[str, Parameter(help="An instant, or @ID of a change: 2026-06-30T23:59:59Z, yesterday, @9f31c2.")],
    /,
    *,
    where: Where = None,
    strict: Annotated[bool, Parameter(negative=(), help="Exit with 3 if the trail cannot tell of some items.")] = False,
    best_effort: Annotated[
        bool, Parameter(negative=(), help="Show the best guess for those, marked is_guess.")
    ] = False,
    max_scan: Annotated[str, Parameter(help="On a terminal, ask before reading more than this.")] = "20GB",
    yes: Annotated[bool, Parameter(name=["--yes", "-y"], negative=(), help="Do not ask.")] = False,
    explain: Explain = False,
    options: Options = DEFAULTS,
) -> int:
    """Show a whole table as it was at an instant: every item that existed.

    All changes up to and including that second count. `@ID` cuts the log at that change instead. `--where` is a
    condition on item_key, item, image, changed_at, change_id and valid_from.
    """
    from query.cli.invocation import Invocation, at_text
    from query.render.records import state_sheet
    from query.render.text import counted
    from query.render.views import StateView

    run = Invocation(options, formats=("ddb-json",))
    found = run.table(table)
    at = found.resolve(when)
    plan = found.plan_as_of(at, found.moment(at))
    if explain:
        return run.explain(plan)
    _confirm(run, plan, max_scan, is_sure=yes)
    redaction = run.redaction(found)
    with closing(found.as_of(at, where=where, best_effort=best_effort)) as state:
        items = _Counted(StateView(one, redaction) for one in state.states())
        if run.target.output == "ddb-json":
            run.target.write(_images(items))
        else:
            plain = state.plain_batches()
            batches = None if plain is None else items.counting(plain)
            run.write(state_sheet(items, with_guesses=best_effort, batches=batches))
    _tell_state(run, state, items.count, f"{found.name} as of {at_text(at)}", are_guesses_shown=best_effort)
    run.note_plan(plan)
    run.note_unsealed(found, plan.unsealed, f"{counted(len(plan.files), 'file')} read")
    return tell_conflicts(state.conflicts, redaction) or (NOT_COVERED if strict and state.unknown else FOUND)


# --- what is told beside the answer ---


def _list_conflicts(run: "Invocation", conflicts: Any, redaction: Any) -> int:
    from query.render.records import conflict_sheet
    from query.render.text import counted
    from query.render.views import ConflictView

    run.write(conflict_sheet([ConflictView(conflict, redaction) for conflict in conflicts]))
    run.note(counted(len(conflicts), "conflict") if conflicts else "no change is told in two ways")
    return FOUND if conflicts else NOT_FOUND


def tell_conflicts(conflicts: Any, redaction: Any) -> int:
    """Names the items that are left out because evidence contradicts itself; the exit code."""
    from query.history import conflict_error

    for conflict in conflicts:
        tell(conflict_error([conflict], redaction))
    return FAILED if conflicts else FOUND


def _tell_state(run: "Invocation", state: "TableState", count: int, what: str, *, are_guesses_shown: bool) -> None:
    from query.render.text import counted, size_text

    path = run.target.path
    written = f" → {path} ({size_text(path.stat().st_size)})" if path is not None else ""
    run.note(f"{counted(count, 'item')} in {what}{written}")
    run.note("times have 1 s resolution: every change up to and including that second counts")
    if state.unknown:
        shown = "shown where there is a guess" if are_guesses_shown else "left out; --best-effort shows the best guess"
        why = "coverage begins later, or has a gap; ddbtrail get says which"
        run.note(f"{counted(state.unknown, 'item')} unknown then, {shown} ({why})")
    if not state.has_floor:
        run.note("no baseline: items that never changed are not known; ddbtrail baseline imports them")


def _confirm(run: "Invocation", plan: "ReadPlan", max_scan: str, *, is_sure: bool) -> None:
    """Asks, on a terminal, before much is read. Raises UsageError for a no, or for a size that is none."""
    from query.config_values import parse_size
    from query.errors import UsageError
    from query.render.text import size_text

    try:
        most_bytes = parse_size(max_scan)
    except ValueError as error:
        raise UsageError(f"--max-scan {max_scan}: {error}", hint="type --max-scan 20GB") from error
    if is_sure or plan.size_bytes <= most_bytes or not (run.target.is_terminal and sys.stdin.isatty()):
        return
    print(f"this reads {size_text(plan.size_bytes)}, more than {max_scan}; go on? [y/N] ", end="", file=sys.stderr)
    sys.stderr.flush()
    if sys.stdin.readline().strip().lower() not in {"y", "yes"}:
        raise UsageError("nothing was read", hint="add --yes, a larger --max-scan, or ask with --explain first")


# --- rows ---


class _Counted:
    """Records, counted as they are read."""

    def __init__(self, records: Iterable[Any]) -> None:
        self._records = records
        self.count = 0

    def __iter__(self) -> Iterator[Any]:
        for record in self._records:
            self.count += 1
            yield record

    def counting(self, batches: "Iterable[pa.RecordBatch]") -> "Iterator[pa.RecordBatch]":
        """The same records as batches, counted instead."""
        for batch in batches:
            self.count += batch.num_rows
            yield batch


def _images(views: Iterable[Any]) -> Iterator[str]:
    from query.render.views import image_cell

    for view in views:
        cell = image_cell(view.state.image, view.redaction)
        if cell is not None:
            yield cell.text + "\n"
