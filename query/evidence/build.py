"""Builds a package: the files in a folder, the manifest after them, the signature last.

Invariant: nothing that is written depends on when or where; the manifest is made of the files as they lie there.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from query.completeness import Completeness
from query.errors import QueryError
from query.evidence.changes import Written, items_of, write_changes
from query.evidence.listed import LISTED, Listed, ListedItem
from query.evidence.package import MANIFEST, SIGNATURE, SIGNING_KEY, TIME_STAMP, compose_manifest, digest_of
from query.evidence.proofs import Proved, write_proofs
from query.evidence.report import report, shown_shortfalls
from query.evidence.sample import MOST_ITEMS, POPULATION, Draw
from query.evidence.scope import Scope
from query.evidence.shortfalls import Accepted, Shortfall, exit_code, find_shortfalls
from query.evidence.sources import source_sheet
from query.evidence.texts import how_to_verify, query_text, versions
from query.note_check import PublicKey, algorithm, check_detached, fingerprint, public_pem
from query.render.completeness import completeness_document
from query.render.formats import json_document, text_of
from query.render.text import Look
from query.render.verification import verification_document
from query.seal_log import SealLog
from query.source import Source
from query.table import Table
from query.verify.statements import Statements
from query.verify.verification import Verification

if TYPE_CHECKING:
    from query.evidence.pdf import Printed  # an extra: without it everything else is built

CHANGES: Final = "changes.parquet"
REPORT: Final = "REPORT.html"
PRINTED: Final = "REPORT.pdf"
_OF_BUILDING: Final = frozenset({"verified_at", "archive", "exit_code"})


class NotSigned(QueryError):  # noqa: N818  as in `query.errors`
    """Whoever signs made a signature that is not of the key in the package."""

    code = "not-signed"


@dataclass(frozen=True, slots=True)
class Signing:
    """Who signs a package: the public key, and what makes a signature of its own over a text."""

    public_key: PublicKey
    sign: Callable[[str], bytes]


@dataclass(frozen=True, slots=True)
class Materials:
    """What a package is made of. `table` is without runs; `verified` found no tampering; `stamp` makes a time
    stamp of a manifest, `printer` a PDF of the report.
    """

    source: Source
    table: Table
    scope: Scope
    verified: Verification
    complete: Completeness
    log: SealLog
    accepted: Accepted
    signing: Signing | None = None
    draw: Draw | None = None
    stamp: Callable[[bytes], bytes] | None = None
    printer: "Callable[[str], Printed] | None" = None


@dataclass(frozen=True, slots=True)
class Built:
    """What came of it; `exit_code` is that of the command."""

    written: Written
    proved: Proved
    shortfalls: tuple[Shortfall, ...]
    listed: Listed | None = None
    printed: "Printed | None" = None

    @property
    def exit_code(self) -> int:
        return exit_code(self.shortfalls)


def build(made: Materials, folder: Path) -> Built:
    """Writes the files of a package into an empty folder.

    Raises SealMismatch, CorruptSegment or UnreadableArchive for evidence, UsageError for a sample, NotSigned, whatever
    `stamp` raises, OSError for the folder.
    """
    made = _drawn(made, folder)
    table, scope, redaction = made.table, made.scope, made.table.redaction
    pinned = made.verified.demand.pinned_key
    written = write_changes(table, scope, folder / CHANGES, folder / "changes.csv")
    proved = write_proofs(made.source, made.log, written.first_of, folder, pinned, digests_only=bool(redaction.paths))
    shortfalls = find_shortfalls(
        made.verified,
        made.complete,
        Statements.of(made.log.entries()),
        conflicts=written.conflicts,
        unsealed=sum(change.is_sealed is False for change in written.first_of.values()),
        accepted=made.accepted,
        redaction=redaction,
    )
    built = Built(written, proved, shortfalls, _listed(scope, written))
    if built.listed is not None:
        _write(folder / LISTED, *(one.line(redaction) for one in built.listed.items))
    _write(folder / "source-files.csv", *text_of(source_sheet(made.source, table, scope), "csv", Look()))
    _write(folder / "coverage.json", json_document(_coverage(made, built)))
    _write(folder / "verification.json", json_document(_verification(made, built)))
    _report(made, built, folder)
    if made.printer is not None:
        built = replace(built, printed=_print(made.printer, folder))
    _write(folder / "query.txt", query_text(scope, table, redaction, made.accepted.texts, built.printed))
    key = None if made.signing is None else made.signing.public_key
    if key is not None:
        (folder / SIGNING_KEY).write_bytes(public_pem(key))
    names = {path.name for path in folder.iterdir()}
    _write(folder / "HOW-TO-VERIFY.txt", how_to_verify(names, key, pinned, scope.drawn))
    manifest = _sign(folder, made.signing)
    if made.stamp is not None:
        (folder / TIME_STAMP).write_bytes(made.stamp(manifest))
    return built


def _drawn(made: Materials, folder: Path) -> Materials:
    """The same, of a sample of the items if one is to be drawn; among which, is written."""
    if made.draw is None:
        return made
    items, contradicted = items_of(made.table, made.scope, MOST_ITEMS)
    drawn = made.draw.of(items, contradicted, made.table.redaction)
    _write(folder / POPULATION, *drawn.lines())
    return replace(made, scope=replace(made.scope, drawn=drawn))


def _listed(scope: Scope, written: Written) -> Listed | None:
    """What became of each item that was asked about, also of those that did not change: their silence is an answer."""
    if scope.listed is None:
        return None
    contradicted = {one.item_key for one in written.conflicts}
    return Listed(
        tuple(
            ListedItem(key, written.of_item[key], written.in_period.get(key, 0), key in contradicted)
            for key in scope.listed
        )
    )


def _report(made: Materials, built: Built, folder: Path) -> None:
    redaction, attribution = made.table.redaction, made.table.attribution
    is_masked = attribution.steps != () and redaction.covers(attribution.steps)
    valid = _verification(made, built)["signatureValid"]
    told = {
        **shown_shortfalls(built.shortfalls),
        "asked": [
            *made.scope.told(redaction, is_actor_masked=is_masked),
            *([] if built.listed is None else [built.listed.told()]),
        ],
        "proofs": built.proved.proofs,
        "not_proved": built.proved.not_sealed + built.proved.left_out,
        "signature": "no key was pinned, so it was not checked" if valid is None else "valid" if valid else "NOT VALID",
        "redacted": ", ".join(redaction.texts) or "nothing",
        "versions": versions(),
    }
    with made.table.engine.ask() as question:
        _write(folder / REPORT, *report(question, folder / CHANGES, made.scope, told, complete=made.complete))


def _print(printer: "Callable[[str], Printed]", folder: Path) -> "Printed":
    """Makes a PDF of the page as it lies there."""
    printed = printer((folder / REPORT).read_bytes().decode())
    (folder / PRINTED).write_bytes(printed.content)
    return printed


def _sign(folder: Path, signing: Signing | None) -> bytes:
    digests = {}
    for path in folder.iterdir():
        with path.open("rb") as file:
            digests[path.name] = digest_of(file)
    manifest = compose_manifest(digests)
    (folder / MANIFEST).write_bytes(manifest)
    if signing is not None:
        (folder / SIGNATURE).write_bytes(_signature(signing, manifest))
    return manifest


def _signature(signing: Signing, manifest: bytes) -> bytes:
    """A signature by the key that the manifest names: whoever signs was asked for that key minutes ago."""
    signature = signing.sign(manifest.decode())
    try:
        check_detached(manifest, signature, signing.public_key)
    except ValueError as error:
        raise NotSigned(
            "the package was signed with another key than the one in it",
            why=f"the signature is not one of {fingerprint(signing.public_key)}, which it was said to sign with",
            hint="build the package again; a key in KMS can be named by its ARN, which stays its own",
        ) from error
    return signature


def _coverage(made: Materials, built: Built) -> dict[str, Any]:
    told = completeness_document(made.complete, made.table.redaction)
    return told | {"exceptions": [one.document() for one in built.shortfalls]}


def _verification(made: Materials, built: Built) -> dict[str, Any]:
    """What the verification came to: under the names that auditors know, then the report of `verify`."""
    report = verification_document(made.verified, "")
    pinned = made.verified.demand.pinned_key
    wrong = [one for one in report["findings"] if one["code"] not in {"gap", "outside-coverage"}]
    unsigned = {"seal-signature", "no-seals", "key-not-pinned"}
    return {
        "signatureValid": None if pinned is None else not unsigned & made.verified.counts.keys(),
        "signatureAlgorithm": None if pinned is None else algorithm(pinned),
        "signatureDateTime": report["sealed_at"],
        "signatureKeyId": None if pinned is None else fingerprint(pinned),
        "validationErrors": wrong,
        "files": {"checked": made.verified.files_checked, "bytes": made.verified.bytes_checked},
        "proofs": {
            "segments_proved": built.proved.proofs,
            "segments_not_sealed": built.proved.not_sealed,
            "segments_left_out": built.proved.left_out,
        },
        "report": {name: value for name, value in report.items() if name not in _OF_BUILDING},
    }


def _write(path: Path, *pieces: str) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        file.writelines(pieces)
