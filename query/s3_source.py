"""An archive in S3, read through a local cache of immutable objects. The only file of the reader that talks to S3.

Invariants: objects never change, so a cached copy of the right size is the object, or the range of it that the copy's
name says; what `fetch` returns are whole local files. Nothing is ever written to the archive.
"""

import os
import re
import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Final, Self

from query.errors import UnreadableArchive
from query.source import HIDDEN, Access, ByteRange, ObjectVersion, StoredObject, Traffic, cut_short

# With 30 ms an answer, 64 requests under way fetch 200 small files in 0.3 s; more gains nothing.
_REQUESTS_AT_ONCE: Final = 64
# Ranges are fetched and kept in whole chunks, so that two questions that overlap fetch nothing twice.
_CHUNK_BYTES: Final = 1 << 16
# A longer stretch comes faster in several requests.
_MOST_CHUNKS_A_REQUEST: Final = 128
_STRETCH: Final = re.compile(r"(0|[1-9][0-9]{0,9})-([1-9][0-9]{0,9})")


class S3Source:
    """An archive in S3, read into a cache: whole objects, and ranges of large ones."""

    def __init__(self, url: str, bucket: str, prefix: str, access: Access) -> None:
        self.url = url
        self.traffic = Traffic()
        self._prefix = f"{prefix}/" if prefix else ""
        self._bucket = bucket
        self._access = access
        self._client = s3_client(bucket, access)
        digest = sha256(f"{access.endpoint_url or ''} {url}".encode()).hexdigest()[:16]
        self._cache = Cache(access.cache_dir.expanduser() / digest, access.cache_limit_bytes)

    def folders(self, prefix: str) -> list[str]:
        import obstore  # noqa: PLC0415

        with self._errors():
            listed = obstore.list_with_delimiter(self._client, prefix=self._prefix + prefix)
        self.traffic.add(requests=1)
        return sorted(name.rstrip("/").rpartition("/")[2] for name in listed["common_prefixes"])

    def objects(self, prefix: str, *, start_after: str = "", stop_before: str = "") -> list[StoredObject]:
        return sorted(self._listed(prefix, start_after, stop_before))

    def _listed(self, prefix: str, start_after: str, stop_before: str) -> Iterator[StoredObject]:
        import obstore  # noqa: PLC0415

        offset = self._prefix + start_after if start_after else None
        with self._errors():
            # Pages come in order of name, so the first name beyond the range ends the listing.
            for page in obstore.list(self._client, prefix=self._prefix + prefix, offset=offset, chunk_size=1000):
                self.traffic.add(requests=1)
                for meta in page:
                    name = meta["path"].removeprefix(self._prefix)
                    if stop_before and name >= stop_before:
                        return
                    if not name.rpartition("/")[2].startswith(HIDDEN):
                        yield StoredObject(name, meta["size"])

    def fetch(self, wanted: Sequence[StoredObject]) -> list[Path]:
        missing = [stored for stored in wanted if not self._cache.has(stored)]
        self.traffic.add(cached=sum(stored.size_bytes for stored in wanted) - sum(one.size_bytes for one in missing))
        self._cache.make_room(sum(stored.size_bytes for stored in missing), keep=wanted)
        if missing:
            with ThreadPoolExecutor(_REQUESTS_AT_ONCE) as requests:
                for _ in requests.map(self._download, missing):
                    pass
        return [self._cache.path(stored) for stored in wanted]

    def read(self, names: Sequence[str], *, anew: bool = False) -> list[bytes | None]:
        with ThreadPoolExecutor(min(_REQUESTS_AT_ONCE, max(1, len(names)))) as requests:
            return list(requests.map(lambda name: self._content(name, anew=anew), names))

    def _content(self, name: str, *, anew: bool) -> bytes | None:
        """A small object, by its name alone: it never changes while it is there."""
        import obstore  # noqa: PLC0415

        path = self._cache.path(StoredObject(name, 0))
        if not anew and path.is_file():
            content = path.read_bytes()
            self.traffic.add(cached=len(content))
            return content
        self.traffic.add(requests=1)
        try:
            with self._errors(name):
                content = bytes(obstore.get(self._client, self._prefix + name).bytes())
        except FileNotFoundError:
            path.unlink(missing_ok=True)
            return None
        self.traffic.add(content_bytes=len(content))
        self._cache.keep(StoredObject(name, len(content)), content)
        return content

    def read_ranges(self, wanted: Sequence[ByteRange]) -> list[bytes]:
        needed: dict[StoredObject, set[int]] = {}
        for stored, offset, length in wanted:
            if offset + length > stored.size_bytes:
                raise cut_short(stored.name, stored.size_bytes, offset + length)
            chunks = range(offset // _CHUNK_BYTES, -(-(offset + length) // _CHUNK_BYTES))
            needed.setdefault(stored, set()).update(chunks)
        # In memory from here on: another process may throw away any copy, and so may making room below.
        held = {stored: self._cache.chunks(stored, numbers) for stored, numbers in needed.items()}
        self.traffic.add(cached=sum(len(chunk) for chunks in held.values() for chunk in chunks.values()))
        missing = [
            Stretch(stored, run.start, run.stop)
            for stored in needed
            for run in _runs(needed[stored] - held[stored].keys())
        ]
        if missing:
            self._cache.make_room(sum(stretch.size_bytes for stretch in missing), keep=())
            with ThreadPoolExecutor(_REQUESTS_AT_ONCE) as requests:
                for stretch, content in zip(missing, requests.map(self._download_stretch, missing), strict=True):
                    held[stretch.stored].update(stretch.chunks(content))
        return [_sliced(held[stored], offset, length) for stored, offset, length in wanted]

    def _download_stretch(self, stretch: "Stretch") -> bytes:
        import obstore  # noqa: PLC0415

        name, start, length = stretch.stored.name, stretch.start, stretch.size_bytes
        self.traffic.add(requests=1)
        with self._errors(name):
            content = bytes(obstore.get_range(self._client, self._prefix + name, start=start, length=length))
        self.traffic.add(content_bytes=len(content))
        if len(content) != length:
            raise cut_short(name, start + len(content), start + length)
        self._cache.keep(stretch.copy, content)
        return content

    def versions(self, prefix: str) -> Iterator[ObjectVersion]:
        from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415

        pages = self._boto3().get_paginator("list_object_versions")
        try:
            for page in pages.paginate(Bucket=self._bucket, Prefix=self._prefix + prefix):
                self.traffic.add(requests=1)
                found = [
                    (entry["Key"], entry["VersionId"], is_marker)
                    for members, is_marker in (("Versions", False), ("DeleteMarkers", True))
                    for entry in page.get(members, ())
                ]
                for key, version_id, is_marker in sorted(found):
                    yield ObjectVersion(key.removeprefix(self._prefix), version_id, is_marker)
        except (BotoCoreError, ClientError) as error:
            raise UnreadableArchive(
                f"could not list the versions of {self.url}",
                why=" ".join(str(error).split())[:300],
                hint="grant s3:ListBucketVersions on the archive",
            ) from error

    def _boto3(self) -> Any:
        """boto3's client: obstore lists no versions."""
        import boto3  # noqa: PLC0415

        session = boto3.Session(profile_name=self._access.profile, region_name=self._access.region)
        return session.client("s3", region_name=_region(session), endpoint_url=self._access.endpoint_url)

    def _download(self, stored: StoredObject) -> None:
        import obstore  # noqa: PLC0415

        self.traffic.add(requests=1)
        with self._errors(stored.name):
            content = bytes(obstore.get(self._client, self._prefix + stored.name).bytes())
        self.traffic.add(content_bytes=len(content))
        if len(content) != stored.size_bytes:
            raise UnreadableArchive(
                f"{stored.name} has {len(content)} bytes, the listing says {stored.size_bytes}",
                why="the object was cut short or replaced",
                hint="run the command again; if it stays, compare the object's versions in the bucket",
            )
        self._cache.keep(stored, content)

    def _errors(self, name: str = "") -> "_S3Errors":
        return _S3Errors(self.url, name)


class _S3Errors:
    """Turns what the S3 client raises into the reader's own errors."""

    def __init__(self, url: str, name: str) -> None:
        self._url = url
        self._name = name

    def __enter__(self) -> None:
        return None

    def __exit__(self, _kind: type[BaseException] | None, error: BaseException | None, _trace: object) -> None:
        from obstore.exceptions import BaseError, NotFoundError, PermissionDeniedError  # noqa: PLC0415

        if error is None or not isinstance(error, BaseError | FileNotFoundError | PermissionError | OSError):
            return
        text = str(error)
        if "NoSuchBucket" in text:
            raise UnreadableArchive(
                f"there is no archive at {self._url}",
                why="the bucket does not exist",
                hint="check the bucket's name and --region",
            ) from error
        if isinstance(error, NotFoundError | FileNotFoundError) and self._name:
            raise FileNotFoundError(self._name) from error
        if isinstance(error, PermissionDeniedError | PermissionError) or "AccessDenied" in text:
            action = "s3:GetObject" if self._name else "s3:ListBucket"
            raise UnreadableArchive(
                f"could not read {self._url}",
                why=f"access denied: {action} is missing for {self._name or 'the bucket'}",
                hint=f"grant {action} on the archive, or choose another --profile",
            ) from error
        raise UnreadableArchive(
            f"could not read {self._name or self._url}",
            why=" ".join(text.split())[:300],
            hint="check credentials, --endpoint-url and the network, then run the command again",
        ) from error


@dataclass(frozen=True, slots=True)
class Stretch:
    """Neighbouring chunks of an object: the numbers of the first, and of the one after the last.

    The cache keeps one file for each: a file for every chunk would be five times as many to look through.
    """

    stored: StoredObject
    first: int
    stop: int

    @classmethod
    def parse(cls, stored: StoredObject, name: str) -> Self | None:
        """From the name of its copy inside the folder of that object's; None for any other."""
        match = _STRETCH.fullmatch(name)
        return None if match is None else cls(stored, int(match[1]), int(match[2]))

    @property
    def start(self) -> int:
        """The first byte of it in the object."""
        return self.first * _CHUNK_BYTES

    @property
    def size_bytes(self) -> int:
        return min(self.stop * _CHUNK_BYTES, self.stored.size_bytes) - self.start

    @property
    def copy(self) -> StoredObject:
        """As the cache calls it."""
        return StoredObject(f"{_stretches(self.stored)}/{self.first}-{self.stop}", self.size_bytes)

    def chunks(self, content: bytes) -> dict[int, memoryview]:
        """Its content as chunks by number."""
        view = memoryview(content)
        return {
            number: view[place * _CHUNK_BYTES : (place + 1) * _CHUNK_BYTES]
            for place, number in enumerate(range(self.first, self.stop))
        }


def _stretches(stored: StoredObject) -> str:
    """The folder of the copies of an object's stretches."""
    return f"{stored.name}.stretches"


def _runs(numbers: Iterable[int]) -> list[range]:
    """Chunk numbers as ranges, none longer than a request may be."""
    found: list[range] = []
    for number in sorted(numbers):
        if found and number == found[-1].stop and len(found[-1]) < _MOST_CHUNKS_A_REQUEST:
            found[-1] = range(found[-1].start, number + 1)
        else:
            found.append(range(number, number + 1))
    return found


def _sliced(chunks: Mapping[int, memoryview], offset: int, length: int) -> bytes:
    first, stop = offset // _CHUNK_BYTES, -(-(offset + length) // _CHUNK_BYTES)
    whole = b"".join(chunks[number] for number in range(first, stop))
    start = offset - first * _CHUNK_BYTES
    return whole if len(whole) == length else whole[start : start + length]


class Cache:
    """Copies of immutable objects and of stretches of them in a folder, the least recently used thrown away beyond a
    limit in bytes.
    """

    def __init__(self, folder: Path, limit_bytes: int) -> None:
        self._folder = folder
        self._limit_bytes = limit_bytes

    def path(self, stored: StoredObject) -> Path:
        return self._folder / stored.name

    def has(self, stored: StoredObject) -> bool:
        path = self.path(stored)
        try:
            if path.stat().st_size != stored.size_bytes:
                return False
            os.utime(path)
        except FileNotFoundError:
            return False
        return True

    def chunks(self, stored: StoredObject, numbers: Iterable[int]) -> dict[int, memoryview]:
        """The content of those of these chunks of an object that there are, by number."""
        waiting, found = set(numbers), dict[int, memoryview]()
        for stretch, copy in self._copies(stored):
            here = waiting.intersection(range(stretch.first, stretch.stop))
            if here and self.has(copy):
                with suppress(FileNotFoundError), self.path(copy).open("rb", buffering=0) as file:
                    for run in _runs(here):
                        part = Stretch(stored, run.start, run.stop)
                        content = os.pread(file.fileno(), part.size_bytes, part.start - stretch.start)
                        if len(content) == part.size_bytes:
                            found |= part.chunks(content)
            waiting -= found.keys()
        return found

    def _copies(self, stored: StoredObject) -> Iterator[tuple[Stretch, StoredObject]]:
        """Where there may be content of an object: a copy of it, then those of its stretches."""
        yield Stretch(stored, 0, -(-stored.size_bytes // _CHUNK_BYTES)), stored
        with suppress(FileNotFoundError):
            for name in os.listdir(self._folder / _stretches(stored)):  # noqa: PTH208  names are all that is needed
                stretch = Stretch.parse(stored, name)
                if stretch is not None:
                    yield stretch, stretch.copy

    def keep(self, stored: StoredObject, content: bytes) -> None:
        path = self.path(stored)
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.parent / f".partial-{secrets.token_hex(8)}"
        try:
            partial.write_bytes(content)
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)

    def make_room(self, needed_bytes: int, *, keep: Iterable[StoredObject]) -> None:
        """Throws away old copies until `needed_bytes` fit, but none of `keep`: a question may exceed the limit."""
        kept = {str(self.path(stored)) for stored in keep}
        files = []
        for parent, _, names in os.walk(self._folder):
            for name in names:
                path = os.path.join(parent, name)  # noqa: PTH118  a hot loop over plain strings
                with suppress(FileNotFoundError):  # another process makes room too
                    stat = os.stat(path)  # noqa: PTH116
                    files.append((stat.st_mtime, stat.st_size, path))
        excess = sum(size for _, size, _ in files) + needed_bytes - self._limit_bytes
        for _, size, path in sorted(files):
            if excess <= 0:
                return
            if path not in kept:
                Path(path).unlink(missing_ok=True)
                excess -= size


def s3_client(bucket: str, access: Access) -> Any:
    import boto3  # noqa: PLC0415
    from botocore.exceptions import BotoCoreError  # noqa: PLC0415
    from obstore.auth.boto3 import Boto3CredentialProvider  # noqa: PLC0415
    from obstore.store import S3Store  # noqa: PLC0415

    try:
        session = boto3.Session(profile_name=access.profile, region_name=access.region)
        endpoint_url: str | None = access.endpoint_url
        if endpoint_url is None:  # AWS_ENDPOINT_URL and its like, as boto3 finds them
            found = session.client("s3", region_name=_region(session)).meta.endpoint_url
            endpoint_url = None if "amazonaws.com" in found else found
        credentials = Boto3CredentialProvider(session)
    except (BotoCoreError, ValueError) as error:
        raise UnreadableArchive(
            f"no credentials for s3://{bucket}", why=str(error), hint="set AWS_PROFILE or --profile, as for the AWS CLI"
        ) from error
    options: dict[str, Any] = {"region": _region(session), "credential_provider": credentials}
    if endpoint_url:
        options |= {"endpoint": endpoint_url, "virtual_hosted_style_request": False}
    return S3Store(bucket, client_options={"allow_http": bool(endpoint_url)}, **options)


def _region(session: Any) -> str:
    return session.region_name or "us-east-1"
