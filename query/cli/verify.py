"""The command `verify`: whether a trail is what its signed log says."""

import sys
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

from cyclopts import Parameter

from query.cli.exits import FAILED, drop_output, tell_lines
from query.cli.options import Options, Table, Which
from query.errors import UnknownTable

if TYPE_CHECKING:
    from query.cli.invocation import Invocation
    from query.verify.derived import DerivedPlace
    from query.verify.verification import Demand, Level, Verification

# Copies from S3, fetched anew for each verification; of more than this the oldest go while it runs.
_CACHE_BYTES: Final = 20_000_000_000
# Of the image chain, whatever the archive holds: beyond it the engine spills, which takes a tenth longer.
_MEMORY: Final = "1GB"


@Parameter(name="*")
@dataclass(frozen=True, slots=True, kw_only=True)
class Verifying(Options):
    """The options of a reading command, without those that say nothing here: --full is how much is looked at, and no
    cache is believed.
    """

    full: Annotated[bool, Parameter(parse=False)] = False
    cache_dir: Annotated[str | None, Parameter(parse=False)] = None


VERIFYING: Final = Verifying()


def verify(
    table: Table,
    /,
    *,
    pinned_key: Annotated[
        Path | None, Parameter(help="Public key (PEM) of the sealer, got from whoever runs it.")
    ] = None,
    pinned_checkpoint: Annotated[
        Path | None, Parameter(help="Checkpoint that was kept: the log must continue it. What seal prints.")
    ] = None,
    since_checkpoint: Annotated[
        Path | None, Parameter(help="The same, and what was sealed before it is listed, but not read again.")
    ] = None,
    quick: Annotated[bool, Parameter(negative=(), help="Digests of all files, and no row.")] = False,
    full: Annotated[
        bool,
        Parameter(name="--full", negative=(), help="Every row too: leaves anew, conflicts, image chain, runs."),
    ] = False,
    max_age: Annotated[
        str | None, Parameter(help="How old the newest seal may be: 2h, 30m, 7d; none for a copy. 2h if not given.")
    ] = None,
    during: Annotated[str | None, Parameter(help="A period, which must be sealed to its end: 2026-Q3.")] = None,
    since: Annotated[str | None, Parameter(help="From this instant on.")] = None,
    until: Annotated[str | None, Parameter(help="Before this instant, up to which it must be sealed.")] = None,
    reconcile: Annotated[
        str | None, Parameter(help="Compare with a full export in DynamoDB JSON: a folder, or s3:// URL.")
    ] = None,
    scan: Annotated[bool, Parameter(negative=(), help="Compare with the live table, read consistently.")] = False,
    settle: Annotated[str, Parameter(help="Items that differ are looked at again after so long.")] = "60s",
    on_failure: Annotated[
        str | None, Parameter(help="Where failed batches go: s3://BUCKET, or a folder. [DDBTRAIL_ON_FAILURE]")
    ] = None,
    options: Verifying = VERIFYING,
) -> int:
    """Verify the trail of a table against its signed log.

    Needs the archive, or a copy of it, and a public key; no AWS for a copy in a folder. Without --quick or --full it is
    as --quick. Everything is read anew, nothing is taken from a cache. With --reconcile or --scan the state that the
    trail gives is compared with the table too, item by item.

    Exit code 0 says that every check passed; 1 that something was tampered with; 3 that something is missing, or not
    sealed when it should be; 4 that something could not be checked.
    """
    from query.cli.durations import duration_ms
    from query.cli.invocation import Invocation
    from query.errors import UsageError
    from query.scratch import Scratch
    from query.verify.problem import Problem
    from query.verify.verification import Level, Verification

    if quick and full:
        raise UsageError("--quick and --full were both given", hint="--full does all that --quick does")
    if scan and reconcile is not None:
        raise UsageError("two things to compare with", hint="type either --reconcile EXPORT or --scan")
    settle_ms = duration_ms(settle, "--settle")
    run = Invocation(options, more={"on_failure": on_failure})
    level = Level.FULL if full else Level.QUICK
    demand = _demand(run, level, pinned_key, pinned_checkpoint, since_checkpoint, max_age)
    with Scratch("verify") as scratch:
        memory_limit = run.settings.memory_limit or _MEMORY
        run.settings = replace(
            run.settings, cache_dir=scratch.path, cache_limit_bytes=_CACHE_BYTES, memory_limit=memory_limit
        )
        try:
            which = Which(since=since, until=until, during=during)
            demand = replace(demand, redaction=run.redaction_of(run.archive.trail(table).table_name))
            found = _verified(run, table, demand, which, has_max_age=max_age is not None)
            if scan or reconcile is not None:
                _reconcile(run, table, found, reconcile, settle_ms)
            else:
                found.skip("reconciliation", "the table itself was not asked: --scan, or --reconcile EXPORT")
        except UnknownTable as error:
            # Nobody typed a mistake: a trail that is not there may have been there, and nothing was verified.
            found = Verification(None, demand, table_name=table)
            found.add(Problem("no-trail", table, f"{error.message}; {error.why}"))
    try:
        _tell(run, found)
    except BrokenPipeError:
        # Whoever read the report has seen enough of it; the exit code is for whoever reads that.
        drop_output()
    except OSError as error:
        drop_output()
        tell_lines([f"the report could not be written: {error.strerror or error}"])
        return found.exit_code or FAILED
    return found.exit_code


def _tell(run: "Invocation", found: "Verification") -> None:
    from query.render.verification import verification_document, verification_lines, verification_sheet

    if run.target.output == "json" and not run.picked_columns:
        run.write_document(verification_document(found, run.archive.url))
    else:
        run.write(verification_sheet(found), lambda: verification_lines(found, run.target.look))
    if run.target.output not in {"json", "table"}:
        for line in verification_lines(found, run.target.look):
            run.note(line.rstrip())
    sys.stdout.flush()


