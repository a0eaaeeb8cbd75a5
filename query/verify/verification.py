"""What was asked of a verification, and what came of it. Pure data."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from archiver.format.layout import Trail
from archiver.format.log_entry import AcknowledgeEntry
from archiver.format.note import SignedNote
from query.note_check import PublicKey
from query.redaction import NOTHING_REDACTED, Redaction
from query.shown import Tabular
from query.verify.heads import PinnedCheckpoint
from query.verify.problem import CODES, Problem, Verdict, exit_code

DEFAULT_MAX_AGE_MS: Final = 2 * 3_600_000
MOST_PROBLEMS: Final = 10_000  # of one code: that many are held and told, all are counted


class Level(StrEnum):
    """How much is looked at: `quick` digests every file, `full` also derives every leaf from its row again."""

    QUICK = "quick"
    FULL = "full"


@dataclass(frozen=True, slots=True)
class Demand:
    """What is asked. Times are epoch ms; a range is half open and None where it was not given.

    `max_age_ms` None: no seal is too old. `checks_from` is the size of the log below which objects are only listed.
    `redaction` masks item keys in what is told.
    """

    level: Level
    now_ms: int
    pinned_key: PublicKey | None = None
    pinned_checkpoint: PinnedCheckpoint | None = None
    max_age_ms: int | None = DEFAULT_MAX_AGE_MS
    since_ms: int | None = None
    until_ms: int | None = None
    checks_from: int = 0
    redaction: Redaction = NOTHING_REDACTED

    @property
    def has_range(self) -> bool:
        return self.since_ms is not None or self.until_ms is not None


@dataclass(slots=True)
class Verification(Tabular):
    """What was found; `trail` is None if the archive has none of that name. Counts are of objects, `records` those that
    are sealed; `rows_checked` of change records and items whose rows were derived again; `reconciled` of items that
    were compared with the table (None: it was not asked). `runs` and `snapshots` count those that were
    compared with evidence, `run_rows` the rows of runs.

    `unsealed` counts evidence that may still wait for the next seal; `not_checked` says what nobody looked at, and why.
    """

    trail: Trail | None
    demand: Demand
    problems: list[Problem] = field(default_factory=list)
    seals: int = 0
    entries: int = 0
    segments: int = 0
    records: int = 0
    baselines: int = 0
    quarantined: int = 0
    unsealed: int = 0
    files_checked: int = 0
    bytes_checked: int = 0
    rows_checked: int = 0
    reconciled: int | None = None
    runs: int = 0
    run_rows: int = 0
    snapshots: int = 0
    acknowledgements: Sequence[AcknowledgeEntry] = ()
    covered: tuple[tuple[int, int | None], ...] = ()
    table_name: str = ""
    head: SignedNote | None = None
    sealed_to_ms: int | None = None
    sealed_at_ms: int | None = None
    not_checked: list[tuple[str, str]] = field(default_factory=list)
    _counts: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.trail is not None:
            self.table_name = self.trail.table_name

    def add(self, *problems: Problem) -> None:
        """Takes findings in; of very many alike the first are kept."""
        for problem in problems:
            self._counts[problem.code] = self._counts.get(problem.code, 0) + 1
            if self._counts[problem.code] <= MOST_PROBLEMS:
                # Whoever writes to an archive chooses names, also such as are no text, which no report could hold.
                self.problems.append(
                    Problem(problem.code, _text(problem.name), _text(self.demand.redaction.text(problem.detail)))
                )

    def skip(self, what: str, why: str) -> None:
        """Says that something was not looked at."""
        self.not_checked.append((what, why))

    @property
    def counts(self) -> dict[str, int]:
        """How many findings there are of each code."""
        return dict(self._counts)

    def count(self, verdict: Verdict) -> int:
        """How many findings have a verdict."""
        return sum(number for code, number in self._counts.items() if CODES[code][0] is verdict)

    @property
    def ok(self) -> bool:
        """Whether every check that was asked for passed."""
        return not self.exit_code

    @property
    def exit_code(self) -> int:
        return exit_code(self.problems)


def _text(told: str) -> str:
    return told.encode("utf-8", "backslashreplace").decode()
