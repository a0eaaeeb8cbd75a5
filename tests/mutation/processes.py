"""Work in processes of their own: forked, limited in time and memory, and ended with all that they started."""

import os
import resource
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Final, TypeVar

# Some mutants never end, some never end taking memory. Processor time, since a busy machine must not kill for us; and
# time by the clock for one that waits.
_CLOCK_SECONDS: Final = 600
_MEMORY_BYTES: Final = 6 << 30

BROKEN: Final = 70  # the work itself went wrong

Key = TypeVar("Key")


def fork(work: Callable[[], int], cpu_s: int | None = None, output: Path | None = None) -> int:
    """Does the work in a process (and a group) of its own and gives its id; it ends with the code."""
    process = os.fork()
    if process:
        return process
    code = BROKEN
    try:
        os.setsid()
        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))
        if cpu_s is not None:
            resource.setrlimit(resource.RLIMIT_CPU, (cpu_s, cpu_s + 1))
        if output is not None:
            descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            os.dup2(descriptor, 1)
            os.dup2(descriptor, 2)
        code = work()
    except BaseException:  # nothing may go on in the parent's place
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def run_all(
    tasks: Iterable[tuple[Key, Callable[[], int]]], workers: int, cpu_s: int, output: Path | None = None
) -> Iterator[tuple[Key, int, bool]]:
    """So many at a time: each key with the exit code (negative: the signal that ended it), and whether its time was up."""
    running: dict[int, tuple[Key, float]] = {}
    late: set[int] = set()
    left = iter(tasks)
    is_more = True
    while is_more or running:
        while is_more and len(running) < workers:
            task = next(left, None)
            is_more = task is not None
            if task is not None:
                running[fork(task[1], cpu_s, output)] = task[0], time.monotonic() + _CLOCK_SECONDS
        ended, status = os.waitpid(-1, os.WNOHANG) if running else (0, 0)
        if ended in running:
            key, _ = running.pop(ended)
            end_group(ended)
            code = os.waitstatus_to_exitcode(status)
            yield key, code, ended in late or code == -signal.SIGXCPU
            continue
        for process, (_, until) in running.items():
            if time.monotonic() > until and process not in late:
                late.add(process)
                end_group(process)
        time.sleep(0.002)


def end_group(process: int) -> None:
    """Ends what a process of ours left behind."""
    try:
        os.killpg(process, signal.SIGKILL)
    except ProcessLookupError:
        return
