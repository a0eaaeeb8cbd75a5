"""What a check found: a line of `doctor` or `status`. Codes and results are compared by scripts and never change."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final, Self

from query.operate.answers import Answer, Missing, Unknown

ALL_GOOD: Final = 0
SOMETHING_WRONG: Final = 1
SOMETHING_UNSEEN: Final = 4


class Result(StrEnum):
    """How a check ended. `not-checked` is never good news: nobody looked."""

    PASSED = "passed"
    FAILED = "failed"
    WARNING = "warning"
    NOT_CHECKED = "not-checked"


@dataclass(frozen=True, slots=True)
class Finding:
    """One check: `detail` is what was seen, or why nothing was; `fix` is what to do, empty where nothing is to be done.

    Without an essential one nobody can say that the table is archived.
    """

    check: str
    result: Result
    detail: str
    fix: str = ""
    is_essential: bool = False

    def __post_init__(self) -> None:
        if self.result in {Result.FAILED, Result.WARNING} and not self.fix:
            raise ValueError(f"{self.check} complains and does not say what to do")

    def essential(self) -> Self:
        return replace(self, is_essential=True)


def passed(check: str, detail: str) -> Finding:
    return Finding(check, Result.PASSED, detail)


def failed(check: str, detail: str, fix: str) -> Finding:
    return Finding(check, Result.FAILED, detail, fix)


def warned(check: str, detail: str, fix: str) -> Finding:
    return Finding(check, Result.WARNING, detail, fix)


def not_checked(check: str, why: str | Unknown) -> Finding:
    return Finding(check, Result.NOT_CHECKED, why if isinstance(why, str) else why.why)


def unsaid(check: str, answer: Answer | None) -> Finding:
    """Not checked, for the reason that there is no answer."""
    match answer:
        case Unknown(why):
            return not_checked(check, why)
        case Missing(what):
            return not_checked(check, what)
        case _:
            return not_checked(check, "it was not asked")


def exit_code(findings: Iterable[Finding]) -> int:
    """1 if anything is wrong, whatever else was not looked at; else 4 if something essential was not; else 0."""
    found = list(findings)
    if any(finding.result is Result.FAILED for finding in found):
        return SOMETHING_WRONG
    if any(finding.result is Result.NOT_CHECKED and finding.is_essential for finding in found):
        return SOMETHING_UNSEEN
    return ALL_GOOD
