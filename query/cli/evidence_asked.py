"""What evidence build is asked for, from the words of the command line: refused before anything is verified."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from query.cli.options import Which
from query.errors import UsageError

if TYPE_CHECKING:
    from query.cli.invocation import Invocation
    from query.evidence.scope import Scope
    from query.evidence.shortfalls import Accepted
    from query.table import Table as Trail


def check_redaction(run: "Invocation", table: "Trail") -> None:
    """Raises UsageError where masks would not last."""
    if table.redaction.paths and run.settings.redaction_key is None:
        raise UsageError(
            f"attributes of {table.name} are redacted, and no redaction key is set",
            why="masks under a key of this run alone would be others in the next package",
            hint="set DDBTRAIL_REDACTION_KEY, or redaction_key in ddbtrail.toml",
        )


def check_sample(table: "Trail", size: int | None, seed: str | None) -> None:
    """Raises UsageError for a sample that cannot be drawn, as far as that shows before anything is read."""
    from query.evidence.sample import check_draw, masked_keys

    if size is None:
        if seed is not None:
            raise UsageError("a seed alone draws nothing", hint="type --sample 25 too")
        return
    check_draw(size, seed)
    schema = table.key_schema
    if schema is not None and any(table.redaction.covers((one.name,)) for one in schema.attributes):
        raise masked_keys()


def read_scope(run: "Invocation", table: "Trail", which: Which, key: Sequence[str], listed: str | None) -> "Scope":
    """What the package is about. Raises UsageError, KeyMismatch."""
    from query.cli.histories import items_in_file
    from query.evidence.scope import Scope
    from query.instant import format_ms
    from query.operations import parse_operations

    since_ms, until_ms = run.resolve_range(which, lambda: table)
    if since_ms is None or until_ms is None:
        raise UsageError("no period was named", hint="type --during 2026-Q3, or --since and --until")
    if until_ms > run.now_ms:
        now = format_ms(run.now_ms // 1000 * 1000)
        raise UsageError(
            f"the period is not over: it ends at {format_ms(until_ms)}",
            why="the same package could not be built again",
            hint=f"type --since {format_ms(since_ms)} --until {now}",
        )
    if key and listed is not None:
        raise UsageError("items were given in two ways", hint="type --scope FILE alone, or one --key")
    items = None if listed is None else tuple(item.item_key for item in items_in_file(table, listed))
    if items == ():
        raise UsageError(f"no item is listed in {listed}", hint="type a key a line, or leave --scope out")
    trail = table.trail
    return Scope(
        table=f"{trail.account}/{trail.region}/{trail.table_name}",
        since_ms=since_ms,
        until_ms=until_ms,
        item_key=table.item(named=key).item_key if key else None,
        listed=items,
        ops=parse_operations(which.op),
        attributes=which.attr,
        actor=which.actor,
    )


def read_accepted(run: "Invocation", named: Sequence[str]) -> "Accepted":
    """What is taken as it is: codes, and stretches of time. Raises UsageError."""
    from query.evidence.shortfalls import Accepted
    from query.when import parse_when

    codes, stretches = set(), []
    for text in named:
        since, slash, until = text.partition("/")
        if not slash:
            codes.add(text)
            continue
        ends = [parse_when(end, now_ms=run.now_ms, zone=run.settings.tz).ms for end in (since, until)]
        if ends[0] >= ends[1]:
            raise UsageError(f"{text} ends before it begins", hint="type SINCE/UNTIL")
        stretches.append((ends[0], ends[1]))
    return Accepted(frozenset(codes), tuple(sorted(stretches)))
