"""The command `duckdb`: the relations of SQL as a script for a DuckDB that has nothing of ours."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Final, Literal

from cyclopts import Parameter

from query.cli.exits import FOUND
from query.cli.options import DEFAULTS, Options

_SQL: Final = "sql"


def duckdb(
    *tables: Annotated[str, Parameter(help="Tables; without any, all of the archive.")],
    emit: Annotated[Literal["sql"], Parameter(help="What to write: a script of SQL.")] = "sql",
    options: Options = DEFAULTS,
) -> int:
    """Write a script with which a plain DuckDB reads the trails of an archive.

    It makes the relations of `ddbtrail sql` over the files of evidence where they lie, in a folder or in S3. Nothing is
    verified there, neither digests nor seals, and runs are not read. Refused for a table with redacted attributes.
    """
    from query.cli.invocation import Invocation
    from query.duckdb_script import script
    from query.errors import UsageError

    assert emit == _SQL
    if options.output is not None or options.columns is not None:
        raise UsageError("the script is SQL, and nothing else", hint="leave out -o and -c; -O FILE.sql writes a file")
    run = Invocation(replace(options, output=_SQL), formats=(_SQL,))
    known = run.archive.schemas()
    chosen = {run.archive.trail(ref) for ref in tables} or set(known.values())
    named = [
        (schema, run.archive.table(f"{trail.account}/{trail.region}/{trail.table_name}", with_derived=False))
        for schema, trail in known.items()
        if trail in chosen
    ]
    url = run.archive.url if run.archive.url.startswith("s3://") else str(Path(run.archive.url).absolute())
    run.target.write([script(url, named)])
    run.note(f"{', '.join(schema for schema, _ in named) or 'no table'}: nothing is verified by this script")
    return FOUND
