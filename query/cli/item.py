"""Commands about one item, or one item collection: history, get, diff."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from query.cli.exits import FAILED, FOUND, NOT_FOUND
from query.cli.options import (
    ALL,
    DEFAULTS,
    PLAIN,
    Attributes,
    Explain,
    Key,
    NamedKey,
    OneKey,
    Options,
    Shown,
    Table,
    Which,
)

if TYPE_CHECKING:
    from query.answer import Version


def history(
    table: Table,
    /,
    *key: Key,
    named_key: NamedKey = (),
    keys: Annotated[
        str | None,
        Parameter(
            allow_leading_hyphen=True, help="File of keys in JSON Lines, or of our own output, or Parquet; - is stdin."
        ),
    ] = None,
    sk_prefix: Annotated[str | None, Parameter(help="Of a collection: sort keys that begin so.")] = None,
    sk_between: Annotated[
        tuple[str, str] | None, Parameter(negative=(), help="Of a collection: sort keys from A to B.")
    ] = None,
    which: Which = ALL,
    shown: Shown = PLAIN,
    explain: Explain = False,
    options: Options = DEFAULTS,
) -> int:
    """Show the changes of an item, newest first.

    Each change has the operation, its time (UTC), who made it if the trail says, and what it changed. Without a sort
    key, the changes of the whole item collection. In a pipe, one JSON object a line.
    """
    from query.cli.histories import Filter, Histories, targets
    from query.cli.invocation import Invocation, check_limit
    from query.cli.outcome import nothing_found
    from query.diff import parse_path
    from query.operations import parse_operations
    from query.render.records import change_sheet
    from query.render.story import Telling, heading, story
    from query.render.text import counted
    from query.sort_condition import parse_sort_condition

    ops, most = parse_operations(which.op), check_limit(shown.limit)
    paths = [parse_path(path) for path in which.attr]
    run = Invocation(options, is_paged=True)
    found = run.table(table)
    condition = parse_sort_condition(found.key_schema, prefix=sk_prefix, between=sk_between, table=found.name)
    asked = targets(found, key, named_key, keys, has_condition=condition is not None)
    since_ms, until_ms = run.resolve_range(which, lambda: found)
    plan = asked[0].plan if asked else found.plan_changes()
    if explain:
        return run.explain(plan)
    redaction = run.redaction(found)
    selection = {"since_ms": since_ms, "until_ms": until_ms, "ops": ops, "reverse": shown.reverse}
    read = Histories(asked, Filter(condition, paths, which.actor, most), selection, redaction)

    def told() -> Iterator[str]:
        views = list(read)
        if views:
            look = run.target.look
            yield heading(found.name, read.named, look) + "\n"
            yield from story(views, Telling(look, with_patches=shown.patch, names_items=not read.is_one_item))

    run.write(change_sheet(read), told)
    if read.shown == 0 and not read.has_failed:
        raise nothing_found(run, found, read.named, read.total, since_ms, until_ms)
    run.note(read.summary())
    run.note_plan(plan)
    run.note_unsealed(found, read.unsealed, counted(read.shown, "change"))
    return FAILED if read.has_failed else FOUND


def get(
    table: Table,
    /,
    *key: OneKey,
    named_key: NamedKey = (),
    at: Annotated[
        str, Parameter(help="An instant or a change: 2026-09-16, 3d ago, @9f31c2, @9f31c2~1, first, ~1.")
    ] = "now",
    best_effort: Annotated[
        bool, Parameter(negative=(), help="Where it is not known, show the best guess, marked.")
    ] = False,
    explain: Explain = False,
    options: Options = DEFAULTS,
) -> int:
    """Show an item as it was at an instant, or as it is now.

    There are four answers: it existed (exit code 0), it was not yet created or already deleted (1), or the trail does
    not cover that instant (3). With `-o ddb-json`, exactly the image, ready for `aws dynamodb put-item`.
    """
    from query.cli.invocation import Invocation
    from query.cli.outcome import show_answer
    from query.instant import Instant

    run = Invocation(options, formats=("ddb-json",))
    found = run.table(table)
    item = found.item(*key, named=named_key)
    resolved = found.resolve(at)
    if explain:
        if isinstance(resolved, Instant):
            return run.explain(item.plan_state(resolved))
        return run.explain(item.plan)
    return show_answer(run, found, item, item.state(resolved, best_effort=best_effort), with_guess=best_effort)


def diff(
    table: Table,
    /,
    *key: OneKey,
    named_key: NamedKey = (),
    older: Annotated[str, Parameter(name="--from", help="An instant or a change.")] = "~1",
    newer: Annotated[str, Parameter(name="--to", help="An instant or a change.")] = "last",
    attr: Attributes = (),
    exit_code: Annotated[bool, Parameter(negative=(), help="Exit with 1 if they differ.")] = False,
    explain: Explain = False,
    options: Options = DEFAULTS,
) -> int:
    """Show what differs between two versions of an item; by default, what its last change changed.

    With `-o json-patch`, RFC 6902 operations that bring the plain item from one version to the other.
    """
    from query.cli.invocation import Invocation
    from query.cli.outcome import note_unsealed_item
    from query.diff import parse_path, touches
    from query.render.json_patch import json_patch
    from query.render.records import difference_sheet
    from query.render.sheet import dump
    from query.render.story import heading, key_text, patch_lines
    from query.render.views import difference_document

    paths = [parse_path(path) for path in attr]
    run = Invocation(options, formats=("json-patch",))
    found = run.table(table)
    item = found.item(*key, named=named_key)
    if explain:
        return run.explain(item.plan)
    difference = item.diff(older, newer)
    for version in (difference.older, difference.newer):
        _check_image(version)
    redaction = run.redaction(found)
    changes = [
        redaction.change(change)
        for change in difference.changes
        if not paths or any(touches(change.steps, path) for path in paths)
    ]
    run.note(f"from {_named(difference.older)} to {_named(difference.newer)}")
    match run.target.output:
        case "json-patch":
            run.target.write([dump(json_patch(changes, item.key)) + "\n"])
        case "json":
            run.write_document(difference_document(found.name, difference, changes, redaction))
        case _:
            look = run.target.look
            title = heading(found.name, key_text(item.item_key, redaction), look)
            run.write(difference_sheet(changes), lambda: [title, *patch_lines(changes, look)] if changes else [])
    if not changes:
        run.note("no attribute differs")
    run.note_plan(item.plan)
    if item.plan.unsealed and item.unsealed:
        note_unsealed_item(run, found, item)
    return NOT_FOUND if changes and exit_code else FOUND


def _check_image(version: "Version | None") -> None:
    """Raises OutsideCoverage for a version whose image the stream did not carry: it is not an empty item."""
    from query.errors import OutsideCoverage

    if version is not None and version.image is None and version.change is not None and version.change.op != "REMOVE":
        raise OutsideCoverage(
            f"what {_named(version)} left is not known",
            why="the stream did not carry the new image (view type)",
            hint="compare two other versions; ddbtrail history lists them",
        )


def _named(version: "Version | None") -> str:
    from query.instant import format_ms

    if version is None or version.change is None:
        return "before its first recorded change"
    return f"@{version.change.change_id[:12]} ({version.change.op} at {format_ms(version.change.changed_at_ms)})"
