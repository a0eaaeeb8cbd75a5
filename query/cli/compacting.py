"""The commands that make derived data and take it away: compact, gc. Evidence is read, and never written or deleted."""

from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from query.cli.exits import FOUND
from query.cli.options import DEFAULTS, Options, Table

if TYPE_CHECKING:
    from query.archive import Archive
    from query.cli.invocation import Invocation
    from query.derived.store import DerivedStore
    from query.source import Source


def compact(
    table: Table,
    /,
    *,
    memory: Annotated[str | None, Parameter(help="Memory for sorting; beyond it, the disk is used.")] = "4GB",
    snapshots: Annotated[bool, Parameter(help="Keep the state of the table at the ends of months too.")] = True,
    options: Options = DEFAULTS,
) -> int:
    """Rewrite sealed changes in order of keys, so that answers stay fast as the archive grows.

    What was sealed in each hour, day and month becomes one run, and replaces the smaller ones for whoever reads. Runs
    lie below --derived, for an archive in a folder in that folder. Nothing of the evidence is touched: runs can be
    deleted at any time and made again.
    """
    from dataclasses import replace

    from query.cli.invocation import Invocation
    from query.engine import Engine
    from query.render.derived import made_sheet
    from query.render.text import counted, size_text
    from query.runs import Compactor, MadeRun
    from query.snapshots import MadeSnapshot, SnapshotKeeper

    run = Invocation(replace(options, memory_limit=options.memory_limit or memory))
    archive, derived, store = _places(run)
    trail = archive.trail(table)
    engine = Engine(memory_limit=run.settings.memory_limit, threads=run.settings.threads)

    def told(made: MadeRun | MadeSnapshot) -> None:
        run.note(f"{made.name.folder}: {counted(made.rows, 'row')}, {size_text(made.bytes)}")

    made: list[MadeRun | MadeSnapshot] = [*Compactor(archive.source, derived, store, trail, engine).compact(told)]
    if snapshots:
        found = archive.table(table)
        made += SnapshotKeeper(trail, found.evidence, found.reader, store, engine).keep(told)
    run.write(made_sheet(made))
    if not made:
        is_sealed = bool(archive.source.objects(f"{trail.prefix}seals/"))
        run.note(
            "nothing to do: every hour that is over is in a run"
            if is_sealed
            else "nothing is sealed yet, and runs are made of what is sealed: ddbtrail seal"
        )
    return FOUND


def gc(
    table: Table,
    /,
    *,
    grace: Annotated[str, Parameter(help="How long a run stays after a larger one covers it, such as 24h.")] = "24h",
    dry_run: Annotated[bool, Parameter(negative=(), help="Only show what would go.")] = False,
    options: Options = DEFAULTS,
) -> int:
    """Delete runs that a larger one covers, and what an interrupted compaction left behind.

    Only derived data goes, and only after a grace period, so that whoever is reading can end. Evidence is never
    deleted.
    """
    from query.cli.durations import duration_ms
    from query.cli.invocation import Invocation
    from query.derived.collect import waste
    from query.render.derived import waste_sheet
    from query.render.text import counted, size_text

    run = Invocation(options)
    archive, derived, store = _places(run)
    trail = archive.trail(table)
    found = waste(derived, store, trail, now_ms=run.now_ms, grace_ms=duration_ms(grace, "--grace"))
    if not dry_run:
        store.delete(one.name for one in found)
    run.write(waste_sheet(found))
    size = size_text(sum(one.size_bytes for one in found))
    run.note(f"{counted(len(found), 'object')}, {size}, {'would go' if dry_run else 'deleted'}")
    return FOUND


def _places(run: "Invocation") -> "tuple[Archive, Source, DerivedStore]":
    """The archive, and where derived data lies: to read, and to write. Raises UsageError if nobody said where."""
    from query.cli.operating import access_of
    from query.derived.store import open_derived
    from query.errors import UsageError
    from query.source import open_source

    url = run.settings.derived_url
    if url is None or (url.startswith("s3://") and url == run.settings.archive_url):
        raise UsageError(
            "no place for derived data is named, other than the archive itself"
            if url
            else "no place for derived data is named",
            why="runs are never put into an archive in S3, whose objects nobody may delete",
            hint="add --derived s3://another-bucket/prefix, or set DDBTRAIL_DERIVED",
        )
    access = access_of(run.settings)
    store = open_derived(url, access)
    store.prepare()
    return run.archive, open_source(url, access), store
