"""Where evidence is read from: a folder here, S3 in `s3_source`, which is imported only where it is asked for.

Invariants: what `fetch` returns are whole local files, and what `read_ranges` returns is as long as it was asked for;
nothing is ever written to the archive.
"""

import os
import threading
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


# What `read_ranges` is asked for: an object, the first byte wanted of it, and how many.
ByteRange = tuple[StoredObject, int, int]


class Traffic:
    """What was asked of where the archive is: requests, bytes of content that came, bytes a local copy gave instead.

    A page of a listing is a request without bytes. A folder is read where it is, so its files count as content that
    came as soon as they are handed out, and nothing of it is cached.
    """

    def __init__(self) -> None:
        self.requests = 0
        self.bytes = 0
        self.cached = 0
        self._lock = threading.Lock()

    def add(self, *, requests: int = 0, content_bytes: int = 0, cached: int = 0) -> None:
        """Counts; any thread may."""
        with self._lock:
            self.requests += requests
            self.bytes += content_bytes
            self.cached += cached


@dataclass(frozen=True, slots=True)
class ObjectVersion:
    """A version of an object, or a delete marker among them; the id as S3 has it."""

    name: str
    version_id: str
    is_delete_marker: bool


@dataclass(frozen=True, slots=True)
class Retention:
    """Until when Object Lock keeps a version of an object (epoch ms), in mode COMPLIANCE or GOVERNANCE; or none."""

    mode: str = "none"
    until_ms: int | None = None


class Source(Protocol):
    """What the reader needs of an archive."""

    url: str
    traffic: Traffic

    def folders(self, prefix: str) -> list[str]:
        """The names of the folders directly below a prefix that ends in a slash, in order."""
        ...

    def objects(self, prefix: str, *, start_after: str = "", stop_before: str = "") -> list[StoredObject]:
        """The objects below a prefix, in order of name; only names above `start_after` and below `stop_before`."""
        ...

    def fetch(self, wanted: Sequence[StoredObject]) -> list[Path]:
        """Local files with the content of the objects wanted, in order. Raises FileNotFoundError if one is gone."""
        ...

    def read(self, names: Sequence[str], *, anew: bool = False) -> list[bytes | None]:
        """The content of small objects by name, in order; None for one that is not there. `anew`: not from a cache."""
        ...

    def read_ranges(self, wanted: Sequence[ByteRange]) -> list[bytes]:
        """The bytes of each range (object, offset, length), in order, all asked for at once.

        Raises FileNotFoundError (with the name) if an object is gone, UnreadableArchive if one ends before its range.
        """
        ...

    def versions(self, prefix: str) -> Iterator[ObjectVersion] | None:
        """Every version and delete marker below a prefix, in order of name; None where objects have no versions."""
        ...

    def retentions(self, wanted: Sequence[ObjectVersion]) -> list[Retention] | None:
        """The retention of each of some versions, its mode `not known: …` where that was refused; None where objects
        have none. Raises UnreadableArchive.
        """
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
        self.traffic = Traffic()
        self._root = root
        if not root.is_dir():
            raise UnreadableArchive(
                f"there is no archive at {root}", why="the folder does not exist", hint="check the path given with -a"
            )

    def folders(self, prefix: str) -> list[str]:
        self.traffic.add(requests=1)
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

        self.traffic.add(requests=1)
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
        self.traffic.add(requests=len(wanted), content_bytes=sum(stored.size_bytes for stored in wanted))
        return [self._root / stored.name for stored in wanted]

    def read(self, names: Sequence[str], *, anew: bool = False) -> list[bytes | None]:  # noqa: ARG002
        contents = [self._content(self._root / name) for name in names]
        self.traffic.add(requests=len(names), content_bytes=sum(len(content or b"") for content in contents))
        return contents

    def read_ranges(self, wanted: Sequence[ByteRange]) -> list[bytes]:
        return [self._range(stored, offset, length) for stored, offset, length in wanted]

    def _range(self, stored: StoredObject, offset: int, length: int) -> bytes:
        try:
            # Without O_NONBLOCK a pipe in a file's place would never open.
            descriptor = os.open(self._root / stored.name, os.O_RDONLY | os.O_NONBLOCK)
            try:
                content = os.pread(descriptor, length, offset)
                size = os.fstat(descriptor).st_size
            finally:
                os.close(descriptor)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise FileNotFoundError(stored.name) from error
        except OSError as error:
            raise _unreadable(self.url, error) from error
        if len(content) != length:
            raise cut_short(stored.name, size, offset + length)
        self.traffic.add(requests=1, content_bytes=length)
        return content

    def _content(self, path: Path) -> bytes | None:
        try:
            return path.read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise _unreadable(self.url, error) from error

    def versions(self, prefix: str) -> None:  # noqa: ARG002
        return None

    def retentions(self, wanted: Sequence[ObjectVersion]) -> None:  # noqa: ARG002
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


def cut_short(name: str, found_bytes: int, expected_bytes: int) -> UnreadableArchive:
    """The error for an object that ends before it should."""
    return UnreadableArchive(
        f"{name} has {found_bytes} bytes, and {expected_bytes} were expected",
        why="the object was cut short or replaced",
        hint="run the command again; if it stays, compare the object's versions in the bucket",
    )


def _unreadable(url: str, error: OSError) -> UnreadableArchive:
    return UnreadableArchive(
        f"could not read {url}", why=str(error), hint="check the permissions of the archive's folder"
    )
