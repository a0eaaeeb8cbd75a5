"""Folders for what is thrown away again: rows that spilled, copies of objects, the database of a session.

Invariants: nobody else can enter one; one in use is never removed, since whoever uses it holds a lock on a file in it;
what a process that was killed left behind, the next process removes, however far that one had come with removing it.
"""

import fcntl
import os
import re
import shutil
import tempfile
import weakref
from contextlib import suppress
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Final, Literal, Self

Purpose = Literal["spill", "sql", "verify", "compact", "evidence"]

_OURS: Final = re.compile(r"ddbtrail-(spill|sql|verify|compact|evidence)-\w+", re.ASCII)
_LOCK: Final = ".in-use"
_HELD: Final = "held"


class Scratch:
    """A folder below the temporary folder, gone when this is closed or forgotten. `path` is where; nothing else is in
    it, and a process that is forked may use it but never removes it.
    """

    def __init__(self, purpose: Purpose) -> None:
        _sweep_once(tempfile.gettempdir())
        outer = Path(tempfile.mkdtemp(prefix=f"ddbtrail-{purpose}-"))
        self.path = outer / _HELD
        self.path.mkdir(mode=0o700)
        self.close = weakref.finalize(self, _remove, outer, _lock(outer), os.getpid())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _lock(outer: Path) -> int | None:
    """The descriptor that holds the lock; None where the file system has no locks, and then nobody ever sweeps it."""
    new = outer / "new"
    lock = os.open(new, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o600)
    try:
        # Locked before it bears its name: nobody finds it unlocked in between.
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        new.rename(outer / _LOCK)
    except OSError:
        os.close(lock)
        new.unlink(missing_ok=True)
        return None
    return lock


def _remove(outer: Path, lock: int | None, owner: int) -> None:
    if os.getpid() == owner:
        _remove_locked(outer)
    if lock is not None:
        os.close(lock)


def _remove_locked(outer: Path) -> None:
    """The lock goes last: what is left when somebody is killed here is found by it."""
    shutil.rmtree(outer / _HELD, ignore_errors=True)
    with suppress(OSError):
        (outer / _LOCK).unlink(missing_ok=True)
        outer.rmdir()


@cache
def _sweep_once(folder: str) -> None:
    sweep(Path(folder))


def sweep(folder: Path) -> list[Path]:
    """Removes what this user's killed processes left in a folder; what was removed."""
    with suppress(OSError), os.scandir(folder) as found:
        named = [Path(one.path) for one in found if _OURS.fullmatch(one.name)]
        return [path for path in named if _remove_if_left(path)]
    return []


def _remove_if_left(outer: Path) -> bool:
    with suppress(OSError):  # it is in use, it is not ours, or somebody else removed it meanwhile
        told = outer.lstat()
        if not outer.is_dir() or outer.is_symlink() or told.st_uid != os.getuid():
            return False
        lock = os.open(outer / _LOCK, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _remove_locked(outer)
        finally:
            os.close(lock)
        return not outer.exists()
    return False
