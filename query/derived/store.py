"""Where derived data is put, and taken away again: a folder or S3.

Invariants: every write is create-only and "already there" is success; an object is either absent or whole. Only what
is derived is ever deleted: a name outside `runs/` and `snapshots/` is refused.
"""

import os
import secrets
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol
from urllib.parse import urlsplit

from archiver.format.layout import Trail
from query.derived.names import is_derived_name
from query.errors import UnwritableStore, UsageError
from query.source import Access

_PARTIAL: Final = ".partial-"


@dataclass(frozen=True, slots=True)
class Held:
    """An object of derived data: its full name, its size in bytes, and when it was written (epoch ms)."""

    name: str
    size_bytes: int
    written_ms: int


class DerivedStore(Protocol):
    """What whoever makes derived data needs of the derived URL."""

    url: str

    def prepare(self) -> None:
        """Makes the place, where it can be made. Raises UnwritableStore."""
        ...

    def put_if_absent(self, name: str, path: Path) -> bool:
        """Stores a local file if no object has its name. True if it was written now. Raises UnwritableStore."""
        ...

    def held(self, prefix: str) -> list[Held]:
        """The objects below a prefix, in order of name."""
        ...

    def delete(self, names: Iterable[str]) -> None:
        """Deletes objects of derived data; one that is gone already is none. Raises UnwritableStore."""
        ...


def put_whole(store: DerivedStore, name: str, path: Path) -> None:
    """Stores a local file under a name that states its digest. What is there already is that file, unless it is not as
    long: then it was cut, and goes. Raises UnwritableStore, UnreadableArchive.
    """
    if store.put_if_absent(name, path):
        return
    there = {one.name: one.size_bytes for one in store.held(name.rpartition("/")[0] + "/")}
    if there.get(name) != path.stat().st_size:
        store.delete([name])
        store.put_if_absent(name, path)


def open_derived(url: str, access: Access) -> DerivedStore:
    """The store behind `s3://bucket/prefix`, `file://` or a folder. Raises UsageError."""
    parts = urlsplit(url)
    if parts.scheme == "s3" and parts.netloc:
        from query.derived.s3_store import S3Store  # noqa: PLC0415

        return S3Store(url, parts.netloc, parts.path.strip("/"), access)
    if "://" in url and parts.scheme != "file":
        raise UsageError(f"{url} is neither S3 nor a folder", hint="write s3://bucket/prefix or the path of a folder")
    return FolderStore(Path(parts.path if parts.scheme == "file" else url))


def check_derived(name: str) -> None:
    """Raises ValueError for the full name of anything else: whatever went wrong, evidence is not deleted."""
    _, inside = Trail.parse(name)
    if not is_derived_name(inside):
        raise ValueError(f"{name} is not derived data")


class FolderStore:
    """Derived data in a folder."""

    def __init__(self, root: Path) -> None:
        self.url = str(root)
        self._root = root

    def prepare(self) -> None:
        try:
            self._root.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UnwritableStore(
                f"could not make {self._root}", why=error.strerror or str(error), hint="name another folder: --derived"
            ) from error

    def put_if_absent(self, name: str, path: Path) -> bool:
        check_derived(name)
        target = self._root / name
        partial = target.parent / f"{_PARTIAL}{secrets.token_hex(8)}"
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                with path.open("rb") as source, partial.open("xb") as copy:
                    while some := source.read(1 << 20):
                        copy.write(some)
                    copy.flush()
                    os.fsync(copy.fileno())
                # A link, not a rename, which would replace what is there.
                os.link(partial, target)
            except FileExistsError:
                return False
            finally:
                partial.unlink(missing_ok=True)
        except OSError as error:
            raise UnwritableStore(
                f"could not write {target}", why=error.strerror or str(error), hint="free or repair the folder"
            ) from error
        return True

    def held(self, prefix: str) -> list[Held]:
        found = []
        for parent, _, files in os.walk(self._root / prefix):
            for file in files:
                path = Path(parent, file)
                with suppress(FileNotFoundError):  # another compaction's, and put or deleted by now
                    status = path.stat()
                    name = path.relative_to(self._root).as_posix()
                    found.append(Held(name, status.st_size, status.st_mtime_ns // 1_000_000))
        return sorted(found, key=lambda held: held.name)

    def delete(self, names: Iterable[str]) -> None:
        for name in names:
            check_derived(name)
            path = self._root / name
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                raise UnwritableStore(
                    f"could not delete {path}", why=error.strerror or str(error), hint="repair the folder"
                ) from error
            with suppress(OSError):  # others are still in it, or it is gone
                path.parent.rmdir()
