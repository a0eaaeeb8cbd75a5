"""The command `sql`: one statement, a file with one, or a prompt."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from query.cli.exits import FAILED, FOUND, tell
from query.cli.options import DEFAULTS, Options

if TYPE_CHECKING:
    from query.cli.invocation import Invocation
    from query.sql_session import SqlAnswer, SqlSession


def sql(
    statement: Annotated[
        str | None, Parameter(help="One statement; without it a prompt, or what comes in a pipe.")
    ] = None,
    /,
    *,
    file: Annotated[
        str | None,
        Parameter(
            name=["--file", "-f"], allow_leading_hyphen=True, help="Read the statement from a file, or - for stdin."
        ),
    ] = None,
    since: Annotated[str | None, Parameter(help="Read only changes from this instant on.")] = None,
    until: Annotated[str | None, Parameter(help="Read only changes before this instant.")] = None,
    during: Annotated[
        str | None, Parameter(help="Read only changes of a period, such as 2026-Q3; states are refused then.")
    ] = None,
    options: Options = DEFAULTS,
) -> int:
    """Ask in SQL what the trails of an archive tell.

    Each table is a schema with changes, versions, attribute_changes, coverage, changes_debezium, changes_cdf,
    as_of(instant), states(instant), compare(from, to), changes_between(since, until), history(partition, sort) and
    blame(partition, sort). Only reading is possible, and of nothing but the tables that the statement names.

    On a terminal, without a statement, a prompt asks for some: .tables, .help and .quit are words of it.
    """
    from query.cli.invocation import Invocation
    from query.errors import UsageError
    from query.instant import echo_range
    from query.time_range import parse_range

    if statement is not None and file is not None:
        raise UsageError("a statement was given twice", hint="type it, or name a file with -f")
    run = Invocation(options, is_paged=statement is not None)
    between = parse_range(since, until, during, now_ms=run.now_ms, zone=run.settings.tz)
    if between != (None, None):
        run.note(echo_range(*between, during or "", zone=run.settings.tz))
    session = run.archive.sql_session(with_derived=not options.no_derived, between=between)
    if file is not None:
        return answer(run, session, _content(file))
    if statement is not None:
        return answer(run, session, statement)
    if not sys.stdin.isatty():
        return answer(run, session, sys.stdin.read())
    from query.cli.sql_prompt import prompt

    return prompt(run, session)


def answer(run: "Invocation", session: "SqlSession", statement: str) -> int:
    """Writes the answer to one statement, and says what it leaves out; the exit code."""
    from query.render.answers import answer_sheet

    found = session.ask(statement)
    run.write(answer_sheet(found.schema, found.batches))
    _note(run, found)
    return _tell_conflicts(found)


def _note(run: "Invocation", found: "SqlAnswer") -> None:
    """What no row can say: gaps, unknown items, changes that nobody signed yet."""
    from query.instant import format_ms
    from query.render.text import counted

    for one in found.asked:
        run.note_redaction(one.table.name)
        unsealed = sum(segment.is_sealed is False for segment in one.table.evidence.segments)
        run.note_unsealed(one.table, unsealed, f"the files of {one.schema}")
        gaps = len(one.coverage.gaps)
        since_ms = one.coverage.covered_since_ms
        if gaps:
            run.note(f"{one.schema} has {counted(gaps, 'gap')}: FROM {one.schema}.coverage names them")
        if one.has_states and since_ms is not None:
            known = f"{one.schema} is covered since {format_ms(since_ms)}"
            run.note(f"{known}; as_of leaves out items whose state is unknown, states names them")
            if not any(baseline.description.complete for baseline in one.table.evidence.baselines):
                run.note(f"{one.schema} has no baseline: items that never changed are not known")


def _tell_conflicts(found: "SqlAnswer") -> int:
    """Names the items that are left out because evidence contradicts itself."""
    from query.history import conflict_error

    for one in found.asked:
        for conflict in one.conflicts:
            tell(conflict_error([conflict], one.table.redaction))
    return FAILED if found.conflicts else FOUND


def _content(name: str) -> str:
    from query.errors import UsageError

    try:
        return sys.stdin.read() if name == "-" else Path(name).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            f"could not read {name}", why=str(error), hint="type -f with a file of one statement"
        ) from error
