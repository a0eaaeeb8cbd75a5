"""Folders for what is thrown away again: rows that spilled, copies of objects, the database of a session.

Invariants: nobody else can enter one; one in use is never removed, since whoever uses it holds a lock on a file in it;
what a process that was killed left behind, the next process removes.
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


class Scratch:
    """A folder in the temporary folder, gone when this is closed or forgotten. `path` is where."""

    def __init__(self, purpose: Purpose) -> None:
        _sweep_once(tempfile.gettempdir())
        self.path = Path(tempfile.mkdtemp(prefix=f"ddbtrail-{purpose}-"))
        # Locked before it bears its name: nobody finds it unlocked in between.
        lock = os.open(self.path / "new", os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o600)
        fcntl.flock(lock, fcntl.LOCK_EX)
        (self.path / "new").rename(self.path / _LOCK)
        self.close = weakref.finalize(self, _remove, self.path, lock)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _remove(path: Path, lock: int) -> None:
    shutil.rmtree(path, ignore_errors=True)
    os.close(lock)


@cache
def _sweep_once(folder: str) -> None:
    sweep(Path(folder))


def sweep(folder: Path) -> list[Path]:
    """Removes what this user's killed processes left in a folder; what was removed."""
    removed = []
    with suppress(OSError), os.scandir(folder) as found:
        for one in found:
            is_ours = _OURS.fullmatch(one.name) and one.is_dir(follow_symlinks=False)
            if is_ours and one.stat(follow_symlinks=False).st_uid == os.getuid() and _remove_if_left(Path(one.path)):
                removed.append(Path(one.path))
    return removed


def _remove_if_left(path: Path) -> bool:
    with suppress(OSError):  # it is in use, or somebody else removed it meanwhile
        lock = os.open(path / _LOCK, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(path, ignore_errors=True)
        finally:
            os.close(lock)
        return True
    return False