def _verified(run: "Invocation", name: str, demand: "Demand", which: Which, *, has_max_age: bool) -> "Verification":
    from query.cli.progress import Stderr
    from query.verify.verifier import verify as verify_trail

    trail = run.archive.trail(name)
    demand = _ranged(run, demand, which, name, has_max_age=has_max_age)
    say = Stderr(run.options.quiet)
    with ExitStack() as while_verifying:

        def progress(files: int) -> Callable[[], object]:
            advance = while_verifying.enter_context(say.counting("files", files))
            return lambda: advance(1)

        found = verify_trail(
            run.archive.source,
            trail,
            demand,
            open_table=lambda: run.archive.table(name, with_derived=False),
            progress=progress,
            workers=run.settings.threads,
            derived=_derived_place(run),
        )
    _held_back(run, name, found)
    return found


def _derived_place(run: "Invocation") -> "DerivedPlace | None":
    """Where runs and snapshots lie; None if nobody says, if nobody made any, or with --no-derived."""
    from query.cli.operating import open_archive
    from query.engine import Engine
    from query.verify.derived import DerivedPlace

    settings = run.settings
    url = settings.derived_url
    if run.options.no_derived or url is None:
        return None
    if not url.startswith("s3://") and not Path(url.removeprefix("file://")).is_dir():
        return None
    source = run.archive.source if url == run.archive.url else open_archive(settings, url)
    return DerivedPlace(source, lambda: Engine(memory_limit=settings.memory_limit, threads=settings.threads))


def _reconcile(run: "Invocation", name: str, found: "Verification", export: str | None, settle_ms: int) -> None:
    """The state that the trail gives, beside the table's own; a trail that was tampered with is not asked for one."""
    from query.cli.reconciling import reconciled
    from query.errors import QueryError
    from query.instant import format_ms
    from query.verify.problem import Problem, Verdict

    if found.count(Verdict.TAMPERED):
        found.skip("reconciliation", "asked only of a trail that nobody tampered with")
        return
    try:
        beside = reconciled(
            run, run.archive.table(name, with_derived=False), export, settle_ms, is_from_beginning=False
        )
    except QueryError as error:
        beside = f"{error.message}: {error.why}"
    if isinstance(beside, str):
        found.add(Problem("unreadable", export or name, beside))
        return
    found.reconciled = beside.compared
    if beside.items and not beside.compared:
        found.add(Problem("not-checkable", name, f"none of {beside.items} items of the table could be compared"))
    for one in beside.differences:
        since = "" if one.changed_at_ms is None else f", last archived change at {format_ms(one.changed_at_ms)}"
        found.add(Problem("not-reconciled", name, f"{one.kind.value}: {one.item_key}{since}"))
    if beside.different > len(beside.differences):
        found.skip("further items", f"{beside.different - len(beside.differences)} more differ and are not listed")


def _max_age_ms(text: str | None) -> int | None:
    from query.cli.durations import duration_ms
    from query.verify.verification import DEFAULT_MAX_AGE_MS

    if text is None:
        return DEFAULT_MAX_AGE_MS
    return None if text == "none" else duration_ms(text, "--max-age")


def _demand(
    run: "Invocation",
    level: "Level",
    pinned_key: Path | None,
    pinned_checkpoint: Path | None,
    since_checkpoint: Path | None,
    max_age: str | None,
) -> "Demand":
    from query.errors import UsageError
    from query.note_check import load_public_key
    from query.verify.heads import PinnedCheckpoint
    from query.verify.verification import Demand

    if pinned_checkpoint is not None and since_checkpoint is not None:
        raise UsageError(
            "two checkpoints were given", hint="--since-checkpoint does what --pinned-checkpoint does, and reads less"
        )
    kept = pinned_checkpoint or since_checkpoint
    checkpoint = None if kept is None else PinnedCheckpoint.load(kept)
    return Demand(
        level=level,
        now_ms=run.now_ms,
        pinned_key=None if pinned_key is None else load_public_key(pinned_key),
        pinned_checkpoint=checkpoint,
        max_age_ms=_max_age_ms(max_age),
        checks_from=checkpoint.head.size if checkpoint is not None and since_checkpoint is not None else 0,
    )


def _ranged(run: "Invocation", demand: "Demand", which: Which, name: str, *, has_max_age: bool) -> "Demand":
    """The demand for a range: it must be sealed to its end, and then no seal need be fresh."""
    since_ms, until_ms = run.resolve_range(which, lambda: run.archive.table(name, with_derived=False))
    if since_ms is None and until_ms is None:
        return demand
    max_age_ms = demand.max_age_ms if has_max_age or until_ms is None else None
    return replace(demand, since_ms=since_ms, until_ms=until_ms, max_age_ms=max_age_ms)


def _held_back(run: "Invocation", name: str, found: "Verification") -> None:
    """Changes that lie in the on-failure destination and are not archived."""
    from query.cli.operating import open_archive
    from query.errors import QueryError
    from query.verify.problem import Problem

    url = run.settings.on_failure_url
    if url is None:
        found.skip("failed batches", "no on-failure destination was named: --on-failure s3://BUCKET")
        return
    try:
        held = run.archive.table(name, with_derived=False).held_back(open_archive(run.settings, url))
    except QueryError as error:
        found.add(Problem("unreadable", url, f"{error.message}: {error.why}"))
        return
    except Exception as error:  # noqa: BLE001  what was found in the archive must not be lost for it
        found.add(Problem("not-checkable", url, f"{type(error).__name__}: {error}"))
        return
    if held.missing or held.unclear:
        found.add(Problem("held-back", url, f"{held.missing} changes and {len(held.unclear)} unclear objects"))
