"""Findings as people and machines see them: a mark and a line each, never by colour alone; and the figures of `status`.

Invariant: with a width no line is longer than it.
"""

import textwrap
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any, Final

from query.operate.answers import Missing, Unknown
from query.operate.finding import Finding, Result
from query.render.sheet import Column, Json, Sheet
from query.render.text import Look, visible, width_of

if TYPE_CHECKING:
    from query.operate.diagnosis import Health

# Mark and style of each result.
_MARKS: Final = {
    Result.PASSED: ("✓", "+"),
    Result.FAILED: ("✗", "-"),
    Result.WARNING: ("!", "~"),
    Result.NOT_CHECKED: ("-", "dim"),
}
_FANCY: Final = "✓✗→…"
_PLAIN: Final = str.maketrans(_FANCY, "+X>_")
_INDENT: Final = "  "
_ARROW: Final = "→ "
_NARROWEST: Final = 20  # below that a terminal shows no sentence, whatever is done


def finding_sheet(findings: Iterable[Finding]) -> Sheet:
    """What `doctor` found."""
    names = tuple(column.name for column in FINDING_COLUMNS)
    return Sheet(FINDING_COLUMNS, findings, names, names)


FINDING_COLUMNS: Final = (
    Column("check", lambda finding: finding.check),
    Column("result", lambda finding: finding.result.value),
    Column("detail", lambda finding: finding.detail),
    Column("fix", lambda finding: finding.fix or None),
)


def finding_lines(findings: Sequence[Finding], look: Look, encoding: str = "utf-8") -> Iterator[str]:
    """A line for each, or a few where it is too long; those that were not checked for one reason are told together.

    A terminal whose `encoding` has no such marks gets plain ones, and escapes for whatever else it cannot show.
    """
    lines = _finding_lines(findings, look)
    try:
        _FANCY.encode(encoding)
    except UnicodeEncodeError:
        lines = (_in_plain(line, encoding) for line in lines)
    yield from lines


def _in_plain(line: str, encoding: str) -> str:
    return line.translate(_PLAIN).encode(encoding, "backslashreplace").decode(encoding)


def _finding_lines(findings: Sequence[Finding], look: Look) -> Iterator[str]:
    for reason, group in groupby(findings, _reason):
        found = list(group)
        if reason is None or len(found) == 1:
            for finding in found:
                yield from _lines(finding.result, f"{finding.check}: {finding.detail}", finding.fix, look)
        else:
            names = ", ".join(finding.check for finding in found)
            yield from _lines(Result.NOT_CHECKED, f"{names}: {reason[1]}", "", look)


def _reason(finding: Finding) -> tuple[str, str] | None:
    return ("not checked", finding.detail) if finding.result is Result.NOT_CHECKED else None


def _lines(result: Result, text: str, fix: str, look: Look) -> Iterator[str]:
    mark, style = _MARKS[result]
    said = f"{visible(text)}  {_ARROW}{visible(fix)}" if fix else visible(text)
    head = f"{look.paint(mark, style)} "
    if look.width is None or look.is_full or width_of(said) + len(_INDENT) <= look.width:
        yield f"{head}{said}\n"
        return
    for number, line in enumerate(wrapped(visible(text), look.width, _INDENT)):
        yield f"{head}{line.removeprefix(_INDENT)}\n" if number == 0 else f"{line}\n"
    if fix:
        yield from (f"{line}\n" for line in wrapped(f"{_ARROW}{visible(fix)}", look.width, _INDENT * 2))


def wrapped(text: str, width: int, indent: str) -> list[str]:
    """Text in lines of at most `width` cells, as far as its words allow."""
    return textwrap.wrap(
        text,
        max(width, _NARROWEST),
        initial_indent=indent,
        subsequent_indent=indent + (_INDENT if text.startswith(_ARROW) else ""),
        break_on_hyphens=False,
    )


class HealthView:
    """The figures of `status`: what was not known is None, and the findings say why."""

    def __init__(self, trail: Any, health: "Health", findings: Sequence[Finding], now_ms: int) -> None:
        self.trail = trail
        self.findings = findings
        self._health = health
        self._now_ms = now_ms

    @property
    def is_healthy(self) -> bool:
        return not any(finding.result is Result.FAILED for finding in self.findings)

    def of_mapping(self, name: str) -> str | None:
        reader = self._health.reader
        return None if isinstance(reader, Missing | Unknown) else reader.mapping.get(name)  # type: ignore[return-value]

    def of_lag(self, name: str) -> int | None:
        return getattr(self._health.lag, name, None)

    def of_held_back(self, name: str) -> Any:
        return getattr(self._health.held_back, name, None)

    def of_trail(self, name: str) -> int | None:
        return getattr(self._health.trail, name, None)

    def of_seal(self, name: str) -> int | None:
        return getattr(getattr(self._health.trail, "sealed", None), name, None)

    @property
    def newest_seal_age_s(self) -> int | None:
        sealed_at_ms = self.of_seal("sealed_at_ms")
        return None if sealed_at_ms is None else (self._now_ms - sealed_at_ms) // 1_000

    @property
    def newest_age_s(self) -> int | None:
        newest_ms = self.of_trail("newest_ms")
        return None if newest_ms is None else (self._now_ms - newest_ms) // 1_000


def _seconds(milliseconds: int | None) -> int | None:
    return None if milliseconds is None else milliseconds // 1_000


HEALTH_COLUMNS: Final = (
    Column("account", lambda view: view.trail and view.trail.account),
    Column("region", lambda view: view.trail and view.trail.region),
    Column("table_name", lambda view: view.trail and view.trail.table_name),
    Column("is_healthy", lambda view: view.is_healthy, "boolean"),
    Column("mapping_state", lambda view: view.of_mapping("State")),
    Column("last_result", lambda view: view.of_mapping("LastProcessingResult")),
    Column("iterator_age_s", lambda view: _seconds(view.of_lag("age_ms")), "integer"),
    Column("iterator_age_at", lambda view: view.of_lag("at_ms"), "time"),
    Column("newest_change", lambda view: view.of_trail("newest_ms"), "time"),
    Column("newest_change_age_s", lambda view: view.newest_age_s, "integer"),
    Column("held_back_objects", lambda view: view.of_held_back("objects"), "integer"),
    Column("held_back_bytes", lambda view: view.of_held_back("size_bytes"), "integer"),
    Column("held_back_oldest", lambda view: view.of_held_back("oldest_ms"), "time"),
    Column("held_back_is_whole", lambda view: view.of_held_back("is_whole"), "boolean"),
    Column("quarantined", lambda view: view.of_trail("quarantined"), "integer"),
    Column("newest_seal", lambda view: view.of_seal("sealed_at_ms"), "time"),
    Column("newest_seal_age_s", lambda view: view.newest_seal_age_s, "integer"),
    Column("log_size", lambda view: view.of_seal("size"), "integer"),
    Column("findings", lambda view: Json([_as_json(finding) for finding in view.findings]), "json"),
)
_BRIEF: Final = ("table_name", "mapping_state", "iterator_age_s", "newest_change_age_s", "held_back_objects")


def _as_json(finding: Finding) -> dict[str, str | None]:
    return {column.name: column.cell(finding) for column in FINDING_COLUMNS}


def health_sheet(view: HealthView) -> Sheet:
    """The figures of one table."""
    return Sheet(HEALTH_COLUMNS, [view], tuple(column.name for column in HEALTH_COLUMNS), _BRIEF)
