"""Where evidence is read from: a folder here, S3 in `s3_source`, which is imported only where it is asked for.

Invariants: what `fetch` returns are whole local files; nothing is ever written to the archive.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from stat import S_ISREG
from typing import Final, Protocol
from urllib.parse import urlsplit

from query.errors import UnreadableArchive, UsageError

# What the archiver calls files that are not objects yet, and what other tools leave behind unasked (Hive's convention).
HIDDEN: Final = (".", "_")


@dataclass(frozen=True, slots=True)
class Access:
    """How to reach an archive outside this machine, and where copies may be kept (sizes in bytes)."""

    profile: str | None = None
    region: str | None = None
    endpoint_url: str | None = None
    cache_dir: Path = Path("~/.cache/ddbtrail")
    cache_limit_bytes: int = 10_000_000_000


@dataclass(frozen=True, slots=True, order=True)
class StoredObject:
    """An object's name below the archive's URL, and its size in bytes."""

    name: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class ObjectVersion:
    """A version of an object, or a delete marker among them; the id as S3 has it."""

    name: str
    version_id: str
    is_delete_marker: bool


class Source(Protocol):
    """What the reader needs of an archive."""

    url: str

    def folders(self, prefix: str) -> list[str]:
        """The names of the folders directly below a prefix that ends in a slash, in order."""
        ...

    def objects(self, prefix: str, *, start_after: str = "", stop_before: str = "") -> list[StoredObject]:
        """The objects below a prefix, in order of name; only names above `start_after` and below `stop_before`."""
        ...

    def fetch(self, wanted: Sequence[StoredObject]) -> list[Path]:
        """Local files with the content of the objects wanted, in order. Raises FileNotFoundError if one is gone."""
        ...

    def versions(self, prefix: str) -> Iterator[ObjectVersion] | None:
        """Every version and delete marker below a prefix, in order of name; None where objects have no versions."""
        ...


def open_source(url: str, access: Access) -> Source:
    """The source behind `s3://bucket/prefix`, `file://` or a folder. Raises UsageError or UnreadableArchive."""
    parts = urlsplit(url)
    if parts.scheme == "s3" and parts.netloc:
        from query.s3_source import S3Source  # noqa: PLC0415

        return S3Source(url, parts.netloc, parts.path.strip("/"), access)
    if "://" in url and parts.scheme != "file":
        raise UsageError(f"{url} is neither S3 nor a folder", hint="write s3://bucket/prefix or the path of a folder")
    return FolderSource(Path(parts.path if parts.scheme == "file" else url))


class FolderSource:
    """An archive in a folder: files are read where they are."""

    def __init__(self, root: Path) -> None:
        self.url = str(root)
        self._root = root
        if not root.is_dir():
            raise UnreadableArchive(
                f"there is no archive at {root}", why="the folder does not exist", hint="check the path given with -a"
            )

    def folders(self, prefix: str) -> list[str]:
        try:
            return sorted(entry.name for entry in os.scandir(self._root / prefix) if entry.is_dir())
        except FileNotFoundError:
            return []
        except OSError as error:
            raise _unreadable(self.url, error) from error

    def objects(self, prefix: str, *, start_after: str = "", stop_before: str = "") -> list[StoredObject]:
        def refuse(error: OSError) -> None:
            if not isinstance(error, FileNotFoundError):
                raise _unreadable(self.url, error) from error

        found = []
        for parent, folders, files in os.walk(self._root / prefix, onerror=refuse):
            relative = Path(parent).relative_to(self._root).as_posix()
            folders[:] = [name for name in folders if _may_hold(f"{relative}/{name}/", start_after, stop_before)]
            for file in files:
                name = f"{relative}/{file}"
                if name > start_after and (not stop_before or name < stop_before) and not file.startswith(HIDDEN):
                    found.append(StoredObject(name, _size_of_file(Path(parent, file), self.url)))
        return sorted(found)

    def fetch(self, wanted: Sequence[StoredObject]) -> list[Path]:
        return [self._root / stored.name for stored in wanted]

    def versions(self, prefix: str) -> None:  # noqa: ARG002
        return None


def _size_of_file(path: Path, url: str) -> int:
    """The size of a regular file: reading anything else may never end. Raises UnreadableArchive."""
    try:
        status = path.stat()
    except OSError as error:
        raise _unreadable(url, error) from error
    if not S_ISREG(status.st_mode):
        raise UnreadableArchive(
            f"could not read {url}", why=f"{path} is no file", hint="find out who put it there, and remove it"
        )
    return status.st_size


def _may_hold(folder: str, start_after: str, stop_before: str) -> bool:
    """Whether names that begin with `folder` can lie in the range."""
    return (folder >= start_after or start_after.startswith(folder)) and (not stop_before or folder < stop_before)


def _unreadable(url: str, error: OSError) -> UnreadableArchive:
    return UnreadableArchive(
        f"could not read {url}", why=str(error), hint="check the permissions of the archive's folder"
    )
