"""`make mutants`: changes the modules that vouch for an archive, one small change at a time, and sees whether their
tests notice.

Runs on what is committed, in a copy of its own, so that nobody's editing disturbs it. Each mutant is tried in a process
of its own, forked from one that has loaded the libraries: the tests that ran the changed lines first, the shortest
first, until one fails. Fails for a survivor without a written reason, for a reason without a survivor, and below 95 %.
"""

import argparse
import gc
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.mutation import trial
from tests.mutation.guards import GUARDS, Guard
from tests.mutation.operators import Mutant, mutants_of
from tests.mutation.processes import fork, run_all
from tests.mutation.report import Row, read_reasons, write_report

ROOT: Final = Path(__file__).parents[2]
RUNS: Final = ROOT / "build" / "mutants"
BUILD: Final = RUNS / str(os.getpid())  # two runs may go on at once; what became of each mutant stays in trials.tsv
TREE: Final = BUILD / "tree"

ENOUGH: Final = 0.95
_LEAST_CPU_SECONDS: Final = 5
_TIMES_THE_UNCHANGED: Final = 3
_SURVIVED, _FAILED, _INTERRUPTED, _USAGE = 0, 1, 2, 4  # pytest's exit codes; 2 and 4: a module cannot be imported


class Unfit(Exception):
    """Nothing can be said of a module."""


@dataclass(slots=True)
class Tried:
    """What became of the mutants of a module."""

    guard: Guard
    names: list[str]
    survived: list[str] = field(default_factory=list)
    by_time: int = 0


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="make mutants", description=__doc__)
    parser.add_argument("modules", nargs="*", metavar="MODULE", help="a path as in tests/mutation/guards.py; none: all")
    parser.add_argument("--workers", type=int, default=2)
    asked = parser.parse_args(arguments)
    known = {guard.module: guard for guard in GUARDS}
    if unknown := set(asked.modules) - known.keys():
        parser.error(f"tests/mutation/guards.py names no tests for {', '.join(sorted(unknown))}")
    guards = [guard for guard in GUARDS if not asked.modules or guard.module in asked.modules]
    os.nice(5)
    commit = _copy()
    reasons = read_reasons()
    complaints, rows = [], []
    for guard in guards:
        try:
            tried = _try_module(guard, asked.workers)
        except Unfit as error:
            complaints.append(f"{guard.module}: {error}")
            continue
        reason = reasons.get(guard.module, {})
        complaints += [f"{guard.module}: survived: {name}" for name in tried.survived if name not in reason]
        complaints += [f"{guard.module}: no survivor: {name}" for name in reason if name not in tried.survived]
        rows.append(Row(guard.module, guard.tests, len(tried.names), len(tried.survived), commit))
        print(
            f"{guard.module}: {rows[-1].killed} of {len(tried.names)} killed ({rows[-1].rate:.1%}), "
            f"{tried.by_time} of them by time",
            flush=True,
        )
    total = write_report(rows, reasons)
    if total.rate < ENOUGH:
        complaints.append(f"{total.rate:.1%} of all mutants were killed, less than {ENOUGH:.0%}")
    print("\n".join(complaints) or "every survivor is explained")
    return bool(complaints)


def _copy() -> str:
    """Copies what is committed into `TREE`, and gives the commit."""
    for former in RUNS.glob("[0-9]*"):
        if former == BUILD or not Path("/proc", former.name).exists():
            shutil.rmtree(former, ignore_errors=True)
    TREE.mkdir(parents=True)
    commit = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout.strip()
    archive = subprocess.run(["git", "archive", commit], cwd=ROOT, check=True, capture_output=True).stdout
    subprocess.run(["tar", "-x", "-C", str(TREE)], input=archive, check=True)
    return commit[:9]


def _try_module(guard: Guard, workers: int) -> Tried:
    place, told = trial.Place(TREE, BUILD), BUILD / "told"
    _, status, used = os.wait4(fork(lambda: trial.observe(guard, place, told), output=BUILD / "output"), 0)
    if status != 0:
        raise Unfit(f"its tests fail on the unchanged module:\n{(BUILD / 'output').read_text()[-5_000:]}")
    seen = trial.read_seen(told)
    cpu_s = max(_LEAST_CPU_SECONDS, round(_TIMES_THE_UNCHANGED * (used.ru_utime + used.ru_stime)))
    mutants = mutants_of((TREE / guard.module).read_text())
    tried = Tried(guard, [mutant.name for mutant in mutants])
    for number, code, is_late in _ended(guard, place, mutants, seen, cpu_s, workers):
        name = mutants[number].name
        killer = place.killer(number)
        how = "time" if is_late else killer.read_text() if killer.exists() else f"exit {code}"
        with (RUNS / "trials.tsv").open("a") as file:
            file.write(f"{guard.module}\t{code}\t{name}\t{how}\n")
        killer.unlink(missing_ok=True)
        tried.by_time += is_late
        if code == _SURVIVED:
            tried.survived.append(name)
        elif code not in (_FAILED, _INTERRUPTED, _USAGE) and code >= 0:
            raise Unfit(f"pytest ended with {code} on {name}")
    tried.survived.sort(key=tried.names.index)
    return tried


def _ended(
    guard: Guard, place: trial.Place, mutants: Sequence[Mutant], seen: trial.Seen, cpu_s: int, workers: int
) -> Iterator[tuple[int, int, bool]]:
    """The number of each mutant with pytest's exit code (negative: the signal that ended it), and whether its time was
    up.
    """
    anew = [number for number, mutant in enumerate(mutants) if not seen.fits_in_place(mutant)]
    if in_place := [(number, mutant) for number, mutant in enumerate(mutants) if seen.fits_in_place(mutant)]:
        told = BUILD / "in-place"
        process = fork(
            lambda: trial.attempt_in_place(guard, place, in_place, seen, told, workers=workers, cpu_s=cpu_s),
            output=BUILD / "output",
        )
        if os.waitpid(process, 0)[1] != 0:
            raise Unfit(f"its tests could not be collected:\n{(BUILD / 'output').read_text()[-5_000:]}")
        for number, code, is_late in map(json.loads, told.read_text().splitlines()):
            if code == trial.NOT_IN_PLACE:
                anew.append(number)
            else:
                yield number, code, is_late

    def attempt(number: int) -> Callable[[], int]:
        return lambda: trial.attempt(guard, place, number, mutants[number], seen)

    yield from run_all(((number, attempt(number)) for number in anew), workers, cpu_s, BUILD / "output")


def _load_libraries() -> None:
    """What every trial would load anew. Nothing of ours: that would be loaded unchanged. And none of it is garbage."""
    import boto3  # noqa: F401
    import cryptography.hazmat.primitives.serialization  # noqa: F401
    import duckdb  # noqa: F401
    import hypothesis.strategies  # noqa: F401
    import pyarrow.parquet  # noqa: F401

    gc.freeze()


if __name__ == "__main__":
    _load_libraries()
    try:
        sys.exit(main())
    finally:
        gc.unfreeze()
