"""What `verify` shows: a line for each thing that was looked at, then every finding, then what nobody looked at."""

from collections.abc import Iterator
from itertools import groupby
from typing import Any, Final

from archiver.format.note import Checkpoint
from query.instant import format_ms
from query.note_check import fingerprint
from query.operate.finding import Finding, Result
from query.render.findings import finding_lines
from query.render.sheet import Column, Sheet
from query.render.text import Look, counted, grouped, size_text
from query.verify.problem import Problem, Verdict
from query.verify.verification import Level, Verification

_SHOWN: Final = 10  # findings of one code, on a terminal
_MARKS: Final = {
    Verdict.TAMPERED: Result.FAILED,
    Verdict.INCOMPLETE: Result.FAILED,
    Verdict.UNCHECKED: Result.NOT_CHECKED,
}
_WORDS: Final = {
    0: "verified: every check that was asked for passed",
    1: "TAMPERED: something is not what was sealed, or was never written by the archiver",
    3: "INCOMPLETE: something is missing, or not sealed when it should be",
    4: "NOT VERIFIED: something could not be checked",
}

PROBLEM_COLUMNS: Final = (
    Column("code", lambda problem: problem.code),
    Column("verdict", lambda problem: problem.verdict.word),
    Column("object", lambda problem: problem.name or None),
    Column("detail", lambda problem: problem.detail),
    Column("fix", lambda problem: problem.fix),
)


def verification_sheet(found: Verification) -> Sheet:
    """A row for each finding."""
    names = tuple(column.name for column in PROBLEM_COLUMNS)
    return Sheet(PROBLEM_COLUMNS, found.problems, names, names)


def verification_document(found: Verification, archive_url: str) -> dict[str, Any]:
    """The whole report as one JSON document. Members are added, never renamed."""
    demand = found.demand
    return {
        "table_name": found.table_name,
        "trail": found.trail and found.trail.prefix,
        "archive": archive_url,
        "exit_code": found.exit_code,
        "level": demand.level.value,
        "verified_at": format_ms(demand.now_ms),
        "key_fingerprint": None if demand.pinned_key is None else fingerprint(demand.pinned_key),
        "pinned_checkpoint": None
        if demand.pinned_checkpoint is None
        else {"size": demand.pinned_checkpoint.head.size, "root": demand.pinned_checkpoint.head.root.hex()},
        "max_age_s": None if demand.max_age_ms is None else demand.max_age_ms // 1000,
        "requested": {"since": _time(demand.since_ms), "until": _time(demand.until_ms)},
        "covered": [{"since": _time(since), "until": _time(until)} for since, until in found.covered],
        "checkpoint": None if found.head is None else found.head.compose().decode(),
        "sealed_to": _time(found.sealed_to_ms),
        "sealed_at": _time(found.sealed_at_ms),
        "totals": {
            "seals": found.seals,
            "entries": found.entries,
            "segments": found.segments,
            "records": found.records,
            "baselines": found.baselines,
            "quarantined": found.quarantined,
            "unsealed": found.unsealed,
            "files_checked": found.files_checked,
            "bytes_checked": found.bytes_checked,
            "rows_checked": found.rows_checked,
            "items_reconciled": found.reconciled,
            "runs_checked": found.runs,
            "run_rows_checked": found.run_rows,
            "snapshots_checked": found.snapshots,
        },
        "verdicts": {verdict.word: found.count(verdict) for verdict in Verdict},
        "codes": found.counts,
        "findings": [{column.name: column.cell(problem) for column in PROBLEM_COLUMNS} for problem in found.problems],
        "acknowledged": [
            {"object": said.path, "since": _time(said.from_ms), "until": _time(said.to_ms), "reason": said.reason}
            for said in found.acknowledgements
        ],
        "not_checked": [{"check": what, "why": why} for what, why in found.not_checked],
    }


def _time(instant_ms: int | None) -> str | None:
    return None if instant_ms is None else format_ms(instant_ms)


def verification_lines(found: Verification, look: Look, encoding: str = "utf-8") -> Iterator[str]:
    """The report for people; names are those inside the trail."""
    if found.trail is not None:
        yield f"{found.table_name}  {look.paint(found.trail.prefix, 'dim')}\n"
    yield from finding_lines(
        [*_looked_at(found), *_acknowledged(found), *_findings(found), *_not_looked_at(found)], look, encoding
    )
    yield "\n"
    yield f"{look.paint(_WORDS[found.exit_code], '+' if not found.exit_code else '-')}\n"


