"""What lies in an on-failure destination, object by object: a bucket, or a folder or a file that was copied from one.

Invariants: what cannot be listed or read is an error, never an empty answer; objects come in order of name; nothing is
written or deleted here.
"""

import errno
import os
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol
from urllib.parse import urlsplit

from archiver.errors import ArchiverError, StoreRefused, StoreUnavailable
from archiver.store import ObjectStore, open_store

# Lambda's payload has at most 6 MB, and as text in a text few characters take more than two. A file of messages may be
# longer; beyond this it is no on-failure record, and is not worth the memory of finding out.
LARGEST_BYTES: Final = 128 * 1024 * 1024


class DestinationUnreadable(ArchiverError):  # noqa: N818
    """The destination, or one object of it, could not be read. Nothing is known of what it holds."""


@dataclass(frozen=True, slots=True)
class HeldBackObject:
    """An object's name below the destination's URL, and its size in bytes."""

    name: str
    size_bytes: int


class HeldBack(Protocol):
    """An on-failure destination."""

    def objects(self) -> Iterator[HeldBackObject]:
        """All objects, in order of name. Raises DestinationUnreadable."""
        ...

    def read(self, name: str) -> bytes:
        """The content of one. Raises DestinationUnreadable."""
        ...

    def address(self, name: str) -> str:
        """Where an object is, for people."""
        ...

    def removal(self, name: str) -> str:
        """The command line that deletes an object, for whoever decides to."""
        ...


def open_held_back(url: str, *, endpoint_url: str | None, profile: str | None, region: str | None) -> HeldBack:
    """The destination behind `s3://bucket[/prefix]`, a folder or a file. Raises NotConfigured for other URLs."""
    store = open_store(url, endpoint_url=endpoint_url, profile=profile, region=region)
    parts = urlsplit(url)
    if parts.scheme != "s3":
        return HeldBackFolder(Path(parts.path if parts.scheme == "file" else url))
    options = {"--endpoint-url": endpoint_url, "--profile": profile, "--region": region}
    given = "".join(f" {name} {shlex.quote(value)}" for name, value in options.items() if value)
    return HeldBackInS3(store, url.rstrip("/"), given)


@dataclass(frozen=True)
class HeldBackFolder:
    """Objects that were copied to this machine, or one file of messages."""

    root: Path

    def objects(self) -> Iterator[HeldBackObject]:
        def refuse(error: OSError) -> None:
            raise _unreadable(str(error.filename), error)

        if self.root.is_file():
            yield _object(self.root, self.root.name)
            return
        found = []
        for parent, folders, files in os.walk(self.root, onerror=refuse):  # a root that is missing is an error too
            # A link to a folder is not followed, and is no file: it is listed, so that reading it says so.
            links = [folder for folder in folders if Path(parent, folder).is_symlink()]
            found += [Path(parent, name) for name in (*files, *links)]
        names = sorted((path.relative_to(self.root).as_posix(), path) for path in found)
        yield from (_object(path, name) for name, path in names)

    def read(self, name: str) -> bytes:
        path = self._path(name)
        if path.exists() and not path.is_file():  # a pipe would be waited for
            raise _unreadable(str(path), OSError(errno.EINVAL, "it is no file"))
        try:
            return path.read_bytes()
        except OSError as error:
            raise _unreadable(str(path), error) from error

    def address(self, name: str) -> str:
        return str(self._path(name))

    def removal(self, name: str) -> str:
        return f"rm -- {shlex.quote(self.address(name))}"

    def _path(self, name: str) -> Path:
        return self.root if self.root.is_file() else self.root / name


def _object(path: Path, name: str) -> HeldBackObject:
    try:
        return HeldBackObject(name, path.stat().st_size)
    except OSError:  # a link to nothing: reading it tells what is wrong with it
        return HeldBackObject(name, 0)


def _unreadable(what: str, error: OSError) -> DestinationUnreadable:
    return DestinationUnreadable(
        f"{what} could not be read: {error.strerror or error}",
        hint="name the on-failure bucket (s3://...), or the folder or file that its objects were copied to",
    )


@dataclass(frozen=True)
class HeldBackInS3:
    """Objects where Lambda put them. Needs `s3:ListBucket` and `s3:GetObject`."""

    store: ObjectStore
    url: str
    options: str = ""  # of the AWS command line, as far as this command was given them

    def objects(self) -> Iterator[HeldBackObject]:
        listed = self.store.list("")
        while True:
            found = self._asked(lambda: next(listed, None), self.url, "s3:ListBucket")
            if found is None:
                return
            name, size_bytes = found
            if size_bytes or not name.endswith("/"):  # the console makes a folder by an empty object of that name
                yield HeldBackObject(name, size_bytes)

    def read(self, name: str) -> bytes:
        content: bytes = self._asked(lambda: self.store.get(name), self.address(name), "s3:GetObject")
        return content

    def address(self, name: str) -> str:
        return f"{self.url}/{name}"

    def removal(self, name: str) -> str:
        return f"aws s3 rm {shlex.quote(self.address(name))}{self.options}"

    def _asked(self, question: Any, what: str, action: str) -> Any:
        try:
            return question()
        except FileNotFoundError as error:
            raise DestinationUnreadable(
                f"{what} is gone since it was listed", hint="somebody deleted it meanwhile: start again"
            ) from error
        except (StoreRefused, StoreUnavailable) as error:
            told = error.__cause__
            code = getattr(told, "response", {}).get("Error", {}).get("Code", "")
            raise DestinationUnreadable(f"{what} could not be read: {told}", hint=self._hint(code, action)) from error

    def _hint(self, code: str, action: str) -> str:
        match code:
            case "NoSuchBucket":
                return "correct --on-failure or DDBTRAIL_ON_FAILURE, and check --region and --endpoint-url"
            case "AccessDenied" | "403":
                return f"{action} (and kms:Decrypt) on {self.url} is missing: grant it, or choose another --profile"
            case _:
                return "check credentials, --region, --endpoint-url and the network, then start again"
