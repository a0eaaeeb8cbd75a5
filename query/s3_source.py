"""An archive in S3, read through a local cache of immutable objects. The only file of the reader that talks to S3.

Invariants: objects never change, so a cached copy of the right size is the object, or the range of it that the copy's
name says; what `fetch` returns are whole local files. Nothing is ever written to the archive.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from query.errors import UnreadableArchive
from query.object_cache import CHUNK_BYTES, Cache, Stretch, sliced, stretches_of
from query.s3_client import DEFAULT_REGION, s3_client
from query.source import HIDDEN, Access, ByteRange, ObjectVersion, Retention, StoredObject, Traffic, cut_short

# With 30 ms an answer, 64 requests under way fetch 200 small files in 0.3 s; more gains nothing.
_REQUESTS_AT_ONCE: Final = 64
_CONNECTIONS: Final = 10  # that a client of boto3 holds open
# What GetObjectRetention answers where a version has none, and where its bucket has no Object Lock.
_WITHOUT_RETENTION: Final = frozenset(
    {"NoSuchObjectLockConfiguration", "ObjectLockConfigurationNotFoundError", "InvalidRequest"}
)


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
        found: dict[str, bytes | None] = {} if anew else self._held(names)
        missing = [name for name in names if name not in found]
        if missing:
            with ThreadPoolExecutor(min(_REQUESTS_AT_ONCE, len(missing))) as requests:
                found |= zip(missing, requests.map(self._content, missing), strict=True)
        return [found[name] for name in names]

    def _held(self, names: Sequence[str]) -> dict[str, bytes | None]:
        """The copies there are of small objects, by their names alone: they never change while they are there."""
        found: dict[str, bytes | None] = {}
        for name in names:
            with suppress(OSError):  # there is none, or none that can be read
                found[name] = self._cache.path(StoredObject(name, 0)).read_bytes()
        self.traffic.add(cached=sum(len(content) for content in found.values() if content is not None))
        return found

    def _content(self, name: str) -> bytes | None:
        """A small object as it is in S3."""
        import obstore  # noqa: PLC0415

        path = self._cache.path(StoredObject(name, 0))
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
            chunks = range(offset // CHUNK_BYTES, -(-(offset + length) // CHUNK_BYTES))
            needed.setdefault(stored, set()).update(chunks)
        # In memory from here on: another process may throw away any copy, and so may making room below.
        held = {stored: self._cache.chunks(stored, numbers) for stored, numbers in needed.items()}
        self.traffic.add(cached=sum(len(chunk) for chunks in held.values() for chunk in chunks.values()))
        missing = [
            Stretch(stored, run.start, run.stop)
            for stored in needed
            for run in stretches_of(needed[stored] - held[stored].keys())
        ]
        if missing:
            self._cache.make_room(sum(stretch.size_bytes for stretch in missing), keep=())
            with ThreadPoolExecutor(_REQUESTS_AT_ONCE) as requests:
                for stretch, content in zip(missing, requests.map(self._download_stretch, missing), strict=True):
                    held[stretch.stored].update(stretch.chunks(content))
        return [sliced(held[stored], offset, length) for stored, offset, length in wanted]

    def _download_stretch(self, stretch: Stretch) -> bytes:
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

    def retentions(self, wanted: Sequence[ObjectVersion]) -> list[Retention]:
        client = self._boto3()
        with ThreadPoolExecutor(_CONNECTIONS) as requests:
            return list(requests.map(lambda one: self._retention(client, one), wanted))

    def _retention(self, client: Any, version: ObjectVersion) -> Retention:
        from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415

        self.traffic.add(requests=1)
        key = self._prefix + version.name
        try:
            told = client.get_object_retention(Bucket=self._bucket, Key=key, VersionId=version.version_id)["Retention"]
        except ClientError as error:
            code = error.response.get("Error", {}).get("Code", "")
            return Retention() if code in _WITHOUT_RETENTION else Retention(f"not known: {code}")
        except BotoCoreError as error:
            raise UnreadableArchive(
                f"could not read the retention of {version.name}",
                why=" ".join(str(error).split())[:300],
                hint="run the command again",
            ) from error
        return Retention(told["Mode"], round(told["RetainUntilDate"].timestamp() * 1000))

    def _boto3(self) -> Any:
        """boto3's client: obstore lists no versions."""
        import boto3  # noqa: PLC0415

        session = boto3.Session(profile_name=self._access.profile, region_name=self._access.region)
        region = session.region_name or DEFAULT_REGION
        return session.client("s3", region_name=region, endpoint_url=self._access.endpoint_url)

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
