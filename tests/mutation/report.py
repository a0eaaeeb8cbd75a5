"""What became of the mutants: read and written as `docs/mutation.md`, and the reasons why some may live.

A row is of the run that made it: a run of some modules leaves the rows of all others as they are.
"""

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from tests.mutation.guards import GUARDS

_HERE: Final = Path(__file__).parent
PAGE: Final = _HERE.parents[1] / "docs" / "mutation.md"
REASONS: Final = _HERE / "survivors.toml"

_OPENING: Final = """# Mutation testing

`make mutants` changes the code that vouches for an archive, one small change at a time, and runs the tests that guard
it: a mutant that no test notices is a rule that no test holds. This page is written by that command
([why so](decisions/0008-mutation-testing.md)). A rate counts the mutants killed among all, also among those that
cannot be told from the code as it is; every one that survived is listed below with the reason.

"""
_HEAD: Final = "| Module | Guarded by | Mutants | Killed | Rate | Date | Commit |\n|---|---|---:|---:|---:|---|---|\n"
_ROW: Final = re.compile(
    r"\| `(?P<module>[^`]+)` \| (?P<tests>[^|]+) \| (?P<mutants>\d+) \| (?P<killed>\d+) \| [\d.]+ % "
    r"\| (?P<date>[\d-]+) \| (?P<commit>\w+) \|"
)


@dataclass(frozen=True, slots=True)
class Row:
    """The mutants of one module, of which some survived, at a commit."""

    module: str
    tests: tuple[str, ...]
    mutants: int
    survived: int
    commit: str
    date: str = ""

    @property
    def killed(self) -> int:
        return self.mutants - self.survived

    @property
    def rate(self) -> float:
        return self.killed / self.mutants

    def line(self) -> str:
        tests = ", ".join(f"`{Path(test).name}`" for test in self.tests)
        date = self.date or datetime.now(UTC).date().isoformat()
        return (
            f"| `{self.module}` | {tests} | {self.mutants} | {self.killed} | {self.rate:.1%} | {date} | {self.commit} |"
        ).replace("% |", " % |")


def read_reasons() -> Mapping[str, Mapping[str, str]]:
    """By module and name of a mutant: why it may live."""
    return tomllib.loads(REASONS.read_text())


def write_report(rows: Sequence[Row], reasons: Mapping[str, Mapping[str, str]]) -> Row:
    """Puts these rows in the place of those of the same modules, and gives the sum of all."""
    former = {row.module: row for row in _read_rows(PAGE.read_text() if PAGE.exists() else "")}
    told = former | {row.module: row for row in rows}
    ordered = [told[guard.module] for guard in GUARDS if guard.module in told]
    total = Row("all", (), sum(row.mutants for row in ordered), sum(row.survived for row in ordered), "")
    table = "".join(f"{row.line()}\n" for row in ordered)
    table += f"| **all** | | {total.mutants} | {total.killed} | {total.rate:.1%} | | |\n".replace("% |", " % |")
    PAGE.write_text(_OPENING + _HEAD + table + "".join(_explained(row.module, reasons) for row in ordered))
    return total


def _explained(module: str, reasons: Mapping[str, Mapping[str, str]]) -> str:
    by_reason: dict[str, list[str]] = {}
    for name, reason in reasons.get(module, {}).items():
        by_reason.setdefault(reason, []).append(name)
    if not by_reason:
        return ""
    told = [
        f"-   {reason}\n\n" + "".join(f"        {name}\n" for name in names) + "\n"
        for reason, names in by_reason.items()
    ]
    return f"\n## Survivors in `{module}`\n\n" + "".join(told).rstrip("\n") + "\n"


def _read_rows(page: str) -> list[Row]:
    return [
        Row(
            found["module"],
            tuple(found["tests"].replace("`", "").split(", ")),
            int(found["mutants"]),
            int(found["mutants"]) - int(found["killed"]),
            found["commit"],
            found["date"],
        )
        for found in _ROW.finditer(page)
    ]