def _looked_at(found: Verification) -> Iterator[Finding]:
    """What was there and in order: said only where nothing of its kind is wrong."""
    codes = found.counts.keys()
    demand = found.demand
    if found.head is not None and demand.pinned_key is not None and not codes & _OF_THE_LOG:
        head = Checkpoint.parse(found.head.text)
        kept = ", which continues the pinned checkpoint" if demand.pinned_checkpoint is not None else ""
        key = fingerprint(demand.pinned_key)[:16]
        what = f"{counted(found.seals, 'seal')} valid, signed with key {key}…: one log of {grouped(head.size)} entries"
        yield Finding("log", Result.PASSED, what + kept)
    if found.files_checked and not codes & _OF_CONTENT:
        what = f"{counted(found.files_checked, 'file')} ({size_text(found.bytes_checked)}) as the log says"
        yield Finding("evidence", Result.PASSED, f"{what}: {counted(found.records, 'sealed change record')}")
    if demand.level is Level.FULL and found.rows_checked and not codes & _OF_ROWS:
        what = f"{counted(found.rows_checked, 'row')} derived again; no conflict, and no break of the image chain"
        yield Finding("rows", Result.PASSED, what)
    if (found.runs or found.snapshots) and not codes & _OF_DERIVED:
        what = f"{counted(found.runs, 'run')} of {counted(found.run_rows, 'row')}"
        and_snapshots = f" and {counted(found.snapshots, 'snapshot')}" if found.snapshots else ""
        yield Finding("derived", Result.PASSED, f"{what}{and_snapshots}, equal to the evidence that they were made of")
    if found.reconciled and "not-reconciled" not in codes:
        yield Finding("reconciliation", Result.PASSED, f"{counted(found.reconciled, 'item')} as the table has them")
    if found.sealed_to_ms is not None and found.sealed_at_ms is not None:
        waiting = f"; {counted(found.unsealed, 'object')} not sealed yet" if found.unsealed else ""
        when = f"sealed to {format_ms(found.sealed_to_ms)}, at {format_ms(found.sealed_at_ms)}{waiting}"
        yield Finding("sealed", Result.PASSED, when)


_OF_THE_LOG: Final = frozenset(
    {
        *("seal-malformed", "seal-of-another-trail", "log-forked", "log-inconsistent", "seal-signature"),
        *("seal-missing", "seal-in-future", "checkpoint-signature", "checkpoint-forked", "rolled-back"),
        *("entry-contradicts", "not-checkable"),
    }
)
_OF_CONTENT: Final = frozenset(
    {"digest-mismatch", "re-encoded", "unsound", "entry-disagrees", "object-missing", "unreadable", "foreign-object"}
)
_OF_ROWS: Final = _OF_CONTENT | {"identity-conflict", "image-break", "not-checkable"}
_OF_DERIVED: Final = frozenset({"derived-mismatch", "derived-missing", "derived-unreadable", "not-checkable"})


def _acknowledged(found: Verification) -> Iterator[Finding]:
    """What the log says that somebody has looked at, and why."""
    for said in found.acknowledgements[:_SHOWN]:
        what = said.path or f"{_time(said.from_ms)}/{_time(said.to_ms)}"
        yield Finding("acknowledged", Result.PASSED, f"{what}: {said.reason}")
    if len(found.acknowledgements) > _SHOWN:
        more = grouped(len(found.acknowledgements) - _SHOWN)
        yield Finding("acknowledged", Result.PASSED, f"{more} more: -o json lists them")


def _findings(found: Verification) -> Iterator[Finding]:
    """Tampering first; of many alike a few, and how many there are."""
    ordered = sorted(found.problems, key=lambda problem: (problem.verdict, problem.code, problem.name))
    for code, group in groupby(ordered, lambda problem: problem.code):
        alike = list(group)
        for problem in alike[:_SHOWN]:
            yield _finding(problem, found.trail.prefix if found.trail else "")
        if found.counts[code] > _SHOWN:
            yield Finding(code, Result.FAILED, f"{grouped(found.counts[code] - _SHOWN)} more", "-o json lists them")


def _finding(problem: Problem, prefix: str) -> Finding:
    name = problem.name.removeprefix(prefix)
    where = f"{name}: " if name else ""
    return Finding(problem.code, _MARKS[problem.verdict], f"{where}{problem.detail}", problem.fix)


def _not_looked_at(found: Verification) -> Iterator[Finding]:
    yield from (Finding(what, Result.NOT_CHECKED, why) for what, why in found.not_checked)
