"""What a verification finds, and what each finding means for its exit code: one table. Scripts compare the codes."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from typing import Final


class Verdict(IntEnum):
    """What a finding is evidence of: the exit codes of `verify`."""

    TAMPERED = 1
    INCOMPLETE = 3
    UNCHECKED = 4

    @property
    def word(self) -> str:
        return self.name.lower()


# --- code: (verdict, what to do next) ---

_COMPARE: Final = "compare the object's versions in the bucket, and whoever could write it"
_RESTORE: Final = "restore the object's version, or find the copy that was made of it"
_WHO: Final = "find out who wrote it"
_ANEW: Final = "delete it, and make it anew: ddbtrail compact TABLE; find out who can write there"

CODES: Final[dict[str, tuple[Verdict, str]]] = {
    # the log
    "seal-malformed": (Verdict.TAMPERED, _COMPARE),
    "seal-of-another-trail": (Verdict.TAMPERED, _WHO),
    "log-forked": (Verdict.TAMPERED, "two seals extend one log: keep both, and ask who can sign"),
    "log-inconsistent": (Verdict.TAMPERED, _COMPARE),
    "seal-signature": (Verdict.TAMPERED, "check that the pinned key is the one that this trail is sealed with"),
    "seal-in-future": (Verdict.TAMPERED, "check this machine's clock, and the sealer's"),
    "checkpoint-signature": (Verdict.TAMPERED, "check where the pinned checkpoint comes from"),
    "checkpoint-forked": (Verdict.TAMPERED, "the log was rewritten since the checkpoint was taken: keep both"),
    "entry-contradicts": (Verdict.TAMPERED, "the log says two things of one object: ask who can sign"),
    "seal-missing": (Verdict.INCOMPLETE, _RESTORE),
    "rolled-back": (Verdict.INCOMPLETE, "the newest seals are gone: look for their versions in the bucket"),
    "no-seals": (Verdict.INCOMPLETE, "seal it: ddbtrail seal TABLE --signing-key KEY"),
    "stale": (Verdict.INCOMPLETE, "see why nothing is sealed (docs/operations.md), or say --max-age"),
    "period-not-sealed": (Verdict.INCOMPLETE, "wait for the next seal, or see why there is none"),
    # objects
    "foreign-object": (Verdict.TAMPERED, _WHO),
    "digest-mismatch": (Verdict.TAMPERED, _COMPARE),
    "re-encoded": (Verdict.TAMPERED, "its records are intact, but somebody wrote the file anew"),
    "second-version": (Verdict.TAMPERED, _COMPARE),
    "forged-segment": (Verdict.TAMPERED, _WHO),
    "unsound": (Verdict.TAMPERED, _COMPARE),
    "entry-disagrees": (Verdict.TAMPERED, "the sealer said something else of it: ask who can sign"),
    "object-missing": (Verdict.INCOMPLETE, _RESTORE),
    "object-hidden": (Verdict.INCOMPLETE, "remove the delete marker, and find out who put it there"),
    "unsealed": (Verdict.INCOMPLETE, "see why it was not sealed; ddbtrail seal TABLE --sweep looks at everything"),
    "no-segments": (Verdict.INCOMPLETE, "ddbtrail doctor TABLE says why nothing arrives"),
    "no-trail": (Verdict.INCOMPLETE, "check the name and -a; if both are right, the trail is gone"),
    # what is archived
    "identity-conflict": (Verdict.TAMPERED, "ddbtrail log TABLE --conflicts"),
    "gap": (Verdict.INCOMPLETE, "ddbtrail acknowledge TABLE SINCE/UNTIL --reason ..., once it is understood"),
    "image-break": (Verdict.INCOMPLETE, "ddbtrail coverage TABLE shows the changes on both sides"),
    "outside-coverage": (Verdict.INCOMPLETE, "narrow the range"),
    "quarantined": (Verdict.INCOMPLETE, "look at it, then ddbtrail acknowledge TABLE OBJECT --reason ..."),
    "held-back": (Verdict.INCOMPLETE, "ddbtrail replay TABLE"),
    "not-reconciled": (Verdict.INCOMPLETE, "ddbtrail history TABLE KEY shows what the trail has of the item"),
    # what is derived from it
    "derived-mismatch": (Verdict.TAMPERED, _ANEW),
    "derived-missing": (Verdict.INCOMPLETE, _ANEW),
    # nobody could tell
    "derived-unreadable": (Verdict.UNCHECKED, "grant the right to read it, or look at the network, and run it again"),
    "key-not-pinned": (Verdict.UNCHECKED, "add --pinned-key KEY.pub, got from whoever runs the sealer"),
    "unreadable": (Verdict.UNCHECKED, "grant the right to read it, or look at the network, and run it again"),
    "not-checkable": (Verdict.UNCHECKED, "mend what else was found, and run it again"),
}


@dataclass(frozen=True, slots=True)
class Problem:
    """One finding: its code, the full name of the object it is about (empty: the trail), and what was seen."""

    code: str
    name: str
    detail: str

    def __post_init__(self) -> None:
        assert self.code in CODES, f"{self.code} is no code of a finding"

    @property
    def verdict(self) -> Verdict:
        return CODES[self.code][0]

    @property
    def fix(self) -> str:
        return CODES[self.code][1]


def exit_code(problems: Iterable[Problem]) -> int:
    """0 without any; else the worst: tampering, then what is missing, then what nobody could check."""
    return min((problem.verdict for problem in problems), default=0)
