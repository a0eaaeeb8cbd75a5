"""The job: `python -m query.spark COMMAND`, or this file given to `spark-submit`.

Settings are those of `ddbtrail` (flags, environment, files), errors and exit codes too. The session is the one that
spark-submit configures, else one in this machine; the clock is read by whoever opens the archive.
"""

import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated

from cyclopts import App, Parameter
from pyspark.sql import Observation, SparkSession
from pyspark.sql.functions import count_if, expr

from query.cli.exits import FAILED, FOUND, NOT_COVERED, ended
from query.cli.invocation import Invocation
from query.cli.operating import access_of
from query.cli.options import NamedKey, OneKey, Options, Table
from query.errors import UsageError
from query.render.text import counted, size_text
from query.settings import require_archive
from query.spark.answers import SparkTable
from query.spark.files import Place, plain_rows, refusals
from query.spark.runs import SparkCompactor

_NAMED_AT_MOST = 10
_COUNTED = ("existed", "unknown", "conflict")
_Unused = Annotated[str | None, Parameter(parse=False)]


@Parameter(name="*")
@dataclass(frozen=True, slots=True, kw_only=True)
class JobOptions(Options):
    """Where the archive is; how an answer is written, `--to` says."""

    no_derived: Annotated[bool, Parameter(parse=False)] = True
    memory_limit: _Unused = None
    threads: _Unused = None
    output: _Unused = "jsonl"
    output_file: _Unused = None
    columns: _Unused = None
    full: Annotated[bool, Parameter(parse=False)] = False
    color: _Unused = None
    no_pager: Annotated[bool, Parameter(parse=False)] = True


DEFAULTS = JobOptions()
To = Annotated[str, Parameter(help="Where Spark writes Parquet: a new folder, or s3a:// as this Spark knows it.")]
app = App(
    name="python -m query.spark",
    help="Answers and runs of an archive, by Spark.",
    help_formatter="plain",
    result_action="return_value",
    exit_on_error=False,
    print_error=False,
)


@app.command(name="as-of")
def as_of(
    table: Table,
    when: Annotated[str, Parameter(help="An instant, such as 2026-06-30T23:59:59Z.")],
    /,
    *,
    to: To,
    every: Annotated[
        bool, Parameter(name="--all", negative=(), help="Write every item, also those that did not exist.")
    ] = False,
    strict: Annotated[bool, Parameter(negative=(), help="Exit with 3 if the trail cannot tell of some items.")] = False,
    options: JobOptions = DEFAULTS,
) -> int:
    """Write a whole table as it was at an instant."""
    run = Invocation(options)
    with _asked(run, table) as asked, refusals():
        states = asked.as_of(asked.resolve(when))
        # Counted as they pass by: a second look would read the archive once more.
        counts = Observation()
        outcomes = (count_if(expr(f"outcome = '{name}'")).alias(name) for name in _COUNTED)
        passing = states.observe(counts, *outcomes)
        (passing if every else passing.where("outcome = 'existed'")).write.parquet(to)
        existed, unknown, conflicting = (counts.get[name] for name in _COUNTED)
        named = states.where("outcome = 'conflict'").select("item_key").limit(_NAMED_AT_MOST)
        conflicts = plain_rows(named) if conflicting else []
    run.note(f"{counted(existed, 'item')} existed, written to {to}")
    if unknown:
        run.note(
            f"{counted(unknown, 'item')} unknown then, left out unless --all (coverage begins later, or has a gap)"
        )
    if _told_conflicts(run, conflicting, conflicts):
        return FAILED
    return NOT_COVERED if strict and unknown else FOUND


@app.command
def history(
    table: Table,
    /,
    *key: OneKey,
    to: To,
    named_key: NamedKey = (),
    options: JobOptions = DEFAULTS,
) -> int:
    """Write every version of every item, or of one."""
    run = Invocation(options)
    with _asked(run, table) as whole, refusals():
        asked = whole.item(_item_key(run, table, key, named_key)) if key or named_key else whole
        conflicts = asked.conflicts()
        count = conflicts.count()
        asked.versions().write.parquet(to)
        told = plain_rows(conflicts.select("item_key").distinct().limit(_NAMED_AT_MOST)) if count else []
    run.note(f"written to {to}")
    return FAILED if _told_conflicts(run, count, told) else FOUND


@app.command
def compact(table: Table, /, *, options: JobOptions = DEFAULTS) -> int:
    """Make the runs that are wanted by now, as `ddbtrail compact` does; no snapshots."""
    run = Invocation(options)
    url, access = run.settings.derived_url or require_archive(run.settings), access_of(run.settings)
    if url.startswith("s3://") and run.settings.derived_url in {None, run.settings.archive_url}:
        raise UsageError(
            "no place for derived data is named, other than the archive itself",
            why="runs are never put into an archive in S3, whose objects nobody may delete",
            hint="add --derived s3://another-bucket/prefix, or set DDBTRAIL_DERIVED",
        )
    trail = run.archive.trail(table)
    with _session() as session:
        archive = Place(require_archive(run.settings), access)
        made = SparkCompactor(session, archive, Place(url, access), trail).compact(
            lambda one: run.note(f"{one.name.folder}: {counted(one.rows, 'row')}, {size_text(one.bytes)}")
        )
    run.note(f"{counted(len(made), 'run')} made")
    return FOUND


@contextmanager
def _session() -> Iterator[SparkSession]:
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    warnings.filterwarnings("ignore", message="PySpark does not yet fully support pandas", category=FutureWarning)
    session = SparkSession.builder.appName("ddbtrail").getOrCreate()
    try:
        yield session
    finally:
        session.stop()


@contextmanager
def _asked(run: Invocation, ref: str) -> Iterator[SparkTable]:
    """The table on Spark. Raises UsageError where some of it must not be shown: Spark writes images as they are."""
    found = run.archive.table(ref, with_derived=False)
    redacted = run.settings.table(found.name).redact
    if redacted:
        raise UsageError(
            f"{', '.join(redacted)} of {found.name} must not be shown",
            why="the configuration says so (redact), and Spark writes images as they are",
            hint="ask with ddbtrail, which masks it, or without that configuration",
        )
    unsealed = sum(segment.is_sealed is False for segment in found.evidence.segments)
    run.note_unsealed(found, unsealed, counted(len(found.evidence.segments), "segment"))
    with _session() as session:
        yield SparkTable(session, found, Place(require_archive(run.settings), access_of(run.settings)))


def _item_key(run: Invocation, ref: str, key: Sequence[str], named: Sequence[str]) -> str:
    return run.archive.table(ref, with_derived=False).item(*key, named=named).item_key


def _told_conflicts(run: Invocation, count: int, conflicts: Sequence[dict[str, str]]) -> int:
    """Names the first items that evidence contradicts itself about; how many conflicts there are."""
    for row in conflicts:
        print(f"evidence contradicts itself about {row['item_key']}, which is left out", file=sys.stderr)
    if count:
        run.note(f"{counted(count, 'conflict')}: ddbtrail log TABLE --conflicts lists all")
    return count


def main(tokens: Sequence[str]) -> int:
    """Runs one command; its exit code."""
    return ended(lambda: app(list(tokens)), tokens)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
