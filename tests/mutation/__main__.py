"""`make mutants`: changes the modules that vouch for an archive, one small change at a time, and sees whether their
tests notice.

Runs on what is committed, in a copy of its own, so that nobody's editing disturbs it. Each mutant is tried in a process
of its own, forked from one that has loaded the libraries: the tests that ran the changed lines first, the shortest
first, until one fails. Fails for a survivor without a written reason, for a reason without a survivor, and below 95 %.
"""

import argparse
import gc
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.mutation import trial
from tests.mutation.guards import GUARDS, Guard
from tests.mutation.operators import Mutant, mutants_of
from tests.mutation.report import Row, read_reasons, write_report

ROOT: Final = Path(__file__).parents[2]
RUNS: Final = ROOT / "build" / "mutants"
BUILD: Final = RUNS / str(os.getpid())  # two runs may go on at once; what became of each mutant stays in trials.tsv
TREE: Final = BUILD / "tree"

ENOUGH: Final = 0.95
# What a mutant may take: some mutants never end, some never end taking memory. Processor time, since a busy machine
# must not kill for us; and time by the clock for one that waits.
_LEAST_CPU_SECONDS: Final = 5
_TIMES_THE_UNCHANGED: Final = 3
_CLOCK_SECONDS: Final = 300
_MEMORY_BYTES: Final = 6 << 30
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
        if not Path("/proc", former.name).exists():
            shutil.rmtree(former, ignore_errors=True)
    TREE.mkdir(parents=True)
    commit = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout.strip()
    archive = subprocess.run(["git", "archive", commit], cwd=ROOT, check=True, capture_output=True).stdout
    subprocess.run(["tar", "-x", "-C", str(TREE)], input=archive, check=True)
    return commit[:9]


def _try_module(guard: Guard, workers: int) -> Tried:
    told = BUILD / "told"
    _, status, used = os.wait4(_fork("observe", lambda options: trial.observe(guard, options, told)), 0)
    if status != 0:
        raise Unfit(f"its tests fail on the unchanged module:\n{_output('observe')}")
    seen = trial.read_told(told)
    cpu_s = max(_LEAST_CPU_SECONDS, round(_TIMES_THE_UNCHANGED * (used.ru_utime + used.ru_stime)))
    path = (TREE / guard.module).resolve()
    mutants = mutants_of(path.read_text())
    tried = Tried(guard, [mutant.name for mutant in mutants])
    for mutant, code, is_late in _pool(guard, mutants, seen, str(path), cpu_s, workers):
        tried.by_time += is_late
        if code == _SURVIVED:
            tried.survived.append(mutant.name)
        elif code not in (_FAILED, _INTERRUPTED, _USAGE) and code >= 0:
            raise Unfit(f"pytest ended with {code} on {mutant.name}")
    tried.survived.sort(key=tried.names.index)
    return tried


def _pool(
    guard: Guard, mutants: Sequence[Mutant], seen: trial.Told, path: str, cpu_s: int, workers: int
) -> Iterator[tuple[Mutant, int, bool]]:
    """Each mutant with pytest's exit code (negative: the signal that ended it), and whether its time was up."""
    running: dict[int, tuple[int, Mutant, float]] = {}
    late: set[int] = set()
    left = iter(enumerate(mutants))
    is_more = True
    while is_more or running:
        while is_more and len(running) < workers:
            number, mutant = next(left, (-1, None))
            if mutant is None:
                is_more = False
                break
            process = _fork_trial(guard, number, mutant, seen, path, cpu_s)
            running[process] = number, mutant, time.monotonic() + _CLOCK_SECONDS
        ended, status = os.waitpid(-1, os.WNOHANG) if running else (0, 0)
        if ended in running:
            number, mutant, _ = running.pop(ended)
            _kill_group(ended)  # what it left behind
            shutil.rmtree(BUILD / f"tmp-{number}", ignore_errors=True)
            code = os.waitstatus_to_exitcode(status)
            killer = BUILD / f"killer-{number}"
            is_late = ended in late or code == -signal.SIGXCPU
            how = "time" if is_late else killer.read_text() if killer.exists() else f"exit {code}"
            with (BUILD / "trials.tsv").open("a") as file:
                file.write(f"{guard.module}\t{code}\t{mutant.name}\t{how}\n")
            yield mutant, code, is_late
            continue
        for process, (_, _, until) in running.items():
            if time.monotonic() > until and process not in late:
                late.add(process)
                _kill_group(process)
        time.sleep(0.005)


def _fork_trial(guard: Guard, number: int, mutant: Mutant, seen: trial.Told, path: str, cpu_s: int) -> int:
    order = _order(mutant, seen)
    return _fork(
        str(number),
        lambda options: trial.attempt(guard, mutant.code(path), order, options, BUILD / f"killer-{number}"),
        cpu_s,
    )


def _order(mutant: Mutant, seen: trial.Told) -> list[str]:
    """Tests that ran the changed lines first; the shortest first."""
    lines = mutant.lines
    return sorted(seen, key=lambda test: (lines is not None and seen[test].lines.isdisjoint(lines), seen[test].seconds))


def _fork(name: str, work: Callable[[Sequence[str]], int], cpu_s: int | None = None) -> int:
    """Does the work in a process (and group) of its own, in the copy, and gives its id; it ends with the code."""
    process = os.fork()
    if process:
        return process
    code = 70
    try:
        os.setsid()
        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))
        if cpu_s is not None:
            resource.setrlimit(resource.RLIMIT_CPU, (cpu_s, cpu_s + 1))
        output = os.open(BUILD / f"output-{name}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.chdir(TREE)
        sys.path[:] = [str(TREE), *(entry for entry in sys.path if entry not in ("", str(ROOT)))]
        code = work([f"--basetemp={BUILD / f'tmp-{name}'}", "--rootdir", str(TREE)])
    except BaseException:  # nothing may go on in the parent's place
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _output(name: str) -> str:
    return (BUILD / f"output-{name}").read_text(errors="replace")[-5_000:]


def _kill_group(process: int) -> None:
    try:
        os.killpg(process, signal.SIGKILL)
    except ProcessLookupError:
        return


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
