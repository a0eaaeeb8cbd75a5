"""The command evidence build: a package for whoever has no archive."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

from cyclopts import Parameter

from query.cli.exits import NOT_FOUND, tell_lines
from query.cli.options import ALL, NamedKey, Options, Table, Which
from query.errors import QueryError, UsageError

if TYPE_CHECKING:
    from query.cli.invocation import Invocation
    from query.evidence.build import Built, Materials
    from query.evidence.scope import Scope
    from query.evidence.shortfalls import Accepted
    from query.table import Table as Trail
    from query.verify.verification import Verification

_CACHE_BYTES: Final = 20_000_000_000
_SHOWN: Final = 10


@Parameter(name="*")
@dataclass(frozen=True, slots=True, kw_only=True)
class Building(Options):
    """The options of a reading command, without those that say nothing here: evidence is read anew, and no format is
    chosen.
    """

    cache_dir: Annotated[str | None, Parameter(parse=False)] = None
    no_seals: Annotated[bool, Parameter(parse=False)] = False
    derived: Annotated[str | None, Parameter(parse=False)] = None
    no_derived: Annotated[bool, Parameter(parse=False)] = False
    output: Annotated[str | None, Parameter(parse=False)] = None
    output_file: Annotated[str | None, Parameter(parse=False)] = None
    columns: Annotated[str | None, Parameter(parse=False)] = None
    full: Annotated[bool, Parameter(parse=False)] = False
    color: Annotated[str | None, Parameter(parse=False)] = None
    no_pager: Annotated[bool, Parameter(parse=False)] = False


BUILDING: Final = Building()


def build(
    table: Table,
    /,
    *,
    which: Which = ALL,
    key: NamedKey = (),
    scope: Annotated[
        str | None,
        Parameter(
            help="Only items of this file: keys in JSON Lines as after --keys, or .parquet; - is stdin. A .toml is a "
            "saved scope."
        ),
    ] = None,
    sample: Annotated[
        int | None, Parameter(help="Only so many items, drawn at random among those that changed.")
    ] = None,
    seed: Annotated[
        str | None, Parameter(help="What decides which; without it, the head of the log that reaches the period's end.")
    ] = None,
    package: Annotated[
        Path, Parameter(name=["--package", "-O"], help="Where it goes: FILE.zip, or a folder that is not there yet.")
    ],
    accept: Annotated[
        tuple[str, ...],
        Parameter(negative=(), help="Go on despite a gap (SINCE/UNTIL), or a finding by its code, such as no-seals."),
    ] = (),
    signing_key: Annotated[
        str | None,
        Parameter(help="Private key that signs the package: a file, or of a key in KMS its ARN or alias/NAME."),
    ] = None,
    tsa: Annotated[
        str | None, Parameter(help="Address of an authority that is asked for a time stamp (RFC 3161) of the manifest.")
    ] = None,
    pdf: Annotated[
        bool, Parameter(negative=(), help="Add REPORT.pdf, printed from REPORT.html (needs the extra ddbtrail[pdf]).")
    ] = False,
    pinned_key: Annotated[
        Path | None, Parameter(help="Public key (PEM) of the sealer, got from whoever runs it.")
    ] = None,
    on_failure: Annotated[
        str | None, Parameter(help="Where failed batches go: s3://BUCKET, or a folder. [DDBTRAIL_ON_FAILURE]")
    ] = None,
    options: Building = BUILDING,
) -> int:
    """Build a package of evidence: what changed in a period, how complete that is, and what proves it.

    The period is needed, and has to be over. With --attr, --op, --actor or --key the package holds only changes of
    those. It names gaps and findings; exit code 3 says that one of them is neither acknowledged in the log nor named
    with --accept, 4 that something could not be checked. If the verification finds tampering there is no package: 1.

    Whoever gets it verifies it with sha256sum and openssl alone, or with ddbtrail evidence verify.
    """
    from query.cli.evidence_asked import check_redaction, check_sample, read_accepted, read_scope
    from query.cli.evidence_printing import open_printer
    from query.cli.evidence_signing import open_signing
    from query.cli.invocation import Invocation
    from query.cli.saved_scope import Asked, with_saved
    from query.evidence.authority import ask_stamp, check_address
    from query.evidence.build import build as build_package
    from query.evidence.sample import draw
    from query.scratch import Scratch

    run = Invocation(options, more={"on_failure": on_failure})
    if package.exists():
        raise UsageError(f"{package} is there already", why="evidence is not written over", hint="type another -O")
    if tsa is not None:
        check_address(tsa)
    printer = open_printer() if pdf else None
    signing = None if signing_key is None else open_signing(run, signing_key)
    with Scratch("evidence") as scratch:
        run.settings = replace(run.settings, cache_dir=scratch.path, cache_limit_bytes=_CACHE_BYTES)
        found = run.archive.table(table, with_derived=False)
        run.note_redaction(found.name)
        check_redaction(run, found)
        words = with_saved(Asked(which=which, items=scope, sample=sample, seed=seed), found)
        check_sample(found, words.sample, words.seed)
        asked = read_scope(run, found, words.which, key, words.items)
        accepted = read_accepted(run, accept)
        verified = _verified(run, found, asked, pinned_key)
        if _is_tampered(verified):
            return NOT_FOUND
        with _new_folder(package, found.name) as folder:
            stamp = None if tsa is None else partial(ask_stamp, tsa)
            made = replace(
                _materials(run, found, asked, verified, accepted), signing=signing, stamp=stamp, printer=printer
            )
            if words.sample is not None:
                made = replace(made, draw=draw(words.sample, words.seed, made.log, asked.until_ms))
            built = build_package(made, folder)
    _tell(run, built, package)
    return built.exit_code


# --- what is done ---


def _verified(run: "Invocation", table: "Trail", scope: "Scope", pinned_key: Path | None) -> "Verification":
    from query.note_check import load_public_key
    from query.verify.verification import Demand, Level
    from query.verify.verifier import verify as verify_trail

    key = pinned_key or run.settings.pinned_key
    demand = Demand(
        level=Level.QUICK,
        now_ms=run.now_ms,
        pinned_key=None if key is None else load_public_key(key),
        max_age_ms=None,
        since_ms=scope.since_ms,
        until_ms=scope.until_ms,
        redaction=table.redaction,
    )
    return verify_trail(run.archive.source, table.trail, demand, open_table=lambda: table, workers=run.settings.threads)


def _is_tampered(found: "Verification") -> bool:
    """Whether the trail was tampered with; then it says where."""
    from query.verify.problem import Verdict

    tampered = [one for one in found.problems if one.verdict is Verdict.TAMPERED]
    if not tampered:
        return False
    tell_lines(
        [
            *(f"{one.code}: {one.name}: {one.detail}" for one in tampered[:_SHOWN]),
            f"TAMPERED: {len(tampered)} findings, so there is no package",
            f"type ddbtrail verify {found.table_name} for all of them",
        ]
    )
    return True


def _materials(
    run: "Invocation", table: "Trail", scope: "Scope", verified: "Verification", accepted: "Accepted"
) -> "Materials":
    from query.cli.coverage import examined
    from query.evidence.build import Materials
    from query.seal_log import read_log

    source = run.archive.source
    return Materials(
        source=source,
        table=table,
        scope=scope,
        verified=verified,
        complete=examined(run, table, scope.since_ms, scope.until_ms),
        log=read_log(source, table.trail),
        accepted=accepted,
    )


@contextmanager
def _new_folder(package: Path, table_name: str) -> Iterator[Path]:
    """A folder for the files of a package, which has its name or is its zip archive when all of them are there."""
    from query.evidence.package import write_zip

    try:
        with tempfile.TemporaryDirectory(prefix=".ddbtrail-", dir=package.absolute().parent) as beside:
            folder = Path(beside, "files")
            folder.mkdir()
            yield folder
            if package.suffix.lower() == ".zip":
                whole = Path(beside, "package.zip")
                write_zip({path.name: path for path in folder.iterdir()}, f"{table_name}-evidence", whole)
                whole.replace(package)
            else:
                shutil.move(folder, package)
    except OSError as error:
        raise QueryError(
            f"could not write {package}",
            why=(error.strerror or str(error)).lower(),
            hint="type -O with a file in a folder that exists, and see that there is room",
        ) from error


def _tell(run: "Invocation", built: "Built", package: Path) -> None:
    from query.evidence.listed import LISTED
    from query.render.text import counted, grouped

    written = built.written
    run.note(f"{counted(written.changes, 'change')}, {counted(written.rows, 'row')} of attributes → {package}")
    if built.listed is not None:
        for told in built.listed.notes():
            run.note(f"{told}, named in {LISTED}")
    if built.proved.proofs:
        run.note(f"{counted(built.proved.proofs, 'segment')} proved against the signed log")
    if built.printed is not None and built.printed.boxes:
        boxes = counted(len(built.printed.boxes), "character")
        tell_lines([f"{boxes} of REPORT.pdf are boxes, as no font here has them; REPORT.html has all, query.txt which"])
    open_ones = [one for one in built.shortfalls if one.accepted is None]
    shown = [f"{one.code}: {one.document()['since'] or ''} {one.detail}".replace("  ", " ") for one in open_ones]
    tell_lines(shown[:_SHOWN])
    if len(shown) > _SHOWN:
        tell_lines([f"… {grouped(len(shown) - _SHOWN)} more, in coverage.json"])
    if open_ones:
        tell_lines(["the package is INCOMPLETE, and says so: --accept names what is to be taken as it is"])
