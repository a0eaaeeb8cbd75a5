"""What a package falls short of: gaps, findings of the verification, contradictions. Pure.

Invariant: a shortfall stays in the package also where somebody accepted it; accepting changes the exit code alone.
Tampering cannot be accepted.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from query.completeness import Completeness
from query.conflicts import Conflict
from query.errors import UsageError
from query.held_back import HeldBack
from query.instant import format_ms
from query.redaction import Redaction
from query.render.sheet import dump
from query.render.text import counted
from query.render.views import key_cell
from query.verify.problem import CODES, Verdict
from query.verify.statements import Statements
from query.verify.verification import Verification

# What completeness tells with its times, by the same rules.
_TOLD_OTHERWISE: Final = frozenset({"gap", "outside-coverage", "image-break", "held-back"})
_ACKNOWLEDGED: Final = "acknowledged in the log"


@dataclass(frozen=True, slots=True)
class Shortfall:
    """One of them: its code, as `verify` has it, what was seen, and the stretch that it is about (epoch ms; None: no
    stretch). `accepted` says who took it as it is; None: nobody.
    """

    code: str
    detail: str
    since_ms: int | None = None
    until_ms: int | None = None
    accepted: str | None = None

    @property
    def verdict(self) -> Verdict:
        return CODES[self.code][0]

    def document(self) -> dict[str, Any]:
        return {
            "code": self.code,
            "verdict": self.verdict.word,
            "since": None if self.since_ms is None else format_ms(self.since_ms),
            "until": None if self.until_ms is None else format_ms(self.until_ms),
            "detail": self.detail,
            "accepted": self.accepted,
        }


@dataclass(frozen=True, slots=True)
class Accepted:
    """What was named on the command line: codes of findings, and stretches of time (epoch ms)."""

    codes: frozenset[str] = frozenset()
    stretches: tuple[tuple[int, int], ...] = ()

    def __post_init__(self) -> None:
        for code in sorted(self.codes):
            if code not in CODES or CODES[code][0] is Verdict.TAMPERED:
                known = ", ".join(sorted(one for one, (verdict, _) in CODES.items() if verdict is not Verdict.TAMPERED))
                raise UsageError(
                    f"{code!r} cannot be accepted",
                    why="tampering never can" if code in CODES else f"codes are {known}",
                    hint="type --accept with one of them, or with a stretch of time: SINCE/UNTIL",
                )

    @property
    def texts(self) -> list[str]:
        """What was named, as it is typed."""
        return [*sorted(self.codes), *(f"{format_ms(since)}/{format_ms(until)}" for since, until in self.stretches)]

    def of(self, code: str, since_ms: int | None = None, until_ms: int | None = None) -> str | None:
        """How a shortfall was accepted: by its code, or by one stretch that holds the whole of it."""
        if code in self.codes:
            return f"--accept {code}"
        if since_ms is None or until_ms is None:
            return None
        held = [one for one in self.stretches if one[0] <= since_ms and until_ms <= one[1]]
        return f"--accept {format_ms(held[0][0])}/{format_ms(held[0][1])}" if held else None


def find_shortfalls(
    verified: Verification,
    complete: Completeness,
    said: Statements,
    *,
    conflicts: Sequence[Conflict],
    unsealed: int,
    accepted: Accepted,
    redaction: Redaction,
) -> tuple[Shortfall, ...]:
    """All of them: uncovered stretches, breaks of the image chain, what is held back, conflicts, other findings, and
    how many segments with changes of the package nobody has sealed.
    """
    found = [*_uncovered(complete, said, accepted), *_breaks(complete, said, accepted, redaction)]
    found += _held_back(complete.held_back, accepted)
    if unsealed:
        told = f"{counted(unsealed, 'segment')} of the package not sealed yet"
        found.append(Shortfall("unsealed", told, accepted=accepted.of("unsealed")))
    for conflict in {*conflicts, *complete.chain.conflicts}:
        key = dump(key_cell(conflict.item_key, redaction).shown)
        told = f"{', '.join(conflict.differs)} of {key} at {conflict.sequence_number.lstrip('0')} told in two ways"
        found.append(Shortfall("identity-conflict", f"{told}; the item is left out where that is in the period"))
    for problem in verified.problems:
        if problem.code not in _TOLD_OTHERWISE:
            told = f"{problem.name}: {problem.detail}" if problem.name else problem.detail
            found.append(Shortfall(problem.code, told, accepted=accepted.of(problem.code)))
    return tuple(sorted(found, key=lambda one: (one.verdict, one.code, one.since_ms or 0, one.detail)))


def exit_code(shortfalls: Sequence[Shortfall]) -> int:
    """0 if each was accepted; else the worst: tampering, then what is missing, then what nobody could check."""
    return min((int(one.verdict) for one in shortfalls if one.accepted is None), default=0)


def _uncovered(complete: Completeness, said: Statements, accepted: Accepted) -> Iterator[Shortfall]:
    for part in complete.uncovered:
        code = "outside-coverage" if part.cause == "before-coverage" else "gap"
        ends = part.since_ms, part.until_ms
        how = _ACKNOWLEDGED if said.has_acknowledged(*ends) else accepted.of(code, *ends)
        yield Shortfall(code, f"not covered: {part.cause}; changes in it, if any, are not known", *ends, how)
    if complete.newest_change_ms is None:
        yield Shortfall("no-segments", "nothing is archived", accepted=accepted.of("no-segments"))


def _breaks(complete: Completeness, said: Statements, accepted: Accepted, redaction: Redaction) -> Iterator[Shortfall]:
    for one in complete.chain.breaks:
        since_ms = one.since.at_ms
        ends = since_ms, max(one.until.at_ms, since_ms + 1)
        how = _ACKNOWLEDGED if said.has_acknowledged(*ends) else accepted.of("image-break", *ends)
        key = dump(key_cell(one.item_key, redaction).shown)
        yield Shortfall("image-break", f"{one.missing} of {key} is missing: {one.cause}", *ends, how)
    more = complete.chain.broken - len(complete.chain.breaks)
    if more:
        told = f"{counted(more, 'more break')} of the image chain"
        yield Shortfall("image-break", told, accepted=accepted.of("image-break"))


def _held_back(held: HeldBack | str | None, accepted: Accepted) -> Iterator[Shortfall]:
    if isinstance(held, str):
        yield Shortfall("unreadable", held, accepted=accepted.of("unreadable"))
    elif held is not None and (held.missing or held.unclear):
        told = f"{counted(held.missing, 'change')} not archived, {counted(len(held.unclear), 'unclear object')}"
        yield Shortfall("held-back", f"{told} in {held.url}", accepted=accepted.of("held-back"))
